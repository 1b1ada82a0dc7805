/*
 * Help: every command and option has a text, no line is wider than a terminal, secrets are not
 * shown.
 */
#ifdef HAVE_CONFIG_H
#include "config-build.h"
#endif
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "base/buf.h"
#include "config_fixture.h"
#include "config/help.h"
#include "config/options.h"

static const char *help_text(struct arena *a, const char *words, const char *env, const char *conf)
{
	struct loaded l = load_words(words, env, conf);
	struct buf out;
	const char *text;

	buf_init(&out, l.arena);
	if (!l.cfg)
		text = arena_printf(a, "[%d] %s", l.code, l.message);
	else if (help_print(l.arena, l.cfg, &out) == 0)
		text = arena_strdup(a, out.data);
	else
		text = arena_printf(a, "[%d] %s", (int)err_code(), err_msg());
	err_clear();
	arena_free(l.arena);
	return text;
}

static void check_width(const char *text)
{
	for (const char *p = text; *p;) {
		size_t line = strcspn(p, "\n");

		if (line > 80)
			print_message("# %.*s\n", (int)line, p);
		assert_true(line <= 80);
		assert_true(line == 0 || p[line - 1] != ' ');
		p += line + (p[line] == '\n');
	}
}

static void test_general(void **state)
{
	SCOPED_ARENA(a);
	const char *text = help_text(a, "pgstrata help", NULL, NULL);

	assert_true(str_starts(text, "pgStrata " PACKAGE_VERSION " - General help\n"));
	assert_non_null(strstr(text, "\n  archive-push  "));
	assert_non_null(strstr(text, "\n  version  "));
	assert_null(strstr(text, "manifest"));
	assert_null(strstr(text, "repo-rm"));
	check_width(text);
}

static void test_every_command_and_option(void **state)
{
	for (int c = CMD_NONE + 1; c < CMD_COUNT; c++) {
		SCOPED_ARENA(a);
		const char *name = command_name((enum command)c);
		const char *text =
			help_text(a, arena_printf(a, "pgstrata help %s", name), NULL, "");

		assert_non_null(strstr(text, arena_printf(a, "'%s' command help", name)));
		check_width(text);
	}
}

/* The texts of the options do not depend on the command, so one command per option is enough. */
static void test_every_option(void **state)
{
	for (size_t i = 0; i < option_count(); i++) {
		SCOPED_ARENA(a);
		const struct option *o = option_at(i);
		int c = CMD_NONE + 1;

		while (c < CMD_COUNT && (!option_valid(o, (enum command)c) || c == CMD_HELP))
			c++;
		if (c == CMD_COUNT)
			continue;

		const char *text = help_text(a,
			arena_printf(
				a, "pgstrata help %s %s", command_name((enum command)c), o->name),
			NULL, "");

		assert_non_null(strstr(text, arena_printf(a, "'%s' option", o->name)));
		check_width(text);
	}
}

static void test_command(void **state)
{
	SCOPED_ARENA(a);
	const char *text = help_text(a, "pgstrata help backup", "PGBACKREST_PROCESS_MAX=5",
		"[global]\nrepo1-path=/a\nrepo2-path=/b\n");
	const char *last = text;
	static const char *const headings[] = {"\nCommand Options:\n", "\nGeneral Options:\n",
		"\nLog Options:\n", "\nMaintainer Options:\n", "\nRepository Options:\n",
		"\nStanza Options:\n"};

	for (size_t i = 0; i < 6; i++) {
		last = strstr(last, headings[i]);
		assert_non_null(last);
	}
	assert_non_null(strstr(text, "[current=5, default=1]"));
	assert_non_null(strstr(text, "[current=repo1:"));
	/* Neither what is not supported yet nor what is internal. */
	assert_null(strstr(text, "--repo-s3-bucket"));
	assert_null(strstr(text, "--exec-id"));
	assert_non_null(strstr(text, "--resume"));
	assert_null(strstr(help_text(a, "pgstrata help stanza-create", NULL, ""), "--force"));
}

static void test_option(void **state)
{
	SCOPED_ARENA(a);

	assert_string_equal(
		help_text(a, "pgstrata help info repo1-path --repo1-path=/a", NULL, NULL),
		"pgStrata " PACKAGE_VERSION " - 'info' command - 'repo-path' option help\n\n"
		"The folder of the repository. It holds all backups and WAL segments and grows\n"
		"with them.\n\ncurrent: /a\ndefault: /var/lib/pgstrata\n\nDeprecated Name: "
		"repo-path\n");
	assert_non_null(
		strstr(help_text(a, "pgstrata help backup type", NULL, NULL), "\ndefault: incr\n"));
	assert_non_null(strstr(
		help_text(a, "pgstrata help restore type", NULL, NULL), "\ndefault: default\n"));
	assert_non_null(
		strstr(help_text(a, "pgstrata help backup start-fast --start-fast", NULL, NULL),
			"\ncurrent: true\ndefault: n\n"));
	assert_non_null(strstr(
		help_text(a, "pgstrata help backup compress-level --compress-type=lz4", NULL, NULL),
		"\ndefault: 1\n"));
	assert_non_null(strstr(
		help_text(a, "pgstrata help backup delta", NULL, NULL), "size and checksum"));
	assert_non_null(strstr(
		help_text(a, "pgstrata help backup repo-s3-bucket", NULL, NULL),
		"not yet supported"));
}

static void test_secrets(void **state)
{
	SCOPED_ARENA(a);
	const char *text = help_text(a, "pgstrata help info repo-cipher-pass",
		"PGBACKREST_REPO1_CIPHER_TYPE=aes-256-cbc", "[global]\nrepo1-cipher-pass=hush\n");

	assert_non_null(strstr(text, "current: <redacted>\n"));
	assert_null(strstr(text, "hush"));
}

static void test_errors(void **state)
{
	SCOPED_ARENA(a);

	assert_string_equal(help_text(a, "pgstrata help backup bogus", NULL, NULL),
		"[31] option 'bogus' is not valid for command 'backup'");
	assert_string_equal(help_text(a, "pgstrata help info pg-path", NULL, NULL),
		"[31] option 'pg-path' is not valid for command 'info'");
	assert_string_equal(help_text(a, "pgstrata help info no-online", NULL, NULL),
		"[31] option 'no-online' is not valid for command 'info'");
	assert_string_equal(help_text(a, "pgstrata help info repo999-path", NULL, NULL),
		"[31] option 'repo999-path' is not valid for command 'info'");
	assert_string_equal(help_text(a, "pgstrata help backup type x", NULL, NULL),
		"[96] only one option allowed for option help");
	assert_true(str_starts(
		help_text(a, "pgstrata help backup --config=/nonexistent", NULL, NULL), "[55] "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_general),
		cmocka_unit_test(test_every_command_and_option),
		cmocka_unit_test(test_every_option),
		cmocka_unit_test(test_command),
		cmocka_unit_test(test_option),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
