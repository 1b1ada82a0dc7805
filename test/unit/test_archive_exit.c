/*
 * archive_exit: what PostgreSQL sees of archive-get (lessons P2).
 */
#include "wal_fixture.h"

#include <stdio.h>
#include <sys/stat.h>
#include "cmd/cmd.h"

struct place {
	const char *files[5];	   /* empty files */
	const char *recovery_conf; /* content, NULL: none */
};

static void furnish(struct arena *a, const char *dir, const struct place *p)
{
	for (size_t i = 0; p->files[i] != NULL; i++) {
		const char *path = path_join(a, dir, p->files[i]);
		assert_int_equal(dir_make(path_parent(a, path), 0700), 0);
		assert_int_equal(file_replace(path, "", 0, 0600), 0);
	}
	if (p->recovery_conf != NULL)
		assert_int_equal(file_replace(path_join(a, dir, "recovery.conf"), p->recovery_conf,
					 strlen(p->recovery_conf), 0600),
			0);
}

#define DATA "PG_VERSION", "global/pg_control"

/* The exit for a failure 29, from what stands in the working directory and in pg1-path. */
static void places(void **state)
{
	static const struct {
		const char *what;
		struct place cwd, pg;
		int exit;
	} cases[] = {
		{"nothing anywhere", {{NULL}, NULL}, {{NULL}, NULL}, 29},
		{"running primary", {{DATA}, NULL}, {{NULL}, NULL}, 29},
		{"recovery", {{DATA, "recovery.signal"}, NULL}, {{NULL}, NULL}, 200},
		{"standby", {{DATA, "standby.signal"}, NULL}, {{NULL}, NULL}, 1},
		{"both: standby rules", {{DATA, "recovery.signal", "standby.signal"}, NULL},
			{{NULL}, NULL}, 1},
		{"signal alone", {{"recovery.signal"}, NULL}, {{DATA, "standby.signal"}, NULL},
			200},
		{"pg1-path in recovery", {{NULL}, NULL}, {{DATA, "recovery.signal"}, NULL}, 200},
		{"pg1-path standby", {{NULL}, NULL}, {{DATA, "standby.signal"}, NULL}, 1},
		{"working directory is a cluster: pg1-path is not asked", {{DATA}, NULL},
			{{DATA, "recovery.signal"}, NULL}, 29},
		{"pg_control alone makes a cluster", {{"global/pg_control"}, NULL},
			{{"recovery.signal"}, NULL}, 29},
		{"old recovery", {{DATA}, "restore_command = 'x'\n"}, {{NULL}, NULL}, 200},
		{"old standby", {{DATA}, "restore_command='x'\nstandby_mode = 'on'\n"},
			{{NULL}, NULL}, 1},
		{"old standby, bare word", {{DATA}, "  Standby_Mode TRUE # yes\n"}, {{NULL}, NULL},
			1},
		{"old standby, no line feed", {{DATA}, "standby_mode=yes"}, {{NULL}, NULL}, 1},
		{"commented out", {{DATA}, "#standby_mode = 'on'\n"}, {{NULL}, NULL}, 200},
		{"the last one counts", {{DATA}, "standby_mode='on'\nstandby_mode='off'\n"},
			{{NULL}, NULL}, 200},
		{"a longer name", {{DATA}, "standby_mode_x = 'on'\n"}, {{NULL}, NULL}, 200},
		{"ambiguous word", {{DATA}, "standby_mode = o\n"}, {{NULL}, NULL}, 200},
		{"empty value", {{DATA}, "standby_mode = ''\n"}, {{NULL}, NULL}, 200},
		{"old standby in pg1-path", {{NULL}, NULL}, {{DATA}, "standby_mode = on\n"}, 1},
		{"stray recovery.conf", {{NULL}, "standby_mode = on\n"},
			{{DATA, "recovery.signal"}, NULL}, 200},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SCOPED_ARENA(a);
		char *cwd = host_dir(a), *pg = host_dir(a);
		furnish(a, cwd, &cases[i].cwd);
		furnish(a, pg, &cases[i].pg);
		assert_int_equal(chdir(cwd), 0);
		int got = archive_get_exit(29, pg), plain = archive_get_exit(0, pg),
		    end = archive_get_exit(1, pg);
		bool again = archive_get_is_repeated(pg);
		assert_int_equal(chdir("/"), 0);
		host_remove(cwd);
		host_remove(pg);
		if (got != cases[i].exit)
			fail_msg("%s: %d", cases[i].what, got);
		assert_int_equal(plain, 0);
		assert_int_equal(end, 1);
		assert_int_equal(again, cases[i].exit == 1);
	}
}

/* Every failure code, and what never was one: never 126, 127, 129 to 165, and never 0 or 1 by
 * accident. */
static void codes(void **state)
{
	SCOPED_ARENA(a);
	char *dir = host_dir(a);

	assert_int_equal(chdir(dir), 0);
	for (int code = -1; code < 256; code++) {
		int got = archive_get_exit(code, NULL);
		if (code == 0 || code == 1)
			assert_int_equal(got, code);
		else if (code > 1 && code <= 125)
			assert_int_equal(got, code);
		else
			assert_int_equal(got, 125);
	}
	furnish(a, dir, &(struct place){{DATA, "recovery.signal"}, NULL});
	for (int code = -1; code < 256; code++)
		assert_int_equal(archive_get_exit(code, NULL), code == 0 || code == 1 ? code : 200);
	assert_int_equal(chdir("/"), 0);
	host_remove(dir);
}

static void failure_stands(void **state)
{
	err_set(ERR_FORMAT, "first cause");
	err_hint("do this");
	assert_int_equal(archive_get_exit(ERR_FORMAT, "/nowhere/at/all"), ERR_FORMAT);
	assert_string_equal(err_msg(), "first cause");
	assert_string_equal(err_hints(), "HINT: do this");
	err_clear();
}

/* A place that cannot be looked at proves nothing: a link onto itself is unreadable for root, too.
 */
static void unknown_stops(void **state)
{
	SCOPED_ARENA(a);
	char *dir = host_dir(a), *pg = host_dir(a);

	assert_int_equal(chdir(dir), 0);
	assert_int_equal(symlink("recovery.signal", path_join(a, dir, "recovery.signal")), 0);
	assert_int_equal(archive_get_exit(49, NULL), 200);
	assert_int_equal(unlink(path_join(a, dir, "recovery.signal")), 0);
	assert_int_equal(archive_get_exit(49, NULL), 49);
	assert_int_equal(symlink("standby.signal", path_join(a, dir, "standby.signal")), 0);
	furnish(a, dir, &(struct place){{"recovery.signal"}, NULL});
	assert_int_equal(archive_get_exit(49, pg), 200);
	/* the same in pg1-path, and a recovery.conf that is a directory */
	assert_int_equal(chdir(pg), 0);
	assert_int_equal(archive_get_exit(49, dir), 200);
	furnish(a, pg, &(struct place){{DATA}, NULL});
	assert_int_equal(mkdir(path_join(a, pg, "recovery.conf"), 0700), 0);
	assert_int_equal(archive_get_exit(49, NULL), 200);
	assert_int_equal(chdir("/"), 0);
	host_remove(dir);
	host_remove(pg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places),
		cmocka_unit_test(codes),
		cmocka_unit_test(failure_stands),
		cmocka_unit_test(unknown_stops),
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
