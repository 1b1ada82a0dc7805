/*
 * block_size: thresholds as the released pgBackRest has them (format/blocks.md 2.2), every case of going on with
 * a map, options with hostile values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "repo/block_size.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define DAY 86400
#define START INT64_C(1795177000)

static struct block_choice fresh(const struct block_rules *r, uint64_t size, int64_t age)
{
	return block_choose(r, size, START - age, START, NULL);
}

static void thresholds(void **state)
{
	static const struct {
		uint64_t size;
		int64_t age;
		uint32_t units, sum; /* 0: stored whole */
	} table[] = {
		{ 0, 0, 0, 0 }, { 1, 0, 0, 0 }, { 16383, 0, 0, 0 }, { 16384, 0, 1, 6 },
		{ MIB(11) - 1, 0, 1, 6 }, { MIB(11), 0, 2, 6 },
		{ MIB(43) - 1, 0, 2, 6 }, { MIB(43), 0, 3, 6 },
		{ MIB(96) - 1, 0, 3, 6 }, { MIB(96), 0, 4, 7 },
		{ MIB(146), 0, 5, 7 }, { MIB(228), 0, 6, 7 }, { MIB(329), 0, 7, 7 }, { MIB(448), 0, 8, 7 },
		{ MIB(585), 0, 9, 7 }, { MIB(740), 0, 10, 7 }, { MIB(914) - 1, 0, 10, 7 },
		{ MIB(914), 0, 11, 7 }, { UINT64_MAX, 0, 11, 7 },
		/* age */
		{ 20000, 7 * DAY - 1, 1, 6 }, { 20000, 7 * DAY, 2, 6 }, { 20000, 14 * DAY - 1, 2, 6 },
		{ 16384, 14 * DAY, 4, 7 }, { 20000, 28 * DAY - 1, 4, 7 }, { 20000, 28 * DAY, 0, 0 },
		{ MIB(914), 14 * DAY, 44, 8 }, { MIB(96), 7 * DAY, 8, 7 }, { MIB(914), 28 * DAY, 0, 0 },
		/* from the future */
		{ 20000, -1, 1, 6 }, { 20000, -100 * DAY, 1, 6 },
	};
	SCOPED_ARENA(a);
	struct block_rules r;

	block_rules_init(&r, a);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct block_choice c = fresh(&r, table[i].size, table[i].age);

		assert_int_equal(c.how, table[i].units == 0 ? BLOCK_WHOLE : BLOCK_NEW);
		assert_int_equal(c.block_size, table[i].units * 8192);
		assert_int_equal(c.sum_size, table[i].sum);
		assert_int_equal(block_choose(NULL, table[i].size, START - table[i].age, START, NULL).how,
			BLOCK_WHOLE);
	}
	assert_int_equal(block_choose(&r, 20000, INT64_MIN, INT64_MAX, NULL).how, BLOCK_WHOLE);
	assert_int_equal(block_choose(&r, 20000, INT64_MAX, INT64_MIN, NULL).how, BLOCK_NEW);
}

