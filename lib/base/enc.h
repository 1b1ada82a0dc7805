/*
 * enc: bytes as text.
 */
#ifndef BASE_ENC_H
#define BASE_ENC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lower-case hex and a NUL: out has room for 2 * len + 1. */
void hex_encode(const void *data, size_t len, char *out);

/* Exactly 2 * len hex digits (either case), no NUL needed after them. */
bool hex_decode(const char *text, void *out, size_t len);

/* Standard base64 with padding and a NUL: out has room for BASE64_SIZE(len). */
#define BASE64_SIZE(len) (((len) + 2) / 3 * 4 + 1)
void base64_encode(const void *data, size_t len, char *out);

#endif
