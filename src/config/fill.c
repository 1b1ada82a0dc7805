/*
 * fill: from resolved values to the members of struct config, by the offsets in the option table.
 */
#include <string.h>
#include "config/load.h"
#include "config/values.h"

/* Numbers for which "not set" differs from zero. */
enum { NOT_SET = -1 };

static void store_plain(void *member, const struct value *v)
{
	switch (v->opt->type) {
	case OPT_BOOL:
		*(bool *)member = v->has && v->flag;
		break;
	case OPT_INT:
	case OPT_SIZE:
	case OPT_TIME:
		*(int64_t *)member = v->has ? v->number : NOT_SET;
		break;
	case OPT_STRING:
	case OPT_PATH:
	case OPT_ENUM:
		*(const char **)member = v->has ? v->text : NULL;
		break;
	case OPT_LIST:
		if (v->has)
			*(strvec *)member = v->list;
		break;
	case OPT_HASH:
		if (v->has)
			*(config_pairs *)member = v->pairs;
		break;
	}
}

static void store(void *base, const struct value *v)
{
	void *member = (char *)base + v->opt->offset;

	switch (v->opt->kind) {
	case M_PLAIN:
		store_plain(member, v);
		break;
	case M_GIVEN:
		if (v->source != SRC_DEFAULT && !v->reset)
			store_plain(member, v);
		break;
	case M_TRI:
		*(enum option_tri *)member = !v->has ? TRI_UNSET : v->flag ? TRI_YES : TRI_NO;
		break;
	case M_LEVEL:
		*(enum log_level *)member = (enum log_level)log_level_parse(v->text);
		break;
	case M_KEY:
		*(unsigned *)member = v->has ? (unsigned)v->number : 0;
		break;
	case M_NONE:
	case M_LOAD:
		break;
	}
}

static void *group_base(struct config *cfg, enum option_group group, size_t i)
{
	if (group == GROUP_PG)
		return &cfg->pg.v[i];
	return group == GROUP_REPO ? (void *)&cfg->repo.v[i] : cfg;
}

/* How a repository of another host is stored is known there, and its passphrase stays there. */
static void forget_far(struct config_repo *r)
{
	if (r->host.host == NULL)
		return;
	r->cipher_type = "none";
	r->cipher_pass = NULL;
	r->sftp_host = NULL;
}

static void fill_special(const struct option_values *vals, struct config *cfg)
{
	const struct value *v = values_get(vals, option_named("priority"), 0);

	cfg->has_priority = v && v->has;
	v = values_get(vals, option_named("type"), 0);
	cfg->type_given = v && v->source != SRC_DEFAULT;
	v = values_get(vals, option_named("log-level-file"), 0);
	cfg->log_file_given = v && v->source == SRC_LINE;
	/* The label "latest" cannot exist: whoever writes it means the newest. */
	if (cfg->command == CMD_RESTORE && cfg->set && strcmp(cfg->set, "latest") == 0)
		cfg->set = NULL;
	for (size_t i = 0; i < cfg->repo.n; i++)
		forget_far(&cfg->repo.v[i]);
}

void values_fill(const struct option_values *vals, struct config *cfg)
{
	for (size_t i = 0; i < vals->keys[GROUP_PG].n; i++)
		vec_add(&cfg->pg)->key = vals->keys[GROUP_PG].v[i];
	for (size_t i = 0; i < vals->keys[GROUP_REPO].n; i++)
		vec_add(&cfg->repo)->key = vals->keys[GROUP_REPO].v[i];
	for (size_t i = 0; i < option_count(); i++) {
		const struct option *o = option_at(i);
		const option_keys *keys = &vals->keys[o->group];

		for (size_t k = 0; k < keys->n; k++) {
			const struct value *v = values_get(vals, o, keys->v[k]);

			if (v)
				store(group_base(cfg, o->group, k), v);
		}
	}
	fill_special(vals, cfg);
}
