/*
 * pool_intern: what passes between the leader and a worker, over one stream socket per worker.
 *
 * To the worker: job numbers.  Back, in their order: a frame head, then the answer, or a failure as code,
 * message NUL, hints NUL.  Both ends are one program on one host, so numbers are in its own
 * order.
 */
#ifndef WORK_POOL_INTERN_H
#define WORK_POOL_INTERN_H

#include "work/pool.h"

#define POOL_FRAME_MAX ((uint32_t)64 * 1024 * 1024)

enum pool_outcome { POOL_DONE, POOL_FAILED, POOL_BEGIN_FAILED };

struct pool_frame {
	uint32_t job;
	uint32_t outcome;
	uint32_t len; /* of what follows, at most POOL_FRAME_MAX */
};

/* False if the other side is gone. */
bool pool_send(int fd, const void *data, size_t len);

/* The failure record as bytes, and back into the record. */
void pool_pack_failure(struct buf *b);
void pool_unpack_failure(const char *data, size_t len);

/* The worker's life, to its end. */
void pool_worker(unsigned number, int fd, const struct pool_ops *ops, void *ctx)
	__attribute__((noreturn));

#endif
