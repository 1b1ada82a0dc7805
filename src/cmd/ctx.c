/*
 * ctx: from configuration to stores; clusters are in ctx_cluster.c.
 */
#include "cmd/ctx.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "cmd/ctx_remote.h"
#include "cmd/stop_file.h"
#include "config/load.h"
#include "repo/layout.h"
#include "store/sftp.h"

char *ctx_repo_identity(struct arena *a, const struct config_repo *r)
{
	if (r->host.host != NULL)
		return arena_printf(a, "host:%s:%" PRId64 ":%u", r->host.host, r->host.port > 0 ? r->host.port : 0,
			r->key);
	if (r->sftp_host == NULL)
		return arena_printf(a, "%s:%s", r->type, r->path);
	return arena_printf(a, "%s:%s:%" PRId64 ":%s", r->type, r->sftp_host, r->sftp_host_port, r->path);
}

static enum sftp_check sftp_check_of(const char *word)
{
	if (strcmp(word, "accept-new") == 0)
		return SFTP_CHECK_ACCEPT_NEW;
	if (strcmp(word, "fingerprint") == 0)
		return SFTP_CHECK_FINGERPRINT;
	return strcmp(word, "none") == 0 ? SFTP_CHECK_NONE : SFTP_CHECK_STRICT;
}

struct store *ctx_repo_sftp(struct arena *a, const struct config *cfg, const struct config_repo *r)
{
	const struct sftp_server server = {
		.host = r->sftp_host,
		.user = r->sftp_host_user,
		.port = (unsigned)r->sftp_host_port,
		.private_key = r->sftp_private_key_file,
		.public_key = r->sftp_public_key_file,
		.passphrase = r->sftp_private_key_passphrase,
		.check = sftp_check_of(r->sftp_host_key_check_type),
		.hash = r->sftp_host_key_hash_type,
		.fingerprint = r->sftp_host_fingerprint,
		.known_hosts = r->sftp_known_host,
		.timeout_ms = cfg->io_timeout,
	};

	return store_sftp(a, &server, r->path);
}

/* Another host opens the info files of its repositories before they cross. */
static struct store *open_far(struct arena *a, const struct config *cfg, const struct config_repo *r)
{
	struct store *s = store_remote(a, ctx_remote_repo(cfg, r), r->key, NULL);

	s->opened = true;
	return s;
}

static struct store *open_repo(struct arena *a, const struct config *cfg, const struct config_repo *r)
{
	struct store *s;

	if (r->host.host != NULL)
		s = open_far(a, cfg, r);
	else if (strcmp(r->type, "sftp") == 0)
		s = ctx_repo_sftp(a, cfg, r);
	else
		s = store_posix(a, r->path);
	s->buffer_size = (size_t)cfg->buffer_size;
	return s;
}

int ctx_repos(struct arena *a, const struct config *cfg, struct ctx_repos *out)
{
	out->v = arena_zalloc(a, cfg->repo.n * sizeof(*out->v));
	out->n = 0;
	for (size_t i = 0; i < cfg->repo.n; i++) {
		const struct config_repo *r = &cfg->repo.v[i];
		if (!ctx_works_on(cfg, r))
			continue;
		struct ctx_repo *repo = &out->v[out->n++];
		repo->key = r->key;
		repo->cfg = r;
		repo->pass = r->cipher_pass;
		repo->store = open_repo(a, cfg, r);
	}
	return 0;
}

const char *ctx_repo_cipher(const struct ctx_repo *repo)
{
	if (repo->cfg->host.host == NULL)
		return repo->cfg->cipher_type;

	const struct remote_place *there = store_remote_place(repo->store);

	if (there == NULL)
		err_clear();
	return there != NULL && there->cipher != NULL ? there->cipher : repo->cfg->cipher_type;
}

int ctx_each_repo(const struct config *cfg, const struct ctx_repos *repos, ctx_repo_fn *fn, void *ctx)
{
	unsigned failed = 0;

	for (size_t i = 0; i < repos->n; i++) {
		if (fn(ctx, &repos->v[i]) == 0)
			continue;
		if (err_code() == ERR_TERM)
			return -1;
		(void)err_wrap("repo%u", repos->v[i].key);
		log_failure();
		err_clear();
		failed++;
	}
	if (failed == 0)
		return 0;
	return err_set(ERR_COMMAND, "%s command encountered %u error(s), check the log file for details",
		command_name(cfg->command), failed);
}

bool ctx_archive_fits(const struct archive_info *info, const struct pg_control *control)
{
	const struct archive_db *db = archive_info_current(info);

	return db->system_id == control->system_id && strcmp(db->version, control->version->name) == 0;
}

bool ctx_backup_fits(const struct backup_info *info, const struct pg_control *control)
{
	const struct backup_db *db = backup_info_current(info);

	return db->system_id == control->system_id && strcmp(db->version, control->version->name) == 0;
}

