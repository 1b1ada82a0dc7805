/*
 * remote_put: a new file on the other side.
 *
 * Always true: until finish returns 0 nothing has the file's name there, and the arena undoes the put; while it is
 * open the connection is its own.  It is durable when finish returns.
 */
#include <string.h>
#include <unistd.h>
#include "store/remote_intern.h"

#define PIECE ((size_t)256 * 1024) /* bytes that are sent together */

struct remote_putter {
	struct sink sink;
	struct remote *remote;
	unsigned generation; /* of the connection */
	uint32_t number;     /* of the request */
	const char *path, *what;
	const char *const *final_path; /* NULL: path */
	struct buf held; /* bytes not yet sent, fewer than PIECE between calls */
};

static bool is_open(const struct remote_putter *p)
{
	const struct remote *r = p->remote;

	return r->pid == getpid() && r->wire != NULL && r->generation == p->generation && r->current == p->number;
}

static int lost(const struct remote_putter *p)
{
	return err_set(ERR_SERVICE, "%s: the connection to %s was lost", p->what, p->remote->who);
}

static void undo(void *ctx)
{
	struct remote_putter *p = ctx;

	if (is_open(p))
		remote_cancel(p->remote);
}

static int send(struct remote_putter *p, const void *data, size_t len, bool last)
{
	struct remote *r = p->remote;

	if (wire_send_data(r->wire, p->number, data, len, r->o.level, last) != 0)
		return remote_send_failed(r);
	/* a disk that is full need not be sent the rest */
	return last ? 0 : remote_look(r);
}

static int put_write(struct sink *s, const void *data, size_t len)
{
	struct remote_putter *p = (struct remote_putter *)s;
	const char *from = data;

	if (!is_open(p))
		return lost(p);
	while (len > 0) {
		size_t room = PIECE - p->held.len, n = len < room ? len : room;
		if (n == PIECE) {
			if (send(p, from, n, false) != 0)
				return -1;
		} else {
			buf_add(&p->held, from, n);
			if (p->held.len == PIECE && send(p, p->held.data, PIECE, false) != 0)
				return -1;
			if (p->held.len == PIECE)
				buf_reset(&p->held);
		}
		from += n;
		len -= n;
	}
	return 0;
}

static int send_end(struct remote_putter *p)
{
	SCOPED_ARENA(a);
	const char *path = p->final_path == NULL ? p->path : *p->final_path;
	struct buf b;

	buf_init(&b, a);
	pack_str(&b, path);
	if (p->held.len > 0 && send(p, p->held.data, p->held.len, true) != 0)
		return -1;
	if (wire_send(p->remote->wire, WIRE_FINISH, WIRE_LAST, p->number, b.data, b.len) != 0)
		return remote_send_failed(p->remote);
	return 0;
}

static int put_finish(struct sink *s)
{
	struct remote_putter *p = (struct remote_putter *)s;
	struct wire_frame f;

	if (!is_open(p))
		return lost(p);
	if (send_end(p) != 0 || remote_next(p->remote, &f) != 0)
		return -1;
	if (f.type != WIRE_ANSWER || f.len > 0)
		return remote_confused(p->remote, "an answer to a put that is none");
	return 0;
}

static int check_opts(struct store *s, const char *path, const struct put_opts *o)
{
	SCOPED_ARENA(a);

	if (o->atomic && o->at == NULL && !o->keep && !o->set_mtime && !o->set_owner && o->mode == 0)
		return 0;
	return err_set(ERR_FEATURE, "unable to write '%s': another host is only given whole new files, without "
		"mode, owner or time", store_name(a, s, path));
}

struct sink *remote_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o)
{
	struct remote_store *rs = (struct remote_store *)s;
	struct remote *r = rs->remote;
	const struct remote_place *place = check_opts(s, path, o) != 0 ? NULL : remote_store_now(rs);
	struct remote_putter *p = arena_new_object(a, struct remote_putter);
	struct buf request;

	if (place == NULL)
		return NULL;
	const struct remote_put q = { .place = place->number, .path = path, .create_new = o->create_new,
		.replace = !o->create_new };
	buf_init(&request, a);
	remote_pack_put(&request, &q);
	p->what = arena_printf(a, "writing '%s'", store_name(a, s, path));
	if (remote_begin(r, p->what, &request) != 0)
		return NULL;
	p->sink = (struct sink){ put_write, put_finish };
	p->remote = r;
	p->generation = r->generation;
	p->number = r->current;
	p->path = arena_strdup(a, path);
	p->final_path = o->final_path;
	buf_init(&p->held, a);
	arena_defer(a, undo, p);
	return &p->sink;
}
