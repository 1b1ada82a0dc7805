/*
 * The suite that every store driver must pass.  One function makes an empty store; all else goes
 * through the interface.
 */
#include <errno.h>
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

#include "remote_server.h"
#include "sftp_server.h"
#include "store/beneath.h"
#include "store/store.h"
#include "work/serve.h"

#define SFTP_SERVER "/usr/lib/openssh/sftp-server"

struct driver {
	const char *name;
	struct store *(*make)(struct arena *a, char *dir);
};

struct fixture {
	struct arena *a;
	struct store *s;
	char dir[64];
};

static struct store *make_mem(struct arena *a, char *dir)
{
	return store_mem(a);
}

static struct store *make_posix(struct arena *a, char *dir)
{
	assert_non_null(mkdtemp(dir));
	return store_posix(a, dir);
}

/* The wrapper must be invisible as long as it injects nothing. */
static struct store *make_wrapped(struct arena *a, char *dir)
{
	struct store_fault *f = arena_new_object(a, struct store_fault);

	f->verb = "write";
	return store_faulty(a, store_mem(a), f);
}

/* ctx: requests that the server is to deny, as its -P wants them, or NULL. */
static void run_sftp_server(void *ctx, int fd)
{
	dup2(fd, 0);
	dup2(fd, 1);
	if (ctx == NULL)
		execl(SFTP_SERVER, SFTP_SERVER, "-u", "0027", NULL);
	else
		execl(SFTP_SERVER, SFTP_SERVER, "-u", "0027", "-P", (const char *)ctx, NULL);
	_exit(127);
}

static struct sftp_link *open_sftp_server(struct arena *a, void *ctx, struct deadline d)
{
	return fd_link_open(a, run_sftp_server, ctx);
}

/* OpenSSH's server, as it is and without what the protocol does not have itself. */
static struct store *make_sftp(struct arena *a, char *dir)
{
	assert_non_null(mkdtemp(dir));
	return store_sftp_over(a, open_sftp_server, NULL, 20000, dir);
}

static struct store *make_sftp_plain(struct arena *a, char *dir)
{
	static char denied[] = "posix-rename,fsync,hardlink";

	assert_non_null(mkdtemp(dir));
	return store_sftp_over(a, open_sftp_server, denied, 20000, dir);
}

/* ---- another host: it is read through the conversation, and written to under the server's feet ---- */

static enum serve_leave allow(void *ctx, const struct serve_place *p, enum serve_act act, const char *path)
{
	return SERVE_ALLOWED;
}

static bool show(void *ctx, const struct serve_place *p, const char *dir, const char *name)
{
	return true;
}

static const char *open_none(void *ctx, const struct serve_place *p, const char *path)
{
	return NULL;
}

static int agree(void *ctx, const struct serve_place *p, const char *path)
{
	return 0;
}

static int go_on(void *ctx)
{
	return 0;
}

struct host {
	struct store store;
	struct store *far, *near;
	struct peer peer;
	struct remote *remote;
	bool first; /* it speaks 1.0 */
};

static void run_serve(void *ctx, int fd)
{
	static const struct serve_ops ops = { allow, show, open_none, agree, go_on };
	const struct host *h = ctx;
	struct arena *a = arena_new();
	const struct serve_place place = { .place = { .number = REMOTE_PLACE_PG + 1, .path = h->near->root },
		.store = store_beneath(a, h->near->root, BENEATH_REPO) };
	const struct serve s = { .in = fd, .out = fd, .roles = REMOTE_ROLE_BACKUP | REMOTE_ROLE_ARCHIVE,
		.places = &place, .n = 1,
		.ops = &ops, .silence_ms = 20000, .minor = h->first ? SERVE_MINOR_0 : 0 };

	int rc = serve_run(&s);
	arena_free(a);
	_exit(rc == 0 ? 0 : 1);
}

static struct host *host_of(struct store *s)
{
	return (struct host *)s;
}

static int host_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	struct host *h = host_of(s);

	if (store_ahead(h->far, path, o) != 0)
		return -1;
	return h->far->driver->get(h->far, path, o, to);
}

/* What the protocol has, and as long as the connection is free. */
static struct sink *host_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o)
{
	struct host *h = host_of(s);

	if (o->atomic && o->create_new) {
		struct sink *to = h->far->driver->put(a, h->far, path, o);
		if (to != NULL)
			return to;
		assert_int_equal(err_code(), ERR_ASSERT);
		err_clear();
	}
	return h->near->driver->put(a, h->near, path, o);
}

static int host_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx)
{
	struct host *h = host_of(s);

	if (store_foresee(h->far, dir) != 0)
		return -1;
	return h->far->driver->list(h->far, dir, fn, ctx);
}

static int host_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out)
{
	struct host *h = host_of(s);

	return h->far->driver->stat(a, h->far, path, out);
}

static int host_sync(struct store *s, const char *dir)
{
	struct host *h = host_of(s);

	return h->far->driver->sync_dir(h->far, dir);
}

#define HOST_NEAR(name, params, args) \
	static int host_##name params \
	{ \
		struct host *h = host_of(s); \
		return h->near->driver->name args; \
	}
HOST_NEAR(remove, (struct store *s, const char *path), (h->near, path))
HOST_NEAR(remove_dir, (struct store *s, const char *path), (h->near, path))
HOST_NEAR(make_dir, (struct store *s, const char *path, mode_t mode), (h->near, path, mode))
HOST_NEAR(link, (struct store *s, const char *target, const char *path), (h->near, target, path))
HOST_NEAR(hard_link, (struct store *s, const char *from, const char *path), (h->near, from, path))
HOST_NEAR(touch, (struct store *s, const char *path, const struct put_opts *o), (h->near, path, o))

