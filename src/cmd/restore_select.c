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
#include "pg/wal.h"
#include "repo/layout.h"

/* What one repository has to offer, for somebody whose target does not fit. */
struct window {
	unsigned key;
	const struct backup_line *first;  /* that ends first: by time, or by LSN */
	const struct backup_line *newest; /* NULL: no backup that could ever fit */
};

struct request {
	const char *set;	/* label, or NULL */
	enum { BY_NOTHING, BY_TIME, BY_LSN } by;
	int64_t target_ms;	/* Unix */
	uint64_t target_lsn;
	unsigned unusable;	/* repositories that could not be read */
	VEC(struct window) windows; /* by key */
};

/* Recovery cannot end before the backup does; false for one that does not say where that is. */
static bool end_lsn(const struct backup_line *line, uint64_t *lsn)
{
	return line->lsn_stop != NULL && lsn_parse(line->lsn_stop, lsn);
}

static bool fits(const struct request *q, const struct backup_line *line)
{
	uint64_t lsn;

	if (q->set != NULL)
		return strcmp(line->label, q->set) == 0;
	switch (q->by) {
	case BY_TIME:
		return line->stop * 1000 < q->target_ms - q->target_ms % 1000;
	case BY_LSN:
		return end_lsn(line, &lsn) && lsn <= q->target_lsn;
	case BY_NOTHING:
		break;
	}
	return true;
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

static bool ends_before(const struct request *q, const struct backup_line *x, const struct backup_line *y)
{
	uint64_t lsn_x = 0, lsn_y = 0;

	if (q->by != BY_LSN || !end_lsn(x, &lsn_x) || !end_lsn(y, &lsn_y))
		return x->stop < y->stop;
	return lsn_x < lsn_y;
}

static void note_window(struct request *q, unsigned key, const struct backup_info *info)
{
	struct window *w = vec_add(&q->windows);
	uint64_t lsn;

	w->key = key;
	for (size_t i = 0; i < info->backups.n; i++) {
		const struct backup_line *line = &info->backups.v[i];
		if (q->by == BY_LSN && !end_lsn(line, &lsn))
			continue;
		if (w->newest == NULL || line->stop >= w->newest->stop)
			w->newest = line;
		if (w->first == NULL || ends_before(q, line, w->first))
			w->first = line;
	}
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
static void look_in(struct restore *r, struct ctx_repo *repo, struct request *q)
{
	struct backup_info *info = arena_new_object(r->arena, struct backup_info);
	int rc = backup_info_load(r->arena, repo->store, r->cfg->stanza, repo->pass, info);

	if (rc < 0) {
		log_warn("repo%u: [%s] %s", repo->key, err_class(err_code()), err_msg());
		err_clear();
		q->unusable++;
		return;
	}
	if (rc == STORE_ABSENT || info->backups.n == 0) {
		log_warn("repo%u: [%s] no backup sets to restore", repo->key, err_class(ERR_BACKUP_SET));
		return;
	}
	note_window(q, repo->key, info);
	const struct backup_line *line = newest_fitting(q, info);
	if (line != NULL)
		take_if_newer(r, repo, info, line);
}

static int parse_time(const char *target, int64_t *ms)
{
	if (clock_parse(target, ms))
		return 0;
	(void)err_set(ERR_FORMAT, "automatic backup set selection cannot be performed with provided time '%s'",
		target);
	return err_hint("time format must be YYYY-MM-DD HH:MM:SS with optional msec and optional timezone "
		"(+/- HH or HHMM or HH:MM) - if timezone is omitted, local time is assumed (for UTC use +00)");
}

static int parse_lsn(const char *target, uint64_t *lsn)
{
	const char *slash = strchr(target, '/');

	if (slash == NULL || strchr(slash + 1, '/') != NULL)
		return err_set(ERR_FORMAT, "lsn requires two parts");
	if (!lsn_parse(target, lsn))
		return err_set(ERR_FORMAT, "lsn requires two parts of 1 to 8 hexadecimal digits, but the target is "
			"'%s'", target);
	return 0;
}

/* A time goes to PostgreSQL as it is when nothing here depends on it: it knows more spellings.  It knows no
 * other one of an LSN. */
static int parse_request(struct restore *r, struct request *q)
{
	const struct config *cfg = r->cfg;

	*q = (struct request){ .set = cfg->set };
	vec_init(&q->windows, r->arena);
	if (strcmp(r->type, "lsn") == 0) {
		q->by = BY_LSN;
		return parse_lsn(cfg->target, &q->target_lsn);
	}
	if (strcmp(r->type, "time") != 0 || q->set != NULL)
		return 0;
	q->by = BY_TIME;
	return parse_time(cfg->target, &q->target_ms);
}

/* --- nothing fits: say what would --- */

static const char *end_text(struct arena *a, const struct request *q, const struct backup_line *line)
{
	const char *end = q->by == BY_LSN ? line->lsn_stop : clock_local_zone(a, line->stop);

	return arena_printf(a, "%s (%s)", end, line->label);
}

static void describe_windows(struct arena *a, const struct request *q, struct buf *text)
{
	for (size_t i = 0; i < q->windows.n; i++) {
		const struct window *w = &q->windows.v[i];
		if (w->newest == NULL) {
			buf_addf(text, "\nrepo%u has no backup that knows its stop lsn", w->key);
			continue;
		}
		buf_addf(text, "\nbackups end at: repo%u %s", w->key, end_text(a, q, w->first));
		if (w->newest != w->first)
			buf_addf(text, " ... %s", end_text(a, q, w->newest));
	}
}

/* The lowest target that would fit. */
static int hint_earliest(struct arena *a, const struct request *q)
{
	const struct backup_line *first = NULL;

	for (size_t i = 0; i < q->windows.n; i++) {
		const struct backup_line *line = q->windows.v[i].first;
		if (line != NULL && (first == NULL || ends_before(q, line, first)))
			first = line;
	}
	if (first == NULL)
		return err_hint("use the info command to see which backups exist.");
	if (q->by == BY_LSN)
		return err_hint("the lowest lsn that can be reached is %s.", first->lsn_stop);
	return err_hint("the earliest time that can be reached is '%s'.", clock_local_zone(a, first->stop + 1));
}

static int no_target(const struct restore *r, const struct request *q)
{
	struct buf windows;

	buf_init(&windows, r->arena);
	describe_windows(r->arena, q, &windows);
	if (q->by == BY_LSN)
		(void)err_set(ERR_BACKUP_SET, "unable to find backup set with lsn less than or equal to '%s'%s",
			r->cfg->target, windows.data);
	else
		(void)err_set(ERR_BACKUP_SET, "unable to find backup set with stop time less than '%s'%s",
			r->cfg->target, windows.data);
	return hint_earliest(r->arena, q);
}

static int none_found(const struct restore *r, const struct request *q)
{
	if (q->set != NULL)
		(void)err_set(ERR_BACKUP_SET, "backup set %s is not valid", q->set);
	else if (q->by == BY_NOTHING)
		(void)err_set(ERR_BACKUP_SET, "no backup set found to restore");
	else
		(void)no_target(r, q);
	if (q->unusable > 0)
		return err_hint("%u repository(s) could not be read, see the warnings above.", q->unusable);
	return q->set == NULL && q->by != BY_NOTHING ? -1 :
		err_hint("use the info command to see which backups exist.");
}

/* A time means the same in every life of a stanza.  Nothing else does: an LSN of a new cluster may well be one
 * that the old one had too. */
static int check_version(const struct restore *r, const struct request *q)
{
	if (q->set != NULL || q->by == BY_TIME || r->line->db_id == r->info.current)
		return 0;
	(void)err_set(ERR_BACKUP_SET, "the latest backup set found '%s' is from a prior version of PostgreSQL",
		r->line->label);
	(void)err_hint("was a backup created after the stanza-upgrade?");
	return err_hint("specify --set=%s to restore from a prior version of PostgreSQL.", r->line->label);
}

int restore_select(struct restore *r)
{
	struct ctx_repos repos;
	struct request q;

	if (ctx_repos(r->arena, r->cfg, &repos) != 0 || parse_request(r, &q) != 0)
		return -1;
	for (size_t i = 0; i < repos.n; i++)
		look_in(r, &repos.v[i], &q);
	return r->line == NULL ? none_found(r, &q) : check_version(r, &q);
}
