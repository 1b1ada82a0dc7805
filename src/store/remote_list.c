/*
 * remote_list: listings, entries and syncs.
 *
 * Always true: a listing is heard to its end, and held against the number at its end, before anybody is told of its
 * first entry; so the connection is free while the callback works.
 */
#include <string.h>
#include "base/map.h"
#include "base/path.h"
#include "store/remote_intern.h"

#define LISTING_MAX ((size_t)1024 * 1024 * 1024) /* bytes; a side that never ends */
#define ENTRY_MIN 32 /* bytes, fewer than an entry has */

typedef VEC(struct store_entry) entries;

/* ---- hearing ---- */

/* Ask about a path; all data to raw, the answer's fields to u.  what is used until then. */
static int ask(struct remote_store *rs, enum remote_verb verb, const char *what, const char *path, struct buf *raw,
	struct arena *a, struct unpack *u)
{
	const struct remote_place *place = remote_store_now(rs);
	struct remote *r = rs->remote;
	struct wire_frame f;
	struct buf request;

	if (place == NULL)
		return -1;
	buf_init(&request, a);
	remote_pack_path(&request, verb, place->number, path);
	if (remote_begin(r, arena_printf(a, "%s '%s'", what, store_name(a, &rs->store, path)), &request) != 0)
		return -1;
	for (;;) {
		if (remote_next(r, &f) != 0)
			return -1;
		if (f.type == WIRE_ANSWER)
			break;
		if (f.type != WIRE_DATA || raw == NULL || f.len > LISTING_MAX - raw->len)
			return remote_confused(r, "what is not an answer to %s '%s'", what, path);
		buf_add(raw, f.data, f.len);
	}
	unpack_init(u, a, arena_memdup(a, f.data, f.len), f.len);
	return 0;
}

/* The answer's fields say absent, or how many: 0, STORE_ABSENT, -1. */
static int take_count(struct remote_store *rs, struct unpack *u, const struct buf *raw, uint32_t *n)
{
	const bool absent = unpack_bool(u);

	*n = absent ? 0 : unpack_u32(u);
	if (unpack_end(u, "end of a listing") != 0)
		return remote_confused(rs->remote, "a malformed end of a listing");
	if (absent && raw->len > 0)
		return remote_confused(rs->remote, "a listing, and that there is none");
	return absent ? STORE_ABSENT : 0;
}

/* n entries, in the order of a listing, which names nothing twice and nothing elsewhere. */
static int take_entries(struct unpack *u, uint32_t n, entries *out)
{
	for (uint32_t i = 0; i < n && !u->bad; i++) {
		struct store_entry *e = vec_add(out);
		remote_unpack_entry(u, e);
		u->bad |= e->name[0] == '\0' || (i > 0 && strcmp(out->v[i - 1].name, e->name) >= 0);
	}
	return u->bad ? -1 : 0;
}

static int tell(const entries *all, store_list_fn *fn, void *ctx)
{
	for (size_t i = 0; i < all->n; i++) {
		if (fn(ctx, &all->v[i]) != 0)
			return -1;
	}
	return 0;
}

/* ---- what was foreseen ---- */

struct folder {
	size_t at, len; /* of its entries in raw */
	uint32_t n;
	bool taken;
};

struct remote_foreseen {
	struct arena *arena; /* it lives there itself */
	struct buf raw;
	struct map *folders;
	size_t left; /* not taken */
};

void remote_forget(struct remote_store *rs)
{
	if (rs->foreseen != NULL)
		arena_free(rs->foreseen->arena);
	rs->foreseen = NULL;
}

/* One folder behind the other; the entries stay as they came until somebody wants them. */
static bool index_folder(struct remote_foreseen *t, struct unpack *u, const char *dir)
{
	SCOPED_ARENA(a);
	struct folder *f = arena_new_object(t->arena, struct folder);
	entries all;

	vec_init(&all, a);
	u->arena = a;
	const char *path = unpack_text(u);
	f->n = (uint32_t)unpack_count(u, ENTRY_MIN);
	f->at = (size_t)((const char *)u->at - t->raw.data);
	if (take_entries(u, f->n, &all) != 0 || map_has(t->folders, path))
		return false;
	if (path[0] == '\0' ? dir[0] != '\0' : !path_is_safe(path) || (dir[0] != '\0' && !path_is_below(path, dir)))
		return false;
	f->len = (size_t)((const char *)u->at - t->raw.data) - f->at;
	map_put(t->folders, path, f);
	return true;
}

