/*
 * ahead: see ahead.h.
 */
#include "store/ahead.h"

#include <string.h>
#include "base/err.h"
#include "base/vec.h"

#define KEEP 1024 /* things behind us that are kept: to move the others each time would cost more */

struct thing {
	uint32_t what;
	unsigned reads; /* that were asked for */
};

struct ahead {
	ahead_fn *ask;
	void *ctx;
	VEC(struct thing) v;
	size_t at;    /* the next one */
	size_t asked; /* behind the last one that was asked for */
	unsigned reads; /* on their way */
};

struct ahead *ahead_new(struct arena *a, ahead_fn *ask, void *ctx)
{
	struct ahead *h = arena_new_object(a, struct ahead);

	h->ask = ask;
	h->ctx = ctx;
	vec_init(&h->v, a);
	return h;
}

void ahead_add(struct ahead *h, uint32_t what)
{
	vec_push(&h->v, ((struct thing){ what, 0 }));
}

static void drop_passed(struct ahead *h)
{
	if (h->at < KEEP || h->at < h->v.n / 2)
		return;
	h->v.n -= h->at;
	memmove(h->v.v, h->v.v + h->at, h->v.n * sizeof(*h->v.v));
	h->asked -= h->at;
	h->at = 0;
}

bool ahead_turn(struct ahead *h)
{
	if (h == NULL || h->at == h->v.n)
		return false;
	if (h->at > 0)
		h->reads -= h->v.v[h->at - 1].reads;
	if (h->asked < h->at)
		h->asked = h->at;
	drop_passed(h);
	while (h->asked < h->v.n && h->reads < AHEAD_MAX) {
		struct thing *t = &h->v.v[h->asked];
		int n = h->ask(h->ctx, t->what, AHEAD_MAX - h->reads);
		if (n == AHEAD_UNKNOWN) {
			err_clear(); /* what is wrong will be found when it is read */
			break;
		}
		t->reads = (unsigned)n;
		h->reads += t->reads;
		h->asked++;
	}
	return h->at++ < h->asked;
}

void ahead_lost(struct ahead *h)
{
	if (h == NULL || h->at == 0)
		return;
	for (size_t i = h->at - 1; i < h->asked; i++)
		h->v.v[i].reads = 0;
	h->reads = 0;
	h->asked = h->at;
}
