/*
 * block_get: files of blocks put together from several backups, mended in place, and refused.
 */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/enc.h"
#include "base/path.h"
#include "repo/block_check.h"
#include "repo/block_get.h"
#include "repo/block_load.h"
#include "repo/block_map.h"
#include "repo/block_stored.h"
#include "repo/layout.h"
#include "pieces_store.h"

#define FULL "20261120-120000F"
#define NAME "pg_data/base/5/1255"
#define DEST "base/5/1255"
#define MTIME 1700000000
#define B 1024u
#define BACKUPS 8

/* ---- backups, made by hand ---- */

static uint64_t seed;

static uint32_t dice(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return below == 0 ? 0 : (uint32_t)(seed >> 11) % below;
}

struct backup {
	struct manifest m;
	struct manifest_file f;
	struct block_map map;
	struct buf data; /* of the file */
};

struct world {
	struct arena *a;
	struct store *repo, *pg;
	enum codec codec;
	const char *pass;
	uint32_t super; /* plain bytes of super blocks */
	size_t n;
	struct backup backups[BACKUPS];
};

static struct world *world_new(struct arena *a, struct store *pg)
{
	struct world *w = arena_new_object(a, struct world);

	w->a = a;
	w->repo = store_mem(a);
	w->pg = pg;
	w->codec = CODEC_ZST;
	w->super = 4 * B;
	return w;
}

/* Pages that differ and compress. */
static void fill(struct buf *b, size_t len, uint32_t kind)
{
	for (size_t i = b->len; i < len; i++)
		buf_addc(b, (char)(i % 64 < 8 ? (kind + i / 64) * 2654435761u >> 13 : i / 512));
}

static void add_super(struct world *w, struct backup *b, struct buf *member, const struct buf *plain, size_t first)
{
	SCOPED_ARENA(a);
	const struct pipe_spec spec = {.compress = w->codec, .level = codec_info(w->codec)->level_default,
		.encrypt = w->pass, .raw = true};
	struct pipe_result r;
	uint64_t offset = member->len;
	struct sink *to = pipe_chain(a, &spec, NULL, NULL, sink_buf(a, member), &r);

	assert_int_equal(sink_write(to, plain->data, plain->len), 0);
	assert_int_equal(sink_finish(to), 0);
	for (size_t i = first; i < b->map.blocks.n; i++) {
		struct block *k = &b->map.blocks.v[i];
		if (k->stored != 0 || k->reference != w->n)
			continue;
		k->offset = offset;
		k->stored = member->len - offset;
		k->super_size = (uint32_t)plain->len;
	}
}

/* 1 if anything was stored. */
static bool add_blocks(struct world *w, struct backup *b, const struct backup *prior, struct buf *member)
{
	SCOPED_ARENA(a);
	struct buf plain;
	uint32_t number = 0;
	bool any = false;

	buf_init(&plain, a);
	for (size_t at = 0, i = 0; at < b->data.len; at += B, i++) {
		size_t len = b->data.len - at < B ? b->data.len - at : B;
		struct block k = {.reference = (uint32_t)w->n, .bundle = b->f.bundle};
		block_sum(b->data.data + at, len, 6, k.sum);
		if (prior != NULL && i < prior->map.blocks.n &&
			memcmp(prior->map.blocks.v[i].sum, k.sum, 6) == 0) {
			vec_push(&b->map.blocks, prior->map.blocks.v[i]);
		} else {
			k.number = number++;
			buf_add(&plain, b->data.data + at, len);
			vec_push(&b->map.blocks, k);
		}
		if (plain.len > 0 && (plain.len >= w->super || at + B >= b->data.len)) {
			add_super(w, b, member, &plain, 0);
			buf_reset(&plain);
			number = 0;
			any = true;
		}
	}
	return any || (prior != NULL && b->map.blocks.n < prior->map.blocks.n);
}

static void add_map(struct world *w, struct backup *b, struct buf *member)
{
	SCOPED_ARENA(a);
	const struct pipe_spec spec = {.encrypt = w->pass, .raw = true};
	struct pipe_result r;
	struct buf map;
	size_t before = member->len;
	struct sink *to = pipe_chain(a, &spec, NULL, NULL, sink_buf(a, member), &r);

	buf_init(&map, a);
	if (block_map_write(&b->map, &map) != 0)
		fail_msg("%s", err_msg());
	assert_int_equal(sink_write(to, map.data, map.len), 0);
	assert_int_equal(sink_finish(to), 0);
	b->f.block_map_size = member->len - before;
}

/* One more backup of the file as data has it.  bundle 0: a file of its own. */
static struct backup *take(struct world *w, const struct buf *data, uint32_t bundle)
{
	struct backup *b = &w->backups[w->n], *prior = w->n == 0 ? NULL : b - 1;
	struct buf stored;

