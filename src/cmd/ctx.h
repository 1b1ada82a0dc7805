/*
 * ctx: from configuration to stores and connections; the only such place.
 */
#ifndef CMD_CTX_H
#define CMD_CTX_H

#include "config/config.h"
#include "pg/backup_api.h"
#include "pg/control.h"
#include "repo/archive_info.h"
#include "repo/backup_info.h"
#include "repo/wal_find.h"
#include "store/store.h"

struct ctx_repo {
	unsigned key;
	struct store *store;
	const char *pass; /* the repository passphrase; NULL: not encrypted, or on a host that opens info files */
	const struct config_repo *cfg;
};

struct ctx_repos {
	struct ctx_repo *v; /* by key; those of ctx_works_on */
	size_t n;	    /* at least 1 */
};

/* The repositories the command works on. */
int ctx_repos(struct arena *a, const struct config *cfg, struct ctx_repos *out) must_check;

/* A repository on an SFTP server, whoever asks. */
struct store *ctx_repo_sftp(struct arena *a, const struct config *cfg, const struct config_repo *r);

/* Which repository it is, for notes that outlive a configuration: "posix:/backup", "sftp:HOST:PORT:/backup",
 * "host:HOST:PORT:KEY" (what is there is known there only).  As whom it is reached does not matter, nor, but for the
 * last, under which key. */
char *ctx_repo_identity(struct arena *a, const struct config_repo *r);

/* "none", "aes-256-cbc"; of a repository on another host as that one says, "none" if it does not. */
const char *ctx_repo_cipher(const struct ctx_repo *repo);

/* Work in each of them, whatever becomes of the others: a failure is logged as "repoN: ...", and ERR_COMMAND at the end
 * tells how many there were.  A termination ends it at once. */
typedef int ctx_repo_fn(void *ctx, const struct ctx_repo *repo);
int ctx_each_repo(const struct config *cfg, const struct ctx_repos *repos, ctx_repo_fn *fn, void *ctx)
	must_check;

/* The data directory of a cluster that has a path, on whatever host; nothing is connected yet. */
struct store *ctx_pg_store(struct arena *a, const struct config *cfg, const struct config_pg *pg);

/* The one of the lowest pg key; ERR_OPTION_REQUIRED without pg1-path. */
int ctx_pg(struct arena *a, const struct config *cfg, struct store **out) must_check;

/* How a cluster of this host is connected to. */
const struct pg_conn_opts *ctx_pg_conn(struct arena *a, const struct config *cfg, const struct config_pg *pg);

/* NULL unless pg-version-force names a version (ERR_OPTION_VALUE for an unknown one). */
int ctx_forced_version(const struct config *cfg, const struct pg_version **out) must_check;

/* A cluster that a command asks: its server, or offline just its files. */
struct ctx_cluster {
	bool online;
	struct pg_server server; /* online only */
	const struct config_pg *cfg;
	struct store *pg; /* its data directory, on whatever host */
	struct pg_control control;
};

/*
 * Online: connect to all configured clusters (a failing one is a warning) and take the primary
 * (ctx_no_primary), opened.  Offline: the lowest pg key.
 */
int ctx_cluster(struct arena *a, const struct config *cfg, bool online, struct ctx_cluster *out)
	must_check;

/* The servers that answer; a configured one that does not is a warning. */
struct ctx_clusters {
	struct ctx_cluster *primary; /* NULL: none */
	struct ctx_cluster *standby; /* by key */
	size_t standbys;
};

/* Connect to all configured clusters; of those in recovery the first few are kept, and the others' connections
 * closed.  ERR_DB_CONNECT if there are two primaries.  What is found is not opened yet. */
int ctx_clusters(struct arena *a, const struct config *cfg, size_t standbys_max, struct ctx_clusters *out)
	must_check;

/* The files of a server that answered: read pg_control.  ERR_DB_MISMATCH unless its version and path are those that
 * the server tells. */
int ctx_cluster_open(struct arena *a, const struct config *cfg, struct ctx_cluster *c) must_check;

/* The failure if there is none: ERR_DB_CONNECT. */
int ctx_no_primary(void) must_check;

/* Archive settings of the server (behaviours.md 3 step 4); does nothing with archive-check=n. */
int ctx_check_archiving(const struct config *cfg, const struct pg_server *server) must_check;

/* Both info files of a stanza; ERR_FILE_MISSING with the reference's hints if one is absent. */
struct ctx_infos {
	struct archive_info archive;
	struct backup_info backup;
};
int ctx_backup_info(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	struct backup_info *out) must_check;
int ctx_infos_load(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	struct ctx_infos *out) must_check;

/* ERR_FILE_INVALID if their current entries differ. */
int ctx_infos_agree(const struct ctx_infos *infos) must_check;

/* Both of that. */
int ctx_infos(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	struct ctx_infos *out) must_check;

/* The archive of one cluster of the stanza's history in a repository. */
struct wal_place ctx_wal_place(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	const struct archive_info *info, const struct archive_db *db);

/* True if version and system id of the current entry are the cluster's. */
bool ctx_archive_fits(const struct archive_info *info, const struct pg_control *control);
bool ctx_backup_fits(const struct backup_info *info, const struct pg_control *control);

/* The failure if they are not: ERR_FILE_INVALID with both sides named. */
int ctx_mismatch(const struct backup_info *info, const struct pg_control *control);

/* 0, or ERR_STOP if a stop file of the stanza or of all stanzas exists. */
int ctx_check_stop(struct arena *a, const struct config *cfg) must_check;

/* The path of a WAL file or destination as PostgreSQL gave it, absolute (behaviours.md 1.1 step 4). */
int ctx_wal_path(struct arena *a, const struct config *cfg, const char *given, const char **out)
	must_check;

#endif
