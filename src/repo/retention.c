/*
 * retention: which backups go, their directories, their history manifests.  WAL is in retention_wal.c.
 */
#include "repo/retention.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define DAY 86400
#define HISTORY_SUFFIX ".manifest.gz"

typedef VEC(size_t) rows;

static int64_t at_least_one(int64_t n)
{
	return n == 0 ? 1 : n;
}

static int label_cmp(const void *label, const void *row)
{
	return strcmp(label, ((const struct retention_row *)row)->line->label);
}

static size_t row_of(const struct retention *r, const char *label)
{
	const struct retention_row *row = NULL;

	if (label != NULL && r->rows.n > 0)
		row = bsearch(label, r->rows.v, r->rows.n, sizeof(*r->rows.v), label_cmp);
	return row == NULL ? RETENTION_NONE : (size_t)(row - r->rows.v);
}

static enum backup_type type_of(const struct retention *r, size_t i)
{
	return label_type(r->rows.v[i].line->label);
}

/* A full backup is based on nothing, whatever its line says: no chain of theirs removes it. */
static void make_rows(struct arena *a, const struct backup_info *info, struct retention *r)
{
	vec_init(&r->rows, a);
	vec_init(&r->sets, a);
	for (size_t i = 0; i < info->backups.n; i++)
		vec_push(&r->rows, ((struct retention_row){ .line = &info->backups.v[i] }));
	for (size_t i = 0; i < r->rows.n; i++)
		r->rows.v[i].base = type_of(r, i) == BACKUP_FULL ?
			RETENTION_NONE : row_of(r, r->rows.v[i].line->prior);
}

/* Rows that still stay, of these types, oldest first. */
static rows staying(struct arena *a, const struct retention *r, enum backup_type last)
{
	rows found;

	vec_init(&found, a);
	for (size_t i = 0; i < r->rows.n; i++)
		if (!r->rows.v[i].goes && type_of(r, i) <= last)
			vec_push(&found, i);
	return found;
}

static void go(struct retention *r, size_t i, enum retention_rule rule)
{
	r->rows.v[i].goes = true;
	r->rows.v[i].rule = rule;
	r->going++;
}

/* The backup and, as long as any is found, those based on one that goes. */
static void expire(struct arena *a, struct retention *r, size_t head, enum retention_rule rule)
{
	struct retention_set *set = vec_add(&r->sets);
	bool more = true;

	set->rule = rule;
	vec_init(&set->labels, a);
	go(r, head, rule);
	while (more) {
		more = false;
		for (size_t i = 0; i < r->rows.n; i++) {
			const struct retention_row *row = &r->rows.v[i];

			if (row->goes || row->base == RETENTION_NONE || !r->rows.v[row->base].goes)
				continue;
			go(r, i, GO_WITH);
			vec_push(&set->labels, row->line->label);
			more = true;
		}
	}
	if (set->labels.n > 0)
		qsort(set->labels.v, set->labels.n, sizeof(*set->labels.v), str_cmp_ptr);
	/* the one that the rule named comes first */
	vec_push(&set->labels, NULL);
	memmove(set->labels.v + 1, set->labels.v, (set->labels.n - 1) * sizeof(*set->labels.v));
	set->labels.v[0] = r->rows.v[head].line->label;
}

static void stay(struct retention *r, const rows *which, enum retention_rule rule)
{
	for (size_t i = 0; i < which->n; i++)
		if (!r->rows.v[which->v[i]].goes)
			r->rows.v[which->v[i]].rule = rule;
}

static void decide_count(struct arena *a, struct retention *r, const rows *fulls)
{
	size_t keep = (size_t)at_least_one(r->policy.full);

	stay(r, fulls, STAY_COUNT);
	for (size_t i = 0; i + keep < fulls->n; i++)
		expire(a, r, fulls->v[i], GO_COUNT);
}

