/*
 * backup: one backup of a cluster.
 *
 * Nothing is listed before everything that it promises is durable: files, directories, the WAL that makes
 * them consistent, the manifest; backup.info comes last.  A failure before that leaves a directory without
 * backup.manifest, which the next run resumes or removes.
 */
#include "cmd/annotations.h"
#include "cmd/backup_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/losses.h"
#include "repo/catalog.h"
#include "repo/scan.h"
#include "stream/cipher.h"

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

static int check_stanza(struct backup *b)
{
	const struct backup_db *db;
	struct arena *a = b->arena;

	if (ctx_infos(a, b->cfg, b->repo, &b->infos) != 0 ||
		catalog_reconcile(a, b->repo->store, b->cfg->stanza, &b->infos.backup) != 0)
		return -1;
	db = backup_info_current(&b->infos.backup);
	if (!ctx_backup_fits(&b->infos.backup, &b->cluster.control)) {
		(void)err_set(ERR_BACKUP_MISMATCH, "PostgreSQL version %s, system-id %" PRIu64 " do not match "
			"stanza version %s, system-id %" PRIu64, b->cluster.control.version->name,
			b->cluster.control.system_id, db->version, db->system_id);
		return err_hint("is this the correct stanza?");
	}
	b->archive = ctx_wal_place(a, b->cfg, b->repo, &b->infos.archive,
		archive_info_current(&b->infos.archive));
	b->expect = (struct wal_expect){ db->version, db->system_id, b->cluster.control.wal_segment_size };
	return 0;
}

/* Since the newest backup: older gaps have been told of by that one. */
static int report_drops(struct backup *b)
{
	const struct archive_db *db = archive_info_current(&b->infos.archive);
	const struct backup_line *newest = NULL;
	struct wal_wanted wanted;
	wal_losses losses;

	wal_wanted_by(b->arena, &b->infos.backup, db->id, &wanted);
	for (size_t i = 0; i < b->infos.backup.backups.n; i++) {
		const struct backup_line *line = &b->infos.backup.backups.v[i];
		if (line->db_id == db->id && line->archive_start != NULL)
			newest = line;
	}
	if (newest != NULL) {
		wanted.since = newest->start;
		wanted.starts.v[0] = newest->archive_start;
		wanted.starts.n = 1;
	}
	if (wal_losses_load(b->arena, &b->archive, &wanted, &losses) != 0) {
		if (err_code() == ERR_TERM)
			return -1;
		log_warn("unable to look for notes of dropped WAL: [%s] %s", err_class(err_code()), err_msg());
		err_clear();
		return 0;
	}
	losses_warn(b->repo->key, &losses,
		"point-in-time recovery over it is impossible; from this backup on it is possible again.");
	return 0;
}

static int check_offline(const struct backup *b)
{
	struct store_entry e;
	int rc = store_stat(b->arena, b->cluster.pg, "postmaster.pid", &e);

	if (rc != 0)
		return rc == STORE_ABSENT ? 0 : -1;
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

/* How files are stored: as configured, unless there is a prior that this must go with. */
static int choose_storage(struct backup *b)
{
	const struct config *cfg = b->cfg;
	struct manifest *m = b->m;

	if (!codec_by_name(cfg->compress_type, &m->codec))
		return err_set(ERR_OPTION_VALUE, "'%s' is not allowed for 'compress-type' option",
			cfg->compress_type);
	m->level = (int)cfg->compress_level;
	m->bundle = b->repo->cfg->bundle;
	/* as the reference, which does not mind being asked for it */
	b->hardlink = b->repo->cfg->hardlink && b->repo->store->driver->hard_link != NULL;
	resolve_page_checks(b);
	if (backup_block_rules(b) != 0 || backup_choose_prior(b) != 0)
		return -1;
	m->compress = m->codec != CODEC_NONE;
	if (b->infos.backup.cipher_pass == NULL || m->cipher_pass != NULL)
		return 0;
	return (m->cipher_pass = cipher_new_pass(b->arena)) == NULL ? -1 : 0;
}

/* What the manifest says of this run. */
static void describe(struct backup *b)
{
	const struct config *cfg = b->cfg;
	struct manifest *m = b->m;

	/* a save point too must say of which cluster it is */
	m->db = *backup_info_current(&b->infos.backup);
	m->db.catalog_version = b->cluster.control.catalog_version;
	m->db.control_version = b->cluster.control.control_version;
	m->level_network = (int)cfg->compress_level_network;
	m->buffer_size = (uint64_t)cfg->buffer_size;
	m->process_max = (uint32_t)cfg->process_max;
	m->online = b->cluster.online;
	m->backup_standby = b->standby != NULL;
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
}

static int scan(struct backup *b)
{
	const struct scan_opts opts = { .control = &b->cluster.control, .path = b->cluster.cfg->path,
		.online = b->cluster.online, .page_check = b->m->checksum_page, .exclude = &b->cfg->exclude,
		.tablespaces = b->cluster.online ? &b->tablespaces : NULL };

	if (scan_cluster(b->cluster.pg, &opts, b->m) != 0)
		return -1;
	if (b->m->files.n == 0)
		return backup_nothing_changed();
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

	if (backup_resume(b) != 0)
		return -1;
	if (m->label != NULL)
		return 0;
	if (catalog_new_label(b->arena, b->repo->store, b->cfg->stanza, m->type, m->prior, m->start, &m->label) != 0)
		return -1;
	vec_push(&m->reference, m->label);
	b->dir = layout_backup_dir(b->arena, b->cfg->stanza, m->label);
	return backup_save_point(b);
}

static int take(struct backup *b)
{
	struct manifest *m = b->m;

	if (scan(b) != 0 || now(b, &m->copy_start) != 0)
		return -1;
	if (b->cluster.online)
		m->copy_start++;
	if (backup_plan(b) != 0)
		return -1;
	if (open_directory(b) != 0 || backup_make_dirs(b) != 0)
		return -1;
	/* The second that makes timestamps safe passes while the directory is made. */
	if (backup_wait_copy_start(b) != 0 || backup_copy(b) != 0 || backup_refer(b) != 0)
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
	if (ctx_check_stop(a, cfg) != 0 || annotations_check(&cfg->annotation) != 0 || choose_repo(&b) != 0)
		return -1;
	if (ctx_forced_version(cfg, &b.forced) != 0 || backup_open_clusters(&b) != 0 ||
		check_stanza(&b) != 0 || report_drops(&b) != 0 || choose_storage(&b) != 0)
		return -1;
	if (cfg->online ? ctx_check_archiving(cfg, &b.cluster.server) != 0 : check_offline(&b) != 0)
		return -1;
	if (now(&b, &b.m->start) != 0 || (cfg->online && backup_start_online(&b) != 0))
		return -1;
	describe(&b);
	if (take(&b) != 0)
		return -1;
	if (b.page_warnings > 0)
		log_warn("backup command encountered %u checksum warning(s), check the log file for details",
			b.page_warnings);
	return 0;
}
