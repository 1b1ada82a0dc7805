/*
 * Configuration files: what a file says arrives unchanged, through each of iniparser's habits, and
 * bad lines are named without showing what could be a secret.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/buf.h"
#include "config_fixture.h"
#include "config/conf_file.h"
#include "config/sources.h"

struct parsed {
	struct arena *arena;
	conf_entries entries;
	int result;
	const char *said;
};

static struct parsed parse_bytes(const char *text, size_t len)
{
	struct parsed p = {.arena = arena_new()};
	int said = open_unnamed(), err = dup(2);

	vec_init(&p.entries, p.arena);
	dup2(said, 2);
	p.result = conf_parse(p.arena, "/etc/x.conf", text, len, &p.entries);
	dup2(err, 2);
	close(err);
	p.said = read_all(p.arena, said);
	close(said);
	return p;
}

static struct parsed parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

/* What is read, as "section|key|value" per line. */
static void reads(const char *text, const char *expected)
{
	struct parsed p = parse(text);
	struct buf all;

	assert_int_equal(p.result, 0);
	buf_init(&all, p.arena);
	for (size_t i = 0; i < p.entries.n; i++)
		buf_addf(&all, "%s|%s|%s\n", p.entries.v[i].section, p.entries.v[i].key,
			p.entries.v[i].value);
	assert_string_equal(all.data, expected);
	assert_string_equal(p.said, "");
	arena_free(p.arena);
}

static void test_case_is_kept(void **state)
{
	reads("[Main:Backup]\nRepo1-Path=/Data/X\n", "Main:Backup|Repo1-Path|/Data/X\n");
	reads("[a]\nx=1\n[A]\nx=2\n", "a|x|1\nA|x|2\n");
}

static void test_values_are_not_cut(void **state)
{
	reads("[g]\np=a#b;c # d\n", "g|p|a#b;c # d\n");
	reads("[g]\np=#x\nq=;y\n", "g|p|#x\ng|q|;y\n");
	reads("[g]\np=a=b==c\n", "g|p|a=b==c\n");
	reads("[g]\np=%s%n[x]\n", "g|p|%s%n[x]\n");
}

static void test_quotes_stay(void **state)
{
	reads("[g]\np=\"a b\"\nq='x'\nr=\"\ns=\"\"\n", "g|p|\"a b\"\ng|q|'x'\ng|r|\"\ng|s|\"\"\n");
}

static void test_no_continuation(void **state)
{
	reads("[g]\np=a\\\nq=b\n", "g|p|a\\\ng|q|b\n");
	reads("[g]\np=a\\", "g|p|a\\\n");
}

static void test_repeats_stay_in_order(void **state)
{
	reads("[g]\nexclude=b\nexclude=a\nexclude=b\n", "g|exclude|b\ng|exclude|a\ng|exclude|b\n");
	reads("[g]\nx=1\n[h]\nx=2\n[g]\nx=3\n", "g|x|1\nh|x|2\ng|x|3\n");
}

/* iniparser writes "section:key": a section with a colon must not look like a key of another one.
 */
static void test_colons_keep_apart(void **state)
{
	reads("[global]\narchive-push=1\n[global:archive-push]\nx=2\n[global]\narchive-push:x=3\n",
		"global|archive-push|1\nglobal:archive-push|x|2\nglobal|archive-push:x|3\n");
}

static void test_white_space(void **state)
{
	reads("  [g]  \n\t p \t=  a  b\t \r\n\n   \n  # c\n", "g|p|a  b\n");
	reads("[ g h ]\nx=1\n", " g h |x|1\n");
	reads("", "");
	reads("# only\n", "");
	reads("[g]\n", "");
	reads("[g]\nx=\n", "g|x|\n");
	reads("[g]\nx=1", "g|x|1\n");
}

static void test_long_values(void **state)
{
	static const size_t lengths[] = {1, 199, 200, 201, 400, 1023, 1024, 1025, 5000, 100000};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		SCOPED_ARENA(a);
		char *text = arena_zalloc(a, lengths[i] + 16);
		size_t head = strlen("[g]\nx=");

		memcpy(text, "[g]\nx=", head);
		for (size_t k = 0; k < lengths[i]; k++)
			text[head + k] = (char)('!' + (k * 7 + k / 50) % 90);

		struct parsed p = parse(text);

		assert_int_equal(p.result, 0);
		assert_int_equal(p.entries.n, 1);
		assert_string_equal(p.entries.v[0].value, text + head);
		arena_free(p.arena);
	}
}

static void test_all_bytes(void **state)
{
	char text[512] = "[g]\nx=<";
	size_t len = strlen(text);

	for (int c = 1; c < 256; c++)
		if (c != '\n')
			text[len++] = (char)c;
	text[len++] = '>';
	text[len] = '\0';

	struct parsed p = parse_bytes(text, len);

	assert_int_equal(p.result, 0);
	assert_string_equal(p.entries.v[0].value, text + strlen("[g]\nx="));
	arena_free(p.arena);
}

