/*
 * What only the posix driver promises: the order of system calls, exact modes, and that every
 * failure of every call leaves the old file or the new one.  The table of system calls is the
 * seam.
 */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/path.h"
#include "base/sig.h"
#include "base/str.h"
#include "base/sys.h"
#include "store/store.h"

/* Which call is spoiled, and what was called. */
static struct {
	struct sys_calls real;
	const char *call;
	unsigned nth, seen;
	int number; /* errno; 0: cut the transfer in half; -1: transfer nothing */
	struct arena *arena;
	struct buf trace;
} spy;

static bool is_hit(const char *call)
{
	if (spy.call == NULL || strcmp(spy.call, call) != 0)
		return false;
	return ++spy.seen == spy.nth;
}

static bool fails(const char *call)
{
	if (!is_hit(call))
		return false;
	errno = spy.number;
	return true;
}

static void note(const char *what, const char *path)
{
	const char *base = path_base(path);

	buf_addf(&spy.trace, "%s %s; ", what, str_ends(base, ".pgbackrest.tmp") ? "TEMP" : base);
}

static int spy_open(const char *path, int flags, mode_t mode)
{
	return fails("open") ? -1 : spy.real.open(path, flags, mode);
}

static int spy_close(int fd)
{
	/* as Linux does: the descriptor is gone, whatever close says */
	int rc = spy.real.close(fd);

	return fails("close") ? -1 : rc;
}

static ssize_t spy_pread(int fd, void *data, size_t len, off_t offset)
{
	if (is_hit("pread")) {
		if (spy.number > 0) {
			errno = spy.number;
			return -1;
		}
		len = (len + 1) / 2;
	}
	return spy.real.pread(fd, data, len, offset);
}

static ssize_t spy_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	if (is_hit("pwrite")) {
		errno = spy.number;
		if (spy.number != 0)
			return spy.number > 0 ? -1 : 0;
		len = (len + 1) / 2;
	}
	return spy.real.pwrite(fd, data, len, offset);
}

static int spy_fsync(int fd)
{
	char link[64], path[PATH_MAX] = "";
	struct stat st;

	if (fails("fsync"))
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	assert_true(readlink(link, path, sizeof(path) - 1) > 0);
	assert_int_equal(fstat(fd, &st), 0);
	note(S_ISDIR(st.st_mode) ? "sync-dir" : "sync", path);
	return spy.real.fsync(fd);
}

static int spy_ftruncate(int fd, off_t len)
{
	return fails("ftruncate") ? -1 : spy.real.ftruncate(fd, len);
}

static int spy_rename(const char *from, const char *to)
{
	note("rename", to);
	return fails("rename") ? -1 : spy.real.rename(from, to);
}

static int spy_rename_new(const char *from, const char *to)
{
	note("rename_new", to);
	return fails("rename_new") ? -1 : spy.real.rename_new(from, to);
}

static int spy_symlink(const char *target, const char *path)
{
	note("symlink", path);
	return fails("symlink") ? -1 : spy.real.symlink(target, path);
}

static int spy_unlink(const char *path)
{
	note("unlink", path);
	return spy.real.unlink(path);
}

static int spy_mkdir(const char *path, mode_t mode)
{
	int rc = fails("mkdir") ? -1 : spy.real.mkdir(path, mode);
	int number = errno;

	if (rc == 0)
		note("mkdir", path);
	errno = number;
	return rc;
}

static int spy_rmdir(const char *path)
{
	note("rmdir", path);
	return spy.real.rmdir(path);
}

static int spy_lstat(const char *path, struct stat *st)
{
	return fails("lstat") ? -1 : spy.real.lstat(path, st);
}

static int spy_fstat(int fd, struct stat *st)
{
	return fails("fstat") ? -1 : spy.real.fstat(fd, st);
}

static int spy_chmod(const char *path, mode_t mode)
{
	return fails("chmod") ? -1 : spy.real.chmod(path, mode);
}

static int spy_utime(const char *path, time_t mtime)
{
	return fails("utime") ? -1 : spy.real.utime(path, mtime);
}

static DIR *spy_opendir(const char *path)
{
	return fails("opendir") ? NULL : spy.real.opendir(path);
}

static void spoil(const char *call, unsigned nth, int number)
{
	spy.call = call;
	spy.nth = nth;
	spy.seen = 0;
	spy.number = number;
	buf_reset(&spy.trace);
}

