/*
 * block_map: worked examples, maps that pgBackRest wrote, random ones, hostile ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/enc.h"
#include "base/file.h"
#include "base/str.h"
#include "repo/block_map.h"
#include "stream/hash.h"

#define B 8192u

/* Hex digits with blanks between them. */
static struct buf unhex(struct arena *a, const char *hex)
{
	struct buf digits, b;
	size_t n;

	buf_init(&digits, a);
	for (; *hex != '\0'; hex++) {
		if (*hex != ' ')
			buf_addc(&digits, *hex);
	}
	n = digits.len / 2;
	buf_init(&b, a);
	buf_reserve(&b, n + 1);
	assert_true(hex_decode(digits.data, (uint8_t *)b.data, n));
	b.len = n;
	return b;
}

static char *hex_of(struct arena *a, const void *data, size_t len)
{
	char *text = arena_alloc(a, len * 2 + 1);

	hex_encode(data, len, text);
	return text;
}

/* What a map says, a line per block. */
static char *said(struct arena *a, const struct block_map *m)
{
	struct buf b;

	buf_init(&b, a);
	for (size_t i = 0; i < m->blocks.n; i++) {
		const struct block *k = &m->blocks.v[i];
		buf_addf(&b, "%u %u %ju %ju %u %u %s\n", k->reference, k->bundle, (uintmax_t)k->offset,
			(uintmax_t)k->stored, k->super_size, k->number, hex_of(a, k->sum, m->sum_size));
	}
	return b.data;
}

static struct block_map must_read(struct arena *a, const struct buf *bytes, uint32_t block_size,
	uint32_t sum_size, uint64_t size, uint32_t references)
{
	struct block_map m;

	if (block_map_read(a, bytes->data, bytes->len, block_size, sum_size, size, references, &m) != 0)
		fail_msg("%s: %s", hex_of(a, bytes->data, bytes->len), err_msg());
	return m;
}

static void must_write_as(struct arena *a, const struct block_map *m, const struct buf *bytes)
{
	struct buf out;

	buf_init(&out, a);
	if (block_map_write(m, &out) != 0)
		fail_msg("%s", err_msg());
	if (out.len != bytes->len || memcmp(out.data, bytes->data, out.len) != 0)
		fail_msg("%s\n%s", hex_of(a, out.data, out.len), hex_of(a, bytes->data, bytes->len));
}

/* ---- checksums ---- */

static void sums(void **state)
{
	static const struct {
		int byte;
		size_t len;
		const char *hex;
	} cases[] = {
		{0, 0, "99aa06d3014798d86001c324468d497f"},
		{'a', 1, "a96faf705af16834e6c632b61e964e1f"},
		{'A', 8192, "753fce3c113bddff570eb540bc74bb4f"},
		{'E', 1000, "ea0faf11f789f9f8c9320c51d21275e8"},
		{'F', 500, "66a33e12f85c7281f304321bc0903466"},
	};
	static const char zeros[] = "00000000000000000000000000000000";
	uint8_t data[8192], sum[BLOCK_SUM_MAX];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		SCOPED_ARENA(a);
		memset(data, cases[i].byte, sizeof(data));
		block_sum(data, cases[i].len, BLOCK_SUM_MAX, sum);
		assert_string_equal(hex_of(a, sum, sizeof(sum)), cases[i].hex);
		block_sum(data, cases[i].len, BLOCK_SUM_MIN, sum);
		assert_memory_equal(hex_of(a, sum, sizeof(sum)), cases[i].hex, 2 * BLOCK_SUM_MIN);
		assert_memory_equal(hex_of(a, sum + BLOCK_SUM_MIN, 10), zeros, 20);
	}
}

/* ---- examples (format/blocks.md 2.13, 2.14) ---- */

#define A_D "753fce3c113b 7fac9165aae0"
#define C6 "d1f48ddba741"
#define D6 "8fd99eb3b024"
#define SUM0 " 000000000000"
#define SUM4 SUM0 SUM0 SUM0 SUM0

