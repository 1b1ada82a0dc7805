/*
 * remote_store: a store at a place of the other side; see remote_get.c, remote_list.c and remote_put.c for what it
 * does.
 *
 * Nothing here removes, renames, links or changes modes: the protocol has no words for it.
 */
#include <string.h>
#include "base/path.h"
#include "base/str.h"
#include "store/remote_intern.h"

static bool is_cluster(uint32_t number)
{
	return number > REMOTE_PLACE_PG;
}

static bool has_path(const struct remote_place *p, const char *path)
{
	SCOPED_ARENA(a);

	return path == NULL || strcmp(path_normalize(a, p->path), path_normalize(a, path)) == 0;
}

/* A cluster is the one at the path, whatever its number there; a repository the one of the number, or the only one. */
static const struct remote_place *find_place(const struct remote_store *rs, const struct remote_hello *h)
{
	const struct remote_place *only = NULL;
	size_t n = 0;

	for (size_t i = 0; i < h->places.n; i++) {
		const struct remote_place *p = &h->places.v[i];
		if (is_cluster(p->number) != is_cluster(rs->number) || !has_path(p, rs->path))
			continue;
		if (p->number == rs->number)
			return p;
		only = p;
		n++;
	}
	return n == 1 && (!is_cluster(rs->number) || rs->path != NULL) ? only : NULL;
}

static const char *places_text(struct arena *a, const struct remote_store *rs, const struct remote_hello *h)
{
	strvec words;

	vec_init(&words, a);
	for (size_t i = 0; i < h->places.n; i++) {
		const struct remote_place *p = &h->places.v[i];
		const bool pg = is_cluster(p->number);
		if (pg == is_cluster(rs->number))
			vec_push(&words, arena_printf(a, "%s%u at '%s'", pg ? "pg" : "repo",
				pg ? p->number - REMOTE_PLACE_PG : p->number, remote_clean(a, p->path)));
	}
	return words.n == 0 ? "none" : str_join(a, &words, ", ");
}

static int no_place(const struct remote_store *rs, const struct remote_hello *h)
{
	SCOPED_ARENA(a);
	const struct remote *r = rs->remote;
	const char *text = places_text(a, rs, h);

	if (is_cluster(rs->number))
		return err_set(ERR_HOST_INVALID, "%s has no cluster at '%s' for this connection; it has: %s", r->who,
			rs->path == NULL ? "any path" : rs->path, text);
	return err_set(ERR_HOST_INVALID, "%s has no repo%u%s%s%s for this connection; it has: %s", r->who, rs->number,
		rs->path == NULL ? "" : " at '", rs->path == NULL ? "" : rs->path, rs->path == NULL ? "" : "'", text);
}

/* Whoever moved the repository over there, between two connections, has moved it for the messages too. */
static void name_root(struct remote_store *rs)
{
	SCOPED_ARENA(a);
	const char *root = arena_printf(a, "%s:%s", rs->remote->o.host, remote_clean(a, rs->place->path));

	if (strcmp(root, rs->store.root) != 0)
		rs->store.root = arena_strdup(rs->store.arena, root);
}

const struct remote_place *remote_store_now(struct remote_store *rs)
{
	const struct remote_hello *h = remote_hello(rs->remote);

	if (h == NULL)
		return NULL;
	if (rs->place != NULL && rs->generation == remote_generation(rs->remote))
		return rs->place;
	rs->place = find_place(rs, h);
	if (rs->place == NULL) {
		(void)no_place(rs, h);
		return NULL;
	}
	rs->generation = remote_generation(rs->remote);
	name_root(rs);
	return rs->place;
}

const struct remote_place *store_remote_place(struct store *s)
{
	return remote_store_now((struct remote_store *)s);
}

static int no_removal(struct store *s, const char *path)
{
	SCOPED_ARENA(a);

	return err_set(ERR_ACCESS, "unable to remove '%s': %s permits no removal", store_name(a, s, path),
		((struct remote_store *)s)->remote->who);
}

static void end_store(void *ctx)
{
	struct remote_store *rs = ctx;

	remote_forget(rs);
	arena_free(rs->got);
}

struct store *store_remote(struct arena *a, struct remote *r, uint32_t number, const char *path)
{
	static const struct store_driver driver = {
		.name = "remote",
		.get = remote_get,
		.put = remote_put,
		.list = remote_list,
		.stat = remote_stat,
		.remove = no_removal,
		.remove_dir = no_removal,
		.sync_dir = remote_sync,
		.ahead = remote_get_ahead,
		.foresee = remote_foresee,
	};
	struct remote_store *rs = arena_new_object(a, struct remote_store);

	/* until the other side has said where it is */
	const char *where = path != NULL ? path : arena_printf(a, "repo%u", number);
	rs->store = (struct store){ .driver = &driver, .root = arena_printf(a, "%s:%s", r->o.host, where), .arena = a };
	rs->remote = r;
	rs->number = number;
	rs->path = path == NULL ? NULL : arena_strdup(a, path);
	arena_defer(a, end_store, rs);
	return &rs->store;
}
