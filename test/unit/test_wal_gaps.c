/*
 * wal_gaps: which gaps are holes.
 *
 * Names of segments are written "timeline/number", "!" behind them: of no use.  The segment size is 1 MiB, so that LSN
 * 0/500000 is the first byte of segment 5.  The last test is a model of archives, backups and retention: what expire
 * leaves is never called a hole, what somebody else removes is.
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
#include "repo/wal_gaps.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SEG ((uint32_t)1 << 20)

static struct wal_pos pos(const char *text)
{
	struct wal_pos p = { (uint32_t)strtoul(text, NULL, 10), 0 };

	p.segment = strtoull(strchr(text, '/') + 1, NULL, 10);
	return p;
}

/* "1/3-7 2/8!" */
static void parse_have(struct arena *a, const char *text, wal_haves *out)
{
	strvec words = str_split(a, text, ' ');

	vec_init(out, a);
	for (size_t i = 0; i < words.n && words.v[i][0] != '\0'; i++) {
		struct wal_have h = { pos(words.v[i]), strchr(words.v[i], '!') != NULL };
		const char *dash = strchr(words.v[i], '-');
		uint64_t last = dash == NULL ? h.pos.segment : strtoull(dash + 1, NULL, 10);
		for (; h.pos.segment <= last; h.pos.segment++)
			vec_push(out, h);
	}
	if (out->n > 0)
		qsort(out->v, out->n, sizeof(*out->v), wal_have_cmp);
}

/* "A=1/3-4 =1/7-7": a listed backup, and one that is known by its .backup file only */
static void parse_ranges(struct arena *a, const char *text, wal_ranges *out)
{
	strvec words = str_split(a, text, ' ');

	vec_init(out, a);
	for (size_t i = 0; i < words.n && words.v[i][0] != '\0'; i++) {
		const char *sign = strchr(words.v[i], '=');
		struct wal_range r = { .start = pos(sign + 1) };
		if (sign > words.v[i])
			r.label = arena_strndup(a, words.v[i], (size_t)(sign - words.v[i]));
		const char *dash = strchr(sign, '-');
		r.stop = dash == NULL ? r.start.segment : strtoull(dash + 1, NULL, 10);
		vec_push(out, r);
	}
}

typedef VEC(struct timeline_history) histories;

static bool has_line(const histories *lines, uint32_t timeline)
{
	for (size_t i = 0; i < lines->n; i++)
		if (lines->v[i].timeline == timeline)
			return true;
	return false;
}

/* "2<1@5.5": timeline 2 left 1 in the middle of segment 5; further switches with commas, oldest first. */
static void parse_lines(struct arena *a, const char *text, const wal_haves *have, histories *out)
{
	strvec words = str_split(a, text, ' ');

	vec_init(out, a);
	for (size_t i = 0; i < words.n && words.v[i][0] != '\0'; i++) {
		struct timeline_history *h = vec_add(out);
		char *end;
		vec_init(&h->v, a);
		h->timeline = (uint32_t)strtoul(words.v[i], &end, 10);
		while (*end == '<' || *end == ',') {
			struct timeline_switch s = { (uint32_t)strtoul(end + 1, &end, 10), 0 };
			s.lsn = strtoull(end + 1, &end, 10) * SEG;
			if (*end == '.')
				s.lsn += strtoull(end + 1, &end, 10) * SEG / 10;
			vec_push(&h->v, s);
		}
	}
	for (size_t i = 0; i < have->n; i++)
		if (!has_line(out, have->v[i].pos.timeline))
			vec_add(out)->timeline = have->v[i].pos.timeline;
}

static const char *show(struct arena *a, const wal_gap_list *gaps)
{
	static const char kinds[] = "HBEU";
	struct buf b;

	buf_init(&b, a);
	for (size_t i = 0; i < gaps->n; i++) {
		const struct wal_gap *g = &gaps->v[i];
		buf_addf(&b, "%s%c%u/%llu", i == 0 ? "" : " ", kinds[g->kind], g->first.timeline,
			(unsigned long long)g->first.segment);
		if (g->last.timeline != g->first.timeline)
			buf_addf(&b, "-%u/%llu", g->last.timeline, (unsigned long long)g->last.segment);
		else if (g->last.segment != g->first.segment)
			buf_addf(&b, "-%llu", (unsigned long long)g->last.segment);
		if (g->stopped > 0)
			buf_addf(&b, ":%s*%zu", g->newest, g->stopped);
	}
	return b.data;
}

struct gap_case {
	const char *name, *have, *ranges, *lines, *want;
};

