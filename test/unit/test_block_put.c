/*
 * block_put: what was stored as blocks over several backups comes back as every backup saw it, to the byte; what
 * is stored is what changed; worked examples; what a container must not show.
 *
 * The reader here is made of the map's decoder and the filters only, block by block; the product's reads the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/enc.h"
#include "repo/block_get.h"
#include "repo/block_load.h"
#include "repo/block_put.h"
#include "repo/block_size.h"
#include "repo/layout.h"
#include "stream/cipher.h"

#define STANZA "demo"
#define FILE_NAME "pg_data/base/1/1259"
#define PASS "a pass phrase"
#define B 8192u
#define BUNDLE 3

enum { BACKUPS_MAX = 16 };

static const char *const labels[BACKUPS_MAX] = {
	"20260101-000000F", "20260101-000000F_20260102-000000I", "20260101-000000F_20260103-000000I",
	"20260101-000000F_20260104-000000I", "20260101-000000F_20260105-000000I",
	"20260101-000000F_20260106-000000I", "20260101-000000F_20260107-000000I",
	"20260101-000000F_20260108-000000I", "20260101-000000F_20260109-000000I",
	"20260101-000000F_20260110-000000I", "20260101-000000F_20260111-000000I",
	"20260101-000000F_20260112-000000I", "20260101-000000F_20260113-000000I",
	"20260101-000000F_20260114-000000I", "20260101-000000F_20260115-000000I",
	"20260101-000000F_20260116-000000I",
};

/* ---- a cluster whose file comes in pieces of a chosen size ---- */

struct cluster {
	struct store store;
	struct buf data;
	size_t piece;
	bool gone;
	unsigned reads;
};

static ssize_t cluster_reread(void *ctx, void *data, size_t len, uint64_t offset)
{
	const struct cluster *c = ctx;

	memcpy(data, c->data.data + offset, len);
	return (ssize_t)len;
}

static int cluster_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	struct cluster *c = (struct cluster *)s;
	SCOPED_ARENA(a);
	size_t end = c->data.len;
	struct sink *head;

	assert_string_equal(path, "base/1/1259");
	if (c->gone)
		return STORE_ABSENT;
	c->reads++;
	if (o->length != 0 && o->length < end)
		end = (size_t)o->length;
	head = store_get_chain(a, o, cluster_reread, c, to);
	for (size_t at = 0; at < end; at += c->piece) {
		size_t n = end - at < c->piece ? end - at : c->piece;
		char *copy = malloc(n); /* so that a sanitizer sees who keeps it */

		memcpy(copy, c->data.data + at, n);
		int rc = sink_write(head, copy, n);
		memset(copy, 0x5a, n);
		free(copy);
		if (rc != 0)
			return -1;
	}
	int rc = sink_finish(head);
	store_keep_result(s, o);
	return rc;
}

static const struct store_driver cluster_driver = { .name = "pieces", .get = cluster_get };

/* ---- a repository with one file in it ---- */

struct world {
	struct arena *arena;
	struct cluster pg;
	struct store *repo;
	struct manifest *m;
	struct pipe_spec pipe;
	bool bundle;
	uint32_t block_size, sum_size;
	uint64_t super_size;
	size_t n; /* backups */
	struct manifest_file rows[BACKUPS_MAX];
	struct buf content[BACKUPS_MAX];
	struct block_put_result last;
};

static void world_init(struct world *w, struct arena *a, enum codec codec, bool encrypt, bool bundle)
{
	memset(w, 0, sizeof(*w));
	w->arena = a;
	w->pg.store = (struct store){ .driver = &cluster_driver, .root = "/pg", .arena = a };
	w->pg.piece = 1 << 20;
	buf_init(&w->pg.data, a);
	w->repo = store_mem(a);
	w->m = manifest_new(a);
	w->m->codec = codec;
	w->m->cipher_pass = encrypt ? PASS : NULL;
	w->pipe = (struct pipe_spec){ .compress = codec, .level = codec_info(codec)->level_default,
		.encrypt = w->m->cipher_pass };
	if (codec == CODEC_BZ2)
		w->pipe.level = 1; /* its memory is cleared for every super block */
	w->bundle = bundle;
	w->block_size = B;
	w->sum_size = 6;
	w->super_size = 4 * B;
}

