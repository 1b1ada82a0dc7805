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

/* Compressed first, encrypted last; the stored sum is of the ciphertext. */
static void encrypted_there_and_back(void **state)
{
	for (enum codec c = CODEC_NONE; c < CODEC_COUNT; c++) {
		for (int raw = 0; raw < 2; raw++) {
			SCOPED_ARENA(a);
			uint8_t *data = make_file(a);
			struct pipe_spec in = {.compress = c, .level = codec_info(c)->level_default,
				.encrypt = "secret", .raw = raw, .hash_plain = true, .hash_stored = true};
			struct pipe_spec out = {.decrypt = "secret", .expand = c, .raw = raw,
				.hash_plain = true};
			struct pipe_spec half = {.decrypt = "secret", .raw = raw};
			struct pipe_spec other = {.expand = c, .raw = raw};
			struct pipe_result r;
			struct sum plain, stored;
			struct buf z = run(a, &in, data, LEN, &r);

			sha1_of(data, LEN, &plain);
			sha1_of(z.data, z.len, &stored);
			assert_int_equal(r.stored_size, z.len);
			assert_true(sum_equal(&r.plain_sum, &plain));
			assert_true(sum_equal(&r.stored_sum, &stored));
			assert_int_equal(memcmp(z.data, "Salted__", 8) == 0, !raw);
			assert_int_equal(z.len % 16, raw ? 8 : 0);

			struct buf back = run(a, &out, z.data, z.len, &r);
			assert_int_equal(back.len, LEN);
			assert_memory_equal(back.data, data, LEN);
			assert_true(sum_equal(&r.plain_sum, &plain));

			back = run(a, &half, z.data, z.len, &r);
			back = run(a, &other, back.data, back.len, &r);
			assert_int_equal(back.len, LEN);
			assert_memory_equal(back.data, data, LEN);
		}
	}
}

/* From one key to another in one go, as a re-encryption would. */
static void from_one_key_to_another(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_file(a);
	struct pipe_spec first = {.encrypt = "one"}, change = {.decrypt = "one", .encrypt = "two"};
	struct pipe_spec last = {.decrypt = "two"};
	struct pipe_result r;
	struct buf x = run(a, &first, data, LEN, &r), y = run(a, &change, x.data, x.len, &r);
	struct buf back = run(a, &last, y.data, y.len, &r);

	assert_int_equal(back.len, LEN);
	assert_memory_equal(back.data, data, LEN);
	assert_memory_not_equal(x.data + 16, y.data + 16, 1000);
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

/* What is held back: nothing of it comes through, not even its end, until it is known to be wanted. */
static void unwanted_bytes_are_dropped(void **state)
{
	static const struct {
		size_t len;
		bool same, none; /* the content is that of unless; skip_empty */
		bool skipped, ended;
	} cases[] = {
		{0, false, false, false, true}, {0, false, true, true, false}, {1, false, true, false, true},
		{LEN, false, false, false, true}, {LEN, true, false, true, false}, {LEN, false, true, false, true},
		{PIPE_HOLD, true, false, true, false}, {PIPE_HOLD, false, false, false, true},
		{PIPE_HOLD + 1, true, false, true, false}, {PIPE_HOLD + 1, false, false, false, true},
		{3 * PIPE_HOLD + 5, true, true, true, false}, {3 * PIPE_HOLD + 5, false, true, false, true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SCOPED_ARENA(a);
		uint8_t *data = arena_zalloc(a, cases[i].len + 1);
		struct sum prior;
		struct pipe_spec spec = {.compress = CODEC_LZ4, .hash_plain = true, .hash_stored = true,
			.unless = &prior, .skip_empty = cases[i].none};
		struct pipe_spec back = {.expand = CODEC_LZ4, .hash_plain = true};
		struct pipe_result r, r2;

		for (size_t k = 0; k < cases[i].len; k++)
			data[k] = (uint8_t)(k * 7 / 3);
		sha1_of(data, cases[i].len, &prior);
		struct sum plain = prior;
		if (!cases[i].same)
			prior.bytes[7] ^= 1;
		struct buf z = run(a, &spec, data, cases[i].len, &r);
		assert_int_equal(r.skipped, cases[i].skipped);
		assert_int_equal(r.plain_size, cases[i].len);
		assert_true(sum_equal(&r.plain_sum, &plain));
		if (!cases[i].ended) {
			if (cases[i].len <= PIPE_HOLD)
				assert_int_equal(z.len, 0); /* the codec was not even begun */
			continue;
		}
		assert_int_equal(r.stored_size, z.len);
		struct buf plain_again = run(a, &back, z.data, z.len, &r2);
		assert_int_equal(plain_again.len, cases[i].len);
		assert_memory_equal(plain_again.data, data, cases[i].len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(encrypted_there_and_back),
		cmocka_unit_test(from_one_key_to_another),
		cmocka_unit_test(from_one_codec_to_another),
		cmocka_unit_test(bad_pages_are_told),
		cmocka_unit_test(nothing_asked_for),
		cmocka_unit_test(empty_files),
		cmocka_unit_test(unwanted_bytes_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
