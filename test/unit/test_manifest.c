/* manifest: read, check, write, publish (format/repository.md 5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format5_text.h"
#include "repo/manifest.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FULL "20261120-115634F"
#define DIFF "20261120-115634F_20261120-115635D"
#define DIR "backup/demo/" DIFF "/"

static int load_text(struct arena *a, const char *text, struct manifest **out)
{
	struct store *s = store_mem(a);

	put_text(s, DIR "backup.manifest", text);
	return manifest_load(a, s, "demo", DIFF, NULL, out);
}

static struct manifest *loaded(struct arena *a, const char *text)
{
	struct manifest *m = NULL;

	if (load_text(a, text, &m) != 0)
		fail_msg("%s", err_msg());
	return m;
}

static char *written(struct arena *a, const struct manifest *m)
{
	struct buf b;

	buf_init(&b, a);
	if (manifest_write(m, sink_buf(a, &b)) != 0)
		fail_msg("%s", err_msg());
	return b.data;
}

/* The sample with rows of other kinds; the checksum belongs to it. */
static char *rich(struct arena *a)
{
	const char *t = sample(a, "backup.manifest");

	t = replaced(a, t, "backup-label=",
		"backup-archive-start=\"00000001000000000000000F\"\n"
		"backup-archive-stop=\"00000001000000000000000F\"\nbackup-block-incr=true\nbackup-"
		"bundle=true\n"
		"backup-bundle-raw=true\nbackup-label=");
	t = replaced(a, t, "backup-prior=",
		"backup-lsn-start=\"0/F00028\"\nbackup-lsn-stop=\"0/F00100\"\nbackup-prior=");
	t = replaced(a, t, "7000000000000000180", "18446744073709551615");
	t = replaced(a, t, "pg_data={\"path\":\"/mnt/pg\",\"type\":\"path\"}\n",
		"pg_data={\"path\":\"/mnt/pg\",\"type\":\"path\"}\n"
		"pg_data/log={\"path\":\"../log\",\"type\":\"link\"}\n"
		"pg_data/pg_hba.conf={\"file\":\"pg_hba.conf\",\"path\":\"../"
		"a\\nb\",\"type\":\"link\"}\n"
		"pg_tblspc/16384={\"path\":\"/mnt/"
		"ts1\",\"tablespace-id\":\"16384\",\"tablespace-name\":\"ts1\","
		"\"type\":\"link\"}\n\n"
		"[db]\n=odd={\"db-id\":16385,\"db-last-system-id\":4}\npostgres={\"db-id\":5,\"db-"
		"last-system-id\":4}\n");
	t = replaced(a, t, "[target:file]\n",
		"[target:file]\n"
		"pg_data/"
		"#c={\"checksum\":\"da4b9237bacccdf19c0760cab7aec4a8359010b0\",\"group\":false,"
		"\"mode\":\"0644\","
		"\"size\":1,\"timestamp\":-1,\"user\":\"o\\\"x\"}\n");
	t = replaced(a, t, "pg_data/base/1/PG_VERSION=",
		"pg_data/base/1/"
		"112={\"checksum\":\"dc8e1be29626b8344ee4ec769918859df3defcbd\",\"checksum-page\":"
		"true,"
		"\"rck\":\"8849fbdfe93a167c8c4aa73216dc6229c4c0c7b3\",\"repo-size\":88,\"size\":"
		"8192,"
		"\"timestamp\":1795173764}\n"
		"pg_data/base/1/1255={\"bi\":3,\"bic\":7,\"bim\":624,\"bni\":1,\"bno\":2195808,"
		"\"checksum\":\"55cf00a6a878db824c2745002695077f250c8352\",\"checksum-page\":false,"
		"\"checksum-page-error\":[1,[3,5],7],\"rck\":"
		"\"5e38c662d82c1d7bf478005cf4c4814db05ecb5c\","
		"\"reference\":\"" FULL
		"\",\"repo-size\":104590,\"size\":835584,\"szo\":12,\"timestamp\":1795173764}\n"
		"pg_data/base/1/"
		"1256={\"bi\":1,\"checksum-page\":true,\"size\":0,\"szo\":8192,\"timestamp\":5}\n"
		"pg_data/base/1/"
		"1257={\"bni\":1,\"checksum\":\"55cf00a6a878db824c2745002695077f250c8352\","
		"\"checksum-page\":false,\"size\":9007199254740993,\"timestamp\":1}\n"
		"pg_data/base/1/PG_VERSION=");
	t = replaced(a, t, "pg_data/postgresql.conf=",
		"pg_data/odd={\"k\"=1={\"size\":3,\"timestamp\":6}\n"
		"pg_data/pg_hba.conf={\"size\":0,\"timestamp\":6}\n"
		"pg_data/postgresql.conf=");
	t = replaced(a, t, "[target:file:default]",
		"pg_tblspc/16384/PG_18_202506291/5/"
		"16400={\"size\":0,\"timestamp\":7}\n\n[target:file:default]");
	t = replaced(a, t, "[target:path]\n",
		"[target:link]\npg_data/log={\"destination\":\"../log\",\"group\":\"wheel\"}\n"
		"pg_data/pg_hba.conf={\"destination\":\"../a\\nb/pg_hba.conf\"}\n"
		"pg_data/pg_tblspc/16384={\"destination\":\"/mnt/ts1\",\"user\":false}\n\n"
		"[target:link:default]\ngroup=\"postgres\"\nuser=\"postgres\"\n\n[target:path]\n");
	t = replaced(a, t, "pg_data/pg_tblspc={}\n",
		"pg_data/log={\"mode\":\"0755\",\"user\":false}\n"
		"pg_data/pg_tblspc={}\npg_tblspc={}\npg_tblspc/16384={}\npg_tblspc/16384/"
		"PG_18_202506291={}\n"
		"pg_tblspc/16384/PG_18_202506291/5={}\n");
	return signed_text(a, t);
}