static struct store *make_host(struct arena *a, char *dir, bool first)
{
	static const struct store_driver driver = { .name = "remote", .get = host_get, .put = host_put,
		.list = host_list, .stat = host_stat, .remove = host_remove, .remove_dir = host_remove_dir,
		.make_dir = host_make_dir, .link = host_link, .hard_link = host_hard_link, .sync_dir = host_sync, .touch = host_touch };
	struct host *h = arena_new_object(a, struct host);

	assert_non_null(mkdtemp(dir));
	h->first = first;
	h->near = store_posix(a, dir);
	h->peer = (struct peer){ .play = run_serve, .ctx = h };
	const struct remote_opts o = { .host = "far", .program = "pgstrata", .option = "pg1-host-cmd",
		.open = peer_open, .ctx = &h->peer, .roles = REMOTE_ROLE_BACKUP, .exec_id = "1-test",
		.connect_ms = 20000, .silence_ms = 20000, .level = 1 };
	h->remote = remote_new(a, &o);
	h->far = store_remote(a, h->remote, REMOTE_PLACE_PG + 1, dir);
	h->store = (struct store){ .driver = &driver, .root = h->near->root, .arena = a };
	return &h->store;
}

static struct store *make_remote(struct arena *a, char *dir)
{
	return make_host(a, dir, false);
}

static struct store *make_remote_first(struct arena *a, char *dir)
{
	return make_host(a, dir, true);
}

static const struct driver drivers[] = {
	{ "mem", make_mem },
	{ "posix", make_posix },
	{ "fault around mem", make_wrapped },
	{ "remote", make_remote },
	{ "remote 1.0", make_remote_first },
	/* the last ones: left out where there is no such server */
	{ "sftp", make_sftp },
	{ "sftp without extensions", make_sftp_plain },
};

static int setup(void **state)
{
	const struct driver *d = *state;
	struct arena *a = arena_new();
	struct fixture *f = arena_new_object(a, struct fixture);

	f->a = a;
	snprintf(f->dir, sizeof(f->dir), "/tmp/pgstrata-store-XXXXXX");
	f->s = d->make(a, f->dir);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char dir[64];

	memcpy(dir, f->dir, sizeof(dir));
	arena_free(f->a);
	err_clear();
	if (strstr(dir, "XXXXXX") == NULL)
		nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

/* Bytes that differ from place to place, so that a shifted piece is seen. */
static char *pattern(struct arena *a, size_t len)
{
	char *p = arena_alloc(a, len + 1);

	for (size_t i = 0; i < len; i++)
		p[i] = (char)(i * 2654435761u >> 13);
	return p;
}

static void put(struct fixture *f, const char *path, const char *text)
{
	assert_int_equal(store_write(f->s, path, text, strlen(text), NULL), 0);
}

/* A link made by the driver, or under its feet where it makes none. */
static int make_link(struct fixture *f, const char *target, const char *path)
{
	if (f->s->driver->link != NULL)
		return store_link(f->s, target, path);
	return symlink(target, arena_printf(f->a, "%s/%s", f->dir, path));
}

static void assert_content(struct fixture *f, const char *path, const void *data, size_t len)
{
	struct buf b;

	buf_init(&b, f->a);
	if (store_read(f->s, path, UINT32_MAX, false, &b) != 0)
		fail_msg("%s", err_msg());
	assert_int_equal(b.len, len);
	assert_memory_equal(b.data, data, len);
}

static void assert_failed(int rc, enum err_code code)
{
	assert_int_equal(rc, -1);
	assert_int_equal(err_code(), code);
	err_clear();
}

static int note_entry(void *ctx, const struct store_entry *e)
{
	static const char kinds[] = { 'f', 'd', 'l', 's' };

	buf_addf(ctx, "%s:%c:%ju ", e->name, kinds[e->type], (uintmax_t)e->size);
	return 0;
}

static void assert_listing(struct fixture *f, const char *dir, const char *expected)
{
	struct buf b;

	buf_init(&b, f->a);
	assert_int_equal(store_list(f->s, dir, note_entry, &b), 0);
	assert_string_equal(b.data, expected);
}

static void test_round_trip(void **state)
{
	static const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 3 * 1024 * 1024 };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (int atomic = 0; atomic < 2; atomic++) {
			const struct put_opts o = { .atomic = atomic };
			const char *data = pattern(f->a, sizes[i]);
			struct store_entry e;
			assert_int_equal(store_write(f->s, "a/b/file", data, sizes[i], &o), 0);
			assert_content(f, "a/b/file", data, sizes[i]);
			assert_int_equal(store_stat(f->a, f->s, "a/b/file", &e), 0);
			assert_int_equal(e.type, STORE_FILE);
			assert_int_equal(e.size, sizes[i]);
			assert_int_equal(e.mode, 0640);
			assert_string_equal(e.name, "file");
		}
	}
}

/* Pieces of all sizes around the edges at which writes are combined. */
static void test_pieces(void **state)
{
	static const size_t pieces[] = { 1, 7, 4095, 4096, 65535, 65536, 131072 };
	struct fixture *f = *state;
	const size_t len = 300 * 1000;
	const char *data = pattern(f->a, len);

	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		struct sink *to = store_put(f->a, f->s, "file", NULL);
		assert_non_null(to);
		for (size_t at = 0; at < len; at += pieces[i]) {
			size_t n = len - at < pieces[i] ? len - at : pieces[i];
			assert_int_equal(sink_write(to, data + at, n), 0);
			assert_int_equal(sink_write(to, data, 0), 0);
		}
		assert_int_equal(sink_finish(to), 0);
		assert_content(f, "file", data, len);
	}
}

