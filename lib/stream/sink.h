/*
 * sink: bytes flow one way.
 *
 * Filters, files, uploads, parsers and tees are all one type.  A filter pushes what it makes to the
 * next sink.  A sink's effect happens at finish, which a filter passes on after its own last bytes;
 * anything else is undone by the arena the sink lives in.  After a failed write or finish the sink is
 * dead: no further calls.
 */
#ifndef STREAM_SINK_H
#define STREAM_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct sink {
	int (*write)(struct sink *s, const void *data, size_t len);
	int (*finish)(struct sink *s);
};

static inline int must_check sink_write(struct sink *s, const void *data, size_t len)
{
	return s->write(s, data, len);
}

static inline int must_check sink_finish(struct sink *s)
{
	return s->finish(s);
}

struct sink *sink_buf(struct arena *a, struct buf *b);	/* appends to b */
struct sink *sink_null(struct arena *a);		/* drops everything */
/* Adds what passes to *count. */
struct sink *sink_count(struct arena *a, struct sink *next, uint64_t *count);
/* More than max bytes: failure with the code and text given (text in the arena or static). */
struct sink *sink_limit(struct arena *a, struct sink *next, uint64_t max, enum err_code code,
	const char *text);
/* Passes everything on but keeps the finish back, so that several sources can fill one sink. */
struct sink *sink_append(struct arena *a, struct sink *next);
/* Writes to a descriptor that the caller owns (stdout, a pipe); what names it in failures. */
struct sink *sink_fd(struct arena *a, int fd, const char *what);

/*
 * One source, n branches.  A branch that fails is dropped and its failure kept in failed[i] (NULL while
 * healthy, owned by the arena); the others go on.  write and finish fail only when no branch is left.
 */
struct sink *sink_tee(struct arena *a, size_t n, struct sink *const *branches,
	struct err_value **failed);

#endif
