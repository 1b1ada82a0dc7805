/*
 * control: stored and synthetic pg_control bytes of every release; damage is refused; invalidation
 * equals what pgBackRest writes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/enc.h"
#include "base/err.h"
#include "pg/control.h"

/* Written down again from format/repository.md 7.2, so that a slip in the program's table shows. */
static const struct layout {
	const char *name;
	uint32_t control, catalog;
	unsigned timeline, page, segment, checksum, crc;
} layouts[] = {
	{"9.6", 960, 201608131, 56, 216, 228, 252, 256},
	{"10", 1002, 201707211, 56, 216, 228, 252, 288},
	{"11", 1100, 201809051, 48, 208, 220, 244, 280},
	{"12", 1201, 201909212, 48, 216, 228, 252, 288},
	{"13", 1300, 202007201, 48, 216, 228, 252, 288},
	{"14", 1300, 202107181, 48, 216, 228, 252, 288},
	{"15", 1300, 202209061, 48, 216, 228, 252, 288},
	{"16", 1300, 202307071, 48, 216, 228, 252, 288},
	{"17", 1700, 202406281, 48, 216, 228, 252, 288},
	{"18", 1800, 202506291, 48, 216, 228, 252, 292},
	{"19", 1905, 202605131, 48, 224, 240, 268, 308},
};

enum { LAYOUTS = sizeof(layouts) / sizeof(layouts[0]), L15 = 6, L18 = 9, L19 = 10 };

static void put32(uint8_t *b, unsigned at, uint32_t v)
{
	memcpy(b + at, &v, sizeof(v));
}

static void put64(uint8_t *b, unsigned at, uint64_t v)
{
	memcpy(b + at, &v, sizeof(v));
}

static uint32_t get32(const uint8_t *b, unsigned at)
{
	uint32_t v;

	memcpy(&v, b + at, sizeof(v));
	return v;
}

/* Bit by bit, apart from the program's. */
static void seal(uint8_t *b, unsigned at)
{
	uint32_t crc = 0xFFFFFFFF;

	for (unsigned i = 0; i < at; i++) {
		crc ^= b[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
	}
	put32(b, at, ~crc);
}

/* Valid, with a pattern wherever nothing is known, so that reading a wrong place shows. */
static void make(const struct layout *l, uint8_t b[PG_CONTROL_READ])
{
	for (unsigned i = 0; i < PG_CONTROL_READ; i++)
		b[i] = (uint8_t)(0xA5 + i * 3);
	put64(b, 0, UINT64_C(0xFEDCBA9876543210));
	put32(b, 8, l->control);
	put32(b, 12, l->catalog);
	put64(b, 32, UINT64_C(0x0000000712345678));
	put32(b, l->timeline, 0x7FFFFFFF);
	put32(b, l->page, 8192);
	put32(b, l->segment, 16u << 20);
	put32(b, l->checksum, 1);
	seal(b, l->crc);
}

static void set32(uint8_t *b, const struct layout *l, unsigned at, uint32_t v)
{
	put32(b, at, v);
	seal(b, l->crc);
}

static void expect_failure(const uint8_t *b, enum err_code code)
{
	struct pg_control c = {.timeline = 77};

	assert_int_equal(pg_control_parse(b, NULL, &c), -1);
	assert_int_equal(err_code(), code);
	assert_int_equal(c.timeline, 77);
	err_clear();
}

static void crc_fits_published_vectors(void **state)
{
	uint8_t zeros[32] = {0}, ones[32], up[32], down[32];

	for (int i = 0; i < 32; i++) {
		ones[i] = 0xFF;
		up[i] = (uint8_t)i;
		down[i] = (uint8_t)(31 - i);
	}
	assert_int_equal(crc32c("123456789", 9), 0xE3069283);
	assert_int_equal(crc32c("", 0), 0);
	assert_int_equal(crc32c(zeros, 32), 0x8A9136AA); /* RFC 3720, B.4 */
	assert_int_equal(crc32c(ones, 32), 0x62A8AB43);
	assert_int_equal(crc32c(up, 32), 0x46DD794E);
	assert_int_equal(crc32c(down, 32), 0x113FDB5C);
}

static void every_release_is_read(void **state)
{
	for (unsigned i = 0; i < LAYOUTS; i++) {
		uint8_t b[PG_CONTROL_READ];
		struct pg_control c;

		make(&layouts[i], b);
		assert_int_equal(pg_control_parse(b, NULL, &c), 0);
		assert_string_equal(c.version->name, layouts[i].name);
		assert_true(c.system_id == UINT64_C(0xFEDCBA9876543210));
		assert_int_equal(c.control_version, layouts[i].control);
		assert_int_equal(c.catalog_version, layouts[i].catalog);
		assert_true(c.checkpoint == UINT64_C(0x712345678));
		assert_int_equal(c.timeline, 0x7FFFFFFF);
		assert_int_equal(c.page_size, 8192);
		assert_int_equal(c.wal_segment_size, 16u << 20);
		assert_true(c.checksums);
	}
}

/* The bytes of the line "version origin hex". */
static void load(const char *version, const char *origin, uint8_t b[PG_CONTROL_READ])
{
	const char *dir = getenv("srcdir");
	char path[4096], line[4096], prefix[64];
	size_t len = (size_t)snprintf(prefix, sizeof(prefix), "%s %s ", version, origin);
	FILE *f;

	snprintf(path, sizeof(path), "%s/test/data/pg/control.txt", dir == NULL ? "." : dir);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, prefix, len) != 0)
			continue;
		assert_int_equal(strlen(line), len + 2 * PG_CONTROL_READ + 1);
		assert_true(hex_decode(line + len, b, PG_CONTROL_READ));
		fclose(f);
		return;
	}
	fclose(f);
	fail_msg("no bytes of %s %s", version, origin);
}

