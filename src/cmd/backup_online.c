/*
 * backup_online: start, stop and the WAL between (format/repository.md 11.4).
 */
#include "cmd/backup_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "pg/wal.h"
#include "repo/cluster.h"

#define LABEL_PREFIX "pgStrata backup started at "
#define RESTORE_POINT "pgStrata Archive Check"
#define CLOCK_TRIES 3

static int start_function(struct backup *b)
{
	const struct config *cfg = b->cfg;

	if (!cfg->start_fast && cfg->db_timeout <= b->cluster.server.checkpoint_timeout_ms)
		log_warn("start-fast is disabled and db-timeout (%" PRId64 "s) is smaller than the PostgreSQL "
			"checkpoint_timeout (%" PRId64 "s) - timeout may occur before the backup starts",
			cfg->db_timeout / 1000, b->cluster.server.checkpoint_timeout_ms / 1000);
	log_info("execute backup start: backup begins after the %s completes",
		cfg->start_fast ? "requested immediate checkpoint" : "next regular checkpoint");
	if (pg_backup_start(b->arena, &b->cluster.server, LABEL_PREFIX, cfg->start_fast, &b->start) != 0)
		return -1;
	log_info("backup start archive = %s, lsn = %s", b->start.segment, b->start.lsn_text);
	return 0;
}

/* The files must be those of the server that was asked: its checkpoint is in this pg_control. */
static int check_started(struct backup *b)
{
	struct wal_pos pos;
	const struct pg_control *c = &b->cluster.control;

	if (cluster_control(b->cluster.pg, b->forced, NULL, &b->cluster.control) != 0)
		return -1;
	if (!wal_parse(b->start.segment, c->wal_segment_size, &pos))
		return err_set(ERR_FORMAT, "'%s' is not the name of a WAL segment", b->start.segment);
	if (c->checkpoint < b->start.lsn) {
		char lsn[24];
		lsn_print(c->checkpoint, lsn);
		(void)err_set(ERR_DB_MISMATCH, "current checkpoint '%s' is less than backup start '%s'", lsn,
			b->start.lsn_text);
		return err_hint("is pg%u-path the data directory of the server that was asked?",
			b->cluster.cfg->key);
	}
	if (pos.timeline != c->timeline)
		return err_set(ERR_DB_MISMATCH, "WAL timeline %u does not match pg_control timeline %u",
			pos.timeline, c->timeline);
	return 0;
}

static int wait_segment(struct backup *b, const char *segment, struct wal_file *found)
{
	return wal_wait(b->arena, &b->archive, segment, &b->expect, b->cfg->archive_timeout, found);
}

/* Prove before copying that archiving works: the segment in use before the start must arrive. */
static int prove_archiving(struct backup *b, const char *prior)
{
	struct wal_file found;

	if (strcmp(prior, b->start.segment) == 0) {
		if (pg_switch_wal(b->arena, &b->cluster.server, RESTORE_POINT, &prior) != 0)
			return -1;
		log_info("check archive for segment %s", prior);
	} else {
		log_info("check archive for prior segment %s", prior);
	}
	return wait_segment(b, prior, &found);
}

int backup_start_online(struct backup *b)
{
	struct arena *a = b->arena;
	struct pg_server *s = &b->cluster.server;
	const char *prior = NULL;

	if (b->archive_check && pg_insert_segment(a, s, &prior) != 0)
		return -1;
	if (backup_standby_before(b) != 0 || start_function(b) != 0 || check_started(b) != 0)
		return -1;
	if (pg_databases(a, s, &b->databases) != 0 || pg_tablespaces(a, s, &b->tablespaces) != 0)
		return -1;
	if (backup_standby_await(b) != 0)
		return -1;
	return b->archive_check ? prove_archiving(b, prior) : 0;
}

int backup_wait_copy_start(struct backup *b)
{
	if (!b->cluster.online)
		return 0;
	for (unsigned i = 0; i <= CLOCK_TRIES; i++) {
		int64_t t;
		if (pg_server_time(&b->cluster.server, &t) != 0)
			return -1;
		if (t >= b->m->copy_start)
			return 0;
		if (i > 0 && b->m->copy_start - t > 1)
			break; /* the clock went back */
		if (clock_sleep(1000 - clock_now_ms() % 1000 + 1))
			return err_set(ERR_TERM, "terminated while waiting for the next second");
	}
	return err_set(ERR_KERNEL, "PostgreSQL clock has not advanced to the next second after %d tries",
		CLOCK_TRIES);
}

