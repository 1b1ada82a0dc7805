/*
 * retention_wal: which WAL goes (format/repository.md 10.5).
 *
 * From one backup on, the oldest of those that the policy counts, all WAL stays.  For each older backup
 * the WAL from its start to its stop stays, so that it remains restorable to its end.
 */
#include "repo/retention.h"

#include <string.h>

#include "base/str.h"
#include "pg/wal.h"

#define DIR_NAME 16 /* characters of a directory of segments */
#define UPPER_HEX "0123456789ABCDEF"

typedef VEC(const struct backup_line *) lines;

/* Backups that stay and count for the archive, oldest first. */
static lines counted_backups(struct arena *a, const struct retention *r)
{
	lines counted;

	vec_init(&counted, a);
	for (size_t i = 0; i < r->rows.n; i++) {
		const struct retention_row *row = &r->rows.v[i];

		if (!row->goes && label_type(row->line->label) <= r->policy.archive_type)
			vec_push(&counted, row->line);
	}
	return counted;
}

static bool is_segment(const char *name)
{
	return name != NULL && wal_kind(name) == WAL_SEGMENT;
}

/* Does it say clearly what it needs? */
static bool is_clear(const struct backup_line *b)
{
	return is_segment(b->archive_start) && is_segment(b->archive_stop) &&
		strcmp(b->archive_start, b->archive_stop) <= 0;
}

static void add_range(struct retention_archive *w, const char *label, const char *start,
	const char *stop)
{
	vec_push(&w->ranges, ((struct retention_range){ label, start, stop }));
}

/*
 * All from the base on, and from start to stop of each backup before it.  A later backup can begin
 * earlier by name, if an old timeline goes on after a promotion: it keeps all from its own start, though
 * the format has no rule for it.
 */
static void keep_ranges(const struct retention *r, const struct backup_line *base,
	struct retention_archive *w)
{
	const char *before = r->policy.archive_before;

	w->rule = WAL_RANGES;
	w->fate = FATE_MIXED;
	w->base = base->label;
	w->from = base->archive_start;
	for (size_t i = 0; i < r->rows.n; i++) {
		const struct backup_line *b = r->rows.v[i].line;
		bool whole = strcmp(b->label, base->label) >= 0;

		if (r->rows.v[i].goes || b->db_id != base->db_id || b->archive_start == NULL)
			continue;
		if (!is_clear(b)) {
			w->rule = WAL_UNCLEAR;
			w->fate = FATE_STAYS;
			w->base = b->label;
			return;
		}
		if (b == base || !whole || strcmp(b->archive_start, base->archive_start) < 0)
			add_range(w, b->label, b->archive_start, whole ? NULL : b->archive_stop);
	}
	if (before != NULL && strcmp(before, base->archive_start) < 0)
		add_range(w, NULL, before, base->archive_start);
}

/* A backup of this cluster that stays, of any type. */
static const char *any_of(const struct retention *r, uint32_t db_id)
{
	for (size_t i = 0; i < r->rows.n; i++)
		if (!r->rows.v[i].goes && r->rows.v[i].line->db_id == db_id)
			return r->rows.v[i].line->label;
	return NULL;
}

/* counted: of all clusters; the newest `keep` of them hold their WAL. */
static void decide_archive(const struct retention *r, const lines *counted, size_t keep, bool current,
	uint32_t db_id, struct retention_archive *w)
{
	const struct backup_line *base = NULL, *newest = NULL;

	for (size_t i = 0; i < counted->n; i++) {
		const struct backup_line *b = counted->v[i];

		if (b->db_id != db_id)
			continue;
		newest = b;
		if (base == NULL && i + keep >= counted->n)
			base = b;
	}
	if (base == NULL)
		base = newest;
	w->fate = FATE_STAYS;
	if (base == NULL && any_of(r, db_id) != NULL) {
		w->rule = WAL_UNCLEAR;
		w->base = any_of(r, db_id);
	} else if (base == NULL) {
		w->rule = current ? WAL_NO_BACKUP : WAL_FORMER;
		w->fate = current ? FATE_STAYS : FATE_GOES;
	} else if (base->archive_start == NULL) {
		w->rule = WAL_OFFLINE;
		w->base = base->label;
	} else {
		keep_ranges(r, base, w);
	}
}

