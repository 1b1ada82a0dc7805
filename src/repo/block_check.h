/*
 * block_check: are the blocks of a file right, wherever they lie?  (A mover without a destination.)
 */
#ifndef REPO_BLOCK_CHECK_H
#define REPO_BLOCK_CHECK_H

#include "repo/block_map.h"
#include "repo/file_check.h"
#include "repo/manifest.h"

struct block_check {
	struct check_result result;
	uint32_t reference; /* if it is not CHECK_OK: the backup that holds the first block that is not right */
};

/*
 * Put row f of m together from its map without keeping it: CHECK_OK is only what hashes to f's SHA-1.  Super blocks are
 * read once each, in the order of the file; of each backup one at a time is held in memory.  A SHA-1 that differs
 * though each block has its checksum blames the last backup of the list.  0, or -1 only if the process was told to end.
 */
int block_check(struct arena *a, struct store *repo, const char *stanza, const struct manifest *m,
	const struct manifest_file *f, const struct block_map *map, struct block_check *out) must_check;

#endif
