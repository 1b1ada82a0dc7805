/*
 * archive: what archive-push and archive-get share.
 */
#ifndef CMD_ARCHIVE_H
#define CMD_ARCHIVE_H

#include "cmd/ctx.h"
#include "repo/archive_info.h"

/* archive.info of a repository; ERR_FILE_MISSING with hints if the stanza does not exist there. */
int archive_load(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	struct archive_info *out) must_check;

/* Every archive of a repository that held this cluster, newest first; n: how many. */
struct wal_place *archive_places(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	const struct archive_info *info, const char *version, uint64_t system_id, size_t *n);

#endif
