/*
 * remote_pack: things of any content come back as they were, and as the same bytes; what is cut short, too long or
 * impossible is bad; what is changed by chance is never more than bad.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "store/remote_pack.h"

enum { TURNS = 300, MUTATIONS = 60 };

static uint32_t noise = 7;

static uint32_t chance(uint32_t below)
{
	noise ^= noise << 13;
	noise ^= noise >> 17;
	noise ^= noise << 5;
	return noise % below;
}

static bool coin(void)
{
	return chance(2) == 0;
}

static uint64_t number(void)
{
	return (uint64_t)chance(UINT32_MAX) << (chance(32)) >> chance(32);
}

static const char *word(struct arena *a)
{
	size_t len = chance(30);
	char *s = arena_zalloc(a, len + 1);

	for (size_t i = 0; i < len; i++)
		s[i] = (char)(1 + chance(46 - 1)); /* no '/' */
	return s;
}

static const char *maybe(struct arena *a)
{
	return coin() ? word(a) : NULL;
}

static void random_sum(uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)chance(256);
}

static void same_text(const char *x, const char *y)
{
	assert_true((x == NULL) == (y == NULL));
	if (x != NULL)
		assert_string_equal(x, y);
}

/* ---- each kind: make one, pack it, unpack it, compare ---- */

struct kind {
	void *(*make)(struct arena *a);
	void (*pack)(struct buf *b, const void *thing);
	void *(*unpack)(struct unpack *u);
	void (*same)(const void *x, const void *y);
};

static const struct blocks_spec *random_blocks(struct arena *a)
{
	struct blocks_spec *s = arena_new_object(a, struct blocks_spec);

	s->block_size = 8192 * (1 + chance(4));
	s->sum_size = BLOCK_SUM_MIN + chance(BLOCK_SUM_MAX - BLOCK_SUM_MIN + 1);
	s->super_size = s->block_size * (1 + chance(5));
	if (coin()) {
		uint8_t *prior;

		s->prior_n = 1 + chance(9);
		s->prior = prior = arena_alloc(a, s->prior_n * s->sum_size);
		random_sum(prior, s->prior_n * s->sum_size);
	}
	s->codec = chance(CODEC_COUNT);
	s->level = (int)chance(30) - 10;
	s->pass = maybe(a);
	return s;
}

static const struct pipe_spec *random_spec(struct arena *a)
{
	struct pipe_spec *s = arena_new_object(a, struct pipe_spec);

	*s = (struct pipe_spec){ .decrypt = maybe(a), .encrypt = maybe(a), .expand = chance(CODEC_COUNT),
		.compress = chance(CODEC_COUNT), .raw = coin(), .level = (int)chance(30) - 10, .hash_plain = coin(),
		.hash_stored = coin(), .page_size = coin() ? 0 : 1024u << chance(6), .first_block = chance(UINT32_MAX),
		.page_header_check = coin(), .skip_empty = coin() };
	if (s->hash_plain && coin()) {
		struct sum *unless = arena_new_object(a, struct sum);

		random_sum(unless->bytes, SHA1_SIZE);
		s->unless = unless;
	}
	if (coin())
		s->blocks = random_blocks(a);
	return s;
}

static void same_blocks(const struct blocks_spec *x, const struct blocks_spec *y)
{
	assert_true((x == NULL) == (y == NULL));
	if (x == NULL)
		return;
	assert_int_equal(x->block_size, y->block_size);
	assert_int_equal(x->sum_size, y->sum_size);
	assert_int_equal(x->super_size, y->super_size);
	assert_int_equal(x->prior_n, y->prior_n);
	assert_true((x->prior == NULL) == (y->prior == NULL));
	if (x->prior != NULL)
		assert_memory_equal(x->prior, y->prior, x->prior_n * x->sum_size);
	assert_int_equal(x->codec, y->codec);
	assert_int_equal(x->level, y->level);
	same_text(x->pass, y->pass);
}

