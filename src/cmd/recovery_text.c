/*
 * recovery_text: what recovery settings look like.
 */
#include "cmd/recovery_text.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

static bool is(const char *type, const char *name)
{
	return strcmp(type, name) == 0;
}

const char *recovery_type(const char *type, bool given, bool online)
{
	return online || given ? type : "none";
}

bool recovery_writes(const char *type)
{
	return !is(type, "none") && !is(type, "preserve");
}

const char *recovery_file(const struct pg_version *v)
{
	return v->recovery_signal ? "postgresql.auto.conf" : "recovery.conf";
}

const char *recovery_signal(const struct recovery_ask *ask)
{
	if (!ask->version->recovery_signal || !recovery_writes(ask->type))
		return NULL;
	return is(ask->type, "standby") ? "standby.signal" : "recovery.signal";
}

bool recovery_owns(const struct pg_version *v, const char *name)
{
	if (strcmp(name, recovery_file(v)) == 0)
		return true;
	return v->recovery_signal &&
		(strcmp(name, "recovery.signal") == 0 || strcmp(name, "standby.signal") == 0);
}

/* --- what cannot be --- */

/* As PostgreSQL reads names: letters, digits, "_", "$", and dots between such words. */
static bool is_setting_name(const char *name)
{
	bool begin = true;

	for (; *name != '\0'; name++) {
		unsigned char c = (unsigned char)*name;
		if (c == '.' ? begin : !(isalpha(c) || c == '_' || c >= 0x80 ||
				(!begin && (isdigit(c) || c == '$'))))
			return false;
		begin = c == '.';
	}
	return !begin;
}

static char *setting_name(struct arena *a, const char *key)
{
	char *name = arena_strdup(a, key);

	for (char *c = name; *c != '\0'; c++)
		if (*c == '-')
			*c = '_';
	return name;
}

static int check_option(struct arena *a, const struct recovery_ask *ask, const struct config_pair *option)
{
	const char *name = setting_name(a, option->key);

	if (!is_setting_name(name)) {
		(void)err_set(ERR_OPTION_VALUE, "'%s' is not valid for 'recovery-option' option", option->key);
		return err_hint("it must be the name of a PostgreSQL setting.");
	}
	if (!ask->version->recovery_signal || strcasecmp(name, "standby_mode") != 0)
		return 0;
	(void)err_set(ERR_OPTION_INVALID, "'standby_mode' setting is not valid for PostgreSQL >= 12");
	return err_hint("use --type=standby instead of --recovery-option=standby_mode=on.");
}

int recovery_check(struct arena *a, const struct recovery_ask *ask)
{
	if (!recovery_writes(ask->type))
		return 0;
	if (is(ask->type, "lsn") && ask->version->num < 100000) {
		(void)err_set(ERR_OPTION_INVALID, "option 'type' = 'lsn' is not supported on PostgreSQL < 10");
		return err_hint("use another type of target: time, xid, name or immediate.");
	}
	if (ask->archive_off && !ask->version->recovery_signal) {
		(void)err_set(ERR_OPTION_INVALID, "option 'archive-mode' is not supported on PostgreSQL < 12");
		return err_hint("'archive_mode' should be manually set to 'off' in postgresql.conf.");
	}
	for (size_t i = 0; i < ask->options->n; i++)
		if (check_option(a, ask, &ask->options->v[i]) != 0)
			return -1;
	return 0;
}

/* --- the settings --- */

/* A setting in PostgreSQL's spelling: quotes are doubled, backslashes too, because it reads escapes; a line
 * feed is written as one, because no value goes on in the next line. */
static void add_setting(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, "%s = '", name);
	for (; *value != '\0'; value++) {
		if (*value == '\n') {
			buf_adds(b, "\\n");
			continue;
		}
		if (*value == '\'' || *value == '\\')
			buf_addc(b, *value);
		buf_addc(b, *value);
	}
	buf_adds(b, "'\n");
}

/* In restore_command a lone % begins a placeholder. */
static char *double_percent(struct arena *a, const char *text)
{
	struct buf b;

	buf_init(&b, a);
	for (; *text != '\0'; text++) {
		if (*text == '%')
			buf_addc(&b, '%');
		buf_addc(&b, *text);
	}
	return b.data;
}

char *recovery_command(struct arena *a, const char *program, const char *options)
{
	return arena_printf(a, "%s %s archive-get %%f \"%%p\"", double_percent(a, program),
		double_percent(a, options));
}

struct lines {
	struct buf text;
	config_pairs given; /* --recovery-option by PostgreSQL's names, sorted; equal names as given */
};