static const struct gap_case cases[] = {
	{ "nothing at all", "", "", "", "" },
	{ "whole", "1/3-9", "A=1/3", "", "" },
	{ "a hole", "1/3-6 1/8-9", "A=1/3", "", "H1/7:A*1" },
	{ "two segments", "1/3-5 1/8-9", "A=1/3-4", "", "H1/6-7:A*1" },
	{ "two holes: recovery ends at the first", "1/3-5 1/7 1/9", "A=1/3", "", "H1/6:A*1 H1/8" },
	{ "the last one cannot be missed", "1/3-6", "A=1/3", "", "" },
	{ "just behind the backup", "1/3 1/5-9", "A=1/3", "", "H1/4:A*1" },
	{ "no backup: the archive serves others", "1/3-6 1/8-9", "", "", "H1/7" },
	{ "before all backups nobody needs it", "1/3 1/5-9", "A=1/7", "", "U1/4" },
	{ "two backups and all between them", "1/3 1/9-12", "A=1/3 B=1/9", "", "E1/4-8" },
	{ "two backups and not all between them", "1/3-4 1/9-12", "A=1/3 B=1/9", "", "H1/5-8:A*1" },
	{ "lost from the backup on, but not up to the next", "1/3 1/8-12", "A=1/3 B=1/9", "", "H1/4-7:A*1" },
	{ "a former backup began there", "1/3 1/9-12", "A=1/3 =1/9", "", "E1/4-8" },
	{ "a former backup lies there", "1/3 1/5 1/9-12", "A=1/3 =1/5 B=1/9", "", "E1/4 E1/6-8" },
	{ "behind the newest backup nothing expires", "1/3 1/9-10 1/12", "A=1/3 B=1/9", "", "E1/4-8 H1/11:B*1" },
	{ "a backup's own segment is the backup's affair", "1/3-4 1/6-9", "A=1/3 B=1/5", "", "" },
	{ "behind a standby's backup that begins where its timeline is left", "1/3-5 2/5-6 2/8", "A=1/5", "2<1@5.5", "H2/7:A*1" },
	{ "and ends before the other timeline begins", "1/3-5 2/5-6 2/8", "A=1/5", "2<1@5", "U2/7" },
	{ "its first one of two", "1/3-4 1/6-9", "A=1/3 B=1/5-6", "", "" },
	{ "and around it", "1/3-4 1/9", "A=1/3 B=1/6", "", "H1/5:A*1 H1/7-8:B*1" },
	{ "bad", "1/3-5 1/6! 1/7-9", "A=1/3", "", "B1/6:A*1" },
	{ "bad ones in a row", "1/3-5 1/6! 1/7! 1/8 1/9!", "A=1/3 B=1/8", "", "B1/6-7:A*1 B1/9:B*1" },
	{ "bad in a backup", "1/3! 1/4-9", "A=1/3", "", "B1/3" },
	{ "bad is there all the same", "1/3-4 1/5! 1/7", "A=1/3", "", "B1/5:A*1 H1/6" },
	{ "three backups stopped", "1/3-9 1/11", "A=1/3 B=1/5 C=1/9", "", "H1/10:C*3" },
	{ "one behind another hole", "1/3-4 1/6-9 1/11", "A=1/3 B=1/7", "", "H1/5:A*1 H1/10:B*1" },
	/* timelines */
	{ "promoted", "1/3-5 2/5-9", "A=1/3", "2<1@5.5", "" },
	{ "promoted, the first own segment missing", "1/3-5 2/6-9", "A=1/3", "2<1@5.5", "H2/5:A*1" },
	{ "promoted at a segment's first byte", "1/3-4 2/5-9", "A=1/3", "2<1@5", "" },
	{ "before the switch", "1/3 2/5-9", "A=1/3", "2<1@5.5", "H1/4:A*1" },
	{ "over the switch", "1/3 2/7-9", "A=1/3", "2<1@5.5", "H1/4-2/6:A*1" },
	{ "nothing of the new timeline yet", "1/3-4", "A=1/3", "2<1@5.5", "" },
	{ "nothing of it, but a hole before", "1/3", "A=1/3", "2<1@5.5", "H1/4:A*1" },
	{ "the old timeline goes on", "1/3-9 2/5-6", "A=1/3", "2<1@5.5", "" },
	{ "the old timeline goes on, with a hole", "1/3-6 1/8 2/5-6", "A=1/3", "2<1@5.5", "H1/7:A*1" },
	{ "expired over the switch", "1/3 2/9-12", "A=1/3 B=2/9", "2<1@5.5", "E1/4-2/8" },
	{ "expired over two switches", "1/3 3/9-12", "A=1/3 B=3/9", "3<1@5.5,2@7.5", "E1/4-3/8" },
	{ "twice promoted", "1/3-5 2/5-7 3/7-9", "A=1/3", "2<1@5.5 3<1@5.5,2@7.5", "" },
	{ "twice promoted, middle one missing", "1/3-5 3/7-9", "A=1/3", "3<1@5.5,2@7.5", "H2/5-6:A*1" },
	{ "back to an earlier point", "1/3-9 2/7-9 3/5-8", "A=1/3", "2<1@7.5 3<1@5.5", "" },
	{ "no history: no way over", "1/3-5 2/7-9", "A=1/3", "", "" },
	{ "an unrelated history", "1/3-5 1/7", "A=1/3", "9<8@3.5", "H1/6:A*1" },
};

