/*
 * file_put: one cluster file into the repository, in one pass over its bytes.
 *
 * The stored file is written under its final name and fsynced: an unfinished backup has no manifest, so
 * partial files are harmless (format/repository.md 1.2).
 */
#include "repo/file_put.h"

#include <string.h>

#include "base/path.h"
#include "repo/cluster.h"
#include "repo/layout.h"

#define PAGE_SEGMENT_BYTES (1u << 30) /* a relation's segment file holds 1 GiB */

static struct pipe_spec spec_for(const struct manifest_file *f, const struct file_put_opts *o)
{
	struct pipe_spec spec = { .compress = o->codec, .level = o->level, .hash_plain = true,
		.hash_stored = o->codec != CODEC_NONE };

	if (f->page_check && o->page_size != 0) {
		spec.page_size = o->page_size;
		spec.page_header_check = o->page_header_check;
		spec.first_block =
			page_file_segment(path_base(f->name)) * (PAGE_SEGMENT_BYTES / o->page_size);
	}
	return spec;
}

/* pg_control is read whole and valid, and stored padded with zeros to its full size (5.12.5). */
static int put_control(struct arena *a, struct store *pg, struct store *repo, const char *path,
	const struct put_opts *put, const struct pipe_spec *spec, const struct file_put_opts *o,
	struct file_put_result *out)
{
	uint8_t bytes[PG_CONTROL_SIZE] = { 0 };
	struct pg_control control;

	if (cluster_control(pg, o->forced, bytes, &control) != 0)
		return -1;
	struct sink *to = store_put(a, repo, path, put);
	if (to == NULL)
		return -1;
	to = pipe_chain(a, spec, NULL, NULL, to, &out->pipe);
	if (sink_write(to, bytes, sizeof(bytes)) != 0)
		return -1;
	return sink_finish(to);
}

int file_put(struct arena *a, struct store *pg, struct store *repo, const struct manifest_file *f,
	const struct file_put_opts *o, struct file_put_result *out)
{
	struct pipe_spec spec = spec_for(f, o);
	char *path = arena_printf(a, "%s/%s%s", o->backup_dir, f->name, codec_info(o->codec)->suffix);
	const struct put_opts put = { .no_dir_sync = true };
	struct get_opts get = { .missing_ok = true, .spec = &spec, .result = &out->pipe };

	memset(out, 0, sizeof(*out));
	if (strcmp(f->name, "pg_data/global/pg_control") == 0)
		return put_control(a, pg, repo, path, &put, &spec, o, out);

	struct sink *to = store_put(a, repo, path, &put);
	if (to == NULL)
		return -1;
	if (f->copy_bounded) {
		/* A relation that grows meanwhile is cut here; WAL replay brings the rest.  A listed
		 * size of 0 cannot be said as a limit of 0, which means "to the end". */
		get.length = f->size_orig;
		if (f->size_orig == 0) {
			to = pipe_chain(a, &spec, NULL, NULL, to, &out->pipe);
			return sink_finish(to);
		}
	}
	int rc = store_get(pg, manifest_pg_path(f->name), &get, to);
	if (rc == STORE_ABSENT)
		out->vanished = true; /* the arena undoes the put */
	return rc < 0 ? -1 : 0;
}
