/*
 * wal_gaps: what an archive lacks.
 *
 * Always true: a segment counts under the one name that recovery asks for first, as in wal_reach.
 */
#include "repo/wal_gaps.h"

#include <stdlib.h>
#include <string.h>

#include "repo/wal_reach.h"

/* One line of descent, walked from its first segment on. */
struct walk {
	const struct wal_gaps_ask *ask;
	struct wal_reach_ask line;
	wal_haves way;	  /* what is there under the right names, ascending */
	uint64_t run;	  /* since this segment everything was there and good */
	bool beyond;	  /* something that belongs to no backup's range was passed */
	wal_gap_list *out;
};

static int pos_cmp(struct wal_pos x, struct wal_pos y)
{
	if (x.timeline != y.timeline)
		return x.timeline < y.timeline ? -1 : 1;
	return x.segment < y.segment ? -1 : x.segment > y.segment;
}

int wal_have_cmp(const void *x, const void *y)
{
	return pos_cmp(((const struct wal_have *)x)->pos, ((const struct wal_have *)y)->pos);
}

static bool in_range(const struct wal_range *r, struct wal_pos pos)
{
	return r->start.timeline == pos.timeline && r->start.segment <= pos.segment &&
		pos.segment <= r->stop;
}

bool wal_in_range(const wal_ranges *ranges, struct wal_pos pos, bool listed_only)
{
	for (size_t i = 0; i < ranges->n; i++)
		if ((!listed_only || ranges->v[i].label != NULL) && in_range(&ranges->v[i], pos))
			return true;
	return false;
}

static struct wal_pos at(const struct walk *w, uint64_t segment)
{
	return (struct wal_pos){ wal_line_timeline(&w->line, segment), segment };
}

/* Does recovery from the backup follow the line?  One that begins in the segment in which its timeline is left (of a
 * standby, just before a promotion) goes on with the child's copy of that segment. */
static bool on_line(const struct walk *w, const struct wal_range *r)
{
	uint32_t size = w->ask->segment_size;
	uint64_t left;

	if (wal_line_timeline(&w->line, r->start.segment) == r->start.timeline)
		return true;
	return timeline_left_at(&w->line.line, r->start.timeline, &left) && left % size != 0 &&
	       wal_segment_of(left, size) == r->start.segment;
}

/* Does a listed backup begin before the segment?  An archive without any backup serves others: then all counts. */
static bool is_needed(const struct walk *w, uint64_t segment)
{
	const wal_ranges *ranges = w->ask->ranges;
	bool any = false;

	for (size_t i = 0; i < ranges->n; i++) {
		if (ranges->v[i].label == NULL)
			continue;
		any = true;
		if (on_line(w, &ranges->v[i]) && ranges->v[i].start.segment < segment)
			return true;
	}
	return !any;
}

/* Who gets to the gap: nothing is missing between the end of the backup and it. */
static void count_stopped(const struct walk *w, struct wal_gap *gap)
{
	const wal_ranges *ranges = w->ask->ranges;

	for (size_t i = 0; i < ranges->n; i++) {
		const struct wal_range *r = &ranges->v[i];
		if (r->label == NULL || !on_line(w, r) || r->stop >= gap->first.segment ||
			r->stop + 1 < w->run)
			continue;
		gap->stopped++;
		if (gap->newest == NULL || strcmp(r->label, gap->newest) > 0)
			gap->newest = r->label;
	}
}

static void add(struct walk *w, enum wal_gap_kind kind, uint64_t first, uint64_t last)
{
	struct wal_gap gap = { .kind = kind, .first = at(w, first), .last = at(w, last) };

	gap.before = at(w, first == 0 ? 0 : first - 1);
	if (kind == WAL_GAP_HOLE || kind == WAL_GAP_BAD)
		count_stopped(w, &gap);
	vec_push(w->out, gap);
}

/* Missing from first to last, in no listed range.  next_explained: what follows begins as a stretch does that
 * retention has left. */
static void missing(struct walk *w, uint64_t first, uint64_t last, bool next_explained)
{
	enum wal_gap_kind kind = WAL_GAP_HOLE;

	if (!is_needed(w, first))
		kind = WAL_GAP_UNNEEDED;
	else if (!w->beyond && next_explained)
		kind = WAL_GAP_EXPIRED;
	add(w, kind, first, last);
	w->run = last + 1;
}