static const struct example {
	const char *hex;
	uint64_t size;
	uint32_t references;
	const char *said;
} examples[] = {
	{"00 01 8b02 09 e807" A_D C6 D6 "ea0faf11f789", 33768, 1,
		"0 0 0 33 33768 0 753fce3c113b\n"
		"0 0 0 33 33768 1 7fac9165aae0\n"
		"0 0 0 33 33768 2 d1f48ddba741\n"
		"0 0 0 33 33768 3 8fd99eb3b024\n"
		"0 0 0 33 33768 4 ea0faf11f789\n"},
	{"00 00 8f02 09 e807 02" A_D "08 6f 05 f403 00 215c24458c94 06 01 01" D6
	 "0f 02 ed13f6567c14 66a33e12f85c", 41460, 2,
		"0 0 0 33 33768 0 753fce3c113b\n"
		"0 0 0 33 33768 1 7fac9165aae0\n"
		"1 0 0 26 16884 0 215c24458c94\n"
		"0 0 0 33 33768 3 8fd99eb3b024\n"
		"1 0 0 26 16884 1 ed13f6567c14\n"
		"1 0 0 26 16884 2 66a33e12f85c\n"},
	{"00 00 8f02 09 e807 02" A_D "08 6f 05 f403 00 215c24458c94 10 79 4561bcbdbf14 0f 00 ed13f6567c14",
		40960, 3,
		"0 0 0 33 33768 0 753fce3c113b\n"
		"0 0 0 33 33768 1 7fac9165aae0\n"
		"1 0 0 26 16884 0 215c24458c94\n"
		"2 0 0 18 8192 0 4561bcbdbf14\n"
		"1 0 0 26 16884 1 ed13f6567c14\n"},
	/* several super blocks; gap and skip */
	{"00 01 e201 08" SUM4 "00" SUM4 "01" SUM4, 12 * B, 1,
		"0 0 0 28 32768 0 000000000000\n0 0 0 28 32768 1 000000000000\n"
		"0 0 0 28 32768 2 000000000000\n0 0 0 28 32768 3 000000000000\n"
		"0 0 28 28 32768 0 000000000000\n0 0 28 28 32768 1 000000000000\n"
		"0 0 28 28 32768 2 000000000000\n0 0 28 28 32768 3 000000000000\n"
		"0 0 56 28 32768 0 000000000000\n0 0 56 28 32768 1 000000000000\n"
		"0 0 56 28 32768 2 000000000000\n0 0 56 28 32768 3 000000000000\n"},
	{"00 00 e301 08" SUM4 "08 03 08" SUM4 "04 1c 05 00" SUM0 "08 9b01 02" SUM0 "07 03 01" SUM0 SUM0, 12 * B,
		2,
		"0 0 0 28 32768 0 000000000000\n0 0 0 28 32768 1 000000000000\n"
		"0 0 0 28 32768 2 000000000000\n0 0 0 28 32768 3 000000000000\n"
		"1 0 0 28 32768 0 000000000000\n1 0 0 28 32768 1 000000000000\n"
		"1 0 0 28 32768 2 000000000000\n1 0 0 28 32768 3 000000000000\n"
		"0 0 56 28 32768 0 000000000000\n"
		"1 0 28 18 8192 0 000000000000\n"
		"0 0 56 28 32768 2 000000000000\n0 0 56 28 32768 3 000000000000\n"},
	/* in a bundle; the last block shorter than a block's remainder */
	{"00 07 01 f4be02 8b02 05 a01c" SUM0 SUM0 SUM0, 20000, 1,
		"0 1 40820 33 20000 0 000000000000\n0 1 40820 33 20000 1 000000000000\n"
		"0 1 40820 33 20000 2 000000000000\n"},
	/* numbers of more than 32 bits */
	{"00 07 ffffffff0f 8080808010 8b808080808004 01 05" SUM0, 5, 1,
		"0 4294967295 4294967296 2199023255553 5 0 000000000000\n"},
	/* a file of nothing has no run */
	{"00", 0, 1, ""},
};

