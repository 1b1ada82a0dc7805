/*
 * backup_copy: all files of the manifest into the backup, by workers.
 *
 * A job is a row of the manifest; the largest files go first, so that no worker is left alone with a large
 * one at the end.  Rows are only changed in the leader, from the workers' answers.
 */
#include "cmd/backup_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "repo/file_put.h"
#include "repo/order.h"
#include "work/pool.h"

#define TICK_MS 500
#define PING_MS 30000

struct copy {
	struct backup *b;
	struct file_put_opts put;
	uint32_t *order;   /* rows, largest first */
	unsigned *worker;  /* who has a row, for the log */
	bool *vanished;	   /* rows that the database removed */
	size_t next;
	uint64_t total, done_bytes;
	uint64_t unsaved, save_at; /* bytes copied since the last save point */
	int64_t last_ping;
};

/* An answer on its way: fixed part, then the bad ranges. */
struct answer {
	bool vanished, misaligned;
	uint64_t plain_size, stored_size;
	struct sum plain_sum, stored_sum;
	uint32_t bad_n;
};

static int work(void *ctx, uint32_t job, struct buf *out)
{
	SCOPED_ARENA(a);
	struct copy *c = ctx;
	struct file_put_result r;

	if (file_put(a, c->b->cluster.pg, c->b->repo->store, &c->b->m->files.v[job], &c->put, &r) != 0)
		return -1;
	const struct answer answer = { .vanished = r.vanished, .misaligned = r.pipe.pages.misaligned,
		.plain_size = r.pipe.plain_size, .stored_size = r.pipe.stored_size,
		.plain_sum = r.pipe.plain_sum, .stored_sum = r.pipe.stored_sum,
		.bad_n = (uint32_t)r.pipe.pages.bad.n };
	buf_add(out, &answer, sizeof(answer));
	if (answer.bad_n > 0)
		buf_add(out, r.pipe.pages.bad.v, answer.bad_n * sizeof(struct page_range));
	return 0;
}

static bool next(void *ctx, unsigned worker, uint32_t *job)
{
	struct copy *c = ctx;

	if (c->next == c->b->m->files.n)
		return false;
	*job = c->order[c->next++];
	c->worker[*job] = worker;
	return true;
}

/* "at page 0" or "at pages 1-3, 7, 9". */
static char *page_list(struct arena *a, const struct page_range *v, uint32_t n)
{
	struct buf text;

	buf_init(&text, a);
	for (uint32_t i = 0; i < n; i++) {
		buf_adds(&text, i == 0 ? "" : ", ");
		buf_addf(&text, v[i].first == v[i].last ? "%u" : "%u-%u", v[i].first, v[i].last);
	}
	return text.data;
}

static int report_pages(struct copy *c, const struct manifest_file *f, const struct answer *r,
	const struct page_range *bad)
{
	SCOPED_ARENA(a);
	const char *name = store_name(a, c->b->cluster.pg, manifest_pg_path(f->name));
	bool one = r->bad_n == 1 && bad[0].first == bad[0].last;
	const char *text = r->misaligned ?
		arena_printf(a, "page misalignment in file %s: file size %" PRIu64 " is not divisible by page "
			"size %u", name, r->plain_size, c->put.page_size) :
		arena_printf(a, "invalid page checksum%s found in file %s at page%s %s", one ? "" : "s", name,
			one ? "" : "s", page_list(a, bad, r->bad_n));

	if (c->b->cfg->checksum_page_error)
		return err_set(ERR_CHECKSUM, "%s", text);
	log_warn("%s", text);
	c->b->page_warnings++;
	return 0;
}

static void log_copied(const struct copy *c, const struct manifest_file *f, const struct answer *r)
{
	if (!log_wants(LOG_DETAIL))
		return;
	SCOPED_ARENA(a);
	char hex[SHA1_HEX + 1];
	const char *name = store_name(a, c->b->cluster.pg, manifest_pg_path(f->name));
	const char *size = str_size(a, r->plain_size);
	double percent = c->total == 0 ? 100.0 : 100.0 * (double)c->done_bytes / (double)c->total;

	if (r->vanished) {
		log_detail("skip file removed by database %s", name);
		return;
	}
	if (r->plain_size != f->size_orig)
		size = arena_printf(a, "%s->%s", str_size(a, f->size_orig), size);
	sum_hex(&r->plain_sum, hex);
	log_detail("backup file %s (%s, %.2f%%)%s%s", name, size, percent,
		r->plain_size == 0 ? "" : " checksum ", r->plain_size == 0 ? "" : hex);
}

