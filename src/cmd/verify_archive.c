/*
 * verify_archive: from the files of an archive to what recovery has there.
 *
 * PURE but for the log: files whose results are known, and the backups, decide.
 */
#include "cmd/verify_intern.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

uint32_t verify_segment_bytes(const struct verify_archive *ar)
{
	return ar->expect.segment_size != 0 ? ar->expect.segment_size : ar->names_size;
}

/* Files of one segment: from i up to, but not, what is returned. */
static size_t group_end(const verify_wals *files, size_t i)
{
	size_t end = i + 1;

	while (end < files->n && files->v[end].kind == WAL_SEGMENT &&
		strncmp(files->v[end].name, files->v[i].name, WAL_NAME) == 0)
		end++;
	return end;
}

static void take_group(struct verify_archive *ar, size_t i, size_t end)
{
	struct wal_have have = { .bad = true };
	bool usable = false, one_sum = true;

	if (!wal_parse(ar->files.v[i].name, verify_segment_bytes(ar), &have.pos)) {
		for (; i < end; i++)
			if (ar->files.v[i].result.state == CHECK_OK)
				ar->files.v[i].result = (struct check_result){ CHECK_DAMAGED, ERR_FORMAT,
					"no segment of this archive's size has such a name" };
		return;
	}
	for (size_t k = i; k < end; k++) {
		struct verify_wal *w = &ar->files.v[k];
		w->twin = end - i > 1;
		usable = usable || w->result.state == CHECK_OK;
		one_sum = one_sum && sum_equal(&w->sum, &ar->files.v[i].sum);
	}
	/* of files with different content archive-get gives none */
	have.bad = !usable || !one_sum;
	vec_push(&ar->have, have);
}

static void take_files(struct verify_archive *ar)
{
	for (size_t i = 0; i < ar->files.n;) {
		size_t end = i + 1;
		if (ar->files.v[i].kind == WAL_SEGMENT) {
			end = group_end(&ar->files, i);
			take_group(ar, i, end);
		}
		for (; i < end; i++) {
			const struct verify_wal *w = &ar->files.v[i];
			bool segment = w->kind == WAL_SEGMENT;
			ar->total += segment;
			ar->valid += segment && w->result.state == CHECK_OK && !w->twin;
			verify_count(&ar->counts, w->result.state);
		}
	}
	if (ar->have.n > 0)
		qsort(ar->have.v, ar->have.n, sizeof(*ar->have.v), wal_have_cmp);
}

static void add_range(struct verify_archive *ar, const char *label, const char *start, const char *stop)
{
	struct wal_range r = { .label = label };
	struct wal_pos end;

	if (!wal_parse(start, verify_segment_bytes(ar), &r.start) || !wal_parse(stop, verify_segment_bytes(ar), &end) ||
		r.start.timeline != end.timeline || end.segment < r.start.segment)
		return;
	r.stop = end.segment;
	vec_push(&ar->ranges, r);
}

static void take_ranges(const struct verify *v, struct verify_archive *ar)
{
	for (size_t i = 0; i < v->backups.n; i++) {
		const struct verify_backup *b = &v->backups.v[i];
		if (!b->gone && b->archive_id != NULL && strcmp(b->archive_id, ar->id) == 0 && b->start != NULL &&
			b->stop != NULL)
			add_range(ar, b->label, b->start, b->stop);
	}
	for (size_t i = 0; i + 1 < ar->old_names.n; i += 2)
		add_range(ar, NULL, ar->old_names.v[i], ar->old_names.v[i + 1]);
}

static bool has_history(const struct verify_archive *ar, uint32_t timeline)
{
	for (size_t i = 0; i < ar->histories.n; i++)
		if (ar->histories.v[i].timeline == timeline)
			return true;
	return false;
}

