/*
 * mem: a store in memory, for tests.  Nodes are found by their whole path; "" stands for the
 * root, which is always there.  Content that was replaced stays in the arena.
 */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/path.h"

#define PIECE ((size_t)64 * 1024)

struct node {
	const char *path;
	struct store_entry e;
	const char *data;
};

struct mem {
	struct store store;
	VEC(struct node *) nodes;
};

static struct mem *mem_of(struct store *s)
{
	return (struct mem *)s;
}

static struct node *find(const struct mem *m, const char *path)
{
	for (size_t i = 0; i < m->nodes.n; i++) {
		if (strcmp(m->nodes.v[i]->path, path) == 0)
			return m->nodes.v[i];
	}
	return NULL;
}

static struct node *add(struct mem *m, const char *path, enum store_type type, mode_t mode)
{
	struct node *n = arena_new_object(m->store.arena, struct node);

	n->path = arena_strdup(m->store.arena, path);
	n->e = (struct store_entry){ .name = path_base(n->path), .type = type, .mode = mode,
		.uid = geteuid(), .gid = getegid() };
	vec_push(&m->nodes, n);
	return n;
}

static void drop(struct mem *m, const struct node *n)
{
	for (size_t i = 0; i < m->nodes.n; i++) {
		if (m->nodes.v[i] == n) {
			m->nodes.v[i] = m->nodes.v[--m->nodes.n];
			return;
		}
	}
}

static int mem_make_dir(struct store *s, const char *path, mode_t mode)
{
	SCOPED_ARENA(a);
	const struct node *n = path[0] == '\0' ? NULL : find(mem_of(s), path);

	if (path[0] == '\0' || (n != NULL && n->e.type == STORE_DIR))
		return 0;
	if (n != NULL)
		return err_set(ERR_PATH_CREATE, "unable to create path '%s'",
			store_name(a, s, path));
	if (mem_make_dir(s, path_parent(a, path), 0) != 0)
		return -1;
	add(mem_of(s), path, STORE_DIR, mode == 0 ? 0750 : mode);
	return 0;
}

struct mem_source {
	const char *data;
	uint64_t size;
};

static ssize_t mem_reread(void *ctx, void *data, size_t len, uint64_t offset)
{
	const struct mem_source *f = ctx;
	uint64_t left = offset < f->size ? f->size - offset : 0;
	size_t n = left < len ? (size_t)left : len;

	if (n > 0)
		memcpy(data, f->data + offset, n);
	return (ssize_t)n;
}

static int push(struct mem_source *f, const struct get_opts *o, const char *name, struct sink *to)
{
	uint64_t left = o->offset < f->size ? f->size - o->offset : 0;

	if (o->length != 0 && o->length < left)
		left = o->length;
	if (o->exact && left < o->length)
		return err_set(ERR_FILE_READ, "unable to read '%s': %ju bytes wanted, %ju found",
			name, (uintmax_t)o->length, (uintmax_t)left);
	for (uint64_t at = o->offset; left > 0;) {
		size_t n = left < PIECE ? (size_t)left : PIECE;
		if (sink_write(to, f->data + at, n) != 0)
			return -1;
		at += n;
		left -= n;
	}
	return sink_finish(to);
}

static int mem_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	SCOPED_ARENA(a);
	const struct node *n = find(mem_of(s), path);

	if (n == NULL)
		return STORE_ABSENT;
	if (n->e.type != STORE_FILE)
		return err_set(ERR_FILE_READ, "unable to read '%s': not a regular file",
			store_name(a, s, path));
	if (o->opened != NULL && o->opened(o->ctx, &n->e) != 0)
		return -1;
	struct mem_source f = { .data = n->data, .size = n->e.size };
	int rc = push(&f, o, store_name(a, s, path), store_get_chain(a, o, mem_reread, &f, to));
	store_keep_result(s, o);
	return rc;
}

struct mem_put {
	struct sink sink;
	struct mem *mem;
	struct arena *arena;
	struct put_opts o;
	const char *path;
	struct buf data;
	char *any; /* with o.at: what the node has */
	struct node *node; /* in place only, made at once */
	struct deferred *undo;
};

static int put_write(struct sink *s, const void *data, size_t len)
{
	struct mem_put *p = (struct mem_put *)s;

	if (p->o.at == NULL) {
		buf_add(&p->data, data, len);
		return 0;
	}
	if (*p->o.at > p->o.size_hint || len > p->o.size_hint - *p->o.at)
		return err_set(ERR_ASSERT, "unable to write '%s': behind its end", p->path);
	if (len > 0)
		memcpy(p->any + *p->o.at, data, len);
	return 0;
}