struct fixture {
	struct arena *a;
	struct store *s;
	char root[64];
};

static int setup(void **state)
{
	struct arena *a = arena_new();
	struct fixture *f = arena_new_object(a, struct fixture);

	f->a = a;
	snprintf(f->root, sizeof(f->root), "/tmp/pgstrata-posix-XXXXXX");
	assert_non_null(mkdtemp(f->root));
	f->s = store_posix(a, f->root);
	spy.real = sys;
	spy.arena = a;
	buf_init(&spy.trace, a);
	spoil(NULL, 0, 0);
	sys.open = spy_open;
	sys.close = spy_close;
	sys.pread = spy_pread;
	sys.pwrite = spy_pwrite;
	sys.fsync = spy_fsync;
	sys.ftruncate = spy_ftruncate;
	sys.rename = spy_rename;
	sys.rename_new = spy_rename_new;
	sys.symlink = spy_symlink;
	sys.unlink = spy_unlink;
	sys.mkdir = spy_mkdir;
	sys.rmdir = spy_rmdir;
	sys.lstat = spy_lstat;
	sys.fstat = spy_fstat;
	sys.chmod = spy_chmod;
	sys.utime = spy_utime;
	sys.opendir = spy_opendir;
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
	char root[64];

	sys = spy.real;
	memcpy(root, f->root, sizeof(root));
	arena_free(f->a);
	err_clear();
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static char *full(struct fixture *f, const char *path)
{
	return store_name(f->a, f->s, path);
}

static struct stat stat_of(struct fixture *f, const char *path)
{
	struct stat st;

	assert_int_equal(stat(full(f, path), &st), 0);
	return st;
}

static void assert_failed(int rc, enum err_code code)
{
	assert_int_equal(rc, -1);
	assert_int_equal(err_code(), code);
	err_clear();
}

static void assert_content(struct fixture *f, const char *path, const char *data, size_t len)
{
	struct buf b;

	buf_init(&b, f->a);
	assert_int_equal(file_read(full(f, path), SIZE_MAX / 4, &b), 0);
	assert_int_equal(b.len, len);
	assert_memory_equal(b.data, data, len);
}

static void assert_names(struct fixture *f, const char *dir, const char *expected)
{
	struct dir_names names;
	struct buf b;

	buf_init(&b, f->a);
	assert_int_equal(dir_list(f->a, full(f, dir), &names), 0);
	for (size_t i = 0; i < names.n; i++)
		buf_addf(&b, "%s ", names.v[i]);
	assert_string_equal(b.data, expected);
}

static int open_descriptors(struct fixture *f)
{
	struct dir_names names;

	assert_int_equal(dir_list(f->a, "/proc/self/fd", &names), 0);
	return (int)names.n;
}

static void test_modes_are_exact(void **state)
{
	struct fixture *f = *state;
	static const mode_t modes[] = { 0, 0600, 0640, 0644, 0666, 0777, 0400 };
	mode_t before = umask(077);

	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		for (int atomic = 0; atomic < 2; atomic++) {
			const struct put_opts o = { .atomic = atomic, .mode = modes[i] };
			mode_t want = modes[i] == 0 ? 0640 : modes[i];
			assert_int_equal(store_write(f->s, "p/q/file", "x", 1, &o), 0);
			assert_int_equal(stat_of(f, "p/q/file").st_mode & 07777, want);
		}
	}
	assert_int_equal(stat_of(f, "p").st_mode & 07777, 0750);
	assert_int_equal(stat_of(f, "p/q").st_mode & 07777, 0750);
	assert_int_equal(store_make_dir(f->s, "d/e", 0775), 0);
	assert_int_equal(stat_of(f, "d").st_mode & 07777, 0750);
	assert_int_equal(stat_of(f, "d/e").st_mode & 07777, 0775);
	umask(before);
}

static void test_mtime(void **state)
{
	struct fixture *f = *state;

	for (int atomic = 0; atomic < 2; atomic++) {
		const struct put_opts o = { .atomic = atomic, .set_mtime = true, .mtime = 86400 };
		assert_int_equal(store_write(f->s, "file", "content", 7, &o), 0);
		assert_int_equal(stat_of(f, "file").st_mtime, 86400);
	}
}

