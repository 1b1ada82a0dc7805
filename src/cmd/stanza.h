/*
 * stanza: what stanza-create and stanza-upgrade have in common.
 */
#ifndef CMD_STANZA_H
#define CMD_STANZA_H

#include "cmd/ctx.h"

/* No stop file, the repositories, and the cluster: the primary, or with --no-online the files of the lowest pg key. */
int stanza_prepare(struct arena *a, const struct config *cfg, struct ctx_repos *repos,
	struct ctx_cluster *cluster) must_check;

/*
 * Main file and copy of each info file hold the same bytes afterwards: one that is missing, or that an
 * interrupted run left behind the other, is written again from what was loaded.  A file that cannot be read is a
 * failure, because it may be the newer one.
 */
int stanza_mend_copies(const struct config *cfg, const struct ctx_repo *repo,
	const struct ctx_infos *infos) must_check;

#endif
