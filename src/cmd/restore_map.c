/*
 * restore_map: where the parts of a backup go on this host (format/repository.md 12.3).
 *
 * The user's mappings are applied to the manifest in memory, before anything is checked or touched; whatever
 * comes later knows only the result.  A mapping that fits nothing is an error: the user meant something.
 */
#include "cmd/restore_intern.h"

#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

#define TBLSPC "pg_tblspc/"

static struct manifest_target *target_of(struct manifest *m, const char *name)
{
	for (size_t i = 0; i < m->targets.n; i++)
		if (strcmp(m->targets.v[i].name, name) == 0)
			return &m->targets.v[i];
	return NULL;
}

static void set_destination(struct restore *r, struct manifest_target *t, const char *destination)
{
	const char *link = restore_link_name(r->arena, t->name);

	for (size_t i = 0; i < r->m->links.n; i++)
		if (strcmp(r->m->links.v[i].name, link) == 0)
			r->m->links.v[i].destination = destination;
	t->path = t->file == NULL ? destination : path_parent(r->arena, destination);
	if (t->file != NULL)
		t->file = path_base(destination);
}

static int map_data(struct restore *r)
{
	struct manifest_target *t = target_of(r->m, "pg_data");

	if (t == NULL)
		return err_set(ERR_FORMAT, "the manifest of backup '%s' does not name the data directory",
			r->m->label);
	r->origin = t->path;
	if (strcmp(t->path, r->pg->root) != 0)
		log_info("remap data directory to '%s'", r->pg->root);
	t->path = r->pg->root;
	return 0;
}

/* --- tablespaces --- */

/* By name or OID; which pairs of the option fitted is noted. */
static int find_tablespace(const struct restore *r, const struct manifest_target *t, bool *used,
	const char **path)
{
	const config_pairs *map = &r->cfg->tablespace_map;
	const char *oid = t->name + strlen(TBLSPC), *by_name = NULL, *by_oid = NULL;

	for (size_t i = 0; i < map->n; i++) {
		bool name = strcmp(map->v[i].key, t->tablespace_name) == 0;
		if (name)
			by_name = map->v[i].value;
		else if (strcmp(map->v[i].key, oid) == 0)
			by_oid = map->v[i].value;
		else
			continue;
		used[i] = true;
	}
	if (by_name != NULL && by_oid != NULL && strcmp(by_name, by_oid) != 0)
		return err_set(ERR_TABLESPACE_MAP, "tablespace remapped by name '%s' and id %s with different "
			"paths", t->tablespace_name, oid);
	*path = by_name != NULL ? by_name : by_oid;
	return 0;
}

static int map_tablespace(struct restore *r, struct manifest_target *t, bool *used)
{
	const char *all = r->cfg->tablespace_map_all, *path = NULL;

	if (find_tablespace(r, t, used, &path) != 0)
		return -1;
	if (path == NULL && all == NULL)
		return 0;
	if (path == NULL) {
		/* the name comes from the backup: it must not lead out of the user's folder */
		if (!path_is_safe(t->tablespace_name) || strchr(t->tablespace_name, '/') != NULL) {
			(void)err_set(ERR_TABLESPACE_MAP, "tablespace name '%s' cannot be the name of a folder in "
				"'%s'", t->tablespace_name, all);
			return err_hint("use --tablespace-map=%s=PATH for it.", t->name + strlen(TBLSPC));
		}
		path = path_join(r->arena, all, t->tablespace_name);
	}
	if (path[0] != '/')
		return err_set(ERR_TABLESPACE_MAP, "unable to remap tablespace '%s' to '%s', which is not an "
			"absolute path", t->tablespace_name, path);
	path = path_normalize(r->arena, path);
	log_info("map tablespace '%s' to '%s'", t->name, path);
	set_destination(r, t, path);
	return 0;
}

static int map_tablespaces(struct restore *r)
{
	const config_pairs *map = &r->cfg->tablespace_map;
	bool *used = arena_zalloc(r->arena, map->n + 1);

	for (size_t i = 0; i < r->m->targets.n; i++)
		if (r->m->targets.v[i].tablespace_oid != 0 && map_tablespace(r, &r->m->targets.v[i], used) != 0)
			return -1;
	for (size_t i = 0; i < map->n; i++)
		if (!used[i])
			return err_set(ERR_TABLESPACE_MAP, "unable to remap invalid tablespace '%s'",
				map->v[i].key);
	return 0;
}

