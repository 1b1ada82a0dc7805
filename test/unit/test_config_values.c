/*
 * What loading puts into the members, what is shown and passed on of it, and where secrets go:
 * nowhere.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include "config_fixture.h"
#include "config/values.h"

#define CREATE "pgstrata stanza-create --stanza=Main --pg1-path=/pg"
#define BACKUP "pgstrata backup --stanza=Main --pg1-path=/pg "
#define RESTORE "pgstrata restore --stanza=Main --pg1-path=/pg "

static struct loaded load_ok(const char *words, const char *env, const char *conf)
{
	struct loaded l = load_words(words, env, conf);

	if (!l.cfg)
		print_message("# %s: [%d] %s\n", words, l.code, l.message);
	assert_non_null(l.cfg);
	return l;
}

static void test_backup_defaults(void **state)
{
	struct loaded l = load_ok(BACKUP, NULL, NULL);
	const struct config *c = l.cfg;

	assert_int_equal(c->command, CMD_BACKUP);
	assert_string_equal(c->stanza, "Main");
	assert_string_equal(c->compress_type, "zst");
	assert_int_equal(c->compress_level, 3);
	assert_int_equal(c->compress_level_network, 1);
	assert_string_equal(c->type, "incr");
	assert_false(c->type_given);
	assert_int_equal(c->checksum_page, TRI_UNSET);
	assert_int_equal(c->buffer_size, 1024 * 1024);
	assert_int_equal(c->archive_timeout, 60000);
	assert_int_equal(c->db_timeout, 1800000);
	assert_int_equal(c->process_max, 1);
	assert_int_equal(c->log_level_console, LOG_WARN);
	assert_int_equal(c->log_level_file, LOG_INFO);
	assert_int_equal(c->log_level_stderr, LOG_OFF);
	assert_true(c->online && c->archive_check && c->neutral_umask && c->expire_auto);
	assert_false(c->allow_root || c->start_fast || c->force || c->has_priority);
	assert_int_equal(c->pg.n, 1);
	assert_int_equal(c->pg.v[0].port, 5432);
	assert_string_equal(c->pg.v[0].database, "postgres");
	assert_null(c->pg.v[0].user);
	assert_int_equal(c->repo.n, 1);
	assert_string_equal(c->repo.v[0].path, "/var/lib/pgstrata");
	assert_string_equal(c->log_path, "/var/log/pgstrata");
	assert_string_equal(c->lock_path, "/tmp/pgbackrest");
	assert_int_equal(c->repo.v[0].retention_full, -1);
	assert_string_equal(c->repo.v[0].retention_full_type, "count");
	arena_free(l.arena);
}

static void test_pgbackrest_by_name(void **state)
{
	struct loaded l =
		load_ok("/usr/bin/pgbackrest restore --stanza=x --pg1-path=/pg", NULL, NULL);

	assert_true(l.cfg->as_pgbackrest);
	assert_string_equal(l.cfg->repo.v[0].path, "/var/lib/pgbackrest");
	assert_string_equal(l.cfg->log_path, "/var/log/pgbackrest");
	assert_string_equal(l.cfg->cmd, "/usr/bin/pgbackrest");
	assert_true(l.cfg->allow_root);
	arena_free(l.arena);
}

/* cmd has to work from any directory. */
static void test_program_name(void **state)
{
	struct loaded l = load_ok(RESTORE, NULL, NULL);
	char cwd[4096];

	assert_string_equal(l.cfg->cmd, "pgstrata");
	arena_free(l.arena);
	l = load_ok("./bin/pgstrata restore --stanza=x --pg1-path=/pg", NULL, NULL);
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_string_equal(l.cfg->cmd, arena_printf(l.arena, "%s/bin/pgstrata", cwd));
	arena_free(l.arena);
	l = load_ok(RESTORE "--cmd=sudo~pgstrata", NULL, NULL);
	assert_string_equal(l.cfg->cmd, "sudo pgstrata");
	arena_free(l.arena);
}

