/*
 * config_load: which source wins, what each failure says, what reaches the members.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "config_fixture.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
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

/* One source more with each row; the higher one wins. */
static void test_precedence(void **state)
{
	static const char *const files[] = {
		"",
		"[global]\nlock-path=/1\n",
		"[global]\nlock-path=/1\n[global:info]\nlock-path=/2\n",
		"[Main]\nlock-path=/3\n[global:info]\nlock-path=/2\n[global]\nlock-path=/1\n",
		("[global]\nlock-path=/1\n[global:info]\nlock-path=/2\n[Main]\nlock-path=/3\n"
		 "[Main:info]\nlock-path=/4\n"),
	};
	static const struct {
		const char *words, *env;
		int file;
		const char *expected;
	} cases[] = {
		{"", NULL, 0, "/tmp/pgbackrest"},
		{"", NULL, 1, "/1"},
		{"", NULL, 2, "/2"},
		{"", NULL, 3, "/3"},
		{"", NULL, 4, "/4"},
		{"", "PGBACKREST_LOCK_PATH=/5", 4, "/5"},
		{"", "PGBACKREST_LOCK_PATH=/5|PGSTRATA_LOCK_PATH=/6", 4, "/6"},
		{"", "PGSTRATA_lock_path=/6", 4, "/6"},
		{"--lock-path=/7 ", "PGBACKREST_LOCK_PATH=/5|PGSTRATA_LOCK_PATH=/6", 4, "/7"},
		{"--reset-lock-path ", "PGSTRATA_LOCK_PATH=/6", 4, "/tmp/pgbackrest"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct loaded l =
			load_ok(arena_printf(a, "pgstrata %s--stanza=Main info", cases[i].words),
				cases[i].env, files[cases[i].file]);

		assert_string_equal(l.cfg->lock_path, cases[i].expected);
		assert_string_equal(l.said, "");
		arena_free(l.arena);
	}
}

struct failure {
	const char *words, *env, *conf;
	int code;
	const char *message; /* with hints */
};

static void check_failures(const struct failure *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct loaded l = load_words(cases[i].words, cases[i].env, cases[i].conf);

		if (l.code != cases[i].code || strcmp(l.message, cases[i].message) != 0)
			print_message("# case %zu: %s\n# got [%d] %s\n", i, cases[i].words, l.code,
				l.message);
		assert_int_equal(l.code, cases[i].code);
		assert_string_equal(l.message, cases[i].message);
		arena_free(l.arena);
	}
}

