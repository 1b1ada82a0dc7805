/*
 * fields: a struct's JSON form, both ways, from its table.
 *
 * Members are reached through their offset only.  Reading walks the object's members and the table
 * side by side, since both are sorted in all that a format 5 writer makes; any other order is found
 * too.
 */
#include "form/fields.h"

#include <limits.h>
#include <string.h>
#include "base/vec.h"

static bool is_known(const struct field *f, const void *object)
{
	return f->has_offset == 0 || *(const bool *)((const char *)object + f->has_offset);
}

static bool print_unsigned(struct json_out *j, const struct field *f, uint64_t v)
{
	if (v == 0 && (f->flags & FIELD_OMIT_ZERO))
		return false;
	json_u64(j, v);
	return true;
}

static bool print_signed(struct json_out *j, const struct field *f, int64_t v)
{
	if (v == 0 && (f->flags & FIELD_OMIT_ZERO))
		return false;
	json_i64(j, v);
	return true;
}

static bool print_bool(struct json_out *j, const struct field *f, bool v)
{
	if (!v && (f->flags & FIELD_OMIT_ZERO))
		return false;
	json_bool(j, v);
	return true;
}

static bool print_str(struct json_out *j, const struct field *f, const char *v)
{
	if (v == NULL && (f->type == FIELD_STR || (f->flags & FIELD_OMIT_ZERO)))
		return false;
	json_str(j, v);
	return true;
}

static bool print_strvec(struct json_out *j, const strvec *v)
{
	if (v->n == 0)
		return false;
	json_array_begin(j);
	for (size_t i = 0; i < v->n; i++)
		json_str(j, v->v[i]);
	json_array_end(j);
	return true;
}

/* A vector of struct { const char *key, *value } is looked at as its strings, two per element. */
static bool print_strmap(struct json_out *j, const void *member)
{
	struct vec_any v;

	memcpy(&v, member, sizeof(v));
	if (v.n == 0)
		return false;
	const char *const *pairs = v.v;
	json_object_begin(j);
	for (size_t i = 0; i < v.n; i++) {
		json_key(j, pairs[2 * i]);
		json_str(j, pairs[2 * i + 1]);
	}
	json_object_end(j);
	return true;
}

bool field_print(struct json_out *j, const struct field *f, const void *object)
{
	const void *at = field_at_const(f, object);

	if (!is_known(f, object))
		return false;
	switch (f->type) {
	case FIELD_BOOL:
		return print_bool(j, f, *(const bool *)at);
	case FIELD_INT:
		return print_signed(j, f, *(const int *)at);
	case FIELD_U32:
		return print_unsigned(j, f, *(const uint32_t *)at);
	case FIELD_U64:
		return print_unsigned(j, f, *(const uint64_t *)at);
	case FIELD_I64:
		return print_signed(j, f, *(const int64_t *)at);
	case FIELD_STR:
	case FIELD_STR_NULL:
		return print_str(j, f, *(const char *const *)at);
	case FIELD_STRVEC:
		return print_strvec(j, at);
	case FIELD_STRMAP:
		return print_strmap(j, at);
	case FIELD_CUSTOM:
		return f->custom->print(j, f, object);
	}
	return false;
}

void fields_write(struct json_out *j, const struct field *fields, const void *object)
{
	for (const struct field *f = fields; f->key != NULL; f++) {
		size_t len = j->buf->len;
		bool comma = j->comma;

		json_key(j, f->key);
		if (field_print(j, f, object))
			continue;
		/* only printing tells whether there is a value: take the key back */
		j->buf->len = len;
		j->buf->data[len] = '\0';
		j->comma = comma;
	}
}

int json_get_u64(const struct json *v, uint64_t *out)
{
	if (v->type != JSON_INT || v->negative)
		return err_set(ERR_FORMAT, "not a number of zero or more");
	*out = v->number;
	return 0;
}

int json_get_str(const struct json *v, const char **out)
{
	if (v->type != JSON_STR)
		return err_set(ERR_FORMAT, "not a string");
	*out = v->str;
	return 0;
}

static int read_signed(const struct json *v, int64_t min, int64_t max, int64_t *out)
{
	if (v->type != JSON_INT)
		return err_set(ERR_FORMAT, "not a number");
	if (v->number > INT64_MAX)
		return err_set(ERR_FORMAT, "number out of range");
	*out = v->negative ? -(int64_t)v->number : (int64_t)v->number;
	if (*out < min || *out > max)
		return err_set(ERR_FORMAT, "number out of range");
	return 0;
}

static int read_int(const struct json *v, int *out)
{
	int64_t wide = 0;

	if (read_signed(v, INT_MIN, INT_MAX, &wide) != 0)
		return -1;
	*out = (int)wide;
	return 0;
}

