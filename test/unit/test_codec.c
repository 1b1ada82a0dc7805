/*
 * codec: what goes in comes out, damage never passes as good data, foreign streams are read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <lz4frame.h>
#include <zstd.h>
#include "base/enc.h"
#include "stream/codec.h"
#include "stream/idle.h"

enum { BIG = 1024 * 1024 + 3 };

enum kind { RANDOM, ZERO, TEXT, KINDS };

static const enum codec real[] = {CODEC_GZ, CODEC_LZ4, CODEC_ZST, CODEC_BZ2};

static uint8_t *make_data(struct arena *a, enum kind kind, size_t len)
{
	static const char text[] = "the quick brown fox jumps over the lazy dog; ";
	uint8_t *p = arena_zalloc(a, len + 1);
	uint32_t x = 2463534242u;

	for (size_t i = 0; i < len && kind != ZERO; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		p[i] = kind == RANDOM ? (uint8_t)x
				      : (uint8_t)text[(i + (x % 97 == 0)) % (sizeof(text) - 1)];
	}
	return p;
}

static int feed(struct sink *s, const void *data, size_t len, size_t piece)
{
	const uint8_t *p = data;

	for (size_t at = 0; at < len; at += piece) {
		if (sink_write(s, p + at, len - at < piece ? len - at : piece) != 0)
			return -1;
	}
	return sink_finish(s);
}

static struct buf compressed(
	struct arena *a, enum codec c, int level, const void *data, size_t len, size_t piece)
{
	struct buf b;

	buf_init(&b, a);
	assert_int_equal(feed(sink_compress(a, c, level, false, sink_buf(a, &b)), data, len, piece), 0);
	return b;
}

static int expand(
	struct arena *a, enum codec c, const void *data, size_t len, size_t piece, struct buf *out)
{
	buf_init(out, a);
	return feed(sink_expand(a, c, false, sink_buf(a, out)), data, len, piece);
}

static void check_expands(enum codec c, const void *stored, size_t stored_len, const void *want,
	size_t len, size_t piece)
{
	SCOPED_ARENA(a);
	struct buf got;

	assert_int_equal(expand(a, c, stored, stored_len, piece, &got), 0);
	assert_int_equal(got.len, len);
	assert_int_equal(memcmp(got.data, want, len), 0);
}

static void check_refused(enum codec c, const void *stored, size_t len, const char *text)
{
	SCOPED_ARENA(a);
	struct buf got;

	assert_int_equal(expand(a, c, stored, len, 7, &got), -1);
	assert_int_equal(err_code(), ERR_FORMAT);
	if (text != NULL && strstr(err_msg(), text) == NULL)
		fail_msg("%s: '%s' is not in '%s'", codec_info(c)->name, text, err_msg());
	err_clear();
}

static struct buf unhex(struct arena *a, const char *hex)
{
	struct buf b;
	uint8_t byte;

	buf_init(&b, a);
	for (; *hex != '\0'; hex += 2) {
		assert_true(hex_decode(hex, &byte, 1));
		buf_addc(&b, (char)byte);
	}
	return b;
}

static void names(void **state)
{
	enum codec c;

	for (c = CODEC_NONE; c < CODEC_COUNT; c++) {
		const struct codec_info *i = codec_info(c);
		enum codec found = CODEC_COUNT;

		assert_true(codec_by_name(i->name, &found));
		assert_int_equal(found, c);
		assert_true(i->level_min <= i->level_default && i->level_default <= i->level_max);
	}
	assert_false(codec_by_name("xz", &c));
	assert_false(codec_by_name("", &c));
	assert_false(codec_by_name("GZ", &c));
	assert_int_equal(codec_by_suffix("16384.1.zst"), CODEC_ZST);
	assert_int_equal(codec_by_suffix("backup.manifest.gz"), CODEC_GZ);
	assert_int_equal(codec_by_suffix("a.lz4"), CODEC_LZ4);
	assert_int_equal(codec_by_suffix("a.bz2"), CODEC_BZ2);
	assert_int_equal(codec_by_suffix("16384.1"), CODEC_NONE);
	assert_int_equal(codec_by_suffix("zst"), CODEC_NONE);
	assert_int_equal(codec_by_suffix(""), CODEC_NONE);
	assert_int_equal(codec_by_suffix("a.gz.pgbi"), CODEC_NONE);
}

static void none_is_the_next_sink_itself(void **state)
{
	SCOPED_ARENA(a);
	struct sink *s = sink_null(a);

	assert_ptr_equal(sink_compress(a, CODEC_NONE, 0, false, s), s);
	assert_ptr_equal(sink_expand(a, CODEC_NONE, false, s), s);
}

/* Sizes around the codecs' blocks and around the output buffer (256 KiB): a buffer that is exactly
 * full at the end of the input is where bytes get lost. */
