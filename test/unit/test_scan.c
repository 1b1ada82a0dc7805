/*
 * What a scan takes and leaves out, on real directories (format/repository.md 5.12).
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "repo/scan.h"

struct tree {
	struct arena *arena;
	char top[64];	/* holds "pg" and what lies outside of it */
	const char *pg;
	struct pg_control control;
	struct scan_opts opts;
	strvec exclude;
};

static void make(struct tree *t, const char *path, const char *content)
{
	const char *full = path_join(t->arena, t->top, path);

	assert_int_equal(dir_make(path_parent(t->arena, full), 0700), 0);
	assert_int_equal(file_replace(full, content, strlen(content), 0600), 0);
}

static void make_dir(struct tree *t, const char *path)
{
	assert_int_equal(dir_make(path_join(t->arena, t->top, path), 0700), 0);
}

static void make_link(struct tree *t, const char *path, const char *to)
{
	assert_int_equal(symlink(to, path_join(t->arena, t->top, path)), 0);
}

static int setup(void **state)
{
	struct arena *a = arena_new();
	struct tree *t = arena_new_object(a, struct tree);

	t->arena = a;
	strncpy(t->top, "/tmp/pgstrata-scan-XXXXXX", sizeof(t->top) - 1);
	if (mkdtemp(t->top) == NULL)
		return -1;
	t->pg = path_join(a, t->top, "pg");
	t->control.version = pg_version_by_name("15");
	t->control.catalog_version = 202209061;
	t->control.page_size = 8192;
	vec_init(&t->exclude, a);
	t->opts = (struct scan_opts){ .control = &t->control, .online = true, .page_check = true,
		.exclude = &t->exclude };
	*state = t;
	make(t, "pg/PG_VERSION", "15\n");
	make(t, "pg/global/pg_control", "x");
	make(t, "pg/global/1260", "");
	make(t, "pg/base/5/1259", "");
	make(t, "pg/base/5/PG_VERSION", "15\n");
	make(t, "pg/base/5/pg_filenode.map", "");
	return 0;
}

static int teardown(void **state)
{
	struct tree *t = *state;
	char *command = arena_printf(t->arena, "rm -rf '%s'", t->top);
	int rc = system(command);

	arena_free(t->arena);
	err_clear();
	return rc;
}

static struct manifest *scan_ok(struct tree *t)
{
	struct manifest *m = manifest_new(t->arena);

	if (scan_cluster(store_posix(t->arena, t->pg), &t->opts, m) != 0)
		fail_msg("scan failed: %s", err_msg());
	return m;
}

static void scan_fails(struct tree *t, enum err_code code, const char *text)
{
	struct manifest *m = manifest_new(t->arena);

	assert_int_equal(scan_cluster(store_posix(t->arena, t->pg), &t->opts, m), -1);
	assert_int_equal(err_code(), code);
	assert_non_null(strstr(err_msg(), text));
	err_clear();
}

static bool has(struct manifest *m, const char *name)
{
	return manifest_file_find(m, name) != NULL;
}

/* One line per file: is it in an online, in an offline backup, and of 15, of 11? */
static void takes_and_leaves(void **state)
{
	static const struct {
		const char *name;
		bool online, offline, old;
	} cases[] = {
		{ "backup_label", false, false, false },
		{ "backup_label.old", false, false, false },
		{ "backup_label.new", true, true, true },
		{ "postmaster.pid", false, false, false },
		{ "postmaster.opts", false, false, false },
		{ "postgresql.auto.conf", true, true, true },
		{ "postgresql.auto.conf.tmp", false, false, false },
		{ "recovery.signal", false, false, true },
		{ "standby.signal", false, false, true },
		{ "recovery.conf", true, true, false },
		{ "recovery.done", true, true, false },
		{ "backup_manifest", false, false, true },
		{ "pg_wal/000000010000000000000001", false, true, false },
		{ "pg_wal/archive_status/000000010000000000000001.done", false, true, false },
		{ "pg_wal/summaries/x.summary", true, true, true },
		{ "pg_replslot/slot/state", false, false, false },
		{ "pg_stat_tmp/global.stat", false, false, false },
		{ "pg_subtrans/0000", false, false, false },
		{ "base/5/pgsql_tmp/x", false, false, false },
		{ "base/pgsql_tmp1.1", false, false, false },
		{ "base/5/pg_internal.init", false, false, false },
		{ "base/5/pg_internal.init.123", false, false, false },
		{ "base/5/pg_internal.init.x", true, true, true },
		{ "extra/pg_internal.init", true, true, true },
		{ "base/5/t12_34", false, false, false },
		{ "base/5/t12_34_fsm", false, false, false },
		{ "base/5/t12_34.1", false, false, false },
		{ "base/5/t12_34_vm.1", false, false, false },
		{ "base/5/t12_34_init", true, true, true },
		{ "base/5/t12_", true, true, true },
		{ "base/5/777", false, false, false },
		{ "base/5/777_init", true, true, true },
		{ "base/5/777_init.1", true, true, true },
		{ "base/5/777_fsm", false, false, false },
		{ "base/5/777_vm.2", false, false, false },
		{ "base/5/777.1", false, false, false },
		{ "base/5/7777", true, true, true },
		{ "base/5/777x", true, true, true },
		{ "odd name [x] = # \"q\" \\ ;", true, true, true },
		{ "odd\xff\xfe" "bytes", true, true, true },
	};
	struct tree *t = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		make(t, path_join(t->arena, "pg", cases[i].name), "x");
	for (int round = 0; round < 3; round++) {
		t->opts.online = round != 1;
		t->control.version = pg_version_by_name(round == 2 ? "11" : "15");
		struct manifest *m = scan_ok(t);
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			bool want = round == 0 ? cases[i].online : round == 1 ? cases[i].offline : cases[i].old;
			if (has(m, path_join(t->arena, "pg_data", cases[i].name)) != want)
				fail_msg("round %d: %s", round, cases[i].name);
		}
		assert_non_null(manifest_path_find(m, "pg_data/pg_replslot"));
		assert_null(manifest_path_find(m, "pg_data/pg_replslot/slot"));
		assert_non_null(manifest_path_find(m, "pg_data/pg_wal/archive_status"));
	}
}