static void same_spec(const struct pipe_spec *x, const struct pipe_spec *y)
{
	assert_true((x == NULL) == (y == NULL));
	if (x == NULL)
		return;
	same_text(x->decrypt, y->decrypt);
	same_text(x->encrypt, y->encrypt);
	assert_int_equal(x->expand, y->expand);
	assert_int_equal(x->compress, y->compress);
	assert_int_equal(x->raw, y->raw);
	assert_int_equal(x->level, y->level);
	assert_int_equal(x->hash_plain, y->hash_plain);
	assert_int_equal(x->hash_stored, y->hash_stored);
	assert_int_equal(x->page_size, y->page_size);
	assert_int_equal(x->first_block, y->first_block);
	assert_int_equal(x->page_header_check, y->page_header_check);
	assert_int_equal(x->skip_empty, y->skip_empty);
	assert_true((x->unless == NULL) == (y->unless == NULL));
	if (x->unless != NULL)
		assert_true(sum_equal(x->unless, y->unless));
	same_blocks(x->blocks, y->blocks);
}

static void *make_get(struct arena *a)
{
	struct remote_get *g = arena_new_object(a, struct remote_get);

	g->place = chance(2000);
	g->path = word(a);
	g->want_entry = coin();
	g->opts = (struct get_opts){ .exact = coin(), .offset = number(), .length = number(),
		.spec = coin() ? random_spec(a) : NULL };
	return g;
}

static void pack_get(struct buf *b, const void *thing)
{
	remote_pack_get(b, thing);
}

static void *unpack_get(struct unpack *u)
{
	struct remote_get *g = arena_new_object(u->arena, struct remote_get);

	u->bad |= unpack_u8(u) != REMOTE_GET;
	remote_unpack_get(u, g);
	return g;
}

static void same_get(const void *x, const void *y)
{
	const struct remote_get *g = x, *h = y;

	assert_int_equal(g->place, h->place);
	assert_string_equal(g->path, h->path);
	assert_int_equal(g->want_entry, h->want_entry);
	assert_int_equal(g->opts.exact, h->opts.exact);
	assert_int_equal(g->opts.offset, h->opts.offset);
	assert_int_equal(g->opts.length, h->opts.length);
	same_spec(g->opts.spec, h->opts.spec);
}

/* An answer belongs to a question, so that is part of the thing; its unpacking is told of it. */
struct got {
	const struct pipe_spec *spec;
	bool absent;
	struct pipe_result r;
};
static const struct pipe_spec *got_spec;

/* A file of some blocks, of which those behind the prior's and some others have changed. */
static void random_blocks_result(struct arena *a, const struct blocks_spec *s, struct pipe_result *r)
{
	struct blocks_result *b = &r->blocks;

	b->n = chance(15);
	r->plain_size = b->n == 0 ? 0 : b->n * s->block_size - chance(s->block_size);
	r->stored_size = 0;
	vec_init(&b->changed, a);
	vec_init(&b->supers, a);
	struct blocks_super super = { 0 };
	for (uint64_t i = 0; i < b->n; i++) {
		if (i < s->prior_n && coin())
			continue;
		struct blocks_changed *c = vec_add(&b->changed);
		c->index = i;
		random_sum(c->sum, s->sum_size);
		super.plain += i + 1 < b->n ? s->block_size : (uint32_t)(r->plain_size - i * s->block_size);
		if (super.plain < s->super_size)
			continue;
		super.stored = chance(1000);
		r->stored_size += super.stored;
		vec_push(&b->supers, super);
		super.plain = 0;
	}
	if (super.plain > 0) {
		super.stored = chance(1000);
		r->stored_size += super.stored;
		vec_push(&b->supers, super);
	}
}