static const char *container_path(struct world *w, const char *label)
{
	return w->bundle ? layout_bundle(w->arena, STANZA, label, BUNDLE) :
		layout_backup_file(w->arena, STANZA, label, FILE_NAME, BLOCK_SUFFIX);
}

static struct buf read_range(struct world *w, const char *path, uint64_t offset, uint64_t len)
{
	struct buf b;
	const struct get_opts get = { .offset = offset, .length = len, .exact = true };

	buf_init(&b, w->arena);
	assert_int_equal(store_get(w->repo, path, &get, sink_buf(w->arena, &b)), 0);
	return b;
}

static void row_from(struct world *w, struct manifest_file *row, const struct block_put_result *r,
	uint64_t offset)
{
	*row = (struct manifest_file){ .name = FILE_NAME, .size = r->pipe.plain_size,
		.repo_size = r->pipe.stored_size, .bundle = w->bundle ? BUNDLE : 0, .bundle_offset = offset,
		.block_size = w->block_size, .block_sum_size = w->sum_size, .block_map_size = r->map_size,
		.sum = r->pipe.plain_sum, .repo_sum = r->pipe.stored_sum, .has_sum = true,
		.has_repo_sum = true, .reference = labels[w->n] };
}

/* What the container shows must be what the result says, and nothing beside. */
static void check_container(struct world *w, const char *path, uint64_t offset)
{
	const struct block_put_result *r = &w->last;
	struct store_entry e;
	struct sum sum;

	assert_int_equal(store_stat(w->arena, w->repo, path, &e), 0);
	assert_int_equal(e.size, offset * 2 + r->pipe.stored_size);
	struct buf stored = read_range(w, path, offset, r->pipe.stored_size);
	sha1_of(stored.data, stored.len, &sum);
	assert_true(sum_equal(&sum, &r->pipe.stored_sum));
	assert_true(r->map_size > 0 && r->map_size <= r->pipe.stored_size);
}

/* The next backup of what the cluster has now; prior: the row to go on with, or NULL. */
static int backup_with(struct world *w, const struct manifest_file *prior, const struct block_map *map,
	uint64_t limit)
{
	static const char other[64] = "another member";
	SCOPED_ARENA(a);
	const char *path = container_path(w, labels[w->n]);
	uint64_t size = 0;
	struct sink *to = sink_count(a, file_put_late(a, w->repo, path), &size);
	struct block_put_opts o = { .block_size = w->block_size, .sum_size = w->sum_size,
		.super_size = block_super_size(w->block_size, w->super_size), .reference = (uint32_t)w->n,
		.bundle = w->bundle ? BUNDLE : 0, .prior = map, .prior_file = prior, .pipe = &w->pipe,
		.limit = limit };

	if (w->bundle) {
		assert_int_equal(sink_write(to, other, sizeof(other)), 0);
		o.offset = size;
	}
	if (block_put(&w->pg.store, manifest_pg_path(FILE_NAME), &o, to, &w->last) != 0)
		return -1;
	if (w->last.fate != FILE_STORED) {
		assert_int_equal(size, o.offset); /* no trace */
		assert_int_equal(w->last.pipe.stored_size, 0);
		assert_int_equal(w->last.map_size, 0);
		return 0;
	}
	assert_int_equal(size, o.offset + w->last.pipe.stored_size);
	if (w->bundle)
		assert_int_equal(sink_write(to, other, sizeof(other)), 0);
	assert_int_equal(sink_finish(to), 0);
	check_container(w, path, o.offset);
	row_from(w, &w->rows[w->n], &w->last, o.offset);
	return 0;
}

static struct block_map load_map(struct world *w, const struct manifest_file *row)
{
	struct block_map map;

	assert_int_equal(block_map_load(w->arena, w->repo, STANZA, w->m, row, &map), 0);
	return map;
}

static void next_label(struct world *w)
{
	assert_true(w->n < BACKUPS_MAX);
	vec_push(&w->m->reference, labels[w->n]);
	w->m->label = labels[w->n];
}

