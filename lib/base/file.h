/*
 * file: whole small files and directories of this host, for what is not a repository: configuration,
 * pg_control, locks, recovery settings.  Repositories are reached through src/store.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <sys/types.h>
#include "buf.h"
#include "err.h"

/* Append the content to b; at most max bytes are allowed (ERR_FILE_READ beyond).  ERR_FILE_MISSING if
 * the file or its directory does not exist, ERR_FILE_OPEN, ERR_FILE_READ otherwise. */
int file_read(const char *path, size_t max, struct buf *b) must_check;

/* Write under a temporary name in the same directory ("<path>.<pid>-<8 hex>.pgbackrest.tmp"),
 * fsync, rename, fsync the directory.  The mode is exact, whatever the umask.  On failure the old
 * file is untouched and the temporary one removed; only if syncing the directory fails, the new
 * content is in place, though perhaps not for good. */
int file_replace(const char *path, const void *data, size_t len, mode_t mode) must_check;

/* 1 present, 0 proven absent (ENOENT, ENOTDIR), -1 unknown.  Follows links. */
int file_exists(const char *path) must_check;

/* mkdir with parents, all of this mode, subject to the umask; existing directories are fine. */
int dir_make(const char *path, mode_t mode) must_check;
int dir_sync(const char *path) must_check;

/* The names in a directory, "." and ".." left out, sorted by bytes; memory in the arena.
 * ERR_PATH_MISSING if it does not exist, ERR_PATH_OPEN otherwise. */
struct dir_names {
	const char **v;
	size_t n;
};
int dir_list(struct arena *a, const char *path, struct dir_names *out) must_check;

/* Close when the arena is freed. */
void fd_defer_close(struct arena *a, int fd);

#endif
