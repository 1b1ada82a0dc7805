/*
 * file_get_intern: what the movers of restored files share; nobody else includes it.
 */
#ifndef REPO_FILE_GET_INTERN_H
#define REPO_FILE_GET_INTERN_H

#include "repo/file_get.h"
#include "repo/stored.h"

/* Where the file goes, below its store, and how it is put there. */
const char *file_get_dest(const struct manifest_file *f, const struct file_get_opts *o);
struct put_opts file_get_put_opts(const struct manifest_file *f, const struct file_get_opts *o);

/* All that needs no stored bytes: the file is kept, comes back as zeros, is empty.  1: done, *out says how;
 * 0: its bytes are wanted; -1. */
int file_get_unread(struct store *pg, const struct manifest_file *f, const struct file_get_opts *o,
	struct file_get_result *out) must_check;

/* Whether its stored bytes will be wanted: 1, 0, or AHEAD_UNKNOWN if bytes would have to be read to tell (or on
 * failure). */
int file_get_foretell(struct store *pg, const struct manifest_file *f, const struct file_get_opts *o);

/* The head of a chain that takes the stored bytes of f and makes the file of them.  It finishes only if they
 * were proven; until then the file is undone by the arena.  from lives as long. */
struct sink *file_get_open(struct arena *a, struct store *pg, const struct manifest_file *f,
	const struct file_get_opts *o, const struct stored *from) must_check;

/* -1, after naming in the failure that stands the file and, if its bytes are wrong, where they are stored. */
int file_get_failed(struct store *repo, struct store *pg, const struct manifest_file *f,
	const struct file_get_opts *o, const struct stored *from);

#endif