	b->m = (struct manifest){.arena = w->a, .codec = w->codec, .cipher_pass = w->pass, .copy_start = MTIME + 100};
	b->m.label = w->n == 0 ? FULL : arena_printf(w->a, FULL "_20261120-12000%zuI", w->n);
	vec_init(&b->m.reference, w->a);
	for (size_t i = 0; i < w->n; i++)
		vec_push(&b->m.reference, w->backups[i].m.label);
	vec_push(&b->m.reference, b->m.label);
	buf_init(&b->data, w->a);
	buf_add(&b->data, data->data, data->len);
	b->map = (struct block_map){.block_size = B, .sum_size = 6};
	vec_init(&b->map.blocks, w->a);
	b->f = (struct manifest_file){.name = NAME, .size = data->len, .mode = 0600, .mtime = MTIME + (int64_t)w->n,
		.bundle = bundle, .block_size = B, .block_sum_size = 6};
	buf_init(&stored, w->a);
	for (uint32_t n = bundle == 0 ? 0 : dice(200); n > 0; n--)
		buf_addc(&stored, (char)dice(256));
	b->f.bundle_offset = stored.len;
	if (add_blocks(w, b, prior, &stored)) {
		add_map(w, b, &stored);
		b->f.repo_size = stored.len - b->f.bundle_offset;
		for (uint32_t n = bundle == 0 ? 0 : dice(200); n > 0; n--)
			buf_addc(&stored, (char)dice(256));
		const char *path = bundle == 0 ?
			layout_backup_file(w->a, "demo", b->m.label, NAME, BLOCK_SUFFIX) :
			layout_bundle(w->a, "demo", b->m.label, bundle);
		assert_int_equal(store_write(w->repo, path, stored.data, stored.len, NULL), 0);
	} else {
		/* unchanged */
		b->f = prior->f;
		if (b->f.reference == NULL)
			b->f.reference = prior->m.label;
	}
	sha1_of(data->data, data->len, &b->f.sum);
	w->n++;
	return b;
}

static int get_from(struct world *w, struct store *repo, const struct backup *b, bool delta,
	struct file_get_result *r)
{
	const struct file_get_opts o = {.stanza = "demo", .m = &b->m, .delta = delta, .no_fsync = true};
	SCOPED_ARENA(a);

	return block_get(a, repo, w->pg, &b->f, &o, r);
}

static void must_be(struct world *w, const struct backup *b)
{
	SCOPED_ARENA(a);
	struct store_entry e;
	struct buf now;

	buf_init(&now, a);
	assert_int_equal(store_read(w->pg, DEST, UINT32_MAX, false, &now), 0);
	if (now.len != b->data.len || memcmp(now.data, b->data.data, now.len) != 0)
		fail_msg("%zu bytes instead of %zu, or others", now.len, b->data.len);
	assert_int_equal(store_stat(a, w->pg, DEST, &e), 0);
	assert_int_equal(e.mtime, b->f.mtime);
	assert_int_equal(e.mode, b->f.mode);
}

static struct file_get_result must_get(struct world *w, const struct backup *b, bool delta)
{
	struct file_get_result r;

	if (get_from(w, w->repo, b, delta, &r) != 0)
		fail_msg("%s %s", err_msg(), err_hints());
	must_be(w, b);
	return r;
}

static void must_fail(struct world *w, const struct backup *b, bool delta, enum err_code code, const char *text)
{
	struct file_get_result r;

	assert_int_equal(get_from(w, w->repo, b, delta, &r), -1);
	if (err_code() != code || strstr(err_msg(), text) == NULL ||
		strncmp(err_msg(), "error restoring '", strlen("error restoring '")) != 0)
		fail_msg("[%d] %s\n%s", err_code(), err_msg(), err_hints());
}

/* The file as block_check sees it; a map that cannot be loaded is damage too. */
static struct block_check check(struct world *w, struct store *repo, const struct backup *b)
{
	SCOPED_ARENA(a);
	struct block_check out = {.result.state = CHECK_DAMAGED};
	struct block_map map;

	if (block_map_load(a, repo, "demo", &b->m, &b->f, &map) != 0)
		err_clear();
	else
		assert_int_equal(block_check(w->a, repo, "demo", &b->m, &b->f, &map, &out), 0);
	return out;
}

static bool is_absent(struct world *w)
{
	SCOPED_ARENA(a);
	struct store_entry e;

	return store_stat(a, w->pg, DEST, &e) == STORE_ABSENT;
}

static void set_file(struct world *w, const void *data, size_t len)
{
	const struct put_opts o = {.set_mtime = true, .mtime = 1, .mode = 0640};

	assert_int_equal(store_write(w->pg, DEST, data, len, &o), 0);
}

/* ---- a directory of this host, for what only a file system has ---- */

static char dir[64];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/pgstrata-block-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	err_clear();
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- what pgBackRest wrote (format/blocks.md 2.13, 2.14) ---- */

#define FULL2 "20261120-122615F"

