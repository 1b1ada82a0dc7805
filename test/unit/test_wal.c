/*
 * wal: names, LSNs and headers, at the edges of segments, logs and timelines.
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
#include "pg/wal.h"

#define MIB (1u << 20)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void kind_of_a_name(void **state)
{
	static const struct {
		const char *name;
		enum wal_kind kind;
	} cases[] = {
		{"000000010000000000000001", WAL_SEGMENT},
		{"FFFFFFFFFFFFFFFFFFFFFFFF", WAL_SEGMENT},
		{"0000000A0000000B000000AF", WAL_SEGMENT},
		{"000000010000000000000001.partial", WAL_PARTIAL},
		{"00000001000000000000000F.00000028.backup", WAL_BACKUP},
		{"00000001000000000000000F.00ABCDEF.backup", WAL_BACKUP},
		{"00000002.history", WAL_HISTORY},
		{"FFFFFFFF.history", WAL_HISTORY},
		{"", WAL_OTHER},
		{"0", WAL_OTHER},
		{"00000001000000000000000", WAL_OTHER},
		{"0000000100000000000000010", WAL_OTHER},
		{"00000001000000000000000g", WAL_OTHER},
		{"00000001000000000000000a", WAL_OTHER},
		{"0000000a0000000000000001", WAL_OTHER},
		{" 00000010000000000000001", WAL_OTHER},
		{"000000010000000000000001 ", WAL_OTHER},
		{"000000010000000000000001\n", WAL_OTHER},
		{"000000010000000000000001.", WAL_OTHER},
		{"000000010000000000000001.partia", WAL_OTHER},
		{"000000010000000000000001.partial2", WAL_OTHER},
		{"000000010000000000000001.PARTIAL", WAL_OTHER},
		{"000000010000000000000001.backup", WAL_OTHER},
		{"00000001000000000000000F.0000028.backup", WAL_OTHER},
		{"00000001000000000000000F.000000028.backup", WAL_OTHER},
		{"00000001000000000000000F.0000002g.backup", WAL_OTHER},
		{"00000001000000000000000F.00000028.backupx", WAL_OTHER},
		{"00000001000000000000000F.00000028", WAL_OTHER},
		{"00000001000000000000000F-00000028.backup", WAL_OTHER},
		{"0000002.history", WAL_OTHER},
		{"000000002.history", WAL_OTHER},
		{"0000000g.history", WAL_OTHER},
		{"0000000a.history", WAL_OTHER},
		{"00000002.histor", WAL_OTHER},
		{"00000002.history2", WAL_OTHER},
		{"00000002", WAL_OTHER},
		{"000000010000000000000001-5563e08bf34fcd7a091b27718fc9bac146579e62.gz", WAL_OTHER},
		{"../../../../etc/passwd", WAL_OTHER},
		{"archive_status", WAL_OTHER},
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		if (wal_kind(cases[i].name) != cases[i].kind)
			fail_msg("'%s' is of kind %d", cases[i].name, wal_kind(cases[i].name));
}

/* The last segment of a log, its successor, and the last of all. */
static const struct {
	uint32_t size;
	uint64_t segment;
	const char *name; /* without the timeline */
} names[] = {
	{MIB, 0, "0000000000000000"},
	{MIB, 1, "0000000000000001"},
	{MIB, 4095, "0000000000000FFF"},
	{MIB, 4096, "0000000100000000"},
	{MIB, 0xFFFFFFFFFFF, "FFFFFFFF00000FFF"},
	{16 * MIB, 255, "00000000000000FF"},
	{16 * MIB, 256, "0000000100000000"},
	{16 * MIB, 511, "00000001000000FF"},
	{16 * MIB, 0xFFFFFFFFFF, "FFFFFFFF000000FF"},
	{64 * MIB, 63, "000000000000003F"},
	{64 * MIB, 64, "0000000100000000"},
	{64 * MIB, 0x3FFFFFFFFF, "FFFFFFFF0000003F"},
	{1024 * MIB, 3, "0000000000000003"},
	{1024 * MIB, 4, "0000000100000000"},
	{1024 * MIB, 0x3FFFFFFFF, "FFFFFFFF00000003"},
};

