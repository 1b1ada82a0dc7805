/*
 * restore_timeline: can recovery get from the backup to the target timeline (behaviours.md 8.6)?
 *
 * PostgreSQL would find out only after everything was copied.
 */
#include "cmd/restore_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "cmd/archive.h"
#include "pg/timeline.h"
#include "pg/wal.h"
#include "repo/layout.h"
#include "repo/wal_check.h"

static int see_history(void *ctx, const struct store_entry *e)
{
	uint32_t *latest = ctx;
	uint64_t timeline;

	if (e->type == STORE_FILE && wal_kind(e->name) == WAL_HISTORY &&
		str_hex_to_u64(e->name, 8, &timeline) && timeline > *latest)
		*latest = (uint32_t)timeline;
	return 0;
}

/* "latest", "current", decimal or 0x hex. */
static int parse_target(const struct restore *r, const char *text, uint32_t current, uint32_t latest,
	uint32_t *out)
{
	uint64_t value;
	bool ok;

	if (strcmp(text, "current") == 0 || strcmp(text, "latest") == 0) {
		*out = text[0] == 'c' ? current : latest;
		return 0;
	}
	if (str_starts(text, "0x") || str_starts(text, "0X"))
		ok = str_hex_to_u64(text + 2, strlen(text + 2), &value);
	else
		ok = str_to_u64(text, &value);
	if (!ok || value == 0 || value > UINT32_MAX)
		return err_set(ERR_DB_MISMATCH, "invalid target timeline '%s'", text);
	*out = (uint32_t)value;
	return 0;
}

/* The history file, with the archive's own key if the repository is encrypted. */
static int read_history(struct restore *r, const char *archive_id, const char *path, struct buf *text)
{
	struct wal_place place = { r->repo->store, r->cfg->stanza, archive_id, NULL };
	struct archive_info info;

	if (r->repo->pass != NULL) {
		if (archive_load(r->arena, r->cfg, r->repo, &info) != 0)
			return -1;
		place.pass = info.cipher_pass;
	}
	return wal_read_text(&place, path, false, text);
}

static int check_history(struct restore *r, const char *archive_id, uint32_t backup, uint64_t backup_lsn,
	uint32_t target)
{
	struct buf text;
	struct timeline_history h;
	uint64_t left_at;
	char lsn[24];
	const char *name = arena_printf(r->arena, "%08X.history", target);
	const char *path = path_join(r->arena,
		layout_wal_dir(r->arena, r->cfg->stanza, archive_id, name), name);

	buf_init(&text, r->arena);
	if (read_history(r, archive_id, path, &text) != 0 ||
		timeline_parse(r->arena, target, text.data, text.len, &h) != 0)
		return err_wrap("unable to check target timeline %u", target);
	if (!timeline_left_at(&h, backup, &left_at)) {
		(void)err_set(ERR_DB_MISMATCH, "backup timeline %u, lsn %s is not in the history of target "
			"timeline %u", backup, r->line->lsn_start, target);
		return err_hint("was the target timeline created by accident? Use --target-timeline=current to "
			"stay on the backup's timeline.");
	}
	if (left_at > backup_lsn)
		return 0;
	lsn_print(left_at, lsn);
	(void)err_set(ERR_DB_MISMATCH, "target timeline %u forked from backup timeline %u at %s which is before "
		"backup lsn of %s", target, backup, lsn, r->line->lsn_start);
	(void)err_hint("was the target timeline created by accidentally promoting a standby?");
	(void)err_hint("was the target timeline created by testing a restore without --archive-mode=off?");
	return err_hint("was the backup made after the server was promoted?");
}

int restore_check_timeline(struct restore *r)
{
	uint64_t backup = 0, lsn;
	uint32_t latest, target = 0;
	const char *wanted = r->cfg->target_timeline;

	if (!r->m->online || r->line->archive_start == NULL || r->line->lsn_start == NULL)
		return 0;
	if (!str_hex_to_u64(r->line->archive_start, 8, &backup) || !lsn_parse(r->line->lsn_start, &lsn))
		return err_set(ERR_FORMAT, "backup '%s' has an impossible start: segment '%s', lsn '%s'",
			r->line->label, r->line->archive_start, r->line->lsn_start);
	const char *archive_id = layout_archive_id(r->arena, r->m->db.version, r->m->db.id);
	latest = (uint32_t)backup;
	if (store_list(r->repo->store, path_join(r->arena,
			layout_archive_root(r->arena, r->cfg->stanza), archive_id), see_history, &latest) < 0)
		return -1;
	if (wanted == NULL)
		wanted = strcmp(r->type, "immediate") == 0 || !r->version->recovery_signal ? "current" : "latest";
	if (parse_target(r, wanted, (uint32_t)backup, latest, &target) != 0)
		return -1;
	if (target == backup)
		return 0;
	return check_history(r, archive_id, (uint32_t)backup, lsn, target);
}
