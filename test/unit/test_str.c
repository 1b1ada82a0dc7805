/* str and enc: numbers, sizes and durations as the reference takes and prints them; hex. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include "base/enc.h"
#include "base/str.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void starts_ends_all(void **state)
{
	assert_true(str_starts("abc", "ab"));
	assert_true(str_starts("abc", ""));
	assert_false(str_starts("a", "ab"));
	assert_true(str_ends("x.gz", ".gz"));
	assert_true(str_ends("x", ""));
	assert_false(str_ends("gz", ".gz"));
	assert_true(str_all("0123x", 4, "0123456789"));
	assert_false(str_all("0123x", 5, "0123456789"));
	assert_false(str_all("", 0, "0"));
	assert_false(str_all("1\0", 2, "1"));
}

static void trims(void **state)
{
	static const char *const cases[][2] = {
		{"", ""}, {" \t\n", ""}, {" a ", "a"}, {"a", "a"}, {"\ra b\n", "a b"}};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(str_trim(a, cases[i][0]), cases[i][1]);
}

static void splits_and_joins(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} cases[] = {{"", 1}, {"a", 1}, {",", 2}, {"a,b", 2}, {",a,,b,", 5}};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < COUNT(cases); i++) {
		strvec parts = str_split(a, cases[i].text, ',');

		assert_int_equal(parts.n, cases[i].n);
		assert_string_equal(str_join(a, &parts, ","), cases[i].text);
		vec_push(&parts, "more");
		assert_string_equal(parts.v[cases[i].n], "more");
	}
}

static void signed_numbers(void **state)
{
	static const struct {
		const char *text;
		int64_t n;
	} good[] = {{"0", 0}, {"5", 5}, {"05", 5}, {"+5", 5}, {"-5", -5}, {"-0", 0},
		{"9223372036854775807", INT64_MAX}, {"-9223372036854775808", INT64_MIN},
		{"00000000000000000000000000000000001", 1}};
	static const char *const bad[] = {"", "+", "-", "5.0", "0x5", " 5", "5 ", "--5", "+-5",
		"9223372036854775808", "-9223372036854775809", "18446744073709551616",
		"99999999999999999999999", "a"};
	int64_t n;

	for (size_t i = 0; i < COUNT(good); i++) {
		assert_true(str_to_i64(good[i].text, &n));
		assert_true(n == good[i].n);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		n = 77;
		if (str_to_i64(bad[i], &n))
			fail_msg("'%s' taken for a number", bad[i]);
		assert_int_equal(n, 77);
	}
}

static void unsigned_numbers(void **state)
{
	static const char *const bad[] = {"", "+1", "-1", " 1", "1 ", "18446744073709551616", "1a"};
	uint64_t n;

	assert_true(str_to_u64("18446744073709551615", &n));
	assert_true(n == UINT64_MAX);
	assert_true(str_to_u64("007", &n));
	assert_int_equal(n, 7);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(str_to_u64(bad[i], &n));
}

static void hex_numbers(void **state)
{
	uint64_t n;

	assert_true(str_hex_to_u64("0000000A", 8, &n));
	assert_int_equal(n, 10);
	assert_true(str_hex_to_u64("fFffffffffffffff", 16, &n));
	assert_true(n == UINT64_MAX);
	assert_true(str_hex_to_u64("1zz", 1, &n));
	assert_int_equal(n, 1);
	assert_false(str_hex_to_u64("", 0, &n));
	assert_false(str_hex_to_u64("00000000000000001", 17, &n));
	assert_false(str_hex_to_u64("0x1", 3, &n));
	assert_false(str_hex_to_u64("+1", 2, &n));
	assert_false(str_hex_to_u64("1", 2, &n));
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"1", 1}, {"0", 0}, {"16MiB", 16777216}, {"5gb", 5368709120}, {"7b", 7},
		{"7B", 7}, {"2k", 2048}, {"2kb", 2048}, {"2KiB", 2048}, {"3m", 3145728},
		{"3Mb", 3145728}, {"1g", 1073741824}, {"1GIB", 1073741824}, {"1t", 1099511627776},
		{"1tb", 1099511627776}, {"1TiB", 1099511627776}, {"1p", 1125899906842624},
		{"1pb", 1125899906842624}, {"1PIB", 1125899906842624},
		{"9223372036854775807", INT64_MAX}, {"8191p", 8191ULL << 50}};
	static const char *const bad[] = {"", "1.5g", "1 k", "-1", "+5", "k", "1bk", "1bb", "1bib",
		"1ki", "1kbb", "1e", "1x", "k1", " 1", "1 ", "9223372036854775808", "8192p",
		"18446744073709551616", "0x10"};
	uint64_t bytes;

	for (size_t i = 0; i < COUNT(good); i++) {
		if (!str_to_size(good[i].text, &bytes) || bytes != good[i].bytes)
			fail_msg("size '%s'", good[i].text);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (str_to_size(bad[i], &bytes))
			fail_msg("'%s' taken for a size", bad[i]);
	}
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {{"60", 60000}, {"1m", 60000}, {"100ms", 100}, {"1D", 86400000}, {"2S", 2000},
		{"3h", 10800000}, {"1w", 604800000}, {"0", 0}, {"-1", -1000}, {"+1Ms", 1}};
	static const char *const bad[] = {"", "0.5", "1 m", "1us", "m", "1mm", "1sm", " 1", "1 ",
		"-", "1y", "9223372036854775807", "9223372036854776"};
	int64_t ms;

	for (size_t i = 0; i < COUNT(good); i++) {
		if (!str_to_duration(good[i].text, &ms) || ms != good[i].ms)
			fail_msg("duration '%s'", good[i].text);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (str_to_duration(bad[i], &ms))
			fail_msg("'%s' taken for a duration", bad[i]);
	}
}

static void prints_sizes(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {{0, "0B"}, {1023, "1023B"}, {1024, "1KB"}, {1075, "1KB"}, {1076, "1.1KB"},
		{835584, "816KB"}, {1048575, "1024KB"}, {1048576, "1MB"}, {16777216, "16MB"},
		/* as pgBackRest 2.60.0 prints them */
		{16650702, "15.9MB"}, {16808161, "16MB"}, {8341824, "8MB"}, {367718, "359.1KB"}, {49408, "48.3KB"},
		{1073741824, "1GB"}, {1099511627776, "1024GB"}, {UINT64_MAX, "17179869184GB"}};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(str_size(a, cases[i].bytes), cases[i].text);
}

