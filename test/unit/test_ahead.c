/*
 * ahead: what the movers ask for ahead is what they read then, to the byte and in this order; and what cannot be
 * foretold is not asked for.
 *
 * The far store keeps what was asked for as the bytes that would cross, and holds each get against the oldest of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "repo/bundle_put.h"
#include "repo/file_get.h"
#include "repo/layout.h"
#include "store/ahead.h"
#include "store/remote_pack.h"

#define FULL "20260101-000000F"
#define INCR "20260101-000000F_20260102-000000I"
#define PASS "a pass phrase"
#define ROWS 600
#define BUNDLED_FROM 250 /* the rows from here on */
#define B 8192u

/* ---- a store that is far away ---- */

struct far {
	struct store store;
	struct store *inner;
	VEC(struct buf) asked;
	size_t taken; /* of them */
	unsigned dropped, direct, most;
	bool refuses;
};

static struct buf bytes_of(struct arena *a, const char *path, const struct get_opts *o)
{
	const struct remote_get g = { .place = 1, .path = path, .want_entry = o->opened != NULL, .opts = *o };
	struct buf b;

	buf_init(&b, a);
	remote_pack_get(&b, &g);
	return b;
}

static unsigned on_their_way(const struct far *f)
{
	return (unsigned)(f->asked.n - f->taken);
}

static int far_ahead(struct store *s, const char *path, const struct get_opts *o)
{
	struct far *f = (struct far *)s;

	if (f->refuses)
		return err_set(ERR_PROTOCOL, "not now");
	vec_push(&f->asked, bytes_of(s->arena, path, o));
	if (f->most < on_their_way(f))
		f->most = on_their_way(f);
	return 0;
}

static int far_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	SCOPED_ARENA(a);
	struct far *f = (struct far *)s;
	const struct buf b = bytes_of(a, path, o);
	const struct buf *head = &f->asked.v[f->taken];

	if (on_their_way(f) == 0) {
		f->direct++;
	} else if (head->len == b.len && memcmp(head->data, b.data, b.len) == 0) {
		f->taken++;
	} else {
		f->direct++;
		f->dropped += on_their_way(f);
		f->taken = f->asked.n;
	}
	return f->inner->driver->get(f->inner, path, o, to);
}

static struct far *far_new(struct arena *a, struct store *inner)
{
	static const struct store_driver driver = { .name = "far", .get = far_get, .ahead = far_ahead };
	struct far *f = arena_new_object(a, struct far);

	f->store = (struct store){ .driver = &driver, .root = "/far", .arena = a };
	f->inner = inner;
	vec_init(&f->asked, a);
	return f;
}

/* Counts are of a test's part. */
static void far_reset(struct far *f)
{
	assert_int_equal(on_their_way(f), 0);
	f->dropped = f->direct = f->most = 0;
}

/* ---- a cluster and its backups ---- */

struct world {
	struct arena *a;
	struct store *disk, *vault; /* where the bytes of pg and repo are */
	struct far *pg, *repo;
	struct manifest *m;
	struct plan_row plan[ROWS];
	struct manifest_file after[ROWS]; /* rows as the leader has them when they are stored */
	struct file_put_opts o;
	struct ahead *ahead;
	uint32_t id; /* of the bundle */
	unsigned again;
};

static bool has_blocks(size_t i)
{
	return i % 10 == 3;
}

static bool is_there(size_t i)
{
	return i % 97 != 96;
}

/* With blocks several; some files are empty. */
static size_t size_of(size_t i)
{
	return has_blocks(i) ? 3 * B + i : i % 20 == 0 ? 0 : i * 7 + 1;
}

static void write_file(struct world *w, const char *path, size_t len, unsigned kind)
{
	SCOPED_ARENA(a);
	char *data = arena_alloc(a, len + 1);

	for (size_t k = 0; k < len; k++)
		data[k] = (char)((k * (kind + 3)) >> (k % 5));
	assert_int_equal(store_write(w->disk, path, data, len, NULL), 0);
}