static void stored_bytes_are_read(void **state)
{
	static const struct {
		const char *version, *origin;
		uint64_t system_id, checkpoint;
		uint32_t timeline, segment_size;
		bool checksums;
	} cases[] = {
		{"9.6", "synthetic", 7000000000000000009, 0x902000028, 900, 16 << 20, true},
		{"10", "synthetic", 7000000000000000010, 0xA02000028, 1000, 16 << 20, false},
		{"11", "synthetic", 7000000000000000011, 0xB02000028, 1100, 16 << 20, true},
		{"12", "synthetic", 7000000000000000012, 0xC02000028, 1200, 16 << 20, false},
		{"13", "synthetic", 7000000000000000013, 0xD02000028, 1300, 16 << 20, true},
		{"14", "synthetic", 7000000000000000014, 0xE02000028, 1400, 16 << 20, false},
		{"16", "synthetic", 7000000000000000016, 0x1002000028, 1600, 16 << 20, false},
		{"17", "synthetic", 7000000000000000017, 0x1102000028, 1700, 16 << 20, true},
		{"15", "initdb", 7710256812242289591, 0x8529F0, 1, 1 << 20, true},
		{"18", "fixture", 7710220048693679597, 0xF00080, 1, 1 << 20, true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t b[PG_CONTROL_READ];
		struct pg_control c;

		load(cases[i].version, cases[i].origin, b);
		assert_int_equal(pg_control_parse(b, NULL, &c), 0);
		assert_string_equal(c.version->name, cases[i].version);
		assert_true(c.system_id == cases[i].system_id);
		assert_true(c.checkpoint == cases[i].checkpoint);
		assert_int_equal(c.timeline, cases[i].timeline);
		assert_int_equal(c.page_size, 8192);
		assert_int_equal(c.wal_segment_size, cases[i].segment_size);
		assert_int_equal(c.checksums, cases[i].checksums);
	}
}

static void unknown_version_is_refused(void **state)
{
	uint8_t b[PG_CONTROL_READ] = {0};

	expect_failure(b, ERR_VERSION_NOT_SUPPORTED);
	make(&layouts[L15], b);
	set32(b, &layouts[L15], 12, 202209062);
	struct pg_control c;
	assert_int_equal(pg_control_parse(b, NULL, &c), -1);
	assert_string_equal(err_msg(),
		"unexpected control version = 1300 and catalog version = 202209062");
	assert_string_equal(err_hints(), "HINT: is this version of PostgreSQL supported?");
	err_clear();
}

static void version_can_be_forced(void **state)
{
	uint8_t b[PG_CONTROL_READ];
	struct pg_control c;

	make(&layouts[L15], b);
	set32(b, &layouts[L15], 12, 202209999);
	assert_int_equal(pg_control_parse(b, pg_version_by_name("15"), &c), 0);
	assert_string_equal(c.version->name, "15");
	assert_int_equal(c.catalog_version, 202209999);
	assert_int_equal(c.wal_segment_size, 16u << 20);
	/* a wrong assumption is noticed */
	assert_int_equal(pg_control_parse(b, pg_version_by_name("18"), &c), -1);
	assert_int_equal(err_code(), ERR_CHECKSUM);
	err_clear();
}

static void any_flipped_bit_is_noticed(void **state)
{
	for (unsigned i = 0; i < LAYOUTS; i++) {
		uint8_t b[PG_CONTROL_READ];
		struct pg_control c;

		make(&layouts[i], b);
		for (unsigned at = 0; at < layouts[i].crc + 4; at++) {
			/* 8 to 15 make another version: any failure will do */
			b[at] ^= 0x10;
			assert_int_equal(pg_control_parse(b, NULL, &c), -1);
			if (at < 8 || at > 15)
				assert_int_equal(err_code(), ERR_CHECKSUM);
			err_clear();
			b[at] ^= 0x10;
		}
		for (unsigned at = layouts[i].crc + 4; at < PG_CONTROL_READ; at++)
			b[at] = 0;
		assert_int_equal(pg_control_parse(b, NULL, &c), 0);
	}
}

static void torn_read_is_noticed(void **state)
{
	uint8_t old[PG_CONTROL_READ], new[PG_CONTROL_READ];

	load("15", "initdb", old);
	memcpy(new, old, sizeof(new));
	put64(new, 32, 0x900028);
	put64(new, 40, 0x900028);
	seal(new, layouts[L15].crc);
	memcpy(new + 256, old + 256, sizeof(new) - 256);
	expect_failure(new, ERR_CHECKSUM);
}

static void impossible_sizes_are_refused(void **state)
{
	static const uint32_t bad_segments[] = {0, 1, 1u << 19, (1u << 20) - 1, (1u << 20) + 1,
		3u << 20, 1u << 31, UINT32_MAX};
	static const uint32_t bad_pages[] = {0, 512, 1023, 3072, 8193, 65536, UINT32_MAX};
	const struct layout *l = &layouts[L18];
	uint8_t b[PG_CONTROL_READ];
	struct pg_control c;

	make(l, b);
	for (uint32_t size = 1u << 20; size <= 1u << 30; size *= 2) {
		set32(b, l, l->segment, size);
		assert_int_equal(pg_control_parse(b, NULL, &c), 0);
		assert_int_equal(c.wal_segment_size, size);
	}
	for (size_t i = 0; i < sizeof(bad_segments) / sizeof(bad_segments[0]); i++) {
		set32(b, l, l->segment, bad_segments[i]);
		expect_failure(b, ERR_FORMAT);
	}
	set32(b, l, l->segment, 16u << 20);
	for (uint32_t size = 1024; size <= 32768; size *= 2) {
		set32(b, l, l->page, size);
		assert_int_equal(pg_control_parse(b, NULL, &c), 0);
		assert_int_equal(c.page_size, size);
	}
	for (size_t i = 0; i < sizeof(bad_pages) / sizeof(bad_pages[0]); i++) {
		set32(b, l, l->page, bad_pages[i]);
		expect_failure(b, ERR_FORMAT);
	}
}

static void data_checksum_states(void **state)
{
	for (unsigned i = 0; i < LAYOUTS; i++) {
		uint32_t last = i == L19 ? 3 : 1;

		for (uint32_t value = 0; value <= 5; value++) {
			const struct layout *l = &layouts[i];
			uint8_t b[PG_CONTROL_READ];
			struct pg_control c;

			make(l, b);
			set32(b, l, l->checksum, value);
			if (value > last) {
				expect_failure(b, ERR_FORMAT);
				continue;
			}
			assert_int_equal(pg_control_parse(b, NULL, &c), 0);
			assert_int_equal(c.checksums, value == 1);
		}
	}
}

static void invalidated_file_is_valid_and_changes_nothing_else(void **state)
{
	for (unsigned i = 0; i < LAYOUTS; i++) {
		uint8_t before[PG_CONTROL_READ], b[PG_CONTROL_READ];
		struct pg_control c;

		make(&layouts[i], before);
		memcpy(b, before, sizeof(b));
		assert_int_equal(pg_control_invalidate(b), 0);
		assert_int_equal(pg_control_parse(b, NULL, &c), 0);
		assert_true(c.checkpoint == 0xDEAD);
		put64(before, 32, 0xDEAD);
		seal(before, layouts[i].crc);
		assert_memory_equal(b, before, sizeof(b));
	}
}

static void invalidated_file_equals_that_of_the_reference(void **state)
{
	uint8_t b[PG_CONTROL_READ];

	/* With this CRC, and zeros up to 8192 bytes, the SHA-256 is that of the file which
	 * pgBackRest 2.60.0 restored from the backup that these bytes come from. */
	load("18", "fixture", b);
	assert_int_equal(pg_control_invalidate(b), 0);
	assert_int_equal(get32(b, layouts[L18].crc), 0x9FD4F910);
}

static void damage_is_not_blessed(void **state)
{
	uint8_t b[PG_CONTROL_READ], before[PG_CONTROL_READ];

	make(&layouts[L15], b);
	b[100] ^= 1;
	memcpy(before, b, sizeof(b));
	assert_int_equal(pg_control_invalidate(b), -1);
	assert_int_equal(err_code(), ERR_CHECKSUM);
	assert_memory_equal(b, before, sizeof(b));
	err_clear();
	memset(b, 0, sizeof(b));
	assert_int_equal(pg_control_invalidate(b), -1);
	assert_int_equal(err_code(), ERR_VERSION_NOT_SUPPORTED);
	err_clear();
}

static void fork_can_be_invalidated(void **state)
{
	const unsigned which[] = {0, 2, L15, L18, L19};

	for (size_t i = 0; i < sizeof(which) / sizeof(which[0]); i++) {
		const struct layout *l = &layouts[which[i]];
		uint8_t b[PG_CONTROL_READ];
		struct pg_control c;

		make(l, b);
		set32(b, l, 12, 199001011);
		assert_int_equal(pg_control_invalidate(b), 0);
		assert_int_equal(pg_control_parse(b, pg_version_by_name(l->name), &c), 0);
		assert_true(c.checkpoint == 0xDEAD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc_fits_published_vectors),
		cmocka_unit_test(every_release_is_read),
		cmocka_unit_test(stored_bytes_are_read),
		cmocka_unit_test(unknown_version_is_refused),
		cmocka_unit_test(version_can_be_forced),
		cmocka_unit_test(any_flipped_bit_is_noticed),
		cmocka_unit_test(torn_read_is_noticed),
		cmocka_unit_test(impossible_sizes_are_refused),
		cmocka_unit_test(data_checksum_states),
		cmocka_unit_test(invalidated_file_is_valid_and_changes_nothing_else),
		cmocka_unit_test(invalidated_file_equals_that_of_the_reference),
		cmocka_unit_test(damage_is_not_blessed),
		cmocka_unit_test(fork_can_be_invalidated),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
