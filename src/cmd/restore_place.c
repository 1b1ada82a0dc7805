/*
 * restore_place: the directories a restore writes to: checked before anything is touched, then cleaned of what
 * is not in the backup (delta only), then made.
 *
 * Of a tablespace's directory only the folder of this version and catalog is ours: other clusters may keep
 * theirs beside it (lessons O6).
 */
#include "cmd/restore_intern.h"

#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "repo/layout.h"

/* A restore that was killed before it had told what it restores leaves one of these. */
static bool is_leftover(const struct store_entry *e)
{
	return e->type == STORE_FILE && str_ends(e->name, TEMP_SUFFIX);
}

/* What the data directory may hold although it is to be empty: leftovers of an interrupted restore. */
static int see_content(void *ctx, const struct store_entry *e)
{
	bool *content = ctx;

	if (strcmp(e->name, "backup.manifest") != 0 && !is_leftover(e))
		*content = true;
	return 0;
}

static int check_place(struct restore *r, const char *path)
{
	SCOPED_ARENA(a);
	struct store *place = store_posix(a, path);
	struct store_entry e;
	bool content = false;
	int found = file_exists(path);

	if (found <= 0)
		return found;
	log_detail("check '%s' exists", path);
	if (store_stat(a, place, "", &e) < 0)
		return -1;
	if (e.type == STORE_LINK && e.target_entry != NULL)
		e = *e.target_entry;
	if (e.type != STORE_DIR)
		return err_set(ERR_PATH_NOT_EMPTY, "unable to restore to path '%s' because it is not a "
			"directory", path);
	if (!r->as_root && e.uid != geteuid())
		return err_set(ERR_PATH_OPEN, "unable to restore to path '%s' not owned by current user", path);
	if (!r->as_root && access(path, R_OK | W_OK | X_OK) != 0)
		return err_set(ERR_PATH_OPEN, "unable to restore to path '%s' without rwx permissions", path);
	if (r->replace)
		return 0;
	if (store_list(place, "", see_content, &content) < 0)
		return -1;
	if (!content)
		return 0;
	(void)err_set(ERR_PATH_NOT_EMPTY, "unable to restore to path '%s' because it contains files", path);
	return err_hint("try using --delta if this is what you intended.");
}

/* Our folder in a tablespace: "PG_15_202209061", from the manifest's paths. */
static const char *version_folder(const struct restore *r, const struct manifest_target *t)
{
	size_t len = strlen(t->name);

	for (size_t i = 0; i < r->m->paths.n; i++) {
		const char *name = r->m->paths.v[i].name;
		if (strncmp(name, t->name, len) == 0 && name[len] == '/' && strchr(name + len + 1, '/') == NULL)
			return name + len + 1;
	}
	return NULL;
}

/* A tablespace must not lie where another part of the restore does. */
static int check_tablespace(struct restore *r, const struct manifest_target *t)
{
	if (t->path[0] != '/')
		return err_set(ERR_TABLESPACE_MAP, "tablespace '%s' has the path '%s', which is not absolute",
			t->tablespace_name, t->path);
	const char *path = path_normalize(r->arena, t->path);
	if (path_is_below(path, r->pg->root) || path_is_below(r->pg->root, path))
		return err_set(ERR_LINK_DESTINATION, "tablespace '%s' at '%s' overlaps the data directory '%s'",
			t->tablespace_name, t->path, r->pg->root);
	const char *folder = version_folder(r, t);
	return folder == NULL ? 0 : check_place(r, path_join(r->arena, t->path, folder));
}

int restore_check_places(struct restore *r)
{
	if (check_place(r, r->pg->root) != 0)
		return -1;
	for (size_t i = 0; i < r->m->targets.n; i++)
		if (r->m->targets.v[i].tablespace_oid != 0 && check_tablespace(r, &r->m->targets.v[i]) != 0)
			return -1;
	return 0;
}

/* --- cleaning --- */

struct clean {
	struct restore *r;
	struct arena *arena;
	const char *name; /* manifest name of the directory */
};

static int clean_dir(struct restore *r, const char *name);

static const struct manifest_link *tablespace_link(const struct restore *r, const char *name)
{
	for (size_t i = 0; str_starts(name, "pg_data/pg_tblspc/") && i < r->m->links.n; i++)
		if (strcmp(r->m->links.v[i].name, name) == 0)
			return &r->m->links.v[i];
	return NULL;
}

/* What belongs to us and keeps us out all the same gets its right mode later; here it must not end the
 * restore.  Root is never kept out. */
static int open_up(const struct clean *c, const char *path, const struct store_entry *e)
{
	mode_t needed = e->type == STORE_DIR ? 0700 : 0600;
	const struct put_opts meta = { .mode = e->mode | needed };

	return c->r->as_root || (e->mode & needed) == needed ? 0 : store_touch(c->r->pg, path, &meta);
}

/* A directory and all below it. */
static int open_up_tree(void *ctx, const struct store_entry *e)
{
	const struct clean *c = ctx;
	struct clean below = { c->r, c->arena, path_join(c->arena, c->name, e->name) };
	const char *path = manifest_pg_path(below.name);

	/* a store lists nothing under a name with a line feed, and removes it all the same */
	if (e->type != STORE_DIR || strchr(e->name, '\n') != NULL)
		return 0;
	if (open_up(c, path, e) != 0)
		return -1;
	return store_list(c->r->pg, path, open_up_tree, &below) < 0 ? -1 : 0;
}

