/*
 * verify --archive: what is said of each segment, by names and status files alone.
 *
 * Names of segments are written "timeline/number".  The segment size is 1 MiB, so that LSN 0/500000 is the first byte of
 * segment 5.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/str.h"
#include "cmd/verify_cluster.h"
#include "form/json.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SEG ((uint32_t)1 << 20)
#define NOW 100000

static struct wal_pos pos(const char *text)
{
	struct wal_pos p = { (uint32_t)strtoul(text, NULL, 10), 0 };

	p.segment = strtoull(strchr(text, '/') + 1, NULL, 10);
	return p;
}

struct row {
	const char *there; /* "1/3 1/4", "!" behind it: of no use */
	const char *local; /* "1/5r10": ready since 10 s; d: done; w: no status file; g: status file ready, but no segment */
	const char *ranges; /* of listed backups: "1/3-4" */
	unsigned first, end;
	unsigned timeline; /* 2: it began in segment 5 */
	unsigned highest;
	const char *rows; /* "F1/3-4 L1/5-5" */
	enum cluster_status integrity, timelines;
};

static void take_there(struct arena *a, const char *words, wal_kepts *out)
{
	strvec v = str_split(a, words, ' ');

	vec_init(out, a);
	for (size_t i = 0; *words != '\0' && i < v.n; i++)
		vec_push(out, ((struct wal_kept){ .pos = pos(v.v[i]), .bad = strchr(v.v[i], '!') != NULL }));
}

static void take_local(struct arena *a, const char *words, cluster_locals *out)
{
	strvec v = str_split(a, words, ' ');

	vec_init(out, a);
	for (size_t i = 0; *words != '\0' && i < v.n; i++) {
		const char *how = v.v[i] + strcspn(v.v[i], "rdwg");
		vec_push(out, ((struct cluster_local){ .pos = pos(v.v[i]), .there = *how != 'g', .ready = *how == 'r' || *how == 'g',
			.done = *how == 'd', .since = NOW - strtol(how + 1, NULL, 10) }));
	}
}

static void take_ranges(struct arena *a, const char *words, wal_ranges *out)
{
	strvec v = str_split(a, words, ' ');

	vec_init(out, a);
	for (size_t i = 0; *words != '\0' && i < v.n; i++)
		vec_push(out, ((struct wal_range){ .label = v.v[i], .start = pos(v.v[i]),
			.stop = strtoull(strchr(v.v[i], '-') + 1, NULL, 10) }));
}

static char *rows_text(struct arena *a, const struct cluster_answer *x)
{
	struct buf out;

	buf_init(&out, a);
	for (size_t i = 0; i < x->rows.n; i++) {
		const struct cluster_row *r = &x->rows.v[i];
		buf_addf(&out, "%s%c%u/%u-%u", i == 0 ? "" : " ", "FUDL"[r->found], r->timeline, (unsigned)r->first,
			(unsigned)r->last);
	}
	return out.len == 0 ? arena_strdup(a, "") : out.data;
}

static void judges(void **state)
{
	static const struct row rows[] = {
		{ "", "", "", 1, 1, 1, 0, "", CLUSTER_OK, CLUSTER_WARNING },
		{ "1/1 1/2 1/3", "", "", 1, 4, 1, 1, "F1/1-3", CLUSTER_OK, CLUSTER_OK },
		{ "1/1 1/3", "", "", 1, 4, 1, 1, "F1/1-1 L1/2-2 F1/3-3", CLUSTER_FAILURE, CLUSTER_OK },
		{ "1/1", "1/2r9 1/3r0", "", 1, 4, 1, 1, "F1/1-1 U1/2-3", CLUSTER_WARNING, CLUSTER_OK },
		/* archive-timeout is 10 s */
		{ "1/1", "1/2r10 1/3r9", "", 1, 4, 1, 1, "F1/1-1 D1/2-2 U1/3-3", CLUSTER_WARNING, CLUSTER_OK },
		{ "1/1", "1/3w99 1/2w1", "", 1, 4, 1, 1, "F1/1-1 U1/2-2 D1/3-3", CLUSTER_WARNING, CLUSTER_OK },
		/* a clock that went back */
		{ "1/1", "1/2r-500", "", 1, 3, 1, 1, "F1/1-1 U1/2-2", CLUSTER_WARNING, CLUSTER_OK },
		{ "1/1", "1/2d1 1/3g1", "", 1, 4, 1, 1, "F1/1-1 L1/2-3", CLUSTER_FAILURE, CLUSTER_OK },
		/* in the archive, whatever the server says; of no use there */
		{ "1/1 1/2", "1/1d1 1/2r99", "", 1, 3, 1, 1, "F1/1-2", CLUSTER_OK, CLUSTER_OK },
		{ "1/1 1/2! 1/3", "", "", 1, 4, 1, 1, "F1/1-1 L1/2-2 F1/3-3", CLUSTER_FAILURE, CLUSTER_OK },
		{ "1/1 1/2!", "1/2r1", "", 1, 3, 1, 1, "F1/1-1 U1/2-2", CLUSTER_WARNING, CLUSTER_OK },
		/* along the line: segment 5 is the new timeline's */
		{ "1/3 1/4 1/5 2/5 2/6", "", "", 3, 7, 2, 2, "F1/3-4 F2/5-6", CLUSTER_OK, CLUSTER_OK },
		{ "1/3 1/4 1/5 1/6 2/6", "", "", 3, 7, 2, 2, "F1/3-4 L2/5-5 F2/6-6", CLUSTER_FAILURE, CLUSTER_OK },
		/* somebody else is ahead; nothing of the new timeline is there yet */
		{ "1/1 2/5", "", "", 1, 2, 1, 2, "F1/1-1", CLUSTER_OK, CLUSTER_FAILURE },
		{ "1/1", "", "", 1, 2, 2, 1, "F1/1-1", CLUSTER_OK, CLUSTER_OK },
		/* retention leaves the ranges of backups; what else is missing is lost */
		{ "1/3 1/4 1/8 1/9", "", "1/3-4 1/8-8", 3, 10, 1, 1, "F1/3-4 F1/8-9", CLUSTER_OK, CLUSTER_OK },
		{ "1/3 1/4 1/5 1/8 1/9", "", "1/3-4 1/8-8", 3, 10, 1, 1, "F1/3-5 L1/6-7 F1/8-9", CLUSTER_FAILURE, CLUSTER_OK },
		{ "1/4 1/8 1/9", "", "1/3-4 1/8-8", 3, 10, 1, 1, "L1/3-3 F1/4-4 F1/8-9", CLUSTER_FAILURE, CLUSTER_OK },
	};
	struct timeline_switch at = { 1, 5 * (uint64_t)SEG + 100 };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		SCOPED_ARENA(a);
		const struct row *r = &rows[i];
		struct cluster_answer x;
		wal_kepts there;
		cluster_locals local;
		wal_ranges ranges;
		take_there(a, r->there, &there);
		take_local(a, r->local, &local);
		take_ranges(a, r->ranges, &ranges);
		struct cluster_ask ask = { .segment_size = SEG, .line = { .timeline = r->timeline }, .first = r->first,
			.end = r->end, .there = &there, .local = &local, .ranges = &ranges, .now = NOW, .timeout_ms = 10000,
			.highest = r->highest };
		vec_init(&ask.line.v, a);
		if (r->timeline == 2)
			vec_push(&ask.line.v, at);
		cluster_judge(a, &ask, &x);
		assert_string_equal(rows_text(a, &x), r->rows);
		assert_int_equal(x.integrity, r->integrity);
		assert_int_equal(x.timeline, r->timelines);
	}
}

