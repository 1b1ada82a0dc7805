/*
 * conf_load: which configuration files are read, and what their sections say for this command.
 *
 * All files count as one text.  Only the sections [stanza:command], [stanza], [global:command] and
 * [global] take part, the first of them that has an option wins; what stands anywhere else is never
 * looked at.
 */
#include <string.h>
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "config/load.h"
#include "config/sources.h"

/* Existing, or not known to be missing: then reading it tells why it cannot be read. */
static bool there(const char *path)
{
	int found = file_exists(path);

	if (found < 0)
		err_clear();
	return found != 0;
}

static void default_main(struct arena *a, const char *etc, struct conf_choice *out)
{
	const char *name = out->pgbackrest ? "pgbackrest" : "pgstrata";
	const char *file = arena_printf(a, "%s/%s/%s.conf", etc, name, name);
	const char *old = arena_printf(a, "%s/pgbackrest.conf", etc);

	if (there(file))
		out->main = file;
	else if (out->pgbackrest && there(old))
		out->main = old;
}

/* Our own places, unless only pgBackRest's have something or the program was called by that name.
 */
static void use_defaults(struct arena *a, const struct conf_request *r, struct conf_choice *out)
{
	const char *etc = r->etc;
	bool own = there(arena_printf(a, "%s/pgstrata/pgstrata.conf", etc)) ||
		there(arena_printf(a, "%s/pgstrata/conf.d", etc));
	bool other = there(arena_printf(a, "%s/pgbackrest/pgbackrest.conf", etc)) ||
		there(arena_printf(a, "%s/pgbackrest/conf.d", etc)) ||
		there(arena_printf(a, "%s/pgbackrest.conf", etc));

	out->pgbackrest = r->as_pgbackrest || (!own && other);
	default_main(a, etc, out);
	if (!r->include)
		out->include = arena_printf(
			a, "%s/%s/conf.d", etc, out->pgbackrest ? "pgbackrest" : "pgstrata");
}

static void use_path(struct arena *a, const struct conf_request *r, struct conf_choice *out)
{
	const char *own = path_join(a, r->path, "pgstrata.conf");
	const char *other = path_join(a, r->path, "pgbackrest.conf");

	out->include = path_join(a, r->path, "conf.d");
	if (r->config || r->no_config)
		return;
	if (!r->as_pgbackrest && there(own))
		out->main = own;
	else if (there(other))
		out->main = other;
	else if (there(own))
		out->main = own;
	out->pgbackrest = r->as_pgbackrest || out->main == other;
}

void conf_choose(struct arena *a, const struct conf_request *r, struct conf_choice *out)
{
	*out = (struct conf_choice){.pgbackrest = r->as_pgbackrest};
	if (r->path)
		use_path(a, r, out);
	else if (!r->config && !r->no_config)
		use_defaults(a, r, out);
	if (r->config) {
		out->main = r->config;
		out->main_required = true;
	}
	if (r->include) {
		out->include = r->include;
		out->include_required = true;
	}
}

static int collect_folder(struct arena *a, const struct conf_choice *choice, conf_entries *out)
{
	struct dir_names names;

	if (dir_list(a, choice->include, &names) != 0) {
		if (err_code() != ERR_PATH_MISSING || choice->include_required)
			return -1;
		err_clear();
		return 0;
	}
	for (size_t i = 0; i < names.n; i++)
		if (str_ends(names.v[i], ".conf") &&
			conf_read(a, path_join(a, choice->include, names.v[i]), out) != 0)
			return -1;
	return 0;
}

int conf_collect(struct arena *a, const struct conf_choice *choice, conf_entries *out)
{
	if (choice->main && conf_read(a, choice->main, out) != 0) {
		if (err_code() != ERR_FILE_MISSING || choice->main_required)
			return -1;
		err_clear();
	}
	return choice->include ? collect_folder(a, choice, out) : 0;
}

