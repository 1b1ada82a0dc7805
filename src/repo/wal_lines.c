/*
 * wal_lines: an archive by timelines, and the recovery windows.
 *
 * Always true: wal_gaps is asked for one line of descent at a time, because a gap that goes over a switch concerns
 * other segments on each line; what lines say of the same segment is put together here, the worse counts.
 */
#include "repo/wal_lines.h"

#include <stdlib.h>
#include <string.h>

/* What is derived from the question once. */
struct facts {
	const struct wal_lines_ask *ask;
	struct arena *a;
	wal_histories lines; /* those of the question, and of each other timeline with something in it its own */
	wal_haves have;
	wal_ranges ranges;
};

static int pos_cmp(struct wal_pos x, struct wal_pos y)
{
	if (x.timeline != y.timeline)
		return x.timeline < y.timeline ? -1 : 1;
	return x.segment < y.segment ? -1 : x.segment > y.segment;
}

static int cmp_u32(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

	return a < b ? -1 : a > b;
}

static const struct timeline_history *line_of(const wal_histories *lines, uint32_t timeline)
{
	for (size_t i = 0; i < lines->n; i++)
		if (lines->v[i].timeline == timeline)
			return &lines->v[i];
	return NULL;
}

static void need_line(struct facts *f, uint32_t timeline)
{
	if (line_of(&f->lines, timeline) == NULL)
		vec_add(&f->lines)->timeline = timeline;
}

static void gather(struct arena *a, const struct wal_lines_ask *ask, struct facts *f)
{
	f->ask = ask;
	f->a = a;
	vec_init(&f->lines, a);
	vec_init(&f->have, a);
	vec_init(&f->ranges, a);
	for (size_t i = 0; i < ask->histories->n; i++)
		vec_push(&f->lines, ask->histories->v[i]);
	for (size_t i = 0; i < ask->kept->n; i++) {
		const struct wal_kept *k = &ask->kept->v[i];
		if (i == 0 || k->pos.timeline != ask->kept->v[i - 1].pos.timeline)
			need_line(f, k->pos.timeline);
		vec_push(&f->have, ((struct wal_have){ k->pos, k->bad }));
	}
	for (size_t i = 0; i < ask->backups->n; i++) {
		const struct wal_lines_backup *b = &ask->backups->v[i];
		need_line(f, b->start.timeline);
		vec_push(&f->ranges, ((struct wal_range){ b->label, b->start, b->stop }));
	}
	for (size_t i = 0; i < ask->former->n; i++)
		vec_push(&f->ranges, ask->former->v[i]);
	for (size_t i = 0; i < ask->dropped->n; i++)
		need_line(f, ask->dropped->v[i].pos.timeline);
}

static struct wal_reach_ask way_of(const struct facts *f, const struct timeline_history *line)
{
	return (struct wal_reach_ask){ .segment_size = f->ask->segment_size, .line = *line };
}

/* Can recovery that follows the line begin with the backup?  Only if the line left its timeline no earlier than it
 * ended. */
static bool is_on_line(const struct timeline_history *line, const struct wal_lines_backup *b)
{
	uint64_t lsn;

	return line->timeline == b->start.timeline ||
		(timeline_left_at(line, b->start.timeline, &lsn) && lsn >= b->stop_lsn);
}