/* Reference cli.md 6. */
static const struct failure line_failures[] = {
	{"pgstrata -x info", NULL, NULL, 31, "option '-x' must begin with --\n"},
	{"pgstrata - info", NULL, NULL, 31, "option '-' must begin with --\n"},
	{"pgstrata -- info", NULL, NULL, 31, "invalid option '--'\n"},
	{"pgstrata --- info", NULL, NULL, 31, "option '-' cannot begin with a dash\n"},
	{"pgstrata --o info", NULL, NULL, 31, "invalid option '--o'\n"},
	{"pgstrata --stanza1=foo info", NULL, NULL, 31, "invalid option '--stanza1=foo'\n"},
	{"pgstrata --1repo-path=/x info", NULL, NULL, 31, "invalid option '--1repo-path=/x'\n"},
	{"pgstrata --repo1-cipher-passs=hush info", NULL, NULL, 31,
		"invalid option '--repo1-cipher-passs'\n"},
	{BACKUP "--start-fast=yes", NULL, NULL, 32,
		"boolean option '--start-fast' argument must be 'y' or 'n'\n"},
	{BACKUP "--start-fast=Y", NULL, NULL, 32,
		"boolean option '--start-fast' argument must be 'y' or 'n'\n"},
	{BACKUP "--start-fast=", NULL, NULL, 32,
		"boolean option '--start-fast' argument must be 'y' or 'n'\n"},
	{BACKUP "--no-start-fast=y", NULL, NULL, 31,
		"option 'no-start-fast' does not allow an argument\n"},
	{"pgstrata info --no-config --stanza", NULL, NULL, 31,
		"option '--stanza' requires an argument\n"},
	{"pgstrata info --stanza=", NULL, NULL, 32,
		"'' must be >= 1 character for 'stanza' option\n"},
	{"pgstrata info --log-level-console=info=x", NULL, NULL, 32,
		"'info=x' is not allowed for 'log-level-console' option\nHINT: allowed values are "
		"'off', "
		"'error', 'warn', 'info', 'detail', 'debug', 'trace'"},
	{"pgstrata info --stanza=a --stanza=b", NULL, NULL, 31,
		"option 'stanza' cannot be set multiple times\n"},
	{"pgstrata info --repo1-path=/a --repo-path=/b", NULL, NULL, 31,
		"option 'repo1-path' cannot be set multiple times\n"},
	{"pgstrata info --no-type", NULL, NULL, 31, "option 'no-type' cannot be negated\n"},
	{"pgstrata info --reset-type", NULL, NULL, 31, "option 'reset-type' cannot be reset\n"},
	{BACKUP "--no-start-fast --no-start-fast", NULL, NULL, 31,
		"option 'start-fast' is negated multiple times\n"},
	{BACKUP "--reset-start-fast --reset-start-fast", NULL, NULL, 31,
		"option 'start-fast' is reset multiple times\n"},
	{BACKUP "--start-fast --no-start-fast", NULL, NULL, 31,
		"option 'start-fast' cannot be set and negated\n"},
	{BACKUP "--reset-start-fast --start-fast", NULL, NULL, 31,
		"option 'start-fast' cannot be set and reset\n"},
	{BACKUP "--no-start-fast --reset-start-fast", NULL, NULL, 31,
		"option 'start-fast' cannot be negated and reset\n"},
	{"pgstrata info --repo0-path=/x", NULL, NULL, 31,
		"option 'repo0-path' key must be between 1 and 256\n"},
	{"pgstrata info --repo-format=5", NULL, NULL, 31,
		"option 'repo-format' requires an index\n"
		"HINT: add the required index, e.g. repo1-format."},
	{"pgstrata info --repo1-cipher-pass=hush", NULL, NULL, 31,
		"option 'repo1-cipher-pass' is not allowed on the command-line\n"
		"HINT: this option could expose secrets in the process list.\n"
		"HINT: specify the option in a configuration file or an environment variable "
		"instead."},
	{"pgstrata --no-config", NULL, NULL, 30, "no command found\n"},
	{"pgstrata back", NULL, NULL, 48, "invalid command 'back'\n"},
	{"pgstrata ", NULL, NULL, 48, "invalid command ''\n"},
	{"pgstrata local", NULL, NULL, 48, "invalid command 'local'\n"},
	{"pgstrata info:async", NULL, NULL, 48, "invalid command/role combination 'info:async'\n"},
	{"pgstrata info:bogus", NULL, NULL, 48, "invalid command role 'bogus'\n"},
	{"pgstrata archive-push:async", NULL, NULL, 48,
		"command role 'async' is not yet supported by pgStrata\n"},
	{"pgstrata help bogus", NULL, NULL, 48, "invalid command 'bogus'\n"},
	{"pgstrata help archive-get:async", NULL, NULL, 48,
		"help is not available for the 'async' role\n"},
	{"pgstrata repo-ls --stanza=x", NULL, NULL, 48,
		"command 'repo-ls' is not yet supported by pgStrata\n"},
	{"pgstrata info x", NULL, NULL, 96, "command does not allow parameters\n"},
	{"pgstrata info --help", NULL, NULL, 31, "option 'help' not valid for command 'info'\n"},
	{"pgstrata info --pg1-path=/x", NULL, NULL, 31,
		"option 'pg-path' not valid for command 'info'\n"},
	{"pgstrata version --stanza=x", NULL, NULL, 31,
		"option 'stanza' not valid for command 'version'\n"},
	{"pgstrata version --output=json", NULL, NULL, 32,
		"'json' is not allowed for 'output' option\nHINT: allowed values are 'text', "
		"'num'"},
};

