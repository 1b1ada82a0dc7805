/*
 * wal_reach: which recoveries the archived WAL is enough for, judged by names.
 *
 * Names of segments are written "timeline/number"; the segment size is 1 MiB, so that LSN 0/500000 is the first
 * byte of segment 5.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/str.h"
#include "repo/wal_reach.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SEG ((uint32_t)1 << 20)
#define STANZA "demo"
#define ID "15-1"
#define ANY UINT64_MAX
#define HASH "-0123456789abcdef0123456789abcdef01234567"

static struct wal_pos pos(const char *text)
{
	struct wal_pos p = { (uint32_t)strtoul(text, NULL, 10), 0 };

	p.segment = strtoull(strchr(text, '/') + 1, NULL, 10);
	return p;
}

/* "1/3-7 2/8" to positions. */
static void parse_there(struct arena *a, const char *text, wal_positions *out)
{
	strvec words = str_split(a, text, ' ');

	vec_init(out, a);
	for (size_t i = 0; i < words.n && words.v[0][0] != '\0'; i++) {
		struct wal_pos p = pos(words.v[i]);
		const char *dash = strchr(words.v[i], '-');
		uint64_t last = dash == NULL ? p.segment : strtoull(dash + 1, NULL, 10);
		for (; p.segment <= last; p.segment++)
			vec_push(out, p);
	}
}

static const char *show(struct arena *a, struct wal_pos p)
{
	return arena_printf(a, "%u/%llu", p.timeline, (unsigned long long)p.segment);
}

struct verdict_case {
	const char *name, *there;
	enum wal_goal goal;
	uint64_t target, not_before, by;
	const char *history; /* of timeline 3, or NULL: the backup's timeline 1 */
	enum wal_verdict verdict;
	const char *to;	  /* end of the run, NULL: none */
	const char *gaps; /* "" : none */
	uint64_t missing;
};

