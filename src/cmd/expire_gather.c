/*
 * expire_gather: what a repository has, as far as expire must know it, before anything is changed.
 *
 * A listing that fails decides nothing: each failure ends the work on this repository.
 */
#include "cmd/expire_intern.h"

#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "pg/wal.h"
#include "repo/catalog.h"
#include "repo/manifest.h"

/* Both indexes must speak of the same clusters, or WAL would be judged by the wrong backups. */
static int check_histories(const struct expire *e)
{
	const struct archive_info *archive = &e->infos.archive;
	const struct backup_info *backup = &e->infos.backup;
	bool equal = archive->history.n == backup->history.n;

	for (size_t i = 0; equal && i < backup->history.n; i++) {
		const struct archive_db *x = &archive->history.v[i];
		const struct backup_db *y = &backup->history.v[i];
		equal = x->id == y->id && x->system_id == y->system_id && strcmp(x->version, y->version) == 0;
	}
	if (equal)
		return 0;
	(void)err_set(ERR_FILE_INVALID, "the histories of archive.info and backup.info differ - nothing can "
		"be expired");
	return err_hint("this may be a symptom of repository corruption!");
}

/*
 * The directories are listed before backup.info is read: a backup that another host completes in
 * between is either listed or not in our list of directories, so it is never taken for a leftover.
 */
int expire_read(struct expire *e)
{
	const char *stanza = e->cfg->stanza;
	strvec labels;

	vec_init(&e->dirs, e->a);
	vec_init(&e->loaded, e->a);
	if (catalog_labels(e->a, e->repo->store, stanza, &labels) != 0 ||
		ctx_infos(e->a, e->cfg, e->repo, &e->infos) != 0 || check_histories(e) != 0)
		return -1;
	for (size_t i = 0; i < labels.n; i++)
		vec_push(&e->dirs, ((struct retention_dir){ .label = labels.v[i] }));
	for (size_t i = 0; i < e->infos.backup.backups.n; i++)
		vec_push(&e->loaded, e->infos.backup.backups.v[i].label);
	return catalog_reconcile(e->a, e->repo->store, stanza, &e->infos.backup);
}

static int is_there(struct expire *e, const char *path, bool *there)
{
	struct store_entry entry;
	int rc = store_stat(e->a, e->repo->store, path, &entry);

	*there = rc == 0;
	return rc < 0 ? -1 : 0;
}

/* What the newest unfinished backup is based on; unknown if its manifest copy cannot be read, which
 * protects it. */
static int read_prior(struct expire *e, struct retention_dir *newest)
{
	struct manifest *m;
	int rc = manifest_load(e->a, e->repo->store, e->cfg->stanza, newest->label,
		e->infos.backup.cipher_pass, &m);

	if (rc == 0)
		newest->prior = m->prior;
	else if (rc < 0 && err_code() == ERR_TERM)
		return -1;
	else
		err_clear();
	return 0;
}

static int plan_dirs(struct expire *e)
{
	for (size_t i = 0; i < e->dirs.n; i++) {
		struct retention_dir *d = &e->dirs.v[i];
		const char *manifest = layout_manifest(e->a, e->cfg->stanza, d->label);

		if (backup_info_find(&e->infos.backup, d->label) != NULL)
			continue;
		if (is_there(e, manifest, &d->manifest) != 0 ||
			is_there(e, layout_copy(e->a, manifest), &d->copy) != 0)
			return -1;
	}
	if (e->dirs.n > 0) {
		struct retention_dir *newest = &e->dirs.v[e->dirs.n - 1];

		if (backup_info_find(&e->infos.backup, newest->label) == NULL &&
			retention_wants_prior(&e->r, newest) && read_prior(e, newest) != 0)
			return -1;
	}
	retention_dirs(&e->r, e->dirs.v, e->dirs.n);
	return 0;
}

/* Names in a directory: folders or files. */
struct names {
	struct arena *arena;
	enum store_type type;
	strvec *out;
};

static int add_name(void *ctx, const struct store_entry *e)
{
	struct names *n = ctx;

	if (e->type == n->type)
		vec_push(n->out, arena_strdup(n->arena, e->name));
	return 0;
}

static int list(struct expire *e, const char *dir, enum store_type type, strvec *out)
{
	struct names n = { e->a, type, out };

	vec_init(out, e->a);
	return store_list(e->repo->store, dir, add_name, &n);
}

/* Runs of WAL that goes; what stays ends a run. */
struct run_maker {
	struct expire *e;
	struct expire_archive *archive;
	bool open;
};

static struct expire_run *extend(struct run_maker *m, const char *name, size_t len)
{
	struct expire_run *run;

	name = arena_strndup(m->e->a, name, len);
	if (!m->open) {
		run = vec_add(&m->archive->runs);
		run->start = name;
		vec_init(&run->parts, m->e->a);
	}
	m->open = true;
	run = &m->archive->runs.v[m->archive->runs.n - 1];
	run->stop = name;
	return run;
}

static void add_part(struct run_maker *m, struct expire_run *run, const char *dir, const char *file)
{
	bool same = file != NULL && run->parts.n > 0 && run->parts.v[run->parts.n - 1].dir == dir;

	if (!same) {
		struct expire_part *part = vec_add(&run->parts);
		part->dir = dir;
		vec_init(&part->files, m->e->a);
	}
	if (file != NULL)
		vec_push(&run->parts.v[run->parts.n - 1].files, file);
}

