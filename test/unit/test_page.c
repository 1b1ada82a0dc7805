/*
 * page: checksum vectors, and which pages the filter calls bad.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "pg/page.h"

enum { P = 8192, PAGES = 12 };

/* The file as it is when a page is read again. */
struct file {
	uint8_t *data;
	size_t len;
	unsigned rereads;
	bool unreadable;
};

static ssize_t reread(void *ctx, void *data, size_t len, uint64_t offset)
{
	struct file *f = ctx;
	size_t n;

	f->rereads++;
	if (f->unreadable)
		return err_set(ERR_FILE_READ, "unable to read");
	if (offset >= f->len)
		return 0;
	n = f->len - offset < len ? f->len - (size_t)offset : len;
	memcpy(data, f->data + offset, n);
	return (ssize_t)n;
}

static void put_u16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, 2);
}

static void make_page(uint8_t *page, uint32_t size, uint32_t block)
{
	for (uint32_t i = 0; i < size; i++)
		page[i] = (uint8_t)(i * 7 + block * 13 + i / 256);
	put_u16(page + 14, (uint16_t)(size - 100));
	put_u16(page + 8, page_checksum(page, size, block));
}

static uint8_t *make_pages(struct arena *a, uint32_t size, uint32_t first_block)
{
	uint8_t *data = arena_alloc(a, (size_t)size * PAGES);

	for (uint32_t i = 0; i < PAGES; i++)
		make_page(data + (size_t)i * size, size, first_block + i);
	return data;
}

/* Push data through the filter; what passes must be what was pushed. */
static struct page_result check(
	struct arena *a, const uint8_t *data, size_t len, size_t piece, struct page_check c)
{
	struct page_result r;
	struct buf b;
	struct sink *s;

	memset(&r, 0x55, sizeof(r));
	buf_init(&b, a);
	s = sink_page_check(a, sink_buf(a, &b), &c, &r);
	for (size_t at = 0; at < len; at += piece)
		assert_int_equal(sink_write(s, data + at, len - at < piece ? len - at : piece), 0);
	assert_int_equal(sink_finish(s), 0);
	assert_int_equal(b.len, len);
	assert_int_equal(memcmp(b.data, data, len), 0);
	assert_int_equal(err_code(), ERR_NONE);
	return r;
}

static void assert_ranges(const struct page_result *r, const char *want)
{
	char got[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < r->bad.n; i++) {
		const struct page_range *x = &r->bad.v[i];

		n += (size_t)snprintf(got + n, sizeof(got) - n,
			x->first == x->last ? "%u " : "%u-%u ", x->first, x->last);
	}
	assert_string_equal(got, want);
}

static void vectors(void **state)
{
	static uint8_t page[P];

	page[0] = 1;
	assert_int_equal(page_checksum(page, P, 0), 26614);
	assert_int_equal(page_checksum(page, P, 1), 26615);
	page[8] = 0xff; /* the field itself does not count */
	page[9] = 0x7f;
	assert_int_equal(page_checksum(page, P, 0), 26614);
	for (size_t i = 0; i < P; i++)
		page[i] = (uint8_t)i;
	/* its bytes 8 and 9 are not zero, so this also shows that they are left out */
	assert_int_equal(page_checksum(page, P, 7), 59149);
}

/* The definition of format/blocks.md 5.4, word by word. */
static uint16_t plain_checksum(const uint8_t *page, uint32_t size, uint32_t block)
{
	static const uint32_t seeds[32] = {0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a,
		0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c, 0xf8d4474f, 0xe39eb970, 0x42c6ae16,
		0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb, 0xe58f764b, 0x187636bc,
		0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4, 0x783125bb,
		0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756};
	uint32_t s[32], x = 0;

	memcpy(s, seeds, sizeof(s));
	for (uint32_t i = 0; i < size / 4 + 64; i++) {
		uint32_t w = 0, t;

		if (i < size / 4)
			memcpy(&w, page + (size_t)i * 4, 4);
		if (i == 2) {
			uint8_t field[4];

			memcpy(field, page + 8, 4);
			field[0] = field[1] = 0;
			memcpy(&w, field, 4);
		}
		t = s[i % 32] ^ w;
		s[i % 32] = (t * 16777619) ^ (t >> 17);
	}
	for (int i = 0; i < 32; i++)
		x ^= s[i];
	return (uint16_t)((x ^ block) % 65535 + 1);
}

