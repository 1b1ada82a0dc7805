/*
 * serve_policy: a table of paths, and what each role may do with them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "base/path.h"
#include "cmd/serve_policy.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define SEG "0000000100000000000000A1"
#define FOLDER "0000000100000000"
#define SUM "-0123456789abcdef0123456789abcdef01234567"
#define ID "archive/demo/18-1/"
#define WAL ID FOLDER "/"
#define NOTE ID "pgstrata/gap/"

/*
 * What the roles archive and restore may do with a path of the repository, for the stanza demo: r read (and stat and
 * list), w put, s sync; d reading is denied; what is not named is not there (reading) or denied (putting).
 */
struct path_case {
	const char *path, *archive, *restore;
};

static const struct path_case paths[] = {
	{"", "r", "r"},
	{"archive", "r", "r"},
	{"backup", "d", "r"},
	{"archive.info", "", ""},
	{"backup.info", "", ""},
	{"lost+found", "", ""},
	{"archivex", "", ""},
	{"Archive", "", ""},
	{"archive/demo", "rs", "r"},
	{"archive/Demo", "", ""},
	{"archive/dem", "", ""},
	{"archive/demo2", "", ""},
	{"archive/other", "", ""},
	{"archive/other/archive.info", "", ""},
	{"archive/other/archive.info.copy", "", ""},
	{"archive/other/18-1", "", ""},
	{"archive/other/18-1/" FOLDER, "", ""},
	{"archive/other/18-1/" FOLDER "/" SEG SUM ".gz", "", ""},
	{"archive/other/18-1/00000002.history", "", ""},
	{"archive/demo/archive.info", "r", "r"},
	{"archive/demo/archive.info.copy", "r", "r"},
	{"archive/demo/archive.info.copy.copy", "", "r"},
	{"archive/demo/archive.info2", "", "r"},
	{"archive/demo/archive.infos/x", "", "r"},
	{"archive/demo/archive.info/x", "", "r"},
	{"archive/demo/backup.info", "", "r"},
	{"archive/demo/.ssh", "", "r"},
	{"archive/demo/18", "", "r"},
	{"archive/demo/18-", "", "r"},
	{"archive/demo/18-0", "", "r"},
	{"archive/demo/-1", "", "r"},
	{"archive/demo/x-1", "", "r"},
	{"archive/demo/18-1", "rs", "r"},
	{"archive/demo/9.6-12", "rs", "r"},
	{"archive/demo/18-2", "rs", "r"},
	{"archive/demo/18-4294967296", "", "r"},
	{ID FOLDER, "rs", "r"},
	{ID "000000010000000A", "rs", "r"},
	{ID "000000010000000a", "r", "r"},
	{ID "00000001", "r", "r"},
	{ID "000000010000000012", "r", "r"},
	{ID "pgstrata", "rs", "r"},
	{ID "pgstrata2", "r", "r"},
	{ID "pgstrata/gap", "rs", "r"},
	{ID "pgstrata/gaps", "r", "r"},
	{ID "gap", "r", "r"},
	{ID FOLDER "/gap", "r", "r"},
	/* WAL: first names without a checksum, under which a put begins */
	{WAL SEG, "rw", "r"},
	{WAL SEG ".partial", "rw", "r"},
	{WAL SEG SUM, "rw", "r"},
	{WAL SEG SUM ".gz", "rw", "r"},
	{WAL SEG SUM ".lz4", "rw", "r"},
	{WAL SEG SUM ".zst", "rw", "r"},
	{WAL SEG SUM ".bz2", "rw", "r"},
	{WAL SEG ".partial" SUM, "rw", "r"},
	{WAL SEG ".partial" SUM ".zst", "rw", "r"},
	{WAL SEG ".00000028.backup", "rw", "r"},
	{"archive/demo/9.6-12/" FOLDER "/" SEG SUM ".gz", "rw", "r"},
	{WAL SEG SUM ".xz", "r", "r"},
	{WAL SEG SUM ".gz.gz", "r", "r"},
	{WAL SEG SUM ".gz ", "r", "r"},
	{WAL SEG SUM ".GZ", "r", "r"},
	{WAL SEG SUM ".pgbackrest.tmp", "r", "r"},
	{WAL SEG SUM "0", "r", "r"},
	{WAL SEG "-0123456789abcdef0123456789abcdef0123456", "r", "r"},
	{WAL SEG "-g123456789abcdef0123456789abcdef01234567", "r", "r"},
	{WAL SEG "_0123456789abcdef0123456789abcdef01234567", "r", "r"},
	{WAL SEG ".partial.partial", "r", "r"},
	{WAL SEG ".PARTIAL", "r", "r"},
	{WAL SEG ".partial.zst", "r", "r"},
	{WAL SEG ".0000028.backup", "r", "r"},
	{WAL SEG ".00000028.backup.gz", "r", "r"},
	{WAL SEG ".00000028.Backup", "r", "r"},
	{WAL "0000000100000000000000a1" SUM, "r", "r"},
	{WAL "0000000100000000000000A" SUM, "r", "r"},
	{WAL "0000000100000001000000A1" SUM ".gz", "r", "r"},
	{WAL "0000000200000000000000A1" SUM ".gz", "r", "r"},
	{WAL "0000000100000001000000A1", "r", "r"},
	{WAL "0000000100000001000000A1.00000028.backup", "r", "r"},
	{WAL "00000002.history", "r", "r"},
	{WAL "x", "r", "r"},
	{WAL "-" SUM, "r", "r"},
	{WAL SEG SUM ".gz/x", "r", "r"},
	{ID "0000000100000000A/" SEG SUM, "r", "r"},
	{ID SEG SUM ".gz", "r", "r"},
	{ID SEG, "r", "r"},
	{ID "00000002.history", "rw", "r"},
	{ID "0000000A.history", "rw", "r"},
	{ID "0000000a.history", "r", "r"},
	{ID "0000002.history", "r", "r"},
	{ID "00000002.history.gz", "r", "r"},
	{ID "00000002.history.pgbackrest.tmp", "r", "r"},
	{ID "00000002.histor", "r", "r"},
	{"archive/demo/00000002.history", "", "r"},
	{"archive/demo/18/" FOLDER "/" SEG SUM ".gz", "", "r"},
	{"archive/demo/18-1x/" FOLDER "/" SEG SUM ".gz", "", "r"},
	{NOTE "20261120T210012Z-1f2e3d4c.json", "rw", "r"},
	{NOTE "20261120T210012Z-1f2e3d4c", "r", "r"},
	{NOTE "20261120T210012Z-1f2e3d4c.json.json", "r", "r"},
	{NOTE "20261320T210012Z-1f2e3d4c.json", "r", "r"},
	{NOTE "20261120T210012Z-1F2E3D4C.json", "r", "r"},
	{NOTE "x.json", "r", "r"},
	{NOTE "x/20261120T210012Z-1f2e3d4c.json", "r", "r"},
	{ID "pgstrata/20261120T210012Z-1f2e3d4c.json", "r", "r"},
	{ID "gap/gap/20261120T210012Z-1f2e3d4c.json", "r", "r"},
	{ID "pgstrata/hole/20261120T210012Z-1f2e3d4c.json", "r", "r"},
	{WAL "20261120T210012Z-1f2e3d4c.json", "r", "r"},
	{"backup/demo", "d", "r"},
	{"backup/demo/backup.info", "d", "r"},
	{"backup/demo/backup.info.copy", "d", "r"},
	{"backup/demo/latest", "d", "r"},
	{"backup/demo/20261120-210012F", "d", "r"},
	{"backup/demo/20261120-210012F/backup.manifest", "d", "r"},
	{"backup/demo/20261120-210012F/pg_data/base/1/1255.zst", "d", "r"},
	{"backup/demo/20261120-210012F/bundle/1", "d", "r"},
	{"backup/demo/backup.history/2026/20261120-210012F.manifest.gz", "d", "r"},
	{"backup/demo/18-1/" FOLDER "/" SEG SUM ".gz", "d", "r"},
	{"backup/other", "", ""},
	{"backup/other/backup.info", "", ""},
	{"backup/other/20261120-210012F/backup.manifest", "", ""},
	{"backup/demo2/backup.info", "", ""},
	{"demo", "", ""},
	{"demo/archive", "", ""},
	{"demo/archive/archive.info", "", ""},
	{"other/demo/18-1/" FOLDER "/" SEG SUM ".gz", "", ""},
	{"etc/passwd", "", ""},
};

