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
#include <unistd.h>

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

/* What a name that cannot be had here becomes, for the user's eyes. */
static const char *substitute(struct restore *r, bool group)
{
	if (!r->as_root)
		return group ? "current group" : "current user";
	const struct passwd *p = group ? NULL : getpwuid(r->fallback_uid);
	const struct group *g = group ? getgrgid(r->fallback_gid) : NULL;
	if (p == NULL && g == NULL)
		return arena_printf(r->arena, "%s %u", group ? "group" : "user",
			group ? (unsigned)r->fallback_gid : (unsigned)r->fallback_uid);
	return arena_printf(r->arena, "'%s'", p != NULL ? p->pw_name : g->gr_name);
}

/* Root can have every owner that exists, all others only themselves. */
static bool can_have(struct restore *r, const char *name, bool group)
{
	const struct owner_id *id = look_up(r, group ? &groups : &users, name, group);

	return id->known && (r->as_root || id->id == (group ? getegid() : geteuid()));
}

static void warn_once(struct restore *r, struct map *seen, const char *name, bool group)
{
	const char *what = group ? "group" : "user";

	if (map_has(seen, name))
		return;
	map_put(seen, name, seen);
	if (name == manifest_owner_unknown)
		log_warn("unknown %s in backup manifest mapped to %s", what, substitute(r, group));
	else if (!can_have(r, name, group))
		log_warn("unknown %s '%s' in backup manifest mapped to %s", what, name, substitute(r, group));
}

/* Names are shared strings: neighbours nearly always have the same owner. */
static void warn_about(struct restore *r, bool group)
{
	struct map *seen = map_new(r->arena);
	const char *last = NULL;

	for (size_t i = 0; i < r->m->files.n + r->m->paths.n; i++) {
		const struct manifest_file *f = i < r->m->files.n ? &r->m->files.v[i] : NULL;
		const struct manifest_path *p = f == NULL ? &r->m->paths.v[i - r->m->files.n] : NULL;
		const char *name = f != NULL ? (group ? f->group : f->user) : group ? p->group : p->user;
		if (name != last)
			warn_once(r, seen, name, group);
		last = name;
	}
}

void restore_warn_owners(struct restore *r)
{
	struct store_entry e;

	if (r->as_root && store_stat(r->arena, r->pg, "", &e) == 0) {
		r->fallback_uid = e.uid;
		r->fallback_gid = e.gid;
	} else {
		err_clear(); /* not there or not to be seen: root */
	}
	warn_about(r, false);
	warn_about(r, true);
}
