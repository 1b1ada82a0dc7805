/*
 * bundle_get: members cut out of ranges of a bundle, however the bytes arrive and whatever the manifest says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "repo/file_get.h"
#include "repo/layout.h"
#include "pieces_store.h"

#define LABEL "20261120-120000F"
#define MEMBERS 12

/* A bundle of members with content of many sizes, and the rows that describe them. */
struct bundle {
	struct arena *a;
	struct pieces *repo;
	struct store *pg;
	struct manifest *m;
	struct file_get_item items[MEMBERS];
	char *plain[MEMBERS];
	struct buf stored;
};

static const size_t sizes[MEMBERS] = {1, 8192, 70000, 5, 262144, 3, 8191, 8193, 100000, 2, 65536, 9};

static void add_member(struct bundle *b, size_t i, enum codec codec)
{
	struct manifest_file *f = &b->m->files.v[i];
	char *plain = arena_alloc(b->a, sizes[i]);
	struct pipe_result r;
	const struct pipe_spec spec = {.compress = codec,
		.level = codec_info(codec)->level_default,
		.raw = b->m->bundle_raw,
		.encrypt = b->m->cipher_pass,
		.hash_plain = true};

	for (size_t k = 0; k < sizes[i]; k++)
		plain[k] = (char)((k * (i + 3)) >> (k % 5));
	struct sink *s = pipe_chain(
		b->a, &spec, NULL, NULL, sink_append(b->a, sink_buf(b->a, &b->stored)), &r);
	assert_int_equal(sink_write(s, plain, sizes[i]), 0);
	assert_int_equal(sink_finish(s), 0);
	b->plain[i] = plain;
	f->name = arena_printf(b->a, "pg_data/base/5/%zu", i);
	f->size = sizes[i];
	f->repo_size = r.stored_size;
	f->bundle = 1;
	f->bundle_offset = b->stored.len - r.stored_size;
	f->sum = r.plain_sum;
	f->has_sum = true;
	f->mode = 0600;
	f->mtime = 1000 + (int64_t)i;
}

static const char *bundle_path(const struct bundle *b)
{
	return layout_bundle(b->a, "s", LABEL, 1);
}

static void store_bundle(struct bundle *b)
{
	assert_int_equal(
		store_write(b->repo->inner, bundle_path(b), b->stored.data, b->stored.len, NULL), 0);
}

static void make(struct bundle *b, struct arena *a, enum codec codec, const char *pass, bool raw)
{
	memset(b, 0, sizeof(*b));
	b->a = a;
	b->repo = pieces_new(a, store_mem(a), SIZE_MAX);
	b->pg = store_mem(a);
	b->m = manifest_new(a);
	b->m->label = LABEL;
	b->m->codec = codec;
	b->m->cipher_pass = pass;
	b->m->bundle_raw = raw;
	b->m->copy_start = 5000;
	buf_init(&b->stored, a);
	for (size_t i = 0; i < MEMBERS; i++)
		vec_add(&b->m->files);
	for (size_t i = 0; i < MEMBERS; i++) {
		add_member(b, i, codec);
		b->items[i] = (struct file_get_item){.f = &b->m->files.v[i],
			.pg = b->pg,
			.opts = {.stanza = "s", .m = b->m, .no_fsync = true}};
	}
	store_bundle(b);
}

static int get(struct bundle *b)
{
	b->repo->gets = 0;
	b->repo->bytes = 0;
	return bundle_get(&b->repo->store, b->items, MEMBERS, false);
}

static bool is_there(struct bundle *b, size_t i)
{
	SCOPED_ARENA(a);
	struct buf got;

	buf_init(&got, a);
	int rc = store_read(b->pg, manifest_pg_path(b->items[i].f->name), 1 << 20, true, &got);
	assert_true(rc >= 0);
	return rc == 0 && got.len == sizes[i] && memcmp(got.data, b->plain[i], got.len) == 0;
}

static void all_are_there(struct bundle *b)
{
	for (size_t i = 0; i < MEMBERS; i++)
		assert_true(is_there(b, i));
}

/* Lessons D3: whatever the buffer's edge cuts, the same comes out; and it is one read. */
static void any_pieces(void **state)
{
	static const size_t pieces[] = {1, 7, 16, 17, 1000, 4096, 8191, 8192, 65536, SIZE_MAX};

	for (enum codec codec = CODEC_NONE; codec < CODEC_COUNT; codec++) {
		for (int form = 0; form < 4; form++) {
			SCOPED_ARENA(a);
			struct bundle b;

			make(&b, a, codec, form & 1 ? "a passphrase" : NULL, form & 2);
			for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
				b.repo->piece = pieces[i];
				assert_int_equal(get(&b), 0);
				assert_int_equal(b.repo->gets, 1);
				assert_int_equal(b.repo->bytes, b.stored.len);
				all_are_there(&b);
			}
		}
	}
}

