/*
 * restore_rules: the places a restore writes to, and what must be true between them (format/repository.md 5.12.2).
 *
 * A manifest may be hostile: after these checks every row lies in exactly one place, no place lies in another,
 * and a tablespace holds nothing but the folder of this PostgreSQL version.  Places are compared by where they
 * really are: a link on the way to one must not hide that it lies in the data directory.
 */
#include "cmd/restore_intern.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"

#define TBLSPC "pg_tblspc/"

const char *restore_link_name(struct arena *a, const char *target)
{
	return str_starts(target, TBLSPC) ? arena_printf(a, "pg_data/%s", target) : target;
}

/* --- places --- */

/* Links resolved as far as the path exists.  A link to nothing may lead anywhere by the time it is followed. */
static int real_path(struct arena *a, const char *path, const char **out)
{
	char real[PATH_MAX];
	struct stat st;

	for (const char *head = path;; head = path_parent(a, head)) {
		if (realpath(head, real) != NULL) {
			const char *rest = path + strlen(head);
			*out = path_join(a, arena_strdup(a, real), rest + strspn(rest, "/"));
			return 0;
		}
		int number = errno;
		bool dangling = number == ENOENT && sys.lstat(head, &st) == 0;
		errno = number;
		if (dangling || (number != ENOENT && number != ENOTDIR) || strcmp(head, "/") == 0)
			return err_sys(ERR_PATH_OPEN, "unable to find out where '%s' is", path);
	}
}

/* The directory in which a link really lies: the nearest link above it may lead elsewhere. */
static const char *directory_of(const struct restore *r, const char *link)
{
	const char *dir = path_parent(r->arena, link);

	for (const char *head = dir; strcmp(head, "pg_data") != 0; head = path_parent(r->arena, head)) {
		const struct restore_place *p = restore_place_of_link(r, head);
		if (p != NULL)
			return path_join(r->arena, p->real, dir + strlen(head) + (dir[strlen(head)] == '/'));
	}
	return path_join(r->arena, r->places.v[0].real, manifest_pg_path(dir));
}

/* A relative destination starts at the directory that holds the link. */
static const char *absolute(const struct restore *r, const char *link, const char *path)
{
	if (path[0] != '/')
		path = arena_printf(r->arena, "%s/%s", directory_of(r, link), path);
	return path_normalize(r->arena, path);
}

static int bad_link(const struct restore *r, const char *name, const char *why)
{
	return err_set(ERR_FORMAT, "link '%s' of backup '%s' %s", manifest_pg_path(name), r->m->label, why);
}

static const struct manifest_link *link_find(const struct restore *r, const char *name)
{
	for (size_t i = 0; i < r->m->links.n; i++)
		if (strcmp(r->m->links.v[i].name, name) == 0)
			return &r->m->links.v[i];
	return NULL;
}

/* What the link and its target say must agree, and the kind must be that of the rows. */
static int describe(struct restore *r, const struct manifest_target *t, struct restore_place *p)
{
	p->name = t->name;
	p->tablespace = t->tablespace_oid != 0;
	p->link = restore_link_name(r->arena, t->name);
	const struct manifest_link *l = link_find(r, p->link);
	bool is_path = manifest_path_find(r->m, t->name) != NULL;
	if (l == NULL)
		return bad_link(r, t->name, "is not listed");
	if (is_path == (t->file != NULL))
		return bad_link(r, t->name, "is listed as another kind than what it leads to");
	p->destination = l->destination;
	p->user = l->user;
	p->group = l->group;
	p->dir = absolute(r, p->link, t->path);
	p->file = t->file;
	const char *whole = p->file == NULL ? p->dir : path_join(r->arena, p->dir, p->file);
	if (strcmp(whole, absolute(r, p->link, l->destination)) != 0)
		return bad_link(r, t->name, "leads elsewhere than its target");
	if (real_path(r->arena, p->dir, &p->real) != 0)
		return -1;
	if (p->file != NULL)
		p->real = path_join(r->arena, p->real, p->file);
	return 0;
}

static bool is_folder(const struct restore *r, const char *name, size_t len)
{
	const char *prefix = arena_printf(r->arena, "PG_%s_", r->m->db.version);
	size_t skip = strlen(prefix);

	return len > skip && strncmp(name, prefix, skip) == 0 && str_all(name + skip, len - skip, "0123456789");
}

