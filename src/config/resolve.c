/*
 * resolve: which source decides an option, whether what it depends on holds, its default (phases 4
 * and 5).
 *
 * An option is resolved after the ones it looks at.  A value from the environment or a file whose
 * dependency does not hold is dropped silently, one from the command line is a failure.
 */
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "config/load.h"
#include "config/values.h"

static bool bit(uint32_t mask, const struct option_values *vals)
{
	return (mask >> vals->command & 1) != 0;
}

void values_init(struct option_values *vals, struct arena *a, enum command command)
{
	*vals = (struct option_values){.arena = a, .command = command};
	vec_init(&vals->from.line, a);
	vec_init(&vals->from.env, a);
	vec_init(&vals->from.file, a);
	for (int g = 0; g < 3; g++)
		vec_init(&vals->keys[g], a);
	vec_push(&vals->keys[GROUP_NONE], 0);
	vals->v = arena_zalloc(a, option_count() * sizeof(*vals->v));
	vals->n = arena_zalloc(a, option_count() * sizeof(*vals->n));
}

static struct value *slot(const struct option_values *vals, const struct option *o, unsigned key)
{
	size_t i = option_index(o);

	for (size_t k = 0; k < vals->n[i]; k++)
		if (vals->v[i][k].key == key)
			return &vals->v[i][k];
	return NULL;
}

const struct value *values_get(
	const struct option_values *vals, const struct option *o, unsigned key)
{
	struct value *v = slot(vals, o, o->group == GROUP_NONE ? 0 : key);

	return v && v->state == VALUE_DONE ? v : NULL;
}

/* Room for an option's keys on first use; the keys do not change afterwards. */
static struct value *slot_made(struct option_values *vals, const struct option *o, unsigned key)
{
	size_t i = option_index(o);

	if (!vals->v[i]) {
		const option_keys *keys = &vals->keys[o->group];

		vals->v[i] = arena_zalloc(vals->arena, keys->n * sizeof(struct value));
		vals->n[i] = keys->n;
		for (size_t k = 0; k < keys->n; k++) {
			vals->v[i][k].opt = o;
			vals->v[i][k].key = keys->v[k];
		}
	}
	return slot(vals, o, o->group == GROUP_NONE ? 0 : key);
}

static const struct given *decide(
	const struct option_values *vals, const struct option *o, unsigned key, enum source *source)
{
	const givens *lists[] = {&vals->from.line, &vals->from.env, &vals->from.file};

	for (int i = 0; i < 3; i++) {
		const struct given *g = given_find(lists[i], o, key);

		if (g) {
			*source = (enum source)(SRC_LINE + i);
			return g;
		}
	}
	*source = SRC_DEFAULT;
	return NULL;
}

/* compress-level alone means gz, as long as it was the default; compress=n means none. */
static const char *compress_type_default(const struct option_values *vals)
{
	enum source source;
	const struct given *off = decide(vals, option_named("compress"), 0, &source);
	const struct given *level = decide(vals, option_named("compress-level"), 0, &source);

	if (off && (off->negate || (off->values.n > 0 && strcmp(off->values.v[0], "n") == 0)))
		return "none";
	return level && level->values.n > 0 ? "gz" : NULL;
}

const char *value_default(
	const struct option_values *vals, const struct option *o, const char *by_word)
{
	const char *text = opt_pick(vals->arena, o->def_cmd, command_name(vals->command), o->def);

	if (by_word)
		text = opt_pick(vals->arena, o->def_by, by_word, text);
	if (strcmp(o->name, "cmd") == 0 || str_ends(o->name, "-host-cmd"))
		return vals->program;
	if (strcmp(o->name, "compress-type") == 0) {
		const char *old = compress_type_default(vals);

		return old ? old : text;
	}
	if (!text || !vals->pgbackrest)
		return text;

	/* "/etc/pgstrata/pgstrata.conf" in all its parts */
	strvec parts = str_split(vals->arena, text, '/');

	for (size_t i = 0; i < parts.n; i++)
		if (str_starts(parts.v[i], "pgstrata"))
			parts.v[i] = arena_printf(
				vals->arena, "pgbackrest%s", parts.v[i] + strlen("pgstrata"));
	return str_join(vals->arena, &parts, "/");
}

static int take_default(
	const struct option_values *vals, struct value *v, const char *text, const struct value *by)
{
	strvec texts;

	v->has = false;
	if (!text)
		return 0;
	vec_init(&texts, vals->arena);
	vec_push(&texts, text);
	return value_parse(vals, v, &texts, by);
}

