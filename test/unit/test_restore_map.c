/*
 * restore_map, restore_rules, restore_db: what mappings and selections make of a manifest, and that no manifest
 * leads a restore out of its places (format/repository.md 12.3, 12.7, 5.12.2).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "cmd/restore_intern.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FOLDER "PG_15_202209061"

/* The paths below do not exist, so that they are what they look like. */
static const char *const paths[] = { "pg_data", "pg_data/base", "pg_data/base/1", "pg_data/base/16400",
	"pg_data/base/5", "pg_data/global", "pg_data/log", "pg_data/log/deep", "pg_data/pg_tblspc", "pg_data/pg_wal",
	"pg_tblspc", "pg_tblspc/16384", "pg_tblspc/16384/" FOLDER, "pg_tblspc/16384/" FOLDER "/16400",
	"pg_tblspc/16384/" FOLDER "/16401", "pg_tblspc/16385" };
static const char *const files[] = { "pg_data/PG_VERSION", "pg_data/base/1/PG_VERSION",
	"pg_data/base/16400/1", "pg_data/base/16400/PG_VERSION", "pg_data/base/16400/PG_VERSION.1",
	"pg_data/base/5/1", "pg_data/base/5/PG_VERSION", "pg_data/base/stray", "pg_data/global/pg_control",
	"pg_data/hba", "pg_data/ident", "pg_data/log/file", "pg_data/tablespace_map",
	"pg_tblspc/16384/" FOLDER "/16400/1", "pg_tblspc/16384/" FOLDER "/16401/1",
	"pg_tblspc/16384/" FOLDER "/16401/PG_VERSION" };

struct fixture {
	struct arena *a;
	struct config cfg;
	struct restore r;
};

static void add_target(struct manifest *m, const char *name, const char *path, const char *file, uint32_t oid,
	const char *tablespace)
{
	struct manifest_target *t = vec_add(&m->targets);

	*t = (struct manifest_target){ .name = name, .path = path, .file = file, .tablespace_oid = oid,
		.tablespace_name = tablespace, .link = strcmp(name, "pg_data") != 0 };
	if (!t->link)
		return;
	struct manifest_link *l = vec_add(&m->links);
	l->name = oid == 0 ? name : arena_printf(m->arena, "pg_data/%s", name);
	l->destination = file == NULL ? path : arena_printf(m->arena, "%s/%s", path, file);
	l->user = l->group = "postgres";
}

static void add_path(struct manifest *m, const char *name)
{
	*vec_add(&m->paths) = (struct manifest_path){ .name = name, .user = "postgres", .group = "postgres",
		.mode = 0700 };
}

static void add_file(struct manifest *m, const char *name)
{
	*vec_add(&m->files) = (struct manifest_file){ .name = name, .user = "postgres", .group = "postgres",
		.mode = 0600, .size = 8192, .has_sum = true };
}

static struct manifest *make_manifest(struct arena *a)
{
	struct manifest *m = manifest_new(a);

	m->label = "20261120-120000F";
	m->db.version = "15";
	for (size_t i = 0; i < COUNT(paths); i++)
		add_path(m, paths[i]);
	for (size_t i = 0; i < COUNT(files); i++)
		add_file(m, files[i]);
	add_target(m, "pg_data", "/nix/old", NULL, 0, NULL);
	add_target(m, "pg_data/hba", "/nix/etc", "hba.conf", 0, NULL);
	add_target(m, "pg_data/log", "../log", NULL, 0, NULL);
	add_target(m, "pg_tblspc/16384", "/nix/ts1", NULL, 16384, "one");
	add_target(m, "pg_tblspc/16385", "/nix/ts2", NULL, 16385, "two");
	struct manifest_db *db = vec_add(&m->dbs);
	*db = (struct manifest_db){ .name = "postgres", .oid = 5 };
	*vec_add(&m->dbs) = (struct manifest_db){ .name = "a", .oid = 16400 };
	*vec_add(&m->dbs) = (struct manifest_db){ .name = "16400", .oid = 16401 };
	*vec_add(&m->dbs) = (struct manifest_db){ .name = "gone", .oid = 16402 };
	manifest_sort(m);
	return m;
}

