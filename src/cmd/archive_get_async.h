/*
 * archive_get_async: archive-get with a queue in the spool that a background process keeps filled.
 *
 * The queue only ever saves time: what it does not have is fetched as without it, and only that way can end in
 * "absent" or in a failure.
 */
#ifndef CMD_ARCHIVE_GET_ASYNC_H
#define CMD_ARCHIVE_GET_ASYNC_H

#include "config/config.h"
#include "pg/control.h"
#include "repo/wal_get.h"

/* One request of PostgreSQL. */
struct archive_get {
	const struct config *cfg;
	struct pg_control control;
	struct wal_get_opts opts;
};

/* The repositories that it may be found in; those that cannot be used are marked. */
int archive_get_repos(struct arena *a, const struct archive_get *g, struct wal_get_repo **out, size_t *n)
	must_check;

/* From the repositories.  As wal_get. */
int archive_get_sync(struct arena *a, const struct archive_get *g) must_check;

/* A segment, from the queue if that has it; sees to it that the next ones are fetched ahead.  As wal_get. */
int archive_get_async(struct arena *a, struct archive_get *g) must_check;

#endif