static void put_undo(void *ctx)
{
	struct mem_put *p = ctx;

	drop(p->mem, p->node);
}

static int mem_exists(const struct mem_put *p)
{
	return err_set(ERR_FILE_EXISTS, "unable to create '%s': file exists",
		store_name(p->arena, &p->mem->store, p->path));
}

static void fill(struct node *n, struct arena *a, const struct mem_put *p)
{
	if (p->o.at == NULL) {
		n->data = arena_memdup(a, p->data.data, p->data.len);
		n->e.size = p->data.len;
	}
	n->e.type = STORE_FILE;
	n->e.target = NULL;
	n->e.mtime = p->o.set_mtime ? p->o.mtime : 0;
	n->e.mode = p->o.mode == 0 ? 0640 : p->o.mode;
	if (p->o.set_owner) {
		n->e.uid = p->o.uid;
		n->e.gid = p->o.gid;
	}
}

static int put_finish(struct sink *s)
{
	struct mem_put *p = (struct mem_put *)s;
	struct node *n = p->node;

	if (p->o.atomic) {
		if (p->o.final_path != NULL)
			p->path = arena_strdup(p->arena, *p->o.final_path);
		n = find(p->mem, p->path);
		if (n != NULL && p->o.create_new)
			return mem_exists(p);
		if (n != NULL && n->e.type == STORE_DIR)
			return err_set(ERR_FILE_MOVE, "unable to move to '%s'", p->path);
		if (n == NULL)
			n = add(p->mem, p->path, STORE_FILE, 0);
	}
	fill(n, p->mem->store.arena, p);
	arena_undefer(p->arena, p->undo);
	return 0;
}

/* All of the file's bytes, in memory of their own. */
static void make_writable(struct mem_put *p, struct node *n)
{
	uint64_t size = p->o.size_hint, kept = n->e.size < size ? n->e.size : size;

	p->any = arena_zalloc(p->mem->store.arena, size);
	if (p->o.keep && kept > 0)
		memcpy(p->any, n->data, kept);
	n->data = p->any;
	n->e.size = size;
}

/* In place: the file is there, and empty, at once. */
static int open_in_place(struct mem_put *p)
{
	struct node *n = find(p->mem, p->path);

	if (n != NULL && p->o.create_new)
		return mem_exists(p);
	if (n != NULL ? n->e.type != STORE_FILE || (p->o.keep && n->e.shared) : p->o.keep)
		return err_set(ERR_FILE_OPEN, "unable to open file '%s' for write", p->path);
	if (n == NULL)
		n = add(p->mem, p->path, STORE_FILE, 0640);
	if (p->o.at != NULL)
		make_writable(p, n);
	else
		n->e.size = 0;
	p->node = n;
	if (!p->o.keep)
		p->undo = arena_defer(p->arena, put_undo, p);
	return 0;
}

static struct sink *mem_put(struct arena *a, struct store *s, const char *path,
	const struct put_opts *o)
{
	struct mem_put *p = arena_new_object(a, struct mem_put);

	*p = (struct mem_put){ .sink = { .write = put_write, .finish = put_finish },
		.mem = mem_of(s), .arena = a, .o = *o, .path = arena_strdup(a, path) };
	buf_init(&p->data, a);
	if (mem_make_dir(s, path_parent(a, path), 0) != 0) {
		err_recode(ERR_FILE_OPEN);
		return NULL;
	}
	if (!o->atomic && open_in_place(p) != 0)
		return NULL;
	return &p->sink;
}

static int by_name(const void *x, const void *y)
{
	const struct store_entry *e = x, *f = y;

	return strcmp(e->name, f->name);
}

/* Copies first: the callback may change the store. */
static int mem_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx)
{
	SCOPED_ARENA(a);
	const struct mem *m = mem_of(s);
	const struct node *d = dir[0] == '\0' ? NULL : find(m, dir);
	VEC(struct store_entry) v;

	if (dir[0] != '\0' && d == NULL)
		return STORE_ABSENT;
	if (d != NULL && d->e.type != STORE_DIR)
		return err_set(ERR_PATH_OPEN, "unable to list files in '%s'",
			store_name(a, s, dir));
	vec_init(&v, a);
	for (size_t i = 0; i < m->nodes.n; i++) {
		if (strcmp(path_parent(a, m->nodes.v[i]->path), dir) == 0)
			vec_push(&v, m->nodes.v[i]->e);
	}
	qsort(v.v, v.n, sizeof(*v.v), by_name);
	for (size_t i = 0; i < v.n; i++) {
		if (fn(ctx, &v.v[i]) != 0)
			return -1;
	}
	return 0;
}