static void test_lines_are_counted(void **state)
{
	struct parsed p = parse("\n# c\n[g]\n\nx=1\ny=2\n");

	assert_int_equal(p.entries.v[0].line, 5);
	assert_int_equal(p.entries.v[1].line, 6);
	assert_string_equal(p.entries.v[1].file, "/etc/x.conf");
	arena_free(p.arena);
}

struct bad {
	const char *text, *message;
};

static const struct bad bad_texts[] = {
	{"x=1\n", "key/value found outside of section at line 1: x..."},
	{"\nsecret\n", "key/value found outside of section at line 2: secret"},
	{"[global", "ini section should end with ] at line 1: [global"},
	{"[global] x\n", "ini section should end with ] at line 1: [global] x"},
	{"[]", "invalid empty section at line 1: []"},
	{"[", "ini section should end with ] at line 1: ["},
	{"[g]\nrepo1-path\n", "missing '=' in key/value at line 2: repo1-path"},
	{"[g]\nrepo1-cipher-pass: hush\n",
		"missing '=' in key/value at line 2: repo1-cipher-pass..."},
	{"[g]\n; hush\n", "missing '=' in key/value at line 2: ..."},
	{"[g]\n=hush\n", "key is zero-length at line 2: =..."},
	{"root:hush:0\n", "key/value found outside of section at line 1: root..."},
};

static void test_bad_lines(void **state)
{
	for (size_t i = 0; i < sizeof(bad_texts) / sizeof(bad_texts[0]); i++) {
		struct parsed p = parse(bad_texts[i].text);

		assert_int_equal(p.result, -1);
		assert_int_equal(err_code(), ERR_FORMAT);
		assert_string_equal(err_msg(), bad_texts[i].message);
		assert_non_null(strstr(err_hints(), "/etc/x.conf"));
		assert_null(strstr(err_msg(), "hush"));
		assert_string_equal(p.said, "");
		err_clear();
		arena_free(p.arena);
	}
}

static void test_zero_byte(void **state)
{
	struct parsed p = parse_bytes("[g]\nx=a\0b\n", 10);

	assert_int_equal(p.result, -1);
	assert_int_equal(err_code(), ERR_FORMAT);
	err_clear();
	arena_free(p.arena);
}

static void test_files(void **state)
{
	SCOPED_ARENA(a);
	conf_entries entries;
	const char *path = write_conf(a, "[g]\nx=1\n");

	vec_init(&entries, a);
	assert_int_equal(conf_read(a, path, &entries), 0);
	assert_int_equal(entries.n, 1);
	unlink(path);
	assert_int_equal(conf_read(a, path, &entries), -1);
	assert_int_equal(err_code(), ERR_FILE_MISSING);
	err_clear();
}

static void test_no_descriptor_stays_open(void **state)
{
	int before = dup(0), after;

	close(before);
	arena_free(parse("[g]\nx=1\n").arena);
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
}

/* A folder like /etc, with empty files of the given names. */
static char *make_etc(struct arena *a, const char *const *names)
{
	char *etc = arena_strdup(a, "/tmp/pgstrata-test-etc-XXXXXX");

	assert_non_null(mkdtemp(etc));
	for (; *names; names++) {
		char *path = arena_printf(a, "%s/%s", etc, *names);
		int fd;

		*strrchr(path, '/') = '\0';
		mkdir(path, 0755);
		path[strlen(path)] = '/';
		fd = open(path, O_CREAT | O_WRONLY, 0644);
		assert_true(fd >= 0);
		close(fd);
	}
	return etc;
}

struct choice {
	const char *names[4];
	bool as_pgbackrest, no_config;
	const char *config, *include, *path;
	const char *main, *folder; /* expected, below the root; "" none */
	bool pgbackrest;
};

#define OWN "pgstrata/pgstrata.conf"
#define OTHER "pgbackrest/pgbackrest.conf"
#define OLD "pgbackrest.conf"

