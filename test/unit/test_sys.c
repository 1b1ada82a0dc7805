/* sys: whole transfers, renaming without replacing, injected faults; lazy: libraries. */
#ifdef HAVE_CONFIG_H
#include "config-build.h"
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/lazy.h"
#include "base/path.h"
#include "base/sys.h"

static char folder[] = "/tmp/test_sys_XXXXXX";
static struct sys_calls plain;

static int make_folder(void **state)
{
	plain = sys;
	return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
	SCOPED_ARENA(a);

	return system(arena_printf(a, "rm -rf %s", folder));
}

static int clear(void **state)
{
	sys = plain;
	err_clear();
	return 0;
}

/* One byte at a time, interrupted before each. */
static bool interrupt_now;
static ssize_t stutter_read(int fd, void *data, size_t len)
{
	interrupt_now = !interrupt_now;
	if (!interrupt_now)
		return plain.read(fd, data, 1);
	errno = EINTR;
	return -1;
}
static ssize_t stutter_write(int fd, const void *data, size_t len)
{
	interrupt_now = !interrupt_now;
	if (!interrupt_now)
		return plain.write(fd, data, 1);
	errno = EINTR;
	return -1;
}

static void transfers_are_whole(void **state)
{
	int ends[2];
	char text[20] = "";

	assert_int_equal(pipe(ends), 0);
	sys.read = stutter_read;
	sys.write = stutter_write;
	assert_int_equal(sys_write_full(ends[1], "0123456789", 10), 0);
	close(ends[1]);
	assert_int_equal(sys_read_full(ends[0], text, 4), 4);
	assert_string_equal(text, "0123");
	assert_int_equal(sys_read_full(ends[0], text, 20), 6);
	assert_int_equal(sys_read_full(ends[0], text, 20), 0);
	close(ends[0]);
	assert_int_equal(sys_read_full(-1, text, 1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(sys_write_full(-1, text, 1), -1);
	assert_int_equal(sys_write_full(-1, text, 0), 0);
}

static void put(const char *path, const char *content)
{
	assert_int_equal(file_replace(path, content, strlen(content), 0600), 0);
}

static void rename_new_never_replaces(void **state)
{
	SCOPED_ARENA(a);
	const char *from = path_join(a, folder, "from"), *to = path_join(a, folder, "to");
	struct buf b;

	put(from, "new");
	put(to, "old");
	assert_int_equal(sys.rename_new(from, to), -1);
	assert_int_equal(errno, EEXIST);
	buf_init(&b, a);
	assert_int_equal(file_read(to, 10, &b), 0);
	assert_string_equal(b.data, "old");
	assert_int_equal(unlink(to), 0);
	assert_int_equal(sys.rename_new(from, to), 0);
	assert_int_equal(file_exists(from), 0);
	assert_int_equal(file_exists(to), 1);
	assert_int_equal(sys.rename_new(from, to), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(sys.utime(to, 1234567890), 0);
	struct stat st;
	assert_int_equal(sys.stat(to, &st), 0);
	assert_int_equal(st.st_mtime, 1234567890);
	assert_int_equal(st.st_atime, 1234567890);
}

static void libraries_load_on_first_use(void **state)
{
	double (*cosine)(double) = NULL;
	double (*other)(double) = NULL;
	const struct lazy_symbol good[] = {{"cos", (void **)&cosine}, {NULL, NULL}};
	const struct lazy_symbol bad[] = {
		{"cos", (void **)&other}, {"no_such_function", NULL}, {NULL, NULL}};

	assert_int_equal(lazy_load("libm.so.6", "libc6", good), 0);
	assert_true(cosine(0.0) == 1.0);
	assert_int_equal(lazy_load("libm.so.6", "libc6", good), 0);
	assert_int_equal(lazy_load("libm.so.6", "libc6", bad), -1);
	assert_int_equal(err_code(), ERR_EXECUTE);
	assert_null(other);
	assert_int_equal(lazy_load("libmissing.so.9", "libmissing9", good), -1);
	assert_int_equal(err_code(), ERR_EXECUTE);
	assert_non_null(strstr(err_msg(), "libmissing.so.9"));
	assert_string_equal(err_hints(), "HINT: install the Debian package 'libmissing9'.");
}

#ifdef ENABLE_FAULTS
/* Run body in a child with faults as the environment says; its wait status. */
static int run_faulty(const char *fault, const char *count_file, int (*body)(const char *path))
{
	SCOPED_ARENA(a);
	const char *path = path_join(a, folder, "state");
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (fault != NULL)
			setenv("PGSTRATA_FAULT", fault, 1);
		if (count_file != NULL)
			setenv("PGSTRATA_FAULT_COUNT", count_file, 1);
		sys_init();
		int code = body(path);
		if (count_file != NULL)
			exit(code);
		_exit(code);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int replace_state(const char *path)
{
	return file_replace(path, "new state", 9, 0600) == 0 ? 0 : (int)err_code();
}

static int replace_in_child(const char *path)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(replace_state(path));
	if (waitpid(pid, &status, 0) != pid || status != 0)
		return 1;
	return replace_state(path);
}

static long counted(int (*body)(const char *), const char *fault)
{
	SCOPED_ARENA(a);
	const char *count_file = path_join(a, folder, "count");
	struct buf b;

	unlink(count_file);
	int status = run_faulty(fault, count_file, body);
	assert_true(WIFEXITED(status));
	buf_init(&b, a);
	assert_int_equal(file_read(count_file, 100, &b), 0);
	assert_int_equal(b.data[b.len - 1], '\n');
	return strtol(b.data, NULL, 10);
}

/* open, write, fsync, rename, fsync of the directory */
static void changes_are_counted_over_the_family(void **state)
{
	assert_int_equal(counted(replace_state, NULL), 5);
	assert_int_equal(counted(replace_in_child, NULL), 10);
	assert_int_equal(counted(replace_state, "fsync:0:EIO"), 2);
}

static void every_kill_leaves_old_or_new(void **state)
{
	SCOPED_ARENA(a);
	const char *path = path_join(a, folder, "state");

	for (int n = 1; n <= 6; n++) {
		struct buf b;

		put(path, "old state");
		int status = run_faulty(arena_printf(a, "any:%d:kill", n), NULL, replace_state);
		assert_int_equal(status, n <= 5 ? SIGKILL : 0);
		buf_init(&b, a);
		assert_int_equal(file_read(path, 100, &b), 0);
		assert_string_equal(b.data, n <= 4 ? "old state" : "new state");
	}
}

static int write_twice(const char *path)
{
	int fd = sys.open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	int first = sys.write(fd, "0123456789", 10) == 10 ? 0 : errno;
	int second = sys.write(fd, "0123456789", 10) == 10 ? 0 : errno;
	int third = sys.write(fd, "0123456789", 10) == 10 ? 0 : errno;

	return (first != 0) | (second != 0) << 1 | (third != 0) << 2;
}

static int write_short(const char *path)
{
	int fd = sys.open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (sys.write(fd, "0123456789", 10) != 5 || sys.write(fd, "x", 1) != 1)
		return 1;
	return sys_write_full(fd, "0123456789", 10) == 0 ? 0 : 2;
}

static int open_to_read(const char *path)
{
	int fd = sys.open(path, O_RDONLY, 0);

	return fd >= 0 ? 0 : errno;
}

static void the_nth_call_fails(void **state)
{
	assert_int_equal(run_faulty("write:1:EIO", NULL, write_twice), 1 << 8);
	assert_int_equal(run_faulty("write:2:ENOSPC", NULL, write_twice), 2 << 8);
	assert_int_equal(run_faulty("write:2:EIO:forever", NULL, write_twice), 6 << 8);
	assert_int_equal(run_faulty("write:9:EIO", NULL, write_twice), 0);
	assert_int_equal(run_faulty("write:1:short:forever", NULL, write_short), 0);
	assert_int_equal(run_faulty("any:1:EROFS", NULL, open_to_read), 0);
	assert_int_equal(run_faulty("open:1:EMFILE", NULL, open_to_read), EMFILE << 8);
	assert_int_equal(run_faulty("fsync:1:EIO", NULL, replace_state), ERR_FILE_SYNC << 8);
	assert_int_equal(run_faulty("fsync:2:EIO", NULL, replace_state), ERR_PATH_SYNC << 8);
	assert_int_equal(run_faulty("rename:1:EACCES", NULL, replace_state), ERR_FILE_MOVE << 8);
}

static int nothing(const char *path)
{
	return 0;
}

static void a_malformed_fault_is_no_test(void **state)
{
	static const char *const bad[] = {"", "write", "write:1", "write:x:EIO", "write:1:EXXX",
		"writes:1:EIO", "write:1:EIO:ever", "write:1:EIO:forever:x", "write:-1:EIO"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(run_faulty(bad[i], NULL, nothing), 25 << 8);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(transfers_are_whole, clear),
		cmocka_unit_test_setup(rename_new_never_replaces, clear),
		cmocka_unit_test_setup(libraries_load_on_first_use, clear),
#ifdef ENABLE_FAULTS
		cmocka_unit_test_setup(changes_are_counted_over_the_family, clear),
		cmocka_unit_test_setup(every_kill_leaves_old_or_new, clear),
		cmocka_unit_test_setup(the_nth_call_fails, clear),
		cmocka_unit_test_setup(a_malformed_fault_is_no_test, clear),
#endif
	};

	return cmocka_run_group_tests_name("sys", tests, make_folder, remove_folder);
}
