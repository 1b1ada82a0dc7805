/* buf and vec: what grows keeps its content, at every edge and beside its neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/vec.h"

static void is_a_string_at_every_length(void **state)
{
	SCOPED_ARENA(a);
	struct buf b;

	buf_init(&b, a);
	assert_string_equal(b.data, "");
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(b.len, i);
		assert_true(b.len < b.cap);
		assert_int_equal(strlen(b.data), i);
		buf_addc(&b, 'x');
	}
	buf_reset(&b);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
}

static void adds_bytes_and_texts(void **state)
{
	SCOPED_ARENA(a);
	struct buf b;

	buf_init(&b, a);
	buf_add(&b, "a\0b", 3);
	buf_add(&b, NULL, 0);
	buf_adds(&b, "");
	buf_adds(&b, "cd");
	buf_addf(&b, "%d-%s", 7, "e");
	assert_int_equal(b.len, 8);
	assert_memory_equal(b.data, "a\0bcd7-e", 9);
}

static void formats_across_the_edge(void **state)
{
	for (int len = 0; len < 200; len++) {
		SCOPED_ARENA(a);
		struct buf b;

		buf_init(&b, a);
		buf_addf(&b, "%*s", len, "");
		buf_addf(&b, "%*s|", len, "");
		assert_int_equal(b.len, 2 * len + 1);
		assert_int_equal(strlen(b.data), b.len);
		assert_int_equal(b.data[b.len - 1], '|');
	}
}

static void reserve_gives_room(void **state)
{
	static const size_t sizes[] = {0, 1, 46, 47, 48, 49, 32700, 32768, 40000, 1000000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		SCOPED_ARENA(a);
		struct buf b;

		buf_init(&b, a);
		buf_adds(&b, "start");
		buf_reserve(&b, sizes[i]);
		assert_true(b.cap - b.len > sizes[i]);
		memset(b.data + b.len, 'y', sizes[i]);
		assert_memory_equal(b.data, "start", 5);
	}
}

static void neighbours_do_not_touch(void **state)
{
	SCOPED_ARENA(a);
	struct buf b[3];

	for (int k = 0; k < 3; k++)
		buf_init(&b[k], a);
	for (int i = 0; i < 100000; i++) {
		for (int k = 0; k < 3; k++)
			buf_addc(&b[k], (char)('a' + k));
	}
	assert_int_equal(strspn(b[0].data, "a"), 100000);
	assert_int_equal(strspn(b[1].data, "b"), 100000);
	assert_int_equal(strspn(b[2].data, "c"), 100000);
}

struct row {
	int64_t x;
	char name[20];
};

static void vectors_grow_with_zeroed_elements(void **state)
{
	SCOPED_ARENA(a);
	VEC(struct row) rows;
	strvec names;
	VEC(char) bytes;

	vec_init(&rows, a);
	vec_init(&names, a);
	vec_init(&bytes, a);
	assert_int_equal(rows.n, 0);
	assert_non_null(rows.v);
	for (int i = 0; i < 20000; i++) {
		struct row *r = vec_add(&rows);

		assert_int_equal(r->x, 0);
		assert_int_equal(r->name[19], 0);
		r->x = i;
		memset(r->name, 'z', sizeof(r->name));
		vec_push(&names, arena_printf(a, "%d", i));
		vec_push(&bytes, (char)i);
	}
	assert_int_equal(rows.n, 20000);
	for (int i = 0; i < 20000; i++) {
		char text[20];

		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(rows.v[i].x, i);
		assert_string_equal(names.v[i], text);
		assert_int_equal(bytes.v[i], (char)i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_a_string_at_every_length),
		cmocka_unit_test(adds_bytes_and_texts),
		cmocka_unit_test(formats_across_the_edge),
		cmocka_unit_test(reserve_gives_room),
		cmocka_unit_test(neighbours_do_not_touch),
		cmocka_unit_test(vectors_grow_with_zeroed_elements),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
