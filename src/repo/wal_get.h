/*
 * wal_get: one WAL file back (a mover); promise P2 of the lessons.
 */
#ifndef REPO_WAL_GET_H
#define REPO_WAL_GET_H

#include "repo/wal_find.h"

struct wal_get_repo {
	unsigned key;
	struct wal_place *places; /* archives that fit the cluster, newest first */
	size_t n;
	struct err_value
		*failed; /* in: already known to be unusable; out: why it could not be asked */
};

struct wal_get_opts {
	const char *name;
	const char *dest; /* path on this host; written under a temporary name beside it, renamed;
			     not fsynced, because PostgreSQL syncs what it keeps */
	struct wal_expect expect;
	int64_t gap_wait_ms; /* how long a hole may be a push in flight */
	bool gap_is_end;     /* archive-gap=end */
	size_t buffer_size;
	void (*found)(void *ctx); /* called when it is there, before its bytes are read; NULL: nobody is */
	void *found_ctx;
};

struct wal_got {
	const char *from; /* "repo1: 15-1" */
	struct sum sum;	  /* of a segment or .partial: SHA-1 of its bytes */
};

enum wal_get_answer { WAL_GOT = 0, WAL_ABSENT = 1 };

/* WAL_GOT: dest holds proven bytes; *got says whose.  WAL_ABSENT: proven absent in
 * every repository and no hole (or gap_is_end).  -1: unknown, and why.  dest is untouched unless
 * WAL_GOT. */
int wal_get(struct arena *a, const struct wal_get_opts *o, struct wal_get_repo *repos, size_t n,
	struct wal_got *got) must_check;

#endif
