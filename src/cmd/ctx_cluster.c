/*
 * ctx_cluster: the clusters that a command works with: which server is what, and are the configured files its own?
 */
#include "cmd/ctx.h"

#include <string.h>

#include "base/log.h"
#include "cmd/ctx_remote.h"
#include "config/load.h"
#include "repo/cluster.h"
#include "work/remote_db.h"

/* far: the conversation with its host; NULL: it is on this one. */
static struct store *open_pg(struct arena *a, const struct config *cfg, const struct config_pg *pg, struct remote *far)
{
	struct store *s = far == NULL ? store_posix(a, pg->path) :
		store_remote(a, far, REMOTE_PLACE_PG + pg->key, pg->path);

	s->buffer_size = (size_t)cfg->buffer_size;
	return s;
}

static struct remote *host_of(const struct config *cfg, const struct config_pg *pg)
{
	return pg->host.host == NULL ? NULL : ctx_remote_pg(cfg, pg);
}

struct store *ctx_pg_store(struct arena *a, const struct config *cfg, const struct config_pg *pg)
{
	return open_pg(a, cfg, pg, host_of(cfg, pg));
}

int ctx_pg(struct arena *a, const struct config *cfg, struct store **out)
{
	const struct config_pg *pg = &cfg->pg.v[0];

	if (pg->path == NULL) {
		(void)err_set(ERR_OPTION_REQUIRED, "%s command requires option: pg%u-path",
			command_name(cfg->command), pg->key);
		return err_hint("does this stanza exist?");
	}
	*out = ctx_pg_store(a, cfg, pg);
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

const struct pg_conn_opts *ctx_pg_conn(struct arena *a, const struct config *cfg, const struct config_pg *pg)
{
	struct pg_conn_opts *o = arena_new_object(a, struct pg_conn_opts);

	*o = (struct pg_conn_opts){ .socket_path = pg->socket_path, .port = (unsigned)pg->port,
		.database = pg->database, .user = pg->user, .timeout_ms = cfg->db_timeout,
		.application = arena_printf(a, "pgStrata [%s]", command_name(cfg->command)) };
	return o;
}

/* How the server is reached is known on its host. */
static int connect_there(struct arena *a, struct remote *far, struct store *files, struct pg_server *out)
{
	const struct remote_place *place = store_remote_place(files);

	return place == NULL ? -1 : remote_db_open(a, far, place->number, out);
}

/* 1, with a warning, if it cannot be asked. */
static int connect_to(struct arena *a, const struct config *cfg, const struct config_pg *pg, struct ctx_cluster *out)
{
	struct remote *far = host_of(cfg, pg);

	*out = (struct ctx_cluster){ .online = true, .cfg = pg, .pg = open_pg(a, cfg, pg, far) };
	int rc = far == NULL ? pg_server_open(a, ctx_pg_conn(a, cfg, pg), &out->server) :
		connect_there(a, far, out->pg, &out->server);
	if (rc == 0)
		return 0;
	if (err_code() == ERR_TERM)
		return -1;
	log_warn("unable to check pg%u: [%s] %s%s%s", pg->key, err_class(err_code()), err_msg(),
		*err_hints() == '\0' ? "" : "\n", err_hints());
	err_clear();
	return 1;
}

static void close_connection(void *ctx)
{
	arena_free(ctx);
}

/* Is it one of those that are wanted?  1 if not, -1. */
static int sort_in(struct ctx_clusters *out, size_t standbys_max, const struct ctx_cluster *found)
{
	if (found->server.in_recovery) {
		if (out->standbys == standbys_max)
			return 1;
		out->standby[out->standbys++] = *found;
		return 0;
	}
	if (out->primary->cfg != NULL)
		return err_set(ERR_DB_CONNECT, "more than one primary cluster found: pg%u and pg%u",
			out->primary->cfg->key, found->cfg->key);
	*out->primary = *found;
	return 0;
}

int ctx_clusters(struct arena *a, const struct config *cfg, size_t standbys_max, struct ctx_clusters *out)
{
	*out = (struct ctx_clusters){ .primary = arena_new_object(a, struct ctx_cluster),
		.standby = arena_zalloc(a, cfg->pg.n * sizeof(*out->standby)) };
	for (size_t i = 0; i < cfg->pg.n; i++) {
		const struct config_pg *pg = &cfg->pg.v[i];
		struct ctx_cluster found;
		if (pg->path == NULL)
			continue;
		struct arena *own = arena_new();
		struct deferred *undo = arena_defer(a, close_connection, own);
		int rc = connect_to(own, cfg, pg, &found);
		if (rc == 0)
			rc = sort_in(out, standbys_max, &found);
		if (rc < 0)
			return -1;
		if (rc == 0)
			continue;
		arena_undefer(a, undo);
		arena_free(own);
	}
	if (out->primary->cfg == NULL)
		out->primary = NULL;
	return 0;
}

int ctx_no_primary(void)
{
	(void)err_set(ERR_DB_CONNECT, "unable to find primary cluster - cannot proceed");
	return err_hint("are all available clusters in recovery?");
}

int ctx_cluster_open(struct arena *a, const struct config *cfg, struct ctx_cluster *c)
{
	const struct pg_server *s = &c->server;
	const struct pg_version *forced;

	if (c->pg == NULL)
		c->pg = ctx_pg_store(a, cfg, c->cfg);
	if (ctx_forced_version(cfg, &forced) != 0 || cluster_control(c->pg, forced, NULL, &c->control) != 0)
		return -1;
	if (!c->online || (c->control.version == s->version && strcmp(s->data_directory, c->cfg->path) == 0))
		return 0;
	(void)err_set(ERR_DB_MISMATCH, "version '%s' and path '%s' queried from cluster do not match version "
		"'%s' and path '%s' read from '%s/global/pg_control'", s->version->name, s->data_directory,
		c->control.version->name, c->cfg->path, c->cfg->path);
	return err_hint("the pg%u-path and pg%u-port settings likely reference different clusters.",
		c->cfg->key, c->cfg->key);
}

int ctx_cluster(struct arena *a, const struct config *cfg, bool online, struct ctx_cluster *out)
{
	struct ctx_clusters all;
	struct store *lowest;

	if (ctx_pg(a, cfg, &lowest) != 0)
		return -1;
	*out = (struct ctx_cluster){ .cfg = &cfg->pg.v[0] };
	if (online) {
		if (ctx_clusters(a, cfg, 0, &all) != 0)
			return -1;
		if (all.primary == NULL)
			return ctx_no_primary();
		*out = *all.primary;
	}
	return ctx_cluster_open(a, cfg, out);
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
