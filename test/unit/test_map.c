/* map: finds what was put, in order of insertion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include "base/map.h"

static void finds_what_was_put(void **state)
{
	SCOPED_ARENA(a);
	struct map *m = map_new(a);
	char key[] = "key";
	int one = 1, two = 2;

	assert_null(map_get(m, "key"));
	assert_false(map_has(m, ""));
	map_put(m, key, &one);
	key[0] = 'x';
	map_put(m, "", &two);
	map_put(m, "null", NULL);
	assert_ptr_equal(map_get(m, "key"), &one);
	assert_ptr_equal(map_get(m, ""), &two);
	assert_null(map_get(m, "null"));
	assert_true(map_has(m, "null"));
	assert_false(map_has(m, "xey"));
	assert_false(map_has(m, "ke"));
	assert_int_equal(map_count(m), 3);
}

static void replacing_keeps_the_position(void **state)
{
	SCOPED_ARENA(a);
	struct map *m = map_new(a);

	map_put(m, "b", "1");
	map_put(m, "a", "2");
	map_put(m, "b", "3");
	assert_int_equal(map_count(m), 2);
	assert_string_equal(map_key(m, 0), "b");
	assert_string_equal(map_value(m, 0), "3");
	assert_string_equal(map_key(m, 1), "a");
}

static void holds_many(void **state)
{
	SCOPED_ARENA(a);
	struct map *m = map_new(a);
	char key[32];

	for (uintptr_t i = 0; i < 20000; i++) {
		snprintf(key, sizeof(key), "base/16384/%lu", (unsigned long)i);
		map_put(m, key, (void *)(i + 1));
	}
	assert_int_equal(map_count(m), 20000);
	for (uintptr_t i = 0; i < 20000; i++) {
		snprintf(key, sizeof(key), "base/16384/%lu", (unsigned long)i);
		assert_string_equal(map_key(m, i), key);
		assert_int_equal((uintptr_t)map_get(m, key), i + 1);
		snprintf(key, sizeof(key), "base/16385/%lu", (unsigned long)i);
		assert_false(map_has(m, key));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_put),
		cmocka_unit_test(replacing_keeps_the_position),
		cmocka_unit_test(holds_many),
	};

	return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
