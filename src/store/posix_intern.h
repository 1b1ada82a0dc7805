/*
 * posix_intern: what posix.c, posix_put.c and beneath.c share.  Paths here are full paths.
 */
#ifndef STORE_POSIX_INTERN_H
#define STORE_POSIX_INTERN_H

#include "store/store.h"

struct sink *posix_put(struct arena *a, struct store *s, const char *path,
	const struct put_opts *o);
/* Asked when all bytes are durable, before an atomic put's file gets its name; -1 refuses. */
typedef int posix_naming_fn(void *ctx);
struct sink *posix_put_named(struct arena *a, struct store *s, const char *path, const struct put_opts *o,
	posix_naming_fn *naming, void *ctx);
int posix_link(struct store *s, const char *target, const char *path);
int posix_hard_link(struct store *s, const char *from, const char *path);

/* -1, ERR_FILE_EXISTS. */
int posix_exists(const char *path);

/* Make a directory and its parents (0750).  Each one made is durable: its parent is synced. */
int posix_make_dir(const char *path, mode_t mode);

/* For a file that could not be opened because its directory is missing. */
int posix_make_parent(const char *path);

int posix_sync_parent(const char *path);

#endif
