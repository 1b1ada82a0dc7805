/*
 * restore_place: the directories a restore writes to: checked before anything is touched, then made.
 *
 * Of a tablespace's directory only the folder of this version and catalog is ours: other clusters may keep
 * theirs beside it (lessons O6).
 */
#include "cmd/restore_intern.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "repo/layout.h"

/* --- checking --- */

struct content {
	const struct restore *r; /* NULL: not the data directory */
	bool found;
};

/* What a directory may hold although it is to be empty: leftovers of an interrupted restore, and what the user
 * wants preserved. */
static int see_content(void *ctx, const struct store_entry *e)
{
	struct content *c = ctx;

	if (strcmp(e->name, "backup.manifest") != 0 && !restore_is_leftover(e) &&
		!(c->r != NULL && restore_keeps(c->r, e)))
		c->found = true;
	return 0;
}

static int may_use(const struct restore *r, const char *path, const struct stat *st)
{
	if (r->as_root)
		return 0;
	if (st->st_uid != geteuid())
		return err_set(ERR_PATH_OPEN, "unable to restore to path '%s' not owned by current user", path);
	if (access(path, R_OK | W_OK | X_OK) != 0)
		return err_set(ERR_PATH_OPEN, "unable to restore to path '%s' without rwx permissions", path);
	return 0;
}

/* A missing directory will be made: that it can be is known now, while nothing is touched. */
static int can_make(const struct restore *r, const char *path)
{
	struct stat st = { 0 };
	const char *head = path;

	do
		head = path_parent(r->arena, head);
	while (sys.stat(head, &st) != 0 && (errno == ENOENT || errno == ENOTDIR) && strcmp(head, "/") != 0);
	if (!S_ISDIR(st.st_mode))
		errno = ENOTDIR;
	else if (access(head, W_OK | X_OK) == 0)
		return 0;
	return err_sys(ERR_PATH_CREATE, "unable to create path '%s'", path);
}

