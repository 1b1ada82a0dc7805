/*
 * blocks: cut a file into blocks and keep those that changed, as super blocks (format/blocks.md 2.4, 2.5).
 *
 * A filter with plain data around it, so that it can run where the file is.  What lies where in the end, and
 * the map that says so, is the business of the owner of the container.
 */
#ifndef STREAM_BLOCKS_H
#define STREAM_BLOCKS_H

#include "base/vec.h"
#include "stream/block_sum.h"
#include "stream/codec.h"

struct blocks_spec {
	uint32_t block_size; /* bytes */
	uint32_t sum_size;   /* bytes */
	uint32_t super_size; /* plain bytes with which a super block is complete; a multiple of block_size */
	const uint8_t *prior; /* prior_n checksums of sum_size bytes each: of the blocks as they were */
	size_t prior_n;
	enum codec codec;
	int level;
	const char *pass; /* NULL: not encrypted */
};

struct blocks_changed {
	uint64_t index; /* of the block in the file */
	uint8_t sum[BLOCK_SUM_MAX];
};

struct blocks_super {
	uint64_t stored; /* bytes behind compression and encryption */
	uint32_t plain;	 /* bytes */
};

struct blocks_result {
	uint64_t n; /* blocks of the file */
	/* In file order.  Each super block takes as many of the changed blocks, in this order, as its plain
	 * size says. */
	VEC(struct blocks_changed) changed;
	VEC(struct blocks_super) supers;
};

/*
 * Plain bytes in, complete super blocks out, each a stream of its own in the raw forms of codec and cipher; next
 * is finished behind the last.  Nothing is passed on for a file that has not changed.  spec's pointers and out
 * must live as long as the sink; *out is complete when next is finished, and its lists live in the arena.
 */
struct sink *sink_blocks(struct arena *a, struct sink *next, const struct blocks_spec *spec,
	struct blocks_result *out);

#endif
