/*
 * wal_lines: an archive by timelines, and its recovery windows.
 *
 * The segment size is 1 MiB, so LSN 0/500000 is the first byte of segment 5.  Cases are written in words:
 *   1/3-7   segments that are there, "!" behind them: of no use      B=1/3-4   a listed backup, "=1/3": a former one
 *   2<1@5.5 timeline 2 left 1 in the middle of segment 5              x1/8      dropped
 * The last test holds windows and lacks against a plain model that walks segment by segment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "repo/wal_lines.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SEG ((uint32_t)1 << 20)

struct story {
	struct arena *a;
	wal_kepts kept;
	wal_lines_backups backups;
	wal_ranges former;
	wal_histories histories;
	wal_droppeds dropped;
};

static void story_init(struct story *s, struct arena *a)
{
	s->a = a;
	vec_init(&s->kept, a);
	vec_init(&s->backups, a);
	vec_init(&s->former, a);
	vec_init(&s->histories, a);
	vec_init(&s->dropped, a);
}

static struct wal_lines_ask ask_of(const struct story *s)
{
	return (struct wal_lines_ask){ SEG, &s->kept, &s->backups, &s->former, &s->histories, &s->dropped };
}

static int kept_cmp(const void *x, const void *y)
{
	struct wal_pos a = ((const struct wal_kept *)x)->pos, b = ((const struct wal_kept *)y)->pos;

	if (a.timeline != b.timeline)
		return a.timeline < b.timeline ? -1 : 1;
	return a.segment < b.segment ? -1 : a.segment > b.segment;
}

/* "1/3" or "1/3-7" */
static struct wal_pos first_last(const char *text, uint64_t *last)
{
	char *end;
	struct wal_pos p = { (uint32_t)strtoul(text, &end, 10), 0 };

	p.segment = *last = strtoull(end + 1, &end, 10);
	if (*end == '-')
		*last = strtoull(end + 1, &end, 10);
	return p;
}

/* Stop LSN of a backup: the middle of its last segment; ended and begun: from its segments, so that times tell who is
 * who. */
static void add_backup(struct story *s, const char *label, struct wal_pos start, uint64_t stop)
{
	struct wal_lines_backup b = { .label = arena_strdup(s->a, label), .repo_key = 1, .start = start, .stop = stop,
		.stop_lsn = stop * SEG + SEG / 2, .begun = (int64_t)start.segment * 10, .ended = (int64_t)stop * 10 + 5 };

	vec_push(&s->backups, b);
}

static void add_history(struct story *s, const char *word)
{
	struct timeline_history h = { .timeline = (uint32_t)strtoul(word, NULL, 10) };
	strvec parts = str_split(s->a, strchr(word, '<') + 1, ',');

	vec_init(&h.v, s->a);
	for (size_t i = 0; i < parts.n; i++) {
		double where = strtod(strchr(parts.v[i], '@') + 1, NULL);
		vec_push(&h.v, ((struct timeline_switch){ (uint32_t)strtoul(parts.v[i], NULL, 10),
			(uint64_t)(where * SEG) }));
	}
	vec_push(&s->histories, h);
}

static void add_word(struct story *s, const char *word)
{
	const char *sign = strchr(word, '=');
	uint64_t last;

	if (strchr(word, '<') != NULL) {
		add_history(s, word);
	} else if (sign == word) {
		struct wal_range r = { .start = first_last(sign + 1, &r.stop) };
		vec_push(&s->former, r);
	} else if (sign != NULL) {
		struct wal_pos start = first_last(sign + 1, &last);
		add_backup(s, arena_strndup(s->a, word, (size_t)(sign - word)), start, last);
	} else if (*word == 'x') {
		struct wal_dropped d = { first_last(word + 1, &last), 0 };
		for (; d.pos.segment <= last; d.pos.segment++)
			vec_push(&s->dropped, d);
	} else {
		struct wal_kept k = { .pos = first_last(word, &last), .bad = strchr(word, '!') != NULL };
		for (; k.pos.segment <= last; k.pos.segment++) {
			k.stored = (int64_t)k.pos.segment * 10 + 9;
			vec_push(&s->kept, k);
		}
	}
}