/* No store touches such a name (lib/base/path.h). */
static int refuse_line_feed(const struct clean *c)
{
	(void)err_set(ERR_FORMAT, "the name of a file in '%s' contains a line feed",
		store_name(c->arena, c->r->pg, manifest_pg_path(c->name)));
	return err_hint("remove the file whose name contains a line feed; it is not in the backup.");
}

static int drop(struct clean *c, const char *path, const struct store_entry *e)
{
	static const char *const kinds[] = { [STORE_FILE] = "file", [STORE_DIR] = "path",
		[STORE_LINK] = "link", [STORE_SPECIAL] = "special file" };
	const char *full = store_name(c->arena, c->r->pg, path);

	log_detail("remove invalid %s '%s'", kinds[e->type], full);
	if (e->type != STORE_DIR)
		return store_remove(c->r->pg, path, true);
	return open_up_tree(c, e) != 0 ? -1 : store_remove_tree(c->r->pg, path);
}

static int clean_entry(void *ctx, const struct store_entry *e)
{
	struct clean *c = ctx;
	const char *name = path_join(c->arena, c->name, e->name);
	const char *path = manifest_pg_path(name);

	if (strcmp(name, "pg_data/backup.manifest") == 0)
		return 0;
	if (strchr(e->name, '\n') != NULL)
		return refuse_line_feed(c);
	switch (e->type) {
	case STORE_DIR:
		if (manifest_path_find(c->r->m, name) != NULL && tablespace_link(c->r, name) == NULL)
			return open_up(c, path, e) != 0 ? -1 : clean_dir(c->r, name);
		break;
	case STORE_FILE:
		if (manifest_file_find(c->r->m, name) != NULL &&
			strcmp(name, "pg_data/tablespace_map") != 0)
			return open_up(c, path, e);
		break;
	case STORE_LINK: {
		const struct manifest_link *l = tablespace_link(c->r, name);
		if (l != NULL && strcmp(l->destination, e->target) == 0)
			return 0;
		break;
	}
	case STORE_SPECIAL:
		break;
	}
	return drop(c, path, e);
}

static int clean_dir(struct restore *r, const char *name)
{
	SCOPED_ARENA(a);
	struct clean c = { r, a, name };

	return store_list(r->pg, manifest_pg_path(name), clean_entry, &c) < 0 ? -1 : 0;
}

/* --- making --- */

static int make_tablespace(struct restore *r, const struct manifest_path *p)
{
	const struct manifest_target *t = manifest_target_find(r->m, p->name);
	struct store_entry e;

	if (t == NULL)
		return 0; /* the bare "pg_tblspc" */
	if (dir_make(t->path, p->mode) != 0 || barrier_add(r->barrier, t->path) != 0)
		return -1;
	int rc = store_stat(r->arena, r->pg, t->name, &e);
	if (rc != STORE_ABSENT)
		return rc;
	log_detail("create symlink '%s' to '%s'", store_name(r->arena, r->pg, t->name), t->path);
	return store_link(r->pg, t->path, t->name);
}

/* The link first: it may be missing although the tablespace's directory is not empty. */
static int clean_tablespace(struct restore *r, const struct manifest_target *t)
{
	SCOPED_ARENA(a);
	struct clean c = { r, a, t->name };
	const char *folder = version_folder(r, t);
	struct store_entry e;

	if (folder == NULL)
		return 0;
	if (make_tablespace(r, manifest_path_find(r->m, t->name)) != 0)
		return -1;
	const char *name = path_join(a, t->name, folder);
	int rc = store_stat(a, r->pg, name, &e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	log_info("remove invalid files/links/paths from '%s/%s'", t->path, folder);
	return clean_entry(&c, &e);
}

static int clean_places(struct restore *r)
{
	log_info("remove invalid files/links/paths from '%s'", r->pg->root);
	if (clean_dir(r, "pg_data") != 0)
		return -1;
	for (size_t i = 0; i < r->m->targets.n; i++)
		if (r->m->targets.v[i].tablespace_oid != 0 && clean_tablespace(r, &r->m->targets.v[i]) != 0)
			return -1;
	return 0;
}

static int drop_leftover(void *ctx, const struct store_entry *e)
{
	struct restore *r = ctx;

	return is_leftover(e) ? store_remove(r->pg, e->name, true) : 0;
}

static int make_path(struct restore *r, const struct manifest_path *p)
{
	const char *path = manifest_pg_path(p->name);
	struct put_opts meta = { .mode = p->mode, .set_owner = r->as_root };

	restore_owner(r, p->user, p->group, &meta.uid, &meta.gid);
	if (str_starts(p->name, "pg_tblspc") && strchr(path, '/') == NULL)
		return 0;
	if (str_starts(p->name, "pg_tblspc/") && strchr(path + strlen("pg_tblspc/"), '/') == NULL)
		return make_tablespace(r, p);
	if (path[0] != '\0' && store_make_dir(r->pg, path, p->mode) != 0)
		return -1;
	return store_touch(r->pg, path, &meta);
}

int restore_make_places(struct restore *r)
{
	if (dir_make(r->pg->root, 0700) != 0 || barrier_add(r->barrier, r->pg->root) != 0)
		return -1;
	if (r->replace ? clean_places(r) != 0 : store_list(r->pg, "", drop_leftover, r) < 0)
		return -1;
	for (size_t i = 0; i < r->m->paths.n; i++)
		if (make_path(r, &r->m->paths.v[i]) != 0)
			return -1;
	return 0;
}