static void test_missing(void **state)
{
	static const char *const paths[] = { "nothing", "no/dir/nothing", "file/below" };
	struct fixture *f = *state;
	struct store_entry e;
	struct buf b;

	put(f, "file", "x");
	buf_init(&b, f->a);
	for (size_t i = 0; i < 3; i++) {
		assert_failed(store_read(f->s, paths[i], 10, false, &b), ERR_FILE_MISSING);
		assert_int_equal(store_read(f->s, paths[i], 10, true, &b), STORE_ABSENT);
		assert_int_equal(store_stat(f->a, f->s, paths[i], &e), STORE_ABSENT);
		assert_int_equal(store_remove(f->s, paths[i], true), 0);
		assert_failed(store_remove(f->s, paths[i], false), ERR_FILE_REMOVE);
		assert_int_equal(store_remove_tree(f->s, paths[i]), 0);
		assert_int_equal(err_code(), ERR_NONE);
	}
	assert_int_equal(b.len, 0);
	assert_int_equal(store_list(f->s, "nothing", note_entry, &b), STORE_ABSENT);
	/* a file in the directory's place is no absence */
	assert_failed(store_list(f->s, "file", note_entry, &b), ERR_PATH_OPEN);
}

static void test_missing_message(void **state)
{
	struct fixture *f = *state;
	struct buf b;

	buf_init(&b, f->a);
	assert_int_equal(store_read(f->s, "d/nothing", 10, false, &b), -1);
	assert_string_equal(err_msg(), arena_printf(f->a,
		"unable to open missing file '%s/d/nothing' for read", f->s->root));
}

static void test_directory_is_no_file(void **state)
{
	struct fixture *f = *state;
	struct buf b;

	buf_init(&b, f->a);
	put(f, "dir/file", "x");
	assert_failed(store_read(f->s, "dir", 10, true, &b), ERR_FILE_READ);
	assert_failed(store_remove(f->s, "dir", true), ERR_FILE_REMOVE);
	assert_failed(store_write(f->s, "dir", "x", 1, NULL), ERR_FILE_OPEN);
	assert_failed(store_write(f->s, "dir", "x", 1, &(struct put_opts){ .atomic = true }),
		ERR_FILE_MOVE);
	assert_failed(store_write(f->s, "dir/file/below", "x", 1, NULL), ERR_FILE_OPEN);
	assert_listing(f, "", "dir:d:0 ");
	assert_listing(f, "dir", "file:f:1 ");
}

static void test_ranges(void **state)
{
	static const struct {
		uint64_t offset, length;
		bool exact;
		size_t found; /* bytes; SIZE_MAX: ERR_FILE_READ */
	} cases[] = {
		{ 0, 0, false, 200000 }, { 0, 1, true, 1 }, { 199999, 1, true, 1 },
		{ 199999, 2, false, 1 }, { 199999, 2, true, SIZE_MAX }, { 200000, 0, false, 0 },
		{ 200000, 1, true, SIZE_MAX }, { 200000, 1, false, 0 }, { 300000, 5, false, 0 },
		{ 0, 200000, true, 200000 }, { 0, 200001, true, SIZE_MAX },
		{ 0, 200001, false, 200000 },
		{ 65536, 65536, true, 65536 }, { 65535, 65538, true, 65538 },
		{ 7, 0, false, 199993 },
	};
	struct fixture *f = *state;
	const char *data = pattern(f->a, 200000);

	assert_int_equal(store_write(f->s, "file", data, 200000, NULL), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct get_opts o = { .offset = cases[i].offset, .length = cases[i].length,
			.exact = cases[i].exact };
		struct buf b;
		buf_init(&b, f->a);
		int rc = store_get(f->s, "file", &o, sink_buf(f->a, &b));
		if (cases[i].found == SIZE_MAX) {
			assert_failed(rc, ERR_FILE_READ);
			continue;
		}
		assert_int_equal(rc, 0);
		assert_int_equal(b.len, cases[i].found);
		if (b.len > 0)
			assert_memory_equal(b.data, data + cases[i].offset, b.len);
	}
}

static void test_read_bounds(void **state)
{
	struct fixture *f = *state;
	struct buf b;

	buf_init(&b, f->a);
	put(f, "file", "12345");
	buf_adds(&b, "before");
	assert_failed(store_read(f->s, "file", 4, false, &b), ERR_FILE_READ);
	assert_string_equal(b.data, "before");
	assert_int_equal(store_read(f->s, "file", 5, false, &b), 0);
	assert_string_equal(b.data, "before12345");
}

static int opened(void *ctx, const struct store_entry *e)
{
	struct store_entry *out = ctx;

	*out = *e;
	return e->size == 5 ? 0 : err_set(ERR_FORMAT, "not wanted");
}

static void test_opened(void **state)
{
	struct fixture *f = *state;
	struct store_entry e;
	const struct get_opts o = { .opened = opened, .ctx = &e };
	struct buf b;

	buf_init(&b, f->a);
	put(f, "d/five", "12345");
	put(f, "d/six", "123456");
	assert_int_equal(store_get(f->s, "d/five", &o, sink_buf(f->a, &b)), 0);
	assert_int_equal(e.type, STORE_FILE);
	assert_int_equal(b.len, 5);
	assert_failed(store_get(f->s, "d/six", &o, sink_buf(f->a, &b)), ERR_FORMAT);
	assert_int_equal(b.len, 5);
}