static void remember(struct world *w)
{
	buf_init(&w->content[w->n], w->arena);
	buf_add(&w->content[w->n], w->pg.data.data, w->pg.data.len);
	w->n++;
}

/* As the product will do it: the prior row decides. */
static void backup(struct world *w)
{
	const struct manifest_file *prior = w->n > 0 ? &w->rows[w->n - 1] : NULL;
	struct block_map map = { 0 };
	bool go_on = prior != NULL && prior->block_map_size > 0;

	next_label(w);
	if (go_on)
		map = load_map(w, prior);
	assert_int_equal(backup_with(w, prior, go_on ? &map : NULL, BLOCK_PUT_ALL), 0);
	if (w->last.fate == FILE_SAME)
		w->rows[w->n] = *prior;
	if (w->last.fate == FILE_EMPTIED)
		w->rows[w->n] = (struct manifest_file){ .name = FILE_NAME, .sum = sum_empty };
	remember(w);
}

/* ---- reading back ---- */

static struct buf expand(struct world *w, const struct buf *stored)
{
	struct buf plain;
	struct sink *s;

	buf_init(&plain, w->arena);
	s = sink_expand(w->arena, w->m->codec, true, sink_buf(w->arena, &plain));
	if (w->m->cipher_pass != NULL)
		s = sink_decrypt(w->arena, s, w->m->cipher_pass, true);
	assert_int_equal(sink_write(s, stored->data, stored->len), 0);
	assert_int_equal(sink_finish(s), 0);
	return plain;
}

/* The product's own reader. */
static void check_restored(struct world *w, const struct manifest_file *row, const struct buf *want)
{
	SCOPED_ARENA(a);
	struct store *to = store_mem(a);
	const struct file_get_opts o = { .stanza = STANZA, .m = w->m };
	struct file_get_result r;
	struct buf got;

	buf_init(&got, a);
	if (block_get(a, w->repo, to, row, &o, &r) != 0)
		fail_msg("%s", err_msg());
	assert_int_equal(store_read(to, manifest_pg_path(row->name), want->len + 1, false, &got), 0);
	assert_int_equal(got.len, want->len);
	assert_memory_equal(got.data, want->data, want->len);
}

/* The file of backup i, each block from where the map says; *own: how many of them backup i stored. */
static void check_file(struct world *w, size_t i, size_t *own)
{
	const struct manifest_file *row = &w->rows[i];
	const struct buf *want = &w->content[i];
	const struct block *of = NULL;
	struct buf super = { 0 };
	struct sum sum;

	*own = 0;
	assert_int_equal(row->size, want->len);
	sha1_of(want->data, want->len, &sum);
	assert_true(sum_equal(&sum, &row->sum));
	if (row->size == 0)
		return;
	check_restored(w, row, want);
	struct block_map map = load_map(w, row);
	assert_int_equal(map.blocks.n, (want->len + w->block_size - 1) / w->block_size);
	for (size_t k = 0; k < map.blocks.n; k++) {
		const struct block *b = &map.blocks.v[k];
		size_t at = k * w->block_size;
		size_t len = want->len - at < w->block_size ? want->len - at : w->block_size;

		if (of == NULL || of->reference != b->reference || of->offset != b->offset) {
			struct buf stored = read_range(w, container_path(w, labels[b->reference]), b->offset,
				b->stored);
			super = expand(w, &stored);
			assert_int_equal(super.len, b->super_size);
		}
		of = b;
		*own += b->reference == i;
		assert_true((size_t)b->number * w->block_size + len <= super.len);
		assert_memory_equal(super.data + (size_t)b->number * w->block_size, want->data + at, len);
	}
}

static void check_all(struct world *w)
{
	size_t own;

	for (size_t i = 0; i < w->n; i++)
		check_file(w, i, &own);
}

/* How many blocks of the newest backup are not those of the one before. */
static size_t changed_blocks(const struct world *w)
{
	const struct buf *now = &w->content[w->n - 1], *was = &w->content[w->n - 2];
	size_t n = 0;

	for (size_t at = 0; at < now->len; at += w->block_size) {
		size_t len = now->len - at < w->block_size ? now->len - at : w->block_size;
		size_t was_len = at >= was->len ? 0 :
			was->len - at < w->block_size ? was->len - at : w->block_size;
		n += len != was_len || memcmp(now->data + at, was->data + at, len) != 0;
	}
	return n;
}

