/*
 * The option table: complete, consistent with itself, and found by every name that users may write.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "base/str.h"
#include "config/load.h"
#include "config/values.h"

static void test_complete(void **state)
{
	static const unsigned by_type[] = {
		[OPT_BOOL] = 45,
		[OPT_STRING] = 64,
		[OPT_ENUM] = 26,
		[OPT_INT] = 23,
		[OPT_PATH] = 16,
		[OPT_SIZE] = 11,
		[OPT_HASH] = 9,
		[OPT_TIME] = 6,
		[OPT_LIST] = 6,
	};
	unsigned seen[OPT_HASH + 1] = {0}, pg = 0, repo = 0;

	/* The reference's 202, archive-gap, archive, repair and role. */
	assert_int_equal(option_count(), 206);
	for (size_t i = 0; i < option_count(); i++) {
		seen[option_at(i)->type]++;
		pg += option_at(i)->group == GROUP_PG;
		repo += option_at(i)->group == GROUP_REPO;
	}
	for (int t = 0; t <= OPT_HASH; t++)
		assert_int_equal(seen[t], by_type[t]);
	assert_int_equal(pg, 18);
	assert_int_equal(repo, 81);
}

static void check_entry(struct arena *a, const struct option *o)
{
	assert_true(strlen(o->help) > 5 && str_ends(o->help, "."));
	assert_true(o->type != OPT_ENUM || o->allowed || o->allowed_cmd);
	assert_true(!o->by || option_named(o->by));
	assert_int_equal(o->required & ~o->commands, 0);
	assert_int_equal((o->used | o->idle | o->hidden | o->depends_for) & ~o->commands, 0);
	if (o->depends) {
		char *name = arena_strdup(a, o->depends);

		name[strcspn(name, "=")] = '\0';
		assert_non_null(option_named(name));
		assert_true(option_named(name)->group == GROUP_NONE ||
			option_named(name)->group == o->group);
	}
	assert_ptr_equal(option_at(option_index(o)), o);
}

static void test_consistent(void **state)
{
	SCOPED_ARENA(a);

	for (size_t i = 0; i < option_count(); i++) {
		check_entry(a, option_at(i));
		for (size_t k = i + 1; k < option_count(); k++) {
			const struct option *x = option_at(i), *y = option_at(k);

			assert_string_not_equal(x->name, y->name);
			if (x->kind != M_NONE && x->kind != M_LOAD && y->kind != M_NONE &&
				y->kind != M_LOAD && x->group == y->group)
				assert_int_not_equal(x->offset, y->offset);
		}
	}
}

/* Every default passes its own option's checks, for every command, under both sets of paths. */
static void test_defaults_are_valid(void **state)
{
	for (int c = CMD_NONE + 1; c < CMD_COUNT; c++) {
		SCOPED_ARENA(a);
		struct option_values vals;

		values_init(&vals, a, (enum command)c);
		vals.lenient = true;
		vals.pgbackrest = c % 2 == 0;
		vals.program = "pgstrata";
		assert_int_equal(values_resolve(&vals), 0);
	}
}

struct ref_case {
	const char *name;
	bool partial;
	int found;
	const char *option;
	unsigned key;
	char form; /* n, r */
	const char *message;
};

static const struct ref_case refs[] = {
	{"stanza", false, 1, "stanza", 0, 0, NULL},
	{"repo1-path", false, 1, "repo-path", 1, 0, NULL},
	{"repo256-path", false, 1, "repo-path", 256, 0, NULL},
	{"repo-path", false, 1, "repo-path", 1, 0, NULL},
	{"db-path", false, 1, "pg-path", 1, 0, NULL},
	{"db3-path", false, 1, "pg-path", 3, 0, NULL},
	{"backup-host", false, 1, "repo-host", 1, 0, NULL},
	{"retention-full", false, 1, "repo-retention-full", 1, 0, NULL},
	{"hardlink", false, 1, "repo-hardlink", 1, 0, NULL},
	{"archive-queue-max", false, 1, "archive-push-queue-max", 0, 0, NULL},
	{"repo2-azure-ca-file", false, 1, "repo-storage-ca-file", 2, 0, NULL},
	{"repo-s3-ca-file", false, 1, "repo-storage-ca-file", 1, 0, NULL},
	{"repo3-s3-verify-ssl", false, 1, "repo-storage-verify-tls", 3, 0, NULL},
	{"no-online", false, 1, "online", 0, 'n', NULL},
	{"reset-repo2-path", false, 1, "repo-path", 2, 'r', NULL},
	{"no-hardlink", false, 1, "repo-hardlink", 1, 'n', NULL},
	{"outp", false, 0, NULL, 0, 0, NULL},
	{"outp", true, 1, "output", 0, 0, NULL},
	{"repo1-pa", true, 1, "repo-path", 1, 0, NULL},
	{"db2-pa", true, 1, "pg-path", 2, 0, NULL},
	{"log-level-c", true, 1, "log-level-console", 0, 0, NULL},
	{"no-onl", true, 1, "online", 0, 'n', NULL},
	{"reset-repo3-pa", true, 1, "repo-path", 3, 'r', NULL},
	{"repo", true, 1, "repo", 0, 0, NULL},
	{"o", true, 0, NULL, 0, 0, NULL},
	{"no-", true, 0, NULL, 0, 0, NULL},
	{"", true, 0, NULL, 0, 0, NULL},
	{"log-level", true, 0, NULL, 0, 0, NULL},
	{"bogus", true, 0, NULL, 0, 0, NULL},
	{"stanza1", true, 0, NULL, 0, 0, NULL},
	{"1repo-path", true, 0, NULL, 0, 0, NULL},
	{"repo1", true, 0, NULL, 0, 0, NULL},
	{"repo1-", true, 0, NULL, 0, 0, NULL},
	{"Stanza", false, 0, NULL, 0, 0, NULL},
	{"repo0-path", false, -1, NULL, 0, 0, "option 'repo0-path' key must be between 1 and 256"},
	{"repo257-path", false, -1, NULL, 0, 0,
		"option 'repo257-path' key must be between 1 and 256"},
	{"repo99999999999999999999-path", false, -1, NULL, 0, 0,
		"option 'repo99999999999999999999-path' key must be between 1 and 256"},
	{"repo0-pa", true, -1, NULL, 0, 0, "option 'repo0-pa' key must be between 1 and 256"},
	{"repo-format", false, -1, NULL, 0, 0, "option 'repo-format' requires an index"},
	{"repo-host", false, -1, NULL, 0, 0, "option 'repo-host' requires an index"},
	{"repo-form", true, -1, NULL, 0, 0, "option 'repo-format' requires an index"},
	{"no-type", false, -1, NULL, 0, 0, "option 'no-type' cannot be negated"},
	{"no-repo1-path", false, -1, NULL, 0, 0, "option 'no-repo1-path' cannot be negated"},
	{"reset-type", false, -1, NULL, 0, 0, "option 'reset-type' cannot be reset"},
	{"-", true, -1, NULL, 0, 0, "option '-' cannot begin with a dash"},
	{"a23456789b123456789c123456789d123456789e123456789f123456789g12345", true, -1, NULL, 0, 0,
		"option 'a23456789b123456789c123456789d123456789e123456789f123456789g12345' "
		"exceeds "
		"maximum size of 64"},
};