static void worked_examples(void **state)
{
	for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
		SCOPED_ARENA(a);
		const struct example *e = &examples[i];
		struct buf bytes = unhex(a, e->hex);
		struct block_map m = must_read(a, &bytes, B, 6, e->size, e->references);
		assert_string_equal(said(a, &m), e->said);
		must_write_as(a, &m, &bytes);
		assert_true(bytes.len <= block_map_max(e->size, B));
	}
}

/* ---- maps that pgBackRest wrote ---- */

static uint64_t number(const char *text)
{
	uint64_t n = 0;

	assert_true(str_to_u64(text, &n));
	return n;
}

static void stored_maps(void **state)
{
	SCOPED_ARENA(all);
	const char *srcdir = getenv("srcdir");
	struct buf text;
	size_t runs = 0;

	buf_init(&text, all);
	if (file_read(arena_printf(all, "%s/test/data/blocks/maps.txt", srcdir == NULL ? "." : srcdir), 1 << 20,
		    &text) != 0)
		fail_msg("%s", err_msg());
	strvec lines = str_split(all, text.data, '\n');
	for (size_t i = 0; i < lines.n && lines.v[i][0] != '\0'; i++, runs++) {
		SCOPED_ARENA(a);
		strvec f = str_split(a, lines.v[i], ' ');
		struct buf bytes = unhex(a, f.v[6]);
		struct sum sum;
		char hex[SHA1_HEX + 1];
		struct block_map m = must_read(a, &bytes, (uint32_t)number(f.v[1]), (uint32_t)number(f.v[2]),
			number(f.v[0]), (uint32_t)number(f.v[3]));
		assert_int_equal(m.blocks.n, number(f.v[4]));
		const char *what = said(a, &m);
		sha1_of(what, strlen(what), &sum);
		sum_hex(&sum, hex);
		if (strcmp(hex, f.v[5]) != 0)
			fail_msg("%s:\n%s", f.v[7], what);
		must_write_as(a, &m, &bytes);
	}
	assert_true(runs > 200);
}

/* ---- maps made at random, as backups would make them ---- */

static uint64_t seed;

static uint32_t dice(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return below == 0 ? 0 : (uint32_t)(seed >> 11) % below;
}

/* What one backup does to the map: some blocks, in file order, into its super blocks. */
static void back_up(struct block_map *m, uint64_t size, uint32_t reference)
{
	const uint32_t bundle = dice(2) * (1 + dice(300)), per_super = 1 + dice(6), often = 1 + dice(8);
	uint64_t at = bundle == 0 && dice(2) == 0 ? 0 : dice(100000), stored = 0;
	size_t before = m->blocks.n, n = (size / B) + (size % B != 0);
	struct block *in[8];
	uint32_t have = 0, plain = 0;

	m->blocks.n = n < before ? n : before;
	while (m->blocks.n < n)
		*vec_add(&m->blocks) = (struct block){.reference = UINT32_MAX};
	for (size_t i = 0; i <= n; i++) {
		struct block *b = &m->blocks.v[i];
		uint32_t length = i + 1 == n && size % B != 0 ? (uint32_t)(size % B) : B;
		/* an old end that is none any more, or a new one, has changed */
		bool fits = i < n && b->reference != UINT32_MAX &&
			(b->super_size - b->number * B < B ? b->super_size - b->number * B : B) == length;
		if (i < n && (!fits || dice(often) == 0)) {
			*b = (struct block){.reference = reference, .bundle = bundle, .number = have};
			for (unsigned k = 0; k < m->sum_size; k++)
				b->sum[k] = (uint8_t)dice(256);
			in[have++] = b;
			plain += length;
		}
		if (have == 0 || (have < per_super && i < n))
			continue;
		/* foreign writers may leave bytes unused */
		at += stored + (dice(20) == 0 ? dice(50) : 0);
		stored = dice(10) == 0 ? plain : 1 + dice(plain);
		for (; have > 0; have--) {
			in[have - 1]->offset = at;
			in[have - 1]->stored = stored;
			in[have - 1]->super_size = plain;
		}
		plain = 0;
	}
}

