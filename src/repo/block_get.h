/*
 * block_get: a file that is stored as blocks into a data directory (a mover), delta aware.
 */
#ifndef REPO_BLOCK_GET_H
#define REPO_BLOCK_GET_H

#include "repo/file_get.h"

/*
 * As file_get, for a row of which block_is_stored (block_stored.h) is true.  Each block is read once, from where the
 * map says.  The file is proven by its SHA-1 before it is finished: ERR_CHECKSUM as in file_get otherwise, with a
 * hint that names the first super block that is damaged.
 *
 * With o->delta a file that is there is compared block by block, and only what differs is fetched and written in
 * place (result->written says how much); if that does not lead to the right bytes, all blocks are.  A restore in
 * place that fails or is killed leaves the file as it is by then, with the time of now, and the next one goes on from
 * there; a new file that is not finished is gone.
 */
int block_get(struct arena *a, struct store *repo, struct store *pg, const struct manifest_file *f,
	const struct file_get_opts *o, struct file_get_result *out) must_check;

#endif
