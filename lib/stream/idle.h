/*
 * idle: contexts that outlive the sinks that use them.
 *
 * Building a compressor's or a hash's context costs more than running a small file through it, so
 * contexts belong to the process: a sink takes one, its arena gives it back, the next one resets
 * it. There are never more contexts of a kind than sinks of that kind at one time.
 */
#ifndef STREAM_IDLE_H
#define STREAM_IDLE_H

#include <stddef.h>
#include "base/arena.h"

struct idle_list;

/* First member of a context. */
struct idle {
	struct idle *next;
	struct idle_list *home;
};

/* One list per kind of context, static where the kind is known: { .size = sizeof(struct kind) }. */
struct idle_list {
	size_t size;
	struct idle *first;
};

/* A context for as long as the arena lives: an idle one as its last user left it (also after a
 * failure), or a new one, zeroed. */
void *idle_take(struct arena *a, struct idle_list *list);

/* How many contexts of all kinds this process has made so far. */
size_t idle_made(void);

#endif