static void round_trips(void **state)
{
	static const size_t sizes[] = {
		0, 1, 2, 65535, 65536, 65537, 131072, 262143, 262144, 262145, 524288, BIG};
	static const size_t pieces[] = {1, 13, 100000, BIG};

	for (int kind = 0; kind < KINDS; kind++) {
		SCOPED_ARENA(a);
		uint8_t *data = make_data(a, kind, BIG);

		for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
			for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
				SCOPED_ARENA(b);
				size_t piece = pieces[(i + j + (size_t)kind) % 4];
				int level = codec_info(real[i])->level_default;
				struct buf z = compressed(b, real[i], level, data, sizes[j], piece);

				for (size_t k = 1; k < 4; k++)
					check_expands(
						real[i], z.data, z.len, data, sizes[j], pieces[k]);
				if (sizes[j] <= 65537)
					check_expands(real[i], z.data, z.len, data, sizes[j], 1);
			}
		}
	}
}

/* The stored stream of a given input is the same however it arrives, where the library promises it.
 */
static void pieces_do_not_matter_to_gz_and_bz2(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, TEXT, 300000);

	for (size_t i = 0; i < 4; i += 3) {
		struct buf x = compressed(a, real[i], 6, data, 300000, 300000);
		struct buf y = compressed(a, real[i], 6, data, 300000, 13);

		assert_int_equal(x.len, y.len);
		assert_memory_equal(x.data, y.data, x.len);
	}
}

static void every_level(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, TEXT, 70000);

	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
		const struct codec_info *info = codec_info(real[i]);

		for (int level = info->level_min; level <= info->level_max; level++) {
			SCOPED_ARENA(b);
			bool huge = real[i] == CODEC_ZST && level > 19 && level < info->level_max;
			struct buf z;

			if (huge) /* hundreds of MiB each: one of them is enough */
				continue;
			z = compressed(b, real[i], level, data, 70000, 70000);
			assert_true(z.len < 70000 || (real[i] == CODEC_GZ && level == 0));
			check_expands(real[i], z.data, z.len, data, 70000, 1000);
		}
	}
}

/* A level is obeyed also by a context that was used with another one before. */
static void levels_change_on_a_used_context(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, TEXT, 100000);

	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
		int high = real[i] == CODEC_ZST ? 12 : 9;
		struct buf low1 = compressed(a, real[i], 1, data, 100000, 100000);
		struct buf high1 = compressed(a, real[i], high, data, 100000, 100000);
		struct buf low2 = compressed(a, real[i], 1, data, 100000, 100000);

		check_expands(real[i], low2.data, low2.len, data, 100000, 100000);
		assert_true(high1.len < low1.len);
		/* lz4's fast levels find a little more or less, depending on what its tables held
		 */
		assert_true(
			low2.len < low1.len + low1.len / 50 && low2.len > low1.len - low1.len / 50);
		if (real[i] != CODEC_LZ4)
			assert_memory_equal(low1.data, low2.data, low1.len);
	}
}

