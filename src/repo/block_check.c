/*
 * block_check: see block_check.h.
 *
 * Walking the file, the blocks of one reference rise in its stored file (block_map.h), so a super block that is left
 * behind is not needed again.
 */
#include "repo/block_check.h"

#include <inttypes.h>
#include <string.h>

#include "base/sig.h"
#include "repo/block_stored.h"

/* The super block of a reference that is at hand. */
struct super {
	struct arena *arena; /* NULL: none was read yet */
	uint64_t offset;
	struct buf plain;
};

struct walk {
	struct arena *arena;
	struct store *repo;
	const char *stanza;
	const struct manifest *m;
	const struct manifest_file *f;
	const struct block_map *map;
	struct super *supers; /* by reference */
};

static int read_super(struct walk *w, const struct block *b, struct super *s)
{
	const struct stored from = block_find(w->arena, w->stanza, w->m, w->f, b);
	struct pipe_result passed;
	const struct get_opts get = { .offset = from.offset, .length = from.length, .exact = true,
		.spec = &from.read, .result = &passed };

	arena_free(s->arena);
	s->arena = arena_new();
	s->offset = b->offset;
	buf_init(&s->plain, s->arena);
	struct sink *to = sink_limit(s->arena, sink_buf(s->arena, &s->plain), b->super_size, ERR_FORMAT,
		"super block has more bytes than its map says");
	if (store_get(w->repo, from.path, &get, to) != 0)
		return -1;
	if (s->plain.len != b->super_size)
		return err_set(ERR_FORMAT, "super block has %zu bytes instead of %" PRIu32, s->plain.len,
			b->super_size);
	return 0;
}

/* The bytes of a block; what is not there has no bytes.  The map's reader has proven that number lies in it. */
static int read_block(struct walk *w, const struct block *b, const char **data, size_t *len)
{
	struct super *s = &w->supers[b->reference];
	uint64_t begin = (uint64_t)b->number * w->map->block_size;

	if ((s->arena == NULL || s->offset != b->offset) && read_super(w, b, s) != 0)
		return -1;
	size_t left = begin < s->plain.len ? s->plain.len - (size_t)begin : 0;
	*data = s->plain.data + begin;
	*len = left < w->map->block_size ? left : w->map->block_size;
	return 0;
}

static bool is_right(const struct walk *w, const struct block *b, const char *data, size_t len)
{
	uint8_t sum[BLOCK_SUM_MAX];

	block_sum(data, len, w->map->sum_size, sum);
	return memcmp(sum, b->sum, w->map->sum_size) == 0;
}

/* 0: all blocks were read, and *reference has the first that is wrong. */
static int walk(struct walk *w, struct sum *sum, uint32_t *reference)
{
	struct sha1 *sha1 = sha1_new(w->arena);
	bool wrong = false;
	const char *data;
	size_t len;

	for (size_t i = 0; i < w->map->blocks.n; i++) {
		const struct block *b = &w->map->blocks.v[i];
		if (!wrong)
			*reference = b->reference;
		if (sig_check() != 0)
			return -1;
		if (read_block(w, b, &data, &len) != 0) {
			*reference = b->reference;
			return -1;
		}
		wrong = wrong || !is_right(w, b, data, len);
		sha1_add(sha1, data, len);
	}
	if (!wrong && w->m->reference.n > 0)
		*reference = (uint32_t)w->m->reference.n - 1;
	sha1_end(sha1, sum);
	return 0;
}

int block_check(struct arena *a, struct store *repo, const char *stanza, const struct manifest *m,
	const struct manifest_file *f, const struct block_map *map, struct block_check *out)
{
	SCOPED_ARENA(scratch);
	struct walk w = { .arena = scratch, .repo = repo, .stanza = stanza, .m = m, .f = f, .map = map,
		.supers = arena_zalloc(scratch, m->reference.n * sizeof(*w.supers)) };
	struct sum sum;

	*out = (struct block_check){ .result = { .msg = "" } };
	int rc = walk(&w, &sum, &out->reference);
	for (size_t i = 0; i < m->reference.n; i++)
		arena_free(w.supers[i].arena);
	if (rc == 0 && !sum_equal(&sum, &f->sum))
		out->result.state = CHECK_SUM;
	if (rc == 0)
		return 0;
	if (err_code() == ERR_TERM)
		return -1;
	check_take(a, &out->result);
	return 0;
}
