/*
 * wal_reach: how far recovery gets with the WAL that is archived.
 *
 * Always true: a segment counts under the one name that recovery asks for first, that of the newest timeline
 * of its line that has begun by then; an ancestor's copy of it ends where the line left the ancestor.
 */
#include "repo/wal_reach.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "repo/layout.h"
#include "repo/wal_check.h"


/* --- deciding --- */

/* The i-th timeline of a line, oldest first; the last one, i == v.n, is the line's own. */
static uint32_t nth_timeline(const struct timeline_history *line, size_t i)
{
	return i == line->v.n ? line->timeline : line->v.v[i].parent;
}

static uint64_t nth_begin(const struct wal_reach_ask *ask, size_t i)
{
	return i == 0 ? 0 : wal_segment_of(ask->line.v.v[i - 1].lsn, ask->segment_size);
}

uint32_t wal_line_timeline(const struct wal_reach_ask *ask, uint64_t segment)
{
	size_t i = ask->line.v.n;

	while (nth_begin(ask, i) > segment)
		i--;
	return nth_timeline(&ask->line, i);
}

static int cmp_u64(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return a < b ? -1 : a > b;
}

typedef VEC(uint64_t) numbers;

/* Numbers of the segments that are there under the right name, ascending, each once. */
static void on_the_way(struct arena *a, const struct wal_reach_ask *ask, const wal_positions *there,
	numbers *out)
{
	size_t kept = 0;

	vec_init(out, a);
	for (size_t i = 0; i < there->n; i++) {
		struct wal_pos p = there->v[i];
		if (p.segment >= ask->start && wal_line_timeline(ask, p.segment) == p.timeline)
			vec_push(out, p.segment);
	}
	if (out->n > 0)
		qsort(out->v, out->n, sizeof(*out->v), cmp_u64);
	for (size_t i = 0; i < out->n; i++)
		if (kept == 0 || out->v[kept - 1] != out->v[i])
			out->v[kept++] = out->v[i];
	out->n = kept;
}

static struct wal_pos pos_of(const struct wal_reach_ask *ask, uint64_t segment)
{
	return (struct wal_pos){ wal_line_timeline(ask, segment), segment };
}

/* All from first up to, but not, end are missing. */
static void add_gap(const struct wal_reach_ask *ask, uint64_t first, uint64_t end, struct wal_reach *out)
{
	if (end <= first)
		return;
	out->missing += end - first;
	for (; first < end && out->gaps_n < WAL_REACH_SHOWN; first++)
		out->gaps[out->gaps_n++] = pos_of(ask, first);
}

/* The last segment that must be there whatever is. */
static uint64_t last_needed(const struct wal_reach_ask *ask)
{
	return ask->goal == WAL_GOAL_SEGMENT && ask->target > ask->stop ? ask->target : ask->stop;
}

static bool is_bounded(const struct wal_reach_ask *ask)
{
	return ask->goal == WAL_GOAL_CONSISTENT || ask->goal == WAL_GOAL_SEGMENT;
}

static enum wal_verdict verdict(const struct wal_reach_ask *ask, const struct wal_reach *r)
{
	if (r->left_early || !r->consistent)
		return WAL_FALLS_SHORT;
	if (ask->goal != WAL_GOAL_SOMEWHERE)
		return r->missing > 0 ? WAL_FALLS_SHORT : WAL_REACHES;
	if (r->to.segment < ask->not_before)
		return WAL_FALLS_SHORT;
	return r->to.segment >= ask->by ? WAL_REACHES : WAL_MAY_REACH;
}

void wal_reach_judge(struct arena *a, const struct wal_reach_ask *ask, const wal_positions *there,
	struct wal_reach *out)
{
	uint64_t next = ask->start, last = last_needed(ask), left;
	numbers way;

	memset(out, 0, sizeof(*out));
	on_the_way(a, ask, there, &way);
	for (size_t i = 0; i < way.n && (!is_bounded(ask) || way.v[i] <= last); i++) {
		add_gap(ask, next, way.v[i], out);
		next = way.v[i] + 1;
		out->present++;
	}
	add_gap(ask, next, last + 1, out);
	uint64_t end = out->gaps_n > 0 ? out->gaps[0].segment : next;
	out->any = end > ask->start;
	if (out->any) {
		out->from = pos_of(ask, ask->start);
		out->to = pos_of(ask, end - 1);
	}
	out->consistent = out->any && out->to.segment >= ask->stop;
	out->left_early = timeline_left_at(&ask->line, ask->timeline, &left) && left < ask->stop_lsn;
	out->verdict = verdict(ask, out);
}

/* --- looking --- */

struct look {
	struct arena *a;
	const struct wal_reach_ask *ask;
	wal_positions *out;
	strvec *dirs;
};

static int see_segment(void *ctx, const struct store_entry *e)
{
	struct look *l = ctx;
	struct wal_pos pos;

	if (wal_is_stored_segment(e->name) && wal_parse(e->name, l->ask->segment_size, &pos)) {
		/* archive-get would not know what to make of it either */
		if (e->type == STORE_DIR)
			return err_set(ERR_FORMAT, "WAL file '%s' is a directory", e->name);
		vec_push(l->out, pos);
	}
	return 0;
}

