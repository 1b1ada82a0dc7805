/*
 * restore_clean: what is not in the backup is removed (--delta, --force).
 *
 * A link is removed, never followed, unless it is one that the backup keeps and it says what the backup says:
 * so nothing outside of the places is ever touched, and what the workers write later passes through no link that
 * was not seen here.  A file that has another name goes too, whatever it holds: mode, time and later the server's
 * writes would change both.
 */
#include "cmd/restore_intern.h"

#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "repo/layout.h"

struct clean {
	struct restore *r;
	struct arena *arena;
	struct store *store; /* of the directory: that of the data directory, or of a linked file */
	const char *name; /* manifest name of the directory */
};

/* A restore that was killed before it had told what it restores leaves one of these. */
bool restore_is_leftover(const struct store_entry *e)
{
	return e->type == STORE_FILE && str_ends(e->name, TEMP_SUFFIX);
}

/* What belongs to us and keeps us out all the same gets its right mode later; here it must not end the
 * restore.  Root is never kept out. */
static int open_up(const struct clean *c, const char *path, const struct store_entry *e)
{
	mode_t needed = e->type == STORE_DIR ? 0700 : 0600;
	const struct put_opts meta = { .mode = e->mode | needed };

	return c->r->as_root || (e->mode & needed) == needed ? 0 : store_touch(c->store, path, &meta);
}

/* A directory and all below it. */
static int open_up_tree(void *ctx, const struct store_entry *e)
{
	const struct clean *c = ctx;
	struct clean below = { c->r, c->arena, c->store, path_join(c->arena, c->name, e->name) };
	const char *path = manifest_pg_path(below.name);

	/* a store lists nothing under a name with a line feed, and removes it all the same */
	if (e->type != STORE_DIR || strchr(e->name, '\n') != NULL)
		return 0;
	if (open_up(c, path, e) != 0)
		return -1;
	return store_list(c->store, path, open_up_tree, &below) < 0 ? -1 : 0;
}

/* No store touches such a name (lib/base/path.h). */
static int refuse_line_feed(const struct clean *c)
{
	(void)err_set(ERR_FORMAT, "the name of a file in '%s' contains a line feed",
		store_name(c->arena, c->store, manifest_pg_path(c->name)));
	return err_hint("remove the file whose name contains a line feed; it is not in the backup.");
}

static int drop(struct clean *c, const char *path, const struct store_entry *e)
{
	static const char *const kinds[] = { [STORE_FILE] = "file", [STORE_DIR] = "path",
		[STORE_LINK] = "link", [STORE_SPECIAL] = "special file" };
	const char *full = store_name(c->arena, c->store, path);

	log_detail("remove invalid %s '%s'", kinds[e->type], full);
	if (e->type != STORE_DIR)
		return store_remove(c->store, path, true);
	return open_up_tree(c, e) != 0 ? -1 : store_remove_tree(c->store, path);
}

static int drop_changed_link(struct clean *c, const char *path)
{
	log_detail("remove link '%s' because destination changed", store_name(c->arena, c->store, path));
	return store_remove(c->store, path, true);
}

static int clean_dir(struct restore *r, const char *name);

static int clean_entry(void *ctx, const struct store_entry *e)
{
	struct clean *c = ctx;
	const char *name = path_join(c->arena, c->name, e->name);
	const char *path = manifest_pg_path(name);

	if (strcmp(name, "pg_data/backup.manifest") == 0 ||
		(strcmp(c->name, "pg_data") == 0 && restore_keeps(c->r, e)))
		return 0;
	if (strchr(e->name, '\n') != NULL)
		return refuse_line_feed(c);
	const struct restore_place *p = restore_place_of_link(c->r, name);
	if (p != NULL && e->type == STORE_LINK)
		return strcmp(p->destination, e->target) == 0 ? 0 : drop_changed_link(c, path);
	if (p == NULL && e->type == STORE_DIR && manifest_path_find(c->r->m, name) != NULL)
		return open_up(c, path, e) != 0 ? -1 : clean_dir(c->r, name);
	if (p == NULL && e->type == STORE_FILE && !e->shared && manifest_file_find(c->r->m, name) != NULL &&
		!restore_is_left_out(name))
		return open_up(c, path, e);
	return drop(c, path, e);
}

static int clean_dir(struct restore *r, const char *name)
{
	SCOPED_ARENA(a);
	struct clean c = { r, a, r->pg, name };

	return store_list(r->pg, manifest_pg_path(name), clean_entry, &c) < 0 ? -1 : 0;
}

/* Only the folder is ours. */
static int clean_tablespace(struct restore *r, const struct restore_place *p)
{
	SCOPED_ARENA(a);
	struct clean c = { r, a, r->pg, p->name };
	struct store_entry e;

	if (p->folder == NULL)
		return 0;
	int rc = store_stat(a, r->pg, path_join(a, p->name, p->folder), &e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	log_info("remove invalid files/links/paths from '%s/%s'", p->dir, p->folder);
	return clean_entry(&c, &e);
}

/* Only the file is ours, and it has to be one. */
static int clean_file(struct restore *r, const struct restore_place *p)
{
	SCOPED_ARENA(a);
	struct clean c = { r, a, store_posix(a, p->dir), "pg_data" };
	struct store_entry e;
	int rc = store_stat(a, c.store, p->file, &e);

	if (rc != 0 || manifest_file_find(r->m, p->name) == NULL)
		return rc < 0 ? -1 : 0;
	return e.type == STORE_FILE && !e.shared ? open_up(&c, p->file, &e) : drop(&c, p->file, &e);
}

/* The link first: it may be missing although there is something where it is to lead. */
static int clean_place(struct restore *r, const struct restore_place *p)
{
	if (restore_make_link(r, p) != 0)
		return -1;
	if (p->file != NULL)
		return clean_file(r, p);
	if (p->tablespace)
		return clean_tablespace(r, p);
	log_info("remove invalid files/links/paths from '%s'", p->dir);
	return clean_dir(r, p->name);
}

int restore_clean(struct restore *r)
{
	log_info("remove invalid files/links/paths from '%s'", r->pg->root);
	if (clean_dir(r, "pg_data") != 0)
		return -1;
	for (size_t i = 1; i < r->places.n; i++)
		if (clean_place(r, &r->places.v[i]) != 0)
			return -1;
	return 0;
}

/* The way to pg_control may be a link to somebody else's: then the link goes, and with it pg_control. */
int restore_disarm(struct restore *r)
{
	SCOPED_ARENA(a);
	struct clean c = { r, a, r->pg, "pg_data" };
	const struct restore_place *p = restore_place_of_link(r, "pg_data/global");
	struct store_entry e;
	int rc = store_stat(a, r->pg, "global", &e);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (e.type == STORE_LINK && (p == NULL || strcmp(p->destination, e.target) != 0))
		return drop(&c, "global", &e);
	if (e.type == STORE_DIR && open_up(&c, "global", &e) != 0)
		return -1;
	rc = store_stat(a, r->pg, "global/pg_control", &e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	log_detail("remove 'global/pg_control' so cluster will not start if restore does not complete");
	c.name = "pg_data/global";
	return e.type == STORE_DIR ? drop(&c, "global/pg_control", &e) :
		store_remove(r->pg, "global/pg_control", false);
}
