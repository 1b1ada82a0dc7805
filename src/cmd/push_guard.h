/*
 * push_guard: work in a process of its own, so that storage that hangs does not hang us.
 *
 * A system call on a path that does not answer (NFS, FUSE, a dying disk) cannot be interrupted, and a process in it
 * perhaps not even be killed.  So the work is done by a forked process, which tells through shared memory in which
 * storage it is (store/watch.h) and when it last moved; when nothing moves for too long it is killed, and whoever
 * asked may ask again without that storage.
 *
 * The process lives from the first question until it hangs or the arena is freed, so that what it has opened serves
 * the next question too.  It dies with the process that asks.
 */
#ifndef CMD_PUSH_GUARD_H
#define CMD_PUSH_GUARD_H

#include <stdint.h>
#include "base/buf.h"
#include "base/err.h"
#include "store/watch.h"

struct push_guard;

/* In the process: do what is asked and append the answer, which says too whether it failed.  ctx is the asker's
 * memory as it was when the process was made, and its own since. */
typedef void push_guard_fn(void *ctx, uint32_t job, const char *question, size_t len, struct buf *answer);

/* limit_ms: how long nothing may move. */
struct push_guard *push_guard_new(struct arena *a, int64_t limit_ms, push_guard_fn *fn, void *ctx);

/* For the stores that fn works with: who is a number that push_guard_ask gives back. */
const struct store_watch *push_guard_watch(const struct push_guard *g);

enum push_guard_result { PUSH_GUARD_HUNG = 1 };

#define PUSH_GUARD_WHO 512 /* who is below it; 0: outside of all stores */
#define PUSH_GUARD_QUESTION ((size_t)16384)

/* 0: answered.  PUSH_GUARD_HUNG: nothing moved while it worked for *who; the process is gone.  -1: it died or could
 * not be made, or we are terminated (ERR_TERM).  question: at most PUSH_GUARD_QUESTION bytes. */
int push_guard_ask(struct push_guard *g, uint32_t job, const struct buf *question, struct buf *answer, unsigned *who)
	must_check;

/* Did one operation there take as long as the limit, since the process was made? */
bool push_guard_was_slow(const struct push_guard *g, unsigned who);

#endif
