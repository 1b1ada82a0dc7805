/*
 * hash: checksums as filters.
 */
#ifndef STREAM_HASH_H
#define STREAM_HASH_H

#include "stream/sink.h"

#define SHA1_SIZE 20
#define SHA1_HEX 40

struct sum {
	uint8_t bytes[SHA1_SIZE];
};

extern const struct sum sum_empty; /* SHA-1 of no bytes */

bool sum_equal(const struct sum *x, const struct sum *y);
void sum_hex(const struct sum *s, char out[SHA1_HEX + 1]);
bool sum_parse(const char *hex, struct sum *out); /* 40 hex digits, then NUL or anything */

/* Passes bytes on; *out is valid after finish.  The OpenSSL context is kept by the process and reset
 * per use, not rebuilt. */
struct sink *sink_sha1(struct arena *a, struct sink *next, struct sum *out);

void sha1_of(const void *data, size_t len, struct sum *out);

/* Incremental use outside a chain (info file checksums). */
struct sha1;
struct sha1 *sha1_new(struct arena *a);
void sha1_add(struct sha1 *s, const void *data, size_t len);
void sha1_end(struct sha1 *s, struct sum *out);

#endif