static void test_compression(void **state)
{
	static const struct {
		const char *words, *env, *conf, *type;
		int level;
	} cases[] = {
		{"", NULL, NULL, "zst", 3},
		{"--compress-level=4", NULL, NULL, "gz", 4},
		{"", "PGBACKREST_COMPRESS_LEVEL=4", NULL, "gz", 4},
		{"", NULL, "[global]\ncompress-level=4\n", "gz", 4},
		{"--compress-level=4", NULL, "[global]\ncompress-type=lz4\n", "lz4", 4},
		{"--reset-compress-level", NULL, "[global]\ncompress-level=4\n", "zst", 3},
		{"--compress-type=gz", NULL, NULL, "gz", 6},
		{"--compress-type=bz2", NULL, NULL, "bz2", 9},
		{"--compress-type=lz4", NULL, NULL, "lz4", 1},
		{"--compress-type=none", NULL, NULL, "none", 0},
		{"--compress-type=none", NULL, "[global]\ncompress-level=4\n", "none", 0},
		{"--no-compress", NULL, NULL, "none", 0},
		{"", NULL, "[global]\ncompress=n\ncompress-level=4\n", "none", 0},
		{"--no-compress --compress-type=gz", NULL, NULL, "gz", 6},
		{"--compress", NULL, NULL, "zst", 3},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SCOPED_ARENA(a);
		struct loaded l = load_ok(
			arena_printf(a, BACKUP "%s", cases[i].words), cases[i].env, cases[i].conf);

		assert_string_equal(l.cfg->compress_type, cases[i].type);
		assert_int_equal(l.cfg->compress_level, cases[i].level);
		arena_free(l.arena);
	}
}

static void test_lists(void **state)
{
	struct loaded l = load_ok(BACKUP, NULL,
		"[Main]\nexclude=a#b;\nannotation=k=v=w \\\n[global]\nexclude=z\n"
		"[Main]\nexclude=a/\nannotation=e=\n");

	assert_int_equal(l.cfg->exclude.n, 2);
	assert_string_equal(l.cfg->exclude.v[0], "a#b;");
	assert_string_equal(l.cfg->exclude.v[1], "a/");
	assert_int_equal(l.cfg->annotation.n, 2);
	assert_string_equal(l.cfg->annotation.v[0].key, "k");
	assert_string_equal(l.cfg->annotation.v[0].value, "v=w \\");
	assert_string_equal(l.cfg->annotation.v[1].value, "");
	arena_free(l.arena);
	l = load_ok(BACKUP, "PGBACKREST_EXCLUDE=x:y", "[Main]\nexclude=a\n");
	assert_int_equal(l.cfg->exclude.n, 2);
	assert_string_equal(l.cfg->exclude.v[1], "y");
	arena_free(l.arena);
	l = load_ok(RESTORE "--recovery-option=a=1 --recovery-option=a=2", NULL, NULL);
	assert_int_equal(l.cfg->recovery_option.n, 1);
	assert_string_equal(l.cfg->recovery_option.v[0].value, "2");
	arena_free(l.arena);
}

static void test_indexes(void **state)
{
	struct loaded l = load_ok(BACKUP "--repo3-path=/c/", NULL,
		"[global]\nrepo2-path=/b\nrepo7-s3-bucket=x\n"
		"[Main]\npg4-path=/pg4\npg2-path=/pg2\n[global:info]\nrepo8-path=/h\n");

	assert_int_equal(l.cfg->repo.n, 2);
	assert_int_equal(l.cfg->repo.v[0].key, 2);
	assert_string_equal(l.cfg->repo.v[0].path, "/b");
	assert_int_equal(l.cfg->repo.v[1].key, 3);
	assert_string_equal(l.cfg->repo.v[1].path, "/c");
	assert_int_equal(l.cfg->pg.n, 3);
	assert_int_equal(l.cfg->pg.v[1].key, 2);
	assert_string_equal(l.cfg->pg.v[2].path, "/pg4");
	arena_free(l.arena);
	l = load_ok("pgstrata info --repo=3", NULL, "[global]\nrepo3-path=/c\nrepo1-path=/a\n");
	assert_int_equal(l.cfg->repo_key, 3);
	assert_int_equal(l.cfg->repo.n, 2);
	arena_free(l.arena);
}

static void test_older_names(void **state)
{
	struct loaded l = load_ok("pgstrata backup --stanza=x", NULL,
		"[global]\nrepo-path=/r\nretention-full=2\n[x]\ndb-path=/pg\ndb-port=5433\n"
		"db2-path=/pg2\n");

	assert_string_equal(l.cfg->repo.v[0].path, "/r");
	assert_int_equal(l.cfg->repo.v[0].retention_full, 2);
	assert_string_equal(l.cfg->pg.v[0].path, "/pg");
	assert_int_equal(l.cfg->pg.v[0].port, 5433);
	assert_int_equal(l.cfg->pg.v[1].key, 2);
	arena_free(l.arena);
}

