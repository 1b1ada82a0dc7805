/*
 * argv: the command line, phase 1 of the reference's order: syntax, names, forms; nothing here
 * knows which options the command takes.
 */
#include <string.h>
#include "base/str.h"
#include "config/load.h"
#include "config/sources.h"

struct parser {
	struct arena *a;
	int argc, at;
	char **argv;
	struct command_line *words;
	givens *line;
};

const struct given *given_find(const givens *list, const struct option *o, unsigned key)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->v[i].opt == o && list->v[i].key == key)
			return &list->v[i];
	return NULL;
}

/* "async" behind a command: roles are this program's own business, so none can be asked for. */
static int role_refused(const char *word, enum command c, const char *role)
{
	static const char *const roles[] = {"main", "async", "local", "remote"};
	static const uint32_t exist[] = {0, CMDS_ARCHIVE, CMDS_WORKERS, CMDS_REPO};

	for (size_t i = 0; i < 4; i++) {
		if (strcmp(role, roles[i]) != 0)
			continue;
		if (i > 0 && !(exist[i] >> c & 1))
			return err_set(
				ERR_COMMAND_INVALID, "invalid command/role combination '%s'", word);
		return i == 0 ? 0
			      : err_set(ERR_COMMAND_INVALID,
					"command role '%s' is not yet supported by pgStrata", role);
	}
	return err_set(ERR_COMMAND_INVALID, "invalid command role '%s'", role);
}

static int take_command(struct parser *p, const char *word)
{
	const char *colon = strchr(word, ':');
	const char *name = colon ? arena_strndup(p->a, word, (size_t)(colon - word)) : word;

	if (!command_by_name(name, &p->words->command))
		return err_set(ERR_COMMAND_INVALID, "invalid command '%s'", name);
	return colon ? role_refused(word, p->words->command, colon + 1) : 0;
}

/* The word that nobody knows, as written; without its value where the name could be a mistyped
 * secret. */
static int unknown_option(const char *word, const char *name)
{
	static const char *const secret[] = {"pass", "key", "secret", "token"};
	bool hide = false;

	for (size_t i = 0; i < 4; i++)
		hide = hide || strstr(name, secret[i]);
	return err_set(
		ERR_OPTION_INVALID, "invalid option '%s%s'", hide ? "--" : "", hide ? name : word);
}

static int contradiction(const struct given *old, const struct option_ref *ref, const char *label)
{
	if (old->negate && ref->negate)
		return err_set(ERR_OPTION_INVALID, "option '%s' is negated multiple times", label);
	if (old->reset && ref->reset)
		return err_set(ERR_OPTION_INVALID, "option '%s' is reset multiple times", label);

	bool negate = old->negate || ref->negate, reset = old->reset || ref->reset;

	if (negate && reset)
		return err_set(
			ERR_OPTION_INVALID, "option '%s' cannot be negated and reset", label);
	if (negate)
		return err_set(ERR_OPTION_INVALID, "option '%s' cannot be set and negated", label);
	if (reset)
		return err_set(ERR_OPTION_INVALID, "option '%s' cannot be set and reset", label);
	if (ref->opt->type != OPT_LIST && ref->opt->type != OPT_HASH)
		return err_set(
			ERR_OPTION_INVALID, "option '%s' cannot be set multiple times", label);
	return 0;
}

static int add(struct parser *p, const struct option_ref *ref, const char *name, const char *value)
{
	const char *label = option_label(p->a, ref->opt, ref->key);
	struct given *g = (struct given *)given_find(p->line, ref->opt, ref->key);

	if (g && contradiction(g, ref, label) != 0)
		return -1;
	if (!g) {
		g = vec_add(p->line);
		*g = (struct given){ref->opt, ref->key, ref->negate, ref->reset, name, {0}};
		vec_init(&g->values, p->a);
	}
	if (value)
		vec_push(&g->values, value);
	return 0;
}

static int secure_refused(struct parser *p, const struct option_ref *ref)
{
	err_set(ERR_OPTION_INVALID, "option '%s' is not allowed on the command-line",
		option_label(p->a, ref->opt, ref->key));
	err_hint("this option could expose secrets in the process list.");
	return err_hint(
		"specify the option in a configuration file or an environment variable instead.");
}

/* The value of an option that has one: behind '=', or the next word; booleans need none. */
static int option_value(
	struct parser *p, const struct option_ref *ref, const char *name, const char **value)
{
	if (ref->negate || ref->reset) {
		if (*value)
			return err_set(
				ERR_OPTION_INVALID, "option '%s' does not allow an argument", name);
		return 0;
	}
	if (ref->opt->flags & OPT_SECURE)
		return secure_refused(p, ref);
	if (ref->opt->type == OPT_BOOL) {
		if (*value && strcmp(*value, "y") != 0 && strcmp(*value, "n") != 0)
			return err_set(ERR_OPTION_VALUE,
				"boolean option '--%s' argument must be 'y' or 'n'", name);
		*value = *value ? *value : "y";
		return 0;
	}
	if (!*value && ref->opt->flags & OPT_BOOL_LIKE)
		*value = "y";
	if (!*value && p->at + 1 >= p->argc)
		return err_set(ERR_OPTION_INVALID, "option '--%s' requires an argument", name);
	if (!*value)
		*value = p->argv[++p->at];
	return 0;
}

static int take_option(struct parser *p, const char *word)
{
	if (word[1] != '-')
		return err_set(ERR_OPTION_INVALID, "option '%s' must begin with --", word);

	const char *equal = strchr(word, '=');
	const char *value = equal ? equal + 1 : NULL;
	const char *name =
		equal ? arena_strndup(p->a, word + 2, (size_t)(equal - word - 2)) : word + 2;
	struct option_ref ref;
	int found = option_ref_parse(p->a, name, true, &ref);

	if (found < 0)
		return -1;
	if (found == 0)
		return unknown_option(word, name);
	if (option_value(p, &ref, name, &value) != 0)
		return -1;

	bool yes = !value || strcmp(value, "y") == 0;

	p->words->help = p->words->help || (strcmp(ref.opt->name, "help") == 0 && yes);
	p->words->version = p->words->version || (strcmp(ref.opt->name, "version") == 0 && yes);
	return add(p, &ref, name, value);
}

int argv_parse(struct arena *a, int argc, char **argv, struct command_line *out, givens *line)
{
	struct parser p = {a, argc, 1, argv, out, line};

	*out = (struct command_line){.command = CMD_NONE};
	vec_init(&out->params, a);
	for (; p.at < argc; p.at++) {
		const char *word = argv[p.at];

		/* "-" alone is a parameter: standard input */
		if (word[0] == '-' && (word[1] != '\0' || out->command == CMD_NONE)) {
			if (take_option(&p, word) != 0)
				return -1;
		} else if (out->command == CMD_NONE) {
			if (take_command(&p, word) != 0)
				return -1;
		} else {
			vec_push(&out->params, word);
		}
	}
	return 0;
}
