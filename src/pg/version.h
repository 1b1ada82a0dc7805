/*
 * version: per-version facts of PostgreSQL, one line each (format/repository.md 7 and 11.3).
 * The table is ready for the next release: one more line.
 */
#ifndef PG_VERSION_H
#define PG_VERSION_H

#include <stdbool.h>
#include <stdint.h>

struct pg_version {
	unsigned num;	    /* 90600, 100000, ... 190000 */
	const char *name;   /* "9.6", "15": as in info files and directory names */
	bool beta;	    /* any later catalog version of the same year matches */
	uint32_t control_version;
	uint32_t catalog_version;
	uint16_t wal_magic;
	/* byte offsets in pg_control */
	uint16_t at_timeline, at_page_size, at_segment_size, at_checksum, at_crc;
	const char *wal_dir;  /* "pg_wal", "pg_xlog" */
	const char *xact_dir; /* "pg_xact", "pg_clog" */
	bool recovery_signal; /* >= 12: recovery.signal, postgresql.auto.conf; else recovery.conf */
	bool backup_manifest; /* >= 13: backup_manifest is a file of pg_basebackup */
	/* SQL of 11.3, to be put into a select: start (of $1 label prefix, $2 fast; gives an LSN)
	 * and stop (gives lsn, labelfile, spcmapfile) are calls, wal_file is the name of a function
	 * of an LSN, insert_lsn, switch and replay_lsn are calls that give an LSN, control_lsn is a
	 * column of pg_control_checkpoint() */
	const char *sql_start, *sql_stop;
	const char *sql_wal_file, *sql_insert_lsn, *sql_switch, *sql_replay_lsn, *sql_control_lsn;
};

const struct pg_version *pg_version_by_name(const char *name);	       /* NULL if unknown */
const struct pg_version *pg_version_by_number(unsigned server_version_num);
const struct pg_version *pg_version_by_control(uint32_t control, uint32_t catalog);
const struct pg_version *pg_version_by_magic(uint16_t magic);
const struct pg_version *pg_version_at(unsigned index); /* NULL behind the last; oldest first */

#endif
