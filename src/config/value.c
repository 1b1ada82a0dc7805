/*
 * value: one option's text into a value of its type, with the checks of the reference (cli.md 10).
 */
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "config/load.h"
#include "config/values.h"

static const char *label_of(const struct option_values *vals, const struct value *v)
{
	return option_label(vals->arena, v->opt, v->key);
}

static bool parse_number(enum option_type type, const char *text, int64_t *out)
{
	uint64_t bytes;

	if (type == OPT_TIME)
		return str_to_duration(text, out);
	if (type == OPT_INT)
		return str_to_i64(text, out);
	if (!str_to_size(text, &bytes) || bytes > INT64_MAX)
		return false;
	*out = (int64_t)bytes;
	return true;
}

static int not_allowed(const struct option_values *vals, const struct value *v, const char *text,
	const char *words)
{
	SCOPED_ARENA(scratch);
	strvec all = str_split(scratch, words, '|'), known;

	vec_init(&known, scratch);
	for (size_t i = 0; i < all.n; i++)
		if (*all.v[i] != '~')
			vec_push(&known, arena_printf(scratch, "'%s'", all.v[i]));
	err_set(ERR_OPTION_VALUE, "'%s' is not allowed for '%s' option", text, label_of(vals, v));
	return err_hint("allowed values are %s", str_join(scratch, &known, ", "));
}

static int check_word(const struct option_values *vals, const struct value *v, const char *text,
	const char *words)
{
	bool later = false;

	if (!opt_has_word(words, text, &later))
		return not_allowed(vals, v, text, words);
	if (later && !vals->lenient)
		return err_set(ERR_OPTION_VALUE, "'%s' is not yet supported for '%s' option", text,
			label_of(vals, v));
	return 0;
}

static int check_range(const struct option_values *vals, const struct value *v, const char *text,
	const char *range, const struct value *by)
{
	SCOPED_ARENA(scratch);
	const char *dots = strstr(range, "..");
	const char *low = arena_strndup(scratch, range, (size_t)(dots - range));
	const char *when = "";
	int64_t from = 0, to = 0;

	if (parse_number(v->opt->type, low, &from) && parse_number(v->opt->type, dots + 2, &to) &&
		v->number >= from && v->number <= to)
		return 0;
	if (by)
		when = arena_printf(
			scratch, " when '%s' option = '%s'", label_of(vals, by), by->text);
	err_set(ERR_OPTION_VALUE, "'%s' is out of range for '%s' option%s", text, label_of(vals, v),
		when);
	return err_hint("allowed range is %s to %s inclusive", low, dots + 2);
}

/* The list is compared by value: 1024KiB is 1MiB. */
static int check_numbers(const struct option_values *vals, const struct value *v, const char *text,
	const char *words)
{
	SCOPED_ARENA(scratch);
	strvec all = str_split(scratch, words, '|');

	for (size_t i = 0; i < all.n; i++) {
		int64_t number;

		if (parse_number(v->opt->type, all.v[i], &number) && number == v->number)
			return 0;
	}
	return not_allowed(vals, v, text, words);
}

static int take_number(const struct option_values *vals, struct value *v, const char *text,
	const char *allowed, const struct value *by)
{
	v->text = text;
	if (!parse_number(v->opt->type, text, &v->number))
		return err_set(ERR_OPTION_VALUE, "'%s' is not valid for '%s' option", text,
			label_of(vals, v));
	if (!allowed)
		return 0;
	return strstr(allowed, "..") ? check_range(vals, v, text, allowed, by)
				     : check_numbers(vals, v, text, allowed);
}