/* One full backup beyond the limit stays, so that each moment within the days can be restored. */
static void decide_days(struct arena *a, struct retention *r, const rows *fulls)
{
	int64_t limit = r->policy.now - at_least_one(r->policy.full) * DAY;
	size_t cover = fulls->n, expired = 0;

	stay(r, fulls, STAY_DAYS);
	while (cover > 0 && r->rows.v[fulls->v[cover - 1]].line->stop >= limit)
		cover--;
	if (cover == 0)
		return;
	r->rows.v[fulls->v[cover - 1]].rule = STAY_COVER;
	for (size_t i = 0; i < fulls->v[cover - 1]; i++) {
		if (r->rows.v[i].goes)
			continue;
		expire(a, r, i, GO_DAYS);
		expired++;
	}
	/* as long as nothing is old enough, the WAL is not either */
	if (expired > 0 && r->policy.archive < 0 && r->policy.archive_type == BACKUP_FULL)
		r->policy.archive = expired < fulls->n ? (int64_t)(fulls->n - expired) : 1;
}

/* Full backups count as diffs, but are not removed here. */
static void decide_diff(struct arena *a, struct retention *r)
{
	rows counted = staying(a, r, BACKUP_DIFF);
	size_t keep = (size_t)at_least_one(r->policy.diff);

	for (size_t i = 0; i < counted.n; i++) {
		size_t row = counted.v[i];

		if (type_of(r, row) == BACKUP_FULL || r->rows.v[row].goes)
			continue;
		if (i + keep < counted.n)
			expire(a, r, row, GO_DIFF);
		else
			r->rows.v[row].rule = STAY_DIFF;
	}
}

/* Would the cluster of the newest full backup be left without one? */
static bool is_last_full(struct arena *a, const struct retention *r, size_t head)
{
	rows fulls = staying(a, r, BACKUP_FULL);

	if (fulls.n == 0 || fulls.v[fulls.n - 1] != head)
		return false;
	return fulls.n == 1 || r->rows.v[fulls.v[fulls.n - 2]].line->db_id != r->rows.v[head].line->db_id;
}

static void decide_set(struct arena *a, struct retention *r)
{
	size_t head = row_of(r, r->policy.set);

	for (size_t i = 0; i < r->rows.n; i++)
		r->rows.v[i].rule = STAY_OTHER;
	if (head == RETENTION_NONE) {
		r->verdict = RETENTION_UNKNOWN;
		return;
	}
	if (is_last_full(a, r, head))
		r->verdict = RETENTION_LAST_FULL;
	expire(a, r, head, GO_SET);
}

static void decide_rules(struct arena *a, struct retention *r)
{
	struct retention_policy *p = &r->policy;
	rows fulls = staying(a, r, BACKUP_FULL);

	if (p->oldest && fulls.n > 1) {
		p->full = p->archive = (int64_t)fulls.n - 1;
		p->full_days = false;
		p->archive_type = BACKUP_FULL;
	} else if (p->oldest) {
		r->oldest_in_vain = true;
	}
	for (size_t i = 0; i < r->rows.n; i++)
		r->rows.v[i].rule = type_of(r, i) == BACKUP_FULL ? STAY_UNLIMITED : STAY_WITH;
	if (p->full >= 0 && p->full_days)
		decide_days(a, r, &fulls);
	else if (p->full >= 0)
		decide_count(a, r, &fulls);
	if (p->diff >= 0)
		decide_diff(a, r);
}

void retention_decide(struct arena *a, const struct retention_policy *policy,
	const struct backup_info *info, struct retention *out)
{
	memset(out, 0, sizeof(*out));
	out->policy = *policy;
	make_rows(a, info, out);
	if (policy->set != NULL)
		decide_set(a, out);
	else
		decide_rules(a, out);

	size_t oldest = 0;
	while (oldest < out->rows.n && out->rows.v[oldest].goes)
		oldest++;
	if (oldest < out->rows.n && out->rows.v[oldest].line->error)
		out->damaged = out->rows.v[oldest].line->label;
	if (out->damaged != NULL && out->going > 0 && policy->refuse_damaged && policy->set == NULL)
		out->verdict = RETENTION_DAMAGED;
	out->newest_goes = out->rows.n > 0 && out->rows.v[out->rows.n - 1].goes;
}

bool retention_stays(const struct retention *r, const char *label)
{
	size_t row = row_of(r, label);

	return row != RETENTION_NONE && !r->rows.v[row].goes;
}

