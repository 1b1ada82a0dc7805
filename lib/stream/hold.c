/*
 * hold: a buffer that goes on, or not, at the end.
 */
#include "stream/hold.h"

struct hold_sink {
	struct sink sink;
	struct sink *next;
	size_t max;
	bool (*drop)(void *ctx);
	void *ctx;
	bool passing; /* more than max bytes came */
	struct buf held;
};

static int hold_write(struct sink *s, const void *data, size_t len)
{
	struct hold_sink *h = (struct hold_sink *)s;

	if (!h->passing && len <= h->max - h->held.len) {
		if (len > 0)
			buf_add(&h->held, data, len);
		return 0;
	}
	if (!h->passing && h->held.len > 0 && sink_write(h->next, h->held.data, h->held.len) != 0)
		return -1;
	h->passing = true;
	return sink_write(h->next, data, len);
}

static int hold_finish(struct sink *s)
{
	struct hold_sink *h = (struct hold_sink *)s;

	if (h->drop(h->ctx))
		return 0;
	if (!h->passing && h->held.len > 0 && sink_write(h->next, h->held.data, h->held.len) != 0)
		return -1;
	return sink_finish(h->next);
}

struct sink *sink_hold(struct arena *a, struct sink *next, size_t max, bool (*drop)(void *ctx), void *ctx)
{
	struct hold_sink *h = arena_new_object(a, struct hold_sink);

	h->sink = (struct sink){ hold_write, hold_finish };
	h->next = next;
	h->max = max;
	h->drop = drop;
	h->ctx = ctx;
	buf_init(&h->held, a);
	return &h->sink;
}