/* The spec is applied, and what it found outlives the get. */
static void test_spec(void **state)
{
	struct fixture *f = *state;
	const size_t len = 3 * 8192 + 100;
	char *pages = memset(arena_alloc(f->a, len), 'x', len);
	const struct pipe_spec pack = { .compress = CODEC_GZ, .level = 1, .hash_plain = true,
		.page_size = 8192 };
	const struct pipe_spec unpack = { .expand = CODEC_GZ, .hash_plain = true };
	struct pipe_result r, back;
	struct get_opts o = { .spec = &pack, .result = &r };
	struct buf b;

	assert_int_equal(store_write(f->s, "pages", pages, len, NULL), 0);
	assert_int_equal(store_get(f->s, "pages", &o, store_put(f->a, f->s, "pages.gz", NULL)), 0);
	assert_int_equal(r.plain_size, len);
	assert_true(r.stored_size < len / 10);
	assert_true(r.pages.misaligned);
	buf_init(&b, f->a);
	o = (struct get_opts){ .spec = &unpack, .result = &back };
	assert_int_equal(store_get(f->s, "pages.gz", &o, sink_buf(f->a, &b)), 0);
	assert_int_equal(b.len, len);
	assert_memory_equal(b.data, pages, len);
	assert_true(sum_equal(&r.plain_sum, &back.plain_sum));

	o = (struct get_opts){ .spec = &pack, .result = &r, .length = 3 * 8192 };
	assert_int_equal(store_get(f->s, "pages", &o, sink_null(f->a)), 0);
	assert_false(r.pages.misaligned);
	assert_int_equal(r.pages.bad.n, 1);
	assert_int_equal(r.pages.bad.v[0].first, 0);
	assert_int_equal(r.pages.bad.v[0].last, 2);
}

/* Keeps the lists of blocks, which are sure to be there when the sink is finished. */
struct keep {
	struct sink sink;
	struct fixture *f;
	struct pipe_result *r;
	size_t bytes;
};

static int keep_write(struct sink *s, const void *data, size_t len)
{
	((struct keep *)s)->bytes += len;
	return 0;
}

static int keep_finish(struct sink *s)
{
	const struct keep *k = (struct keep *)s;
	struct blocks_result *b = &k->r->blocks;

	assert_int_equal(k->r->stored_size, k->bytes);
	b->changed.v = arena_memdup(k->f->a, b->changed.v, b->changed.n * sizeof(*b->changed.v));
	b->supers.v = arena_memdup(k->f->a, b->supers.v, b->supers.n * sizeof(*b->supers.v));
	return 0;
}

static void get_kept(struct fixture *f, const char *path, const struct get_opts *o)
{
	struct keep k = { .sink = { keep_write, keep_finish }, .f = f, .r = o->result };

	if (store_get(f->s, path, o, &k.sink) != 0)
		fail_msg("%s", err_msg());
}

/* Cut and compared where the file is, or here: the result is the same. */
static void test_blocks(void **state)
{
	struct fixture *f = *state;
	const size_t size = 8192, n = 300, len = (n - 1) * size + 5;
	char *data = pattern(f->a, len);
	struct blocks_spec blocks = { .block_size = (uint32_t)size, .sum_size = 8, .super_size = 4 * (uint32_t)size,
		.codec = CODEC_ZST, .level = 1, .pass = "secret" };
	const struct pipe_spec spec = { .blocks = &blocks, .hash_plain = true, .page_size = (uint32_t)size };
	struct pipe_result r;
	const struct get_opts o = { .spec = &spec, .result = &r };
	uint8_t *prior = arena_alloc(f->a, n * 8);
	struct sum sum;

	assert_int_equal(store_write(f->s, "file", data, len, NULL), 0);
	get_kept(f, "file", &o);
	assert_int_equal(r.blocks.n, n);
	assert_int_equal(r.blocks.changed.n, n);
	assert_int_equal(r.blocks.supers.n, n / 4);
	assert_true(r.pages.misaligned);
	for (size_t i = 0; i < n; i++)
		memcpy(prior + i * 8, r.blocks.changed.v[i].sum, 8);
	data[77 * size + 3] ^= 1;
	assert_int_equal(store_write(f->s, "file", data, len, NULL), 0);
	blocks.prior = prior;
	blocks.prior_n = n;
	get_kept(f, "file", &o);
	sha1_of(data, len, &sum);
	assert_true(sum_equal(&sum, &r.plain_sum));
	assert_int_equal(r.plain_size, len);
	assert_int_equal(r.blocks.changed.n, 1);
	assert_int_equal(r.blocks.changed.v[0].index, 77);
	assert_int_equal(r.blocks.supers.n, 1);
	assert_int_equal(r.blocks.supers.v[0].stored, r.stored_size);
}

struct nested {
	struct fixture *f;
	struct sink sink;
	struct buf outer, inner;
};

static int nested_write(struct sink *s, const void *data, size_t len)
{
	struct nested *n = (struct nested *)((char *)s - offsetof(struct nested, sink));

	buf_reset(&n->inner);
	assert_int_equal(store_read(n->f->s, "other", UINT32_MAX, false, &n->inner), 0);
	buf_add(&n->outer, data, len);
	return 0;
}

static int refused_write(struct sink *s, const void *data, size_t len)
{
	struct nested *n = (struct nested *)((char *)s - offsetof(struct nested, sink));

	return store_read(n->f->s, "other", UINT32_MAX, false, &n->inner);
}

static int nested_finish(struct sink *s)
{
	return 0;
}

/* A sink may read other files while it is fed. */
static void test_get_inside_get(void **state)
{
	struct fixture *f = *state;
	const char *data = pattern(f->a, 2000000);
	struct nested n = { .f = f, .sink = { nested_write, nested_finish } };

	buf_init(&n.outer, f->a);
	buf_init(&n.inner, f->a);
	assert_int_equal(store_write(f->s, "file", data, 2000000, NULL), 0);
	assert_int_equal(store_write(f->s, "other", data + 5, 1000000, NULL), 0);
	if (strcmp(f->s->driver->name, "remote") == 0) {
		/* one request at a time: it is said, and nothing comes out of step */
		n.sink.write = refused_write;
		assert_failed(store_get(f->s, "file", NULL, &n.sink), ERR_ASSERT);
		assert_content(f, "file", data, 2000000);
		return;
	}
	assert_int_equal(store_get(f->s, "file", NULL, &n.sink), 0);
	assert_int_equal(n.outer.len, 2000000);
	assert_memory_equal(n.outer.data, data, 2000000);
	assert_memory_equal(n.inner.data, data + 5, 1000000);
}