static void make_map(struct arena *a, struct block_map *m, uint64_t *size, uint32_t *references)
{
	*m = (struct block_map){.block_size = B, .sum_size = BLOCK_SUM_MIN + dice(11)};
	vec_init(&m->blocks, a);
	/* back_up holds pointers: the vector must not move */
	for (unsigned i = 0; i < 64; i++)
		vec_add(&m->blocks);
	m->blocks.n = 0;
	*references = 1 + dice(8);
	for (uint32_t r = 0; r < *references; r++) {
		*size = dice(4) == 0 ? (1 + dice(50)) * (uint64_t)B : 1 + dice(50 * B);
		if (dice(3) != 0)
			back_up(m, *size, r);
	}
	if (m->blocks.n == 0 || dice(2) == 0)
		back_up(m, *size = 1 + dice(50 * B), (*references)++);
	/* what the last backup left is the size of the file */
	*size = (m->blocks.n - 1) * (uint64_t)B;
	const struct block *end = &m->blocks.v[m->blocks.n - 1];
	uint32_t rest = end->super_size - end->number * B;
	*size += rest < B ? rest : B;
}

static void random_maps(void **state)
{
	seed = 4711;
	for (unsigned i = 0; i < 100000; i++) {
		SCOPED_ARENA(a);
		struct block_map m, again;
		struct buf bytes;
		uint64_t size;
		uint32_t references;
		make_map(a, &m, &size, &references);
		buf_init(&bytes, a);
		if (block_map_write(&m, &bytes) != 0)
			fail_msg("%u: %s\n%s", i, err_msg(), said(a, &m));
		assert_true(bytes.len <= block_map_max(size, B));
		again = must_read(a, &bytes, B, m.sum_size, size, references);
		if (again.blocks.n != m.blocks.n ||
			memcmp(again.blocks.v, m.blocks.v, m.blocks.n * sizeof(struct block)) != 0)
			fail_msg("%u:\n%s\n%s", i, said(a, &m), said(a, &again));
		must_write_as(a, &again, &bytes);
	}
}

/* ---- hostile ones ---- */

/* Whatever is accepted says the same after it was written again. */
static void must_hold_or_refuse(struct arena *a, const struct buf *bytes, uint32_t sum_size, uint64_t size,
	uint32_t references)
{
	struct block_map m, again;
	struct buf out;

	if (block_map_read(a, bytes->data, bytes->len, B, sum_size, size, references, &m) != 0) {
		assert_int_equal(err_code(), ERR_FORMAT);
		err_clear();
		return;
	}
	buf_init(&out, a);
	if (block_map_write(&m, &out) != 0) {
		/* a super block of more bytes than anybody has */
		assert_non_null(strstr(err_msg(), "impossible"));
		err_clear();
		return;
	}
	again = must_read(a, &out, B, sum_size, size, references);
	assert_int_equal(again.blocks.n, m.blocks.n);
	assert_memory_equal(again.blocks.v, m.blocks.v, m.blocks.n * sizeof(struct block));
}

static void mutated_maps(void **state)
{
	seed = 815;
	for (unsigned i = 0; i < 30000; i++) {
		SCOPED_ARENA(a);
		struct block_map m;
		struct buf bytes;
		uint64_t size;
		uint32_t references;
		make_map(a, &m, &size, &references);
		buf_init(&bytes, a);
		assert_int_equal(block_map_write(&m, &bytes), 0);
		/* in memory of just that length, so that a byte too far is seen */
		for (unsigned k = 0; k < 4; k++) {
			SCOPED_ARENA(one);
			struct buf cut = {.data = arena_memdup(one, bytes.data, bytes.len), .len = bytes.len};
			for (unsigned n = dice(4); n > 0; n--)
				cut.data[dice((uint32_t)cut.len)] = (char)(dice(2) == 0 ? 0xff : dice(256));
			if (dice(3) == 0)
				cut.len = dice((uint32_t)cut.len);
			cut.data = arena_memdup(one, cut.data, cut.len);
			must_hold_or_refuse(one, &cut, dice(9) == 0 ? 6 : m.sum_size,
				dice(9) == 0 ? size + dice(B) : size, dice(9) == 0 ? 1 : references);
		}
	}
}