static void all_sizes_and_addresses(void **state)
{
	SCOPED_ARENA(a);

	for (uint32_t size = 1024; size <= 32768; size *= 2) {
		uint8_t *room = arena_zalloc(a, size + 16);

		for (uint32_t shift = 0; shift < 16; shift += 3) {
			uint8_t *page = room + shift;

			make_page(page, size, 12345 + shift);
			assert_int_equal(page_checksum(page, size, 131072),
				plain_checksum(page, size, 131072));
			page[size - 1] ^= 0x10;
			assert_int_equal(page_checksum(page, size, UINT32_MAX),
				plain_checksum(page, size, UINT32_MAX));
		}
	}
}

static void good_files(void **state)
{
	static const size_t pieces[] = {1, 1000, P - 1, P, P + 1, 3 * P, 1024 * 1024};

	for (uint32_t size = 1024; size <= 32768; size *= 2) {
		for (size_t i = size == P ? 0 : 1; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
			SCOPED_ARENA(a);
			uint8_t *data = make_pages(a, size, 131072);
			struct file f = {data, (size_t)size * PAGES, 0, false};
			struct page_result r = check(a, data, f.len, pieces[i],
				(struct page_check){size, 131072, true, reread, &f});

			assert_ranges(&r, "");
			assert_false(r.misaligned);
			assert_int_equal(f.rereads, 0);
		}
	}
}

static void bad_pages_are_listed_and_merged(void **state)
{
	static const struct {
		uint32_t first_block;
		unsigned bad; /* bit per page */
		const char *want;
	} cases[] = {
		{0, 0, ""},
		{0, 1 << 0, "0 "},
		{0, 1 << 1 | 7 << 3 | 1 << 8, "1 3-5 8 "}, /* as in format/blocks.md 5.3 */
		{131072, 0x3ff, "131072-131081 "},
		{0, 0xfff, "0-11 "},
		{7, 1 << 0 | 1 << 2 | 1 << 11, "7 9 18 "},
		{0, 3 << 10, "10-11 "},
	};
	static const size_t pieces[] = {1000, P, 100000, 13};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t j = 0; j < 4; j++) {
			SCOPED_ARENA(a);
			uint8_t *data = make_pages(a, P, cases[i].first_block);
			struct file f = {data, P * PAGES, 0, false};

			for (unsigned k = 0; k < PAGES; k++) {
				if (cases[i].bad >> k & 1)
					data[k * P + 5000] ^= 1;
			}
			struct page_result r = check(a, data, f.len, pieces[j],
				(struct page_check){P, cases[i].first_block, true, reread, &f});
			assert_ranges(&r, cases[i].want);
			assert_false(r.misaligned);
			assert_int_equal(f.rereads, __builtin_popcount(cases[i].bad));
		}
	}
}

static void the_block_number_counts(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_pages(a, P, 0);
	struct page_check c = {P, 1, true, NULL, NULL};
	struct page_result r = check(a, data, P * PAGES, 100000, c);

	assert_ranges(&r, "1-12 ");
}

static void a_page_that_changed_is_good(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_pages(a, P, 0);
	struct file f = {arena_memdup(a, data, P * PAGES), P * PAGES, 0, false};
	struct page_result r;

	data[2 * P + 100] ^= 1; /* torn while it was read; the file has something else now */
	data[3 * P + 100] ^= 1; /* bad in both */
	f.data[3 * P + 100] ^= 1;
	data[5 * P + 8000] ^= 1;
	memset(f.data + 5 * P, 0xee, P); /* other rubbish than what passed: still being written */
	r = check(a, data, f.len, 1000, (struct page_check){P, 0, true, reread, &f});
	assert_ranges(&r, "3 ");
	assert_int_equal(f.rereads, 3);
}

static void a_page_that_is_gone_has_changed(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_pages(a, P, 0);
	struct file f = {data, 10 * P + 4096, 0, false};
	struct page_result r;

	data[9 * P + 100] ^= 1;
	data[10 * P + 100] ^= 1; /* half of it is left */
	data[11 * P + 100] ^= 1; /* cut off */
	r = check(a, data, PAGES * P, P, (struct page_check){P, 0, true, reread, &f});
	assert_ranges(&r, "9 ");

	/* equal to the page that was read again just before */
	f.len = 10 * P;
	memcpy(data + 10 * P, data + 9 * P, P);
	r = check(a, data, PAGES * P, P, (struct page_check){P, 0, true, reread, &f});
	assert_ranges(&r, "9 ");
}

static void what_cannot_be_read_again_is_bad(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_pages(a, P, 0);
	struct file f = {data, P * PAGES, 0, true};
	struct page_result r;

	data[2 * P + 100] ^= 1;
	r = check(a, data, f.len, P, (struct page_check){P, 0, true, reread, &f});
	assert_ranges(&r, "2 ");
	assert_int_equal(f.rereads, 1);
	r = check(a, data, f.len, P, (struct page_check){P, 0, true, NULL, NULL});
	assert_ranges(&r, "2 ");
}