static void fill(struct buf *b, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		buf_addc(b, (char)((seed >> 20) & 0x3f));
	}
}

static void damage(struct world *w, size_t at, char with)
{
	w->pg.data.data[at] = (char)(w->pg.data.data[at] + with);
}

/* ---- tests ---- */

static const enum codec codecs[] = { CODEC_NONE, CODEC_GZ, CODEC_LZ4, CODEC_ZST, CODEC_BZ2 };
#define CODECS (sizeof(codecs) / sizeof(codecs[0]))

static void each_world(void (*test)(struct world *))
{
	for (size_t i = 0; i < CODECS * 4; i++) {
		SCOPED_ARENA(a);
		struct world w;

		world_init(&w, a, codecs[i / 4], i & 1, i & 2);
		test(&w);
	}
}

enum change {
	SCATTERED, GROW, GROW_INSIDE, CUT_AT_BLOCK, CUT_INSIDE, ALL, NONE, BELOW_A_BLOCK, EMPTY, BACK, FIRST, LAST
};

static void apply(struct world *w, enum change c)
{
	struct buf *b = &w->pg.data;

	switch (c) {
	case SCATTERED:
		for (size_t at = 100; at < b->len; at += 5 * B + 77)
			damage(w, at, 1);
		break;
	case GROW:
		fill(b, 6 * B + 10, (uint32_t)b->len);
		break;
	case GROW_INSIDE: /* the short last block gets longer */
		fill(b, 5, 7);
		break;
	case CUT_AT_BLOCK:
		b->len = (b->len / B - 1) * B;
		break;
	case CUT_INSIDE:
		b->len -= 3 * B + 5;
		break;
	case ALL:
		for (size_t at = 0; at < b->len; at += 1000)
			damage(w, at, 3);
		break;
	case NONE:
		break;
	case BELOW_A_BLOCK:
		b->len = 77;
		break;
	case EMPTY:
		b->len = 0;
		break;
	case BACK:
		fill(b, 11 * B + 5, 99);
		break;
	case FIRST:
		damage(w, 0, 5);
		break;
	case LAST:
		damage(w, b->len - 1, 5);
		break;
	}
}

static void history(struct world *w)
{
	static const enum change story[] = { NONE, SCATTERED, GROW, GROW_INSIDE, NONE, CUT_AT_BLOCK, CUT_INSIDE,
		FIRST, ALL, LAST, SCATTERED, BELOW_A_BLOCK, EMPTY, BACK, NONE };
	size_t own;

	fill(&w->pg.data, 20 * B + 300, 1);
	backup(w);
	check_file(w, 0, &own);
	assert_int_equal(own, 21);
	for (size_t i = 0; i < sizeof(story) / sizeof(story[0]); i++) {
		apply(w, story[i]);
		backup(w);
		assert_int_equal(w->last.fate, story[i] == NONE ? FILE_SAME :
			story[i] == EMPTY ? FILE_EMPTIED : FILE_STORED);
		assert_false(w->last.prior_unfit);
		if (w->last.fate != FILE_STORED)
			continue;
		check_file(w, w->n - 1, &own);
		assert_int_equal(own, changed_blocks(w));
		if (story[i] == CUT_AT_BLOCK)
			assert_int_equal(w->last.map_size, w->last.pipe.stored_size);
	}
	check_all(w);
}

static void histories(void **state)
{
	each_world(history);
}

/* Blocks that fill no number of super blocks, and read buffers that fill no number of blocks. */
static void other_sizes(void **state)
{
	static const struct {
		uint32_t block, sum;
		uint64_t super;
	} table[] = { { 24576, 6, 32768 }, { 8192, 16, 8192 }, { 16384, 8, 1 << 20 }, { 360448, 8, 1 << 20 } };

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		SCOPED_ARENA(a);
		struct world w;

		world_init(&w, a, CODEC_ZST, i & 1, true);
		w.block_size = table[i].block;
		w.sum_size = table[i].sum;
		w.super_size = table[i].super;
		w.pg.piece = 65536;
		fill(&w.pg.data, 3 * 360448 + 1234, (uint32_t)i);
		backup(&w);
		apply(&w, SCATTERED);
		backup(&w);
		apply(&w, GROW);
		backup(&w);
		apply(&w, FIRST);
		backup(&w);
		check_all(&w);
	}
}

