/*
 * pipe: the order of the chain, seen from its results.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "store/pipe.h"

enum { P = 8192, LEN = 5 * P };

static uint8_t *make_file(struct arena *a)
{
	uint8_t *data = arena_zalloc(a, LEN);

	for (uint32_t block = 0; block < LEN / P; block++) {
		uint8_t *page = data + block * P;
		uint16_t sum;

		for (size_t i = 0; i < P; i++)
			page[i] = (uint8_t)(i * 31 / 7 + block);
		page[14] = 1;
		sum = page_checksum(page, P, 131072 + block);
		memcpy(page + 8, &sum, 2);
	}
	return data;
}

static struct buf run(struct arena *a, const struct pipe_spec *spec, const void *data, size_t len,
	struct pipe_result *r)
{
	struct buf b;
	struct sink *s;

	memset(r, 0x55, sizeof(*r));
	buf_init(&b, a);
	s = pipe_chain(a, spec, NULL, NULL, sink_buf(a, &b), r);
	assert_int_equal(sink_write(s, data, len / 3), 0);
	assert_int_equal(sink_write(s, (const char *)data + len / 3, len - len / 3), 0);
	assert_int_equal(sink_finish(s), 0);
	return b;
}

static void there_and_back(void **state)
{
	for (enum codec c = CODEC_NONE; c < CODEC_COUNT; c++) {
		SCOPED_ARENA(a);
		uint8_t *data = make_file(a);
		struct pipe_spec in = {.compress = c,
			.level = codec_info(c)->level_default,
			.hash_plain = true,
			.hash_stored = true,
			.page_size = P,
			.first_block = 131072,
			.page_header_check = true};
		struct pipe_spec out = {.expand = c, .hash_plain = true};
		struct pipe_result r;
		struct sum plain, stored;
		struct buf z = run(a, &in, data, LEN, &r);

		sha1_of(data, LEN, &plain);
		sha1_of(z.data, z.len, &stored);
		assert_int_equal(r.plain_size, LEN);
		assert_int_equal(r.stored_size, z.len);
		assert_true(sum_equal(&r.plain_sum, &plain));
		assert_true(sum_equal(&r.stored_sum, &stored));
		assert_true(c == CODEC_NONE ? z.len == LEN : z.len < LEN);
		assert_int_equal(r.pages.bad.n, 0);
		assert_false(r.pages.misaligned);

		struct buf back = run(a, &out, z.data, z.len, &r);
		assert_int_equal(back.len, LEN);
		assert_memory_equal(back.data, data, LEN);
		assert_int_equal(r.plain_size, LEN);
		assert_int_equal(r.stored_size, LEN); /* not compressed again */
		assert_true(sum_equal(&r.plain_sum, &plain));
	}
}

static void from_one_codec_to_another(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_file(a);
	struct pipe_spec to_gz = {.compress = CODEC_GZ, .level = 6};
	struct pipe_spec to_zst = {.expand = CODEC_GZ,
		.compress = CODEC_ZST,
		.level = 3,
		.hash_plain = true,
		.page_size = P,
		.first_block = 131072};
	struct pipe_spec to_plain = {.expand = CODEC_ZST};
	struct pipe_result r;
	struct sum plain;
	struct buf gz = run(a, &to_gz, data, LEN, &r);
	struct buf zst = run(a, &to_zst, gz.data, gz.len, &r);

	sha1_of(data, LEN, &plain);
	assert_true(sum_equal(&r.plain_sum, &plain)); /* hash and pages see plain bytes */
	assert_int_equal(r.pages.bad.n, 0);
	assert_int_equal(r.plain_size, LEN);
	assert_int_equal(r.stored_size, zst.len);
	struct buf back = run(a, &to_plain, zst.data, zst.len, &r);
	assert_int_equal(back.len, LEN);
	assert_memory_equal(back.data, data, LEN);
}

static void bad_pages_are_told(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_file(a);
	struct pipe_spec spec = {.page_size = P, .first_block = 131072, .page_header_check = true};
	struct pipe_result r;

	data[P + 77] ^= 4;
	data[2 * P + 77] ^= 4;
	run(a, &spec, data, LEN, &r);
	assert_int_equal(r.pages.bad.n, 1);
	assert_int_equal(r.pages.bad.v[0].first, 131073);
	assert_int_equal(r.pages.bad.v[0].last, 131074);
}

static void nothing_asked_for(void **state)
{
	SCOPED_ARENA(a);
	struct pipe_spec spec = {0};
	struct pipe_result r;
	struct buf b = run(a, &spec, "hello", 5, &r);
	static const struct sum none;

	assert_string_equal(b.data, "hello");
	assert_int_equal(r.plain_size, 5);
	assert_int_equal(r.stored_size, 5);
	assert_true(sum_equal(&r.plain_sum, &none));
	assert_true(sum_equal(&r.stored_sum, &none));
	assert_int_equal(r.pages.bad.n, 0);
}

static void empty_files(void **state)
{
	for (enum codec c = CODEC_NONE; c < CODEC_COUNT; c++) {
		SCOPED_ARENA(a);
		struct pipe_spec in = {.compress = c,
			.level = codec_info(c)->level_default,
			.hash_plain = true,
			.page_size = P};
		struct pipe_spec out = {.expand = c, .hash_stored = true};
		struct pipe_result r;
		struct buf z = run(a, &in, "", 0, &r);

		assert_int_equal(r.plain_size, 0);
		assert_true(sum_equal(&r.plain_sum, &sum_empty));
		assert_false(r.pages.misaligned);
		assert_true((c == CODEC_NONE) == (z.len == 0));
		assert_int_equal(r.stored_size, z.len);
		run(a, &out, z.data, z.len, &r);
		assert_int_equal(r.plain_size, 0);
		assert_true(sum_equal(&r.stored_sum, &sum_empty));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(from_one_codec_to_another),
		cmocka_unit_test(bad_pages_are_told),
		cmocka_unit_test(nothing_asked_for),
		cmocka_unit_test(empty_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
