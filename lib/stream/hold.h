/*
 * hold: bytes wait until it is known whether anybody wants them.
 */
#ifndef STREAM_HOLD_H
#define STREAM_HOLD_H

#include "stream/sink.h"

/*
 * Holds back up to max bytes; what exceeds them is passed on as it comes.  At finish drop is asked: if it
 * says true nothing more is passed on, not even the finish, so that next has no effect; while no more than
 * max bytes came it has not even been touched.  The filter before this one may decide it at its own finish
 * (a hash).
 */
struct sink *sink_hold(struct arena *a, struct sink *next, size_t max, bool (*drop)(void *ctx), void *ctx);

#endif
