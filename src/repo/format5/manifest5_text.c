/*
 * manifest5_text: the spellings of manifest members that are more than a number or a string
 * (format/repository.md 5.2 to 5.8).
 *
 * Each prints nothing for what format 5 leaves out and looks at no other member, except that a list
 * of pages has its length beside it and that sizes are left out when they equal "size".
 */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "repo/format5/format5.h"

#define BLOCK_UNIT 8192 /* bytes; block sizes are multiples of it */

/* ---- labels, types ---- */

static bool print_type(struct json_out *j, const struct field *f, const void *object)
{
	json_str(j, backup_type_name(*(const enum backup_type *)field_at_const(f, object)));
	return true;
}

static int parse_type(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	const char *name = NULL;

	if (json_get_str(v, &name) != 0)
		return -1;
	if (!backup_type_parse(name, field_at(f, object)))
		return err_set(ERR_FORMAT, "'%.20s' is not a backup type", name);
	return 0;
}

static bool print_labels(struct json_out *j, const struct field *f, const void *object)
{
	const strvec *labels = field_at_const(f, object);
	SCOPED_ARENA(tmp);

	if (labels->n == 0)
		return false;
	json_str(j, str_join(tmp, labels, ","));
	return true;
}

static int parse_labels(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	strvec *labels = field_at(f, object);
	const char *text = NULL;

	if (json_get_str(v, &text) != 0)
		return -1;
	*labels = str_split(a, text, ',');
	return 0;
}

static bool print_codec(struct json_out *j, const struct field *f, const void *object)
{
	json_str(j, codec_info(*(const enum codec *)field_at_const(f, object))->name);
	return true;
}

static int parse_codec(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	const char *name = NULL;

	if (json_get_str(v, &name) != 0)
		return -1;
	if (!codec_by_name(name, field_at(f, object)))
		return err_set(ERR_FORMAT, "compression '%.20s' is not known", name);
	return 0;
}

const struct field_custom text5_type = {print_type, parse_type};
const struct field_custom text5_labels = {print_labels, parse_labels};
const struct field_custom text5_codec = {print_codec, parse_codec};

/* ---- owners and modes ---- */

static bool print_owner(struct json_out *j, const struct field *f, const void *object)
{
	const char *owner = *(const char *const *)field_at_const(f, object);

	if (owner == NULL)
		return false;
	if (manifest_owner_known(owner))
		json_str(j, owner);
	else
		json_bool(j, false);
	return true;
}

static int parse_owner(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	const char **owner = field_at(f, object);

	if (v->type == JSON_BOOL && !v->boolean) {
		*owner = manifest_owner_unknown;
		return 0;
	}
	if (json_get_str(v, owner) != 0)
		return -1;
	*owner = arena_strdup(a, *owner);
	return 0;
}

static bool print_mode(struct json_out *j, const struct field *f, const void *object)
{
	unsigned mode = *(const uint16_t *)field_at_const(f, object);
	const char digits[] = {
		(char)('0' + (mode >> 9 & 7)),
		(char)('0' + (mode >> 6 & 7)),
		(char)('0' + (mode >> 3 & 7)),
		(char)('0' + (mode & 7)),
		'\0',
	};

	if (mode == MODE5_DEFAULT)
		return false;
	json_str(j, digits);
	return true;
}

static int parse_mode(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	const char *text = NULL;

	if (json_get_str(v, &text) != 0)
		return -1;
	size_t len = strlen(text);
	if (len > 4 || !str_all(text, len, "01234567"))
		return err_set(ERR_FORMAT, "'%.20s' is not a mode", text);
	*(uint16_t *)field_at(f, object) = (uint16_t)strtoul(text, NULL, 8);
	return 0;
}

const struct field_custom text5_owner = {print_owner, parse_owner};
const struct field_custom text5_mode = {print_mode, parse_mode};

/* ---- targets ---- */

static bool print_oid(struct json_out *j, const struct field *f, const void *object)
{
	uint32_t oid = *(const uint32_t *)field_at_const(f, object);
	SCOPED_ARENA(tmp);

	if (oid == 0)
		return false;
	json_str(j, arena_printf(tmp, "%u", oid));
	return true;
}

static int parse_oid(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	const char *text = NULL;
	uint64_t oid = 0;

	if (json_get_str(v, &text) != 0)
		return -1;
	if (!str_to_u64(text, &oid) || oid == 0 || oid > UINT32_MAX)
		return err_set(ERR_FORMAT, "'%.20s' is not an OID", text);
	*(uint32_t *)field_at(f, object) = (uint32_t)oid;
	return 0;
}

static bool print_link(struct json_out *j, const struct field *f, const void *object)
{
	json_str(j, *(const bool *)field_at_const(f, object) ? "link" : "path");
	return true;
}