static void round_trips_the_sample(void **state)
{
	SCOPED_ARENA(a);
	const char *text = sample(a, "backup.manifest");
	struct manifest *m = loaded(a, text);

	assert_string_equal(m->program, "2.60.0");
	assert_string_equal(written(a, m), text);
	/* a fresh one says who writes */
	assert_string_equal(manifest_new(a)->program, repo_program);
}

static void round_trips_everything_the_format_has(void **state)
{
	SCOPED_ARENA(a);
	const char *text = rich(a);

	assert_string_equal(written(a, loaded(a, text)), text);
}

static void reads_the_sample(void **state)
{
	SCOPED_ARENA(a);
	struct manifest *m = loaded(a, sample(a, "backup.manifest"));

	assert_int_equal(m->type, BACKUP_DIFF);
	assert_true(m->codec == CODEC_NONE && !m->compress && m->complete && m->level == 0 &&
		!m->online);
	assert_true(m->db.id == 1 && m->db.system_id == UINT64_C(7000000000000000180));
	assert_true(m->files.n == 5 && m->paths.n == 5 && m->links.n == 0 && m->annotations.n == 1);
	assert_int_equal(m->reference.n, 2);
	assert_string_equal(m->reference.v[1], DIFF);
	const struct manifest_file *f = manifest_file_find(m, "pg_data/PG_VERSION");
	assert_non_null(f);
	assert_true(f->size == 3 && f->size_orig == 3 && f->repo_size == 3 && f->has_sum &&
		!f->has_repo_sum && f->mode == 0600 && !f->page_check && f->bundle == 0 &&
		f->mtime == 1793491200);
	assert_string_equal(f->user, "postgres");
	assert_string_equal(f->reference, FULL);
	f = manifest_file_find(m, "pg_data/empty");
	assert_true(f->has_sum && sum_equal(&f->sum, &sum_empty) && f->mode == 0640);
	assert_null(manifest_file_find(m, "pg_data/postgresql.conf")->reference);
	assert_null(manifest_file_find(m, "pg_data/base"));
	assert_int_equal(manifest_path_find(m, "pg_data/base/1")->mode, 0700);
	assert_string_equal(manifest_target_find(m, "pg_data")->path, "/mnt/pg");
}

static void reads_odd_rows(void **state)
{
	SCOPED_ARENA(a);
	struct manifest *m = loaded(a, rich(a));
	const struct manifest_file *f = manifest_file_find(m, "pg_data/base/1/1255");

	assert_true(m->db.system_id == UINT64_MAX && m->bundle && m->block_incr && m->bundle_raw);
	assert_true(f->block_size == 24576 && f->block_sum_size == 7 && f->block_map_size == 624 &&
		f->bundle == 1 && f->bundle_offset == 2195808 && f->repo_size == 104590 &&
		f->size_orig == 12 && f->has_repo_sum);
	assert_true(f->page_check && !f->page_ok && f->bad_n == 3 && manifest_file_is_bad(f));
	assert_true(f->bad[0].first == 1 && f->bad[0].last == 1 && f->bad[1].first == 3 &&
		f->bad[1].last == 5);
	f = manifest_file_find(m, "pg_data/base/1/1256");
	assert_true(f->block_size == 8192 && f->block_sum_size == 6 && f->has_sum &&
		f->page_check && f->page_ok);
	f = manifest_file_find(m, "pg_data/base/1/1257");
	assert_true(
		f->size == UINT64_C(9007199254740993) && f->bad_n == 0 && manifest_file_is_bad(f));
	f = manifest_file_find(m, "pg_data/#c");
	assert_true(
		!manifest_owner_known(f->group) && manifest_owner_known(f->user) && f->mtime == -1);
	assert_string_equal(f->user, "o\"x");
	f = manifest_file_find(m, "pg_data/odd={\"k\"=1");
	assert_true(f != NULL && !f->has_sum && f->repo_size == 3);
	/* line feeds in destinations are text like any other */
	assert_string_equal(manifest_target_find(m, "pg_data/pg_hba.conf")->path, "../a\nb");
	assert_true(manifest_target_find(m, "pg_tblspc/16384")->tablespace_oid == 16384);
	assert_string_equal(m->dbs.v[0].name, "=odd");
}

static void sections_come_in_any_order(void **state)
{
	SCOPED_ARENA(a);
	const char *text = rich(a);
	/* the tail, from the files on, before the head */
	const char *files = strstr(text, "[target:file]"), *end = strstr(files, "[backrest]");
	const char *moved = arena_printf(a, "%.*s[strange]\nx=1\n%.*s", (int)(end - files), files,
		(int)(files - text), text);
	struct manifest *m = loaded(a, signed_text(a, moved));

	assert_string_equal(written(a, m), text);
}