static void test_create_new(void **state)
{
	struct fixture *f = *state;

	for (int atomic = 0; atomic < 2; atomic++) {
		const struct put_opts o = { .create_new = true, .atomic = atomic };
		const char *path = atomic ? "d/atomic" : "d/in-place";
		assert_int_equal(store_write(f->s, path, "first", 5, &o), 0);
		assert_int_equal(store_write(f->s, path, "second", 6, &o), -1);
		assert_non_null(strstr(err_msg(),
			arena_printf(f->a, "unable to create '%s/%s': file exists",
				f->s->root, path)));
		assert_failed(-1, ERR_FILE_EXISTS);
		assert_content(f, path, "first", 5);
	}
	assert_listing(f, "d", "atomic:f:5 in-place:f:5 ");
}

/* Two at work under one name: the one that finishes first has it. */
static void test_create_new_race(void **state)
{
	struct fixture *f = *state;
	const struct put_opts o = { .create_new = true, .atomic = true };
	struct arena *a = arena_new();
	struct sink *x = store_put(a, f->s, "file", &o), *y = store_put(a, f->s, "file", &o);

	assert_int_equal(sink_write(x, "x", 1), 0);
	assert_int_equal(sink_write(y, "yy", 2), 0);
	assert_int_equal(sink_finish(y), 0);
	assert_failed(sink_finish(x), ERR_FILE_EXISTS);
	arena_free(a);
	assert_content(f, "file", "yy", 2);
	assert_listing(f, "", "file:f:2 ");
}

static void test_undone(void **state)
{
	struct fixture *f = *state;
	const char *data = pattern(f->a, 200000);

	for (int i = 0; i < 4; i++) {
		const struct put_opts o = { .atomic = i & 1, .create_new = i & 2 };
		struct arena *a = arena_new();
		struct sink *to = store_put(a, f->s, "d/file", &o);
		assert_non_null(to);
		assert_int_equal(sink_write(to, data, 200000), 0);
		arena_free(a);
		assert_listing(f, "d", "");
	}
}

/* Bytes in any order, with zeros where none were written. */
static void test_any_order(void **state)
{
	static const struct {
		uint64_t at;
		size_t len;
	} pieces[] = { { 299000, 1000 }, { 8192, 70000 }, { 0, 100 }, { 100, 0 }, { 78193, 3 }, { 131072, 140000 } };
	struct fixture *f = *state;
	const size_t len = 300 * 1000;
	char *data = pattern(f->a, len);

	memset(data + 140000, 0, 120000);
	for (int sparse = 0; sparse < 2; sparse++) {
		uint64_t at = 0;
		const struct put_opts o = { .at = &at, .size_hint = len, .sparse = sparse, .mode = 0604,
			.set_mtime = true, .mtime = 1234567890 };
		char *expected = arena_zalloc(f->a, len);
		struct store_entry e;
		struct buf b;
		/* what was there before is gone */
		put(f, "d/file", "old");
		struct sink *to = store_put(f->a, f->s, "d/file", &o);
		assert_non_null(to);
		for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
			at = pieces[i].at;
			memcpy(expected + at, data + at, pieces[i].len);
			assert_int_equal(sink_write(to, data + at, pieces[i].len), 0);
		}
		/* it can be read at once */
		buf_init(&b, f->a);
		const struct get_opts get = { .offset = 90, .length = 270000, .exact = true };
		assert_int_equal(store_get(f->s, "d/file", &get, sink_buf(f->a, &b)), 0);
		assert_memory_equal(b.data, expected + 90, 270000);
		assert_int_equal(sink_finish(to), 0);
		assert_content(f, "d/file", expected, len);
		assert_int_equal(store_stat(f->a, f->s, "d/file", &e), 0);
		assert_int_equal(e.mode, 0604);
		assert_int_equal(e.mtime, 1234567890);
	}
}

static void test_any_order_bounds(void **state)
{
	static const struct {
		uint64_t at;
		size_t len;
		int rc;
	} cases[] = { { 0, 10, 0 }, { 10, 0, 0 }, { 9, 1, 0 }, { 9, 2, -1 }, { 10, 1, -1 }, { 11, 0, -1 },
		{ UINT64_MAX, 1, -1 }, { UINT64_MAX, 0, -1 }, { 0, 11, -1 } };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		SCOPED_ARENA(a);
		uint64_t at = cases[i].at;
		const struct put_opts o = { .at = &at, .size_hint = 10 };
		struct sink *to = store_put(a, f->s, "file", &o);
		assert_non_null(to);
		assert_int_equal(sink_write(to, "0123456789a", cases[i].len), cases[i].rc);
		assert_int_equal(err_code(), cases[i].rc == 0 ? ERR_NONE : ERR_ASSERT);
		err_clear();
	}
	/* not finished: not there */
	assert_listing(f, "", "");
	uint64_t at = 0;
	const struct put_opts wrong[] = { { .at = &at, .atomic = true }, { .keep = true } };
	for (size_t i = 0; i < 2; i++) {
		assert_null(store_put(f->a, f->s, "file", &wrong[i]));
		assert_failed(-1, ERR_ASSERT);
	}
}