static int parse_link(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	const char *text = NULL;

	if (json_get_str(v, &text) != 0)
		return -1;
	bool link = strcmp(text, "link") == 0;
	if (!link && strcmp(text, "path") != 0)
		return err_set(ERR_FORMAT, "'%.20s' is not a type of target", text);
	*(bool *)field_at(f, object) = link;
	return 0;
}

const struct field_custom text5_oid = {print_oid, parse_oid};
const struct field_custom text5_link = {print_link, parse_link};

/* ---- files: sizes, checksums ---- */

static bool print_blocks(struct json_out *j, const struct field *f, const void *object)
{
	uint32_t bytes = *(const uint32_t *)field_at_const(f, object);

	if (bytes == 0)
		return false;
	json_u64(j, bytes / BLOCK_UNIT);
	return true;
}

static int parse_blocks(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	uint64_t units = 0;

	if (json_get_u64(v, &units) != 0)
		return -1;
	if (units == 0 || units > UINT32_MAX / BLOCK_UNIT)
		return err_set(ERR_FORMAT, "impossible block size");
	*(uint32_t *)field_at(f, object) = (uint32_t)units * BLOCK_UNIT;
	return 0;
}

static bool print_block_sum(struct json_out *j, const struct field *f, const void *object)
{
	uint32_t bytes = *(const uint32_t *)field_at_const(f, object);

	if (bytes == 0 || bytes == BLOCK_SUM5_DEFAULT)
		return false;
	json_u64(j, bytes);
	return true;
}

static int parse_block_sum(
	struct arena *a, const struct field *f, void *object, const struct json *v)
{
	uint64_t bytes = 0;

	if (json_get_u64(v, &bytes) != 0)
		return -1;
	if (bytes == 0 || bytes > UINT32_MAX)
		return err_set(ERR_FORMAT, "impossible size of a block checksum");
	*(uint32_t *)field_at(f, object) = (uint32_t)bytes;
	return 0;
}

static bool print_size(struct json_out *j, const struct field *f, const void *object)
{
	uint64_t size = *(const uint64_t *)field_at_const(f, object);

	if (size == ((const struct manifest_file *)object)->size)
		return false;
	json_u64(j, size);
	return true;
}

static int parse_size(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	return json_get_u64(v, field_at(f, object));
}

static bool print_sum(struct json_out *j, const struct field *f, const void *object)
{
	char hex[SHA1_HEX + 1];

	sum_hex(field_at_const(f, object), hex);
	json_str(j, hex);
	return true;
}

static int parse_sum(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	const char *hex = NULL;

	if (json_get_str(v, &hex) != 0)
		return -1;
	if (!sum_parse(hex, field_at(f, object)) || hex[SHA1_HEX] != '\0')
		return err_set(ERR_FORMAT, "not a SHA-1 checksum");
	return 0;
}

const struct field_custom text5_blocks = {print_blocks, parse_blocks};
const struct field_custom text5_block_sum = {print_block_sum, parse_block_sum};
const struct field_custom text5_size = {print_size, parse_size};
const struct field_custom text5_sum = {print_sum, parse_sum};

/* ---- files: bad pages, [1,[3,5],7] ---- */

static bool print_pages(struct json_out *j, const struct field *f, const void *object)
{
	const struct manifest_file *file = object;

	if (file->bad_n == 0 || !file->page_check || file->page_ok)
		return false;
	json_array_begin(j);
	for (uint32_t i = 0; i < file->bad_n; i++) {
		const struct page_range *r = &file->bad[i];

		if (r->first == r->last) {
			json_u64(j, r->first);
			continue;
		}
		json_array_begin(j);
		json_u64(j, r->first);
		json_u64(j, r->last);
		json_array_end(j);
	}
	json_array_end(j);
	return true;
}

static int parse_range(const struct json *v, struct page_range *out)
{
	const struct json *first = v, *last = v;
	uint64_t from = 0, to = 0;

	if (v->type == JSON_ARRAY) {
		first = v->child;
		last = first == NULL ? NULL : first->next;
		if (last == NULL || last->next != NULL)
			return err_set(ERR_FORMAT, "a range of pages has two ends");
	}
	if (json_get_u64(first, &from) != 0 || json_get_u64(last, &to) != 0)
		return -1;
	if (from > UINT32_MAX || to > UINT32_MAX)
		return err_set(ERR_FORMAT, "impossible page number");
	*out = (struct page_range){.first = (uint32_t)from, .last = (uint32_t)to};
	return 0;
}

static int parse_pages(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	struct manifest_file *file = object;
	VEC(struct page_range) pages;
	struct page_range range = {0};

	if (v->type != JSON_ARRAY)
		return err_set(ERR_FORMAT, "not an array");
	vec_init(&pages, a);
	for (const struct json *e = v->child; e != NULL; e = e->next) {
		if (parse_range(e, &range) != 0)
			return -1;
		vec_push(&pages, range);
	}
	file->bad = pages.v;
	file->bad_n = (uint32_t)pages.n;
	return 0;
}

const struct field_custom text5_pages = {print_pages, parse_pages};
