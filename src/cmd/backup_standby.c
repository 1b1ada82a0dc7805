/*
 * backup_standby: two servers for one backup.
 *
 * Start and stop are the primary's, and so are the list of files, pg_control and whatever WAL does not repair.
 * Relations and transaction status (copy_bounded) come from the standby.  Why the mixture is right:
 *
 * Let S be the LSN at which recovery will start and E the one that it must reach.  Before anything is copied the
 * standby has a restart point of a checkpoint at or behind S, so its files hold every change before S.  A page
 * copied from it holds all those, and perhaps later ones; these are in the WAL from S on, which the primary wrote
 * with full page images because a backup was running there.  Recovery applies them again and repairs what was read
 * half-written; of transaction status it sets again what was set behind S.  Hints in pages may differ between the
 * servers, they are no more than hints (and where there are checksums a standby writes none).
 *
 * No page may hold a change behind E, or the restored cluster would be taken for consistent too early: the standby
 * replays what the primary has flushed, so it must have been in recovery of that primary's WAL, on its timeline, after
 * the last file was read, and E must not lie before what it had replayed by then.
 *
 * A standby that was restarted in between would still do: replay begins anew at a restart point not before the one
 * that we saw, so a page may become older, but never older than S.  But then nobody can tell any more what else was
 * done to it, and a server that goes down is likely to be changed.  Both connections are open from before the start
 * to behind the last file, and the loss of one of them ends the backup.
 *
 * A file that the list has and the standby lacks was made after what the standby has replayed, or is none that WAL
 * makes (a free space map, something that a person put there), or the standby is damaged.  The primary's copy is
 * right in all these cases, so it is taken, and nothing is lost; what the primary lacks as well was dropped, and is
 * dropped here.
 *
 * For what a later backup may refer to unread see plan.c.
 */
#include "cmd/backup_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sig.h"
#include "pg/standby.h"
#include "repo/cluster.h"

#define RESTORE_POINT "pgStrata Standby Check"
#define PING_MS 30000

/* ---- which servers ---- */

static int no_standby(const struct config *cfg)
{
	if (strcmp(cfg->backup_standby, "prefer") != 0)
		return err_set(ERR_DB_CONNECT, "unable to find standby cluster - cannot proceed");
	log_warn("unable to find a standby to perform the backup, using primary instead");
	return 0;
}

/* Pages written without checksums would be called damaged by a cluster that has them, and the other way round no harm
 * is done: it is the primary's pg_control that is restored. */
static int check_standby(const struct backup *b)
{
	const struct ctx_cluster *p = &b->cluster, *s = b->standby;

	if (s->control.system_id != p->control.system_id || s->control.version != p->control.version) {
		(void)err_set(ERR_DB_MISMATCH, "standby pg%u (version %s, system-id %" PRIu64 ") is not a "
			"standby of primary pg%u (version %s, system-id %" PRIu64 ")", s->cfg->key,
			s->control.version->name, s->control.system_id, p->cfg->key, p->control.version->name,
			p->control.system_id);
		return err_hint("do pg%u-path and pg%u-path belong to the same stanza?", p->cfg->key, s->cfg->key);
	}
	if (p->control.checksums && !s->control.checksums) {
		(void)err_set(ERR_DB_MISMATCH, "data checksums are enabled on primary pg%u but not on standby pg%u",
			p->cfg->key, s->cfg->key);
		return err_hint("enable them on the standby with pg_checksums, or make it anew.");
	}
	return 0;
}

int backup_open_clusters(struct backup *b)
{
	const struct config *cfg = b->cfg;
	const bool wanted = strcmp(cfg->backup_standby, "n") != 0;
	struct ctx_clusters all;

	if (!cfg->online && wanted)
		log_warn("option backup-standby is enabled but backup is offline - backups will be performed from the "
			"primary");
	if (!cfg->online || !wanted)
		return ctx_cluster(b->arena, cfg, cfg->online, &b->cluster);
	if (ctx_clusters(b->arena, cfg, 1, &all) != 0)
		return -1;
	if (all.primary == NULL)
		return ctx_no_primary();
	b->cluster = *all.primary;
	if (ctx_cluster_open(b->arena, cfg, &b->cluster) != 0)
		return -1;
	if (all.standbys == 0)
		return no_standby(cfg);
	b->standby = &all.standby[0];
	return ctx_cluster_open(b->arena, cfg, b->standby) != 0 ? -1 : check_standby(b);
}

struct store *backup_source(const struct backup *b, const struct manifest_file *f)
{
	return b->standby != NULL && f->copy_bounded ? b->standby->pg : b->cluster.pg;
}

/* ---- waiting for replay ---- */

