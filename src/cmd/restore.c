/*
 * restore: a backup into a data directory.
 *
 * pg_control is removed first and comes back last, so that no interrupted restore can be started; with
 * --delta the next run goes on from what is there, believing only bytes that hash to the manifest's sums.
 */
#include "cmd/restore_plan.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "cmd/spool_in.h"
#include "pg/control.h"
#include "repo/block_stored.h"
#include "repo/layout.h"

#define KEPT_MANIFEST "backup.manifest" /* in the data directory while a restore runs */

static int check_not_running(const struct restore *r)
{
	int running = file_exists(path_join(r->arena, r->pg->root, "postmaster.pid"));

	if (running <= 0)
		return running;
	(void)err_set(ERR_PG_RUNNING, "unable to restore while PostgreSQL is running");
	(void)err_hint("presence of 'postmaster.pid' in '%s' indicates PostgreSQL is running.", r->pg->root);
	return err_hint("remove 'postmaster.pid' only if PostgreSQL is not running.");
}

/* --delta and --force remove what is not in the backup: only in what is certainly a data directory. */
static int check_delta(struct restore *r)
{
	struct store_entry e;

	r->delta = r->cfg->delta;
	r->delta_by_time = r->cfg->delta && r->cfg->force;
	r->replace = r->cfg->delta || r->cfg->force;
	if (!r->replace)
		return 0;
	int version = store_stat(r->arena, r->pg, "PG_VERSION", &e);
	int manifest = store_stat(r->arena, r->pg, KEPT_MANIFEST, &e);
	if (version < 0 || manifest < 0)
		return -1;
	if (version == 0 || manifest == 0)
		return 0;
	log_warn("--delta or --force specified but unable to find 'PG_VERSION' or 'backup.manifest' in '%s' to "
		"confirm that this is a valid $PGDATA directory. --delta and --force have been disabled and if "
		"any files exist in the destination directories the restore will be aborted.", r->pg->root);
	r->replace = r->delta = r->delta_by_time = false;
	return 0;
}

/* Bad pages were recorded when the backup was made; they are refused before anything is touched. */
static int check_bad_pages(const struct restore *r)
{
	size_t bad = 0;

	for (size_t i = 0; i < r->m->files.n; i++) {
		const struct manifest_file *f = &r->m->files.v[i];
		if (!f->page_check || f->page_ok || restore_is_zeroed(r, f))
			continue;
		const char *name = store_name(r->arena, r->pg, manifest_pg_path(f->name));
		if (r->cfg->checksum_page_error) {
			(void)err_set(ERR_CHECKSUM, "invalid page checksum(s) found in file %s", name);
			return err_hint("use --no-checksum-page-error to restore the file as it was backed up.");
		}
		log_warn("invalid page checksum(s) found in file %s", name);
		bad++;
	}
	if (bad > 0)
		log_warn("restore command encountered page checksum error(s) in %zu file(s), check the log file "
			"for details", bad);
	return 0;
}

/* What no worker could restore is refused before anything is touched. */
static int check_files(const struct restore *r)
{
	const struct manifest_file *beta = block_find_beta(r->m);

	if (beta != NULL)
		return err_set(ERR_FEATURE, "file '%s' of backup '%s' was stored as blocks by a test of pgBackRest %s, in a "
			"form that only releases before 2.46 read", beta->name, r->m->label, r->m->program);
	for (size_t i = 0; i < r->m->files.n; i++) {
		const struct manifest_file *f = &r->m->files.v[i];
		if (!f->has_sum)
			return err_set(ERR_FORMAT, "missing checksum for file '%s' in the manifest of backup '%s'",
				f->name, r->m->label);
	}
	return 0;
}

static int load_manifest(struct restore *r)
{
	const char *stanza = r->cfg->stanza, *label = r->line->label;
	const struct pg_version *forced;
	int rc = manifest_load(r->arena, r->repo->store, stanza, label, r->info.cipher_pass, &r->m);

	if (rc == STORE_ABSENT)
		return err_set(ERR_FILE_MISSING, "unable to load backup manifest '%s' or its copy",
			store_name(r->arena, r->repo->store, layout_manifest(r->arena, stanza, label)));
	if (rc < 0)
		return -1;
	if (r->m->label == NULL || strcmp(r->m->label, label) != 0)
		return err_set(ERR_FORMAT, "requested backup '%s' and manifest label '%s' do not match\n"
			"HINT: this indicates some sort of corruption (at the very least paths have been renamed).",
			label, r->m->label == NULL ? "" : r->m->label);
	if (check_files(r) != 0)
		return -1;
	if (ctx_forced_version(r->cfg, &forced) != 0)
		return -1;
	r->version = forced != NULL ? forced : pg_version_by_name(r->m->db.version);
	if (r->version == NULL)
		return err_set(ERR_VERSION_NOT_SUPPORTED, "backup '%s' is of PostgreSQL version '%s', which "
			"pgStrata does not know", label, r->m->db.version);
	return restore_plan_recovery(r);
}

