/*
 * block_sum: the checksum that tells whether a block of a file has changed (format/blocks.md 2.8).
 *
 * It finds changes and proves nothing: maps keep only the first bytes of it.
 */
#ifndef STREAM_BLOCK_SUM_H
#define STREAM_BLOCK_SUM_H

#include <stddef.h>
#include <stdint.h>

#define BLOCK_SUM_MAX 16 /* bytes of XXH3-128; maps keep the first sum_size of them */
#define BLOCK_SUM_MIN 6

/* The first sum_size bytes of the canonical XXH3-128 (seed 0), zeros behind them. */
void block_sum(const void *data, size_t len, uint32_t sum_size, uint8_t out[BLOCK_SUM_MAX]);

#endif
