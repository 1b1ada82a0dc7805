/*
 * restore_copy: all files of a backup into the data directory, by workers.
 */
#include "cmd/restore_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "cmd/cmd.h"
#include "repo/file_get.h"
#include "repo/layout.h"
#include "repo/order.h"
#include "work/pool.h"

#define TICK_MS 500

struct copy {
	struct restore *r;
	uint32_t *order; /* rows, largest first */
	unsigned *worker; /* who has a row, for the log */
	size_t next;
	uint64_t total, done_bytes;
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

static bool next(void *ctx, unsigned worker, uint32_t *job)
{
	struct copy *c = ctx;
	const struct manifest *m = c->r->m;

	while (c->next < m->files.n && restore_is_left_out(m->files.v[c->order[c->next]].name)) {
		log_detail("skip 'tablespace_map' -- tablespace links will be created based on mappings");
		c->next++;
	}
	if (c->next == m->files.n)
		return false;
	*job = c->order[c->next++];
	c->worker[*job] = worker;
	return true;
}

static int work(void *ctx, uint32_t job, struct buf *answer)
{
	SCOPED_ARENA(a);
	struct copy *c = ctx;
	struct restore *r = c->r;
	const struct manifest_file *f = &r->m->files.v[job];
	struct file_get_opts opts = { .stanza = r->cfg->stanza, .label = r->m->label, .codec = r->m->codec,
		.delta = r->delta, .delta_by_time = r->delta_by_time, .copy_start = r->m->copy_start,
		.dest_name = is_control(f) ? CONTROL_TEMP : NULL, .set_owner = r->as_root, .no_fsync = true };
	const struct restore_place *link = restore_place_of_link(r, f->name);
	struct file_get_result result;
	struct store *to = r->pg;

	/* a linked file is written where it is, not through the link */
	if (link != NULL) {
		to = store_posix(a, link->dir);
		opts.dest_name = link->file;
	}
	opts.zeroed = restore_is_zeroed(r, f);
	restore_owner(r, f->user, f->group, &opts.uid, &opts.gid);
	if (file_get(a, r->repo->store, to, f, &opts, &result) != 0)
		return -1;
	buf_add(answer, &result, sizeof(result));
	return 0;
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
		f->size == 0 ? " - exists and is zero size" :
		!c->r->delta_by_time ? " - exists and matches backup" :
		arena_printf(a, " - exists and matches size %" PRIu64 " and modification time %" PRId64, f->size,
			f->mtime);

	bool zeroed = result->how == FILE_GET_ZEROED, summed = !zeroed && f->size != 0;
	sum_hex(&f->sum, hex);
	log_detail("restore %s %s%s (%s, %.2f%%)%s%s", zeroed ? "zeroed file" : "file",
		store_name(a, c->r->pg, manifest_pg_path(f->name)), kept, str_size(a, f->size), percent,
		summed ? " checksum " : "", summed ? hex : "");
}

static int done(void *ctx, uint32_t job, int rc, const void *data, size_t len)
{
	struct copy *c = ctx;
	const struct manifest_file *f = &c->r->m->files.v[job];
	struct file_get_result result;

	if (rc != 0)
		return -1;
	if (len != sizeof(result))
		return err_set(ERR_PROTOCOL, "a worker's answer about '%s' has the wrong length", f->name);
	memcpy(&result, data, sizeof(result));
	c->done_bytes += f->size;
	log_process(c->worker[job]);
	log_restored(c, f, &result);
	log_process(0);
	return 0;
}

static int tick(void *ctx)
{
	struct copy *c = ctx;

	return cmd_progress("restore", c->total, c->done_bytes);
}

static const char *name_of(void *ctx, uint32_t job)
{
	const struct copy *c = ctx;

	return c->r->m->files.v[job].name;
}

int restore_copy(struct restore *r)
{
	static const struct pool_ops ops = { .next = next, .work = work, .done = done, .tick = tick,
		.tick_ms = TICK_MS, .name = name_of };
	struct copy c = { .r = r, .order = rows_by_size(r->arena, r->m),
		.worker = arena_zalloc(r->arena, r->m->files.n * sizeof(unsigned)) };

	for (size_t i = 0; i < r->m->files.n; i++)
		c.total += r->m->files.v[i].size;
	int rc = pool_run((unsigned)r->cfg->process_max, &ops, &c);
	log_progress(NULL);
	return rc;
}