/* The backup is on timeline 1, from segment 3 to segment 5, and stops at 0/500080. */
static const struct verdict_case verdicts[] = {
	{ "whole", "1/3-9", WAL_GOAL_END, 0, 0, ANY, NULL, WAL_REACHES, "1/9", "", 0 },
	{ "only the backup", "1/3-5", WAL_GOAL_END, 0, 0, ANY, NULL, WAL_REACHES, "1/5", "", 0 },
	{ "order and copies do not matter", "1/9 1/3-5 1/7 1/4-6 1/8 1/8", WAL_GOAL_END, 0, 0, ANY, NULL,
	  WAL_REACHES, "1/9", "", 0 },
	{ "older ones and other lines do not matter", "1/1 1/3-5 2/7 7/9", WAL_GOAL_END, 0, 0, ANY, NULL,
	  WAL_REACHES, "1/5", "", 0 },
	{ "nothing", "", WAL_GOAL_END, 0, 0, ANY, NULL, WAL_FALLS_SHORT, NULL, "1/3 1/4 1/5", 3 },
	{ "nothing of the way", "1/1-2 2/3-5", WAL_GOAL_CONSISTENT, 0, 0, ANY, NULL, WAL_FALLS_SHORT, NULL,
	  "1/3 1/4 1/5", 3 },
	{ "first missing", "1/4-9", WAL_GOAL_END, 0, 0, ANY, NULL, WAL_FALLS_SHORT, NULL, "1/3", 1 },
	{ "inside the backup", "1/3 1/5-9", WAL_GOAL_SOMEWHERE, 0, 0, ANY, NULL, WAL_FALLS_SHORT, "1/3", "1/4", 1 },
	{ "its last", "1/3-4", WAL_GOAL_SOMEWHERE, 0, 0, ANY, NULL, WAL_FALLS_SHORT, "1/4", "1/5", 1 },
	{ "hole behind", "1/3-5 1/7", WAL_GOAL_END, 0, 0, ANY, NULL, WAL_FALLS_SHORT, "1/5", "1/6", 1 },
	{ "hole behind, immediate", "1/3-5 1/7", WAL_GOAL_CONSISTENT, 0, 0, ANY, NULL, WAL_REACHES, "1/5", "", 0 },
	{ "hole behind, some point", "1/3-5 1/7", WAL_GOAL_SOMEWHERE, 0, 0, ANY, NULL, WAL_MAY_REACH, "1/5", "1/6", 1 },
	{ "some point", "1/3-9", WAL_GOAL_SOMEWHERE, 0, 0, ANY, NULL, WAL_MAY_REACH, "1/9", "", 0 },
	{ "some point before the end", "1/3-9", WAL_GOAL_SOMEWHERE, 0, 0, 9, NULL, WAL_REACHES, "1/9", "", 0 },
	{ "some point perhaps behind the end", "1/3-9", WAL_GOAL_SOMEWHERE, 0, 0, 10, NULL, WAL_MAY_REACH, "1/9", "", 0 },
	{ "some point before the hole", "1/3-6 1/8", WAL_GOAL_SOMEWHERE, 0, 0, 6, NULL, WAL_REACHES, "1/6", "1/7", 1 },
	{ "some point behind the hole", "1/3-6 1/8-9", WAL_GOAL_SOMEWHERE, 0, 8, ANY, NULL, WAL_FALLS_SHORT, "1/6", "1/7", 1 },
	{ "some point just before the hole", "1/3-6 1/8-9", WAL_GOAL_SOMEWHERE, 0, 6, ANY, NULL, WAL_MAY_REACH, "1/6", "1/7", 1 },
	{ "LSN in the run", "1/3-9", WAL_GOAL_SEGMENT, 9, 0, ANY, NULL, WAL_REACHES, "1/9", "", 0 },
	{ "LSN just behind", "1/3-9", WAL_GOAL_SEGMENT, 10, 0, ANY, NULL, WAL_FALLS_SHORT, "1/9", "1/10", 1 },
	{ "LSN before the hole", "1/3-6 1/8", WAL_GOAL_SEGMENT, 6, 0, ANY, NULL, WAL_REACHES, "1/6", "", 0 },
	{ "LSN behind the hole", "1/3-6 1/8", WAL_GOAL_SEGMENT, 8, 0, ANY, NULL, WAL_FALLS_SHORT, "1/6", "1/7", 1 },
	{ "LSN inside the backup needs its end", "1/3-4", WAL_GOAL_SEGMENT, 4, 0, ANY, NULL, WAL_FALLS_SHORT, "1/4", "1/5", 1 },
	{ "LSN out of this world", "1/3-5", WAL_GOAL_SEGMENT, ANY / SEG, 0, ANY, NULL, WAL_FALLS_SHORT, "1/5",
	  "1/6 1/7 1/8 1/9 1/10 1/11 1/12 1/13 1/14 1/15", ANY / SEG - 5 },
	{ "two holes", "1/3-5 1/8 1/10", WAL_GOAL_END, 0, 0, ANY, NULL, WAL_FALLS_SHORT, "1/5", "1/6 1/7 1/9", 3 },
	{ "many missing", "1/3-5 1/20", WAL_GOAL_END, 0, 0, ANY, NULL, WAL_FALLS_SHORT, "1/5",
	  "1/6 1/7 1/8 1/9 1/10 1/11 1/12 1/13 1/14 1/15", 14 },
	{ "line 1-2-3", "1/3-7 2/7-8 3/8-9", WAL_GOAL_END, 0, 0, ANY, "1\t0/780000\n2\t0/880000\n", WAL_REACHES, "3/9", "", 0 },
	{ "the parents' copies are not asked for", "1/3-6 2/7 3/8-9", WAL_GOAL_END, 0, 0, ANY,
	  "1\t0/780000\n2\t0/880000\n", WAL_REACHES, "3/9", "", 0 },
	{ "the parent's copy does not do", "1/3-9 3/8-9", WAL_GOAL_END, 0, 0, ANY, "1\t0/780000\n2\t0/880000\n",
	  WAL_FALLS_SHORT, "1/6", "2/7", 1 },
	{ "the line ends where the child's begin", "1/3-20", WAL_GOAL_END, 0, 0, ANY, "1\t0/780000\n2\t0/880000\n",
	  WAL_REACHES, "1/6", "", 0 },
	{ "two switches in one segment", "1/3-6 3/7-8", WAL_GOAL_END, 0, 0, ANY, "1\t0/780000\n2\t0/788000\n",
	  WAL_REACHES, "3/8", "", 0 },
	{ "a switch at the first byte", "1/3-6 3/7-8", WAL_GOAL_END, 0, 0, ANY, "1\t0/700000\n", WAL_REACHES, "3/8", "", 0 },
	{ "a copied history that does not ascend", "1/3-5 3/6-8", WAL_GOAL_END, 0, 0, ANY, "1\t0/700000\n2\t0/600000\n",
	  WAL_REACHES, "3/8", "", 0 },
	{ "left before the backup ended", "1/3-5 3/5-8", WAL_GOAL_END, 0, 0, ANY, "1\t0/500028\n", WAL_FALLS_SHORT,
	  "3/8", "", 0 },
	{ "left when the backup had ended", "1/3-5 3/5-8", WAL_GOAL_END, 0, 0, ANY, "1\t0/500080\n", WAL_REACHES,
	  "3/8", "", 0 },
};

