/*
 * stanza: what stanza-create and stanza-upgrade have in common.
 */
#include "cmd/stanza.h"

#include "repo/layout.h"
#include "stream/hash.h"

int stanza_prepare(struct arena *a, const struct config *cfg, struct ctx_repos *repos,
	struct ctx_cluster *cluster)
{
	if (ctx_check_stop(a, cfg) != 0)
		return -1;
	return ctx_repos(a, cfg, repos) != 0 ? -1 : ctx_cluster(a, cfg, cfg->online, cluster);
}

/* 1 if both files are there and equal, 0 if not, -1. */
static int is_whole(struct store *repo, const char *path)
{
	SCOPED_ARENA(a);
	const char *paths[] = { path, layout_copy(a, path) };
	const struct get_opts opts = { .missing_ok = true };
	struct sum sums[2];

	for (size_t i = 0; i < 2; i++) {
		int rc = store_get(repo, paths[i], &opts, sink_sha1(a, sink_null(a), &sums[i]));
		if (rc != 0)
			return rc == STORE_ABSENT ? 0 : -1;
	}
	return sum_equal(&sums[0], &sums[1]);
}

int stanza_mend_copies(const struct config *cfg, const struct ctx_repo *repo,
	const struct ctx_infos *infos)
{
	SCOPED_ARENA(a);
	int archive = is_whole(repo->store, layout_archive_info(a, cfg->stanza));
	int backup = archive < 0 ? -1 : is_whole(repo->store, layout_backup_info(a, cfg->stanza));

	if (archive < 0 || backup < 0)
		return -1;
	if (!archive && archive_info_save(repo->store, cfg->stanza, repo->pass, &infos->archive) != 0)
		return -1;
	if (!backup && backup_info_save(repo->store, cfg->stanza, repo->pass, &infos->backup) != 0)
		return -1;
	return 0;
}