static void rows_come_in_any_order(void **state)
{
	SCOPED_ARENA(a);
	const char *text = sample(a, "backup.manifest");
	const char *line = "pg_data/empty={\"mode\":\"0640\",\"reference\":\"" FULL
			   "\",\"size\":0,\"timestamp\":1793491200}\n";
	const char *moved = replaced(a, replaced(a, text, line, ""), "[target:file]\n",
		arena_printf(a, "[target:file]\n%s", line));
	struct manifest *m = loaded(a, signed_text(a, moved));

	assert_string_equal(written(a, m), text);
}

static void old_manifests_are_understood(void **state)
{
	SCOPED_ARENA(a);
	const char *t = sample(a, "backup.manifest");

	/* before the type had a name: gz; before 2.42: no list of references; "master" means
	 * nothing now */
	t = replaced(a, t, "option-compress=false", "option-compress=true");
	t = replaced(a, t, "option-compress-type=\"none\"\n", "");
	t = replaced(a, t, "option-checksum-page=false\n", "");
	t = replaced(a, t, "backup-reference=\"" FULL "," DIFF "\"\n", "");
	t = replaced(a, t, "\"mode\":\"0644\",", "\"master\":true,\"mode\":\"0644\",");
	struct manifest *m = loaded(a, signed_text(a, t));
	assert_int_equal(m->codec, CODEC_GZ);
	assert_int_equal(m->reference.n, 2);
	assert_string_equal(m->reference.v[0], FULL);
	assert_string_equal(m->reference.v[1], DIFF);
	/* an own label spelled out as reference is an own file */
	t = replaced(a, sample(a, "backup.manifest"), "\"mode\":\"0644\",",
		"\"reference\":\"" DIFF "\",");
	m = loaded(a, signed_text(a, t));
	assert_null(manifest_file_find(m, "pg_data/postgresql.conf")->reference);
}

static void partial_manifests_round_trip(void **state)
{
	SCOPED_ARENA(a);
	const char *t = sample(a, "backup.manifest");
	static const char *const completed[] = {
		"option-backup-standby=false\n",
		"option-buffer-size=1048576\n",
		"option-compress-level=0\n",
		"option-compress-level-network=1\n",
		"option-process-max=1\n",
	};

	for (size_t i = 0; i < COUNT(completed); i++)
		t = replaced(a, t, completed[i], "");
	t = replaced(a, t, "timestamp-stop=1795175795", "timestamp-stop=0");
	t = replaced(a, t, "db-id=1\ndb-system-id=7000000000000000180", "db-id=0\ndb-system-id=0");
	t = replaced(a, t, "\"checksum\":\"9762053d4defb8be822cb0957983a6b8796976d6\",", "");
	t = signed_text(a, t);
	struct manifest *m = loaded(a, t);
	assert_true(!m->complete && m->stop == 0);
	struct manifest_file *f = manifest_file_find(m, "pg_data/postgresql.conf");
	assert_false(f->has_sum);
	/* what a copy is going to find out is not said before */
	f->page_check = true;
	f->repo_size = 99;
	assert_string_equal(written(a, m), t);
}

/* Each text replaces another one of the sample, which is signed again: only the content is wrong.
 */
