/* lock: two processes never hold one lock, and what the file says. */
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/lock.h"
#include "base/path.h"
#include "base/sys.h"

#define NAME "demo-backup-1.lock"
#define ID_A "1234-0123abcd"
#define ID_B "5678-89abcdef"

static char folder[] = "/tmp/test_lock_XXXXXX";
static char file_path[64];
static struct sys_calls plain;

static int make_folder(void **state)
{
	plain = sys;
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(file_path, sizeof(file_path), "%s/" NAME, folder);
	return 0;
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
	unlink(file_path);
	return 0;
}

static void assert_file_says(const char *text)
{
	SCOPED_ARENA(a);
	struct buf b;

	buf_init(&b, a);
	assert_int_equal(file_read(file_path, 1000, &b), 0);
	assert_string_equal(b.data, text);
}

/* A child tries the lock: 0 got it, else the error code.  It leaves with its arena freed. */
static int try_in_child(enum lock_mode mode, const char *id)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct arena *a = arena_new();
		struct lock *l = lock_take(a, folder, NAME, mode, id);
		int code = l != NULL ? 0 : (int)err_code();

		arena_free(a);
		_exit(code);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void exclusive_excludes_all_others(void **state)
{
	struct arena *a = arena_new();
	SCOPED_ARENA(tmp);

	assert_non_null(lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A));
	assert_file_says(
		arena_printf(tmp, "{\"execId\":\"" ID_A "\",\"pid\":%ld}", (long)getpid()));
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_B), 50);
	assert_int_equal(try_in_child(LOCK_SHARED, ID_B), 50);
	assert_null(lock_take(tmp, folder, NAME, LOCK_EXCLUSIVE, ID_B));
	assert_string_equal(err_msg(), arena_printf(tmp,
					       "unable to acquire lock on file '%s': "
					       "Resource temporarily unavailable",
					       file_path));
	assert_string_equal(
		err_hints(), "HINT: is another pgStrata or pgBackRest process running?");
	err_clear();
	assert_int_equal(file_exists(file_path), 1);
	arena_free(a);
	assert_int_equal(file_exists(file_path), 0);
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_B), 0);
	assert_int_equal(file_exists(file_path), 0);
}

static void shared_excludes_only_exclusive(void **state)
{
	struct arena *a = arena_new();

	assert_non_null(lock_take(a, folder, NAME, LOCK_SHARED, ID_A));
	assert_file_says("");
	assert_int_equal(try_in_child(LOCK_SHARED, ID_B), 0);
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_B), 50);
	arena_free(a);
	assert_int_equal(file_exists(file_path), 1);
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_B), 0);
}

static void the_same_exec_id_is_the_same_family(void **state)
{
	SCOPED_ARENA(a);

	struct lock *l = lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A);
	assert_int_equal(lock_progress(l, 1000, 500), 0);
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_A), 0);
	assert_int_equal(file_exists(file_path), 1);
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_B), 50);
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, "1234-0123abc"), 50);
}

static void a_child_does_not_release(void **state)
{
	struct arena *a = arena_new();
	int status;

	assert_non_null(lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A));
	pid_t pid = fork();
	if (pid == 0) {
		arena_free(a);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(file_exists(file_path), 1);
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_B), 50);
	arena_free(a);
	assert_int_equal(file_exists(file_path), 0);
}

/* The lock of a child that goes on alone is never free; it ends with the last who has its descriptor. */
static void a_child_goes_on_with_it(void **state)
{
	struct arena *a = arena_new();
	struct lock *l = lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A);
	int told[2], go[2];
	char byte = 0;

	assert_non_null(l);
	assert_true(lock_descriptor(l) > 2);
	assert_int_equal(pipe(told), 0);
	assert_int_equal(pipe(go), 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(go[1]);
		byte = lock_adopt(a, l) == 0;
		if (write(told[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 0)
			_exit(1);
		arena_free(a);
		_exit(0);
	}
	close(go[0]);
	lock_leave(l);
	assert_int_equal(lock_descriptor(l), -1);
	arena_free(a);
	assert_int_equal(read(told[0], &byte, 1), 1);
	assert_int_equal(byte, 1);
	SCOPED_ARENA(tmp);
	assert_file_says(arena_printf(tmp, "{\"execId\":\"" ID_A "\",\"pid\":%ld}", (long)pid));
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_B), 50);
	close(go[1]);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(file_exists(file_path), 0);
	close(told[0]);
	close(told[1]);
}

static void a_stale_file_is_taken_over(void **state)
{
	SCOPED_ARENA(a);
	static const char old[] =
		"{\"execId\":\"99-01234567\",\"pctCplt\":5901,\"pid\":99,\"sz\":72535153,"
		"\"szCplt\":42803200}";

	assert_int_equal(file_replace(file_path, old, sizeof(old) - 1, 0640), 0);
	assert_non_null(lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A));
	assert_file_says(arena_printf(a, "{\"execId\":\"" ID_A "\",\"pid\":%ld}", (long)getpid()));
}

