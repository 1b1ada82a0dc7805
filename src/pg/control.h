/*
 * control: the bytes of pg_control (format/repository.md 7.2).
 */
#ifndef PG_CONTROL_H
#define PG_CONTROL_H

#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "pg/version.h"

#define PG_CONTROL_READ 512   /* bytes that carry meaning */
#define PG_CONTROL_SIZE 8192  /* size of the file */
#define PG_CHECKPOINT_INVALID 0xDEADull /* what restore writes into online backups (12.8) */

struct pg_control {
	const struct pg_version *version;
	uint64_t system_id;
	uint32_t control_version, catalog_version;
	uint64_t checkpoint; /* LSN */
	uint32_t timeline;
	uint32_t page_size;	    /* bytes */
	uint32_t wal_segment_size;  /* bytes */
	bool checksums;		    /* data checksums are on */
};

/* bytes: at least PG_CONTROL_READ.  forced: NULL, or the version to assume (pg-version-force).
 * ERR_VERSION_NOT_SUPPORTED for an unknown version, ERR_CHECKSUM for a wrong CRC (a torn read: read
 * again), ERR_FORMAT for impossible sizes. */
int pg_control_parse(const uint8_t *bytes, const struct pg_version *forced, struct pg_control *out)
	must_check;

/* Set the checkpoint LSN to PG_CHECKPOINT_INVALID and make the CRC right.  A fork of unknown
 * version is known by the place where its CRC fits.  ERR_VERSION_NOT_SUPPORTED, or ERR_CHECKSUM if
 * the CRC was wrong before (damage must not be blessed); the bytes are untouched then. */
int pg_control_invalidate(uint8_t *bytes) must_check;

/* Castagnoli, as PostgreSQL computes it. */
uint32_t crc32c(const void *data, size_t len);

#endif