static void excludes(void **state)
{
	struct tree *t = *state;

	make(t, "pg/keep/x", "x");
	make(t, "pg/keep2/x", "x");
	make(t, "pg/gone/x", "x");
	make(t, "pg/single", "x");
	make(t, "pg/single2", "x");
	vec_push(&t->exclude, "gone");
	vec_push(&t->exclude, "keep/");
	vec_push(&t->exclude, "single");
	vec_push(&t->exclude, "not-there");
	struct manifest *m = scan_ok(t);
	assert_null(manifest_path_find(m, "pg_data/gone"));
	assert_non_null(manifest_path_find(m, "pg_data/keep"));
	assert_false(has(m, "pg_data/keep/x"));
	assert_true(has(m, "pg_data/keep2/x"));
	assert_false(has(m, "pg_data/single"));
	assert_true(has(m, "pg_data/single2"));
}

static void attributes(void **state)
{
	struct tree *t = *state;
	struct manifest *m = scan_ok(t);

	assert_true(manifest_file_find(m, "pg_data/base/5/1259")->page_check);
	assert_true(manifest_file_find(m, "pg_data/global/1260")->page_check);
	assert_false(manifest_file_find(m, "pg_data/base/5/PG_VERSION")->page_check);
	assert_false(manifest_file_find(m, "pg_data/base/5/pg_filenode.map")->page_check);
	assert_false(manifest_file_find(m, "pg_data/global/pg_control")->page_check);
	assert_false(manifest_file_find(m, "pg_data/global/pg_control")->copy_bounded);
	assert_true(manifest_file_find(m, "pg_data/base/5/1259")->copy_bounded);
	assert_false(manifest_file_find(m, "pg_data/PG_VERSION")->copy_bounded);
	assert_int_equal(manifest_file_find(m, "pg_data/PG_VERSION")->size, 3);
	assert_int_equal(manifest_file_find(m, "pg_data/PG_VERSION")->mode, 0600);
	assert_int_equal(m->file_mode, 0600 & 0640);
	assert_int_equal(m->path_mode, 0700);
}

static void links_and_tablespaces(void **state)
{
	struct tree *t = *state;

	make(t, "ts/PG_15_202209061/5/16400", "12345678");
	make(t, "ts/PG_14_202107181/5/16400", "other version");
	make_dir(t, "pg/pg_tblspc");
	make_link(t, "pg/pg_tblspc/16384", path_join(t->arena, t->top, "ts"));
	make(t, "log/a.log", "a");
	make_link(t, "pg/log", "../log");
	make(t, "conf/hba", "h");
	make_link(t, "pg/pg_hba.conf", "../conf/hba");
	struct manifest *m = scan_ok(t);
	assert_true(has(m, "pg_tblspc/16384/PG_15_202209061/5/16400"));
	assert_false(has(m, "pg_tblspc/16384/PG_14_202107181/5/16400"));
	assert_true(manifest_file_find(m, "pg_tblspc/16384/PG_15_202209061/5/16400")->page_check);
	assert_string_equal(manifest_target_find(m, "pg_tblspc/16384")->tablespace_name, "ts16384");
	assert_non_null(manifest_path_find(m, "pg_tblspc/16384"));
	assert_non_null(manifest_path_find(m, "pg_tblspc"));
	assert_true(has(m, "pg_data/log/a.log"));
	assert_string_equal(manifest_target_find(m, "pg_data/log")->path, "../log");
	assert_true(has(m, "pg_data/pg_hba.conf"));
	assert_string_equal(manifest_target_find(m, "pg_data/pg_hba.conf")->file, "hba");
	assert_string_equal(manifest_target_find(m, "pg_data/pg_hba.conf")->path, "../conf");
	assert_int_equal(m->links.n, 3);
}