static void *make_got(struct arena *a)
{
	struct got *g = arena_new_object(a, struct got);
	uint32_t block = 0;

	g->spec = chance(5) == 0 ? NULL : random_spec(a);
	got_spec = g->spec;
	g->absent = chance(5) == 0;
	vec_init(&g->r.pages.bad, a);
	if (g->absent || g->spec == NULL)
		return g;
	g->r.plain_size = number();
	g->r.stored_size = number();
	g->r.skipped = coin();
	g->r.pages.misaligned = coin();
	for (uint32_t n = chance(4); n > 0; n--) {
		struct page_range *p = vec_add(&g->r.pages.bad);

		p->first = block + 1 + chance(5);
		p->last = block = p->first + chance(5);
	}
	if (g->spec->hash_plain)
		random_sum(g->r.plain_sum.bytes, SHA1_SIZE);
	if (g->spec->hash_stored)
		random_sum(g->r.stored_sum.bytes, SHA1_SIZE);
	if (g->spec->blocks != NULL)
		random_blocks_result(a, g->spec->blocks, &g->r);
	return g;
}

static void pack_got(struct buf *b, const void *thing)
{
	const struct got *g = thing;

	remote_pack_got(b, g->absent, g->spec, &g->r);
}

static void *unpack_got(struct unpack *u)
{
	struct got *g = arena_new_object(u->arena, struct got);

	g->spec = got_spec;
	remote_unpack_got(u, g->spec, &g->absent, &g->r);
	return g;
}

static void same_got(const void *x, const void *y)
{
	const struct pipe_result *g = &((const struct got *)x)->r, *h = &((const struct got *)y)->r;

	assert_int_equal(((const struct got *)x)->absent, ((const struct got *)y)->absent);
	assert_int_equal(g->plain_size, h->plain_size);
	assert_int_equal(g->stored_size, h->stored_size);
	assert_int_equal(g->skipped, h->skipped);
	assert_true(sum_equal(&g->plain_sum, &h->plain_sum));
	assert_true(sum_equal(&g->stored_sum, &h->stored_sum));
	assert_int_equal(g->pages.misaligned, h->pages.misaligned);
	assert_int_equal(g->pages.bad.n, h->pages.bad.n);
	for (size_t i = 0; i < g->pages.bad.n; i++)
		assert_memory_equal(&g->pages.bad.v[i], &h->pages.bad.v[i], sizeof(struct page_range));
	assert_int_equal(g->blocks.n, h->blocks.n);
	assert_int_equal(g->blocks.changed.n, h->blocks.changed.n);
	for (size_t i = 0; i < g->blocks.changed.n; i++) {
		assert_int_equal(g->blocks.changed.v[i].index, h->blocks.changed.v[i].index);
		assert_memory_equal(g->blocks.changed.v[i].sum, h->blocks.changed.v[i].sum, BLOCK_SUM_MAX);
	}
	assert_int_equal(g->blocks.supers.n, h->blocks.supers.n);
	for (size_t i = 0; i < g->blocks.supers.n; i++) {
		assert_int_equal(g->blocks.supers.v[i].stored, h->blocks.supers.v[i].stored);
		assert_int_equal(g->blocks.supers.v[i].plain, h->blocks.supers.v[i].plain);
	}
}

static void *make_put(struct arena *a)
{
	struct remote_put *p = arena_new_object(a, struct remote_put);

	*p = (struct remote_put){ .place = chance(300), .path = word(a), .create_new = coin(), .replace = coin() };
	return p;
}

static void pack_put(struct buf *b, const void *thing)
{
	remote_pack_put(b, thing);
}

static void *unpack_put(struct unpack *u)
{
	struct remote_put *p = arena_new_object(u->arena, struct remote_put);

	u->bad |= unpack_u8(u) != REMOTE_PUT;
	remote_unpack_put(u, p);
	return p;
}

static void same_put(const void *x, const void *y)
{
	const struct remote_put *p = x, *q = y;

	assert_int_equal(p->place, q->place);
	assert_string_equal(p->path, q->path);
	assert_int_equal(p->create_new, q->create_new);
	assert_int_equal(p->replace, q->replace);
}

static struct store_entry *random_entry(struct arena *a)
{
	struct store_entry *e = arena_new_object(a, struct store_entry);

	*e = (struct store_entry){ .name = arena_printf(a, "n%s", word(a)), .type = chance(STORE_SPECIAL + 1),
		.size = number(), .mtime = (int64_t)number() - 1000000, .ctime = (int64_t)number(),
		.mode = chance(01000), .uid = chance(UINT32_MAX), .gid = chance(UINT32_MAX), .user = maybe(a), .group = maybe(a),
		.shared = coin(), .target = maybe(a), .target_error = (int)chance(40) };
	return e;
}

