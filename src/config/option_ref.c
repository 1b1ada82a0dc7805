/*
 * option_ref: from a name as the user wrote it to the option that it means.
 *
 * A name may have an index (repo2-path), stand for an older name (retention-full) and be negated or
 * reset.  Messages name what was written, never a value.
 */
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "config/options.h"

enum { NAME_MAX_LEN = 64 };

/* "repo12-path": the word before the digits, the digits, and the rest from the dash on. */
struct indexed {
	const char *digits; /* NULL: no index */
	size_t prefix_len, digits_len;
};

static struct indexed find_index(const char *name)
{
	static const char *const prefixes[] = {"pg", "repo", "db"};

	for (size_t i = 0; i < 3; i++) {
		size_t len = strlen(prefixes[i]);
		size_t digits =
			str_starts(name, prefixes[i]) ? strspn(name + len, "0123456789") : 0;

		if (digits > 0)
			return (struct indexed){name + len, len, digits};
	}
	return (struct indexed){NULL, 0, 0};
}

static int index_value(const char *name, struct indexed at, unsigned *key)
{
	unsigned long value = at.digits_len > 9 ? 0 : strtoul(at.digits, NULL, 10);

	if (value < 1 || value > GROUP_KEY_MAX)
		return err_set(ERR_OPTION_INVALID, "option '%s' key must be between 1 and %d", name,
			GROUP_KEY_MAX);
	*key = (unsigned)value;
	return 0;
}

static bool has_alias(struct arena *a, const struct option *o, const char *name)
{
	if (!o->aliases)
		return false;

	strvec aliases = str_split(a, o->aliases, ' ');

	for (size_t i = 0; i < aliases.n; i++)
		if (strcmp(aliases.v[i], name) == 0)
			return true;
	return false;
}

static const struct option *by_alias(struct arena *a, const char *name)
{
	for (size_t i = 0; i < option_count(); i++)
		if (has_alias(a, option_at(i), name))
			return option_at(i);
	return NULL;
}

static int index_missing(const char *what, const struct option *o)
{
	size_t prefix = strcspn(o->name, "-");

	err_set(ERR_OPTION_INVALID, "option '%s' requires an index", what);
	return err_hint(
		"add the required index, e.g. %.*s1%s.", (int)prefix, o->name, o->name + prefix);
}

static int exact_indexed(
	struct arena *a, const char *name, struct indexed at, struct option_ref *out)
{
	const char *rest = at.digits + at.digits_len;
	const char *plain = arena_printf(a, "%.*s%s", (int)at.prefix_len, name, rest);
	const char *alias = arena_printf(a, "%.*sN%s", (int)at.prefix_len, name, rest);
	const struct option *o = option_named(plain);

	if (!o || o->group == GROUP_NONE)
		o = by_alias(a, alias);
	if (!o)
		return 0;
	if (index_value(name, at, &out->key) != 0)
		return -1;
	out->opt = o;
	return 1;
}

static int exact(struct arena *a, const char *name, struct option_ref *out)
{
	struct indexed at = find_index(name);

	if (at.digits)
		return exact_indexed(a, name, at, out);

	const struct option *o = option_named(name);

	if (o && o->group != GROUP_NONE && !has_alias(a, o, name))
		return index_missing(name, o);
	if (!o)
		o = by_alias(a, name);
	if (!o)
		return 0;
	out->opt = o;
	out->key = o->group == GROUP_NONE ? 0 : 1;
	return 1;
}

static int exact_form(struct arena *a, const char *name, struct option_ref *out)
{
	int found = exact(a, name, out);

	if (found != 0)
		return found;
	out->negate = str_starts(name, "no-");
	out->reset = str_starts(name, "reset-");
	if (!out->negate && !out->reset)
		return 0;
	found = exact(a, name + strlen(out->negate ? "no-" : "reset-"), out);
	if (found != 1)
		return found;
	if (out->negate && !(out->opt->flags & OPT_NEGATE))
		return err_set(ERR_OPTION_INVALID, "option '%s' cannot be negated", name);
	if (out->reset && !(out->opt->flags & OPT_RESET))
		return err_set(ERR_OPTION_INVALID, "option '%s' cannot be reset", name);
	return 1;
}

/* Does text begin one of the names of the option?  digits: the index that text has, NULL for none;
 * *bare is set if only the name without its index begins so. */
static bool begins_name(
	struct arena *a, const struct option *o, const char *text, const char *digits, bool *bare)
{
	if (o->group != GROUP_NONE && digits) {
		size_t prefix = strcspn(o->name, "-");
		const char *name =
			arena_printf(a, "%.*s%s%s", (int)prefix, o->name, digits, o->name + prefix);

		if (str_starts(name, text))
			return true;
	}

	strvec aliases = str_split(a, o->aliases ? o->aliases : "", ' ');

	for (size_t i = 0; i < aliases.n; i++) {
		const char *n = strchr(aliases.v[i], 'N');
		const char *name = aliases.v[i];

		if (n && digits)
			name = arena_printf(a, "%.*s%s%s", (int)(n - name), name, digits, n + 1);
		if (*name && str_starts(name, text) && (!n || digits))
			return true;
	}
	*bare = o->group != GROUP_NONE;
	return str_starts(o->name, text);
}

struct search {
	const char *name;
	struct option_ref found;
	bool bare;
	unsigned hits;
};

static void search_form(struct arena *a, struct search *s, const char *form, unsigned flag)
{
	size_t skip = strlen(form);

	if (!str_starts(s->name, form))
		return;

	const char *text = s->name + skip;
	struct indexed at = find_index(text);
	const char *digits = at.digits ? arena_strndup(a, at.digits, at.digits_len) : NULL;

	for (size_t i = 0; i < option_count(); i++) {
		const struct option *o = option_at(i);
		bool bare = false;

		if ((flag && !(o->flags & flag)) || !begins_name(a, o, text, digits, &bare))
			continue;
		s->hits++;
		s->bare = bare;
		s->found = (struct option_ref){o, 0, flag == OPT_NEGATE, flag == OPT_RESET};
	}
}

/* A unique prefix.  Text that could still become "no-" or "reset-" is ambiguous by that alone. */
static int by_prefix(struct arena *a, const char *name, struct option_ref *out)
{
	struct search s = {.name = name};

	search_form(a, &s, "", 0);
	search_form(a, &s, "no-", OPT_NEGATE);
	search_form(a, &s, "reset-", OPT_RESET);
	if (s.hits != 1 || str_starts("no-", name) || str_starts("reset-", name))
		return 0;
	if (s.bare)
		return index_missing(s.found.opt->name, s.found.opt);

	struct indexed at = find_index(name + (s.found.negate ? 3 : s.found.reset ? 6 : 0));

	if (at.digits && index_value(name, at, &s.found.key) != 0)
		return -1;
	if (!at.digits && s.found.opt->group != GROUP_NONE)
		s.found.key = 1;
	*out = s.found;
	return 1;
}

int option_ref_parse(struct arena *a, const char *name, bool partial, struct option_ref *out)
{
	*out = (struct option_ref){NULL, 0, false, false};
	if (name[0] == '-')
		return err_set(ERR_OPTION_INVALID, "option '%s' cannot begin with a dash", name);
	if (strlen(name) > NAME_MAX_LEN)
		return err_set(ERR_OPTION_INVALID, "option '%s' exceeds maximum size of %d", name,
			NAME_MAX_LEN);
	if (*name == '\0')
		return 0;

	int found = exact_form(a, name, out);

	if (found != 0 || !partial)
		return found;
	return by_prefix(a, name, out);
}