static void world_init(struct world *w, struct arena *a, enum codec codec, const char *pass, bool raw)
{
	memset(w, 0, sizeof(*w));
	w->a = a;
	w->disk = store_mem(a);
	w->vault = store_mem(a);
	w->pg = far_new(a, w->disk);
	w->repo = far_new(a, w->vault);
	w->o = (struct file_put_opts){ .stanza = "s", .codec = codec, .level = codec_info(codec)->level_default,
		.pass = pass, .raw = raw, .page_size = B, .super_size = 64 * 1024 };
}

static void next_manifest(struct world *w, const char *label, const struct manifest *prior)
{
	struct manifest *m = manifest_new(w->a);

	m->label = label;
	m->codec = w->o.codec;
	m->cipher_pass = w->o.pass;
	m->bundle_raw = w->o.raw;
	m->bundle = true;
	m->copy_start = 5000;
	for (size_t i = 0; prior != NULL && i < prior->reference.n; i++)
		vec_push(&m->reference, prior->reference.v[i]);
	vec_push(&m->reference, label);
	w->m = m;
	w->o.m = m;
	w->o.backup_dir = layout_backup_dir(w->a, "s", label);
}

static void full_rows(struct world *w)
{
	for (size_t i = 0; i < ROWS; i++) {
		struct manifest_file *f = vec_add(&w->m->files);
		f->name = arena_printf(w->a, "pg_data/base/1/%zu", 10000 + i);
		f->size = f->size_orig = size_of(i);
		f->copy_bounded = i % 4 != 0;
		f->page_check = i % 3 == 0;
		f->mode = 0600;
		if (has_blocks(i)) {
			f->block_size = w->plan[i].block_size = B;
			f->block_sum_size = w->plan[i].block_sum_size = 6;
			w->plan[i].how = BLOCK_NEW;
		}
		w->plan[i].action = PLAN_COPY;
		if (is_there(i))
			write_file(w, manifest_pg_path(f->name), f->size, (unsigned)i);
	}
}

static int ask_put(void *ctx, uint32_t i, unsigned room)
{
	static const struct file_put_bundle bundle;
	const struct world *w = ctx;

	return file_put_ahead(&w->pg->store, w->vault, i < BUNDLED_FROM ? NULL : &bundle, &w->m->files.v[i],
		&w->plan[i], &w->o, room);
}

static void settle(struct world *w, size_t i, const struct file_put_result *r)
{
	struct manifest_file *f = &w->after[i];

	*f = w->m->files.v[i];
	w->again += r->again;
	if (r->again)
		ahead_lost(w->ahead);
	if (r->fate != FILE_STORED) {
		if (r->fate != FILE_SAME && r->fate != FILE_RESUMED)
			f->size = 0;
		return;
	}
	f->reference = NULL;
	f->size = r->pipe.plain_size;
	f->sum = r->pipe.plain_sum;
	f->has_sum = f->has_repo_sum = true;
	f->repo_size = r->pipe.stored_size;
	f->repo_sum = w->o.codec == CODEC_NONE && w->o.pass == NULL && r->map_size == 0 ? f->sum :
		r->pipe.stored_sum;
	f->bundle = i < BUNDLED_FROM ? 0 : w->id;
	f->bundle_offset = r->offset;
	f->block_map_size = r->map_size;
	assert_true(r->map_size == 0 || has_blocks(i));
}

/* As a worker does it that was given all. */
static void back_up(struct world *w)
{
	struct file_put_result r;
	uint64_t size;
	struct bundle_put *bundle = bundle_put_new(w->a, w->vault, ++w->id, &w->o);

	w->ahead = ahead_new(w->a, ask_put, w);
	w->again = 0;
	for (uint32_t i = 0; i < w->m->files.n; i++)
		ahead_add(w->ahead, i);
	for (size_t i = 0; i < w->m->files.n; i++) {
		SCOPED_ARENA(a);
		const struct manifest_file *f = &w->m->files.v[i];
		(void)ahead_turn(w->ahead);
		int rc = i < BUNDLED_FROM ? file_put(a, &w->pg->store, w->vault, f, &w->plan[i], &w->o, &r) :
			bundle_put_add(a, bundle, &w->pg->store, f, &w->plan[i], &r);
		if (rc != 0)
			fail_msg("%s: %s", f->name, err_msg());
		assert_int_equal(err_code(), ERR_NONE);
		assert_int_equal(r.fate == FILE_VANISHED, !is_there(i) && f->size_orig != 0);
		settle(w, i, &r);
	}
	assert_int_equal(bundle_put_finish(bundle, &size), 0);
	assert_int_equal(on_their_way(w->pg), 0);
	assert_true(w->pg->most <= AHEAD_MAX);
}

