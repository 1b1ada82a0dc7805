/*
 * stanza-upgrade: note a new version or system identifier of the cluster, in every repository.
 *
 * archive.info and backup.info are compared with the cluster each on its own, so that a run that was killed
 * between them is completed by the next one (promise P7).  History ids are never taken back or used twice: what
 * was archived and backed up before stays under its own id.
 */
#include "cmd/cmd.h"

#include "base/log.h"
#include "cmd/stanza.h"

static void add_archive_db(struct archive_info *info, const struct pg_control *control)
{
	info->current = info->history.v[info->history.n - 1].id + 1;
	vec_push(&info->history, ((struct archive_db){ info->current, control->system_id,
		control->version->name }));
}

static void add_backup_db(struct backup_info *info, const struct pg_control *control)
{
	info->current = info->history.v[info->history.n - 1].id + 1;
	vec_push(&info->history, ((struct backup_db){ info->current, control->system_id,
		control->version->name, control->version->control_version, control->catalog_version }));
}

static int upgrade_in(const struct config *cfg, const struct ctx_repo *repo,
	const struct pg_control *control)
{
	SCOPED_ARENA(a);
	struct ctx_infos infos;

	log_info("stanza-upgrade for stanza '%s' on repo%u", cfg->stanza, repo->key);
	if (ctx_infos_load(a, cfg, repo, &infos) != 0)
		return -1;
	bool archive = !ctx_archive_fits(&infos.archive, control);
	bool backup = !ctx_backup_fits(&infos.backup, control);
	if (archive)
		add_archive_db(&infos.archive, control);
	if (backup)
		add_backup_db(&infos.backup, control);
	if (ctx_infos_agree(&infos) != 0)
		return -1;
	if (infos.archive.current == 0)
		return err_set(ERR_FILE_INVALID, "no history id is left for stanza '%s' on repo%u", cfg->stanza,
			repo->key);
	if (archive && archive_info_save(repo->store, cfg->stanza, repo->pass, &infos.archive) != 0)
		return -1;
	if (backup && backup_info_save(repo->store, cfg->stanza, repo->pass, &infos.backup) != 0)
		return -1;
	if (stanza_mend_copies(cfg, repo, &infos) != 0)
		return -1;
	if (!archive && !backup)
		log_info("stanza '%s' on repo%u is already up to date", cfg->stanza, repo->key);
	return 0;
}

int cmd_stanza_upgrade(struct arena *a, const struct config *cfg)
{
	struct ctx_repos repos;
	struct ctx_cluster cluster;

	if (stanza_prepare(a, cfg, &repos, &cluster) != 0)
		return -1;
	for (size_t i = 0; i < repos.n; i++)
		if (upgrade_in(cfg, &repos.v[i], &cluster.control) != 0)
			return -1;
	return 0;
}