/* Between our open and our lock, a holder releases: the file we opened has lost its name. */
static int removals;
static int open_and_lose(const char *path, int flags, mode_t mode)
{
	int fd = plain.open(path, flags, mode);

	if (removals > 0) {
		removals--;
		unlink(path);
	}
	return fd;
}

static void a_lock_on_a_removed_file_is_none(void **state)
{
	SCOPED_ARENA(a);

	sys.open = open_and_lose;
	removals = 3;
	assert_non_null(lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A));
	assert_int_equal(removals, 0);
	sys = plain;
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_B), 50);
	assert_int_equal(unlink(file_path), 0);
	sys.open = open_and_lose;
	removals = 1000;
	assert_null(lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A));
	assert_int_equal(err_code(), ERR_LOCK);
}

static void anothers_file_is_not_removed(void **state)
{
	struct arena *first = arena_new(), *second = arena_new();

	assert_non_null(lock_take(first, folder, NAME, LOCK_EXCLUSIVE, ID_A));
	assert_int_equal(unlink(file_path), 0); /* an administrator's mistake */
	assert_non_null(lock_take(second, folder, NAME, LOCK_EXCLUSIVE, ID_B));
	arena_free(first);
	assert_int_equal(file_exists(file_path), 1);
	arena_free(second);
	assert_int_equal(file_exists(file_path), 0);
}

/* Take and release the lock again and again; inside, an exclusively made file proves that one is
 * alone. Every process has an exec id of its own, or it would count as owner. */
static void fight(const char *witness, const char *id)
{
	int taken = 0;

	for (int i = 0; i < 2000 && taken < 200; i++) {
		SCOPED_ARENA(a);

		if (lock_take(a, folder, NAME, LOCK_EXCLUSIVE, id) == NULL) {
			if (err_code() != ERR_LOCK)
				_exit(1);
			err_clear();
			continue;
		}
		int fd = open(witness, O_CREAT | O_EXCL, 0600);
		if (fd < 0 || close(fd) != 0 || unlink(witness) != 0)
			_exit(2);
		taken++;
	}
	_exit(taken > 0 ? 0 : 3);
}

static void two_never_hold_it(void **state)
{
	static const char *const ids[] = {ID_A, ID_B, "1-00000000"};
	SCOPED_ARENA(a);
	const char *witness = path_join(a, folder, "witness");
	pid_t pids[3];

	for (int k = 0; k < 3; k++) {
		pids[k] = fork();
		if (pids[k] == 0)
			fight(witness, ids[k]);
	}
	for (int k = 0; k < 3; k++) {
		int status;

		assert_int_equal(waitpid(pids[k], &status, 0), pids[k]);
		assert_int_equal(status, 0);
	}
}

static void progress_is_written_in_steps(void **state)
{
	SCOPED_ARENA(a);
	struct lock *l = lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A);
	long pid = (long)getpid();

	assert_int_equal(lock_progress(l, 72535153, 42803200), 0);
	char expected[200];
	snprintf(expected, sizeof(expected),
		"{\"execId\":\"" ID_A "\",\"pctCplt\":5901,\"pid\":%ld,"
		"\"sz\":72535153,\"szCplt\":42803200}",
		pid);
	assert_file_says(expected);
	assert_int_equal(lock_progress(l, 72535153, 42803201), 0);
	assert_file_says(expected);
	assert_int_equal(lock_progress(l, 72535153, 72535153), 0);
	snprintf(expected, sizeof(expected),
		"{\"execId\":\"" ID_A "\",\"pctCplt\":10000,\"pid\":%ld,"
		"\"sz\":72535153,\"szCplt\":72535153}",
		pid);
	assert_file_says(expected);
}

static void looking_tells_what_the_holder_says(void **state)
{
	SCOPED_ARENA(a);
	struct lock_state s;

	assert_int_equal(lock_look(folder, NAME, &s), 0);
	assert_false(s.held);
	assert_int_equal(lock_look("/missing", NAME, &s), 0);
	assert_false(s.held);
	struct lock *l = lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A);
	assert_int_equal(lock_look(folder, NAME, &s), 0);
	assert_true(s.held);
	assert_false(s.has_progress);
	assert_int_equal(s.pid, getpid());
	assert_int_equal(lock_progress(l, 2000000, 1000000), 0);
	assert_int_equal(lock_look(folder, NAME, &s), 0);
	assert_true(s.has_progress);
	assert_int_equal(s.size, 2000000);
	assert_int_equal(s.complete, 1000000);
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_B), 50);
}

