/*
 * owner: names of this host's users and groups; each number is looked up once.
 */
#ifndef STORE_OWNER_H
#define STORE_OWNER_H

#include "store/store.h"

struct owners;

struct owners *owners_new(struct arena *a);
/* Valid as long as the arena; "" if the number has no name. */
const char *owner_user(struct owners *o, uid_t uid);
const char *owner_group(struct owners *o, gid_t gid);

/* An entry as another host is told of it: with the names, which its target_entry gets too (*target is where that
 * lives). */
struct store_entry owners_named(struct owners *o, const struct store_entry *e, struct store_entry *target);

#endif
