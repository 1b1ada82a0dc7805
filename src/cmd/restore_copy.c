/*
 * restore_copy: all files of a backup into the data directory, by workers.
 */
#include "cmd/restore_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "repo/block_stored.h"
#include "repo/file_get.h"
#include "store/ahead.h"
#include "work/pool.h"

#define TICK_MS 500

struct copy {
	struct restore *r;
	struct restore_jobs all;
	size_t next;
	uint64_t total, done_bytes;
	struct ahead *ahead; /* jobs that a worker is going to read; NULL: the repository is not far */
};

static bool is_control(const struct manifest_file *f)
{
	return strcmp(f->name, CONTROL_NAME) == 0;
}

/* The server would make the links anew from it; they are made by the restore. */
bool restore_is_left_out(const char *name)
{
	return strcmp(name, "pg_data/tablespace_map") == 0;
}

static const struct manifest_file *file_of(const struct copy *c, const struct restore_job *job, size_t i)
{
	return &c->r->m->files.v[c->all.rows[job->first + i]];
}

static bool next(void *ctx, unsigned worker, uint32_t *job)
{
	struct copy *c = ctx;

	if (c->next == c->all.jobs.n)
		return false;
	*job = (uint32_t)c->next++;
	c->all.jobs.v[*job].worker = worker;
	return true;
}

static struct file_get_item item_of(struct arena *a, struct restore *r, const struct manifest_file *f)
{
	struct file_get_item item = { .f = f, .pg = r->pg,
		.opts = { .stanza = r->cfg->stanza, .m = r->m, .delta = r->delta,
			.delta_by_time = r->delta_by_time, .dest_name = is_control(f) ? CONTROL_TEMP : NULL,
			.set_owner = r->as_root, .no_fsync = true, .zeroed = restore_is_zeroed(r, f) } };
	const struct restore_place *link = restore_place_of_link(r, f->name);

	/* a linked file is written where it is, not through the link */
	if (link != NULL) {
		item.pg = store_posix(a, link->dir);
		item.opts.dest_name = link->file;
	}
	restore_owner(r, f->user, f->group, &item.opts.uid, &item.opts.gid);
	return item;
}

static struct file_get_item *items_of(struct arena *a, const struct copy *c, const struct restore_job *job)
{
	struct file_get_item *items = arena_alloc(a, job->n * sizeof(*items));

	for (size_t i = 0; i < job->n; i++)
		items[i] = item_of(a, c->r, file_of(c, job, i));
	return items;
}

static int ask(void *ctx, uint32_t number, unsigned room)
{
	SCOPED_ARENA(a);
	const struct copy *c = ctx;
	struct store *repo = c->r->repo->store;
	const struct restore_job *job = &c->all.jobs.v[number];
	struct file_get_item *items = items_of(a, c, job);

	if (job->bundle)
		return bundle_get_ahead(repo, items, job->n, room);
	return job->n == 1 ? file_get_ahead(repo, items->pg, items->f, &items->opts) : AHEAD_UNKNOWN;
}

static void given(void *ctx, uint32_t number)
{
	ahead_add(((struct copy *)ctx)->ahead, number);
}

static uint64_t weight(void *ctx, uint32_t number)
{
	return ((const struct copy *)ctx)->all.jobs.v[number].bytes;
}

static int get_each(struct store *repo, struct file_get_item *items, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		SCOPED_ARENA(a);
		if (file_get(a, repo, items[i].pg, items[i].f, &items[i].opts, &items[i].result) != 0)
			return -1;
	}
	return 0;
}

static int work(void *ctx, uint32_t number, struct buf *answer)
{
	SCOPED_ARENA(a);
	struct copy *c = ctx;
	struct store *repo = c->r->repo->store;
	const struct restore_job *job = &c->all.jobs.v[number];
	struct file_get_item *items = items_of(a, c, job);
	bool asked = ahead_turn(c->ahead);

	if ((job->bundle ? bundle_get(repo, items, job->n, asked) : get_each(repo, items, job->n)) != 0)
		return -1;
	for (size_t i = 0; i < job->n; i++)
		buf_add(answer, &items[i].result, sizeof(items[i].result));
	return 0;
}

