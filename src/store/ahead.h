/*
 * ahead: things that are going to be read, one after the other, and asked for before their turn (store_ahead).
 *
 * Always true: what has been asked for is what will be read next, in this order.  So behind a thing of which nobody
 * can tell what will be read, nothing is asked for until its turn is over.
 */
#ifndef STORE_AHEAD_H
#define STORE_AHEAD_H

#include <stdbool.h>
#include <stdint.h>
#include "store/store.h"

/* There is something to gain. */
static inline bool ahead_helps(const struct store *s)
{
	return s->driver->ahead != NULL;
}

/* Gets on their way; one with more than AHEAD_BYTES of options counts for several.  Less than a connection takes
 * (REMOTE_AHEAD_MAX, REMOTE_AHEAD_BYTES), so that it leaves none out. */
#define AHEAD_MAX 200u
#define AHEAD_BYTES 1024u

/* Ask for all that is going to be read of it, at most room gets, and say how many.  AHEAD_UNKNOWN: it cannot be told,
 * or there are more, or it cannot be asked (then a failure is on record); nothing was asked for. */
enum { AHEAD_UNKNOWN = -1 };
typedef int ahead_fn(void *ctx, uint32_t what, unsigned room);

struct ahead;
struct ahead *ahead_new(struct arena *a, ahead_fn *ask, void *ctx);

/* It will be read, behind all that was added before. */
void ahead_add(struct ahead *h, uint32_t what);

/* The turn of the next one begins, and that of the one before it is over: what there is room for is asked for now.
 * True: all that will be read of it has been asked for.  NULL: false. */
bool ahead_turn(struct ahead *h);

/* In its turn something else has been read: what was asked for is lost. */
void ahead_lost(struct ahead *h);

#endif
