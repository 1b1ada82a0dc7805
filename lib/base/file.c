/*
 * file: whole small files and directories of this host.
 */
#include "base/file.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"

#define READ_SIZE ((size_t)64 * 1024)

static bool is_missing(int number)
{
	return number == ENOENT || number == ENOTDIR;
}

static int read_open_file(int fd, const char *path, size_t max, struct buf *b)
{
	for (size_t done = 0;;) {
		/* one byte more than allowed shows that there is more */
		size_t want = max - done < READ_SIZE ? max - done + 1 : READ_SIZE;

		buf_reserve(b, want);
		ssize_t n = sys_read_full(fd, b->data + b->len, want);
		if (n < 0)
			return err_sys(ERR_FILE_READ, "unable to read '%s'", path);
		done += (size_t)n;
		if (done > max)
			return err_set(ERR_FILE_READ,
				"unable to read '%s': file is larger than %zu bytes", path, max);
		b->len += (size_t)n;
		b->data[b->len] = '\0';
		if ((size_t)n < want)
			return 0;
	}
}

int file_read(const char *path, size_t max, struct buf *b)
{
	size_t before = b->len;
	int fd = sys.open(path, O_RDONLY, 0);

	if (fd < 0 && is_missing(errno))
		return err_set(ERR_FILE_MISSING, "unable to open missing file '%s' for read", path);
	if (fd < 0)
		return err_sys(ERR_FILE_OPEN, "unable to open file '%s' for read", path);
	int result = read_open_file(fd, path, max, b);
	/* nothing was written through it, so closing loses nothing */
	sys.close(fd);
	if (result != 0) {
		b->len = before;
		b->data[before] = '\0';
	}
	return result;
}

/* Fill a new file and close it, whatever happens. */
static int write_new_file(int fd, const char *path, const void *data, size_t len, mode_t mode)
{
	int result = 0;

	/* the mode given to open is subject to the umask */
	if (fchmod(fd, mode) != 0)
		result = err_sys(ERR_FILE_MODE, "unable to set mode for file '%s'", path);
	else if (sys_write_full(fd, data, len) != 0)
		result = err_sys(ERR_FILE_WRITE, "unable to write '%s'", path);
	else if (sys.fsync(fd) != 0)
		result = err_sys(ERR_FILE_SYNC, "unable to sync file '%s'", path);
	if (sys.close(fd) != 0 && result == 0)
		result = err_sys(ERR_FILE_CLOSE, "unable to close file '%s'", path);
	return result;
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode)
{
	SCOPED_ARENA(a);
	uint32_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return err_sys(ERR_KERNEL, "unable to get random bytes");
	const char *temp =
		arena_printf(a, "%s.%ld-%08x.pgbackrest.tmp", path, (long)getpid(), random);
	int fd = sys.open(temp, O_WRONLY | O_CREAT | O_EXCL, mode);
	if (fd < 0 && is_missing(errno))
		return err_set(ERR_FILE_MISSING,
			"unable to open file '%s' for write in missing path '%s'", path,
			path_parent(a, path));
	if (fd < 0)
		return err_sys(ERR_FILE_OPEN, "unable to open file '%s' for write", path);
	int result = write_new_file(fd, path, data, len, mode);
	if (result == 0 && sys.rename(temp, path) != 0)
		result = err_sys(ERR_FILE_MOVE, "unable to move '%s' to '%s'", temp, path);
	if (result != 0) {
		/* the first failure is the one to report; a leftover shows by its name */
		sys.unlink(temp);
		return -1;
	}
	const char *parent = path_parent(a, path);
	return dir_sync(parent[0] == '\0' ? "." : parent);
}

int file_exists(const char *path)
{
	struct stat st;

	if (sys.stat(path, &st) == 0)
		return 1;
	if (is_missing(errno))
		return 0;
	return err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", path);
}

int dir_make(const char *path, mode_t mode)
{
	SCOPED_ARENA(a);
	struct stat st;
	const char *parent = path_parent(a, path);

	if (sys.mkdir(path, mode) == 0)
		return 0;
	if (errno == ENOENT && parent[0] != '\0' && strcmp(parent, path) != 0) {
		if (dir_make(parent, mode) != 0)
			return -1;
		if (sys.mkdir(path, mode) == 0)
			return 0;
	}
	int number = errno;
	/* a directory that is there already is fine, even where making one is not allowed */
	if (sys.stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	errno = number;
	return err_sys(ERR_PATH_CREATE, "unable to create path '%s'", path);
}

int dir_sync(const char *path)
{
	int fd = sys.open(path, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0 && is_missing(errno))
		return err_set(ERR_PATH_MISSING, "unable to sync missing path '%s'", path);
	if (fd < 0)
		return err_sys(ERR_PATH_OPEN, "unable to open path '%s' for sync", path);
	int result = 0;
	if (sys.fsync(fd) != 0)
		result = err_sys(ERR_PATH_SYNC, "unable to sync path '%s'", path);
	if (sys.close(fd) != 0 && result == 0)
		result = err_sys(ERR_PATH_CLOSE, "unable to close path '%s' after sync", path);
	return result;
}

int dir_list(struct arena *a, const char *path, struct dir_names *out)
{
	strvec names;
	DIR *dir = sys.opendir(path);

	if (dir == NULL && is_missing(errno))
		return err_set(
			ERR_PATH_MISSING, "unable to list file info for missing path '%s'", path);
	if (dir == NULL)
		return err_sys(ERR_PATH_OPEN, "unable to list file info for path '%s'", path);
	vec_init(&names, a);
	const struct dirent *entry;
	while (errno = 0, (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			vec_push(&names, arena_strdup(a, entry->d_name));
	}
	int number = errno;
	closedir(dir);
	if (number != 0) {
		errno = number;
		return err_sys(ERR_PATH_OPEN, "unable to list file info for path '%s'", path);
	}
	qsort(names.v, names.n, sizeof(*names.v), str_cmp_ptr);
	*out = (struct dir_names){.v = names.v, .n = names.n};
	return 0;
}

static void close_deferred(void *ctx)
{
	sys.close((int)(intptr_t)ctx);
}

void fd_defer_close(struct arena *a, int fd)
{
	arena_defer(a, close_deferred, (void *)(intptr_t)fd);
}