/* "ts:KEY=PATH ts-all=PATH link:KEY=PATH link-all in:DB ex:DB" */
static void read_options(struct fixture *f, const char *text)
{
	struct config *c = &f->cfg;

	vec_init(&c->tablespace_map, f->a);
	vec_init(&c->link_map, f->a);
	vec_init(&c->db_include, f->a);
	vec_init(&c->db_exclude, f->a);
	strvec words = str_split(f->a, text, ' ');
	for (size_t i = 0; i < words.n; i++) {
		const char *w = words.v[i], *equal = strchr(w, '='), *colon = strchr(w, ':');
		struct config_pair pair = { 0 };
		if (equal != NULL && colon != NULL)
			pair = (struct config_pair){ arena_strndup(f->a, colon + 1, (size_t)(equal - colon - 1)),
				equal + 1 };
		if (str_starts(w, "ts:"))
			vec_push(&c->tablespace_map, pair);
		else if (str_starts(w, "link:"))
			vec_push(&c->link_map, pair);
		else if (str_starts(w, "ts-all="))
			c->tablespace_map_all = equal + 1;
		else if (str_starts(w, "in:"))
			vec_push(&c->db_include, w + 3);
		else if (str_starts(w, "ex:"))
			vec_push(&c->db_exclude, w + 3);
		else
			c->link_all = strcmp(w, "link-all") == 0;
	}
}

static void setup(struct fixture *f, const char *options)
{
	memset(f, 0, sizeof(*f));
	f->a = arena_new();
	read_options(f, options);
	f->r = (struct restore){ .arena = f->a, .cfg = &f->cfg, .m = make_manifest(f->a),
		.pg = store_posix(f->a, "/nix/new") };
}

/* The links of the result, as "NAME>DESTINATION" in order. */
static char *links_text(struct fixture *f)
{
	struct buf b;

	buf_init(&b, f->a);
	for (size_t i = 0; i < f->r.m->links.n; i++)
		buf_addf(&b, "%s%s>%s", i == 0 ? "" : " ", manifest_pg_path(f->r.m->links.v[i].name),
			f->r.m->links.v[i].destination);
	return b.data;
}

#define TS1 "pg_tblspc/16384>/nix/ts1"
#define TS2 "pg_tblspc/16385>/nix/ts2"

