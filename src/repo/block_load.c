/*
 * block_load: from a manifest row to its map (format/blocks.md 2.3, 2.9).
 *
 * Nothing covers a map alone, unless it is encrypted: its checksum is that of all that is stored of the file.
 * So a backup that goes on with it believes it only as far as it can be held against the row.
 */
#include "repo/block_load.h"

#include <string.h>

#include "repo/layout.h"

#define CIPHER_EXTRA 24 /* bytes, at most: salt and padding of an encrypted map */

struct place {
	const char *path; /* in the repository */
	uint64_t begin;	  /* bytes; of the map, which ends what is stored */
	uint32_t reference;
};

static uint64_t map_begin(const struct manifest_file *f)
{
	/* all are less than 2^63, see manifest_check */
	return f->bundle_offset + f->repo_size - f->block_map_size;
}

int block_map_check(const struct manifest_file *f)
{
	if (f->block_map_size > f->repo_size)
		return err_set(ERR_FORMAT, "it is larger than the %ju bytes that are stored",
			(uintmax_t)f->repo_size);
	if (f->block_map_size > block_map_max(f->size, f->block_size) + CIPHER_EXTRA)
		return err_set(ERR_FORMAT, "it is larger than any map of a file of %ju bytes",
			(uintmax_t)f->size);
	return 0;
}

static int find(struct arena *a, const char *stanza, const struct manifest *m,
	const struct manifest_file *f, struct place *p)
{
	const char *label = f->reference != NULL ? f->reference : m->label;

	p->path = f->bundle != 0 ? layout_bundle(a, stanza, label, f->bundle) :
		layout_backup_file(a, stanza, label, f->name, BLOCK_SUFFIX);
	p->begin = map_begin(f);
	for (size_t i = 0; i < m->reference.n; i++) {
		if (strcmp(m->reference.v[i], label) != 0)
			continue;
		p->reference = (uint32_t)i;
		return 0;
	}
	return err_set(ERR_FORMAT, "backup '%s' is not in the list of references", label);
}

/* The blocks that the backup which holds the map stored itself lie between the row's beginning and the map. */
static int check_own(const struct block_map *map, const struct manifest_file *f, uint32_t reference)
{
	uint64_t end = map_begin(f);

	for (size_t i = 0; i < map->blocks.n; i++) {
		const struct block *b = &map->blocks.v[i];

		if (b->reference != reference)
			continue;
		if (b->bundle != f->bundle || b->offset < f->bundle_offset || b->offset > end ||
			b->stored > end - b->offset)
			return err_set(ERR_FORMAT, "block %zu does not lie in what is stored of the file", i);
	}
	return 0;
}

int block_map_decode(struct arena *a, const struct manifest_file *f, const char *pass, uint32_t reference,
	const struct buf *stored, struct block_map *out)
{
	SCOPED_ARENA(scratch);
	const struct pipe_spec spec = { .decrypt = pass, .raw = true };
	struct pipe_result passed;
	struct buf bytes;

	if (block_map_check(f) != 0)
		return -1;
	buf_init(&bytes, scratch);
	struct sink *to = pipe_chain(scratch, &spec, NULL, NULL, sink_buf(scratch, &bytes), &passed);
	if (sink_write(to, stored->data, stored->len) != 0 || sink_finish(to) != 0)
		return -1;
	if (block_map_read(a, bytes.data, bytes.len, f->block_size, f->block_sum_size, f->size, reference + 1,
		    out) != 0)
		return -1;
	return check_own(out, f, reference);
}

static int load(struct arena *a, struct store *repo, const char *stanza, const struct manifest *m,
	const struct manifest_file *f, struct place *p, struct block_map *out)
{
	SCOPED_ARENA(scratch);
	struct buf stored;

	if (find(a, stanza, m, f, p) != 0 || block_map_check(f) != 0)
		return -1;
	const struct get_opts get = { .offset = p->begin, .length = f->block_map_size, .exact = true };
	buf_init(&stored, scratch);
	if (store_get(repo, p->path, &get, sink_buf(scratch, &stored)) != 0)
		return -1;
	return block_map_decode(a, f, m->cipher_pass, p->reference, &stored, out);
}

int block_map_load(struct arena *a, struct store *repo, const char *stanza, const struct manifest *m,
	const struct manifest_file *f, struct block_map *out)
{
	struct place p = { 0 };

	if (load(a, repo, stanza, m, f, &p, out) == 0)
		return 0;
	if (err_code() == ERR_TERM)
		return -1;
	err_wrap("unable to read block map for '%s' from '%s' at offset %ju size %ju",
		manifest_pg_path(f->name), store_name(a, repo, p.path), (uintmax_t)p.begin,
		(uintmax_t)f->block_map_size);
	/* what is missing is said to be so; whatever else is wrong, nobody can read it */
	return err_code() == ERR_FILE_MISSING ? -1 : err_recode(ERR_FILE_READ);
}
