/*
 * sys: the real system calls.  Descriptors opened here close on exec: only workers, which are
 * forked without exec, share them.
 */
#ifdef HAVE_CONFIG_H
#include "config-build.h"
#endif
#include "base/sys.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>
#ifdef ENABLE_FAULTS
#include "base/sys_fault.h"
#endif

static int real_open(const char *path, int flags, mode_t mode)
{
	return open(path, flags | O_CLOEXEC, mode);
}

/* Filesystems without RENAME_NOREPLACE (NFS, some FUSE) have hard links, which refuse as well. */
static int real_rename_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (link(from, to) != 0)
		return -1;
	if (unlink(from) == 0)
		return 0;
	int number = errno;
	/* one name or the other, never both; if this fails too, both name the same complete file */
	unlink(to);
	errno = number;
	return -1;
}

static int real_utime(const char *path, time_t mtime)
{
	const struct timespec times[2] = {{.tv_sec = mtime}, {.tv_sec = mtime}};

	return utimensat(AT_FDCWD, path, times, 0);
}

struct sys_calls sys = {
	.open = real_open,
	.close = close,
	.read = read,
	.pread = pread,
	.write = write,
	.pwrite = pwrite,
	.fsync = fsync,
	.ftruncate = ftruncate,
	.rename = rename,
	.rename_new = real_rename_new,
	.link = link,
	.symlink = symlink,
	.unlink = unlink,
	.mkdir = mkdir,
	.rmdir = rmdir,
	.stat = stat,
	.lstat = lstat,
	.fstat = fstat,
	.chmod = chmod,
	.lchown = lchown,
	.utime = real_utime,
	.opendir = opendir,
	.getrandom = getrandom,
};

void sys_init(void)
{
#ifdef ENABLE_FAULTS
	sys_fault_install();
#endif
}

ssize_t sys_read_full(int fd, void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = sys.read(fd, (char *)data + done, len - done);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			done += (size_t)n;
	}
	return (ssize_t)done;
}

int sys_write_full(int fd, const void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = sys.write(fd, (const char *)data + done, len - done);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

int sys_random(void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = sys.getrandom((char *)data + done, len - done, 0);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}
