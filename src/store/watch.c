/*
 * watch: around a store, telling where the process is.
 *
 * Always true: outside of all calls the watch stands where it stood before them; undoing a put that was not
 * finished counts as work in its store, because it removes a file there.
 */
#include "store/watch.h"

struct watched {
	struct store store;
	struct store_driver driver;
	struct store *inner;
	const struct store_watch *watch;
	unsigned who;
};

static struct watched *watched_of(struct store *s)
{
	return (struct watched *)s;
}

static unsigned enter(const struct watched *t)
{
	return t->watch->at(t->watch->ctx, t->who);
}

static void leave(const struct watched *t, unsigned before)
{
	(void)t->watch->at(t->watch->ctx, before);
}

/* Operations that call nobody back. */
#define WATCHED_CALL(name, params, args)                                                           \
	static int watched_##name params                                                           \
	{                                                                                          \
		struct watched *t = watched_of(s);                                                 \
		unsigned before = enter(t);                                                        \
		int rc = t->inner->driver->name args;                                              \
		leave(t, before);                                                                  \
		return rc;                                                                         \
	}
WATCHED_CALL(stat, (struct arena *a, struct store *s, const char *path, struct store_entry *out),
	(a, t->inner, path, out))
WATCHED_CALL(remove, (struct store *s, const char *path), (t->inner, path))
WATCHED_CALL(remove_dir, (struct store *s, const char *path), (t->inner, path))
WATCHED_CALL(make_dir, (struct store *s, const char *path, mode_t mode), (t->inner, path, mode))
WATCHED_CALL(link, (struct store *s, const char *target, const char *path), (t->inner, target, path))
WATCHED_CALL(hard_link, (struct store *s, const char *from, const char *path), (t->inner, from, path))
WATCHED_CALL(sync_dir, (struct store *s, const char *dir), (t->inner, dir))
WATCHED_CALL(touch, (struct store *s, const char *path, const struct put_opts *o), (t->inner, path, o))

/* Bytes on their way into next, where they are somebody's work. */
struct passing {
	struct sink sink;
	struct sink *next;
	const struct store_watch *watch;
	unsigned who;
	unsigned before; /* while it is undone */
};

static int passing_write(struct sink *s, const void *data, size_t len)
{
	struct passing *p = (struct passing *)s;
	unsigned before = p->watch->at(p->watch->ctx, p->who);
	int rc = sink_write(p->next, data, len);

	(void)p->watch->at(p->watch->ctx, before);
	return rc;
}

static int passing_finish(struct sink *s)
{
	struct passing *p = (struct passing *)s;
	unsigned before = p->watch->at(p->watch->ctx, p->who);
	int rc = sink_finish(p->next);

	(void)p->watch->at(p->watch->ctx, before);
	return rc;
}

/* What is read leaves the store: whoever takes it is outside, as the caller was before. */
static int watched_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	struct watched *t = watched_of(s);
	unsigned before = enter(t);
	struct passing p = {.sink = {passing_write, passing_finish}, .next = to, .watch = t->watch, .who = before};
	int rc = t->inner->driver->get(t->inner, path, o, &p.sink);

	leave(t, before);
	return rc;
}

struct listing {
	const struct watched *t;
	unsigned before;
	store_list_fn *fn;
	void *ctx;
};

static int list_entry(void *ctx, const struct store_entry *e)
{
	struct listing *l = ctx;

	leave(l->t, l->before);
	int rc = l->fn(l->ctx, e);
	(void)enter(l->t);
	return rc;
}

static int watched_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx)
{
	struct watched *t = watched_of(s);
	struct listing l = {t, enter(t), fn, ctx};
	int rc = t->inner->driver->list(t->inner, dir, list_entry, &l);

	leave(t, l.before);
	return rc;
}

static void undo_begins(void *ctx)
{
	struct passing *p = ctx;

	p->before = p->watch->at(p->watch->ctx, p->who);
}

static void undo_ends(void *ctx)
{
	const struct passing *p = ctx;

	(void)p->watch->at(p->watch->ctx, p->before);
}

/* Clean-ups run last one first: what the inner put defers lies between these two. */
static struct sink *watched_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o)
{
	struct passing *p = arena_new_object(a, struct passing);
	struct watched *t = watched_of(s);
	unsigned before = enter(t);

	*p = (struct passing){.sink = {passing_write, passing_finish}, .watch = t->watch, .who = t->who};
	(void)arena_defer(a, undo_ends, p);
	p->next = t->inner->driver->put(a, t->inner, path, o);
	(void)arena_defer(a, undo_begins, p);
	leave(t, before);
	return p->next == NULL ? NULL : &p->sink;
}

struct store *store_watched(struct arena *a, struct store *inner, const struct store_watch *watch, unsigned who)
{
	struct watched *t = arena_new_object(a, struct watched);

	t->driver = (struct store_driver){
		.get = watched_get,
		.put = watched_put,
		.list = watched_list,
		.stat = watched_stat,
		.remove = watched_remove,
		.remove_dir = watched_remove_dir,
		.make_dir = watched_make_dir,
		.link = watched_link,
		.hard_link = watched_hard_link,
		.sync_dir = watched_sync_dir,
		.touch = watched_touch,
	};
	store_wrap(a, inner, &t->driver, &t->store);
	t->inner = inner;
	t->watch = watch;
	t->who = who;
	return &t->store;
}