/* However the bytes come, the same blocks are stored (lessons D3); how a compressor cuts its own is its business. */
static void buffer_sizes(void **state)
{
	static const size_t pieces[] = { 1, 1000, 1024, 1025, 2048, 4095, 4096, 8191, 8192, 8193, 10000, 16384,
		20000, 24576, 32768, 49152, 65536, 100000, 1 << 20 };

	for (size_t c = 0; c < CODECS; c++) {
		struct sum full = { 0 }, incr = { 0 };

		for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
			SCOPED_ARENA(a);
			struct world w;
			size_t own;

			world_init(&w, a, codecs[c], false, c & 1);
			w.pg.piece = pieces[i];
			fill(&w.pg.data, 13 * B + 13, 5);
			backup(&w);
			if (i == 0)
				full = w.last.pipe.stored_sum;
			assert_true(codecs[c] != CODEC_NONE || sum_equal(&w.last.pipe.stored_sum, &full));
			apply(&w, SCATTERED);
			backup(&w);
			if (i == 0)
				incr = w.last.pipe.stored_sum;
			assert_true(codecs[c] != CODEC_NONE || sum_equal(&w.last.pipe.stored_sum, &incr));
			check_file(&w, 1, &own);
			assert_int_equal(own, changed_blocks(&w));
			check_file(&w, 0, &own);
		}
	}
}

static void edge_sizes(struct world *w)
{
	static const size_t sizes[] = { 1, B - 1, B, B + 1, 2 * B - 1, 4 * B, 4 * B + 1, 0, 1, 8 * B };
	size_t own;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		w->pg.data.len = 0;
		fill(&w->pg.data, sizes[i], 42);
		backup(w);
		assert_int_equal(w->last.fate, sizes[i] == 0 ? FILE_EMPTIED : FILE_STORED);
		check_file(w, w->n - 1, &own);
	}
	check_all(w);
}

static void sizes_at_the_edge(void **state)
{
	each_world(edge_sizes);
}

/* Files that no backup before knew, with nothing in them, too; nothing may be made in the repository. */
static void no_trace(struct world *w)
{
	struct store_entry e;

	w->bundle = false;
	next_label(w);
	assert_int_equal(backup_with(w, NULL, NULL, BLOCK_PUT_ALL), 0);
	assert_int_equal(w->last.fate, FILE_EMPTIED);
	fill(&w->pg.data, 3 * B, 1);
	assert_int_equal(backup_with(w, NULL, NULL, 0), 0);
	assert_int_equal(w->last.fate, FILE_EMPTIED);
	assert_true(sum_equal(&w->last.pipe.plain_sum, &sum_empty));
	w->pg.gone = true;
	assert_int_equal(backup_with(w, NULL, NULL, BLOCK_PUT_ALL), 0);
	assert_int_equal(w->last.fate, FILE_VANISHED);
	assert_int_equal(store_stat(w->arena, w->repo, container_path(w, labels[0]), &e), STORE_ABSENT);
	assert_int_equal(store_stat(w->arena, w->repo, "backup", &e), STORE_ABSENT);
}

static void nothing_leaves_no_trace(void **state)
{
	each_world(no_trace);
}

/* A relation that grew after it was listed is cut where it ended then. */
static void the_limit_holds(void **state)
{
	SCOPED_ARENA(a);
	struct world w;
	size_t own;

	world_init(&w, a, CODEC_LZ4, true, true);
	fill(&w.pg.data, 9 * B, 1);
	next_label(&w);
	assert_int_equal(backup_with(&w, NULL, NULL, 5 * B + 10), 0);
	w.pg.data.len = 5 * B + 10;
	remember(&w);
	check_file(&w, 0, &own);
	assert_int_equal(own, 6);
}

