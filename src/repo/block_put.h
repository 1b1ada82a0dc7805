/*
 * block_put: one cluster file as blocks into a container (a mover; format/blocks.md 2.5).
 */
#ifndef REPO_BLOCK_PUT_H
#define REPO_BLOCK_PUT_H

#include "repo/block_map.h"
#include "repo/file_put.h"

#define BLOCK_PUT_ALL UINT64_MAX

struct block_put_opts {
	uint32_t block_size, sum_size; /* bytes; block_choose */
	uint32_t super_size;	       /* block_super_size */
	uint32_t reference;	       /* index of this backup in its manifest's list */
	uint32_t bundle;	       /* 0: the file has a container of its own */
	uint64_t offset;	       /* bytes; where the container stands */
	/* The map to go on with (block_map_load), and the row that it belongs to; NULL: all blocks are
	 * stored. */
	const struct block_map *prior;
	const struct manifest_file *prior_file;
	/* As for a whole file: page check, codec, level, encrypt.  Super blocks and map get the raw forms
	 * whatever it says. */
	const struct pipe_spec *pipe;
	uint64_t limit; /* most bytes to read of the file */
};

struct block_put_result {
	enum file_fate fate; /* FILE_SAME: the prior row's content */
	uint64_t map_size;   /* bytes as stored */
	/* Of the plain file: size, SHA-1, pages; of all that was stored of it, map included: size, SHA-1. */
	struct pipe_result pipe;
	/* The blocks of the prior map are those of the file, but its row speaks of another content.  It was not
	 * gone on with; all blocks were stored. */
	bool prior_unfit;
};

/*
 * path: in pg.  to is written to only if there is something to store, and is not finished; a file that is unchanged,
 * vanished or has no content leaves no trace.  After a failure the container cannot be gone on with.
 */
int block_put(struct store *pg, const char *path, const struct block_put_opts *o, struct sink *to,
	struct block_put_result *out) must_check;

/* Ask ahead (store_ahead) for what block_put is going to read first; with a prior that proves unfit it reads once
 * more. */
int block_put_ahead(struct store *pg, const char *path, const struct block_put_opts *o) must_check;

#endif