static int plan_files(struct run_maker *m, const char *dir)
{
	strvec files;

	if (list(m->e, dir, STORE_FILE, &files) < 0)
		return -1;
	for (size_t i = 0; i < files.n; i++) {
		if (retention_wal_file_goes(m->archive->decision, files.v[i]))
			add_part(m, extend(m, files.v[i], WAL_NAME), dir, files.v[i]);
		else
			m->open = false;
	}
	return 0;
}

static int plan_segments(struct expire *e, struct expire_archive *archive)
{
	struct run_maker m = { e, archive, false };
	strvec dirs;

	if (list(e, archive->dir, STORE_DIR, &dirs) < 0)
		return -1;
	for (size_t i = 0; i < dirs.n; i++) {
		const char *path = path_join(e->a, archive->dir, dirs.v[i]);

		switch (retention_wal_dir(archive->decision, dirs.v[i])) {
		case FATE_GOES:
			add_part(&m, extend(&m, dirs.v[i], strlen(dirs.v[i])), path, NULL);
			break;
		case FATE_MIXED:
			if (plan_files(&m, path) != 0)
				return -1;
			break;
		case FATE_STAYS:
			m.open = false;
			break;
		}
	}
	return 0;
}

static int plan_timelines(struct expire *e, struct expire_archive *archive)
{
	strvec files;

	if (list(e, archive->dir, STORE_FILE, &files) < 0)
		return -1;
	for (size_t i = 0; i < files.n; i++)
		if (retention_timeline_goes(archive->decision, files.v[i]))
			vec_push(&archive->timelines, files.v[i]);
	return 0;
}

/* The start of the oldest backup that this archive serves. */
static int64_t oldest_start(const struct expire *e, const struct retention_archive *w)
{
	int64_t oldest = INT64_MAX;

	for (size_t i = 0; i < e->r.rows.n; i++) {
		const struct retention_row *row = &e->r.rows.v[i];
		uint32_t id;
		if (!row->goes && layout_archive_id_parse(w->archive_id, &id) && row->line->db_id == id &&
			row->line->start < oldest)
			oldest = row->line->start;
	}
	return oldest;
}

/* Notes of WAL all of which would go if it were there. */
static int plan_drops(struct expire *e, struct expire_archive *archive)
{
	int64_t oldest = oldest_start(e, archive->decision);
	wal_drops drops;

	if (wal_drops_load(e->a, &archive->place, &drops) != 0)
		return -1;
	for (size_t i = 0; i < drops.n; i++) {
		const struct wal_drop *d = &drops.v[i];
		bool goes = d->files.n > 0 || wal_drop_is_before(d, oldest);
		for (size_t k = 0; goes && k < d->files.n; k++)
			goes = retention_wal_file_goes(archive->decision, d->files.v[k]) ||
				retention_timeline_goes(archive->decision, d->files.v[k]);
		if (goes)
			vec_push(&archive->drops, *d);
	}
	return 0;
}

static int plan_wal(struct expire *e)
{
	const char *root = layout_archive_root(e->a, e->cfg->stanza);
	struct store_entry entry;

	vec_init(&e->archives, e->a);
	e->wal_rule = retention_wal(e->a, &e->r, &e->infos.backup, &e->decisions);
	for (size_t i = 0; i < e->decisions.n; i++) {
		struct expire_archive archive = { .decision = &e->decisions.v[i] };
		int rc;

		archive.place = (struct wal_place){ e->repo->store, e->cfg->stanza, archive.decision->archive_id,
			e->infos.archive.cipher_pass };
		archive.dir = path_join(e->a, root, archive.decision->archive_id);
		vec_init(&archive.runs, e->a);
		vec_init(&archive.timelines, e->a);
		vec_init(&archive.drops, e->a);
		rc = store_stat(e->a, e->repo->store, archive.dir, &entry);
		if (rc == STORE_ABSENT)
			continue;
		if (rc != 0)
			return -1;
		if (archive.decision->fate == FATE_MIXED &&
			(plan_segments(e, &archive) != 0 || plan_timelines(e, &archive) != 0 ||
				plan_drops(e, &archive) != 0))
			return -1;
		vec_push(&e->archives, archive);
	}
	return 0;
}

static int plan_year(struct expire *e, const char *limit, const char *dir, const char *name)
{
	struct expire_year year = { .name = name, .dir = path_join(e->a, dir, name) };
	enum retention_fate fate = retention_history_year(limit, name);
	strvec files;

	vec_init(&year.files, e->a);
	year.whole = fate == FATE_GOES;
	if (fate == FATE_STAYS)
		return 0;
	if (fate == FATE_MIXED && list(e, year.dir, STORE_FILE, &files) < 0)
		return -1;
	for (size_t i = fate == FATE_MIXED ? files.n : 0; i-- > 0;)
		if (retention_history_goes(&e->r, limit, files.v[i]))
			vec_push(&year.files, files.v[i]);
	vec_push(&e->years, year);
	return 0;
}

static int plan_history(struct expire *e)
{
	const char *limit = retention_history_limit(e->a, &e->r.policy);
	const char *dir = path_join(e->a, layout_backup_root(e->a, e->cfg->stanza), "backup.history");
	strvec years;

	vec_init(&e->years, e->a);
	if (limit == NULL)
		return 0;
	if (list(e, dir, STORE_DIR, &years) < 0)
		return -1;
	for (size_t i = 0; i < years.n; i++)
		if (plan_year(e, limit, dir, years.v[i]) != 0)
			return -1;
	return 0;
}

int expire_plan(struct expire *e)
{
	if (plan_dirs(e) != 0 || plan_wal(e) != 0)
		return -1;
	return plan_history(e);
}