/* The next one goes on with what the last has left. */
static void incr_rows(struct world *w)
{
	for (size_t i = 0; i < ROWS; i++) {
		struct manifest_file *f = vec_add(&w->m->files);
		*f = w->after[i];
		f->size_orig = is_there(i) ? size_of(i) : 0;
		f->copy_bounded = true;
		if (f->has_sum && f->reference == NULL)
			f->reference = w->m->reference.v[w->m->reference.n - 2];
		w->plan[i].action = !f->has_sum ? PLAN_COPY : i % 2 == 0 ? PLAN_COMPARE : PLAN_COPY_IF_NEW;
		w->plan[i].how = f->block_map_size != 0 ? BLOCK_CONTINUE : BLOCK_WHOLE;
		if (i % 6 == 5 || i % 30 == 3) {
			assert_int_equal(store_remove(w->disk, manifest_pg_path(f->name), true), 0);
			if (is_there(i))
				write_file(w, manifest_pg_path(f->name), size_of(i), (unsigned)i + 1);
		}
	}
}

static void settle_all(struct world *w)
{
	for (size_t i = 0; i < w->m->files.n; i++)
		w->m->files.v[i] = w->after[i];
}

/* ---- restore ---- */

struct job {
	struct file_get_item *items;
	size_t n;
	bool bundle;
};

struct restore {
	struct world *w;
	struct store *to;
	VEC(struct job) jobs;
};

static int ask_get(void *ctx, uint32_t i, unsigned room)
{
	const struct restore *r = ctx;
	const struct job *j = &r->jobs.v[i];
	struct store *repo = &r->w->repo->store;

	return j->bundle ? bundle_get_ahead(repo, j->items, j->n, room) :
		file_get_ahead(repo, j->items->pg, j->items->f, &j->items->opts);
}

static struct file_get_item item_of(struct restore *r, size_t i, bool delta)
{
	return (struct file_get_item){ .f = &r->w->m->files.v[i], .pg = r->to,
		.opts = { .stanza = "s", .m = r->w->m, .delta = delta } };
}

/* Those of one bundle, whole files, in order of offset; label NULL: of this backup. */
static void add_bundle(struct restore *r, const char *label, uint32_t id, bool delta)
{
	struct job *j = vec_add(&r->jobs);

	j->bundle = true;
	j->items = arena_alloc(r->w->a, ROWS * sizeof(*j->items));
	for (size_t i = 0; i < r->w->m->files.n; i++) {
		const struct manifest_file *f = &r->w->m->files.v[i];
		const char *of = f->reference;
		if (f->bundle == id && f->block_map_size == 0 &&
			(label == NULL ? of == NULL : of != NULL && strcmp(of, label) == 0))
			j->items[j->n++] = item_of(r, i, delta);
	}
}

static void add_files(struct restore *r, bool blocks, bool delta)
{
	for (size_t i = 0; i < r->w->m->files.n; i++) {
		const struct manifest_file *f = &r->w->m->files.v[i];
		if ((f->block_map_size != 0 && f->size != 0) != blocks || (!blocks && f->bundle != 0 && f->size != 0))
			continue;
		struct job *j = vec_add(&r->jobs);
		j->items = arena_alloc(r->w->a, sizeof(*j->items));
		*j->items = item_of(r, i, delta);
		j->n = 1;
	}
}