static void every_cut_is_refused(void **state)
{
	for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
		SCOPED_ARENA(a);
		struct buf bytes = unhex(a, examples[i].hex);
		struct block_map m;
		for (size_t len = 0; len < bytes.len; len++) {
			const void *cut = arena_memdup(a, bytes.data, len);
			assert_int_equal(block_map_read(a, cut, len, B, 6, examples[i].size,
				examples[i].references, &m), -1);
			assert_int_equal(err_code(), ERR_FORMAT);
			err_clear();
		}
		buf_addc(&bytes, '\0');
		assert_int_equal(block_map_read(a, bytes.data, bytes.len, B, 6, examples[i].size,
			examples[i].references, &m), -1);
		assert_non_null(strstr(err_msg(), "follows"));
		err_clear();
	}
}

static void refused(void **state)
{
	static const struct {
		const char *what, *hex;
		uint64_t size;
		uint32_t references;
		const char *text;
	} cases[] = {
		{"unknown kind", "01 01 8b02 02" SUM0, B, 1, "not known"},
		{"unknown reference", "00 09 8b02 02" SUM0, B, 1, "reference list"},
		{"no references", "00 01 8b02 02" SUM0, B, 0, "reference list"},
		{"reference of 61 bits", "00 f9ffffffffffffffff01 8b02 02" SUM0, B, 1, "reference list"},
		{"a number of 11 bytes", "00 01 8b8080808080808080808000" SUM0, B, 1, "too large"},
		{"a number of 70 bits", "00 01 8b80808080808080807f" SUM0, B, 1, "too large"},
		{"bundle of 33 bits", "00 03 8080808010 8b02 02" SUM0, B, 1, "bundle"},
		{"offset of 64 bits", "00 05 ffffffffffffffffff01 8b02 02" SUM0, B, 1, "offset"},
		{"offset at the end", "00 05 ffffffffffffffff7f 8b02 02" SUM0, B, 1, "stored size"},
		{"stored size 0", "00 01 03 02" SUM0, B, 1, "stored size"},
		{"stored size 0 later", "00 01 0a 02" SUM0 "08 01" SUM0, 2 * B, 1, "stored size"},
		{"stored size below 0", "00 01 12 02" SUM0 "29" SUM0, 2 * B, 1, "stored size"},
		{"super block of 0", "00 01 0b 00" SUM0, B, 1, "size of a super block"},
		{"super block of 0 and an empty end", "00 01 0b 01 00" SUM0, B, 1, "empty"},
		{"an end of a block", "00 01 0b 01 8040" SUM0, B, 1, "too long"},
		{"super block of 4 GiB", "00 01 0b 808040" SUM0, B, 1, "too large"},
		{"super block of 2^76", "00 01 0b feffffffffffffffff01" SUM0, B, 1, "too large"},
		{"a block too many", "00 01 0b 04" SUM0 SUM0, B, 1, "more blocks than the file"},
		{"a block too few", "00 01 0b 02" SUM0 SUM0, 2 * B, 1, "fewer"},
		{"2^63 blocks", "00 01 0f 02 feffffffffffffffff01" SUM0, B, 1, "not that many"},
		{"a number behind the super block", "00 01 0f 04 01 02" SUM0, B, 1, "not that many"},
		{"a skip of 2^64", "00 01 0f 04 01 ffffffffffffffffff01" SUM0, B, 1, "not that many"},
		{"short block inside", "00 01 0b 01 05" SUM0 "09 05 02" SUM0, 2 * B, 1, "length"},
		{"short block at the end of a longer file", "00 01 0b 01 05" SUM0, 6, 1, "length"},
		{"long block at the end", "00 01 0b 02" SUM0, 5, 1, "length"},
		{"gap of 2^64", "00 00 0b 02" SUM0 "05 ffffffffffffffffff01 01" SUM0, 2 * B, 1, "offset"},
		{"gap to the end", "00 00 0b 02" SUM0 "05 feffffffffffffff7f 01" SUM0, 2 * B, 1, "stored size"},
		{"continued too far", "00 00 0b 02" SUM0 "07 00" SUM0, 2 * B, 1, "not that many"},
		{"only the flags", "00", B, 1, "too short"},
		{"a block for no file", "00 01 0b 02" SUM0, 0, 1, "follows"},
		{"a file of 2^63", "00 01 0b 02" SUM0, INT64_MAX, 1, "too short"},
		{"a file of 2^64", "00 01 0b 02" SUM0, UINT64_MAX, 1, "too short"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		SCOPED_ARENA(a);
		struct buf bytes = unhex(a, cases[i].hex);
		struct block_map m;
		if (block_map_read(a, bytes.data, bytes.len, B, 6, cases[i].size, cases[i].references, &m) == 0)
			fail_msg("%s: accepted\n%s", cases[i].what, said(a, &m));
		if (err_code() != ERR_FORMAT || strstr(err_msg(), cases[i].text) == NULL)
			fail_msg("%s: %s", cases[i].what, err_msg());
		err_clear();
	}
	static const struct { uint32_t block, sum; } sizes[] = {{0, 6}, {B, 0}, {B, 5}, {B, 17}, {B, UINT32_MAX}};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		SCOPED_ARENA(a);
		struct block_map m;
		assert_int_equal(block_map_read(a, "", 1, sizes[i].block, sizes[i].sum, 1, 1, &m), -1);
		assert_int_equal(err_code(), ERR_FORMAT);
		err_clear();
	}
}

