/*
 * backup_dir: the directory of a backup: what stands in it besides the copied files, and the proof before
 * it counts that nothing else does.
 */
#include "cmd/backup_intern.h"

#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

/* A backup that holds every file, or has a name for it, has every directory (format/repository.md 1.4); in
 * others directories come with the files. */
int backup_make_dirs(struct backup *b)
{
	SCOPED_ARENA(a);
	const struct manifest *m = b->m;
	struct store *repo = b->repo->store;

	if (!b->hardlink && (m->type != BACKUP_FULL || m->bundle))
		return 0;
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

/* ---- what stays with earlier backups ---- */

static const char *suffix_of(const struct backup *b, const struct manifest_file *f)
{
	return f->block_map_size != 0 ? BLOCK_SUFFIX : codec_info(b->m->codec)->suffix;
}

/* A member of a bundle has no file that could get another name. */
static bool is_linked(const struct backup *b, const struct manifest_file *f)
{
	return b->hardlink && f->reference != NULL && f->bundle == 0;
}

static int link_row(struct backup *b, const struct manifest_file *f)
{
	SCOPED_ARENA(a);
	const char *stanza = b->cfg->stanza, *suffix = suffix_of(b, f);
	const char *from = layout_backup_file(a, stanza, f->reference, f->name, suffix);
	int rc = store_hard_link(b->repo->store, from,
		layout_backup_file(a, stanza, b->m->label, f->name, suffix));

	log_detail("hardlink %s to %s", f->name, f->reference);
	if (rc == STORE_ABSENT) {
		(void)err_set(ERR_FILE_MISSING, "backup '%s' lacks '%s', which this backup refers to",
			f->reference, store_name(a, b->repo->store, from));
		return err_hint("use --type=full.");
	}
	return rc;
}

int backup_refer(struct backup *b)
{
	const struct manifest *m = b->m;

	for (size_t i = 0; i < m->files.n; i++) {
		const struct manifest_file *f = &m->files.v[i];
		if (f->reference == NULL)
			continue;
		if (!is_linked(b, f))
			log_detail("reference %s to %s", f->name, f->reference);
		else if (link_row(b, f) != 0)
			return -1;
	}
	return 0;
}

/* ---- proof ---- */

/* Walk of the backup's own directory, against the manifest; what is found is made durable on the way. */
struct untouched {
	struct backup *b;
	struct arena *arena;
	const char *dir; /* below the backup's directory, "" at the top */
	size_t found;
};

static bool has_file(const struct backup *b, const struct manifest_file *f)
{
	if (f->bundle != 0 || (f->size == 0 && b->m->bundle))
		return false;
	return f->reference == NULL || b->hardlink;
}

static int changed(const struct untouched *u, const char *name, const char *how)
{
	(void)err_set(ERR_FILE_INVALID, "'%s' %s while the backup ran",
		store_name(u->arena, u->b->repo->store, path_join(u->arena, u->b->dir, name)), how);
	return err_hint("does another program or host write to this repository?");
}

static const struct manifest_file *row_stored_as(const struct untouched *u, const char *name,
	const char *suffix)
{
	if (!str_ends(name, suffix))
		return NULL;
	const struct manifest_file *f = manifest_file_find(u->b->m,
		arena_strndup(u->arena, name, strlen(name) - strlen(suffix)));
	return f != NULL && has_file(u->b, f) && strcmp(suffix_of(u->b, f), suffix) == 0 ? f : NULL;
}

/* Bytes that the file of this name must have; false if there must be none. */
static bool expected_size(const struct untouched *u, const char *name, uint64_t *size)
{
	const struct backup *b = u->b;
	uint64_t id;

	if (str_starts(name, "bundle/")) {
		if (!str_to_u64(name + strlen("bundle/"), &id) || id == 0 || id > b->bundle_max)
			return false;
		*size = b->bundle_size[id];
		return *size != 0;
	}
	const struct manifest_file *f = row_stored_as(u, name, codec_info(b->m->codec)->suffix);
	if (f == NULL)
		f = row_stored_as(u, name, BLOCK_SUFFIX);
	if (f != NULL)
		*size = f->repo_size;
	return f != NULL;
}

static int see_stored(void *ctx, const struct store_entry *e);

static int see_dir(struct untouched *u, const char *name)
{
	struct untouched below = { u->b, u->arena, name, 0 };
	const char *path = path_join(u->arena, u->b->dir, name);
	int rc = store_list(u->b->repo->store, path, see_stored, &below);

	u->found += below.found;
	if (rc == STORE_ABSENT)
		return changed(u, name, "disappeared");
	return rc == 0 ? store_sync_dir(u->b->repo->store, path) : rc;
}

static int see_stored(void *ctx, const struct store_entry *e)
{
	struct untouched *u = ctx;
	const char *name = path_join(u->arena, u->dir, e->name);
	uint64_t size = 0;

	if (e->type == STORE_DIR)
		return see_dir(u, name);
	if (e->type != STORE_FILE || strcmp(name, "backup.manifest.copy") == 0)
		return 0;
	if (!expected_size(u, name, &size))
		return changed(u, name, "appeared");
	if (e->size != size)
		return changed(u, name, "changed its size");
	u->found++;
	return 0;
}

static size_t expected_files(const struct backup *b)
{
	size_t n = 0;

	for (size_t i = 0; i < b->m->files.n; i++)
		n += has_file(b, &b->m->files.v[i]);
	for (uint32_t id = 1; id <= b->bundle_max; id++)
		n += b->bundle_size[id] != 0;
	return n;
}

int backup_prove_untouched(struct backup *b)
{
	SCOPED_ARENA(a);
	struct untouched u = { b, a, "", 0 };
	const size_t expected = expected_files(b);

	if (backup_save_point(b) != 0 || see_dir(&u, "") != 0)
		return -1;
	if (u.found == expected)
		return 0;
	return err_set(ERR_FILE_INVALID, "%zu of %zu files are missing in '%s'", expected - u.found, expected,
		store_name(a, b->repo->store, b->dir));
}
