/*
 * block_map: where each block of a block-incremental file lies (format/blocks.md 2).
 *
 * Blocks stand in file order; all but the last are block_size long.  One map has entries of several backups: an
 * incremental stores only what changed, and a complete map.
 *
 * Always true of a map that was read, and required of one that is written: walking the file, the blocks of one
 * reference have rising (offset, number) and the same bundle, and the blocks of one super block agree about its
 * stored and plain size.  So each super block is one stretch of the blocks of its reference.
 */
#ifndef REPO_BLOCK_MAP_H
#define REPO_BLOCK_MAP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"
#include "stream/block_sum.h"

struct block {
	uint64_t offset;     /* bytes; of its super block in the stored file */
	uint64_t stored;     /* bytes of the super block as stored */
	uint32_t super_size; /* plain bytes of the super block */
	uint32_t number;     /* of the block in its super block */
	uint32_t reference;  /* index into the manifest's reference list */
	uint32_t bundle;     /* 0: own file */
	uint8_t sum[BLOCK_SUM_MAX]; /* zeros behind sum_size */
};

struct block_map {
	uint32_t block_size; /* bytes */
	uint32_t sum_size;   /* bytes, BLOCK_SUM_MIN to BLOCK_SUM_MAX */
	VEC(struct block) blocks;
};

/*
 * Decode a map's plain bytes.  size: of the file, which tells how many blocks there must be and how long each is;
 * references: entries of the manifest's list.  ERR_FORMAT for anything that 2.7 does not allow; every count is
 * bounded by size and len before memory is taken (a block takes at least sum_size bytes of the map).  out keeps
 * no pointer into data.
 */
int block_map_read(struct arena *a, const void *data, size_t len, uint32_t block_size, uint32_t sum_size,
	uint64_t size, uint32_t references, struct block_map *out) must_check;

/* The most bytes that the map of a file can have, whoever wrote it: what is longer need not be read. */
uint64_t block_map_max(uint64_t size, uint32_t block_size);

/* Append the same bytes that the original writes for such a map.  ERR_ASSERT for a map that cannot be written:
 * blocks of one reference not in rising order, or in two bundles; out then holds a part of it. */
int block_map_write(const struct block_map *map, struct buf *out) must_check;

#endif