static void *make_entry(struct arena *a)
{
	struct store_entry *e = random_entry(a);

	if (coin()) {
		struct store_entry *target = random_entry(a);

		target->name = coin() ? ".." : target->name; /* a link may lead there */
		e->target_entry = target;
	}
	return e;
}

static void pack_entry(struct buf *b, const void *thing)
{
	remote_pack_entry(b, thing);
}

static void *unpack_entry(struct unpack *u)
{
	struct store_entry *e = arena_new_object(u->arena, struct store_entry);

	remote_unpack_entry(u, e);
	return e;
}

static void same_entry(const void *x, const void *y)
{
	const struct store_entry *e = x, *f = y;

	assert_string_equal(e->name, f->name);
	assert_int_equal(e->type, f->type);
	assert_int_equal(e->size, f->size);
	assert_int_equal(e->mtime, f->mtime);
	assert_int_equal(e->ctime, f->ctime);
	assert_int_equal(e->mode, f->mode);
	assert_int_equal(e->uid, f->uid);
	assert_int_equal(e->gid, f->gid);
	same_text(e->user, f->user);
	same_text(e->group, f->group);
	assert_int_equal(e->shared, f->shared);
	same_text(e->target, f->target);
	assert_int_equal(e->target_error, f->target_error);
	assert_true((e->target_entry == NULL) == (f->target_entry == NULL));
	if (e->target_entry != NULL)
		same_entry(e->target_entry, f->target_entry);
}

/* A hello comes in a frame of its own; which side's is part of the thing. */
static bool hello_server;

static void *make_hello(struct arena *a)
{
	struct remote_hello *h = arena_new_object(a, struct remote_hello);

	hello_server = coin();
	*h = (struct remote_hello){ .major = REMOTE_MAJOR, .minor = (uint16_t)chance(REMOTE_MINOR + 1),
		.program = word(a), .capabilities = word(a), .ahead = chance(300), .stanza = maybe(a), .roles = chance(8) };
	vec_init(&h->places, a);
	if (!hello_server) {
		h->exec_id = maybe(a);
		h->silence_ms = (int64_t)number() >> 1;
		h->level = (int32_t)chance(30) - 10;
		return h;
	}
	for (uint32_t n = chance(4); n > 0; n--) {
		struct remote_place *p = vec_add(&h->places);

		*p = (struct remote_place){ .number = chance(2000), .path = word(a), .cipher = maybe(a) };
	}
	return h;
}

static void pack_hello(struct buf *b, const void *thing)
{
	remote_pack_hello(b, thing, hello_server);
}

static void *unpack_hello(struct unpack *u)
{
	struct remote_hello *h = arena_new_object(u->arena, struct remote_hello);

	u->bad |= remote_unpack_hello(u->arena, u->at, (size_t)(u->end - u->at), hello_server, h) != 0;
	u->at = u->end;
	return h;
}

static void same_hello(const void *x, const void *y)
{
	const struct remote_hello *g = x, *h = y;

	assert_int_equal(g->major, h->major);
	assert_int_equal(g->minor, h->minor);
	assert_string_equal(g->program, h->program);
	assert_string_equal(g->capabilities, h->capabilities);
	assert_int_equal(g->ahead, h->ahead);
	same_text(g->stanza, h->stanza);
	assert_int_equal(g->roles, h->roles);
	same_text(g->exec_id, h->exec_id);
	assert_int_equal(g->silence_ms, h->silence_ms);
	assert_int_equal(g->level, h->level);
	assert_int_equal(g->places.n, h->places.n);
	for (size_t i = 0; i < g->places.n; i++) {
		assert_int_equal(g->places.v[i].number, h->places.v[i].number);
		assert_string_equal(g->places.v[i].path, h->places.v[i].path);
		same_text(g->places.v[i].cipher, h->places.v[i].cipher);
	}
}