static size_t first_from(const wal_haves *have, struct wal_pos pos)
{
	size_t low = 0, high = have->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (pos_cmp(have->v[mid].pos, pos) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_there(const struct facts *f, struct wal_pos pos)
{
	size_t i = first_from(&f->have, pos);

	return i < f->have.n && pos_cmp(f->have.v[i].pos, pos) == 0;
}

/* --- what is lacking --- */

/* A kind begins or ends to hold for segments from at on. */
struct event {
	uint32_t timeline;
	uint64_t at;
	enum wal_lack_kind kind;
	int by; /* 1, -1 */
	size_t note;
};
typedef VEC(struct event) events;

static void add_span(events *out, enum wal_lack_kind kind, struct wal_pos first, uint64_t last, size_t note)
{
	vec_push(out, ((struct event){ first.timeline, first.segment, kind, 1, note }));
	vec_push(out, ((struct event){ first.timeline, last + 1, kind, -1, note }));
}

static enum wal_lack_kind kind_of(enum wal_gap_kind kind)
{
	switch (kind) {
	case WAL_GAP_BAD:
		return WAL_LACK_BAD;
	case WAL_GAP_EXPIRED:
		return WAL_LACK_EXPIRED;
	case WAL_GAP_UNNEEDED:
		return WAL_LACK_UNNEEDED;
	case WAL_GAP_HOLE:
		break;
	}
	return WAL_LACK_LOST;
}

/* The last segment up to end that the line has on the same timeline as this one. */
static uint64_t same_timeline(const struct wal_reach_ask *way, uint64_t segment, uint64_t end)
{
	uint32_t timeline = wal_line_timeline(way, segment);

	while (segment < end) {
		uint64_t mid = segment + (end - segment + 1) / 2;
		if (wal_line_timeline(way, mid) == timeline)
			segment = mid;
		else
			end = mid - 1;
	}
	return segment;
}

/* Does a backup with which recovery along the line can begin come before it?  wal_gaps asks by names only, and so does
 * not know the backup of a standby that ended in the very segment in which its timeline was left. */
static bool has_backup_before(const struct facts *f, const struct timeline_history *line, uint64_t segment)
{
	for (size_t i = 0; i < f->ask->backups->n; i++) {
		const struct wal_lines_backup *b = &f->ask->backups->v[i];
		if (b->start.segment < segment && is_on_line(line, b))
			return true;
	}
	return false;
}

static void add_gaps(struct facts *f, const struct timeline_history *line, events *out)
{
	const struct wal_gaps_ask ask = { .segment_size = f->ask->segment_size, .have = &f->have, .ranges = &f->ranges,
		.lines = line, .lines_n = 1 };
	const struct wal_reach_ask way = way_of(f, line);
	wal_gap_list gaps;

	wal_gaps_find(f->a, &ask, &gaps);
	for (size_t i = 0; i < gaps.n; i++) {
		uint64_t segment = gaps.v[i].first.segment, last = gaps.v[i].last.segment;
		enum wal_lack_kind kind = kind_of(gaps.v[i].kind);
		if (kind == WAL_LACK_UNNEEDED && has_backup_before(f, line, segment))
			kind = WAL_LACK_LOST;
		while (segment <= last) {
			uint64_t end = same_timeline(&way, segment, last);
			add_span(out, kind, (struct wal_pos){ wal_line_timeline(&way, segment),
				segment }, end, 0);
			segment = end + 1;
		}
	}
}

/* Of a listed backup's own range, which wal_gaps leaves to others. */
static void add_range(const struct facts *f, const struct wal_lines_backup *b, events *out)
{
	struct wal_pos next = b->start;

	for (size_t i = first_from(&f->have, b->start); i < f->have.n; i++) {
		struct wal_pos there = f->have.v[i].pos;
		if (there.timeline != next.timeline || there.segment > b->stop)
			break;
		if (next.segment < there.segment)
			add_span(out, WAL_LACK_LOST, next, there.segment - 1, 0);
		next.segment = there.segment + 1;
	}
	if (next.segment <= b->stop)
		add_span(out, WAL_LACK_LOST, next, b->stop, 0);
}

/* Would anybody come to it?  Without backups the archive serves others: then all counts. */
static bool is_needed(const struct facts *f, struct wal_pos pos)
{
	return f->ask->backups->n == 0 ||
		has_backup_before(f, line_of(&f->lines, pos.timeline), pos.segment + 1);
}

static void add_dropped(const struct facts *f, events *out)
{
	for (size_t i = 0; i < f->ask->dropped->n; i++) {
		const struct wal_dropped *d = &f->ask->dropped->v[i];
		if (!is_there(f, d->pos) && is_needed(f, d->pos))
			add_span(out, WAL_LACK_DROPPED, d->pos, d->pos.segment, d->note);
	}
}

static int event_cmp(const void *x, const void *y)
{
	const struct event *ex = x, *ey = y;
	int c = pos_cmp((struct wal_pos){ ex->timeline, ex->at }, (struct wal_pos){ ey->timeline, ey->at });

	return c != 0 ? c : ex->by - ey->by;
}

static void find_events(struct facts *f, events *out)
{
	vec_init(out, f->a);
	for (size_t i = 0; i < f->lines.n; i++)
		add_gaps(f, &f->lines.v[i], out);
	for (size_t i = 0; i < f->ask->backups->n; i++)
		add_range(f, &f->ask->backups->v[i], out);
	add_dropped(f, out);
	if (out->n > 0)
		qsort(out->v, out->n, sizeof(*out->v), event_cmp);
}

/* Of what holds, what is to be said.  A note of dropped WAL explains a loss, and is the truth where retention might
 * have been at work. */
static bool judge(const int *holds, enum wal_lack_kind *out)
{
	bool dropped = holds[WAL_LACK_DROPPED] > 0;

	for (int kind = WAL_LACK_LOST; kind <= WAL_LACK_UNNEEDED; kind++) {
		if (holds[kind] == 0)
			continue;
		*out = dropped && (kind == WAL_LACK_LOST || kind == WAL_LACK_EXPIRED) ? WAL_LACK_DROPPED : (enum wal_lack_kind)kind;
		return true;
	}
	*out = WAL_LACK_DROPPED;
	return dropped;
}

static void add_lack(struct wal_timeline *t, struct wal_lack lack)
{
	struct wal_lack *last = t->lacks.n == 0 ? NULL : &t->lacks.v[t->lacks.n - 1];

	t->lost_wal = t->lost_wal || lack.kind <= WAL_LACK_BAD;
	if (last != NULL && last->kind == lack.kind && last->note == lack.note && last->last + 1 == lack.first)
		last->last = lack.last;
	else
		vec_push(&t->lacks, lack);
}

/* Events of one timeline, in order. */
static void take_events(struct wal_timeline *t, const struct event *v, size_t n)
{
	int holds[WAL_LACK_UNNEEDED + 1] = { 0 };
	enum wal_lack_kind kind;
	size_t note = 0;

	for (size_t i = 0; i < n; i++) {
		holds[v[i].kind] += v[i].by;
		if (v[i].kind == WAL_LACK_DROPPED && v[i].by > 0)
			note = v[i].note;
		if (i + 1 < n && v[i + 1].at > v[i].at && judge(holds, &kind))
			add_lack(t, (struct wal_lack){ kind, v[i].at, v[i + 1].at - 1,
				kind == WAL_LACK_DROPPED ? note : 0 });
	}
}

/* --- timelines --- */

static int label_cmp(const void *x, const void *y)
{
	const struct wal_lines_backup *bx = *(const struct wal_lines_backup *const *)x;
	const struct wal_lines_backup *by = *(const struct wal_lines_backup *const *)y;
	int c = strcmp(bx->label, by->label);

	return c != 0 ? c : bx->repo_key < by->repo_key ? -1 : bx->repo_key > by->repo_key;
}

/*
 * Expire removes a history with the last of its timeline but for the ranges of backups, and the cluster may have come
 * into the stanza with a later timeline: only if a backup of an earlier one could follow, the history is missed.
 */
static bool misses_history(const struct facts *f, const struct wal_timeline *t)
{
	bool earlier = false;

	if (t->has_history || t->id <= 1)
		return false;
	for (size_t i = 0; i < f->ask->backups->n; i++)
		earlier = earlier || f->ask->backups->v[i].start.timeline < t->id;
	for (size_t i = first_from(&f->have, (struct wal_pos){ t->id, 0 }); earlier && i < f->have.n; i++) {
		if (f->have.v[i].pos.timeline != t->id)
			break;
		if (!wal_in_range(&f->ranges, f->have.v[i].pos, false))
			return true;
	}
	return false;
}

/* As its own history tells, or that of a descendant: expire may have removed its own. */
static void find_parent(const struct facts *f, struct wal_timeline *t)
{
	for (size_t i = 0; i < f->ask->histories->n; i++) {
		const struct timeline_history *h = &f->ask->histories->v[i];
		for (size_t k = 0; k < h->v.n && (t->parent == 0 || h->timeline == t->id); k++) {
			if ((k + 1 < h->v.n ? h->v.v[k + 1].parent : h->timeline) != t->id)
				continue;
			t->parent = h->v.v[k].parent;
			t->begun_at = h->v.v[k].lsn;
		}
	}
}

static void describe(struct facts *f, struct wal_timeline *t)
{
	const struct timeline_history *h = line_of(f->ask->histories, t->id);

	vec_init(&t->lacks, f->a);
	vec_init(&t->backups, f->a);
	t->has_history = h != NULL;
	find_parent(f, t);
	for (size_t i = first_from(&f->have, (struct wal_pos){ t->id, 0 }); i < f->have.n; i++) {
		struct wal_pos pos = f->have.v[i].pos;
		if (pos.timeline != t->id)
			break;
		t->first = t->count++ == 0 ? pos.segment : t->first;
		t->last = pos.segment;
	}
	for (size_t i = 0; i < f->ask->backups->n; i++)
		if (f->ask->backups->v[i].start.timeline == t->id)
			vec_push(&t->backups, &f->ask->backups->v[i]);
	if (t->backups.n > 0)
		qsort(t->backups.v, t->backups.n, sizeof(*t->backups.v), label_cmp);
	t->lost_history = misses_history(f, t);
}

void wal_lines_list(struct arena *a, const struct wal_lines_ask *ask, wal_timelines *out)
{
	struct facts f;
	events all;
	VEC(uint32_t) ids;

	gather(a, ask, &f);
	find_events(&f, &all);
	vec_init(out, a);
	vec_init(&ids, a);
	for (size_t i = 0; i < f.lines.n; i++)
		vec_push(&ids, f.lines.v[i].timeline);
	/* ancestors that histories name: all of their WAL may be lost */
	for (size_t i = 0; i < all.n; i++)
		if (i == 0 || all.v[i].timeline != all.v[i - 1].timeline)
			vec_push(&ids, all.v[i].timeline);
	if (ids.n > 0)
		qsort(ids.v, ids.n, sizeof(*ids.v), cmp_u32);
	for (size_t i = 0, e = 0; i < ids.n; i++) {
		if (i > 0 && ids.v[i] == ids.v[i - 1])
			continue;
		struct wal_timeline *t = vec_add(out);
		size_t begin = e;
		t->id = ids.v[i];
		describe(&f, t);
		while (e < all.n && all.v[e].timeline == t->id)
			e++;
		take_events(t, all.v + begin, e - begin);
	}
}

/* --- windows --- */

struct found {
	struct wal_window w;
	const struct timeline_history *line;
};
typedef VEC(struct found) founds;

/* Segments of a line that follow each other. */
struct run {
	struct facts *f;
	const struct timeline_history *line;
	struct wal_reach_ask way;
	uint64_t first, last;
	int64_t stored; /* of the last */
	bool open;
	founds *out;
};

/* When the end of the run was written: about when its last segment was stored, but that may have been copied or come
 * late; backups within and behind the run bound it. */
static int64_t until(const struct run *r)
{
	int64_t newest = 0, behind = INT64_MAX, t = r->stored;

	for (size_t i = 0; i < r->f->ask->backups->n; i++) {
		const struct wal_lines_backup *b = &r->f->ask->backups->v[i];
		if (!is_on_line(r->line, b))
			continue;
		if (b->start.segment > r->last && b->begun < behind)
			behind = b->begun;
		if (b->start.segment >= r->first && b->stop <= r->last && b->ended > newest)
			newest = b->ended;
	}
	t = t > behind ? behind : t;
	return t < newest ? newest : t;
}

static const struct wal_lines_backup *oldest_in(const struct run *r)
{
	const struct wal_lines_backup *oldest = NULL;

	for (size_t i = 0; i < r->f->ask->backups->n; i++) {
		const struct wal_lines_backup *b = &r->f->ask->backups->v[i];
		if (b->start.segment < r->first || b->stop > r->last || !is_on_line(r->line, b))
			continue;
		if (oldest == NULL || b->stop_lsn < oldest->stop_lsn ||
			(b->stop_lsn == oldest->stop_lsn && label_cmp(&b, &oldest) < 0))
			oldest = b;
	}
	return oldest;
}

static struct wal_pos at(const struct run *r, uint64_t segment)
{
	return (struct wal_pos){ wal_line_timeline(&r->way, segment), segment };
}

static void end_run(struct run *r, bool hole)
{
	const struct wal_lines_backup *from = r->open ? oldest_in(r) : NULL;

	r->open = false;
	if (from != NULL)
		vec_push(r->out, ((struct found){ { from, at(r, r->last), until(r), hole, at(r, r->last + 1) }, r->line }));
}

static bool is_dropped(const struct run *r, struct wal_pos pos)
{
	for (size_t i = 0; i < r->f->ask->dropped->n; i++)
		if (pos_cmp(r->f->ask->dropped->v[i].pos, pos) == 0)
			return true;
	return false;
}

/* Behind all that the line has: does something speak for more? */
static bool goes_on(const struct run *r)
{
	const struct timeline_history *h = r->line;
	uint64_t lsn;

	/* the line's own timeline begins later, so its ancestors went on */
	if (h->v.n > 0 && timeline_left_at(h, h->v.v[h->v.n - 1].parent, &lsn) &&
		r->last + 1 < wal_segment_of(lsn, r->f->ask->segment_size))
		return true;
	return is_dropped(r, at(r, r->last + 1));
}

static void walk(struct facts *f, const struct timeline_history *line, founds *out)
{
	struct run r = { .f = f, .line = line, .way = way_of(f, line), .out = out };

	/* by timeline and segment, and a line's timelines follow each other: so by segment */
	for (size_t i = 0; i < f->ask->kept->n; i++) {
		const struct wal_kept *k = &f->ask->kept->v[i];
		if (wal_line_timeline(&r.way, k->pos.segment) != k->pos.timeline)
			continue;
		if (k->bad || (r.open && k->pos.segment != r.last + 1))
			end_run(&r, true);
		if (k->bad)
			continue;
		if (!r.open)
			r.first = k->pos.segment;
		r.open = true;
		r.last = k->pos.segment;
		r.stored = k->stored;
	}
	if (r.open)
		end_run(&r, goes_on(&r));
}

static bool prolongs(const struct facts *f, const struct found *longer, const struct found *x)
{
	const struct wal_reach_ask way = way_of(f, longer->line);

	return longer->w.from == x->w.from && x->w.last.segment <= longer->w.last.segment &&
		wal_line_timeline(&way, x->w.last.segment) == x->w.last.timeline;
}

/* Of two that end alike, that on whose line more was to come tells more. */
static bool is_redundant(const struct facts *f, const founds *all, size_t i)
{
	const struct found *x = &all->v[i];

	for (size_t k = 0; k < all->n; k++) {
		const struct found *y = &all->v[k];
		if (k == i || !prolongs(f, y, x))
			continue;
		if (y->w.last.segment > x->w.last.segment || (y->w.hole && !x->w.hole) ||
			(y->w.hole == x->w.hole && k < i))
			return true;
	}
	return false;
}

static int window_cmp(const void *x, const void *y)
{
	const struct wal_window *wx = x, *wy = y;

	if (wx->last.timeline != wy->last.timeline)
		return wx->last.timeline < wy->last.timeline ? -1 : 1;
	if (wx->last.segment != wy->last.segment)
		return wx->last.segment < wy->last.segment ? -1 : 1;
	return label_cmp(&wx->from, &wy->from);
}

void wal_lines_windows(struct arena *a, const struct wal_lines_ask *ask, wal_windows *out)
{
	struct facts f;
	founds all;

	gather(a, ask, &f);
	vec_init(&all, a);
	vec_init(out, a);
	for (size_t i = 0; i < f.lines.n; i++)
		walk(&f, &f.lines.v[i], &all);
	for (size_t i = 0; i < all.n; i++)
		if (!is_redundant(&f, &all, i))
			vec_push(out, all.v[i].w);
	if (out->n > 0)
		qsort(out->v, out->n, sizeof(*out->v), window_cmp);
}