/* As a worker does it.  Returns how many jobs were not asked for as a whole. */
static unsigned get_all(struct restore *r)
{
	struct store *repo = &r->w->repo->store;
	struct ahead *h = ahead_new(r->w->a, ask_get, r);
	unsigned unknown = 0;

	for (uint32_t i = 0; i < r->jobs.n; i++)
		ahead_add(h, i);
	for (size_t i = 0; i < r->jobs.n; i++) {
		SCOPED_ARENA(a);
		struct job *j = &r->jobs.v[i];
		bool asked = ahead_turn(h);
		int rc = j->bundle ? bundle_get(repo, j->items, j->n, asked) :
			file_get(a, repo, j->items->pg, j->items->f, &j->items->opts, &j->items->result);
		if (rc != 0)
			fail_msg("%s", err_msg());
		unknown += !asked;
	}
	assert_int_equal(err_code(), ERR_NONE);
	assert_int_equal(on_their_way(r->w->repo), 0);
	assert_true(r->w->repo->most <= AHEAD_MAX);
	return unknown;
}

static void is_restored(const struct restore *r)
{
	for (size_t i = 0; i < r->w->m->files.n; i++) {
		SCOPED_ARENA(a);
		const char *path = manifest_pg_path(r->w->m->files.v[i].name);
		struct buf was, is;

		buf_init(&was, a);
		buf_init(&is, a);
		assert_true(store_read(r->w->disk, path, 1 << 30, true, &was) >= 0);
		assert_true(store_read(r->to, path, 1 << 30, true, &is) >= 0);
		assert_int_equal(was.len, is.len);
		assert_memory_equal(was.data, is.data, is.len);
	}
}

static void restore_init(struct restore *r, struct world *w)
{
	r->w = w;
	r->to = store_mem(w->a);
	vec_init(&r->jobs, w->a);
	far_reset(w->repo);
}

static size_t count_blocks(const struct world *w)
{
	size_t n = 0;

	for (size_t i = 0; i < w->m->files.n; i++)
		n += w->m->files.v[i].size != 0 && w->m->files.v[i].block_map_size != 0;
	return n;
}

static void restore_and_check(struct world *w)
{
	struct restore r;
	size_t blocks = count_blocks(w);

	restore_init(&r, w);
	add_files(&r, false, false);
	add_bundle(&r, NULL, w->id, false);
	add_bundle(&r, FULL, 1, false);
	assert_int_equal(get_all(&r), 0);
	assert_int_equal(w->repo->direct, 0);
	assert_int_equal(w->repo->dropped, 0);
	assert_true(blocks > 30);

	/* of blocks only the map is waited for */
	r.jobs.n = 0;
	add_files(&r, true, false);
	assert_int_equal(get_all(&r), blocks);
	assert_int_equal(w->repo->direct, blocks);
	assert_int_equal(w->repo->dropped, 0);
	is_restored(&r);
}

/* Whatever is done to the bytes on their way. */
static void forth_and_back(void **state)
{
	for (int form = 0; form < 6; form++) {
		SCOPED_ARENA(a);
		struct world w;

		world_init(&w, a, form % 2 == 0 ? CODEC_NONE : CODEC_ZST, form < 2 ? NULL : PASS, form >= 4);
		next_manifest(&w, FULL, NULL);
		full_rows(&w);
		back_up(&w);
		assert_int_equal(w.pg->dropped, 0);
		assert_int_equal(w.pg->direct, 0);
		assert_int_equal(w.pg->most, AHEAD_MAX);
		settle_all(&w);

		far_reset(w.pg);
		next_manifest(&w, INCR, w.m);
		incr_rows(&w);
		back_up(&w);
		assert_int_equal(w.again, 0);
		assert_int_equal(w.pg->dropped, 0);
		assert_int_equal(w.pg->direct, 0);
		settle_all(&w);
		restore_and_check(&w);
	}
}

/* A large file that is hashed first may have to be read again: nothing is asked for behind it before that is known. */
static void what_may_be_read_twice(void **state)
{
	SCOPED_ARENA(a);
	struct world w;
	const size_t large = PIPE_HOLD + 1;

	world_init(&w, a, CODEC_NONE, NULL, false);
	next_manifest(&w, FULL, NULL);
	full_rows(&w);
	w.m->files.v[21].size_orig = large;
	w.m->files.v[22].size_orig = large;
	write_file(&w, "base/1/10021", large, 21);
	write_file(&w, "base/1/10022", large, 22);
	back_up(&w);
	settle_all(&w);

	next_manifest(&w, INCR, w.m);
	incr_rows(&w);
	far_reset(w.pg);
	for (size_t i = 21; i <= 22; i++) {
		w.m->files.v[i].size_orig = large;
		w.plan[i].action = PLAN_COMPARE;
	}
	write_file(&w, "base/1/10022", large, 5);
	back_up(&w);
	assert_int_equal(w.after[21].reference != NULL, 1);
	assert_null(w.after[22].reference);
	assert_int_equal(w.pg->direct, 3);
	assert_int_equal(w.pg->dropped, 0);
	assert_int_equal(w.again, 1);
}

