/*
 * block_map5_write: the same bytes that the original writes.
 *
 * Runs and items are found by looking ahead; a map that breaks the rules of block_map.h is refused where it does.
 */
#include "repo/format5/block_map5.h"

#define STORED_MAX (FILE_MAX >> 4) /* bytes of a super block: zigzag and bits of the head cost four */

struct writer {
	const struct block_map *map;
	struct buf *out;
	struct map5_place *places;
	uint64_t last;
};

static void put_varint(struct writer *w, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_addc(w->out, (char)(v | 0x80));
	buf_addc(w->out, (char)v);
}

static bool same_super(const struct block *x, const struct block *y)
{
	return x->reference == y->reference && x->offset == y->offset;
}

/* Behind the last block of the item that begins at i: blocks of one super block with numbers that follow each
 * other. */
static size_t item_end(const struct block_map *m, size_t i)
{
	const struct block *b = m->blocks.v;
	size_t end = i + 1;

	while (end < m->blocks.n && same_super(&b[end], &b[i]) && b[end].number == b[end - 1].number + 1)
		end++;
	return end;
}

/* Can a run go on from the item before to this one?  Only a run's head can skip bytes, or numbers inside the super
 * block that it is in. */
static bool run_goes_on(const struct block *before, const struct block *b)
{
	return b->reference == before->reference && b->offset == before->offset + before->stored;
}

static size_t run_end(const struct block_map *m, size_t i)
{
	size_t end = item_end(m, i);

	while (end < m->blocks.n && run_goes_on(&m->blocks.v[end - 1], &m->blocks.v[end]))
		end = item_end(m, end);
	return end;
}

static int not_writable(const struct block_map *m, size_t i, const char *why)
{
	return err_set(ERR_ASSERT, "block %zu of %zu cannot be written into a block map: %s", i, m->blocks.n,
		why);
}

static int check_block(const struct block_map *m, const struct map5_place *p, size_t i)
{
	const struct block *b = &m->blocks.v[i];
	bool inside = p->seen && b->offset == p->offset;

	if (b->stored == 0 || b->stored > STORED_MAX || b->offset > FILE_MAX - b->stored ||
		b->number >= blocks_in(b->super_size, m->block_size))
		return not_writable(m, i, "its super block is impossible");
	if (p->seen && b->bundle != p->bundle)
		return not_writable(m, i, "its backup stored the file in two bundles");
	if (inside ? b->number < p->next : p->seen && b->offset < p->offset + p->stored)
		return not_writable(m, i, "its backup stored the file in another order");
	if (inside && (b->stored != p->stored || b->super_size != p->super_size))
		return not_writable(m, i, "its super block has two sizes");
	return 0;
}

static void put_run_head(struct writer *w, struct map5_place *p, const struct block *b, bool one_item, bool last)
{
	uint64_t head = (uint64_t)b->reference << RUN_SHIFT | (last ? RUN_LAST : 0);

	if (!p->seen) {
		put_varint(w, head | (b->bundle != 0 ? RUN_BUNDLE : 0) | (b->offset != 0 ? RUN_OFFSET : 0));
		if (b->bundle != 0)
			put_varint(w, b->bundle);
		if (b->offset != 0)
			put_varint(w, b->offset);
	} else if (b->offset == p->offset) {
		put_varint(w, head | RUN_CONTINUES | (one_item ? RUN_ONE_ITEM : 0));
	} else {
		uint64_t gap = b->offset - p->offset - p->stored;
		put_varint(w, head | (gap != 0 ? RUN_GAP : 0));
		if (gap != 0)
			put_varint(w, gap);
	}
}

static void put_super_size(struct writer *w, uint32_t size)
{
	uint32_t rest = size % w->map->block_size;

	put_varint(w, (uint64_t)(size / w->map->block_size) << 1 | (rest != 0));
	if (rest != 0)
		put_varint(w, rest);
}

/* The stored size: absolute the first time, then the zigzag of the difference. */
static uint64_t stored_code(const struct writer *w, uint64_t stored)
{
	if (w->last == 0)
		return stored;
	return stored >= w->last ? (stored - w->last) << 1 : ((w->last - stored) << 1) - 1;
}

/* All of a super block that is not continued; its blocks from i on. */
static void put_item_head(struct writer *w, struct map5_place *p, const struct block *b, size_t count, bool last)
{
	bool sized = b->super_size != (p->seen ? p->super_size : w->map->block_size);
	bool counted = b->number != 0 || count != blocks_in(b->super_size, w->map->block_size);

	put_varint(w, stored_code(w, b->stored) << ITEM_SHIFT | (last ? ITEM_LAST : 0) |
		(sized ? ITEM_SIZE : 0) | (counted ? ITEM_COUNT : 0));
	if (sized)
		put_super_size(w, b->super_size);
	*p = (struct map5_place){.seen = true, .bundle = b->bundle, .offset = b->offset, .stored = b->stored,
		.super_size = b->super_size};
	if (!counted)
		return;
	put_varint(w, (uint64_t)(count - 1) << 1 | (b->number != 0));
	if (b->number != 0)
		put_varint(w, b->number);
}

static void put_continued(struct writer *w, const struct map5_place *p, const struct block *b, size_t count)
{
	put_varint(w, (uint64_t)(count - 1) << 1 | (b->number != p->next));
	if (b->number != p->next)
		put_varint(w, b->number - p->next);
}

/* The blocks from i to end, which are one super block's. */
static int put_item(struct writer *w, struct map5_place *p, size_t i, size_t end, bool last)
{
	const struct block *b = &w->map->blocks.v[i];

	if (check_block(w->map, p, i) != 0)
		return -1;
	if (p->seen && b->offset == p->offset)
		put_continued(w, p, b, end - i);
	else
		put_item_head(w, p, b, end - i, last);
	w->last = b->stored;
	for (; i < end; i++) {
		p->next = w->map->blocks.v[i].number;
		if (check_block(w->map, p, i) != 0)
			return -1;
		buf_add(w->out, w->map->blocks.v[i].sum, w->map->sum_size);
	}
	p->next++;
	return 0;
}

static int put_run(struct writer *w, size_t i, size_t end)
{
	const struct block *b = &w->map->blocks.v[i];
	struct map5_place *p = &w->places[b->reference];
	size_t next = item_end(w->map, i);

	if (check_block(w->map, p, i) != 0)
		return -1;
	put_run_head(w, p, b, next == end, end == w->map->blocks.n);
	for (; i < end; i = next) {
		next = item_end(w->map, i);
		if (put_item(w, p, i, next, next == end) != 0)
			return -1;
	}
	return 0;
}

int block_map_write(const struct block_map *map, struct buf *out)
{
	SCOPED_ARENA(a);
	struct writer w = {.map = map, .out = out};
	uint32_t top = 0;

	for (size_t i = 0; i < map->blocks.n; i++)
		top = map->blocks.v[i].reference > top ? map->blocks.v[i].reference : top;
	w.places = arena_zalloc(a, (top + (size_t)1) * sizeof(*w.places));
	put_varint(&w, 0);
	for (size_t i = 0, end; i < map->blocks.n; i = end) {
		end = run_end(map, i);
		if (put_run(&w, i, end) != 0)
			return -1;
	}
	return 0;
}
