/*
 * coder: what all compressors, decompressors and the cipher share, so that each of them is only its
 * library's calls.  Private to lib/stream; everybody else uses codec.h and cipher.h.
 *
 * A coder is a library context plus an output buffer, kept by the process (idle.h).  The sink made
 * here takes one at its first byte, feeds it, and passes the buffer on only when it is full or the
 * stream ends.
 */
#ifndef STREAM_CODER_H
#define STREAM_CODER_H

#include "stream/idle.h"
#include "stream/sink.h"

enum { CODER_OUT = 256 * 1024 };

/* First member of a codec's context. */
struct coder {
	struct idle idle;
	size_t used;   /* bytes in out */
	bool complete; /* expanding: the last frame is complete and nothing follows it so far */
	uint8_t out[CODER_OUT];
};

struct piece {
	const uint8_t *data;
	size_t len; /* at most 1 GiB: several libraries count in int */
};

enum step {
	STEP_HUNGRY, /* input used up and nothing more to come from it */
	STEP_FULL,   /* empty out, then call again */
	STEP_DONE    /* the stream has ended and is wholly in out */
};

/* What one stream asks for; each type looks at its own members. */
struct coder_opts {
	int level;
	bool raw;
	const char *pass; /* cipher */
};

struct coder_type {
	struct idle_list *idle;
	/* Make a new or used context ready for a stream.  -1: failure set. */
	int (*begin)(struct coder *c, const struct coder_opts *o);
	/* Take from in, add to out.  end comes with empty input, until STEP_DONE.  -1: failure set.
	 */
	int (*step)(struct coder *c, struct piece *in, bool end);
};

struct sink *coder_sink(struct arena *a, struct sink *next, const struct coder_type *type,
	const struct coder_opts *o);

/* The step of every expander at the end: STEP_DONE, or the failure that the stream is cut short. */
int coder_expand_end(const struct coder *c);

struct sink *gz_compress(struct arena *a, struct sink *next, int level, bool raw);
struct sink *gz_expand(struct arena *a, struct sink *next, bool raw);
struct sink *lz4_compress(struct arena *a, struct sink *next, int level, bool raw);
struct sink *lz4_expand(struct arena *a, struct sink *next, bool raw);
struct sink *zst_compress(struct arena *a, struct sink *next, int level, bool raw);
struct sink *zst_expand(struct arena *a, struct sink *next, bool raw);
struct sink *bz2_compress(struct arena *a, struct sink *next, int level, bool raw);
struct sink *bz2_expand(struct arena *a, struct sink *next, bool raw);

#endif
