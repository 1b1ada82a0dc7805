/*
 * block_map5_read: a map comes from a repository that may be damaged or hostile, so nothing is added to a number
 * before the sum is known to fit.
 */
#include <string.h>

#include "repo/format5/block_map5.h"

/* Varints that one block can need at most: head of a run, bundle, offset or gap, head of a super block, two for its
 * size, two for its count. */
#define VARINTS_PER_BLOCK 8

uint64_t block_map_max(uint64_t size, uint32_t block_size)
{
	uint64_t n = blocks_in(size, block_size), each = VARINTS_PER_BLOCK * VARINT_MAX + BLOCK_SUM_MAX;

	return n > (UINT64_MAX - VARINT_MAX) / each ? UINT64_MAX : n * each + VARINT_MAX;
}

struct reader {
	const uint8_t *at, *end;
	struct block_map *map;
	struct map5_place *places; /* one per reference */
	uint32_t references;
	uint64_t total; /* blocks of the file */
	uint32_t tail;	/* bytes of the last one */
	uint64_t last;
};

struct run {
	uint32_t reference;
	bool last;	/* of the map */
	bool continues; /* its first item is the super block that the reference was in */
	bool one_item;	/* and that is its only one */
};

static int bad(const char *why)
{
	return err_set(ERR_FORMAT, "block map is invalid: %s", why);
}

static int get_varint(struct reader *r, uint64_t *out)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < VARINT_MAX; i++) {
		if (r->at == r->end)
			return bad("it ends too early");
		uint8_t byte = *r->at++;
		if (i == VARINT_MAX - 1 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte < 0x80) {
			*out = v;
			return 0;
		}
	}
	return bad("a number is too large");
}

static int get_u32(struct reader *r, uint32_t max, const char *what, uint32_t *out)
{
	uint64_t v;

	if (get_varint(r, &v) != 0)
		return -1;
	if (v > max)
		return bad(what);
	*out = (uint32_t)v;
	return 0;
}

/* Move on by the super block that the reference is in, and by a gap. */
static int step_over(struct map5_place *p, uint64_t gap)
{
	if (gap > FILE_MAX || p->offset + p->stored > FILE_MAX - gap)
		return bad("an offset is too large");
	p->offset += p->stored + gap;
	return 0;
}

static int read_first_use(struct reader *r, uint64_t head, struct map5_place *p)
{
	*p = (struct map5_place){.seen = true, .super_size = r->map->block_size};
	if ((head & RUN_BUNDLE) != 0 && get_u32(r, UINT32_MAX, "a bundle is too large", &p->bundle) != 0)
		return -1;
	if ((head & RUN_OFFSET) != 0 && get_varint(r, &p->offset) != 0)
		return -1;
	return p->offset > FILE_MAX ? bad("an offset is too large") : 0;
}

static int read_run_head(struct reader *r, struct run *run)
{
	uint64_t head, gap = 0;

	if (get_varint(r, &head) != 0)
		return -1;
	if (head >> RUN_SHIFT >= r->references)
		return bad("it refers to a backup that is not in the reference list");
	*run = (struct run){.reference = (uint32_t)(head >> RUN_SHIFT), .last = (head & RUN_LAST) != 0};
	struct map5_place *p = &r->places[run->reference];
	if (!p->seen)
		return read_first_use(r, head, p);
	if ((head & RUN_CONTINUES) != 0) {
		run->continues = true;
		run->one_item = (head & RUN_ONE_ITEM) != 0;
		return 0;
	}
	if ((head & RUN_GAP) != 0 && get_varint(r, &gap) != 0)
		return -1;
	return step_over(p, gap);
}

static int read_stored(struct reader *r, uint64_t q, struct map5_place *p)
{
	uint64_t move = (q >> 1) + (q & 1); /* zigzag: odd ones are negative */

	/* q has lost three bits and last is at most FILE_MAX: the sum fits */
	if (r->last == 0)
		p->stored = q;
	else if ((q & 1) == 0)
		p->stored = r->last + move;
	else
		p->stored = move < r->last ? r->last - move : 0;
	if (p->stored == 0 || p->stored > FILE_MAX || p->offset > FILE_MAX - p->stored)
		return bad("the stored size of a super block is impossible");
	return 0;
}

static int read_super_size(struct reader *r, struct map5_place *p)
{
	uint32_t block_size = r->map->block_size, rest = 0;
	uint64_t t;

	if (get_varint(r, &t) != 0)
		return -1;
	if (t >> 1 > UINT32_MAX / block_size)
		return bad("a super block is too large");
	uint64_t size = (t >> 1) * block_size;
	if ((t & 1) != 0) {
		if (get_u32(r, block_size - 1, "the end of a super block is too long", &rest) != 0)
			return -1;
		if (rest == 0)
			return bad("the end of a super block is empty");
	}
	if (size + rest == 0 || size + rest > UINT32_MAX)
		return bad("the size of a super block is impossible");
	p->super_size = (uint32_t)size + rest;
	return 0;
}

