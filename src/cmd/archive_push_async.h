/*
 * archive_push_async: what archive-push in the foreground and the process in its background share.
 *
 * Why they are safe together, at every interleaving:
 *
 * - Only the holder of the lock "archive" (the background process and its workers, who keep the lock's descriptor, so
 *   that it is not free before the last of them has ended) writes or tidies the status files.  The foreground only
 *   reads them, and never learns anything from the lock but whether it pays to start another background process.
 * - An .ok is written after every repository has the file durably, and counts only for the state of the file that was
 *   looked at before and after it was read.  So whoever reads it, however late, may report success; and whoever does
 *   not see it in time (it was tidied away, its writer was killed) has the file pushed again, which is harmless.
 * - An .error is believed only by a foreground that saw it come.  A file that failed is tried once per run; the run
 *   ends after its list, and the next foreground starts another.
 * - A foreground gives up after archive-timeout, and after a bounded number of processes that it started have ended
 *   without a word about its file.  PostgreSQL calls again.
 */
#ifndef CMD_ARCHIVE_PUSH_ASYNC_H
#define CMD_ARCHIVE_PUSH_ASYNC_H

#include "cmd/spool.h"

/* source: absolute path of the file.  0: PostgreSQL may recycle it. */
int push_async(struct arena *a, const struct config *cfg, const char *source) must_check;

/* The process in the background, a background_fn; source: the file that the foreground waits for. */
int push_background(struct arena *a, const struct config *cfg, void *source) must_check;

/* More waits than archive-push-queue-max allows: the file is noted as dropped, and PostgreSQL warned.  1: so it was;
 * 0: there is room; -1. */
int push_drop_if_full(struct arena *a, const struct config *cfg, const char *source) must_check;

#endif