static struct wal_reach_ask ask_for(enum wal_goal goal)
{
	return (struct wal_reach_ask){ .segment_size = SEG, .timeline = 1, .start = 3, .stop = 5,
		.stop_lsn = 0x500080, .goal = goal, .by = ANY, .line = { .timeline = 1 } };
}

static void verdicts_follow_from_names(void **state)
{
	for (size_t i = 0; i < COUNT(verdicts); i++) {
		SCOPED_ARENA(a);
		const struct verdict_case *c = &verdicts[i];
		struct wal_reach_ask ask = ask_for(c->goal);
		struct wal_reach r;
		wal_positions there;
		strvec gaps;

		ask.target = c->target;
		ask.not_before = c->not_before;
		ask.by = c->by;
		if (c->history != NULL)
			assert_int_equal(timeline_parse(a, 3, c->history, strlen(c->history), &ask.line), 0);
		parse_there(a, c->there, &there);
		wal_reach_judge(a, &ask, &there, &r);
		vec_init(&gaps, a);
		for (size_t k = 0; k < r.gaps_n; k++)
			vec_push(&gaps, show(a, r.gaps[k]));
		const char *got = arena_printf(a, "%s: %d to %s, gaps %s", c->name, (int)r.verdict,
			r.any ? show(a, r.to) : "-", str_join(a, &gaps, " "));
		assert_string_equal(got, arena_printf(a, "%s: %d to %s, gaps %s", c->name, (int)c->verdict,
			c->to == NULL ? "-" : c->to, c->gaps));
		assert_true(r.missing == c->missing);
		assert_true(!r.any || (r.from.segment == 3 && r.from.timeline == wal_line_timeline(&ask, 3)));
	}
}

/* --- in stores --- */

static void put(struct store *repo, const char *path, const char *text)
{
	SCOPED_ARENA(a);

	assert_int_equal(store_write(repo, arena_printf(a, "archive/" STANZA "/" ID "/%s", path), text, strlen(text),
		NULL), 0);
}

static void put_segments(struct store *repo, const char *list, const char *suffix)
{
	SCOPED_ARENA(a);
	wal_positions there;
	char name[WAL_NAME + 1];

	parse_there(a, list, &there);
	for (size_t i = 0; i < there.n; i++) {
		wal_name(there.v[i], SEG, name);
		put(repo, arena_printf(a, "%.16s/%s%s", name, name, suffix), "x");
	}
}

struct store_case {
	const char *name;
	const char *one, *two; /* segments in two repositories; two NULL: there is one */
	const char *history2, *history3; /* contents, in the first and in the second repository */
	enum wal_goal goal;
	enum wal_verdict verdict;
	const char *to;
	const char *evidence; /* NULL: none */
};