/* A run of kept members splits the reading; a short gap does not. */
static void kept_members_are_not_read(void **state)
{
	SCOPED_ARENA(a);
	struct bundle b;
	uint64_t all;

	make(&b, a, CODEC_NONE, NULL, false);
	assert_int_equal(get(&b), 0);
	all = b.repo->bytes;
	for (size_t i = 0; i < MEMBERS; i++)
		b.items[i].opts.delta = true;
	assert_int_equal(get(&b), 0);
	assert_int_equal(b.repo->gets, 0);

	/* 4 is 256 KiB: more than is read over; 3 and 5 are not */
	for (size_t i = 0; i < MEMBERS; i++)
		if (i != 3 && i != 4 && i != 5)
			assert_int_equal(
				store_write(b.pg, manifest_pg_path(b.items[i].f->name), "x", 1, NULL), 0);
	assert_int_equal(get(&b), 0);
	assert_int_equal(b.repo->gets, 2);
	assert_int_equal(b.repo->bytes, all - sizes[3] - sizes[4] - sizes[5]);
	for (size_t i = 0; i < MEMBERS; i++)
		assert_int_equal(b.items[i].result.how,
			i >= 3 && i <= 5 ? FILE_GET_KEPT : FILE_GET_WRITTEN);
	all_are_there(&b);

	assert_int_equal(store_write(b.pg, "base/5/2", "x", 1, NULL), 0);
	assert_int_equal(store_write(b.pg, "base/5/6", "x", 1, NULL), 0);
	b.items[3].opts.delta = false; /* 6 follows 5, which is short, but 4 is not */
	assert_int_equal(get(&b), 0);
	assert_int_equal(b.repo->gets, 2);
	assert_int_equal(b.repo->bytes, sizes[2] + sizes[3] + sizes[6]);
	all_are_there(&b);

	/* over a short gap in one */
	assert_int_equal(store_write(b.pg, "base/5/7", "x", 1, NULL), 0);
	assert_int_equal(store_write(b.pg, "base/5/10", "x", 1, NULL), 0);
	assert_int_equal(store_write(b.pg, "base/5/5", "x", 1, NULL), 0);
	b.items[3].opts.delta = true;
	assert_int_equal(get(&b), 0);
	assert_int_equal(b.repo->gets, 2);
	assert_int_equal(b.repo->bytes, sizes[5] + sizes[6] + sizes[7] + sizes[10]);
	all_are_there(&b);
}

/* Ranges that repeat or overlap are read again: each file is proven by itself. */
static void ranges_may_repeat(void **state)
{
	SCOPED_ARENA(a);
	struct bundle b;

	make(&b, a, CODEC_ZST, "a passphrase", true);
	for (size_t i = 0; i < MEMBERS; i++) {
		struct manifest_file *f = &b.m->files.v[i];
		const char *name = f->name;

		if (i % 2 == 0)
			continue;
		*f = b.m->files.v[i - 1];
		f->name = name;
	}
	assert_int_equal(get(&b), 0);
	assert_int_equal(b.repo->gets, MEMBERS / 2 + 1);
	for (size_t i = 0; i < MEMBERS; i += 2) {
		b.plain[i + 1] = b.plain[i];
		assert_true(is_there(&b, i));
	}
	struct store_entry one, two;
	assert_int_equal(store_stat(a, b.pg, "base/5/4", &one), 0);
	assert_int_equal(store_stat(a, b.pg, "base/5/5", &two), 0);
	assert_int_equal(one.size, two.size);
}

