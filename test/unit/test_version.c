/*
 * version: every release is found by all its names, nothing else is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "pg/version.h"

#define START_OLD "pg_start_backup("
#define STOP_OLD "pg_stop_backup(false, false)"
#define START_NEW "pg_backup_start("
#define STOP_NEW "pg_backup_stop(false)"

static const struct fact {
	unsigned num;
	const char *name;
	uint32_t control, catalog;
	uint16_t magic;
	const char *wal_dir, *xact_dir, *start, *stop;
} facts[] = {
	{90600, "9.6", 960, 201608131, 0xD093, "pg_xlog", "pg_clog", START_OLD,
		"pg_stop_backup(false)"},
	{100000, "10", 1002, 201707211, 0xD097, "pg_wal", "pg_xact", START_OLD, STOP_OLD},
	{110000, "11", 1100, 201809051, 0xD098, "pg_wal", "pg_xact", START_OLD, STOP_OLD},
	{120000, "12", 1201, 201909212, 0xD101, "pg_wal", "pg_xact", START_OLD, STOP_OLD},
	{130000, "13", 1300, 202007201, 0xD106, "pg_wal", "pg_xact", START_OLD, STOP_OLD},
	{140000, "14", 1300, 202107181, 0xD10D, "pg_wal", "pg_xact", START_OLD, STOP_OLD},
	{150000, "15", 1300, 202209061, 0xD110, "pg_wal", "pg_xact", START_NEW, STOP_NEW},
	{160000, "16", 1300, 202307071, 0xD113, "pg_wal", "pg_xact", START_NEW, STOP_NEW},
	{170000, "17", 1700, 202406281, 0xD116, "pg_wal", "pg_xact", START_NEW, STOP_NEW},
	{180000, "18", 1800, 202506291, 0xD118, "pg_wal", "pg_xact", START_NEW, STOP_NEW},
	{190000, "19", 1905, 202605131, 0xD122, "pg_wal", "pg_xact", START_NEW, STOP_NEW},
};

enum { FACTS = sizeof(facts) / sizeof(facts[0]) };

static void table_holds_every_release_in_order(void **state)
{
	for (unsigned i = 0; i < FACTS; i++) {
		const struct pg_version *v = pg_version_at(i);

		assert_non_null(v);
		assert_int_equal(v->num, facts[i].num);
		assert_string_equal(v->wal_dir, facts[i].wal_dir);
		assert_string_equal(v->xact_dir, facts[i].xact_dir);
		assert_int_equal(strncmp(v->sql_start, facts[i].start, strlen(facts[i].start)), 0);
		assert_string_equal(v->sql_stop, facts[i].stop);
		assert_int_equal(v->recovery_signal, v->num >= 120000);
		assert_int_equal(v->backup_manifest, v->num >= 130000);
		assert_string_equal(v->sql_wal_file,
			v->num < 100000 ? "pg_xlogfile_name" : "pg_walfile_name");
	}
	assert_null(pg_version_at(FACTS));
	assert_null(pg_version_at(UINT32_MAX));
}

static void each_release_is_found_by_all_its_names(void **state)
{
	for (unsigned i = 0; i < FACTS; i++) {
		const struct pg_version *v = pg_version_at(i);

		assert_ptr_equal(pg_version_by_name(facts[i].name), v);
		assert_ptr_equal(pg_version_by_control(facts[i].control, facts[i].catalog), v);
		assert_ptr_equal(pg_version_by_magic(facts[i].magic), v);
		assert_ptr_equal(pg_version_by_number(facts[i].num), v);
	}
}

static void server_number_is_cut_to_its_release(void **state)
{
	assert_string_equal(pg_version_by_number(90624)->name, "9.6");
	assert_string_equal(pg_version_by_number(90699)->name, "9.6");
	assert_string_equal(pg_version_by_number(100023)->name, "10");
	assert_string_equal(pg_version_by_number(109999)->name, "10");
	assert_string_equal(pg_version_by_number(150020)->name, "15");
	assert_string_equal(pg_version_by_number(190000)->name, "19");
	const unsigned unknown[] = {0, 1, 90599, 90700, 99999, 200000, UINT32_MAX};

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_null(pg_version_by_number(unknown[i]));
}

static void unknown_names_are_refused(void **state)
{
	const char *const unknown[] = {
		"", "9", "9.5", "9.6.1", "15.1", "015", " 15", "15 ", "20", "1"};

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		assert_null(pg_version_by_name(unknown[i]));
	assert_null(pg_version_by_magic(0));
	assert_null(pg_version_by_magic(0xD087)); /* 9.5 */
	assert_null(pg_version_by_magic(0x10D1)); /* 15 in the other byte order */
	assert_null(pg_version_by_magic(0xD111));
}

static void control_and_catalog_version_must_both_fit(void **state)
{
	assert_null(pg_version_by_control(0, 0));
	assert_null(pg_version_by_control(942, 201510051)); /* 9.5 */
	assert_null(pg_version_by_control(1300, 202209062));
	assert_null(pg_version_by_control(1300, 202209060));
	assert_null(pg_version_by_control(1201, 202209061));
	assert_null(pg_version_by_control(1300, 202506291));
}

static void beta_takes_later_catalogs_of_its_year(void **state)
{
	const struct pg_version *v19 = pg_version_by_name("19");

	assert_ptr_equal(pg_version_by_control(1905, 202605131), v19);
	assert_ptr_equal(pg_version_by_control(1905, 202605132), v19);
	assert_ptr_equal(pg_version_by_control(1905, 202699999), v19);
	assert_null(pg_version_by_control(1905, 202605130));
	assert_null(pg_version_by_control(1905, 202700000));
	assert_null(pg_version_by_control(1800, 202605131));
	/* released: one catalog version only */
	assert_null(pg_version_by_control(1800, 202506292));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_holds_every_release_in_order),
		cmocka_unit_test(each_release_is_found_by_all_its_names),
		cmocka_unit_test(server_number_is_cut_to_its_release),
		cmocka_unit_test(unknown_names_are_refused),
		cmocka_unit_test(control_and_catalog_version_must_both_fit),
		cmocka_unit_test(beta_takes_later_catalogs_of_its_year),
	};

	return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