/* The file may be there and damaged: that is another finding. */
static bool has_history_file(const struct verify_archive *ar, uint32_t timeline)
{
	SCOPED_ARENA(a);
	const char *name = arena_printf(a, "%08X.history", timeline);

	for (size_t i = 0; i < ar->files.n; i++)
		if (ar->files.v[i].kind == WAL_HISTORY && strcmp(ar->files.v[i].name, name) == 0)
			return true;
	return false;
}

static bool backup_is_before(const struct verify_archive *ar, uint32_t timeline)
{
	for (size_t i = 0; i < ar->ranges.n; i++)
		if (ar->ranges.v[i].label != NULL && ar->ranges.v[i].start.timeline < timeline)
			return true;
	return false;
}

/*
 * Expire removes a history with the last of its timeline but for the ranges of backups, and the cluster may have come
 * into the stanza with a later timeline: only if a backup of an earlier one could follow, the history is missing.
 */
static bool history_is_missed(const struct verify_archive *ar, uint32_t timeline)
{
	if (timeline <= 1 || has_history_file(ar, timeline) || !backup_is_before(ar, timeline))
		return false;
	for (size_t i = 0; i < ar->have.n; i++)
		if (ar->have.v[i].pos.timeline == timeline && !wal_in_range(&ar->ranges, ar->have.v[i].pos, false))
			return true;
	return false;
}

static void find_gaps(struct verify *v, struct verify_archive *ar)
{
	VEC(struct timeline_history) lines;
	uint32_t seen = 0;

	vec_init(&lines, v->arena);
	for (size_t i = 0; i < ar->histories.n; i++)
		vec_push(&lines, ar->histories.v[i]);
	for (size_t i = 0; i < ar->have.n; i++) {
		uint32_t timeline = ar->have.v[i].pos.timeline;
		if (timeline == seen)
			continue;
		seen = timeline;
		if (has_history(ar, timeline))
			continue;
		struct timeline_history *own = vec_add(&lines);
		own->timeline = timeline;
		if (history_is_missed(ar, timeline))
			vec_push(&ar->no_history, timeline);
	}
	const struct wal_gaps_ask ask = { .segment_size = verify_segment_bytes(ar), .have = &ar->have, .ranges = &ar->ranges,
		.lines = lines.v, .lines_n = lines.n };
	wal_gaps_find(v->arena, &ask, &ar->gaps);
}

void verify_archive_judge(struct verify *v, struct verify_archive *ar)
{
	struct arena *a = v->arena;

	vec_init(&ar->have, a);
	vec_init(&ar->ranges, a);
	vec_init(&ar->gaps, a);
	vec_init(&ar->no_history, a);
	ar->total = ar->valid = 0;
	memset(&ar->counts, 0, sizeof(ar->counts));
	take_files(ar);
	take_ranges(v, ar);
	/* of one backup only its own WAL is looked at */
	if (v->set == NULL)
		find_gaps(v, ar);
}

/* --- what backups need of it --- */

struct verify_archive *verify_archive_of(struct verify *v, const struct verify_backup *b)
{
	for (size_t i = 0; b->archive_id != NULL && i < v->archives.n; i++)
		if (strcmp(v->archives.v[i].id, b->archive_id) == 0)
			return &v->archives.v[i];
	return NULL;
}

static void look_for(struct arena *a, const struct verify_archive *ar, struct wal_pos pos, verify_lacks *out)
{
	const struct wal_have key = { .pos = pos };
	const struct wal_have *have = ar->have.n == 0 ? NULL :
		bsearch(&key, ar->have.v, ar->have.n, sizeof(key), wal_have_cmp);
	char name[WAL_NAME + 1];

	if (have != NULL && !have->bad)
		return;
	wal_name(pos, verify_segment_bytes(ar), name);
	vec_push(out, ((struct verify_lack){ arena_strdup(a, name), have == NULL }));
}

