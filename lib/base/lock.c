/*
 * lock: flock on a file whose name is removed by its holder.
 *
 * Always true of a lock returned by lock_take: the descriptor is locked, and at that moment the
 * name led to the same inode.  A file that lies around unlocked is stale and is taken over.
 */
#include "base/lock.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"

#define CONTENT_MAX 4096
#define RACE_RETRIES 10
#define BUSY_RETRIES 2
#define BUSY_WAIT_MS 10
#define PROGRESS_STEP 10 /* hundredths of a percent */

struct lock {
	const char *path;
	const char *exec_id;
	int fd;	      /* -1 if the lock belongs to our family's main process */
	bool writes;  /* exclusive and ours: content and removal are our business */
	pid_t holder; /* the process that took it */
	bool has_progress;
	uint64_t progress; /* written last, hundredths of a percent */
};

static bool is_same_file(const struct lock *l)
{
	struct stat held, named;

	return sys.fstat(l->fd, &held) == 0 && sys.lstat(l->path, &named) == 0 &&
	       held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

static void release(void *ctx)
{
	struct lock *l = ctx;

	if (l->fd < 0)
		return;
	/* removed while it is still held; a name that leads elsewhere is somebody else's */
	if (l->writes && l->holder == getpid() && is_same_file(l))
		sys.unlink(l->path);
	sys.close(l->fd);
}

/* Who this process is on disk, and what it lacks. */
static void hint_rights(const char *path)
{
	const struct passwd *user = getpwuid(geteuid());
	const struct group *group = getgrgid(getegid());

	err_hint("user '%s' or group '%s' needs write access to file '%s' and its path.",
		user != NULL ? user->pw_name : "[unknown]",
		group != NULL ? group->gr_name : "[unknown]", path);
}

static int open_failure(const char *path)
{
	bool denied = errno == EACCES;

	err_set(ERR_LOCK, "unable to acquire lock on file '%s': %s", path, strerror(errno));
	if (denied)
		hint_rights(path);
	return -1;
}

static int open_lock(struct lock *l, const char *dir, enum lock_mode mode)
{
	/* the default lock path lies below /tmp: no links planted there are followed */
	int flags = (mode == LOCK_EXCLUSIVE ? O_RDWR : O_RDONLY) | O_CREAT | O_NOFOLLOW;

	l->fd = sys.open(l->path, flags, 0640);
	if (l->fd < 0 && errno == ENOENT) {
		if (dir_make(dir, 0750) != 0)
			return -1;
		l->fd = sys.open(l->path, flags, 0640);
	}
	return l->fd < 0 ? open_failure(l->path) : 0;
}

static int flock_now(int fd, int operation)
{
	int result;

	do {
		result = flock(fd, operation | LOCK_NB);
	} while (result != 0 && errno == EINTR);
	return result;
}

/* Lock the open file.  Who merely looks whether a lock is held has it for an instant: that must not
 * make a command fail, so a busy lock gets a second and a third try. */
static int flock_patiently(int fd, int operation)
{
	for (int i = 0;; i++) {
		if (flock_now(fd, operation) == 0)
			return 0;
		if (errno != EWOULDBLOCK || i == BUSY_RETRIES)
			return -1;
		clock_sleep(BUSY_WAIT_MS);
		errno = EWOULDBLOCK;
	}
}

/* The first JSON object of a lock file; a tail of older content may follow it. */
static int read_content(int fd, char text[CONTENT_MAX])
{
	ssize_t n = sys.pread(fd, text, CONTENT_MAX - 1, 0);

	if (n < 0)
		return -1;
	text[n] = '\0';
	char *end = strchr(text, '}');
	if (end != NULL)
		*end = '\0';
	return 0;
}

/* The text behind "key": in the object, or NULL.  No value holds quotes of its own. */
static const char *find_value(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = strchr(text, '"'); p != NULL; p = strchr(p + 1, '"')) {
		if (strncmp(p + 1, key, len) == 0 && strncmp(p + 1 + len, "\":", 2) == 0)
			return p + len + 3;
	}
	return NULL;
}

static bool find_number(const char *text, const char *key, uint64_t *out)
{
	char digits[24];
	const char *value = find_value(text, key);

	if (value == NULL)
		return false;
	size_t len = strspn(value, "0123456789");
	if (len >= sizeof(digits))
		return false;
	memcpy(digits, value, len);
	digits[len] = '\0';
	return str_to_u64(digits, out);
}

/* Does the holder's content name our exec id? */
static bool is_own_family(const struct lock *l)
{
	char text[CONTENT_MAX];
	size_t len = strlen(l->exec_id);

	if (read_content(l->fd, text) != 0)
		return false;
	const char *value = find_value(text, "execId");
	return value != NULL && value[0] == '"' && strncmp(value + 1, l->exec_id, len) == 0 &&
	       value[1 + len] == '"';
}

static int busy_failure(struct lock *l)
{
	int number = errno;

	/* the main process of our family holds it for us */
	if (number == EWOULDBLOCK && is_own_family(l)) {
		sys.close(l->fd);
		l->fd = -1;
		l->writes = false;
		return 0;
	}
	err_set(ERR_LOCK, "unable to acquire lock on file '%s': %s", l->path, strerror(number));
	if (number == EWOULDBLOCK)
		err_hint("is another pgStrata or pgBackRest process running?");
	sys.close(l->fd);
	return -1;
}

