/*
 * str: small text helpers and the two human notations, sizes and durations, both ways.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stdint.h>
#include "vec.h"

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
bool str_all(const char *s, size_t len, const char *set); /* len bytes, each one of set; len > 0 */

/* A copy without leading and trailing white space. */
char *str_trim(struct arena *a, const char *s);

/* Split at each sep; empty parts are kept, "" gives one empty part.  Parts live in the arena. */
strvec str_split(struct arena *a, const char *s, char sep);
char *str_join(struct arena *a, const strvec *parts, const char *sep);

/* Decimal digits with optional sign, nothing else; false if malformed or out of range. */
bool str_to_i64(const char *s, int64_t *out);
/* Decimal digits only. */
bool str_to_u64(const char *s, uint64_t *out);
/* Hexadecimal digits only (both cases), at most 16. */
bool str_hex_to_u64(const char *s, size_t len, uint64_t *out);

/* Digits and a unit b k kb kib m mb mib g gb gib t tb tib p pb pib, any case, powers of 1024; no sign,
 * blank or fraction; at most 2^63-1 bytes. */
bool str_to_size(const char *s, uint64_t *bytes);
/* Integer (sign allowed) and a unit ms s m h d w, any case, default s; result in milliseconds. */
bool str_to_duration(const char *s, int64_t *ms);

/* "816KB", "22.6MB": one decimal, a half rounded up, ".0" dropped, nothing above GB. */
char *str_size(struct arena *a, uint64_t bytes);

/* qsort comparison of const char * elements by unsigned bytes. */
int str_cmp_ptr(const void *x, const void *y);

#endif