/* --- links --- */

/* A path or file of the backup becomes a link: NULL if there is none that can. */
static struct manifest_target *make_link(struct restore *r, const char *name)
{
	struct manifest *m = r->m;
	const struct manifest_path *p = manifest_path_find(m, name);
	const struct manifest_file *f = manifest_file_find(m, name);

	if ((p == NULL && f == NULL) || restore_is_left_out(name))
		return NULL;
	struct manifest_link *l = vec_add(&m->links);
	l->name = name;
	l->user = p != NULL ? p->user : f->user;
	l->group = p != NULL ? p->group : f->group;
	struct manifest_target *t = vec_add(&m->targets);
	t->name = name;
	t->link = true;
	t->file = p != NULL ? NULL : "";
	return t;
}

static int no_such_link(const char *name)
{
	(void)err_set(ERR_LINK_MAP, "unable to map link '%s'", name);
	return err_hint("does the link reference a valid backup path or file?");
}

static int check_new_link(const struct manifest_target *t, const struct config_pair *pair)
{
	const char *to = pair->value;

	if (t->file != NULL && (strchr(to, '/') == NULL || *path_base(to) == '\0'))
		return err_set(ERR_LINK_MAP, "'%s' is not long enough to be the destination for file link '%s'", to,
			pair->key);
	return *to == '\0' ? err_set(ERR_LINK_MAP, "link '%s' is mapped to nothing", pair->key) : 0;
}

static int map_link(struct restore *r, const struct config_pair *pair)
{
	const char *name = arena_printf(r->arena, "pg_data/%s", pair->key), *to = pair->value;

	if (str_starts(pair->key, TBLSPC) && target_of(r->m, pair->key) != NULL) {
		(void)err_set(ERR_LINK_MAP, "unable to remap tablespace '%s'", pair->key);
		return err_hint("use 'tablespace-map' option to remap tablespaces.");
	}
	/* the server must never find a pg_control that is not the last thing restored */
	if (strcmp(name, CONTROL_NAME) == 0)
		return no_such_link(pair->key);
	struct manifest_target *t = target_of(r->m, name);
	bool is_link = t != NULL;
	if (t == NULL && (t = make_link(r, name)) == NULL)
		return no_such_link(pair->key);
	log_info("%slink '%s' to '%s'", is_link ? "map " : "", pair->key, to);
	if (check_new_link(t, pair) != 0)
		return -1;
	set_destination(r, t, to[0] == '/' ? path_normalize(r->arena, to) : to);
	return 0;
}

static bool is_kept(const struct restore *r, const struct manifest_target *t)
{
	if (!t->link || t->tablespace_oid != 0)
		return true;
	if (strcmp(t->name, CONTROL_NAME) == 0)
		return false;
	for (size_t i = 0; i < r->cfg->link_map.n; i++)
		if (strcmp(r->cfg->link_map.v[i].key, manifest_pg_path(t->name)) == 0)
			return true;
	return r->cfg->link_all;
}

static void drop_link(struct manifest *m, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->links.n; i++)
		if (strcmp(m->links.v[i].name, name) != 0)
			m->links.v[kept++] = m->links.v[i];
	m->links.n = kept;
}

/* What is not kept is restored where the link was. */
static void drop_links(struct restore *r)
{
	struct manifest *m = r->m;
	size_t kept = 0;

	for (size_t i = 0; i < m->targets.n; i++) {
		const struct manifest_target t = m->targets.v[i];
		if (is_kept(r, &t)) {
			m->targets.v[kept++] = t;
			continue;
		}
		if (t.file != NULL)
			log_warn("file link '%s' will be restored as a file at the same location",
				manifest_pg_path(t.name));
		else
			log_warn("contents of directory link '%s' will be restored in a directory at the same "
				"location", manifest_pg_path(t.name));
		drop_link(m, t.name);
	}
	m->targets.n = kept;
}

int restore_map(struct restore *r)
{
	if (map_data(r) != 0 || map_tablespaces(r) != 0)
		return -1;
	for (size_t i = 0; i < r->cfg->link_map.n; i++)
		if (map_link(r, &r->cfg->link_map.v[i]) != 0)
			return -1;
	drop_links(r);
	manifest_sort(r->m);
	return restore_find_places(r) != 0 ? -1 : restore_check_rules(r);
}
