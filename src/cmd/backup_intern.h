/*
 * backup_intern: what the files of the backup command share; nobody else includes it.
 */
#ifndef CMD_BACKUP_INTERN_H
#define CMD_BACKUP_INTERN_H

#include "cmd/ctx.h"
#include "repo/file_put.h"
#include "repo/manifest.h"
#include "repo/plan.h"
#include "repo/wal_find.h"

struct backup {
	struct arena *arena; /* of the command */
	const struct config *cfg;
	struct ctx_repo *repo;
	struct ctx_infos infos;
	struct ctx_cluster cluster;	/* the primary; offline the files */
	struct ctx_cluster *standby;	/* NULL: everything comes from the primary */
	uint64_t standby_lsn;		/* replayed there when it was looked at last */
	const struct pg_version *forced;
	struct wal_place archive;
	struct wal_expect expect;
	bool archive_check; /* WAL is waited for and proven */
	struct manifest *m;
	const char *dir; /* layout_backup_dir, once the label is known */
	/* online only */
	struct pg_start start;
	struct pg_stop stop;
	struct pg_names databases, tablespaces;
	unsigned page_warnings; /* files with bad pages */
	bool saved;
	struct sum save_point;	/* of the manifest's copy as last saved */
	bool hardlink;		/* what stays with earlier backups gets a name in this one */
	struct manifest *prior; /* NULL: full, or forgotten since it was merged in */
	struct arena *prior_arena;
	struct deferred *prior_undo;
	struct block_rules *blocks; /* NULL: files are stored whole */
	struct plan plan;
	uint64_t *bundle_size; /* bytes by id, 0: it does not exist */
	uint32_t bundle_max;   /* greatest id */
};

/* backup_standby.c */
/* How often servers are asked whether they are still what they were, in ms: so often that another host does not take us
 * for gone. */
int64_t backup_ping_ms(const struct backup *b);
/* Find primary and, if backup-standby asks for it, a standby, or offline the files. */
int backup_open_clusters(struct backup *b) must_check;
/* Where a row's file is read.  Rows of the standby that it lacks are the primary's. */
struct store *backup_source(const struct backup *b, const struct manifest_file *f);
/* Right before the start; and after it until the standby's files hold all that came before the start
 * (archive-timeout, anew whenever replay moves).  Both do nothing without a standby. */
int backup_standby_before(struct backup *b) must_check;
int backup_standby_await(struct backup *b) must_check;
/* The servers are there and still are what they were.  ERR_DB_QUERY, ERR_DB_MISMATCH. */
int backup_ping(struct backup *b) must_check;
/* The same behind the last file and before the stop, with the standby's pg_control; and after the stop, that nothing
 * behind it can have been copied. */
int backup_prove_servers(struct backup *b) must_check;
int backup_prove_order(const struct backup *b) must_check;

/* backup_online.c: the server's side. */
int backup_start_online(struct backup *b) must_check;
int backup_stop_online(struct backup *b) must_check;
/* Wait until the database clock (offline: not at all) has left the second in which the list was made. */
int backup_wait_copy_start(struct backup *b) must_check;
/* All segments from start to stop are in the archive, read back and proven; copied if archive-copy. */
int backup_prove_wal(struct backup *b) must_check;

/* backup_blocks.c: set what the manifest says of blocks, as configured, and the rules for them. */
int backup_block_rules(struct backup *b) must_check;

/* backup_prior.c */
/* Set type and prior, and take over from the prior what all backups of a set must share; before that the manifest has
 * codec, level and page checks as configured.  Without a prior the type becomes full. */
int backup_choose_prior(struct backup *b) must_check;
/* Decide about the rows of the scan and say why; the prior is not needed any more then.  ERR_FILE_MISSING if there
 * is nothing to do. */
int backup_plan(struct backup *b) must_check;
void backup_forget_prior(struct backup *b);
int backup_nothing_changed(void) must_check;

/* backup_resume.c: take over the newest directory if it is an interrupted backup that fits (then label, directory and
 * cipher_pass are set, and the rows that it may have stored are PLAN_RESUME), or remove it. */
int backup_resume(struct backup *b) must_check;

/* backup_copy.c: all files of the plan, by workers. */
int backup_copy(struct backup *b) must_check;

/* backup_row.c: a worker's result as bytes and back (advances data), and what follows from it for the row (bundle:
 * id, 0 none). */
void backup_row_pack(struct buf *out, const struct file_put_result *r);
int backup_row_unpack(struct arena *a, const char **data, size_t *left, struct file_put_result *out)
	must_check;
int backup_row_settle(struct backup *b, uint32_t row, uint32_t bundle, const struct file_put_result *r)
	must_check;
void backup_row_log(const struct backup *b, const struct manifest_file *f, uint32_t bundle,
	const struct file_put_result *r, double percent);

/* backup_dir.c: the backup's directory. */
int backup_make_dirs(struct backup *b) must_check;
/* Log what stays with earlier backups; hard-link it if that is asked for. */
int backup_refer(struct backup *b) must_check;
/* Save the manifest's copy; sync all directories; ERR_FILE_INVALID unless the directory holds exactly what the
 * manifest says. */
int backup_prove_untouched(struct backup *b) must_check;

/* backup_publish.c: what makes it a backup. */
/* One small file of our own (backup_label, copied WAL has its own way) under pg_data/. */
int backup_add_file(struct backup *b, const char *name, const char *content, int64_t mtime) must_check;
/* Write the manifest's copy and remember what was written; ERR_FILE_INVALID if the last one is not ours any more. */
int backup_save_point(struct backup *b) must_check;
int backup_publish(struct backup *b) must_check;

#endif