static void test_order(void **state)
{
	static const struct {
		struct put_opts o;
		const char *trace;
	} cases[] = {
		{ { .atomic = true }, "sync TEMP; rename file; sync-dir d; " },
		{ { .atomic = true, .create_new = true },
			"sync TEMP; rename_new file; sync-dir d; " },
		{ { .atomic = true, .no_dir_sync = true }, "sync TEMP; rename file; " },
		{ { .atomic = true, .no_fsync = true }, "rename file; sync-dir d; " },
		{ { .atomic = false }, "sync file; sync-dir d; " },
		{ { .create_new = true }, "sync file; sync-dir d; " },
		{ { .no_dir_sync = true }, "sync file; " },
		{ { .no_dir_sync = true, .no_fsync = true }, "" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(store_make_dir(f->s, "d", 0), 0);
		spoil(NULL, 0, 0);
		assert_int_equal(store_write(f->s, "d/file", "x", 1, &cases[i].o), 0);
		assert_string_equal(spy.trace.data, cases[i].trace);
		assert_int_equal(store_remove_tree(f->s, "d"), 0);
	}
}

/* Each directory that is made is durable before the file's success is reported. */
static void test_order_of_parents(void **state)
{
	struct fixture *f = *state;
	const char *root = path_base(f->root);
	const struct put_opts o = { .atomic = true };

	assert_int_equal(store_write(f->s, "a/b/file", "x", 1, &o), 0);
	assert_string_equal(spy.trace.data, arena_printf(f->a,
		"mkdir a; sync-dir %s; mkdir b; sync-dir a; "
		"sync TEMP; rename file; sync-dir b; ", root));
	buf_reset(&spy.trace);
	assert_int_equal(store_make_dir(f->s, "a/c", 0), 0);
	assert_int_equal(store_make_dir(f->s, "a/c", 0), 0);
	assert_string_equal(spy.trace.data, "mkdir c; sync-dir a; ");
}

static void test_order_of_link(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_make_dir(f->s, "d", 0), 0);
	buf_reset(&spy.trace);
	assert_int_equal(store_link(f->s, "target", "d/latest"), 0);
	assert_string_equal(spy.trace.data, "symlink TEMP; rename latest; sync-dir d; ");
}

static void test_order_of_remove(void **state)
{
	struct fixture *f = *state;
	const char *root = path_base(f->root);

	assert_int_equal(store_write(f->s, "d/e/x", "", 0, NULL), 0);
	assert_int_equal(store_write(f->s, "d/e/y", "", 0, NULL), 0);
	assert_int_equal(store_write(f->s, "d/z", "", 0, NULL), 0);
	buf_reset(&spy.trace);
	assert_int_equal(store_remove(f->s, "d/z", false), 0);
	assert_string_equal(spy.trace.data, "unlink z; sync-dir d; ");
	buf_reset(&spy.trace);
	assert_int_equal(store_remove_tree(f->s, "d"), 0);
	assert_string_equal(spy.trace.data, arena_printf(f->a,
		"unlink x; unlink y; rmdir e; rmdir d; sync-dir %s; ", root));
}

static void test_failed_fsync(void **state)
{
	struct fixture *f = *state;

	for (int atomic = 0; atomic < 2; atomic++) {
		const struct put_opts o = { .atomic = atomic };
		assert_int_equal(store_make_dir(f->s, "d", 0), 0);
		spoil("fsync", 1, EIO);
		assert_int_equal(store_write(f->s, "d/file", "x", 1, &o), -1);
		assert_string_equal(err_msg(), arena_printf(f->a,
			"unable to sync file '%s': [5] Input/output error", full(f, "d/file")));
		assert_failed(-1, ERR_FILE_SYNC);
		assert_int_equal(spy.seen, 1); /* never tried again */
		assert_names(f, "d", "");
	}
}

static void test_failed_close(void **state)
{
	struct fixture *f = *state;

	for (int atomic = 0; atomic < 2; atomic++) {
		const struct put_opts o = { .atomic = atomic };
		assert_int_equal(store_make_dir(f->s, "d", 0), 0);
		spoil("close", 1, EIO);
		assert_failed(store_write(f->s, "d/file", "x", 1, &o), ERR_FILE_CLOSE);
		assert_names(f, "d", "");
	}
}