/* All from first up to, but not, end are missing; end is there unless it is only where the line goes on. */
static void gap_before(struct walk *w, uint64_t first, uint64_t end, bool end_is_there)
{
	const wal_ranges *ranges = w->ask->ranges;
	uint64_t begun = first;

	for (uint64_t s = first; s < end;) {
		/* ranges are few and short, gaps may be long: step over what no range touches */
		uint64_t skip = end;
		if (wal_in_range(ranges, at(w, s), true)) {
			if (begun < s)
				missing(w, begun, s - 1, true);
			begun = w->run = ++s;
			continue;
		}
		for (size_t i = 0; i < ranges->n; i++)
			if (ranges->v[i].label != NULL && on_line(w, &ranges->v[i]) &&
				ranges->v[i].start.segment > s && ranges->v[i].start.segment < skip)
				skip = ranges->v[i].start.segment;
		s = skip;
	}
	if (begun < end)
		missing(w, begun, end - 1, end_is_there && wal_in_range(ranges, at(w, end), false));
}

static void pass(struct walk *w, const struct wal_have *h)
{
	if (!wal_in_range(w->ask->ranges, h->pos, false))
		w->beyond = true;
}

/* Segments that are there but bad, as runs. */
static size_t bad_run(struct walk *w, size_t i)
{
	size_t end = i + 1;

	while (end < w->way.n && w->way.v[end].bad &&
		w->way.v[end].pos.segment == w->way.v[end - 1].pos.segment + 1)
		pass(w, &w->way.v[end++]);
	add(w, WAL_GAP_BAD, w->way.v[i].pos.segment, w->way.v[end - 1].pos.segment);
	w->run = w->way.v[end - 1].pos.segment + 1;
	return end;
}

/* Where the line's own timeline begins: its ancestors' WAL is needed up to there. */
static uint64_t own_begin(const struct walk *w)
{
	const struct timeline_history *h = &w->line.line;
	uint64_t lsn;

	if (h->v.n == 0 || !timeline_left_at(h, h->v.v[h->v.n - 1].parent, &lsn))
		return 0;
	return wal_segment_of(lsn, w->ask->segment_size);
}

static void walk_line(struct arena *a, const struct wal_gaps_ask *ask,
	const struct timeline_history *line, wal_gap_list *out)
{
	struct walk w = { .ask = ask, .out = out };
	uint64_t begin;

	w.line.segment_size = ask->segment_size;
	w.line.line = *line;
	vec_init(&w.way, a);
	for (size_t i = 0; i < ask->have->n; i++) {
		struct wal_pos p = ask->have->v[i].pos;
		if (wal_line_timeline(&w.line, p.segment) == p.timeline)
			vec_push(&w.way, ask->have->v[i]);
	}
	if (w.way.n == 0)
		return;
	/* ordered by timeline and segment, and a line's timelines follow each other, so by segment */
	w.run = w.way.v[0].pos.segment;
	for (size_t i = 0; i < w.way.n;) {
		const struct wal_have *h = &w.way.v[i];
		uint64_t next = i == 0 ? h->pos.segment : w.way.v[i - 1].pos.segment + 1;
		if (next < h->pos.segment) {
			gap_before(&w, next, h->pos.segment, true);
			w.run = h->pos.segment;
		}
		pass(&w, h);
		i = h->bad ? bad_run(&w, i) : i + 1;
	}
	begin = own_begin(&w);
	if (w.way.v[w.way.n - 1].pos.segment + 1 < begin)
		gap_before(&w, w.way.v[w.way.n - 1].pos.segment + 1, begin, false);
}

static int gap_cmp(const void *x, const void *y)
{
	const struct wal_gap *gx = x, *gy = y;
	int c = pos_cmp(gx->first, gy->first);

	if (c == 0)
		c = gx->kind < gy->kind ? -1 : gx->kind > gy->kind;
	return c != 0 ? c : pos_cmp(gx->last, gy->last);
}

void wal_gaps_find(struct arena *a, const struct wal_gaps_ask *ask, wal_gap_list *out)
{
	size_t kept = 0;

	vec_init(out, a);
	for (size_t i = 0; i < ask->lines_n; i++)
		walk_line(a, ask, &ask->lines[i], out);
	if (out->n > 0)
		qsort(out->v, out->n, sizeof(*out->v), gap_cmp);
	for (size_t i = 0; i < out->n; i++) {
		struct wal_gap *last = kept == 0 ? NULL : &out->v[kept - 1];
		if (last == NULL || pos_cmp(last->first, out->v[i].first) != 0) {
			out->v[kept++] = out->v[i];
			continue;
		}
		/* lines that share it; each may be the way of other backups */
		if (last->kind == out->v[i].kind && out->v[i].stopped > last->stopped) {
			last->stopped = out->v[i].stopped;
			last->newest = out->v[i].newest;
		}
	}
	out->n = kept;
}
