/*
 * scan: from a data directory to manifest rows.
 *
 * The walk goes by manifest name; every name can be reached below the data directory, because tablespaces
 * and linked directories are followed through their links.  What is left out, and why, is decided in
 * scan_skip.c; links in scan_link.c.
 */
#include "repo/scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "repo/scan_intern.h"

static struct manifest_path *add_path(struct scan *s, const char *name, const struct store_entry *e)
{
	struct manifest_path *p = vec_add(&s->m->paths);

	p->name = name;
	p->user = scan_user(s, e);
	p->group = scan_group(s, e);
	p->mode = (uint16_t)e->mode;
	return p;
}

/* Relations and transaction status are repaired by WAL replay, so no more than was seen is copied; all
 * other files are read to their end (format/repository.md 5.12.5). */
static bool is_bounded(const struct scan *s, const char *name)
{
	static const char *const dirs[] = { "pg_data/base/", "pg_data/global/", "pg_data/pg_multixact/",
		"pg_tblspc/" };

	if (strcmp(name, "pg_data/global/pg_control") == 0)
		return false;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (str_starts(name, dirs[i]))
			return true;
	return str_starts(name, s->xact_prefix);
}

static bool has_pages(const char *name)
{
	const char *base = path_base(name);

	return strcmp(base, "PG_VERSION") != 0 && strcmp(base, "pg_filenode.map") != 0 &&
		strcmp(name, "pg_data/global/pg_control") != 0;
}

static void add_file(struct scan *s, const char *name, const struct store_entry *e, bool db_dir)
{
	struct manifest_file *f = vec_add(&s->m->files);

	f->name = name;
	f->user = scan_user(s, e);
	f->group = scan_group(s, e);
	f->mode = (uint16_t)e->mode;
	f->mtime = e->mtime;
	f->ctime = e->ctime;
	f->size = f->size_orig = f->repo_size = e->size;
	f->copy_bounded = is_bounded(s, name);
	f->page_check = s->o->page_check && db_dir && has_pages(name);
}

/* base/<oid>, global, and a tablespace's <oid>, exactly; not what lies below. */
static bool is_db_dir(const char *name)
{
	const char *last = path_base(name);

	if (strcmp(name, "pg_data/global") == 0)
		return true;
	if (!str_all(last, strlen(last), "0123456789"))
		return false;
	if (str_starts(name, "pg_data/base/"))
		return strchr(name + strlen("pg_data/base/"), '/') == NULL;
	unsigned slashes = 0;
	for (const char *c = name; *c != '\0'; c++)
		slashes += *c == '/';
	return str_starts(name, "pg_tblspc/") && slashes == 3;
}

struct collect {
	struct arena *arena;
	VEC(struct store_entry) v;
};

static const char *keep_text(struct arena *a, const char *text)
{
	return text == NULL ? NULL : arena_strdup(a, text);
}

static void keep_entry(struct arena *a, const struct store_entry *e, struct store_entry *out)
{
	*out = *e;
	out->name = keep_text(a, e->name);
	out->user = keep_text(a, e->user);
	out->group = keep_text(a, e->group);
	out->target = keep_text(a, e->target);
}

static int collect_entry(void *ctx, const struct store_entry *e)
{
	struct collect *c = ctx;
	struct store_entry *copy = vec_add(&c->v);

	keep_entry(c->arena, e, copy);
	if (e->target_entry != NULL) {
		struct store_entry *target = arena_new_object(c->arena, struct store_entry);
		keep_entry(c->arena, e->target_entry, target);
		copy->target_entry = target;
	}
	return 0;
}

static int visit(struct scan *s, const struct scan_dir *dir, const struct store_entry *e)
{
	char *name = arena_printf(s->m->arena, "%s/%s", dir->name, e->name);

	switch (e->type) {
	case STORE_FILE:
		if (dir->tblspc)
			return err_set(ERR_LINK_EXPECTED, "'%s' is not a symlink - pg_tblspc should contain "
				"only symlinks", store_name(s->scratch, s->pg, manifest_pg_path(name)));
		add_file(s, name, e, dir->db);
		return 0;
	case STORE_DIR:
		if (dir->tblspc)
			return err_set(ERR_LINK_EXPECTED, "'%s' is not a symlink - pg_tblspc should contain "
				"only symlinks", store_name(s->scratch, s->pg, manifest_pg_path(name)));
		add_path(s, name, e);
		return scan_dir(s, name);
	case STORE_LINK:
		return dir->tblspc ? scan_tablespace(s, name, e) : scan_link(s, name, e);
	case STORE_SPECIAL:
		log_warn("exclude special file '%s' from backup",
			store_name(s->scratch, s->pg, manifest_pg_path(name)));
		return 0;
	}
	return 0;
}