/* After the rename the old file is gone: the failure is reported, the new file stays. */
static void test_failed_dir_sync(void **state)
{
	struct fixture *f = *state;
	const struct put_opts atomic = { .atomic = true };

	assert_int_equal(store_write(f->s, "d/file", "old", 3, NULL), 0);
	spoil("fsync", 2, EIO);
	assert_failed(store_write(f->s, "d/file", "new", 3, &atomic), ERR_PATH_SYNC);
	assert_content(f, "d/file", "new", 3);
	spoil("fsync", 2, EIO);
	assert_failed(store_write(f->s, "d/other", "new", 3, NULL), ERR_PATH_SYNC);
	assert_names(f, "d", "file ");
}

static int write_pieces(struct fixture *f, const char *path, const char *data, size_t len,
	size_t piece, const struct put_opts *o)
{
	SCOPED_ARENA(a);
	struct sink *to = store_put(a, f->s, path, o);

	if (to == NULL)
		return -1;
	for (size_t at = 0; at < len; at += piece) {
		if (sink_write(to, data + at, len - at < piece ? len - at : piece) != 0)
			return -1;
	}
	return sink_finish(to);
}

static void test_disk_full_at_each_write(void **state)
{
	struct fixture *f = *state;
	const size_t len = 1000000;
	char *data = memset(arena_alloc(f->a, len), 'n', len);
	unsigned n = 0;
	int rc = -1;

	assert_int_equal(store_make_dir(f->s, "d", 0), 0);
	while (rc != 0) {
		const struct put_opts o = { .atomic = n & 1 };
		spoil("pwrite", ++n, ENOSPC);
		rc = write_pieces(f, "d/file", data, len, 50000, &o);
		if (rc == 0)
			break;
		assert_string_equal(err_msg(), arena_printf(f->a,
			"unable to write '%s': [28] No space left on device", full(f, "d/file")));
		assert_failed(rc, ERR_FILE_WRITE);
		assert_names(f, "d", "");
	}
	assert_true(n > 10);
	assert_content(f, "d/file", data, len);
}

/* Short writes, interrupted writes, and a write that does nothing without saying why. */
static void test_odd_writes(void **state)
{
	struct fixture *f = *state;
	const size_t len = 300000;
	char *data = arena_alloc(f->a, len);

	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 7919 >> 5);
	for (unsigned n = 1; n <= 6; n++) {
		spoil("pwrite", n, 0);
		assert_int_equal(write_pieces(f, "file", data, len, 33333, NULL), 0);
		assert_content(f, "file", data, len);
		spoil("pwrite", n, EINTR);
		assert_int_equal(write_pieces(f, "file", data, len, 33333, NULL), 0);
		assert_content(f, "file", data, len);
	}
	spoil("pwrite", 1, -1);
	assert_failed(write_pieces(f, "file", data, len, 33333, NULL), ERR_FILE_WRITE);
}

/* Every call fails once, at every n: the old content or the new one, and nothing else in the
 * place. */
static void test_each_call_fails(void **state)
{
	static const char *const calls[] = { "open", "close", "pwrite", "fsync", "ftruncate",
		"rename", "rename_new", "mkdir", "fstat", "chmod", "utime" };
	struct fixture *f = *state;
	char big[200000];

	memset(big, 'n', sizeof(big));
	memset(big + 70000, 0, 100000);
	for (size_t i = 0; i < 4 * sizeof(calls) / sizeof(*calls); i++) {
		const char *call = calls[i / 4];
		const struct put_opts o = { .atomic = true, .set_mtime = true, .mtime = 1,
			.sparse = i & 1, .create_new = i & 2 };
		int rc = -1;
		for (unsigned n = 1; rc != 0; n++) {
			int before = open_descriptors(f);
			assert_true(n < 100);
			spoil(NULL, 0, 0);
			assert_int_equal(store_remove_tree(f->s, "x"), 0);
			if (!o.create_new)
				assert_int_equal(store_write(f->s, "x/y/file", "old", 3, NULL), 0);
			spoil(call, n, EIO);
			rc = write_pieces(f, "x/y/file", big, sizeof(big), 30000, &o);
			spoil(NULL, 0, 0);
			bool synced_late = rc != 0 && err_code() != ERR_FILE_SYNC &&
				(err_code() == ERR_PATH_SYNC || err_code() == ERR_PATH_CLOSE ||
				err_code() == ERR_PATH_OPEN);
			if (rc != 0)
				assert_non_null(strstr(err_msg(), f->root));
			err_clear();
			assert_int_equal(open_descriptors(f), before);
			if (rc == 0) {
				assert_content(f, "x/y/file", big, sizeof(big));
			} else if (access(full(f, "x/y/file"), F_OK) != 0) {
				assert_true(o.create_new);
			} else if (!synced_late) {
				assert_content(f, "x/y/file", "old", 3);
			}
			if (access(full(f, "x/y"), F_OK) == 0)
				assert_names(f, "x/y",
					access(full(f, "x/y/file"), F_OK) == 0 ? "file " : "");
		}
	}
}

