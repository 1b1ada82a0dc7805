/*
 * backup_intern: what the files of the backup command share; nobody else includes it.
 */
#ifndef CMD_BACKUP_INTERN_H
#define CMD_BACKUP_INTERN_H

#include "cmd/ctx.h"
#include "repo/manifest.h"
#include "repo/wal_find.h"

struct backup {
	struct arena *arena; /* of the command */
	const struct config *cfg;
	struct ctx_repo *repo;
	struct ctx_infos infos;
	struct ctx_cluster cluster;
	const struct pg_version *forced;
	const char *archive_id;
	struct wal_expect expect;
	bool archive_check; /* WAL is waited for and proven */
	struct manifest *m;
	const char *dir; /* layout_backup_dir, once the label is known */
	/* online only */
	struct pg_start start;
	struct pg_stop stop;
	struct pg_names databases, tablespaces;
	unsigned page_warnings; /* files with bad pages */
	struct sum save_point;	/* of the manifest's text as last saved */
};

/* backup_online.c: the server's side. */
int backup_start_online(struct backup *b) must_check;
int backup_stop_online(struct backup *b) must_check;
/* Wait until the database clock (offline: not at all) has left the second in which the list was made. */
int backup_wait_copy_start(struct backup *b) must_check;
/* All segments from start to stop are in the archive, read back and proven; copied if archive-copy. */
int backup_prove_wal(struct backup *b) must_check;

/* backup_copy.c: all files, by workers. */
int backup_copy(struct backup *b) must_check;

/* backup_publish.c: what makes it a backup. */
int backup_clear_leftover(struct backup *b) must_check;
int backup_make_dirs(struct backup *b) must_check;
/* One small file of our own (backup_label, copied WAL has its own way) under pg_data/. */
int backup_add_file(struct backup *b, const char *name, const char *content, int64_t mtime) must_check;
/* Write the manifest's copy and remember what was written. */
int backup_save_point(struct backup *b) must_check;
int backup_publish(struct backup *b) must_check;

#endif
