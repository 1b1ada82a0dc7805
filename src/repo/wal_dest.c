/*
 * wal_dest: a file of this host that is there as a whole or not at all.
 */
#include "repo/wal_dest.h"

#include <errno.h>
#include <unistd.h>

#include "base/sys.h"

struct dest {
	struct sink sink;
	int fd;
	const char *temp, *path;
};

static void dest_undo(void *ctx)
{
	struct dest *d = ctx;

	if (d->fd >= 0)
		sys.close(d->fd);
	sys.unlink(d->temp);
}

static int dest_write(struct sink *s, const void *data, size_t len)
{
	struct dest *d = (struct dest *)s;

	if (sys_write_full(d->fd, data, len) != 0)
		return err_sys(ERR_FILE_WRITE, "unable to write '%s'", d->temp);
	return 0;
}

static int dest_finish(struct sink *s)
{
	struct dest *d = (struct dest *)s;
	int fd = d->fd;

	d->fd = -1;
	if (sys.close(fd) != 0)
		return err_sys(ERR_FILE_CLOSE, "unable to close '%s'", d->temp);
	if (sys.rename(d->temp, d->path) != 0)
		return err_sys(ERR_FILE_MOVE, "unable to move '%s' to '%s'", d->temp, d->path);
	return 0;
}

char *wal_dest_temp(struct arena *a, const char *path)
{
	char *temp = arena_printf(a, "%s" WAL_DEST_TEMP "%d", path, (int)getpid());

	if (sys.unlink(temp) != 0 && errno != ENOENT)
		return err_sys_null(ERR_FILE_REMOVE, "unable to remove '%s'", temp);
	return temp;
}

struct sink *wal_dest_new(struct arena *a, const char *path)
{
	struct dest *d = arena_new_object(a, struct dest);

	d->sink = (struct sink){dest_write, dest_finish};
	d->path = path;
	d->temp = wal_dest_temp(a, path);
	if (d->temp == NULL)
		return NULL;
	d->fd = sys.open(d->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (d->fd < 0)
		return err_sys_null(ERR_FILE_OPEN, "unable to open '%s' for write", d->temp);
	arena_defer(a, dest_undo, d);
	return &d->sink;
}
