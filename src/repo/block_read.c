/*
 * block_read: see block_read.h.
 *
 * The blocks of one backup lie in one stored file in the order of the restored one (block_map.h), so a walk through
 * them by reference finds super blocks that are neighbours.  One ranged get pushes such a stretch into a sink that
 * cuts it at the super blocks' ends; each has a chain of its own, behind which its blocks are handed over.
 */
#include "repo/block_read.h"

#include <inttypes.h>

#include "store/ahead.h"

/* A list of blocks, by their numbers in the file. */
struct list {
	const size_t *v, *end;
};

/* ---- a super block ---- */

/* Takes the plain bytes of a super block and puts the wanted ones where they belong. */
struct plain {
	struct sink sink;
	const struct block_reader *reader;
	struct list blocks;   /* still to come */
	uint64_t size, at;    /* of the super block; bytes so far */
	uint64_t from, until; /* bytes of it that are wanted next... */
	uint64_t place;	      /* ...and where in the file they begin */
};

/* Blocks that are neighbours here and there go in one piece. */
static void next_piece(struct plain *p)
{
	const struct block *b = p->reader->map->blocks.v;
	const uint64_t block_size = p->reader->map->block_size;
	size_t first = *p->blocks.v++, last = first;

	while (p->blocks.v < p->blocks.end && *p->blocks.v == last + 1 && b[last + 1].number == b[last].number + 1)
		last = *p->blocks.v++;
	p->from = b[first].number * block_size;
	p->until = (b[last].number + 1) * block_size;
	if (p->until > p->size)
		p->until = p->size;
	p->place = first * block_size;
}

static int wrong_size(const struct plain *p, const char *how)
{
	return err_set(ERR_FORMAT, "super block has %s than %" PRIu64 " bytes", how, p->size);
}

static int plain_write(struct sink *s, const void *data, size_t len)
{
	struct plain *p = (struct plain *)s;
	const uint8_t *bytes = data;

	if (len > p->size - p->at)
		return wrong_size(p, "more");
	while (len > 0) {
		if (p->at == p->until && p->blocks.v < p->blocks.end)
			next_piece(p);
		bool wanted = p->at >= p->from && p->at < p->until;
		uint64_t left = wanted ? p->until - p->at : p->at < p->from ? p->from - p->at : len;
		size_t n = left < len ? (size_t)left : len;
		if (wanted && p->reader->put(p->reader->ctx, bytes, n, p->place + (p->at - p->from)) != 0)
			return -1;
		p->at += n;
		bytes += n;
		len -= n;
	}
	return 0;
}

static int plain_finish(struct sink *s)
{
	const struct plain *p = (const struct plain *)s;

	return p->at == p->size ? 0 : wrong_size(p, "fewer");
}

/* ---- a stretch of super blocks ---- */

struct stretch {
	struct sink sink;
	const struct block_reader *reader;
	struct list blocks;  /* still to come, the super block at hand included */
	const size_t *next;  /* behind the blocks of that one */
	uint64_t offset;     /* of the next byte in the stored file */
	const struct pipe_spec *read;
	struct arena *arena; /* of the open super block; NULL: none is */
	struct plain plain;
	struct pipe_result passed;
	struct sink *super;
};

static const struct block *block_at(const struct block_reader *r, const size_t *v)
{
	return &r->map->blocks.v[*v];
}

static struct stored find(struct arena *a, const struct block_reader *r, const struct block *b)
{
	return block_find(a, r->stanza, r->m, r->f, b);
}

static uint64_t end_of(const struct block *b)
{
	return b->offset + b->stored;
}

/* Behind the blocks of the super block that l begins with. */
static const size_t *super_end(const struct block_reader *r, struct list l)
{
	const struct block *b = block_at(r, l.v);

	while (l.v < l.end && block_at(r, l.v)->offset == b->offset)
		l.v++;
	return l.v;
}

static void open_super(struct stretch *s)
{
	s->arena = arena_new();
	s->next = super_end(s->reader, s->blocks);
	s->plain = (struct plain){.sink = {plain_write, plain_finish}, .reader = s->reader,
		.blocks = {s->blocks.v, s->next}, .size = block_at(s->reader, s->blocks.v)->super_size};
	s->super = pipe_chain(s->arena, s->read, NULL, NULL, &s->plain.sink, &s->passed);
}

static int close_super(struct stretch *s)
{
	if (sink_finish(s->super) != 0)
		return -1;
	arena_free(s->arena);
	s->arena = NULL;
	s->blocks.v = s->next;
	return 0;
}

