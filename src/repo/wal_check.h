/*
 * wal_check: the proof that bytes are the WAL file they are taken for.
 *
 * Push, get and the waiting of backup and check prove in the same way, so that what one accepts the
 * others will too.
 */
#ifndef REPO_WAL_CHECK_H
#define REPO_WAL_CHECK_H

#include "repo/wal_find.h"

#define WAL_SEGMENT_MAX (1024u * 1024 * 1024) /* bytes; PostgreSQL's limit */
#define WAL_PLAIN_MAX (16u * 1024 * 1024) /* bytes; .history and .backup files are far smaller */

/* What has passed through a gate. */
struct wal_seen {
	struct sum sum;
	uint64_t size;
	uint8_t head[WAL_HEADER];
	size_t head_len;
};

/* Count what passes and keep its head; sum is left alone. */
void wal_seen_add(struct wal_seen *s, const void *data, size_t len);

typedef int wal_verdict_fn(void *ctx, const struct wal_seen *seen);

/* Passes bytes on, but asks the verdict before it passes the finish on: -1 and next never takes
 * effect. */
struct sink *wal_gate(struct arena *a, struct sink *next, wal_verdict_fn *fn, void *ctx);

/* Is this the segment (or partial) of that name?  what: how to call it in messages.  Header,
 * system, version, place and size are compared; the header's timeline may be older than the name's,
 * because a promotion copies the old timeline's last segment. */
int wal_check_header(const struct wal_seen *seen, const char *what, const char *name,
	const struct wal_expect *expect) must_check;

/* Read a stored segment or partial, expanded, into a sink that is finished only if the bytes have
 * the hash in the name and, unless expect is NULL, pass wal_check_header. */
int wal_fetch(struct arena *a, const struct wal_place *place, const struct wal_file *file,
	const struct wal_expect *expect, struct sink *to) must_check;

/* Read a whole .history or .backup file; at most WAL_PLAIN_MAX bytes.  0, STORE_ABSENT (missing_ok), -1. */
int wal_read_text(const struct wal_place *place, const char *path, bool missing_ok,
	struct buf *out) must_check;

/* Is this text the history file of that name? */
int wal_check_history(const char *what, const char *name, const struct buf *text) must_check;

/* "\nrepo1: [Class] text", hints behind it, to a list of failures. */
void wal_add_failure(struct buf *lines, unsigned repo, const struct err_value *v);

#endif