static void level_out_of_range_is_a_failure(void **state)
{
	SCOPED_ARENA(a);

	assert_int_equal(sink_finish(sink_compress(a, CODEC_GZ, 10, false, sink_null(a))), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	err_clear();
	assert_int_equal(sink_finish(sink_compress(a, CODEC_BZ2, 0, false, sink_null(a))), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	err_clear();
}

/* format/blocks.md section 3 and 1.4; zst has a checksum of ours behind the frame. */
static void exact_streams(void **state)
{
	static const struct {
		enum codec codec;
		const char *plain, *hex;
	} table[] = {
		{CODEC_GZ, "", "1f8b080000000000000303000000000000000000"},
		{CODEC_LZ4, "", "04224d1844405e00000000055dcc02"},
		{CODEC_ZST, "", "28b52ffd240001000099e9d851"},
		{CODEC_BZ2, "", "425a683917724538509000000000"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		SCOPED_ARENA(a);
		const char *plain = table[i].plain;
		struct buf want = unhex(a, table[i].hex);
		struct buf got = compressed(a, table[i].codec,
			codec_info(table[i].codec)->level_default, plain, strlen(plain), 100);

		assert_int_equal(got.len, want.len);
		assert_memory_equal(got.data, want.data, want.len);
	}
}

static struct buf compressed_raw(struct arena *a, enum codec c, const void *data, size_t len)
{
	struct buf b;
	int level = codec_info(c)->level_default;

	buf_init(&b, a);
	assert_int_equal(
		feed(sink_compress(a, c, level, true, sink_buf(a, &b)), data, len, 1000), 0);
	return b;
}

static int expand_raw(
	struct arena *a, enum codec c, const void *data, size_t len, size_t piece, struct buf *out)
{
	buf_init(out, a);
	return feed(sink_expand(a, c, true, sink_buf(a, out)), data, len, piece);
}

/* The members of format/blocks.md 1.4, and what zlib's compress() makes of nothing. */
static void exact_raw_streams(void **state)
{
	static const struct {
		enum codec codec;
		const char *plain, *hex;
	} table[] = {
		{CODEC_GZ, "18\n", "789c33b4e00200011000" "74"},
		{CODEC_GZ, "", "789c030000000001"},
		{CODEC_LZ4, "18\n", "04224d184040c00300008031380a00000000"},
		{CODEC_LZ4, "", "04224d184040c000000000"},
		{CODEC_ZST, "18\n", "28b52ffd005819000031380a"},
		{CODEC_BZ2, "", "425a683917724538509000000000"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (size_t piece = 1; piece < 100; piece += 98) {
			SCOPED_ARENA(a);
			const char *plain = table[i].plain;
			struct buf want = unhex(a, table[i].hex), got;

			got = compressed_raw(a, table[i].codec, plain, strlen(plain));
			assert_int_equal(got.len, want.len);
			assert_memory_equal(got.data, want.data, want.len);
			assert_int_equal(expand_raw(a, table[i].codec, want.data, want.len, piece,
						 &got), 0);
			assert_string_equal(got.data, plain);
		}
	}
}

static void raw_round_trips(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, TEXT, BIG);

	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
		for (size_t len = 0; len <= BIG; len += 524288 + 1) {
			struct buf raw = compressed_raw(a, real[i], data, len), got;
			struct buf normal = compressed(a, real[i],
				codec_info(real[i])->level_default, data, len, 1000);

			assert_int_equal(expand_raw(a, real[i], raw.data, raw.len, 7777, &got), 0);
			assert_int_equal(got.len, len);
			assert_int_equal(memcmp(got.data, data, len), 0);
			if (real[i] != CODEC_BZ2) {
				assert_true(raw.len < normal.len);
				continue;
			}
			assert_int_equal(raw.len, normal.len); /* one form only */
			assert_memory_equal(raw.data, normal.data, raw.len);
		}
	}
}

/* A form for the other is damage for gz; lz4's reader does not care, its frames say what they are. */
static void the_other_form(void **state)
{
	SCOPED_ARENA(a);
	struct buf gz = compressed(a, CODEC_GZ, 6, "some text", 9, 9), got;
	struct buf gz_raw = compressed_raw(a, CODEC_GZ, "some text", 9);
	struct buf lz4 = compressed(a, CODEC_LZ4, 1, "some text", 9, 9);
	struct buf deflate = gz_raw;

	assert_int_equal(expand_raw(a, CODEC_GZ, gz.data, gz.len, 5, &got), -1);
	assert_int_equal(err_code(), ERR_FORMAT);
	err_clear();
	check_refused(CODEC_GZ, gz_raw.data, gz_raw.len, "incorrect header check");
	deflate.data += 2; /* without a head: neither form */
	deflate.len -= 6;
	assert_int_equal(expand_raw(a, CODEC_GZ, deflate.data, deflate.len, 5, &got), -1);
	err_clear();
	assert_int_equal(expand_raw(a, CODEC_LZ4, lz4.data, lz4.len, 5, &got), 0);
	assert_string_equal(got.data, "some text");
	/* one zlib stream, not several, and nothing behind it */
	for (size_t n = 0; n < gz_raw.len; n++) {
		assert_int_equal(expand_raw(a, CODEC_GZ, gz_raw.data, n, 5, &got), -1);
		assert_string_equal(err_msg(), "unexpected eof in compressed data");
		err_clear();
	}
	buf_add(&gz_raw, arena_memdup(a, gz_raw.data, gz_raw.len), gz_raw.len);
	assert_int_equal(expand_raw(a, CODEC_GZ, gz_raw.data, gz_raw.len, 5, &got), -1);
	assert_non_null(strstr(err_msg(), "data after the end"));
	err_clear();
}

/* Contexts of the process serve both forms, one after the other. */
static void forms_alternate(void **state)
{
	size_t before = 0;

	for (int n = 0; n < 100; n++) {
		SCOPED_ARENA(a);
		enum codec c = real[n % 2];
		struct buf raw = compressed_raw(a, c, &n, sizeof(n)), got;
		struct buf normal = compressed(a, c, codec_info(c)->level_default, &n, sizeof(n), 4);

		assert_int_equal(expand_raw(a, c, raw.data, raw.len, 3, &got), 0);
		assert_memory_equal(got.data, &n, sizeof(n));
		check_expands(c, normal.data, normal.len, &n, sizeof(n), 3);
		if (n == 10)
			before = idle_made();
	}
	assert_int_equal(idle_made(), before);
}

static void headers(void **state)
{
	SCOPED_ARENA(a);
	struct buf gz = compressed(a, CODEC_GZ, 6, "18\n", 3, 3);
	struct buf lz4 = compressed(a, CODEC_LZ4, 1, "18\n", 3, 3);
	struct buf zst = compressed(a, CODEC_ZST, 3, "18\n", 3, 3);
	struct buf bz2 = compressed(a, CODEC_BZ2, 7, "18\n", 3, 3);

	assert_int_equal(gz.len, 23);
	assert_memory_equal(gz.data, "\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
	assert_memory_equal(lz4.data, "\x04\x22\x4d\x18\x44\x40", 6); /* linked, 64 KiB, checksum */
	assert_memory_equal(zst.data, "\x28\xb5\x2f\xfd\x04\x58", 6); /* checksum, no size, 2 MiB */
	assert_memory_equal(bz2.data, "BZh7", 4);
}

static void foreign_streams(void **state)
{
	static const struct {
		enum codec codec;
		const char *hex, *plain;
	} table[] = {
		{CODEC_ZST, "28b52ffd2000010000", ""},
		{CODEC_ZST, "28b52ffd005819000031380a", "18\n"},
		{CODEC_ZST, "28b52ffd005819000031380a28b52ffd2000010000", "18\n"},
		{CODEC_ZST, "28b52ffd005819000031380a28b52ffd005819000031380a", "18\n18\n"},
		{CODEC_ZST, "502a4d1803000000aabbcc28b52ffd005819000031380a",
			"18\n"}, /* skippable */
		{CODEC_LZ4, "04224d184040c00300008031380a00000000",
			"18\n"}, /* no content checksum */
		{CODEC_LZ4, "04224d184040c00300008031380a0000000004224d1844405e00000000055dcc02",
			"18\n"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		SCOPED_ARENA(a);
		struct buf z = unhex(a, table[i].hex);
		const char *plain = table[i].plain;

		check_expands(table[i].codec, z.data, z.len, plain, strlen(plain), 1);
		check_expands(table[i].codec, z.data, z.len, plain, strlen(plain), 100);
	}
}

static void several_frames(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, TEXT, 300000);

	for (size_t i = 0; i < 3; i++) { /* bz2 has one stream only */
		struct buf z = compressed(a, real[i], 1, data, 262144, 100000);
		struct buf rest = compressed(a, real[i], 3, data + 262144, 300000 - 262144, 100000);
		size_t first = z.len;

		buf_add(&z, rest.data, rest.len);
		check_expands(real[i], z.data, z.len, data, 300000, 1);
		check_expands(real[i], z.data, z.len, data, 300000, 99999);
		for (size_t cut = 1; cut < 20; cut++)
			check_refused(
				real[i], z.data, first + cut, "unexpected eof in compressed data");
	}
}

static void lz4_of_another_make(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, TEXT, BIG);
	LZ4F_preferences_t prefs = {
		.frameInfo = {.blockSizeID = LZ4F_max4MB,
			.blockMode = LZ4F_blockIndependent,
			.blockChecksumFlag = LZ4F_blockChecksumEnabled,
			.contentSize = BIG},
	};
	size_t cap = LZ4F_compressFrameBound(BIG, &prefs);
	char *z = arena_alloc(a, cap);
	size_t len = LZ4F_compressFrame(z, cap, data, BIG, &prefs);

	assert_false(LZ4F_isError(len));
	check_expands(CODEC_LZ4, z, len, data, BIG, 1000);
	check_expands(CODEC_LZ4, z, len, data, BIG, BIG);
}

static void zst_of_another_make(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, RANDOM, BIG);
	size_t cap = ZSTD_compressBound(BIG);
	char *z = arena_alloc(a, cap);
	size_t len = ZSTD_compress(z, cap, data, BIG, 5);

	assert_false(ZSTD_isError(len));
	check_expands(CODEC_ZST, z, len, data, BIG, 1000);
	check_expands(CODEC_ZST, z, len, data, BIG, BIG);
}

static void window_limit(void **state)
{
	SCOPED_ARENA(a);
	struct buf most = unhex(a, "28b52ffd0088010000"), more = unhex(a, "28b52ffd0089010000");
	struct buf most2 = unhex(a, "28b52ffd0090010000");

	check_expands(CODEC_ZST, most.data, most.len, "", 0, 100); /* 128 MiB */
	check_refused(CODEC_ZST, more.data, more.len, "zstd decompression: ");
	check_refused(CODEC_ZST, most2.data, most2.len, "zstd decompression: ");
}

static void cut_short_at_every_byte(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, TEXT, 700);

	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
		for (size_t len = 0; len <= 700; len += 350) {
			int level = codec_info(real[i])->level_default;
			struct buf z = compressed(a, real[i], level, data, len, 700);

			for (size_t n = 0; n < z.len; n++)
				check_refused(
					real[i], z.data, n, "unexpected eof in compressed data");
		}
	}
}