/* They are not resumed, and must not be there when they are stored again. */
static void remove_blocks(struct world *w)
{
	for (size_t i = 0; i < w->m->files.n; i++) {
		const char *path = layout_backup_file(w->a, "s", FULL, w->m->files.v[i].name, ".pgbi");
		if (has_blocks(i))
			assert_int_equal(store_remove(w->vault, path, true), 0);
	}
}

/* What an interrupted backup stored is proven by one reading; where it is not, all behind it is asked for anew. */
static void what_is_resumed(void **state)
{
	SCOPED_ARENA(a);
	struct world w;

	world_init(&w, a, CODEC_ZST, NULL, false);
	next_manifest(&w, FULL, NULL);
	full_rows(&w);
	w.m->files.n = BUNDLED_FROM;
	back_up(&w);
	settle_all(&w);
	far_reset(w.pg);
	for (size_t i = 0; i < BUNDLED_FROM; i++)
		if (w.m->files.v[i].has_sum && !has_blocks(i))
			w.plan[i].action = PLAN_RESUME;
	remove_blocks(&w);
	back_up(&w);
	assert_int_equal(w.again, 0);
	assert_int_equal(w.pg->direct, 0);
	assert_int_equal(w.pg->dropped, 0);

	remove_blocks(&w);
	write_file(&w, "base/1/10005", size_of(5), 6);
	write_file(&w, "base/1/10249", size_of(249), 6); /* the last */
	back_up(&w);
	assert_int_equal(w.again, 2);
	assert_int_equal(w.pg->direct, 2);
	assert_in_range(w.pg->dropped, 1, AHEAD_MAX);
}

/* Files that may be right are not asked for; where there is none, it will be read. */
static void delta(void **state)
{
	SCOPED_ARENA(a);
	struct world w;
	struct restore r;

	world_init(&w, a, CODEC_ZST, NULL, false);
	next_manifest(&w, FULL, NULL);
	full_rows(&w);
	back_up(&w);
	settle_all(&w);
	restore_init(&r, &w);
	add_files(&r, false, true);
	add_bundle(&r, NULL, 1, true);
	assert_int_equal(get_all(&r), 0);
	assert_int_equal(w.repo->direct, 0);
	assert_int_equal(w.repo->dropped, 0);

	/* nothing to read, but nobody knew */
	assert_true(get_all(&r) > 100);
	assert_int_equal(w.repo->direct, 0);

	/* one is wrong, one is not there, one is shorter; and in the bundle two */
	static const char *const wrong[] = { "base/1/10007", "base/1/10301" };
	for (size_t i = 0; i < 2; i++) {
		struct buf b;
		buf_init(&b, a);
		assert_int_equal(store_read(r.to, wrong[i], 1 << 20, false, &b), 0);
		b.data[0] ^= 1;
		assert_int_equal(store_write(r.to, wrong[i], b.data, b.len, NULL), 0);
	}
	assert_int_equal(store_remove(r.to, "base/1/10008", false), 0);
	assert_int_equal(store_write(r.to, "base/1/10009", "x", 1, NULL), 0);
	assert_int_equal(store_remove(r.to, "base/1/10590", false), 0);
	far_reset(w.repo);
	(void)get_all(&r);
	assert_int_equal(w.repo->direct, 1);
	assert_int_equal(w.repo->dropped, 0);
	r.jobs.n = 0;
	add_files(&r, true, true);
	assert_int_equal(get_all(&r), r.jobs.n);
	assert_int_equal(w.repo->dropped, 0);
	is_restored(&r);
}

