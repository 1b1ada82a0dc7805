/*
 * block_get: a file of blocks is put together again, or mended.
 *
 * Blocks come in the order in which they are stored, and the file takes them in any order.  What proves it is the SHA-1
 * of the whole, so the bytes that did not come in order are read back from it.
 */
#include "repo/block_get.h"

#include <inttypes.h>
#include <string.h>

#include "repo/block_load.h"
#include "repo/block_read.h"
#include "repo/file_get_intern.h"
#include "stream/blocks.h"

#define NOT_NEW UINT64_MAX

struct job {
	struct arena *arena;
	struct store *repo, *pg;
	const struct manifest_file *f;
	const struct file_get_opts *o;
	const char *path; /* of the file in pg */
	struct block_map map;
	bool mapped; /* it was read */
	struct err_value *no_map; /* why it could not be */
	struct block_reader reader;

	struct sink *file;
	uint64_t at;	  /* where the next write to it goes */
	uint64_t written; /* bytes */
	/* Of a new file what comes in order is hashed at once, and only the rest is read back. */
	struct sha1 *sha1;
	uint64_t hashed; /* bytes from the start; or NOT_NEW */
};

static int put_piece(void *ctx, const void *data, size_t len, uint64_t offset)
{
	struct job *j = ctx;

	j->at = offset;
	if (sink_write(j->file, data, len) != 0)
		return -1;
	j->written += len;
	if (offset == j->hashed) {
		sha1_add(j->sha1, data, len);
		j->hashed += len;
	}
	return 0;
}

/* ---- proof ---- */

struct add {
	struct sink sink;
	struct sha1 *sha1;
};

static int add_write(struct sink *s, const void *data, size_t len)
{
	sha1_add(((struct add *)s)->sha1, data, len);
	return 0;
}

static int add_finish(struct sink *s)
{
	return 0;
}

/* Of what is in the file now. */
static int sum_of(struct job *j, struct sum *out)
{
	struct add add = {.sink = {add_write, add_finish}, .sha1 = j->sha1};
	uint64_t begin = j->hashed == NOT_NEW ? 0 : j->hashed;
	const struct get_opts rest = {.offset = begin, .length = j->f->size - begin, .exact = true};

	if (rest.length > 0 && store_get(j->pg, j->path, &rest, &add.sink) != 0)
		return -1;
	sha1_end(j->sha1, out);
	return 0;
}

static const uint8_t *map_sums(struct arena *a, const struct block_map *m)
{
	uint8_t *sums = arena_alloc(a, m->blocks.n * m->sum_size);

	for (size_t i = 0; i < m->blocks.n; i++)
		memcpy(sums + i * m->sum_size, m->blocks.v[i].sum, m->sum_size);
	return sums;
}

static struct blocks_spec cut_spec(const struct manifest_file *f, const uint8_t *sums, size_t n)
{
	return (struct blocks_spec){.block_size = f->block_size, .sum_size = f->block_sum_size,
		.super_size = UINT32_MAX / f->block_size * f->block_size, .prior = sums, .prior_n = n};
}

/* The blocks' own checksums are too short to prove anything, but they tell which block is wrong, and so which
 * backup is damaged. */
static int hint_damage(struct job *j)
{
	SCOPED_ARENA(a);
	const struct block_map *m = &j->map;
	const struct blocks_spec spec = cut_spec(j->f, map_sums(a, m), m->blocks.n);
	struct blocks_result r;

	const struct get_opts get = {.length = j->f->size, .exact = true};
	struct err_value *failure = err_take(a);
	int rc = store_get(j->pg, j->path, &get, sink_blocks(a, sink_null(a), &spec, &r));
	(void)err_restore(failure);
	if (rc != 0)
		return -1;
	if (r.changed.n == 0)
		return err_hint("all blocks are what the block map says: it does not belong to the manifest.");
	size_t first = (size_t)r.changed.v[0].index;
	j->reader.from = block_find(j->arena, j->o->stanza, j->o->m, j->f, &m->blocks.v[first]);
	return err_hint("%zu of %zu blocks are wrong, block %zu first.", r.changed.n, m->blocks.n, first);
}

