/*
 * pack: what was packed comes back; whatever is missing, too much or impossible is bad, once and for good.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "wire/pack.h"

static void pack_all(struct buf *b)
{
	pack_u8(b, 0xfe);
	pack_u16(b, 0xfedc);
	pack_u32(b, 0xfedcba98);
	pack_u64(b, 0xfedcba9876543210);
	pack_i64(b, INT64_MIN);
	pack_i64(b, -2);
	pack_bool(b, true);
	pack_bool(b, false);
	pack_str(b, NULL);
	pack_str(b, "");
	pack_str(b, "gr\xc3\xb6\xc3\x9f" "er");
	pack_bytes(b, "a\0b", 3);
	pack_bytes(b, NULL, 0);
	pack_u32(b, 7);
}

static void unpack_all(struct unpack *u)
{
	size_t len;

	assert_int_equal(unpack_u8(u), 0xfe);
	assert_int_equal(unpack_u16(u), 0xfedc);
	assert_int_equal(unpack_u32(u), 0xfedcba98);
	assert_true(unpack_u64(u) == 0xfedcba9876543210);
	assert_true(unpack_i64(u) == INT64_MIN);
	assert_true(unpack_i64(u) == -2);
	assert_true(unpack_bool(u));
	assert_false(unpack_bool(u));
	assert_null(unpack_str(u));
	assert_string_equal(unpack_str(u), "");
	assert_string_equal(unpack_text(u), "gr\xc3\xb6\xc3\x9f" "er");
	assert_memory_equal(unpack_bytes(u, &len), "a\0b", 3);
	assert_int_equal(len, 3);
	assert_non_null(unpack_bytes(u, &len));
	assert_int_equal(len, 0);
	assert_int_equal(unpack_u32_max(u, 7), 7);
}

/* The same calls, whatever they give. */
static void read_all(struct unpack *u)
{
	size_t len;

	(void)unpack_u8(u), (void)unpack_u16(u), (void)unpack_u32(u), (void)unpack_u64(u);
	(void)unpack_i64(u), (void)unpack_i64(u), (void)unpack_bool(u), (void)unpack_bool(u);
	(void)unpack_str(u), (void)unpack_str(u);
	assert_non_null(unpack_text(u));
	(void)unpack_bytes(u, &len);
	(void)unpack_bytes(u, &len);
	(void)unpack_u32_max(u, 7);
}

static void there_and_back(void **state)
{
	SCOPED_ARENA(a);
	struct buf b;
	struct unpack u;

	buf_init(&b, a);
	pack_all(&b);
	unpack_init(&u, a, b.data, b.len);
	unpack_all(&u);
	assert_int_equal(unpack_end(&u, "all"), 0);
}

static void order_of_bytes(void **state)
{
	SCOPED_ARENA(a);
	struct buf b;

	buf_init(&b, a);
	pack_u16(&b, 0x0201);
	pack_u32(&b, 0x06050403);
	pack_u64(&b, 0x0e0d0c0b0a090807);
	pack_str(&b, "x");
	pack_str(&b, NULL);
	assert_int_equal(b.len, 23);
	assert_memory_equal(b.data, "\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\1\0\0\0x\xff\xff\xff\xff", 23);
}

static void every_truncation(void **state)
{
	SCOPED_ARENA(a);
	struct buf b;

	buf_init(&b, a);
	pack_all(&b);
	for (size_t n = 0; n < b.len; n++) {
		struct unpack u;

		unpack_init(&u, a, arena_memdup(a, b.data, n), n);
		read_all(&u);
		assert_true(u.bad);
		assert_int_equal(unpack_end(&u, "the thing"), -1);
		assert_int_equal(err_code(), ERR_PROTOCOL);
		assert_string_equal(err_msg(), "the thing: malformed");
	}
	err_clear();
}

static void too_much(void **state)
{
	SCOPED_ARENA(a);
	struct unpack u;

	unpack_init(&u, a, "\1\2", 2);
	assert_int_equal(unpack_u8(&u), 1);
	assert_false(u.bad);
	assert_int_equal(unpack_end(&u, "x"), -1);
	err_clear();
}

static struct unpack reader(struct arena *a, const char *bytes, size_t len)
{
	struct unpack u;

	unpack_init(&u, a, arena_memdup(a, bytes, len), len);
	return u;
}

static void impossible(void **state)
{
	SCOPED_ARENA(a);
	size_t len;
	struct unpack u = reader(a, "\2", 1);

	assert_false(unpack_bool(&u));
	assert_true(u.bad);
	u = reader(a, "\3\0\0\0a\0b", 7);
	assert_null(unpack_str(&u));
	assert_true(u.bad);
	u = reader(a, "\xff\xff\xff\xff", 4);
	assert_string_equal(unpack_text(&u), "");
	assert_true(u.bad);
	u = reader(a, "\xff\xff\xff\xff", 4);
	assert_null(unpack_bytes(&u, &len));
	assert_int_equal(len, 0);
	assert_true(u.bad);
	u = reader(a, "\x8\0\0\0", 4);
	assert_int_equal(unpack_u32_max(&u, 7), 0);
	assert_true(u.bad);
}

/* Bad is for good: what is read later is nothing, though bytes would be there. */
static void bad_stays(void **state)
{
	SCOPED_ARENA(a);
	struct unpack u = reader(a, "\2\1\1\1\1\1\1\1\1", 9);
	size_t len = 1;

	(void)unpack_bool(&u);
	assert_int_equal(unpack_u8(&u), 0);
	assert_int_equal(unpack_u32(&u), 0);
	assert_null(unpack_str(&u));
	assert_null(unpack_bytes(&u, &len));
	assert_int_equal(unpack_count(&u, 1), 0);
	assert_int_equal(unpack_end(&u, "x"), -1);
	err_clear();
}

static void counts(void **state)
{
	SCOPED_ARENA(a);
	struct unpack u = reader(a, "\2\0\0\0abcdef", 10);

	assert_int_equal(unpack_count(&u, 3), 2);
	assert_false(u.bad);
	u = reader(a, "\2\0\0\0abcde", 9);
	assert_int_equal(unpack_count(&u, 3), 0);
	assert_true(u.bad);
	u = reader(a, "\0\0\0\0", 4);
	assert_int_equal(unpack_count(&u, 100), 0);
	assert_false(u.bad);
	u = reader(a, "\xff\xff\xff\xff" "abcd", 8);
	assert_int_equal(unpack_count(&u, 1), 0);
	assert_true(u.bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(order_of_bytes),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(too_much),
		cmocka_unit_test(impossible),
		cmocka_unit_test(bad_stays),
		cmocka_unit_test(counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