static void misaligned_files_have_no_list(void **state)
{
	static const size_t rest[] = {1, 511, 512, P - 1};

	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
		SCOPED_ARENA(a);
		uint8_t *data = make_pages(a, P, 0);
		struct file f = {data, 3 * P + rest[i], 0, false};
		struct page_result r;

		data[P + 100] ^= 1;
		r = check(a, data, f.len, 1000, (struct page_check){P, 0, true, reread, &f});
		assert_true(r.misaligned);
		assert_ranges(&r, "");
	}
}

static void a_short_file_is_misaligned_an_empty_one_is_good(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_pages(a, P, 0);
	struct page_result r = check(a, data, 1, 1, (struct page_check){P, 0, true, NULL, NULL});

	assert_true(r.misaligned);
	r = check(a, data, 0, 1, (struct page_check){P, 0, true, NULL, NULL});
	assert_false(r.misaligned);
	assert_ranges(&r, "");
}

/* format/blocks.md 5.2 rule 1: header_check looks at pd_upper, else the stored checksum decides. */
static void new_pages(void **state)
{
	static const struct {
		const char *what;
		uint16_t checksum, upper; /* 1: the right checksum */
		int other;		  /* a byte elsewhere that is not zero, 0 for none */
		bool bad_with, bad_without;
	} cases[] = {
		{"all zero", 0, 0, 0, false, false},
		{"zero but for the last byte", 0, 0, P - 1, true, true},
		{"zero but for the first byte", 0, 0, -1, true, true},
		{"a checksum that fits, upper 0", 1, 0, 4000, true, false},
		{"upper, checksum 0", 0, 100, 4000, true, true},
		{"upper only", 0, 100, 0, true, true},
		{"checksum only, fits", 1, 0, 0, true, false},
		{"checksum only, does not fit", 2, 0, 0, true, true},
		{"an ordinary page", 1, 100, 4000, false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (int header = 0; header < 2; header++) {
			SCOPED_ARENA(a);
			uint8_t *page = arena_zalloc(a, P);
			struct file f = {page, P, 0, false};
			bool bad = header ? cases[i].bad_with : cases[i].bad_without;
			struct page_result r;

			put_u16(page + 14, cases[i].upper);
			if (cases[i].other != 0)
				page[cases[i].other < 0 ? 0 : cases[i].other] = 1;
			if (cases[i].checksum != 0)
				put_u16(page + 8, (uint16_t)(page_checksum(page, P, 5) +
							     cases[i].checksum - 1));
			r = check(a, page, P, 1000, (struct page_check){P, 5, header, reread, &f});
			if ((r.bad.n > 0) != bad)
				fail_msg("%s, header check %d", cases[i].what, header);
		}
	}
}

static void wrong_page_sizes_are_refused(void **state)
{
	static const uint32_t sizes[] = {0, 1, 512, 1000, 8191, 65536, UINT32_MAX};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		SCOPED_ARENA(a);
		struct page_check c = {sizes[i], 0, true, NULL, NULL};
		struct page_result r;

		assert_int_equal(sink_write(sink_page_check(a, sink_null(a), &c, &r), "x", 1), -1);
		assert_int_equal(err_code(), ERR_ASSERT);
		err_clear();
		assert_int_equal(sink_finish(sink_page_check(a, sink_null(a), &c, &r)), -1);
		err_clear();
	}
}

static void segments(void **state)
{
	static const struct {
		const char *name;
		uint32_t want;
	} cases[] = {{"16384", 0}, {"16384.1", 1}, {"16384.131071", 131071}, {"16384_fsm.2", 2},
		{"base/1.5/16384", 0}, {"base/1/16384.12", 12}, {"16384.", 0}, {"16384.1x", 0},
		{"16384.-1", 0}, {"16384.+1", 0}, {"", 0}, {".", 0}, {"16384.1.2", 2},
		{"16384.4294967295", UINT32_MAX}, {"16384.4294967296", 0},
		{"16384.99999999999999999999999", 0}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(page_file_segment(cases[i].name), cases[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(all_sizes_and_addresses),
		cmocka_unit_test(good_files),
		cmocka_unit_test(bad_pages_are_listed_and_merged),
		cmocka_unit_test(the_block_number_counts),
		cmocka_unit_test(a_page_that_changed_is_good),
		cmocka_unit_test(a_page_that_is_gone_has_changed),
		cmocka_unit_test(what_cannot_be_read_again_is_bad),
		cmocka_unit_test(misaligned_files_have_no_list),
		cmocka_unit_test(a_short_file_is_misaligned_an_empty_one_is_good),
		cmocka_unit_test(new_pages),
		cmocka_unit_test(wrong_page_sizes_are_refused),
		cmocka_unit_test(segments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
