/*
 * pack: numbers and texts of a frame, little-endian; reading is bounded and fails for good.
 *
 * A reader is read to its end without looking; unpack_end says once whether all of it was there, sound, and nothing
 * more.  A text is a u32 length and its bytes, without zero bytes; the length 0xFFFFFFFF is NULL.
 */
#ifndef WIRE_PACK_H
#define WIRE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

void pack_u8(struct buf *b, uint8_t v);
void pack_u16(struct buf *b, uint16_t v);
void pack_u32(struct buf *b, uint32_t v);
void pack_u64(struct buf *b, uint64_t v);
void pack_i64(struct buf *b, int64_t v);
void pack_bool(struct buf *b, bool v);
void pack_str(struct buf *b, const char *s); /* NULL: none */
void pack_bytes(struct buf *b, const void *data, size_t len); /* u32 length, bytes; len < 2^32 - 1 */

struct unpack {
	struct arena *arena; /* texts and bytes are copied into it */
	const uint8_t *at, *end;
	bool bad; /* something was missing or impossible: all that is read from then on is 0 or NULL */
};

void unpack_init(struct unpack *u, struct arena *a, const void *data, size_t len);
uint8_t unpack_u8(struct unpack *u);
uint16_t unpack_u16(struct unpack *u);
uint32_t unpack_u32(struct unpack *u);
uint64_t unpack_u64(struct unpack *u);
int64_t unpack_i64(struct unpack *u);
bool unpack_bool(struct unpack *u); /* 0 or 1; else bad */
const char *unpack_str(struct unpack *u); /* NULL: none, or bad */
const char *unpack_text(struct unpack *u); /* never NULL: NULL is bad, and gives "" */
const void *unpack_bytes(struct unpack *u, size_t *len);
/* A number at most max; else bad. */
uint32_t unpack_u32_max(struct unpack *u, uint32_t max);
/* A count of things of which each takes at least `each` bytes (1 or more) of what is left; else bad.  Before memory is
 * taken for them. */
size_t unpack_count(struct unpack *u, size_t each);

/* 0; ERR_PROTOCOL "what: malformed" if anything was bad or bytes are left. */
int unpack_end(const struct unpack *u, const char *what) must_check;

#endif
