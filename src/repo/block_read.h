/*
 * block_read: the bytes of a file that is stored as blocks, from the backups that have them.
 */
#ifndef REPO_BLOCK_READ_H
#define REPO_BLOCK_READ_H

#include "repo/block_stored.h"

struct block_reader {
	struct arena *arena;
	struct store *repo;
	const char *stanza;
	const struct manifest *m; /* of the backup that is read... */
	const struct manifest_file *f; /* ...its row... */
	const struct block_map *map;   /* ...and the row's map */
	/* Takes bytes of the file, and their offset in it; -1 stops. */
	int (*put)(void *ctx, const void *data, size_t len, uint64_t offset);
	void *ctx;
	/* After a failure: the super block at hand, which could not be made plain or put.  Without path: none
	 * was. */
	struct stored from;
};

/*
 * The wanted blocks of the map (one bool for each; NULL: all), each once.  Those of one backup follow each other in
 * file order, the oldest backup's come first: it has most of a file.  Neighbours in the repository are read in
 * one range.  A super block is expanded whole and must have the size that the map says (ERR_FORMAT).  Nothing is
 * known about the bytes but that: the caller's checksum must prove them.
 */
int block_read(struct block_reader *r, const bool *wanted) must_check;

#endif
