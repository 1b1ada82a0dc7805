/*
 * file_get: one file of a backup into a data directory.
 *
 * Nothing is believed: what is there already counts only if its bytes hash to the manifest's sum, and what
 * is written gets its time, by which a later restore may go, only if the bytes that passed did.
 */
#include "repo/file_get_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/sig.h"
#include "base/str.h"
#include "repo/block_get.h"
#include "repo/block_stored.h"
#include "store/ahead.h"

#define ZEROS ((size_t)256 * 1024)

const char *file_get_dest(const struct manifest_file *f, const struct file_get_opts *o)
{
	return o->dest_name != NULL ? o->dest_name : manifest_pg_path(f->name);
}

/* ---- what needs no stored bytes ---- */

enum { KEEP_NOT, KEEP, KEEP_IF_EQUAL };

/* What of the destination can be kept, as far as its entry tells; -1 unknown. */
static int may_keep(struct arena *a, struct store *pg, const char *path, const struct manifest_file *f,
	const struct file_get_opts *o)
{
	struct store_entry e;

	if (!o->delta && !o->delta_by_time)
		return KEEP_NOT;
	int rc = store_stat(a, pg, path, &e);
	if (rc != 0)
		return rc < 0 ? -1 : KEEP_NOT;
	if (e.type != STORE_FILE || e.size != f->size)
		return KEEP_NOT;
	if (o->delta_by_time)
		return e.mtime == f->mtime && f->mtime < o->m->copy_start ? KEEP : KEEP_NOT;
	return f->size == 0 ? KEEP : KEEP_IF_EQUAL;
}

/* 1 yes, 0 no, -1 unknown. */
static int can_keep(struct arena *a, struct store *pg, const char *path, const struct manifest_file *f,
	const struct file_get_opts *o)
{
	struct pipe_result there;
	const struct pipe_spec spec = { .hash_plain = true };
	const struct get_opts get = { .missing_ok = true, .spec = &spec, .result = &there };
	int keep = may_keep(a, pg, path, f, o);

	if (keep != KEEP_IF_EQUAL)
		return keep;
	int rc = store_get(pg, path, &get, sink_null(a));
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	return there.plain_size == f->size && sum_equal(&there.plain_sum, &f->sum);
}

