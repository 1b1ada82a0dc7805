/*
 * posix_link: further names in a local directory, symbolic and hard.
 */
#include <errno.h>

#include "base/sys.h"
#include "store/posix_intern.h"

/* A link cannot be made over another name: it comes under a temporary one, so that there is always
 * the old one or the new one. */
int posix_link(struct store *s, const char *target, const char *path)
{
	SCOPED_ARENA(a);
	const char *full = store_name(a, s, path);
	const char *temp = store_temp_name(a, full);
	int rc = sys.symlink(target, temp);

	if (rc != 0 && errno == ENOENT) {
		if (posix_make_parent(full) != 0)
			return -1;
		rc = sys.symlink(target, temp);
	}
	if (rc != 0)
		return err_sys(ERR_FILE_OPEN, "unable to create symlink '%s' to '%s'", full,
			target);
	if (sys.rename(temp, full) != 0) {
		err_sys(ERR_FILE_MOVE, "unable to move '%s' to '%s'", temp, full);
		sys.unlink(temp);
		return -1;
	}
	return posix_sync_parent(full);
}

static int hard_link_failed(const char *from, const char *path)
{
	int number = errno;

	if (number == EEXIST)
		return posix_exists(path);
	bool never = number == EPERM || number == EOPNOTSUPP || number == ENOSYS || number == EXDEV ||
		number == EMLINK;
	(void)err_sys(never ? ERR_FEATURE : ERR_FILE_OPEN, "unable to create hard link '%s' to '%s'", path, from);
	if (number == EXDEV)
		return err_hint("all backups of a repository with hard links must lie on one file system.");
	return never ? err_hint("does the file system have hard links, and room for one more to this file?") : -1;
}

/* ENOENT is said of either name: which one it is decides between an answer and a failure. */
int posix_hard_link(struct store *s, const char *from, const char *path)
{
	SCOPED_ARENA(a);
	const char *old = store_name(a, s, from), *full = store_name(a, s, path);
	struct stat st;

	if (sys.link(old, full) == 0)
		return 0;
	if (errno == ENOENT || errno == ENOTDIR) {
		if (sys.lstat(old, &st) != 0)
			return errno == ENOENT || errno == ENOTDIR ? STORE_ABSENT :
				err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", old);
		if (posix_make_parent(full) != 0)
			return -1;
		if (sys.link(old, full) == 0)
			return 0;
	}
	return hard_link_failed(old, full);
}