static int wrong_timeline(const struct backup *b, uint32_t timeline)
{
	(void)err_set(ERR_DB_MISMATCH, "standby pg%u is on timeline %u but primary pg%u is on timeline %u",
		b->standby->cfg->key, timeline, b->cluster.cfg->key, b->cluster.control.timeline);
	return err_hint("does the standby follow this primary?");
}

static int ahead(const struct backup *b, uint64_t lsn, const char *what, const char *of)
{
	char text[24];

	lsn_print(lsn, text);
	(void)err_set(ERR_DB_MISMATCH, "standby pg%u at %s is ahead of the %s of the backup on primary pg%u at %s",
		b->standby->cfg->key, text, what, b->cluster.cfg->key, of);
	return err_hint("does the standby follow this primary?");
}

int backup_standby_before(struct backup *b)
{
	struct pg_replay now;

	if (b->standby == NULL)
		return 0;
	if (pg_replay(&b->standby->server, &now) != 0)
		return -1;
	b->standby_lsn = now.lsn > b->standby->control.checkpoint ? now.lsn : b->standby->control.checkpoint;
	return 0;
}

struct waiting {
	struct backup *b;
	struct pg_replay now;
	uint64_t moved; /* where replay was when it moved last */
	struct deadline end;
	struct backoff pause;
	int64_t last_ping;
	VEC(uint64_t) checkpoints; /* that the primary had since the start */
};

/* What it says of itself, and a signal, stand as they are; all else means that it, its session or its host is gone. */
static int lost(const struct backup *b, const struct ctx_cluster *c, const char *what)
{
	if (err_code() == ERR_DB_MISMATCH || err_code() == ERR_TERM)
		return -1;
	(void)err_wrap("%s pg%u cannot be asked any more", what, c->cfg->key);
	return err_hint("was the %s stopped or restarted during the backup?", what);
}

static int ping_primary(struct backup *b)
{
	return pg_ping(&b->cluster.server) != 0 ? lost(b, &b->cluster, "primary") : 0;
}

static int look_at_standby(const struct backup *b, struct pg_replay *now)
{
	if (pg_replay(&b->standby->server, now) != 0)
		return lost(b, b->standby, "standby");
	if (!now->in_recovery) {
		(void)err_set(ERR_DB_MISMATCH, "standby pg%u is no longer in recovery", b->standby->cfg->key);
		return err_hint("was the standby promoted during the backup?");
	}
	return now->timeline > b->cluster.control.timeline ? wrong_timeline(b, now->timeline) : 0;
}

/* Time-outs begin anew whenever replay has moved. */
static int look(struct waiting *w)
{
	struct backup *b = w->b;

	if (look_at_standby(b, &w->now) != 0)
		return -1;
	if (w->now.lsn > w->moved) {
		w->moved = w->now.lsn;
		w->end = deadline_in(b->cfg->archive_timeout);
	}
	if (clock_mono_ms() - w->last_ping < backup_ping_ms(b))
		return 0;
	w->last_ping = clock_mono_ms();
	return ping_primary(b);
}

static int timed_out(const char *what, uint64_t target, uint64_t reached)
{
	char to[24], at[24];

	lsn_print(target, to);
	lsn_print(reached, at);
	(void)err_set(ERR_ARCHIVE_TIMEOUT, "timeout before standby %s %s - only reached %s", what, to, at);
	(void)err_hint("is replication running and current on the standby?");
	return err_hint("disable the 'backup-standby' option to backup directly from the primary.");
}

/* False when time is over, or the program is to end. */
static bool wait_more(struct waiting *w)
{
	return backoff_wait(&w->pause, w->end);
}

/* A standby that takes WAL from the archive only would see the start checkpoint when its segment is full. */
static int complete_segment(struct backup *b)
{
	const char *segment;

	if (pg_switch_wal(b->arena, &b->cluster.server, RESTORE_POINT, &segment) != 0)
		return -1;
	log_detail("the standby does not receive WAL from a server: switched to complete %s", segment);
	return 0;
}

/* Until the start checkpoint's record has been replayed. */
static int await_replay(struct waiting *w)
{
	struct backup *b = w->b;
	const uint64_t record = b->cluster.control.checkpoint;
	bool switched = false;

	for (;;) {
		if (look(w) != 0)
			return -1;
		if (w->now.lsn > record)
			return 0;
		if (!w->now.receives && !switched) {
			switched = true;
			if (complete_segment(b) != 0)
				return -1;
		}
		if (wait_more(w))
			continue;
		if (sig_check() != 0)
			return -1;
		return timed_out("replayed to", w->now.lsn > b->start.lsn ? record : b->start.lsn, w->now.lsn);
	}
}

