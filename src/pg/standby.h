/*
 * standby: what a backup asks of a server in recovery.
 */
#ifndef PG_STANDBY_H
#define PG_STANDBY_H

#include "pg/backup_api.h"

struct pg_replay {
	bool in_recovery;
	uint64_t lsn;	     /* end of the last WAL record that was replayed; 0: none yet */
	uint64_t checkpoint; /* LSN of the checkpoint record of the last restart point */
	/* The newest timeline of which anything is known here: of the last restart point, of what was
	 * written to files since, or of what is received. */
	uint32_t timeline;
	bool receives; /* WAL comes over a connection; else from an archive only */
};

/* Where the server's replay is.  ERR_DB_QUERY, also if the connection is lost. */
int pg_replay(struct pg_server *s, struct pg_replay *out) must_check;

/* A checkpoint; on a standby a restart point, if a checkpoint record was replayed since the last one. */
int pg_checkpoint(struct pg_server *s) must_check;

#endif