/* A file that is there is changed here and there, made longer or shorter. */
static void test_keep(void **state)
{
	static const size_t sizes[] = { 200000, 150000, 250000 };
	struct fixture *f = *state;
	const char *data = pattern(f->a, 250000);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint64_t at = 140000;
		const struct put_opts o = { .at = &at, .keep = true, .size_hint = sizes[i], .sparse = true,
			.set_mtime = true, .mtime = 7 };
		char *expected = arena_zalloc(f->a, 250000);
		struct store_entry e;
		assert_int_equal(store_write(f->s, "file", data, 200000, NULL), 0);
		memcpy(expected, data, 200000);
		/* zeros are bytes like others here */
		memset(expected + 20000, 0, 100000);
		memcpy(expected + 140000, data, 10000);
		struct arena *a = arena_new();
		struct sink *to = store_put(a, f->s, "file", &o);
		assert_non_null(to);
		assert_int_equal(sink_write(to, data, 10000), 0);
		at = 20000;
		assert_int_equal(sink_write(to, expected + 20000, 100000), 0);
		assert_int_equal(sink_finish(to), 0);
		arena_free(a);
		assert_content(f, "file", expected, sizes[i]);
		assert_int_equal(store_stat(f->a, f->s, "file", &e), 0);
		assert_int_equal(e.mtime, 7);
	}
}

static void test_keep_undone(void **state)
{
	struct fixture *f = *state;
	uint64_t at = 2;
	const struct put_opts o = { .at = &at, .keep = true, .size_hint = 5, .set_mtime = true, .mtime = 7 };
	struct arena *a = arena_new();
	struct store_entry e;

	put(f, "file", "12345");
	struct sink *to = store_put(a, f->s, "file", &o);
	assert_int_equal(sink_write(to, "x", 1), 0);
	arena_free(a);
	assert_content(f, "file", "12x45", 5);
	assert_int_equal(store_stat(f->a, f->s, "file", &e), 0);
	assert_int_not_equal(e.mtime, 7);
	assert_null(store_put(f->a, f->s, "nothing", &o));
	assert_failed(-1, ERR_FILE_OPEN);
	/* another name's content must not change */
	if (f->s->driver->hard_link == NULL)
		return;
	assert_int_equal(store_hard_link(f->s, "file", "other"), 0);
	assert_null(store_put(f->a, f->s, "file", &o));
	assert_failed(-1, ERR_FILE_OPEN);
	assert_content(f, "other", "12x45", 5);
	assert_listing(f, "", "file:f:5 other:f:5 ");
}

static void test_replace(void **state)
{
	struct fixture *f = *state;
	const struct put_opts o = { .atomic = true };
	struct arena *a = arena_new();

	put(f, "file", "old");
	struct sink *to = store_put(a, f->s, "file", &o);
	assert_int_equal(sink_write(to, "newer", 5), 0);
	assert_content(f, "file", "old", 3);
	assert_int_equal(sink_finish(to), 0);
	assert_content(f, "file", "newer", 5);
	arena_free(a);
	assert_content(f, "file", "newer", 5);
	/* in place: shorter content leaves nothing of the longer one */
	put(f, "file", "x");
	assert_content(f, "file", "x", 1);
}

static void test_attributes(void **state)
{
	struct fixture *f = *state;
	struct store_entry e;

	for (int atomic = 0; atomic < 2; atomic++) {
		struct put_opts o = { .atomic = atomic, .mode = 0604, .set_mtime = true,
			.mtime = 1234567890, .set_owner = true, .uid = geteuid(),
			.gid = getegid() };
		assert_int_equal(store_write(f->s, "file", "x", 1, &o), 0);
		assert_int_equal(store_stat(f->a, f->s, "file", &e), 0);
		assert_int_equal(e.mode, 0604);
		assert_int_equal(e.mtime, 1234567890);
		assert_int_equal(e.uid, geteuid());
	}
	const struct put_opts touch = { .mode = 0600, .set_mtime = true, .mtime = 7 };
	assert_int_equal(store_touch(f->s, "file", &touch), 0);
	assert_int_equal(store_stat(f->a, f->s, "file", &e), 0);
	assert_int_equal(e.mode, 0600);
	assert_int_equal(e.mtime, 7);
	assert_int_equal(store_touch(f->s, "file", NULL), 0);
	assert_int_equal(store_stat(f->a, f->s, "file", &e), 0);
	assert_int_equal(e.mode, 0600);
	assert_failed(store_touch(f->s, "nothing", &touch), ERR_FILE_MISSING);
}

static void test_list(void **state)
{
	struct fixture *f = *state;

	assert_listing(f, "", "");
	put(f, "b/one", "1");
	put(f, "b/two/three", "333");
	put(f, "b.x", "");
	put(f, "B", "22");
	put(f, "\xc3\xa4", "22");
	assert_int_equal(store_make_dir(f->s, "empty", 0), 0);
	assert_listing(f, "", "B:f:2 b:d:0 b.x:f:0 empty:d:0 \xc3\xa4:f:2 ");
	assert_listing(f, "b", "one:f:1 two:d:0 ");
	assert_listing(f, "empty", "");
}

static int stop_at_b(void *ctx, const struct store_entry *e)
{
	buf_adds(ctx, e->name);
	return strcmp(e->name, "b") == 0 ? err_set(ERR_FORMAT, "enough") : 0;
}

static void test_list_stops(void **state)
{
	struct fixture *f = *state;
	struct buf b;

	buf_init(&b, f->a);
	put(f, "a", "");
	put(f, "b", "");
	put(f, "c", "");
	assert_failed(store_list(f->s, "", stop_at_b, &b), ERR_FORMAT);
	assert_string_equal(b.data, "ab");
}

