/*
 * stored: where the bytes of a file of a backup lie, and how they are read.
 */
#ifndef REPO_STORED_H
#define REPO_STORED_H

#include "repo/manifest.h"
#include "store/pipe.h"

/* Bytes between two ranges of one stored file that are read and dropped rather than asked for anew: a local disk and
 * its read-ahead deliver them faster than the next request. */
#define STORED_READ_OVER ((uint64_t)64 * 1024)

struct stored {
	const char *path; /* in the repository */
	uint64_t offset;  /* bytes; of a member in its bundle, else 0 */
	uint64_t length;  /* bytes; of a member; 0: the whole file */
	/* Makes plain bytes of stored ones; the caller adds what it wants to know of them. */
	struct pipe_spec read;
};

/* Of a row with content (a bundled row without is stored nowhere) that is not block incremental.  Which
 * backup holds it, in a bundle or not, raw or not: format/blocks.md 1.4, 1.5; repository.md 1.5. */
struct stored stored_find(struct arena *a, const char *stanza, const struct manifest *m,
	const struct manifest_file *f);

#endif
