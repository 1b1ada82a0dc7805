/*
 * beneath: the operations of a posix store on descriptors that beneath_walk.c has reached.
 *
 * Always true: the posix store underneath sees a root "/proc/self/fd/N" and at most one name below it, never the path
 * that was asked for; failures name what was asked for.
 */
#include "store/beneath_intern.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"
#include "base/sig.h"
#include "base/sys.h"
#include "store/posix_intern.h"

#define LOCK_WAIT_MS 60000
#define LOCK_LOOK_MAX_MS 16

struct beneath {
	struct store store;
	enum beneath_kind kind;
};

/* What was attempted, for failures before the posix store is asked. */
struct attempt {
	const char *text;
	enum err_code code;
	bool dir; /* a file on the way is no proof of absence */
};

static const struct attempt reading = { "open file", ERR_FILE_OPEN, false };
static const struct attempt asking = { "get info for path/file", ERR_FILE_INFO, false };
static const struct attempt listing = { "list files in", ERR_PATH_OPEN, true };
static const struct attempt syncing = { "sync path", ERR_PATH_OPEN, true };
static const struct attempt writing = { "open path", ERR_PATH_OPEN, true };

struct reached {
	int fd;
	const char *shown; /* as the user knows it */
	struct store *store; /* posix, at the descriptor */
};

/* Without /proc everything would seem to be absent. */
static int prove_proc(const struct reached *r)
{
	static bool proven;
	struct stat here, there;

	if (proven)
		return 0;
	if (sys.fstat(r->fd, &here) != 0 || sys.stat(r->store->root, &there) != 0 || here.st_ino != there.st_ino ||
		here.st_dev != there.st_dev) {
		(void)err_set(ERR_KERNEL, "unable to reach '%s' through '%s'", r->shown, r->store->root);
		return err_hint("is /proc mounted?");
	}
	proven = true;
	return 0;
}

/* 0, STORE_ABSENT, -1.  The descriptor is closed with the arena. */
static int reach(struct arena *a, struct store *s, const char *path, bool follow, const struct attempt *t,
	struct reached *out)
{
	const struct beneath_way way = { ((struct beneath *)s)->kind, s->root, path, follow };

	out->shown = store_name(a, s, path);
	out->fd = beneath_open(&way);
	if (out->fd < 0 && errno == EXDEV)
		return err_set(ERR_ACCESS, "unable to %s '%s': a link on this path may not be followed", t->text,
			out->shown);
	if (out->fd < 0 && (errno == ENOENT || (errno == ENOTDIR && !t->dir)))
		return STORE_ABSENT;
	if (out->fd < 0)
		return err_sys(t->code, "unable to %s '%s'", t->text, out->shown);
	fd_defer_close(a, out->fd);
	out->store = store_posix(a, arena_printf(a, "/proc/self/fd/%d", out->fd));
	out->store->arena = s->arena; /* page lists live as long as the store that the user has */
	out->store->buffer_size = s->buffer_size;
	return prove_proc(out);
}

static char *replace_all(struct arena *a, const char *text, const char *old, const char *new)
{
	struct buf b;
	size_t len = strlen(old);

	buf_init(&b, a);
	for (const char *hit; (hit = strstr(text, old)) != NULL; text = hit + len) {
		buf_add(&b, text, (size_t)(hit - text));
		/* descriptor 1 is not 10 */
		bool longer = hit[len] >= '0' && hit[len] <= '9';
		buf_adds(&b, longer ? old : new);
	}
	buf_adds(&b, text);
	return b.data;
}

/* What the posix store said of a descriptor, said of what was asked for. */
static int settle(const struct reached *r, int rc)
{
	SCOPED_ARENA(a);

	if (rc == STORE_ABSENT)
		return err_set(ERR_KERNEL, "unable to reach '%s' through '%s'", r->shown, r->store->root);
	if (rc == 0)
		return 0;
	struct err_value *v = err_take(a);
	v->msg = replace_all(a, v->msg, r->store->root, r->shown);
	return err_restore(v);
}

