/*
 * file_put: one cluster file into the repository, in one pass over its bytes where that is possible.
 *
 * The stored file is written under its final name and fsynced: an unfinished backup has no manifest, so
 * partial files are harmless (format/repository.md 1.2).  It comes into being with its first byte, so that a
 * file that vanished or proves unchanged touches nothing.
 */
#include "repo/file_put.h"

#include <string.h>

#include "base/path.h"
#include "repo/block_load.h"
#include "repo/block_put.h"
#include "repo/cluster.h"
#include "repo/file_check.h"
#include "repo/layout.h"
#include "store/ahead.h"

#define PAGE_SEGMENT_BYTES (1u << 30) /* a relation's segment file holds 1 GiB */

struct putting {
	struct arena *arena;
	struct store *pg;
	const struct manifest_file *f;
	const struct file_put_opts *o;
	struct sink *to;
	const struct file_put_bundle *bundle; /* NULL: none.  What was passed on to one cannot be taken back */
	struct file_put_result *out;
};

static struct pipe_spec spec_for(const struct putting *p)
{
	const struct manifest_file *f = p->f;
	const struct file_put_opts *o = p->o;
	struct pipe_spec spec = { .compress = o->codec, .level = o->level, .encrypt = o->pass,
		.raw = p->bundle != NULL && o->raw, .hash_plain = true,
		.hash_stored = o->codec != CODEC_NONE || o->pass != NULL, .skip_empty = o->m->bundle };

	if (f->page_check && o->page_size != 0) {
		spec.page_size = o->page_size;
		spec.page_header_check = o->page_header_check;
		spec.first_block =
			page_file_segment(path_base(f->name)) * (PAGE_SEGMENT_BYTES / o->page_size);
	}
	return spec;
}

static bool is_control(const struct manifest_file *f)
{
	return strcmp(f->name, "pg_data/global/pg_control") == 0;
}

/* pg_control is read whole and valid, and passed on padded with zeros to its full size (5.12.5). */
static int pass_control(struct putting *p, const struct pipe_spec *spec, struct sink *to)
{
	uint8_t bytes[PG_CONTROL_SIZE] = { 0 };
	struct pg_control control;

	if (cluster_control(p->pg, p->o->forced, bytes, &control) != 0)
		return -1;
	to = pipe_chain(p->arena, spec, NULL, NULL, to, &p->out->pipe);
	if (sink_write(to, bytes, sizeof(bytes)) != 0)
		return -1;
	return sink_finish(to);
}

/* A relation that grows meanwhile is cut where it ended when it was listed; WAL replay brings the rest.  A size of 0
 * cannot be said as a limit of 0, which means "to the end": of such a file nothing is read. */
static bool is_unread(const struct manifest_file *f)
{
	return f->copy_bounded && f->size_orig == 0;
}

static struct get_opts get_for(const struct putting *p, const struct pipe_spec *spec)
{
	return (struct get_opts){ .missing_ok = true, .spec = spec, .result = &p->out->pipe,
		.length = p->f->copy_bounded ? p->f->size_orig : 0 };
}

/* The file's bytes through the pipe; STORE_ABSENT if it is gone. */
static int pass_bytes(struct putting *p, const struct pipe_spec *spec, struct sink *to)
{
	const struct manifest_file *f = p->f;
	const struct get_opts get = get_for(p, spec);

	if (is_control(f))
		return pass_control(p, spec, to);
	if (is_unread(f))
		return sink_finish(pipe_chain(p->arena, spec, NULL, NULL, to, &p->out->pipe));
	return store_get(p->pg, manifest_pg_path(f->name), &get, to);
}

/* 1 if the file has the content that its row tells of, else 0. */
static int is_same(struct putting *p)
{
	const struct pipe_spec hash = { .hash_plain = true };
	int rc = pass_bytes(p, &hash, sink_null(p->arena));

	p->out->again = rc != 0 || !sum_equal(&p->out->pipe.plain_sum, &p->f->sum);
	if (p->out->again)
		return rc < 0 ? -1 : 0;
	p->out->fate = FILE_SAME;
	return 1;
}

static bool is_large(const struct manifest_file *f)
{
	return f->size_orig > PIPE_HOLD;
}

static struct pipe_spec put_spec(const struct putting *p, enum plan_action action)
{
	struct pipe_spec spec = spec_for(p);

	if (action != PLAN_COPY && !(is_large(p->f) && p->bundle != NULL))
		spec.unless = &p->f->sum;
	return spec;
}

static int put(struct putting *p, enum plan_action action)
{
	int rc;

	/* Compressing what is probably known already costs more than reading it twice. */
	if (action == PLAN_COMPARE && is_large(p->f)) {
		rc = is_same(p);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
		action = PLAN_COPY;
	}
	const struct pipe_spec spec = put_spec(p, action);
	rc = pass_bytes(p, &spec, p->to);
	if (rc < 0)
		return -1;
	if (rc == STORE_ABSENT)
		p->out->fate = FILE_VANISHED;
	else if (p->out->pipe.skipped)
		p->out->fate = p->out->pipe.plain_size == 0 ? FILE_EMPTIED : FILE_SAME;
	return 0;
}