static int read_u32(const struct json *v, uint32_t *out)
{
	uint64_t wide = 0;

	if (json_get_u64(v, &wide) != 0)
		return -1;
	if (wide > UINT32_MAX)
		return err_set(ERR_FORMAT, "number out of range");
	*out = (uint32_t)wide;
	return 0;
}

static int read_bool(const struct json *v, bool *out)
{
	if (v->type != JSON_BOOL)
		return err_set(ERR_FORMAT, "not true or false");
	*out = v->boolean;
	return 0;
}

static int read_str(struct arena *a, const struct field *f, const struct json *v, const char **out)
{
	if (f->type == FIELD_STR_NULL && v->type == JSON_NULL) {
		*out = NULL;
		return 0;
	}
	if (json_get_str(v, out) != 0)
		return -1;
	*out = arena_strdup(a, *out);
	return 0;
}

static int read_strvec(struct arena *a, const struct json *v, strvec *out)
{
	if (v->type != JSON_ARRAY)
		return err_set(ERR_FORMAT, "not an array");
	for (const struct json *e = v->child; e != NULL; e = e->next) {
		const char *s = NULL;

		if (json_get_str(e, &s) != 0)
			return -1;
		vec_push(out, arena_strdup(a, s));
	}
	return 0;
}

static int read_strmap(struct arena *a, const struct json *v, void *member)
{
	struct vec_any out;

	if (v->type != JSON_OBJECT)
		return err_set(ERR_FORMAT, "not an object");
	memcpy(&out, member, sizeof(out));
	for (const struct json *e = v->child; e != NULL; e = e->next) {
		const char *s = NULL;

		if (json_get_str(e, &s) != 0)
			return err_wrap("'%s'", e->key);
		const char **pair = vec_add_any(&out, 2 * sizeof(*pair));
		pair[0] = arena_strdup(a, e->key);
		pair[1] = arena_strdup(a, s);
	}
	memcpy(member, &out, sizeof(out));
	return 0;
}

static int read_value(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	void *at = field_at(f, object);

	switch (f->type) {
	case FIELD_BOOL:
		return read_bool(v, at);
	case FIELD_INT:
		return read_int(v, at);
	case FIELD_U32:
		return read_u32(v, at);
	case FIELD_U64:
		return json_get_u64(v, at);
	case FIELD_I64:
		return read_signed(v, -INT64_MAX, INT64_MAX, at);
	case FIELD_STR:
	case FIELD_STR_NULL:
		return read_str(a, f, v, at);
	case FIELD_STRVEC:
		return read_strvec(a, v, at);
	case FIELD_STRMAP:
		return read_strmap(a, v, at);
	case FIELD_CUSTOM:
		return f->custom->parse(a, f, object, v);
	}
	return 0;
}

/* The table's line for a key: from *cursor on, then from the start; NULL if it has none. */
static const struct field *find(
	const struct field *fields, const struct field **cursor, const char *key)
{
	const struct field *from = *cursor;

	for (const struct field *f = from; f->key != NULL; f++) {
		if (strcmp(f->key, key) == 0) {
			*cursor = f + 1;
			return f;
		}
	}
	for (const struct field *f = fields; f != from; f++) {
		if (strcmp(f->key, key) == 0) {
			*cursor = f + 1;
			return f;
		}
	}
	return NULL;
}

/* Vectors must be usable also when their key is absent. */
static uint64_t prepare(struct arena *a, const struct field *fields, void *object)
{
	uint64_t required = 0;

	for (size_t i = 0; fields[i].key != NULL; i++) {
		if (fields[i].flags & FIELD_REQUIRED)
			required |= UINT64_C(1) << i;
		if (fields[i].type == FIELD_STRVEC || fields[i].type == FIELD_STRMAP)
			vec_init_any(field_at(&fields[i], object), a);
	}
	return required;
}

int fields_read(struct arena *a, const struct field *fields, void *object, const struct json *from)
{
	const struct field *cursor = fields;
	uint64_t seen = 0;

	if (from->type != JSON_OBJECT)
		return err_set(ERR_FORMAT, "not an object");
	uint64_t required = prepare(a, fields, object);
	for (const struct json *m = from->child; m != NULL; m = m->next) {
		const struct field *f = find(fields, &cursor, m->key);

		if (f == NULL || (seen >> (f - fields) & 1))
			continue;
		if (read_value(a, f, object, m) != 0)
			return err_wrap("key '%s'", f->key);
		seen |= UINT64_C(1) << (f - fields);
		if (f->has_offset != 0)
			*((bool *)((char *)object + f->has_offset)) = true;
	}
	for (size_t i = 0; fields[i].key != NULL; i++)
		if (required & ~seen & (UINT64_C(1) << i))
			return err_set(ERR_FORMAT, "required key '%s' not found", fields[i].key);
	return 0;
}