/* One row of 2.3 each. */
static void going_on(void **state)
{
	static const struct {
		const char *what;
		struct manifest_file prior;
		uint64_t size;
		enum block_how on, off;
		uint32_t on_size, on_sum, off_size; /* in units of 8192; bytes */
	} table[] = {
		{ "map, larger", { .size = MIB(1), .block_size = 24576, .block_sum_size = 9,
			.block_map_size = 99 }, MIB(200), BLOCK_CONTINUE, BLOCK_WHOLE, 3, 9, 3 },
		{ "map, equal", { .size = MIB(1), .block_size = 24576, .block_sum_size = 9,
			.block_map_size = 99 }, MIB(1), BLOCK_CONTINUE, BLOCK_WHOLE, 3, 9, 3 },
		{ "map, one block", { .size = MIB(1), .block_size = 24576, .block_sum_size = 9,
			.block_map_size = 99 }, 24576, BLOCK_CONTINUE, BLOCK_WHOLE, 3, 9, 3 },
		{ "map, less than a block", { .size = MIB(1), .block_size = 24576, .block_sum_size = 9,
			.block_map_size = 99 }, 24575, BLOCK_NEW, BLOCK_WHOLE, 1, 6, 0 },
		{ "map, too short for any", { .size = MIB(1), .block_size = 24576, .block_sum_size = 9,
			.block_map_size = 99 }, 8192, BLOCK_WHOLE, BLOCK_WHOLE, 0, 0, 0 },
		{ "map of one block larger than the file", { .size = 20000, .block_size = 32768,
			.block_sum_size = 7, .block_map_size = 20 }, 20000, BLOCK_NEW, BLOCK_WHOLE, 1, 6, 0 },
		{ "map, now empty", { .size = MIB(1), .block_size = 24576, .block_sum_size = 9,
			.block_map_size = 99 }, 0, BLOCK_WHOLE, BLOCK_WHOLE, 0, 0, 0 },
		{ "a map of nothing, as old releases left", { .size = 0, .block_size = 24576,
			.block_sum_size = 9, .block_map_size = 1 }, MIB(1), BLOCK_NEW, BLOCK_WHOLE, 1, 6, 0 },
		{ "whole, other size", { .size = MIB(1) - 1 }, MIB(1), BLOCK_NEW, BLOCK_WHOLE, 1, 6, 0 },
		{ "whole, same size", { .size = MIB(1) }, MIB(1), BLOCK_WHOLE, BLOCK_WHOLE, 0, 0, 0 },
		{ "bi alone, other size", { .size = MIB(2), .block_size = 32768, .block_sum_size = 7 },
			MIB(1), BLOCK_NEW, BLOCK_WHOLE, 1, 6, 0 },
		{ "bi alone, same size", { .size = MIB(1), .block_size = 32768, .block_sum_size = 7 },
			MIB(1), BLOCK_NEW, BLOCK_WHOLE, 4, 7, 4 },
		{ "empty before", { .size = 0 }, MIB(1), BLOCK_NEW, BLOCK_WHOLE, 1, 6, 0 },
	};
	SCOPED_ARENA(a);
	struct block_rules r;

	block_rules_init(&r, a);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct block_choice on = block_choose(&r, table[i].size, START, START, &table[i].prior);
		struct block_choice off = block_choose(NULL, table[i].size, START, START, &table[i].prior);

		if (on.how != table[i].on || off.how != table[i].off)
			fail_msg("%s", table[i].what);
		assert_int_equal(on.how, table[i].on);
		assert_int_equal(on.block_size, table[i].on_size * 8192);
		assert_int_equal(on.sum_size, table[i].on_sum);
		assert_int_equal(off.how, table[i].off);
		assert_int_equal(off.block_size, table[i].off_size * 8192);
	}
}

/* What the tables say now does not matter to a map that is gone on with: not even the age. */
static void a_map_outlives_the_tables(void **state)
{
	SCOPED_ARENA(a);
	struct block_rules r;
	const struct manifest_file prior = { .size = MIB(1), .block_size = 8192, .block_sum_size = 6,
		.block_map_size = 99 };

	block_rules_init(&r, a);
	struct block_choice c = block_choose(&r, MIB(1), START - 1000 * DAY, START, &prior);
	assert_int_equal(c.how, BLOCK_CONTINUE);
	assert_int_equal(c.block_size, 8192);
}

static void super_blocks(void **state)
{
	assert_int_equal(block_super_size(8192, MIB(1)), MIB(1));
	assert_int_equal(block_super_size(24576, MIB(1)), 1056768);
	assert_int_equal(block_super_size(352 * 1024, MIB(1)), 1081344);
	assert_int_equal(block_super_size(8192, 1), 8192);
	assert_int_equal(block_super_size(8192, 0), 8192);
	assert_int_equal(block_super_size(MIB(64), MIB(1)), MIB(64));
	assert_int_equal(block_super_size(8192, UINT64_MAX), BLOCK_SIZE_MAX);
	assert_int_equal(block_super_size(BLOCK_SIZE_MAX, MIB(16)), BLOCK_SIZE_MAX);
}

static int set(struct arena *a, struct block_rules *r, enum block_table t, const char *const *pairs)
{
	strvec keys, values;

	vec_init(&keys, a);
	vec_init(&values, a);
	for (; *pairs != NULL; pairs += 2) {
		vec_push(&keys, pairs[0]);
		vec_push(&values, pairs[1]);
	}
	return block_rules_set(r, t, "repo1-block-x", &keys, &values);
}