int backup_stop_online(struct backup *b)
{
	struct manifest *m = b->m;
	const struct pg_control *c = &b->cluster.control;
	char segment[WAL_NAME + 1];
	int64_t t;

	if (backup_prove_servers(b) != 0)
		return -1;
	log_info("execute backup stop and wait for all WAL segments to archive");
	if (pg_backup_stop(b->arena, &b->cluster.server, &b->stop) != 0 || backup_prove_order(b) != 0)
		return -1;
	/* The last byte needed lies before the stop LSN; what pg_walfile_name says of an LSN at a segment's
	 * first byte changed in PostgreSQL 17. */
	wal_name((struct wal_pos){ c->timeline, wal_segment_before(b->stop.lsn, c->wal_segment_size) },
		c->wal_segment_size, segment);
	m->archive_start = b->start.segment;
	m->archive_stop = arena_strdup(b->arena, segment);
	m->lsn_start = b->start.lsn_text;
	m->lsn_stop = b->stop.lsn_text;
	log_info("backup stop archive = %s, lsn = %s", m->archive_stop, m->lsn_stop);
	if (pg_server_time(&b->cluster.server, &t) != 0 ||
		backup_add_file(b, "backup_label", b->stop.label_file, t) != 0)
		return -1;
	if (b->stop.tablespace_map[0] == '\0')
		return 0;
	return backup_add_file(b, "tablespace_map", b->stop.tablespace_map, t);
}

/* archive-copy: a segment into the backup, from the archive's proven file. */
static int copy_segment(struct backup *b, const char *segment, const struct wal_file *from)
{
	SCOPED_ARENA(a);
	struct manifest *m = b->m;
	char *name = arena_printf(m->arena, "pg_data/%s/%s", b->cluster.control.version->wal_dir, segment);
	const struct pipe_spec spec = { .decrypt = b->archive.pass, .expand = from->codec,
		.compress = m->codec, .level = m->level, .encrypt = m->cipher_pass, .hash_plain = true };
	struct pipe_result passed;
	const struct get_opts get = { .spec = &spec, .result = &passed };
	const struct put_opts put = { .no_dir_sync = true };

	log_detail("copy segment %s to backup", segment);
	struct sink *to = store_put(a, b->repo->store,
		arena_printf(a, "%s/%s%s", b->dir, name, codec_info(m->codec)->suffix), &put);
	if (to == NULL || store_get(b->repo->store, from->path, &get, to) != 0)
		return -1;
	if (!sum_equal(&passed.plain_sum, &from->sum))
		return err_set(ERR_CHECKSUM, "WAL segment '%s' changed while it was copied",
			store_name(a, b->repo->store, from->path));
	struct manifest_file *f = vec_add(&m->files);
	f->name = name;
	f->user = m->file_user;
	f->group = m->file_group;
	f->mode = m->file_mode;
	f->size = f->size_orig = passed.plain_size;
	f->repo_size = passed.stored_size;
	f->mtime = m->stop;
	f->sum = from->sum;
	f->has_sum = true;
	return 0;
}

int backup_prove_wal(struct backup *b)
{
	const struct pg_control *c = &b->cluster.control;
	uint64_t last = wal_segment_before(b->stop.lsn, c->wal_segment_size);
	char name[WAL_NAME + 1];

	b->m->archive_check = true;
	b->m->archive_copy = b->cfg->archive_copy;
	log_info("check archive for segment(s) %s:%s", b->m->archive_start, b->m->archive_stop);
	for (uint64_t s = wal_segment_of(b->start.lsn, c->wal_segment_size); s <= last; s++) {
		struct wal_file found;
		wal_name((struct wal_pos){ c->timeline, s }, c->wal_segment_size, name);
		if (wait_segment(b, name, &found) != 0)
			return -1;
		if (b->cfg->archive_copy && copy_segment(b, name, &found) != 0)
			return -1;
	}
	manifest_sort(b->m);
	return 0;
}