static void test_line_failures(void **state)
{
	check_failures(line_failures, COUNT(line_failures));
}

/* cli.md 10 and 11. */
static const struct failure value_failures[] = {
	{BACKUP "--process-max=abc", NULL, NULL, 32,
		"'abc' is not valid for 'process-max' option\n"},
	{BACKUP "--process-max=5.0", NULL, NULL, 32,
		"'5.0' is not valid for 'process-max' option\n"},
	{BACKUP "--process-max=0x5", NULL, NULL, 32,
		"'0x5' is not valid for 'process-max' option\n"},
	{BACKUP "--process-max=~5", NULL, NULL, 32, "' 5' is not valid for 'process-max' option\n"},
	{BACKUP "--process-max=0", NULL, NULL, 32,
		"'0' is out of range for 'process-max' option\n"
		"HINT: allowed range is 1 to 999 inclusive"},
	{BACKUP "--compress-type=gz --compress-level=10", NULL, NULL, 32,
		"'10' is out of range for 'compress-level' option when 'compress-type' option = "
		"'gz'\n"
		"HINT: allowed range is -1 to 9 inclusive"},
	{BACKUP "--compress-level=10", NULL, NULL, 32,
		"'10' is out of range for 'compress-level' option when 'compress-type' option = "
		"'gz'\n"
		"HINT: allowed range is -1 to 9 inclusive"},
	{BACKUP "--compress-type=none --compress-level=1", NULL, NULL, 31,
		"option 'compress-level' not valid without option 'compress-type' in ('bz2', 'gz', "
		"'lz4', "
		"'zst')\n"},
	{BACKUP "--manifest-save-threshold=1.5g", NULL, NULL, 32,
		"'1.5g' is not valid for 'manifest-save-threshold' option\n"},
	{BACKUP "--manifest-save-threshold=-1", NULL, NULL, 32,
		"'-1' is not valid for 'manifest-save-threshold' option\n"},
	{BACKUP "--buffer-size=3", NULL, NULL, 32,
		"'3' is not allowed for 'buffer-size' option\n"
		"HINT: allowed values are '16KiB', '32KiB', '64KiB', '128KiB', '256KiB', '512KiB', "
		"'1MiB', "
		"'2MiB', '4MiB', '8MiB', '16MiB'"},
	{BACKUP "--db-timeout=1us", NULL, NULL, 32, "'1us' is not valid for 'db-timeout' option\n"},
	{BACKUP "--db-timeout=8d", NULL, NULL, 32,
		"'8d' is out of range for 'db-timeout' option\n"
		"HINT: allowed range is 100ms to 7d inclusive"},
	{BACKUP "--type=bogus", NULL, NULL, 32,
		"'bogus' is not allowed for 'type' option\n"
		"HINT: allowed values are 'full', 'diff', 'incr'"},
	{"pgstrata info --repo1-type=s3", NULL, NULL, 32,
		"'s3' is not yet supported for 'repo1-type' option\n"},
	{"pgstrata info --repo1-path=relative", NULL, NULL, 32,
		"'relative' must begin with / for 'repo1-path' option\n"},
	{"pgstrata info --repo2-path=/a//b", NULL, NULL, 32,
		"'/a//b' cannot contain // for 'repo2-path' option\n"},
	{BACKUP "--annotation=foo", NULL, NULL, 31,
		"key/value 'foo' not valid for 'annotation' option\n"},
	{BACKUP "--exclude=", NULL, NULL, 32, "'' must be >= 1 character for 'exclude' option\n"},
	{BACKUP "--force", NULL, NULL, 31, "option 'force' not valid without option 'no-online'\n"},
	{BACKUP "--no-archive-check --archive-copy", NULL, NULL, 31,
		"option 'archive-copy' not valid without option 'archive-check'\n"},
	{BACKUP "--repo1-type=cifs --repo1-symlink", NULL, NULL, 31,
		"option 'repo1-symlink' not valid without option 'repo1-type' = 'posix'\n"},
	{"pgstrata info --set=x", NULL, NULL, 31,
		"option 'set' not valid without option 'stanza'\n"},
	{RESTORE "--target=x", NULL, NULL, 31,
		"option 'target' not valid without option 'type' in ('lsn', "
		"'name', 'time', 'xid')\n"},
	{RESTORE "--type=time", NULL, NULL, 37, "restore command requires option: target\n"},
	{"pgstrata backup", NULL, NULL, 37, "backup command requires option: stanza\n"},
	{"pgstrata backup --stanza=x", NULL, NULL, 37,
		"backup command requires option: pg1-path\nHINT: does this stanza exist?"},
	{"pgstrata backup --stanza=x --pg2-path=/x", NULL, NULL, 37,
		"backup command requires option: pg1-path\nHINT: does this stanza exist?"},
	{BACKUP "--repo=3", NULL, NULL, 32, "key '3' is not valid for 'repo' option\n"},
	{BACKUP "--repo=1 --repo2-path=/x", NULL, NULL, 32,
		"key '1' is not valid for 'repo' option\n"},
	{BACKUP "--repo1-block", NULL, NULL, 31,
		"option 'repo1-block' not valid without option 'repo1-bundle'\n"},
	{BACKUP "--repo1-bundle --repo1-hardlink", NULL, NULL, 31,
		"option 'repo1-hardlink' not valid without option 'no-repo1-bundle'\n"},
	{BACKUP "--repo1-bundle-limit=1MiB", NULL, NULL, 31,
		"option 'repo1-bundle-limit' not valid without option 'repo1-bundle'\n"},
	{BACKUP, NULL, "[Main]\npg2-host=x\npg2-path=/x\npg2-host-type=tls\n", 32,
		"'tls' is not yet supported for 'pg2-host-type' option\n"},
	{BACKUP "--pg1-host-user=x", NULL, NULL, 31,
		"option 'pg1-host-user' not valid without option 'pg1-host-type' = 'ssh'\n"},
	{"pgstrata info --repo1-host-port=22", NULL, NULL, 31,
		"option 'repo1-host-port' not valid without option 'repo1-host-type' in ('ssh', 'tls')\n"},
	{"pgstrata serve --stanza=x", NULL, NULL, 37, "serve command requires option: role\n"},
	{"pgstrata authorize --role=archive x", NULL, NULL, 37, "authorize command requires option: stanza\n"},
	{"pgstrata backup --role=backup --stanza=x", NULL, NULL, 31,
		"option 'role' not valid for command 'backup'\n"},
	{"pgstrata info --role=restore", NULL, NULL, 31, "option 'role' not valid for command 'info'\n"},
	{"pgstrata archive-push --stanza=x", NULL, "[global]\ntls-cipher-12=x\n", 31,
		"option 'tls-cipher-12' is not yet supported by pgStrata\n"},
	{"pgstrata info", "PGBACKREST_REPO1_CIPHER_TYPE=aes-256-cbc", NULL, 37,
		"info command requires option: repo1-cipher-pass\n"},
	{"pgstrata archive-push --stanza=x", NULL, "[global]\nrepo3-path=/r\n"
		"repo3-cipher-type=aes-256-cbc\nrepo1-cipher-pass=hush\n", 37,
		"archive-push command requires option: repo3-cipher-pass\n"},
	{"pgstrata info", NULL, "[global]\nrepo1-cipher-type=aes-128-cbc\n", 32,
		"'aes-128-cbc' is not allowed for 'repo1-cipher-type' option\n"
		"HINT: allowed values are 'none', 'aes-256-cbc'"},
	{"pgstrata info", NULL, "[global]\nrepo1-cipher-type=AES-256-CBC\n", 32,
		"'AES-256-CBC' is not allowed for 'repo1-cipher-type' option\n"
		"HINT: allowed values are 'none', 'aes-256-cbc'"},
	{"pgstrata info", "PGSTRATA_REPO1_CIPHER_PASS=", NULL, 32,
		"environment variable 'repo1-cipher-pass' must have a value\n"},
	{"pgstrata expire --stanza=x --repo1-cipher-type=aes-256-cbc", NULL,
		"[global]\nrepo1-cipher-pass=\n", 32,
		"section 'global', key 'repo1-cipher-pass' must have a value\n"},
};