/* Two good blocks of a backup; then one thing is wrong with the second. */
static void not_written(void **state)
{
	static const struct block good = {.offset = 100, .stored = 10, .super_size = 2 * B, .bundle = 1};
	struct block wrong[9];
	const char *const texts[9] = {"another order", "another order", "another order", "two bundles",
		"impossible", "impossible", "two sizes", "two sizes", "impossible"};

	for (size_t i = 0; i < 9; i++)
		wrong[i] = good;
	wrong[0].number = 0;			       /* again */
	wrong[1].offset = 99;			       /* before */
	wrong[2].offset = 109;			       /* overlapping */
	wrong[3].offset = 110, wrong[3].bundle = 2;
	wrong[4].number = 2;			       /* behind its super block */
	wrong[5].offset = 110, wrong[5].stored = 0;
	wrong[6].number = 1, wrong[6].stored = 11;
	wrong[7].number = 1, wrong[7].super_size = 3 * B;
	wrong[8].offset = UINT64_MAX - 5;	       /* beyond all files */
	for (size_t i = 0; i < 9; i++) {
		SCOPED_ARENA(a);
		struct block_map m = {.block_size = B, .sum_size = 6};
		struct buf out;
		buf_init(&out, a);
		vec_init(&m.blocks, a);
		vec_push(&m.blocks, good);
		vec_push(&m.blocks, wrong[i]);
		if (block_map_write(&m, &out) == 0)
			fail_msg("%zu was written", i);
		if (err_code() != ERR_ASSERT || strstr(err_msg(), texts[i]) == NULL)
			fail_msg("%zu: %s", i, err_msg());
		err_clear();
	}
}

static void largest(void **state)
{
	assert_int_equal(block_map_max(0, B), 10);
	assert_int_equal(block_map_max(1, B), 106);
	assert_int_equal(block_map_max(B + 1, B), 202);
	assert_int_equal(block_map_max(UINT64_MAX, 1), UINT64_MAX);
	assert_true(block_map_max(UINT64_MAX, B) > UINT64_MAX / B);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums),
		cmocka_unit_test(worked_examples),
		cmocka_unit_test(stored_maps),
		cmocka_unit_test(random_maps),
		cmocka_unit_test(mutated_maps),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(refused),
		cmocka_unit_test(not_written),
		cmocka_unit_test(largest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
