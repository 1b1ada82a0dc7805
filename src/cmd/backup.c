/*
 * backup: one full backup of a cluster.
 *
 * Nothing is listed before everything that it promises is durable: files, directories, the WAL that makes
 * them consistent, the manifest; backup.info comes last.  A failure before that leaves a directory without
 * backup.manifest, which the next run removes.
 */
#include "cmd/backup_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "cmd/cmd.h"
#include "repo/catalog.h"
#include "repo/scan.h"

static int choose_repo(struct backup *b)
{
	struct ctx_repos repos;

	if (ctx_repos(b->arena, b->cfg, &repos) != 0)
		return -1;
	b->repo = &repos.v[0];
	if (repos.n > 1)
		log_info("repo option not specified, defaulting to repo%u", b->repo->key);
	return 0;
}

/* There is no expire yet: whoever relies on retention must not find out by a full disk.  That retention is not
 * set at all is told by config_check. */
static void warn_retention(const struct backup *b)
{
	const struct config_repo *r = b->repo->cfg;

	if (!b->cfg->expire_auto)
		return;
	if (r->retention_full >= 0 || r->retention_diff >= 0 || r->retention_archive >= 0 ||
		r->retention_history >= 0)
		log_warn("retention is configured for repo%u, but this release of pgStrata has no expire "
			"command yet: nothing will be removed\nHINT: run 'pgbackrest expire' on this repository, or "
			"watch its free space.", r->key);
}

static int check_stanza(struct backup *b)
{
	const struct backup_db *db;
	struct arena *a = b->arena;

	if (ctx_infos(a, b->cfg, b->repo->store, &b->infos) != 0 ||
		catalog_reconcile(a, b->repo->store, b->cfg->stanza, &b->infos.backup) != 0)
		return -1;
	db = backup_info_current(&b->infos.backup);
	if (!ctx_backup_fits(&b->infos.backup, &b->cluster.control)) {
		(void)err_set(ERR_BACKUP_MISMATCH, "PostgreSQL version %s, system-id %" PRIu64 " do not match "
			"stanza version %s, system-id %" PRIu64, b->cluster.control.version->name,
			b->cluster.control.system_id, db->version, db->system_id);
		return err_hint("is this the correct stanza?");
	}
	b->archive_id = layout_archive_id(a, db->version, db->id);
	b->expect = (struct wal_expect){ db->version, db->system_id, b->cluster.control.wal_segment_size };
	return 0;
}

/* Only full backups are made; a request for another type is honoured as far as the reference would make a
 * full one of it, and refused otherwise. */
static int check_type(const struct backup *b)
{
	const struct backup_info *info = &b->infos.backup;
	enum backup_type type = BACKUP_FULL;

	if (!backup_type_parse(b->cfg->type, &type))
		return err_set(ERR_OPTION_VALUE, "'%s' is not allowed for 'type' option", b->cfg->type);
	if (type == BACKUP_FULL)
		return 0;
	for (size_t i = info->backups.n; i-- > 0;) {
		const struct backup_line *prior = &info->backups.v[i];
		if (prior->db_id != info->current)
			continue;
		(void)err_set(ERR_OPTION_VALUE, "'%s' is not yet supported for 'type' option when a prior backup "
			"('%s') exists", b->cfg->type, prior->label);
		return err_hint("use --type=full.");
	}
	log_warn("no prior backup exists, %s backup has been changed to full", b->cfg->type);
	return 0;
}

static int check_offline(const struct backup *b)
{
	const char *pid = path_join(b->arena, b->cluster.cfg->path, "postmaster.pid");
	int running = file_exists(pid);

	if (running <= 0)
		return running;
	if (!b->cfg->force)
		return err_set(ERR_PG_RUNNING, "--no-online passed but postmaster.pid exists - looks like "
			"PostgreSQL is running. Shut down PostgreSQL and try again, or use --force.");
	log_warn("--no-online passed and postmaster.pid exists but --force was passed so backup will continue "
		"though it looks like PostgreSQL is running and the backup will probably not be consistent");
	return 0;
}

static void resolve_page_checks(struct backup *b)
{
	bool cluster = b->cluster.control.checksums;

	b->m->checksum_page = b->cfg->checksum_page == TRI_UNSET ? b->cluster.online && cluster :
								   b->cfg->checksum_page == TRI_YES;
	if (b->m->checksum_page && !cluster) {
		log_warn("checksum-page option set to true but checksums are not enabled on the cluster, "
			"resetting to false");
		b->m->checksum_page = false;
	}
}