static const struct store_case stores[] = {
	{ "whole", "1/3-9", NULL, NULL, NULL, WAL_GOAL_END, WAL_REACHES, "1/9", NULL },
	{ "across directories", "1/3-4097", NULL, NULL, NULL, WAL_GOAL_END, WAL_REACHES, "1/4097", NULL },
	{ "a hole in another directory", "1/3-4095 1/4097", NULL, NULL, NULL, WAL_GOAL_END, WAL_FALLS_SHORT, "1/4095", NULL },
	{ "the other repository fills the hole", "1/3-4 1/6-9", "1/5", NULL, NULL, WAL_GOAL_END, WAL_REACHES, "1/9", NULL },
	{ "the other one goes on", "1/3-5", "1/6-9", NULL, NULL, WAL_GOAL_END, WAL_REACHES, "1/9", NULL },
	{ "later only there", "1/3-5", "1/8", NULL, NULL, WAL_GOAL_END, WAL_FALLS_SHORT, "1/5", NULL },
	{ "a line that nobody has WAL of", "1/3-5", NULL, "1\t0/680000\n", NULL, WAL_GOAL_END, WAL_FALLS_SHORT, "1/5",
	  "00000002.history" },
	{ "a line that begins where the WAL ends", "1/3-5", NULL, "1\t0/600000\n", NULL, WAL_GOAL_END, WAL_REACHES, "1/5", NULL },
	{ "its first segment is not archived, the parent's is", "1/3-6", NULL, "1\t0/680000\n", NULL, WAL_GOAL_END,
	  WAL_FALLS_SHORT, "1/5", "00000002.history" },
	{ "the parent's line went on without us", "1/3-9 1/12 2/6-10", NULL, "1\t0/680000\n", NULL, WAL_GOAL_END,
	  WAL_REACHES, "2/10", NULL },
	{ "immediate does not care", "1/3-5", NULL, "1\t0/680000\n", NULL, WAL_GOAL_CONSISTENT, WAL_REACHES, "1/5", NULL },
	{ "some point may come before", "1/3-5", NULL, "1\t0/680000\n", NULL, WAL_GOAL_SOMEWHERE, WAL_MAY_REACH, "1/5",
	  "00000002.history" },
	{ "histories in two repositories", "1/3-6 2/7", "3/7-9", "1\t0/780000\n", "1\t0/780000\n2\t0/790000\n",
	  WAL_GOAL_END, WAL_REACHES, "3/9", NULL },
};

static void archives_are_asked_together(void **state)
{
	for (size_t i = 0; i < COUNT(stores); i++) {
		SCOPED_ARENA(a);
		const struct store_case *c = &stores[i];
		struct wal_reach_ask ask = ask_for(c->goal);
		const struct wal_place places[] = { { store_mem(a), STANZA, ID, NULL }, { store_mem(a), STANZA, ID, NULL } };
		size_t n = c->two == NULL ? 1 : 2, at;
		struct wal_reach r;

		put_segments(places[0].repo, c->one, HASH ".gz");
		if (c->two != NULL)
			put_segments(places[1].repo, c->two, HASH);
		if (c->history2 != NULL)
			put(places[0].repo, "00000002.history", c->history2);
		if (c->history3 != NULL)
			put(places[1].repo, "00000003.history", c->history3);
		assert_int_equal(wal_reach_line(a, places, n, 1, 0, &ask.line, &at), 0);
		assert_int_equal(wal_reach(a, places, n, &ask, &r, &at), 0);
		assert_string_equal(arena_printf(a, "%s: %d to %s by %s", c->name, (int)r.verdict, show(a, r.to),
				r.evidence == NULL ? "-" : r.evidence),
			arena_printf(a, "%s: %d to %s by %s", c->name, (int)c->verdict, c->to,
				c->evidence == NULL ? "-" : c->evidence));
	}
}