int scan_dir(struct scan *s, const char *name)
{
	SCOPED_ARENA(a);
	struct collect c = { .arena = a };
	struct scan_dir dir = { .name = name, .db = is_db_dir(name),
		.tblspc = strcmp(name, "pg_data/pg_tblspc") == 0 };

	if (scan_skip_content(s, name))
		return 0;
	vec_init(&c.v, a);
	if (store_list(s->pg, manifest_pg_path(name), collect_entry, &c) < 0)
		return -1;
	if (dir.db)
		dir.unlogged = scan_unlogged(a, c.v.v, c.v.n);
	for (size_t i = 0; i < c.v.n; i++) {
		const struct store_entry *e = &c.v.v[i];
		if (strchr(e->name, '\n') != NULL) {
			(void)err_set(ERR_FORMAT, "the name of a file in '%s' contains a line feed, which "
				"repository format 5 cannot hold",
				store_name(a, s->pg, manifest_pg_path(name)));
			return err_hint("rename or remove the file whose name contains a line feed");
		}
		if (!scan_skip(s, &dir, e) && visit(s, &dir, e) != 0)
			return -1;
	}
	return 0;
}

void scan_add_dummy(struct scan *s, const char *name, const char *like)
{
	if (manifest_path_known(s, name))
		return;
	struct manifest_path *p = vec_add(&s->m->paths);
	for (size_t i = 0; i + 1 < s->m->paths.n; i++)
		if (strcmp(s->m->paths.v[i].name, like) == 0)
			*p = s->m->paths.v[i];
	p->name = name;
}

bool manifest_path_known(const struct scan *s, const char *name)
{
	for (size_t i = 0; i < s->m->paths.n; i++)
		if (strcmp(s->m->paths.v[i].name, name) == 0)
			return true;
	return false;
}

void scan_add_link(struct scan *s, const char *name, const struct store_entry *e)
{
	struct manifest_link *l = vec_add(&s->m->links);

	l->name = name;
	l->destination = arena_strdup(s->m->arena, e->target);
	l->user = scan_user(s, e);
	l->group = scan_group(s, e);
}

void scan_add_linked(struct scan *s, const char *name, const struct store_entry *destination)
{
	if (destination->type == STORE_FILE)
		add_file(s, name, destination, false);
	else
		add_path(s, name, destination);
}

/* The data directory itself gives the defaults (5.9). */
static int scan_root(struct scan *s)
{
	struct store_entry e;
	struct manifest *m = s->m;
	int rc = store_stat(s->scratch, s->pg, "", &e);

	if (rc < 0)
		return -1;
	if (rc == STORE_ABSENT)
		return err_set(ERR_PATH_MISSING, "data directory '%s' does not exist", s->pg->root);
	if (e.type == STORE_LINK && e.target_entry != NULL) /* PGDATA may be a link itself */
		e = *e.target_entry;
	if (e.type != STORE_DIR)
		return err_set(ERR_PATH_MISSING, "data directory '%s' is not a directory", s->pg->root);
	struct manifest_path *p = add_path(s, "pg_data", &e);
	m->file_user = m->path_user = m->link_user = p->user;
	m->file_group = m->path_group = m->link_group = p->group;
	m->path_mode = p->mode;
	m->file_mode = p->mode & 0640;
	struct manifest_target *t = vec_add(&m->targets);
	t->name = "pg_data";
	t->path = arena_strdup(m->arena, s->path);
	return scan_dir(s, "pg_data");
}

/* What is wrong is met again, if it is in the way of what is listed. */
static int foresee_all(struct store *pg)
{
	if (store_foresee(pg, "") == 0)
		return 0;
	if (err_code() == ERR_TERM)
		return -1;
	err_clear();
	return 0;
}

int scan_cluster(struct store *pg, const struct scan_opts *o, struct manifest *m)
{
	SCOPED_ARENA(a);
	struct scan s = { .pg = pg, .path = o->path != NULL ? o->path : pg->root, .o = o, .m = m, .scratch = a,
		.owners = owners_new(a),
		.xact_prefix = arena_printf(a, "pg_data/%s/", o->control->version->xact_dir),
		.wal_dir = arena_printf(a, "pg_data/%s", o->control->version->wal_dir) };

	if (foresee_all(pg) != 0 || scan_root(&s) != 0 || scan_check_links(&s) != 0)
		return -1;
	manifest_sort(m);
	return 0;
}