/* All checksums of the blocks fit, that of the file does not: the map is not gone on with. */
static void a_map_that_does_not_fit(void **state)
{
	SCOPED_ARENA(a);
	struct world w;
	size_t own;

	world_init(&w, a, CODEC_ZST, false, true);
	fill(&w.pg.data, 9 * B, 1);
	backup(&w);
	next_label(&w);
	struct manifest_file prior = w.rows[0];
	struct block_map map = load_map(&w, &prior);
	prior.sum.bytes[3] ^= 1;
	w.pg.reads = 0;
	assert_int_equal(backup_with(&w, &prior, &map, BLOCK_PUT_ALL), 0);
	assert_int_equal(w.pg.reads, 2);
	assert_int_equal(w.last.fate, FILE_STORED);
	assert_true(w.last.prior_unfit);
	remember(&w);
	check_file(&w, 1, &own);
	assert_int_equal(own, 9);

	map.block_size = 2 * B;
	next_label(&w);
	assert_int_equal(backup_with(&w, &prior, &map, BLOCK_PUT_ALL), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	err_clear();
}

static void pages_are_checked_meanwhile(void **state)
{
	SCOPED_ARENA(a);
	struct world w;

	world_init(&w, a, CODEC_ZST, false, true);
	w.pipe.page_size = B;
	w.pipe.page_header_check = true;
	w.pipe.first_block = 131072;
	for (uint32_t i = 0; i < 6; i++) {
		fill(&w.pg.data, B, i);
		uint8_t *page = (uint8_t *)w.pg.data.data + i * B;
		page[14] = 1;
		uint16_t sum = page_checksum(page, B, 131072 + i);
		memcpy(page + 8, &sum, 2);
	}
	backup(&w);
	assert_int_equal(w.last.pipe.pages.bad.n, 0);
	damage(&w, 3 * B + 500, 1);
	backup(&w);
	assert_int_equal(w.last.pipe.pages.bad.n, 1);
	assert_int_equal(w.last.pipe.pages.bad.v[0].first, 131075);
	assert_int_equal(w.last.pipe.plain_size, 6 * B);
	check_all(&w);
}

/* ---- the map of a backup before ---- */

static const char missing[] = "unable to open missing file";

static void refuse_map(struct world *w, const struct manifest_file *row, const char *why)
{
	struct block_map map;
	bool absent = strstr(why, missing) != NULL;

	assert_int_equal(block_map_load(w->arena, w->repo, STANZA, w->m, row, &map), -1);
	assert_int_equal(err_code(), absent ? ERR_FILE_MISSING : ERR_FILE_READ);
	if (strncmp(err_msg(), "unable to read block map for 'base/1/1259' from '", 49) != 0 ||
		strstr(err_msg(), why) == NULL)
		fail_msg("%s", err_msg());
	err_clear();
}

static void unreadable_maps(void **state)
{
	for (unsigned encrypt = 0; encrypt < 2; encrypt++) {
		SCOPED_ARENA(a);
		struct world w;
		struct manifest_file row;
		char *place;

		world_init(&w, a, CODEC_ZST, encrypt, true);
		fill(&w.pg.data, 9 * B, 1);
		backup(&w);
		row = w.rows[0];
		place = arena_printf(a, "at offset %ju size %ju: %s",
			(uintmax_t)(row.bundle_offset + row.repo_size - row.block_map_size),
			(uintmax_t)row.block_map_size, missing);
		row.bundle = 4;
		refuse_map(&w, &row, place);
		row = w.rows[0];
		row.reference = labels[1];
		refuse_map(&w, &row, "is not in the list of references");
		vec_push(&w.m->reference, labels[1]);
		refuse_map(&w, &row, missing);
		row = w.rows[0];
		row.bundle_offset += 1000;
		refuse_map(&w, &row, "bytes");
		row = w.rows[0];
		row.block_map_size = row.repo_size + 1;
		refuse_map(&w, &row, "larger than");
		row = w.rows[0];
		row.size += 100 * B;
		refuse_map(&w, &row, "");
		row = w.rows[0];
		row.block_size *= 2;
		refuse_map(&w, &row, "");
		row = w.rows[0];
		row.block_sum_size++;
		refuse_map(&w, &row, "");
		row = w.rows[0];
		row.bundle_offset += 8; /* the blocks lie before it now, and the map is cut */
		refuse_map(&w, &row, "");
		w.m->cipher_pass = encrypt ? NULL : PASS;
		refuse_map(&w, &w.rows[0], "");
	}
}

/* A map of a full backup that points into the incremental, or out of what the row says is stored. */
static void maps_that_point_elsewhere(void **state)
{
	SCOPED_ARENA(a);
	struct world w;

	world_init(&w, a, CODEC_NONE, false, false);
	fill(&w.pg.data, 9 * B, 1);
	backup(&w);
	struct manifest_file row = w.rows[0];
	for (unsigned i = 0; i < 3; i++) {
		struct block_map map = load_map(&w, &w.rows[0]);
		struct buf stored = read_range(&w, container_path(&w, labels[0]), 0, 0), out;

		if (i == 0)
			for (size_t k = 0; k < map.blocks.n; k++)
				map.blocks.v[k].reference = 1;
		if (i == 1)
			map.blocks.v[8].stored += 1;
		if (i == 2)
			for (size_t k = 0; k < map.blocks.n; k++)
				map.blocks.v[k].bundle = 1;
		buf_init(&out, a);
		buf_add(&out, stored.data, row.repo_size - row.block_map_size);
		assert_int_equal(block_map_write(&map, &out), 0);
		row.block_map_size = out.len - (row.repo_size - row.block_map_size);
		row.repo_size = out.len;
		assert_int_equal(store_write(w.repo, container_path(&w, labels[0]), out.data, out.len, NULL),
			0);
		vec_push(&w.m->reference, labels[1]);
		refuse_map(&w, &row, i == 0 ? "" : "does not lie in what is stored");
		w.m->reference.n = 1;
		row = w.rows[0];
		assert_int_equal(store_write(w.repo, container_path(&w, labels[0]), stored.data, stored.len,
			NULL), 0);
	}
}

/* ---- failures ---- */

struct breaking {
	struct sink sink;
	struct sink *next;
	size_t left; /* writes that go well */
};

static int breaking_write(struct sink *s, const void *data, size_t len)
{
	struct breaking *b = (struct breaking *)s;

	if (b->left-- == 0)
		return err_set(ERR_FILE_WRITE, "disk full");
	return sink_write(b->next, data, len);
}

static void every_write_fails_once(void **state)
{
	unsigned failed = 0;

	for (size_t left = 0; left < 12; left++) {
		SCOPED_ARENA(a);
		struct world w;
		struct buf out;

		world_init(&w, a, CODEC_ZST, true, false);
		fill(&w.pg.data, 20 * B + 1, 1);
		buf_init(&out, a);
		struct breaking b = { { breaking_write, NULL }, sink_buf(a, &out), left };
		struct block_put_opts o = { .block_size = B, .sum_size = 6, .super_size = 4 * B,
			.pipe = &w.pipe, .limit = BLOCK_PUT_ALL };
		int rc = block_put(&w.pg.store, "base/1/1259", &o, &b.sink, &w.last);
		if (rc == 0)
			continue;
		failed++;
		assert_int_equal(err_code(), ERR_FILE_WRITE);
		err_clear();
	}
	assert_int_equal(failed, 7); /* six super blocks and the map */
}

/* ---- worked examples of format/blocks.md ---- */

static struct buf unhex(struct arena *a, const char *hex)
{
	struct buf b;
	size_t n = strlen(hex) / 2;
	uint8_t *data = arena_alloc(a, n);

	assert_true(hex_decode(hex, data, n));
	buf_init(&b, a);
	buf_add(&b, data, n);
	return b;
}

static void letters(struct world *w, const char *blocks, char last, size_t last_len)
{
	buf_reset(&w->pg.data);
	for (; *blocks != '\0'; blocks++) {
		for (size_t i = 0; i < B; i++)
			buf_addc(&w->pg.data, *blocks);
	}
	for (size_t i = 0; i < last_len; i++)
		buf_addc(&w->pg.data, last);
}

/* Sizes and map to the byte.  The frames of another libzstd may differ where the sizes do not. */
static void expect_stored(struct world *w, size_t map_size, const char *hex)
{
	size_t i = w->n - 1;
	const struct manifest_file *row = &w->rows[i];
	struct buf want = unhex(w->arena, hex);
	struct buf got = read_range(w, container_path(w, labels[i]), 0, 0);

	assert_int_equal(row->repo_size, want.len);
	assert_int_equal(row->block_map_size, map_size);
	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.data + got.len - map_size, want.data + want.len - map_size, map_size);
}

