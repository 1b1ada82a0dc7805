/*
 * pool: forked workers, jobs by number.
 *
 * Everything about all jobs is in memory before the fork; a job is a number, the answer is bytes.
 * The leader never does a job's work, so it stays free to keep sessions alive and show progress.
 * Workers end before their next job once the leader's socket closes; a worker that dies fails its
 * jobs by name. Workers keep the descriptors that were open (the lock's), leave by _exit and log
 * with P01, P02 ...
 */
#ifndef WORK_POOL_H
#define WORK_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"

/* What a worker has at most beside the job it is working on: enough to keep its questions to another host on their
 * way, and little enough that no worker is left with much when the others are done. */
#define POOL_AHEAD 64
#define POOL_AHEAD_BYTES ((uint64_t)32 * 1024 * 1024)

struct pool_ops {
	/* In the worker, once, before the first job.  Optional. */
	int (*begin)(void *ctx, unsigned worker);
	/* In the leader: the next job for a worker (1..n); false if there is none for it now or
	 * ever.  An idle worker is asked again after each done(), with weight one that may be given more, too. */
	bool (*next)(void *ctx, unsigned worker, uint32_t *job);
	/* In the leader: how much work a job is, in bytes; next() gives the heaviest first.  Optional: with it a worker
	 * that is busy is given more, at most POOL_AHEAD jobs and POOL_AHEAD_BYTES.  Pure. */
	uint64_t (*weight)(void *ctx, uint32_t job);
	/* In the worker: this job is given, and will be worked when those before it are.  Each job once, in order, as
	 * soon as the worker is between two jobs.  Optional. */
	void (*ahead)(void *ctx, uint32_t job);
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
