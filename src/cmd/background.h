/*
 * background: the process that archive-push and archive-get leave behind to work ahead.
 *
 * It is forked, not executed anew, so that the lock is never free between the two, and it lets go of all that ties
 * it to PostgreSQL: session, working directory, standard streams (the server's log pipe would never end), and every
 * other descriptor but those of its locks.  It logs to <stanza>-<command>-async.log only.
 */
#ifndef CMD_BACKGROUND_H
#define CMD_BACKGROUND_H

#include <sys/types.h>
#include "base/err.h"
#include "config/config.h"

/* What it does: 0, or -1 with the failure record set (it is logged). */
typedef int background_fn(struct arena *a, const struct config *cfg, void *ctx);

enum background_start { BACKGROUND_STARTED, BACKGROUND_BUSY };

/* BACKGROUND_STARTED: *pid is its process, a child of the caller, to be asked with background_ended; ctx is a copy,
 * as all memory.  BACKGROUND_BUSY: the lock "archive" is somebody else's, who will do.  -1. */
int background_start(const struct config *cfg, background_fn *fn, void *ctx, pid_t *pid) must_check;

/* Has it ended? */
bool background_ended(pid_t pid);

#endif
