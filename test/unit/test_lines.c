/*
 * lines: where lines begin and end, whatever the pieces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "stream/lines.h"

struct got {
	struct buf text; /* each line as "<line>|" */
	unsigned lines, fail_at;
};

static int take(void *ctx, char *line, size_t len)
{
	struct got *g = ctx;

	if (++g->lines == g->fail_at)
		return err_set(ERR_JSON, "line %u is bad", g->lines);
	assert_int_equal(line[len], '\0');
	buf_add(&g->text, line, len);
	buf_addc(&g->text, '|');
	memset(line, '#', len); /* the line is ours to spoil */
	return 0;
}

static int feed(
	struct arena *a, struct got *g, size_t max, const char *text, size_t len, size_t piece)
{
	struct sink *s = sink_lines(a, max, take, g);

	buf_init(&g->text, a);
	for (size_t at = 0; at < len; at += piece) {
		if (sink_write(s, text + at, len - at < piece ? len - at : piece) != 0)
			return -1;
	}
	return sink_finish(s);
}

static void cases(void **state)
{
	static const struct {
		const char *text, *want;
	} table[] = {
		{"", ""},
		{"a", "a|"},
		{"a\n", "a|"},
		{"\n", "|"},
		{"\n\n", "||"},
		{"a\nb", "a|b|"},
		{"a\n\nlong line here\r\nb\n", "a||long line here\r|b|"},
		{"\na", "|a|"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (size_t piece = 1; piece < 8; piece++) {
			SCOPED_ARENA(a);
			struct got g = {0};

			assert_int_equal(
				feed(a, &g, 100, table[i].text, strlen(table[i].text), piece), 0);
			assert_string_equal(g.text.data, table[i].want);
		}
	}
}

static void nul_is_a_byte_like_any_other(void **state)
{
	SCOPED_ARENA(a);
	struct got g = {0};

	assert_int_equal(feed(a, &g, 100, "a\0b\nc", 5, 2), 0);
	assert_int_equal(g.lines, 2);
	assert_memory_equal(g.text.data, "a\0b|c|", 6);
}

static void longest_line(void **state)
{
	static const struct {
		const char *text;
		int want;
	} table[] = {{"12345678", 0}, {"12345678\n", 0}, {"123456789", -1}, {"123456789\n", -1},
		{"1\n12345678\n2", 0}, {"1\n123456789\n2", -1}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (size_t piece = 1; piece < 12; piece += 5) {
			SCOPED_ARENA(a);
			struct got g = {0};

			assert_int_equal(
				feed(a, &g, 8, table[i].text, strlen(table[i].text), piece),
				table[i].want);
			if (table[i].want == 0)
				continue;
			assert_int_equal(err_code(), ERR_FORMAT);
			err_clear();
		}
	}
}

static void a_failing_callback_stops_the_stream(void **state)
{
	for (unsigned n = 1; n <= 3; n++) {
		SCOPED_ARENA(a);
		struct got g = {.fail_at = n};

		assert_int_equal(feed(a, &g, 100, "a\nb\nc", 5, 100), -1);
		assert_int_equal(g.lines, n);
		assert_int_equal(err_code(), ERR_JSON);
		err_clear();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cases),
		cmocka_unit_test(nul_is_a_byte_like_any_other),
		cmocka_unit_test(longest_line),
		cmocka_unit_test(a_failing_callback_stops_the_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