/* A directory passes: the posix store says best why it cannot be read. */
static int check_type(const struct reached *r)
{
	struct stat st;

	if (sys.fstat(r->fd, &st) != 0)
		return err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", r->shown);
	if (S_ISLNK(st.st_mode))
		return err_set(ERR_ACCESS, "unable to open file '%s': it is a link", r->shown);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return err_set(ERR_FILE_READ, "unable to read '%s': not a regular file", r->shown);
	return 0;
}

struct opened {
	const struct get_opts *o;
	const char *name;
};

static int tell_opened(void *ctx, const struct store_entry *e)
{
	const struct opened *t = ctx;
	struct store_entry named = *e;

	named.name = t->name;
	return t->o->opened(t->o->ctx, &named);
}

static int beneath_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	SCOPED_ARENA(a);
	struct opened told = { o, path_base(path) };
	struct get_opts inner = *o;
	struct reached r;

	int rc = reach(a, s, path, ((struct beneath *)s)->kind == BENEATH_CLUSTER, &reading, &r);
	if (rc != 0)
		return rc;
	if (check_type(&r) != 0)
		return -1;
	if (o->opened != NULL) {
		inner.opened = tell_opened;
		inner.ctx = &told;
	}
	return settle(&r, r.store->driver->get(r.store, "", &inner, to));
}

static int beneath_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx)
{
	SCOPED_ARENA(a);
	struct reached r;

	int rc = reach(a, s, dir, true, &listing, &r);
	return rc != 0 ? rc : settle(&r, r.store->driver->list(r.store, "", fn, ctx));
}

static int stat_root(struct arena *a, struct store *s, struct store_entry *out)
{
	SCOPED_ARENA(scratch);
	struct reached r;

	int rc = reach(scratch, s, "", true, &asking, &r);
	if (rc != 0)
		return rc;
	rc = settle(&r, r.store->driver->stat(a, r.store, "", out));
	out->name = path_base(s->root);
	return rc;
}

static int beneath_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out)
{
	SCOPED_ARENA(scratch);
	struct reached r;

	if (path[0] == '\0')
		return stat_root(a, s, out);
	int rc = reach(scratch, s, path_parent(scratch, path), true, &asking, &r);
	if (rc != 0)
		return rc;
	rc = r.store->driver->stat(a, r.store, path_base(path), out);
	return rc == STORE_ABSENT ? rc : settle(&r, rc);
}

static int beneath_sync_dir(struct store *s, const char *dir)
{
	SCOPED_ARENA(a);
	struct reached r;

	int rc = reach(a, s, dir, true, &syncing, &r);
	if (rc == STORE_ABSENT)
		return err_set(ERR_PATH_MISSING, "unable to sync missing path '%s'", r.shown);
	return rc != 0 ? rc : settle(&r, r.store->driver->sync_dir(r.store, ""));
}

struct put {
	struct sink sink;
	struct sink *next;
	struct arena *arena;
	const char *path;
	struct reached dir;
	const char *const *final_path; /* NULL: path */
	const char *final_name;
	struct beneath_naming naming; /* ask NULL: nobody is asked */
	struct arena *lock; /* of the folder, while finish runs */
};

/* The root itself is the operator's to make. */
static int reach_folder(struct arena *a, struct store *s, const char *dir, struct reached *out)
{
	struct reached parent;
	int rc = reach(a, s, dir, true, &writing, out);

	if (rc != STORE_ABSENT)
		return rc;
	if (dir[0] == '\0')
		return err_set(ERR_PATH_MISSING, "unable to open missing path '%s'", out->shown);
	if (reach_folder(a, s, path_parent(a, dir), &parent) != 0)
		return -1;
	/* made as the missing parent of a file is: durable, also if somebody else has just made it */
	if (posix_make_parent(arena_printf(a, "%s/%s/file", parent.store->root, path_base(dir))) != 0)
		return settle(&parent, -1);
	rc = reach(a, s, dir, true, &writing, out);
	return rc == STORE_ABSENT ? err_set(ERR_PATH_MISSING, "path '%s' vanished", out->shown) : rc;
}

