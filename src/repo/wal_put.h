/*
 * wal_put: one WAL file into the repositories (a mover); promise P1 of the lessons.
 */
#ifndef REPO_WAL_PUT_H
#define REPO_WAL_PUT_H

#include "repo/wal_find.h"
#include "store/watch.h"

struct wal_put_repo {
	unsigned key; /* repo1 -> 1, for messages */
	struct wal_place place;	  /* its current archive; unset if failed beforehand */
	struct err_value *failed; /* in: already known to be unusable, is left alone; out: why this
				   * repository does not have the file; NULL if it has */
	bool duplicate;		  /* out: it had the same bytes before */
	bool has;		  /* out: it has the file, durable and provably equal, also if others have not */
};

struct wal_put_opts {
	const char *source; /* path of the file on this host */
	const char *name;   /* as PostgreSQL gives it */
	enum codec codec;
	int level;
	bool header_check;   /* archive-header-check */
	bool mode_check;     /* archive-mode-check: warn about duplicates */
	const char *version; /* of the stanza */
	uint64_t system_id;
	size_t buffer_size;
	const struct store_watch *watch; /* told (for 0) of the reading of the source; NULL: nobody is */
};

/*
 * 0: every repository has the file, durable and provably equal to the source.  -1: some have not
 * (ERR_COMMAND with one line each; failed says which; the healthy ones are durable all the same),
 * or the file itself was refused (its own code; nothing was written): malformed, changed while it
 * was read, or another content is stored under its name (ERR_ARCHIVE_DUPLICATE; where that content
 * appeared only after ours was published, our file was taken back there).
 * sum (may be NULL) gets the SHA-1 of a segment or partial.
 */
int wal_put(struct arena *a, const struct wal_put_opts *o, struct wal_put_repo *repos,
	size_t n, struct sum *sum) must_check;

#endif