static const struct stored_file {
	const char *label, *name;
	uint32_t references; /* of walk_labels */
	uint64_t size, map_size;
	const char *sum, *hex;
} walk[] = {
	{"20261120-122608F", "walk.bin", 1, 33768, 37, "a3eb6f13b4b1f770e879d3554980cbd38941171b",
		"28b52ffd0058c5000030414142434445051000e42be1fffef8bf67fcdf8bfdefb100018b0209e807753fce3c113b7fac"
		"9165aae0d1f48ddba7418fd99eb3b024ea0faf11f789"},
	{"20261120-122608F_20261120-122610I", "walk.bin", 2, 41460, 55, "5e11d65ee6f776a4f038ebeeef3c1caaa7e681e7",
		"28b52ffd00588d00002063634546031000f0aaf07f7ff7bfc70200008f0209e80702753fce3c113b7fac9165aae0086f"
		"05f40300215c24458c940601018fd99eb3b0240f02ed13f6567c1466a33e12f85c"},
	{"20261120-122608F_20261120-122612I", "walk.bin", 3, 40960, 48, "b40e449eb74d16da70038ad5cf719d53aed5598b",
		"28b52ffd00584d00001064640100fbdf032c00008f0209e80702753fce3c113b7fac9165aae0086f05f40300215c2445"
		"8c9410794561bcbdbf140f00ed13f6567c14"},
	{"20261120-122615F", "walk2.bin", 4, 98304, 79, "b8534f76b8b8586a319f83e5e5c02086ec35b49a",
		"28b52ffd00589d000028616162636404140030fc2ffc7ffccff6bf0d28b52ffd00589d00002865656667680414"
		"0030fc2ffc7ffccff6bf0d28b52ffd00589d00002869696a6b6c04140030fc2ffc7ffccff6bf0d0001e201088e81ac"
		"548c3c04be300f4a5e215c24458c944561bcbdbf14008690ebdeb0ff486bbf0a9522fb51260bf64f3625dbaa34c901"
		"79f0619bcd837c2831548279ce6d739c2d755e1dda89c897"},
	{"20261120-122615F_20261120-122617I", "walk2.bin", 5, 98304, 91, "19440060462b8cfb9449939e9402a7c3bf33bdcd",
		"28b52ffd00589d000028454546474804140030fc2ffc7ffccff6bf0d28b52ffd00584d0000104a4a0100fbdf032c00"
		"00e301088e81ac548c3c04be300f4a5e215c24458c944561bcbdbf14080308ed13f6567c143150877119fdacae8400"
		"319b4cd86a7d7e6f041c050079f0619bcd83089b01029d6c77a46d83070301ce6d739c2d755e1dda89c897"},
};
#define WALKS (sizeof(walk) / sizeof(*walk))

static void put_walk(struct arena *a, struct store *repo, const struct stored_file *s)
{
	size_t len = strlen(s->hex) / 2;
	uint8_t *bytes = arena_alloc(a, len);

	assert_true(hex_decode(s->hex, bytes, len));
	const char *name = arena_printf(a, "pg_data/%s", s->name);
	assert_int_equal(store_write(repo, layout_backup_file(a, "demo", s->label, name, BLOCK_SUFFIX), bytes, len,
		NULL), 0);
}

static void written_by_the_original(void **state)
{
	SCOPED_ARENA(all);
	struct store *repo = store_mem(all);

	for (size_t i = 0; i < WALKS; i++)
		put_walk(all, repo, &walk[i]);
	for (size_t delta = 0; delta < 2; delta++) {
		struct store *pg = store_posix(all, path_join(all, dir, delta ? "delta" : "fresh"));
		for (size_t i = 0; i < WALKS; i++) {
			SCOPED_ARENA(a);
			const struct stored_file *s = &walk[i];
			struct manifest m = {.label = s->label, .codec = CODEC_ZST};
			struct manifest_file f = {.name = arena_printf(a, "pg_data/%s", s->name), .size = s->size,
				.repo_size = strlen(s->hex) / 2, .block_size = 8192, .block_sum_size = 6,
				.block_map_size = s->map_size, .mode = 0664, .mtime = MTIME};
			const struct file_get_opts o = {.stanza = "demo", .m = &m, .delta = delta};
			struct file_get_result r;
			assert_true(sum_parse(s->sum, &f.sum));
			vec_init(&m.reference, a);
			for (size_t k = s->references > 3 ? 3 : 0; k < s->references; k++)
				vec_push(&m.reference, walk[k].label);
			if (block_get(a, repo, pg, &f, &o, &r) != 0)
				fail_msg("%s", err_msg());
			/* 3 blocks of the second, 1 of the third: only those that differ */
			static const uint64_t changed[WALKS] = {33768, 16884, 8192, 98304, 5 * 8192};
			assert_int_equal(r.written, delta ? changed[i] : s->size);
			/* block_get has proven the sum; here only that it is the file */
			struct store_entry e;
			assert_int_equal(store_stat(a, pg, s->name, &e), 0);
			assert_int_equal(e.size, s->size);
		}
	}
}

/* ---- histories ---- */

static void change(struct buf *b, uint32_t kind)
{
	for (uint32_t n = dice(4); n > 0 && b->len > 0; n--)
		b->data[dice((uint32_t)b->len)]++;
	switch (dice(5)) {
	case 0:
		b->len = dice((uint32_t)b->len + 1);
		break;
	case 1:
		b->len -= b->len % B;
		break;
	case 2:
		fill(b, b->len + dice(20 * B), kind);
		break;
	}
	if (b->len < B)
		fill(b, B + dice(3) * B + dice(2), kind);
}