/* How many checksums follow, and of which numbers. */
static int read_count(struct reader *r, bool given, struct map5_place *p, uint64_t *count)
{
	uint64_t whole = blocks_in(p->super_size, r->map->block_size), c, skip = 0;

	*count = whole;
	if (given) {
		if (get_varint(r, &c) != 0 || ((c & 1) != 0 && get_varint(r, &skip) != 0))
			return -1;
		*count = (c >> 1) + 1;
	}
	if (p->next > whole || skip > whole - p->next || *count > whole - p->next - skip)
		return bad("a super block has not that many blocks");
	if (*count > r->total - r->map->blocks.n)
		return bad("it has more blocks than the file");
	if (*count > (uint64_t)(r->end - r->at) / r->map->sum_size)
		return bad("it ends too early");
	p->next += (uint32_t)skip;
	return 0;
}

/* A short block, and no other, belongs to the end of a file: anywhere else it would leave a part of the file
 * unwritten, or write behind it. */
static int check_length(const struct reader *r, const struct map5_place *p)
{
	uint32_t block_size = r->map->block_size;
	uint64_t rest = p->super_size - (uint64_t)p->next * block_size;
	uint64_t length = rest < block_size ? rest : block_size;

	if (length != (r->map->blocks.n + 1 == r->total ? r->tail : block_size))
		return bad("a block has another length than its place in the file");
	return 0;
}

static int read_sums(struct reader *r, uint32_t reference, struct map5_place *p, uint64_t count)
{
	for (; count > 0; count--) {
		if (check_length(r, p) != 0)
			return -1;
		struct block *b = vec_add(&r->map->blocks);
		*b = (struct block){.offset = p->offset, .stored = p->stored, .super_size = p->super_size,
			.number = p->next++, .reference = reference, .bundle = p->bundle};
		memcpy(b->sum, r->at, r->map->sum_size);
		r->at += r->map->sum_size;
	}
	return 0;
}

/* One super block of a run.  continued: it is the one that the reference was in, and says nothing of *last. */
static int read_item(struct reader *r, uint32_t reference, bool first, bool continued, bool *last)
{
	struct map5_place *p = &r->places[reference];
	uint64_t s = ITEM_COUNT, count;

	if (!continued) {
		if (get_varint(r, &s) != 0 || (!first && step_over(p, 0) != 0) ||
			read_stored(r, s >> ITEM_SHIFT, p) != 0)
			return -1;
		p->next = 0;
		if ((s & ITEM_SIZE) != 0 && read_super_size(r, p) != 0)
			return -1;
		*last = (s & ITEM_LAST) != 0;
	}
	r->last = p->stored;
	if (read_count(r, (s & ITEM_COUNT) != 0, p, &count) != 0)
		return -1;
	return read_sums(r, reference, p, count);
}

static int read_run(struct reader *r, bool *last_run)
{
	struct run run = {0}; /* gcc does not see that read_run_head fills it */
	bool last = false;

	if (read_run_head(r, &run) != 0)
		return -1;
	for (bool first = true; !last; first = false) {
		bool continued = first && run.continues;
		if (read_item(r, run.reference, first, continued, &last) != 0)
			return -1;
		if (continued)
			last = run.one_item;
	}
	*last_run = run.last;
	return 0;
}

static int read_all(struct reader *r)
{
	uint64_t flags;
	bool last = r->total == 0;

	if (get_varint(r, &flags) != 0)
		return -1;
	if ((flags & MAP_UNKNOWN) != 0)
		return bad("it is of a kind that is not known");
	while (!last) {
		if (read_run(r, &last) != 0)
			return -1;
	}
	if (r->map->blocks.n != r->total)
		return bad("it has fewer blocks than the file");
	return r->at != r->end ? bad("something follows its end") : 0;
}

int block_map_read(struct arena *a, const void *data, size_t len, uint32_t block_size, uint32_t sum_size,
	uint64_t size, uint32_t references, struct block_map *out)
{
	struct reader r = {.at = data, .end = (const uint8_t *)data + len, .map = out, .references = references};

	if (block_size == 0 || sum_size < BLOCK_SUM_MIN || sum_size > BLOCK_SUM_MAX)
		return err_set(ERR_FORMAT, "blocks of %u bytes with checksums of %u bytes are not possible",
			block_size, sum_size);
	r.total = blocks_in(size, block_size);
	r.tail = size % block_size == 0 ? block_size : (uint32_t)(size % block_size);
	if (r.total > len / sum_size)
		return bad("it is too short for the blocks of the file");
	*out = (struct block_map){.block_size = block_size, .sum_size = sum_size};
	vec_init(&out->blocks, a);
	r.places = arena_zalloc(a, (references + (size_t)1) * sizeof(*r.places));
	return read_all(&r);
}