static void hostile_manifests_are_refused(void **state)
{
	static const struct {
		const char *from, *to, *part;
	} cases[] = {
		{"pg_data/empty=", "pg_data/../empty=", "'pg_data/../empty' is not a safe name"},
		{"pg_data/empty=", "/etc/passwd=", "'/etc/passwd' is not a safe name"},
		{"pg_data/empty=", "pg_data//empty=", "is not a safe name"},
		{"pg_data/empty=", "pg_data/./empty=", "is not a safe name"},
		{"pg_data/empty=", "pg_data/=", "is not a safe name"},
		{"pg_data/empty=", "pg_data=", "outside of pg_data"},
		{"pg_data/empty=", "pg_database/empty=", "outside of pg_data"},
		{"pg_data/empty=", "empty=", "outside of pg_data"},
		{"pg_data/empty=", "pg_tblspc/empty=", "outside of pg_data"},
		{"pg_data/empty=", "pg_tblspc/16384=", "outside of pg_data"},
		{"pg_data/empty=", "pg_tblspc/16384/x=", "without its parent"},
		{"pg_data/empty=", "pg_data/none/empty=",
			"'pg_data/none/empty' is listed without its parent"},
		{"pg_data/empty=", "pg_data/PG_VERSION/empty=", "without its parent"},
		{"pg_data/empty=", "pg_data/base=", "'pg_data/base' is listed as file and as path"},
		{"pg_data/empty=", "pg_data/PG_VERSION=", "'pg_data/PG_VERSION' is listed twice"},
		{"\npg_data/base={}", "\npg_data/global={}", "listed twice"},
		{"\npg_data/base={}", "", "'pg_data/base/1' is listed without its parent"},
		{"\npg_data/base={}", "\npg_data/base={}\npg_data/..={}", "not a safe name"},
		{"\npg_data/base={}", "\npg_data/base={}\n/={}", "not a safe name"},
		{"\npg_data/base={}", "\npg_data/base={}\netc={}", "outside of pg_data"},
		{"\npg_data/base={}", "\npg_data/base={}\npg_tblspc/x={}", "outside of pg_data"},
		{"\npg_data={}\n", "\n", "path 'pg_data' is not listed"},
		{"\"size\":2,", "\"size\":-2,", "key 'size'"},
		{"\"size\":2,", "\"size\":9223372036854775808,", "impossible numbers"},
		{"\"size\":2,", "\"size\":18446744073709551616,", "line"},
		{"\"size\":2,", "\"size\":2.0,", "line"},
		{"\"size\":2,", "", "required key 'size' not found"},
		{"\"size\":2,", "\"repo-size\":9223372036854775808,\"size\":2,",
			"impossible numbers"},
		{"\"size\":2,", "\"size\":2,\"szo\":9223372036854775808,", "impossible numbers"},
		{"\"size\":2,", "\"bno\":7,\"size\":2,", "impossible numbers"},
		{"\"size\":2,", "\"bni\":1,\"repo-size\":0,\"size\":2,", "impossible numbers"},
		{"\"size\":2,", "\"bni\":1,\"bno\":9223372036854775807,\"size\":2,",
			"impossible numbers"},
		{"\"size\":2,", "\"bni\":4294967296,\"size\":2,", "key 'bni'"},
		{"\"size\":2,", "\"bi\":0,\"size\":2,", "key 'bi': impossible block size"},
		{"\"size\":2,", "\"bi\":524288,\"size\":2,", "key 'bi': impossible block size"},
		{"\"size\":2,", "\"bi\":1,\"bic\":0,\"size\":2,", "key 'bic'"},
		{"\"size\":2,", "\"bi\":1,\"bic\":17,\"size\":2,", "impossible numbers"},
		{"\"size\":2,", "\"bim\":1,\"size\":2,", "impossible numbers"},
		{"\"size\":2,", "\"bi\":1,\"bim\":3,\"size\":2,", "impossible numbers"},
		{"\"size\":2,", "\"reference\":\"20261120-115633F\",\"size\":2,",
			"not in the reference list"},
		{"\"size\":2,", "\"reference\":\"../../../etc\",\"size\":2,",
			"not in the reference list"},
		{"\"size\":2,", "\"rck\":\"xx\",\"size\":2,", "key 'rck': not a SHA-1"},
		{"\"checksum\":\"9762053d", "\"checksum\":\"9762053da",
			"key 'checksum': not a SHA-1"},
		{"\"checksum\":\"9762053d", "\"checksum\":\"976205", "key 'checksum': not a SHA-1"},
		{"\"size\":2,", "\"checksum-page\":true,\"checksum-page-error\":[1],\"size\":2,",
			"bad pages"},
		{"\"size\":2,", "\"checksum-page\":false,\"checksum-page-error\":[5,4],\"size\":2,",
			"ascend"},
		{"\"size\":2,",
			"\"checksum-page\":false,\"checksum-page-error\":[[5,4]],\"size\":2,",
			"ascend"},
		{"\"size\":2,", "\"checksum-page\":false,\"checksum-page-error\":[[5]],\"size\":2,",
			"two ends"},
		{"\"size\":2,", "\"checksum-page\":false,\"checksum-page-error\":[[]],\"size\":2,",
			"two ends"},
		{"\"size\":2,",
			"\"checksum-page\":false,\"checksum-page-error\":[[1,2,3]],\"size\":2,",
			"two ends"},
		{"\"size\":2,",
			"\"checksum-page\":false,\"checksum-page-error\":[4294967296],\"size\":2,",
			"page number"},
		{"\"size\":2,", "\"checksum-page\":false,\"checksum-page-error\":7,\"size\":2,",
			"not an array"},
		{"\"mode\":\"0644\"", "\"mode\":\"0888\"", "key 'mode'"},
		{"\"mode\":\"0644\"", "\"mode\":\"4755\"", "impossible"},
		{"\"mode\":\"0644\"", "\"mode\":\"00644\"", "key 'mode'"},
		{"\"mode\":\"0644\"", "\"mode\":\"\"", "key 'mode'"},
		{"\"mode\":\"0644\"", "\"mode\":420", "key 'mode'"},
		{"\"mode\":\"0644\"", "\"user\":true", "key 'user'"},
		{"mode=\"0600\"\n", "", "has no mode and there is no default"},
		{"user=\"postgres\"\n\n[target:path]", "\n[target:path]",
			"has no owner and there is no default"},
		{"label=\"" DIFF "\"", "label=\"../../x\"", "is not a backup label"},
		{"label=\"" DIFF "\"", "label=\"" FULL "\"", "does not belong"},
		{"prior=\"" FULL "\"", "prior=\"..\"", "prior '..'"},
		{"prior=\"" FULL "\"", "prior=\"20261120-115633F\"", "not of the same backup set"},
		{"backup-prior=\"" FULL "\"\n", "", "has no prior, all others have one"},
		{"=\"" FULL ",", "=\"../x,", "reference '../x'"},
		{"=\"" FULL ",", "=\",", "reference ''"},
		{"\"" FULL "," DIFF "\"", "\"" DIFF "," FULL "\"",
			"does not end with the backup itself"},
		{"backup-type=\"diff\"", "backup-type=\"incr\"", "does not belong to backup"},
		{"backup-type=\"diff\"", "backup-type=\"\"", "is not a backup type"},
		{"db-version=\"18\"", "db-version=\"../1\"", "no PostgreSQL version"},
		{"option-compress-type=\"none\"", "option-compress-type=\"xz\"",
			"compression 'xz' is not known"},
		{"option-online=false", "option-online=\"n\"",
			"[backup:option]: key 'option-online'"},
		{"\npg_data={\"path\"", "\npg_data/x={\"path\"", "target 'pg_data' is not listed"},
		{"\"type\":\"path\"", "\"type\":\"link\"",
			"target 'pg_data' is of an impossible type"},
		{"\"type\":\"path\"", "\"type\":\"dir\"", "is not a type of target"},
		{"\"/mnt/pg\"", "\"\"", "target 'pg_data' has no path"},
		{"\"type\":\"path\"}\n",
			"\"type\":\"path\"}\npg_data/x={\"path\":\"/\",\"type\":\"link\"}\n",
			"a target has no link"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct manifest *m;
		const char *text =
			replaced(a, sample(a, "backup.manifest"), cases[i].from, cases[i].to);

		assert_int_equal(load_text(a, signed_text(a, text), &m), -1);
		if (strstr(err_msg(), cases[i].part) == NULL)
			fail_msg(
				"case %zu: %s -> %s: %s", i, cases[i].from, cases[i].to, err_msg());
		assert_int_equal(err_code(), ERR_FORMAT);
		err_clear();
	}
}

static void hostile_links_are_refused(void **state)
{
	static const struct {
		const char *from, *to, *part;
	} cases[] = {
		{"\npg_data/log={\"destination\"", "\npg_tblspc/16384/log={\"destination\"",
			"is not below pg_data"},
		{"\npg_data/log={\"destination\"", "\npg_data/../log={\"destination\"",
			"not a safe name"},
		{"\npg_data/log={\"destination\"", "\npg_data/x/log={\"destination\"",
			"without its parent"},
		{"\npg_data/log={\"destination\"", "\npg_data/base={\"destination\"",
			"link 'pg_data/base' has no target"},
		{"\npg_data/log={\"destination\":\"../log\"", "\npg_data/log={\"destination\":\"\"",
			"no destination"},
		{"\npg_data/log={\"destination\":\"../log\",", "\npg_data/log={",
			"required key 'destination'"},
		{"\"file\":\"pg_hba.conf\"", "\"file\":\"../passwd\"", "which is not a name"},
		{"\"file\":\"pg_hba.conf\"", "\"file\":\"..\"", "which is not a name"},
		{"\"file\":\"pg_hba.conf\"", "\"file\":\"\"", "which is not a name"},
		{"\"tablespace-id\":\"16384\",\"tablespace-name\":\"ts1\",", "",
			"what makes a tablespace"},
		{"\"tablespace-name\":\"ts1\",", "", "what makes a tablespace"},
		{"\"tablespace-id\":\"16384\"", "\"tablespace-id\":\"16385\"",
			"has the tablespace-id 16385"},
		{"\"tablespace-id\":\"16384\"", "\"tablespace-id\":16384", "key 'tablespace-id'"},
		{"\"tablespace-id\":\"16384\"", "\"tablespace-id\":\"../1\"",
			"key 'tablespace-id'"},
		{"\npg_tblspc/16384={\"path\"", "\npg_tblspc/16384/x={\"path\"",
			"has the tablespace-id"},
		{"\npg_tblspc/16384={}", "",
			"'pg_tblspc/16384/PG_18_202506291' is listed without its parent"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct manifest *m;

		assert_int_equal(
			load_text(a,
				signed_text(a, replaced(a, rich(a), cases[i].from, cases[i].to)),
				&m),
			-1);
		if (strstr(err_msg(), cases[i].part) == NULL)
			fail_msg(
				"case %zu: %s -> %s: %s", i, cases[i].from, cases[i].to, err_msg());
		err_clear();
	}
	/* the bare pg_tblspc need not be listed */
	SCOPED_ARENA(a);
	loaded(a, signed_text(a, replaced(a, rich(a), "\npg_tblspc={}", "")));
}

static void another_directorys_manifest_is_refused(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct manifest *m;

	put_text(s, "backup/demo/" FULL "/backup.manifest", sample(a, "backup.manifest"));
	assert_int_equal(manifest_load(a, s, "demo", FULL, NULL, &m), -1);
	assert_string_equal(err_msg(),
		"requested backup '" FULL "' and manifest label '" DIFF "' do not match");
	err_clear();
}

static void the_copy_stands_in(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	const char *text = sample(a, "backup.manifest");
	struct manifest *m;

	assert_int_equal(manifest_load(a, s, "demo", DIFF, NULL, &m), STORE_ABSENT);
	put_text(s, DIR "backup.manifest.copy", text);
	assert_int_equal(manifest_load(a, s, "demo", DIFF, NULL, &m), 0);
	assert_string_equal(written(a, m), text);
	/* cut in the middle of the rows: none of them may be left over */
	put_text(s, DIR "backup.manifest",
		replaced(a, text, "[backrest]\nbackrest-checksum", "[x]\ny"));
	assert_int_equal(manifest_load(a, s, "demo", DIFF, NULL, &m), 0);
	assert_string_equal(written(a, m), text);
}

/* Every truncation is refused, but for the last line feed. */
static void every_truncation_fails(void **state)
{
	SCOPED_ARENA(a);
	const char *text = sample(a, "backup.manifest");
	size_t len = strlen(text);

	for (size_t i = 0; i + 1 < len; i++) {
		SCOPED_ARENA(turn);
		struct manifest *m;

		assert_int_equal(load_text(turn, arena_strndup(turn, text, i), &m), -1);
		err_clear();
	}
}

/* Changed bytes under a right checksum: any answer but a crash, and what is accepted can be
 * written. */
static void survives_changed_bytes(void **state)
{
	static const char alphabet[] = "{}[]\",:\\=/.-0123456789aF\n";
	unsigned seed = 42, accepted = 0;

	SCOPED_ARENA(a);
	const char *text = rich(a);
	size_t len = (size_t)(strstr(text, "[backrest]\nbackrest-checksum") - text);
	for (int i = 0; i < 5000; i++) {
		SCOPED_ARENA(turn);
		char *copy = arena_strndup(turn, text, len);
		struct manifest *m;

		for (int k = 0; k <= i % 3; k++)
			copy[(size_t)rand_r(&seed) % len] =
				alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
		/* learn the checksum from the refusal */
		copy = arena_printf(turn, "%s\n[backrest]\nbackrest-checksum=\"%040d\"\n", copy, 0);
		if (load_text(turn, copy, &m) == 0)
			fail_msg("accepted without a checksum");
		const char *actual = strstr(err_msg(), "actual '\"");
		if (actual != NULL)
			memcpy(strstr(copy, "checksum=\"0000000000000000000000000000000000000000") +
					10,
				actual + 9, 40);
		err_clear();
		if (load_text(turn, copy, &m) == 0) {
			written(turn, m);
			accepted++;
		}
		err_clear();
	}
	/* or else the changes never got beyond the checksum */
	assert_in_range(accepted, 500, 4500);
}

static void a_manifest_out_of_order_is_not_written(void **state)
{
	SCOPED_ARENA(a);
	struct manifest *m = loaded(a, sample(a, "backup.manifest"));
	struct manifest_file late = *manifest_file_find(m, "pg_data/PG_VERSION");

	late.name = "pg_data/AAA";
	vec_push(&m->files, late);
	assert_int_equal(manifest_write(m, sink_null(a)), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	err_clear();
	manifest_sort(m);
	assert_non_null(manifest_file_find(m, "pg_data/AAA"));
	written(a, m);
}

/* Lessons E1: no row is lost where a buffer ends, however many there are. */
static void many_rows_round_trip(void **state)
{
	static const size_t counts[] = {1, 1000, 30000};

	for (size_t c = 0; c < COUNT(counts); c++) {
		SCOPED_ARENA(a);
		struct store *s = store_mem(a);
		struct manifest *m = loaded(a, sample(a, "backup.manifest")), *back;
		struct sum stored;

		m->files.n = 0;
		for (size_t i = 0; i < counts[c]; i++) {
			struct manifest_file *f = vec_add(&m->files);
			const char *name = arena_printf(a, "pg_data/base/1/%06zu%.*s", i,
				(int)(i * 31 % 60),
				"------------------------------------------------------------");

			*f = (struct manifest_file){.name = name, .user = m->file_user,
				.group = m->file_group, .mode = 0600, .size = i * i + 1,
				.size_orig = i * i + 1, .repo_size = i + 1, .bundle = (uint32_t)(i / 100 + 1),
				.bundle_offset = i * 7919, .mtime = (int64_t)i - 9, .has_sum = true,
				.has_repo_sum = true};
			sha1_of(name, strlen(name), &f->sum);
			sha1_of(&i, sizeof(i), &f->repo_sum);
		}
		assert_int_equal(manifest_save_copy(s, "demo", NULL, m, &stored), 0);
		assert_int_equal(manifest_load(a, s, "demo", DIFF, NULL, &back), 0);
		assert_int_equal(back->files.n, counts[c]);
		for (size_t i = 0; i < counts[c]; i++) {
			const struct manifest_file *x = &m->files.v[i], *y = &back->files.v[i];

			if (strcmp(x->name, y->name) != 0 || x->size != y->size ||
				x->repo_size != y->repo_size || x->bundle != y->bundle ||
				x->bundle_offset != y->bundle_offset || x->mtime != y->mtime ||
				!sum_equal(&x->sum, &y->sum) || !sum_equal(&x->repo_sum, &y->repo_sum))
				fail_msg("row %zu of %zu differs", i, counts[c]);
		}
	}
}

static void publishing_makes_three_files(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	const char *text = sample(a, "backup.manifest");
	struct manifest *m = loaded(a, text);
	struct buf history;
	struct pipe_result result;
	const struct pipe_spec expand = {.expand = CODEC_GZ};
	const struct get_opts get = {.spec = &expand, .result = &result};

	assert_int_equal(manifest_publish(s, "demo", NULL, m), 0);
	assert_string_equal(get_text(a, s, DIR "backup.manifest"), text);
	assert_string_equal(get_text(a, s, DIR "backup.manifest.copy"), text);
	buf_init(&history, a);
	assert_int_equal(store_get(s, "backup/demo/backup.history/2026/" DIFF ".manifest.gz", &get,
				 sink_buf(a, &history)),
		0);
	assert_string_equal(history.data, text);
}

static char *expanded(struct arena *a, struct store *s, const char *path, struct pipe_spec spec)
{
	struct buf b;
	struct pipe_result result;
	const struct get_opts get = {.spec = &spec, .result = &result};

	buf_init(&b, a);
	if (store_get(s, path, &get, sink_buf(a, &b)) != 0)
		fail_msg("%s", err_msg());
	return b.data;
}

/* Three encrypted files, main file and copy the same; gz comes before the cipher. */
static void publishing_encrypts(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct manifest *m = loaded(a, sample(a, "backup.manifest")), *again;
	const struct pipe_spec open = {.decrypt = "mpass"};
	struct buf main, copy;

	m->cipher_pass = "set pass";
	assert_int_equal(manifest_publish(s, "demo", "mpass", m), 0);
	buf_init(&main, a);
	buf_init(&copy, a);
	assert_int_equal(store_read(s, DIR "backup.manifest", 1 << 20, false, &main), 0);
	assert_int_equal(store_read(s, DIR "backup.manifest.copy", 1 << 20, false, &copy), 0);
	assert_int_equal(main.len, copy.len);
	assert_memory_equal(main.data, copy.data, main.len);
	assert_memory_equal(main.data, "Salted__", 8);
	const char *text = expanded(a, s, DIR "backup.manifest", open);
	assert_string_equal(text, signed_text(a,
		replaced(a, sample(a, "backup.manifest"), "\n[metadata]\n",
			"\n[cipher]\ncipher-pass=\"set pass\"\n\n[metadata]\n")));
	assert_string_equal(expanded(a, s, "backup/demo/backup.history/2026/" DIFF ".manifest.gz",
				    (struct pipe_spec){.decrypt = "mpass", .expand = CODEC_GZ}), text);

	assert_int_equal(manifest_load(a, s, "demo", DIFF, "mpass", &again), 0);
	assert_string_equal(again->cipher_pass, "set pass");
	assert_string_equal(written(a, again), text);
	assert_int_equal(manifest_load(a, s, "demo", DIFF, "set pass", &again), -1);
	assert_int_equal(err_code(), ERR_CRYPTO);
	err_clear();
	assert_int_equal(manifest_load(a, s, "demo", DIFF, NULL, &again), -1);
	assert_int_equal(err_code(), ERR_CRYPTO);
	err_clear();
}

static void keys_go_together(void **state)
{
	static const char *const keys[][2] = {{"mpass", NULL}, {NULL, "set pass"}};

	for (size_t i = 0; i < COUNT(keys); i++) {
		SCOPED_ARENA(a);
		struct store *s = store_mem(a);
		struct manifest *m = loaded(a, sample(a, "backup.manifest"));
		struct store_entry e;

		m->cipher_pass = keys[i][1];
		assert_int_equal(manifest_publish(s, "demo", keys[i][0], m), -1);
		assert_int_equal(err_code(), ERR_ASSERT);
		err_clear();
		assert_int_equal(store_stat(a, s, DIR "backup.manifest.copy", &e), STORE_ABSENT);
	}
}

/* The main file is made of what is read back from the copy. */
static void a_copy_that_cannot_be_read_back_is_not_published(void **state)
{
	SCOPED_ARENA(a);
	struct store_fault fault = {.verb = "read", .nth = 1};
	struct store *mem = store_mem(a), *s = store_faulty(a, mem, &fault);
	struct manifest *m = loaded(a, sample(a, "backup.manifest"));
	struct store_entry e;

	assert_int_equal(manifest_publish(s, "demo", NULL, m), -1);
	err_clear();
	assert_int_equal(store_stat(a, mem, DIR "backup.manifest", &e), STORE_ABSENT);
}

/* The copy first, the main file, which makes the backup exist, only behind it. */
static void a_failed_publication_leaves_no_backup(void **state)
{
	static const char *const verbs[] = {"put", "write", "finish"};

	for (size_t v = 0; v < COUNT(verbs); v++) {
		for (unsigned nth = 1; nth <= 3; nth++) {
			SCOPED_ARENA(a);
			struct store_fault fault = {.verb = verbs[v], .nth = nth};
			struct store *mem = store_mem(a), *s = store_faulty(a, mem, &fault);
			struct manifest *m = loaded(a, sample(a, "backup.manifest"));
			struct store_entry e;

			assert_int_equal(manifest_publish(s, "demo", NULL, m), -1);
			err_clear();
			assert_int_equal(
				store_stat(a, mem, DIR "backup.manifest.copy", &e) == 0, nth > 1);
			assert_int_equal(
				store_stat(a, mem, DIR "backup.manifest", &e) == 0, nth > 2);
		}
	}
}

static void what_is_not_complete_is_not_published(void **state)
{
	for (int i = 0; i < 9; i++) {
		SCOPED_ARENA(a);
		struct store *s = store_mem(a);
		struct manifest *m = loaded(a, sample(a, "backup.manifest"));
		struct manifest_file *f = manifest_file_find(m, "pg_data/postgresql.conf");
		struct manifest_file *empty = manifest_file_find(m, "pg_data/empty");
		struct store_entry e;

		switch (i) {
		case 0:
			f->has_sum = false;
			break;
		case 1:
			f->repo_size = 0;
			break;
		case 2:
			empty->sum = f->sum;
			break;
		case 3:
			m->stop = 0;
			break;
		case 4:
			m->complete = false;
			break;
		case 5:
			m->file_user = NULL;
			break;
		case 6:
			f->name = "pg_data/zzz/postgresql.conf";
			break;
		case 7:
			m->label = NULL;
			break;
		default:
			m->files.n = 0;
		}
		assert_int_equal(manifest_publish(s, "demo", NULL, m), -1);
		assert_int_equal(err_code(), ERR_FORMAT);
		err_clear();
		assert_int_equal(store_stat(a, s, "backup", &e), STORE_ABSENT);
	}
}

static void the_summary_is_the_line_of_backup_info(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct backup_info info;
	struct backup_line line;

	put_text(s, "backup/demo/backup.info", sample(a, "backup.info"));
	assert_int_equal(backup_info_load(a, s, "demo", NULL, &info), 0);
	assert_int_equal(backup_info_save(s, "demo", NULL, &info), 0);
	const char *before = get_text(a, s, "backup/demo/backup.info");
	manifest_summary(a, loaded(a, sample(a, "backup.manifest")), &line);
	backup_info_add(&info, &line);
	assert_int_equal(backup_info_save(s, "demo", NULL, &info), 0);
	assert_string_equal(get_text(a, s, "backup/demo/backup.info"), before);
}

static void the_summary_adds_up(void **state)
{
	SCOPED_ARENA(a);
	struct manifest *m = loaded(a, rich(a));
	struct backup_line l;

	manifest_summary(a, m, &l);
	assert_true(l.has_error && l.error && l.has_map_size);
	assert_true(l.repo_size_map == 624 && l.repo_size_map_delta == 0);
	/* by hand: #c 1, PG_VERSION 3 + 3, 112, 1255, 1257, pg_control, odd 3, postgresql.conf 2 */
	assert_true(
		l.size == 1 + 3 + 3 + 8192 + 835584 + UINT64_C(9007199254740993) + 8192 + 3 + 2);
	assert_true(l.size_delta == 1 + 8192 + UINT64_C(9007199254740993) + 3 + 2);
	assert_true(
		l.repo_size == 1 + 3 + 3 + 88 + 104590 + UINT64_C(9007199254740993) + 8192 + 3 + 2);
	assert_true(l.repo_size_delta == 1 + 88 + UINT64_C(9007199254740993) + 3 + 2);
	m->block_incr = false;
	manifest_summary(a, m, &l);
	assert_true(!l.has_map_size && l.repo_size_map == 0);
}

static void names_below_the_data_directory(void **state)
{
	assert_string_equal(manifest_pg_path("pg_data"), "");
	assert_string_equal(manifest_pg_path("pg_data/base/1"), "base/1");
	assert_string_equal(manifest_pg_path("pg_tblspc/1/x"), "pg_tblspc/1/x");
	assert_string_equal(manifest_pg_path("pg_database"), "pg_database");
}

static void equal_strings_are_one(void **state)
{
	SCOPED_ARENA(a);
	struct manifest *m = manifest_new(a);
	char text[] = "postgres";
	const char *one = manifest_intern(m, text);

	assert_ptr_equal(one, manifest_intern(m, "postgres"));
	text[0] = 'x';
	assert_string_equal(one, "postgres");
	assert_ptr_not_equal(one, manifest_intern(m, "postgre"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips_the_sample),
		cmocka_unit_test(round_trips_everything_the_format_has),
		cmocka_unit_test(reads_the_sample),
		cmocka_unit_test(reads_odd_rows),
		cmocka_unit_test(sections_come_in_any_order),
		cmocka_unit_test(rows_come_in_any_order),
		cmocka_unit_test(old_manifests_are_understood),
		cmocka_unit_test(partial_manifests_round_trip),
		cmocka_unit_test(hostile_manifests_are_refused),
		cmocka_unit_test(hostile_links_are_refused),
		cmocka_unit_test(another_directorys_manifest_is_refused),
		cmocka_unit_test(the_copy_stands_in),
		cmocka_unit_test(every_truncation_fails),
		cmocka_unit_test(survives_changed_bytes),
		cmocka_unit_test(a_manifest_out_of_order_is_not_written),
		cmocka_unit_test(many_rows_round_trip),
		cmocka_unit_test(publishing_makes_three_files),
		cmocka_unit_test(publishing_encrypts),
		cmocka_unit_test(keys_go_together),
		cmocka_unit_test(a_copy_that_cannot_be_read_back_is_not_published),
		cmocka_unit_test(a_failed_publication_leaves_no_backup),
		cmocka_unit_test(what_is_not_complete_is_not_published),
		cmocka_unit_test(the_summary_is_the_line_of_backup_info),
		cmocka_unit_test(the_summary_adds_up),
		cmocka_unit_test(names_below_the_data_directory),
		cmocka_unit_test(equal_strings_are_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