/* Some network file systems cannot lock a directory: there only the name itself excludes others. */
static int lock_folder(const struct put *p)
{
	struct deadline d = deadline_in(LOCK_WAIT_MS);
	int64_t wait_ms = 1;
	int fd = sys.open(p->dir.store->root, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return err_sys(ERR_PATH_OPEN, "unable to open path '%s'", p->dir.shown);
	fd_defer_close(p->lock, fd);
	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EBADF || errno == ENOLCK || errno == EOPNOTSUPP || errno == EINVAL)
			return 0;
		if (errno == EWOULDBLOCK && deadline_left(d) == 0)
			return err_set(ERR_LOCK, "unable to lock path '%s' within %d seconds", p->dir.shown,
				LOCK_WAIT_MS / 1000);
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(ERR_LOCK, "unable to lock path '%s'", p->dir.shown);
		if (clock_sleep(wait_ms) && sig_check() != 0)
			return -1;
		wait_ms = wait_ms < LOCK_LOOK_MAX_MS ? wait_ms * 2 : wait_ms;
	}
	return 0;
}

static int ask_name(void *ctx)
{
	struct put *p = ctx;

	if (lock_folder(p) != 0)
		return -1;
	return p->naming.ask(p->naming.ctx);
}

static int put_write(struct sink *s, const void *data, size_t len)
{
	struct put *p = (struct put *)s;

	return settle(&p->dir, sink_write(p->next, data, len));
}

static int put_finish(struct sink *s)
{
	struct put *p = (struct put *)s;
	SCOPED_ARENA(lock);

	if (p->final_path != NULL) {
		const char *path = *p->final_path;
		if (!path_is_safe(path) || strcmp(path_parent(lock, path), path_parent(lock, p->path)) != 0)
			return err_set(ERR_ACCESS, "unable to move '%s' to '%s': not in the same folder", p->path,
				path);
		p->final_name = arena_strdup(p->arena, path_base(path));
	}
	p->lock = lock;
	return settle(&p->dir, sink_finish(p->next));
}

struct sink *beneath_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o,
	const struct beneath_naming *naming)
{
	struct put *p = arena_new_object(a, struct put);
	struct put_opts inner = *o;

	if (!path_is_safe(path) || !o->atomic || !o->create_new)
		return err_null(ERR_ACCESS, "unable to write '%s' below '%s': only new files may be made", path,
			s->root);
	*p = (struct put){ .sink = { put_write, put_finish }, .arena = a, .path = arena_strdup(a, path),
		.final_path = o->final_path };
	if (naming != NULL)
		p->naming = *naming;
	if (reach_folder(a, s, path_parent(a, path), &p->dir) != 0)
		return NULL;
	p->final_name = path_base(p->path);
	inner.final_path = &p->final_name;
	p->next = posix_put_named(a, p->dir.store, p->final_name, &inner, naming == NULL ? NULL : ask_name, p);
	if (p->next == NULL)
		(void)settle(&p->dir, -1);
	return p->next == NULL ? NULL : &p->sink;
}

static struct sink *put(struct arena *a, struct store *s, const char *path, const struct put_opts *o)
{
	return beneath_put(a, s, path, o, NULL);
}

static int refuse(struct store *s, const char *path)
{
	return err_set(ERR_ACCESS, "unable to change '%s' below '%s': only new files may be made", path, s->root);
}

static int refuse_dir(struct store *s, const char *path, mode_t mode)
{
	return refuse(s, path);
}

static const struct store_driver driver = {
	.name = "posix",
	.get = beneath_get,
	.put = put,
	.list = beneath_list,
	.stat = beneath_stat,
	.remove = refuse,
	.remove_dir = refuse,
	.make_dir = refuse_dir,
	.sync_dir = beneath_sync_dir,
};

bool beneath_is(const struct store *s)
{
	return s->driver == &driver;
}

struct store *store_beneath(struct arena *a, const char *root, enum beneath_kind kind)
{
	struct beneath *b = arena_new_object(a, struct beneath);

	b->store = *store_posix(a, root);
	b->store.driver = &driver;
	b->kind = kind;
	return &b->store;
}
