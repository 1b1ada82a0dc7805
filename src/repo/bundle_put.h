/*
 * bundle_put: several cluster files into one bundle (format/blocks.md 1), one after the other, each a stream
 * of its own.
 */
#ifndef REPO_BUNDLE_PUT_H
#define REPO_BUNDLE_PUT_H

#include "repo/file_put.h"

struct bundle_put;

/* The bundle of this id.  Nothing is made before the first member has something to store. */
struct bundle_put *bundle_put_new(struct arena *a, struct store *repo, uint32_t id, const struct file_put_opts *o);

/* The next member, as file_put: one that vanished, is unchanged or has become empty leaves no trace.  After a
 * failure the bundle cannot be gone on with. */
int bundle_put_add(struct arena *a, struct bundle_put *b, struct store *pg, const struct manifest_file *f,
	const struct plan_row *row, struct file_put_result *out) must_check;

/* Bytes of the bundle, fsynced (its directory is not); 0: there is no such file. */
int bundle_put_finish(struct bundle_put *b, uint64_t *size) must_check;

#endif
