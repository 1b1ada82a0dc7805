/*
 * fault: around another store, for tests: the n-th call of one verb fails, once or for good.
 * Everything else is passed on; a call that fails has no effect, except "read", which breaks
 * midway.
 */
#include "store/store.h"

#include <string.h>

struct faulty {
	struct store store;
	struct store_driver driver;
	struct store *inner;
	struct store_fault *f;
};

static struct faulty *faulty_of(struct store *s)
{
	return (struct faulty *)s;
}

static bool is_hit(struct store_fault *f, const char *verb)
{
	if (strcmp(f->verb, verb) != 0)
		return false;
	f->calls++;
	return f->nth != 0 && (f->for_good ? f->calls >= f->nth : f->calls == f->nth);
}

static int fail(enum err_code code, const char *verb, const char *path)
{
	return err_set(code, "unable to %s '%s': injected failure", verb, path);
}

/* Half of what would have been pushed, then the failure. */
static int break_midway(struct faulty *t, const char *path, const struct get_opts *o,
	struct sink *to)
{
	SCOPED_ARENA(a);
	struct buf all;

	buf_init(&all, a);
	int rc = t->inner->driver->get(t->inner, path, o, sink_buf(a, &all));
	if (rc != 0)
		return rc;
	if (all.len / 2 > 0 && sink_write(to, all.data, all.len / 2) != 0)
		return -1;
	return fail(ERR_FILE_READ, "read", path);
}

static int faulty_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	struct faulty *t = faulty_of(s);

	if (is_hit(t->f, "get"))
		return fail(ERR_FILE_READ, "get", path);
	if (is_hit(t->f, "read"))
		return break_midway(t, path, o, to);
	return t->inner->driver->get(t->inner, path, o, to);
}

struct faulty_put {
	struct sink sink;
	struct sink *next;
	struct store_fault *f;
	const char *path;
};

static int put_write(struct sink *s, const void *data, size_t len)
{
	struct faulty_put *p = (struct faulty_put *)s;

	if (is_hit(p->f, "write"))
		return fail(ERR_FILE_WRITE, "write", p->path);
	return sink_write(p->next, data, len);
}

static int put_finish(struct sink *s)
{
	struct faulty_put *p = (struct faulty_put *)s;

	if (is_hit(p->f, "finish"))
		return fail(ERR_FILE_WRITE, "finish", p->path);
	return sink_finish(p->next);
}

static struct sink *faulty_put(struct arena *a, struct store *s, const char *path,
	const struct put_opts *o)
{
	struct faulty *t = faulty_of(s);

	if (is_hit(t->f, "put")) {
		fail(ERR_FILE_WRITE, "put", path);
		return NULL;
	}
	struct sink *next = t->inner->driver->put(a, t->inner, path, o);
	if (next == NULL)
		return NULL;
	struct faulty_put *p = arena_new_object(a, struct faulty_put);
	*p = (struct faulty_put){ .sink = { .write = put_write, .finish = put_finish },
		.next = next, .f = t->f, .path = arena_strdup(a, path) };
	return &p->sink;
}

static int faulty_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx)
{
	struct faulty *t = faulty_of(s);

	if (is_hit(t->f, "list"))
		return fail(ERR_FILE_READ, "list", dir);
	return t->inner->driver->list(t->inner, dir, fn, ctx);
}

static int faulty_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out)
{
	struct faulty *t = faulty_of(s);

	if (is_hit(t->f, "stat"))
		return fail(ERR_FILE_READ, "stat", path);
	return t->inner->driver->stat(a, t->inner, path, out);
}

static int faulty_remove(struct store *s, const char *path)
{
	struct faulty *t = faulty_of(s);

	if (is_hit(t->f, "remove"))
		return fail(ERR_FILE_WRITE, "remove", path);
	return t->inner->driver->remove(t->inner, path);
}

static int faulty_remove_dir(struct store *s, const char *path)
{
	struct faulty *t = faulty_of(s);

	if (is_hit(t->f, "remove"))
		return fail(ERR_FILE_WRITE, "remove", path);
	return t->inner->driver->remove_dir(t->inner, path);
}

static int faulty_make_dir(struct store *s, const char *path, mode_t mode)
{
	struct store *inner = faulty_of(s)->inner;

	return inner->driver->make_dir(inner, path, mode);
}

static int faulty_link(struct store *s, const char *target, const char *path)
{
	struct store *inner = faulty_of(s)->inner;

	return inner->driver->link(inner, target, path);
}

static int faulty_hard_link(struct store *s, const char *from, const char *path)
{
	struct store *inner = faulty_of(s)->inner;

	return inner->driver->hard_link(inner, from, path);
}

static int faulty_sync_dir(struct store *s, const char *dir)
{
	struct faulty *t = faulty_of(s);

	if (is_hit(t->f, "sync"))
		return fail(ERR_FILE_WRITE, "sync", dir);
	return t->inner->driver->sync_dir(t->inner, dir);
}

static int faulty_touch(struct store *s, const char *path, const struct put_opts *o)
{
	struct store *inner = faulty_of(s)->inner;

	return inner->driver->touch(inner, path, o);
}

struct store *store_faulty(struct arena *a, struct store *inner, struct store_fault *f)
{
	struct faulty *t = arena_new_object(a, struct faulty);

	t->driver = (struct store_driver){
		.get = faulty_get,
		.put = faulty_put,
		.list = faulty_list,
		.stat = faulty_stat,
		.remove = faulty_remove,
		.remove_dir = faulty_remove_dir,
		.make_dir = faulty_make_dir,
		.link = faulty_link,
		.hard_link = faulty_hard_link,
		.sync_dir = faulty_sync_dir,
		.touch = faulty_touch,
	};
	store_wrap(a, inner, &t->driver, &t->store);
	t->inner = inner;
	t->f = f;
	return &t->store;
}
