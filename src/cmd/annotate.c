/*
 * annotate: add, change or remove notes of a backup that exists, in every repository that has it.
 *
 * Each repository's index is read, changed and written by itself: what was read from one never goes into
 * another.
 */
#include "cmd/cmd.h"

#include <string.h>

#include "base/log.h"
#include "cmd/annotations.h"
#include "cmd/ctx.h"
#include "repo/catalog.h"

typedef VEC(struct annotation) notes;

/* In order of names, as the format wants them; an empty value removes. */
static void set_note(notes *all, const char *key, const char *value)
{
	size_t i = 0;

	while (i < all->n && strcmp(all->v[i].key, key) < 0)
		i++;
	bool there = i < all->n && strcmp(all->v[i].key, key) == 0;
	if (value[0] == '\0' && !there)
		return;
	if (value[0] == '\0') {
		all->n--;
		memmove(&all->v[i], &all->v[i + 1], (all->n - i) * sizeof(*all->v));
		return;
	}
	if (!there) {
		vec_add(all);
		memmove(&all->v[i + 1], &all->v[i], (all->n - 1 - i) * sizeof(*all->v));
	}
	all->v[i] = (struct annotation){ key, value };
}

static void set_notes(struct arena *a, struct backup_line *line, const config_pairs *given)
{
	notes all;

	vec_init(&all, a);
	for (size_t i = 0; i < line->annotations.n; i++)
		vec_push(&all, line->annotations.v[i]);
	for (size_t i = 0; i < given->n; i++)
		set_note(&all, given->v[i].key, given->v[i].value);
	vec_init(&line->annotations, a);
	for (size_t i = 0; i < all.n; i++)
		vec_push(&line->annotations, all.v[i]);
}

struct annotating {
	const struct config *cfg;
	bool found;
};

static int annotate_in(void *ctx, const struct ctx_repo *repo)
{
	SCOPED_ARENA(a);
	struct annotating *n = ctx;
	const struct config *cfg = n->cfg;
	struct backup_info info;

	if (ctx_backup_info(a, cfg, repo, &info) != 0 ||
		catalog_reconcile(a, repo->store, cfg->stanza, &info) != 0)
		return -1;
	const struct backup_line *found = backup_info_find(&info, cfg->set);
	if (found == NULL)
		return 0;
	log_info("backup set '%s' to annotate found in repo%u", cfg->set, repo->key);
	struct backup_line line = *found;
	set_notes(a, &line, &cfg->annotation);
	backup_info_add(&info, &line);
	if (backup_info_save(repo->store, cfg->stanza, repo->pass, &info) != 0)
		return -1;
	n->found = true;
	return 0;
}

int cmd_annotate(struct arena *a, const struct config *cfg)
{
	struct annotating n = { .cfg = cfg };
	struct ctx_repos repos;

	if (!label_is_valid(cfg->set))
		return err_set(ERR_OPTION_VALUE, "'%s' is not a valid backup label format", cfg->set);
	if (annotations_check(&cfg->annotation) != 0 || ctx_repos(a, cfg, &repos) != 0 ||
		ctx_each_repo(cfg, &repos, annotate_in, &n) != 0)
		return -1;
	return n.found ? 0 : err_set(ERR_BACKUP_SET, "no backup set to annotate found");
}