static const struct {
	uint32_t timeline;
	const char *name;
} timelines[] = {
	{1, "00000001"}, {9, "00000009"}, {10, "0000000A"}, {15, "0000000F"}, {16, "00000010"},
	{255, "000000FF"}, {256, "00000100"}, {0x7FFFFFFF, "7FFFFFFF"}, {0xFFFFFFFF, "FFFFFFFF"},
};

static void name_of_a_segment_both_ways(void **state)
{
	for (size_t i = 0; i < COUNT(names); i++) {
		for (size_t t = 0; t < COUNT(timelines); t++) {
			struct wal_pos pos = {timelines[t].timeline, names[i].segment}, back;
			char expected[WAL_NAME + 1], name[WAL_NAME + 1];

			snprintf(expected, sizeof(expected), "%s%s", timelines[t].name,
				names[i].name);
			wal_name(pos, names[i].size, name);
			assert_string_equal(name, expected);
			assert_true(wal_parse(name, names[i].size, &back));
			assert_int_equal(back.timeline, pos.timeline);
			assert_true(back.segment == pos.segment);
		}
	}
}

static void name_impossible_for_the_size_is_refused(void **state)
{
	static const struct {
		const char *name;
		uint32_t size;
		bool good;
	} cases[] = {
		{"000000010000000000001000", MIB, false},
		{"000000010000000000000FFF", MIB, true},
		{"000000010000000000000100", 16 * MIB, false},
		{"0000000100000000000000FF", 16 * MIB, true},
		{"000000010000000000000040", 64 * MIB, false},
		{"00000001000000000000003F", 64 * MIB, true},
		{"000000010000000000000004", 1024 * MIB, false},
		{"000000010000000000000003", 1024 * MIB, true},
		{"0000000100000000FFFFFFFF", MIB, false},
		{"000000010000000000000003.partial", 16 * MIB, true},
		{"000000010000000000000003-5563e08bf34f", 16 * MIB, true},
		{"00000001000000000000000", 16 * MIB, false},
		{"00000001000000000000000a", 16 * MIB, false},
		{"00000001000000 000000001", 16 * MIB, false},
		{"", 16 * MIB, false},
		{"000000010000000000000000", 0, false},
		{"000000010000000000000000", 3 * MIB, false},
		{"000000010000000000000000", MIB / 2, false},
		{"000000010000000000000000", 2048 * MIB, false},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct wal_pos pos;

		if (wal_parse(cases[i].name, cases[i].size, &pos) != cases[i].good)
			fail_msg("'%s' with %u", cases[i].name, cases[i].size);
	}
}

static void segment_of_an_lsn(void **state)
{
	static const struct {
		uint64_t lsn;
		uint32_t size;
		uint64_t of, before;
	} cases[] = {
		{0, 16 * MIB, 0, 0},
		{1, 16 * MIB, 0, 0},
		{0x28, 16 * MIB, 0, 0},
		{0xFFFFFF, 16 * MIB, 0, 0},
		{0x1000000, 16 * MIB, 1, 0},
		{0x1000001, 16 * MIB, 1, 1},
		{0x100000, MIB, 1, 0},
		{0x100001, MIB, 1, 1},
		{UINT64_C(0xFFFFFFFF), 16 * MIB, 255, 255},
		{UINT64_C(0x100000000), 16 * MIB, 256, 255},
		{UINT64_C(0x100000000), MIB, 4096, 4095},
		{UINT64_C(0x100000000), 64 * MIB, 64, 63},
		{UINT64_C(0x100000000), 1024 * MIB, 4, 3},
		{UINT64_C(0x100000028), 1024 * MIB, 4, 4},
		{UINT64_C(0x7A09000028), 16 * MIB, 0x7A09, 0x7A09},
		{UINT64_MAX, MIB, 0xFFFFFFFFFFF, 0xFFFFFFFFFFF},
		{UINT64_MAX, 1024 * MIB, 0x3FFFFFFFF, 0x3FFFFFFFF},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_true(wal_segment_of(cases[i].lsn, cases[i].size) == cases[i].of);
		assert_true(wal_segment_before(cases[i].lsn, cases[i].size) == cases[i].before);
	}
}

