/*
 * frame: length-checked frames over two descriptors (doc/protocol.md, "Frames").
 *
 * Whoever waits to write reads what arrives meanwhile, up to a bound, so that neither side waits for the other
 * with both pipes full; whoever waits, waits with an end.  Nothing from the other side is used before it is
 * checked, no memory taken for a length before it is bounded.
 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

#define WIRE_MAGIC "PGSTRATA"
#define WIRE_MAGIC_LEN 8
#define WIRE_HEAD 12 /* bytes */
#define WIRE_FRAME_MAX ((size_t)1024 * 1024) /* bytes behind the head, before and after expansion */
#define WIRE_HELLO_MAX ((size_t)64 * 1024)
#define WIRE_NO_PACK (-128) /* a level: data crosses as it is */

/* The values are what crosses. */
enum wire_type {
	WIRE_HELLO = 'H',
	WIRE_REQUEST = 'Q',
	WIRE_DATA = 'D',
	WIRE_ENTRY = 'O',   /* in front of a get's data, if asked for: the opened file's entry */
	WIRE_FINISH = 'F',  /* behind a put's data: it is to be published, and under which path */
	WIRE_CANCEL = 'C',  /* caller: no further data of this request is wanted; a put is undone */
	WIRE_ANSWER = 'A',
	WIRE_FAILURE = 'E',
	WIRE_WARNING = 'W',
	WIRE_PING = 'P',    /* only shows life; wire_receive takes no notice but of the time */
	WIRE_GOODBYE = 'G',
};

#define WIRE_LAST 1u   /* flag: the last frame of its request or answer of this type */
#define WIRE_PACKED 2u /* flag, D only: zstd; u32 plain length in front.  wire_receive has expanded it already */

struct wire_frame {
	enum wire_type type;
	bool last;
	uint32_t request;
	const uint8_t *data; /* valid until the next wire_receive */
	size_t len;
};

struct wire;

/* in and out are made non-blocking; they are the caller's to close.  who names the other side in failures ("host
 * 'db1'").  silence_ms: how long a wait for bytes, or for room, may see nothing at all. */
struct wire *wire_new(struct arena *a, int in, int out, const char *who, int64_t silence_ms);
void wire_set_silence(struct wire *w, int64_t silence_ms);

/* The magic, without a frame.  wire_expect_magic: 0; -1 ERR_PROTOCOL, and *got (in the arena of the wire) has what
 * came instead, at most 200 bytes, printable, "" if nothing. */
int wire_send_magic(struct wire *w) must_check;
int wire_expect_magic(struct wire *w, int64_t timeout_ms, const char **got) must_check;

/* Queued, and written when 64 KiB have come together; wire_flush writes all of it.  ERR_SERVICE if the other side
 * is gone or does not read for silence_ms, ERR_TERM on a signal that comes while it waits.  len at most
 * WIRE_FRAME_MAX; what wire_receive would not take is ERR_ASSERT.  After -1 nothing can be sent; if the other side
 * is gone, what it said before can still be received (why it went, perhaps). */
int wire_send(struct wire *w, enum wire_type type, unsigned flags, uint32_t request, const void *data,
	size_t len) must_check;
/* WIRE_DATA in as many frames as it takes, compressed where that makes it smaller (level: of zstd, or WIRE_NO_PACK);
 * last: the last one is marked so (len may be 0). */
int wire_send_data(struct wire *w, uint32_t request, const void *data, size_t len, int level, bool last) must_check;
int wire_flush(struct wire *w) must_check;

/* The next frame but pings; flushes first.  0; 1 if the other side has closed between two frames; -1: ERR_PROTOCOL
 * for what is no frame, or is of a type, flag or length that may not be; ERR_SERVICE for a connection cut inside
 * one, or silent too long; ERR_TERM.  After -1 or 1 the wire is dead: nothing more is received, but a last word
 * (why) can be sent. */
int wire_receive(struct wire *w, struct wire_frame *out) must_check;
/* Is there anything to receive, a frame but pings, a part or an end?  Waits at most ms (0: not at all); does not
 * flush. */
bool wire_ready(struct wire *w, int64_t ms);
bool wire_dead(const struct wire *w); /* in either direction */

/* A failure as a frame's bytes (u16 code, text, hints), from the record; and back into it, with where ("host 'x'")
 * in front: ERR_UNKNOWN for a code that is not in ERR_LIST. */
void wire_pack_failure(struct buf *b);
int wire_unpack_failure(const struct wire_frame *f, const char *where) must_check;

#endif