static void nothing_may_follow(void **state)
{
	static const char *const tails[] = {"x", "garbage behind the end", "BZh9 no more"};
	static const char zeros[512];

	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
		SCOPED_ARENA(a);
		struct buf z = compressed(a, real[i], 3, "some text", 9, 9);
		size_t len = z.len;

		for (size_t j = 0; j < 3; j++) {
			z.len = len;
			buf_adds(&z, tails[j]);
			check_refused(real[i], z.data, z.len, NULL);
		}
		z.len = len;
		buf_add(&z, zeros, sizeof(zeros));
		check_refused(real[i], z.data, z.len, NULL);
		check_refused(real[i], z.data, len + 1, NULL);
	}
	SCOPED_ARENA(a);
	struct buf twice = compressed(a, CODEC_BZ2, 9, "a", 1, 1);
	size_t len = twice.len;
	char *copy = arena_memdup(a, twice.data, len);

	buf_add(&twice, copy, len);
	check_refused(CODEC_BZ2, twice.data, twice.len, "data after the end");
}

static void not_a_stream_at_all(void **state)
{
	static const struct {
		enum codec codec;
		const char *text;
	} table[] = {
		{CODEC_GZ, "gz decompression: incorrect header check"},
		{CODEC_LZ4, "lz4 decompression: ERROR_frameType_unknown"},
		{CODEC_ZST, "zstd decompression: Unknown frame descriptor"},
		{CODEC_BZ2, "bz2 decompression: not a bzip2 stream"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		check_refused(table[i].codec, "plain text, quite long enough", 29, table[i].text);
}

/* Bits that no checksum covers and no decoder looks at: gz's text flag, time, level hint and
 * system, the padding behind the head of a stored block and of the last deflate byte; zst's unused
 * bit and a window larger than needed; bz2's level, the "randomised" flag of a short block and the
 * padding of the last byte. */
static bool may_be_harmless(enum codec c, size_t byte, size_t len)
{
	switch (c) {
	case CODEC_GZ:
		return (byte >= 3 && byte <= 10) || byte == len - 9;
	case CODEC_ZST:
		return byte == 4 || byte == 5;
	case CODEC_BZ2:
		return byte == 3 || byte == 14 || byte == len - 1;
	default:
		return false;
	}
}

/* Never other bytes than the true ones.  Repetitive data has other encodings one bit away, random
 * data has none: there each flip must be found. */
static void flip_every_bit(struct arena *a, enum codec c, enum kind kind, size_t len)
{
	uint8_t *data = make_data(a, kind, len);
	struct buf z = compressed(a, c, codec_info(c)->level_default, data, len, len);

	for (size_t bit = 0; bit < z.len * 8; bit++) {
		SCOPED_ARENA(b);
		struct buf got;

		z.data[bit / 8] ^= (char)(1 << bit % 8);
		if (expand(b, c, z.data, z.len, z.len, &got) == 0) {
			assert_int_equal(got.len, len);
			assert_memory_equal(got.data, data, len);
			if (kind == RANDOM && !may_be_harmless(c, bit / 8, z.len))
				fail_msg("%s: bit %zu of byte %zu of %zu is not guarded",
					codec_info(c)->name, bit % 8, bit / 8, z.len);
		} else {
			assert_int_equal(err_code(), ERR_FORMAT);
			err_clear();
		}
		z.data[bit / 8] ^= (char)(1 << bit % 8);
	}
}

static void no_flipped_bit_passes_as_other_data(void **state)
{
	SCOPED_ARENA(a);

	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
		flip_every_bit(a, real[i], TEXT, 300);
		flip_every_bit(a, real[i], RANDOM, 64);
		flip_every_bit(a, real[i], ZERO, 5000);
	}
}

static int refuse(struct sink *s, const void *data, size_t len)
{
	return err_set(ERR_FILE_WRITE, "next is full");
}

static int refuse_finish(struct sink *s)
{
	return err_set(ERR_FILE_SYNC, "next cannot finish");
}

static void failures_of_the_next_sink_come_through(void **state)
{
	struct sink full = {refuse, refuse_finish};

	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
		SCOPED_ARENA(a);
		uint8_t *data = make_data(a, RANDOM, BIG);
		struct buf z = compressed(a, real[i], 1, data, BIG, BIG);

		assert_int_equal(feed(sink_compress(a, real[i], 1, false, &full), data, BIG, BIG), -1);
		assert_int_equal(err_code(), ERR_FILE_WRITE);
		err_clear();
		assert_int_equal(feed(sink_expand(a, real[i], false, &full), z.data, z.len, BIG), -1);
		assert_int_equal(err_code(), ERR_FILE_WRITE);
		err_clear();
		check_expands(real[i], z.data, z.len, data, BIG, BIG);
	}
}

