/*
 * wal_end: how far a server's WAL has come.
 */
#ifndef PG_WAL_END_H
#define PG_WAL_END_H

#include "pg/backup_api.h"

struct pg_wal_end {
	uint32_t timeline;
	uint64_t lsn; /* of a primary: all before it is written; in recovery: it is replayed */
};

/* Segments that end at or before it are complete, and a primary has noted them for its archiver. */
int pg_wal_end(struct pg_server *s, struct pg_wal_end *out) must_check;

#endif