static void take_options(struct arena *a, const config_pairs *options, struct lines *l)
{
	vec_init(&l->given, a);
	for (size_t i = 0; i < options->n; i++) {
		struct config_pair added = { setting_name(a, options->v[i].key), options->v[i].value };
		size_t at = l->given.n;

		vec_add(&l->given);
		for (; at > 0 && strcmp(l->given.v[at - 1].key, added.key) > 0; at--)
			l->given.v[at] = l->given.v[at - 1];
		l->given.v[at] = added;
	}
}

/* What is written because the type implies it yields to what the user wrote. */
static void add_implied(struct lines *l, const char *name, const char *value)
{
	for (size_t i = 0; i < l->given.n; i++)
		if (strcasecmp(l->given.v[i].key, name) == 0)
			return;
	add_setting(&l->text, name, value);
}

static void add_target(struct arena *a, const struct recovery_ask *ask, struct lines *l)
{
	if (is(ask->type, "immediate"))
		add_setting(&l->text, "recovery_target", "immediate");
	else if (!is(ask->type, "default") && !is(ask->type, "standby"))
		add_setting(&l->text, arena_printf(a, "recovery_target_%s", ask->type), ask->target);
	if (ask->target_exclusive)
		add_setting(&l->text, "recovery_target_inclusive", "false");
	if (ask->target_action != NULL && strcmp(ask->target_action, "pause") != 0)
		add_setting(&l->text, "recovery_target_action", ask->target_action);
}

/* Before 12 "current" is the default and no word that PostgreSQL knows.  A number has no zeros in front:
 * PostgreSQL would take it as octal. */
static void add_timeline(const struct recovery_ask *ask, struct lines *l)
{
	const char *timeline = ask->target_timeline;

	if (timeline == NULL) {
		if (is(ask->type, "immediate") && ask->version->recovery_signal)
			add_implied(l, "recovery_target_timeline", "current");
		return;
	}
	if (!ask->version->recovery_signal && strcmp(timeline, "current") == 0)
		return;
	while (timeline[0] == '0' && isdigit((unsigned char)timeline[1]))
		timeline++;
	add_setting(&l->text, "recovery_target_timeline", timeline);
}

char *recovery_settings(struct arena *a, const struct recovery_ask *ask, const char *when)
{
	struct lines l;

	buf_init(&l.text, a);
	if (!recovery_writes(ask->type))
		return l.text.data;
	take_options(a, ask->options, &l);
	buf_addf(&l.text, "# Recovery settings generated by pgStrata restore on %s\n", when);
	for (size_t i = 0; i < l.given.n; i++)
		add_setting(&l.text, l.given.v[i].key, l.given.v[i].value);
	if (ask->archive_off)
		add_setting(&l.text, "archive_mode", "off");
	add_implied(&l, "restore_command", ask->command);
	if (is(ask->type, "standby") && !ask->version->recovery_signal)
		add_implied(&l, "standby_mode", "on");
	add_target(a, ask, &l);
	add_timeline(ask, &l);
	return l.text.data;
}

/* --- old settings --- */

static const char *skip_blanks(const char *c, const char *end)
{
	while (c < end && (*c == ' ' || *c == '\t'))
		c++;
	return c;
}

/* "recovery_target", "recovery_target_time" ... in any case, with blanks before, then '=' or a blank, both of
 * which PostgreSQL takes. */
static bool is_old_target(const char *line, size_t len)
{
	static const char *const tails[] = { "", "_action", "_inclusive", "_lsn", "_name", "_time", "_timeline",
		"_xid" };
	const char *end = line + len, *name = skip_blanks(line, end), *c = name;
	size_t stem = strlen("recovery_target");

	while (c < end && (isalnum((unsigned char)*c) || *c == '_'))
		c++;
	size_t name_len = (size_t)(c - name);
	if (c == end || (*c != '=' && *c != ' ' && *c != '\t') || name_len < stem ||
		strncasecmp(name, "recovery_target", stem) != 0)
		return false;
	for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++)
		if (strlen(tails[i]) == name_len - stem &&
			strncasecmp(name + stem, tails[i], name_len - stem) == 0)
			return true;
	return false;
}

void recovery_comment_out(struct buf *b, const struct buf *old, const char *when)
{
	const char *line = old->data, *end = old->data + old->len;

	while (line < end) {
		const char *eol = memchr(line, '\n', (size_t)(end - line));
		size_t len = (size_t)((eol == NULL ? end : eol) - line);
		if (is_old_target(line, len))
			buf_addf(b, "# Removed by pgStrata restore on %s # ", when);
		buf_add(b, line, len);
		buf_addc(b, '\n');
		line += len + 1;
	}
}
