/*
 * page: PostgreSQL's page checksum and the filter that checks pages on their way.
 *
 * A page is called bad only after it was read again from the file and is unchanged: a page that
 * PostgreSQL was writing while it passed is repaired by WAL replay.
 */
#include "pg/page.h"

#include <string.h>
#include "base/str.h"

enum { LANES = 32, ROW = LANES * 4, CHECKSUM_AT = 8, UPPER_AT = 14 };

static const uint32_t PRIME = 16777619;

static const uint32_t seeds[LANES] = {0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a,
	0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c, 0xf8d4474f, 0xe39eb970, 0x42c6ae16, 0x993216fa,
	0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb, 0xe58f764b, 0x187636bc, 0x5d7b3bb1,
	0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4, 0x783125bb, 0x6ca8eaa2,
	0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756};

/*
 * gcc vectorises the lanes only at -O3; the multiplication wants AVX2 (measured: twice the speed of what every
 * processor can do), so both compilers make a clone for it.  Clones are chosen at load time, before a sanitizer
 * is ready for it.
 */
#ifdef __has_feature
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute) && !SANITIZED
#if __has_attribute(target_clones)
#define CLONES __attribute__((target_clones("avx2", "default")))
#endif
#endif
#ifndef CLONES
#define CLONES
#endif
#if defined(__GNUC__) && !defined(__clang__)
#define VECTORISED CLONES __attribute__((optimize("O3", "tree-vectorize")))
#else
#define VECTORISED CLONES
#endif

/* Mix rows of 32 words into the sums.  The page may lie at any address. */
VECTORISED static void mix_rows(uint32_t *restrict sums, const uint8_t *restrict p, size_t rows)
{
	for (size_t i = 0; i < rows; i++, p += ROW) {
		for (size_t j = 0; j < LANES; j++) {
			uint32_t w, t;

			memcpy(&w, p + 4 * j, 4);
			t = sums[j] ^ w;
			sums[j] = (t * PRIME) ^ (t >> 17);
		}
	}
}

uint16_t page_checksum(const void *page, uint32_t size, uint32_t block)
{
	static const uint8_t zeros[2 * ROW];
	const uint8_t *p = page;
	uint8_t first[ROW];
	uint32_t sums[LANES], x = 0;

	/* The checksum field counts as zero: the first row is mixed from a copy. */
	memcpy(first, p, ROW);
	memset(first + CHECKSUM_AT, 0, 2);
	memcpy(sums, seeds, sizeof(sums));
	mix_rows(sums, first, 1);
	mix_rows(sums, p + ROW, size / ROW - 1);
	mix_rows(sums, zeros, 2);
	for (size_t j = 0; j < LANES; j++)
		x ^= sums[j];
	return (uint16_t)((x ^ block) % 65535 + 1);
}

struct page_sink {
	struct sink sink;
	struct sink *next;
	struct page_check check;
	struct page_result *out;
	uint32_t index; /* of the page that comes next, within the file */
	uint8_t *part;	/* begin of a page whose rest comes with the next write */
	size_t part_len;
	uint8_t *again; /* a page read again */
};

static uint16_t get_u16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v)); /* native order, as the cluster wrote it */
	return v;
}

static bool all_zero(const uint8_t *page, size_t size)
{
	return page[0] == 0 && memcmp(page, page + 1, size - 1) == 0;
}

/* format/blocks.md 5.2, rules 1 and 2: a page that looks new must be empty, any other must fit. */
static bool page_is_valid(const struct page_sink *s, const uint8_t *page)
{
	const struct page_check *c = &s->check;
	uint16_t stored = get_u16(page + CHECKSUM_AT);
	bool looks_new = c->header_check ? get_u16(page + UPPER_AT) == 0 : stored == 0;

	if (looks_new)
		return all_zero(page, c->page_size);
	return page_checksum(page, c->page_size, c->first_block + s->index) == stored;
}

/* Rule 3.  A page that is no longer there in full has changed too: PostgreSQL has cut the file. */
static bool page_has_changed(struct page_sink *s, const uint8_t *page)
{
	const struct page_check *c = &s->check;
	ssize_t n;

	if (c->reread == NULL)
		return false;
	n = c->reread(c->ctx, s->again, c->page_size, (uint64_t)s->index * c->page_size);
	if (n < 0) {
		err_clear(); /* not proven good, so it counts as bad: the copy goes on */
		return false;
	}
	return (size_t)n != c->page_size || memcmp(s->again, page, c->page_size) != 0;
}

static void add_bad(struct page_sink *s)
{
	struct page_result *out = s->out;
	uint32_t block = s->check.first_block + s->index;

	if (out->bad.n > 0 && out->bad.v[out->bad.n - 1].last + 1 == block)
		out->bad.v[out->bad.n - 1].last = block;
	else
		vec_push(&out->bad, ((struct page_range){block, block}));
}

static void look_at(struct page_sink *s, const uint8_t *page)
{
	if (!page_is_valid(s, page) && !page_has_changed(s, page))
		add_bad(s);
	s->index++;
}

static int page_write(struct sink *sink, const void *data, size_t len)
{
	struct page_sink *s = (struct page_sink *)sink;
	size_t size = s->check.page_size, left = len;
	const uint8_t *p = data;

	if (s->part_len > 0 && left > 0) {
		size_t n = size - s->part_len < left ? size - s->part_len : left;

		memcpy(s->part + s->part_len, p, n);
		s->part_len += n;
		p += n;
		left -= n;
		if (s->part_len == size) {
			look_at(s, s->part);
			s->part_len = 0;
		}
	}
	for (; left >= size; p += size, left -= size)
		look_at(s, p);
	if (left > 0) {
		memcpy(s->part, p, left);
		s->part_len = left;
	}
	return sink_write(s->next, data, len);
}

static int page_finish(struct sink *sink)
{
	struct page_sink *s = (struct page_sink *)sink;

	if (s->part_len > 0) {
		s->out->misaligned = true;
		s->out->bad.n = 0;
	}
	return sink_finish(s->next);
}

static int refuse_write(struct sink *sink, const void *data, size_t len)
{
	return err_set(ERR_ASSERT, "page size %u is not valid",
		((struct page_sink *)sink)->check.page_size);
}

static int refuse_finish(struct sink *sink)
{
	return refuse_write(sink, NULL, 0);
}

struct sink *sink_page_check(
	struct arena *a, struct sink *next, const struct page_check *check, struct page_result *out)
{
	struct page_sink *s = arena_new_object(a, struct page_sink);
	uint32_t size = check->page_size;

	s->sink = (struct sink){page_write, page_finish};
	s->next = next;
	s->check = *check;
	s->out = out;
	out->misaligned = false;
	vec_init(&out->bad, a);
	/* The size comes from pg_control or from a peer: no page is touched with a wrong one. */
	if (size < 1024 || size > 32768 || (size & (size - 1)) != 0) {
		s->sink = (struct sink){refuse_write, refuse_finish};
		return &s->sink;
	}
	s->part = arena_alloc(a, size);
	s->again = arena_alloc(a, size);
	return &s->sink;
}

uint32_t page_file_segment(const char *file_name)
{
	const char *dot = strrchr(file_name, '.');
	uint64_t n;

	if (dot == NULL || !str_to_u64(dot + 1, &n) || n > UINT32_MAX)
		return 0;
	return (uint32_t)n;
}
