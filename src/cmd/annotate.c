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

/* 1 if this repository has the backup, 0 if not, -1. */
static int annotate_in(const struct config *cfg, const struct ctx_repo *repo)
{
	SCOPED_ARENA(a);
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
	return backup_info_save(repo->store, cfg->stanza, repo->pass, &info) == 0 ? 1 : -1;
}

int cmd_annotate(struct arena *a, const struct config *cfg)
{
	struct ctx_repos repos;
	unsigned found = 0, failed = 0;

	if (!label_is_valid(cfg->set))
		return err_set(ERR_OPTION_VALUE, "'%s' is not a valid backup label format", cfg->set);
	if (annotations_check(&cfg->annotation) != 0 || ctx_repos(a, cfg, &repos) != 0)
		return -1;
	for (size_t i = 0; i < repos.n; i++) {
		int rc = annotate_in(cfg, &repos.v[i]);
		found += rc > 0;
		if (rc >= 0)
			continue;
		if (err_code() == ERR_TERM)
			return -1;
		(void)err_wrap("repo%u", repos.v[i].key);
		log_failure();
		err_clear();
		failed++;
	}
	if (failed > 0)
		return err_set(ERR_COMMAND, "annotate command encountered %u error(s), check the log file for "
			"details", failed);
	return found > 0 ? 0 : err_set(ERR_BACKUP_SET, "no backup set to annotate found");
}
