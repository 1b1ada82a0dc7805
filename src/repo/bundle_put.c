/*
 * bundle_put: members go into the container one after the other.
 *
 * Where a member begins is counted behind everything that was passed on before, so that an offset is right
 * whatever became of the members before it.
 */
#include "repo/bundle_put.h"

#include "repo/layout.h"

struct bundle_put {
	struct store *repo;
	const struct file_put_opts *o;
	struct file_put_bundle bundle; /* size is counted by its sink */
};

struct bundle_put *bundle_put_new(struct arena *a, struct store *repo, uint32_t id, const struct file_put_opts *o)
{
	const char *path = layout_bundle(a, o->stanza, o->m->label, id);
	struct bundle_put *b = arena_new_object(a, struct bundle_put);

	b->repo = repo;
	b->o = o;
	b->bundle.id = id;
	b->bundle.to = sink_count(a, file_put_late(a, repo, path), &b->bundle.size);
	return b;
}

int bundle_put_add(struct arena *a, struct bundle_put *b, struct store *pg, const struct manifest_file *f,
	const struct plan_row *row, struct file_put_result *out)
{
	const uint64_t offset = b->bundle.size;

	if (file_put_member(a, pg, b->repo, &b->bundle, f, row, b->o, out) != 0)
		return -1;
	out->offset = offset;
	return 0;
}

int bundle_put_finish(struct bundle_put *b, uint64_t *size)
{
	*size = b->bundle.size;
	return *size == 0 ? 0 : sink_finish(b->bundle.to);
}
