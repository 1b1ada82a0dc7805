/*
 * block_stored: where the super blocks of a block-incremental file lie.  Its map: block_load.h.
 */
#ifndef REPO_BLOCK_STORED_H
#define REPO_BLOCK_STORED_H

#include "repo/block_map.h"
#include "repo/stored.h"

/* Whose content is stored as blocks; all others, also those that have only a block size, are stored whole or not
 * at all (format/blocks.md 2.9, traps 6 and 7). */
static inline bool block_is_stored(const struct manifest_file *f)
{
	return f->size != 0 && f->block_map_size != 0;
}

/* Before 2.46 pgBackRest could be told to store blocks as a test (--beta), in a form that only those releases read,
 * though map and checksums look alike.  The first such file of a backup; NULL: there is none. */
const struct manifest_file *block_find_beta(const struct manifest *m);

/* The range of the super block that holds b, which is of the map of row f of m, and the pipe_spec that makes
 * b->super_size plain bytes of it. */
struct stored block_find(struct arena *a, const char *stanza, const struct manifest *m,
	const struct manifest_file *f, const struct block *b);

#endif
