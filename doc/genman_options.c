/*
 * genman_options: the options of a command, each with its forms, its help text, and what the table
 * knows of its values.
 *
 * Which options are shown is help's rule; test/lint/man.sh compares the two.
 */
#include <string.h>
#include "base/str.h"
#include "config/load.h"
#include "config/options.h"
#include "genman.h"

static const char *const themes[THEME_COUNT] = {
	[THEME_COMMAND] = "Command options",
	[THEME_GENERAL] = "General options",
	[THEME_LOG] = "Log options",
	[THEME_MAINTAINER] = "Maintainer options",
	[THEME_REPO] = "Repository options",
	[THEME_STANZA] = "Stanza options",
};

static const char *const values[] = {
	[OPT_BOOL] = NULL,
	[OPT_INT] = "number",
	[OPT_SIZE] = "size",
	[OPT_TIME] = "time",
	[OPT_STRING] = "text",
	[OPT_PATH] = "path",
	[OPT_ENUM] = "word",
	[OPT_LIST] = "text",
	[OPT_HASH] = "key=value",
};

static bool bit(uint32_t mask, enum command c)
{
	return (mask >> c & 1) != 0;
}

static bool shown(const struct option *o, enum command c)
{
	bool used = o->kind != M_NONE && (!o->used || bit(o->used, c));

	return used && option_valid(o, c) && !(o->flags & OPT_INTERNAL) && !bit(o->hidden, c);
}

/* "--repoN-path" in bold, the N in italics; before: "" or "no-". */
static void add_name(struct buf *out, const struct option *o, const char *before)
{
	size_t prefix = o->group == GROUP_PG ? strlen("pg") : strlen("repo");

	buf_adds(out, "\\fB\\-\\-");
	roff_add(out, before);
	if (o->group == GROUP_NONE) {
		roff_add(out, o->name);
	} else {
		buf_add(out, o->name, prefix);
		buf_adds(out, "\\fIN\\fB");
		roff_add(out, o->name + prefix);
	}
	buf_adds(out, "\\fR");
}

static void add_forms(struct buf *out, const struct option *o)
{
	buf_adds(out, ".TP\n");
	add_name(out, o, "");
	if (values[o->type])
		buf_addf(out, "=\\fI%s\\fR", values[o->type]);
	if (o->type == OPT_LIST || o->type == OPT_HASH)
		buf_adds(out, " ...");
	if (o->flags & OPT_NEGATE) {
		buf_adds(out, ", ");
		add_name(out, o, "no-");
	}
	buf_addc(out, '\n');
}

/* "a|~b|c" without what is not yet supported. */
static strvec words_of(struct arena *a, const char *text)
{
	strvec all = str_split(a, text, '|'), words;

	vec_init(&words, a);
	for (size_t i = 0; i < all.n; i++)
		if (all.v[i][0] != '~')
			vec_push(&words, all.v[i]);
	return words;
}

/* "1..9" as people write it, or a list of words. */
static const char *range_text(struct arena *a, const char *allowed)
{
	const char *dots = strstr(allowed, "..");

	if (dots)
		return arena_printf(a, "%.*s to %s", (int)(dots - allowed), allowed, dots + 2);

	strvec words = words_of(a, allowed);

	return arena_printf(a, "one of %s", str_join(a, &words, ", "));
}

/* "bz2: 1 to 9, default 9; ..." */
static void add_values_by(struct arena *a, const struct option *o, struct buf *out)
{
	strvec items = str_split(a, o->allowed_by ? o->allowed_by : o->def_by, ' ');

	roff_add(out, arena_printf(a, "By %s: ", o->by));
	for (size_t i = 0; i < items.n; i++) {
		char *word = arena_strndup(a, items.v[i], strcspn(items.v[i], "="));
		const char *allowed = opt_pick(a, o->allowed_by, word, NULL);
		const char *def = opt_pick(a, o->def_by, word, NULL);

		roff_add(out,
			arena_printf(a, "%s%s%s%s%s%s", i > 0 ? "; " : "", word,
				allowed ? ": " : "", allowed ? range_text(a, allowed) : "",
				def ? ", default " : "", def ? def : ""));
	}
	buf_adds(out, ".\n");
}

