/*
 * plan_jobs: the rows that are worked on, cut into jobs.
 *
 * A file above the limit is a job, and so is a bundle.  Readers accept any grouping (format/blocks.md 9);
 * this one has the rows that will be stored for sure in bundles of their own, so that the others, which
 * mostly prove unchanged, leave no crumbs, and old files apart from new ones, so that what a later backup
 * still refers to lies together.
 */
#include <stdlib.h>

#include "repo/plan_intern.h"

/* What opening, reading and closing a file costs beside its bytes, as bytes; it only has to be of the right
 * order, so that a hundred thousand tiny files are no single job. */
#define FILE_COST ((uint64_t)16 * 1024)
#define JOBS_PER_WORKER 4
#define SHARE_MIN ((uint64_t)4 * 1024 * 1024)

struct candidate {
	int64_t mtime;
	uint32_t row;
	uint8_t action;
	bool bounded; /* false for all unless there are two places to read from */
};

static int by_fate(const void *x, const void *y)
{
	const struct candidate *c = x, *d = y;

	if (c->bounded != d->bounded)
		return c->bounded < d->bounded ? -1 : 1;
	if (c->action != d->action)
		return c->action < d->action ? -1 : 1;
	if (c->mtime != d->mtime)
		return c->mtime < d->mtime ? -1 : 1;
	return c->row < d->row ? -1 : 1;
}

static uint64_t cost_of(const struct plan_job *j)
{
	return j->size + j->n * FILE_COST;
}

/* No worker shall be left alone with a long job at the end. */
static int costliest_first(const void *x, const void *y)
{
	const struct plan_job *j = x, *k = y;
	uint64_t jc = cost_of(j), kc = cost_of(k);

	if (jc != kc)
		return jc > kc ? -1 : 1;
	return j->first < k->first ? -1 : 1;
}

static bool is_bundled(const struct plan_opts *o, const struct manifest_file *f)
{
	return o->bundle && f->size_orig <= o->bundle_limit;
}

static void add_own(struct plan *p, const struct manifest_file *f, uint32_t row, uint32_t *placed)
{
	p->order[*placed] = row;
	vec_push(&p->jobs, ((struct plan_job){ .first = *placed, .n = 1, .size = f->size_orig,
		.bounded = f->copy_bounded }));
	(*placed)++;
}

static void add_bundles(struct plan *p, const struct manifest *m, const struct candidate *c, size_t n,
	uint64_t size, uint64_t share, uint32_t placed)
{
	struct plan_job job = { .first = placed, .bundle = 1 };

	for (size_t i = 0; i < n; i++) {
		p->order[placed++] = c[i].row;
		job.n++;
		job.size += m->files.v[c[i].row].size_orig;
		job.bounded = m->files.v[p->order[job.first]].copy_bounded;
		bool full = job.size >= size || cost_of(&job) >= share || job.n == UINT32_MAX / 2;
		if (!full && i + 1 < n && c[i].bounded == c[i + 1].bounded)
			continue;
		vec_push(&p->jobs, job);
		job = (struct plan_job){ .first = placed, .bundle = job.bundle + 1 };
	}
}

/* Cost of a bundle at which it is full, so that there is something to do for all workers to the end. */
static uint64_t share_of(const struct plan_opts *o, uint64_t cost)
{
	uint64_t share = cost / o->workers / JOBS_PER_WORKER;

	if (o->workers <= 1)
		return UINT64_MAX;
	return share < SHARE_MIN ? SHARE_MIN : share;
}

void plan_jobs(struct arena *a, const struct manifest *m, const struct plan_opts *o, struct plan *p)
{
	SCOPED_ARENA(scratch);
	struct candidate *small = arena_alloc(scratch, m->files.n * sizeof(*small));
	uint32_t placed = 0;
	uint64_t cost = 0;
	size_t n = 0;

	p->order = arena_alloc(a, m->files.n * sizeof(*p->order));
	vec_init(&p->jobs, a);
	for (size_t i = 0; i < m->files.n; i++) {
		const struct manifest_file *f = &m->files.v[i];
		if (!plan_row_works(&p->rows[i]))
			continue;
		p->total += f->size_orig;
		if (!is_bundled(o, f)) {
			add_own(p, f, (uint32_t)i, &placed);
			continue;
		}
		small[n++] = (struct candidate){ f->mtime, (uint32_t)i, p->rows[i].action,
			o->apart && f->copy_bounded };
		cost += f->size_orig + FILE_COST;
	}
	qsort(small, n, sizeof(*small), by_fate);
	add_bundles(p, m, small, n, o->bundle_size, share_of(o, cost), placed);
	qsort(p->jobs.v, p->jobs.n, sizeof(*p->jobs.v), costliest_first);
}