static void read_story(struct story *s, struct arena *a, const char *text)
{
	strvec words = str_split(a, text, ' ');

	story_init(s, a);
	for (size_t i = 0; i < words.n; i++)
		if (words.v[i][0] != '\0')
			add_word(s, words.v[i]);
	if (s->kept.n > 0)
		qsort(s->kept.v, s->kept.n, sizeof(*s->kept.v), kept_cmp);
}

/* "1: 3-9 7 L5-6 B" -- first-last, count, lacks, backups; "<1@5.5": parent */
static const char *show_timelines(struct arena *a, const wal_timelines *v)
{
	struct buf b;

	buf_init(&b, a);
	for (size_t i = 0; i < v->n; i++) {
		const struct wal_timeline *t = &v->v[i];
		buf_addf(&b, "%s%u", i == 0 ? "" : "; ", t->id);
		if (t->parent != 0)
			buf_addf(&b, "<%u@%.1f", t->parent, (double)t->begun_at / SEG);
		buf_addf(&b, "%s:", t->lost_wal ? " LOST" : t->lost_history ? " NOHISTORY" : "");
		if (t->count > 0)
			buf_addf(&b, " %llu-%llu(%llu)", (unsigned long long)t->first, (unsigned long long)t->last,
				(unsigned long long)t->count);
		for (size_t k = 0; k < t->lacks.n; k++)
			buf_addf(&b, " %c%llu-%llu", "DLBEU"[t->lacks.v[k].kind],
				(unsigned long long)t->lacks.v[k].first, (unsigned long long)t->lacks.v[k].last);
		for (size_t k = 0; k < t->backups.n; k++)
			buf_addf(&b, " %s", t->backups.v[k]->label);
	}
	return b.data == NULL ? "" : b.data;
}

/* "A>1/9" or, before a hole, "A>1/9|1/10" */
static const char *show_windows(struct arena *a, const wal_windows *v)
{
	struct buf b;

	buf_init(&b, a);
	for (size_t i = 0; i < v->n; i++) {
		const struct wal_window *w = &v->v[i];
		buf_addf(&b, "%s%s>%u/%llu", i == 0 ? "" : " ", w->from->label, w->last.timeline,
			(unsigned long long)w->last.segment);
		if (w->hole)
			buf_addf(&b, "|%u/%llu", w->next.timeline, (unsigned long long)w->next.segment);
	}
	return b.data == NULL ? "" : b.data;
}

struct lines_case {
	const char *name, *story, *timelines, *windows;
};