static void tables_of_the_user(void **state)
{
	SCOPED_ARENA(a);
	struct block_rules r;

	block_rules_init(&r, a);
	assert_int_equal(set(a, &r, BLOCK_TABLE_SIZE, (const char *[]){ NULL }), 0);
	assert_int_equal(fresh(&r, MIB(96), 0).block_size, 32768); /* nothing said: as it was */

	assert_int_equal(set(a, &r, BLOCK_TABLE_SIZE, (const char *[]){ "1KiB", "12KiB", "1m", "65536",
		"32768", "16kb", NULL }), 0);
	assert_int_equal(fresh(&r, 1023, 0).how, BLOCK_WHOLE);
	assert_int_equal(fresh(&r, 1024, 0).block_size, 8192); /* rounded down */
	assert_int_equal(fresh(&r, 32767, 0).block_size, 8192);
	assert_int_equal(fresh(&r, 32768, 0).block_size, 16384);
	assert_int_equal(fresh(&r, MIB(1000), 0).block_size, 65536);

	assert_int_equal(set(a, &r, BLOCK_TABLE_AGE, (const char *[]){ "1", "3", "100000000000000000", "0",
		NULL }), 0);
	assert_int_equal(fresh(&r, 1024, DAY - 1).block_size, 8192);
	assert_int_equal(fresh(&r, 1024, 1000 * DAY).block_size, 24576);

	assert_int_equal(set(a, &r, BLOCK_TABLE_SUM, (const char *[]){ "8KiB", "16", "64KiB", "6", NULL }), 0);
	assert_int_equal(fresh(&r, 1024, 0).sum_size, 16);
	assert_int_equal(fresh(&r, MIB(1), 0).sum_size, 6);

	/* a product beyond all block sizes */
	assert_int_equal(set(a, &r, BLOCK_TABLE_SIZE, (const char *[]){ "0", "4194296KiB", NULL }), 0);
	assert_int_equal(set(a, &r, BLOCK_TABLE_AGE, (const char *[]){ "0", "4294967295", NULL }), 0);
	assert_int_equal(fresh(&r, 1, 0).block_size, BLOCK_SIZE_MAX);
	assert_int_equal(fresh(&r, 0, 0).how, BLOCK_WHOLE);
}

static void hostile_tables(void **state)
{
	static const struct {
		enum block_table t;
		const char *pairs[5];
	} table[] = {
		{ BLOCK_TABLE_SIZE, { "16KiB", "4KiB" } }, { BLOCK_TABLE_SIZE, { "16KiB", "0" } },
		{ BLOCK_TABLE_SIZE, { "16KiB", "4GiB" } }, { BLOCK_TABLE_SIZE, { "16KiB", "9999PiB" } },
		{ BLOCK_TABLE_SIZE, { "16KiB", "" } }, { BLOCK_TABLE_SIZE, { "", "8KiB" } },
		{ BLOCK_TABLE_SIZE, { "-1", "8KiB" } }, { BLOCK_TABLE_SIZE, { "16KiB", "-8KiB" } },
		{ BLOCK_TABLE_SIZE, { "16 KiB", "8KiB" } }, { BLOCK_TABLE_SIZE, { "0x10", "8KiB" } },
		{ BLOCK_TABLE_SIZE, { "16KiB", "8KiB", "16384", "16KiB" } },
		{ BLOCK_TABLE_AGE, { "7d", "2" } }, { BLOCK_TABLE_AGE, { "7", "-2" } },
		{ BLOCK_TABLE_AGE, { "7", "1.5" } }, { BLOCK_TABLE_AGE, { "7", "4294967296" } },
		{ BLOCK_TABLE_AGE, { "7", "2", "07", "3" } },
		{ BLOCK_TABLE_AGE, { "99999999999999999999", "2" } },
		{ BLOCK_TABLE_SUM, { "32KiB", "5" } }, { BLOCK_TABLE_SUM, { "32KiB", "17" } },
		{ BLOCK_TABLE_SUM, { "32KiB", "0" } }, { BLOCK_TABLE_SUM, { "32KiB", "6b" } },
		{ BLOCK_TABLE_SUM, { "x", "6" } },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		SCOPED_ARENA(a);
		struct block_rules r;

		block_rules_init(&r, a);
		assert_int_equal(set(a, &r, table[i].t, table[i].pairs), -1);
		assert_int_equal(err_code(), ERR_OPTION_VALUE);
		assert_non_null(strstr(err_msg(), "repo1-block-x"));
		err_clear();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(thresholds),
		cmocka_unit_test(going_on),
		cmocka_unit_test(a_map_outlives_the_tables),
		cmocka_unit_test(super_blocks),
		cmocka_unit_test(tables_of_the_user),
		cmocka_unit_test(hostile_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
