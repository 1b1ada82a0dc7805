/*
 * fields: one table describes a struct; its JSON form, both ways, comes from the table.
 *
 *	static const struct field fields[] = {
 *		FIELD(struct row, "size", size, FIELD_U64, FIELD_REQUIRED),
 *		...
 *		FIELD_END,
 *	};
 *
 * The lines stand in byte order of their keys, which is the order of writing.  At most 64 lines.
 */
#ifndef FORM_FIELDS_H
#define FORM_FIELDS_H

#include <stddef.h>
#include "form/json.h"

enum field_type {
	FIELD_BOOL,   /* bool */
	FIELD_INT,    /* int */
	FIELD_U32,    /* uint32_t */
	FIELD_U64,    /* uint64_t */
	FIELD_I64,    /* int64_t */
	FIELD_STR,    /* const char *; NULL = absent */
	FIELD_STR_NULL, /* const char *; NULL is written as null and read from null or absence */
	FIELD_STRVEC, /* strvec; written as array, absent when empty */
	FIELD_STRMAP, /* VEC of a struct of two const char *, key and value; an object, absent when empty */
	FIELD_CUSTOM, /* anything: see struct field_custom */
};

enum field_flags {
	FIELD_REQUIRED = 1, /* reading: its absence is a failure */
	FIELD_OMIT_ZERO = 2, /* writing: left out if false, 0, NULL or empty */
};

struct field_custom;

struct field {
	const char *key;
	enum field_type type;
	unsigned flags;
	size_t offset;
	size_t has_offset; /* of a bool that says whether the member is known; 0 = none */
	const struct field_custom *custom;
};

/* A spelling of its own for a member.  object is the struct the table describes; field_at gives the
 * member.  print writes one value, or nothing and returns false if the member is absent; parse sets
 * the failure record (without the key). */
struct field_custom {
	bool (*print)(struct json_out *j, const struct field *f, const void *object);
	int (*parse)(struct arena *a, const struct field *f, void *object, const struct json *v);
};

static inline void *field_at(const struct field *f, void *object)
{
	return (char *)object + f->offset;
}

static inline const void *field_at_const(const struct field *f, const void *object)
{
	return (const char *)object + f->offset;
}

#define FIELD(type_, key_, member_, kind_, flags_) \
	{ (key_), (kind_), (flags_), offsetof(type_, member_), 0, NULL }
/* A member that may be unknown: has_ is a bool member; absent when it is false. */
#define FIELD_OPT(type_, key_, member_, kind_, has_) \
	{ (key_), (kind_), 0, offsetof(type_, member_), offsetof(type_, has_), NULL }
#define FIELD_BY(type_, key_, member_, custom_, flags_) \
	{ (key_), FIELD_CUSTOM, (flags_), offsetof(type_, member_), 0, (custom_) }
#define FIELD_OPT_BY(type_, key_, member_, custom_, has_) \
	{ (key_), FIELD_CUSTOM, 0, offsetof(type_, member_), offsetof(type_, has_), (custom_) }
#define FIELD_END { NULL, 0, 0, 0, 0, NULL }

/* Write the members (without the braces) through j. */
void fields_write(struct json_out *j, const struct field *fields, const void *object);

/* Write one member's value alone; false (and nothing written) if it is absent. */
bool field_print(struct json_out *j, const struct field *f, const void *object);

/* Fill a zeroed object; strings live in the arena.  ERR_FORMAT naming the key for a missing required or
 * mistyped member; unknown members are skipped, of a repeated one the first counts. */
int fields_read(struct arena *a, const struct field *fields, void *object, const struct json *from)
	must_check;

/* Values by themselves, for whoever reads JSON by hand: ERR_FORMAT if v has another type. */
int json_get_u64(const struct json *v, uint64_t *out) must_check;
int json_get_str(const struct json *v, const char **out) must_check;

#endif