/* A bundle of which more ranges are wanted than can be on their way. */
static void many_ranges(void **state)
{
	SCOPED_ARENA(a);
	struct world w;
	struct restore r;

	world_init(&w, a, CODEC_NONE, NULL, false);
	next_manifest(&w, FULL, NULL);
	for (size_t i = 0; i < ROWS; i++) {
		struct manifest_file *f = vec_add(&w.m->files);
		f->name = arena_printf(a, "pg_data/base/1/%zu", 10000 + i);
		f->size_orig = i % 2 == 0 ? 10 : 66000;
		if (is_there(i))
			write_file(&w, manifest_pg_path(f->name), f->size_orig, (unsigned)i);
	}
	back_up(&w);
	settle_all(&w);
	restore_init(&r, &w);
	struct job *j = vec_add(&r.jobs);
	j->bundle = true;
	j->items = arena_alloc(a, ROWS * sizeof(*j->items));
	for (size_t i = BUNDLED_FROM; i < ROWS; i += 2)
		j->items[j->n++] = item_of(&r, i, false);
	assert_int_equal(j->n, 175);
	assert_int_equal(get_all(&r), 0); /* there is room */
	assert_int_equal(w.repo->direct, 0);

	/* twice as many in one */
	struct file_get_item *twice = arena_alloc(a, 2 * j->n * sizeof(*twice));
	memcpy(twice, j->items, j->n * sizeof(*twice));
	memcpy(twice + j->n, j->items, j->n * sizeof(*twice));
	j->items = twice;
	j->n *= 2;
	far_reset(w.repo);
	assert_int_equal(get_all(&r), 1);
	assert_int_equal(w.repo->direct, 0);
	assert_int_equal(w.repo->dropped, 0);
	assert_int_equal(w.repo->most, AHEAD_MAX);
}

/* A hint that fails is none: all is read, one after the other. */
static void hints_that_fail(void **state)
{
	SCOPED_ARENA(a);
	struct world w;
	struct restore r;

	world_init(&w, a, CODEC_ZST, NULL, false);
	w.pg->refuses = w.repo->refuses = true;
	next_manifest(&w, FULL, NULL);
	full_rows(&w);
	back_up(&w);
	settle_all(&w);
	assert_true(w.pg->direct > 500);
	restore_init(&r, &w);
	add_files(&r, false, false);
	add_files(&r, true, false);
	add_bundle(&r, NULL, 1, false);
	assert_true(get_all(&r) > 100);
	assert_true(w.repo->direct > 100);
	is_restored(&r);
}

/* ---- the order alone ---- */

struct order {
	unsigned asked[ROWS]; /* how often */
	uint32_t next;
	unsigned each;
};

static int ask_once(void *ctx, uint32_t what, unsigned room)
{
	struct order *o = ctx;

	if (what % 50 == 49 || room < o->each)
		return AHEAD_UNKNOWN;
	assert_int_equal(what, o->next);
	o->next = what % 50 == 48 ? what + 2 : what + 1;
	o->asked[what]++;
	return (int)o->each;
}

static void in_order(void **state)
{
	for (unsigned each = 0; each <= AHEAD_MAX; each += 50) {
		SCOPED_ARENA(a);
		struct order o = { .each = each };
		struct ahead *h = ahead_new(a, ask_once, &o);
		uint32_t added = 0;

		assert_false(ahead_turn(h));
		assert_false(ahead_turn(NULL));
		for (uint32_t i = 0; i < ROWS; i++) {
			while (added < ROWS && added < i + 1 + i % 7)
				ahead_add(h, added++);
			assert_int_equal(ahead_turn(h), i % 50 != 49);
			assert_int_equal(o.asked[i], i % 50 != 49);
			/* a thing of which nobody knows holds back those behind it */
			assert_true(i % 50 != 49 || o.next == i + 1);
			assert_true(each == 0 || o.next <= i + 1 + AHEAD_MAX / each);
		}
		assert_false(ahead_turn(h));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order), cmocka_unit_test(forth_and_back), cmocka_unit_test(what_may_be_read_twice),
		cmocka_unit_test(what_is_resumed), cmocka_unit_test(delta), cmocka_unit_test(many_ranges),
		cmocka_unit_test(hints_that_fail),
	};

	return cmocka_run_group_tests_name("ahead", tests, NULL, NULL);
}