/* All backups of a file that lives, each restored anew, and over what another one left. */
static void try_history(struct arena *a, struct store *pg, uint32_t which, size_t piece)
{
	static const char *const passes[] = {NULL, "secret", "another"};
	struct world *w = world_new(a, pg);
	struct buf data;
	size_t n = 1 + dice(BACKUPS);

	w->codec = (enum codec)(which % CODEC_COUNT);
	w->pass = passes[dice(3)];
	buf_init(&data, a);
	fill(&data, B + dice(40 * B), which);
	for (size_t i = 0; i < n; i++) {
		w->super = (1 + dice(6)) * B;
		take(w, &data, dice(3) == 0 ? 0 : 1 + dice(5));
		if (dice(5) != 0)
			change(&data, which + (uint32_t)i);
	}
	w->repo = &pieces_new(a, w->repo, piece)->store;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(store_remove(pg, DEST, true), 0);
		struct file_get_result r = must_get(w, &w->backups[i], dice(2));
		assert_int_equal(r.how, FILE_GET_WRITTEN);
		assert_int_equal(r.written, w->backups[i].data.len);
		must_get(w, &w->backups[dice((uint32_t)n)], true);
		must_get(w, &w->backups[dice((uint32_t)n)], dice(2));
		assert_int_equal(check(w, w->repo, &w->backups[i]).result.state, CHECK_OK);
	}
}

static void histories(void **state)
{
	seed = 42;
	for (uint32_t i = 0; i < 200; i++) {
		SCOPED_ARENA(a);
		struct store *pg = i % 8 == 0 ? store_posix(a, dir) : store_mem(a);
		try_history(a, pg, i, 1 + dice(dice(2) == 0 ? 20 : 70000));
	}
}

/* However the bytes arrive: at the end of a super block's stream, or of a map's padding, nothing gets lost. */
static void all_pieces(void **state)
{
	static const size_t pieces[] = {1, 2, 3, 7, 8, 15, 16, 17, 64, 255, 1000, 1023, 1024, 1025, 4096, 65535, 65536};

	for (enum codec codec = CODEC_NONE; codec < CODEC_COUNT; codec++) {
		for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
			SCOPED_ARENA(a);
			seed = 7 + codec;
			try_history(a, store_mem(a), codec, pieces[i]);
		}
	}
}

static void sizes(void **state)
{
	static const size_t all[] = {1, 2, B - 1, B, B + 1, 2 * B - 1, 2 * B, 4 * B, 4 * B + 1, 8 * B, 300 * B + 7};
	const size_t n = sizeof(all) / sizeof(*all);

	for (size_t from = 0; from < n; from++) {
		for (size_t to = 0; to < n; to++) {
			SCOPED_ARENA(a);
			struct world *w = world_new(a, store_mem(a));
			struct buf data;
			buf_init(&data, a);
			fill(&data, all[from], 1);
			take(w, &data, 0);
			data.len = all[to] < data.len ? all[to] : data.len;
			fill(&data, all[to], 2);
			take(w, &data, 3);
			for (int delta = 0; delta < 2; delta++) {
				must_get(w, &w->backups[0], delta);
				must_get(w, &w->backups[1], delta);
				must_get(w, &w->backups[0], delta);
			}
		}
	}
}

/* ---- how much is read and written ---- */

static void few_reads(void **state)
{
	SCOPED_ARENA(a);
	struct world *w = world_new(a, store_mem(a));
	struct buf data;

	buf_init(&data, a);
	fill(&data, 100 * B, 1);
	take(w, &data, 1);
	for (size_t i = 0; i < data.len; i += 10 * B)
		data.data[i]++;
	take(w, &data, 0);
	struct pieces *p = pieces_new(a, w->repo, 65536);
	w->repo = &p->store;
	must_get(w, &w->backups[0], false);
	/* its map; its 25 super blocks */
	assert_int_equal(p->gets, 2);
	p->gets = 0;
	assert_int_equal(store_remove(w->pg, DEST, false), 0);
	must_get(w, &w->backups[1], false);
	assert_int_equal(p->gets, 3);
	/* nothing to do: not even the map */
	p->gets = 0;
	assert_int_equal(must_get(w, &w->backups[1], true).how, FILE_GET_KEPT);
	assert_int_equal(p->gets, 0);
	/* one block of the first, none of the second */
	struct buf now;
	buf_init(&now, a);
	buf_add(&now, data.data, data.len);
	now.data[5 * B]++;
	set_file(w, now.data, now.len);
	assert_int_equal(must_get(w, &w->backups[1], true).written, B);
	assert_int_equal(p->gets, 2);
}

/* Size and time only decide whether the map is read before the file or behind it. */
static void time_proves_nothing(void **state)
{
	SCOPED_ARENA(a);
	struct world *w = world_new(a, store_mem(a));
	struct buf data, now;

	buf_init(&data, a);
	fill(&data, 100 * B, 1);
	const struct backup *b = take(w, &data, 0);
	const struct put_opts same_time = {.set_mtime = true, .mtime = b->f.mtime, .mode = 0640};
	struct pieces *p = pieces_new(a, w->repo, 65536);
	w->repo = &p->store;
	buf_init(&now, a);
	buf_add(&now, data.data, data.len);
	now.data[5 * B]++;
	assert_int_equal(store_write(w->pg, DEST, now.data, now.len, &same_time), 0);
	assert_int_equal(must_get(w, b, true).written, B);
	/* the right bytes at another time: the map is read for nothing, */
	p->gets = 0;
	set_file(w, data.data, data.len);
	assert_int_equal(must_get(w, b, true).how, FILE_GET_KEPT);
	assert_int_equal(p->gets, 1);
	/* and if it cannot be, nothing is lost, unless it is needed */
	assert_int_equal(store_remove(p->inner, layout_backup_file(a, "demo", FULL, NAME, BLOCK_SUFFIX), false), 0);
	set_file(w, data.data, data.len);
	assert_int_equal(must_get(w, b, true).how, FILE_GET_KEPT);
	set_file(w, now.data, now.len);
	must_fail(w, b, true, ERR_FILE_MISSING, "unable to read block map");
	assert_int_equal(store_write(w->pg, DEST, now.data, now.len, &same_time), 0);
	must_fail(w, b, true, ERR_FILE_MISSING, "unable to read block map");
}

