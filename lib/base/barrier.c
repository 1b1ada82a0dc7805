/*
 * barrier: one sync for many files, by syncfs(2) per file system.
 */
#include "base/barrier.h"

#include <unistd.h>

#include "base/file.h"
#include "base/sys.h"
#include "base/vec.h"

struct member {
	dev_t device;
	int fd;
	const char *dir;
};

struct barrier {
	struct arena *arena;
	VEC(struct member) members;
};

struct barrier *barrier_new(struct arena *a)
{
	struct barrier *b = arena_new_object(a, struct barrier);

	b->arena = a;
	vec_init(&b->members, a);
	return b;
}

int barrier_add(struct barrier *b, const char *dir)
{
	struct stat st;
	int fd = sys.open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(ERR_PATH_OPEN, "unable to open directory '%s' for sync", dir);
	fd_defer_close(b->arena, fd);
	if (sys.fstat(fd, &st) != 0)
		return err_sys(ERR_FILE_INFO, "unable to get info for directory '%s'", dir);
	for (size_t i = 0; i < b->members.n; i++)
		if (b->members.v[i].device == st.st_dev)
			return 0;
	vec_push(&b->members, ((struct member){ st.st_dev, fd, arena_strdup(b->arena, dir) }));
	return 0;
}

int barrier_sync(struct barrier *b)
{
	for (size_t i = 0; i < b->members.n; i++)
		if (syncfs(b->members.v[i].fd) != 0)
			return err_sys(ERR_FILE_SYNC, "unable to sync the file system of '%s'",
				b->members.v[i].dir);
	return 0;
}