static void only_whole_names_count(void **state)
{
	static const char *const suffixes[] = { ".partial" HASH, HASH ".gz.1234-aaaaaaaa.pgbackrest.tmp", HASH ".xz",
		HASH ".nonsense", "", "-0123", "-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz" };

	for (size_t i = 0; i < COUNT(suffixes); i++) {
		SCOPED_ARENA(a);
		struct wal_reach_ask ask = ask_for(WAL_GOAL_CONSISTENT);
		const struct wal_place place = { store_mem(a), STANZA, ID, NULL };
		struct wal_reach r;
		size_t at;

		put_segments(place.repo, "1/3-4", HASH ".zst");
		put_segments(place.repo, "1/5", suffixes[i]);
		assert_int_equal(wal_reach(a, &place, 1, &ask, &r, &at), 0);
		assert_int_equal(r.verdict, WAL_FALLS_SHORT);
		assert_int_equal(r.gaps[0].segment, 5);
	}
}

static void latest_is_found_as_postgres_does(void **state)
{
	static const struct { const char *names[4]; uint32_t from, latest; } cases[] = {
		{ { NULL }, 1, 1 },
		{ { "00000002.history", "00000003.history" }, 1, 3 },
		{ { "00000003.history" }, 1, 1 }, /* PostgreSQL looks for 2 and stops */
		{ { "00000002.history", "00000004.history" }, 1, 2 },
		{ { "00000002.history", "00000003.history" }, 3, 3 },
		{ { "00000009.history", "0000000A.history", "0000000B.history" }, 8, 11 },
		{ { "00000002.history-x", "00000002.partial" }, 1, 1 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		const struct wal_place places[] = { { store_mem(a), STANZA, ID, NULL }, { store_mem(a), STANZA, ID, NULL } };
		struct timeline_history line;
		size_t at;

		for (size_t k = 0; k < 4 && cases[i].names[k] != NULL; k++)
			put(places[(i + k) % 2].repo, cases[i].names[k], "1\t0/780000\n");
		assert_int_equal(wal_reach_line(a, places, 2, cases[i].from, 0, &line, &at), 0);
		assert_int_equal(line.timeline, cases[i].latest);
	}
}

static void a_line_needs_its_history(void **state)
{
	SCOPED_ARENA(a);
	const struct wal_place place = { store_mem(a), STANZA, ID, NULL };
	struct timeline_history line;
	size_t at;

	assert_int_equal(wal_reach_line(a, &place, 1, 1, 2, &line, &at), -1);
	assert_int_equal(err_code(), ERR_FILE_MISSING);
	assert_int_equal(at, 1);
	err_clear();
	put(place.repo, "00000002.history", "nonsense\n");
	assert_int_equal(wal_reach_line(a, &place, 1, 1, 2, &line, &at), -1);
	assert_int_equal(err_code(), ERR_FORMAT);
	assert_int_equal(at, 0);
	err_clear();
	/* its own timeline needs none */
	assert_int_equal(wal_reach_line(a, &place, 1, 2, 2, &line, &at), 0);
	assert_int_equal(line.timeline, 2);
}

/* Unknown is never absent: whichever listing fails, there is no verdict. */
static void a_failing_listing_gives_no_verdict(void **state)
{
	for (unsigned nth = 1; ; nth++) {
		SCOPED_ARENA(a);
		struct wal_reach_ask ask = ask_for(WAL_GOAL_END);
		struct store_fault fault = { .verb = "list", .nth = nth };
		struct store *inner = store_mem(a);
		const struct wal_place places[] = { { store_mem(a), STANZA, ID, NULL }, { store_faulty(a, inner, &fault), STANZA, ID,
			NULL } };
		struct wal_reach r;
		size_t at = 9;

		put_segments(places[0].repo, "1/3-5", HASH);
		put_segments(inner, "1/5-6", HASH);
		int rc = wal_reach(a, places, 2, &ask, &r, &at);
		if (fault.calls < nth) {
			assert_int_equal(rc, 0);
			assert_true(nth > 2);
			break;
		}
		assert_int_equal(rc, -1);
		assert_int_equal(at, 1);
		err_clear();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_follow_from_names),
		cmocka_unit_test(archives_are_asked_together),
		cmocka_unit_test(only_whole_names_count),
		cmocka_unit_test(latest_is_found_as_postgres_does),
		cmocka_unit_test(a_line_needs_its_history),
		cmocka_unit_test(a_failing_listing_gives_no_verdict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
