/*
 * archive-get: PostgreSQL's restore_command.
 *
 * 1 says "proven absent" and ends a recovery; whatever is not proven is -1, and archive_get_exit
 * turns that into what PostgreSQL must see (P2).
 */
#include "cmd/cmd.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "cmd/archive.h"
#include "cmd/archive_get_async.h"
#include "repo/cluster.h"
#include "repo/layout.h"

static int check_params(const struct config *cfg)
{
	if (cfg->params.n < 1)
		return err_set(ERR_PARAM_REQUIRED, "WAL segment to get required");
	if (cfg->params.n < 2)
		return err_set(ERR_PARAM_REQUIRED, "path to copy WAL segment required");
	if (cfg->params.n > 2)
		return err_set(ERR_PARAM_INVALID, "extra parameters found");
	return 0;
}

/* Restore made the checkpoint invalid: without backup_label the cluster would recover from nowhere.
 */
static int check_label(struct arena *a, struct store *pg, const struct pg_control *control)
{
	struct store_entry e;

	if (control->checkpoint != PG_CHECKPOINT_INVALID)
		return 0;
	int rc = store_stat(a, pg, "backup_label", &e);
	if (rc != STORE_ABSENT)
		return rc;
	(void)err_set(ERR_FORMAT, "pg_control from backup is not valid without backup_label");
	return err_hint("was the backup_label file removed?");
}

static int find_places(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	const struct archive_info *info, const struct pg_control *control, struct wal_get_repo *out)
{
	out->places = archive_places(a, cfg, repo, info, control->version->name, control->system_id, &out->n);
	if (out->n > 0)
		return 0;
	return err_set(ERR_ARCHIVE_MISMATCH,
		"unable to retrieve the archive id for database version '%s' and "
		"system-id '%" PRIu64 "'",
		control->version->name, control->system_id);
}

int archive_get_repos(struct arena *a, const struct archive_get *g, struct wal_get_repo **out, size_t *n)
{
	struct ctx_repos repos;

	if (ctx_repos(a, g->cfg, &repos) != 0)
		return -1;
	*n = repos.n;
	*out = arena_zalloc(a, repos.n * sizeof(**out));
	for (size_t i = 0; i < repos.n; i++) {
		struct wal_get_repo *r = &(*out)[i];
		struct archive_info info;
		r->key = repos.v[i].key;
		if (archive_load(a, g->cfg, &repos.v[i], &info) != 0 ||
			find_places(a, g->cfg, &repos.v[i], &info, &g->control, r) != 0)
			r->failed = err_take(a);
	}
	return 0;
}

static int read_control(struct arena *a, const struct config *cfg, const struct pg_version *forced,
	struct pg_control *control)
{
	struct store *pg;

	if (ctx_pg(a, cfg, &pg) != 0 || cluster_control(pg, forced, NULL, control) != 0)
		return -1;
	return check_label(a, pg, control);
}

static int prepare(struct arena *a, const struct config *cfg, struct archive_get *g)
{
	const struct pg_version *forced;

	*g = (struct archive_get){.cfg = cfg,
		.opts = {.gap_wait_ms = archive_get_is_repeated(cfg->pg.v[0].path) ? 0 : cfg->archive_timeout,
			.gap_is_end = strcmp(cfg->archive_gap, "end") == 0,
			.buffer_size = (size_t)cfg->buffer_size}};
	if (check_params(cfg) != 0 || ctx_wal_path(a, cfg, cfg->params.v[1], &g->opts.dest) != 0)
		return -1;
	if (ctx_forced_version(cfg, &forced) != 0 || read_control(a, cfg, forced, &g->control) != 0)
		return -1;
	g->opts.name = cfg->params.v[0];
	/* A fork that had to be forced into a version has WAL headers that no version has; what was stored
	 * without the check must come back without it. */
	g->opts.expect = (struct wal_expect){g->control.version->name, g->control.system_id,
		g->control.wal_segment_size};
	if (forced != NULL || !cfg->archive_header_check)
		g->opts.expect.version = NULL;
	return 0;
}

int archive_get_sync(struct arena *a, const struct archive_get *g)
{
	struct wal_get_repo *repos;
	struct wal_got got;
	size_t n;

	if (archive_get_repos(a, g, &repos, &n) != 0)
		return -1;
	int rc = wal_get(a, &g->opts, repos, n, &got);
	if (rc == WAL_GOT)
		log_info("found %s in the %s archive", g->opts.name, got.from);
	else if (rc == WAL_ABSENT)
		log_info("unable to find %s in the archive", g->opts.name);
	return rc;
}

int cmd_archive_get(struct arena *a, const struct config *cfg)
{
	struct archive_get g;

	if (prepare(a, cfg, &g) != 0)
		return -1;
	/* history files come once each, and others are small */
	if (cfg->archive_async && wal_kind(g.opts.name) == WAL_SEGMENT)
		return archive_get_async(a, &g);
	return archive_get_sync(a, &g);
}
