/*
 * serve_files: listings, entries and syncs; and what all requests for files have in common.
 *
 * Always true: a store is asked only for paths that are safe and that the policy allows; for a listing that goes for
 * every name in it.
 */
#include "work/serve_files.h"

#include <string.h>
#include "base/path.h"

/* Bytes that are sent together.  An entry has a name and two destinations at most, so that a frame stays small. */
#define ITEMS_SEND ((size_t)48 * 1024)

enum serve_leave serve_may(const struct serving *v, const struct serve_place *p, enum serve_act act, const char *path)
{
	bool root = path[0] == '\0' && act != SERVE_READ && act != SERVE_PUT;

	if (strlen(path) > REMOTE_PATH_MAX || (!root && !path_is_safe(path)))
		return SERVE_DENIED;
	return v->s->ops->may(v->s->ctx, p, act, path);
}

int serve_denied(const struct serve_place *p, const char *path)
{
	return err_set(ERR_ACCESS, "access denied: '%s' of place %u", path, p->place.number);
}

int serve_take_path(struct serving *v, struct serve_request *q, enum serve_act act, const struct serve_place **p,
	const char **path)
{
	uint32_t number;

	remote_unpack_path(&q->fields, &number, path);
	if (unpack_end(&q->fields, "request with a path") != 0)
		return -1;
	*p = serve_find_place(v, number);
	if (*p == NULL)
		return -1;
	switch (serve_may(v, *p, act, *path)) {
	case SERVE_ALLOWED:
		return 0;
	case SERVE_HIDDEN:
		return STORE_ABSENT;
	case SERVE_DENIED:
		break;
	}
	return serve_denied(*p, *path);
}

int serve_answer_count(struct serving *v, const struct serve_request *q, bool absent, uint32_t n)
{
	struct buf b;

	buf_init(&b, q->arena);
	pack_bool(&b, absent);
	if (!absent)
		pack_u32(&b, n);
	return serve_answer(v, q, &b);
}

int serve_send_items(struct serve_listing *l, bool all)
{
	if (l->items.len == 0 || (!all && l->items.len < ITEMS_SEND))
		return 0;
	int rc = inbox_cancelled(l->v->inbox, l->request);
	if (rc < 0)
		return -1;
	if (rc > 0) {
		l->cancelled = true;
		return err_set(ERR_SERVICE, "the listing was cancelled");
	}
	rc = wire_send_data(l->v->wire, l->request, l->items.data, l->items.len, l->v->level, false);
	buf_reset(&l->items);
	return rc;
}

bool serve_is_cancelled(const struct serve_listing *l)
{
	if (l->cancelled)
		err_clear();
	return l->cancelled;
}

void serve_add_entry(struct serve_listing *l, struct buf *to, const struct store_entry *e)
{
	struct store_entry target;
	const struct store_entry named = owners_named(l->v->owners, e, &target);

	remote_pack_entry(to, &named);
}

struct list {
	struct serve_listing l;
	const struct serve_place *place;
	const char *dir;
	uint32_t n;
};

static int list_entry(void *ctx, const struct store_entry *e)
{
	struct list *t = ctx;
	const struct serve *s = t->l.v->s;

	if (!s->ops->shows(s->ctx, t->place, t->dir, e->name))
		return 0;
	serve_add_entry(&t->l, &t->l.items, e);
	t->n++;
	return serve_send_items(&t->l, false);
}

static int serve_list(struct serving *v, struct serve_request *q)
{
	struct list t = { .l = { .v = v, .request = q->number } };
	int rc = serve_take_path(v, q, SERVE_LIST, &t.place, &t.dir);

	buf_init(&t.l.items, q->arena);
	if (rc == 0)
		rc = store_list(t.place->store, t.dir, list_entry, &t);
	if (rc == 0)
		rc = serve_send_items(&t.l, true);
	if (rc < 0 && !serve_is_cancelled(&t.l))
		return -1;
	return serve_answer_count(v, q, rc == STORE_ABSENT, t.n);
}

static int serve_stat(struct serving *v, struct serve_request *q)
{
	struct serve_listing l = { .v = v, .request = q->number };
	const struct serve_place *p;
	struct store_entry e;
	const char *path;
	struct buf b;
	int rc = serve_take_path(v, q, SERVE_STAT, &p, &path);

	if (rc == 0)
		rc = store_stat(q->arena, p->store, path, &e);
	if (rc < 0)
		return -1;
	buf_init(&b, q->arena);
	pack_bool(&b, rc == STORE_ABSENT);
	if (rc == 0)
		serve_add_entry(&l, &b, &e);
	return serve_answer(v, q, &b);
}

static int serve_sync(struct serving *v, struct serve_request *q)
{
	const struct serve_place *p;
	const char *dir;
	struct buf nothing;
	int rc = serve_take_path(v, q, SERVE_SYNC, &p, &dir);

	if (rc == STORE_ABSENT)
		return serve_denied(p, dir);
	if (rc != 0 || store_sync_dir(p->store, dir) != 0)
		return -1;
	buf_init(&nothing, q->arena);
	return serve_answer(v, q, &nothing);
}

int serve_file_request(struct serving *v, struct serve_request *q)
{
	switch (q->verb) {
	case REMOTE_GET:
		return serve_get(v, q);
	case REMOTE_PUT:
		return serve_put(v, q);
	case REMOTE_LIST:
		return serve_list(v, q);
	case REMOTE_TREE:
		return serve_tree(v, q);
	case REMOTE_STAT:
		return serve_stat(v, q);
	case REMOTE_SYNC:
		return serve_sync(v, q);
	default:
		return err_set(ERR_PROTOCOL, "request %u has an unknown verb %u", q->number, q->verb);
	}
}
