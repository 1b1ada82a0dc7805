/*
 * blocks: the filter that cuts, hashes, compares and compresses; see blocks.h.
 *
 * Blocks are hashed where they lie.  Only one that is spread over two buffers is put together first; one that
 * has not changed is never copied, and neighbours that have changed go to the compressor in one piece.  The
 * compressor is fed as the blocks come, so no super block is ever held.
 */
#include "stream/blocks.h"

#include <string.h>

#include "stream/cipher.h"

struct blocks_sink {
	struct sink sink;
	struct sink *next;
	struct blocks_spec spec;
	struct blocks_result *out;

	uint8_t *part; /* a block whose rest comes with the next write */
	size_t part_len;

	const uint8_t *run; /* changed blocks of the caller's buffer, not yet passed on */
	size_t run_len;

	struct arena *arena; /* of the super block that is open, else NULL */
	struct sink *open;
	struct sink *stored_to;	  /* counts */
	struct blocks_super super; /* the one that is open */
};

static void drop_super(void *ctx)
{
	struct blocks_sink *s = ctx;

	arena_free(s->arena);
	s->arena = NULL;
}

/* The contexts come from the list of idle ones: a chain costs nothing beside what it is fed. */
static void open_super(struct blocks_sink *s)
{
	const struct blocks_spec *spec = &s->spec;
	struct sink *to = s->stored_to;

	s->arena = arena_new();
	s->super = (struct blocks_super){0};
	if (spec->pass != NULL)
		to = sink_encrypt(s->arena, to, spec->pass, true);
	s->open = sink_compress(s->arena, spec->codec, spec->level, true, to);
}

static int close_super(struct blocks_sink *s)
{
	if (sink_finish(s->open) != 0)
		return -1;
	vec_push(&s->out->supers, s->super);
	drop_super(s);
	return 0;
}

static int pass_run(struct blocks_sink *s)
{
	size_t len = s->run_len;

	s->run_len = 0;
	return len > 0 ? sink_write(s->open, s->run, len) : 0;
}

static bool is_as_before(const struct blocks_sink *s, const uint8_t *sum)
{
	const struct blocks_spec *spec = &s->spec;
	uint64_t n = s->out->n;

	return n < spec->prior_n && memcmp(spec->prior + n * spec->sum_size, sum, spec->sum_size) == 0;
}

/* The next block of the file; data stays valid until pass_run. */
static int take_block(struct blocks_sink *s, const uint8_t *data, size_t len)
{
	struct blocks_changed b = {.index = s->out->n};

	block_sum(data, len, s->spec.sum_size, b.sum);
	bool same = is_as_before(s, b.sum);
	s->out->n++;
	if (same)
		return pass_run(s);
	vec_push(&s->out->changed, b);
	if (s->arena == NULL)
		open_super(s);
	if (s->run_len == 0)
		s->run = data;
	s->run_len += len;
	s->super.plain += (uint32_t)len;
	if (s->super.plain < s->spec.super_size)
		return 0;
	return pass_run(s) != 0 ? -1 : close_super(s);
}

static int blocks_write(struct sink *sink, const void *data, size_t len)
{
	struct blocks_sink *s = (struct blocks_sink *)sink;
	const size_t size = s->spec.block_size;
	const uint8_t *p = data;

	if (len == 0)
		return 0;
	if (s->part_len > 0) {
		size_t n = size - s->part_len < len ? size - s->part_len : len;

		memcpy(s->part + s->part_len, p, n);
		s->part_len += n;
		p += n;
		len -= n;
		if (s->part_len < size)
			return 0;
		s->part_len = 0;
		if (take_block(s, s->part, size) != 0 || pass_run(s) != 0)
			return -1;
	}
	for (; len >= size; p += size, len -= size) {
		if (take_block(s, p, size) != 0)
			return -1;
	}
	if (pass_run(s) != 0)
		return -1;
	if (len > 0)
		memcpy(s->part, p, len);
	s->part_len = len;
	return 0;
}

static int blocks_finish(struct sink *sink)
{
	struct blocks_sink *s = (struct blocks_sink *)sink;

	if (s->part_len > 0 && (take_block(s, s->part, s->part_len) != 0 || pass_run(s) != 0))
		return -1;
	if (s->arena != NULL && close_super(s) != 0)
		return -1;
	return sink_finish(s->next);
}

struct sink *sink_blocks(struct arena *a, struct sink *next, const struct blocks_spec *spec,
	struct blocks_result *out)
{
	struct blocks_sink *s = arena_new_object(a, struct blocks_sink);

	s->sink = (struct sink){blocks_write, blocks_finish};
	s->next = next;
	s->spec = *spec;
	s->out = out;
	s->part = arena_alloc(a, spec->block_size);
	s->stored_to = sink_count(a, sink_append(a, next), &s->super.stored);
	out->n = 0;
	vec_init(&out->changed, a);
	vec_init(&out->supers, a);
	arena_defer(a, drop_super, s);
	return &s->sink;
}
