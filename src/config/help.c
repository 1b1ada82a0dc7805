/*
 * help: what commands and options do, 80 columns wide, all of it from the two tables.
 */
#include <string.h>
#include "base/str.h"
#include "config/help.h"
#include "config/load.h"
#include "config/values.h"

enum { WIDTH = 80, COMMAND_COLUMN = 20, OPTION_COLUMN = 36 };

static const char *const themes[THEME_COUNT] = {
	[THEME_COMMAND] = "Command Options",
	[THEME_GENERAL] = "General Options",
	[THEME_LOG] = "Log Options",
	[THEME_MAINTAINER] = "Maintainer Options",
	[THEME_REPO] = "Repository Options",
	[THEME_STANZA] = "Stanza Options",
};

/* Words of text from column `at` (where the line stands now) on, continued at `indent`. */
static void wrap(struct buf *out, const char *text, size_t at, size_t indent)
{
	bool fresh = true;

	while (*text) {
		size_t word = strcspn(text, " ");

		if (!fresh && at + 1 + word > WIDTH) {
			buf_addf(out, "\n%*s", (int)indent, "");
			at = indent;
			fresh = true;
		}
		if (!fresh) {
			buf_addc(out, ' ');
			at++;
		}
		buf_add(out, text, word);
		at += word;
		fresh = false;
		text += word + strspn(text + word, " ");
	}
	buf_addc(out, '\n');
}

/* "  name        text" */
static void add_row(struct buf *out, const char *name, size_t column, const char *text)
{
	int room = (int)column - 4;

	if (strlen(name) > (size_t)room)
		buf_addf(out, "  %s\n%*s", name, (int)column, "");
	else
		buf_addf(out, "  %-*s  ", room, name);
	wrap(out, text, column, column);
}

static void general(struct buf *out)
{
	buf_adds(out,
		"pgStrata " PACKAGE_VERSION " - General help\n\n"
		"Usage:\n    pgstrata [options] [command]\n\nCommands:\n");
	for (int c = CMD_NONE + 1; c < CMD_COUNT; c++)
		if (command_info(c)->implemented && !command_info(c)->hidden)
			add_row(out, command_name(c), COMMAND_COLUMN, command_summary(c));
	buf_adds(out, "\nUse 'pgstrata help [command]' for more information.\n");
}

static bool listed(const struct option *o, enum command c)
{
	bool used = o->kind != M_NONE && (!o->used || o->used >> c & 1);

	return used && option_valid(o, c) && !(o->flags & OPT_INTERNAL) && !(o->hidden >> c & 1);
}

/* What a user gave, one line per index that has a value: "/a", or "repo1: /a". */
static void current_values(
	struct arena *a, const struct option_values *vals, const struct option *o, strvec *out)
{
	const option_keys *keys = &vals->keys[o->group];

	vec_init(out, a);
	for (size_t k = 0; k < keys->n; k++) {
		const struct value *v = values_get(vals, o, keys->v[k]);

		if (!v || v->source == SRC_DEFAULT || v->reset || !v->has)
			continue;

		strvec texts = value_texts(a, v);
		const char *text = str_join(a, &texts, ", ");

		if (o->type == OPT_BOOL)
			text = v->flag ? "true" : "false";
		vec_push(out,
			keys->n == 1
				? text
				: arena_printf(a, "%s%u: %s", o->group == GROUP_PG ? "pg" : "repo",
					  keys->v[k], text));
	}
}

/* The default for people: booleans as in files, the one of compress-level by its type. */
static const char *default_text(
	struct arena *a, const struct option_values *vals, const struct option *o)
{
	const char *by_word = NULL;

	if (o->by) {
		const struct value *by = values_get(
			vals, option_named(o->by), vals->keys[option_named(o->by)->group].v[0]);

		by_word = by && by->has ? by->text : NULL;
	}
	return value_default(vals, o, by_word);
}

static char *first_clause(struct arena *a, const char *text)
{
	size_t end = strcspn(text, ".:;");

	while (text[end] && text[end + 1] && text[end + 1] != ' ')
		end += 1 + strcspn(text + end + 1, ".:;");
	return arena_strndup(a, text, end);
}