static void lsn_both_ways(void **state)
{
	static const struct {
		const char *text;
		uint64_t lsn;
	} cases[] = {
		{"0/0", 0},
		{"0/1", 1},
		{"0/9000028", 0x9000028},
		{"0/FFFFFFFF", 0xFFFFFFFF},
		{"1/0", UINT64_C(1) << 32},
		{"7A/9000028", UINT64_C(0x7A09000028)},
		{"FFFFFFFF/FFFFFFFF", UINT64_MAX},
	};
	uint64_t lsn;

	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[24];

		assert_true(lsn_parse(cases[i].text, &lsn));
		assert_true(lsn == cases[i].lsn);
		lsn_print(lsn, text);
		assert_string_equal(text, cases[i].text);
	}
	/* 19 pads the second part; users may type lower case */
	assert_true(lsn_parse("0/00000abc", &lsn) && lsn == 0xABC);
}

static void malformed_lsn_is_refused(void **state)
{
	static const char *const bad[] = {"", "/", "0", "0/", "/0", "0/0/0", "0//0", " 0/0", "0/0 ",
		"0/0\n", "x/0", "0/x", "-1/0", "0/-1", "+0/0", "000000000/0", "0/100000000",
		"0x1/0", "0\\0"};

	for (size_t i = 0; i < COUNT(bad); i++) {
		uint64_t lsn = 42;

		if (lsn_parse(bad[i], &lsn) || lsn != 42)
			fail_msg("'%s' was taken", bad[i]);
	}
}

/* The bytes of the line "version origin hex". */
static void load(const char *version, const char *origin, uint8_t b[WAL_HEADER])
{
	const char *dir = getenv("srcdir");
	char path[4096], line[256], prefix[64];
	size_t len = (size_t)snprintf(prefix, sizeof(prefix), "%s %s ", version, origin);
	FILE *f;

	snprintf(path, sizeof(path), "%s/test/data/pg/wal.txt", dir == NULL ? "." : dir);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, prefix, len) != 0)
			continue;
		assert_int_equal(strlen(line), len + 2 * WAL_HEADER + 1);
		assert_true(hex_decode(line + len, b, WAL_HEADER));
		fclose(f);
		return;
	}
	fclose(f);
	fail_msg("no bytes of %s %s", version, origin);
}

static void stored_headers_are_read(void **state)
{
	static const struct {
		const char *version, *origin;
		uint32_t timeline;
		uint64_t page_addr, system_id;
		uint32_t segment_size;
	} cases[] = {
		{"9.6", "synthetic", 900, 0x902000000, 7000000000000000009, 16 * MIB},
		{"10", "synthetic", 1000, 0xA02000000, 7000000000000000010, 16 * MIB},
		{"11", "synthetic", 1100, 0xB02000000, 7000000000000000011, 16 * MIB},
		{"12", "synthetic", 1200, 0xC02000000, 7000000000000000012, 16 * MIB},
		{"13", "synthetic", 1300, 0xD02000000, 7000000000000000013, 16 * MIB},
		{"14", "synthetic", 1400, 0xE02000000, 7000000000000000014, 16 * MIB},
		{"16", "synthetic", 1600, 0x1002000000, 7000000000000000016, 16 * MIB},
		{"17", "synthetic", 1700, 0x1102000000, 7000000000000000017, 16 * MIB},
		{"15", "archived", 1, 0x900000, 7710256812242289591, MIB},
		{"18", "fixture", 1, 0x800000, 7710220048693679597, MIB},
		{"18", "example", 1, 0x1200000, 7710212607476120523, MIB},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t b[WAL_HEADER];
		struct wal_header h;

		load(cases[i].version, cases[i].origin, b);
		assert_int_equal(wal_header_parse(b, &h), 0);
		assert_string_equal(h.version->name, cases[i].version);
		assert_int_equal(h.magic, h.version->wal_magic);
		assert_int_equal(h.timeline, cases[i].timeline);
		assert_true(h.page_addr == cases[i].page_addr);
		assert_true(h.system_id == cases[i].system_id);
		assert_int_equal(h.segment_size, cases[i].segment_size);
	}
}