static int wrong_sum(struct job *j, const struct sum *actual)
{
	char hex[2][SHA1_HEX + 1];

	sum_hex(actual, hex[0]);
	sum_hex(&j->f->sum, hex[1]);
	(void)err_set(ERR_CHECKSUM, "actual checksum '%s' does not match expected checksum '%s'", hex[0], hex[1]);
	return hint_damage(j);
}

/* Write the wanted blocks (NULL: all), into the file that is there or a new one, and finish it if it is right.  1: it
 * is not, but could be if all blocks were written. */
static int write_file(struct job *j, bool in_place, const bool *wanted)
{
	SCOPED_ARENA(a);
	struct put_opts put = file_get_put_opts(j->f, j->o);
	struct sum actual;

	put.at = &j->at;
	put.keep = in_place;
	j->written = 0;
	j->hashed = in_place ? NOT_NEW : 0;
	j->sha1 = sha1_new(a);
	j->file = store_put(a, j->pg, j->path, &put);
	if (j->file == NULL || block_read(&j->reader, wanted) != 0 || sum_of(j, &actual) != 0)
		return -1;
	if (sum_equal(&actual, &j->f->sum))
		return sink_finish(j->file);
	return wanted != NULL ? 1 : wrong_sum(j, &actual);
}

/* ---- what is there ---- */

struct there {
	struct sum sum; /* of at most the file's size; nothing, once a block differs from the map */
	uint64_t size;	/* bytes; that sum is of */
	struct blocks_result blocks; /* those that differ from the map, or all if there was none */
	bool longer;
};

struct compare {
	struct sink sink;
	struct sink *blocks;
	struct job *job;
	struct there *there;
};

static int compare_write(struct sink *s, const void *data, size_t len)
{
	struct compare *c = (struct compare *)s;

	/* what differs is proven when it is mended, and hashing is what costs most */
	if (!c->job->mapped || c->there->blocks.changed.n == 0)
		sha1_add(c->job->sha1, data, len);
	c->there->size += len;
	return sink_write(c->blocks, data, len);
}

static int compare_finish(struct sink *s)
{
	struct compare *c = (struct compare *)s;

	sha1_end(c->job->sha1, &c->there->sum);
	return sink_finish(c->blocks);
}

static int compare(struct job *j, struct there *out)
{
	const uint8_t *sums = j->mapped ? map_sums(j->arena, &j->map) : NULL;
	const struct blocks_spec cut = cut_spec(j->f, sums, j->mapped ? j->map.blocks.n : 0);
	const struct get_opts get = {.missing_ok = true, .length = j->f->size};
	struct compare c = {.sink = {compare_write, compare_finish}, .job = j, .there = out,
		.blocks = sink_blocks(j->arena, sink_null(j->arena), &cut, &out->blocks)};

	j->sha1 = sha1_new(j->arena);
	int rc = store_get(j->pg, j->path, &get, &c.sink);
	return rc < 0 ? -1 : rc == 0;
}

static int load_map(struct job *j)
{
	if (j->no_map != NULL)
		return err_restore(j->no_map);
	if (!j->mapped && block_map_load(j->arena, j->repo, j->o->stanza, j->o->m, j->f, &j->map) != 0)
		return -1;
	j->mapped = true;
	return 0;
}

