/*
 * timeline: history files (format/repository.md 6.4).
 */
#ifndef PG_TIMELINE_H
#define PG_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/vec.h"

struct timeline_switch {
	uint32_t parent; /* timeline that was left */
	uint64_t lsn;	 /* where */
};

struct timeline_history {
	uint32_t timeline; /* whose file it is */
	VEC(struct timeline_switch) v; /* oldest first */
};

/* Blank lines and # lines are skipped; any other line needs a number, a TAB, an LSN; ERR_FORMAT
 * otherwise, or if timelines do not ascend up to the file's own.  LSNs need not ascend: PostgreSQL
 * copies the history of the timeline that recovery aimed at, even if it ended before that one had
 * begun (seen with 15: recovery to an earlier point after an earlier recovery,
 * recovery_target_timeline = latest). */
int timeline_parse(struct arena *a, uint32_t timeline, const char *text, size_t len,
	struct timeline_history *out) must_check;

/* Where the line of descent of h left timeline t: true and *lsn if t is an ancestor.  That is the
 * lowest LSN of t's line and all later ones: what lies beyond it has no part in h. */
bool timeline_left_at(const struct timeline_history *h, uint32_t t, uint64_t *lsn);

#endif
