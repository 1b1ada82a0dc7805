/*
 * order: in which order the files of a manifest are worked on.
 */
#include "repo/order.h"

#include <stdlib.h>

struct row_size {
	uint64_t size;
	uint32_t row;
};

static int larger_first(const void *x, const void *y)
{
	const struct row_size *rx = x, *ry = y;

	if (rx->size != ry->size)
		return rx->size > ry->size ? -1 : 1;
	return rx->row < ry->row ? -1 : 1;
}

uint32_t *rows_by_size(struct arena *a, const struct manifest *m)
{
	SCOPED_ARENA(scratch);
	uint32_t *order = arena_alloc(a, m->files.n * sizeof(*order));
	struct row_size *rows = arena_alloc(scratch, m->files.n * sizeof(*rows));

	for (size_t i = 0; i < m->files.n; i++)
		rows[i] = (struct row_size){ m->files.v[i].size_orig, (uint32_t)i };
	qsort(rows, m->files.n, sizeof(*rows), larger_first);
	for (size_t i = 0; i < m->files.n; i++)
		order[i] = rows[i].row;
	return order;
}
