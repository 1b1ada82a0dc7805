/*
 * wal_find: what the archive has of a WAL file: segments present, duplicates, holes.
 */
#ifndef REPO_WAL_FIND_H
#define REPO_WAL_FIND_H

#include "base/vec.h"
#include "pg/wal.h"
#include "store/store.h"

/* One archive: where the WAL of one cluster lies in one repository. */
struct wal_place {
	struct store *repo;
	const char *stanza;
	const char *archive_id; /* "15-1" */
	const char *pass;	/* archive_info.cipher_pass; NULL: not encrypted */
};

struct wal_file {
	const char *path; /* in the repository */
	const char *name; /* last part of path */
	struct sum sum;	  /* of the plain content, from the name; zero for files without */
	enum codec codec;
	bool plain_name; /* .backup, .history: no hash in the name */
};

typedef VEC(struct wal_file) wal_files;

/* Takes the name "<segment>[.partial]-<sha1>[.suffix]" of a stored file apart; false for any other name. */
struct wal_stored {
	size_t name_len; /* of the name that was pushed: 24, or 32 with .partial */
	struct sum sum;
	enum codec codec;
	bool unreadable; /* ".xz": known to the format, never written, and nothing that we can expand */
};
bool wal_stored_parse(const char *file_name, struct wal_stored *out);

/* Segments lie in directories named by their first 16 digits: timeline and upper half of an LSN. */
#define WAL_DIR 16
bool wal_is_dir(const struct store_entry *e);

/* Is this the name of a stored segment that can be read: "<segment>-<sha1>[.suffix]", no .partial? */
bool wal_is_stored_segment(const char *file_name);

/* All stored files of this name (segment, partial: any hash and codec; others: exact).  An empty
 * list is proof of absence; -1 means unknown (also when a match has a suffix that we cannot expand,
 * ".xz"). Names ending in TEMP_SUFFIX do not count. */
int wal_find(struct arena *a, const struct wal_place *place, const char *name,
	wal_files *out) must_check;

/*
 * Is the absence of this segment a hole (P2 of the lessons): a later segment of its timeline is
 * present, or a note says or might say that it was dropped (wal_drop), or a history file shows a
 * line of descent that leaves the timeline after it (within it only if the segment of the same
 * number is missing on all timelines of that line that begin in it; at its first byte nothing of
 * the line is in it), or its own timeline begins in it and an ancestor has the segment of the same
 * number, in which recovery would go astray (extension of P2's words)?
 * All archives of the cluster are asked together: what is a hole in one may be filled by another's
 * copy of the child's segment.
 * 1 hole, 0 end of the archive, -1 unknown; *at is then the place that could not answer.
 * *evidence is the name of the file that proves the hole, or a sentence about the note: see wal_hole_text.
 * segment_size: of the cluster.
 */
int wal_is_hole(struct arena *a, const struct wal_place *places, size_t n, const char *segment,
	uint32_t segment_size, const char **evidence, size_t *at) must_check;

/* For messages, behind "WAL segment X is missing from the archive": " although Y is present", or
 * ": it was dropped by ...". */
char *wal_hole_text(struct arena *a, const char *evidence);

/* First and last segment name in an archive id, by the names alone; NULL if there are none.  0 or
 * -1. */
int wal_min_max(struct arena *a, const struct wal_place *place, const char **min,
	const char **max) must_check;

/*
 * Wait until the archive has exactly one file of a segment whose stored bytes are proven equal to
 * the hash in its name, header included; ERR_ARCHIVE_TIMEOUT with the reference's text and hints
 * after the time.
 */
struct wal_expect {
	const char *version; /* "15"; NULL: headers are not looked at (pg-version-force: unknown
				magic) */
	uint64_t system_id;
	uint32_t segment_size; /* 0: what the header says */
};
int wal_wait(struct arena *a, const struct wal_place *place, const char *segment,
	const struct wal_expect *expect, int64_t timeout_ms, struct wal_file *out) must_check;

#endif