static const struct choice choices[] = {
	{.names = {OWN, OTHER, OLD}, .main = OWN, .folder = "pgstrata/conf.d"},
	{.names = {OTHER, OLD}, .main = OTHER, .folder = "pgbackrest/conf.d", .pgbackrest = true},
	{.names = {OLD}, .main = OLD, .folder = "pgbackrest/conf.d", .pgbackrest = true},
	{.names = {"pgstrata/conf.d", OTHER}, .main = "", .folder = "pgstrata/conf.d"},
	{.names = {NULL}, .main = "", .folder = "pgstrata/conf.d"},
	{.names = {OWN, OTHER},
		.as_pgbackrest = true,
		.main = OTHER,
		.folder = "pgbackrest/conf.d",
		.pgbackrest = true},
	{.names = {OWN, OLD},
		.as_pgbackrest = true,
		.main = OLD,
		.folder = "pgbackrest/conf.d",
		.pgbackrest = true},
	{.names = {OWN},
		.as_pgbackrest = true,
		.main = "",
		.folder = "pgbackrest/conf.d",
		.pgbackrest = true},
	{.names = {OWN}, .no_config = true, .main = "", .folder = ""},
	{.names = {OTHER}, .config = "f", .main = "f", .folder = ""},
	{.names = {OTHER},
		.config = "f",
		.as_pgbackrest = true,
		.main = "f",
		.folder = "",
		.pgbackrest = true},
	{.names = {OWN}, .include = "d", .main = OWN, .folder = "d"},
	{.names = {OWN}, .include = "d", .no_config = true, .main = "", .folder = "d"},
	{.names = {OWN}, .include = "d", .config = "f", .main = "f", .folder = "d"},
	{.names = {"p/pgstrata.conf", "p/pgbackrest.conf"},
		.path = "p",
		.main = "p/pgstrata.conf",
		.folder = "p/conf.d"},
	{.names = {"p/pgbackrest.conf", OWN, OLD},
		.path = "p",
		.main = "p/pgbackrest.conf",
		.folder = "p/conf.d",
		.pgbackrest = true},
	{.names = {OWN, OLD}, .path = "p", .main = "", .folder = "p/conf.d"},
	{.names = {OWN}, .path = "p", .config = "f", .main = "f", .folder = "p/conf.d"},
	{.names = {OWN}, .path = "p", .no_config = true, .main = "", .folder = "p/conf.d"},
};

static const char *below(struct arena *a, const char *etc, const char *name)
{
	return name && *name ? arena_printf(a, "%s/%s", etc, name) : NULL;
}

static void same_path(const char *found, const char *expected)
{
	if (!expected)
		assert_null(found);
	else
		assert_string_equal(found, expected);
}

static void test_choice_of_files(void **state)
{
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		SCOPED_ARENA(a);
		const struct choice *c = &choices[i];
		const char *etc = make_etc(a, c->names);
		struct conf_request request = {etc, c->as_pgbackrest, c->no_config,
			below(a, etc, c->config), below(a, etc, c->include),
			below(a, etc, c->path)};
		struct conf_choice found;

		conf_choose(a, &request, &found);
		same_path(found.main, below(a, etc, c->main));
		same_path(found.include, below(a, etc, c->folder));
		assert_int_equal(found.pgbackrest, c->pgbackrest);
		assert_int_equal(found.main_required, c->config != NULL);
		assert_int_equal(found.include_required, c->include != NULL);
		assert_int_equal(system(arena_printf(a, "rm -r %s", etc)), 0);
	}
}

static void test_folder(void **state)
{
	SCOPED_ARENA(a);
	static const char *const names[] = {"d/a", NULL};
	const char *etc = make_etc(a, names), *path;
	struct conf_choice choice = {
		.include = arena_printf(a, "%s/d", etc), .include_required = true};
	static const char *const files[] = {"20.conf", "10.conf", "x.txt", ".conf.swp"};
	conf_entries entries;

	for (size_t i = 0; i < 4; i++) {
		FILE *f = fopen(path = arena_printf(a, "%s/d/%s", etc, files[i]), "w");

		fprintf(f, "[g]\nx=%s\n", files[i]);
		fclose(f);
	}
	vec_init(&entries, a);
	assert_int_equal(conf_collect(a, &choice, &entries), 0);
	assert_int_equal(entries.n, 2);
	assert_string_equal(entries.v[0].value, "10.conf");
	assert_string_equal(entries.v[1].value, "20.conf");

	choice.include = arena_printf(a, "%s/missing", etc);
	assert_int_equal(conf_collect(a, &choice, &entries), -1);
	assert_int_equal(err_code(), ERR_PATH_MISSING);
	err_clear();
	choice.include_required = false;
	assert_int_equal(conf_collect(a, &choice, &entries), 0);
	assert_int_equal(system(arena_printf(a, "rm -r %s", etc)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_case_is_kept),
		cmocka_unit_test(test_values_are_not_cut),
		cmocka_unit_test(test_quotes_stay),
		cmocka_unit_test(test_no_continuation),
		cmocka_unit_test(test_repeats_stay_in_order),
		cmocka_unit_test(test_colons_keep_apart),
		cmocka_unit_test(test_white_space),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_all_bytes),
		cmocka_unit_test(test_lines_are_counted),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_zero_byte),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_no_descriptor_stays_open),
		cmocka_unit_test(test_choice_of_files),
		cmocka_unit_test(test_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
