/*
 * block_put: the owner of the container (see lib/stream/blocks.h for what cuts and compresses).
 *
 *	file -> [page check] -> SHA-1 -> blocks -> tail -> SHA-1 and size of what is stored -> container
 *
 * One pass over the bytes, and all in front of the tail runs where the file is (pipe_spec.blocks).  The tail lets
 * the super blocks through and, when the last is behind it, knows what became of each block of the file: it writes
 * the map then, because what is known of the blocks ends with the reading.
 */
#include "repo/block_put.h"

#include <string.h>

#include "stream/cipher.h"

struct tail {
	struct sink sink;
	struct arena *arena;
	const struct block_put_opts *o;
	const struct block_map *prior; /* NULL: none, or not to be believed */
	struct pipe_result plain; /* sums, sizes and blocks are complete when the tail is finished */
	struct sink *stored;
	struct block_put_result *out;
};

/* The checksums alone, side by side: what the blocks are compared with. */
static const uint8_t *prior_sums(struct arena *a, const struct block_map *prior)
{
	uint8_t *sums = arena_alloc(a, prior->blocks.n * prior->sum_size);

	for (size_t i = 0; i < prior->blocks.n; i++)
		memcpy(sums + i * prior->sum_size, prior->blocks.v[i].sum, prior->sum_size);
	return sums;
}

/* 2.5, steps 4 and 6: a block that did not change lies where it lay, the others in the new super blocks. */
static void make_map(const struct tail *t, struct block_map *map)
{
	const struct block_put_opts *o = t->o;
	const struct blocks_changed *changed = t->plain.blocks.changed.v;
	const struct blocks_changed *end = changed + t->plain.blocks.changed.n;
	const struct blocks_super *super = t->plain.blocks.supers.v;
	uint64_t offset = o->offset;
	uint32_t number = 0;

	map->block_size = o->block_size;
	map->sum_size = o->sum_size;
	vec_init(&map->blocks, t->arena);
	for (uint64_t i = 0; i < t->plain.blocks.n; i++) {
		if (changed == end || changed->index != i) {
			vec_push(&map->blocks, t->prior->blocks.v[i]);
			continue;
		}
		if ((uint64_t)number * o->block_size >= super->plain) {
			offset += super->stored;
			super++;
			number = 0;
		}
		struct block *b = vec_add(&map->blocks);
		*b = (struct block){ .offset = offset, .stored = super->stored, .super_size = super->plain,
			.number = number++, .reference = o->reference, .bundle = o->bundle };
		memcpy(b->sum, changed++->sum, BLOCK_SUM_MAX);
	}
}

/* Not compressed, but encrypted for itself. */
static int write_map(struct tail *t)
{
	const char *pass = t->o->pipe->encrypt;
	struct sink *to = sink_count(t->arena, sink_append(t->arena, t->stored), &t->out->map_size);
	struct block_map map;
	struct buf bytes;

	make_map(t, &map);
	buf_init(&bytes, t->arena);
	if (block_map_write(&map, &bytes) != 0)
		return -1;
	if (pass != NULL)
		to = sink_encrypt(t->arena, to, pass, true);
	return sink_write(to, bytes.data, bytes.len) != 0 ? -1 : sink_finish(to);
}

/* All blocks are as they were.  Their checksums are too short to prove it; the file's SHA-1 does. */
static int unchanged(struct tail *t)
{
	const struct manifest_file *was = t->o->prior_file;

	t->out->fate = FILE_SAME;
	t->out->prior_unfit = t->plain.plain_size != was->size ||
		!sum_equal(&t->plain.plain_sum, &was->sum);
	return 0;
}

static int tail_write(struct sink *sink, const void *data, size_t len)
{
	return sink_write(((struct tail *)sink)->stored, data, len);
}

