/*
 * owner: names of this host's users and groups; each number is looked up once.
 */
#include "store/owner.h"

#include <grp.h>
#include <pwd.h>

struct owner {
	bool group;
	uint32_t id;
	const char *name;
};

struct owners {
	struct arena *arena;
	VEC(struct owner) v; /* a host's files belong to few */
};

struct owners *owners_new(struct arena *a)
{
	struct owners *o = arena_new_object(a, struct owners);

	o->arena = a;
	vec_init(&o->v, a);
	return o;
}

static const char *look_up(bool group, uint32_t id)
{
	const struct group *g = group ? getgrgid(id) : NULL;
	const struct passwd *p = group ? NULL : getpwuid(id);

	return g != NULL ? g->gr_name : p != NULL ? p->pw_name : "";
}

static const char *name_of(struct owners *o, bool group, uint32_t id)
{
	for (size_t i = 0; i < o->v.n; i++)
		if (o->v.v[i].group == group && o->v.v[i].id == id)
			return o->v.v[i].name;
	const char *name = arena_strdup(o->arena, look_up(group, id));
	vec_push(&o->v, ((struct owner){ group, id, name }));
	return name;
}

const char *owner_user(struct owners *o, uid_t uid)
{
	return name_of(o, false, uid);
}

const char *owner_group(struct owners *o, gid_t gid)
{
	return name_of(o, true, gid);
}

struct store_entry owners_named(struct owners *o, const struct store_entry *e, struct store_entry *target)
{
	struct store_entry named = *e;

	named.user = owner_user(o, e->uid);
	named.group = owner_group(o, e->gid);
	if (e->target_entry == NULL)
		return named;
	*target = *e->target_entry;
	target->user = owner_user(o, target->uid);
	target->group = owner_group(o, target->gid);
	named.target_entry = target;
	return named;
}