/* 1: a file that can be compared and changed; 0: none, or it is not to be; -1 unknown. */
static int look(struct job *j, struct there *out)
{
	struct store_entry e;

	/* of a single block nothing can be kept but the whole */
	if (!j->o->delta || j->o->delta_by_time || j->o->zeroed || j->f->size <= j->f->block_size)
		return 0;
	int rc = store_stat(j->arena, j->pg, j->path, &e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	/* with a further name its bytes are somebody else's too */
	if (e.type != STORE_FILE || e.shared || e.size < j->f->block_size)
		return 0;
	out->longer = e.size > j->f->size;
	/* Size and time tell whether it is likely to be the file: then the map will not be needed.  If it cannot be
	 * read, the file may still be right. */
	if ((e.size != j->f->size || e.mtime != j->f->mtime) && load_map(j) != 0) {
		if (err_code() == ERR_TERM)
			return -1;
		j->no_map = err_take(j->arena);
	}
	return compare(j, out);
}

static bool is_right(const struct job *j, const struct there *t)
{
	return t->size == j->f->size && sum_equal(&t->sum, &j->f->sum);
}

/* Right as far as it should go: what follows is cut off, time and owner are mended. */
static int keep(struct job *j, const struct there *t)
{
	struct put_opts put = file_get_put_opts(j->f, j->o);

	if (!t->longer)
		return store_touch(j->pg, j->path, &put);
	put.at = &j->at;
	put.keep = true;
	struct sink *file = store_put(j->arena, j->pg, j->path, &put);
	return file == NULL ? -1 : sink_finish(file);
}

/* Which blocks differ; NULL: all do, or, wrong as the whole is, none. */
static const bool *find_wanted(struct job *j, const struct there *t)
{
	const struct block_map *m = &j->map;
	bool *wanted = arena_zalloc(j->arena, m->blocks.n);
	size_t n = 0;

	for (size_t i = 0; i < t->blocks.changed.n; i++) {
		const struct blocks_changed *c = &t->blocks.changed.v[i];
		wanted[c->index] = memcmp(c->sum, m->blocks.v[c->index].sum, m->sum_size) != 0;
	}
	for (size_t i = 0; i < m->blocks.n; i++) {
		wanted[i] = wanted[i] || i >= t->blocks.n;
		n += wanted[i];
	}
	return n == 0 || n == m->blocks.n ? NULL : wanted;
}

/* ---- the mover ---- */

static int failed(const struct job *j)
{
	if (err_code() == ERR_TERM)
		return -1;
	if (j->reader.from.path != NULL)
		return file_get_failed(j->repo, j->pg, j->f, j->o, &j->reader.from);
	return err_wrap("error restoring '%s'", store_name(j->arena, j->pg, j->path));
}

/* there: what can be kept of the file; NULL: nothing. */
static int restore(struct job *j, const struct there *there)
{
	if (load_map(j) != 0)
		return failed(j);
	j->reader = (struct block_reader){.arena = j->arena, .repo = j->repo, .stanza = j->o->stanza, .m = j->o->m,
		.f = j->f, .map = &j->map, .put = put_piece, .ctx = j};
	const bool *wanted = there == NULL ? NULL : find_wanted(j, there);
	int rc = write_file(j, there != NULL, wanted);
	if (rc == 1)
		rc = write_file(j, true, NULL);
	return rc == 0 ? 0 : failed(j);
}

int block_get(struct arena *a, struct store *repo, struct store *pg, const struct manifest_file *f,
	const struct file_get_opts *o, struct file_get_result *out)
{
	struct job j = {.arena = a, .repo = repo, .pg = pg, .f = f, .o = o, .path = file_get_dest(f, o)};
	struct there there = {0};

	if (f->block_size == 0 || f->block_sum_size > BLOCK_SUM_MAX)
		return err_set(ERR_FORMAT, "file '%s' has impossible numbers", f->name);
	int usable = look(&j, &there);
	if (usable < 0)
		return -1;
	if (usable && is_right(&j, &there)) {
		*out = (struct file_get_result){.how = FILE_GET_KEPT};
		return keep(&j, &there);
	}
	int done = usable ? 0 : file_get_unread(pg, f, o, out);
	if (done != 0)
		return done < 0 ? -1 : 0;
	if (restore(&j, usable ? &there : NULL) != 0)
		return -1;
	*out = (struct file_get_result){.how = FILE_GET_WRITTEN, .written = j.written};
	return 0;
}
