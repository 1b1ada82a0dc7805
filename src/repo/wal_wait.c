/*
 * wal_wait: wait until the archive has a segment, proven; for backup and check.
 */
#include "repo/wal_find.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/sig.h"
#include "repo/wal_check.h"

/* 1 proven, 0 not there yet (why: what was seen instead, NULL if nothing), -1 unknown. */
static int look(struct arena *a, const struct wal_place *place, const char *segment,
	const struct wal_expect *expect, struct wal_file *out, struct err_value **why)
{
	wal_files found;
	int rc;

	*why = NULL;
	if (wal_find(a, place, segment, &found) != 0)
		return -1;
	if (found.n == 0)
		return 0;
	if (found.n > 1)
		rc = err_set(ERR_ARCHIVE_DUPLICATE,
			"duplicates found in archive for WAL segment %s: %s, %s", segment,
			found.v[0].name, found.v[1].name);
	else
		rc = wal_fetch(a, place, &found.v[0], expect, sink_null(a));
	if (rc == 0) {
		*out = found.v[0];
		return 1;
	}
	*why = err_take(a);
	return 0;
}

static int timed_out(const char *segment, int64_t timeout_ms, const struct err_value *why)
{
	if (why == NULL)
		(void)err_set(ERR_ARCHIVE_TIMEOUT,
			"WAL segment %s was not archived before the %" PRId64 "ms timeout", segment,
			timeout_ms);
	else
		(void)err_set(ERR_ARCHIVE_TIMEOUT,
			"WAL segment %s was not archived before the %" PRId64 "ms timeout\n[%s] %s",
			segment, timeout_ms, err_class(why->code), why->msg);
	(void)err_hint(
		"check the archive_command to ensure that all options are correct (especially "
		"--stanza).");
	(void)err_hint("check the PostgreSQL server log for errors.");
	return err_hint("run the 'start' command if the stanza was previously stopped.");
}

int wal_wait(struct arena *a, const struct wal_place *place, const char *segment,
	const struct wal_expect *expect, int64_t timeout_ms, struct wal_file *out)
{
	struct deadline end = deadline_in(timeout_ms);
	struct backoff pause = {0};

	for (;;) {
		SCOPED_ARENA(turn);
		struct err_value *why;
		struct wal_file found;
		int rc = look(turn, place, segment, expect, &found, &why);
		if (rc < 0)
			return -1;
		if (rc == 1) {
			*out = found;
			out->path = arena_strdup(a, found.path);
			out->name = arena_strdup(a, found.name);
			return 0;
		}
		if (backoff_wait(&pause, end))
			continue;
		return sig_check() != 0 ? -1 : timed_out(segment, timeout_ms, why);
	}
}
