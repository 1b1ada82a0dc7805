/*
 * block_stored: from a block of a map to a range in the repository (format/blocks.md 2.9).
 */
#include "repo/block_stored.h"

#include <stdio.h>

#include "repo/layout.h"

const struct manifest_file *block_find_beta(const struct manifest *m)
{
	unsigned major, minor;

	if (m->program == NULL || sscanf(m->program, "%u.%u", &major, &minor) != 2 || major != 2 || minor >= 46)
		return NULL;
	for (size_t i = 0; i < m->files.n; i++)
		if (block_is_stored(&m->files.v[i]))
			return &m->files.v[i];
	return NULL;
}

/* Super blocks always have the raw forms, whatever the members of the bundle have. */
struct stored block_find(struct arena *a, const char *stanza, const struct manifest *m,
	const struct manifest_file *f, const struct block *b)
{
	const char *label = m->reference.v[b->reference];

	return (struct stored){
		.path = b->bundle == 0 ? layout_backup_file(a, stanza, label, f->name, BLOCK_SUFFIX) :
			layout_bundle(a, stanza, label, b->bundle),
		.offset = b->offset, .length = b->stored,
		.read = {.decrypt = m->cipher_pass, .expand = m->codec, .raw = true}};
}