static void test_dropped_by_dependency(void **state)
{
	struct loaded l = load_ok(
		BACKUP "--no-online --force", NULL, "[global]\narchive-copy=y\narchive-check=y\n");

	assert_false(l.cfg->archive_check || l.cfg->archive_copy || l.cfg->archive_mode_check);
	assert_true(l.cfg->force);
	arena_free(l.arena);
	l = load_ok(BACKUP "--repo1-type=cifs", NULL, NULL);
	assert_false(l.cfg->repo.v[0].symlink);
	arena_free(l.arena);
}

static void test_restore_members(void **state)
{
	struct loaded l =
		load_ok(RESTORE "--set=latest --type=name --target=a~b --target-timeline=0x5 "
				"--delta --archive-mode=off --priority=-3 --checksum-page-error=n",
			NULL, NULL);

	assert_null(l.cfg->set);
	assert_string_equal(l.cfg->type, "name");
	assert_true(l.cfg->type_given && l.cfg->delta && l.cfg->has_priority);
	assert_int_equal(l.cfg->priority, -3);
	assert_string_equal(l.cfg->target, "a b");
	assert_string_equal(l.cfg->target_action, "pause");
	assert_string_equal(l.cfg->archive_mode, "off");
	assert_false(l.cfg->checksum_page_error);
	arena_free(l.arena);
	l = load_ok(BACKUP "--checksum-page=n --log-level-file=detail", NULL, NULL);
	assert_int_equal(l.cfg->checksum_page, TRI_NO);
	assert_true(l.cfg->log_file_given);
	assert_int_equal(l.cfg->log_level_file, LOG_DETAIL);
	arena_free(l.arena);
	l = load_ok(BACKUP, "PGSTRATA_LOG_LEVEL_FILE=detail", NULL);
	assert_false(l.cfg->log_file_given);
	arena_free(l.arena);
}

static void test_print(void **state)
{
	struct loaded l = load_ok(
		"pgstrata backup --stanza=Main --no-online --exec-id=1-abc --reset-process-max "
		"--annotation=k=v~w --annotation=x=y --repo2-path=/b --start-fast",
		"PGBACKREST_TYPE=diff",
		"[global]\nprocess-max=4\nrepo1-path=/a\nlink-all=y\n[Main]\npg1-path=/pg/"
		"\nforce=y\n");
	const char *text = config_print(l.arena, l.cfg);
	const char *config = strstr(text, "--config=/tmp/");

	assert_non_null(config);
	assert_ptr_equal(strstr(text, "--annotation=\"k=v w\" --annotation=x=y --config="), text);
	assert_non_null(strstr(config,
		" --exec-id=1-abc --no-online --pg1-path=/pg --reset-process-max "
		"--repo1-path=/a --repo2-path=/b --stanza=Main --start-fast --type=diff"));
	arena_free(l.arena);
}

static void test_pass_on(void **state)
{
	struct loaded l = load_ok(
		"pgstrata restore --repo1-path=/r~'s~$x --log-level-console=off --delta "
		"--process-max=2 --pg1-path=/pg --type=none --no-neutral-umask --buffer-size=2MiB "
		"--reset-lock-path --cmd=other",
		"PGBACKREST_STANZA=Main|PGSTRATA_REPO2_PATH=/`id`|PGBACKREST_REPO1_S3_KEY=hush",
		"[global]\nlock-path=/l\n");

	const char *text = config_pass_on(l.arena, l.cfg, CMD_ARCHIVE_GET);
	const char *rest = strstr(text, " --reset-lock-path");

	assert_ptr_equal(strstr(text, "--buffer-size=2MiB --config=/tmp/"), text);
	assert_string_equal(rest,
		" --reset-lock-path --no-neutral-umask --pg1-path=/pg --repo1-path='/r '\\''s $x' "
		"--repo2-path='/`id`' --stanza=Main");
	arena_free(l.arena);
}

/* The same words must come out of a shell as went in. */
static void test_pass_on_survives_a_shell(void **state)
{
	struct loaded l = load_ok(
		"pgstrata restore --stanza=Main --pg1-path=/a~\"b\"~$HOME~`x`~'y'~\\~*~%p~;&|~!",
		NULL, NULL);
	FILE *f = popen(arena_printf(l.arena, "printf '%%s\\n' %s",
				config_pass_on(l.arena, l.cfg, CMD_ARCHIVE_GET)),
		"r");
	char line[3][256] = {"", "", ""};

	for (int i = 0; i < 3; i++)
		(void)!fgets(line[i], sizeof(line[i]), f);
	pclose(f);
	assert_string_equal(line[0], "--no-config\n");
	assert_string_equal(line[1], "--pg1-path=/a \"b\" $HOME `x` 'y' \\ * %p ;&| !\n");
	assert_string_equal(line[2], "--stanza=Main\n");
	arena_free(l.arena);
}