/* What was there, and how much of the file is written then. */
static void delta(void **state)
{
	static const struct {
		const char *what;
		size_t len;	/* of the right bytes, */
		size_t more;	/* and of others behind them */
		size_t wrong[3]; /* bytes that differ, if not 0 */
		enum file_get_how how;
		uint64_t written;
	} cases[] = {
		{"the same", 20 * B + 100, 0, {0}, FILE_GET_KEPT, 0},
		{"longer", 20 * B + 100, 1, {0}, FILE_GET_KEPT, 0},
		{"much longer", 20 * B + 100, 100 * B, {0}, FILE_GET_KEPT, 0},
		{"one byte", 20 * B + 100, 0, {5 * B + 7}, FILE_GET_WRITTEN, B},
		{"both ends of blocks", 20 * B + 100, 0, {5 * B - 1, 7 * B, 8 * B - 1}, FILE_GET_WRITTEN, 2 * B},
		{"the last byte", 20 * B + 100, 0, {20 * B + 99}, FILE_GET_WRITTEN, 100},
		{"longer, one byte", 20 * B + 100, 3 * B, {1}, FILE_GET_WRITTEN, B},
		{"cut inside a block", 10 * B + 5, 0, {0}, FILE_GET_WRITTEN, 10 * B + 100},
		{"cut between blocks", 10 * B, 0, {0}, FILE_GET_WRITTEN, 10 * B + 100},
		{"cut before the last", 20 * B, 0, {0}, FILE_GET_WRITTEN, 100},
		{"cut, one byte", 20 * B, 0, {1}, FILE_GET_WRITTEN, B + 100},
		{"other bytes behind a cut", 10 * B, 10 * B + 100, {0}, FILE_GET_WRITTEN, 10 * B + 100},
		{"one block", B, 0, {0}, FILE_GET_WRITTEN, 19 * B + 100},
		{"less than a block", B - 1, 0, {0}, FILE_GET_WRITTEN, 20 * B + 100},
		{"one byte of it", 1, 0, {0}, FILE_GET_WRITTEN, 20 * B + 100},
		{"nothing", 0, 0, {0}, FILE_GET_WRITTEN, 20 * B + 100},
		{"only others", 0, 20 * B + 100, {0}, FILE_GET_WRITTEN, 20 * B + 100},
	};

	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
		SCOPED_ARENA(a);
		struct world *w = world_new(a, i % 2 == 0 ? store_mem(a) : store_posix(a, dir));
		size_t c = i / 2;
		struct buf data, now;
		buf_init(&data, a);
		buf_init(&now, a);
		fill(&data, 20 * B + 100, 1);
		w->codec = (enum codec)(i % CODEC_COUNT);
		w->pass = i % 3 == 0 ? "secret" : NULL;
		take(w, &data, 1);
		data.data[3 * B]++;
		data.data[12 * B]++;
		take(w, &data, 1);
		buf_add(&now, data.data, cases[c].len);
		for (size_t k = 0; k < cases[c].more; k++)
			buf_addc(&now, (char)(k * 7));
		for (size_t k = 0; k < 3; k++)
			if (cases[c].wrong[k] != 0)
				now.data[cases[c].wrong[k]] ^= 0x55;
		set_file(w, now.data, now.len);
		struct file_get_result r = must_get(w, &w->backups[1], true);
		if (r.how != cases[c].how || r.written != cases[c].written)
			fail_msg("%s: %d, %ju written", cases[c].what, r.how, (uintmax_t)r.written);
	}
}

/* Only the size and the time are asked, or nothing. */
static void no_delta(void **state)
{
	SCOPED_ARENA(a);
	struct world *w = world_new(a, store_posix(a, dir));
	struct buf data;
	struct file_get_result r;

	buf_init(&data, a);
	fill(&data, 9 * B, 1);
	const struct backup *b = take(w, &data, 1);
	struct file_get_opts o = {.stanza = "demo", .m = &b->m, .delta = true, .delta_by_time = true};
	char *other = arena_zalloc(a, 9 * B);
	const struct put_opts put = {.set_mtime = true, .mtime = b->f.mtime};
	/* the time is right: other bytes are believed */
	assert_int_equal(store_write(w->pg, DEST, other, 9 * B, &put), 0);
	assert_int_equal(block_get(a, w->repo, w->pg, &b->f, &o, &r), 0);
	assert_int_equal(r.how, FILE_GET_KEPT);
	set_file(w, other, 9 * B);
	assert_int_equal(block_get(a, w->repo, w->pg, &b->f, &o, &r), 0);
	assert_int_equal(r.written, 9 * B);
	must_be(w, b);
	assert_int_equal(must_get(w, b, false).written, 9 * B);
	o.zeroed = true;
	assert_int_equal(block_get(a, w->repo, w->pg, &b->f, &o, &r), 0);
	assert_int_equal(r.how, FILE_GET_ZEROED);
	struct buf now;
	buf_init(&now, a);
	assert_int_equal(store_read(w->pg, DEST, 9 * B, false, &now), 0);
	assert_int_equal(now.len, 9 * B);
	assert_memory_equal(now.data, other, 9 * B);
}

