/*
 * sys_fault: count system calls and spoil the n-th.  The count lies in memory that is shared with
 * forked workers: a loop over every n reaches each call of the whole family once.
 */
#include "base/sys_fault.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/str.h"
#include "base/sys.h"

/* X(name, changes): the members of struct sys_calls; "any" counts those that change something. */
// clang-format off
#define CALL_LIST(X) \
	X(open, true) X(close, false) X(read, false) X(pread, false) X(write, true) \
	X(pwrite, true) X(fsync, true) X(ftruncate, true) X(rename, true) X(rename_new, true) \
	X(link, true) X(symlink, true) X(unlink, true) X(mkdir, true) X(rmdir, true) \
	X(stat, false) X(lstat, false) X(fstat, false) X(chmod, true) X(lchown, true) \
	X(utime, true) X(opendir, false) X(getrandom, false)
// clang-format on

#define CALL_ENUM(name, changes) CALL_##name,
enum call { CALL_LIST(CALL_ENUM) CALL_ANY };
#define CALL_NAME(name, changes) #name,
static const char *const call_names[] = {CALL_LIST(CALL_NAME) "any"};
#define CALL_CHANGES(name, changes) changes,
static const bool call_changes[] = {CALL_LIST(CALL_CHANGES) false};

enum action { ACTION_FAIL, ACTION_SHORT, ACTION_KILL, ACTION_STOP };

static struct sys_calls real;
static struct {
	enum call call;
	uint64_t n;
	enum action action;
	int number; /* errno of ACTION_FAIL */
	bool forever;
	uint64_t *count; /* shared */
	const char *count_file;
	pid_t pid;
} fault;

/* Count a call if it is of the chosen kind; true if it is the one to spoil. */
static bool is_chosen(enum call call, bool changes)
{
	if (fault.call == CALL_ANY ? !changes : fault.call != call)
		return false;
	uint64_t at = __atomic_add_fetch(fault.count, 1, __ATOMIC_SEQ_CST);
	if (fault.n == 0 || (fault.forever ? at < fault.n : at != fault.n))
		return false;
	if (fault.action == ACTION_KILL || fault.action == ACTION_STOP)
		kill(getpid(), fault.action == ACTION_KILL ? SIGKILL : SIGSTOP);
	return true;
}

/* True, with errno set, if the call must fail. */
static bool fails(enum call call, bool changes)
{
	if (!is_chosen(call, changes) || fault.action != ACTION_FAIL)
		return false;
	errno = fault.number;
	return true;
}

/* As fails; a short transfer cuts *len instead, but never to nothing, which would mean the end. */
static bool transfer_fails(enum call call, size_t *len)
{
	if (!is_chosen(call, call_changes[call]))
		return false;
	if (fault.action == ACTION_SHORT) {
		*len = (*len + 1) / 2;
		return false;
	}
	errno = fault.number;
	return true;
}

static int fault_open(const char *path, int flags, mode_t mode)
{
	bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;

	return fails(CALL_open, changes) ? -1 : real.open(path, flags, mode);
}

static ssize_t fault_read(int fd, void *data, size_t len)
{
	return transfer_fails(CALL_read, &len) ? -1 : real.read(fd, data, len);
}

static ssize_t fault_pread(int fd, void *data, size_t len, off_t offset)
{
	return transfer_fails(CALL_pread, &len) ? -1 : real.pread(fd, data, len, offset);
}

static ssize_t fault_write(int fd, const void *data, size_t len)
{
	return transfer_fails(CALL_write, &len) ? -1 : real.write(fd, data, len);
}

static ssize_t fault_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return transfer_fails(CALL_pwrite, &len) ? -1 : real.pwrite(fd, data, len, offset);
}

static ssize_t fault_getrandom(void *data, size_t len, unsigned flags)
{
	return transfer_fails(CALL_getrandom, &len) ? -1 : real.getrandom(data, len, flags);
}

/* A failing close has closed the descriptor all the same, as on Linux. */
static int fault_close(int fd)
{
	bool failing = fails(CALL_close, false);
	int number = errno;
	int result = real.close(fd);

	if (!failing)
		return result;
	errno = number;
	return -1;
}