static void test_names(void **state)
{
	for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++) {
		SCOPED_ARENA(a);
		const struct ref_case *c = &refs[i];
		struct option_ref ref;
		int found = option_ref_parse(a, c->name, c->partial, &ref);

		if (found != c->found)
			print_message("# %s\n", c->name);
		assert_int_equal(found, c->found);
		if (found == 1) {
			assert_string_equal(ref.opt->name, c->option);
			assert_int_equal(ref.key, c->key);
			assert_int_equal(ref.negate, c->form == 'n');
			assert_int_equal(ref.reset, c->form == 'r');
		}
		if (found < 0) {
			assert_int_equal(err_code(), ERR_OPTION_INVALID);
			assert_string_equal(err_msg(), c->message);
		}
		err_clear();
	}
}

/* Every option answers to its own name, with its index where it has one, and to each older name. */
static void test_every_name(void **state)
{
	SCOPED_ARENA(a);

	for (size_t i = 0; i < option_count(); i++) {
		const struct option *o = option_at(i);
		strvec names = str_split(a, o->aliases ? o->aliases : "", ' ');
		struct option_ref ref;

		assert_int_equal(option_ref_parse(a, option_label(a, o, 7), false, &ref), 1);
		assert_ptr_equal(ref.opt, o);
		assert_int_equal(ref.key, o->group == GROUP_NONE ? 0 : 7);
		for (size_t k = 0; o->aliases && k < names.n; k++) {
			char *name = arena_strdup(a, names.v[k]);

			if (strchr(name, 'N'))
				*strchr(name, 'N') = '7';
			assert_int_equal(option_ref_parse(a, name, false, &ref), 1);
			assert_ptr_equal(ref.opt, o);
		}
	}
}

static void test_missing_index_has_a_hint(void **state)
{
	SCOPED_ARENA(a);
	struct option_ref ref;

	assert_int_equal(option_ref_parse(a, "repo-format", false, &ref), -1);
	assert_string_equal(err_hints(), "HINT: add the required index, e.g. repo1-format.");
	err_clear();
}

static void test_notations(void **state)
{
	SCOPED_ARENA(a);
	bool later = true;

	assert_string_equal(opt_pick(a, "gz=6 zst=3", "zst", "x"), "3");
	assert_string_equal(opt_pick(a, "gz=6 zst=3", "z", "x"), "x");
	assert_string_equal(opt_pick(a, NULL, "z", "x"), "x");
	assert_true(opt_has_word("a|~b|c", "a", &later));
	assert_false(later);
	assert_true(opt_has_word("a|~b|c", "b", &later));
	assert_true(later);
	assert_false(opt_has_word("ab|c", "a", NULL));
	assert_false(opt_has_word("a|c", "", NULL));
}

static void test_commands(void **state)
{
	enum command c;

	for (int i = CMD_NONE + 1; i < CMD_COUNT; i++) {
		assert_true(command_by_name(command_name((enum command)i), &c));
		assert_int_equal(c, i);
		assert_true(str_ends(command_summary((enum command)i), "."));
	}
	assert_false(command_by_name("back", &c));
	assert_false(command_by_name("", &c));
	assert_false(command_by_name("Backup", &c));
	assert_null(command_name(CMD_NONE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_consistent),
		cmocka_unit_test(test_defaults_are_valid),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_every_name),
		cmocka_unit_test(test_missing_index_has_a_hint),
		cmocka_unit_test(test_notations),
		cmocka_unit_test(test_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