static void find(struct arena *a, const wal_haves *have, const wal_ranges *ranges, const histories *lines,
	wal_gap_list *out)
{
	const struct wal_gaps_ask ask = { SEG, have, ranges, lines->v, lines->n };

	wal_gaps_find(a, &ask, out);
}

static void gaps_follow_from_names(void **state)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		wal_haves have;
		wal_ranges ranges;
		histories lines;
		wal_gap_list gaps;

		parse_have(a, cases[i].have, &have);
		parse_ranges(a, cases[i].ranges, &ranges);
		parse_lines(a, cases[i].lines, &have, &lines);
		find(a, &have, &ranges, &lines, &gaps);
		if (strcmp(show(a, &gaps), cases[i].want) != 0)
			fail_msg("%s: %s, wanted %s", cases[i].name, show(a, &gaps), cases[i].want);
	}
}

/* --- the model --- */

static uint64_t seed;

static unsigned below(unsigned n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (unsigned)(seed >> 33) % n;
}

struct model_backup {
	char label[8];
	struct wal_pos start;
	uint64_t stop;
	bool listed;
	bool has_file; /* .backup in the archive */
};

struct model {
	struct arena *a;
	wal_haves have;
	VEC(struct model_backup) backups;
	histories lines;
	struct wal_pos next;
};

static bool before(struct wal_pos x, struct wal_pos y)
{
	return x.timeline != y.timeline ? x.timeline < y.timeline : x.segment < y.segment;
}

static void push(struct model *m, unsigned n)
{
	for (; n > 0; n--, m->next.segment++)
		vec_push(&m->have, ((struct wal_have){ m->next, false }));
}

static void back_up(struct model *m)
{
	struct model_backup *b = vec_add(&m->backups);

	strcpy(b->label, "B0000");
	for (size_t n = m->backups.n, i = 4; i > 0; n /= 10, i--)
		b->label[i] = (char)('0' + n % 10);
	b->start = m->next;
	b->stop = m->next.segment + below(3);
	b->listed = b->has_file = true;
	push(m, (unsigned)(b->stop - b->start.segment) + 1);
}

static void promote(struct model *m)
{
	struct timeline_history h = { .timeline = m->next.timeline + 1 };

	vec_init(&h.v, m->a);
	for (size_t i = 0; i < m->lines.n; i++)
		if (m->lines.v[i].timeline == m->next.timeline)
			for (size_t k = 0; k < m->lines.v[i].v.n; k++)
				vec_push(&h.v, m->lines.v[i].v.v[k]);
	vec_push(&h.v, ((struct timeline_switch){ m->next.timeline, m->next.segment * SEG + below(2) * SEG / 2 }));
	vec_push(&m->lines, h);
	/* the old primary may push on for a while */
	if (below(2) == 0)
		push(m, 1 + below(2));
	m->next = (struct wal_pos){ h.timeline, h.v.v[h.v.n - 1].lsn / SEG };
}

static bool kept_by(const struct model *m, struct wal_pos pos, size_t retained)
{
	if (!before(pos, m->backups.v[retained].start))
		return true;
	for (size_t i = 0; i <= retained; i++) {
		const struct model_backup *b = &m->backups.v[i];
		if (b->listed && b->start.timeline == pos.timeline && b->start.segment <= pos.segment &&
			pos.segment <= b->stop)
			return true;
	}
	return false;
}

/* format/repository.md 10.5 for one archive id */
static void expire_wal(struct model *m, unsigned count)
{
	size_t retained = SIZE_MAX, kept = 0;
	unsigned seen = 0;

	for (size_t i = m->backups.n; i > 0; i--)
		if (m->backups.v[i - 1].listed && ++seen == count)
			retained = i - 1;
	if (retained == SIZE_MAX)
		return;
	for (size_t i = 0; i < m->have.n; i++)
		if (kept_by(m, m->have.v[i].pos, retained))
			m->have.v[kept++] = m->have.v[i];
	m->have.n = kept;
	for (size_t i = 0; i < m->backups.n; i++)
		m->backups.v[i].has_file = m->backups.v[i].has_file && kept_by(m, m->backups.v[i].start, retained);
	kept = 0;
	for (size_t i = 0; i < m->lines.n; i++)
		if (m->lines.v[i].timeline >= m->backups.v[retained].start.timeline)
			m->lines.v[kept++] = m->lines.v[i];
	m->lines.n = kept;
}