/* The keys of WAL-G's report, and nothing else; with and without rows. */
static void prints_json(void **state)
{
	SCOPED_ARENA(a);
	struct cluster_answer x = { .integrity = CLUSTER_WARNING, .current = 3, .highest = 2 };
	struct buf out;

	(void)state;
	vec_init(&x.rows, a);
	vec_init(&x.notes, a);
	vec_push(&x.notes, "not for programs");
	buf_init(&out, a);
	cluster_json(&x, SEG, &out);
	assert_string_equal(out.data, "{\"integrity\":{\"status\":\"WARNING\",\"details\":[]},\"timeline\":{\"status\":\"OK\","
		"\"details\":{\"current_timeline_id\":3,\"highest_storage_timeline_id\":2}}}\n");
	vec_push(&x.rows, ((struct cluster_row){ 3, 4096, 4097, CLUSTER_DELAYED }));
	buf_reset(&out);
	cluster_json(&x, SEG, &out);
	assert_non_null(strstr(out.data, "[{\"timeline_id\":3,\"start_segment\":\"000000030000000100000000\","
		"\"end_segment\":\"000000030000000100000001\",\"segments_count\":2,\"status\":\"MISSING_DELAYED\"}]"));
	assert_true(json_valid(out.data, out.len - 1));
}

static void explains_what_is_lost(void **state)
{
	SCOPED_ARENA(a);
	struct cluster_answer x;
	wal_kepts there;
	cluster_locals local;
	wal_ranges ranges;
	wal_drops drops;

	(void)state;
	take_there(a, "1/1 1/4! 1/5", &there);
	take_local(a, "1/2d1 1/3d1", &local);
	take_ranges(a, "", &ranges);
	vec_init(&drops, a);
	struct wal_drop *d = vec_add(&drops);
	*d = (struct wal_drop){ .id = "20261120T210012Z-1f2e3d4c", .when = 1795208412, .text = "archive queue exceeded 20MB" };
	vec_init(&d->files, a);
	vec_push(&d->files, "000000010000000000000003");
	const struct cluster_ask ask = { .segment_size = SEG, .line = { .timeline = 1 }, .first = 1, .end = 6, .there = &there,
		.local = &local, .ranges = &ranges, .now = NOW, .timeout_ms = 10000, .highest = 7 };
	cluster_judge(a, &ask, &x);
	assert_string_equal(rows_text(a, &x), "F1/1-1 L1/2-4 F1/5-5");
	cluster_explain(a, &ask, &drops, &x);
	assert_int_equal(x.notes.n, 4);
	assert_non_null(strstr(x.notes.v[0], "000000010000000000000002 is still in the cluster"));
	assert_non_null(strstr(x.notes.v[1], "000000010000000000000003 was dropped by archive-push on "));
	assert_non_null(strstr(x.notes.v[1], "archive queue exceeded 20MB"));
	assert_non_null(strstr(x.notes.v[2], "000000010000000000000004 is in the archive, but of no use"));
	assert_non_null(strstr(x.notes.v[3], "timeline 7"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judges),
		cmocka_unit_test(prints_json),
		cmocka_unit_test(explains_what_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
