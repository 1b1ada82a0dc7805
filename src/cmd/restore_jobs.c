/*
 * restore_jobs: which files a worker gets at once.
 *
 * What lies in one bundle goes together, in order of offset, so that it is read in one go; so do files of which
 * nothing is read.  Files stored as blocks are read one by one, from several backups each; small ones go together
 * because a job each would cost more than they do.  A job is of limited size, so that no worker is left with much
 * when the others are done, and the largest come first.
 */
#include "cmd/restore_intern.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "repo/block_stored.h"

#define JOB_BYTES ((uint64_t)8 * 1024 * 1024) /* plain */
#define JOB_FILES 1000

enum container { OWN_FILE, NOTHING, BLOCKS, BUNDLE };

struct lying {
	const char *label; /* bundles, blocks: of the backup that holds it, of blocks the newest */
	uint64_t offset;
	uint32_t row, bundle;
	enum container in;
};

static struct lying where(const struct restore *r, uint32_t row)
{
	const struct manifest_file *f = &r->m->files.v[row];
	struct lying l = { .row = row, .in = OWN_FILE };

	if (f->size == 0 || restore_is_zeroed(r, f)) {
		l.in = NOTHING;
	} else if (f->bundle != 0 || block_is_stored(f)) {
		l.in = block_is_stored(f) ? BLOCKS : BUNDLE;
		l.label = f->reference != NULL ? f->reference : r->m->label;
		l.bundle = f->bundle;
		l.offset = f->bundle_offset;
	}
	return l;
}

static int container_cmp(const struct lying *x, const struct lying *y)
{
	if (x->in != y->in)
		return x->in < y->in ? -1 : 1;
	if (x->bundle != y->bundle)
		return x->bundle < y->bundle ? -1 : 1;
	/* rows share their labels */
	return x->label == y->label ? 0 : strcmp(x->label, y->label);
}

static int lying_cmp(const void *a, const void *b)
{
	const struct lying *x = a, *y = b;
	int order = container_cmp(x, y);

	if (order != 0)
		return order;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return x->row < y->row ? -1 : 1;
}

static int larger_first(const void *a, const void *b)
{
	const struct restore_job *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	return x->first < y->first ? -1 : 1;
}

static bool belongs(const struct restore_job *job, const struct lying *last, const struct lying *l, uint64_t size)
{
	if (job == NULL || l->in == OWN_FILE || job->n == JOB_FILES || job->bytes + size > JOB_BYTES)
		return false;
	return l->in == BLOCKS ? last->in == BLOCKS : container_cmp(last, l) == 0;
}

void restore_cut_jobs(struct restore *r, struct restore_jobs *out)
{
	SCOPED_ARENA(scratch);
	const struct manifest *m = r->m;
	struct lying *rows = arena_alloc(scratch, m->files.n * sizeof(*rows));
	struct restore_job *job = NULL;
	size_t n = 0;

	for (size_t i = 0; i < m->files.n; i++) {
		if (restore_is_left_out(m->files.v[i].name))
			log_detail("skip 'tablespace_map' -- tablespace links will be created based on mappings");
		else
			rows[n++] = where(r, (uint32_t)i);
	}
	qsort(rows, n, sizeof(*rows), lying_cmp);
	out->rows = arena_alloc(r->arena, n * sizeof(*out->rows));
	vec_init(&out->jobs, r->arena);
	for (size_t i = 0; i < n; i++) {
		out->rows[i] = rows[i].row;
		uint64_t size = m->files.v[rows[i].row].size;
		if (!belongs(job, i == 0 ? NULL : &rows[i - 1], &rows[i], size)) {
			job = vec_add(&out->jobs);
			job->first = (uint32_t)i;
			job->bundle = rows[i].in == BUNDLE || rows[i].in == NOTHING;
		}
		job->bytes += size;
		job->n++;
	}
	qsort(out->jobs.v, out->jobs.n, sizeof(*out->jobs.v), larger_first);
}