static const struct lines_case cases[] = {
	{ "nothing at all", "", "", "" },
	{ "whole", "1/3-9 A=1/4", "1: 3-9(7) A", "A>1/9" },
	{ "no backup", "1/3-9", "1: 3-9(7)", "" },
	{ "a hole", "1/3-6 1/8-9 A=1/3", "1 LOST: 3-9(6) L7-7 A", "A>1/6|1/7" },
	{ "a hole, and a backup behind it", "1/3-6 1/8-12 A=1/3 B=1/10", "1 LOST: 3-12(9) L7-7 A B",
		"A>1/6|1/7 B>1/12" },
	{ "retention", "1/3 1/9-12 A=1/3 B=1/9", "1: 3-12(5) E4-8 A B", "A>1/3|1/4 B>1/12" },
	{ "before all backups", "1/3 1/5-9 A=1/7", "1: 3-9(6) U4-4 A", "A>1/9" },
	{ "the oldest backup of a run", "1/3-9 B=1/5 A=1/4-5 C=1/3", "1: 3-9(7) A B C", "C>1/9" },
	{ "its own segment is lost", "1/3-4 1/6-9 A=1/3 B=1/5", "1 LOST: 3-9(6) L5-5 A B", "A>1/4|1/5" },
	{ "its last own segment is lost", "1/3-4 A=1/3-5", "1 LOST: 3-4(2) L5-5 A", "" },
	{ "all of it is lost", "A=1/3-5", "1 LOST: L3-5 A", "" },
	{ "of no use", "1/3-5 1/6! 1/7-9 A=1/3 B=1/8", "1 LOST: 3-9(7) B6-6 A B", "A>1/5|1/6 B>1/9" },
	{ "dropped in the middle", "1/3-5 1/8-9 x1/6-7 A=1/3", "1 LOST: 3-9(5) D6-7 A", "A>1/5|1/6" },
	{ "dropped, and more is lost", "1/3-5 1/9 x1/6-7 A=1/3", "1 LOST: 3-9(4) D6-7 L8-8 A", "A>1/5|1/6" },
	{ "dropped at the end", "1/3-5 x1/6-7 A=1/3", "1 LOST: 3-5(3) D6-7 A", "A>1/5|1/6" },
	{ "dropped and there all the same", "1/3-7 x1/6-7 A=1/3", "1: 3-7(5) A", "A>1/7" },
	{ "dropped before all backups", "1/3-5 1/8-9 x1/6-7 A=1/8", "1: 3-9(5) U6-7 A", "A>1/9" },
	{ "dropped, and retention was here", "1/8-9 x1/6-7 A=1/8", "1: 8-9(2) A", "A>1/9" },
	{ "dropped between what retention keeps", "1/3 1/8-9 x1/6 A=1/3 B=1/8", "1 LOST: 3-9(3) E4-5 D6-6 E7-7 A B",
		"A>1/3|1/4 B>1/9" },
	{ "dropped, and there is no backup", "1/3-5 x1/6", "1 LOST: 3-5(3) D6-6", "" },
	/* timelines */
	{ "promoted", "1/3-5 2/5-9 2<1@5.5 A=1/3", "1: 3-5(3) A; 2<1@5.5: 5-9(5)", "A>1/5 A>2/9" },
	{ "promoted, the parent's last was partial", "1/3-4 2/5-9 2<1@5.5 A=1/3", "1: 3-4(2) A; 2<1@5.5: 5-9(5)",
		"A>2/9" },
	{ "three", "1/3-4 2/5-6 3/7-9 2<1@5.5 3<1@5.5,2@7.5 A=1/3 B=2/6", "1: 3-4(2) A; 2<1@5.5: 5-6(2) B; 3<2@7.5: 7-9(3)",
		"A>3/9" },
	{ "the first own segment is lost", "1/3-5 2/6-9 2<1@5.5 A=1/3", "1: 3-5(3) A; 2<1@5.5 LOST: 6-9(4) L5-5",
		"A>1/5" },
	{ "over the switch", "1/3 2/7-9 2<1@5.5 A=1/3 B=2/8", "1 LOST: 3-3(1) L4-4 A; 2<1@5.5 LOST: 7-9(3) L5-6 B",
		"A>1/3|1/4 B>2/9" },
	{ "nothing of the new one yet", "1/3-4 2<1@5.5 A=1/3", "1: 3-4(2) A; 2<1@5.5:", "A>1/4" },
	{ "the parent ends early", "1/3 2<1@5.5 A=1/3", "1 LOST: 3-3(1) L4-4 A; 2<1@5.5:", "A>1/3|1/4" },
	{ "the parent goes on, with a hole that the child does not share", "1/3-6 1/8 2/5-6 2<1@5.5 A=1/3",
		"1 LOST: 3-8(5) L7-7 A; 2<1@5.5: 5-6(2)", "A>1/6|1/7 A>2/6" },
	{ "one gap is two gaps on two lines", "1/3 1/7 2/7-9 2<1@5.5 A=1/3",
		"1 LOST: 3-7(2) L4-6 A; 2<1@5.5 LOST: 7-9(3) L5-6", "A>1/3|1/4" },
	{ "a backup that ended behind the switch", "1/3-6 2/5-9 2<1@5.5 A=1/6", "1: 3-6(4) A; 2<1@5.5: 5-9(5)", "A>1/6" },
	{ "a backup that ended in the segment of the switch", "1/3-5 2/5-9 2<1@5.9 A=1/5",
		"1: 3-5(3) A; 2<1@5.9: 5-9(5)", "A>1/5 A>2/9" },
	{ "and a hole behind it", "1/3-5 2/5 2/7 2<1@5.9 A=1/5", "1: 3-5(3) A; 2<1@5.9 LOST: 5-7(2) L6-6",
		"A>1/5 A>2/5|2/6" },
	{ "no history, and a backup before", "1/3-5 2/5-9 A=1/3", "1: 3-5(3) A; 2 NOHISTORY: 5-9(5)", "A>1/5" },
	{ "no history, and nobody needs it", "2/5-9 A=2/6", "2: 5-9(5) A", "A>2/9" },
	{ "the middle one's history was expired", "1/3 3/9-12 3<1@5.5,2@7.5 A=1/3 B=3/9",
		"1: 3-3(1) E4-4 A; 2<1@5.5: E5-6; 3<2@7.5: 9-12(4) E7-8 B", "A>1/3|1/4 B>3/12" },
	{ "dropped on the child", "1/3-4 2/5-6 x2/7 2<1@5.5 A=1/3", "1: 3-4(2) A; 2<1@5.5 LOST: 5-6(2) D7-7",
		"A>2/6|2/7" },
};

