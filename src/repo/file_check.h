/*
 * file_check: are the bytes of a backup what they were when they were stored?  (A mover without a destination.)
 *
 * A failure of what is looked at is an answer, not a failure of the question: damage, absence and "could not be read"
 * are told apart, and one file's trouble says nothing of its neighbours.
 */
#ifndef REPO_FILE_CHECK_H
#define REPO_FILE_CHECK_H

#include "store/pipe.h"
#include "store/store.h"

enum check_state {
	CHECK_OK,
	CHECK_MISSING, /* proven absent */
	CHECK_SUM,     /* other bytes than the checksum's */
	CHECK_SIZE,    /* the checksum's bytes, but the size that is noted is another one */
	CHECK_DAMAGED, /* cannot be decrypted or expanded, or is no file at all */
	CHECK_UNREAD,  /* could not be read: unknown */
	CHECK_STATES
};

/* A stored file, or one member of a bundle. */
struct check_part {
	uint64_t offset, length; /* bytes; length 0: the whole file (then it is the only part) */
	struct sum sum;
	uint64_t size;
	/* What sum and size are of: the bytes as stored (NULL), or what this makes of them. */
	const struct pipe_spec *read;
	/* NULL, or gets the stored bytes from this offset of the file on, but no more than that. */
	struct buf *keep;
	uint64_t keep_from, keep_max;
};

struct check_result {
	enum check_state state;
	enum err_code code; /* of DAMAGED, UNREAD */
	const char *msg;    /* of DAMAGED, UNREAD; "" for the others; in the arena */
};

/* What a failure record says about a stored file: CHECK_MISSING, CHECK_DAMAGED or CHECK_UNREAD; the record moves into
 * the result. */
void check_take(struct arena *a, struct check_result *out);

/*
 * Parts in order of offset, not overlapping; neighbours are read in one range.  Whatever is not CHECK_OK at the first
 * look is read once more by itself at once, and that second look counts.  0, or -1 only if the process was told to
 * end.
 */
int file_check(struct arena *a, struct store *repo, const char *path, const struct check_part *parts, size_t n,
	struct check_result *out) must_check;

#endif
