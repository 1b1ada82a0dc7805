/*
 * json: the dialect of repository format 5 (format/repository.md 2.2): integers only, keys sorted by the
 * writer's caller, only " \ LF CR TAB BS FF escaped, all other bytes raw.  The same writer serves
 * info --output=json.
 */
#ifndef FORM_JSON_H
#define FORM_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* Writer: appends to a buffer; commas are its business, order is the caller's. */
struct json_out {
	struct buf *buf;
	bool comma; /* the next member or element needs one before it */
};
void json_out_init(struct json_out *j, struct buf *b);
void json_object_begin(struct json_out *j);
void json_object_end(struct json_out *j);
void json_array_begin(struct json_out *j);
void json_array_end(struct json_out *j);
void json_key(struct json_out *j, const char *key); /* escaped */
void json_str(struct json_out *j, const char *s);   /* NULL gives null */
void json_u64(struct json_out *j, uint64_t v);
void json_i64(struct json_out *j, int64_t v);
void json_bool(struct json_out *j, bool v);
void json_null(struct json_out *j);

/* Append s quoted and escaped. */
void json_quote(struct buf *b, const char *s, size_t len);

/* Reader: a tree in an arena.  Object members keep their order and are found by name wherever they
 * stand (readers of format 5 only ever look forward; being laxer is safe). */
enum json_type { JSON_NULL, JSON_BOOL, JSON_INT, JSON_STR, JSON_ARRAY, JSON_OBJECT };
struct json {
	enum json_type type;
	bool boolean;
	bool negative;	   /* JSON_INT: value is -(int64_t)number, which is at most INT64_MAX then */
	uint64_t number;
	const char *str;   /* JSON_STR; NUL-terminated, may hold any other byte */
	const char *key;   /* set for members of an object */
	struct json *child, *next;
};

/* Parse all len bytes (nesting at most 32, blanks around tokens allowed); ERR_JSON with the position
 * otherwise.  text need not be NUL-terminated.  Fractions, exponents, numbers beyond 64 bits, NUL bytes
 * and \u escapes beyond \u00XX (one byte) are refused. */
struct json *json_parse(struct arena *a, const char *text, size_t len) must_check;

/* True if text is one complete valid value (used to split key and value at the right '='). */
bool json_valid(const char *text, size_t len);

const struct json *json_member(const struct json *object, const char *key); /* NULL if absent */

#endif
