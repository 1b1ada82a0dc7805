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
#include "repo/cluster.h"
#include "repo/layout.h"
#include "repo/wal_get.h"

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

/* Every archive id that held this cluster, newest first. */
static int find_places(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	const struct archive_info *info, const struct pg_control *control, struct wal_get_repo *out)
{
	out->places = arena_zalloc(a, info->history.n * sizeof(*out->places));
	out->n = 0;
	for (size_t i = info->history.n; i > 0; i--) {
		const struct archive_db *db = &info->history.v[i - 1];
		if (db->system_id == control->system_id &&
			strcmp(db->version, control->version->name) == 0)
			out->places[out->n++] = ctx_wal_place(a, cfg, repo, info, db);
	}
	if (out->n > 0)
		return 0;
	return err_set(ERR_ARCHIVE_MISMATCH,
		"unable to retrieve the archive id for database version '%s' and "
		"system-id '%" PRIu64 "'",
		control->version->name, control->system_id);
}

static int open_repos(struct arena *a, const struct config *cfg, const struct pg_control *control,
	struct wal_get_repo **out, size_t *n)
{
	struct ctx_repos repos;

	if (ctx_repos(a, cfg, &repos) != 0)
		return -1;
	*n = repos.n;
	*out = arena_zalloc(a, repos.n * sizeof(**out));
	for (size_t i = 0; i < repos.n; i++) {
		struct wal_get_repo *r = &(*out)[i];
		struct archive_info info;
		r->key = repos.v[i].key;
		if (archive_load(a, cfg, &repos.v[i], &info) != 0 ||
			find_places(a, cfg, &repos.v[i], &info, control, r) != 0)
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

int cmd_archive_get(struct arena *a, const struct config *cfg)
{
	struct wal_get_opts o = {.gap_wait_ms =
			archive_get_is_repeated(cfg->pg.v[0].path) ? 0 : cfg->archive_timeout,
		.gap_is_end = strcmp(cfg->archive_gap, "end") == 0,
		.buffer_size = (size_t)cfg->buffer_size};
	const struct pg_version *forced;
	struct wal_get_repo *repos;
	struct pg_control control;
	const char *from;
	size_t n;

	if (check_params(cfg) != 0 || ctx_wal_path(a, cfg, cfg->params.v[1], &o.dest) != 0)
		return -1;
	if (ctx_forced_version(cfg, &forced) != 0 || read_control(a, cfg, forced, &control) != 0)
		return -1;
	o.name = cfg->params.v[0];
	/* A fork that had to be forced into a version has WAL headers that no version has; what was stored
	 * without the check must come back without it. */
	o.expect = (struct wal_expect){control.version->name, control.system_id,
		control.wal_segment_size};
	if (forced != NULL || !cfg->archive_header_check)
		o.expect.version = NULL;
	if (open_repos(a, cfg, &control, &repos, &n) != 0)
		return -1;
	int rc = wal_get(a, &o, repos, n, &from);
	if (rc == WAL_GOT)
		log_info("found %s in the %s archive", o.name, from);
	else if (rc == WAL_ABSENT)
		log_info("unable to find %s in the archive", o.name);
	return rc;
}