/* A read that fails or is cut short at any place never gives other bytes and success. */
static void test_odd_reads(void **state)
{
	static const int numbers[] = { EIO, EINTR, 0 };
	struct fixture *f = *state;
	const size_t len = 500000;
	char *data = arena_alloc(f->a, len);

	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 7919 >> 5);
	assert_int_equal(store_write(f->s, "file", data, len, NULL), 0);
	f->s->buffer_size = 1; /* 64 KiB are used at least */
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned n = 1; n <= 9; n++) {
			struct buf b;
			buf_init(&b, f->a);
			spoil("pread", n, numbers[i]);
			int rc = store_read(f->s, "file", len, true, &b);
			assert_true(spy.seen >= n);
			if (numbers[i] == EIO) {
				assert_non_null(strstr(err_msg(), "unable to read '"));
				assert_failed(rc, ERR_FILE_READ);
				continue;
			}
			assert_int_equal(rc, 0);
			assert_int_equal(b.len, len);
			assert_memory_equal(b.data, data, len);
		}
	}
}

static int ignore_entry(void *ctx, const struct store_entry *e)
{
	return 0;
}

/* "Could not look" is never "not there". */
static void test_unknown_is_not_absent(void **state)
{
	static const int numbers[] = { EACCES, EIO, ELOOP, EMFILE, ESTALE };
	struct fixture *f = *state;
	struct store_entry e;
	struct buf b;

	buf_init(&b, f->a);
	assert_int_equal(store_write(f->s, "d/file", "x", 1, NULL), 0);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		spoil("open", 1, numbers[i]);
		assert_failed(store_read(f->s, "d/file", 9, true, &b), ERR_FILE_OPEN);
		spoil("fstat", 1, numbers[i]);
		assert_failed(store_read(f->s, "d/file", 9, true, &b), ERR_FILE_INFO);
		spoil("opendir", 1, numbers[i]);
		assert_failed(store_list(f->s, "d", ignore_entry, NULL), ERR_PATH_OPEN);
		spoil("lstat", 1, numbers[i]);
		assert_failed(store_list(f->s, "d", ignore_entry, NULL), ERR_FILE_INFO);
		spoil("lstat", 1, numbers[i]);
		assert_failed(store_stat(f->a, f->s, "d/file", &e), ERR_FILE_INFO);
		spoil("lstat", 1, numbers[i]);
		assert_failed(store_remove_tree(f->s, "d"), ERR_FILE_INFO);
		spoil("opendir", 1, numbers[i]);
		assert_failed(store_remove_tree(f->s, "d"), ERR_PATH_OPEN);
	}
	spoil(NULL, 0, 0);
	assert_content(f, "d/file", "x", 1);
}

static int count_entry(void *ctx, const struct store_entry *e)
{
	++*(unsigned *)ctx;
	return 0;
}

static void test_entry_vanishes_while_listed(void **state)
{
	struct fixture *f = *state;
	unsigned count = 0;

	for (int i = 0; i < 3; i++) {
		const char *path = arena_printf(f->a, "d/%d", i);
		assert_int_equal(store_write(f->s, path, "", 0, NULL), 0);
	}
	spoil("lstat", 2, ENOENT);
	assert_int_equal(store_list(f->s, "d", count_entry, &count), 0);
	assert_int_equal(count, 2);
}

static void test_temp_name(void **state)
{
	struct fixture *f = *state;
	const struct put_opts o = { .atomic = true };
	struct arena *a = arena_new();
	struct dir_names names;
	char prefix[64];

	assert_non_null(store_put(a, f->s, "d/file", &o));
	assert_non_null(store_put(a, f->s, "d/file", &o));
	assert_int_equal(dir_list(f->a, full(f, "d"), &names), 0);
	assert_int_equal(names.n, 2);
	snprintf(prefix, sizeof(prefix), "file.%ld-", (long)getpid());
	for (size_t i = 0; i < 2; i++) {
		assert_true(str_starts(names.v[i], prefix));
		assert_true(str_all(names.v[i] + strlen(prefix), 8, "0123456789abcdef"));
		assert_string_equal(names.v[i] + strlen(prefix) + 8, ".pgbackrest.tmp");
	}
	arena_free(a);
	assert_names(f, "d", "");
}