int ctx_mismatch(const struct backup_info *info, const struct pg_control *control)
{
	const struct backup_db *db = backup_info_current(info);

	(void)err_set(ERR_FILE_INVALID, "backup and archive info files exist but do not match the database\n"
		"stanza  : version = %s, system-id = %" PRIu64 "\n"
		"database: version = %s, system-id = %" PRIu64,
		db->version, db->system_id, control->version->name, control->system_id);
	(void)err_hint("is this the correct stanza?");
	return err_hint("did an error occur during stanza-upgrade?");
}

static int missing_info(struct arena *a, struct store *repo, const char *path, const char *what)
{
	(void)err_set(ERR_FILE_MISSING, "unable to load info file '%s' or '%s'", store_name(a, repo, path),
		store_name(a, repo, layout_copy(a, path)));
	(void)err_hint("%s.info cannot be opened but is required for this command.", what);
	return err_hint("has a stanza-create been performed?");
}

struct wal_place ctx_wal_place(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	const struct archive_info *info, const struct archive_db *db)
{
	return (struct wal_place){ repo->store, cfg->stanza, layout_archive_id(a, db->version, db->id),
		info->cipher_pass };
}

int ctx_backup_info(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	struct backup_info *out)
{
	int rc = backup_info_load(a, repo->store, cfg->stanza, repo->pass, out);

	if (rc == STORE_ABSENT)
		return missing_info(a, repo->store, layout_backup_info(a, cfg->stanza), "backup");
	return rc;
}

int ctx_infos_load(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	struct ctx_infos *out)
{
	if (ctx_backup_info(a, cfg, repo, &out->backup) != 0)
		return -1;
	int rc = archive_info_load(a, repo->store, cfg->stanza, repo->pass, &out->archive);
	if (rc != 0)
		return rc < 0 ? -1 : missing_info(a, repo->store, layout_archive_info(a, cfg->stanza), "archive");
	return 0;
}

int ctx_infos_agree(const struct ctx_infos *infos)
{
	const struct archive_db *ar = archive_info_current(&infos->archive);
	const struct backup_db *ba = backup_info_current(&infos->backup);

	if (ar->id == ba->id && ar->system_id == ba->system_id && strcmp(ar->version, ba->version) == 0)
		return 0;
	(void)err_set(ERR_FILE_INVALID, "backup info file and archive info file do not match\n"
		"archive: id = %u, version = %s, system-id = %" PRIu64 "\n"
		"backup : id = %u, version = %s, system-id = %" PRIu64,
		ar->id, ar->version, ar->system_id, ba->id, ba->version, ba->system_id);
	return err_hint("this may be a symptom of repository corruption!");
}

int ctx_infos(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	struct ctx_infos *out)
{
	return ctx_infos_load(a, cfg, repo, out) != 0 ? -1 : ctx_infos_agree(out);
}

static int refuse_if_stopped(const struct config *cfg, const char *stanza, const char *who)
{
	int found = stop_file_exists(cfg, stanza);

	if (found < 0)
		return -1;
	return found ? err_set(ERR_STOP, "stop file exists for %s", who) : 0;
}

int ctx_check_stop(struct arena *a, const struct config *cfg)
{
	if (refuse_if_stopped(cfg, NULL, "all stanzas") != 0)
		return -1;
	if (cfg->stanza == NULL)
		return 0;
	return refuse_if_stopped(cfg, cfg->stanza, arena_printf(a, "stanza %s", cfg->stanza));
}

int ctx_wal_path(struct arena *a, const struct config *cfg, const char *given, const char **out)
{
	char cwd[4096], real[4096], *real_pg;
	const char *pg = cfg->pg.v[0].path;

	*out = given;
	if (given[0] == '/')
		return 0;
	if (pg == NULL) {
		(void)err_set(ERR_OPTION_REQUIRED, "option 'pg1-path' must be specified when relative wal "
			"paths are used");
		return err_hint("is %%f passed to %s instead of %%p?", command_name(cfg->command));
	}
	if (getcwd(cwd, sizeof(cwd)) == NULL)
		return err_sys(ERR_PATH_OPEN, "unable to get the working directory");
	/* pg1-path may be a link to where PostgreSQL really is: compare what both lead to. */
	real_pg = realpath(pg, real);
	if (strcmp(cwd, pg) != 0 && (real_pg == NULL || strcmp(cwd, real_pg) != 0)) {
		(void)err_set(ERR_OPTION_VALUE, "PostgreSQL working directory '%s' is not the same as option "
			"pg1-path '%s'", cwd, pg);
		return err_hint("is the PostgreSQL data_directory configured the same as the pg1-path option?");
	}
	*out = path_join(a, pg, given);
	return 0;
}