static void test_relative_config(void **state)
{
	SCOPED_ARENA(a);
	char cwd[4096];
	const char *path = write_conf(a, "[global]\nlock-path=/l\n");

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir("/tmp"), 0);

	struct loaded l = load_ok(
		arena_printf(a, "pgstrata info --config=%s", path + strlen("/tmp/")), NULL, NULL);

	assert_int_equal(chdir(cwd), 0);
	assert_string_equal(l.cfg->lock_path, "/l");
	assert_string_equal(
		config_pass_on(a, l.cfg, CMD_ARCHIVE_GET), arena_printf(a, "--config=%s", path));
	unlink(path);
	arena_free(l.arena);
}

static void test_secrets(void **state)
{
	SCOPED_ARENA(a);
	struct value v = {
		.opt = option_named("repo-cipher-pass"), .key = 1, .has = true, .text = "hush"};
	char *variable = arena_strdup(a, "PGBACKREST_REPO1_CIPHER_PASS=hush");
	struct option_values vals;
	givens env;

	assert_string_equal(value_texts(a, &v).v[0], "<redacted>");
	drop_variables();
	assert_int_equal(putenv(variable), 0);
	values_init(&vals, a, CMD_INFO);
	vec_init(&env, a);
	assert_int_equal(environment_read(a, CMD_INFO, &env), 0);
	assert_int_equal(env.n, 1);
	assert_string_equal(env.v[0].values.v[0], "hush");
	/* No child inherits it, and the place where it stood is empty too. */
	assert_null(getenv("PGBACKREST_REPO1_CIPHER_PASS"));
	assert_null(strstr(variable, "hush"));
	assert_int_equal(variable[strlen("PGBACKREST_REPO1_CIPHER_PASS=")], '\0');
}

static void test_check(void **state)
{
	static const struct {
		const char *words, *conf, *message;
		int64_t archive;
	} cases[] = {
		{BACKUP, "[global]\nrepo1-path=/r\nrepo3-path=/r/\n",
			"local repo1 and repo3 paths are both '/r' but must be different", -1},
		{BACKUP, "[global]\nrepo1-path=/r\nrepo3-path=/r/\nrepo3-type=cifs\n", "", -1},
		{BACKUP, "[global]\nrepo1-path=/r\nrepo1-cipher-pass=x\n", "", -1},
		{CREATE, "[global]\nrepo1-path=/r\nrepo1-cipher-pass=x\n",
			"option 'repo1-cipher-pass' not valid without option 'repo1-cipher-type' = "
			"'aes-256-cbc'", 0},
		{CREATE, "[global]\nrepo1-path=/r\nrepo1-cipher-pass=x\nrepo1-cipher-type=none\n", "", 0},
		{CREATE, "[global]\nrepo1-path=/r\nrepo2-cipher-pass=x\n", "", 0},
		{BACKUP, "[global]\nretention-full=2\n", "", 2},
		{BACKUP, "[global]\nretention-full=2\nrepo1-retention-full-type=time\n", "", -1},
		{BACKUP, "[global]\nretention-diff=3\nretention-archive-type=diff\n", "", 3},
		{BACKUP, "[global]\nretention-archive-type=incr\n", "", -1},
		{BACKUP, "[global]\nretention-archive=9\n", "", 9},
		{"pgstrata info --stanza=x --set=y --detail-level=progress", NULL,
			"option 'set' cannot be used with option 'detail-level' = 'progress'", 0},
		{BACKUP "--pg1-host=a", "[global]\nrepo1-host=b\n",
			"pg and repo hosts cannot both be configured as remote", -1},
		{BACKUP, "[global]\nrepo2-host=b\n[Main]\npg3-path=/pg3\npg3-host=a\n",
			"pg and repo hosts cannot both be configured as remote", -1},
		{"pgstrata serve --role=backup --stanza=Main", "[global]\nrepo1-host=b\n[Main]\npg1-path=/p\npg1-host=a\n",
			"", 0},
		{BACKUP, "[global]\nrepo1-host=b\nrepo2-host=c\n", "", -1},
		{BACKUP, "[global]\nprotocol-timeout=9m\ndb-timeout=10m\n",
			"'9m' is not valid for 'protocol-timeout' option", -1},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct loaded l = load_ok(cases[i].words, NULL, cases[i].conf);
		int err = dup(2);

		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
		assert_int_equal(config_check(l.cfg), *cases[i].message ? -1 : 0);
		dup2(err, 2);
		close(err);
		assert_string_equal(err_msg(), cases[i].message);
		assert_int_equal(l.cfg->repo.v[0].retention_archive, cases[i].archive);
		err_clear();
		arena_free(l.arena);
	}
}

