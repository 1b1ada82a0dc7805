/*
 * backup_publish: the directory of a backup, from its making to the moment it counts.
 *
 * The order of writing is the format's (repository.md 5.13): manifest copy, manifest (from here on the backup
 * exists), history, latest, backup.info, archive.info.
 */
#include "cmd/backup_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "repo/catalog.h"

/* The newest directory, if it is an unfinished backup.  Resuming is not safe by size and time alone, so it
 * is removed; nobody else can be writing it, because we hold the stanza's backup lock. */
int backup_clear_leftover(struct backup *b)
{
	SCOPED_ARENA(a);
	strvec labels;
	struct store_entry e;
	struct store *repo = b->repo->store;

	if (catalog_labels(a, repo, b->cfg->stanza, &labels) != 0)
		return -1;
	if (labels.n == 0)
		return 0;
	const char *newest = labels.v[labels.n - 1];
	int rc = store_stat(a, repo, layout_manifest(a, b->cfg->stanza, newest), &e);
	if (rc != STORE_ABSENT)
		return rc;
	log_warn("backup '%s' was interrupted and cannot be resumed: its directory is removed", newest);
	return store_remove_tree(repo, layout_backup_dir(a, b->cfg->stanza, newest));
}

int backup_make_dirs(struct backup *b)
{
	SCOPED_ARENA(a);
	const struct manifest *m = b->m;
	struct store *repo = b->repo->store;

	for (size_t i = 0; i < m->paths.n; i++)
		if (store_make_dir(repo, path_join(a, b->dir, m->paths.v[i].name), 0750) != 0)
			return -1;
	for (size_t i = 0; b->repo->cfg->symlink && i < m->targets.n; i++) {
		const struct manifest_target *t = &m->targets.v[i];
		if (t->tablespace_oid != 0 &&
			store_link(repo, arena_printf(a, "../../%s", t->name),
				arena_printf(a, "%s/pg_data/%s", b->dir, t->name)) != 0)
			return -1;
	}
	return 0;
}

int backup_add_file(struct backup *b, const char *name, const char *content, int64_t mtime)
{
	SCOPED_ARENA(a);
	struct manifest *m = b->m;
	const struct manifest_path *root = manifest_path_find(m, "pg_data");
	const struct pipe_spec spec = { .compress = m->codec, .level = m->level, .hash_plain = true,
		.hash_stored = true };
	const struct put_opts put = { .no_dir_sync = true };
	struct pipe_result passed;
	char *full = arena_printf(m->arena, "pg_data/%s", name);

	struct sink *to = store_put(a, b->repo->store,
		arena_printf(a, "%s/%s%s", b->dir, full, codec_info(m->codec)->suffix), &put);
	if (to == NULL)
		return -1;
	to = pipe_chain(a, &spec, NULL, NULL, to, &passed);
	if (sink_write(to, content, strlen(content)) != 0 || sink_finish(to) != 0)
		return -1;
	struct manifest_file *f = vec_add(&m->files);
	f->name = full;
	f->user = m->file_user;
	f->group = m->file_group;
	f->mode = root->mode & 0644;
	f->mtime = mtime;
	f->size = f->size_orig = passed.plain_size;
	f->sum = passed.plain_sum;
	f->has_sum = true;
	f->repo_size = passed.stored_size;
	f->repo_sum = passed.stored_sum;
	f->has_repo_sum = m->codec != CODEC_NONE;
	manifest_sort(m);
	log_detail("wrote '%s' file returned from backup stop function", name);
	return 0;
}

/* Walk of the backup's own directory, against the manifest. */
struct untouched {
	struct backup *b;
	struct arena *arena;
	const char *dir; /* below the backup's directory, "" at the top */
	size_t found;
};

static int changed(const struct untouched *u, const char *name, const char *how)
{
	(void)err_set(ERR_FILE_INVALID, "'%s' %s while the backup ran",
		store_name(u->arena, u->b->repo->store, path_join(u->arena, u->b->dir, name)), how);
	return err_hint("does another program or host write to this repository?");
}

