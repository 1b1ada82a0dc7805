/*
 * posix: a store in a local directory; reading, listing, and all that changes names but put
 * (posix_put.c).
 *
 * Always true: ENOENT and ENOTDIR are the only proofs of absence, every other failure is unknown;
 * what changes a name is durable when its directory is synced, and make_dir and link do that
 * themselves.
 */
#include "store/store.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/path.h"
#include "base/sig.h"
#include "base/str.h"
#include "base/sys.h"
#include "store/posix_intern.h"

#define BUFFER_DEFAULT ((size_t)1024 * 1024)
#define BUFFER_MIN ((size_t)64 * 1024)
#define DIR_MODE 0750

static bool is_missing(int number)
{
	return number == ENOENT || number == ENOTDIR;
}

/*
 * One read buffer for the process, because there is one thread and large buffers are costly to
 * map anew per file.  A get inside a get (a sink that reads other files) takes its own.
 */
static struct {
	struct arena *arena;
	char *data;
	size_t size;
	bool busy;
} shared;

static char *buffer_take(struct arena *a, size_t size)
{
	if (shared.busy)
		return arena_alloc(a, size);
	if (shared.size < size) {
		arena_free(shared.arena);
		shared.arena = arena_new();
		shared.data = arena_alloc(shared.arena, size);
		shared.size = size;
	}
	shared.busy = true;
	return shared.data;
}

static void buffer_give(const char *data)
{
	if (data == shared.data)
		shared.busy = false;
}

struct source {
	const char *name;
	int fd;
};

static ssize_t source_read(const struct source *f, void *data, size_t len, uint64_t offset)
{
	ssize_t n;

	do
		n = sys.pread(f->fd, data, len, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_sys(ERR_FILE_READ, "unable to read '%s'", f->name) : n;
}

/* For the page check: as many bytes as there are, up to len. */
static ssize_t source_reread(void *ctx, void *data, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = source_read(ctx, (char *)data + done, len - done, offset + done);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* A short read is no end of the file: only a read of nothing is. */
static int push(const struct source *f, const struct get_opts *o, char *data, size_t size,
	struct sink *to)
{
	uint64_t done = 0;

	while (o->length == 0 || done < o->length) {
		uint64_t left = o->length == 0 ? size : o->length - done;
		/* what a clean-up reads after a signal is small and must pass */
		if (done >= size && sig_check() != 0)
			return -1;
		size_t want = left < size ? (size_t)left : size;
		ssize_t n = source_read(f, data, want, o->offset + done);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		if (sink_write(to, data, (size_t)n) != 0)
			return -1;
		done += (uint64_t)n;
	}
	if (o->exact && done < o->length)
		return err_set(ERR_FILE_READ,
			"unable to read '%s': %ju bytes at offset %ju wanted, %ju found", f->name,
			(uintmax_t)o->length, (uintmax_t)o->offset, (uintmax_t)done);
	return sink_finish(to);
}

static enum store_type type_of(mode_t mode)
{
	if (S_ISREG(mode))
		return STORE_FILE;
	if (S_ISDIR(mode))
		return STORE_DIR;
	return S_ISLNK(mode) ? STORE_LINK : STORE_SPECIAL;
}

static struct store_entry entry_of(const char *name, const struct stat *st)
{
	return (struct store_entry){
		.name = name,
		.type = type_of(st->st_mode),
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
		.mtime = st->st_mtime,
		.ctime = st->st_ctime,
		.mode = st->st_mode & 0777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.shared = S_ISREG(st->st_mode) && st->st_nlink > 1,
	};
}

/* Is it a file, and does the caller want it? */
static int inspect(const struct source *f, const char *path, const struct get_opts *o)
{
	struct stat st;

	if (sys.fstat(f->fd, &st) != 0)
		return err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", f->name);
	if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return err_sys(ERR_FILE_READ, "unable to read '%s'", f->name);
	}
	if (!S_ISREG(st.st_mode))
		return err_set(ERR_FILE_READ, "unable to read '%s': not a regular file", f->name);
	if ((uint64_t)st.st_size > BUFFER_MIN)
		posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	if (o->opened == NULL)
		return 0;
	const struct store_entry e = entry_of(path_base(path), &st);
	return o->opened(o->ctx, &e);
}

static int posix_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	SCOPED_ARENA(a);
	struct source f = { .name = store_name(a, s, path) };
	size_t size = s->buffer_size < BUFFER_MIN ? BUFFER_MIN : s->buffer_size;

	/* without O_NONBLOCK a pipe under that name would hold us for ever */
	f.fd = sys.open(f.name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (f.fd < 0 && is_missing(errno))
		return STORE_ABSENT;
	if (f.fd < 0)
		return err_sys(ERR_FILE_OPEN, "unable to open file '%s' for read", f.name);
	fd_defer_close(a, f.fd);
	if (inspect(&f, path, o) != 0)
		return -1;
	struct sink *head = store_get_chain(a, o, source_reread, &f, to);
	char *data = buffer_take(a, size);
	int rc = push(&f, o, data, size, head);
	buffer_give(data);
	store_keep_result(s, o);
	return rc;
}

/* 0, STORE_ABSENT if it vanished, -1. */
static int link_target(struct arena *a, const char *name, struct store_entry *e)
{
	char target[PATH_MAX];
	struct stat st;
	ssize_t len = readlink(name, target, sizeof(target));

	if (len < 0 && is_missing(errno))
		return STORE_ABSENT;
	if (len < 0)
		return err_sys(ERR_FILE_INFO, "unable to get destination of link '%s'", name);
	e->target = arena_strndup(a, target, (size_t)len);
	const char *full = e->target[0] == '/' ? e->target :
		path_join(a, path_parent(a, name), e->target);
	if (sys.lstat(full, &st) == 0) {
		struct store_entry *to = arena_new_object(a, struct store_entry);
		*to = entry_of(path_base(e->target), &st);
		e->target_entry = to;
	} else if (errno == ELOOP || errno == ENAMETOOLONG || errno == EACCES) {
		e->target_error = errno; /* who only removes links need not care */
	} else if (!is_missing(errno)) {
		return err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", full);
	}
	return 0;
}

static int stat_entry(struct arena *a, const char *name, bool follow, struct store_entry *out)
{
	struct stat st;

	if ((follow ? sys.stat : sys.lstat)(name, &st) != 0) {
		if (is_missing(errno))
			return STORE_ABSENT;
		return err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", name);
	}
	*out = entry_of(path_base(name), &st);
	return out->type == STORE_LINK ? link_target(a, name, out) : 0;
}

static int posix_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out)
{
	return stat_entry(a, store_name(a, s, path), path[0] == '\0', out);
}

