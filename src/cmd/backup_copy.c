/*
 * backup_copy: all files that have to be looked at, by workers.
 *
 * A job is a file or a bundle of the plan.
 *
 * With a standby each job is for one server, and so is each worker: the first reads from the primary, as many as
 * process-max allows from the standby.  process-max says what a server has to bear, and the primary is to be spared
 * whatever it says; its part is small, so one worker is done with it long before the others.
 */
#include "cmd/backup_intern.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd/cmd.h"
#include "repo/bundle_put.h"
#include "store/ahead.h"
#include "work/pool.h"

#define TICK_MS 500

struct copy {
	struct backup *b;
	struct file_put_opts put;
	unsigned *worker; /* who has a job, for the log */
	bool *vanished;	  /* rows that the database removed */
	bool *bundled;	  /* rows that go into a bundle */
	struct ahead *ahead; /* rows that a worker is going to read; NULL: no server's files are far */
	size_t next[2]; /* job to look at; with a standby one for each server */
	size_t stored;
	uint64_t done_bytes;
	uint64_t unsaved, save_at; /* bytes copied since the last save point */
	int64_t last_ping;
};

/* What a worker goes by: the row with what it took over from the prior, but checked as if it were new. */
static struct manifest_file row_to_put(const struct backup *b, uint32_t row)
{
	struct manifest_file f = b->m->files.v[row];

	f.page_check = b->plan.rows[row].page_check;
	return f;
}

static int ask(void *ctx, uint32_t row, unsigned room)
{
	static const struct file_put_bundle bundle;
	const struct copy *c = ctx;
	const struct backup *b = c->b;
	const struct manifest_file f = row_to_put(b, row);

	return file_put_ahead(backup_source(b, &f), b->repo->store, c->bundled[row] ? &bundle : NULL, &f,
		&b->plan.rows[row], &c->put, room);
}

static void given(void *ctx, uint32_t job)
{
	const struct copy *c = ctx;
	const struct plan_job *j = &c->b->plan.jobs.v[job];

	for (uint32_t i = 0; i < j->n; i++)
		ahead_add(c->ahead, c->b->plan.order[j->first + i]);
}

static uint64_t weight(void *ctx, uint32_t job)
{
	const struct copy *c = ctx;

	return c->b->plan.jobs.v[job].size;
}

/* Store a row's file, as a member of the bundle if there is one. */
static int put_row(struct arena *a, const struct copy *c, uint32_t row, struct bundle_put *bundle,
	struct file_put_result *out)
{
	const struct backup *b = c->b;
	const struct manifest_file f = row_to_put(b, row);
	struct plan_row how = b->plan.rows[row];
	struct store *from = backup_source(b, &f);

	ahead_turn(c->ahead);
	for (;;) {
		int rc = bundle != NULL ? bundle_put_add(a, bundle, from, &f, &how, out) :
			file_put(a, from, b->repo->store, &f, &how, &c->put, out);
		if (rc != 0)
			return -1;
		if (out->again)
			ahead_lost(c->ahead);
		out->second = from != backup_source(b, &f);
		if (out->fate != FILE_VANISHED || from == b->cluster.pg)
			return 0;
		/* The standby lacks it: the primary's is as good.  What was stored of it before is gone now. */
		from = b->cluster.pg;
		if (how.action == PLAN_RESUME)
			how.action = PLAN_COPY;
	}
}

static int work_bundle(const struct copy *c, const struct plan_job *j, struct buf *out)
{
	SCOPED_ARENA(a);
	const struct backup *b = c->b;
	struct file_put_result r;
	uint64_t size;
	struct bundle_put *bundle = bundle_put_new(a, b->repo->store, j->bundle, &c->put);

	for (uint32_t i = 0; i < j->n; i++) {
		SCOPED_ARENA(member);
		if (put_row(member, c, b->plan.order[j->first + i], bundle, &r) != 0)
			return -1;
		backup_row_pack(out, &r);
	}
	if (bundle_put_finish(bundle, &size) != 0)
		return -1;
	buf_add(out, &size, sizeof(size));
	return 0;
}

static int work(void *ctx, uint32_t job, struct buf *out)
{
	SCOPED_ARENA(a);
	const struct copy *c = ctx;
	const struct plan_job *j = &c->b->plan.jobs.v[job];
	struct file_put_result r;

	if (j->bundle != 0)
		return work_bundle(c, j, out);
	if (put_row(a, c, c->b->plan.order[j->first], NULL, &r) != 0)
		return -1;
	backup_row_pack(out, &r);
	return 0;
}

static bool next(void *ctx, unsigned worker, uint32_t *job)
{
	struct copy *c = ctx;
	const struct plan *p = &c->b->plan;
	const bool two = c->b->standby != NULL, standby = two && worker > 1;
	size_t *at = &c->next[standby];

	while (*at < p->jobs.n && two && p->jobs.v[*at].bounded != standby)
		(*at)++;
	if (*at == p->jobs.n)
		return false;
	*job = (uint32_t)(*at)++;
	c->worker[*job] = worker;
	return true;
}

static int settle(struct copy *c, uint32_t row, uint32_t bundle, const struct file_put_result *r)
{
	struct backup *b = c->b;
	const uint64_t total = b->plan.total;

	c->done_bytes += b->m->files.v[row].size_orig;
	backup_row_log(b, &b->m->files.v[row], bundle, r,
		total == 0 ? 100.0 : 100.0 * (double)c->done_bytes / (double)total);
	c->vanished[row] = r->fate == FILE_VANISHED;
	if (r->fate == FILE_STORED || r->fate == FILE_EMPTIED)
		c->stored++;
	if (r->fate == FILE_STORED)
		c->unsaved += r->pipe.plain_size;
	return backup_row_settle(b, row, bundle, r);
}

