/*
 * serve_put: a new file from the caller.
 *
 * Always true: nothing that is there is replaced; nothing has a name before the caller has said that it is complete,
 * the policy has allowed that name and ops->publish has agreed, with no other put in between (beneath_put); what is not
 * finished is undone, whatever the reason.
 */
#include "base/path.h"
#include "store/beneath.h"
#include "work/serve_files.h"

struct put {
	struct serving *v;
	struct serve_request *q;
	const struct serve_place *place;
	const char *path, *final_path;
	bool complete; /* the caller will send no more of it */
};

static int ask_name(void *ctx)
{
	const struct put *p = ctx;
	const struct serve *s = p->v->s;

	return s->ops->publish(s->ctx, p->place, p->final_path);
}

static int may_put(const struct put *p, const char *path)
{
	if (serve_may(p->v, p->place, SERVE_PUT, path) == SERVE_ALLOWED)
		return 0;
	return serve_denied(p->place, path);
}

static int finish(struct put *p, const struct wire_frame *f, struct sink *to)
{
	struct unpack u;
	struct buf nothing;

	p->complete = true;
	unpack_init(&u, p->q->arena, f->data, f->len);
	p->final_path = unpack_text(&u);
	if (!f->last)
		u.bad = true;
	if (unpack_end(&u, "end of a put") != 0 || may_put(p, p->final_path) != 0)
		return -1;
	/* a repository that is not this host's own cannot be locked: there the question comes a moment earlier */
	if ((!beneath_is(p->place->store) && ask_name(p) != 0) || sink_finish(to) != 0)
		return -1;
	buf_init(&nothing, p->q->arena);
	return serve_answer(p->v, p->q, &nothing);
}

static int receive(struct put *p, struct sink *to)
{
	struct wire_frame f;

	while (inbox_of(p->v->inbox, p->q->number, &f) == 0) {
		switch (f.type) {
		case WIRE_DATA:
			if (sink_write(to, f.data, f.len) != 0)
				return -1;
			break;
		case WIRE_FINISH:
			return finish(p, &f, to);
		case WIRE_CANCEL:
			p->complete = true;
			return err_set(ERR_SERVICE, "put of '%s' was cancelled", p->path);
		default:
			return err_set(ERR_PROTOCOL, "the caller sent a frame of type '%c' inside a put", f.type);
		}
	}
	return -1;
}

static int begin(struct put *p, const struct remote_put *r)
{
	p->place = serve_find_place(p->v, r->place);
	if (p->place == NULL || may_put(p, r->path) != 0)
		return -1;
	if (r->replace)
		return err_set(ERR_ACCESS, "access denied: nothing is replaced ('%s')", r->path);
	p->path = p->final_path = r->path;
	return p->v->s->ops->stopped(p->v->s->ctx);
}

/* The arena ends before the caller is told anything: what it hears is what it finds. */
static int put(struct put *p)
{
	SCOPED_ARENA(a);
	const struct put_opts o = { .atomic = true, .create_new = true, .final_path = &p->final_path };
	const struct beneath_naming naming = { ask_name, p };
	struct remote_put r;

	remote_unpack_put(&p->q->fields, &r);
	if (unpack_end(&p->q->fields, "put") != 0 || begin(p, &r) != 0)
		return -1;
	struct sink *to = beneath_is(p->place->store) ? beneath_put(a, p->place->store, p->path, &o, &naming) :
		store_put(a, p->place->store, p->path, &o);
	return to == NULL ? -1 : receive(p, to);
}

int serve_put(struct serving *v, struct serve_request *q)
{
	struct put p = { .v = v, .q = q };

	if (put(&p) == 0)
		return 0;
	if (!p.complete)
		v->ended[v->n_ended++ % SERVE_ENDED] = q->number;
	return -1;
}
