/*
 * check_wal: is what the archive has what this server wrote, and does the archive know how its timelines go on?
 */
#include "cmd/check_wal.h"

#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/sig.h"
#include "repo/layout.h"
#include "repo/wal_check.h"

#define TIMELINE 8 /* digits of a segment's name */

static const char two_primaries[] = "are multiple primaries archiving to this stanza?";

static const char *on_server(struct arena *a, const struct ctx_cluster *c, const char *name)
{
	return path_join(a, c->control.version->wal_dir, name);
}

int check_wal_is_ours(const struct ctx_cluster *c, unsigned key, const char *segment, const struct wal_file *found)
{
	SCOPED_ARENA(a);
	const struct get_opts get = { .missing_ok = true };
	struct sum sum;
	int rc = store_get(c->pg, on_server(a, c, segment), &get, sink_sha1(a, sink_null(a), &sum));

	/* PostgreSQL parts with a segment only when its archive_command has succeeded, which proves the same */
	if (rc == STORE_ABSENT || (rc == 0 && sum_equal(&sum, &found->sum)))
		return 0;
	if (rc < 0)
		return -1;
	(void)err_set(ERR_ARCHIVE_DUPLICATE, "WAL segment %s in the repo%u archive is different from that of the server",
		segment, key);
	return err_hint("%s", two_primaries);
}

/* 1: there, 0: not (yet), -1. */
static int same_history(const struct ctx_cluster *c, const struct wal_place *place, unsigned key, const char *name)
{
	SCOPED_ARENA(a);
	const struct wal_place server = { .repo = c->pg };
	const char *dir = layout_wal_dir(a, place->stanza, place->archive_id, name);
	struct buf theirs, ours;
	int rc;

	buf_init(&theirs, a);
	buf_init(&ours, a);
	if ((rc = wal_read_text(place, path_join(a, dir, name), true, &theirs)) != 0)
		return rc == STORE_ABSENT ? 0 : -1;
	/* a server restored from a backup of this timeline need not have it */
	if ((rc = wal_read_text(&server, on_server(a, c, name), true, &ours)) != 0)
		return rc == STORE_ABSENT ? 1 : -1;
	if (ours.len == theirs.len && memcmp(ours.data, theirs.data, ours.len) == 0)
		return 1;
	(void)err_set(ERR_ARCHIVE_DUPLICATE,
		"timeline history file %s in the repo%u archive is different from that of the server", name, key);
	return err_hint("%s", two_primaries);
}

int check_wal_history(const struct ctx_cluster *c, const struct wal_place *place, unsigned key, const char *segment,
	int64_t timeout_ms)
{
	SCOPED_ARENA(a);
	struct deadline end = deadline_in(timeout_ms);
	struct backoff pause = { 0 };
	const char *name = arena_printf(a, "%.*s.history", TIMELINE, segment);
	const char *first, *last;
	int rc;

	if (wal_min_max(a, place, &first, &last) != 0)
		return -1;
	if (first == NULL || memcmp(first, segment, TIMELINE) >= 0)
		return 0;
	while ((rc = same_history(c, place, key, name)) == 0 && backoff_wait(&pause, end))
		;
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (sig_check() != 0)
		return -1;
	(void)err_set(ERR_FILE_MISSING,
		"timeline history file %s is missing in the repo%u archive, which has WAL of earlier timelines", name, key);
	return err_hint("push it again with: archive-push %s", on_server(a, c, name));
}
