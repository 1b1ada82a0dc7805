/*
 * serve_tree: all folders of a cluster in one answer.
 *
 * Folders behind a link are listed as a scan does it: those behind the first link on a path, none behind another one;
 * so that no link can lead round in circles.  The cluster changes meanwhile: what has vanished, or may not be opened,
 * is left out, and whoever wants it asks for it by itself.
 */
#include <string.h>
#include "base/path.h"
#include "work/serve_files.h"

struct tree {
	struct serve_listing l;
	const struct serve_place *place;
	const char *top; /* what was asked for */
	uint32_t n;
};

struct below {
	const char *path;
	bool linked; /* behind a link */
};

struct folder {
	struct tree *tree;
	struct arena *arena;
	const char *path;
	bool linked;
	struct buf entries;
	VEC(size_t) ends; /* of each of them */
	VEC(struct below) below;
};

static int add_entry(void *ctx, const struct store_entry *e)
{
	struct folder *f = ctx;
	const struct serve *s = f->tree->l.v->s;
	bool link = e->type == STORE_LINK && e->target_entry != NULL && e->target_entry->type == STORE_DIR;

	if (!s->ops->shows(s->ctx, f->tree->place, f->path, e->name))
		return 0;
	serve_add_entry(&f->tree->l, &f->entries, e);
	vec_push(&f->ends, f->entries.len);
	if (e->type == STORE_DIR || (link && !f->linked))
		vec_push(&f->below, ((struct below){ path_join(f->arena, f->path, e->name), link || f->linked }));
	return 0;
}

static int send_folder(struct folder *f)
{
	struct serve_listing *l = &f->tree->l;
	size_t start = 0;

	f->tree->n++;
	pack_str(&l->items, f->path);
	pack_u32(&l->items, (uint32_t)f->ends.n);
	for (size_t i = 0; i < f->ends.n; i++) {
		buf_add(&l->items, f->entries.data + start, f->ends.v[i] - start);
		start = f->ends.v[i];
		if (serve_send_items(l, false) != 0)
			return -1;
	}
	return serve_send_items(l, false);
}

/* A failure to list is the caller's to find, if it wants this folder at all; but not one that ends everything. */
static int left_out(const struct tree *t)
{
	if (wire_dead(t->l.v->wire) || err_code() == ERR_TERM)
		return -1;
	err_clear();
	return 0;
}

static int add_folder(struct tree *t, const char *path, bool linked)
{
	SCOPED_ARENA(a);
	struct folder f = { .tree = t, .arena = a, .path = path, .linked = linked };

	if (serve_may(t->l.v, t->place, SERVE_LIST, path) != SERVE_ALLOWED)
		return 0;
	buf_init(&f.entries, a);
	vec_init(&f.ends, a);
	vec_init(&f.below, a);
	int rc = store_list(t->place->store, path, add_entry, &f);
	if (rc != 0)
		return rc == STORE_ABSENT ? 0 : path == t->top ? -1 : left_out(t);
	if (send_folder(&f) != 0)
		return -1;
	for (size_t i = 0; i < f.below.n; i++) {
		if (add_folder(t, f.below.v[i].path, f.below.v[i].linked) != 0)
			return -1;
	}
	return 0;
}

int serve_tree(struct serving *v, struct serve_request *q)
{
	struct tree t = { .l = { .v = v, .request = q->number } };
	int rc = serve_take_path(v, q, SERVE_LIST, &t.place, &t.top);

	buf_init(&t.l.items, q->arena);
	if (rc == 0)
		rc = add_folder(&t, t.top, false);
	if (rc == 0)
		rc = serve_send_items(&t.l, true);
	if (rc < 0 && !serve_is_cancelled(&t.l))
		return -1;
	return serve_answer_count(v, q, t.n == 0 && !t.l.cancelled, t.n);
}
