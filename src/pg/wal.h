/*
 * wal: names and headers of WAL files, LSN arithmetic (format/repository.md 6.1, 7.3).
 */
#ifndef PG_WAL_H
#define PG_WAL_H

#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "pg/version.h"

#define WAL_NAME 24 /* hex digits of a segment's name */

/* A power of two from 1 MiB to 1 GiB; the functions below that take a size need one, wal_parse
 * refuses any other. */
bool wal_segment_size_is_valid(uint32_t segment_size);

/* What a name given by PostgreSQL is. */
enum wal_kind { WAL_OTHER, WAL_SEGMENT, WAL_PARTIAL, WAL_BACKUP, WAL_HISTORY };
enum wal_kind wal_kind(const char *name);

struct wal_pos {
	uint32_t timeline;
	uint64_t segment; /* number of the segment: LSN / segment size */
};

/* name: at least 24 upper-case hex digits (the rest is not looked at); false if impossible for the
 * size. */
bool wal_parse(const char *name, uint32_t segment_size, struct wal_pos *out);
void wal_name(struct wal_pos pos, uint32_t segment_size, char out[WAL_NAME + 1]);

/* Number of the segment that holds the LSN. */
uint64_t wal_segment_of(uint64_t lsn, uint32_t segment_size);
/* The last segment needed up to an LSN: an LSN at a segment's first byte belongs to the one before
 * (0 for LSN 0). */
uint64_t wal_segment_before(uint64_t lsn, uint32_t segment_size);

bool lsn_parse(const char *text, uint64_t *out); /* "0/9000028": two parts of 1 to 8 hex digits */
void lsn_print(uint64_t lsn, char out[24]);

#define WAL_HEADER 40 /* bytes of the long page header that we look at */

struct wal_header {
	const struct pg_version *version;
	uint16_t magic;
	uint32_t timeline;
	uint64_t page_addr; /* LSN of the segment's first byte */
	uint64_t system_id;
	uint32_t segment_size;
};

/* ERR_FORMAT without the long header flag or with an impossible size; ERR_VERSION_NOT_SUPPORTED
 * "unexpected WAL magic N".  bytes: WAL_HEADER of them. */
int wal_header_parse(const uint8_t *bytes, struct wal_header *out) must_check;

#endif
