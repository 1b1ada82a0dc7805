/*
 * progress: how far a backup or restore is.
 *
 * The locks belong to main; it names here those in which progress is shown.
 */
#include "cmd/cmd.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"

#define RATE_AFTER_MS 1000 /* before, a rate says nothing */
#define LOCKS_MAX 256 /* as many as there can be repositories */

static struct lock *held_locks[LOCKS_MAX];
static unsigned held_n;

void cmd_progress_lock(struct lock *held)
{
	if (held_n < LOCKS_MAX)
		held_locks[held_n++] = held;
}

/* "1.2GB of 22.6GB (5.3%), 210MB/s, 1:42 left"; rate and time left are those of the whole run so far. */
static void show(const char *verb, uint64_t total, uint64_t complete)
{
	static int64_t begun_ms;
	SCOPED_ARENA(a);
	const char *rate = "";

	if (begun_ms == 0)
		begun_ms = clock_mono_ms();
	int64_t took_ms = clock_mono_ms() - begun_ms;
	if (took_ms >= RATE_AFTER_MS && complete > 0 && complete <= total) {
		double per_second = (double)complete * 1000.0 / (double)took_ms;
		uint64_t left = (uint64_t)((double)(total - complete) / per_second);
		rate = arena_printf(a, ", %s/s, %" PRIu64 ":%02" PRIu64 " left",
			str_size(a, (uint64_t)per_second), left / 60, left % 60);
	}
	log_progress("%s %s of %s (%.1f%%)%s", verb, str_size(a, complete), str_size(a, total),
		total == 0 ? 100.0 : 100.0 * (double)complete / (double)total, rate);
}

int cmd_progress(const char *verb, uint64_t total, uint64_t complete)
{
	show(verb, total, complete);
	for (unsigned i = 0; i < held_n; i++)
		if (lock_progress(held_locks[i], total, complete) != 0)
			return -1;
	return 0;
}
