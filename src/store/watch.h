/*
 * watch: around a store, telling where the process is: in an operation of that store or outside.
 *
 * Whoever supervises the process learns so which storage holds it up, and that one which is slow moves on.
 */
#ifndef STORE_WATCH_H
#define STORE_WATCH_H

#include "store/store.h"

struct store_watch {
	/* Called when an operation begins and when it ends, and around each buffer that passes; from here on the
	 * process works for who.  Returns for whom it did before. */
	unsigned (*at)(void *ctx, unsigned who);
	void *ctx;
};

/* The same store, watched; what the caller does with entries and bytes that he gets counts as outside.  watch and
 * inner must live as long. */
struct store *store_watched(struct arena *a, struct store *inner, const struct store_watch *watch, unsigned who);

#endif