static const char far_repo[] =
	"[global]\nrepo1-host=backup1\nrepo1-cipher-type=aes-256-cbc\nrepo2-type=sftp\nrepo2-host=b2\nrepo2-host-user=me\n"
	"repo2-host-port=2222\nrepo2-host-cmd=/opt/p\nrepo2-host-config=/c\nrepo2-host-config-path=/cp\n"
	"repo2-host-config-include-path=/ci\ntcp-keep-alive-count=3\n";

/* What another host knows need not be known here; what it decides by itself it is not told. */
static void test_hosts(void **state)
{
	struct loaded l = load_ok("bin/pgstrata archive-push --stanza=x --cmd-ssh=/bin/ssh", NULL, far_repo);
	const struct config_repo *one = &l.cfg->repo.v[0], *two = &l.cfg->repo.v[1];

	assert_string_equal(one->host.host, "backup1");
	assert_string_equal(one->host.user, "pgbackrest");
	assert_int_equal(one->host.port, -1);
	assert_true(one->host.cmd[0] == '/' && str_ends(one->host.cmd, "/bin/pgstrata"));
	assert_null(one->host.config);
	assert_null(one->host.config_path);
	assert_null(one->host.config_include_path);
	assert_string_equal(one->cipher_type, "none");
	assert_null(one->cipher_pass);
	assert_string_equal(two->host.host, "b2");
	assert_string_equal(two->host.user, "me");
	assert_int_equal(two->host.port, 2222);
	assert_string_equal(two->host.cmd, "/opt/p");
	assert_string_equal(two->host.config, "/c");
	assert_string_equal(two->host.config_path, "/cp");
	assert_string_equal(two->host.config_include_path, "/ci");
	assert_null(two->sftp_host);
	assert_string_equal(l.cfg->cmd_ssh, "/bin/ssh");
	assert_int_equal(l.cfg->protocol_timeout, 31 * 60 * 1000);
	assert_true(l.cfg->sck_keep_alive);
	assert_int_equal(l.cfg->tcp_keep_alive_count, 3);
	assert_int_equal(l.cfg->tcp_keep_alive_idle, -1);
	assert_int_equal(l.cfg->compress_level_network, 1);
	assert_null(l.cfg->pg.v[0].host.host);
	arena_free(l.arena);

	l = load_ok(BACKUP "--pg1-host=db1", NULL, "[global]\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=hush\n");
	assert_string_equal(l.cfg->pg.v[0].host.user, "postgres");
	assert_string_equal(l.cfg->pg.v[0].host.cmd, "pgstrata");
	assert_string_equal(l.cfg->repo.v[0].cipher_pass, "hush");
	arena_free(l.arena);
}

/* Of two times that do not fit, the one that nobody set gives way. */
static void test_timeouts(void **state)
{
	static const struct {
		const char *conf;
		int64_t protocol, db; /* s */
	} cases[] = {
		{"[global]\n", 1860, 1800},
		{"[global]\ndb-timeout=3600\n", 3630, 3600},
		{"[global]\nprotocol-timeout=60\n", 60, 30},
		{"[global]\nprotocol-timeout=40\n", 40, 20},
		{"[global]\nprotocol-timeout=45\n", 45, 15},
		{"[global]\nprotocol-timeout=7200\ndb-timeout=7100\n", 7200, 7100},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct loaded l = load_ok("pgstrata check --stanza=Main --pg1-path=/pg", NULL, cases[i].conf);

		assert_int_equal(config_check(l.cfg), 0);
		assert_int_equal(l.cfg->protocol_timeout, cases[i].protocol * 1000);
		assert_int_equal(l.cfg->db_timeout, cases[i].db * 1000);
		arena_free(l.arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backup_defaults),
		cmocka_unit_test(test_pgbackrest_by_name),
		cmocka_unit_test(test_program_name),
		cmocka_unit_test(test_compression),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_indexes),
		cmocka_unit_test(test_older_names),
		cmocka_unit_test(test_dropped_by_dependency),
		cmocka_unit_test(test_restore_members),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_pass_on),
		cmocka_unit_test(test_pass_on_survives_a_shell),
		cmocka_unit_test(test_relative_config),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_timeouts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