static void announce(const struct restore *r)
{
	if (r->m->online)
		log_info("repo%u: restore backup set %s, recovery will start at %s", r->repo->key, r->m->label,
			clock_local(r->arena, r->m->start));
	else
		log_info("repo%u: restore backup set %s", r->repo->key, r->m->label);
}

/* By this file --delta knows the directory again, whatever is still missing: it comes first. */
static int keep_manifest(struct restore *r)
{
	const struct put_opts put = { .atomic = true, .mode = 0600 };
	struct manifest kept = *r->m;

	kept.cipher_pass = NULL; /* the key stays in the repository */
	if (restore_make_dir(r, r->pg->root, 0700) != 0)
		return -1;
	struct sink *to = store_put(r->arena, r->pg, KEPT_MANIFEST, &put);
	return to == NULL ? -1 : manifest_write(&kept, to);
}

/* The last change: pg_control gets its name.  That of an online backup gets an impossible checkpoint, so that
 * the server starts only through backup_label. */
static int arm(struct restore *r)
{
	SCOPED_ARENA(a);
	struct buf b;
	const struct manifest_file *f = manifest_file_find(r->m, CONTROL_NAME);
	struct put_opts put = { .atomic = true };

	if (f == NULL)
		return err_set(ERR_FILE_MISSING, "backup '%s' holds no pg_control", r->m->label);
	buf_init(&b, a);
	if (store_read(r->pg, CONTROL_TEMP, PG_CONTROL_SIZE, false, &b) != 0)
		return -1;
	if (r->m->online) {
		if (b.len < PG_CONTROL_READ)
			return err_set(ERR_FORMAT, "pg_control of backup '%s' is too short", r->m->label);
		if (pg_control_invalidate((uint8_t *)b.data) != 0)
			return -1;
	}
	put.mode = f->mode;
	put.set_mtime = true;
	put.mtime = f->mtime;
	put.set_owner = r->as_root;
	restore_owner(r, f->user, f->group, &put.uid, &put.gid);
	log_info("restore global/pg_control (performed last to ensure aborted restores cannot be started)");
	if (store_remove(r->pg, CONTROL_TEMP, false) != 0)
		return -1;
	return store_write(r->pg, "global/pg_control", b.data, b.len, &put);
}

static int finish(struct restore *r)
{
	uint64_t size = 0;

	if (restore_write_recovery(r) != 0 || store_remove(r->pg, KEPT_MANIFEST, true) != 0)
		return -1;
	spool_in_forget(r->cfg);
	if (barrier_sync(r->barrier) != 0 || arm(r) != 0)
		return -1;
	for (size_t i = 0; i < r->m->files.n; i++)
		size += r->m->files.v[i].size;
	log_info("restore size = %s, file total = %zu", str_size(r->arena, size), r->m->files.n);
	return 0;
}

/* A dry run goes on after a refusal, so that the plan is shown all the same: the first one is its result. */
static int refusal(struct restore *r, int rc, struct err_value **first)
{
	if (rc == 0 || !r->cfg->dry_run || err_code() == ERR_TERM)
		return rc;
	struct err_value *v = err_take(r->arena);
	if (*first == NULL)
		*first = v;
	return 0;
}

static int show_plan(struct restore *r, const struct restore_plan *plan, const struct err_value *refused)
{
	if (restore_plan_print(r, plan, refused) != 0)
		return -1;
	return refused == NULL ? 0 : err_restore(refused);
}

int cmd_restore(struct arena *a, const struct config *cfg)
{
	struct restore r = { .arena = a, .cfg = cfg, .type = cfg->type, .as_root = geteuid() == 0,
		.barrier = barrier_new(a) };
	struct err_value *refused = NULL;
	struct restore_plan *plan;

	if (ctx_pg(a, cfg, &r.pg) != 0 || refusal(&r, check_not_running(&r), &refused) != 0 ||
		check_delta(&r) != 0)
		return -1;
	if (restore_select(&r) != 0 || load_manifest(&r) != 0 || restore_check_timeline(&r) != 0)
		return -1;
	announce(&r);
	if (restore_map(&r) != 0)
		return -1;
	restore_warn_owners(&r);
	if (restore_select_databases(&r) != 0 || refusal(&r, check_bad_pages(&r), &refused) != 0 ||
		refusal(&r, restore_check_places(&r), &refused) != 0)
		return -1;
	if (restore_plan(&r, &plan) != 0 || refusal(&r, restore_plan_check(&r, plan), &refused) != 0)
		return -1;
	if (cfg->dry_run)
		return show_plan(&r, plan, refused);
	if (restore_disarm(&r) != 0)
		return -1;
	if (keep_manifest(&r) != 0 || restore_make_places(&r) != 0 || restore_copy(&r) != 0 ||
		finish(&r) != 0)
		return err_hint("'%s' cannot be started as it is; run the restore again with --delta to go on.",
			r.pg->root);
	return 0;
}
