/*
 * pool: forked workers, jobs by number.
 *
 * Everything about all jobs is in memory before the fork; a job is a number, the answer is bytes.
 * The leader never does a job's work, so it stays free to keep sessions alive and show progress.
 * Workers end before their next job once the leader's socket closes; a worker that dies fails its
 * job by name. Workers keep the descriptors that were open (the lock's), leave by _exit and log
 * with P01, P02 ...
 */
#ifndef WORK_POOL_H
#define WORK_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

struct pool_ops {
	/* In the worker, once, before the first job.  Optional. */
	int (*begin)(void *ctx, unsigned worker);
	/* In the leader: the next job for a worker (1..n); false if there is none for it now or
	 * ever.  An idle worker is asked again after each done(). */
	bool (*next)(void *ctx, unsigned worker, uint32_t *job);
	/* In the worker: do it, append the answer.  -1 with the failure record set. */
	int (*work)(void *ctx, uint32_t job, struct buf *answer);
	/* In the leader: rc is 0, or -1 with the worker's failure in the record.  Return 0 to go
	 * on (after err_clear if rc was -1), -1 to end the pool with the record as it stands. */
	int (*done)(void *ctx, uint32_t job, int rc, const void *answer, size_t len);
	/* In the leader, at least every tick_ms.  Optional; -1 ends the pool. */
	int (*tick)(void *ctx);
	int64_t tick_ms;
	/* In the leader, a word for what job is about, for "worker died" failures. */
	const char *(*name)(void *ctx, uint32_t job);
};

/* Returns when next() has nothing left for any worker and all jobs are done, or at the first
 * failure, after all workers have ended.  A pending termination signal ends it with ERR_TERM.  An
 * answer has at most 64 MiB.  Workers that are busy when the pool ends get SIGTERM, and SIGKILL
 * after 5 s. */
int pool_run(unsigned workers, const struct pool_ops *ops, void *ctx) must_check;

#endif
