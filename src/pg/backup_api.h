/*
 * backup_api: what a backup asks of a server, version differences hidden (format/repository.md 11).
 */
#ifndef PG_BACKUP_API_H
#define PG_BACKUP_API_H

#include "pg/conn.h"
#include "pg/version.h"
#include "pg/wal.h"

struct pg_far;

struct pg_server {
	struct pg_conn *conn;	 /* NULL: far is asked */
	struct pg_far *far;	 /* a server of another host (work/remote_db.h); NULL: conn is asked */
	const struct pg_version *version;
	unsigned version_num;
	const char *data_directory;
	const char *archive_mode; /* "off", "on", "always" */
	const char *archive_command;
	int64_t checkpoint_timeout_ms;
	bool in_recovery;
	uint32_t wal_segment_size; /* bytes */
};

/* Connect and ask for the settings above.  ERR_DB_CONNECT, ERR_VERSION_NOT_SUPPORTED, ERR_DB_QUERY
 * (all functions here), also if the user may not see a setting. */
int pg_server_open(struct arena *a, const struct pg_conn_opts *opts,
	struct pg_server *out) must_check;

int pg_server_time(struct pg_server *s, int64_t *unix_seconds) must_check; /* clock_timestamp() */
/* Name of the segment that the next WAL record goes to. */
int pg_insert_segment(struct arena *a, struct pg_server *s, const char **segment) must_check;

struct pg_start {
	uint64_t lsn;
	const char *lsn_text;
	const char *segment; /* name of the first segment needed */
};
/* Non-exclusive start; fast asks for an immediate checkpoint.  The label is the prefix and the
 * server's current timestamp. */
int pg_backup_start(struct arena *a, struct pg_server *s, const char *label_prefix, bool fast,
	struct pg_start *out) must_check;

struct pg_stop {
	uint64_t lsn;
	const char *lsn_text;
	const char *segment;	    /* last one needed: the stop LSN lies in it or at its end */
	const char *label_file;	    /* content of backup_label */
	const char *tablespace_map; /* content, "" if blank */
};
/* Ends the backup without waiting for archiving (9.6 cannot be told so): the caller proves the
 * archive itself. */
int pg_backup_stop(struct arena *a, struct pg_server *s, struct pg_stop *out) must_check;

/* Create a restore point and switch: returns the name of the segment that holds the restore point
 * and is now complete. */
int pg_switch_wal(struct arena *a, struct pg_server *s, const char *restore_point,
	const char **segment) must_check;

struct pg_named_oid {
	uint32_t oid;
	const char *name;
};
struct pg_names {
	VEC(struct pg_named_oid) v; /* by name for databases, by oid for tablespaces */
};
int pg_databases(struct arena *a, struct pg_server *s, struct pg_names *out) must_check;
int pg_tablespaces(struct arena *a, struct pg_server *s, struct pg_names *out) must_check;

/* Keeps the session of a primary alive; fails if it is lost.  ERR_DB_MISMATCH if the server is in
 * recovery.  (For standbys see pg/standby.h.) */
int pg_ping(struct pg_server *s) must_check;

#endif