static bool is_on_line(const struct timeline_history *line, uint64_t timeline)
{
	for (size_t i = 0; i <= line->v.n; i++)
		if (nth_timeline(line, i) == timeline)
			return true;
	return false;
}

/* Directories that may hold a segment of the way. */
static int see_dir(void *ctx, const struct store_entry *e)
{
	struct look *l = ctx;
	uint64_t timeline, high, per_dir = (UINT64_C(1) << 32) / l->ask->segment_size;

	if (!wal_is_dir(e) || !str_hex_to_u64(e->name, 8, &timeline) ||
		!str_hex_to_u64(e->name + 8, 8, &high))
		return 0;
	if (!is_on_line(&l->ask->line, timeline) || high < l->ask->start / per_dir ||
		(is_bounded(l->ask) && high > last_needed(l->ask) / per_dir))
		return 0;
	vec_push(l->dirs, arena_strdup(l->a, e->name));
	return 0;
}

static const char *root_of(struct arena *a, const struct wal_place *p)
{
	return path_join(a, layout_archive_root(a, p->stanza), p->archive_id);
}

static int list_place(struct arena *a, const struct wal_place *p,
	const struct wal_reach_ask *ask, wal_positions *out)
{
	const char *root = root_of(a, p);
	strvec dirs;
	struct look l = { .a = a, .ask = ask, .out = out, .dirs = &dirs };

	vec_init(&dirs, a);
	if (store_list(p->repo, root, see_dir, &l) < 0)
		return -1;
	for (size_t i = 0; i < dirs.n; i++)
		if (store_list(p->repo, path_join(a, root, dirs.v[i]), see_segment, &l) < 0)
			return -1;
	return 0;
}

/* Where nothing later proves a hole, something else may: every name that recovery would ask for now must be
 * proven absent, or archive-get stops it.  1 a hole, 0, -1. */
static int ask_end(struct arena *a, const struct wal_place *places, size_t n,
	const struct wal_reach_ask *ask, struct wal_reach *r, size_t *at)
{
	uint64_t segment = r->to.segment + 1;

	for (size_t i = ask->line.v.n + 1; i > 0; i--) {
		struct wal_pos pos = { nth_timeline(&ask->line, i - 1), segment };
		char name[WAL_NAME + 1];
		if (nth_begin(ask, i - 1) > segment || pos.timeline < r->to.timeline)
			continue;
		wal_name(pos, ask->segment_size, name);
		int rc = wal_is_hole(a, places, n, name, ask->segment_size, &r->evidence, at);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int wal_reach(struct arena *a, const struct wal_place *places, size_t n,
	const struct wal_reach_ask *ask, struct wal_reach *out, size_t *at)
{
	wal_positions there;

	vec_init(&there, a);
	for (*at = 0; *at < n; ++*at)
		if (list_place(a, &places[*at], ask, &there) != 0)
			return -1;
	wal_reach_judge(a, ask, &there, out);
	if (is_bounded(ask) || !out->consistent || out->missing > 0)
		return 0;
	int rc = ask_end(a, places, n, ask, out, at);
	if (rc <= 0)
		return rc;
	add_gap(ask, out->to.segment + 1, out->to.segment + 2, out);
	out->verdict = verdict(ask, out);
	return 0;
}

/* --- the line of descent --- */

/* History files come in order of their numbers. */
static int see_history(void *ctx, const struct store_entry *e)
{
	uint32_t *latest = ctx;
	uint64_t timeline;

	if (e->type != STORE_DIR && wal_kind(e->name) == WAL_HISTORY && str_hex_to_u64(e->name, 8, &timeline) &&
		timeline == (uint64_t)*latest + 1)
		*latest = (uint32_t)timeline;
	return 0;
}

/* As PostgreSQL looks for the latest: each number after the other, wherever its history is, until one is not
 * there.  A round that finds nothing new ends it. */
static int find_latest(struct arena *a, const struct wal_place *places, size_t n,
	uint32_t *timeline, size_t *at)
{
	uint32_t before;

	do {
		before = *timeline;
		for (*at = 0; *at < n; ++*at)
			if (store_list(places[*at].repo, root_of(a, &places[*at]), see_history,
					timeline) < 0)
				return -1;
	} while (n > 1 && *timeline != before);
	return 0;
}

int wal_reach_line(struct arena *a, const struct wal_place *places, size_t n,
	uint32_t timeline, uint32_t target, struct timeline_history *out, size_t *at)
{
	struct buf text;

	if (target == 0) {
		target = timeline;
		if (find_latest(a, places, n, &target, at) != 0)
			return -1;
	}
	*out = (struct timeline_history){ .timeline = target };
	if (target == timeline)
		return 0; /* its ancestors ended before the backup began */
	buf_init(&text, a);
	const char *name = arena_printf(a, "%08X.history", target);
	for (*at = 0; *at < n; ++*at) {
		const char *path = path_join(a, root_of(a, &places[*at]), name);
		int rc = wal_read_text(&places[*at], path, true, &text);
		if (rc == STORE_ABSENT)
			continue;
		return rc < 0 ? -1 : timeline_parse(a, target, text.data, text.len, out);
	}
	return err_set(ERR_FILE_MISSING, "unable to find history file '%s' of the target timeline", name);
}