static DIR *fault_opendir(const char *path)
{
	return fails(CALL_opendir, false) ? NULL : real.opendir(path);
}

#define PLAIN_CALL(name, params, args)                                                             \
	static int fault_##name params                                                             \
	{                                                                                          \
		return fails(CALL_##name, call_changes[CALL_##name]) ? -1 : real.name args;        \
	}
PLAIN_CALL(fsync, (int fd), (fd))
PLAIN_CALL(ftruncate, (int fd, off_t len), (fd, len))
PLAIN_CALL(rename, (const char *from, const char *to), (from, to))
PLAIN_CALL(rename_new, (const char *from, const char *to), (from, to))
PLAIN_CALL(link, (const char *from, const char *to), (from, to))
PLAIN_CALL(symlink, (const char *target, const char *path), (target, path))
PLAIN_CALL(unlink, (const char *path), (path))
PLAIN_CALL(mkdir, (const char *path, mode_t mode), (path, mode))
PLAIN_CALL(rmdir, (const char *path), (path))
PLAIN_CALL(stat, (const char *path, struct stat *st), (path, st))
PLAIN_CALL(lstat, (const char *path, struct stat *st), (path, st))
PLAIN_CALL(fstat, (int fd, struct stat *st), (fd, st))
PLAIN_CALL(chmod, (const char *path, mode_t mode), (path, mode))
PLAIN_CALL(lchown, (const char *path, uid_t uid, gid_t gid), (path, uid, gid))
PLAIN_CALL(utime, (const char *path, time_t mtime), (path, mtime))

static bool parse_action(const char *word)
{
	static const struct {
		const char *name;
		int number;
	} failures[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EACCES", EACCES}, {"EMFILE", EMFILE},
		{"EROFS", EROFS}};

	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		if (strcmp(word, failures[i].name) == 0) {
			fault.action = ACTION_FAIL;
			fault.number = failures[i].number;
			return true;
		}
	}
	fault.action = strcmp(word, "kill") == 0 ? ACTION_KILL :
		strcmp(word, "stop") == 0	 ? ACTION_STOP :
						   ACTION_SHORT;
	return fault.action != ACTION_SHORT || strcmp(word, "short") == 0;
}

static bool parse_call(const char *word)
{
	for (size_t i = 0; i <= CALL_ANY; i++) {
		if (strcmp(word, call_names[i]) == 0) {
			fault.call = (enum call)i;
			return true;
		}
	}
	return false;
}

static bool parse_fault(const char *text)
{
	SCOPED_ARENA(a);
	strvec parts = str_split(a, text, ':');

	if (parts.n < 3 || parts.n > 4)
		return false;
	fault.forever = parts.n == 4;
	if (fault.forever && strcmp(parts.v[3], "forever") != 0)
		return false;
	return parse_call(parts.v[0]) && str_to_u64(parts.v[1], &fault.n) &&
	       parse_action(parts.v[2]);
}

static void report_count(void)
{
	/* a forked child that exits the ordinary way must not report a second time */
	if (getpid() != fault.pid)
		return;
	FILE *f = fopen(fault.count_file, "ae");
	if (f == NULL)
		return;
	fprintf(f, "%llu\n", (unsigned long long)*fault.count);
	fclose(f);
}

static void replace_table(void)
{
	real = sys;
#define REPLACE(name, changes) sys.name = fault_##name;
	CALL_LIST(REPLACE)
#undef REPLACE
}

void sys_fault_install(void)
{
	const char *text = getenv("PGSTRATA_FAULT");

	fault.count_file = getenv("PGSTRATA_FAULT_COUNT");
	if ((text == NULL && fault.count_file == NULL) || fault.count != NULL)
		return;
	fault.call = CALL_ANY;
	fault.pid = getpid();
	fault.count = mmap(NULL, sizeof(*fault.count), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fault.count == MAP_FAILED || (text != NULL && !parse_fault(text))) {
		fprintf(stderr, "ERROR: [025]: invalid PGSTRATA_FAULT '%s'\n", text);
		_exit(25);
	}
	if (fault.count_file != NULL)
		atexit(report_count);
	replace_table();
}