static void cases_are_told(void **state)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct story s;
		wal_timelines timelines;
		wal_windows windows;

		read_story(&s, a, cases[i].story);
		const struct wal_lines_ask ask = ask_of(&s);
		wal_lines_list(a, &ask, &timelines);
		wal_lines_windows(a, &ask, &windows);
		if (strcmp(show_timelines(a, &timelines), cases[i].timelines) != 0)
			fail_msg("%s: %s, wanted %s", cases[i].name, show_timelines(a, &timelines), cases[i].timelines);
		if (strcmp(show_windows(a, &windows), cases[i].windows) != 0)
			fail_msg("%s: %s, wanted %s", cases[i].name, show_windows(a, &windows), cases[i].windows);
	}
}

/* The end's time is that of the last segment, but no earlier than the newest backup of the run ended and no later than
 * the next one behind it began. */
static void times_are_bounded(void **state)
{
	SCOPED_ARENA(a);
	wal_windows windows;
	struct story s;

	read_story(&s, a, "1/3-6 1/9-12 A=1/3 B=1/9 C=1/10");
	const struct wal_lines_ask ask = ask_of(&s);
	wal_lines_windows(a, &ask, &windows);
	assert_int_equal(windows.v[0].until, 69);
	assert_int_equal(windows.v[1].until, 129);
	for (size_t i = 0; i < s.kept.n; i++)
		s.kept.v[i].stored = 1000;
	wal_lines_windows(a, &ask, &windows);
	assert_int_equal(windows.v[0].until, 90);
	assert_int_equal(windows.v[1].until, 1000);
	for (size_t i = 0; i < s.kept.n; i++)
		s.kept.v[i].stored = 0;
	wal_lines_windows(a, &ask, &windows);
	assert_int_equal(windows.v[0].until, 35);
	assert_int_equal(windows.v[1].until, 105);
}

/* --- the model --- */

static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(seed >> 33) % n;
}

#define LAST 24 /* segments of a random story */

/* The timeline whose segment counts: the newest of the line that has begun by then. */
static uint32_t model_timeline(const struct timeline_history *h, uint64_t segment)
{
	uint32_t timeline = h->v.n == 0 ? h->timeline : h->v.v[0].parent;

	for (size_t i = 0; i < h->v.n; i++)
		if (h->v.v[i].lsn / SEG <= segment)
			timeline = i + 1 < h->v.n ? h->v.v[i + 1].parent : h->timeline;
	return timeline;
}

static const struct wal_kept *model_find(const struct story *s, struct wal_pos pos)
{
	for (size_t i = 0; i < s->kept.n; i++)
		if (s->kept.v[i].pos.timeline == pos.timeline && s->kept.v[i].pos.segment == pos.segment)
			return &s->kept.v[i];
	return NULL;
}

static bool model_good(const struct story *s, const struct timeline_history *h, uint64_t segment)
{
	const struct wal_kept *k = model_find(s, (struct wal_pos){ model_timeline(h, segment), segment });

	return k != NULL && !k->bad;
}

/* How far recovery gets: number of the last segment, -1 if it does not become consistent. */
static int64_t model_walk(const struct story *s, const struct timeline_history *h, const struct wal_lines_backup *b)
{
	uint64_t lsn, segment = b->start.segment;
	bool on_line = h->timeline == b->start.timeline ||
		(timeline_left_at(h, b->start.timeline, &lsn) && lsn >= b->stop_lsn);

	while (on_line && model_good(s, h, segment))
		segment++;
	return on_line && segment > b->stop ? (int64_t)segment - 1 : -1;
}

