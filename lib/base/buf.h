/*
 * buf: growing bytes.  Always followed by a NUL that len does not count, so that data is a C string
 * whenever the content has none of its own.  Memory belongs to the arena given at init.
 *
 * data moves when the buffer grows: what is added must not lie in the buffer itself.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include "arena.h"

struct buf {
	char *data; /* never NULL after init */
	size_t len;
	size_t cap; /* bytes allocated, the NUL included */
};

/* An empty buffer whose memory is released with the arena. */
void buf_init(struct buf *b, struct arena *a);
void buf_reset(struct buf *b); /* len = 0, memory kept */
void buf_reserve(struct buf *b, size_t more); /* room for more bytes beyond len */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One word for a POSIX shell: as it is if nothing in it means anything to a shell, else in single quotes. */
void buf_add_shell(struct buf *out, const char *text);

#endif