/* A copy of the cluster that was started on its own writes other WAL with the same timeline and system id; its
 * checkpoints are not where the primary's are. */
static bool is_of_primary(const struct waiting *w, uint64_t checkpoint)
{
	for (size_t i = 0; i < w->checkpoints.n; i++)
		if (w->checkpoints.v[i] == checkpoint)
			return true;
	return false;
}

static int note_primary(struct waiting *w)
{
	struct backup *b = w->b;
	struct pg_control c;

	if (cluster_control(b->cluster.pg, b->forced, NULL, &c) != 0)
		return -1;
	if (!is_of_primary(w, c.checkpoint))
		vec_push(&w->checkpoints, c.checkpoint);
	return 0;
}

static int not_of_primary(const struct waiting *w)
{
	char text[24];

	lsn_print(w->now.checkpoint, text);
	(void)err_set(ERR_DB_MISMATCH, "checkpoint %s of standby pg%u is none of primary pg%u", text,
		w->b->standby->cfg->key, w->b->cluster.cfg->key);
	return err_hint("does the standby follow this primary?");
}

/* Until the standby's files hold all that came before the start.  Not each checkpoint record can become a restart
 * point (those with open questions about missing files cannot), so it is asked for again. */
static int await_checkpoint(struct waiting *w)
{
	struct backup *b = w->b;

	for (;;) {
		if (note_primary(w) != 0)
			return -1;
		if (pg_checkpoint(&b->standby->server) != 0) {
			(void)err_hint("may the role run CHECKPOINT (a superuser, or pg_checkpoint from 15 on)?");
			return err_wrap("unable to make a checkpoint on standby pg%u", b->standby->cfg->key);
		}
		if (note_primary(w) != 0 || look(w) != 0)
			return -1;
		const bool reached = w->now.checkpoint >= b->start.lsn;
		if (reached && is_of_primary(w, w->now.checkpoint))
			return 0;
		if (wait_more(w))
			continue;
		if (sig_check() != 0)
			return -1;
		return reached ? not_of_primary(w) :
			timed_out("checkpoint lsn reached", b->start.lsn, w->now.checkpoint);
	}
}

/* The files must be those of the server that was asked, as for the primary. */
static int check_files(struct backup *b, uint64_t checkpoint)
{
	struct ctx_cluster *s = b->standby;
	const uint64_t system_id = s->control.system_id;

	if (cluster_control(s->pg, b->forced, NULL, &s->control) != 0)
		return -1;
	if (s->control.system_id != system_id || s->control.checkpoint < checkpoint) {
		(void)err_set(ERR_DB_MISMATCH, "'%s/global/pg_control' is not that of the server on pg%u-port",
			s->cfg->path, s->cfg->key);
		return err_hint("is pg%u-path the data directory of the server that was asked?", s->cfg->key);
	}
	return s->control.timeline != b->cluster.control.timeline ? wrong_timeline(b, s->control.timeline) : 0;
}

int backup_standby_await(struct backup *b)
{
	struct waiting w = { .b = b, .end = deadline_in(b->cfg->archive_timeout), .last_ping = clock_mono_ms() };

	if (b->standby == NULL)
		return 0;
	if (b->standby_lsn > b->start.lsn)
		return ahead(b, b->standby_lsn, "start", b->start.lsn_text);
	vec_init(&w.checkpoints, b->arena);
	vec_push(&w.checkpoints, b->cluster.control.checkpoint);
	log_info("wait for replay on the standby to reach %s", b->start.lsn_text);
	if (await_replay(&w) != 0 || await_checkpoint(&w) != 0 || check_files(b, w.now.checkpoint) != 0)
		return -1;
	log_info("replay on the standby reached %s", b->start.lsn_text);
	return 0;
}

/* ---- while files are copied ---- */

int64_t backup_ping_ms(const struct backup *b)
{
	const int64_t third = b->cfg->protocol_timeout / 3;

	return third > 0 && third < PING_MS ? third : PING_MS;
}

int backup_ping(struct backup *b)
{
	struct pg_replay now;

	if (ping_primary(b) != 0)
		return -1;
	if (b->standby == NULL)
		return 0;
	if (look_at_standby(b, &now) != 0)
		return -1;
	b->standby_lsn = now.lsn;
	return 0;
}

int backup_prove_servers(struct backup *b)
{
	if (backup_ping(b) != 0)
		return -1;
	return b->standby == NULL ? 0 : check_files(b, b->standby->control.checkpoint);
}

int backup_prove_order(const struct backup *b)
{
	return b->standby != NULL && b->standby_lsn > b->stop.lsn ?
		ahead(b, b->standby_lsn, "end", b->stop.lsn_text) : 0;
}
