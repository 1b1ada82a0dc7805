/*
 * stop_file: made, looked for and removed.
 */
#include "cmd/stop_file.h"

#include <errno.h>

#include "base/file.h"
#include "base/sys.h"

char *stop_file_path(struct arena *a, const struct config *cfg, const char *stanza)
{
	return arena_printf(a, "%s/%s.stop", cfg->lock_path, stanza != NULL ? stanza : "all");
}

int stop_file_exists(const struct config *cfg, const char *stanza)
{
	SCOPED_ARENA(a);

	return file_exists(stop_file_path(a, cfg, stanza));
}

/* The lock path is perhaps below /tmp: nothing planted there is followed or overwritten. */
static int make_new(const struct config *cfg, const char *path)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
	int fd = sys.open(path, flags, 0640);

	if (fd < 0 && errno == ENOENT) {
		if (dir_make(cfg->lock_path, 0750) != 0)
			return -1;
		fd = sys.open(path, flags, 0640);
	}
	if (fd < 0 && errno == EEXIST)
		return STOP_FILE_WAS_THERE;
	if (fd < 0)
		return err_sys(ERR_FILE_OPEN, "unable to create stop file '%s'", path);
	int rc = sys.fsync(fd) == 0 ? 0 : err_sys(ERR_FILE_SYNC, "unable to sync stop file '%s'", path);
	sys.close(fd);
	return rc;
}

int stop_file_make(const struct config *cfg, const char *stanza)
{
	SCOPED_ARENA(a);
	const char *path = stop_file_path(a, cfg, stanza);
	int made = make_new(cfg, path);

	if (made < 0)
		return -1;
	if (made == STOP_FILE_WAS_THERE) {
		int seen = file_exists(path);
		if (seen < 0)
			return -1;
		if (seen == 0)
			return err_set(ERR_FILE_OPEN, "unable to create stop file '%s': a link that leads nowhere "
				"has its name", path);
	}
	/* also for the file of an earlier run, whose own sync may have failed */
	return dir_sync(cfg->lock_path) == 0 ? made : -1;
}

int stop_file_remove(const struct config *cfg, const char *stanza)
{
	SCOPED_ARENA(a);
	const char *path = stop_file_path(a, cfg, stanza);

	if (sys.unlink(path) != 0) {
		if (errno == ENOENT || errno == ENOTDIR)
			return STOP_FILE_WAS_ABSENT;
		return err_sys(ERR_FILE_REMOVE, "unable to remove stop file '%s'", path);
	}
	return dir_sync(cfg->lock_path);
}
