/*
 * cluster: a data directory as a store: pg_control read whole although the server writes it.
 */
#ifndef REPO_CLUSTER_H
#define REPO_CLUSTER_H

#include "pg/control.h"
#include "store/store.h"

/* Read and parse pg_control: again every 50 ms until the CRC matches or two readings are equal (5.12.5).
 * bytes (may be NULL) receives PG_CONTROL_READ of them.  ERR_FILE_MISSING if absent. */
int cluster_control(struct store *pg, const struct pg_version *forced, uint8_t *bytes,
	struct pg_control *out) must_check;

#endif