/* What the manifest says of this run. */
static int describe(struct backup *b)
{
	const struct config *cfg = b->cfg;
	struct manifest *m = b->m;

	if (!codec_by_name(cfg->compress_type, &m->codec))
		return err_set(ERR_OPTION_VALUE, "'%s' is not allowed for 'compress-type' option",
			cfg->compress_type);
	m->type = BACKUP_FULL;
	m->level = (int)cfg->compress_level;
	m->level_network = (int)cfg->compress_level_network;
	m->buffer_size = (uint64_t)cfg->buffer_size;
	m->process_max = (uint32_t)cfg->process_max;
	m->compress = m->codec != CODEC_NONE;
	m->online = b->cluster.online;
	for (size_t i = 0; i < cfg->annotation.n; i++)
		if (cfg->annotation.v[i].value[0] != '\0')
			vec_push(&m->annotations, ((struct annotation){ cfg->annotation.v[i].key,
				cfg->annotation.v[i].value }));
	for (size_t i = 0; i < b->databases.v.n; i++) {
		const struct pg_named_oid *d = &b->databases.v.v[i];
		vec_push(&m->dbs, ((struct manifest_db){ d->name, d->oid, 0 }));
	}
	for (size_t i = 0; i < m->dbs.n; i++)
		for (size_t k = 0; k < m->dbs.n; k++)
			if (strcmp(m->dbs.v[k].name, "template0") == 0)
				m->dbs.v[i].last_system_oid = m->dbs.v[k].oid;
	return 0;
}

static int scan(struct backup *b)
{
	const struct scan_opts opts = { .control = &b->cluster.control, .online = b->cluster.online,
		.page_check = b->m->checksum_page, .exclude = &b->cfg->exclude,
		.tablespaces = b->cluster.online ? &b->tablespaces : NULL };

	if (scan_cluster(b->cluster.pg, &opts, b->m) != 0)
		return -1;
	if (b->m->files.n == 0)
		return err_set(ERR_FILE_MISSING, "no files have changed since the last backup - this seems "
			"unlikely");
	if (b->cluster.online && manifest_file_find(b->m, "pg_data/global/pg_control") == NULL) {
		(void)err_set(ERR_FILE_MISSING, "pg_control must be present in all online backups");
		return err_hint("is something wrong with the clock or filesystem timestamps?");
	}
	return 0;
}

static int now(struct backup *b, int64_t *seconds)
{
	if (b->cluster.online)
		return pg_server_time(&b->cluster.server, seconds);
	*seconds = clock_now_ms() / 1000;
	return 0;
}

/* Label and directory; from here on there is something in the repository. */
static int open_directory(struct backup *b)
{
	struct manifest *m = b->m;

	if (backup_clear_leftover(b) != 0 ||
		catalog_new_label(b->arena, b->repo->store, b->cfg->stanza, m->type, NULL, m->start,
			&m->label) != 0)
		return -1;
	vec_push(&m->reference, m->label);
	b->dir = layout_backup_dir(b->arena, b->cfg->stanza, m->label);
	return manifest_save_copy(b->repo->store, b->cfg->stanza, m);
}

static int take(struct backup *b)
{
	struct manifest *m = b->m;

	if (scan(b) != 0 || now(b, &m->copy_start) != 0)
		return -1;
	if (b->cluster.online)
		m->copy_start++;
	if (open_directory(b) != 0 || backup_make_dirs(b) != 0)
		return -1;
	/* The second that makes timestamps safe passes while the directory is made. */
	if (backup_wait_copy_start(b) != 0 || backup_copy(b) != 0)
		return -1;
	if (b->cluster.online && backup_stop_online(b) != 0)
		return -1;
	if (backup_save_point(b) != 0 || now(b, &m->stop) != 0)
		return -1;
	if (b->cluster.online && b->archive_check && backup_prove_wal(b) != 0)
		return -1;
	return backup_publish(b);
}

int cmd_backup(struct arena *a, const struct config *cfg)
{
	struct backup b = { .arena = a, .cfg = cfg, .m = manifest_new(a),
		.archive_check = cfg->online && cfg->archive_check };

	vec_init(&b.databases.v, a);
	vec_init(&b.tablespaces.v, a);
	if (ctx_check_stop(a, cfg) != 0 || choose_repo(&b) != 0)
		return -1;
	warn_retention(&b);
	if (ctx_forced_version(cfg, &b.forced) != 0 || ctx_cluster(a, cfg, cfg->online, &b.cluster) != 0 ||
		check_stanza(&b) != 0 || check_type(&b) != 0)
		return -1;
	if (cfg->online ? ctx_check_archiving(cfg, &b.cluster.server) != 0 : check_offline(&b) != 0)
		return -1;
	resolve_page_checks(&b);
	if (now(&b, &b.m->start) != 0 || (cfg->online && backup_start_online(&b) != 0))
		return -1;
	if (describe(&b) != 0 || take(&b) != 0)
		return -1;
	if (b.page_warnings > 0)
		log_warn("backup command encountered %u checksum warning(s), check the log file for details",
			b.page_warnings);
	return 0;
}
