/*
 * remote_get: a file of the other side, through the pipe that runs there.
 *
 * What the other side cannot do with the bytes is done here, with the bytes as they are.  Pages that look torn cannot
 * be read again then.
 *
 * Always true: the result is complete before the sink is finished, and the sink is finished only if all that the
 * answer tells of has come; a sink that fails leaves the connection in order.
 */
#include <string.h>
#include "base/path.h"
#include "store/remote_intern.h"

struct getting {
	struct remote_store *rs;
	struct remote *remote;
	const char *path;
	const struct get_opts *o;
	const struct pipe_spec *spec; /* that is applied there */
	struct sink *to;	      /* what comes goes in here: the sink, or what is to be done here before it */
	uint64_t bytes;
	bool told; /* the opened file's entry has come */
};

/* ---- the request ---- */

struct request {
	struct buf bytes, key; /* key: without "entry wanted" */
	bool plain; /* the spec does not go with it */
	bool entry;
};

static bool can_blocks(const struct remote *r)
{
	return remote_can(&r->mine, &r->theirs, REMOTE_CAP_BLOCKS);
}

static void pack_request(struct request *q, const struct remote_place *place, const char *path,
	const struct get_opts *o)
{
	struct remote_get g = { .place = place->number, .path = path, .opts = *o };

	if (q->plain)
		g.opts.spec = NULL;
	buf_reset(&q->key);
	remote_pack_get(&q->key, &g);
	q->entry = g.want_entry = o->opened != NULL;
	buf_reset(&q->bytes);
	remote_pack_get(&q->bytes, &g);
}

static void form_request(struct arena *a, const struct remote *r, const struct remote_place *place, const char *path,
	const struct get_opts *o, struct request *q)
{
	buf_init(&q->bytes, a);
	buf_init(&q->key, a);
	q->plain = o->spec != NULL && o->spec->blocks != NULL && !can_blocks(r);
	pack_request(q, place, path, o);
	/* the checksums of a very large file's blocks */
	if (q->bytes.len > REMOTE_REQUEST_MAX && o->spec != NULL && o->spec->blocks != NULL) {
		q->plain = true;
		pack_request(q, place, path, o);
	}
}

int remote_get_ahead(struct store *s, const char *path, const struct get_opts *o)
{
	SCOPED_ARENA(a);
	struct remote_store *rs = (struct remote_store *)s;
	struct remote *r = rs->remote;
	const struct remote_place *place = remote_store_now(rs);
	struct request q;
	int rc = place == NULL ? -1 : 0;

	/* in the middle of another request: what is behind a put cannot be asked, and if sending failed, the bytes
	 * that a sink is being fed would go with the connection */
	if (rc == 0 && r->current != 0)
		return 0;
	if (rc == 0) {
		form_request(a, r, place, path, o, &q);
		rc = remote_send_ahead(r, &q.bytes, &q.key, q.entry);
	}
	/* the get itself will hear of it */
	if (rc < 0 && err_code() != ERR_TERM) {
		err_clear();
		return 0;
	}
	return rc < 0 ? -1 : 0;
}

static int ask(struct arena *a, struct getting *g, const struct remote_place *place)
{
	const char *what = arena_printf(a, "reading '%s'", store_name(a, &g->rs->store, g->path));
	struct request q;

	form_request(a, g->remote, place, g->path, g->o, &q);
	g->spec = q.plain ? NULL : g->o->spec;
	if (q.plain)
		g->to = store_get_chain(g->rs->got, g->o, NULL, NULL, g->to);
	if (remote_take_ahead(g->remote, what, &q.key, q.entry))
		return 0;
	return remote_begin(g->remote, what, &q.bytes);
}

/* ---- the answer ---- */

static int take_entry(struct getting *g, const struct wire_frame *f)
{
	SCOPED_ARENA(a);
	struct store_entry e;
	struct unpack u;

	unpack_init(&u, a, f->data, f->len);
	remote_unpack_entry(&u, &e);
	if (g->told || g->bytes > 0 || u.bad || unpack_end(&u, "entry") != 0)
		return remote_confused(g->remote, "an entry of a file that is wrong or out of place");
	g->told = true;
	if (g->o->opened == NULL)
		return 0;
	e.name = path_base(g->path);
	return g->o->opened(g->o->ctx, &e);
}

static int take_data(struct getting *g, const struct wire_frame *f)
{
	if (g->o->opened != NULL && !g->told)
		return remote_confused(g->remote, "data before the entry of the file");
	if (g->spec == NULL && g->o->length != 0 && f->len > g->o->length - g->bytes)
		return remote_confused(g->remote, "more than the %ju bytes that were asked for",
			(uintmax_t)g->o->length);
	g->bytes += f->len;
	return f->len == 0 ? 0 : sink_write(g->to, f->data, f->len);
}

/* 0, STORE_ABSENT, -1: what the answer says against what has come. */
static int take_answer(struct getting *g, const struct wire_frame *f)
{
	struct pipe_result result;
	struct unpack u;
	bool absent;

	unpack_init(&u, g->rs->got, f->data, f->len);
	remote_unpack_got(&u, g->spec, &absent, &result);
	if (unpack_end(&u, "result") != 0)
		return remote_confused(g->remote, "a malformed result");
	if (absent && (g->told || g->bytes > 0))
		return remote_confused(g->remote, "a file, and that it is absent");
	if (absent)
		return STORE_ABSENT;
	if (g->o->opened != NULL && !g->told)
		return remote_confused(g->remote, "no entry of the file");
	if (g->spec == NULL)
		return 0;
	if (result.stored_size != g->bytes)
		return remote_confused(g->remote, "%ju bytes, and that they are %ju", (uintmax_t)g->bytes,
			(uintmax_t)result.stored_size);
	*g->o->result = result;
	store_keep_result(&g->rs->store, g->o);
	return 0;
}

static int finish(struct getting *g)
{
	SCOPED_ARENA(a);

	if (g->spec == NULL && g->o->exact && g->bytes < g->o->length)
		return err_set(ERR_FILE_READ, "unable to read '%s': %ju bytes at offset %ju wanted, %ju found",
			store_name(a, &g->rs->store, g->path), (uintmax_t)g->o->length, (uintmax_t)g->o->offset,
			(uintmax_t)g->bytes);
	int rc = sink_finish(g->to);
	if (rc == 0 && g->spec == NULL)
		store_keep_result(&g->rs->store, g->o);
	return rc;
}

static int take_frames(struct getting *g)
{
	struct wire_frame f;

	for (;;) {
		if (remote_next(g->remote, &f) != 0)
			return -1;
		if (f.type == WIRE_ANSWER)
			break;
		if ((f.type == WIRE_ENTRY ? take_entry(g, &f) : take_data(g, &f)) == 0)
			continue;
		if (g->remote->current != 0)
			remote_cancel(g->remote);
		return -1;
	}
	int rc = take_answer(g, &f);
	return rc == 0 ? finish(g) : rc;
}

int remote_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	SCOPED_ARENA(a);
	struct remote_store *rs = (struct remote_store *)s;
	const struct remote_place *place = remote_store_now(rs);
	struct getting g = { .rs = rs, .remote = rs->remote, .path = path, .o = o, .to = to };

	if (place == NULL)
		return -1;
	/* a sink at its end may get more from here: what its own get found stays */
	if (rs->depth == 0) {
		arena_free(rs->got);
		rs->got = arena_new();
	}
	rs->depth++;
	int rc = ask(a, &g, place) != 0 ? -1 : take_frames(&g);
	rs->depth--;
	return rc;
}
