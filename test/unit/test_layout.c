/* layout: paths and labels of format/repository.md 1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/str.h"
#include "repo/layout.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void paths_are_those_of_the_format(void **state)
{
	SCOPED_ARENA(a);
	const char *incr = "20261120-112352F_20261120-112453I";

	assert_string_equal(layout_archive_root(a, "demo"), "archive/demo");
	assert_string_equal(layout_backup_root(a, "demo"), "backup/demo");
	assert_string_equal(layout_archive_info(a, "demo"), "archive/demo/archive.info");
	assert_string_equal(layout_backup_info(a, "demo"), "backup/demo/backup.info");
	assert_string_equal(layout_copy(a, "x/backup.info"), "x/backup.info.copy");
	assert_string_equal(layout_archive_id(a, "9.6", 2), "9.6-2");
	assert_string_equal(layout_archive_id(a, "18", 4294967295u), "18-4294967295");
	assert_string_equal(layout_backup_dir(a, "demo", incr),
		"backup/demo/20261120-112352F_20261120-112453I");
	assert_string_equal(layout_manifest(a, "d", "20261120-112352F"),
		"backup/d/20261120-112352F/backup.manifest");
	/* the year of the full backup */
	assert_string_equal(layout_history_manifest(a, "d", "20261231-235959F_20270101-000000I"),
		"backup/d/backup.history/2026/20261231-235959F_20270101-000000I.manifest.gz");
	assert_string_equal(
		layout_backup_file(a, "d", "20261120-112352F", "pg_data/base/1/1255", ".gz"),
		"backup/d/20261120-112352F/pg_data/base/1/1255.gz");
	assert_string_equal(layout_bundle(a, "d", "20261120-112352F", 12),
		"backup/d/20261120-112352F/bundle/12");
	assert_string_equal(layout_latest(a, "d"), "backup/d/latest");
	assert_true(str_starts(repo_program, "pgStrata "));
}

static void archive_files_lie_by_their_kind(void **state)
{
	static const struct {
		const char *name, *dir;
	} cases[] = {
		{"000000010000000000000012", "archive/d/18-1/0000000100000000"},
		{"00000001000000AB00000012", "archive/d/18-1/00000001000000AB"},
		{"000000010000000000000055.partial", "archive/d/18-1/0000000100000000"},
		{"000000010000000000000012.00000028.backup", "archive/d/18-1/0000000100000000"},
		{"00000002.history", "archive/d/18-1"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);

		assert_string_equal(layout_wal_dir(a, "d", "18-1", cases[i].name), cases[i].dir);
	}
}

static void archive_ids_are_told_from_other_names(void **state)
{
	static const struct {
		const char *name;
		uint32_t id; /* 0: refused */
	} cases[] = {
		{"18-1", 1},
		{"9.6-12", 12},
		{"18-4294967295", 4294967295u},
		{"18-4294967296", 0},
		{"18-0", 0},
		{"18-", 0},
		{"-1", 0},
		{"18", 0},
		{"", 0},
		{"18-1x", 0},
		{"18-+1", 0},
		{"x-1", 0},
		{"18-1-1", 0},
		{"..-1", 0},
		{".6-1", 0},
		{"9.-1", 0},
		{"9.6.1-1", 0},
		{"../18-1", 0},
		{"11111111111111111111-1", 0},
		{"pgstrata", 0},
		{"archive.info", 0},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		uint32_t id = 0;

		if (layout_archive_id_parse(cases[i].name, &id) != (cases[i].id != 0) ||
			id != cases[i].id)
			fail_msg("%s: %u", cases[i].name, id);
	}
}

static void versions_are_digits(void **state)
{
	static const char *const good[] = {"9.6", "10", "18", "9.10"};
	static const char *const bad[] = {
		"", ".", "9.", ".6", "9..6", "9.6.1", "18 ", "18/", "..", "a", "-1", "12345"};

	for (size_t i = 0; i < COUNT(good); i++)
		assert_true(layout_version_ok(good[i]));
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_false(layout_version_ok(bad[i]));
}