/* Open and lock until the locked file is the one that bears the name. */
static int acquire(struct lock *l, const char *dir, enum lock_mode mode)
{
	for (int i = 0; i < RACE_RETRIES; i++) {
		if (open_lock(l, dir, mode) != 0)
			return -1;
		if (flock_patiently(l->fd, mode == LOCK_EXCLUSIVE ? LOCK_EX : LOCK_SH) != 0)
			return busy_failure(l);
		if (is_same_file(l))
			return 0;
		sys.close(l->fd);
	}
	return err_set(ERR_LOCK,
		"unable to acquire lock on file '%s': file is removed again and again", l->path);
}

/* In place, so that readers always find the inode that is locked; the tail goes last. */
static int write_content(struct lock *l, const char *text)
{
	size_t len = strlen(text);
	ssize_t n = sys.pwrite(l->fd, text, len, 0);

	if (n >= 0 && (size_t)n != len)
		errno = ENOSPC;
	if (n < 0 || (size_t)n != len || sys.ftruncate(l->fd, (off_t)len) != 0)
		return err_sys(ERR_FILE_WRITE, "unable to write lock file '%s'", l->path);
	return 0;
}

static int write_first_content(struct arena *a, struct lock *l)
{
	if (!str_all(l->exec_id, strlen(l->exec_id), "0123456789abcdefABCDEF-"))
		return err_set(ERR_ASSERT, "exec id '%s' is not PID-XXXXXXXX", l->exec_id);
	const char *text =
		arena_printf(a, "{\"execId\":\"%s\",\"pid\":%ld}", l->exec_id, (long)l->holder);
	return write_content(l, text);
}

struct lock *lock_take(struct arena *a, const char *dir, const char *name, enum lock_mode mode,
	const char *exec_id)
{
	struct lock *l = arena_new_object(a, struct lock);

	l->path = path_join(a, dir, name);
	l->exec_id = arena_strdup(a, exec_id);
	l->holder = getpid();
	l->writes = mode == LOCK_EXCLUSIVE;
	if (acquire(l, dir, mode) != 0)
		return NULL;
	arena_defer(a, release, l);
	if (l->writes && write_first_content(a, l) != 0) {
		/* a lock whose holder believes to have failed must not stay until the arena ends */
		release(l);
		l->fd = -1;
		return NULL;
	}
	return l;
}

int lock_adopt(struct arena *a, struct lock *l)
{
	if (l->fd < 0)
		return 0;
	l->holder = getpid();
	return l->writes ? write_first_content(a, l) : 0;
}

void lock_leave(struct lock *l)
{
	if (l->fd >= 0)
		sys.close(l->fd);
	l->fd = -1;
}

int lock_descriptor(const struct lock *l)
{
	return l->fd;
}

int lock_progress(struct lock *l, uint64_t size, uint64_t complete)
{
	SCOPED_ARENA(a);

	if (!l->writes)
		return 0;
	uint64_t hundredths =
		complete >= size ? 10000 : (uint64_t)((double)complete / (double)size * 10000);
	if (l->has_progress && hundredths < l->progress + PROGRESS_STEP)
		return 0;
	l->has_progress = true;
	l->progress = hundredths;
	const char *text = arena_printf(a,
		"{\"execId\":\"%s\",\"pctCplt\":%" PRIu64 ",\"pid\":%ld,\"sz\":%" PRIu64
		",\"szCplt\":%" PRIu64 "}",
		l->exec_id, hundredths, (long)l->holder, size, complete);
	return write_content(l, text);
}

static int look_at_open_file(int fd, const char *path, struct lock_state *out)
{
	char text[CONTENT_MAX];
	uint64_t pid;

	/* closing gives the test lock back */
	if (flock_now(fd, LOCK_SH) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return err_sys(ERR_LOCK, "unable to test lock on file '%s'", path);
	out->held = true;
	if (read_content(fd, text) != 0)
		return err_sys(ERR_FILE_READ, "unable to read '%s'", path);
	if (find_number(text, "pid", &pid) && pid <= INT64_MAX)
		out->pid = (int64_t)pid;
	out->has_progress =
		find_number(text, "sz", &out->size) && find_number(text, "szCplt", &out->complete);
	return 0;
}

int lock_look(const char *dir, const char *name, struct lock_state *out)
{
	SCOPED_ARENA(a);
	const char *path = path_join(a, dir, name);

	*out = (struct lock_state){0};
	int fd = sys.open(path, O_RDONLY | O_NOFOLLOW, 0);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (fd < 0)
		return err_sys(ERR_FILE_OPEN, "unable to open file '%s' for read", path);
	int result = look_at_open_file(fd, path, out);
	sys.close(fd);
	return result;
}

/* 1 if one of the descriptors listed leads to the file. */
static int find_open(DIR *fds, const char *folder, const struct stat *lock)
{
	const struct dirent *d;

	while (errno = 0, (d = readdir(fds)) != NULL) {
		SCOPED_ARENA(a);
		struct stat st;

		/* one that is closed meanwhile is none that we look for */
		if (sys.stat(path_join(a, folder, d->d_name), &st) == 0 && st.st_dev == lock->st_dev &&
			st.st_ino == lock->st_ino)
			return 1;
	}
	return errno == 0 ? 0 : -1;
}

int lock_is_open_in(const char *dir, const char *name, int64_t pid)
{
	SCOPED_ARENA(a);
	const char *folder = arena_printf(a, "/proc/%" PRId64 "/fd", pid);
	struct stat lock, self;

	if (sys.lstat(path_join(a, dir, name), &lock) != 0)
		return errno == ENOENT ? 0 : -1;
	DIR *fds = sys.opendir(folder);
	if (fds == NULL)
		return errno == ENOENT && sys.stat("/proc/self/fd", &self) == 0 ? 0 : -1;
	int found = find_open(fds, folder, &lock);
	closedir(fds);
	return found;
}
