/*
 * expire_carry: what was decided, said line by line and done in an order that may end anywhere.
 *
 * 1. backup.info without the backups that go: nobody chooses them any more.
 * 2. The link latest.
 * 3. Their manifests, newest first, each removal durable before the next: from here on they are no
 *    backups, and what others are based on goes last.  Interrupted before, reconciliation lists again
 *    what is whole, interrupted in between, what is still whole.
 * 4. Directories, newest first.
 * 5. WAL, which no listed backup needs any more, and after it the notes of WAL that was dropped: as long as any of it
 *    is there, so is what says why some is not.
 * 6. History manifests.
 *
 * The format puts 3 before 1 (repository.md 10.2): the result is the same, but an interruption would
 * leave backups in backup.info that have no manifest.
 */
#include "cmd/expire_intern.h"

#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/sig.h"
#include "base/str.h"

static bool listed(const strvec *labels, const char *label)
{
	for (size_t i = 0; i < labels->n; i++)
		if (strcmp(labels->v[i], label) == 0)
			return true;
	return false;
}

/* Locks hold on one host.  Another one may have completed a backup while we were deciding, and our
 * backup.info would hide it. */
static int check_unchanged(struct expire *e)
{
	struct backup_info fresh;
	bool same;

	if (ctx_backup_info(e->a, e->cfg, e->repo, &fresh) != 0)
		return -1;
	same = fresh.backups.n == e->loaded.n;
	for (size_t i = 0; same && i < fresh.backups.n; i++)
		same = strcmp(fresh.backups.v[i].label, e->loaded.v[i]) == 0;
	if (same)
		return 0;
	(void)err_set(ERR_FILE_INVALID, "backup.info was changed while expire was deciding; nothing was removed");
	return err_hint("does another host write to this repository? Run expire again.");
}

static int save_info(struct expire *e)
{
	struct backup_info *info = &e->infos.backup;
	bool changed = e->r.going > 0 || info->backups.n != e->loaded.n;
	strvec going;

	vec_init(&going, e->a);
	for (size_t i = 0; i < info->backups.n; i++)
		changed = changed || !listed(&e->loaded, info->backups.v[i].label);
	for (size_t i = 0; i < e->r.rows.n; i++)
		if (e->r.rows.v[i].goes)
			vec_push(&going, e->r.rows.v[i].line->label);
	if (!changed)
		return 0;
	if (check_unchanged(e) != 0)
		return -1;

	/* The rows of the decision point into the list: it is another one that is saved. */
	struct backup_info less = *info;
	vec_init(&less.backups, e->a);
	for (size_t i = 0; i < info->backups.n; i++)
		if (!listed(&going, info->backups.v[i].label))
			vec_push(&less.backups, info->backups.v[i]);
	return backup_info_save(e->repo->store, e->cfg->stanza, e->repo->pass, &less);
}

static int point_latest(struct expire *e)
{
	const char *newest = NULL;

	for (size_t i = 0; i < e->r.rows.n; i++)
		if (!e->r.rows.v[i].goes)
			newest = e->r.rows.v[i].line->label;
	if (!e->r.newest_goes || newest == NULL || !e->repo->cfg->symlink)
		return 0;
	return store_link(e->repo->store, newest, layout_latest(e->a, e->cfg->stanza));
}

static int remove_manifests(struct expire *e)
{
	for (size_t i = e->r.rows.n; i-- > 0;) {
		const char *path = layout_manifest(e->a, e->cfg->stanza, e->r.rows.v[i].line->label);

		if (!e->r.rows.v[i].goes)
			continue;
		if (sig_check() != 0 || store_remove(e->repo->store, path, true) != 0 ||
			store_remove(e->repo->store, layout_copy(e->a, path), true) != 0)
			return -1;
	}
	return 0;
}