static int stretch_write(struct sink *sink, const void *data, size_t len)
{
	struct stretch *s = (struct stretch *)sink;
	const char *bytes = data;

	while (len > 0) {
		if (s->blocks.v == s->blocks.end)
			return err_set(ERR_ASSERT, "more bytes than the super blocks have");
		const struct block *b = block_at(s->reader, s->blocks.v);
		bool between = s->offset < b->offset;
		uint64_t left = (between ? b->offset : end_of(b)) - s->offset;
		size_t n = left < len ? (size_t)left : len;
		if (!between && s->arena == NULL)
			open_super(s);
		if (!between && sink_write(s->super, bytes, n) != 0)
			return -1;
		bytes += n;
		len -= n;
		s->offset += n;
		if (!between && s->offset == end_of(b) && close_super(s) != 0)
			return -1;
	}
	return 0;
}

static int stretch_finish(struct sink *sink)
{
	const struct stretch *s = (const struct stretch *)sink;

	return s->blocks.v == s->blocks.end ? 0 : err_set(ERR_ASSERT, "fewer bytes than the super blocks have");
}

/* The super blocks that one read delivers: from the first on, as long as each lies close behind the one before. */
static const size_t *stretch_end(const struct block_reader *r, struct list l)
{
	const size_t *v = super_end(r, l);

	while (v < l.end && block_at(r, v)->offset - end_of(block_at(r, v - 1)) <= STORED_READ_OVER)
		v = super_end(r, (struct list){v, l.end});
	return v;
}

static struct get_opts get_for(const struct block_reader *r, struct list l)
{
	const uint64_t offset = block_at(r, l.v)->offset;

	return (struct get_opts){.offset = offset, .length = end_of(block_at(r, l.end - 1)) - offset, .exact = true};
}

static int read_stretch(struct block_reader *r, struct list l)
{
	SCOPED_ARENA(a);
	const struct stored from = find(a, r, block_at(r, l.v));
	struct stretch s = {.sink = {stretch_write, stretch_finish}, .reader = r, .blocks = l,
		.offset = from.offset, .read = &from.read};
	const struct get_opts get = get_for(r, l);

	int rc = store_get(r->repo, from.path, &get, &s.sink);
	if (rc != 0 && s.arena != NULL)
		r->from = find(r->arena, r, block_at(r, s.blocks.v));
	arena_free(s.arena);
	return rc;
}

static int ask_stretch(struct block_reader *r, struct list l)
{
	SCOPED_ARENA(a);
	const struct stored from = find(a, r, block_at(r, l.v));
	const struct get_opts get = get_for(r, l);

	return store_ahead(r->repo, from.path, &get);
}

/* ---- all of them ---- */

/* The wanted blocks of each reference, in file order. */
static struct list *lists_of(struct block_reader *r, const bool *wanted)
{
	const struct block *b = r->map->blocks.v;
	size_t n = r->map->blocks.n, references = r->m->reference.n, at = 0;
	size_t *count = arena_zalloc(r->arena, references * sizeof(*count));
	size_t *order = arena_alloc(r->arena, n * sizeof(*order));
	struct list *lists = arena_zalloc(r->arena, references * sizeof(*lists));

	for (size_t i = 0; i < n; i++)
		count[b[i].reference] += wanted == NULL || wanted[i];
	for (size_t k = 0; k < references; at += count[k++])
		lists[k] = (struct list){order + at, order + at};
	for (size_t i = 0; i < n; i++) {
		struct list *l = &lists[b[i].reference];
		if (wanted == NULL || wanted[i])
			order[l->end++ - order] = i;
	}
	return lists;
}

typedef VEC(struct list) list_vec;

/* One read each, in their order. */
static void find_stretches(struct block_reader *r, const bool *wanted, list_vec *out)
{
	const struct list *lists = lists_of(r, wanted);

	vec_init(out, r->arena);
	for (size_t i = 0; i < r->m->reference.n; i++) {
		struct list l = lists[i];
		for (const size_t *end; l.v < l.end; l.v = end) {
			end = stretch_end(r, l);
			vec_push(out, ((struct list){l.v, end}));
		}
	}
}

int block_read(struct block_reader *r, const bool *wanted)
{
	bool asks = ahead_helps(r->repo);
	size_t asked = 0;
	list_vec v;

	find_stretches(r, wanted, &v);
	for (size_t i = 0; i < v.n; i++) {
		while (asks && asked < v.n && asked < i + AHEAD_MAX)
			asks = ask_stretch(r, v.v[asked++]) == 0;
		if (!asks)
			err_clear(); /* what is wrong will be found when it is read */
		if (read_stretch(r, v.v[i]) != 0)
			return -1;
	}
	return 0;
}