char *retention_why(struct arena *a, const struct retention *r, const struct retention_row *row)
{
	long long full = (long long)at_least_one(r->policy.full);
	long long diff = (long long)at_least_one(r->policy.diff);

	switch (row->rule) {
	case STAY_UNLIMITED:
		return arena_strdup(a, "no limit is set for full backups");
	case STAY_COUNT:
		return arena_printf(a, "among the newest %lld full backups", full);
	case STAY_DAYS:
		return arena_printf(a, "ended within the last %lld days", full);
	case STAY_COVER:
		return arena_printf(a, "newest full backup that ended more than %lld days ago", full);
	case STAY_DIFF:
		return arena_printf(a, "among the newest %lld full and diff backups", diff);
	case STAY_WITH:
		return arena_printf(a, "stays with %s",
			row->line->prior == NULL ? "its set" : row->line->prior);
	case STAY_OTHER:
		return arena_strdup(a, "not part of the set that was asked for");
	case GO_COUNT:
		return arena_printf(a, "older than the newest %lld full backups", full);
	case GO_DAYS:
		return arena_printf(a, "older than what the last %lld days need", full);
	case GO_DIFF:
		return arena_printf(a, "older than the newest %lld full and diff backups", diff);
	case GO_SET:
		return arena_strdup(a, "asked for with --set");
	case GO_WITH:
		return arena_printf(a, "depends on %s", r->rows.v[row->base].line->label);
	}
	return arena_strdup(a, "");
}

bool retention_wants_prior(const struct retention *r, const struct retention_dir *newest)
{
	return r->policy.set != NULL && newest->copy && !newest->manifest &&
		strncmp(newest->label, r->policy.set, LABEL_FULL) == 0;
}

/* Which unlisted directory without a complete backup may still become one? */
static enum retention_dir_rule unfinished(const struct retention *r, const struct retention_dir *d,
	bool newest)
{
	if (!newest || !d->copy)
		return DIR_LEFTOVER;
	if (retention_wants_prior(r, d) && d->prior != NULL && !retention_stays(r, d->prior))
		return DIR_BASELESS;
	return DIR_RUNNING;
}

/* A manifest that could not be listed (4.3) belongs to an unknown cluster, or what it is based on has
 * lost its own: nothing that an interrupted expire leaves.  Its files may be all that there is. */
void retention_dirs(const struct retention *r, struct retention_dir *dirs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct retention_dir *d = &dirs[i];
		size_t row = row_of(r, d->label);

		if (row != RETENTION_NONE)
			d->rule = r->rows.v[row].goes ? DIR_EXPIRED : DIR_LISTED;
		else
			d->rule = d->manifest ? DIR_COMPLETE : unfinished(r, d, i + 1 == n);
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; dirs[i].rule == DIR_LEFTOVER && k < n; k++)
			if (dirs[k].rule == DIR_COMPLETE &&
				strncmp(dirs[k].label, dirs[i].label, LABEL_FULL) == 0)
				dirs[i].rule = DIR_NEEDED;
		dirs[i].goes = dirs[i].rule == DIR_EXPIRED || dirs[i].rule == DIR_LEFTOVER ||
			dirs[i].rule == DIR_BASELESS;
	}
}

char *retention_history_limit(struct arena *a, const struct retention_policy *policy)
{
	char *limit;

	if (policy->history < 0)
		return NULL;
	limit = label_format(a, BACKUP_FULL, policy->now - policy->history * DAY, NULL);
	/* longer ago than labels can say: nothing is that old */
	return label_is_valid(limit) ? limit : NULL;
}

enum retention_fate retention_history_year(const char *limit, const char *year)
{
	if (strlen(year) != 4 || year[0] != '2' || !str_all(year, 4, "0123456789"))
		return FATE_STAYS;

	int order = strncmp(year, limit, 4);

	return order < 0 ? FATE_GOES : order == 0 ? FATE_MIXED : FATE_STAYS;
}

bool retention_history_goes(const struct retention *r, const char *limit, const char *name)
{
	size_t len = strlen(name), tail = strlen(HISTORY_SUFFIX);
	char label[LABEL_MAX + 1];

	if (!str_ends(name, HISTORY_SUFFIX) || len - tail > LABEL_MAX)
		return false;
	memcpy(label, name, len - tail);
	label[len - tail] = '\0';
	return label_is_valid(label) && strcmp(label, limit) < 0 && !retention_stays(r, label);
}
