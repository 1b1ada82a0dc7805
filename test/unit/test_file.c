/* file: what stands on disk after success and after each possible failure. */
#ifdef HAVE_CONFIG_H
#include "config-build.h"
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/path.h"
#include "base/sys.h"

static char folder[] = "/tmp/test_file_XXXXXX";
static struct sys_calls plain;

static int make_folder(void **state)
{
	plain = sys;
	return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
	SCOPED_ARENA(a);

	sys = plain;
	return system(arena_printf(a, "rm -rf %s", folder));
}

static int clear(void **state)
{
	sys = plain;
	err_clear();
	return 0;
}

static void assert_content(struct arena *a, const char *path, const char *content)
{
	struct buf b;

	buf_init(&b, a);
	assert_int_equal(file_read(path, 1000, &b), 0);
	assert_string_equal(b.data, content);
}

static void reads_up_to_the_limit(void **state)
{
	static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, 200000};
	SCOPED_ARENA(a);
	const char *path = path_join(a, folder, "sized");

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf b;
		char *data = arena_alloc(a, sizes[i]);

		memset(data, 'd', sizes[i]);
		assert_int_equal(file_replace(path, data, sizes[i], 0600), 0);
		buf_init(&b, a);
		buf_adds(&b, "before");
		assert_int_equal(file_read(path, sizes[i], &b), 0);
		assert_int_equal(b.len, 6 + sizes[i]);
		assert_int_equal(strspn(b.data + 6, "d"), sizes[i]);
		buf_reset(&b);
		assert_int_equal(file_read(path, sizes[i] + 1, &b), 0);
		assert_int_equal(b.len, sizes[i]);
		if (sizes[i] == 0)
			continue;
		buf_reset(&b);
		buf_adds(&b, "kept");
		assert_int_equal(file_read(path, sizes[i] - 1, &b), -1);
		assert_int_equal(err_code(), ERR_FILE_READ);
		assert_string_equal(b.data, "kept");
	}
}

static void read_failures_have_their_codes(void **state)
{
	SCOPED_ARENA(a);
	struct buf b;

	buf_init(&b, a);
	assert_int_equal(file_read("/missing/x", 10, &b), -1);
	assert_int_equal(err_code(), ERR_FILE_MISSING);
	assert_string_equal(err_msg(), "unable to open missing file '/missing/x' for read");
	assert_int_equal(file_read("/etc/passwd/x", 10, &b), -1);
	assert_int_equal(err_code(), ERR_FILE_MISSING);
	assert_int_equal(file_read(folder, 10, &b), -1);
	assert_int_equal(err_code(), ERR_FILE_READ);
	assert_non_null(strstr(err_msg(), ": [21] Is a directory"));
	assert_int_equal(b.len, 0);
}