static void labels_are_told_from_other_names(void **state)
{
	static const char *const good[] = {
		"20261120-112352F",
		"20261120-112352F_20261120-112450D",
		"20261120-112352F_20261120-112453I",
		"00000000-000000F",
		"99999999-999999F_00000000-000000I",
	};
	static const char *const bad[] = {
		"",
		"F",
		"20261120-112352",
		"20261120-112352f",
		"20261120-112352D",
		"20261120-112352I",
		"20261120_112352F",
		"2026112-0112352F",
		"20261120-11235F",
		"20261120-112352F_",
		"20261120-112352FF",
		"20261120-112352F_20261120-112450",
		"20261120-112352F_20261120-112450F",
		"20261120-112352F_20261120-112450d",
		"20261120-112352F-20261120-112450D",
		"20261120-112352F_20261120-112450DD",
		"20261120-112352F_2026112x-112450D",
		"20261120-112352F_20261120-112450D_20261120-112450I",
		" 20261120-112352F",
		"20261120-112352F ",
		"20261120-112352F\n",
		"latest",
		"backup.history",
		"../0261120-112352F",
		"2026112\xb9-112352F",
	};

	for (size_t i = 0; i < COUNT(good); i++)
		if (!label_is_valid(good[i]))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < COUNT(bad); i++)
		if (label_is_valid(bad[i]))
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(label_type(good[0]), BACKUP_FULL);
	assert_int_equal(label_type(good[1]), BACKUP_DIFF);
	assert_int_equal(label_type(good[2]), BACKUP_INCR);
}

static void types_have_names(void **state)
{
	enum backup_type t = BACKUP_FULL;

	for (enum backup_type i = BACKUP_FULL; i <= BACKUP_INCR; i++)
		assert_true(backup_type_parse(backup_type_name(i), &t) && t == i);
	assert_string_equal(backup_type_name(BACKUP_INCR), "incr");
	assert_false(backup_type_parse("Full", &t));
	assert_false(backup_type_parse("", &t));
}

static void zone(const char *tz)
{
	setenv("TZ", tz, 1);
	tzset();
}

static void labels_are_local_time(void **state)
{
	SCOPED_ARENA(a);
	const char *base = "20261120-112352F_20261120-112450D";

	zone("UTC0");
	assert_string_equal(label_format(a, BACKUP_FULL, 1795175794, NULL), "20261120-115634F");
	assert_string_equal(label_format(a, BACKUP_FULL, 0, NULL), "19700101-000000F");
	assert_string_equal(label_format(a, BACKUP_DIFF, 1795175795, "20261120-115634F"),
		"20261120-115634F_20261120-115635D");
	/* the full backup's part, whatever it is based on */
	assert_string_equal(label_format(a, BACKUP_INCR, 1795175795, base),
		"20261120-112352F_20261120-115635I");
	assert_true(label_is_valid(label_format(a, BACKUP_INCR, 1795175795, base)));
	assert_false(label_is_valid(label_format(a, BACKUP_FULL, INT64_C(253402300800), NULL)));
	zone("IST-5:30");
	assert_string_equal(label_format(a, BACKUP_FULL, 1795175794, NULL), "20261120-172634F");
	zone("UTC0");
}

static void stanza_names(void **state)
{
	char longest[202];

	memset(longest, 'x', sizeof(longest));
	longest[200] = '\0';
	assert_true(stanza_name_ok(longest));
	longest[200] = 'x';
	longest[201] = '\0';
	assert_false(stanza_name_ok(longest));
	assert_true(stanza_name_ok("demo"));
	assert_true(stanza_name_ok("Main DB #1"));
	assert_true(stanza_name_ok("..."));
	assert_false(stanza_name_ok(""));
	assert_false(stanza_name_ok("."));
	assert_false(stanza_name_ok(".."));
	assert_false(stanza_name_ok("a/b"));
	assert_false(stanza_name_ok("a\nb"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_are_those_of_the_format),
		cmocka_unit_test(archive_files_lie_by_their_kind),
		cmocka_unit_test(archive_ids_are_told_from_other_names),
		cmocka_unit_test(versions_are_digits),
		cmocka_unit_test(labels_are_told_from_other_names),
		cmocka_unit_test(types_have_names),
		cmocka_unit_test(labels_are_local_time),
		cmocka_unit_test(stanza_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
