/*
 * environment: options from PGSTRATA_* and PGBACKREST_* variables.
 *
 * Unknown names are warnings, malformed ones failures, names of options that the command does not
 * take are ignored.  Values of secure options do not stay in the environment.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "config/sources.h"

extern char **environ;

struct scan {
	struct arena *a;
	enum command command;
	givens *env;
	size_t first; /* givens of the prefix before this one end here */
};

/* "REPO1_PATH" -> "repo1-path" */
static char *option_text(struct arena *a, const char *name, size_t len)
{
	char *text = arena_strndup(a, name, len);

	for (char *c = text; *c; c++)
		*c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
	return text;
}

static int check_value(const struct option *o, const char *name, const char *value)
{
	if (*value == '\0')
		return err_set(
			ERR_OPTION_VALUE, "environment variable '%s' must have a value", name);
	if (o->type == OPT_BOOL && strcmp(value, "y") != 0 && strcmp(value, "n") != 0)
		return err_set(ERR_OPTION_VALUE,
			"environment boolean option '%s' must be 'y' or 'n'", name);
	return 0;
}

static int add(struct scan *s, const struct option_ref *ref, const char *name, const char *value)
{
	const struct given *old = given_find(s->env, ref->opt, ref->key);

	if (old && (size_t)(old - s->env->v) < s->first)
		return 0;
	if (old && strcmp(old->name, name) == 0)
		return err_set(
			ERR_OPTION_INVALID, "option '%s' cannot be set multiple times", name);
	if (old)
		return err_set(ERR_OPTION_INVALID,
			"environment contains duplicate options ('%s', '%s')",
			strcmp(old->name, name) < 0 ? old->name : name,
			strcmp(old->name, name) < 0 ? name : old->name);
	if (check_value(ref->opt, name, value) != 0)
		return -1;

	struct given *g = vec_add(s->env);

	*g = (struct given){ref->opt, ref->key, false, false, name, {0}};
	if (ref->opt->type == OPT_LIST || ref->opt->type == OPT_HASH) {
		g->values = str_split(s->a, value, ':');
	} else {
		vec_init(&g->values, s->a);
		vec_push(&g->values, arena_strdup(s->a, value));
	}
	return 0;
}

static int take(struct scan *s, const char *name, const char *value)
{
	struct option_ref ref;
	int found = option_ref_parse(s->a, name, false, &ref);

	if (found < 0)
		return -1;
	if (found == 0)
		log_warn("environment contains invalid option '%s'", name);
	else if (ref.negate)
		log_warn("environment contains invalid negate option '%s'", name);
	else if (ref.reset)
		log_warn("environment contains invalid reset option '%s'", name);
	else if (option_valid(ref.opt, s->command))
		return add(s, &ref, name, value);
	return 0;
}

/* Fault injection has variables of its own. */
static bool foreign(const char *name)
{
#ifdef ENABLE_FAULTS
	return str_starts(name, "fault");
#else
	return false;
#endif
}

static int scan_prefix(struct scan *s, const char *prefix)
{
	size_t len = strlen(prefix);

	s->first = s->env->n;
	for (char **e = environ; e && *e; e++) {
		const char *equal = strchr(*e, '=');

		if (!equal || !str_starts(*e, prefix))
			continue;

		const char *name = option_text(s->a, *e + len, (size_t)(equal - *e) - len);

		if (!foreign(name) && take(s, name, equal + 1) != 0)
			return -1;
	}
	return 0;
}

static bool is_secure(struct arena *a, const char *entry, size_t prefix)
{
	struct option_ref ref;
	const char *name = option_text(a, entry + prefix, strcspn(entry, "=") - prefix);
	int found = option_ref_parse(a, name, false, &ref);

	if (found < 0)
		err_clear(); /* reported when it was read */
	return found == 1 && ref.opt->flags & OPT_SECURE;
}

/* Overwritten where they lie too: /proc and core files show the first place of the environment. */
static void wipe_secrets(struct arena *a)
{
	for (char **e = environ; e && *e;) {
		size_t prefix = str_starts(*e, "PGSTRATA_") ? strlen("PGSTRATA_")
			: str_starts(*e, "PGBACKREST_")	    ? strlen("PGBACKREST_")
							    : 0;
		size_t name = strcspn(*e, "=");

		if (!prefix || (*e)[name] != '=' || !is_secure(a, *e, prefix)) {
			e++;
			continue;
		}

		const char *copy = arena_strndup(a, *e, name);

		explicit_bzero(*e + name + 1, strlen(*e + name + 1));
		if (unsetenv(copy) != 0)
			e++;
		else
			e = environ;
	}
}

/* An sshd that accepts variables (AcceptEnv) hands on what the peer says: nothing of it may widen what a forced
 * command permits. */
static bool is_of_a_peer(enum command command)
{
	return command == CMD_SERVE && getenv("SSH_ORIGINAL_COMMAND") != NULL;
}

int environment_read(struct arena *a, enum command command, givens *env)
{
	struct scan s = {a, command, env, 0};

	if (is_of_a_peer(command))
		return 0;
	if (scan_prefix(&s, "PGSTRATA_") != 0 || scan_prefix(&s, "PGBACKREST_") != 0)
		return -1;
	wipe_secrets(a);
	return 0;
}