static void mode_is_exact(void **state)
{
	SCOPED_ARENA(a);
	const char *path = path_join(a, folder, "mode");
	struct stat st;
	mode_t before = umask(077);

	assert_int_equal(file_replace(path, "x", 1, 0644), 0);
	umask(before);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(file_replace(path, "y", 1, 0400), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_content(a, path, "y");
}

static void a_relative_name_works(void **state)
{
	SCOPED_ARENA(a);
	char before[4096];

	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(file_replace("relative", "r", 1, 0600), 0);
	assert_content(a, "relative", "r");
	assert_int_equal(chdir(before), 0);
}

/* Stand-ins that fail; the write fails after half of the data. */
static char seen_name[256];
static int fail_open(const char *path, int flags, mode_t mode)
{
	if ((flags & O_CREAT) == 0)
		return plain.open(path, flags, mode);
	errno = EACCES;
	return -1;
}
static ssize_t fail_write(int fd, const void *data, size_t len)
{
	if (len > 1)
		return plain.write(fd, data, len / 2);
	errno = ENOSPC;
	return -1;
}
static int fail_fsync(int fd)
{
	errno = EIO;
	return -1;
}
static int fail_close(int fd)
{
	plain.close(fd);
	errno = EIO;
	return -1;
}
static int fail_rename(const char *from, const char *to)
{
	snprintf(seen_name, sizeof(seen_name), "%s", from);
	errno = EROFS;
	return -1;
}

static void replace_failing(const char *path, enum err_code code, const char *cause)
{
	SCOPED_ARENA(a);
	struct dir_names names;

	assert_int_equal(file_replace(path, "new content", 11, 0640), -1);
	assert_int_equal(err_code(), code);
	if (strstr(err_msg(), cause) == NULL)
		fail_msg("'%s' lacks '%s'", err_msg(), cause);
	sys = plain;
	assert_content(a, path, "old");
	assert_int_equal(dir_list(a, path_parent(a, path), &names), 0);
	assert_int_equal(names.n, 1);
}

static void failing_to_replace_leaves_the_old(void **state)
{
	SCOPED_ARENA(a);
	const char *dir = path_join(a, folder, "replace");
	const char *path = path_join(a, dir, "file");

	assert_int_equal(dir_make(dir, 0700), 0);
	assert_int_equal(file_replace(path, "old", 3, 0640), 0);
	sys.open = fail_open;
	replace_failing(path, ERR_FILE_OPEN, "for write: [13] ");
	sys.write = fail_write;
	replace_failing(path, ERR_FILE_WRITE, ": [28] No space left on device");
	sys.fsync = fail_fsync;
	replace_failing(path, ERR_FILE_SYNC, ": [5] ");
	sys.close = fail_close;
	replace_failing(path, ERR_FILE_CLOSE, ": [5] ");
	sys.rename = fail_rename;
	replace_failing(path, ERR_FILE_MOVE, ": [30] ");
}

static void temporary_names_are_recognised_as_such(void **state)
{
	SCOPED_ARENA(a);
	const char *path = path_join(a, folder, "named");
	const char *start = arena_printf(a, "%s.%ld-", path, (long)getpid());

	sys.rename = fail_rename;
	assert_int_equal(file_replace(path, "x", 1, 0640), -1);
	assert_int_equal(strncmp(seen_name, start, strlen(start)), 0);
	const char *rest = seen_name + strlen(start);
	assert_int_equal(strspn(rest, "0123456789abcdef"), 8);
	assert_string_equal(rest + 8, ".pgbackrest.tmp");
}

static void replacing_in_a_missing_directory(void **state)
{
	assert_int_equal(file_replace("/missing/file", "x", 1, 0640), -1);
	assert_int_equal(err_code(), ERR_FILE_MISSING);
}

static int fail_stat(const char *path, struct stat *st)
{
	errno = EIO;
	return -1;
}

static void existence_has_three_answers(void **state)
{
	assert_int_equal(file_exists(folder), 1);
	assert_int_equal(file_exists("/missing/x"), 0);
	assert_int_equal(file_exists("/etc/passwd/x"), 0);
	assert_int_equal(err_code(), ERR_NONE);
	sys.stat = fail_stat;
	assert_int_equal(file_exists(folder), -1);
	assert_int_equal(err_code(), ERR_FILE_INFO);
}

static void directories_are_made_with_parents(void **state)
{
	SCOPED_ARENA(a);
	const char *deep = path_join(a, folder, "a/b/c");
	const char *file = path_join(a, folder, "plain");
	struct stat st;

	assert_int_equal(dir_make(deep, 0750), 0);
	assert_int_equal(dir_make(deep, 0750), 0);
	assert_int_equal(dir_make("/", 0750), 0);
	assert_int_equal(stat(deep, &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(file_replace(file, "", 0, 0600), 0);
	assert_int_equal(dir_make(file, 0750), -1);
	assert_int_equal(err_code(), ERR_PATH_CREATE);
	assert_int_equal(dir_make(path_join(a, file, "x/y"), 0750), -1);
	assert_int_equal(err_code(), ERR_PATH_CREATE);
	assert_int_equal(dir_sync(deep), 0);
	assert_int_equal(dir_sync("/missing"), -1);
	assert_int_equal(err_code(), ERR_PATH_MISSING);
}

static void names_are_sorted(void **state)
{
	static const char *const names[] = {"b", ".hidden", "a-b", "a", "\xc3\xa4", "B"};
	static const char *const sorted[] = {".hidden", "B", "a", "a-b", "b", "\xc3\xa4"};
	SCOPED_ARENA(a);
	const char *dir = path_join(a, folder, "list");
	struct dir_names out;

	assert_int_equal(dir_make(dir, 0750), 0);
	assert_int_equal(dir_list(a, dir, &out), 0);
	assert_int_equal(out.n, 0);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(file_replace(path_join(a, dir, names[i]), "", 0, 0600), 0);
	assert_int_equal(dir_list(a, dir, &out), 0);
	assert_int_equal(out.n, 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(out.v[i], sorted[i]);
	assert_int_equal(dir_list(a, "/missing", &out), -1);
	assert_int_equal(err_code(), ERR_PATH_MISSING);
}

static void descriptors_close_with_the_arena(void **state)
{
	struct arena *a = arena_new();
	int fd = sys.open("/dev/null", O_RDONLY, 0);

	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	fd_defer_close(a, fd);
	arena_free(a);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(reads_up_to_the_limit, clear),
		cmocka_unit_test_setup(read_failures_have_their_codes, clear),
		cmocka_unit_test_setup(mode_is_exact, clear),
		cmocka_unit_test_setup(a_relative_name_works, clear),
		cmocka_unit_test_setup(failing_to_replace_leaves_the_old, clear),
		cmocka_unit_test_setup(temporary_names_are_recognised_as_such, clear),
		cmocka_unit_test_setup(replacing_in_a_missing_directory, clear),
		cmocka_unit_test_setup(existence_has_three_answers, clear),
		cmocka_unit_test_setup(directories_are_made_with_parents, clear),
		cmocka_unit_test_setup(names_are_sorted, clear),
		cmocka_unit_test_setup(descriptors_close_with_the_arena, clear),
	};

	return cmocka_run_group_tests_name("file", tests, make_folder, remove_folder);
}