/* 1 if the directory exists and may be used, 0 if it can be made, -1. */
static int check_dir(const struct restore *r, const char *path)
{
	struct stat st;

	if (sys.stat(path, &st) != 0)
		return errno == ENOENT || errno == ENOTDIR ? can_make(r, path) :
			err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", path);
	log_detail("check '%s' exists", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(ERR_PATH_NOT_EMPTY, "unable to restore to path '%s' because it is not a directory",
			path);
	return may_use(r, path, &st) != 0 ? -1 : 1;
}

static bool is_same(const char *x, const char *y)
{
	struct stat a, b;

	return sys.stat(x, &a) == 0 && sys.stat(y, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A copy of a cluster is made beside the original, and somebody forgot a mapping: what the original's links lead
 * to is not ours, --delta or not. */
static bool is_of_origin(const struct restore *r, const struct restore_place *p)
{
	if (p->link == NULL || is_same(r->origin, r->pg->root))
		return false;
	const char *there = path_join(r->arena, r->origin, manifest_pg_path(p->link));
	return is_same(there, p->file == NULL ? p->dir : path_join(r->arena, p->dir, p->file));
}

static int refuse_origin(const struct restore *r, const char *what, const char *path)
{
	(void)err_set(ERR_PATH_NOT_EMPTY, "unable to restore to %s '%s' because it belongs to the cluster in '%s'",
		what, path, r->origin);
	return err_hint("map it to another place (tablespace-map, link-map), or remove that cluster first.");
}

static int check_empty(const struct restore *r, const struct restore_place *p, const char *path)
{
	struct content content = { .r = p->link == NULL ? r : NULL };

	if (store_list(store_posix(r->arena, path), "", see_content, &content) < 0)
		return -1;
	if (!content.found)
		return 0;
	if (r->replace)
		return is_of_origin(r, p) ? refuse_origin(r, "path", path) : 0;
	(void)err_set(ERR_PATH_NOT_EMPTY, "unable to restore to path '%s' because it contains files", path);
	return err_hint("try using --delta if this is what you intended.");
}

static int check_file_place(const struct restore *r, const struct restore_place *p)
{
	struct stat st;
	const char *path = path_join(r->arena, p->dir, p->file);

	if (check_dir(r, p->dir) < 0)
		return -1;
	/* it vanished while the backup ran, or is preserved: nothing is written */
	if (manifest_file_find(r->m, p->name) == NULL)
		return 0;
	if (sys.lstat(path, &st) != 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 :
			err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", path);
	if (S_ISDIR(st.st_mode))
		return err_set(ERR_FILE_EXISTS, "unable to restore file '%s' because a directory is there", path);
	if (r->replace)
		return is_of_origin(r, p) ? refuse_origin(r, "file", path) : 0;
	(void)err_set(ERR_FILE_EXISTS, "unable to restore file '%s' because it already exists", path);
	return err_hint("try using --delta if this is what you intended.");
}

static int check_place(const struct restore *r, const struct restore_place *p)
{
	const char *path = p->dir;

	if (p->file != NULL)
		return check_file_place(r, p);
	int found = check_dir(r, path);
	if (p->tablespace) {
		if (found <= 0 || p->folder == NULL)
			return found < 0 ? -1 : 0;
		path = path_join(r->arena, path, p->folder);
		found = check_dir(r, path);
	}
	return found <= 0 ? found : check_empty(r, p, path);
}

int restore_check_places(struct restore *r)
{
	for (size_t i = 0; i < r->places.n; i++)
		if (check_place(r, &r->places.v[i]) != 0)
			return -1;
	return 0;
}

/* --- making --- */

static struct put_opts owner_of(struct restore *r, const char *user, const char *group)
{
	struct put_opts meta = { .set_owner = r->as_root };

	restore_owner(r, user, group, &meta.uid, &meta.gid);
	return meta;
}

static struct put_opts meta_of(struct restore *r, const struct manifest_path *p)
{
	struct put_opts meta = owner_of(r, p->user, p->group);

	meta.mode = p->mode;
	return meta;
}

static int make_one(struct restore *r, const char *path, mode_t mode)
{
	const struct put_opts owner = meta_of(r, manifest_path_find(r->m, "pg_data"));

	if (sys.mkdir(path, mode) != 0 || sys.chmod(path, mode) != 0 ||
		(r->as_root && sys.lchown(path, owner.uid, owner.gid) != 0))
		return err_sys(ERR_PATH_CREATE, "unable to create path '%s'", path);
	return 0;
}

int restore_make_dir(struct restore *r, const char *path, mode_t mode)
{
	SCOPED_ARENA(a);
	int found = file_exists(path);

	if (found != 0)
		return found < 0 ? -1 : 0;
	if (restore_make_dir(r, path_parent(a, path), mode) != 0)
		return -1;
	log_detail("create path '%s'", path);
	return make_one(r, path, mode);
}

/* Any directory may be where another file system is mounted. */
static int guard(struct restore *r, const char *dir)
{
	struct stat st;

	if (sys.stat(dir, &st) != 0)
		return err_sys(ERR_FILE_INFO, "unable to get info for directory '%s'", dir);
	for (size_t i = 0; i < r->guarded.n; i++)
		if (r->guarded.v[i] == st.st_dev)
			return 0;
	vec_push(&r->guarded, st.st_dev);
	return barrier_add(r->barrier, dir);
}

int restore_make_link(struct restore *r, const struct restore_place *p)
{
	const struct manifest_path *row = manifest_path_find(r->m, p->file == NULL ? p->name : "pg_data");
	const struct put_opts meta = owner_of(r, p->user, p->group);
	const char *path = manifest_pg_path(p->link);
	struct store_entry e;

	if (restore_make_dir(r, p->dir, row->mode) != 0 || guard(r, p->dir) != 0)
		return -1;
	int rc = store_stat(r->arena, r->pg, path, &e);
	if (rc < 0)
		return -1;
	if (rc == STORE_ABSENT) {
		log_detail("create symlink '%s' to '%s'", store_name(r->arena, r->pg, path), p->destination);
		if (store_link(r->pg, p->destination, path) != 0)
			return -1;
	}
	return store_touch(r->pg, path, &meta);
}

/* Owner and mode of a link's directory; only the owner of a tablespace's, which others may share. */
static int touch_place(struct restore *r, const struct restore_place *p, const struct manifest_path *row)
{
	struct put_opts meta = meta_of(r, row);

	if (p->tablespace)
		meta.mode = 0;
	return store_touch(store_posix(r->arena, p->real), "", &meta);
}

static int make_path(struct restore *r, const struct manifest_path *row)
{
	const struct put_opts meta = meta_of(r, row);
	const char *path = manifest_pg_path(row->name);
	const struct restore_place *p = restore_place_of_link(r, restore_link_name(r->arena, row->name));

	if (p != NULL)
		return restore_make_link(r, p) != 0 ? -1 : touch_place(r, p, row);
	if (strcmp(row->name, "pg_tblspc") == 0)
		return 0; /* a parent by name only, pg_data/pg_tblspc is the directory */
	if (path[0] == '\0')
		return store_touch(store_posix(r->arena, r->places.v[0].real), "", &meta);
	if (store_make_dir(r->pg, path, row->mode) != 0 || store_touch(r->pg, path, &meta) != 0)
		return -1;
	return guard(r, store_name(r->arena, r->pg, path));
}

static int drop_leftover(void *ctx, const struct store_entry *e)
{
	struct restore *r = ctx;

	return restore_is_leftover(e) ? store_remove(r->pg, e->name, true) : 0;
}

int restore_make_places(struct restore *r)
{
	vec_init(&r->guarded, r->arena);
	if (restore_make_dir(r, r->pg->root, 0700) != 0 || guard(r, r->pg->root) != 0)
		return -1;
	if (r->replace ? restore_clean(r) != 0 : store_list(r->pg, "", drop_leftover, r) < 0)
		return -1;
	for (size_t i = 0; i < r->m->paths.n; i++)
		if (make_path(r, &r->m->paths.v[i]) != 0)
			return -1;
	for (size_t i = 1; i < r->places.n; i++)
		if (r->places.v[i].file != NULL && restore_make_link(r, &r->places.v[i]) != 0)
			return -1;
	return 0;
}
