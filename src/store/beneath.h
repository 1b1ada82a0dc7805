/*
 * beneath: a directory of this host for somebody from another one: no path leaves its root, whatever links there are
 * but those of the operator.
 *
 * BENEATH_REPO: links are followed only if they lead to a directory and belong to root or to the user of this process.
 * BENEATH_CLUSTER: one link on a path is followed, wherever it leads, if all before it are directories of the data
 * directory itself (that is what a scan of a cluster follows: tablespaces, linked directories and files); what lies
 * behind it has no further links.
 * With openat2 where the kernel has it, part by part with O_NOFOLLOW elsewhere; both are tested.
 *
 * Nothing is checked and then used: what a path names becomes a descriptor first, and that is read, listed or written
 * to, whatever the path names by then.  Nothing but regular files and directories is ever opened.
 */
#ifndef STORE_BENEATH_H
#define STORE_BENEATH_H

#include "store/store.h"

enum beneath_kind { BENEATH_REPO, BENEATH_CLUSTER };

/* As store_posix, confined.  What would leave the root is ERR_ACCESS; a link that may not be followed is listed and
 * stat'ed as the link that it is, and ERR_ACCESS when opened.  Put makes new files only (atomic, create_new);
 * everything else that changes something is ERR_ACCESS or ERR_FEATURE. */
struct store *store_beneath(struct arena *a, const char *root, enum beneath_kind kind);
bool beneath_is(const struct store *s);

/* Asked when all bytes of a put are durable, before the file gets its name; -1 refuses.  A lock of its folder is held
 * from before the question until the put's finish returns, so that no other put comes in between. */
struct beneath_naming {
	int (*ask)(void *ctx);
	void *ctx;
};
struct sink *beneath_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o,
	const struct beneath_naming *naming) must_check;

/* For tests: do without openat2. */
void beneath_without_openat2(bool without);

#endif
