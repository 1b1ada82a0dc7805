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
#include "cmd/stanza.h"
#include "repo/layout.h"
#include "stream/cipher.h"

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

/* The keys of an encrypted repository are made here and never change (format/repository.md 8.2). */
static int new_keys(struct arena *a, const struct ctx_repo *repo, struct archive_info *archive,
	struct backup_info *backup)
{
	if (repo->pass == NULL)
		return 0;
	archive->cipher_pass = cipher_new_pass(a);
	backup->cipher_pass = cipher_new_pass(a);
	return archive->cipher_pass == NULL || backup->cipher_pass == NULL ? -1 : 0;
}

/* leftover: archive.info of a run that was killed, NULL if there is none.  It stays as it is, since WAL may
 * have been pushed with its key meanwhile. */
static int write_infos(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	const struct pg_control *control, const struct archive_info *leftover)
{
	struct archive_info archive = { .current = 1 };
	struct backup_info backup = { .current = 1 };

	if (new_keys(a, repo, &archive, &backup) != 0)
		return -1;
	vec_init(&archive.history, a);
	vec_push(&archive.history, ((struct archive_db){ 1, control->system_id, control->version->name }));
	vec_init(&backup.history, a);
	vec_init(&backup.backups, a);
	vec_push(&backup.history, ((struct backup_db){ 1, control->system_id, control->version->name,
		control->version->control_version, control->catalog_version }));
	if (archive_info_save(repo->store, cfg->stanza, repo->pass,
		    leftover != NULL ? leftover : &archive) != 0)
		return -1;
	return backup_info_save(repo->store, cfg->stanza, repo->pass, &backup);
}

static int both_exist(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	const struct pg_control *control)
{
	struct ctx_infos infos;

	if (ctx_infos(a, cfg, repo, &infos) != 0)
		return -1;
	if (!ctx_archive_fits(&infos.archive, control) || !ctx_backup_fits(&infos.backup, control))
		return ctx_mismatch(&infos.backup, control);
	if (stanza_mend_copies(cfg, repo, &infos) != 0)
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
	int ar = archive_info_load(a, repo->store, cfg->stanza, repo->pass, &archive);
	if (ar < 0)
		return -1;
	int ba = backup_info_load(a, repo->store, cfg->stanza, repo->pass, &backup);
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
	return write_infos(a, cfg, repo, control, leftover ? &archive : NULL);
}

int cmd_stanza_create(struct arena *a, const struct config *cfg)
{
	struct ctx_repos repos;
	struct ctx_cluster cluster;

	if (cfg->force)
		log_warn("option --force is no longer supported");
	if (stanza_prepare(a, cfg, &repos, &cluster) != 0)
		return -1;
	for (size_t i = 0; i < repos.n; i++)
		if (create_in(cfg, &repos.v[i], &cluster.control) != 0)
			return -1;
	return 0;
}
