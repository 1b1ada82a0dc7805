/*
 * locks: which lock files a command holds.
 */
#ifndef CMD_LOCKS_H
#define CMD_LOCKS_H

#include "base/lock.h"
#include "base/vec.h"
#include "config/config.h"

typedef VEC(struct lock *) cmd_locks;

/*
 * Locks of a type ("archive", "backup", "restore") of the stanza, held until the arena is freed: one exclusive
 * lock per repository (only that of --repo if given).  Releases of pgBackRest before 2.60 know one lock for all
 * of them; holding that one shared keeps them out and our own runs on other repositories in.
 * ERR_LOCK if somebody has one of them, or it cannot be told.
 */
int cmd_lock(struct arena *a, const struct config *cfg, const char *type, cmd_locks *out) must_check;

/* Is that why it failed: does another process hold one of these locks at this moment?  1, 0, -1. */
int cmd_lock_is_busy(const struct config *cfg, const char *type) must_check;

#endif
