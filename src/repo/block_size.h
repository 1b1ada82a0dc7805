/*
 * block_size: which files are stored as blocks, how large these are, and whether a backup goes on with the map of
 * the one before it (format/blocks.md 2.2 to 2.4).  Pure.
 */
#ifndef REPO_BLOCK_SIZE_H
#define REPO_BLOCK_SIZE_H

#include "repo/manifest.h"

#define BLOCK_UNIT 8192u /* bytes; block sizes are multiples of it */
#define BLOCK_SIZE_MAX (UINT32_MAX / BLOCK_UNIT * BLOCK_UNIT)

enum block_table {
	BLOCK_TABLE_SIZE, /* file size in bytes -> block size in bytes; repo-block-size-map */
	BLOCK_TABLE_AGE,  /* days -> what the block size is multiplied with, 0: no blocks; repo-block-age-map */
	BLOCK_TABLE_SUM,  /* block size in bytes -> checksum bytes; repo-block-checksum-size-map */
	BLOCK_TABLES
};

struct block_row {
	uint64_t from;
	uint32_t to;
};

/* A row holds from its first number upwards; the largest comes first. */
struct block_rules {
	struct arena *arena;
	VEC(struct block_row) table[BLOCK_TABLES];
};

/* The tables that hold when no option says otherwise. */
void block_rules_init(struct block_rules *r, struct arena *a);

/*
 * Replace a whole table by what an option says, pairs of keys and values as the user wrote them; none leave it
 * as it is.  Sizes may have units; block sizes are rounded down to BLOCK_UNIT.  ERR_OPTION_VALUE, which names the
 * option, for what is no number, is out of range or stands twice.
 */
int block_rules_set(struct block_rules *r, enum block_table t, const char *option, const strvec *keys,
	const strvec *values) must_check;

enum block_how {
	BLOCK_WHOLE,	/* not as blocks */
	BLOCK_NEW,	/* all blocks, and a map of them */
	BLOCK_CONTINUE, /* what differs from the prior's map */
};

struct block_choice {
	enum block_how how;
	uint32_t block_size, sum_size; /* bytes, for the manifest row; 0: it says nothing of blocks */
};

/*
 * How a file that has to be copied is stored.  rules: NULL: repo-block is off.  size, mtime: as listed; start: of
 * the backup, Unix seconds; prior: its row in the prior backup, NULL: none.
 */
struct block_choice block_choose(const struct block_rules *rules, uint64_t size, int64_t mtime, int64_t start,
	const struct manifest_file *prior);

/* Plain bytes with which a super block is complete: as configured, rounded up to whole blocks. */
uint32_t block_super_size(uint32_t block_size, uint64_t configured);

#endif