static const char *summary(struct arena *a, const struct config *cfg, const struct option *o)
{
	strvec current;
	const char *def = default_text(a, cfg->values, o);
	char *text = first_clause(a, o->help);
	const char *notes = "";

	current_values(a, cfg->values, o, &current);
	if (text[0] >= 'A' && text[0] <= 'Z' && !(text[1] >= 'A' && text[1] <= 'Z'))
		text[0] = (char)(text[0] - 'A' + 'a');
	if (current.n > 0 && def)
		notes = arena_printf(
			a, " [current=%s, default=%s]", str_join(a, &current, ", "), def);
	else if (current.n > 0)
		notes = arena_printf(a, " [current=%s]", str_join(a, &current, ", "));
	else if (def)
		notes = arena_printf(a, " [default=%s]", def);
	return arena_printf(a, "%s%s", text, notes);
}

static void about_command(
	struct arena *a, const struct config *cfg, enum command c, struct buf *out)
{
	buf_addf(out, "pgStrata " PACKAGE_VERSION " - '%s' command help\n\n", command_name(c));
	wrap(out, command_summary(c), 0, 0);
	if (!command_info(c)->implemented)
		buf_adds(out, "This command is not yet supported by pgStrata.\n");
	for (int theme = 0; theme < THEME_COUNT; theme++) {
		bool heading = false;

		for (size_t i = 0; i < option_count(); i++) {
			const struct option *o = option_at(i);

			if ((int)o->theme != theme || !listed(o, c))
				continue;
			if (!heading)
				buf_addf(out, "\n%s:\n\n", themes[theme]);
			heading = true;
			add_row(out, arena_printf(a, "--%s", o->name), OPTION_COLUMN,
				summary(a, cfg, o));
		}
	}
	buf_addf(out, "\nUse 'pgstrata help %s [option]' for more information.\n", command_name(c));
}

/* A name as the table has it, with an index, or an older one. */
static int find_option(struct arena *a, const char *name, enum command c, const struct option **out)
{
	struct option_ref ref = {.opt = option_named(name)};

	if (!ref.opt && option_ref_parse(a, name, false, &ref) < 0)
		err_clear(); /* a name that is no option, whatever is wrong with it */
	if (!ref.opt || ref.negate || ref.reset || !option_valid(ref.opt, c))
		return err_set(ERR_OPTION_INVALID, "option '%s' is not valid for command '%s'",
			name, command_name(c));
	*out = ref.opt;
	return 0;
}

static void about_option(struct arena *a, const struct config *cfg, enum command c,
	const struct option *o, struct buf *out)
{
	strvec current;
	const char *def = default_text(a, cfg->values, o);

	wrap(out,
		arena_printf(a, "pgStrata " PACKAGE_VERSION " - '%s' command - '%s' option help",
			command_name(c), o->name),
		0, 0);
	buf_addc(out, '\n');
	wrap(out, o->help, 0, 0);
	if (o->kind == M_NONE)
		buf_adds(out, "\nThis option is not yet supported by pgStrata.\n");
	current_values(a, cfg->values, o, &current);
	if (current.n > 0 || def || o->aliases)
		buf_addc(out, '\n');
	for (size_t i = 0; i < current.n; i++)
		buf_addf(out, "current: %s\n", current.v[i]);
	if (def)
		buf_addf(out, "default: %s\n", def);
	if (o->aliases) {
		strvec names = str_split(a, o->aliases, ' ');

		buf_adds(out, "\nDeprecated Name");
		buf_adds(out, names.n > 1 ? "s: " : ": ");
		wrap(out, str_join(a, &names, ", "), strlen("Deprecated Names: "), 0);
	}
}

int help_print(struct arena *a, const struct config *cfg, struct buf *out)
{
	const strvec *params = &cfg->params;
	const struct option *o = NULL;

	if (params->n == 0) {
		general(out);
		return 0;
	}

	enum command c = cfg->values->command;

	if (params->n > 2)
		return err_set(ERR_PARAM_INVALID, "only one option allowed for option help");
	if (params->n == 1) {
		about_command(a, cfg, c, out);
		return 0;
	}
	if (find_option(a, params->v[1], c, &o) != 0)
		return -1;
	about_option(a, cfg, c, o, out);
	return 0;
}