static int see_stored(void *ctx, const struct store_entry *e)
{
	struct untouched *u = ctx;
	const char *name = path_join(u->arena, u->dir, e->name);
	const char *suffix = codec_info(u->b->m->codec)->suffix;

	if (e->type == STORE_DIR) {
		struct untouched below = { u->b, u->arena, name, 0 };
		int rc = store_list(u->b->repo->store, path_join(u->arena, u->b->dir, name), see_stored, &below);
		u->found += below.found;
		return rc == STORE_ABSENT ? changed(u, name, "disappeared") : rc;
	}
	if (e->type != STORE_FILE || strcmp(name, "backup.manifest.copy") == 0)
		return 0;
	const struct manifest_file *f = NULL;
	if (str_ends(name, suffix))
		f = manifest_file_find(u->b->m,
			arena_strndup(u->arena, name, strlen(name) - strlen(suffix)));
	if (f == NULL)
		return changed(u, name, "appeared");
	if (e->size != f->repo_size)
		return changed(u, name, "changed its size");
	u->found++;
	return 0;
}

int backup_save_point(struct backup *b)
{
	SCOPED_ARENA(a);

	if (manifest_save_copy(b->repo->store, b->cfg->stanza, b->m) != 0)
		return -1;
	return manifest_write(b->m, sink_sha1(a, sink_null(a), &b->save_point));
}

/* The last save point must still be the text that we wrote. */
static int check_save_point(struct backup *b)
{
	SCOPED_ARENA(a);
	struct pipe_result stored;
	const struct pipe_spec spec = { .hash_plain = true };
	const struct get_opts get = { .spec = &spec, .result = &stored };
	char *path = layout_copy(a, layout_manifest(a, b->cfg->stanza, b->m->label));

	if (store_get(b->repo->store, path, &get, sink_null(a)) != 0)
		return err_wrap("unable to prove that the backup's directory is untouched");
	if (sum_equal(&b->save_point, &stored.plain_sum))
		return 0;
	(void)err_set(ERR_FILE_INVALID, "'%s' was changed while the backup ran",
		store_name(a, b->repo->store, path));
	return err_hint("does another program or host write to this repository?");
}

/* Locks hold on one host; a repository may be shared by several.  Before the backup is published its own
 * directory must be exactly what was written. */
static int prove_untouched(struct backup *b)
{
	SCOPED_ARENA(a);
	struct untouched u = { b, a, "", 0 };

	if (manifest_save_copy(b->repo->store, b->cfg->stanza, b->m) != 0)
		return -1;
	if (store_list(b->repo->store, b->dir, see_stored, &u) < 0)
		return -1;
	if (u.found != b->m->files.n)
		return err_set(ERR_FILE_INVALID, "%zu of %zu files are missing in '%s'", b->m->files.n - u.found,
			b->m->files.n, store_name(a, b->repo->store, b->dir));
	return 0;
}

static int sync_dirs(struct backup *b)
{
	SCOPED_ARENA(a);

	for (size_t i = 0; i < b->m->paths.n; i++)
		if (store_sync_dir(b->repo->store, path_join(a, b->dir, b->m->paths.v[i].name)) != 0)
			return -1;
	return store_sync_dir(b->repo->store, b->dir);
}

static void complete_manifest(struct backup *b)
{
	struct manifest *m = b->m;

	m->db = *backup_info_current(&b->infos.backup);
	m->db.catalog_version = b->cluster.control.catalog_version;
	m->db.control_version = b->cluster.control.control_version;
	m->complete = true;
}

static int list_backup(struct backup *b)
{
	struct backup_line line;
	struct store *repo = b->repo->store;
	const char *stanza = b->cfg->stanza;

	if (b->repo->cfg->symlink && store_link(repo, b->m->label, layout_latest(b->arena, stanza)) != 0)
		return -1;
	manifest_summary(b->arena, b->m, &line);
	backup_info_add(&b->infos.backup, &line);
	if (backup_info_save(repo, stanza, &b->infos.backup) != 0)
		return -1;
	/* Written again unchanged: its time stamp matters to life-cycle rules of object stores. */
	if (archive_info_save(repo, stanza, &b->infos.archive) != 0)
		return -1;
	log_info("new backup label = %s", b->m->label);
	log_info("full backup size = %s, file total = %zu", str_size(b->arena, line.size_delta),
		b->m->files.n);
	return 0;
}

int backup_publish(struct backup *b)
{
	if (check_save_point(b) != 0)
		return -1;
	complete_manifest(b);
	if (sync_dirs(b) != 0 || prove_untouched(b) != 0)
		return -1;
	if (manifest_publish(b->repo->store, b->cfg->stanza, b->m) != 0)
		return -1;
	return list_backup(b);
}