static void test_sparse(void **state)
{
	static const size_t pieces[] = { 1000, 4096, 65536, 70001, 1 << 20, 9 << 20 };
	struct fixture *f = *state;
	const size_t len = 9 << 20;
	char *data = arena_zalloc(f->a, len);

	memset(data + 100, 'a', 5000);
	memset(data + (1 << 20) + 3, 'b', 60000); /* a short run of zeros before more of it */
	memset(data + (1 << 20) + 90000, 'c', 1);
	memset(data + (5 << 20), 'd', 4096);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		for (size_t cut = 0; cut < 3; cut++) {
			/* zeros at the end; data at the end; a size that is no multiple of a
			 * block */
			size_t n = cut == 0 ? len : cut == 1 ? (5u << 20) + 4096 : len - 1234;
			const struct put_opts o = { .sparse = true, .atomic = true,
				.size_hint = n };
			assert_int_equal(write_pieces(f, "file", data, n, pieces[i], &o), 0);
			assert_content(f, "file", data, n);
			assert_true(stat_of(f, "file").st_blocks < 1024); /* 512 KiB */
		}
	}
	assert_int_equal(write_pieces(f, "zeros", data + (2 << 20), 1 << 20, 4096,
		&(struct put_opts){ .sparse = true }), 0);
	assert_content(f, "zeros", data + (2 << 20), 1 << 20);
	assert_true(stat_of(f, "zeros").st_blocks < 16);
}

static void test_reservation(void **state)
{
	struct fixture *f = *state;
	struct put_opts o = { .size_hint = 8 << 20 };

	/* fewer bytes than announced: the rest is given back */
	assert_int_equal(store_write(f->s, "file", "12345", 5, &o), 0);
	assert_content(f, "file", "12345", 5);
	assert_true(stat_of(f, "file").st_blocks < 64);
	/* more than there is: known before the first byte, and nothing is left (a filesystem that
	 * cannot reserve goes on) */
	o = (struct put_opts){ .size_hint = (uint64_t)15 << 40, .atomic = true };
	SCOPED_ARENA(a);
	if (store_put(a, f->s, "d/huge", &o) == NULL) {
		assert_non_null(strstr(err_msg(), ": [28] "));
		assert_failed(-1, ERR_FILE_WRITE);
	}
	arena_free(a);
	a = NULL;
	assert_names(f, "d", "");
}

/* repo-hardlink: a file of an earlier backup has the same inode and must keep its content. */
static void test_hard_link_keeps_its_content(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_write(f->s, "old/file", "earlier backup", 14, NULL), 0);
	assert_int_equal(store_make_dir(f->s, "new", 0), 0);
	assert_int_equal(link(full(f, "old/file"), full(f, "new/file")), 0);
	assert_int_equal(store_write(f->s, "new/file", "x", 1, NULL), 0);
	assert_content(f, "new/file", "x", 1);
	assert_content(f, "old/file", "earlier backup", 14);
}

/* What another program put under the name meanwhile is not ours to remove. */
static void test_undo_leaves_other_file(void **state)
{
	struct fixture *f = *state;
	const struct put_opts atomic = { .atomic = true };
	struct arena *a = arena_new();
	struct sink *to = store_put(a, f->s, "file", NULL);

	assert_int_equal(sink_write(to, "partial", 7), 0);
	assert_int_equal(store_write(f->s, "file", "whole", 5, &atomic), 0);
	arena_free(a);
	assert_content(f, "file", "whole", 5);
}