/* "pg_tblspc/OID/FOLDER/...": the folder becomes known by the first such row, all others must be in it. */
static int see_tablespace_row(struct restore *r, struct restore_place **last, const char *name, bool file)
{
	const char *oid_end = strchr(name + strlen(TBLSPC), '/');
	size_t len = oid_end == NULL ? strlen(name) : (size_t)(oid_end - name);

	if (*last == NULL || strncmp((*last)->name, name, len) != 0 || (*last)->name[len] != '\0')
		*last = map_get(r->links, arena_printf(r->arena, "pg_data/%.*s", (int)len, name));
	if (*last == NULL)
		return err_set(ERR_FORMAT, "'%s' in backup '%s' is of no tablespace", name, r->m->label);
	if (oid_end == NULL)
		return 0;
	const char *folder = oid_end + 1, *end = strchr(folder, '/');
	size_t folder_len = end == NULL ? strlen(folder) : (size_t)(end - folder);
	if ((*last)->folder == NULL && is_folder(r, folder, folder_len))
		(*last)->folder = arena_strndup(r->arena, folder, folder_len);
	const char *known = (*last)->folder;
	if (known != NULL && strncmp(known, folder, folder_len) == 0 && known[folder_len] == '\0' &&
		!(file && end == NULL))
		return 0;
	return err_set(ERR_FORMAT, "'%s' in backup '%s' is not in the tablespace's folder for PostgreSQL %s", name,
		r->m->label, r->m->db.version);
}

static int see_tablespace_rows(struct restore *r)
{
	struct restore_place *last = NULL;

	for (size_t i = 0; i < r->m->paths.n; i++) {
		const char *name = r->m->paths.v[i].name;
		if (str_starts(name, TBLSPC) && see_tablespace_row(r, &last, name, false) != 0)
			return -1;
	}
	for (size_t i = 0; i < r->m->files.n; i++) {
		const char *name = r->m->files.v[i].name;
		if (str_starts(name, TBLSPC) && see_tablespace_row(r, &last, name, true) != 0)
			return -1;
	}
	return 0;
}

int restore_find_places(struct restore *r)
{
	const struct manifest *m = r->m;
	struct restore_place data = { .name = "pg_data", .dir = r->pg->root };

	r->links = map_new(r->arena);
	vec_init(&r->places, r->arena);
	if (real_path(r->arena, path_normalize(r->arena, r->pg->root), &data.real) != 0)
		return -1;
	vec_push(&r->places, data);
	for (size_t i = 0; i < m->targets.n; i++) {
		struct restore_place p = { 0 };
		if (!m->targets.v[i].link)
			continue;
		if (describe(r, &m->targets.v[i], &p) != 0)
			return -1;
		/* the map's copy stays where it is when the list grows */
		map_put(r->links, p.link, arena_memdup(r->arena, &p, sizeof(p)));
		vec_push(&r->places, p);
	}
	if (see_tablespace_rows(r) != 0)
		return -1;
	for (size_t i = 1; i < r->places.n; i++)
		r->places.v[i] = *restore_place_of_link(r, r->places.v[i].link);
	return 0;
}

/* --- rules --- */

static int overlap(const struct restore_place *p, const struct restore_place *q, const char *how)
{
	return err_set(ERR_LINK_DESTINATION, "link '%s' (%s) destination is %s link '%s' (%s)",
		manifest_pg_path(p->name), p->real, how, manifest_pg_path(q->name), q->real);
}

static int check_data(const struct restore *r, const struct restore_place *p)
{
	const char *data = r->places.v[0].real;

	if (path_is_below(p->real, data))
		return err_set(ERR_LINK_DESTINATION, "link '%s' destination '%s' is in PGDATA",
			manifest_pg_path(p->name), p->real);
	if (path_is_below(data, p->real))
		return err_set(ERR_LINK_DESTINATION, "link '%s' destination '%s' contains PGDATA",
			manifest_pg_path(p->name), p->real);
	return 0;
}

/* A directory that is linked may hold a file that is linked too; then it is in the backup under both names. */
static bool is_twin(const struct restore *r, const struct restore_place *file, const struct restore_place *dir)
{
	const char *name = path_join(r->arena, dir->name, file->real + strlen(dir->real) + 1);
	const struct manifest_file *x = manifest_file_find(r->m, file->name);
	const struct manifest_file *y = manifest_file_find(r->m, name);

	return x != NULL && y != NULL && x->size == y->size && sum_equal(&x->sum, &y->sum);
}

static int check_pair(const struct restore *r, const struct restore_place *p, const struct restore_place *q)
{
	bool same = strcmp(p->real, q->real) == 0;

	if (p->file != NULL && q->file != NULL)
		return same ? overlap(p, q, "the same file as") : 0;
	if (same)
		return overlap(p, q, "the same directory as");
	if (path_is_below(q->real, p->real)) {
		const struct restore_place *inner = q;
		q = p;
		p = inner;
	} else if (!path_is_below(p->real, q->real)) {
		return 0;
	}
	if (p->file == NULL)
		return overlap(p, q, "a subdirectory of");
	return q->file == NULL && is_twin(r, p, q) ? 0 : overlap(p, q, "in the directory of");
}

int restore_check_rules(const struct restore *r)
{
	for (size_t i = 1; i < r->places.n; i++) {
		if (check_data(r, &r->places.v[i]) != 0)
			return -1;
		for (size_t k = 1; k < i; k++)
			if (check_pair(r, &r->places.v[k], &r->places.v[i]) != 0)
				return -1;
	}
	return 0;
}