static void test_unsafe_paths(void **state)
{
	static const char *const paths[] = { "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".",
		"a//b", "a/", "./a", "a\nb" };
	struct fixture *f = *state;
	struct store_entry e;
	struct buf b;

	buf_init(&b, f->a);
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		const char *p = paths[i];
		assert_failed(store_get(f->s, p, &(struct get_opts){ .missing_ok = true },
			sink_null(f->a)), ERR_FORMAT);
		assert_null(store_put(f->a, f->s, p, NULL));
		assert_failed(-1, ERR_FORMAT);
		assert_failed(store_list(f->s, p, note_entry, &b), ERR_FORMAT);
		assert_failed(store_stat(f->a, f->s, p, &e), ERR_FORMAT);
		assert_failed(store_remove(f->s, p, true), ERR_FORMAT);
		assert_failed(store_remove_tree(f->s, p), ERR_FORMAT);
		assert_failed(store_make_dir(f->s, p, 0), ERR_FORMAT);
		assert_failed(store_link(f->s, "x", p), ERR_FORMAT);
		assert_failed(store_sync_dir(f->s, p), ERR_FORMAT);
		assert_failed(store_touch(f->s, p, NULL), ERR_FORMAT);
		assert_failed(store_read(f->s, p, 1, true, &b), ERR_FORMAT);
		assert_failed(store_write(f->s, p, "", 0, NULL), ERR_FORMAT);
	}
}

/* The root can be looked at, and cannot be replaced or removed. */
static void test_root(void **state)
{
	struct fixture *f = *state;
	struct store_entry e;
	struct buf b;

	buf_init(&b, f->a);
	assert_int_equal(store_stat(f->a, f->s, "", &e), 0);
	assert_int_equal(e.type, STORE_DIR);
	assert_int_equal(store_sync_dir(f->s, ""), 0);
	assert_int_equal(store_make_dir(f->s, "", 0), 0);
	assert_failed(store_remove_tree(f->s, ""), ERR_FORMAT);
	assert_failed(store_remove(f->s, "", true), ERR_FORMAT);
	assert_failed(store_read(f->s, "", 1, true, &b), ERR_FORMAT);
	assert_failed(store_write(f->s, "", "", 0, NULL), ERR_FORMAT);
	assert_failed(store_link(f->s, "x", ""), ERR_FORMAT);
}

static void test_make_dir(void **state)
{
	struct fixture *f = *state;
	struct store_entry e;

	assert_int_equal(store_make_dir(f->s, "a/b/c", 0700), 0);
	assert_int_equal(store_stat(f->a, f->s, "a/b/c", &e), 0);
	assert_int_equal(e.type, STORE_DIR);
	assert_int_equal(e.mode, 0700);
	assert_int_equal(store_stat(f->a, f->s, "a/b", &e), 0);
	assert_int_equal(e.mode, 0750);
	assert_int_equal(store_make_dir(f->s, "a/b/c", 0750), 0);
	put(f, "a/file", "x");
	assert_failed(store_make_dir(f->s, "a/file", 0), ERR_PATH_CREATE);
	assert_failed(store_make_dir(f->s, "a/file/dir", 0), ERR_PATH_CREATE);
}

static void test_remove(void **state)
{
	struct fixture *f = *state;

	put(f, "d/x", "x");
	put(f, "d/y", "y");
	assert_int_equal(store_remove(f->s, "d/x", false), 0);
	assert_listing(f, "d", "y:f:1 ");
}

static void test_remove_tree(void **state)
{
	struct fixture *f = *state;

	put(f, "keep/file", "kept");
	put(f, "tree/a/b/c", "x");
	put(f, "tree/a/d", "x");
	put(f, "tree.not", "x");
	assert_int_equal(store_make_dir(f->s, "tree/e/f", 0), 0);
	assert_int_equal(make_link(f, "../../keep", "tree/a/link"), 0);
	assert_int_equal(store_remove_tree(f->s, "tree"), 0);
	assert_listing(f, "", "keep:d:0 tree.not:f:1 ");
	assert_content(f, "keep/file", "kept", 4);
	/* a link or a file alone is a tree too */
	assert_int_equal(make_link(f, "keep", "link"), 0);
	assert_int_equal(store_remove_tree(f->s, "link"), 0);
	assert_int_equal(store_remove_tree(f->s, "tree.not"), 0);
	assert_listing(f, "", "keep:d:0 ");
	assert_content(f, "keep/file", "kept", 4);
}

static void test_link(void **state)
{
	struct fixture *f = *state;
	struct store_entry e;

	if (f->s->driver->link != NULL) {
		assert_int_equal(store_link(f->s, "first", "d/latest"), 0);
	} else {
		assert_failed(store_link(f->s, "first", "d/latest"), ERR_FEATURE);
		assert_int_equal(store_make_dir(f->s, "d", 0), 0);
	}
	assert_int_equal(make_link(f, "second one", "d/latest"), 0);
	assert_int_equal(store_stat(f->a, f->s, "d/latest", &e), 0);
	assert_int_equal(e.type, STORE_LINK);
	assert_string_equal(e.target, "second one");
	assert_null(e.target_entry);
	assert_listing(f, "d", "latest:l:0 ");
	assert_int_equal(store_make_dir(f->s, "d/dir", 0), 0);
	assert_failed(store_link(f->s, "x", "d/dir"), f->s->driver->link == NULL ? ERR_FEATURE : ERR_FILE_MOVE);
	assert_listing(f, "d", "dir:d:0 latest:l:0 ");
	assert_int_equal(store_remove(f->s, "d/latest", false), 0);
	assert_listing(f, "d", "dir:d:0 ");
}

