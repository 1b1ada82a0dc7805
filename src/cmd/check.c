/*
 * check: prove that configuration and archiving work, by pushing a segment through and reading it back.
 */
#include "cmd/cmd.h"

#include <string.h>

#include "base/log.h"
#include "cmd/check_host.h"
#include "cmd/check_wal.h"
#include "cmd/ctx.h"
#include "cmd/losses.h"
#include "config/load.h"
#include "repo/layout.h"
#include "repo/scan.h"
#include "repo/wal_find.h"

#define RESTORE_POINT "pgStrata Archive Check"

/* Links and tablespaces must be such that a backup can take them. */
static int check_tree(const struct ctx_cluster *c)
{
	SCOPED_ARENA(a);
	const struct scan_opts opts = { .control = &c->control, .path = c->cfg->path, .online = true };

	return scan_cluster(c->pg, &opts, manifest_new(a));
}

static int check_repo(const struct config *cfg, const struct ctx_cluster *c, const struct ctx_repo *repo,
	struct ctx_infos *infos, struct arena *a)
{
	if (ctx_infos(a, cfg, repo, infos) != 0)
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
	const struct wal_place place = ctx_wal_place(a, cfg, repo, &infos->archive, db);
	struct wal_file found;

	log_info("check repo%u archive for WAL (primary)", repo->key);
	if (wal_wait(a, &place, segment, &expect, cfg->archive_timeout, &found) != 0)
		return -1;
	if (check_wal_is_ours(c, repo->key, segment, &found) != 0)
		return -1;
	log_info("WAL segment %s successfully archived to '%s' on repo%u", segment,
		store_name(a, repo->store, found.path), repo->key);
	return check_wal_history(c, &place, repo->key, segment, cfg->archive_timeout);
}

/* WAL that was given up, and that recovery from a listed backup would need. */
static int check_drops(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	const struct ctx_infos *infos)
{
	const struct archive_db *db = archive_info_current(&infos->archive);
	const struct wal_place place = ctx_wal_place(a, cfg, repo, &infos->archive, db);
	struct wal_wanted wanted;
	wal_losses losses;

	wal_wanted_by(a, &infos->backup, db->id, &wanted);
	if (wal_losses_load(a, &place, &wanted, &losses) != 0)
		return -1;
	losses_warn(repo->key, &losses, "recovery cannot pass it, except from a later backup.");
	return 0;
}

static int check_standby(struct arena *a, const struct config *cfg, const struct ctx_repos *repos,
	const struct ctx_cluster *c)
{
	struct ctx_infos infos;

	for (size_t i = 0; i < repos->n; i++) {
		log_info("check repo%u (standby)", repos->v[i].key);
		if (check_repo(cfg, c, &repos->v[i], &infos, a) != 0 || check_drops(a, cfg, &repos->v[i], &infos) != 0)
			return -1;
	}
	log_info("switch wal not performed because this is a standby");
	return 0;
}

static int check_primary(struct arena *a, const struct config *cfg, const struct ctx_repos *repos,
	struct ctx_cluster *c)
{
	struct ctx_infos *infos = arena_zalloc(a, repos->n * sizeof(*infos));
	const char *segment;

	if (ctx_check_archiving(cfg, &c->server) != 0)
		return -1;
	for (size_t i = 0; i < repos->n; i++) {
		log_info("check repo%u configuration (primary)", repos->v[i].key);
		if (check_repo(cfg, c, &repos->v[i], &infos[i], a) != 0)
			return -1;
	}
	if (pg_switch_wal(a, &c->server, RESTORE_POINT, &segment) != 0)
		return -1;
	for (size_t i = 0; i < repos->n; i++)
		if (check_wal(a, cfg, c, &repos->v[i], &infos[i], segment) != 0 ||
			check_drops(a, cfg, &repos->v[i], &infos[i]) != 0)
			return -1;
	return 0;
}

static int check_files(struct arena *a, const struct config *cfg, struct ctx_cluster *c)
{
	return ctx_cluster_open(a, cfg, c) != 0 ? -1 : check_tree(c);
}

/* All standbys: any of them may be the one that the next backup is copied from, or the next primary. */
static int check_stanza(struct arena *a, const struct config *cfg)
{
	static const char hint[] = "check indexed pg-path/pg-host configurations";
	struct ctx_repos repos;
	struct ctx_clusters all;
	struct store *lowest;

	if (ctx_repos(a, cfg, &repos) != 0 || ctx_pg(a, cfg, &lowest) != 0 ||
		ctx_clusters(a, cfg, cfg->pg.n, &all) != 0)
		return -1;
	if (all.primary == NULL && all.standbys == 0) {
		(void)err_set(ERR_CONFIG, "no database found");
		return err_hint("%s", hint);
	}
	if (check_hosts(cfg) != 0)
		return -1;
	if (all.primary != NULL && check_files(a, cfg, all.primary) != 0)
		return -1;
	for (size_t i = 0; i < all.standbys; i++)
		if (check_files(a, cfg, &all.standby[i]) != 0)
			return -1;
	for (size_t i = 0; i < all.standbys; i++)
		if (check_standby(a, cfg, &repos, &all.standby[i]) != 0)
			return -1;
	if (all.primary == NULL) {
		/* repositories of this host get their backups from here, and those begin on a primary */
		(void)err_set(ERR_CONFIG, "primary database not found");
		return err_hint("%s", hint);
	}
	if (all.standbys == 0 && strcmp(cfg->backup_standby, "n") != 0)
		log_warn("option 'backup-standby' is enabled but standby is not properly configured");
	return check_primary(a, cfg, &repos, all.primary);
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
		if (config_load_stanza(loop, cfg, cfg->stanzas.v[i], &one) != 0 || config_check(one) != 0 ||
			check_stanza(loop, one) != 0)
			return -1;
	}
	return 0;
}