/* Any printable character; only what a file cannot say has to come from the environment. */
static void test_passphrases(void **state)
{
	static const char type[] = "PGSTRATA_REPO1_CIPHER_TYPE=aes-256-cbc|";
	static const struct {
		const char *env, *conf, *expected;
	} cases[] = {
		{NULL, "[global]\nrepo1-cipher-pass=correct horse  battery\n", "correct horse  battery"},
		{NULL, "[global]\nrepo1-cipher-pass = \t padded \n", "padded"},
		{NULL, "[global]\nrepo1-cipher-pass=#a=b#;c\\d\"e'f$g%h`i!\n",
			"#a=b#;c\\d\"e'f$g%h`i!"},
		{NULL, "[global]\nrepo1-cipher-pass==\n", "="},
		{NULL, "[global]\nrepo1-cipher-pass=[global]\n", "[global]"},
		{NULL, "[global]\nrepo1-cipher-pass=\"quoted\"\n", "\"quoted\""},
		{NULL, "[global]\nrepo1-cipher-pass=ends with \\\n", "ends with \\"},
		{NULL, "[global]\nrepo1-cipher-pass=UPPER lower\n", "UPPER lower"},
		{NULL, "[global]\nrepo1-cipher-pass=\xc3\xa4\xe2\x82\xac \xff\xfe\n",
			"\xc3\xa4\xe2\x82\xac \xff\xfe"},
		{NULL, "[global]\nrepo-cipher-pass=old name\n", "old name"},
		{NULL, "[global]\nrepo1-cipher-pass=global\n[Main]\nrepo1-cipher-pass=stanza\n", "stanza"},
		{"PGBACKREST_REPO1_CIPHER_PASS= blanks ", NULL, " blanks "},
		{"PGSTRATA_REPO1_CIPHER_PASS=a:b=c#d", "[global]\nrepo1-cipher-pass=x\n", "a:b=c#d"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		const char *env = arena_printf(a, "%s%s", type, cases[i].env ? cases[i].env : "");
		struct loaded l = load_ok("pgstrata info --stanza=Main", env, cases[i].conf);

		assert_string_equal(l.cfg->repo.v[0].cipher_type, "aes-256-cbc");
		assert_string_equal(l.cfg->repo.v[0].cipher_pass, cases[i].expected);
		assert_string_equal(l.said, "");
		arena_free(l.arena);
	}
	struct loaded l = load_ok("pgstrata info --stanza=Main", NULL,
		"[global]\nrepo1-path=/r\nrepo1-cipher-pass=x\nrepo3-path=/s\n"
		"repo3-cipher-type=aes-256-cbc\nrepo3-cipher-pass=y\n");
	assert_int_equal(l.cfg->repo.n, 2);
	assert_string_equal(l.cfg->repo.v[0].cipher_type, "none");
	assert_null(l.cfg->repo.v[0].cipher_pass);
	assert_string_equal(l.cfg->repo.v[1].cipher_pass, "y");
	arena_free(l.arena);
}

static void test_value_failures(void **state)
{
	check_failures(value_failures, COUNT(value_failures));
}

/* cli.md 8 and 9. */
static const struct failure source_failures[] = {
	{"pgstrata info", NULL, "[global]\nrepo1-path=\n", 32,
		"section 'global', key 'repo1-path' must have a value\n"},
	{"pgstrata info", NULL, "[global]\nrepo1-path=/a\nrepo1-path=/b\n", 31,
		"option 'repo1-path' cannot be set multiple times\n"},
	{"pgstrata info", NULL, "[global]\nrepo1-path=/a\nrepo-path=/b\n", 31,
		"configuration file contains duplicate options ('repo-path', 'repo1-path') in "
		"section "
		"'[global]'\n"},
	{BACKUP, NULL, "[global]\nexpire-auto=yes\n", 32,
		"boolean option 'expire-auto' must be 'y' or 'n'\n"},
	{"pgstrata info", NULL, "[global]\nrepo0-path=/x\n", 31,
		"option 'repo0-path' key must be between 1 and 256\n"},
	{"pgstrata info", NULL, "[global]\nrepo-format=5\n", 31,
		"option 'repo-format' requires an index\n"
		"HINT: add the required index, e.g. repo1-format."},
	{"pgstrata info", NULL, "[global]\nno-type=y\n", 31,
		"option 'no-type' cannot be negated\n"},
	{"pgstrata info", NULL, "[global]\n-x=y\n", 31, "option '-x' cannot begin with a dash\n"},
	{"pgstrata info", "PGBACKREST_OUTPUT=", NULL, 32,
		"environment variable 'output' must have a value\n"},
	{BACKUP, "PGBACKREST_START_FAST=yes", NULL, 32,
		"environment boolean option 'start-fast' must be 'y' or 'n'\n"},
	{"pgstrata info", "PGBACKREST_REPO300_PATH=/x", NULL, 31,
		"option 'repo300-path' key must be between 1 and 256\n"},
	{"pgstrata info", "PGBACKREST_NO_TYPE=y", NULL, 31, "option 'no-type' cannot be negated\n"},
	{"pgstrata info", "PGBACKREST_REPO_FORMAT=5", NULL, 31,
		"option 'repo-format' requires an index\n"
		"HINT: add the required index, e.g. repo1-format."},
	{"pgstrata info", "PGSTRATA_REPO_PATH=/a|PGSTRATA_REPO1_PATH=/b", NULL, 31,
		"environment contains duplicate options ('repo-path', 'repo1-path')\n"},
	{"pgstrata info --config=/nonexistent/x", NULL, NULL, 55,
		"unable to open missing file '/nonexistent/x' for read\n"},
	{"pgstrata info --config-path=relative", NULL, NULL, 32,
		"'relative' must begin with / for 'config-path' option\n"},
};

static void test_source_failures(void **state)
{
	check_failures(source_failures, COUNT(source_failures));
}

struct warning {
	const char *words, *env, *conf;
	const char *said; /* a part of it; "" for silence */
};

static const struct warning warnings[] = {
	{"pgstrata info", NULL, "[global]\n\nbogus-opt=1\n",
		"WARN: configuration file contains invalid option 'bogus-opt', in "
		"'/tmp/pgstrata-test-conf-"},
	{"pgstrata info", NULL, "[global]\n\nbogus-opt=1\n", "' line 3"},
	{"pgstrata info", NULL, "[global]\nrepo1-pa=/x\n", "invalid option 'repo1-pa'"},
	{"pgstrata info", NULL, "[global]\nno-start-fast=y\n", "negate option 'no-start-fast'"},
	{"pgstrata info", NULL, "[global]\nreset-start-fast=y\n",
		"reset option 'reset-start-fast'"},
	{"pgstrata info", NULL, "[global]\nstanza=x\n", "command-line only option 'stanza'"},
	{"pgstrata info", NULL, "[global:info]\nprocess-max=2\n",
		"option 'process-max' invalid for section 'global:info'"},
	{"pgstrata info", NULL, "[global]\nprocess-max=2\n", ""},
	{BACKUP, NULL, "[global]\npg1-port=2\n",
		"stanza-only option 'pg1-port' in global section 'global'"},
	{BACKUP, NULL, "[global:backup]\npg1-port=2\n", "in global section 'global:backup'"},
	{"pgstrata info", NULL, "[global]\npg1-path=/x\n", ""},
	{"pgstrata info", NULL, "[Main]\nbogus=/x\n[global:backup]\nbogus=1\n[other]\nbogus=1\n",
		""},
	{"pgstrata info", "PGBACKREST_BOGUS=1", NULL,
		"environment contains invalid option 'bogus'"},
	{"pgstrata info", "PGSTRATA_BOGUS=1", NULL, "environment contains invalid option 'bogus'"},
	{"pgstrata info", "PGBACKREST_NO_ONLINE=1", NULL,
		"environment contains invalid negate option 'no-online'"},
	{"pgstrata info", "PGBACKREST_RESET_DELTA=1", NULL,
		"environment contains invalid reset option 'reset-delta'"},
	{"pgstrata info", "PGBACKREST_PG1_PATH=relative", NULL, ""},
	{RESTORE "--recovery-option=a=1 --recovery-option=a=2", NULL, NULL,
		"key 'a' value '1' is overwritten with '2' for 'recovery-option' option"},
	/* Accepted without a word: defaults of what is not supported, and what has nothing to do.
	 */
	{BACKUP, NULL,
		"[global]\nrepo1-bundle=n\nresume=y\nlog-subprocess=n\nio-timeout=60s\n"
		"repo1-cipher-type=none\ndelta=y\nrepo1-block=y\nbackup-standby=n\n",
		""},
	{RESTORE, NULL, "[global]\nspool-path=/s\narchive-async=y\nprocess-max=3\n", ""},
	{"pgstrata archive-push --stanza=x --process-max=3", NULL, "[global]\nspool-path=/s\n", ""},
	{"pgstrata info", NULL, "[global]\nrepo2-s3-key=hush\nrepo2-cipher-pass=hush\n", ""},
	{BACKUP "--no-backup-standby", NULL, NULL, ""},
};

static void test_warnings(void **state)
{
	for (size_t i = 0; i < COUNT(warnings); i++) {
		struct loaded l = load_ok(warnings[i].words, warnings[i].env, warnings[i].conf);

		if (*warnings[i].said && !strstr(l.said, warnings[i].said))
			print_message("# %s\n# %s\n", warnings[i].words, l.said);
		if (*warnings[i].said)
			assert_non_null(strstr(l.said, warnings[i].said));
		else
			assert_string_equal(l.said, "");
		arena_free(l.arena);
	}
}

static void test_help_and_version(void **state)
{
	static const struct {
		const char *words;
		enum command command;
	} cases[] = {
		{"pgstrata", CMD_HELP},
		{"pgstrata --help", CMD_HELP},
		{"pgstrata --version --help", CMD_HELP},
		{"pgstrata --version", CMD_VERSION},
		{"pgstrata help backup type", CMD_HELP},
		{"pgstrata help expire", CMD_HELP},
		{"pgstrata version --output=num", CMD_VERSION},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		strvec argv = str_split(a, cases[i].words, ' ');
		struct config *cfg;

		/* Neither looks at files or, without a command, at the environment. */
		set_variables(a, i < 4 ? "PGSTRATA_BOGUS=1|PGSTRATA_CONFIG=/nonexistent" : NULL);
		if (i == 4 || i == 5)
			vec_push(&argv, "--no-config");
		assert_int_equal(config_load(a, (int)argv.n, (char **)argv.v, &cfg), 0);
		assert_int_equal(cfg->command, cases[i].command);
		drop_variables();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_line_failures),
		cmocka_unit_test(test_passphrases),
		cmocka_unit_test(test_value_failures),
		cmocka_unit_test(test_source_failures),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_help_and_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