static void add_values(struct arena *a, const struct option *o, enum command c, struct buf *out)
{
	const char *name = command_name(c);
	const char *def = opt_pick(a, o->def_cmd, name, o->def);
	const char *allowed = opt_pick(a, o->allowed_cmd, name, o->allowed);

	if (o->by) {
		add_values_by(a, o, out);
		return;
	}
	if (strcmp(o->name, "cmd") == 0)
		def = "this program as it was called"; /* config/resolve.c */
	if (allowed)
		roff_add(out, arena_printf(a, "Value: %s.\n", range_text(a, allowed)));
	if (def)
		roff_add(out, arena_printf(a, "Default: %s.\n", def));
}

/* What the option needs: "--no-online", "--type=name|time", "--pgN-path"; false if nothing here. */
static bool add_needs(struct arena *a, const struct option *o, enum command c, struct buf *out)
{
	if (!o->depends || (o->depends_for && !bit(o->depends_for, c)))
		return false;

	strvec halves = str_split(a, o->depends, '=');
	const struct option *on = option_named(halves.v[0]);

	if (!option_valid(on, c))
		return false;
	buf_adds(out, "Only with ");
	if (halves.n == 1 || on->type == OPT_BOOL) {
		add_name(out, on, halves.n > 1 && strcmp(halves.v[1], "n") == 0 ? "no-" : "");
		return true;
	}

	const char *allowed = opt_pick(a, on->allowed_cmd, command_name(c), on->allowed);
	strvec named = words_of(a, halves.v[1]), words;

	vec_init(&words, a);
	for (size_t i = 0; i < named.n; i++) {
		bool later = false;

		if (!allowed || (opt_has_word(allowed, named.v[i], &later) && !later))
			vec_push(&words, named.v[i]);
	}
	add_name(out, on, "");
	roff_add(out, arena_printf(a, "=%s", str_join(a, &words, "|")));
	return true;
}

/* When it counts, where it may stand, its older names. */
static void add_rules(struct arena *a, const struct option *o, enum command c, struct buf *out)
{
	bool needs = add_needs(a, o, c, out), required = bit(o->required, c);

	if (needs && required)
		buf_adds(out, ", and required there");
	if (needs && o->unmet)
		roff_add(out, arena_printf(a, "; otherwise %s", o->unmet));
	if (needs)
		buf_adds(out, ".\n");
	else if (required)
		buf_adds(out, "Required.\n");
	if (o->flags & OPT_SECURE)
		buf_adds(out, "Never on the command line.\n");
	if (o->section == SECTION_LINE)
		buf_adds(out, "Not in configuration files.\n");
	if (o->section == SECTION_STANZA)
		buf_adds(out, "In files only in the section of a stanza.\n");
	if (o->aliases) {
		strvec names = str_split(a, o->aliases, ' ');

		roff_add(out,
			arena_printf(a, "Deprecated name%s: %s.\n", names.n > 1 ? "s" : "",
				str_join(a, &names, ", ")));
	}
}

static void add_option(struct arena *a, const struct option *o, enum command c, struct buf *out)
{
	struct buf facts;

	buf_init(&facts, a);
	add_forms(out, o);
	roff_add(out, o->help);
	buf_addc(out, '\n');
	add_values(a, o, c, &facts);
	add_rules(a, o, c, &facts);
	if (facts.len > 0)
		buf_addf(out, ".br\n%s", facts.data);
}

void genman_options(struct arena *a, enum command c, struct buf *out)
{
	buf_adds(out, ".SH OPTIONS\n");
	for (int theme = 0; theme < THEME_COUNT; theme++) {
		bool heading = false;

		for (size_t i = 0; i < option_count(); i++) {
			const struct option *o = option_at(i);

			if ((int)o->theme != theme || !shown(o, c))
				continue;
			if (!heading)
				buf_addf(out, ".SS %s\n", themes[theme]);
			heading = true;
			add_option(a, o, c, out);
		}
	}
}