struct section {
	struct arena *a;
	const char *name;
	enum command command;
	bool global, for_command;
	givens *file;
	size_t first; /* givens of the sections before this one end here */
};

static void complain(const struct conf_entry *e, const char *what)
{
	log_warn("configuration file contains %s, in '%s' line %u", what, e->file, e->line);
}

static int duplicate(const struct section *s, const struct given *old, const struct option_ref *ref,
	const char *name)
{
	bool ordered = strcmp(old->name, name) < 0;

	if (strcmp(old->name, name) != 0)
		return err_set(ERR_OPTION_INVALID,
			"configuration file contains duplicate options ('%s', '%s') in section "
			"'[%s]'",
			ordered ? old->name : name, ordered ? name : old->name, s->name);
	if (ref->opt->type != OPT_LIST && ref->opt->type != OPT_HASH)
		return err_set(
			ERR_OPTION_INVALID, "option '%s' cannot be set multiple times", name);
	return 0;
}

static int add(struct section *s, const struct conf_entry *e, const struct option_ref *ref)
{
	struct given *g = (struct given *)given_find(s->file, ref->opt, ref->key);

	if (g && (size_t)(g - s->file->v) < s->first)
		return 0;
	if (*e->value == '\0')
		return err_set(ERR_OPTION_VALUE, "section '%s', key '%s' must have a value",
			s->name, e->key);
	if (g && duplicate(s, g, ref, e->key) != 0)
		return -1;
	if (ref->opt->type == OPT_BOOL && strcmp(e->value, "y") != 0 && strcmp(e->value, "n") != 0)
		return err_set(ERR_OPTION_VALUE, "boolean option '%s' must be 'y' or 'n'", e->key);
	if (!g) {
		g = vec_add(s->file);
		*g = (struct given){ref->opt, ref->key, false, false, e->key, {0}};
		vec_init(&g->values, s->a);
	}
	vec_push(&g->values, e->value);
	return 0;
}

static int take(struct section *s, const struct conf_entry *e)
{
	struct option_ref ref;
	int found = option_ref_parse(s->a, e->key, false, &ref);

	if (found < 0)
		return -1;
	if (found == 0)
		complain(e, arena_printf(s->a, "invalid option '%s'", e->key));
	else if (ref.negate)
		complain(e, arena_printf(s->a, "negate option '%s'", e->key));
	else if (ref.reset)
		complain(e, arena_printf(s->a, "reset option '%s'", e->key));
	else if (ref.opt->section == SECTION_LINE)
		complain(e, arena_printf(s->a, "command-line only option '%s'", e->key));
	else if (!option_valid(ref.opt, s->command)) {
		if (s->for_command)
			complain(e,
				arena_printf(s->a, "option '%s' invalid for section '%s'", e->key,
					s->name));
	} else if (ref.opt->section == SECTION_STANZA && s->global)
		complain(e,
			arena_printf(s->a, "stanza-only option '%s' in global section '%s'", e->key,
				s->name));
	else
		return add(s, e, &ref);
	return 0;
}

static int apply_section(struct section *s, const conf_entries *entries)
{
	for (size_t i = 0; i < entries->n; i++)
		if (strcmp(entries->v[i].section, s->name) == 0 && take(s, &entries->v[i]) != 0)
			return -1;
	return 0;
}

int conf_apply(struct arena *a, const conf_entries *entries, const char *stanza,
	enum command command, enum command follows, givens *file)
{
	const enum command parts[] = { command, follows, CMD_NONE };

	for (int global = stanza ? 0 : 1; global <= 1; global++)
		for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
			const char *base = global ? "global" : stanza;
			struct section s = {
				a,
				parts[i] == CMD_NONE ? base :
					arena_printf(a, "%s:%s", base, command_name(parts[i])),
				command,
				global == 1,
				i == 0,
				file,
				file->n,
			};

			if ((i != 1 || follows != CMD_NONE) && apply_section(&s, entries) != 0)
				return -1;
		}
	return 0;
}