/* 1 if an unlisted directory has got a manifest since it was judged. */
static int became_backup(struct expire *e, const struct retention_dir *d)
{
	struct store_entry entry;
	int rc;

	if (d->rule == DIR_EXPIRED)
		return 0;
	rc = store_stat(e->a, e->repo->store, layout_manifest(e->a, e->cfg->stanza, d->label), &entry);
	return rc < 0 ? -1 : rc == 0;
}

static int remove_dir(struct expire *e, const struct retention_dir *d)
{
	int done = became_backup(e, d);

	if (done < 0)
		return -1;
	if (done > 0) {
		log_warn("repo%u: backup %s was completed meanwhile and is not removed", e->repo->key, d->label);
		return 0;
	}
	log_info("repo%u: remove expired backup %s", e->repo->key, d->label);
	if (e->cfg->dry_run)
		return 0;
	return store_remove_tree(e->repo->store, layout_backup_dir(e->a, e->cfg->stanza, d->label));
}

static int carry_dirs(struct expire *e)
{
	for (size_t i = e->dirs.n; i-- > 0;) {
		const struct retention_dir *d = &e->dirs.v[i];

		if (d->goes && (sig_check() != 0 || remove_dir(e, d) != 0))
			return -1;
		if (d->rule == DIR_RUNNING)
			log_detail("repo%u: folder %s stays: the newest one, of a backup that runs or can be resumed",
				e->repo->key, d->label);
		if (d->rule == DIR_NEEDED)
			log_detail("repo%u: folder %s stays: a backup that could not be listed may need it",
				e->repo->key, d->label);
		if (d->rule == DIR_COMPLETE)
			log_warn("repo%u: backup %s has a manifest but cannot be listed; it is not removed\n"
				"HINT: its cluster is unknown to backup.info, or what it is based on has lost its "
				"manifest.\nHINT: remove its folder '%s' if it is not needed.", e->repo->key, d->label,
				store_name(e->a, e->repo->store, layout_backup_dir(e->a, e->cfg->stanza, d->label)));
	}
	return 0;
}

static int remove_part(struct expire *e, const char *archive_id, const struct expire_part *part)
{
	struct store *store = e->repo->store;

	if (part->files.n == 0)
		log_detail("repo%u: %s remove archive path %s", e->repo->key, archive_id,
			store_name(e->a, store, part->dir));
	if (e->cfg->dry_run)
		return 0;
	if (sig_check() != 0)
		return -1;
	return part->files.n == 0 ? store_remove_tree(store, part->dir) :
				    store_remove_files(store, part->dir, &part->files);
}

static int carry_drops(struct expire *e, const struct expire_archive *archive)
{
	const struct wal_place *place = &archive->place;

	for (size_t i = 0; i < archive->drops.n; i++) {
		const struct wal_drop *d = &archive->drops.v[i];

		if (d->files.n > 0)
			log_info("repo%u: %s remove note of dropped WAL %s, start = %s, stop = %s", e->repo->key,
				place->archive_id, d->id, d->files.v[0], d->files.v[d->files.n - 1]);
		else
			log_info("repo%u: %s remove damaged note of dropped WAL %s", e->repo->key, place->archive_id,
				d->id);
		if (!e->cfg->dry_run && (sig_check() != 0 || wal_drop_remove(place, d->id) != 0))
			return -1;
	}
	return 0;
}