static int unmet_error(const struct option_values *vals, const struct value *v,
	const struct option *on, const char *words)
{
	SCOPED_ARENA(scratch);
	const char *label = option_label(scratch, v->opt, v->key);
	const char *other = option_label(scratch, on, v->key);
	strvec all = str_split(scratch, words ? words : "", '|');

	if (on->type == OPT_BOOL)
		return err_set(ERR_OPTION_INVALID, "option '%s' not valid without option '%s%s'",
			label, strcmp(words, "n") == 0 ? "no-" : "", other);
	if (!words)
		return err_set(ERR_OPTION_INVALID, "option '%s' not valid without option '%s'",
			label, other);
	if (all.n == 1)
		return err_set(ERR_OPTION_INVALID,
			"option '%s' not valid without option '%s' = '%s'", label, other, words);
	return err_set(ERR_OPTION_INVALID, "option '%s' not valid without option '%s' in ('%s')",
		label, other, str_join(scratch, &all, "', '"));
}

static bool holds(const struct value *v, const char *words)
{
	if (!words)
		return v->has;
	if (v->opt->type == OPT_BOOL)
		return v->has && v->flag == (strcmp(words, "y") == 0);
	return v->has && opt_has_word(words, v->text, NULL);
}

/* 1: the dependency holds or there is none; 0: it does not, and the value is settled. */
static int dependency(
	struct option_values *vals, struct value *v, const struct given *g, enum source source)
{
	const struct option *o = v->opt;

	if (!o->depends || (o->depends_for && !bit(o->depends_for, vals)))
		return 1;

	const char *equal = strchr(o->depends, '=');
	const char *name = equal
		? arena_strndup(vals->arena, o->depends, (size_t)(equal - o->depends))
		: o->depends;
	const struct option *on = option_named(name);
	struct value *other;

	if (!option_valid(on, vals->command))
		return 1;
	if (values_one(vals, on, v->key, &other) != 0)
		return -1;
	if (holds(other, equal ? equal + 1 : NULL))
		return 1;
	if (g && source == SRC_LINE && !g->reset && (!g->negate || o->type == OPT_BOOL))
		return unmet_error(vals, v, on, equal ? equal + 1 : NULL);
	v->unmet = true;
	return take_default(vals, v, o->unmet, NULL) == 0 ? 0 : -1;
}

static bool same(const struct value *x, const struct value *y)
{
	if (x->has != y->has || !x->has)
		return x->has == y->has;
	switch (x->opt->type) {
	case OPT_BOOL:
		return x->flag == y->flag;
	case OPT_INT:
	case OPT_SIZE:
	case OPT_TIME:
		return x->number == y->number;
	case OPT_LIST:
	case OPT_HASH:
		return false;
	default:
		return strcmp(x->text, y->text) == 0;
	}
}

/*
 * A given value that nothing honours here: refused if it asks for something else than the default,
 * else forgotten.  Where the option has its use in other commands only, a file may still set it for
 * them.
 */
static int unhonoured(
	const struct option_values *vals, struct value *v, const struct value *by, const char *def)
{
	const struct option *o = v->opt;
	struct value plain = {.opt = o, .key = v->key, .state = v->state};

	if (take_default(vals, &plain, def, by) != 0)
		return -1;
	if (!vals->lenient && !bit(o->idle, vals) && !same(v, &plain) &&
		(o->kind == M_NONE || v->source == SRC_LINE))
		return err_set(ERR_OPTION_INVALID, "option '%s' is not yet supported by pgStrata",
			option_label(vals->arena, o, v->key));
	if (!vals->lenient)
		*v = plain;
	return 0;
}

static int take_given(
	struct option_values *vals, struct value *v, const struct given *g, const struct value *by)
{
	static const char *no[] = {"n"};
	static const strvec no_text = {.v = no, .n = 1};

	if (!g->negate)
		return value_parse(vals, v, &g->values, by);
	v->negated = true;
	v->has = false;
	if (v->opt->type == OPT_BOOL || v->opt->flags & OPT_BOOL_LIKE)
		return value_parse(vals, v, &no_text, by);
	return 0;
}

static int settle(struct option_values *vals, struct value *v)
{
	const struct option *o = v->opt;
	enum source source;
	const struct given *g = decide(vals, o, v->key, &source);
	int met = dependency(vals, v, g, source);
	struct value *by = NULL;

	if (met <= 0)
		return met;
	if (o->by && values_one(vals, option_named(o->by), v->key, &by) != 0)
		return -1;

	const char *def = value_default(vals, o, by ? by->text : NULL);

	if (!g || g->reset) {
		v->source = source;
		v->reset = g != NULL;
		return take_default(vals, v, def, by);
	}
	v->source = source;
	if (take_given(vals, v, g, by) != 0)
		return -1;

	bool honoured = o->kind != M_NONE && (!o->used || bit(o->used, vals));

	return honoured ? 0 : unhonoured(vals, v, by, def);
}

int values_one(struct option_values *vals, const struct option *o, unsigned key, struct value **out)
{
	struct value *v = slot_made(vals, o, key);

	if (!v || v->state == VALUE_BUSY)
		abort(); /* the table is wrong: a circle, or a group that depends on another one */
	*out = v;
	if (v->state == VALUE_DONE)
		return 0;
	v->state = VALUE_BUSY;
	if (settle(vals, v) != 0)
		return -1;
	v->state = VALUE_DONE;
	return 0;
}

