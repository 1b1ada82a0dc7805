/*
 * pipe: a plain-data description of what happens to bytes on their way, the chain built from it, and a
 * plain-data result.  Plain data, so that it can be sent to where the file is.
 *
 *	source -> [decrypt] -> [expand] -> [page check] -> [hash plain]
 *		-> [hold] -> [compress] -> [encrypt] -> [hash stored] -> to
 *
 * or, for files stored as blocks, [hash plain] -> [blocks] -> to: the super blocks of what changed.
 */
#ifndef STORE_PIPE_H
#define STORE_PIPE_H

#include "pg/page.h"
#include "stream/blocks.h"
#include "stream/codec.h"
#include "stream/hash.h"

struct pipe_spec {
	const char *decrypt, *encrypt; /* passphrases; NULL: none */
	enum codec expand, compress;
	bool raw; /* the raw forms of codec and cipher (format/blocks.md 1.4) */
	int level;
	bool hash_plain, hash_stored;
	uint32_t page_size;    /* 0: pages are not checked */
	uint32_t first_block;
	bool page_header_check;
	/* Bytes that nobody wants: the ones with this SHA-1 (hash_plain must be set), and none at all.  Nothing
	 * of them is passed on, not even the end; but if there are more than PIPE_HOLD, what comes before
	 * the end is. */
	const struct sum *unless;
	bool skip_empty;
	const struct blocks_spec *blocks; /* instead of hold, compress, encrypt, hash stored; NULL: none */
};

#define PIPE_HOLD ((size_t)4 * 1024 * 1024) /* bytes kept until it is known whether they are wanted */

struct pipe_result {
	uint64_t plain_size, stored_size; /* bytes before compress and behind encrypt */
	struct sum plain_sum, stored_sum; /* if asked for */
	struct page_result pages;	  /* if asked for */
	bool skipped;			  /* unless or skip_empty applied */
	struct blocks_result blocks;	  /* if asked for; complete when `to` is finished, where it lives in the arena */
};

/* reread, ctx: for the page check, may be NULL without it.  *out is valid after the chain's finish; sizes
 * and sums are so already when `to` is finished, which may refuse them. */
struct sink *pipe_chain(struct arena *a, const struct pipe_spec *spec,
	ssize_t (*reread)(void *, void *, size_t, uint64_t), void *ctx, struct sink *to,
	struct pipe_result *out);

#endif