static void test_hard_link(void **state)
{
	struct fixture *f = *state;
	struct store_entry e;

	put(f, "d/one", "content");
	if (f->s->driver->hard_link == NULL) {
		assert_failed(store_hard_link(f->s, "d/one", "new/dir/two"), ERR_FEATURE);
		return;
	}
	assert_int_equal(store_hard_link(f->s, "d/one", "new/dir/two"), 0);
	assert_content(f, "new/dir/two", "content", strlen("content"));
	assert_int_equal(store_stat(f->a, f->s, "new/dir/two", &e), 0);
	assert_true(e.type == STORE_FILE && e.shared && e.size == 7);
	assert_string_equal(e.name, "two");
	assert_int_equal(store_stat(f->a, f->s, "d/one", &e), 0);
	assert_true(e.shared);
	/* replacing one leaves the other, and so does removing it */
	put(f, "new/dir/two", "other");
	assert_content(f, "d/one", "content", strlen("content"));
	assert_int_equal(store_hard_link(f->s, "d/one", "d/three"), 0);
	assert_int_equal(store_remove(f->s, "d/one", false), 0);
	assert_content(f, "d/three", "content", strlen("content"));
	/* absent is an answer, and then nothing is made */
	assert_int_equal(store_hard_link(f->s, "d/one", "d/four"), STORE_ABSENT);
	assert_int_equal(store_hard_link(f->s, "nowhere/one", "nothing/four"), STORE_ABSENT);
	assert_int_equal(store_stat(f->a, f->s, "nothing", &e), STORE_ABSENT);
	assert_failed(store_hard_link(f->s, "d/three", "new/dir/two"), ERR_FILE_EXISTS);
	assert_content(f, "new/dir/two", "other", strlen("other"));
	assert_failed(store_hard_link(f->s, "new/dir", "dir"), ERR_FEATURE);
	assert_failed(store_hard_link(f->s, "../d/three", "x"), ERR_FORMAT);
	assert_failed(store_hard_link(f->s, "d/three", "../x"), ERR_FORMAT);
}

static void test_sync_missing_dir(void **state)
{
	struct fixture *f = *state;

	assert_failed(store_sync_dir(f->s, "nothing"), ERR_PATH_MISSING);
}

/* For each verb and each n: the failure arrives, what was there is still there. */
static void test_faults(void **state)
{
	static const char *const verbs[] = { "get", "read", "put", "write", "finish", "list",
		"stat", "remove", "sync" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
		struct store_fault fault = { .verb = verbs[i], .nth = 2 };
		struct store *s = store_faulty(f->a, f->s, &fault);
		const struct put_opts o = { .atomic = true };
		unsigned failed = 0, at = 0;
		put(f, "file", "old content");
		for (unsigned n = 1; n <= 3; n++) {
			SCOPED_ARENA(a);
			struct store_entry e;
			struct buf b;
			buf_init(&b, a);
			int rc = store_read(s, "file", 100, false, &b) |
				store_write(s, "other", "x", 1, &o) |
				store_list(s, "", note_entry, &b) |
				store_stat(a, s, "file", &e) | store_remove(s, "other", true);
			if (rc != 0) {
				failed++;
				at = n;
				assert_non_null(strstr(err_msg(), "injected failure"));
				err_clear();
			}
		}
		assert_int_equal(failed, 1);
		assert_int_equal(at, 2);
		assert_int_equal(fault.calls, 3);
		assert_content(f, "file", "old content", 11);
		assert_int_equal(store_remove(f->s, "other", true), 0);
		assert_listing(f, "", "file:f:11 ");
	}
}

static void test_fault_for_good(void **state)
{
	struct fixture *f = *state;
	struct store_fault fault = { .verb = "get", .nth = 2, .for_good = true };
	struct store *s = store_faulty(f->a, f->s, &fault);

	put(f, "file", "x");
	assert_int_equal(store_get(s, "file", NULL, sink_null(f->a)), 0);
	for (int i = 0; i < 3; i++)
		assert_failed(store_get(s, "file", NULL, sink_null(f->a)), ERR_FILE_READ);
}

static void test_fault_midway(void **state)
{
	struct fixture *f = *state;
	struct store_fault fault = { .verb = "read", .nth = 1 };
	struct store *s = store_faulty(f->a, f->s, &fault);
	struct buf b;

	buf_init(&b, f->a);
	put(f, "file", "0123456789");
	assert_failed(store_get(s, "file", NULL, sink_buf(f->a, &b)), ERR_FILE_READ);
	assert_string_equal(b.data, "01234");
}

static void test_no_sftp_server(void **state)
{
	skip();
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_round_trip), T(test_pieces), T(test_missing), T(test_missing_message),
		T(test_directory_is_no_file), T(test_ranges), T(test_read_bounds), T(test_opened),
		T(test_spec), T(test_blocks), T(test_get_inside_get), T(test_create_new), T(test_create_new_race),
		T(test_undone), T(test_any_order), T(test_any_order_bounds), T(test_keep), T(test_keep_undone),
		T(test_replace), T(test_attributes), T(test_list),
		T(test_list_stops),
		T(test_unsafe_paths), T(test_root), T(test_make_dir), T(test_remove),
		T(test_remove_tree),
		T(test_link), T(test_hard_link), T(test_sync_missing_dir), T(test_faults), T(test_fault_for_good),
		T(test_fault_midway),
	};
	enum { COUNT = sizeof(tests) / sizeof(*tests) };
	enum { DRIVERS = sizeof(drivers) / sizeof(*drivers) };
	static struct CMUnitTest all[COUNT * DRIVERS + 1];
	static char names[COUNT * DRIVERS][80];
	const bool server = access(SFTP_SERVER, X_OK) == 0;
	const size_t n = COUNT * (server ? DRIVERS : DRIVERS - 2);

	all[n] = (struct CMUnitTest)cmocka_unit_test(test_no_sftp_server);
	for (size_t i = 0; i < n; i++) {
		const struct driver *d = &drivers[i / COUNT];
		snprintf(names[i], sizeof(names[i]), "%s: %s", d->name, tests[i % COUNT].name);
		all[i] = tests[i % COUNT];
		all[i].name = names[i];
		all[i].initial_state = (void *)(uintptr_t)d;
	}
	return _cmocka_run_group_tests("store", all, server ? n : n + 1, NULL, NULL);
}