/* ---- blocks ---- */

/* Where the row says; until it is stored it is still the prior's. */
static int load_prior(const struct putting *p, struct store *repo, struct block_map *out)
{
	if (block_map_load(p->arena, repo, p->o->stanza, p->o->m, p->f, out) == 0)
		return 0;
	return err_code() == ERR_TERM ? -1 :
		err_hint("a diff backup does without it if the full backup is intact, a full one in any case.");
}

/* pipe: of spec_for.  Without prior. */
static struct block_put_opts block_opts(const struct putting *p, const struct plan_row *row,
	const struct pipe_spec *pipe)
{
	const struct file_put_opts *o = p->o;

	return (struct block_put_opts){ .block_size = row->block_size, .sum_size = row->block_sum_size,
		.super_size = block_super_size(row->block_size, o->super_size),
		.reference = (uint32_t)o->m->reference.n - 1,
		.bundle = p->bundle == NULL ? 0 : p->bundle->id,
		.offset = p->bundle == NULL ? 0 : p->bundle->size, .pipe = pipe,
		.limit = p->f->copy_bounded ? p->f->size_orig : BLOCK_PUT_ALL };
}

/* Without a map to compare with, all blocks would be stored: what has its checksum is looked at before. */
static int put_blocks(struct putting *p, struct store *repo, const struct plan_row *row)
{
	const struct pipe_spec spec = spec_for(p);
	struct block_put_opts opts = block_opts(p, row, &spec);
	struct block_put_result r;
	struct block_map prior;

	if (row->how == BLOCK_CONTINUE) {
		if (load_prior(p, repo, &prior) != 0)
			return -1;
		opts.prior = &prior;
		opts.prior_file = p->f;
	} else if (row->action != PLAN_COPY) {
		int rc = is_same(p);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
	if (block_put(p->pg, manifest_pg_path(p->f->name), &opts, p->to, &r) != 0)
		return -1;
	*p->out = (struct file_put_result){ .fate = r.fate, .pipe = r.pipe, .map_size = r.map_size,
		.prior_unfit = r.prior_unfit, .again = p->out->again || r.prior_unfit };
	return 0;
}

/* ---- what an interrupted backup stored ---- */

/* Its run reported it durable, unless a later one wrote it again and was interrupted too. */
static int sync_left(const struct putting *p, struct store *repo, const char *path)
{
	const uint64_t nowhere = 0;
	const struct put_opts keep = { .keep = true, .at = &nowhere, .size_hint = p->f->repo_size,
		.no_dir_sync = true };
	struct sink *s = store_put(p->arena, repo, path, &keep);

	return s == NULL ? -1 : sink_finish(s);
}

static bool is_plain_file(const struct putting *p, struct store *repo, const char *path)
{
	struct store_entry e;

	return store_stat(p->arena, repo, path, &e) == 0 && e.type == STORE_FILE && !e.shared;
}

/* 1, 0, or -1 only if the process was told to end: whatever else is wrong with it, it is stored again. */
static int left_whole(const struct putting *p, struct store *repo, const char *path)
{
	const struct manifest_file *f = p->f;
	const struct check_part part = { .sum = f->has_repo_sum ? f->repo_sum : f->sum, .size = f->repo_size };
	struct check_result seen;

	if (is_plain_file(p, repo, path)) {
		if (file_check(p->arena, repo, path, &part, 1, &seen) != 0)
			return -1;
		if (seen.state == CHECK_OK && sync_left(p, repo, path) == 0)
			return 1;
	}
	if (err_code() == ERR_TERM)
		return -1;
	err_clear();
	return 0;
}

static struct pipe_spec proof_spec(const struct putting *p)
{
	struct pipe_spec spec = spec_for(p);

	spec.compress = CODEC_NONE;
	spec.encrypt = NULL;
	spec.hash_stored = false;
	return spec;
}

/* 1 if what is there counts, 0 if the file must be stored. */
static int prove_left(struct putting *p, struct store *repo, const char *path)
{
	const struct manifest_file *f = p->f;
	struct file_put_result *out = p->out;
	const struct pipe_spec spec = proof_spec(p);
	int rc = pass_bytes(p, &spec, sink_null(p->arena));

	if (rc == STORE_ABSENT)
		out->fate = FILE_VANISHED;
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (out->pipe.plain_size != f->size || !sum_equal(&out->pipe.plain_sum, &f->sum))
		return 0;
	rc = left_whole(p, repo, path);
	out->left_bad = rc == 0;
	out->fate = FILE_RESUMED;
	out->pipe.stored_size = f->repo_size;
	out->pipe.stored_sum = f->has_repo_sum ? f->repo_sum : f->sum;
	return rc;
}

static int resume(struct putting *p, struct store *repo, const char *path)
{
	int rc = prove_left(p, repo, path);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	/* never written through or into: it may not be what it was when it was listed */
	if (store_remove_tree(repo, path) != 0)
		return -1;
	if (p->out->fate == FILE_VANISHED)
		return 0;
	*p->out = (struct file_put_result){ .left_bad = p->out->left_bad, .again = true };
	return put(p, PLAN_COPY);
}

/* A stored file that is made when there is something to store. */
struct late_put {
	struct sink sink;
	struct arena *arena;
	struct store *repo;
	const char *path;
	struct sink *to;
};

static int late_open(struct late_put *l)
{
	/* what is there was put there by somebody else, who may have finished a backup with it */
	static const struct put_opts opts = { .create_new = true, .no_dir_sync = true };

	if (l->to == NULL)
		l->to = store_put(l->arena, l->repo, l->path, &opts);
	if (l->to != NULL)
		return 0;
	return err_code() == ERR_FILE_EXISTS ?
		err_hint("does another program or host write to this repository?") : -1;
}

static int late_write(struct sink *s, const void *data, size_t len)
{
	struct late_put *l = (struct late_put *)s;

	return late_open(l) != 0 ? -1 : sink_write(l->to, data, len);
}

static int late_finish(struct sink *s)
{
	struct late_put *l = (struct late_put *)s;

	return late_open(l) != 0 ? -1 : sink_finish(l->to);
}

struct sink *file_put_late(struct arena *a, struct store *repo, const char *path)
{
	struct late_put *l = arena_new_object(a, struct late_put);

	*l = (struct late_put){ { late_write, late_finish }, a, repo, path, NULL };
	return &l->sink;
}

int file_put(struct arena *a, struct store *pg, struct store *repo, const struct manifest_file *f,
	const struct plan_row *row, const struct file_put_opts *o, struct file_put_result *out)
{
	/* a file that is resumed was stored whole and stays so */
	const bool blocks = row->how != BLOCK_WHOLE && row->action != PLAN_RESUME;
	const char *path = arena_printf(a, "%s/%s%s", o->backup_dir, f->name,
		blocks ? BLOCK_SUFFIX : codec_info(o->codec)->suffix);
	struct putting p = { .arena = a, .pg = pg, .f = f, .o = o, .to = file_put_late(a, repo, path),
		.out = out };

	memset(out, 0, sizeof(*out));
	if (row->action == PLAN_RESUME)
		return resume(&p, repo, path);
	if (!blocks)
		return put(&p, row->action);
	if (put_blocks(&p, repo, row) != 0)
		return -1;
	return out->fate == FILE_STORED ? sink_finish(p.to) : 0;
}

int file_put_member(struct arena *a, struct store *pg, struct store *repo, const struct file_put_bundle *bundle,
	const struct manifest_file *f, const struct plan_row *row, const struct file_put_opts *o,
	struct file_put_result *out)
{
	struct putting p = { .arena = a, .pg = pg, .f = f, .o = o, .to = sink_append(a, bundle->to),
		.bundle = bundle, .out = out };

	memset(out, 0, sizeof(*out));
	return row->how == BLOCK_WHOLE ? put(&p, row->action) : put_blocks(&p, repo, row);
}

/* ---- ahead ---- */

/* As block_put's own reading; the prior's checksums are part of what is asked. */
static int blocks_ahead(const struct putting *p, struct store *repo, const struct plan_row *row, unsigned room)
{
	const struct pipe_spec spec = spec_for(p);
	struct block_put_opts opts = block_opts(p, row, &spec);
	struct block_map prior;
	size_t count = 1;

	if (row->how == BLOCK_CONTINUE) {
		if (load_prior(p, repo, &prior) != 0)
			return AHEAD_UNKNOWN;
		opts.prior = &prior;
		count += prior.blocks.n * prior.sum_size / AHEAD_BYTES;
	} else if (row->action != PLAN_COPY) {
		return AHEAD_UNKNOWN;
	}
	if (count > room || block_put_ahead(p->pg, manifest_pg_path(p->f->name), &opts) != 0)
		return AHEAD_UNKNOWN;
	return (int)count;
}

int file_put_ahead(struct store *pg, struct store *repo, const struct file_put_bundle *bundle,
	const struct manifest_file *f, const struct plan_row *row, const struct file_put_opts *o, unsigned room)
{
	SCOPED_ARENA(a);
	struct file_put_result unused = { 0 };
	const struct putting p = { .arena = a, .pg = pg, .f = f, .o = o, .bundle = bundle, .out = &unused };
	const bool resume = row->action == PLAN_RESUME && bundle == NULL;

	if (is_control(f))
		return AHEAD_UNKNOWN;
	if (is_unread(f))
		return 0;
	if (row->how != BLOCK_WHOLE && !resume)
		return blocks_ahead(&p, repo, row, room);
	if (row->action == PLAN_COMPARE && is_large(f))
		return AHEAD_UNKNOWN;
	const struct pipe_spec spec = resume ? proof_spec(&p) : put_spec(&p, row->action);
	const struct get_opts get = get_for(&p, &spec);
	return store_ahead(pg, manifest_pg_path(f->name), &get) != 0 ? AHEAD_UNKNOWN : 1;
}