static struct retention_archive *add_archive(struct arena *a, const struct backup_db *db,
	retention_archives *out)
{
	struct retention_archive *w = vec_add(out);

	w->archive_id = layout_archive_id(a, db->version, db->id);
	vec_init(&w->ranges, a);
	return w;
}

/* Without any backup only an explicit bound removes WAL, and only of the current cluster. */
static enum retention_wal_rule bound_only(struct arena *a, const struct retention *r,
	const struct backup_info *info, retention_archives *out)
{
	if (r->policy.archive_before == NULL || r->rows.n > r->going)
		return WAL_TOO_FEW;

	struct retention_archive *w = add_archive(a, backup_info_current(info), out);

	w->rule = WAL_RANGES;
	w->fate = FATE_MIXED;
	w->from = r->policy.archive_before;
	add_range(w, NULL, w->from, NULL);
	return WAL_RANGES;
}

enum retention_wal_rule retention_wal(struct arena *a, const struct retention *r,
	const struct backup_info *info, retention_archives *out)
{
	const struct retention_policy *p = &r->policy;
	lines counted = counted_backups(a, r);
	size_t keep = p->archive > 0 ? (size_t)p->archive : 1;

	vec_init(out, a);
	if (p->archive < 0)
		return p->full_days ? WAL_DAYS_NOT_MET : WAL_NOT_SET;
	if (counted.n == 0)
		return bound_only(a, r, info, out);
	if (keep > counted.n)
		return WAL_TOO_FEW;
	for (size_t i = 0; i < info->history.n; i++) {
		const struct backup_db *db = &info->history.v[i];

		decide_archive(r, &counted, keep, db->id == info->current, db->id,
			add_archive(a, db, out));
	}
	return WAL_RANGES;
}

enum retention_fate retention_wal_dir(const struct retention_archive *w, const char *dir)
{
	bool wanted = false;

	if (w->fate != FATE_MIXED || strlen(dir) != DIR_NAME || !str_all(dir, DIR_NAME, UPPER_HEX))
		return FATE_STAYS;
	for (size_t i = 0; i < w->ranges.n && !wanted; i++) {
		const struct retention_range *k = &w->ranges.v[i];

		wanted = strncmp(k->start, dir, DIR_NAME) <= 0 &&
			(k->stop == NULL || strncmp(dir, k->stop, DIR_NAME) <= 0);
	}
	if (!wanted)
		return FATE_GOES;
	return strncmp(dir, w->from, DIR_NAME) <= 0 ? FATE_MIXED : FATE_STAYS;
}

bool retention_wal_file_goes(const struct retention_archive *w, const char *name)
{
	if (w->fate != FATE_MIXED || strlen(name) < WAL_NAME || !str_all(name, WAL_NAME, UPPER_HEX))
		return false;
	for (size_t i = 0; i < w->ranges.n; i++) {
		const struct retention_range *k = &w->ranges.v[i];

		if (strncmp(k->start, name, WAL_NAME) <= 0 &&
			(k->stop == NULL || strncmp(name, k->stop, WAL_NAME) <= 0))
			return false;
	}
	return true;
}

/* What leads from WAL that stays for more than one backup's own sake is needed to follow it. */
bool retention_timeline_goes(const struct retention_archive *w, const char *name)
{
	if (w->fate != FATE_MIXED || wal_kind(name) != WAL_HISTORY)
		return false;
	for (size_t i = 0; i < w->ranges.n; i++) {
		const struct retention_range *k = &w->ranges.v[i];

		if ((k->label == NULL || k->stop == NULL) && strncmp(name, k->start, 8) >= 0)
			return false;
	}
	return true;
}
