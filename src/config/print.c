/*
 * print: options as words of a command line, for the begin line and for restore_command.
 *
 * Secure values never appear: redacted in the log, left out of what is passed on.
 */
#include <string.h>
#include "base/buf.h"
#include "base/str.h"
#include "config/load.h"
#include "config/values.h"

typedef void word_fn(struct buf *out, const char *option, const char *value);

/* "--x", "--no-x", "--reset-x", "--x=value"; one word per value. */
static void print_value(struct arena *a, struct buf *out, const struct value *v, word_fn *word)
{
	const char *label = option_label(a, v->opt, v->key);
	bool no = v->negated || (v->opt->type == OPT_BOOL && v->has && !v->flag);

	if (v->reset) {
		word(out, arena_printf(a, "--reset-%s", label), NULL);
	} else if (v->opt->flags & OPT_BOOL_LIKE && v->has) {
		word(out, arena_printf(a, "--%s", label), v->text);
	} else if (no) {
		/* Where no negated form exists, "n" was written as a value. */
		if (v->opt->flags & OPT_NEGATE)
			word(out, arena_printf(a, "--no-%s", label), NULL);
		else
			word(out, arena_printf(a, "--%s", label), "n");
	} else if (v->opt->type == OPT_BOOL) {
		word(out, arena_printf(a, "--%s", label), NULL);
	} else {
		strvec texts = value_texts(a, v);

		for (size_t i = 0; i < texts.n; i++)
			word(out, arena_printf(a, "--%s", label), texts.v[i]);
	}
}

static void log_word(struct buf *out, const char *option, const char *value)
{
	const char *quote = value && strpbrk(value, " \t\n") ? "\"" : "";

	buf_addf(out, "%s%s", out->len > 0 ? " " : "", option);
	if (value)
		buf_addf(out, "=%s%s%s", quote, value, quote);
}

static void print_exec_id(const struct config *cfg, struct buf *out)
{
	log_word(out, "--exec-id", cfg->exec_id);
}

char *config_print(struct arena *a, const struct config *cfg)
{
	struct buf out;

	buf_init(&out, a);
	for (size_t i = 0; i < option_count(); i++) {
		const struct option *o = option_at(i);
		const option_keys *keys = &cfg->values->keys[o->group];

		if (strcmp(o->name, "exec-id") == 0 && cfg->exec_id) {
			print_exec_id(cfg, &out);
			continue;
		}
		for (size_t k = 0; k < keys->n; k++) {
			const struct value *v = values_get(cfg->values, o, keys->v[k]);

			if (v && v->source != SRC_DEFAULT)
				print_value(a, &out, v, log_word);
		}
	}
	return out.data;
}

static void shell_word(struct buf *out, const char *option, const char *value)
{
	if (out->len > 0)
		buf_addc(out, ' ');
	buf_adds(out, option);
	if (value) {
		buf_addc(out, '=');
		buf_add_shell(out, value);
	}
}

static bool passes_on(const struct option *o, enum command for_cmd)
{
	static const char *const own[] = {
		"process-max", "job-retry", "job-retry-interval", "exec-id", "cmd"};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strcmp(o->name, own[i]) == 0)
			return false;
	return option_valid(o, for_cmd) && !(o->flags & OPT_SECURE) && !str_starts(o->name, "log-");
}

char *config_pass_on(struct arena *a, const struct config *cfg, enum command for_cmd)
{
	struct buf out;

	buf_init(&out, a);
	for (size_t i = 0; i < option_count(); i++) {
		const struct option *o = option_at(i);
		const option_keys *keys = &cfg->values->keys[o->group];

		for (size_t k = 0; passes_on(o, for_cmd) && k < keys->n; k++) {
			const struct value *v = values_get(cfg->values, o, keys->v[k]);

			if (v && (v->source == SRC_LINE || v->source == SRC_ENV))
				print_value(a, &out, v, shell_word);
		}
	}
	return out.data;
}