static void make_header(uint8_t b[WAL_HEADER], uint16_t magic, uint16_t flags, uint32_t size)
{
	memset(b, 0xEE, WAL_HEADER);
	memcpy(b, &magic, 2);
	memcpy(b + 2, &flags, 2);
	memcpy(b + 32, &size, 4);
}

static void every_magic_is_known(void **state)
{
	static const struct {
		uint16_t magic;
		const char *name;
	} cases[] = {
		{0xD093, "9.6"}, {0xD097, "10"}, {0xD098, "11"}, {0xD101, "12"}, {0xD106, "13"},
		{0xD10D, "14"}, {0xD110, "15"}, {0xD113, "16"}, {0xD116, "17"}, {0xD118, "18"},
		{0xD122, "19"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t b[WAL_HEADER];
		struct wal_header h;

		make_header(b, cases[i].magic, 0x0007, 16 * MIB);
		assert_int_equal(wal_header_parse(b, &h), 0);
		assert_string_equal(h.version->name, cases[i].name);
		assert_int_equal(h.timeline, 0xEEEEEEEE);
		assert_true(h.system_id == UINT64_C(0xEEEEEEEEEEEEEEEE));
	}
}

static void expect_refused(uint16_t magic, uint16_t flags, uint32_t size, enum err_code code)
{
	uint8_t b[WAL_HEADER];
	struct wal_header h = {.timeline = 77};

	make_header(b, magic, flags, size);
	assert_int_equal(wal_header_parse(b, &h), -1);
	assert_int_equal(err_code(), code);
	assert_int_equal(h.timeline, 77);
}

static void bad_headers_are_refused(void **state)
{
	expect_refused(0xD118, 0x0000, 16 * MIB, ERR_FORMAT);
	expect_refused(0xD118, 0xFFFD, 16 * MIB, ERR_FORMAT);
	expect_refused(0, 0, 0, ERR_FORMAT); /* a segment of zeros */
	expect_refused(0xD118, 2, 0, ERR_FORMAT);
	expect_refused(0xD118, 2, MIB / 2, ERR_FORMAT);
	expect_refused(0xD118, 2, 3 * MIB, ERR_FORMAT);
	expect_refused(0xD118, 2, 2048 * MIB, ERR_FORMAT);
	expect_refused(0x18D1, 2, 16 * MIB, ERR_VERSION_NOT_SUPPORTED);
	expect_refused(53759, 2, 16 * MIB, ERR_VERSION_NOT_SUPPORTED);
	assert_string_equal(err_msg(), "unexpected WAL magic 53759");
	err_clear();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kind_of_a_name),
		cmocka_unit_test(name_of_a_segment_both_ways),
		cmocka_unit_test(name_impossible_for_the_size_is_refused),
		cmocka_unit_test(segment_of_an_lsn),
		cmocka_unit_test(lsn_both_ways),
		cmocka_unit_test(malformed_lsn_is_refused),
		cmocka_unit_test(stored_headers_are_read),
		cmocka_unit_test(every_magic_is_known),
		cmocka_unit_test(bad_headers_are_refused),
	};

	return cmocka_run_group_tests_name("wal", tests, NULL, NULL);
}
