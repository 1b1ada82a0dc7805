/* path: joins, parents, and above all what counts as safe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/path.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void joins(void **state)
{
	static const char *const cases[][3] = {
		{"a", "b", "a/b"},
		{"", "b", "b"},
		{"a", "", "a"},
		{"", "", ""},
		{"/", "b", "/b"},
		{"/a/", "b/c", "/a/b/c"},
	};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(path_join(a, cases[i][0], cases[i][1]), cases[i][2]);
}

static void parents_and_bases(void **state)
{
	static const char *const cases[][3] = {
		{"a/b", "a", "b"},
		{"a", "", "a"},
		{"/a", "/", "a"},
		{"/", "/", ""},
		{"", "", ""},
		{"/a/b/c", "/a/b", "c"},
		{"a/", "a", ""},
	};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_string_equal(path_parent(a, cases[i][0]), cases[i][1]);
		assert_string_equal(path_base(cases[i][0]), cases[i][2]);
	}
}

static void safe_names(void **state)
{
	static const char *const good[] = {
		"a", "a/b", "...", ".a", "a..", "..a/b", "a/.b", "pg_wal/x y", "a\\b", "\xff"};
	static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a",
		"a/.", "a/..", "a/./b", "a/../b", "a\nb", "\n", "//", "a/b/.."};

	for (size_t i = 0; i < COUNT(good); i++) {
		if (!path_is_safe(good[i]))
			fail_msg("'%s' must be safe", good[i]);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		if (path_is_safe(bad[i]))
			fail_msg("'%s' must not be safe", bad[i]);
	}
}

static void below_by_whole_parts(void **state)
{
	assert_true(path_is_below("/a/b", "/a"));
	assert_true(path_is_below("/a", "/a"));
	assert_true(path_is_below("/a", "/"));
	assert_true(path_is_below("/", "/"));
	assert_false(path_is_below("/ab", "/a"));
	assert_false(path_is_below("/a", "/a/b"));
	assert_false(path_is_below("/b/a", "/a"));
}

static void normalizes(void **state)
{
	static const char *const cases[][2] = {
		{"/", "/"},
		{"//", "/"},
		{"/a/", "/a"},
		{"/a//b", "/a/b"},
		{"/a/./b/.", "/a/b"},
		{"/a/../b", "/b"},
		{"/a/b/..", "/a"},
		{"/..", "/"},
		{"/../../a", "/a"},
		{"/a/b/../../..", "/"},
		{"/a/...", "/a/..."},
		{"/a/..b", "/a/..b"},
		{"", "/"},
	};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(path_normalize(a, cases[i][0]), cases[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(joins),
		cmocka_unit_test(parents_and_bases),
		cmocka_unit_test(safe_names),
		cmocka_unit_test(below_by_whole_parts),
		cmocka_unit_test(normalizes),
	};

	return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