static enum serve_leave wanted(const char *rights, enum serve_act act)
{
	if (act == SERVE_PUT)
		return strchr(rights, 'w') ? SERVE_ALLOWED : SERVE_DENIED;
	if (act == SERVE_SYNC)
		return strchr(rights, 's') ? SERVE_ALLOWED : SERVE_DENIED;
	return strchr(rights, 'r') ? SERVE_ALLOWED : strchr(rights, 'd') ? SERVE_DENIED : SERVE_HIDDEN;
}

static const enum serve_act acts[] = {SERVE_READ, SERVE_LIST, SERVE_STAT, SERVE_PUT, SERVE_SYNC};

static void check(const struct serve_policy *p, const char *path, const char *rights)
{
	for (size_t i = 0; i < COUNT(acts); i++) {
		enum serve_leave is = serve_policy_repo(p, acts[i], path);

		if (is != wanted(rights, acts[i]))
			print_message("# '%s', roles %u, act %d\n", path, p->roles, (int)acts[i]);
		assert_int_equal(is, wanted(rights, acts[i]));
	}
}

static void test_one_stanza(void **state)
{
	const struct serve_policy archive = {"demo", REMOTE_ROLE_ARCHIVE}, restore = {"demo", REMOTE_ROLE_RESTORE};

	assert_true(COUNT(paths) >= 100);
	for (size_t i = 0; i < COUNT(paths); i++) {
		assert_true(*paths[i].path == '\0' || path_is_safe(paths[i].path));
		check(&archive, paths[i].path, paths[i].archive);
		check(&restore, paths[i].path, paths[i].restore);
	}
}