/* Another name of the file, in somebody's copy of the directory, keeps its bytes. */
static void hard_links(void **state)
{
	for (int longer = 0; longer < 2; longer++) {
		SCOPED_ARENA(a);
		struct world *w = world_new(a, store_posix(a, dir));
		struct buf data, now;
		buf_init(&data, a);
		buf_init(&now, a);
		fill(&data, 9 * B, 1);
		const struct backup *b = take(w, &data, 0);
		data.data[4 * B]++;
		fill(&data, 9 * B + (size_t)longer, 1);
		set_file(w, data.data, data.len);
		assert_int_equal(store_remove(w->pg, "copy", true), 0);
		assert_int_equal(store_hard_link(w->pg, DEST, "copy"), 0);
		must_get(w, b, true);
		assert_int_equal(store_read(w->pg, "copy", 10 * B, false, &now), 0);
		assert_int_equal(now.len, data.len);
		assert_memory_equal(now.data, data.data, now.len);
		assert_int_equal(store_remove(w->pg, DEST, true), 0);
	}
}

static void holes(void **state)
{
	SCOPED_ARENA(a);
	struct world *w = world_new(a, store_posix(a, dir));
	struct buf data;
	struct stat st;

	buf_init(&data, a);
	fill(&data, 1024 * 1024, 1);
	memset(data.data + 100 * B, 0, 800 * B);
	w->super = 256 * B;
	take(w, &data, 0);
	must_get(w, &w->backups[0], false);
	assert_int_equal(stat(path_join(a, dir, DEST), &st), 0);
	assert_int_equal(st.st_size, data.len);
	assert_true(st.st_blocks * 512 < 600 * 1024);
	/* zeros that are to replace something are written */
	memset(data.data + 200 * B, 1, 200 * B);
	set_file(w, data.data, data.len);
	assert_int_equal(must_get(w, &w->backups[0], true).written, 200 * B);
}

/* ---- trouble ---- */

/* Each verb of each store fails in turn: no file is left that is not right, and the next restore succeeds. */
static void every_failure(void **state)
{
	static const char *const repo_verbs[] = {"get", "read"};
	static const char *const pg_verbs[] = {"put", "write", "finish", "get", "stat"};

	for (size_t v = 0; v < 7 * 2; v++) {
		bool delta = v % 2, repo_fails = v / 2 < 2;
		const char *verb = repo_fails ? repo_verbs[v / 2] : pg_verbs[v / 2 - 2];
		bool ended = false;
		for (unsigned nth = 1; !ended; nth++) {
			SCOPED_ARENA(a);
			struct store *pg = store_mem(a);
			struct world *w = world_new(a, pg);
			struct store_fault fault = {.verb = verb, .nth = nth};
			struct file_get_result r;
			struct buf data, now;
			buf_init(&data, a);
			buf_init(&now, a);
			fill(&data, 50 * B, 1);
			take(w, &data, 1);
			for (size_t i = 0; i < data.len; i += 5 * B)
				data.data[i]++;
			take(w, &data, 0);
			fill(&now, 40 * B, 1);
			if (delta)
				set_file(w, now.data, now.len);
			struct store *repo = repo_fails ? store_faulty(a, w->repo, &fault) : w->repo;
			w->pg = repo_fails ? pg : store_faulty(a, pg, &fault);
			ended = get_from(w, repo, &w->backups[1], delta, &r) == 0;
			w->pg = pg;
			if (!ended) {
				assert_non_null(strstr(err_msg(), "injected"));
				err_clear();
				struct store_entry e;
				int there = store_stat(a, pg, DEST, &e);
				assert_true(delta ? there == 0 && e.mtime != w->backups[1].f.mtime :
					there == STORE_ABSENT);
			} else {
				/* it was not reached any more */
				assert_true(fault.calls < nth);
			}
			assert_true(nth < 1000);
			must_get(w, &w->backups[1], delta);
		}
	}
}

static void overwrite(struct world *w, const char *path, const struct buf *bytes)
{
	assert_int_equal(store_write(w->repo, path, bytes->data, bytes->len, NULL), 0);
}

/* A file of 20 blocks in super blocks of four; the second backup has blocks 3 and 12. */
static struct world *damaged_world(struct arena *a, struct buf *data)
{
	struct world *w = world_new(a, store_mem(a));

	buf_init(data, a);
	fill(data, 20 * B, 1);
	take(w, data, 1);
	data->data[3 * B]++;
	data->data[12 * B]++;
	take(w, data, 0);
	return w;
}

#define OWN "backup/demo/" FULL "_20261120-120001I/" NAME ".pgbi"
#define BUNDLE "backup/demo/" FULL "/bundle/1"