static void refused(void **state)
{
	struct tree *t = *state;

	make_link(t, "pg/dangling", "/nonexistent/x");
	scan_fails(t, ERR_FILE_OPEN, "dangling");
	assert_int_equal(unlink(path_join(t->arena, t->pg, "dangling")), 0);

	make_link(t, "pg/inside", "base");
	scan_fails(t, ERR_LINK_DESTINATION, "is in PGDATA");
	assert_int_equal(unlink(path_join(t->arena, t->pg, "inside")), 0);

	make_dir(t, "out");
	make_link(t, "hop", "out");
	make_link(t, "pg/twice", "../hop");
	scan_fails(t, ERR_LINK_DESTINATION, "another link");
	assert_int_equal(unlink(path_join(t->arena, t->pg, "twice")), 0);

	make_link(t, "pg/one", "../out");
	make_dir(t, "out/deep");
	make_link(t, "pg/two", "../out/deep");
	scan_fails(t, ERR_LINK_DESTINATION, "overlaps");
	assert_int_equal(unlink(path_join(t->arena, t->pg, "one")), 0);
	assert_int_equal(unlink(path_join(t->arena, t->pg, "two")), 0);

	make_dir(t, "pg/pg_tblspc/16384");
	scan_fails(t, ERR_LINK_EXPECTED, "pg_tblspc");
	assert_int_equal(rmdir(path_join(t->arena, t->pg, "pg_tblspc/16384")), 0);

	make(t, "pg/new\nline", "x");
	scan_fails(t, ERR_FORMAT, "line feed");
}

/* The same files as another host tells of them: under another root, with its own names of owners. */
struct far {
	struct store store;
	struct store *inner;
	store_list_fn *fn;
	void *ctx;
};

static struct store_entry told(struct store_entry e)
{
	e.uid = e.gid = 0; /* whoever that is here */
	e.user = e.type == STORE_DIR ? "" : "there";
	e.group = "those";
	return e;
}

static int far_entry(void *ctx, const struct store_entry *e)
{
	const struct far *f = ctx;
	struct store_entry here = told(*e), target;

	if (e->target_entry != NULL) {
		target = told(*e->target_entry);
		here.target_entry = &target;
	}
	return f->fn(f->ctx, &here);
}

static int far_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx)
{
	struct far f = *(struct far *)s;

	f.fn = fn;
	f.ctx = ctx;
	return store_list(f.inner, dir, far_entry, &f);
}

static int far_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out)
{
	int rc = store_stat(a, ((struct far *)s)->inner, path, out);

	if (rc == 0)
		*out = told(*out);
	return rc;
}

static void on_another_host(void **state)
{
	static const struct store_driver driver = { .name = "far", .list = far_list, .stat = far_stat };
	struct tree *t = *state;
	struct far f = { .inner = store_posix(t->arena, t->pg) };
	struct manifest *m = manifest_new(t->arena);

	f.store = (struct store){ .driver = &driver, .root = "db1:/pg", .arena = t->arena };
	make_dir(t, "elsewhere");
	make_link(t, "pg/linked", "../elsewhere");
	t->opts.path = t->pg;
	assert_int_equal(scan_cluster(&f.store, &t->opts, m), 0);
	assert_string_equal(manifest_file_find(m, "pg_data/PG_VERSION")->user, "there");
	assert_string_equal(manifest_file_find(m, "pg_data/PG_VERSION")->group, "those");
	assert_false(manifest_owner_known(m->paths.v[0].user));
	assert_string_equal(m->paths.v[0].group, "those");
	assert_string_equal(m->links.v[0].user, "there");
	assert_string_equal(m->targets.v[0].path, t->pg);

	/* a destination is below the data directory of that host, whatever the root is called here */
	make_dir(t, "pg/inside");
	make_link(t, "pg/into", "inside");
	assert_int_equal(scan_cluster(&f.store, &t->opts, manifest_new(t->arena)), -1);
	assert_int_equal(err_code(), ERR_LINK_DESTINATION);
	assert_non_null(strstr(err_msg(), "is in PGDATA"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(takes_and_leaves, setup, teardown),
		cmocka_unit_test_setup_teardown(excludes, setup, teardown),
		cmocka_unit_test_setup_teardown(attributes, setup, teardown),
		cmocka_unit_test_setup_teardown(links_and_tablespaces, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(on_another_host, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
