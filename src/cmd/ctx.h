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
#include "store/store.h"

struct ctx_repo {
	unsigned key;
	struct store *store;
	const struct config_repo *cfg;
};

struct ctx_repos {
	struct ctx_repo *v; /* by key; only --repo if given */
	size_t n;	    /* at least 1 */
};

/* The repositories the command works on. */
int ctx_repos(struct arena *a, const struct config *cfg, struct ctx_repos *out) must_check;

/* The data directory of the lowest pg key; ERR_OPTION_REQUIRED without pg1-path. */
int ctx_pg(struct arena *a, const struct config *cfg, struct store **out) must_check;

/* NULL unless pg-version-force names a version (ERR_OPTION_VALUE for an unknown one). */
int ctx_forced_version(const struct config *cfg, const struct pg_version **out) must_check;

/* The cluster that a command asks: the primary, or offline just its files. */
struct ctx_cluster {
	bool online;
	struct pg_server server; /* online only */
	const struct config_pg *cfg;
	struct store *pg;
	struct pg_control control;
};

/*
 * Online: connect to all configured clusters (a failing one is a warning) and take the primary
 * (ERR_DB_CONNECT "unable to find primary cluster - cannot proceed"); its version and data directory must
 * be those of pg_control and of the configuration (ERR_DB_MISMATCH).  Offline: the lowest pg key.
 */
int ctx_cluster(struct arena *a, const struct config *cfg, bool online, struct ctx_cluster *out)
	must_check;

/* Archive settings of the server (behaviours.md 3 step 4); does nothing with archive-check=n. */
int ctx_check_archiving(const struct config *cfg, const struct pg_server *server) must_check;

/* Both info files of a stanza; ERR_FILE_MISSING with the reference's hints if one is absent, and
 * ERR_FILE_INVALID if their current entries differ. */
struct ctx_infos {
	struct archive_info archive;
	struct backup_info backup;
};
int ctx_infos(struct arena *a, const struct config *cfg, struct store *repo, struct ctx_infos *out)
	must_check;

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
