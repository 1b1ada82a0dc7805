/*
 * expire: apply retention, one repository after the other.
 *
 * Each is read whole, then decided (repo/retention.h, pure), then changed.  A repository that cannot be
 * read stays as it is, the others go on.
 */
#include "cmd/cmd.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/expire_intern.h"
#include "pg/wal.h"

static int check_requests(const struct config *cfg)
{
	const char *before = cfg->archive_expire_before;

	if (cfg->set != NULL && !label_is_valid(cfg->set))
		return err_set(ERR_OPTION_VALUE, "'%s' is not a valid backup label format", cfg->set);
	if (before != NULL && wal_kind(before) != WAL_SEGMENT)
		return err_set(ERR_OPTION_VALUE, "'%s' is not a valid WAL segment name for option "
			"'--archive-expire-before'", before);
	return 0;
}

static void fill_policy(const struct config *cfg, const struct config_repo *r,
	struct retention_policy *p)
{
	*p = (struct retention_policy){ .full = r->retention_full, .diff = r->retention_diff,
		.archive = r->retention_archive, .history = r->retention_history,
		.full_days = strcmp(r->retention_full_type, "time") == 0, .set = cfg->set, .oldest = cfg->oldest,
		.archive_before = cfg->archive_expire_before, .refuse_damaged = cfg->checksum_page_error,
		.now = clock_now_ms() / 1000 };
	(void)backup_type_parse(r->retention_archive_type, &p->archive_type); /* the table allows no other */
}

static void tell_oldest(const struct expire *e, const struct retention_policy *asked)
{
	const struct retention_policy *p = &e->r.policy;
	unsigned key = e->repo->key;

	if (!p->oldest)
		return;
	if (e->r.oldest_in_vain) {
		log_warn("repo%u: expire oldest requested but no eligible full backup to expire", key);
		return;
	}
	if (asked->full_days)
		log_info("repo%u: expire oldest counts backups, time-based retention is set aside", key);
	log_detail("repo%u: expire oldest enforcing repo%u-retention-full-type=count, "
		"repo%u-retention-full=%lld, repo%u-retention-archive-type=full, and repo%u-retention-archive=%lld "
		"for this execution", key, key, key, (long long)p->full, key, key, (long long)p->archive);
}

/* What the rules expire, in the words that scripts know; then each backup with its reason. */
static void tell_backups(const struct expire *e)
{
	static const char *const words[] = { [GO_COUNT] = "full backup", [GO_DAYS] = "time-based backup",
		[GO_DIFF] = "diff backup", [GO_SET] = "adhoc backup" };
	unsigned key = e->repo->key;

	for (size_t i = 0; i < e->r.sets.n; i++) {
		const struct retention_set *set = &e->r.sets.v[i];
		log_info("repo%u: expire %s%s %s", key, words[set->rule], set->labels.n > 1 ? " set" : "",
			str_join(e->a, &set->labels, ", "));
	}
	for (size_t i = 0; i < e->r.rows.n; i++) {
		const struct retention_row *row = &e->r.rows.v[i];
		log_detail("repo%u: %s %s: %s", key, row->line->label, row->goes ? "goes" : "stays",
			retention_why(e->a, &e->r, row));
	}
	if (e->r.newest_goes)
		log_warn("repo%u: expiring latest backup %s - the ability to perform point-in-time-recovery "
			"(PITR) may be affected\nHINT: non-default settings for "
			"'repo%u-retention-archive'/'repo%u-retention-archive-type' (even in prior expires) can cause "
			"gaps in the WAL.", key, e->r.rows.v[e->r.rows.n - 1].line->label, key, key);
}

static int refuse(const struct expire *e)
{
	switch (e->r.verdict) {
	case RETENTION_LAST_FULL:
		return err_set(ERR_BACKUP_SET, "full backup %s cannot be expired until another full backup has "
			"been created on this repo", e->cfg->set);
	case RETENTION_DAMAGED:
		(void)err_set(ERR_CHECKSUM, "oldest retained backup %s contains invalid page checksum(s)",
			e->r.damaged);
		return err_hint("use info --set command to get details about errors in the backup.");
	case RETENTION_OK:
	case RETENTION_UNKNOWN:
		break;
	}
	return 0;
}

struct expiring {
	const struct config *cfg;
	bool found; /* the backup of --set */
};

static int expire_repo(void *ctx, const struct ctx_repo *repo)
{
	SCOPED_ARENA(a);
	struct expiring *x = ctx;
	struct expire e = { .a = a, .cfg = x->cfg, .repo = repo };
	struct retention_policy policy;

	fill_policy(x->cfg, repo->cfg, &policy);
	if (expire_read(&e) != 0)
		return -1;
	retention_decide(a, &policy, &e.infos.backup, &e.r);
	x->found = x->found || e.r.verdict != RETENTION_UNKNOWN;
	if (refuse(&e) != 0 || expire_plan(&e) != 0)
		return -1;
	tell_oldest(&e, &policy);
	tell_backups(&e);
	if (expire_carry_out(&e) != 0)
		return -1;
	if (e.r.damaged != NULL)
		log_warn("repo%u: oldest retained backup %s contains invalid page checksum(s)\n"
			"HINT: use info --set command to get details about errors in the backup.", repo->key,
			e.r.damaged);
	return 0;
}

int cmd_expire(struct arena *a, const struct config *cfg)
{
	struct expiring x = { .cfg = cfg };
	struct ctx_repos repos;

	if (ctx_check_stop(a, cfg) != 0 || check_requests(cfg) != 0 || ctx_repos(a, cfg, &repos) != 0 ||
		ctx_each_repo(cfg, &repos, expire_repo, &x) != 0)
		return -1;
	if (cfg->set != NULL && !x.found)
		log_warn("backup %s does not exist\nHINT: run the info command and confirm the backup is listed",
			cfg->set);
	return 0;
}