static int index_tree(struct remote_store *rs, struct remote_foreseen *t, const char *dir, uint32_t n)
{
	struct unpack u;

	t->folders = map_new(t->arena);
	unpack_init(&u, t->arena, t->raw.data, t->raw.len);
	for (uint32_t i = 0; i < n; i++) {
		if (!index_folder(t, &u, dir))
			return remote_confused(rs->remote, "a malformed listing of '%s'", dir);
	}
	if (u.at != u.end)
		return remote_confused(rs->remote, "more folders of '%s' than it counted", dir);
	t->left = n;
	return 0;
}

static int foresee(struct remote_store *rs, struct remote_foreseen *t, const char *dir)
{
	SCOPED_ARENA(a);
	struct unpack u;
	uint32_t n;

	buf_init(&t->raw, t->arena);
	int rc = ask(rs, REMOTE_TREE, "listing all below", dir, &t->raw, a, &u);
	if (rc == 0)
		rc = take_count(rs, &u, &t->raw, &n);
	return rc == 0 ? index_tree(rs, t, dir, n) : rc;
}

int remote_foresee(struct store *s, const char *dir)
{
	struct remote_store *rs = (struct remote_store *)s;
	const struct remote_place *place = remote_store_now(rs);

	remote_forget(rs);
	if (place == NULL)
		return -1;
	/* for anybody else it would end the conversation */
	if (place->number <= REMOTE_PLACE_PG || (rs->remote->theirs.roles & REMOTE_ROLE_BACKUP) == 0)
		return 0;
	struct arena *a = arena_new();
	struct remote_foreseen *t = arena_new_object(a, struct remote_foreseen);
	t->arena = a;
	rs->foreseen = t;
	int rc = foresee(rs, t, dir);
	if (rc != 0 || t->left == 0)
		remote_forget(rs);
	return rc < 0 ? -1 : 0;
}

/* What was foreseen of this folder, once; false: nothing. */
static bool take_foreseen(struct arena *a, struct remote_store *rs, const char *dir, entries *out)
{
	struct remote_foreseen *t = rs->foreseen;
	struct folder *f = t == NULL ? NULL : map_get(t->folders, dir);
	struct unpack u;

	if (f == NULL || f->taken)
		return false;
	unpack_init(&u, a, t->raw.data + f->at, f->len);
	(void)take_entries(&u, f->n, out);
	f->taken = true;
	if (--t->left == 0)
		remote_forget(rs);
	return true;
}

/* ---- the driver's ---- */

static int list_now(struct arena *a, struct remote_store *rs, const char *dir, entries *out)
{
	SCOPED_ARENA(scratch);
	struct buf raw;
	struct unpack u;
	uint32_t n;

	buf_init(&raw, scratch);
	int rc = ask(rs, REMOTE_LIST, "listing", dir, &raw, scratch, &u);
	if (rc == 0)
		rc = take_count(rs, &u, &raw, &n);
	if (rc != 0)
		return rc;
	unpack_init(&u, a, raw.data, raw.len);
	if (take_entries(&u, n, out) != 0 || u.at != u.end)
		return remote_confused(rs->remote, "a malformed listing of '%s'", dir);
	return 0;
}

int remote_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx)
{
	SCOPED_ARENA(a);
	struct remote_store *rs = (struct remote_store *)s;
	entries all;

	vec_init(&all, a);
	int rc = take_foreseen(a, rs, dir, &all) ? 0 : list_now(a, rs, dir, &all);
	return rc != 0 ? rc : tell(&all, fn, ctx);
}

int remote_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out)
{
	struct remote_store *rs = (struct remote_store *)s;
	struct unpack u;

	if (ask(rs, REMOTE_STAT, "looking at", path, NULL, a, &u) != 0)
		return -1;
	const bool absent = unpack_bool(&u);
	if (!absent)
		remote_unpack_entry(&u, out);
	if (unpack_end(&u, "entry") != 0)
		return remote_confused(rs->remote, "a malformed entry of '%s'", path);
	if (absent)
		return STORE_ABSENT;
	out->name = arena_strdup(a, path_base(path));
	return 0;
}

int remote_sync(struct store *s, const char *dir)
{
	SCOPED_ARENA(a);
	struct remote_store *rs = (struct remote_store *)s;
	struct unpack u;

	if (ask(rs, REMOTE_SYNC, "syncing", dir, NULL, a, &u) != 0)
		return -1;
	return u.at == u.end ? 0 : remote_confused(rs->remote, "an answer to a sync that is none");
}