/* Where in a bundle a file lies, as the log has it. */
static const char *bundle_text(struct arena *a, const struct manifest_file *f)
{
	if (f->bundle == 0)
		return "";
	return arena_printf(a, "bundle %s%s%" PRIu32 "/%" PRIu64 ", ", f->reference != NULL ? f->reference : "",
		f->reference != NULL ? "/" : "", f->bundle, f->bundle_offset);
}

/* Of what was written: that it is stored as blocks, and how much it was if not all. */
static const char *blocks_text(struct arena *a, const struct manifest_file *f,
	const struct file_get_result *result)
{
	if (!block_is_stored(f) || result->how != FILE_GET_WRITTEN)
		return "";
	if (result->written == f->size)
		return "bi ";
	return arena_printf(a, "bi %s/", str_size(a, result->written));
}

static void log_restored(const struct copy *c, const struct manifest_file *f,
	const struct file_get_result *result)
{
	if (!log_wants(LOG_DETAIL))
		return;
	SCOPED_ARENA(a);
	char hex[SHA1_HEX + 1];
	double percent = c->total == 0 ? 100.0 : 100.0 * (double)c->done_bytes / (double)c->total;
	const char *kept = result->how != FILE_GET_KEPT ? "" :
		c->r->delta_by_time ? arena_printf(a, " - exists and matches size %" PRIu64 " and modification time %" PRId64,
			f->size, f->mtime) :
		f->size == 0 ? " - exists and is zero size" : " - exists and matches backup";

	bool zeroed = result->how == FILE_GET_ZEROED, summed = !zeroed && f->size != 0;
	sum_hex(&f->sum, hex);
	log_detail("restore %s %s%s (%s%s%s, %.2f%%)%s%s", zeroed ? "zeroed file" : "file",
		store_name(a, c->r->pg, manifest_pg_path(f->name)), kept, bundle_text(a, f),
		blocks_text(a, f, result), str_size(a, f->size), percent, summed ? " checksum " : "",
		summed ? hex : "");
}

static int done(void *ctx, uint32_t number, int rc, const void *data, size_t len)
{
	struct copy *c = ctx;
	const struct restore_job *job = &c->all.jobs.v[number];
	struct file_get_result result;

	if (rc != 0)
		return -1;
	if (len != job->n * sizeof(result))
		return err_set(ERR_PROTOCOL, "a worker's answer about '%s' has the wrong length",
			file_of(c, job, 0)->name);
	log_process(job->worker);
	for (size_t i = 0; i < job->n; i++) {
		memcpy(&result, (const char *)data + i * sizeof(result), sizeof(result));
		c->done_bytes += file_of(c, job, i)->size;
		log_restored(c, file_of(c, job, i), &result);
	}
	log_process(0);
	return 0;
}

static int tick(void *ctx)
{
	struct copy *c = ctx;

	return cmd_progress("restore", c->total, c->done_bytes);
}

/* A worker that died says nothing: the first file of its job stands for all. */
static const char *name_of(void *ctx, uint32_t number)
{
	const struct copy *c = ctx;

	return file_of(c, &c->all.jobs.v[number], 0)->name;
}

int restore_copy(struct restore *r)
{
	struct pool_ops ops = { .next = next, .work = work, .done = done, .tick = tick, .tick_ms = TICK_MS,
		.name = name_of };
	struct copy c = { .r = r };

	if (ahead_helps(r->repo->store)) {
		c.ahead = ahead_new(r->arena, ask, &c);
		ops.weight = weight;
		ops.ahead = given;
	}

	restore_cut_jobs(r, &c.all);
	for (size_t i = 0; i < r->m->files.n; i++)
		c.total += r->m->files.v[i].size;
	int rc = pool_run((unsigned)r->cfg->process_max, &ops, &c);
	log_progress(NULL);
	return rc;
}
