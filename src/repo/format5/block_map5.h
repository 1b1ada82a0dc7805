/*
 * block_map5: the bytes of a block map (format/blocks.md 2.7), what reading and writing share; nobody else includes it.
 */
#ifndef REPO_FORMAT5_BLOCK_MAP5_H
#define REPO_FORMAT5_BLOCK_MAP5_H

#include "repo/block_map.h"

#define VARINT_MAX 10	  /* bytes */
#define FILE_MAX INT64_MAX /* bytes of any stored file */

enum {
	MAP_UNKNOWN = 1, /* the flags */

	RUN_LAST = 1,
	RUN_BUNDLE = 2, /* of a reference not seen before */
	RUN_OFFSET = 4,
	RUN_CONTINUES = 2, /* of one that was */
	RUN_ONE_ITEM = 4,  /* with RUN_CONTINUES */
	RUN_GAP = 4,	   /* without */
	RUN_SHIFT = 3,

	ITEM_LAST = 1,
	ITEM_SIZE = 2,
	ITEM_COUNT = 4,
	ITEM_SHIFT = 3,
};

/* The super block that a reference is in: what both directions know of it, walking the file's blocks. */
struct map5_place {
	bool seen;
	uint32_t bundle;
	uint64_t offset, stored;
	uint32_t super_size;
	uint32_t next; /* number of the block expected next */
};

/* Divided first: the sum must not run over. */
static inline uint64_t blocks_in(uint64_t size, uint32_t block_size)
{
	return size / block_size + (size % block_size != 0);
}

#endif
