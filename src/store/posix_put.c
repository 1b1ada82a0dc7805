/*
 * posix_put: a file in a local directory comes into being, durably.
 *
 * Order at finish, each step checked: all bytes, attributes, fsync, close, rename, fsync of the
 * directory. Always true: until finish returns 0 the arena undoes the put (the temporary file, or
 * the partial file under its final name, is unlinked; a file that is changed in place stays, and gets
 * its time only at finish); nothing here ever turns a half-written file into a published one.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/path.h"
#include "base/sys.h"
#include "store/posix_intern.h"

#define CHUNK ((size_t)64 * 1024) /* smaller writes are combined */
#define BLOCK ((size_t)4096) /* holes begin and end at multiples of it; a part of CHUNK */
#define HOLE_MIN ((uint64_t)64 * 1024)
#define RESERVE_MIN ((uint64_t)1024 * 1024)
#define FILE_MODE 0640
#define TEMP_TRIES 8

struct posix_put {
	struct sink sink;
	struct arena *arena;
	struct put_opts o;
	const struct store *store;
	const char *path; /* the final name, which failures name */
	const char *written; /* where the bytes go: the final or the temporary name */
	int fd;
	dev_t dev; /* the file's identity: undo must not remove somebody else's */
	ino_t ino;
	char *held; /* bytes not yet written, fewer than CHUNK between calls */
	size_t held_len;
	uint64_t size; /* bytes of the file behind us, zeros included */
	uint64_t zeros; /* of them: the last ones, not yet written, perhaps a hole */
	uint64_t reserved;
	posix_naming_fn *naming; /* NULL: nobody is asked */
	void *naming_ctx;
	struct deferred *undo;
};

