/*
 * cmd: one function per command; each returns an exit code (0, or 1 where documented) or -1 with the
 * failure record set.
 */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include "config/config.h"
#include "base/err.h"

int cmd_annotate(struct arena *a, const struct config *cfg) must_check;
int cmd_archive_get(struct arena *a, const struct config *cfg) must_check;
int cmd_archive_push(struct arena *a, const struct config *cfg) must_check;
int cmd_authorize(struct arena *a, const struct config *cfg) must_check;
int cmd_backup(struct arena *a, const struct config *cfg) must_check;
int cmd_check(struct arena *a, const struct config *cfg) must_check;
int cmd_expire(struct arena *a, const struct config *cfg) must_check;
int cmd_help(struct arena *a, const struct config *cfg) must_check;
int cmd_info(struct arena *a, const struct config *cfg) must_check;
int cmd_restore(struct arena *a, const struct config *cfg) must_check;
int cmd_serve(struct arena *a, const struct config *cfg) must_check;
int cmd_stanza_create(struct arena *a, const struct config *cfg) must_check;
int cmd_stanza_delete(struct arena *a, const struct config *cfg) must_check;
int cmd_stanza_upgrade(struct arena *a, const struct config *cfg) must_check;
int cmd_start(struct arena *a, const struct config *cfg) must_check;
int cmd_stop(struct arena *a, const struct config *cfg) must_check;
int cmd_verify(struct arena *a, const struct config *cfg) must_check;
int cmd_version(struct arena *a, const struct config *cfg) must_check;

/*
 * Progress of backup or restore in bytes: a line on a terminal, and the lock files that this command holds
 * (main.c took them and names them with cmd_progress_lock), for those who ask with info.
 */
int cmd_progress(const char *verb, uint64_t total, uint64_t complete) must_check;
struct lock;
void cmd_progress_lock(struct lock *held);

/*
 * The exit code of archive-get for PostgreSQL (promise P2): code is 0, 1 (proven absent) or a failure's;
 * every failure is "unknown" and becomes 200 in recovery, 1 in standby mode, itself outside recovery.
 * pg_path: pg1-path if known, else NULL; the working directory is looked at first.  Also used for failures
 * before options are read.
 */
int archive_get_exit(int code, const char *pg_path);

/* Does PostgreSQL, being a standby, ask again by itself for what it does not get?  It turns to streaming
 * in between, so that waiting for it here would only delay that. */
bool archive_get_is_repeated(const char *pg_path);

#endif
