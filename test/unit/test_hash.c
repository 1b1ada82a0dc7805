/*
 * hash: vectors, pieces, reuse of contexts, text form.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "stream/hash.h"
#include "stream/hash_beside.h"

#include "stream/idle.h"

static const struct {
	const char *text, *hex;
} vectors[] = {
	{"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
	{"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
	{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		"84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
};

static void check_hex(const struct sum *s, const char *hex)
{
	char text[SHA1_HEX + 1];

	sum_hex(s, text);
	assert_string_equal(text, hex);
}

static void published_vectors(void **state)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct sum s;

		sha1_of(vectors[i].text, strlen(vectors[i].text), &s);
		check_hex(&s, vectors[i].hex);
	}
	check_hex(&sum_empty, vectors[0].hex);
}

static void million_letters_in_any_pieces(void **state)
{
	static const size_t pieces[] = {1, 13, 63, 64, 65, 65536};
	char data[65536];

	memset(data, 'a', sizeof(data));
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		SCOPED_ARENA(a);
		struct sum got;
		struct buf b;
		struct sink *s = sink_sha1(a, (buf_init(&b, a), sink_buf(a, &b)), &got);

		for (size_t left = 1000000; left > 0;) {
			size_t n = pieces[i] < left ? pieces[i] : left;

			assert_int_equal(sink_write(s, data, n), 0);
			left -= n;
		}
		assert_int_equal(sink_finish(s), 0);
		check_hex(&got, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
		assert_int_equal(b.len, 1000000); /* passed on unchanged */
		assert_memory_equal(b.data, data, sizeof(data));
	}
}

static void sink_without_bytes(void **state)
{
	SCOPED_ARENA(a);
	struct sum got;
	struct sink *s = sink_sha1(a, sink_null(a), &got);

	assert_int_equal(sink_finish(s), 0);
	assert_true(sum_equal(&got, &sum_empty));
}

static void two_at_once_do_not_mix(void **state)
{
	SCOPED_ARENA(a);
	struct sha1 *x = sha1_new(a), *y = sha1_new(a);
	struct sum sx, sy, alone;

	sha1_add(x, "ab", 2);
	sha1_add(y, vectors[2].text, 10);
	sha1_of("other", 5, &alone);
	sha1_add(x, "c", 1);
	sha1_add(y, vectors[2].text + 10, strlen(vectors[2].text) - 10);
	sha1_end(x, &sx);
	sha1_end(y, &sy);
	check_hex(&sx, vectors[1].hex);
	check_hex(&sy, vectors[2].hex);
}

static void an_abandoned_context_is_reset(void **state)
{
	size_t before;

	for (int i = 0; i < 2; i++) {
		SCOPED_ARENA(a);

		sha1_add(sha1_new(a), "rubbish", 7);
	}
	before = idle_made();
	for (int i = 0; i < 1000; i++) {
		SCOPED_ARENA(a);
		struct sha1 *s = sha1_new(a);
		struct sum got;

		sha1_add(s, "abc", 3);
		sha1_end(s, &got);
		check_hex(&got, vectors[1].hex);
		if (i % 2 == 0)
			sha1_add(sha1_new(a), "rubbish", 7);
	}
	assert_true(idle_made() <= before + 1);
}

static void text_form(void **state)
{
	struct sum s;

	assert_true(sum_parse(vectors[1].hex, &s));
	check_hex(&s, vectors[1].hex);
	assert_true(sum_parse("A9993E364706816ABA3E25717850C26C9CD0D89D.zst", &s));
	check_hex(&s, vectors[1].hex);
	assert_false(sum_parse("", &s));
	assert_false(sum_parse("a9993e364706816aba3e25717850c26c9cd0d89", &s));
	assert_false(sum_parse("g9993e364706816aba3e25717850c26c9cd0d89d", &s));
	assert_false(sum_parse("a9993e364706816aba3e25717850c26c9cd0d8 d", &s));
	assert_false(sum_equal(&sum_empty, &(struct sum){{0}}));
}

/* Sizes around a slot and around the whole ring, in pieces of several sizes; abandoned half-way too. */
static void beside_equals_plain(void **state)
{
	static const size_t sizes[] = {0, 1, 262143, 262144, 262145, 1048575, 1048576, 1048577, 9000001};
	static const size_t pieces[] = {1000, 65536, 262144, 1048576, 9000001};
	const unsigned char *data = malloc(9000001);

	assert_non_null(data);
	for (size_t i = 0; i < 9000001; i++)
		((unsigned char *)(uintptr_t)data)[i] = (unsigned char)(i * 2654435761u >> 13);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		struct sum want, got;
		sha1_of(data, sizes[s], &want);
		for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
			SCOPED_ARENA(a);
			struct hash_beside *h = hash_beside_new(a), *left = hash_beside_new(a);
			for (size_t at = 0; at < sizes[s]; at += pieces[p]) {
				size_t n = sizes[s] - at < pieces[p] ? sizes[s] - at : pieces[p];
				hash_beside_add(h, data + at, n);
				hash_beside_add(left, data + at, n);
			}
			hash_beside_end(h, &got);
			assert_true(sum_equal(&want, &got));
		}
	}
	free((void *)(uintptr_t)data);
}

static void given_up_equals_plain(void **state)
{
	hash_beside_give_up();
	beside_equals_plain(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(million_letters_in_any_pieces),
		cmocka_unit_test(sink_without_bytes),
		cmocka_unit_test(two_at_once_do_not_mix),
		cmocka_unit_test(an_abandoned_context_is_reset),
		cmocka_unit_test(text_form),
		cmocka_unit_test(beside_equals_plain),
		cmocka_unit_test(given_up_equals_plain), /* the last: there is no way back */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