static const struct kind kinds[] = {
	{ make_get, pack_get, unpack_get, same_get },
	{ make_got, pack_got, unpack_got, same_got },
	{ make_put, pack_put, unpack_put, same_put },
	{ make_entry, pack_entry, unpack_entry, same_entry },
	{ make_hello, pack_hello, unpack_hello, same_hello },
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct buf packed(struct arena *a, const struct kind *k, const void *thing)
{
	struct buf b;

	buf_init(&b, a);
	k->pack(&b, thing);
	return b;
}

/* What it is, and whether that was all; from a copy, so that a sanitizer sees who reads on. */
static void *unpacked(struct arena *a, const struct kind *k, const void *data, size_t len, bool *bad)
{
	struct unpack u;

	unpack_init(&u, a, arena_memdup(a, data, len), len);
	void *thing = k->unpack(&u);
	*bad = unpack_end(&u, "a thing") != 0;
	err_clear();
	return thing;
}

static void there_and_back(void **state)
{
	for (size_t i = 0; i < KINDS * TURNS; i++) {
		SCOPED_ARENA(a);
		const struct kind *k = &kinds[i % KINDS];
		void *thing = k->make(a);
		struct buf b = packed(a, k, thing);
		bool bad;
		void *back = unpacked(a, k, b.data, b.len, &bad);

		assert_false(bad);
		k->same(thing, back);
		struct buf again = packed(a, k, back);
		assert_int_equal(again.len, b.len);
		assert_memory_equal(again.data, b.data, b.len);
	}
}

static void every_truncation(void **state)
{
	for (size_t i = 0; i < KINDS * 30; i++) {
		SCOPED_ARENA(a);
		const struct kind *k = &kinds[i % KINDS];
		struct buf b = packed(a, k, k->make(a));
		bool bad;

		for (size_t n = 0; n < b.len; n++) {
			unpacked(a, k, b.data, n, &bad);
			assert_true(bad);
		}
		buf_addc(&b, 0);
		unpacked(a, k, b.data, b.len, &bad);
		assert_true(bad);
	}
}

/* Whatever comes out of changed bytes can be packed again: no list or text is of a wrong size. */
static void mutations(void **state)
{
	unsigned good = 0, refused = 0;

	for (size_t i = 0; i < KINDS * TURNS; i++) {
		SCOPED_ARENA(a);
		const struct kind *k = &kinds[i % KINDS];
		struct buf b = packed(a, k, k->make(a)), copy;

		buf_init(&copy, a);
		for (int n = 0; n < MUTATIONS; n++) {
			bool bad;

			buf_reset(&copy);
			buf_add(&copy, b.data, b.len);
			for (uint32_t c = 1 + chance(3); c > 0; c--)
				copy.data[chance((uint32_t)copy.len)] = (char)(coin() ? chance(256) : 255);
			void *thing = unpacked(a, k, copy.data, copy.len, &bad);
			refused += bad;
			if (bad)
				continue;
			(void)packed(a, k, thing);
			good++;
		}
	}
	assert_true(good > 1000 && refused > 1000);
}

/* ---- what is impossible, one by one ---- */

static bool get_is_bad(struct arena *a, const struct remote_get *g)
{
	struct buf b = packed(a, &kinds[0], g);
	bool bad;

	unpacked(a, &kinds[0], b.data, b.len, &bad);
	return bad;
}

static bool spec_is_bad(struct arena *a, const struct pipe_spec *spec)
{
	const struct remote_get g = { .place = 1, .path = "x", .opts = { .spec = spec } };

	return get_is_bad(a, &g);
}

static bool blocks_are_bad(struct arena *a, const struct blocks_spec *blocks)
{
	return spec_is_bad(a, &(struct pipe_spec){ .blocks = blocks });
}

static void impossible_specs(void **state)
{
	SCOPED_ARENA(a);
	const struct sum sum = { { 1 } };

	assert_false(spec_is_bad(a, &(struct pipe_spec){ 0 }));
	assert_true(spec_is_bad(a, &(struct pipe_spec){ .expand = CODEC_COUNT }));
	assert_true(spec_is_bad(a, &(struct pipe_spec){ .compress = 255 }));
	assert_true(spec_is_bad(a, &(struct pipe_spec){ .page_size = 512 }));
	assert_true(spec_is_bad(a, &(struct pipe_spec){ .page_size = 65536 }));
	assert_true(spec_is_bad(a, &(struct pipe_spec){ .page_size = 8191 }));
	assert_false(spec_is_bad(a, &(struct pipe_spec){ .unless = &sum, .hash_plain = true }));
	assert_true(spec_is_bad(a, &(struct pipe_spec){ .unless = &sum }));

	assert_false(blocks_are_bad(a, &(struct blocks_spec){ .block_size = 1, .sum_size = 6, .super_size = 1 }));
	assert_true(blocks_are_bad(a, &(struct blocks_spec){ .block_size = 0, .sum_size = 6, .super_size = 8192 }));
	assert_true(blocks_are_bad(a, &(struct blocks_spec){ .block_size = 8192, .sum_size = 6, .super_size = 0 }));
	assert_true(blocks_are_bad(a, &(struct blocks_spec){ .block_size = 8192, .sum_size = 6, .super_size = 8193 }));
	assert_true(blocks_are_bad(a, &(struct blocks_spec){ .block_size = 8192, .sum_size = 0, .super_size = 8192 }));
	assert_true(blocks_are_bad(a, &(struct blocks_spec){ .block_size = 8192, .sum_size = 17, .super_size = 8192 }));
	assert_true(blocks_are_bad(a, &(struct blocks_spec){ .block_size = 1, .sum_size = 6, .super_size = 1,
		.codec = CODEC_COUNT }));
}

static void impossible_ranges_and_paths(void **state)
{
	SCOPED_ARENA(a);
	struct remote_get g = { .place = 1, .path = "x", .opts = { .offset = INT64_MAX, .length = INT64_MAX } };
	char *path = arena_zalloc(a, REMOTE_PATH_MAX + 2);

	assert_false(get_is_bad(a, &g));
	g.opts.offset++;
	assert_true(get_is_bad(a, &g));
	g.opts = (struct get_opts){ .length = UINT64_MAX };
	assert_true(get_is_bad(a, &g));
	g.opts.length = 0;
	memset(path, 'p', REMOTE_PATH_MAX);
	g.path = path;
	assert_false(get_is_bad(a, &g));
	path[REMOTE_PATH_MAX] = 'p';
	assert_true(get_is_bad(a, &g));
	g.path = NULL;
	assert_true(get_is_bad(a, &g));
}

static bool entry_is_bad(struct arena *a, const struct store_entry *e)
{
	struct buf b = packed(a, &kinds[3], e);
	bool bad;

	unpacked(a, &kinds[3], b.data, b.len, &bad);
	return bad;
}

static void impossible_entries(void **state)
{
	SCOPED_ARENA(a);

	assert_false(entry_is_bad(a, &(struct store_entry){ .name = "" }));
	assert_false(entry_is_bad(a, &(struct store_entry){ .name = "..." }));
	assert_true(entry_is_bad(a, &(struct store_entry){ .name = "." }));
	assert_true(entry_is_bad(a, &(struct store_entry){ .name = ".." }));
	assert_true(entry_is_bad(a, &(struct store_entry){ .name = "a/b" }));
	assert_true(entry_is_bad(a, &(struct store_entry){ .name = "a", .type = STORE_SPECIAL + 1 }));
	assert_true(entry_is_bad(a, &(struct store_entry){ .name = "a", .size = UINT64_MAX }));
	assert_true(entry_is_bad(a, &(struct store_entry){ .name = "a", .mode = 01000 }));
}

/* Three blocks of 10 bytes, the last of 5; two in the prior; super blocks of 20. */
static const uint8_t prior_sums[12];
static const struct blocks_spec ten = { .block_size = 10, .sum_size = 6, .super_size = 20,
	.prior = prior_sums, .prior_n = 2 };

static bool blocks_result_is_bad(struct arena *a, uint64_t size, uint64_t stored, const uint64_t *changed, size_t n,
	const struct blocks_super *supers, size_t supers_n)
{
	struct got g = { .spec = &(struct pipe_spec){ .blocks = &ten },
		.r = { .plain_size = size, .stored_size = stored } };
	bool bad;

	g.r.blocks.n = 3;
	vec_init(&g.r.blocks.changed, a);
	for (size_t i = 0; i < n; i++)
		vec_push(&g.r.blocks.changed, ((struct blocks_changed){ .index = changed[i] }));
	vec_init(&g.r.blocks.supers, a);
	for (size_t i = 0; i < supers_n; i++)
		vec_push(&g.r.blocks.supers, supers[i]);
	struct buf b = packed(a, &kinds[1], &g);
	got_spec = g.spec;
	unpacked(a, &kinds[1], b.data, b.len, &bad);
	return bad;
}

/* A map is made from these lists: each of these lies would lead it out of one. */
static void impossible_blocks(void **state)
{
	SCOPED_ARENA(a);
	const uint64_t c[] = { 0, 2, 2, 1, 3, 0 };
	const struct blocks_super s[] = { { 7, 15 }, { 7, 20 }, { 7, 5 }, { 7, 25 }, { 7, 0 }, { UINT64_MAX - 6, 15 } };

	assert_false(blocks_result_is_bad(a, 25, 7, c, 2, s, 1));
	assert_false(blocks_result_is_bad(a, 25, 7, c + 1, 1, s + 2, 1)); /* the new one alone */
	assert_false(blocks_result_is_bad(a, 25, 14, (const uint64_t[]){ 0, 1, 2 }, 3, s + 1, 2));
	assert_true(blocks_result_is_bad(a, 31, 7, c, 2, s, 1));     /* not three blocks */
	assert_true(blocks_result_is_bad(a, 20, 7, c, 2, s, 1));
	assert_true(blocks_result_is_bad(a, 25, 0, c, 0, s, 0));     /* the third is in no map */
	assert_true(blocks_result_is_bad(a, 25, 7, c, 1, s + 2, 1));
	assert_true(blocks_result_is_bad(a, 25, 7, c + 1, 2, s, 1)); /* twice */
	assert_true(blocks_result_is_bad(a, 25, 7, c + 2, 2, s, 1)); /* descending */
	assert_true(blocks_result_is_bad(a, 25, 7, c + 4, 1, s + 2, 1)); /* there is none */
	assert_true(blocks_result_is_bad(a, 25, 0, c, 2, s, 0));     /* in no super block */
	assert_true(blocks_result_is_bad(a, 25, 7, c, 2, s + 2, 1)); /* one of them is not */
	assert_true(blocks_result_is_bad(a, 25, 7, c + 1, 1, s, 1)); /* room for one more */
	assert_true(blocks_result_is_bad(a, 25, 7, (const uint64_t[]){ 0, 1, 2 }, 3, s + 3, 1)); /* too large */
	assert_true(blocks_result_is_bad(a, 25, 14, (const uint64_t[]){ 1, 2 }, 2, s + 4, 2)); /* empty */
	assert_true(blocks_result_is_bad(a, 25, 8, c, 2, s, 1));     /* not what was stored */
	assert_true(blocks_result_is_bad(a, 25, 6, c, 2, s, 1));
	assert_true(blocks_result_is_bad(a, 25, 7, c, 2, s + 5, 1));
}

static void impossible_pages(void **state)
{
	SCOPED_ARENA(a);
	static const struct page_range bad[][2] = { { { 2, 1 }, { 5, 6 } }, { { 1, 3 }, { 3, 4 } },
		{ { 5, 6 }, { 1, 2 } } };

	for (size_t i = 0; i < 3; i++) {
		struct got g = { .spec = &(struct pipe_spec){ .page_size = 8192 } };
		bool is_bad;

		vec_init(&g.r.pages.bad, a);
		vec_push(&g.r.pages.bad, bad[i][0]);
		vec_push(&g.r.pages.bad, bad[i][1]);
		got_spec = g.spec;
		struct buf b = packed(a, &kinds[1], &g);
		unpacked(a, &kinds[1], b.data, b.len, &is_bad);
		assert_true(is_bad);
	}
}

/* ---- hello ---- */

static void other_versions(void **state)
{
	SCOPED_ARENA(a);
	struct remote_hello out;
	struct buf b;

	/* of another major the numbers alone are known, whatever follows */
	assert_int_equal(remote_unpack_hello(a, "\2\0\7\0?", 5, true, &out), 0);
	assert_int_equal(out.major, 2);
	assert_int_equal(out.minor, 7);
	assert_string_equal(out.program, "");
	assert_string_equal(out.capabilities, "");
	assert_int_equal(remote_unpack_hello(a, "\2\0\7", 3, true, &out), -1);
	assert_int_equal(err_code(), ERR_PROTOCOL);
	err_clear();
	/* a later minor may say more, the same one not */
	for (uint16_t minor = REMOTE_MINOR; minor <= REMOTE_MINOR + 1; minor++) {
		const struct remote_hello h = { .major = REMOTE_MAJOR, .minor = minor, .program = "p",
			.capabilities = "c" };

		buf_init(&b, a);
		remote_pack_hello(&b, &h, false);
		buf_adds(&b, "more");
		assert_int_equal(remote_unpack_hello(a, b.data, b.len, false, &out), minor == REMOTE_MINOR ? -1 : 0);
	}
	err_clear();
}

static void capabilities(void **state)
{
	const struct remote_hello all = { .capabilities = "ahead blocks" }, none = { .capabilities = "" },
		other = { .capabilities = "aheadx xblocks blocks" };

	assert_true(remote_can(&all, &all, REMOTE_CAP_AHEAD));
	assert_false(remote_can(&all, &none, REMOTE_CAP_AHEAD));
	assert_false(remote_can(&none, &all, REMOTE_CAP_BLOCKS));
	assert_false(remote_can(&all, &other, REMOTE_CAP_AHEAD));
	assert_true(remote_can(&other, &all, REMOTE_CAP_BLOCKS));
}

static void roles(void **state)
{
	SCOPED_ARENA(a);
	uint32_t set;

	for (uint32_t r = 1; r < 8; r++) {
		assert_int_equal(remote_roles_parse(remote_roles_text(a, r), &set), 0);
		assert_int_equal(set, r);
	}
	assert_string_equal(remote_roles_text(a, 0), "");
	assert_string_equal(remote_roles_text(a, 7), "archive,restore,backup");
	assert_int_equal(remote_roles_parse("restore, archive", &set), 0);
	assert_int_equal(set, REMOTE_ROLE_RESTORE | REMOTE_ROLE_ARCHIVE);
	static const char *const bad[] = { "", "all", "archive,", ",", "Archive", "archive restore", NULL };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(remote_roles_parse(bad[i], &set), -1);
		assert_int_equal(err_code(), ERR_OPTION_VALUE);
	}
	err_clear();
}

static void paths(void **state)
{
	SCOPED_ARENA(a);
	struct unpack u;
	struct buf b;
	uint32_t place;
	const char *path;

	buf_init(&b, a);
	remote_pack_path(&b, REMOTE_STAT, 1003, "base/1");
	unpack_init(&u, a, b.data, b.len);
	assert_int_equal(unpack_u8(&u), REMOTE_STAT);
	remote_unpack_path(&u, &place, &path);
	assert_int_equal(unpack_end(&u, "x"), 0);
	assert_int_equal(place, 1003);
	assert_string_equal(path, "base/1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(mutations),
		cmocka_unit_test(impossible_specs),
		cmocka_unit_test(impossible_ranges_and_paths),
		cmocka_unit_test(impossible_entries),
		cmocka_unit_test(impossible_blocks),
		cmocka_unit_test(impossible_pages),
		cmocka_unit_test(other_versions),
		cmocka_unit_test(capabilities),
		cmocka_unit_test(roles),
		cmocka_unit_test(paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
