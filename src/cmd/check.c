/*
 * check: prove that configuration and archiving work, by pushing a segment through and reading it back.
 */
#include "cmd/cmd.h"

#include "base/log.h"
#include "cmd/ctx.h"
#include "config/load.h"
#include "repo/layout.h"
#include "repo/scan.h"
#include "repo/wal_find.h"

#define RESTORE_POINT "pgStrata Archive Check"

/* Links and tablespaces must be such that a backup can take them. */
static int check_tree(const struct ctx_cluster *c)
{
	SCOPED_ARENA(a);
	const struct scan_opts opts = { .control = &c->control, .online = true };

	return scan_cluster(c->pg, &opts, manifest_new(a));
}

static int check_repo(const struct config *cfg, const struct ctx_cluster *c, const struct ctx_repo *repo,
	struct ctx_infos *infos, struct arena *a)
{
	log_info("check repo%u configuration (primary)", repo->key);
	if (ctx_infos(a, cfg, repo->store, infos) != 0)
		return -1;
	if (ctx_archive_fits(&infos->archive, &c->control) && ctx_backup_fits(&infos->backup, &c->control))
		return 0;
	return ctx_mismatch(&infos->backup, &c->control);
}

static int check_wal(struct arena *a, const struct config *cfg, const struct ctx_cluster *c,
	const struct ctx_repo *repo, const struct ctx_infos *infos, const char *segment)
{
	const struct archive_db *db = archive_info_current(&infos->archive);
	const struct wal_expect expect = { db->version, db->system_id, c->control.wal_segment_size };
	struct wal_file found;

	log_info("check repo%u archive for WAL (primary)", repo->key);
	if (wal_wait(a, repo->store, cfg->stanza, layout_archive_id(a, db->version, db->id), segment, &expect,
		cfg->archive_timeout, &found) != 0)
		return -1;
	log_info("WAL segment %s successfully archived to '%s' on repo%u", segment,
		store_name(a, repo->store, found.path), repo->key);
	return 0;
}

static int check_stanza(struct arena *a, const struct config *cfg)
{
	struct ctx_repos repos;
	struct ctx_cluster cluster;
	const char *segment;

	if (ctx_repos(a, cfg, &repos) != 0 || ctx_cluster(a, cfg, true, &cluster) != 0)
		return -1;
	if (check_tree(&cluster) != 0 || ctx_check_archiving(cfg, &cluster.server) != 0)
		return -1;
	struct ctx_infos *infos = arena_zalloc(a, repos.n * sizeof(*infos));
	for (size_t i = 0; i < repos.n; i++)
		if (check_repo(cfg, &cluster, &repos.v[i], &infos[i], a) != 0)
			return -1;
	if (pg_switch_wal(a, &cluster.server, RESTORE_POINT, &segment) != 0)
		return -1;
	for (size_t i = 0; i < repos.n; i++)
		if (check_wal(a, cfg, &cluster, &repos.v[i], &infos[i], segment) != 0)
			return -1;
	return 0;
}

/* Without --stanza, all that the configuration files name, each with its own options. */
int cmd_check(struct arena *a, const struct config *cfg)
{
	if (cfg->stanza != NULL)
		return check_stanza(a, cfg);
	if (cfg->stanzas.n == 0)
		log_warn("no stanzas found to check\nHINT: are there non-empty stanza sections in the "
			"configuration?");
	for (size_t i = 0; i < cfg->stanzas.n; i++) {
		SCOPED_ARENA(loop);
		struct config *one;

		log_info("check stanza '%s'", cfg->stanzas.v[i]);
		if (config_load_stanza(loop, cfg, cfg->stanzas.v[i], &one) != 0 ||
			check_stanza(loop, one) != 0)
			return -1;
	}
	return 0;
}
