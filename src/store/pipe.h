/*
 * pipe: a plain-data description of what happens to bytes on their way, the chain built from it, and a
 * plain-data result.  Plain data, so that it can be sent to where the file is.
 *
 *	source -> [expand] -> [page check] -> [hash plain] -> [compress] -> [hash stored] -> to
 */
#ifndef STORE_PIPE_H
#define STORE_PIPE_H

#include "pg/page.h"
#include "stream/codec.h"
#include "stream/hash.h"

struct pipe_spec {
	enum codec expand;
	enum codec compress;
	int level;
	bool hash_plain, hash_stored;
	uint32_t page_size;    /* 0: pages are not checked */
	uint32_t first_block;
	bool page_header_check;
};

struct pipe_result {
	uint64_t plain_size, stored_size; /* bytes before and behind compress */
	struct sum plain_sum, stored_sum; /* if asked for */
	struct page_result pages;	  /* if asked for */
};

/* reread, ctx: for the page check, may be NULL without it.  *out is valid after the chain's finish. */
struct sink *pipe_chain(struct arena *a, const struct pipe_spec *spec,
	ssize_t (*reread)(void *, void *, size_t, uint64_t), void *ctx, struct sink *to,
	struct pipe_result *out);

#endif