static void compares_by_unsigned_bytes(void **state)
{
	const char *v[] = {"b", "\xff", "a/b", "", "a-b", "a"};

	qsort(v, COUNT(v), sizeof(*v), str_cmp_ptr);
	assert_string_equal(v[0], "");
	assert_string_equal(v[1], "a");
	assert_string_equal(v[2], "a-b");
	assert_string_equal(v[3], "a/b");
	assert_string_equal(v[4], "b");
	assert_string_equal(v[5], "\xff");
}

static void hex_both_ways(void **state)
{
	const unsigned char bytes[] = {0x00, 0x7f, 0x80, 0xff, 0x1a};
	unsigned char back[5];
	char text[11];

	hex_encode(bytes, 5, text);
	assert_string_equal(text, "007f80ff1a");
	assert_true(hex_decode("007F80fF1A", back, 5));
	assert_memory_equal(back, bytes, 5);
	hex_encode(bytes, 0, text);
	assert_string_equal(text, "");
	assert_true(hex_decode("", back, 0));
	assert_false(hex_decode("007f80ff1", back, 5));
	assert_false(hex_decode("007f80ff1g", back, 5));
	assert_false(hex_decode("0x", back, 1));
	assert_false(hex_decode("", back, 1));
}

/* RFC 4648, section 10, and the two digits that no other base64 has. */
static void base64_text(void **state)
{
	static const struct {
		const char *bytes, *text;
	} table[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xff\xef\xbe", "/+++"}};
	char text[BASE64_SIZE(6)];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		base64_encode(table[i].bytes, strlen(table[i].bytes), text);
		assert_string_equal(text, table[i].text);
	}
	assert_int_equal(BASE64_SIZE(48), 65);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_ends_all),
		cmocka_unit_test(trims),
		cmocka_unit_test(splits_and_joins),
		cmocka_unit_test(signed_numbers),
		cmocka_unit_test(unsigned_numbers),
		cmocka_unit_test(hex_numbers),
		cmocka_unit_test(sizes),
		cmocka_unit_test(durations),
		cmocka_unit_test(prints_sizes),
		cmocka_unit_test(compares_by_unsigned_bytes),
		cmocka_unit_test(hex_both_ways),
		cmocka_unit_test(base64_text),
	};

	return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