/* One wrong byte anywhere: that member fails by its name, those before it are whole, none has wrong bytes. */
static void damage_has_a_name(void **state)
{
	for (enum codec codec = CODEC_NONE; codec < CODEC_COUNT; codec++) {
		for (size_t bad = 0; bad < MEMBERS; bad++) {
			SCOPED_ARENA(a);
			struct bundle b;

			make(&b, a, codec, bad % 2 ? "a passphrase" : NULL, bad % 3 == 0);
			const struct manifest_file *f = b.items[bad].f;
			size_t at = f->bundle_offset + f->repo_size - 1 - (size_t)(f->repo_size / 3);
			b.stored.data[at] ^= 0x20;
			store_bundle(&b);
			int rc = get(&b);
			/* a bit that its codec does not need may be lost; then the bytes are right */
			if (rc == 0) {
				all_are_there(&b);
				continue;
			}
			assert_non_null(strstr(err_msg(),
				arena_printf(a, "error restoring '%s'",
					store_name(a, b.pg, manifest_pg_path(f->name)))));
			assert_non_null(strstr(err_hints(), "/bundle/1': "));
			err_clear();
			for (size_t i = 0; i < bad; i++)
				assert_true(is_there(&b, i));
			for (size_t i = bad; i < MEMBERS; i++) {
				struct store_entry e;
				assert_int_equal(store_stat(a, b.pg,
							 manifest_pg_path(b.items[i].f->name), &e),
					STORE_ABSENT);
			}
		}
	}
}

static void fails(struct bundle *b, size_t item, enum err_code code, const char *text)
{
	SCOPED_ARENA(a);
	struct store_entry e;

	assert_int_equal(get(b), -1);
	assert_int_equal(err_code(), code);
	assert_non_null(strstr(err_msg(), text));
	assert_non_null(strstr(err_msg(), manifest_pg_path(b->items[item].f->name)));
	err_clear();
	assert_int_equal(
		store_stat(a, b->pg, manifest_pg_path(b->items[item].f->name), &e), STORE_ABSENT);
}

/* What a manifest may claim of a bundle. */
static void lies_are_refused(void **state)
{
	SCOPED_ARENA(a);
	struct bundle b;

	make(&b, a, CODEC_NONE, NULL, false);
	b.stored.len -= 3;
	store_bundle(&b);
	assert_int_equal(get(&b), -1);
	assert_int_equal(err_code(), ERR_FILE_READ);
	err_clear();

	make(&b, a, CODEC_NONE, NULL, false);
	b.m->files.v[4].size++; /* what is stored is too short */
	fails(&b, 4, ERR_CHECKSUM, "262144 bytes are stored, the manifest says 262145");
	make(&b, a, CODEC_NONE, NULL, false);
	b.m->files.v[4].size--;
	fails(&b, 4, ERR_CHECKSUM, "more bytes are stored than the 262143 of the manifest");
	make(&b, a, CODEC_GZ, NULL, false);
	b.m->files.v[4].repo_size--; /* the end of the stream is somebody else's */
	fails(&b, 4, ERR_FORMAT, "error restoring");
	make(&b, a, CODEC_GZ, NULL, false);
	b.m->files.v[4].bundle_offset++;
	b.m->files.v[4].repo_size--;
	fails(&b, 4, ERR_FORMAT, "error restoring");
	make(&b, a, CODEC_NONE, NULL, false);
	b.m->files.v[2].sum.bytes[7]++;
	fails(&b, 2, ERR_CHECKSUM, "does not match expected checksum");
	make(&b, a, CODEC_ZST, NULL, false);
	b.m->files.v[5].repo_size = 0;
	fails(&b, 5, ERR_ASSERT, "no range");
	make(&b, a, CODEC_ZST, "one passphrase", true);
	b.m->cipher_pass = "another";
	fails(&b, 0, ERR_CRYPTO, "error restoring");
	make(&b, a, CODEC_ZST, NULL, false);
	b.items[0].opts.m = b.m;
	b.m->label = "20261120-120001F";
	fails(&b, 0, ERR_FILE_MISSING, "20261120-120001F/bundle/1");
}

/* Files of which nothing is read go along. */
static void nothing_to_read(void **state)
{
	SCOPED_ARENA(a);
	struct bundle b;
	struct store_entry e;

	make(&b, a, CODEC_ZST, NULL, false);
	b.items[2].opts.zeroed = true;
	b.m->files.v[3].size = 0;
	b.m->files.v[3].sum = sum_empty;
	assert_int_equal(get(&b), 0);
	assert_int_equal(b.items[2].result.how, FILE_GET_ZEROED);
	assert_int_equal(store_stat(a, b.pg, "base/5/2", &e), 0);
	assert_int_equal(e.size, sizes[2]);
	assert_int_equal(store_stat(a, b.pg, "base/5/3", &e), 0);
	assert_int_equal(e.size, 0);
	assert_true(is_there(&b, 1) && is_there(&b, 4) && is_there(&b, MEMBERS - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_pieces),
		cmocka_unit_test(kept_members_are_not_read),
		cmocka_unit_test(ranges_may_repeat),
		cmocka_unit_test(damage_has_a_name),
		cmocka_unit_test(lies_are_refused),
		cmocka_unit_test(nothing_to_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
