/*
 * serve_inbox: frames of the caller that came before their turn.
 *
 * Requests are sent ahead of their answers, and a cancel comes behind all of them: whoever looks for it has to take in
 * what is before it.  That is kept here, in order and bounded; when it is full, a cancel is seen only later, and
 * nothing else is lost.
 */
#include <string.h>

#include "work/serve_intern.h"

#define BYTES_MAX (2 * WIRE_FRAME_MAX)
#define FRAMES_MAX 1024

struct held {
	struct arena *arena; /* of its data */
	struct wire_frame frame;
};

struct inbox {
	struct wire *wire;
	VEC(struct held) v;
	size_t bytes;
	struct arena *out; /* of the frame that was handed out; NULL: it is the wire's */
};

static void drop_all(void *ctx)
{
	struct inbox *in = ctx;

	for (size_t i = 0; i < in->v.n; i++)
		arena_free(in->v.v[i].arena);
	arena_free(in->out);
}

struct inbox *inbox_new(struct arena *a, struct wire *w)
{
	struct inbox *in = arena_new_object(a, struct inbox);

	in->wire = w;
	vec_init(&in->v, a);
	arena_defer(a, drop_all, in);
	return in;
}

static void keep(struct inbox *in, const struct wire_frame *f)
{
	struct held h = { .arena = arena_new(), .frame = *f };

	h.frame.data = arena_memdup(h.arena, f->data, f->len);
	in->bytes += f->len;
	vec_push(&in->v, h);
}

static void hand_out(struct inbox *in, size_t i, struct wire_frame *out)
{
	struct held *h = &in->v.v[i];

	*out = h->frame;
	in->bytes -= h->frame.len;
	in->out = h->arena;
	memmove(h, h + 1, (--in->v.n - i) * sizeof(*h));
}

static void forget_last(struct inbox *in)
{
	arena_free(in->out);
	in->out = NULL;
}

static bool is_full(const struct inbox *in)
{
	return in->bytes > BYTES_MAX - WIRE_FRAME_MAX || in->v.n >= FRAMES_MAX;
}

int inbox_next(struct inbox *in, struct wire_frame *out)
{
	forget_last(in);
	if (in->v.n == 0)
		return wire_receive(in->wire, out);
	hand_out(in, 0, out);
	return 0;
}

static int gone(void)
{
	return err_set(ERR_SERVICE, "the caller closed the connection inside a request");
}

int inbox_of(struct inbox *in, uint32_t request, struct wire_frame *out)
{
	forget_last(in);
	for (size_t i = 0; i < in->v.n; i++) {
		if (in->v.v[i].frame.request == request) {
			hand_out(in, i, out);
			return 0;
		}
	}
	for (;;) {
		int rc = wire_receive(in->wire, out);
		if (rc != 0)
			return rc < 0 ? -1 : gone();
		if (out->request == request)
			return 0;
		if (is_full(in))
			return err_set(ERR_PROTOCOL, "the caller sent too much before the rest of request %u", request);
		keep(in, out);
	}
}

int inbox_cancelled(struct inbox *in, uint32_t request)
{
	forget_last(in);
	while (!is_full(in) && wire_ready(in->wire, 0)) {
		struct wire_frame f;

		int rc = wire_receive(in->wire, &f);
		if (rc != 0)
			return rc < 0 ? -1 : gone();
		keep(in, &f);
	}
	for (size_t i = 0; i < in->v.n; i++) {
		const struct wire_frame *f = &in->v.v[i].frame;
		if (f->type == WIRE_CANCEL && f->request == request)
			return 1;
	}
	return 0;
}