static int settle_job(struct copy *c, const struct plan_job *j, const char *data, size_t len)
{
	struct backup *b = c->b;

	for (uint32_t i = 0; i < j->n; i++) {
		SCOPED_ARENA(a);
		const uint32_t row = b->plan.order[j->first + i];
		struct file_put_result r;
		if (backup_row_unpack(a, &data, &len, &r) != 0)
			return err_wrap("'%s'", b->m->files.v[row].name);
		if (settle(c, row, j->bundle, &r) != 0)
			return -1;
	}
	if (len != (j->bundle == 0 ? 0 : sizeof(*b->bundle_size)))
		return err_set(ERR_PROTOCOL, "a worker's answer has the wrong length");
	if (j->bundle != 0)
		memcpy(&b->bundle_size[j->bundle], data, len);
	return 0;
}

static int done(void *ctx, uint32_t job, int rc, const void *data, size_t len)
{
	struct copy *c = ctx;

	if (rc != 0)
		return -1;
	log_process(c->worker[job]);
	rc = settle_job(c, &c->b->plan.jobs.v[job], data, len);
	log_process(0);
	if (rc != 0 || c->unsaved < c->save_at)
		return rc;
	c->unsaved = 0;
	return backup_save_point(c->b);
}

static int tick(void *ctx)
{
	struct copy *c = ctx;

	if (cmd_progress("backup", c->b->plan.total, c->done_bytes) != 0)
		return -1;
	if (!c->b->cluster.online || clock_mono_ms() - c->last_ping < backup_ping_ms(c->b))
		return 0;
	c->last_ping = clock_mono_ms();
	return backup_ping(c->b);
}

static const char *name_of(void *ctx, uint32_t job)
{
	const struct backup *b = ((const struct copy *)ctx)->b;
	const struct plan_job *j = &b->plan.jobs.v[job];
	const char *first = b->m->files.v[b->plan.order[j->first]].name;

	return j->bundle == 0 ? first : arena_printf(b->arena, "bundle %u (%s and others)", j->bundle, first);
}

/* What the database removed is not part of the backup. */
static void drop_vanished(struct copy *c)
{
	struct manifest *m = c->b->m;
	size_t kept = 0;

	for (size_t i = 0; i < m->files.n; i++)
		if (!c->vanished[i])
			m->files.v[kept++] = m->files.v[i];
	m->files.n = kept;
	/* they speak of row numbers that do not hold any more */
	c->b->plan.rows = NULL;
	c->b->plan.order = NULL;
}

static void prepare(struct copy *c)
{
	struct backup *b = c->b;
	uint32_t bundles = 0;

	c->worker = arena_zalloc(b->arena, b->plan.jobs.n * sizeof(*c->worker));
	c->vanished = arena_zalloc(b->arena, b->m->files.n * sizeof(*c->vanished));
	c->bundled = arena_zalloc(b->arena, b->m->files.n * sizeof(*c->bundled));
	for (size_t i = 0; i < b->plan.jobs.n; i++) {
		const struct plan_job *j = &b->plan.jobs.v[i];
		if (j->bundle > bundles)
			bundles = j->bundle;
		for (uint32_t k = 0; k < j->n; k++)
			c->bundled[b->plan.order[j->first + k]] = j->bundle != 0;
	}
	b->bundle_size = arena_zalloc(b->arena, (bundles + 1) * sizeof(*b->bundle_size));
	b->bundle_max = bundles;
	c->save_at = b->plan.total / 100;
	if (c->save_at < (uint64_t)b->cfg->manifest_save_threshold)
		c->save_at = (uint64_t)b->cfg->manifest_save_threshold;
}

/* Only files whose times could not be believed were looked at, and all are what they were. */
static int withdraw(struct backup *b)
{
	return store_remove_tree(b->repo->store, b->dir) != 0 ? -1 : backup_nothing_changed();
}

static uint64_t super_size(const struct backup *b)
{
	const struct config_repo *r = b->repo->cfg;

	return (uint64_t)(b->m->type == BACKUP_FULL ? r->block_size_super_full : r->block_size_super);
}

int backup_copy(struct backup *b)
{
	struct pool_ops ops = { .next = next, .work = work, .done = done, .tick = tick, .tick_ms = TICK_MS,
		.name = name_of };
	struct copy c = { .b = b, .last_ping = clock_mono_ms(),
		.put = { .m = b->m, .stanza = b->cfg->stanza, .super_size = super_size(b),
			.backup_dir = b->dir, .codec = b->m->codec, .level = b->m->level,
			.pass = b->m->cipher_pass, .raw = b->m->bundle_raw,
			.page_size = b->m->checksum_page ? b->cluster.control.page_size : 0,
			.page_header_check = b->cfg->page_header_check, .forced = b->forced } };

	prepare(&c);
	if (ahead_helps(b->cluster.pg) || (b->standby != NULL && ahead_helps(b->standby->pg))) {
		c.ahead = ahead_new(b->arena, ask, &c);
		ops.weight = weight;
		ops.ahead = given;
	}
	int rc = pool_run((unsigned)b->cfg->process_max + (b->standby != NULL), &ops, &c);
	log_progress(NULL);
	if (rc != 0)
		return -1;
	drop_vanished(&c);
	return b->plan.asked == 0 && c.stored == 0 ? withdraw(b) : 0;
}