static void contexts_are_reused(void **state)
{
	size_t before = 0;

	for (int n = 0; n < 1000; n++) {
		for (size_t i = 0; i < 3; i++) {
			SCOPED_ARENA(a);
			struct buf z = compressed(a, real[i], 1, &n, sizeof(n), 1);

			check_expands(real[i], z.data, z.len, &n, sizeof(n), 1);
			if (n % 3 == 0) /* left in the middle of a stream */
				assert_int_equal(
					sink_write(sink_compress(a, real[i], n % 9, false, sink_null(a)),
						"abc", 3),
					0);
			if (n % 3 == 1)
				check_refused(real[i], z.data, z.len - 2, NULL);
		}
		if (n == 10)
			before = idle_made();
	}
	assert_int_equal(idle_made(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(none_is_the_next_sink_itself),
		cmocka_unit_test(round_trips),
		cmocka_unit_test(pieces_do_not_matter_to_gz_and_bz2),
		cmocka_unit_test(every_level),
		cmocka_unit_test(levels_change_on_a_used_context),
		cmocka_unit_test(level_out_of_range_is_a_failure),
		cmocka_unit_test(exact_streams),
		cmocka_unit_test(exact_raw_streams),
		cmocka_unit_test(raw_round_trips),
		cmocka_unit_test(the_other_form),
		cmocka_unit_test(forms_alternate),
		cmocka_unit_test(headers),
		cmocka_unit_test(foreign_streams),
		cmocka_unit_test(several_frames),
		cmocka_unit_test(lz4_of_another_make),
		cmocka_unit_test(zst_of_another_make),
		cmocka_unit_test(window_limit),
		cmocka_unit_test(cut_short_at_every_byte),
		cmocka_unit_test(nothing_may_follow),
		cmocka_unit_test(not_a_stream_at_all),
		cmocka_unit_test(no_flipped_bit_passes_as_other_data),
		cmocka_unit_test(failures_of_the_next_sink_come_through),
		cmocka_unit_test(contexts_are_reused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
