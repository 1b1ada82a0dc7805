/*
 * ctx: from configuration to stores and connections.
 */
#include "cmd/ctx.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "config/load.h"
#include "repo/cluster.h"
#include "repo/layout.h"

int ctx_repos(struct arena *a, const struct config *cfg, struct ctx_repos *out)
{
	out->v = arena_zalloc(a, cfg->repo.n * sizeof(*out->v));
	out->n = 0;
	for (size_t i = 0; i < cfg->repo.n; i++) {
		const struct config_repo *r = &cfg->repo.v[i];
		if (cfg->repo_key != 0 && r->key != cfg->repo_key)
			continue;
		struct ctx_repo *repo = &out->v[out->n++];
		repo->key = r->key;
		repo->cfg = r;
		repo->store = store_posix(a, r->path);
		repo->store->buffer_size = (size_t)cfg->buffer_size;
	}
	return 0;
}

static struct store *open_pg(struct arena *a, const struct config *cfg, const struct config_pg *pg)
{
	struct store *s = store_posix(a, pg->path);

	s->buffer_size = (size_t)cfg->buffer_size;
	return s;
}

int ctx_pg(struct arena *a, const struct config *cfg, struct store **out)
{
	const struct config_pg *pg = &cfg->pg.v[0];

	if (pg->path == NULL) {
		(void)err_set(ERR_OPTION_REQUIRED, "%s command requires option: pg%u-path",
			command_name(cfg->command), pg->key);
		return err_hint("does this stanza exist?");
	}
	*out = open_pg(a, cfg, pg);
	return 0;
}

int ctx_forced_version(const struct config *cfg, const struct pg_version **out)
{
	*out = NULL;
	if (cfg->pg_version_force == NULL)
		return 0;
	*out = pg_version_by_name(cfg->pg_version_force);
	if (*out == NULL)
		return err_set(ERR_OPTION_VALUE, "'%s' is not a PostgreSQL version that pgStrata knows, for "
			"'pg-version-force' option", cfg->pg_version_force);
	return 0;
}

static struct pg_conn_opts conn_opts(struct arena *a, const struct config *cfg,
	const struct config_pg *pg)
{
	return (struct pg_conn_opts){ .socket_path = pg->socket_path, .port = (unsigned)pg->port,
		.database = pg->database, .user = pg->user, .timeout_ms = cfg->db_timeout,
		.application = arena_printf(a, "pgStrata [%s]", command_name(cfg->command)) };
}

/* Look at every cluster; the one that is not in recovery is the primary. */
static int find_primary(struct arena *a, const struct config *cfg, struct ctx_cluster *out)
{
	for (size_t i = 0; i < cfg->pg.n; i++) {
		const struct config_pg *pg = &cfg->pg.v[i];
		struct pg_conn_opts opts = conn_opts(a, cfg, pg);
		struct pg_server server;
		if (pg->path == NULL)
			continue;
		if (pg_server_open(a, &opts, &server) != 0) {
			if (err_code() == ERR_TERM)
				return -1;
			log_warn("unable to check pg%u: [%s] %s", pg->key, err_class(err_code()), err_msg());
			err_clear();
			continue;
		}
		if (server.in_recovery)
			continue;
		if (out->cfg != NULL)
			return err_set(ERR_DB_CONNECT, "more than one primary cluster found: pg%u and pg%u",
				out->cfg->key, pg->key);
		out->cfg = pg;
		out->server = server;
	}
	if (out->cfg == NULL) {
		(void)err_set(ERR_DB_CONNECT, "unable to find primary cluster - cannot proceed");
		return err_hint("are all available clusters in recovery?");
	}
	return 0;
}

static int check_server(const struct ctx_cluster *c)
{
	const struct pg_server *s = &c->server;

	if (c->control.version == s->version && strcmp(s->data_directory, c->cfg->path) == 0)
		return 0;
	(void)err_set(ERR_DB_MISMATCH, "version '%s' and path '%s' queried from cluster do not match version "
		"'%s' and path '%s' read from '%s/global/pg_control'", s->version->name, s->data_directory,
		c->control.version->name, c->cfg->path, c->cfg->path);
	return err_hint("the pg%u-path and pg%u-port settings likely reference different clusters.",
		c->cfg->key, c->cfg->key);
}

int ctx_cluster(struct arena *a, const struct config *cfg, bool online, struct ctx_cluster *out)
{
	const struct pg_version *forced;

	memset(out, 0, sizeof(*out));
	out->online = online;
	if (ctx_forced_version(cfg, &forced) != 0 || ctx_pg(a, cfg, &out->pg) != 0)
		return -1;
	if (!online)
		out->cfg = &cfg->pg.v[0];
	else if (find_primary(a, cfg, out) != 0)
		return -1;
	out->pg = open_pg(a, cfg, out->cfg);
	if (cluster_control(out->pg, forced, NULL, &out->control) != 0)
		return -1;
	return online ? check_server(out) : 0;
}

int ctx_check_archiving(const struct config *cfg, const struct pg_server *server)
{
	if (!cfg->archive_check)
		return 0;
	if (strcmp(server->archive_mode, "off") == 0)
		return err_set(ERR_ARCHIVE_DISABLED, "archive_mode must be enabled");
	if (cfg->archive_mode_check && strcmp(server->archive_mode, "always") == 0)
		return err_set(ERR_FEATURE, "archive_mode=always not supported");
	if (strstr(server->archive_command, "pgstrata") == NULL &&
		strstr(server->archive_command, "pgbackrest") == NULL)
		return err_set(ERR_ARCHIVE_COMMAND, "archive_command '%s' must contain pgstrata or pgbackrest",
			server->archive_command);
	return 0;
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

int ctx_infos(struct arena *a, const struct config *cfg, struct store *repo, struct ctx_infos *out)
{
	int rc = backup_info_load(a, repo, cfg->stanza, &out->backup);

	if (rc != 0)
		return rc < 0 ? -1 : missing_info(a, repo, layout_backup_info(a, cfg->stanza), "backup");
	rc = archive_info_load(a, repo, cfg->stanza, &out->archive);
	if (rc != 0)
		return rc < 0 ? -1 : missing_info(a, repo, layout_archive_info(a, cfg->stanza), "archive");
	const struct archive_db *ar = archive_info_current(&out->archive);
	const struct backup_db *ba = backup_info_current(&out->backup);
	if (ar->id == ba->id && ar->system_id == ba->system_id && strcmp(ar->version, ba->version) == 0)
		return 0;
	(void)err_set(ERR_FILE_INVALID, "backup info file and archive info file do not match\n"
		"archive: id = %u, version = %s, system-id = %" PRIu64 "\n"
		"backup : id = %u, version = %s, system-id = %" PRIu64,
		ar->id, ar->version, ar->system_id, ba->id, ba->version, ba->system_id);
	return err_hint("this may be a symptom of repository corruption!");
}

static int refuse_if_stopped(const char *path, const char *who)
{
	int found = file_exists(path);

	if (found < 0)
		return -1;
	return found ? err_set(ERR_STOP, "stop file exists for %s", who) : 0;
}

int ctx_check_stop(struct arena *a, const struct config *cfg)
{
	if (refuse_if_stopped(arena_printf(a, "%s/all.stop", cfg->lock_path), "all stanzas") != 0)
		return -1;
	if (cfg->stanza == NULL)
		return 0;
	return refuse_if_stopped(arena_printf(a, "%s/%s.stop", cfg->lock_path, cfg->stanza),
		arena_printf(a, "stanza %s", cfg->stanza));
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