/* Whose file is open where, whatever the content says. */
static void who_has_it_open(void **state)
{
	SCOPED_ARENA(a);
	int ready[2], status;
	char c;

	assert_int_equal(lock_is_open_in(folder, NAME, getpid()), 0);
	assert_non_null(lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A));
	assert_int_equal(lock_is_open_in(folder, NAME, getpid()), 1);
	assert_int_equal(lock_is_open_in(folder, "other.lock", getpid()), 0);
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		for (int i = 3; i < 64; i++) /* the inherited lock too */
			if (i != ready[1])
				close(i);
		_exit(write(ready[1], "x", 1) == 1 ? pause() : 1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(lock_is_open_in(folder, NAME, pid), 0); /* alive, and not the holder */
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(lock_is_open_in(folder, NAME, pid), 0); /* gone */
	assert_int_equal(err_code(), ERR_NONE);
	close(ready[0]);
	close(ready[1]);
}

static void foreign_contents_are_survived(void **state)
{
	static const struct {
		const char *text;
		int64_t pid;
		bool progress;
	} cases[] = {
		{"", 0, false},
		{"{", 0, false},
		{"garbage", 0, false},
		{"{\"pid\":}", 0, false},
		{"{\"pid\":99999999999999999999999}", 0, false},
		{"{\"pid\":-1}", 0, false},
		{"{\"execId\":\"pid-1\",\"pid\":7}", 7, false},
		{"{\"execId\":\"1-2\",\"pid\":7}zCplt\":42803200,\"sz\":1,\"szCplt\":1}", 7, false},
		{"{\"execId\":\"20643-7ad1d388\",\"pctCplt\":6746,\"pid\":20643,\"sz\":1384456,"
		 "\"szCplt\":933888}",
			20643, true},
	};
	struct lock_state s;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(
			file_replace(file_path, cases[i].text, strlen(cases[i].text), 0640), 0);
		assert_int_equal(lock_look(folder, NAME, &s), 0);
		assert_false(s.held);
		int fd = open(file_path, O_RDONLY);
		assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
		assert_int_equal(lock_look(folder, NAME, &s), 0);
		assert_true(s.held);
		assert_int_equal(s.pid, cases[i].pid);
		assert_int_equal(s.has_progress, cases[i].progress);
		close(fd);
	}
}

static void the_directory_is_made(void **state)
{
	SCOPED_ARENA(a);
	const char *dir = path_join(a, folder, "new/dir");
	struct stat st;

	assert_non_null(lock_take(a, dir, NAME, LOCK_EXCLUSIVE, ID_A));
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(stat(path_join(a, dir, NAME), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static int deny(const char *path, int flags, mode_t mode)
{
	errno = EACCES;
	return -1;
}

static int fail_ftruncate(int fd, off_t len)
{
	errno = EIO;
	return -1;
}

static void failures_name_what_to_do(void **state)
{
	SCOPED_ARENA(a);

	sys.open = deny;
	assert_null(lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A));
	assert_int_equal(err_code(), ERR_LOCK);
	assert_string_equal(err_msg(), arena_printf(a,
					       "unable to acquire lock on file '%s': "
					       "Permission denied",
					       file_path));
	assert_non_null(strstr(err_hints(), "user '"));
	assert_non_null(strstr(err_hints(), "group '"));
	sys = plain;
	sys.ftruncate = fail_ftruncate;
	assert_null(lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A));
	assert_int_equal(err_code(), ERR_FILE_WRITE);
	sys = plain;
	assert_int_equal(try_in_child(LOCK_EXCLUSIVE, ID_B), 0);
	assert_null(lock_take(a, folder, NAME, LOCK_EXCLUSIVE, "1\",\"pid\":1"));
	assert_int_equal(err_code(), ERR_ASSERT);
	assert_int_equal(symlink("/etc/passwd", file_path), 0);
	assert_null(lock_take(a, folder, NAME, LOCK_EXCLUSIVE, ID_A));
	assert_int_equal(err_code(), ERR_LOCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(exclusive_excludes_all_others, clear),
		cmocka_unit_test_setup(shared_excludes_only_exclusive, clear),
		cmocka_unit_test_setup(the_same_exec_id_is_the_same_family, clear),
		cmocka_unit_test_setup(a_child_does_not_release, clear),
		cmocka_unit_test_setup(a_stale_file_is_taken_over, clear),
		cmocka_unit_test_setup(a_lock_on_a_removed_file_is_none, clear),
		cmocka_unit_test_setup(anothers_file_is_not_removed, clear),
		cmocka_unit_test_setup(two_never_hold_it, clear),
		cmocka_unit_test_setup(progress_is_written_in_steps, clear),
		cmocka_unit_test_setup(looking_tells_what_the_holder_says, clear),
		cmocka_unit_test_setup(who_has_it_open, clear),
		cmocka_unit_test_setup(a_child_goes_on_with_it, clear),
		cmocka_unit_test_setup(foreign_contents_are_survived, clear),
		cmocka_unit_test_setup(the_directory_is_made, clear),
		cmocka_unit_test_setup(failures_name_what_to_do, clear),
	};

	return cmocka_run_group_tests_name("lock", tests, make_folder, remove_folder);
}
