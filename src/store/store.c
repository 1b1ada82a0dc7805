/*
 * store: what is common to all drivers.  No driver ever sees a path that leaves its root.
 */
#include "store/store.h"

#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/path.h"

static const struct get_opts get_defaults;
static const struct put_opts put_defaults;

char *store_name(struct arena *a, const struct store *s, const char *path)
{
	return path_join(a, s->root, path);
}

void store_wrap(struct arena *a, const struct store *inner, struct store_driver *driver, struct store *out)
{
	const struct store_driver *d = inner->driver;

	driver->name = d->name;
	if (d->make_dir == NULL)
		driver->make_dir = NULL;
	if (d->link == NULL)
		driver->link = NULL;
	if (d->hard_link == NULL)
		driver->hard_link = NULL;
	if (d->sync_dir == NULL)
		driver->sync_dir = NULL;
	if (d->touch == NULL)
		driver->touch = NULL;
	*out = (struct store){ .driver = driver, .root = inner->root, .arena = a, .buffer_size = inner->buffer_size,
		.opened = inner->opened };
}

char *store_temp_name(struct arena *a, const char *path)
{
	uint32_t random;

	/* names of one process must differ, and of two hosts with equal pids; chance is enough,
	 * because the file is created exclusively */
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = (uint32_t)clock_mono_ms();
	return arena_printf(a, "%s.%ld-%08x.pgbackrest.tmp", path, (long)getpid(), random);
}

static int refuse_path(const struct store *s, const char *path)
{
	return err_set(ERR_FORMAT, "path '%s' is not allowed below '%s'", path, s->root);
}

static int check_path(const struct store *s, const char *path)
{
	return path_is_safe(path) ? 0 : refuse_path(s, path);
}

static int check_path_or_root(const struct store *s, const char *path)
{
	return path[0] == '\0' ? 0 : check_path(s, path);
}

struct sink *store_get_chain(struct arena *a, const struct get_opts *o,
	ssize_t (*reread)(void *, void *, size_t, uint64_t), void *ctx, struct sink *to)
{
	if (o->spec == NULL)
		return to;
	return pipe_chain(a, o->spec, reread, ctx, to, o->result);
}

void store_keep_result(struct store *s, const struct get_opts *o)
{
	struct page_result kept = { 0 };

	if (o->spec == NULL)
		return;
	kept.misaligned = o->result->pages.misaligned;
	/* nearly always empty: a healthy cluster must not make the store's arena grow */
	if (o->result->pages.bad.n > 0) {
		vec_init(&kept.bad, s->arena);
		for (size_t i = 0; i < o->result->pages.bad.n; i++)
			vec_push(&kept.bad, o->result->pages.bad.v[i]);
	}
	o->result->pages = kept;
}

int store_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	if (check_path(s, path) != 0)
		return -1;
	if (o == NULL)
		o = &get_defaults;
	if (o->spec != NULL && o->result == NULL)
		return err_set(ERR_ASSERT, "get of '%s' has nowhere to put its result", path);
	int rc = s->driver->get(s, path, o, to);
	if (rc == STORE_ABSENT && !o->missing_ok) {
		SCOPED_ARENA(a);
		return err_set(ERR_FILE_MISSING, "unable to open missing file '%s' for read",
			store_name(a, s, path));
	}
	return rc;
}

int store_ahead(struct store *s, const char *path, const struct get_opts *o)
{
	if (check_path(s, path) != 0)
		return -1;
	return s->driver->ahead == NULL ? 0 : s->driver->ahead(s, path, o == NULL ? &get_defaults : o);
}

int store_foresee(struct store *s, const char *dir)
{
	if (check_path_or_root(s, dir) != 0)
		return -1;
	return s->driver->foresee == NULL ? 0 : s->driver->foresee(s, dir);
}

struct sink *store_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o)
{
	if (check_path(s, path) != 0)
		return NULL;
	if (o != NULL && (o->at != NULL ? o->atomic : o->keep))
		return err_null(ERR_ASSERT, "put of '%s' with options that exclude each other", path);
	return s->driver->put(a, s, path, o == NULL ? &put_defaults : o);
}

int store_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx)
{
	if (check_path_or_root(s, dir) != 0)
		return -1;
	return s->driver->list(s, dir, fn, ctx);
}

int store_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out)
{
	if (check_path_or_root(s, path) != 0)
		return -1;
	return s->driver->stat(a, s, path, out);
}

int store_sync_dir(struct store *s, const char *dir)
{
	if (check_path_or_root(s, dir) != 0)
		return -1;
	return s->driver->sync_dir == NULL ? 0 : s->driver->sync_dir(s, dir);
}

