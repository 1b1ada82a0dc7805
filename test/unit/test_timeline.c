/*
 * timeline: history files as PostgreSQL writes them are read, others refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/err.h"
#include "base/file.h"
#include "pg/timeline.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int parse(struct arena *a, uint32_t timeline, const char *text, struct timeline_history *h)
{
	return timeline_parse(a, timeline, text, strlen(text), h);
}

static void lines_are_read(void **state)
{
	SCOPED_ARENA(a);
	struct timeline_history h;

	assert_int_equal(parse(a, 5,
		"# comment\n\n   \t\n1\t0/9000028\tno recovery target specified\n"
		"  # another\n2\t1/0\n\n4\t7A/FFFFFFFF\tafter LSN\twith TAB", &h), 0);
	assert_int_equal(h.timeline, 5);
	assert_int_equal(h.v.n, 3);
	assert_int_equal(h.v.v[0].parent, 1);
	assert_true(h.v.v[0].lsn == 0x9000028);
	assert_int_equal(h.v.v[1].parent, 2);
	assert_true(h.v.v[1].lsn == UINT64_C(1) << 32);
	assert_int_equal(h.v.v[2].parent, 4);
	assert_true(h.v.v[2].lsn == UINT64_C(0x7AFFFFFFFF));
}

static void timeline_numbers_are_decimal(void **state)
{
	static const uint32_t edges[] = {1, 9, 10, 15, 16, 255, 256, 0x7FFFFFFF, 0xFFFFFFFE};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < COUNT(edges); i++) {
		struct timeline_history h;
		const char *text = arena_printf(a, "%u\t0/%X\tx\n", edges[i], edges[i]);

		assert_int_equal(parse(a, edges[i] + 1, text, &h), 0);
		assert_int_equal(h.v.n, 1);
		assert_int_equal(h.v.v[0].parent, edges[i]);
		assert_true(h.v.v[0].lsn == edges[i]);
	}
}

static void text_without_lines_gives_no_ancestors(void **state)
{
	static const char *const texts[] = {"", "\n", "\n\n\n", "#", "# 1\t0/1", " \t\r\n"};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < COUNT(texts); i++) {
		struct timeline_history h;

		assert_int_equal(parse(a, 2, texts[i], &h), 0);
		assert_int_equal(h.v.n, 0);
	}
}

static void malformed_lines_are_refused(void **state)
{
	static const char *const bad[] = {
		"1", "1\n", "1\t", "1\t\n", "1\t\treason", "1 0/9000028\treason",
		"\t0/9000028\treason", "x\t0/1\t", "0xA\t0/1\t", "A\t0/1\t", "-1\t0/1\t",
		"1 \t0/1\t", " 1\t0/1\t", "1\t 0/1\t", "1\t0/1 \t", "1\t0/1\r\n", "1\t0\t",
		"1\t0/\t", "1\t/1\t", "1\t0/1FFFFFFFF\t", "1\t0/x\t", "4294967296\t0/1\t",
		"4294967297\t0/1\t", "99999999999999999999999\t0/1\t", "0\t0/1\t",
		"1\t0/00000000000000000000000000000000000000001\t",
		"000000000000000000000000000000000000000000000001\t0/1\t",
		/* order */
		"2\t0/1\t\n1\t0/2\t", "2\t0/1\t\n2\t0/2\t", "9\t0/1\t", "10\t0/1\t",
		/* one bad line among good ones */
		"1\t0/1\t\njunk\n2\t0/2\t", "1\t0/1\t\n2", "{}", "\x7f\x45LF",
	};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct timeline_history h;

		if (parse(a, 9, bad[i], &h) == 0)
			fail_msg("'%s' was taken", bad[i]);
		assert_int_equal(err_code(), ERR_FORMAT);
		err_clear();
	}
}

static void bytes_behind_the_end_are_not_read(void **state)
{
	SCOPED_ARENA(a);
	const char text[] = "1\t0/1234567\tx";
	struct timeline_history h;

	for (size_t len = 0; len < sizeof(text); len++) {
		/* on the heap in its exact size: the sanitizer watches */
		char *copy = malloc(len + (len == 0));

		memcpy(copy, text, len);
		int rc = timeline_parse(a, 2, copy, len, &h);
		assert_int_equal(rc, len == 0 || len > 4 ? 0 : -1);
		err_clear();
		free(copy);
	}
	assert_int_equal(timeline_parse(a, 9, "1\t0/1\t\0\n2\0\t0/2\n", 14, &h), -1);
	err_clear();
	assert_int_equal(timeline_parse(a, 9, "\0\n", 2, &h), -1);
	err_clear();
}

static void message_names_the_line_and_the_file(void **state)
{
	SCOPED_ARENA(a);
	struct timeline_history h;

	assert_int_equal(parse(a, 0x1F, "1\t0/1\tx\n\nbroken\n", &h), -1);
	assert_string_equal(err_msg(),
		"invalid line 3 'broken' in timeline history 0000001F: timeline expected");
	err_clear();
}

static void descent_is_answered(void **state)
{
	SCOPED_ARENA(a);
	struct timeline_history h;
	uint64_t lsn = 0;

	assert_int_equal(parse(a, 9, "1\t0/100\tx\n3\t0/100\tx\n7\t1/200\tx\n", &h), 0);
	assert_true(timeline_left_at(&h, 1, &lsn) && lsn == 0x100);
	assert_true(timeline_left_at(&h, 3, &lsn) && lsn == 0x100);
	assert_true(timeline_left_at(&h, 7, &lsn) && lsn == UINT64_C(0x100000200));
	lsn = 5;
	assert_false(timeline_left_at(&h, 0, &lsn));
	assert_false(timeline_left_at(&h, 2, &lsn));
	assert_false(timeline_left_at(&h, 8, &lsn));
	assert_false(timeline_left_at(&h, 9, &lsn));
	assert_true(lsn == 5);
}

static void recovery_that_ended_before_its_target_timeline_began(void **state)
{
	SCOPED_ARENA(a);
	const char *dir = getenv("srcdir");
	const char *path = arena_printf(a, "%s/test/data/pg/00000003.history",
		dir == NULL ? "." : dir);
	struct timeline_history h;
	struct buf b;
	uint64_t lsn;

	buf_init(&b, a);
	assert_int_equal(file_read(path, 4096, &b), 0);
	assert_int_equal(timeline_parse(a, 3, b.data, b.len, &h), 0);
	assert_int_equal(h.v.n, 2);
	assert_true(h.v.v[0].lsn == 0xB0FB60);
	/* 1 has no part in 3 beyond the place where 3 began, though its line says 0/B0FB60 */
	assert_true(timeline_left_at(&h, 1, &lsn) && lsn == 0xA180B0);
	assert_true(timeline_left_at(&h, 2, &lsn) && lsn == 0xA180B0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_read),
		cmocka_unit_test(timeline_numbers_are_decimal),
		cmocka_unit_test(text_without_lines_gives_no_ancestors),
		cmocka_unit_test(malformed_lines_are_refused),
		cmocka_unit_test(bytes_behind_the_end_are_not_read),
		cmocka_unit_test(message_names_the_line_and_the_file),
		cmocka_unit_test(descent_is_answered),
		cmocka_unit_test(recovery_that_ended_before_its_target_timeline_began),
	};

	return cmocka_run_group_tests_name("timeline", tests, NULL, NULL);
}
