/*
 * lock: files that say who works here, held by flock.
 *
 * Names, content and kind are the reference's (format/repository.md 9.2, cli.md 14), so that both
 * programs exclude each other: <dir>/<name>, exclusive flock without waiting, content one JSON object
 * {"execId":"PID-XXXXXXXX","pctCplt":N,"pid":N,"sz":N,"szCplt":N}.  After locking, the file's inode is
 * compared with the name's: a holder that released by unlink in between must not leave two holders.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include "err.h"

struct lock;

enum lock_mode { LOCK_EXCLUSIVE, LOCK_SHARED };

/* exec_id is "PID-XXXXXXXX"; a file that another process of the same exec id holds counts as
 * taken: the lock returned then owns nothing.
 *
 * Take dir/name (directory 0750 is made, file 0640), held until the arena is freed, then removed
 * (exclusive only) and closed.  Children inherit the descriptor but do not remove the file.
 * ERR_LOCK if somebody else holds it: "unable to acquire lock on file '...': Resource temporarily
 * unavailable" with the hint "is another pgStrata or pgBackRest process running?". */
struct lock *lock_take(struct arena *a, const char *dir, const char *name, enum lock_mode mode,
	const char *exec_id);

/* For a process that goes on in the background: after the fork the child takes the lock over (its process id is
 * written, its arena removes the file) and the parent leaves it alone (closed, not removed).  It is held all the time.
 * lock_adopt: ERR_FILE_WRITE.  Nothing for one of the family's. */
int lock_adopt(struct arena *a, struct lock *l) must_check;
void lock_leave(struct lock *l);

/* The descriptor that holds it; -1: none. */
int lock_descriptor(const struct lock *l);

/* Rewrite the content with progress (bytes); written in place, only when it grew by 0.10 %.
 * Nothing for a shared lock or one of the family's. */
int lock_progress(struct lock *l, uint64_t size, uint64_t complete) must_check;

/* What a lock file says, without taking it for good.  Missing or free: held = false. */
struct lock_state {
	bool held;
	bool has_progress;
	uint64_t size, complete; /* bytes, with has_progress only */
	int64_t pid;		 /* 0 if the holder has not said it yet */
};
int lock_look(const char *dir, const char *name, struct lock_state *out) must_check;

/* Does this process have the lock file open?  1; 0: no such process, or it has not (its number was somebody
 * else's, and a child that he left holds the lock); -1: it cannot be told (no /proc, another user's process);
 * the failure record is not set. */
int lock_is_open_in(const char *dir, const char *name, int64_t pid);

#endif