static int take_text(const struct option_values *vals, struct value *v, const char *text)
{
	v->text = text;
	if (*text == '\0')
		return err_set(ERR_OPTION_VALUE, "'' must be >= 1 character for '%s' option",
			label_of(vals, v));
	if (v->opt->type != OPT_PATH)
		return 0;
	if (*text != '/')
		return err_set(ERR_OPTION_VALUE, "'%s' must begin with / for '%s' option", text,
			label_of(vals, v));
	if (strstr(text, "//"))
		return err_set(ERR_OPTION_VALUE, "'%s' cannot contain // for '%s' option", text,
			label_of(vals, v));
	if (text[1] && str_ends(text, "/"))
		v->text = arena_strndup(vals->arena, text, strlen(text) - 1);
	return 0;
}

static int take_list(const struct option_values *vals, struct value *v, const strvec *texts)
{
	vec_init(&v->list, vals->arena);
	for (size_t i = 0; i < texts->n; i++) {
		if (take_text(vals, v, texts->v[i]) != 0)
			return -1;
		vec_push(&v->list, texts->v[i]);
	}
	return 0;
}

static void put_pair(
	const struct option_values *vals, struct value *v, const char *key, const char *text)
{
	for (size_t i = 0; i < v->pairs.n; i++) {
		struct config_pair *old = &v->pairs.v[i];

		if (strcmp(old->key, key) != 0)
			continue;
		log_warn("key '%s' value '%s' is overwritten with '%s' for '%s' option", key,
			old->value, text, label_of(vals, v));
		old->value = text;
		return;
	}
	vec_push(&v->pairs, ((struct config_pair){key, text}));
}

static int take_pairs(const struct option_values *vals, struct value *v, const strvec *texts)
{
	vec_init(&v->pairs, vals->arena);
	for (size_t i = 0; i < texts->n; i++) {
		const char *equal = strchr(texts->v[i], '=');

		if (!equal)
			return err_set(ERR_OPTION_INVALID,
				"key/value '%s' not valid for '%s' option", texts->v[i],
				label_of(vals, v));
		put_pair(vals, v,
			arena_strndup(vals->arena, texts->v[i], (size_t)(equal - texts->v[i])),
			equal + 1);
	}
	return 0;
}

static const char *allowed_words(
	const struct option_values *vals, const struct option *o, const struct value *by)
{
	const char *allowed =
		opt_pick(vals->arena, o->allowed_cmd, command_name(vals->command), o->allowed);

	return by && by->text ? opt_pick(vals->arena, o->allowed_by, by->text, allowed) : allowed;
}

int value_parse(const struct option_values *vals, struct value *v, const strvec *texts,
	const struct value *by)
{
	const char *allowed = allowed_words(vals, v->opt, by);

	v->has = true;
	switch (v->opt->type) {
	case OPT_BOOL:
		v->text = texts->v[0];
		v->flag = strcmp(v->text, "y") == 0;
		return 0;
	case OPT_INT:
	case OPT_SIZE:
	case OPT_TIME:
		return take_number(vals, v, texts->v[0], allowed, v->opt->allowed_by ? by : NULL);
	case OPT_ENUM:
		v->text = texts->v[0];
		return check_word(vals, v, v->text, allowed);
	case OPT_STRING:
	case OPT_PATH:
		return take_text(vals, v, texts->v[0]);
	case OPT_LIST:
		return take_list(vals, v, texts);
	case OPT_HASH:
		return take_pairs(vals, v, texts);
	}
	return 0;
}

strvec value_texts(struct arena *a, const struct value *v)
{
	strvec out;

	vec_init(&out, a);
	if (!v->has)
		return out;
	if (v->opt->flags & OPT_SECURE)
		vec_push(&out, "<redacted>");
	else if (v->opt->type == OPT_LIST)
		for (size_t i = 0; i < v->list.n; i++)
			vec_push(&out, v->list.v[i]);
	else if (v->opt->type == OPT_HASH)
		for (size_t i = 0; i < v->pairs.n; i++)
			vec_push(&out,
				arena_printf(a, "%s=%s", v->pairs.v[i].key, v->pairs.v[i].value));
	else
		vec_push(&out, v->text);
	return out;
}
