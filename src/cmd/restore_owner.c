/*
 * restore_owner: owners of the manifest on this host (format/repository.md 12.4).
 *
 * Only root can give files away.  Names that do not exist here, or are not known at all, become the owner of
 * the data directory that is there, else root.
 */
#include "cmd/restore_intern.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"

static struct map *users, *groups; /* name -> id + 1, or fallback; made on first use, die with the process */

struct owner_id {
	bool known;
	uint32_t id;
};

static const struct owner_id *look_up(struct restore *r, struct map **cache, const char *name, bool group)
{
	if (*cache == NULL)
		*cache = map_new(r->arena);
	struct owner_id *id = map_get(*cache, name);
	if (id != NULL)
		return id;
	id = arena_new_object(r->arena, struct owner_id);
	if (group) {
		const struct group *g = getgrnam(name);
		id->known = g != NULL;
		id->id = g == NULL ? 0 : g->gr_gid;
	} else {
		const struct passwd *p = getpwnam(name);
		id->known = p != NULL;
		id->id = p == NULL ? 0 : p->pw_uid;
	}
	map_put(*cache, name, id);
	return id;
}

void restore_owner(struct restore *r, const char *user, const char *group, uid_t *uid, gid_t *gid)
{
	*uid = r->fallback_uid;
	*gid = r->fallback_gid;
	if (!r->as_root)
		return;
	if (user != manifest_owner_unknown) {
		const struct owner_id *u = look_up(r, &users, user, false);
		if (u->known)
			*uid = u->id;
	}
	if (group != manifest_owner_unknown) {
		const struct owner_id *g = look_up(r, &groups, group, true);
		if (g->known)
			*gid = g->id;
	}
}

static void warn_once(struct restore *r, struct map *seen, const char *name, bool group)
{
	const char *key = arena_printf(r->arena, "%s %s", group ? "group" : "user",
		name == manifest_owner_unknown ? "" : name);

	if (map_has(seen, key))
		return;
	map_put(seen, key, seen);
	if (name == manifest_owner_unknown)
		log_warn("unknown %s in backup manifest mapped to %s", group ? "group" : "user",
			r->as_root ? "the owner of the data directory" : "current user");
	else if (!look_up(r, group ? &groups : &users, name, group)->known)
		log_warn("unknown %s '%s' in backup manifest mapped to %s", group ? "group" : "user", name,
			r->as_root ? "the owner of the data directory" : "current user");
}

void restore_warn_owners(struct restore *r)
{
	struct store_entry e;
	struct map *seen = map_new(r->arena);

	if (!r->as_root)
		return;
	if (store_stat(r->arena, r->pg, "", &e) == 0) {
		r->fallback_uid = e.uid;
		r->fallback_gid = e.gid;
	} else {
		err_clear(); /* not there or not to be seen: root */
	}
	for (size_t i = 0; i < r->m->files.n; i++) {
		const struct manifest_file *f = &r->m->files.v[i];
		/* Names are shared strings: neighbours nearly always have the same owner. */
		if (i > 0 && f->user == f[-1].user && f->group == f[-1].group)
			continue;
		warn_once(r, seen, f->user, false);
		warn_once(r, seen, f->group, true);
	}
}
