/*
 * vec: typed growing arrays.
 *
 *	VEC(struct row) rows;
 *	vec_init(&rows, arena);
 *	struct row *r = vec_add(&rows);		a zeroed new last element
 *	for (size_t i = 0; i < rows.n; i++) use(&rows.v[i]);
 *
 * Elements move when the array grows: keep indexes, not pointers, across an add.
 */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include <stddef.h>
#include "arena.h"

struct vec_any {
	void *v;
	size_t n, cap;
};

#define VEC(type) \
	struct { \
		type *v; \
		size_t n, cap; \
	}

void vec_init_any(struct vec_any *v, struct arena *a);
void *vec_add_any(struct vec_any *v, size_t size);

#define vec_init(vec, arena) vec_init_any((struct vec_any *)(void *)(vec), (arena))
#define vec_add(vec) ((__typeof__((vec)->v))vec_add_any((struct vec_any *)(void *)(vec), sizeof(*(vec)->v)))
#define vec_push(vec, value) (*vec_add(vec) = (value))

/* Strings are the commonest case. */
typedef VEC(const char *) strvec;

#endif
