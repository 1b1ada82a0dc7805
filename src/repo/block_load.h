/*
 * block_load: the map of a file that is stored as blocks, from the repository.
 */
#ifndef REPO_BLOCK_LOAD_H
#define REPO_BLOCK_LOAD_H

#include "repo/block_map.h"
#include "repo/manifest.h"

/*
 * f: a row with a map (block_map_size); without a reference it is of m's own backup.  m: its manifest or that of a
 * later backup of the set: reference list and passphrase.  Proven is that the map can be read, knows no backup
 * later than the one that holds it, and that what it says of that one lies where the row says.  ERR_FILE_READ
 * "unable to read block map for 'F' from 'R' at offset N size N: why" otherwise, ERR_FILE_MISSING if R is absent.
 */
int block_map_load(struct arena *a, struct store *repo, const char *stanza, const struct manifest *m,
	const struct manifest_file *f, struct block_map *out) must_check;

/* ERR_FORMAT if a row says of its map's size what cannot be. */
int block_map_check(const struct manifest_file *f) must_check;

/*
 * The same of bytes that were read already: the last block_map_size of what is stored of f.  pass: of the backup's
 * files, NULL: none; reference: which one of the list holds them.  The failure says what is wrong, not where.
 */
int block_map_decode(struct arena *a, const struct manifest_file *f, const char *pass, uint32_t reference,
	const struct buf *stored, struct block_map *out) must_check;

#endif
