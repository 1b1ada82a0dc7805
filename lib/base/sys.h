/*
 * sys: the system calls that read or change files, as a table of replaceable functions.
 *
 * Everything that stores, fetches or deletes goes through it, so that tests can make the n-th call
 * fail, be cut short, or kill the process (test/fault sets PGSTRATA_FAULT; only builds configured with
 * --enable-faults look at it).
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

struct sys_calls {
	int (*open)(const char *path, int flags, mode_t mode); /* always O_CLOEXEC */
	int (*close)(int fd);
	ssize_t (*read)(int fd, void *data, size_t len);
	ssize_t (*pread)(int fd, void *data, size_t len, off_t offset);
	ssize_t (*write)(int fd, const void *data, size_t len);
	ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t offset);
	int (*fsync)(int fd);
	int (*ftruncate)(int fd, off_t len);
	int (*rename)(const char *from, const char *to);
	int (*rename_new)(const char *from, const char *to); /* EEXIST instead of replacing */
	int (*link)(const char *from, const char *to);
	int (*symlink)(const char *target, const char *path);
	int (*unlink)(const char *path);
	int (*mkdir)(const char *path, mode_t mode);
	int (*rmdir)(const char *path);
	int (*stat)(const char *path, struct stat *st);
	int (*lstat)(const char *path, struct stat *st);
	int (*fstat)(int fd, struct stat *st);
	int (*chmod)(const char *path, mode_t mode);
	int (*lchown)(const char *path, uid_t uid, gid_t gid);
	int (*utime)(const char *path, time_t mtime); /* both times; follows links, as chmod does */
	DIR *(*opendir)(const char *path);
	ssize_t (*getrandom)(void *data, size_t len, unsigned flags);
};

extern struct sys_calls sys;

/* Install the fault wrappers if the build has them and the environment asks; otherwise nothing. */
void sys_init(void);

/* All len bytes, going on after short transfers and EINTR; -1 with errno.  read_full returns the number
 * of bytes read, fewer than len only at the end of the file. */
ssize_t sys_read_full(int fd, void *data, size_t len);
int sys_write_full(int fd, const void *data, size_t len);

/* len bytes from the system's random source, which it waits for after a boot; -1 with errno. */
int sys_random(void *data, size_t len);

#endif