static int fill_row(struct copy *c, struct manifest_file *f, const struct answer *r,
	const struct page_range *bad)
{
	f->size = r->plain_size;
	f->sum = r->plain_sum;
	f->has_sum = true;
	f->repo_size = r->stored_size;
	f->repo_sum = r->stored_sum;
	f->has_repo_sum = c->put.codec != CODEC_NONE;
	f->page_ok = !r->misaligned && r->bad_n == 0;
	if (!f->page_check || f->page_ok)
		return 0;
	if (!r->misaligned) {
		f->bad = arena_memdup(c->b->m->arena, bad, r->bad_n * sizeof(*bad));
		f->bad_n = r->bad_n;
	}
	return report_pages(c, f, r, bad);
}

static int done(void *ctx, uint32_t job, int rc, const void *data, size_t len)
{
	struct copy *c = ctx;
	struct manifest_file *f = &c->b->m->files.v[job];
	struct answer r;

	if (rc != 0)
		return -1;
	if (len < sizeof(r))
		return err_set(ERR_PROTOCOL, "a worker's answer about '%s' is too short", f->name);
	memcpy(&r, data, sizeof(r));
	if (len != sizeof(r) + r.bad_n * sizeof(struct page_range))
		return err_set(ERR_PROTOCOL, "a worker's answer about '%s' has the wrong length", f->name);
	c->done_bytes += f->size_orig;
	log_process(c->worker[job]);
	log_copied(c, f, &r);
	log_process(0);
	if (r.vanished) {
		c->vanished[job] = true;
		return 0;
	}
	SCOPED_ARENA(a);
	const struct page_range *bad =
		arena_memdup(a, (const char *)data + sizeof(r), r.bad_n * sizeof(*bad));
	if (fill_row(c, f, &r, bad) != 0)
		return -1;
	c->unsaved += r.plain_size;
	if (c->unsaved < c->save_at)
		return 0;
	c->unsaved = 0;
	return manifest_save_copy(c->b->repo->store, c->b->cfg->stanza, c->b->m);
}

static int tick(void *ctx)
{
	struct copy *c = ctx;

	if (cmd_progress("backup", c->total, c->done_bytes) != 0)
		return -1;
	if (!c->b->cluster.online || clock_mono_ms() - c->last_ping < PING_MS)
		return 0;
	c->last_ping = clock_mono_ms();
	return pg_ping(&c->b->cluster.server);
}

static const char *name_of(void *ctx, uint32_t job)
{
	const struct copy *c = ctx;

	return c->b->m->files.v[job].name;
}

static void plan_rows(struct copy *c)
{
	const struct manifest *m = c->b->m;

	c->order = rows_by_size(c->b->arena, m);
	c->worker = arena_zalloc(c->b->arena, m->files.n * sizeof(*c->worker));
	c->vanished = arena_zalloc(c->b->arena, m->files.n * sizeof(*c->vanished));
	for (size_t i = 0; i < m->files.n; i++)
		c->total += m->files.v[i].size_orig;
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
}

int backup_copy(struct backup *b)
{
	static const struct pool_ops ops = { .next = next, .work = work, .done = done, .tick = tick,
		.tick_ms = TICK_MS, .name = name_of };
	struct copy c = { .b = b, .last_ping = clock_mono_ms(),
		.put = { .backup_dir = b->dir, .codec = b->m->codec, .level = b->m->level,
			.page_size = b->m->checksum_page ? b->cluster.control.page_size : 0,
			.page_header_check = b->cfg->page_header_check, .forced = b->forced } };

	plan_rows(&c);
	c.save_at = c.total / 100;
	if (c.save_at < (uint64_t)b->cfg->manifest_save_threshold)
		c.save_at = (uint64_t)b->cfg->manifest_save_threshold;
	int rc = pool_run((unsigned)b->cfg->process_max, &ops, &c);
	log_progress(NULL);
	if (rc == 0)
		drop_vanished(&c);
	return rc;
}