static bool is_name_of(const char *path, dev_t dev, ino_t ino)
{
	struct stat st;

	return sys.lstat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

/* A temporary name is ours by its making; under a final name somebody else's file may stand by
 * now. */
static void undo(void *ctx)
{
	struct posix_put *p = ctx;

	/* the failure that led here is the one to report */
	if (p->o.atomic || (!p->o.keep && is_name_of(p->path, p->dev, p->ino)))
		sys.unlink(p->written);
	if (p->fd >= 0)
		sys.close(p->fd);
}

static int write_at(struct posix_put *p, const void *data, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = sys.pwrite(p->fd, (const char *)data + done, len - done,
			(off_t)(offset + done));
		if (n == 0)
			errno = ENOSPC; /* no progress without a reason: never loop on it */
		if (n == 0 || (n < 0 && errno != EINTR))
			return err_sys(ERR_FILE_WRITE, "unable to write '%s'", p->path);
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

/* The zeros held back become a hole if they are worth one. */
static int settle_zeros(struct posix_put *p)
{
	static const char zeros[HOLE_MIN];
	uint64_t count = p->zeros;

	p->zeros = 0;
	if (count == 0 || count >= HOLE_MIN)
		return 0;
	return write_at(p, zeros, (size_t)count, p->size - count);
}

static int put_data(struct posix_put *p, const char *data, size_t len)
{
	if (settle_zeros(p) != 0 || write_at(p, data, len, p->size) != 0)
		return -1;
	p->size += len;
	return 0;
}

/* Bytes at the start that are whole zero blocks. */
static size_t zero_run(const char *data, size_t len)
{
	size_t n = 0;

	while (len - n >= BLOCK && data[n] == '\0' &&
		memcmp(data + n, data + n + 1, BLOCK - 1) == 0)
		n += BLOCK;
	return n;
}

/* Bytes before the next whole zero block. */
static size_t data_run(const char *data, size_t len)
{
	size_t n = 0;

	while (len - n >= BLOCK && zero_run(data + n, BLOCK) == 0)
		n += BLOCK;
	return len - n < BLOCK ? len : n;
}

static int put_sparse(struct posix_put *p, const char *data, size_t len)
{
	while (len > 0) {
		size_t n = zero_run(data, len);
		p->zeros += n;
		p->size += n;
		data += n;
		len -= n;
		n = data_run(data, len);
		if (n > 0 && put_data(p, data, n) != 0)
			return -1;
		data += n;
		len -= n;
	}
	return 0;
}

static int put_out(struct posix_put *p, const char *data, size_t len)
{
	return p->o.sparse ? put_sparse(p, data, len) : put_data(p, data, len);
}

static int flush(struct posix_put *p)
{
	size_t len = p->held_len;

	p->held_len = 0;
	return len == 0 ? 0 : put_out(p, p->held, len);
}

/* In a new file zeros need not be written: what never is reads as zeros. */
static int put_at(struct posix_put *p, const char *data, size_t len, uint64_t at)
{
	bool holes = p->o.sparse && !p->o.keep && at % BLOCK == 0;

	if (at > p->o.size_hint || len > p->o.size_hint - at)
		return err_set(ERR_ASSERT, "unable to write '%s': %zu bytes at offset %ju are behind its end",
			p->path, len, (uintmax_t)at);
	while (len > 0) {
		size_t zeros = holes ? zero_run(data, len) : 0;
		bool hole = zeros >= HOLE_MIN;
		size_t n = hole ? zeros : holes ? zeros + data_run(data + zeros, len - zeros) : len;
		if (!hole && write_at(p, data, n, at) != 0)
			return -1;
		data += n;
		len -= n;
		at += n;
	}
	return 0;
}

static size_t hold(struct posix_put *p, const char *data, size_t len)
{
	size_t n = CHUNK - p->held_len < len ? CHUNK - p->held_len : len;

	if (p->held == NULL)
		p->held = arena_alloc(p->arena, CHUNK);
	memcpy(p->held + p->held_len, data, n);
	p->held_len += n;
	return n;
}

/* Whole chunks go out as they come, the rest is held: all but the last write are aligned, as
 * holes must be. */
static int put_write(struct sink *s, const void *data, size_t len)
{
	struct posix_put *p = (struct posix_put *)s;
	const char *from = data;

	if (p->o.at != NULL)
		return put_at(p, data, len, *p->o.at);
	while (len > 0) {
		size_t n = len - len % CHUNK;
		if (p->held_len > 0 || n == 0) {
			n = hold(p, from, len);
			if (p->held_len == CHUNK && flush(p) != 0)
				return -1;
		} else if (put_out(p, from, n) != 0) {
			return -1;
		}
		from += n;
		len -= n;
	}
	return 0;
}

static int set_attributes(struct posix_put *p)
{
	if (p->o.set_owner && fchown(p->fd, p->o.uid, p->o.gid) != 0)
		return err_sys(ERR_FILE_OWNER, "unable to set ownership for '%s'", p->path);
	/* the mode given to open was subject to the umask */
	if (fchmod(p->fd, p->o.mode) != 0)
		return err_sys(ERR_FILE_MODE, "unable to set mode for '%s'", p->path);
	if (p->o.set_mtime && sys.utime(p->written, p->o.mtime) != 0)
		return err_sys(ERR_FILE_INFO, "unable to set time for '%s'", p->path);
	return 0;
}

/* All bytes and the size: a hole or a reservation at the end is not what the file's length says. */
static int complete(struct posix_put *p)
{
	if (p->o.at != NULL) {
		if (sys.ftruncate(p->fd, (off_t)p->o.size_hint) != 0)
			return err_sys(ERR_FILE_WRITE, "unable to write '%s'", p->path);
		return 0;
	}
	if (flush(p) != 0)
		return -1;
	/* a file of nothing but zeros needs no block, however small it is */
	bool hole_at_end = p->zeros >= HOLE_MIN || (p->zeros > 0 && p->zeros == p->size);
	if (!hole_at_end && settle_zeros(p) != 0)
		return -1;
	if ((hole_at_end || p->reserved > p->size) && sys.ftruncate(p->fd, (off_t)p->size) != 0)
		return err_sys(ERR_FILE_WRITE, "unable to write '%s'", p->path);
	return 0;
}

/* A failed fsync is never repeated: the kernel may have dropped the pages, and would say it is
 * well. */
static int make_durable(struct posix_put *p)
{
	if (!p->o.no_fsync && sys.fsync(p->fd) != 0)
		return err_sys(ERR_FILE_SYNC, "unable to sync file '%s'", p->path);
	int fd = p->fd;
	p->fd = -1;
	if (sys.close(fd) != 0)
		return err_sys(ERR_FILE_CLOSE, "unable to close file '%s'", p->path);
	return 0;
}

int posix_exists(const char *path)
{
	return err_set(ERR_FILE_EXISTS, "unable to create '%s': file exists", path);
}

static int publish(struct posix_put *p)
{
	int rc = (p->o.create_new ? sys.rename_new : sys.rename)(p->written, p->path);

	if (rc != 0 && p->o.create_new && errno == EEXIST)
		return posix_exists(p->path);
	if (rc != 0)
		return err_sys(ERR_FILE_MOVE, "unable to move '%s' to '%s'", p->written, p->path);
	return 0;
}

static int put_finish(struct sink *s)
{
	struct posix_put *p = (struct posix_put *)s;

	if (complete(p) != 0 || set_attributes(p) != 0 || make_durable(p) != 0)
		return -1;
	if (p->o.atomic) {
		if (p->o.final_path != NULL)
			p->path = store_name(p->arena, p->store, *p->o.final_path);
		if (p->naming != NULL && p->naming(p->naming_ctx) != 0)
			return -1;
		if (publish(p) != 0)
			return -1;
		/* the old file is gone: from here on the new one is better than none */
		arena_undefer(p->arena, p->undo);
	}
	if (!p->o.no_dir_sync && posix_sync_parent(p->path) != 0)
		return -1;
	if (!p->o.atomic)
		arena_undefer(p->arena, p->undo);
	return 0;
}

/* Open and, if the directory is missing, make it and open again; -1 with errno, or -2 with a
 * failure. */
static int open_in_dir(const char *path, int flags, mode_t mode)
{
	int fd = sys.open(path, flags, mode);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (posix_make_parent(path) != 0)
		return -2;
	return sys.open(path, flags, mode);
}

static int open_temp(struct posix_put *p)
{
	int fd = -1;

	for (int i = 0; i < TEMP_TRIES; i++) {
		p->written = store_temp_name(p->arena, p->path);
		fd = open_in_dir(p->written, O_WRONLY | O_CREAT | O_EXCL, p->o.mode);
		if (fd != -1 || errno != EEXIST)
			break;
	}
	return fd;
}

static int close_failed(int fd)
{
	int number = errno;

	sys.close(fd);
	errno = number;
	return -1;
}

static int open_kept(struct posix_put *p)
{
	struct stat st;
	int fd = sys.open(p->path, O_WRONLY | O_NONBLOCK | O_NOCTTY, 0);

	p->written = p->path;
	if (fd < 0)
		return fd;
	if (sys.fstat(fd, &st) != 0)
		return close_failed(fd);
	if (st.st_nlink > 1 || !S_ISREG(st.st_mode)) {
		errno = S_ISREG(st.st_mode) ? EMLINK : EINVAL;
		return close_failed(fd);
	}
	return fd;
}

/*
 * A file with more than one name is another backup's too (repo-hardlink): it must not change.  A
 * file that is reached through a link is the operator's, and stays where it is.
 */
static int open_in_place(struct posix_put *p)
{
	struct stat st;
	/* without O_NONBLOCK a pipe under that name would hold us for ever */
	int flags = O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY;
	int fd = open_in_dir(p->path, p->o.create_new ? flags | O_EXCL : flags, p->o.mode);

	p->written = p->path;
	if (fd < 0 || p->o.create_new)
		return fd;
	if (sys.fstat(fd, &st) != 0)
		return close_failed(fd);
	if (st.st_nlink > 1 && is_name_of(p->path, st.st_dev, st.st_ino)) {
		sys.close(fd);
		if (sys.unlink(p->path) != 0)
			return -1;
		return sys.open(p->path, flags | O_EXCL, p->o.mode);
	}
	if (st.st_size > 0 && sys.ftruncate(fd, 0) != 0)
		return close_failed(fd);
	return fd;
}

static int open_file(struct posix_put *p)
{
	struct stat st;

	p->fd = p->o.atomic ? open_temp(p) : p->o.keep ? open_kept(p) : open_in_place(p);
	if (p->fd == -2)
		return -1;
	if (p->fd < 0 && errno == EEXIST && p->o.create_new && !p->o.atomic)
		return posix_exists(p->path);
	if (p->fd < 0)
		return err_sys(ERR_FILE_OPEN, "unable to open file '%s' for write", p->path);
	if (sys.fstat(p->fd, &st) != 0) {
		err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", p->path);
		sys.close(p->fd);
		/* just made for us alone; a file in place may be older and stays */
		if (p->o.atomic || p->o.create_new)
			sys.unlink(p->written);
		return -1;
	}
	p->dev = st.st_dev;
	p->ino = st.st_ino;
	p->undo = arena_defer(p->arena, undo, p);
	return 0;
}

/* A full disk is known before the first byte; no other failure matters, it is only a help. */
static int reserve(struct posix_put *p)
{
	if (p->o.sparse || p->o.keep || p->o.size_hint <= RESERVE_MIN)
		return 0;
	if (fallocate(p->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)p->o.size_hint) == 0)
		p->reserved = p->o.size_hint;
	else if (errno == ENOSPC)
		return err_sys(ERR_FILE_WRITE, "unable to write '%s'", p->path);
	return 0;
}

struct sink *posix_put_named(struct arena *a, struct store *s, const char *path, const struct put_opts *o,
	posix_naming_fn *naming, void *ctx)
{
	struct posix_put *p = arena_new_object(a, struct posix_put);

	*p = (struct posix_put){
		.sink = { .write = put_write, .finish = put_finish },
		.arena = a,
		.store = s,
		.o = *o,
		.path = store_name(a, s, path),
		.fd = -1,
		.naming = naming,
		.naming_ctx = ctx,
	};
	if (p->o.mode == 0)
		p->o.mode = FILE_MODE;
	if (open_file(p) != 0 || reserve(p) != 0)
		return NULL;
	return &p->sink;
}

struct sink *posix_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o)
{
	return posix_put_named(a, s, path, o, NULL, NULL);
}
