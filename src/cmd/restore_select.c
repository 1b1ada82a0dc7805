/*
 * restore_select: which backup of which repository fits the request.
 *
 * All readable repositories are looked at and the newest fitting backup wins (a tie goes to the lower key):
 * the first repository that has any backup may be the one that has been failing for weeks.
 */
#include "cmd/restore_intern.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "repo/layout.h"

struct request {
	const char *set;   /* label, or NULL */
	bool by_time;
	int64_t target_ms; /* Unix */
};

static bool fits(const struct request *q, const struct backup_line *line)
{
	if (q->set != NULL)
		return strcmp(line->label, q->set) == 0;
	return !q->by_time || line->stop * 1000 < q->target_ms - q->target_ms % 1000;
}

static const struct backup_line *newest_fitting(const struct request *q, const struct backup_info *info)
{
	const struct backup_line *best = NULL;

	for (size_t i = 0; i < info->backups.n; i++) {
		const struct backup_line *line = &info->backups.v[i];
		if (fits(q, line) && (best == NULL || line->stop >= best->stop))
			best = line;
	}
	return best;
}

static void take_if_newer(struct restore *r, struct ctx_repo *repo, const struct backup_info *info,
	const struct backup_line *line)
{
	/* --set: the first repository that has it; labels may be equal in two repositories. */
	if (r->line != NULL && (r->line->stop >= line->stop || r->cfg->set != NULL))
		return;
	r->repo = repo;
	r->info = *info;
	r->line = line;
}

/* One repository: a failure is a warning, because another one may do. */
static void look_in(struct restore *r, struct ctx_repo *repo, const struct request *q, unsigned *unusable)
{
	struct backup_info *info = arena_new_object(r->arena, struct backup_info);
	int rc = backup_info_load(r->arena, repo->store, r->cfg->stanza, info);

	if (rc < 0) {
		log_warn("repo%u: [%s] %s", repo->key, err_class(err_code()), err_msg());
		err_clear();
		(*unusable)++;
		return;
	}
	if (rc == STORE_ABSENT || info->backups.n == 0) {
		log_warn("repo%u: [%s] no backup sets to restore", repo->key, err_class(ERR_BACKUP_SET));
		return;
	}
	const struct backup_line *line = newest_fitting(q, info);
	if (line != NULL)
		take_if_newer(r, repo, info, line);
}

static int parse_request(struct restore *r, struct request *q)
{
	const struct config *cfg = r->cfg;

	*q = (struct request){ .set = cfg->set };
	if (q->set != NULL)
		return 0; /* whatever is no label is not listed either */
	q->by_time = strcmp(r->type, "time") == 0;
	if (!q->by_time || clock_parse(cfg->target, &q->target_ms))
		return 0;
	(void)err_set(ERR_FORMAT, "automatic backup set selection cannot be performed with provided time '%s'",
		cfg->target);
	return err_hint("time format must be YYYY-MM-DD HH:MM:SS with optional msec and optional timezone "
		"(+/- HH or HHMM or HH:MM) - if timezone is omitted, local time is assumed (for UTC use +00)");
}

static int none_found(const struct restore *r, const struct request *q, unsigned unusable)
{
	if (q->set != NULL)
		(void)err_set(ERR_BACKUP_SET, "backup set %s is not valid", q->set);
	else if (q->by_time)
		(void)err_set(ERR_BACKUP_SET, "unable to find backup set with stop time less than '%s'",
			r->cfg->target);
	else
		(void)err_set(ERR_BACKUP_SET, "no backup set found to restore");
	if (unusable > 0)
		return err_hint("%u repository(s) could not be read, see the warnings above.", unusable);
	return err_hint("use the info command to see which backups exist.");
}

int restore_select(struct restore *r)
{
	struct ctx_repos repos;
	struct request q;
	unsigned unusable = 0;

	if (ctx_repos(r->arena, r->cfg, &repos) != 0 || parse_request(r, &q) != 0)
		return -1;
	for (size_t i = 0; i < repos.n; i++)
		look_in(r, &repos.v[i], &q, &unusable);
	if (r->line == NULL)
		return none_found(r, &q, unusable);
	if (q.set == NULL && !q.by_time && r->line->db_id != r->info.current) {
		(void)err_set(ERR_BACKUP_SET, "the latest backup set found '%s' is from a prior version of "
			"PostgreSQL", r->line->label);
		(void)err_hint("was a backup created after the stanza-upgrade?");
		return err_hint("specify --set=%s to restore from a prior version of PostgreSQL.", r->line->label);
	}
	return 0;
}