static void damaged_super_block(void **state)
{
	for (enum codec codec = CODEC_NONE; codec < CODEC_COUNT; codec++) {
		SCOPED_ARENA(a);
		struct buf data, bytes;
		struct world *w = world_new(a, store_mem(a));
		w->codec = codec;
		buf_init(&data, a);
		fill(&data, 20 * B, 1);
		take(w, &data, 1);
		data.data[3 * B]++;
		take(w, &data, 0);
		buf_init(&bytes, a);
		assert_int_equal(store_read(w->repo, BUNDLE, UINT32_MAX, false, &bytes), 0);
		const struct block *k = &w->backups[0].map.blocks.v[9];
		bytes.data[k->offset + (codec == CODEC_NONE ? k->number * B : k->stored / 2)] ^= 0x10;
		overwrite(w, BUNDLE, &bytes);
		for (size_t i = 0; i < 2; i++) {
			struct file_get_result r;
			assert_int_equal(get_from(w, w->repo, &w->backups[i], false, &r), -1);
			assert_true(err_code() == ERR_CHECKSUM || err_code() == ERR_FORMAT);
			/* the backup that is to blame, in both cases the first */
			const char *where = arena_printf(a, "it is stored in '%s/" BUNDLE "': %ju bytes at offset %ju.",
				w->repo->root, (uintmax_t)k->stored, (uintmax_t)k->offset);
			if (strstr(err_hints(), where) == NULL)
				fail_msg("%s\n%s\n%s", err_msg(), err_hints(), where);
			err_clear();
			assert_true(is_absent(w));
		}
		/* delta: not needed, not noticed; needed, refused, and what is there stays */
		data.data[15 * B]++;
		set_file(w, data.data, data.len);
		assert_int_equal(must_get(w, &w->backups[1], true).written, B);
		data.data[9 * B]++;
		set_file(w, data.data, data.len);
		/* with some codecs the damage is in another block of the same super block */
		struct file_get_result r;
		if (get_from(w, w->repo, &w->backups[1], true, &r) == 0)
			must_be(w, &w->backups[1]);
		else
			assert_false(is_absent(w));
		err_clear();
	}
}

static void damaged_texts(void **state)
{
	SCOPED_ARENA(a);
	struct buf data, bytes, cut;
	struct world *w = damaged_world(a, &data);
	const struct backup *full = &w->backups[0], *incr = &w->backups[1];

	w->codec = CODEC_NONE;
	buf_init(&bytes, a);
	assert_int_equal(store_read(w->repo, OWN, UINT32_MAX, false, &bytes), 0);

	/* map cut, map of nothing, no container at all */
	cut = bytes;
	cut.len -= 5;
	overwrite(w, OWN, &cut);
	must_fail(w, incr, false, ERR_FILE_READ, "unable to read block map for 'base/5/1255' from 'mem:/" OWN "'");
	err_clear();
	cut.len = 0;
	overwrite(w, OWN, &cut);
	must_fail(w, incr, false, ERR_FILE_READ, "wanted");
	err_clear();
	assert_int_equal(store_remove(w->repo, OWN, false), 0);
	must_fail(w, incr, false, ERR_FILE_MISSING, "unable to open missing file");
	err_clear();
	assert_true(is_absent(w));
	overwrite(w, OWN, &bytes);

	/* the earlier backup is gone */
	struct buf bundle;
	buf_init(&bundle, a);
	assert_int_equal(store_read(w->repo, BUNDLE, UINT32_MAX, false, &bundle), 0);
	assert_int_equal(store_remove(w->repo, BUNDLE, false), 0);
	must_fail(w, incr, false, ERR_FILE_MISSING, "unable to open missing file 'mem:/" BUNDLE "'");
	err_clear();
	cut = bundle;
	cut.len = full->f.bundle_offset + 10;
	overwrite(w, BUNDLE, &cut);
	must_fail(w, incr, false, ERR_FILE_READ, "wanted");
	err_clear();
	assert_true(is_absent(w));
	overwrite(w, BUNDLE, &bundle);

	/* the manifest expects something else */
	struct backup other = *incr;
	other.f.sum.bytes[0] ^= 1;
	must_fail(w, &other, false, ERR_CHECKSUM, "does not match expected checksum");
	assert_non_null(strstr(err_hints(), "all blocks are what the block map says"));
	err_clear();
	other = *incr;
	other.f.size -= 1;
	must_fail(w, &other, false, ERR_FILE_READ, "a block has another length than its place in the file");
	err_clear();
	other = *incr;
	other.f.block_size *= 2;
	must_fail(w, &other, false, ERR_FILE_READ, "block map is invalid");
	err_clear();
	other = *incr;
	other.f.block_map_size = UINT32_MAX;
	other.f.repo_size = UINT32_MAX;
	must_fail(w, &other, false, ERR_FILE_READ, "larger than any map");
	err_clear();
	assert_true(is_absent(w));
	must_get(w, incr, false);
}

/* A super block that expands to more or to fewer bytes than the map says. */
static void wrong_sizes(void **state)
{
	for (int more = 0; more < 2; more++) {
		SCOPED_ARENA(a);
		struct world *w = world_new(a, store_mem(a));
		struct buf data;
		buf_init(&data, a);
		fill(&data, 20 * B, 1);
		struct backup *b = take(w, &data, 0);
		/* the same super blocks with another map */
		for (size_t i = 4; i < 8; i++)
			b->map.blocks.v[i].super_size = more ? 3 * B : 5 * B;
		if (more) {
			/* three blocks of the second, then the third */
			b->f.size = 7 * B;
			b->map.blocks.n = 7;
		}
		struct buf stored, map;
		buf_init(&stored, a);
		buf_init(&map, a);
		const char *path = layout_backup_file(a, "demo", FULL, NAME, BLOCK_SUFFIX);
		assert_int_equal(store_read(w->repo, path, UINT32_MAX, false, &stored), 0);
		stored.len -= b->f.block_map_size;
		add_map(w, b, &stored);
		b->f.repo_size = stored.len;
		overwrite(w, path, &stored);
		must_fail(w, b, false, ERR_FORMAT, more ? "super block has more than 3072 bytes" :
			"super block has fewer than 5120 bytes");
		assert_non_null(strstr(err_hints(), "it is stored in"));
		err_clear();
		assert_true(is_absent(w));
	}
}