/* Both roles together are what each of them is, and nothing more. */
static void test_both_roles(void **state)
{
	const struct serve_policy both = {"demo", REMOTE_ROLE_ARCHIVE | REMOTE_ROLE_RESTORE};

	for (size_t i = 0; i < COUNT(paths); i++) {
		char rights[8];

		snprintf(rights, sizeof(rights), "%s%s", paths[i].archive, paths[i].restore);
		check(&both, paths[i].path, rights);
	}
}

static void test_no_role(void **state)
{
	const struct serve_policy backup = {"demo", REMOTE_ROLE_BACKUP}, none = {"demo", 0};

	for (size_t i = 0; i < COUNT(paths); i++)
		for (size_t k = 0; k < COUNT(acts); k++) {
			assert_int_equal(serve_policy_repo(&backup, acts[k], paths[i].path), SERVE_DENIED);
			assert_int_equal(serve_policy_repo(&none, acts[k], paths[i].path), SERVE_DENIED);
		}
}

/* Without a stanza each one is as "demo" was; nothing else changes. */
static void test_all_stanzas(void **state)
{
	const struct serve_policy archive = {NULL, REMOTE_ROLE_ARCHIVE}, restore = {NULL, REMOTE_ROLE_RESTORE};
	static const struct path_case cases[] = {
		{"archive/other", "rs", "r"},
		{"archive/other/archive.info", "r", "r"},
		{"archive/other/18-1/" FOLDER "/" SEG SUM ".gz", "rw", "r"},
		{"archive/other/x", "", "r"},
		{"backup/other", "d", "r"},
		{"backup/other/backup.info.copy", "d", "r"},
		{"other/backup.info", "", ""},
		{"etc/passwd", "", ""},
		{"archive", "r", "r"},
		{"", "r", "r"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		check(&archive, cases[i].path, cases[i].archive);
		check(&restore, cases[i].path, cases[i].restore);
	}
}

static void test_cluster(void **state)
{
	const struct serve_policy backup = {"demo", REMOTE_ROLE_BACKUP};
	const struct serve_policy others = {"demo", REMOTE_ROLE_ARCHIVE | REMOTE_ROLE_RESTORE};

	for (size_t i = 0; i < COUNT(acts); i++) {
		bool reads = acts[i] != SERVE_PUT && acts[i] != SERVE_SYNC;

		assert_int_equal(serve_policy_cluster(&backup, acts[i]), reads ? SERVE_ALLOWED : SERVE_DENIED);
		assert_int_equal(serve_policy_cluster(&others, acts[i]), SERVE_DENIED);
	}
}

static void test_names(void **state)
{
	static const char *const infos[] = {"archive/demo/archive.info", "archive/demo/archive.info.copy",
		"backup/x/backup.info", "backup/x/backup.info.copy"};
	static const char *const others[] = {"", "archive", "archive/demo", "archive/demo/backup.info",
		"backup/x/archive.info", "backup/x/backup.info.old", "backup/x/y/backup.info", "archive.info",
		"backup/x/20261120-210012F/backup.manifest", WAL SEG SUM};

	for (size_t i = 0; i < COUNT(infos); i++)
		assert_true(serve_policy_is_info(infos[i]));
	for (size_t i = 0; i < COUNT(others); i++)
		assert_false(serve_policy_is_info(others[i]));
	assert_false(serve_policy_is_whole(WAL SEG));
	assert_false(serve_policy_is_whole(WAL SEG ".partial"));
	assert_true(serve_policy_is_whole(WAL SEG SUM));
	assert_true(serve_policy_is_whole(WAL SEG ".partial" SUM ".gz"));
	assert_true(serve_policy_is_whole(WAL SEG ".00000028.backup"));
	assert_true(serve_policy_is_whole(ID "00000002.history"));
	assert_true(serve_policy_is_whole(NOTE "20261120T210012Z-1f2e3d4c.json"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_stanza),
		cmocka_unit_test(test_both_roles),
		cmocka_unit_test(test_no_role),
		cmocka_unit_test(test_all_stanzas),
		cmocka_unit_test(test_cluster),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