static int tail_finish(struct sink *sink)
{
	struct tail *t = (struct tail *)sink;

	if (t->plain.blocks.n == 0) {
		t->out->fate = FILE_EMPTIED;
		return 0;
	}
	if (t->prior != NULL && t->plain.blocks.supers.n == 0 && t->plain.blocks.n == t->prior->blocks.n)
		return unchanged(t);
	t->out->fate = FILE_STORED;
	return write_map(t) != 0 ? -1 : sink_finish(t->stored);
}

/* How the file is read; points into itself. */
struct reading {
	struct blocks_spec blocks;
	struct pipe_spec pipe;
	struct get_opts get;
};

static void read_how(struct arena *a, const struct block_put_opts *o, const struct block_map *prior,
	struct pipe_result *result, struct reading *r)
{
	const struct pipe_spec *pipe = o->pipe;

	r->blocks = (struct blocks_spec){ .block_size = o->block_size, .sum_size = o->sum_size,
		.super_size = o->super_size, .codec = pipe->compress, .level = pipe->level,
		.pass = pipe->encrypt };
	if (prior != NULL) {
		r->blocks.prior = prior_sums(a, prior);
		r->blocks.prior_n = prior->blocks.n;
	}
	r->pipe = (struct pipe_spec){ .hash_plain = true, .page_size = pipe->page_size,
		.first_block = pipe->first_block, .page_header_check = pipe->page_header_check, .blocks = &r->blocks };
	r->get = (struct get_opts){ .missing_ok = true, .spec = &r->pipe, .result = result,
		.length = o->limit == BLOCK_PUT_ALL ? 0 : o->limit };
}

/* 0, STORE_ABSENT or -1. */
static int pass_file(struct tail *t, struct store *pg, const char *path, struct sink *to)
{
	struct reading r;

	read_how(t->arena, t->o, t->prior, &t->plain, &r);
	t->sink = (struct sink){ tail_write, tail_finish };
	t->stored = sink_append(t->arena, to);
	t->stored = sink_sha1(t->arena, t->stored, &t->out->pipe.stored_sum);
	t->stored = sink_count(t->arena, t->stored, &t->out->pipe.stored_size);
	if (t->o->limit == 0) /* a length of 0 would mean "to the end" */
		return sink_finish(pipe_chain(t->arena, &r.pipe, NULL, NULL, &t->sink, &t->plain));
	return store_get(pg, path, &r.get, &t->sink);
}

static int put(struct store *pg, const char *path, const struct block_put_opts *o,
	const struct block_map *prior, struct sink *to, struct block_put_result *out)
{
	SCOPED_ARENA(a);
	struct tail t = { .arena = a, .o = o, .prior = prior, .out = out };

	memset(out, 0, sizeof(*out));
	int rc = pass_file(&t, pg, path, to);
	if (rc < 0)
		return -1;
	if (rc == STORE_ABSENT)
		out->fate = FILE_VANISHED;
	out->pipe.plain_size = t.plain.plain_size;
	out->pipe.plain_sum = t.plain.plain_sum;
	out->pipe.pages = t.plain.pages;
	return 0;
}

int block_put(struct store *pg, const char *path, const struct block_put_opts *o, struct sink *to,
	struct block_put_result *out)
{
	if (o->prior != NULL && (o->prior->block_size != o->block_size || o->prior->sum_size != o->sum_size))
		return err_set(ERR_ASSERT, "'%s' cannot go on with a map of other blocks", path);
	if (put(pg, path, o, o->prior, to, out) != 0)
		return -1;
	if (!out->prior_unfit)
		return 0;
	/* A damaged map, or two contents of a block with one checksum: nothing was stored so far. */
	if (put(pg, path, o, NULL, to, out) != 0)
		return -1;
	out->prior_unfit = true;
	return 0;
}

int block_put_ahead(struct store *pg, const char *path, const struct block_put_opts *o)
{
	SCOPED_ARENA(a);
	struct pipe_result unused;
	struct reading r;

	if (o->limit == 0)
		return 0;
	read_how(a, o, o->prior, &unused, &r);
	return store_ahead(pg, path, &r.get);
}
