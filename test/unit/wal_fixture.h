/*
 * wal_fixture: segments made by formula, a directory of this host, and pushes, for the tests of
 * wal_*.
 */
#ifndef TEST_WAL_FIXTURE_H
#define TEST_WAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "repo/wal_get.h"
#include "repo/wal_put.h"

#define SEG ((uint32_t)1024 * 1024)
#define SYSTEM_ID 7000000000000000180ull
#define VERSION "15"
#define STANZA "demo"
#define ID "15-1"
#define DIR1 "archive/demo/15-1/0000000100000000/"
#define NAME5 "000000010000000000000005"

static inline void put_le(uint8_t *to, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(v >> (8 * i));
}

/* A segment of 1 MiB with a right header; half of it compresses. */
static inline uint8_t *make_segment(
	struct arena *a, uint32_t timeline, uint64_t segment, uint32_t seed)
{
	uint8_t *seg = arena_zalloc(a, SEG);

	for (uint32_t i = 0, x = seed * 2654435761u + 1; i < SEG; i++) {
		x = x * 1664525u + 1013904223u;
		seg[i] = i < SEG / 2 ? (uint8_t)(seed + i / 512) : (uint8_t)(x >> 24);
	}
	put_le(seg, pg_version_by_name(VERSION)->wal_magic, 2);
	put_le(seg + 2, 2, 2);
	put_le(seg + 4, timeline, 4);
	put_le(seg + 8, segment * SEG, 8);
	put_le(seg + 24, SYSTEM_ID, 8);
	put_le(seg + 32, SEG, 4);
	put_le(seg + 36, 8192, 4);
	return seg;
}

/* A new directory of this host; host_remove takes it away. */
static inline char *host_dir(struct arena *a)
{
	const char *base = getenv("TMPDIR");
	char *dir = arena_printf(a, "%s/strata-XXXXXX", base != NULL ? base : "/tmp");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static inline void host_remove(const char *dir)
{
	SCOPED_ARENA(a);

	assert_int_equal(store_remove_tree(store_posix(a, path_parent(a, dir)), path_base(dir)), 0);
}

static inline void must_write(struct store *s, const char *path, const void *data, size_t len)
{
	const struct put_opts o = {.atomic = true};

	assert_int_equal(store_write(s, path, data, len, &o), 0);
}

static inline void must_fail(int rc, enum err_code code, const char *text)
{
	assert_int_equal(rc, -1);
	if (err_code() != code || strstr(err_msg(), text) == NULL)
		fail_msg("[%d] %s: wanted [%d] %s", (int)err_code(), err_msg(), (int)code, text);
	err_clear();
}

/* The archive of the tests in a store. */
#define PLACE(store) ((struct wal_place){(store), STANZA, ID, NULL})

/* One push of data under a name, through a file of this host. */
struct pushing {
	const char *dir; /* of the host */
	enum codec codec;
	bool no_header_check;
};

static inline int push_to(struct arena *a, const struct pushing *p, const char *name,
	const void *data, size_t len, struct wal_put_repo *repos, size_t n)
{
	const struct wal_put_opts o = {.source = path_join(a, p->dir, name),
		.name = name,
		.codec = p->codec,
		.level = codec_info(p->codec)->level_default,
		.header_check = !p->no_header_check,
		.mode_check = true,
		.version = VERSION,
		.system_id = SYSTEM_ID,
		.buffer_size = 65536};

	assert_int_equal(file_replace(o.source, data, len, 0600), 0);
	return wal_put(a, &o, repos, n, NULL);
}

static inline int push_one(struct arena *a, const struct pushing *p, const char *name,
	const void *data, size_t len, struct store *repo)
{
	struct wal_put_repo r = {.key = 1, .place = PLACE(repo)};

	return push_to(a, p, name, data, len, &r, 1);
}

/* The only stored file of a name. */
static inline struct wal_file stored_file(struct arena *a, struct store *repo, const char *name)
{
	wal_files found;

	assert_int_equal(wal_find(a, &PLACE(repo), name, &found), 0);
	assert_int_equal(found.n, 1);
	return found.v[0];
}

/* What a get gives: an answer, and the file at dest if there is one. */
static inline int get_from(struct arena *a, const char *dest, const char *name,
	struct wal_get_repo *repos, size_t n, int64_t wait_ms, bool gap_is_end)
{
	const struct wal_get_opts o = {.name = name,
		.dest = dest,
		.expect = {VERSION, SYSTEM_ID, SEG},
		.gap_wait_ms = wait_ms,
		.gap_is_end = gap_is_end,
		.buffer_size = 65536};
	struct wal_got got;

	return wal_get(a, &o, repos, n, &got);
}

static inline int get_one(struct arena *a, const char *dest, const char *name, struct store *repo)
{
	struct wal_get_repo r = {.key = 1, .places = &PLACE(repo), .n = 1};

	return get_from(a, dest, name, &r, 1, 0, false);
}

static inline bool host_has(struct arena *a, const char *path, const void *data, size_t len)
{
	struct buf b;

	buf_init(&b, a);
	if (file_read(path, 2 * SEG, &b) != 0) {
		err_clear();
		return false;
	}
	return b.len == len && memcmp(b.data, data, len) == 0;
}

static inline size_t host_count(struct arena *a, const char *dir)
{
	struct dir_names names;

	assert_int_equal(dir_list(a, dir, &names), 0);
	return names.n;
}

/* A store that lets something happen just before the n-th call of list. */
struct meddle {
	struct store_driver driver;
	const struct store_driver *real;
	unsigned nth, calls;
	void (*fn)(struct store *s);
};
static struct meddle meddler;

static inline int meddle_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx)
{
	if (++meddler.calls == meddler.nth)
		meddler.fn(s);
	return meddler.real->list(s, dir, fn, ctx);
}

static inline void meddle_with(struct store *s, unsigned nth, void (*fn)(struct store *))
{
	meddler = (struct meddle){*s->driver, s->driver, nth, 0, fn};
	meddler.driver.list = meddle_list;
	s->driver = &meddler.driver;
}

static inline int quiet(void **state)
{
	const struct log_config c = {.console = LOG_OFF, .stderr_level = LOG_OFF, .file = LOG_OFF};

	log_configure(&c);
	return 0;
}

#endif