/* What another host has to know about its repository need not stand here. */
static bool is_known_there(const struct option_values *vals, const struct option *o, unsigned key)
{
	const struct value *host;

	if (o->group != GROUP_REPO || str_starts(o->name, "repo-host"))
		return false;
	host = values_get(vals, option_named("repo-host"), key);
	return host && host->has;
}

static int require(const struct option_values *vals, const struct option *o, unsigned key)
{
	const struct value *v = values_get(vals, o, key);

	if (vals->lenient || !bit(o->required, vals) || !v || v->has || v->unmet || is_known_there(vals, o, key))
		return 0;
	err_set(ERR_OPTION_REQUIRED, "%s command requires option: %s", command_name(vals->command),
		option_label(vals->arena, o, key));
	return o->section == SECTION_STANZA ? err_hint("does this stanza exist?") : -1;
}

static void add_key(option_keys *keys, unsigned key)
{
	size_t at = 0;

	while (at < keys->n && keys->v[at] < key)
		at++;
	if (at < keys->n && keys->v[at] == key)
		return;
	vec_push(keys, 0);
	for (size_t i = keys->n - 1; i > at; i--)
		keys->v[i] = keys->v[i - 1];
	keys->v[at] = key;
}

/* Every index that any source names, and 1. */
static void find_keys(struct option_values *vals)
{
	const givens *lists[] = {&vals->from.line, &vals->from.env, &vals->from.file};

	add_key(&vals->keys[GROUP_PG], 1);
	add_key(&vals->keys[GROUP_REPO], 1);
	for (int l = 0; l < 3; l++)
		for (size_t i = 0; i < lists[l]->n; i++) {
			const struct given *g = &lists[l]->v[i];

			if (g->opt->group != GROUP_NONE && option_valid(g->opt, vals->command))
				add_key(&vals->keys[g->opt->group], g->key);
		}
}

static bool key_has_effect(const struct option_values *vals, enum option_group group, unsigned key)
{
	for (size_t i = 0; i < option_count(); i++) {
		const struct value *v =
			option_at(i)->group == group ? values_get(vals, option_at(i), key) : NULL;

		if (v && v->source != SRC_DEFAULT && !v->reset)
			return true;
	}
	return false;
}

/* Indexes that exist only through options without effect are none.  pg1 always exists, repo1 if no
 * other does. */
static void prune_keys(struct option_values *vals, enum option_group group)
{
	option_keys *keys = &vals->keys[group];
	size_t kept = 0;

	for (size_t i = 0; i < keys->n; i++)
		if (key_has_effect(vals, group, keys->v[i]) ||
			(group == GROUP_PG && keys->v[i] == 1))
			keys->v[kept++] = keys->v[i];
	if (kept == 0)
		keys->v[kept++] = 1;
	keys->n = kept;
}

/* --repo and --pg name an index that exists. */
static int check_key(const struct option_values *vals, const char *name, enum option_group group)
{
	const struct value *v = values_get(vals, option_named(name), 0);

	if (!v || !v->has)
		return 0;
	for (size_t i = 0; i < vals->keys[group].n; i++)
		if (vals->keys[group].v[i] == v->number)
			return 0;
	return err_set(ERR_OPTION_VALUE, "key '%s' is not valid for '%s' option", v->text, name);
}

static int resolve_each(struct option_values *vals)
{
	for (size_t i = 0; i < option_count(); i++) {
		const struct option *o = option_at(i);

		for (size_t k = 0; option_valid(o, vals->command) && k < vals->keys[o->group].n;
			k++) {
			struct value *v;

			if (values_one(vals, o, vals->keys[o->group].v[k], &v) != 0)
				return -1;
		}
	}
	return 0;
}

int values_resolve(struct option_values *vals)
{
	const struct option *stanza = option_named("stanza");
	struct value *v;

	find_keys(vals);
	/* First, since whoever forgot it has most other things missing too. */
	if (option_valid(stanza, vals->command) &&
		(values_one(vals, stanza, 0, &v) != 0 || require(vals, stanza, 0) != 0))
		return -1;
	if (resolve_each(vals) != 0)
		return -1;
	prune_keys(vals, GROUP_PG);
	prune_keys(vals, GROUP_REPO);
	for (size_t i = 0; i < option_count(); i++) {
		const option_keys *keys = &vals->keys[option_at(i)->group];

		for (size_t k = 0; k < keys->n; k++)
			if (require(vals, option_at(i), keys->v[k]) != 0)
				return -1;
	}
	if (check_key(vals, "repo", GROUP_REPO) != 0)
		return -1;
	return check_key(vals, "pg", GROUP_PG);
}