static void test_links_are_followed(void **state)
{
	struct fixture *f = *state;
	struct store_entry e;
	struct buf b;
	unsigned count = 0;

	buf_init(&b, f->a);
	assert_int_equal(store_write(f->s, "real/file", "12345", 5, NULL), 0);
	assert_int_equal(store_link(f->s, full(f, "real"), "link"), 0);
	assert_int_equal(store_link(f->s, "real/file", "file-link"), 0);
	assert_int_equal(store_link(f->s, "file-link", "link-link"), 0);
	assert_int_equal(store_link(f->s, "nowhere", "dangling"), 0);
	assert_int_equal(store_read(f->s, "link/file", 9, false, &b), 0);
	assert_int_equal(store_list(f->s, "link", count_entry, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(store_write(f->s, "file-link", "new", 3, NULL), 0);
	assert_content(f, "real/file", "new", 3);
	assert_int_equal(store_stat(f->a, f->s, "link", &e), 0);
	assert_int_equal(e.type, STORE_LINK);
	assert_string_equal(e.target, full(f, "real"));
	assert_int_equal(e.target_entry->type, STORE_DIR);
	assert_int_equal(store_stat(f->a, f->s, "file-link", &e), 0);
	assert_int_equal(e.target_entry->type, STORE_FILE);
	assert_int_equal(e.target_entry->size, 3);
	assert_int_equal(store_stat(f->a, f->s, "link-link", &e), 0);
	assert_int_equal(e.target_entry->type, STORE_LINK);
	assert_null(e.target_entry->target_entry);
	assert_int_equal(store_stat(f->a, f->s, "dangling", &e), 0);
	assert_null(e.target_entry);
	assert_int_equal(store_read(f->s, "dangling", 9, true, &b), STORE_ABSENT);

	struct store *through = store_posix(f->a, full(f, "link"));
	assert_int_equal(store_stat(f->a, through, "", &e), 0);
	assert_int_equal(e.type, STORE_DIR);
}

/* A pipe without a writer would hold a reader for ever. */
static void test_special_file(void **state)
{
	struct fixture *f = *state;
	struct store_entry e;
	struct buf b;

	buf_init(&b, f->a);
	assert_int_equal(mkfifo(full(f, "fifo"), 0600), 0);
	alarm(20);
	assert_failed(store_read(f->s, "fifo", 9, true, &b), ERR_FILE_READ);
	assert_failed(store_write(f->s, "fifo", "x", 1, NULL), ERR_FILE_OPEN);
	alarm(0);
	assert_int_equal(store_stat(f->a, f->s, "fifo", &e), 0);
	assert_int_equal(e.type, STORE_SPECIAL);
}

/* A file that was replaced while it is read is read to its end. */
static int replace(void *ctx, const struct store_entry *e)
{
	struct fixture *f = ctx;

	return store_write(f->s, "file", "new", 3, &(struct put_opts){ .atomic = true });
}

static void test_replaced_while_open(void **state)
{
	struct fixture *f = *state;
	const struct get_opts o = { .opened = replace, .ctx = f };
	struct buf b;

	buf_init(&b, f->a);
	assert_int_equal(store_write(f->s, "file", "the old one", 11, NULL), 0);
	assert_int_equal(store_get(f->s, "file", &o, sink_buf(f->a, &b)), 0);
	assert_string_equal(b.data, "the old one");
	assert_content(f, "file", "new", 3);
}

/* A long get ends soon after a termination signal; small files can still be read for the
 * clean-up. */
static void test_signal_ends_get(void **state)
{
	struct fixture *f = *state;
	char *data = arena_zalloc(f->a, 3 << 20);
	int status;

	assert_int_equal(store_write(f->s, "large", data, 3 << 20, NULL), 0);
	assert_int_equal(store_write(f->s, "small", data, 1000, NULL), 0);
	pid_t pid = fork();
	if (pid == 0) {
		sig_init();
		raise(SIGTERM);
		if (store_get(f->s, "small", NULL, sink_null(f->a)) != 0)
			_exit(1);
		if (store_get(f->s, "large", NULL, sink_null(f->a)) != -1 || err_code() != ERR_TERM)
			_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_modes_are_exact), T(test_mtime), T(test_order), T(test_order_of_parents),
		T(test_order_of_link), T(test_order_of_remove), T(test_failed_fsync),
		T(test_failed_close),
		T(test_failed_dir_sync), T(test_disk_full_at_each_write), T(test_odd_writes),
		T(test_each_call_fails), T(test_odd_reads), T(test_unknown_is_not_absent),
		T(test_entry_vanishes_while_listed), T(test_temp_name), T(test_sparse),
		T(test_reservation),
		T(test_hard_link_keeps_its_content), T(test_undo_leaves_other_file),
		T(test_links_are_followed), T(test_special_file), T(test_replaced_while_open),
		T(test_signal_ends_get),
	};

	return cmocka_run_group_tests_name("posix", tests, NULL, NULL);
}