int file_get_foretell(struct store *pg, const struct manifest_file *f, const struct file_get_opts *o)
{
	SCOPED_ARENA(a);

	if (o->zeroed || f->size == 0)
		return 0;
	int keep = may_keep(a, pg, file_get_dest(f, o), f, o);
	return keep == KEEP ? 0 : keep == KEEP_NOT ? 1 : AHEAD_UNKNOWN;
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

struct put_opts file_get_put_opts(const struct manifest_file *f, const struct file_get_opts *o)
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

int file_get_unread(struct store *pg, const struct manifest_file *f, const struct file_get_opts *o,
	struct file_get_result *out)
{
	SCOPED_ARENA(a);
	const char *path = file_get_dest(f, o);
	const struct put_opts put = file_get_put_opts(f, o);

	*out = (struct file_get_result){ .how = FILE_GET_ZEROED };
	if (o->zeroed)
		return write_zeros(a, pg, path, f, put) != 0 ? -1 : 1;
	int keep = can_keep(a, pg, path, f, o);
	if (keep < 0)
		return -1;
	if (keep) {
		out->how = FILE_GET_KEPT;
		return store_touch(pg, path, &put) != 0 ? -1 : 1;
	}
	*out = (struct file_get_result){ .how = FILE_GET_WRITTEN, .written = f->size };
	if (f->size == 0)
		return write_empty(a, pg, path, &put) != 0 ? -1 : 1;
	return 0;
}

/* ---- what does ---- */

/* Stands before the file: lets no more bytes in than there should be, and finishes it only if they are the right
 * ones. */
struct proof {
	struct sink sink;
	struct sink *file;
	const struct manifest_file *f;
	const char *name; /* of the file, for failures */
	struct pipe_spec spec;
	struct pipe_result passed;
};

static int proof_write(struct sink *s, const void *data, size_t len)
{
	struct proof *p = (struct proof *)s;

	if (p->passed.plain_size > p->f->size)
		return err_set(ERR_CHECKSUM, "more bytes are stored than the %" PRIu64 " of the manifest",
			p->f->size);
	return sink_write(p->file, data, len);
}

static int proof_finish(struct sink *s)
{
	struct proof *p = (struct proof *)s;
	char actual[SHA1_HEX + 1], expected[SHA1_HEX + 1];

	if (p->passed.plain_size != p->f->size)
		return err_set(ERR_CHECKSUM, "%" PRIu64 " bytes are stored, the manifest says %" PRIu64,
			p->passed.plain_size, p->f->size);
	if (sum_equal(&p->passed.plain_sum, &p->f->sum))
		return sink_finish(p->file);
	sum_hex(&p->passed.plain_sum, actual);
	sum_hex(&p->f->sum, expected);
	return err_set(ERR_CHECKSUM, "actual checksum '%s' does not match expected checksum '%s'", actual,
		expected);
}

struct sink *file_get_open(struct arena *a, struct store *pg, const struct manifest_file *f,
	const struct file_get_opts *o, const struct stored *from)
{
	const struct put_opts put = file_get_put_opts(f, o);
	struct proof *p = arena_new_object(a, struct proof);

	p->sink = (struct sink){ proof_write, proof_finish };
	p->f = f;
	p->file = store_put(a, pg, file_get_dest(f, o), &put);
	if (p->file == NULL)
		return NULL;
	p->spec = from->read;
	p->spec.hash_plain = true;
	return pipe_chain(a, &p->spec, NULL, NULL, &p->sink, &p->passed);
}

int file_get_failed(struct store *repo, struct store *pg, const struct manifest_file *f,
	const struct file_get_opts *o, const struct stored *from)
{
	SCOPED_ARENA(a);
	enum err_code code = err_code();

	if (code == ERR_TERM)
		return -1;
	(void)err_wrap("error restoring '%s'", store_name(a, pg, file_get_dest(f, o)));
	if (code != ERR_CHECKSUM && code != ERR_FORMAT && code != ERR_CRYPTO)
		return -1;
	return from->length == 0 ? err_hint("it is stored in '%s'.", store_name(a, repo, from->path))
		: err_hint("it is stored in '%s': %" PRIu64 " bytes at offset %" PRIu64 ".",
			store_name(a, repo, from->path), from->length, from->offset);
}

static struct get_opts get_for(const struct stored *from)
{
	return (struct get_opts){ .offset = from->offset, .length = from->length, .exact = from->length != 0 };
}

int file_get(struct arena *a, struct store *repo, struct store *pg, const struct manifest_file *f,
	const struct file_get_opts *o, struct file_get_result *out)
{
	if (block_is_stored(f))
		return block_get(a, repo, pg, f, o, out);
	int done = file_get_unread(pg, f, o, out);
	if (done != 0)
		return done < 0 ? -1 : 0;
	struct stored from = stored_find(a, o->stanza, o->m, f);
	const struct get_opts get = get_for(&from);
	struct sink *to = file_get_open(a, pg, f, o, &from);
	if (to == NULL || store_get(repo, from.path, &get, to) != 0)
		return file_get_failed(repo, pg, f, o, &from);
	return 0;
}

int file_get_ahead(struct store *repo, struct store *pg, const struct manifest_file *f, const struct file_get_opts *o)
{
	SCOPED_ARENA(a);
	int wanted = file_get_foretell(pg, f, o);

	if (wanted != 1)
		return wanted;
	/* what lies where only the map tells */
	if (block_is_stored(f))
		return AHEAD_UNKNOWN;
	const struct stored from = stored_find(a, o->stanza, o->m, f);
	const struct get_opts get = get_for(&from);
	return store_ahead(repo, from.path, &get) != 0 ? AHEAD_UNKNOWN : 1;
}