static bool model_dropped(const struct story *s, struct wal_pos pos)
{
	for (size_t i = 0; i < s->dropped.n; i++)
		if (s->dropped.v[i].pos.timeline == pos.timeline && s->dropped.v[i].pos.segment == pos.segment)
			return true;
	return false;
}

static bool model_goes_on(const struct story *s, const struct timeline_history *h, uint64_t last)
{
	uint64_t lsn;

	for (uint64_t segment = last + 1; segment <= LAST * 2; segment++)
		if (model_find(s, (struct wal_pos){ model_timeline(h, segment), segment }) != NULL)
			return true;
	if (h->v.n > 0 && timeline_left_at(h, h->v.v[h->v.n - 1].parent, &lsn) && last + 1 < lsn / SEG)
		return true;
	return model_dropped(s, (struct wal_pos){ model_timeline(h, last + 1), last + 1 });
}

struct model_end {
	const struct wal_lines_backup *from;
	uint64_t last;
	const struct timeline_history *line;
};
typedef VEC(struct model_end) model_ends;

/* What each line comes to: the oldest backup of each end. */
static void model_ends_of(const struct story *s, model_ends *out)
{
	for (size_t l = 0; l < s->histories.n; l++)
		for (uint64_t last = 0; last <= LAST * 2; last++) {
			struct model_end e = { NULL, last, &s->histories.v[l] };
			for (size_t i = 0; i < s->backups.n; i++) {
				const struct wal_lines_backup *b = &s->backups.v[i];
				if (model_walk(s, e.line, b) != (int64_t)last)
					continue;
				if (e.from == NULL || b->stop_lsn < e.from->stop_lsn ||
					(b->stop_lsn == e.from->stop_lsn && strcmp(b->label, e.from->label) < 0))
					e.from = b;
			}
			if (e.from != NULL)
				vec_push(out, e);
		}
}

/* Does another one go on from where this one ends? */
static bool model_goes_further(const model_ends *all, const struct model_end *e)
{
	for (size_t i = 0; i < all->n; i++) {
		const struct model_end *y = &all->v[i];
		if (y->from == e->from && y->last > e->last &&
			model_timeline(y->line, e->last) == model_timeline(e->line, e->last))
			return true;
	}
	return false;
}

static void windows_are_those_of_the_model(struct arena *a, const struct story *s, uint64_t run)
{
	const struct wal_lines_ask ask = ask_of(s);
	wal_windows windows;
	model_ends all;
	size_t expected = 0;

	vec_init(&all, a);
	model_ends_of(s, &all);
	wal_lines_windows(a, &ask, &windows);
	for (size_t i = 0; i < all.n; i++) {
		const struct model_end *e = &all.v[i];
		bool found = false, hole = false, seen = false;
		if (model_goes_further(&all, e))
			continue;
		for (size_t k = 0; k < all.n; k++) {
			const struct model_end *y = &all.v[k];
			if (y->from != e->from || y->last != e->last ||
				model_timeline(y->line, y->last) != model_timeline(e->line, e->last))
				continue;
			seen = seen || k < i;
			hole = hole || model_goes_on(s, y->line, y->last);
		}
		expected += !seen;
		for (size_t k = 0; k < windows.n; k++)
			found = found || (windows.v[k].from == e->from && windows.v[k].last.segment == e->last &&
				windows.v[k].last.timeline == model_timeline(e->line, e->last) &&
				windows.v[k].hole == hole);
		if (!found)
			fail_msg("run %llu: no window from %s to %u/%llu: %s", (unsigned long long)run, e->from->label,
				model_timeline(e->line, e->last), (unsigned long long)e->last,
				show_windows(a, &windows));
	}
	if (expected != windows.n)
		fail_msg("run %llu: %zu windows, not %zu: %s", (unsigned long long)run, windows.n, expected,
			show_windows(a, &windows));
}

static const struct wal_lack *lack_at(const wal_timelines *v, struct wal_pos pos)
{
	for (size_t i = 0; i < v->n; i++)
		for (size_t k = 0; v->v[i].id == pos.timeline && k < v->v[i].lacks.n; k++)
			if (v->v[i].lacks.v[k].first <= pos.segment && pos.segment <= v->v[i].lacks.v[k].last)
				return &v->v[i].lacks.v[k];
	return NULL;
}

