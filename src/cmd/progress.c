/*
 * progress: how far a backup or restore is.
 *
 * The locks belong to main; it names here those in which progress is shown.
 */
#include "cmd/cmd.h"

#include "base/lock.h"
#include "base/str.h"

#define LOCKS_MAX 256 /* as many as there can be repositories */

static struct lock *held_locks[LOCKS_MAX];
static unsigned held_n;

void cmd_progress_lock(struct lock *held)
{
	if (held_n < LOCKS_MAX)
		held_locks[held_n++] = held;
}

int cmd_progress(const char *verb, uint64_t total, uint64_t complete)
{
	SCOPED_ARENA(a);
	double percent = total == 0 ? 100.0 : 100.0 * (double)complete / (double)total;

	log_progress("%s %s of %s (%.1f%%)", verb, str_size(a, complete), str_size(a, total), percent);
	for (unsigned i = 0; i < held_n; i++)
		if (lock_progress(held_locks[i], total, complete) != 0)
			return -1;
	return 0;
}