static void worked_example_1(void **state)
{
	SCOPED_ARENA(a);
	struct world w;

	world_init(&w, a, CODEC_ZST, false, false);
	w.super_size = 1 << 20;
	letters(&w, "ABCD", 'E', 1000);
	backup(&w);
	expect_stored(&w, 37,
		"28b52ffd0058c5000030414142434445051000e42be1fffef8bf67fcdf8bfdef"
		"b100018b0209e807753fce3c113b7fac9165aae0d1f48ddba7418fd99eb3b024ea0faf11f789");
	w.super_size = 1 << 18;
	letters(&w, "ABcDE", 'F', 500);
	backup(&w);
	expect_stored(&w, 55,
		"28b52ffd00588d00002063634546031000f0aaf07f7ff7bfc70200008f0209e8"
		"0702753fce3c113b7fac9165aae0086f05f40300215c24458c940601018fd99e"
		"b3b0240f02ed13f6567c1466a33e12f85c");
	letters(&w, "ABcdE", 0, 0);
	backup(&w);
	const struct manifest_file *row = &w.rows[2];
	assert_int_equal(row->repo_size, 66);
	assert_int_equal(row->block_map_size, 48);
	struct buf map = read_range(&w, container_path(&w, labels[2]), 18, 48);
	struct buf want = unhex(a, "00008f0209e80702753fce3c113b7fac9165aae0086f05f40300215c24458c94"
		"10794561bcbdbf140f00ed13f6567c14");
	assert_memory_equal(map.data, want.data, want.len);
	check_all(&w);
}

