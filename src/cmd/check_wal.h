/*
 * check_wal: is what the archive has what this server wrote, and does the archive know how its timelines go on?
 */
#ifndef CMD_CHECK_WAL_H
#define CMD_CHECK_WAL_H

#include "cmd/ctx.h"
#include "repo/wal_find.h"

/* Two primaries of one system identifier archive segments of the same names.  found: the segment as this repository has
 * it; ERR_ARCHIVE_DUPLICATE if the server wrote other bytes. */
int check_wal_is_ours(const struct ctx_cluster *c, unsigned key, const char *segment, const struct wal_file *found)
	must_check;

/* Without the history file of the timeline that the segment is on nobody can recover from earlier timelines into it:
 * waited for if the archive has WAL of an earlier one.  ERR_FILE_MISSING after the time; ERR_ARCHIVE_DUPLICATE if it is
 * another than the server's. */
int check_wal_history(const struct ctx_cluster *c, const struct wal_place *place, unsigned key, const char *segment,
	int64_t timeout_ms) must_check;

#endif