static void drop_backups(struct model *m)
{
	unsigned listed = 0;

	for (size_t i = 0; i < m->backups.n; i++)
		listed += m->backups.v[i].listed;
	for (size_t i = 0; i < m->backups.n && listed > 1; i++) {
		if (!m->backups.v[i].listed || below(3) != 0)
			continue;
		m->backups.v[i].listed = false;
		listed--;
	}
}

static void look(struct arena *a, const struct model *m, wal_gap_list *out)
{
	wal_ranges ranges;
	wal_haves have;
	histories lines;

	vec_init(&ranges, a);
	vec_init(&have, a);
	vec_init(&lines, a);
	for (size_t i = 0; i < m->have.n; i++)
		vec_push(&have, m->have.v[i]);
	qsort(have.v, have.n, sizeof(*have.v), wal_have_cmp);
	for (size_t i = 0; i < m->backups.n; i++) {
		const struct model_backup *b = &m->backups.v[i];
		if (b->listed)
			vec_push(&ranges, ((struct wal_range){ b->label, b->start, b->stop }));
		if (b->has_file)
			vec_push(&ranges, ((struct wal_range){ NULL, b->start, b->stop }));
	}
	for (size_t i = 0; i < m->lines.n; i++)
		vec_push(&lines, m->lines.v[i]);
	for (size_t i = 0; i < have.n; i++)
		if (!has_line(&lines, have.v[i].pos.timeline))
			vec_add(&lines)->timeline = have.v[i].pos.timeline;
	find(a, &have, &ranges, &lines, out);
}

static bool in_listed(const struct model *m, struct wal_pos p)
{
	for (size_t i = 0; i < m->backups.n; i++) {
		const struct model_backup *b = &m->backups.v[i];
		if (b->listed && b->start.timeline == p.timeline && b->start.segment <= p.segment && p.segment <= b->stop)
			return true;
	}
	return false;
}

/* Take one segment away behind the newest backup on the newest timeline, where nothing can excuse it. */
static void lose_one(struct model *m)
{
	SCOPED_ARENA(a);
	const struct model_backup *newest = NULL;
	wal_gap_list gaps;
	bool found = false;

	for (size_t i = 0; i < m->backups.n; i++)
		if (m->backups.v[i].listed)
			newest = &m->backups.v[i];
	if (newest == NULL || newest->start.timeline != m->next.timeline || newest->stop + 3 > m->next.segment)
		return;
	uint64_t lost = newest->stop + 1 + below((unsigned)(m->next.segment - newest->stop - 2));
	size_t kept = 0;
	struct wal_pos p = { m->next.timeline, lost };
	if (in_listed(m, p))
		return;
	for (size_t i = 0; i < m->have.n; i++)
		if (m->have.v[i].pos.timeline != p.timeline || m->have.v[i].pos.segment != p.segment)
			m->have.v[kept++] = m->have.v[i];
	m->have.n = kept;
	look(a, m, &gaps);
	for (size_t i = 0; i < gaps.n; i++)
		found = found || (gaps.v[i].kind != WAL_GAP_UNNEEDED && gaps.v[i].first.timeline == p.timeline &&
			gaps.v[i].first.segment <= lost && lost <= gaps.v[i].last.segment &&
			(gaps.v[i].kind == WAL_GAP_HOLE ||
				/* a former backup that began right behind it is the one excuse */
				gaps.v[i].kind == WAL_GAP_EXPIRED));
	if (!found)
		fail_msg("lost %u/%llu is not seen: %s", p.timeline, (unsigned long long)lost, show(a, &gaps));
}

static void no_wolf(struct model *m, uint64_t run)
{
	SCOPED_ARENA(a);
	wal_gap_list gaps;

	look(a, m, &gaps);
	for (size_t i = 0; i < gaps.n; i++)
		if (gaps.v[i].kind == WAL_GAP_HOLE)
			fail_msg("run %llu: what retention has left is called a hole: %s", (unsigned long long)run,
				show(a, &gaps));
}

static void retention_is_no_hole(void **state)
{
	for (uint64_t run = 0; run < 20000; run++) {
		SCOPED_ARENA(a);
		struct model m = { .a = a, .next = { 1, 1 + below(5) } };

		seed = run * 2654435761u + 17;
		vec_init(&m.have, a);
		vec_init(&m.backups, a);
		vec_init(&m.lines, a);
		for (unsigned step = 0, steps = 3 + below(14); step < steps; step++) {
			unsigned what = below(10);
			if (what < 4)
				push(&m, 1 + below(5));
			else if (what < 7)
				back_up(&m);
			else if (what < 8)
				promote(&m);
			else if (what < 9)
				drop_backups(&m);
			if (below(3) == 0)
				expire_wal(&m, 1 + below(3));
			no_wolf(&m, run);
		}
		lose_one(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gaps_follow_from_names),
		cmocka_unit_test(retention_is_no_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
