/*
 * stanza-create: the four info files of a stanza in every repository.
 *
 * A run that was killed half-way is completed by the next one (promise P7): an archive.info that fits this
 * cluster, alone in otherwise empty folders, is our own leftover and not a sign of corruption.
 */
#include "cmd/cmd.h"

#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "cmd/ctx.h"
#include "repo/layout.h"

static int see_foreign(void *ctx, const struct store_entry *e)
{
	bool *foreign = ctx;

	if (!str_starts(e->name, "archive.info") && !str_starts(e->name, "backup.info"))
		*foreign = true;
	return 0;
}

/* 1 if a folder holds anything but info files and their leftovers. */
static int has_content(struct arena *a, struct store *repo, const char *stanza)
{
	bool foreign = false;

	if (store_list(repo, layout_archive_root(a, stanza), see_foreign, &foreign) < 0 ||
		store_list(repo, layout_backup_root(a, stanza), see_foreign, &foreign) < 0)
		return -1;
	return foreign;
}

static int write_infos(struct arena *a, const struct config *cfg, struct store *repo,
	const struct pg_control *control)
{
	struct archive_info archive = { .current = 1 };
	struct backup_info backup = { .current = 1 };

	vec_init(&archive.history, a);
	vec_push(&archive.history, ((struct archive_db){ 1, control->system_id, control->version->name }));
	vec_init(&backup.history, a);
	vec_init(&backup.backups, a);
	vec_push(&backup.history, ((struct backup_db){ 1, control->system_id, control->version->name,
		control->version->control_version, control->catalog_version }));
	if (archive_info_save(repo, cfg->stanza, &archive) != 0)
		return -1;
	return backup_info_save(repo, cfg->stanza, &backup);
}

/* A main file or copy that is missing is written again. */
static int complete_copies(struct arena *a, const struct config *cfg, struct store *repo,
	const struct ctx_infos *infos)
{
	const char *paths[] = { layout_archive_info(a, cfg->stanza), layout_backup_info(a, cfg->stanza) };
	bool missing[2] = { false, false };
	struct store_entry e;

	for (size_t i = 0; i < 2; i++) {
		int main_rc = store_stat(a, repo, paths[i], &e);
		int copy_rc = store_stat(a, repo, layout_copy(a, paths[i]), &e);
		if (main_rc < 0 || copy_rc < 0)
			return -1;
		missing[i] = main_rc == STORE_ABSENT || copy_rc == STORE_ABSENT;
	}
	if (missing[0] && archive_info_save(repo, cfg->stanza, &infos->archive) != 0)
		return -1;
	return missing[1] ? backup_info_save(repo, cfg->stanza, &infos->backup) : 0;
}

static int both_exist(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	const struct pg_control *control)
{
	struct ctx_infos infos;

	if (ctx_infos(a, cfg, repo->store, &infos) != 0)
		return -1;
	if (!ctx_archive_fits(&infos.archive, control) || !ctx_backup_fits(&infos.backup, control))
		return ctx_mismatch(&infos.backup, control);
	if (complete_copies(a, cfg, repo->store, &infos) != 0)
		return -1;
	log_info("stanza '%s' already exists on repo%u and is valid", cfg->stanza, repo->key);
	return 0;
}

static int create_in(const struct config *cfg, const struct ctx_repo *repo,
	const struct pg_control *control)
{
	SCOPED_ARENA(a);
	struct archive_info archive;
	struct backup_info backup;

	log_info("stanza-create for stanza '%s' on repo%u", cfg->stanza, repo->key);
	int ar = archive_info_load(a, repo->store, cfg->stanza, &archive);
	if (ar < 0)
		return -1;
	int ba = backup_info_load(a, repo->store, cfg->stanza, &backup);
	if (ba < 0)
		return -1;
	if (ar == 0 && ba == 0)
		return both_exist(a, cfg, repo, control);

	int content = has_content(a, repo->store, cfg->stanza);
	if (content < 0)
		return -1;
	bool leftover = ar == 0 && !content && ctx_archive_fits(&archive, control);
	if (ar != ba && !leftover) {
		(void)err_set(ERR_FILE_MISSING, "%s.info exists but %s.info is missing on repo%u",
			ar == 0 ? "archive" : "backup", ar == 0 ? "backup" : "archive", repo->key);
		return err_hint("this may be a symptom of repository corruption!");
	}
	if (content)
		return err_set(ERR_PATH_NOT_EMPTY, "backup directory and/or archive directory not empty");
	return write_infos(a, cfg, repo->store, control);
}

int cmd_stanza_create(struct arena *a, const struct config *cfg)
{
	struct ctx_repos repos;
	struct ctx_cluster cluster;

	if (!stanza_name_ok(cfg->stanza))
		return err_set(ERR_OPTION_VALUE, "'%s' cannot be the name of a stanza", cfg->stanza);
	if (ctx_check_stop(a, cfg) != 0)
		return -1;
	if (cfg->force)
		log_warn("option --force is no longer supported");
	if (ctx_repos(a, cfg, &repos) != 0 || ctx_cluster(a, cfg, cfg->online, &cluster) != 0)
		return -1;
	for (size_t i = 0; i < repos.n; i++)
		if (create_in(cfg, &repos.v[i], &cluster.control) != 0)
			return -1;
	return 0;
}
