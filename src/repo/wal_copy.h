/*
 * wal_copy: one WAL file of a repository anew, from the proven copy of another (a mover).
 */
#ifndef REPO_WAL_COPY_H
#define REPO_WAL_COPY_H

#include "repo/wal_find.h"

/* A repository that may have a copy: its archives of the same cluster. */
struct wal_copy_from {
	unsigned key;
	const struct wal_place *places;
	size_t n;
};

struct wal_copy_opts {
	const char *name; /* as PostgreSQL calls it */
	unsigned key;	  /* of the repository that gets it, for messages */
	struct wal_place to;
	/* The damaged file, which gets new content under the same name, and so in the codec that the name tells; NULL:
	 * the archive has none. */
	const struct wal_file *damaged;
	enum codec codec; /* of a file that was missing */
	int level;	  /* for that codec */
	struct wal_expect expect;
};

enum { WAL_COPY_NONE = 1 };

/*
 * 0: the archive has the file, durable, and its stored bytes were read back and proven; *key says whose copy it is, 0
 * if somebody else has stored it meanwhile.  WAL_COPY_NONE: there is no copy that can be proven (why: a warning each).
 * -1: ERR_ARCHIVE_DUPLICATE if proven copies differ; whatever else went wrong.  In these two cases the archive is as it
 * was, unless only the reading back failed.
 */
int wal_copy(struct arena *a, const struct wal_copy_opts *o, const struct wal_copy_from *from, size_t n, unsigned *key)
	must_check;

/* Are all copies of a .history or .backup file as this text?  0 if so, or nobody has one; ERR_ARCHIVE_DUPLICATE. */
int wal_copy_agrees(struct arena *a, const char *name, unsigned key, const struct wal_file *file,
	const struct wal_place *place, const struct wal_copy_from *from, size_t n) must_check;

#endif
