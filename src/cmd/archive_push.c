/*
 * archive-push: PostgreSQL's archive_command.
 *
 * Exit 0 makes PostgreSQL recycle the segment, so it is given only when every repository has it
 * (P1).
 */
#include "cmd/cmd.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "cmd/archive.h"
#include "repo/cluster.h"
#include "repo/layout.h"
#include "repo/wal_check.h"
#include "repo/wal_put.h"
#include "stream/codec.h"

/* Whose WAL this is: what pg_control says, or without pg1-path what the repositories agree on. */
struct owner {
	const char *version; /* NULL: not known yet */
	uint64_t system_id;
	unsigned key; /* repository that said so; 0: pg_control */
};

static int read_owner(struct arena *a, const struct config *cfg, struct owner *out)
{
	const struct pg_version *forced;
	struct pg_control control;
	struct store *pg;

	memset(out, 0, sizeof(*out));
	if (cfg->pg.n == 0 || cfg->pg.v[0].path == NULL)
		return 0;
	if (ctx_forced_version(cfg, &forced) != 0 || ctx_pg(a, cfg, &pg) != 0 ||
		cluster_control(pg, forced, NULL, &control) != 0)
		return -1;
	out->version = control.version->name;
	out->system_id = control.system_id;
	return 0;
}

static int check_owner(struct owner *owner, const struct archive_db *db, unsigned key)
{
	if (owner->version == NULL) {
		*owner = (struct owner){db->version, db->system_id, key};
		return 0;
	}
	if (owner->system_id == db->system_id && strcmp(owner->version, db->version) == 0)
		return 0;
	if (owner->key == 0)
		(void)err_set(ERR_ARCHIVE_MISMATCH,
			"PostgreSQL version %s, system-id %" PRIu64
			" do not match repo%u stanza version %s, system-id %" PRIu64,
			owner->version, owner->system_id, key, db->version, db->system_id);
	else
		(void)err_set(ERR_ARCHIVE_MISMATCH,
			"repo%u stanza version %s, system-id %" PRIu64
			" do not match repo%u stanza version %s, system-id %" PRIu64,
			owner->key, owner->version, owner->system_id, key, db->version,
			db->system_id);
	return err_hint("are you archiving to the correct stanza?");
}

static int open_repo(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	struct owner *owner, struct wal_put_repo *out)
{
	struct archive_info info;

	out->key = repo->key;
	if (archive_load(a, cfg, repo, &info) != 0)
		return -1;
	const struct archive_db *db = archive_info_current(&info);
	out->place = ctx_wal_place(a, cfg, repo, &info, db);
	return check_owner(owner, db, repo->key);
}

/* All repositories; the unusable ones are marked, and only if all are this fails. */
static int open_repos(struct arena *a, const struct config *cfg, struct owner *owner,
	struct wal_put_repo **out, size_t *n)
{
	struct ctx_repos repos;
	struct buf lines;
	size_t failed = 0;

	if (ctx_repos(a, cfg, &repos) != 0)
		return -1;
	buf_init(&lines, a);
	*n = repos.n;
	*out = arena_zalloc(a, repos.n * sizeof(**out));
	for (size_t i = 0; i < repos.n; i++) {
		struct wal_put_repo *r = &(*out)[i];
		if (open_repo(a, cfg, &repos.v[i], owner, r) == 0)
			continue;
		r->failed = err_take(a);
		wal_add_failure(&lines, r->key, r->failed);
		failed++;
	}
	if (failed == repos.n)
		return err_set(
			ERR_REPO_INVALID, "unable to find a valid repository:%s", lines.data);
	return 0;
}

int cmd_archive_push(struct arena *a, const struct config *cfg)
{
	struct wal_put_opts o = {.level = (int)cfg->compress_level,
		.header_check = cfg->archive_header_check,
		.mode_check = cfg->archive_mode_check,
		.buffer_size = (size_t)cfg->buffer_size};
	struct wal_put_repo *repos;
	struct owner owner;
	size_t n;

	if (cfg->params.n != 1)
		return err_set(ERR_PARAM_REQUIRED, "WAL segment to push required");
	if (ctx_check_stop(a, cfg) != 0 || ctx_wal_path(a, cfg, cfg->params.v[0], &o.source) != 0)
		return -1;
	if (!codec_by_name(cfg->compress_type, &o.codec))
		return err_set(ERR_OPTION_VALUE, "'%s' is not allowed for 'compress-type' option",
			cfg->compress_type);
	if (read_owner(a, cfg, &owner) != 0 || open_repos(a, cfg, &owner, &repos, &n) != 0)
		return -1;
	o.name = path_base(o.source);
	o.version = owner.version;
	o.system_id = owner.system_id;
	if (wal_put(a, &o, repos, n) != 0)
		return -1;
	log_info("pushed WAL file '%s' to the archive", o.name);
	return 0;
}