static void add_lacks(struct arena *a, const struct verify_archive *ar, const struct verify_backup *b, verify_lacks *out)
{
	struct wal_pos start, stop;

	if (b->start == NULL || b->stop == NULL)
		return;
	if (ar == NULL) {
		vec_push(out, ((struct verify_lack){ b->start, true }));
		return;
	}
	if (!wal_parse(b->start, verify_segment_bytes(ar), &start) ||
		!wal_parse(b->stop, verify_segment_bytes(ar), &stop))
		return;
	if (start.timeline != stop.timeline || stop.segment < start.segment) {
		look_for(a, ar, start, out);
		look_for(a, ar, stop, out);
		return;
	}
	for (; start.segment <= stop.segment; start.segment++)
		look_for(a, ar, start, out);
}

void verify_backup_lacks(struct arena *a, const struct verify_archive *ar, const struct verify_backup *b,
	verify_lacks *out)
{
	vec_init(out, a);
	add_lacks(a, ar, b, out);
}

void verify_archive_lacks(struct arena *a, struct verify *v, const struct verify_archive *ar, verify_lacks *out)
{
	vec_init(out, a);
	for (size_t i = 0; i < v->backups.n; i++)
		if (!v->backups.v[i].gone && verify_archive_of(v, &v->backups.v[i]) == ar)
			add_lacks(a, ar, &v->backups.v[i], out);
}

/* --- the log --- */

static void log_range(const struct verify_archive *ar, const struct verify_wal *first, const struct verify_wal *last)
{
	log_detail("archiveId: %s, wal start: %.*s, wal stop: %.*s", ar->id, WAL_NAME, first->name, WAL_NAME,
		last->name);
}

static void log_ranges(const struct verify_archive *ar)
{
	const struct verify_wal *first = NULL, *last = NULL;
	struct wal_pos at, before = { 0, 0 };

	for (size_t i = 0; i < ar->files.n; i++) {
		const struct verify_wal *w = &ar->files.v[i];
		if (w->kind != WAL_SEGMENT || w->twin || !wal_parse(w->name, verify_segment_bytes(ar), &at))
			continue;
		if (first != NULL && (at.timeline != before.timeline || at.segment != before.segment + 1)) {
			log_range(ar, first, last);
			first = NULL;
		}
		first = first == NULL ? w : first;
		last = w;
		before = at;
	}
	if (first != NULL)
		log_range(ar, first, last);
}

static void log_gaps(const struct verify_archive *ar)
{
	for (size_t i = 0; i < ar->gaps.n; i++) {
		const struct wal_gap *g = &ar->gaps.v[i];
		char first[WAL_NAME + 1], last[WAL_NAME + 1];
		if (g->kind != WAL_GAP_EXPIRED && g->kind != WAL_GAP_UNNEEDED)
			continue;
		wal_name(g->first, verify_segment_bytes(ar), first);
		wal_name(g->last, verify_segment_bytes(ar), last);
		log_detail("archiveId: %s, no WAL from %s to %s: %s", ar->id, first, last,
			g->kind == WAL_GAP_EXPIRED ? "as retention leaves it between backups" :
						     "before all backups");
	}
}

/* Files that no worker has read. */
static void log_untold(const struct verify_archive *ar)
{
	for (size_t i = 0; i < ar->files.n; i++)
		if (!ar->files.v[i].told)
			verify_log_file(ar->files.v[i].path + strlen(ar->root) - strlen(ar->id),
				&ar->files.v[i].result);
}

void verify_archive_log(const struct verify_archive *ar)
{
	log_untold(ar);
	for (size_t i = 0; i < ar->files.n; i = ar->files.v[i].kind == WAL_SEGMENT ? group_end(&ar->files, i) : i + 1)
		if (ar->files.v[i].twin)
			log_info("duplicate WAL '%.*s' for '%s' exists, skipping", WAL_NAME, ar->files.v[i].name,
				ar->id);
	log_ranges(ar);
	log_gaps(ar);
	if (ar->files.n == 0 && ar->unlisted.n == 0)
		log_detail("archive '%s' has no WAL", ar->id);
}