static void worked_example_2(void **state)
{
	SCOPED_ARENA(a);
	struct world w;

	world_init(&w, a, CODEC_ZST, false, false);
	w.super_size = 32768;
	letters(&w, "abcdefghijkl", 0, 0);
	backup(&w);
	expect_stored(&w, 79,
		"28b52ffd00589d000028616162636404140030fc2ffc7ffccff6bf0d28b52ffd"
		"00589d000028656566676804140030fc2ffc7ffccff6bf0d28b52ffd00589d00"
		"002869696a6b6c04140030fc2ffc7ffccff6bf0d0001e201088e81ac548c3c04"
		"be300f4a5e215c24458c944561bcbdbf14008690ebdeb0ff486bbf0a9522fb51"
		"260bf64f3625dbaa34c90179f0619bcd837c2831548279ce6d739c2d755e1dda"
		"89c897");
	letters(&w, "abcdEFGHiJkl", 0, 0);
	backup(&w);
	expect_stored(&w, 91,
		"28b52ffd00589d000028454546474804140030fc2ffc7ffccff6bf0d28b52ffd"
		"00584d0000104a4a0100fbdf032c0000e301088e81ac548c3c04be300f4a5e21"
		"5c24458c944561bcbdbf14080308ed13f6567c143150877119fdacae8400319b"
		"4cd86a7d7e6f041c050079f0619bcd83089b01029d6c77a46d83070301ce6d73"
		"9c2d755e1dda89c897");
	check_all(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(histories),
		cmocka_unit_test(other_sizes),
		cmocka_unit_test(buffer_sizes),
		cmocka_unit_test(sizes_at_the_edge),
		cmocka_unit_test(nothing_leaves_no_trace),
		cmocka_unit_test(the_limit_holds),
		cmocka_unit_test(a_map_that_does_not_fit),
		cmocka_unit_test(pages_are_checked_meanwhile),
		cmocka_unit_test(unreadable_maps),
		cmocka_unit_test(maps_that_point_elsewhere),
		cmocka_unit_test(every_write_fails_once),
		cmocka_unit_test(worked_example_1),
		cmocka_unit_test(worked_example_2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