static int mem_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out)
{
	const struct node *n = find(mem_of(s), path);

	if (path[0] == '\0') {
		*out = (struct store_entry){ .name = "", .type = STORE_DIR, .mode = 0750,
			.uid = geteuid(), .gid = getegid() };
		return 0;
	}
	if (n == NULL)
		return STORE_ABSENT;
	*out = n->e;
	out->name = arena_strdup(a, n->e.name);
	return 0;
}

static int mem_remove(struct store *s, const char *path)
{
	const struct node *n = find(mem_of(s), path);

	if (n == NULL)
		return STORE_ABSENT;
	if (n->e.type == STORE_DIR)
		return err_set(ERR_FILE_REMOVE, "unable to remove '%s': is a directory", path);
	drop(mem_of(s), n);
	return 0;
}

static int refuse_entry(void *ctx, const struct store_entry *e)
{
	return err_set(ERR_PATH_REMOVE, "unable to remove path '%s': '%s' is in it", (char *)ctx,
		e->name);
}

static int mem_remove_dir(struct store *s, const char *path)
{
	SCOPED_ARENA(a);
	int rc = mem_list(s, path, refuse_entry, arena_strdup(a, path));

	if (rc == 0)
		drop(mem_of(s), find(mem_of(s), path));
	return rc;
}

static int mem_link(struct store *s, const char *target, const char *path)
{
	SCOPED_ARENA(a);
	struct node *n = find(mem_of(s), path);

	if (n != NULL && n->e.type == STORE_DIR)
		return err_set(ERR_FILE_MOVE, "unable to move to '%s'", path);
	if (mem_make_dir(s, path_parent(a, path), 0) != 0)
		return -1;
	if (n == NULL)
		n = add(mem_of(s), path, STORE_LINK, 0777);
	n->e.type = STORE_LINK;
	n->e.size = 0;
	n->e.target = arena_strdup(s->arena, target);
	return 0;
}

/* Content is never changed in place, so that two nodes may have the same. */
static int mem_hard_link(struct store *s, const char *from, const char *path)
{
	SCOPED_ARENA(a);
	struct node *old = find(mem_of(s), from);

	if (old == NULL)
		return STORE_ABSENT;
	if (old->e.type != STORE_FILE)
		return err_set(ERR_FEATURE, "unable to create hard link '%s' to '%s'", path, from);
	if (find(mem_of(s), path) != NULL)
		return err_set(ERR_FILE_EXISTS, "unable to create '%s': file exists", path);
	if (mem_make_dir(s, path_parent(a, path), 0) != 0)
		return -1;
	struct node *n = add(mem_of(s), path, STORE_FILE, old->e.mode);
	const char *name = n->e.name;
	old->e.shared = true;
	n->e = old->e;
	n->e.name = name;
	n->data = old->data;
	return 0;
}

static int mem_sync_dir(struct store *s, const char *path)
{
	const struct node *n = find(mem_of(s), path);

	if (path[0] != '\0' && (n == NULL || n->e.type != STORE_DIR))
		return err_set(ERR_PATH_MISSING, "unable to sync missing path '%s'", path);
	return 0;
}

static int mem_touch(struct store *s, const char *path, const struct put_opts *o)
{
	struct node *n = find(mem_of(s), path);

	if (n == NULL)
		return err_set(ERR_FILE_MISSING, "unable to get info for missing path/file '%s'",
			path);
	if (o->set_owner) {
		n->e.uid = o->uid;
		n->e.gid = o->gid;
	}
	if (n->e.type != STORE_LINK && o->mode != 0)
		n->e.mode = o->mode;
	if (n->e.type != STORE_LINK && o->set_mtime)
		n->e.mtime = o->mtime;
	return 0;
}

struct store *store_mem(struct arena *a)
{
	static const struct store_driver driver = {
		.name = "mem",
		.get = mem_get,
		.put = mem_put,
		.list = mem_list,
		.stat = mem_stat,
		.remove = mem_remove,
		.remove_dir = mem_remove_dir,
		.make_dir = mem_make_dir,
		.link = mem_link,
		.hard_link = mem_hard_link,
		.sync_dir = mem_sync_dir,
		.touch = mem_touch,
	};
	struct mem *m = arena_new_object(a, struct mem);

	m->store = (struct store){ .driver = &driver, .root = "mem:", .arena = a };
	vec_init(&m->nodes, a);
	return &m->store;
}