static void lacks_are_true(struct arena *a, const struct story *s, uint64_t run)
{
	const struct wal_lines_ask ask = ask_of(s);
	wal_timelines lines;
	wal_windows windows;

	wal_lines_list(a, &ask, &lines);
	wal_lines_windows(a, &ask, &windows);
	for (size_t i = 0; i < lines.n; i++) {
		uint64_t end = 0;
		for (size_t k = 0; k < lines.v[i].lacks.n; k++) {
			const struct wal_lack *l = &lines.v[i].lacks.v[k];
			if (l->last < l->first || (k > 0 && l->first <= end))
				fail_msg("run %llu: no order: %s", (unsigned long long)run, show_timelines(a, &lines));
			end = l->last;
			for (uint64_t segment = l->first; segment <= l->last; segment++) {
				const struct wal_kept *kept = model_find(s, (struct wal_pos){ lines.v[i].id, segment });
				if (kept != NULL && (!kept->bad || l->kind != WAL_LACK_BAD))
					fail_msg("run %llu: %u/%llu is there: %s", (unsigned long long)run,
						lines.v[i].id, (unsigned long long)segment, show_timelines(a, &lines));
			}
		}
	}
	for (size_t i = 0; i < windows.n; i++) {
		const struct wal_lack *l = lack_at(&lines, windows.v[i].next);
		if (windows.v[i].hole && (l == NULL || l->kind == WAL_LACK_UNNEEDED))
			fail_msg("run %llu: nothing lacks where a window ends: %s: %s", (unsigned long long)run,
				show_windows(a, &windows), show_timelines(a, &lines));
	}
	for (size_t i = 0; i < s->backups.n; i++)
		for (struct wal_pos p = s->backups.v[i].start; p.segment <= s->backups.v[i].stop; p.segment++) {
			const struct wal_lack *l = lack_at(&lines, p);
			if (model_find(s, p) == NULL && (l == NULL || l->kind > WAL_LACK_LOST))
				fail_msg("run %llu: a backup lacks %u/%llu: %s", (unsigned long long)run, p.timeline,
					(unsigned long long)p.segment, show_timelines(a, &lines));
		}
}

/* Timelines that leave each other anywhere, what is there with holes, backups anywhere. */
static void make_story(struct story *s, struct arena *a)
{
	unsigned timelines = 1 + below(4), loss = 2 + below(10);

	story_init(s, a);
	for (uint32_t t = 1; t <= timelines; t++) {
		struct timeline_history h = { .timeline = t };
		uint64_t begin = 1;
		vec_init(&h.v, a);
		if (t > 1) {
			const struct timeline_history *parent = &s->histories.v[below(t - 1)];
			for (size_t i = 0; i < parent->v.n; i++)
				vec_push(&h.v, parent->v.v[i]);
			vec_push(&h.v, ((struct timeline_switch){ parent->timeline, SEG / 4 * (8 + below(4 * LAST - 8)) }));
			begin = h.v.v[h.v.n - 1].lsn / SEG;
		}
		vec_push(&s->histories, h);
		for (uint64_t n = begin, end = begin + below(LAST); n <= end && n <= LAST * 2 - 2; n++) {
			struct wal_kept k = { { t, n }, below(40) == 0, (int64_t)n * 10 + 9 };
			if (below(loss * 2) != 0)
				vec_push(&s->kept, k);
			else if (below(3) == 0)
				vec_push(&s->dropped, ((struct wal_dropped){ k.pos, below(3) }));
		}
		for (unsigned n = below(4); n > 0; n--) {
			uint64_t start = begin + below(LAST);
			add_backup(s, arena_printf(a, "B%02zu", s->backups.n), (struct wal_pos){ t, start }, start + below(2));
		}
	}
}

static void random_stories(void **state)
{
	for (uint64_t run = 0; run < 5000; run++) {
		SCOPED_ARENA(a);
		struct story s;

		seed = run * 2654435761u + 17;
		make_story(&s, a);
		windows_are_those_of_the_model(a, &s, run);
		lacks_are_true(a, &s, run);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cases_are_told),
		cmocka_unit_test(times_are_bounded),
		cmocka_unit_test(random_stories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
