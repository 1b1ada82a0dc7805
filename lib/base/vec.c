/*
 * vec: growing arrays.  A head with the arena stands in front of the elements, from init on, so
 * that a vector is three words.  The caller's struct has another type than vec_any: it is read and
 * written as bytes, which no compiler may misunderstand.
 */
#include "base/vec.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#define FIRST_CAP 8

struct head {
	alignas(max_align_t) struct arena *arena;
};

void vec_init_any(struct vec_any *v, struct arena *a)
{
	struct head *h = arena_alloc(a, sizeof(*h));
	struct vec_any empty = {.v = h + 1};

	h->arena = a;
	memcpy(v, &empty, sizeof(empty));
}

static void grow(struct vec_any *v, size_t size)
{
	struct head *h = (struct head *)v->v - 1;
	size_t cap = v->cap == 0 ? FIRST_CAP : v->cap * 2;

	if (cap > PTRDIFF_MAX / 2 / size)
		arena_out_of_memory();
	h = arena_grow(h->arena, h, sizeof(*h) + v->cap * size, sizeof(*h) + cap * size);
	v->v = h + 1;
	v->cap = cap;
}

void *vec_add_any(struct vec_any *vec, size_t size)
{
	struct vec_any v;

	memcpy(&v, vec, sizeof(v));
	if (v.n == v.cap)
		grow(&v, size);
	void *element = memset((char *)v.v + v.n * size, 0, size);
	v.n++;
	memcpy(vec, &v, sizeof(v));
	return element;
}