static int collect_names(struct arena *a, DIR *dir, strvec *names)
{
	const struct dirent *d;

	while (errno = 0, (d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			vec_push(names, arena_strdup(a, d->d_name));
	}
	return errno == 0 ? 0 : -1;
}

/* The names are complete before the first callback: a directory cut short by an error decides
 * nothing. */
static int posix_list(struct store *s, const char *path, store_list_fn *fn, void *ctx)
{
	SCOPED_ARENA(a);
	const char *full = store_name(a, s, path);
	strvec names;
	DIR *dir = sys.opendir(full);

	if (dir == NULL && errno == ENOENT)
		return STORE_ABSENT;
	if (dir == NULL)
		return err_sys(ERR_PATH_OPEN, "unable to list files in '%s'", full);
	vec_init(&names, a);
	int rc = collect_names(a, dir, &names);
	if (rc != 0)
		rc = err_sys(ERR_PATH_OPEN, "unable to list files in '%s'", full);
	/* nothing was written through it */
	closedir(dir);
	if (rc != 0)
		return -1;
	qsort(names.v, names.n, sizeof(*names.v), str_cmp_ptr);
	for (size_t i = 0; i < names.n; i++) {
		struct store_entry e;
		rc = stat_entry(a, path_join(a, full, names.v[i]), false, &e);
		if (rc < 0 || (rc == 0 && fn(ctx, &e) != 0))
			return -1;
	}
	return 0;
}

static int posix_remove(struct store *s, const char *path)
{
	SCOPED_ARENA(a);
	const char *full = store_name(a, s, path);

	if (sys.unlink(full) == 0)
		return 0;
	if (is_missing(errno))
		return STORE_ABSENT;
	return err_sys(ERR_FILE_REMOVE, "unable to remove '%s'", full);
}

static int posix_remove_dir(struct store *s, const char *path)
{
	SCOPED_ARENA(a);
	const char *full = store_name(a, s, path);

	if (sys.rmdir(full) == 0)
		return 0;
	if (is_missing(errno))
		return STORE_ABSENT;
	return err_sys(ERR_PATH_REMOVE, "unable to remove path '%s'", full);
}

int posix_sync_parent(const char *path)
{
	SCOPED_ARENA(a);
	const char *parent = path_parent(a, path);

	return dir_sync(parent[0] == '\0' ? "." : parent);
}

/* mkdir obeys the umask, the mode asked for is exact. */
static int make_one(const char *path, mode_t mode)
{
	if (sys.mkdir(path, mode) != 0)
		return -1;
	return sys.chmod(path, mode);
}

/*
 * missing: the directory was found missing a moment ago.  If somebody else has made it since, his
 * fsync may be still to come, and we must not promise anything before it.
 */
static int make_path(const char *path, mode_t mode, bool missing)
{
	struct stat st;
	int rc = make_one(path, mode);

	if (rc != 0 && errno == ENOENT) {
		if (posix_make_parent(path) != 0)
			return -1;
		rc = make_one(path, mode);
		missing = true;
	}
	int number = errno;
	if (rc != 0 && (number != EEXIST || sys.stat(path, &st) != 0 || !S_ISDIR(st.st_mode))) {
		errno = number;
		return err_sys(ERR_PATH_CREATE, "unable to create path '%s'", path);
	}
	return rc == 0 || missing ? posix_sync_parent(path) : 0;
}

int posix_make_dir(const char *path, mode_t mode)
{
	return make_path(path, mode, false);
}

int posix_make_parent(const char *path)
{
	SCOPED_ARENA(a);
	const char *parent = path_parent(a, path);

	if (parent[0] == '\0' || strcmp(parent, path) == 0)
		return err_set(ERR_PATH_MISSING, "unable to create missing path of '%s'", path);
	return make_path(parent, DIR_MODE, true);
}

static int make_dir(struct store *s, const char *path, mode_t mode)
{
	SCOPED_ARENA(a);

	return posix_make_dir(store_name(a, s, path), mode == 0 ? DIR_MODE : mode);
}

static int sync_dir(struct store *s, const char *path)
{
	SCOPED_ARENA(a);

	return dir_sync(store_name(a, s, path));
}

static int posix_touch(struct store *s, const char *path, const struct put_opts *o)
{
	SCOPED_ARENA(a);
	const char *full = store_name(a, s, path);
	struct stat st;

	if (sys.lstat(full, &st) != 0)
		return err_sys(is_missing(errno) ? ERR_FILE_MISSING : ERR_FILE_INFO,
			"unable to get info for path/file '%s'", full);
	if (o->set_owner && (st.st_uid != o->uid || st.st_gid != o->gid) &&
		sys.lchown(full, o->uid, o->gid) != 0)
		return err_sys(ERR_FILE_OWNER, "unable to set ownership for '%s'", full);
	if (S_ISLNK(st.st_mode))
		return 0;
	if (o->mode != 0 && sys.chmod(full, o->mode) != 0)
		return err_sys(ERR_FILE_MODE, "unable to set mode for '%s'", full);
	if (o->set_mtime && sys.utime(full, o->mtime) != 0)
		return err_sys(ERR_FILE_INFO, "unable to set time for '%s'", full);
	return 0;
}

struct store *store_posix(struct arena *a, const char *root)
{
	static const struct store_driver driver = {
		.name = "posix",
		.get = posix_get,
		.put = posix_put,
		.list = posix_list,
		.stat = posix_stat,
		.remove = posix_remove,
		.remove_dir = posix_remove_dir,
		.make_dir = make_dir,
		.link = posix_link,
		.hard_link = posix_hard_link,
		.sync_dir = sync_dir,
		.touch = posix_touch,
	};
	struct store *s = arena_new_object(a, struct store);

	s->driver = &driver;
	s->root = arena_strdup(a, root);
	s->arena = a;
	s->buffer_size = BUFFER_DEFAULT;
	return s;
}