static int carry_ranges(struct expire *e, const struct expire_archive *archive)
{
	const struct retention_archive *w = archive->decision;
	unsigned key = e->repo->key;

	for (size_t i = 0; i < w->ranges.n; i++) {
		const struct retention_range *k = &w->ranges.v[i];
		const char *stop = k->stop == NULL ? "" : arena_printf(e->a, ", stop = %s", k->stop);

		if (k->label != NULL)
			log_detail("repo%u: %s archive retention on backup %s, start = %s%s", key, w->archive_id,
				k->label, k->start, stop);
		else
			log_detail("repo%u: %s archive retention from segment %s on%s", key, w->archive_id,
				k->start, stop);
	}
	for (size_t i = 0; i < archive->runs.n; i++) {
		const struct expire_run *run = &archive->runs.v[i];

		log_info("repo%u: %s remove archive, start = %s, stop = %s", key, w->archive_id, run->start,
			run->stop);
		for (size_t k = 0; k < run->parts.n; k++)
			if (remove_part(e, w->archive_id, &run->parts.v[k]) != 0)
				return -1;
	}
	if (archive->runs.n == 0)
		log_info("repo%u: %s no archive to remove", key, w->archive_id);
	for (size_t i = 0; i < archive->timelines.n; i++)
		log_info("repo%u: %s remove history file %s", key, w->archive_id, archive->timelines.v[i]);
	if (archive->timelines.n > 0 && !e->cfg->dry_run &&
		store_remove_files(e->repo->store, archive->dir, &archive->timelines) != 0)
		return -1;
	return carry_drops(e, archive);
}

static int carry_archive(struct expire *e, const struct expire_archive *archive)
{
	const struct retention_archive *w = archive->decision;
	unsigned key = e->repo->key;

	switch (w->rule) {
	case WAL_FORMER:
		log_info("repo%u: remove archive path %s", key, store_name(e->a, e->repo->store, archive->dir));
		if (e->cfg->dry_run)
			return 0;
		return store_remove_tree(e->repo->store, archive->dir);
	case WAL_NO_BACKUP:
		log_detail("repo%u: %s all WAL stays: the current cluster has no backup", key, w->archive_id);
		return 0;
	case WAL_OFFLINE:
		log_detail("repo%u: %s all WAL stays: retention counts from backup %s, which was made offline",
			key, w->archive_id, w->base);
		return 0;
	case WAL_UNCLEAR:
		log_warn("repo%u: %s all WAL stays: backup.info does not say clearly what WAL backup %s needs",
			key, w->archive_id, w->base);
		return 0;
	case WAL_RANGES:
	case WAL_NOT_SET:
	case WAL_DAYS_NOT_MET:
	case WAL_TOO_FEW:
		break;
	}
	return carry_ranges(e, archive);
}

static int carry_wal(struct expire *e)
{
	static const char *const counted[] = { "full", "full and diff", "" };
	const struct retention_policy *p = &e->r.policy;
	unsigned key = e->repo->key;

	if (e->wal_rule == WAL_NOT_SET)
		log_info("option 'repo%u-retention-archive' is not set - archive logs will not be expired", key);
	else if (e->wal_rule == WAL_DAYS_NOT_MET)
		log_info("repo%u: time-based archive retention not met - archive logs will not be expired", key);
	else if (e->wal_rule == WAL_TOO_FEW)
		log_detail("repo%u: all WAL stays: there are fewer %s backups than the %lld that retention counts",
			key, counted[p->archive_type], (long long)p->archive);
	for (size_t i = 0; i < e->archives.n; i++)
		if (sig_check() != 0 || carry_archive(e, &e->archives.v[i]) != 0)
			return -1;
	return 0;
}

static int carry_year(struct expire *e, const struct expire_year *year)
{
	unsigned key = e->repo->key;

	if (year->whole)
		log_info("repo%u: remove expired backup history path %s", key, year->name);
	for (size_t i = 0; i < year->files.n; i++)
		log_info("repo%u: remove expired backup history manifest %s", key, year->files.v[i]);
	if (e->cfg->dry_run)
		return 0;
	if (year->whole)
		return store_remove_tree(e->repo->store, year->dir);
	return year->files.n == 0 ? 0 : store_remove_files(e->repo->store, year->dir, &year->files);
}

int expire_carry_out(struct expire *e)
{
	if (!e->cfg->dry_run &&
		(save_info(e) != 0 || point_latest(e) != 0 || remove_manifests(e) != 0))
		return -1;
	if (carry_dirs(e) != 0 || carry_wal(e) != 0)
		return -1;
	for (size_t i = 0; i < e->years.n; i++)
		if (sig_check() != 0 || carry_year(e, &e->years.v[i]) != 0)
			return -1;
	return 0;
}