static int sync_parent(struct store *s, const char *path)
{
	SCOPED_ARENA(a);

	return store_sync_dir(s, path_parent(a, path));
}

int store_remove(struct store *s, const char *path, bool missing_ok)
{
	if (check_path(s, path) != 0)
		return -1;
	int rc = s->driver->remove(s, path);
	if (rc == 0)
		return sync_parent(s, path);
	if (rc == STORE_ABSENT && !missing_ok) {
		SCOPED_ARENA(a);
		return err_set(ERR_FILE_REMOVE, "unable to remove missing file '%s'",
			store_name(a, s, path));
	}
	return rc == STORE_ABSENT ? 0 : rc;
}

int store_remove_files(struct store *s, const char *dir, const strvec *names)
{
	SCOPED_ARENA(a);

	for (size_t i = 0; i < names->n; i++) {
		const char *path = path_join(a, dir, names->v[i]);

		if (check_path(s, path) != 0 || s->driver->remove(s, path) < 0)
			return -1;
	}
	return store_sync_dir(s, dir);
}

struct tree {
	struct store *store;
	const char *dir;
};

static int remove_dir_tree(struct store *s, const char *dir);

static int remove_entry(void *ctx, const struct store_entry *e)
{
	struct tree *t = ctx;
	SCOPED_ARENA(a);
	const char *path = path_join(a, t->dir, e->name);

	/* a link is removed, never what it leads to */
	if (e->type == STORE_DIR)
		return remove_dir_tree(t->store, path);
	return t->store->driver->remove(t->store, path) < 0 ? -1 : 0;
}

/* What vanishes meanwhile is gone as wanted. */
static int remove_dir_tree(struct store *s, const char *dir)
{
	struct tree t = { .store = s, .dir = dir };

	if (s->driver->list(s, dir, remove_entry, &t) < 0)
		return -1;
	return s->driver->remove_dir(s, dir) < 0 ? -1 : 0;
}

/* One fsync, of the directory that held the tree: what is inside needs no name to be gone for
 * good. */
int store_remove_tree(struct store *s, const char *path)
{
	SCOPED_ARENA(a);
	struct store_entry e;

	if (check_path(s, path) != 0)
		return -1;
	int rc = s->driver->stat(a, s, path, &e);
	if (rc != 0)
		return rc == STORE_ABSENT ? 0 : rc;
	if (e.type != STORE_DIR)
		return store_remove(s, path, true);
	if (remove_dir_tree(s, path) != 0)
		return -1;
	return sync_parent(s, path);
}

int store_make_dir(struct store *s, const char *path, mode_t mode)
{
	if (check_path_or_root(s, path) != 0)
		return -1;
	/* a store without directories needs none */
	return s->driver->make_dir == NULL ? 0 : s->driver->make_dir(s, path, mode);
}

int store_link(struct store *s, const char *target, const char *path)
{
	if (check_path(s, path) != 0)
		return -1;
	if (s->driver->link == NULL)
		return err_set(ERR_FEATURE, "unable to create link '%s': %s storage has no links",
			path, s->driver->name);
	return s->driver->link(s, target, path);
}

int store_hard_link(struct store *s, const char *from, const char *path)
{
	if (check_path(s, from) != 0 || check_path(s, path) != 0)
		return -1;
	if (s->driver->hard_link == NULL)
		return err_set(ERR_FEATURE, "unable to create hard link '%s': %s storage has no hard links",
			path, s->driver->name);
	return s->driver->hard_link(s, from, path);
}

int store_touch(struct store *s, const char *path, const struct put_opts *o)
{
	if (check_path_or_root(s, path) != 0)
		return -1;
	if (s->driver->touch == NULL)
		return err_set(ERR_FEATURE, "unable to set attributes of '%s': %s storage has none",
			path, s->driver->name);
	return s->driver->touch(s, path, o == NULL ? &put_defaults : o);
}

int store_read(struct store *s, const char *path, uint64_t max, bool missing_ok, struct buf *out)
{
	SCOPED_ARENA(a);
	const struct get_opts o = { .missing_ok = missing_ok };
	const char *text = arena_printf(a, "unable to read '%s': file is larger than %ju bytes",
		store_name(a, s, path), (uintmax_t)max);

	size_t before = out->len;
	int rc = store_get(s, path, &o, sink_limit(a, sink_buf(a, out), max, ERR_FILE_READ, text));
	if (rc != 0) {
		out->len = before;
		out->data[before] = '\0';
	}
	return rc;
}

int store_write(struct store *s, const char *path, const void *data, size_t len,
	const struct put_opts *o)
{
	SCOPED_ARENA(a);
	struct sink *to = store_put(a, s, path, o);

	if (to == NULL || sink_write(to, data, len) != 0)
		return -1;
	return sink_finish(to);
}
