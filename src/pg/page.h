/*
 * page: PostgreSQL's page checksum and a filter that checks a relation file while it passes
 * (format/blocks.md 5).
 */
#ifndef PG_PAGE_H
#define PG_PAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/vec.h"
#include "stream/sink.h"

/* size: 1, 2, 4, 8, 16 or 32 KiB.  block: number within the relation (not the segment file). */
uint16_t page_checksum(const void *page, uint32_t size, uint32_t block);

struct page_range {
	uint32_t first, last; /* block numbers within the relation, inclusive */
};

struct page_result {
	bool misaligned; /* size is no multiple of the page size */
	VEC(struct page_range) bad; /* ascending, merged */
};

struct page_check {
	uint32_t page_size;
	uint32_t first_block; /* segment number * (1 GiB / page size) */
	bool header_check;    /* page-header-check */
	/* Read the page again from the source, at a byte offset of the file.  Returns bytes read or -1 (which
	 * makes the page count as bad and clears the failure). */
	ssize_t (*reread)(void *ctx, void *data, size_t len, uint64_t offset);
	void *ctx;
};

/* Passes bytes on unchanged; *out is valid after finish and its list lives in the arena. */
struct sink *sink_page_check(struct arena *a, struct sink *next, const struct page_check *check,
	struct page_result *out);

/* Segment number of a relation file name: digits behind the last dot, else 0. */
uint32_t page_file_segment(const char *file_name);

#endif
