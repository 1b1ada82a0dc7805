/*
 * stored: from a manifest row to bytes in the repository.
 */
#include "repo/stored.h"

#include "repo/layout.h"

struct stored stored_find(struct arena *a, const char *stanza, const struct manifest *m,
	const struct manifest_file *f)
{
	const char *label = f->reference != NULL ? f->reference : m->label;
	struct stored s = { .read = { .decrypt = m->cipher_pass, .expand = m->codec } };

	if (f->bundle == 0) {
		s.path = layout_backup_file(a, stanza, label, f->name, codec_info(m->codec)->suffix);
		return s;
	}
	s.path = layout_bundle(a, stanza, label, f->bundle);
	s.offset = f->bundle_offset;
	s.length = f->repo_size;
	s.read.raw = m->bundle_raw;
	return s;
}
