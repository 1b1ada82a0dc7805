/*
 * scan_link: links of a data directory, what they lead to, and owners' names (format/repository.md 5.12.2).
 *
 * The destination of a link is what readlink returned; it is compared as text after normalising, because
 * the destination may lie on another host's file system one day.
 */
#include "repo/scan_intern.h"

#include <errno.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"

static const char *owner_name(struct scan *s, const char *name)
{
	return *name == '\0' ? manifest_owner_unknown : manifest_intern(s->m, name);
}

const char *scan_user(struct scan *s, const struct store_entry *e)
{
	return owner_name(s, e->user != NULL ? e->user : owner_user(s->owners, e->uid));
}

const char *scan_group(struct scan *s, const struct store_entry *e)
{
	return owner_name(s, e->group != NULL ? e->group : owner_group(s->owners, e->gid));
}

/* Absolute and normalised: a relative destination starts at the directory that holds the link. */
static const char *absolute(struct scan *s, const char *link_name, const char *destination)
{
	struct arena *a = s->scratch;

	if (destination[0] == '/')
		return path_normalize(a, destination);
	const char *dir = path_parent(a, manifest_pg_path(link_name));
	return path_normalize(a, arena_printf(a, "%s/%s/%s", s->path, dir, destination));
}

static int check_destination(struct scan *s, const char *name, const struct store_entry *e)
{
	const char *link = store_name(s->scratch, s->pg, manifest_pg_path(name));

	if (strchr(e->target, '\n') != NULL)
		return err_set(ERR_FORMAT, "the destination of link '%s' contains a line feed, which "
			"repository format 5 cannot hold", link);
	errno = e->target_error;
	if (errno != 0)
		return err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s' that link '%s' leads to",
			absolute(s, name, e->target), link);
	if (e->target_entry == NULL)
		return err_set(ERR_FILE_OPEN, "unable to get info for missing path/file '%s' that link '%s' "
			"leads to", absolute(s, name, e->target), link);
	if (e->target_entry->type == STORE_LINK)
		return err_set(ERR_LINK_DESTINATION, "link '%s' cannot reference another link '%s'", link,
			absolute(s, name, e->target));
	if (path_is_below(absolute(s, name, e->target), path_normalize(s->scratch, s->path)))
		return err_set(ERR_LINK_DESTINATION, "link '%s' destination '%s' is in PGDATA", link,
			absolute(s, name, e->target));
	return 0;
}

static const char *tablespace_name(struct scan *s, const char *oid_text, uint32_t oid)
{
	if (s->o->tablespaces == NULL)
		return arena_printf(s->m->arena, "ts%s", oid_text);
	for (size_t i = 0; i < s->o->tablespaces->v.n; i++)
		if (s->o->tablespaces->v.v[i].oid == oid)
			return arena_strdup(s->m->arena, s->o->tablespaces->v.v[i].name);
	return NULL;
}

int scan_tablespace(struct scan *s, const char *name, const struct store_entry *e)
{
	struct arena *a = s->m->arena;
	const char *oid_text = path_base(name);
	uint64_t oid;

	if (!str_to_u64(oid_text, &oid) || oid == 0 || oid > UINT32_MAX)
		return err_set(ERR_LINK_EXPECTED, "tablespace link '%s' is not named by an oid",
			store_name(s->scratch, s->pg, manifest_pg_path(name)));
	if (check_destination(s, name, e) != 0)
		return -1;
	const char *ts_name = tablespace_name(s, oid_text, (uint32_t)oid);
	if (ts_name == NULL) {
		(void)err_set(ERR_FILE_INVALID, "tablespace with oid %s not found in tablespace map", oid_text);
		return err_hint("was a tablespace created or dropped during the backup?");
	}
	const char *top = arena_printf(a, "pg_tblspc/%s", oid_text);
	struct manifest_target *t = vec_add(&s->m->targets);
	t->name = top;
	t->path = arena_strdup(a, e->target);
	t->tablespace_oid = (uint32_t)oid;
	t->tablespace_name = ts_name;
	t->link = true;
	scan_add_link(s, name, e);
	scan_add_dummy(s, "pg_tblspc", "pg_data");
	scan_add_dummy(s, top, "pg_data/pg_tblspc");

	/* Other versions' directories may share the tablespace; only ours is the cluster's. */
	const char *ours = arena_printf(a, "%s/PG_%s_%u", top, s->o->control->version->name,
		s->o->control->catalog_version);
	struct store_entry dir;
	int rc = store_stat(s->scratch, s->pg, ours, &dir);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	scan_add_linked(s, ours, &dir);
	return scan_dir(s, ours);
}

int scan_link(struct scan *s, const char *name, const struct store_entry *e)
{
	struct arena *a = s->m->arena;

	if (check_destination(s, name, e) != 0)
		return -1;
	bool file = e->target_entry->type == STORE_FILE;
	if (!file && e->target_entry->type != STORE_DIR)
		return err_set(ERR_LINK_DESTINATION, "link '%s' leads to a special file",
			store_name(s->scratch, s->pg, manifest_pg_path(name)));
	struct manifest_target *t = vec_add(&s->m->targets);
	t->name = name;
	t->link = true;
	t->path = file ? path_parent(a, e->target) : arena_strdup(a, e->target);
	t->file = file ? arena_strdup(a, path_base(e->target)) : NULL;
	scan_add_link(s, name, e);
	scan_add_linked(s, name, e->target_entry);
	return file ? 0 : scan_dir(s, name);
}

static bool overlap(const char *x, bool x_file, const char *y, bool y_file)
{
	if (x_file != y_file)
		return false; /* a file link may point into a directory that is linked, or be beside it */
	if (x_file)
		return strcmp(x, y) == 0;
	return path_is_below(x, y) || path_is_below(y, x);
}

/* No two links may lead to the same place: restore would write it twice. */
int scan_check_links(struct scan *s)
{
	const struct manifest *m = s->m;

	for (size_t i = 0; i < m->links.n; i++) {
		for (size_t k = 0; k < i; k++) {
			const struct manifest_link *x = &m->links.v[i], *y = &m->links.v[k];
			const char *xd = absolute(s, x->name, x->destination);
			const char *yd = absolute(s, y->name, y->destination);
			bool xf = !manifest_path_known(s, x->name) && !str_starts(x->name, "pg_data/pg_tblspc/");
			bool yf = !manifest_path_known(s, y->name) && !str_starts(y->name, "pg_data/pg_tblspc/");
			if (overlap(xd, xf, yd, yf))
				return err_set(ERR_LINK_DESTINATION, "link '%s' (%s) destination is the same as, "
					"or overlaps, link '%s' (%s)",
					store_name(s->scratch, s->pg, manifest_pg_path(x->name)), xd,
					store_name(s->scratch, s->pg, manifest_pg_path(y->name)), yd);
		}
	}
	return 0;
}
