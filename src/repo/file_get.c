/*
 * file_get: one file of a backup into a data directory.
 *
 * Nothing is believed: what is there already counts only if its bytes hash to the manifest's sum, and what
 * was written counts only if the bytes that passed did.
 */
#include "repo/file_get.h"

#include <inttypes.h>
#include <string.h>

#include "base/sig.h"
#include "base/str.h"
#include "repo/layout.h"

#define ZEROS ((size_t)256 * 1024)

/* What of the destination can be kept: 1 yes, 0 no, -1 unknown. */
static int can_keep(struct arena *a, struct store *pg, const char *path, const struct manifest_file *f,
	const struct file_get_opts *o)
{
	struct store_entry e;
	struct pipe_result there;
	const struct pipe_spec spec = { .hash_plain = true };
	const struct get_opts get = { .missing_ok = true, .spec = &spec, .result = &there };

	if (!o->delta && !o->delta_by_time)
		return 0;
	int rc = store_stat(a, pg, path, &e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (e.type != STORE_FILE || e.size != f->size)
		return 0;
	if (o->delta_by_time)
		return e.mtime == f->mtime && f->mtime < o->copy_start;
	if (f->size == 0)
		return 1;
	rc = store_get(pg, path, &get, sink_null(a));
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	return there.plain_size == f->size && sum_equal(&there.plain_sum, &f->sum);
}

/*
 * A cluster's data has pages that are nothing but zeros (extended ahead, truncated behind), and holes cost nothing
 * to make: measured, a restore with them is not slower than one into reserved space, nor more fragmented.  All
 * else gets its space: above all WAL, which the server fills with zeros so that it cannot run out of it.
 */
static bool is_relation(const char *name)
{
	return str_starts(name, "pg_data/base/") || str_starts(name, "pg_data/global/") ||
		str_starts(name, "pg_tblspc/");
}

static struct put_opts put_opts_for(const struct manifest_file *f, const struct file_get_opts *o)
{
	return (struct put_opts){ .mode = f->mode, .set_mtime = true, .mtime = f->mtime,
		.set_owner = o->set_owner, .uid = o->uid, .gid = o->gid, .no_fsync = o->no_fsync,
		.no_dir_sync = true, .size_hint = f->size, .sparse = is_relation(f->name) };
}

static int write_empty(struct arena *a, struct store *pg, const char *path, const struct put_opts *put)
{
	struct sink *to = store_put(a, pg, path, put);

	return to == NULL ? -1 : sink_finish(to);
}

/* The store makes holes of it: nothing but the length reaches the disk.  The time is that of now, lest a later
 * restore that goes by size and time takes it for the file. */
static int write_zeros(struct arena *a, struct store *pg, const char *path, const struct manifest_file *f,
	struct put_opts put)
{
	static const char zeros[ZEROS];

	put.sparse = true;
	put.set_mtime = false;
	struct sink *to = store_put(a, pg, path, &put);
	if (to == NULL)
		return -1;
	for (uint64_t left = f->size; left > 0;) {
		size_t n = left < ZEROS ? (size_t)left : ZEROS;
		if (sig_check() != 0 || sink_write(to, zeros, n) != 0)
			return -1;
		left -= n;
	}
	return sink_finish(to);
}

static int copy(struct arena *a, struct store *repo, struct store *pg, const char *path,
	const struct manifest_file *f, const struct file_get_opts *o)
{
	const char *label = f->reference != NULL ? f->reference : o->label;
	const struct pipe_spec spec = { .expand = o->codec, .hash_plain = true };
	const struct put_opts put = put_opts_for(f, o);
	struct pipe_result passed;
	struct get_opts get = { .spec = &spec, .result = &passed };
	const char *from;

	if (f->block_map_size != 0)
		return err_set(ERR_FEATURE, "file '%s' is stored as blocks, which this release of pgStrata "
			"cannot read yet", f->name);
	if (f->bundle != 0) {
		from = layout_bundle(a, o->stanza, label, f->bundle);
		get.offset = f->bundle_offset;
		get.length = f->repo_size;
		get.exact = true;
	} else {
		from = layout_backup_file(a, o->stanza, label, f->name, codec_info(o->codec)->suffix);
	}
	struct sink *to = store_put(a, pg, path, &put);
	if (to == NULL)
		return -1;
	/* A stored file that expands to more than the manifest says must not fill the disk. */
	to = sink_limit(a, to, f->size, ERR_CHECKSUM,
		arena_printf(a, "error restoring '%s': the stored file '%s' holds more bytes than the manifest "
			"says", store_name(a, pg, path), from));
	if (store_get(repo, from, &get, to) != 0)
		return -1;
	if (passed.plain_size != f->size)
		return err_set(ERR_CHECKSUM, "error restoring '%s': the stored file '%s' holds %" PRIu64 " bytes, "
			"the manifest says %" PRIu64, store_name(a, pg, path), from, passed.plain_size, f->size);
	if (!sum_equal(&passed.plain_sum, &f->sum)) {
		char actual[SHA1_HEX + 1], expected[SHA1_HEX + 1];
		sum_hex(&passed.plain_sum, actual);
		sum_hex(&f->sum, expected);
		return err_set(ERR_CHECKSUM, "error restoring '%s': actual checksum '%s' does not match "
			"expected checksum '%s'", store_name(a, pg, path), actual, expected);
	}
	return 0;
}

int file_get(struct arena *a, struct store *repo, struct store *pg, const struct manifest_file *f,
	const struct file_get_opts *o, struct file_get_result *out)
{
	const char *path = o->dest_name != NULL ? o->dest_name : manifest_pg_path(f->name);
	const struct put_opts put = put_opts_for(f, o);

	memset(out, 0, sizeof(*out));
	if (o->zeroed) {
		out->how = FILE_GET_ZEROED;
		return write_zeros(a, pg, path, f, put);
	}
	int keep = can_keep(a, pg, path, f, o);
	if (keep < 0)
		return -1;
	if (keep) {
		out->how = FILE_GET_KEPT;
		return store_touch(pg, path, &put);
	}
	out->how = FILE_GET_WRITTEN;
	out->written = f->size;
	if (f->size == 0)
		return write_empty(a, pg, path, &put);
	return copy(a, repo, pg, path, f, o);
}