/* Block checksums that say "the same" of other bytes: the whole is what counts. */
static void wrong_block_sums(void **state)
{
	SCOPED_ARENA(a);
	struct buf data, now, stored;
	struct world *w = world_new(a, store_mem(a));

	buf_init(&data, a);
	buf_init(&now, a);
	buf_init(&stored, a);
	fill(&data, 20 * B, 1);
	struct backup *b = take(w, &data, 0);
	buf_add(&now, data.data, data.len);
	now.data[5 * B] ^= 1;
	now.data[9 * B] ^= 1;
	block_sum(now.data + 5 * B, B, 6, b->map.blocks.v[5].sum);
	const char *path = layout_backup_file(a, "demo", FULL, NAME, BLOCK_SUFFIX);
	assert_int_equal(store_read(w->repo, path, UINT32_MAX, false, &stored), 0);
	stored.len -= b->f.block_map_size;
	add_map(w, b, &stored);
	b->f.repo_size = stored.len;
	overwrite(w, path, &stored);
	set_file(w, now.data, now.len);
	assert_int_equal(must_get(w, b, true).written, 20 * B);
	/* no block differs, but the whole does */
	now.data[9 * B] ^= 1;
	set_file(w, now.data, now.len);
	assert_int_equal(must_get(w, b, true).written, 20 * B);
}

static void wrong_passphrase(void **state)
{
	SCOPED_ARENA(a);
	struct world *w = world_new(a, store_mem(a));
	struct buf data;
	struct file_get_result r;

	buf_init(&data, a);
	fill(&data, 20 * B, 1);
	w->pass = "right";
	struct backup *b = take(w, &data, 1);
	must_get(w, b, false);
	assert_int_equal(store_remove(w->pg, DEST, false), 0);
	static const char *const passes[] = {"wrong", "", NULL};
	for (size_t i = 0; i < 3; i++) {
		b->m.cipher_pass = passes[i];
		assert_int_equal(get_from(w, w->repo, b, false, &r), -1);
		assert_int_equal(err_code(), ERR_FILE_READ);
		assert_null(strstr(err_msg(), "right"));
		err_clear();
		assert_true(is_absent(w));
	}
}

/* Each byte of what is stored, changed: the right file, or none. */
static void any_byte(void **state)
{
	for (int i = 0; i < 2; i++) {
		SCOPED_ARENA(a);
		struct buf data, bytes;
		struct world *w = damaged_world(a, &data);
		const char *path = i == 0 ? BUNDLE : OWN;
		buf_init(&bytes, a);
		assert_int_equal(store_read(w->repo, path, UINT32_MAX, false, &bytes), 0);
		for (size_t at = 0; at < bytes.len; at++) {
			SCOPED_ARENA(one);
			struct store *repo = store_mem(one);
			struct buf other;
			struct file_get_result r;
			buf_init(&other, one);
			assert_int_equal(store_read(w->repo, i == 0 ? OWN : BUNDLE, UINT32_MAX, false, &other), 0);
			assert_int_equal(store_write(repo, i == 0 ? OWN : BUNDLE, other.data, other.len, NULL), 0);
			bytes.data[at] ^= (char)(1 + dice(255));
			assert_int_equal(store_write(repo, path, bytes.data, bytes.len, NULL), 0);
			assert_int_equal(store_remove(w->pg, DEST, true), 0);
			bool right = get_from(w, repo, &w->backups[1], false, &r) == 0;
			if (right)
				must_be(w, &w->backups[1]);
			else
				assert_true(is_absent(w));
			err_clear();
			const struct block_check checked = check(w, repo, &w->backups[1]);
			assert_int_equal(checked.result.state == CHECK_OK, right);
			/* of what is not a map, the backup is known */
			if (i == 0 && !right)
				assert_int_equal(checked.reference, 0);
			assert_int_equal(store_read(w->repo, path, UINT32_MAX, false, &other), 0);
			bytes.data[at] = other.data[other.len - bytes.len + at];
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_by_the_original),
		cmocka_unit_test(histories),
		cmocka_unit_test(all_pieces),
		cmocka_unit_test(sizes),
		cmocka_unit_test(few_reads),
		cmocka_unit_test(time_proves_nothing),
		cmocka_unit_test(delta),
		cmocka_unit_test(no_delta),
		cmocka_unit_test(hard_links),
		cmocka_unit_test(holes),
		cmocka_unit_test(every_failure),
		cmocka_unit_test(damaged_super_block),
		cmocka_unit_test(damaged_texts),
		cmocka_unit_test(wrong_sizes),
		cmocka_unit_test(wrong_block_sums),
		cmocka_unit_test(wrong_passphrase),
		cmocka_unit_test(any_byte),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