static void test_mappings(void **state)
{
	static const struct {
		const char *options, *links;
	} cases[] = {
		{ "", TS1 " " TS2 },
		{ "link-all", "hba>/nix/etc/hba.conf log>../log " TS1 " " TS2 },
		{ "ts:one=/nix/x", "pg_tblspc/16384>/nix/x " TS2 },
		{ "ts:16385=/nix/x/", TS1 " pg_tblspc/16385>/nix/x" },
		{ "ts:one=/nix/x ts:16384=/nix/x", "pg_tblspc/16384>/nix/x " TS2 },
		{ "ts-all=/nix/all", "pg_tblspc/16384>/nix/all/one pg_tblspc/16385>/nix/all/two" },
		{ "ts:two=/nix/x ts-all=/nix/all", "pg_tblspc/16384>/nix/all/one pg_tblspc/16385>/nix/x" },
		{ "link:log=/nix/l/./x/", "log>/nix/l/x " TS1 " " TS2 },
		{ "link:log=/nix/l link-all", "hba>/nix/etc/hba.conf log>/nix/l " TS1 " " TS2 },
		{ "link:hba=/nix/h", "hba>/nix/h " TS1 " " TS2 },
		{ "link:hba=../h", "hba>../h " TS1 " " TS2 },
		{ "link:pg_wal=/nix/w", TS1 " " TS2 " pg_wal>/nix/w" },
		{ "link:ident=/nix/etc/ident link:hba=/nix/etc/hba", "hba>/nix/etc/hba ident>/nix/etc/ident " TS1 " " TS2 },
		{ "link:log=/nix/l link:log/deep=../d", "log>/nix/l log/deep>../d " TS1 " " TS2 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture f;
		setup(&f, cases[i].options);
		if (restore_map(&f.r) != 0)
			fail_msg("%s: %s", cases[i].options, err_msg());
		assert_string_equal(links_text(&f), cases[i].links);
		assert_int_equal(f.r.m->targets.n, f.r.m->links.n + 1);
		assert_string_equal(manifest_target_find(f.r.m, "pg_data")->path, "/nix/new");
		assert_null(manifest_misplaced(f.r.m));
		arena_free(f.a);
	}
}

static void test_refused_mappings(void **state)
{
	static const struct {
		const char *options;
		enum err_code code;
		const char *message;
	} cases[] = {
		{ "ts:three=/nix/x", ERR_TABLESPACE_MAP, "unable to remap invalid tablespace 'three'" },
		{ "ts:one=/nix/x ts:16384=/nix/y", ERR_TABLESPACE_MAP, "remapped by name 'one' and id 16384" },
		{ "ts:one=x", ERR_TABLESPACE_MAP, "not an absolute path" },
		{ "ts-all=x", ERR_TABLESPACE_MAP, "not an absolute path" },
		{ "ts:one=/nix/new/x", ERR_LINK_DESTINATION, "is in PGDATA" },
		{ "ts:one=/nix/new", ERR_LINK_DESTINATION, "is in PGDATA" },
		{ "ts:one=/nix/other/../new/x", ERR_LINK_DESTINATION, "is in PGDATA" },
		{ "ts:one=/nix", ERR_LINK_DESTINATION, "contains PGDATA" },
		{ "ts:one=/", ERR_LINK_DESTINATION, "contains PGDATA" },
		{ "ts:one=/nix/ts2", ERR_LINK_DESTINATION, "the same directory as" },
		{ "ts:one=/nix/ts2/x", ERR_LINK_DESTINATION, "a subdirectory of" },
		{ "link:three=/nix/x", ERR_LINK_MAP, "unable to map link 'three'" },
		{ "link:=/nix/x", ERR_LINK_MAP, "unable to map link ''" },
		{ "link:../x=/nix/x", ERR_LINK_MAP, "unable to map link" },
		{ "link:pg_tblspc/16384=/nix/x", ERR_LINK_MAP, "unable to remap tablespace 'pg_tblspc/16384'" },
		{ "link:pg_tblspc/1=/nix/x", ERR_LINK_MAP, "unable to map link" },
		{ "link:global/pg_control=/nix/x", ERR_LINK_MAP, "unable to map link" },
		{ "link:tablespace_map=/nix/x", ERR_LINK_MAP, "unable to map link" },
		{ "link:hba=x", ERR_LINK_MAP, "not long enough to be the destination for file link 'hba'" },
		{ "link:hba=/nix/x/", ERR_LINK_MAP, "not long enough" },
		{ "link:log=", ERR_LINK_MAP, "mapped to nothing" },
		{ "link:log=log2", ERR_LINK_DESTINATION, "is in PGDATA" },
		{ "link:hba=/nix/new/x", ERR_LINK_DESTINATION, "is in PGDATA" },
		{ "link:log=/nix/l link:log/deep=../l/d", ERR_LINK_DESTINATION, "a subdirectory of" },
		{ "link:log=/nix/ts1/x", ERR_LINK_DESTINATION, "a subdirectory of" },
		{ "link:hba=/nix/x link:ident=/nix/x", ERR_LINK_DESTINATION, "the same file as" },
		{ "link:hba=/nix/x link:log=/nix/x", ERR_LINK_DESTINATION, "the same directory as" },
		{ "link:hba=/nix/x/h link:log=/nix/x", ERR_LINK_DESTINATION, "in the directory of" },
		{ "link:hba=/nix/ts1/" FOLDER "/h", ERR_LINK_DESTINATION, "in the directory of" },
		{ "link:hba=/nix/x link:log=/nix/x/y", ERR_LINK_DESTINATION, "a subdirectory of" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture f;
		setup(&f, cases[i].options);
		if (restore_map(&f.r) == 0)
			fail_msg("%s: accepted", cases[i].options);
		if (err_code() != cases[i].code || strstr(err_msg(), cases[i].message) == NULL)
			fail_msg("%s: [%03d] %s", cases[i].options, err_code(), err_msg());
		err_clear();
		arena_free(f.a);
	}
}

static struct manifest_target *target(struct manifest *m, const char *name)
{
	for (size_t i = 0; i < m->targets.n; i++)
		if (strcmp(m->targets.v[i].name, name) == 0)
			return &m->targets.v[i];
	fail();
	return NULL;
}

static void other_target(struct manifest *m) { target(m, "pg_tblspc/16384")->path = "/etc"; }
static void other_file(struct manifest *m) { target(m, "pg_data/hba")->file = "passwd"; }
static void file_as_dir(struct manifest *m) { target(m, "pg_data/hba")->file = NULL; }
static void dir_as_file(struct manifest *m) { target(m, "pg_data/log")->file = "x"; }
static void way_out(struct manifest *m) { target(m, "pg_tblspc/16384")->tablespace_name = "../etc"; }
static void slash(struct manifest *m) { target(m, "pg_tblspc/16384")->tablespace_name = "a/b"; }
static void cron(struct manifest *m) { add_file(m, "pg_tblspc/16385/cron.d/x"); }
static void cron_dir(struct manifest *m) { add_path(m, "pg_tblspc/16385/cron.d"); }
static void top_file(struct manifest *m) { add_file(m, "pg_tblspc/16385/passwd"); }
static void folder_file(struct manifest *m) { add_file(m, "pg_tblspc/16385/" FOLDER); }
static void folder_two(struct manifest *m) { add_path(m, "pg_tblspc/16384/PG_15_202209062"); }
static void folder_other(struct manifest *m) { add_path(m, "pg_tblspc/16385/PG_14_202209061"); }
static void folder_bare(struct manifest *m) { add_path(m, "pg_tblspc/16385/PG_15_"); }
static void folder_longer(struct manifest *m) { add_file(m, "pg_tblspc/16384/" FOLDER "0/1/2"); }
static void no_target(struct manifest *m) { add_file(m, "pg_tblspc/1638/" FOLDER "/1/2"); }

static void test_hostile_manifests(void **state)
{
	static const struct {
		const char *options;
		void (*change)(struct manifest *m);
		enum err_code code;
	} cases[] = {
		{ "", other_target, ERR_FORMAT },
		{ "link-all", other_file, ERR_FORMAT },
		{ "link-all", file_as_dir, ERR_FORMAT },
		{ "link-all", dir_as_file, ERR_FORMAT },
		{ "ts-all=/nix/all", way_out, ERR_TABLESPACE_MAP },
		{ "ts-all=/nix/all", slash, ERR_TABLESPACE_MAP },
		{ "", cron, ERR_FORMAT },
		{ "", cron_dir, ERR_FORMAT },
		{ "", top_file, ERR_FORMAT },
		{ "", folder_file, ERR_FORMAT },
		{ "", folder_two, ERR_FORMAT },
		{ "", folder_other, ERR_FORMAT },
		{ "", folder_bare, ERR_FORMAT },
		{ "", folder_longer, ERR_FORMAT },
		{ "", no_target, ERR_FORMAT },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture f;
		setup(&f, cases[i].options);
		cases[i].change(f.r.m);
		manifest_sort(f.r.m);
		if (restore_map(&f.r) == 0)
			fail_msg("case %zu: accepted", i);
		if (err_code() != cases[i].code)
			fail_msg("case %zu: [%03d] %s", i, err_code(), err_msg());
		err_clear();
		arena_free(f.a);
	}
}

/* A link on the way to a place does not hide where it is, and one to nothing is not followed. */
static void test_links_on_the_way(void **state)
{
	char top[] = "/tmp/pgs-XXXXXX";
	struct arena *a = arena_new();

	assert_non_null(mkdtemp(top));
	const char *way = arena_printf(a, "%s/way", top);
	const char *const targets[] = { top, "/nix/new" };
	const enum err_code codes[] = { ERR_LINK_DESTINATION, ERR_PATH_OPEN };
	for (size_t i = 0; i < COUNT(targets); i++) {
		struct fixture f;
		assert_int_equal(symlink(targets[i], way), 0);
		setup(&f, arena_printf(a, "ts:one=%s/data/x", way));
		f.r.pg = store_posix(f.a, arena_printf(a, "%s/data", top));
		assert_int_equal(restore_map(&f.r), -1);
		assert_int_equal(err_code(), codes[i]);
		err_clear();
		arena_free(f.a);
		assert_int_equal(unlink(way), 0);
	}
	assert_int_equal(rmdir(top), 0);
	arena_free(a);
}

/* A relative link starts where it really lies. */
static void test_places(void **state)
{
	struct fixture f;

	setup(&f, "link:log=/nix/far/l link:log/deep=../d");
	assert_int_equal(restore_map(&f.r), 0);
	assert_string_equal(f.r.places.v[0].name, "pg_data");
	assert_string_equal(restore_place_of_link(&f.r, "pg_data/log/deep")->dir, "/nix/far/d");
	assert_string_equal(restore_place_of_link(&f.r, "pg_data/pg_tblspc/16384")->folder, FOLDER);
	assert_null(restore_place_of_link(&f.r, "pg_data/pg_tblspc/16385")->folder);
	assert_string_equal(f.r.origin, "/nix/old");
	arena_free(f.a);
}

/* A file that is linked into a directory that is linked is in the backup twice: fine while both are the same. */
static void test_twin(void **state)
{
	for (int same = 0; same < 2; same++) {
		struct fixture f;
		setup(&f, "link:log=/nix/l link:hba=/nix/l/file");
		if (!same)
			manifest_file_find(f.r.m, "pg_data/log/file")->sum.bytes[0] ^= 1;
		assert_int_equal(restore_map(&f.r), same ? 0 : -1);
		err_clear();
		arena_free(f.a);
	}
}

static void test_databases(void **state)
{
	static const struct {
		const char *options, *zeroed;
		enum err_code code;
	} cases[] = {
		{ "", "", ERR_NONE },
		{ "in:a", "16401", ERR_NONE },
		{ "in:16400", "16401", ERR_NONE }, /* an OID comes before a name */
		{ "in:16401", "16400", ERR_NONE },
		{ "in:a in:16401", "", ERR_NONE },
		{ "ex:a", "16400", ERR_NONE },
		{ "ex:a ex:a ex:16401", "16400 16401", ERR_NONE },
		{ "ex:16401 ex:a", "16400 16401", ERR_NONE },
		{ "ex:postgres", "5", ERR_NONE },
		{ "in:a ex:16401", "16401", ERR_NONE },
		{ "in:b", NULL, ERR_DB_MISSING },
		{ "ex:b", NULL, ERR_DB_MISSING },
		{ "in:gone", NULL, ERR_DB_MISSING },
		{ "in:16402", NULL, ERR_DB_MISSING },
		{ "in:4294983696", NULL, ERR_DB_MISSING }, /* 2^32 + 16400 */
		{ "in:postgres", NULL, ERR_DB_INVALID },
		{ "in:1", NULL, ERR_DB_INVALID },
		{ "in:a ex:16400", NULL, ERR_DB_INVALID },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fixture f;
		struct buf b;
		setup(&f, cases[i].options);
		buf_init(&b, f.a);
		int rc = restore_select_databases(&f.r);
		if (rc != (cases[i].code == ERR_NONE ? 0 : -1) || err_code() != cases[i].code)
			fail_msg("%s: [%03d] %s", cases[i].options, err_code(), err_msg());
		err_clear();
		for (size_t k = 0; rc == 0 && k < f.r.zeroed.n; k++)
			buf_addf(&b, "%s%u", k == 0 ? "" : " ", f.r.zeroed.v[k]);
		if (rc == 0)
			assert_string_equal(b.data, cases[i].zeroed);
		arena_free(f.a);
	}
}

static void test_zeroed_files(void **state)
{
	static const char *const expected[] = { "pg_data/base/16400/1", "pg_data/base/16400/PG_VERSION.1",
		"pg_tblspc/16384/" FOLDER "/16400/1" };
	struct fixture f;
	size_t n = 0;

	setup(&f, "ex:a");
	assert_int_equal(restore_select_databases(&f.r), 0);
	for (size_t i = 0; i < f.r.m->files.n; i++) {
		if (!restore_is_zeroed(&f.r, &f.r.m->files.v[i]))
			continue;
		assert_true(n < COUNT(expected));
		assert_string_equal(f.r.m->files.v[i].name, expected[n++]);
	}
	assert_int_equal(n, COUNT(expected));
	arena_free(f.a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mappings),
		cmocka_unit_test(test_refused_mappings),
		cmocka_unit_test(test_hostile_manifests),
		cmocka_unit_test(test_links_on_the_way),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_twin),
		cmocka_unit_test(test_databases),
		cmocka_unit_test(test_zeroed_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
