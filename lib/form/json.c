/*
 * json: writer and reader of the repository's dialect.
 *
 * One grammar serves json_parse and json_valid: without an arena the reader only looks.  It never
 * reads behind the text's end, never recurses deeper than DEPTH_MAX, and a NUL byte is refused
 * wherever it stands, raw or escaped, so that every string it returns is as long as it looks.
 */
#include "form/json.h"

#include <string.h>
#include "base/enc.h"

#define DEPTH_MAX 32

/* ---- writer ---- */

void json_out_init(struct json_out *j, struct buf *b)
{
	*j = (struct json_out){.buf = b};
}

static void separate(struct json_out *j)
{
	if (j->comma)
		buf_addc(j->buf, ',');
	j->comma = true;
}

static void begin(struct json_out *j, char bracket)
{
	separate(j);
	buf_addc(j->buf, bracket);
	j->comma = false;
}

static void end(struct json_out *j, char bracket)
{
	buf_addc(j->buf, bracket);
	j->comma = true;
}

void json_object_begin(struct json_out *j)
{
	begin(j, '{');
}

void json_object_end(struct json_out *j)
{
	end(j, '}');
}

void json_array_begin(struct json_out *j)
{
	begin(j, '[');
}

void json_array_end(struct json_out *j)
{
	end(j, ']');
}

static const char escape_of[256] = {
	['"'] = '"',
	['\\'] = '\\',
	['\n'] = 'n',
	['\r'] = 'r',
	['\t'] = 't',
	['\b'] = 'b',
	['\f'] = 'f',
};

void json_quote(struct buf *b, const char *s, size_t len)
{
	size_t plain = 0; /* start of the bytes not yet added */

	buf_addc(b, '"');
	for (size_t i = 0; i < len; i++) {
		char escape = escape_of[(unsigned char)s[i]];

		if (escape == 0)
			continue;
		buf_add(b, s + plain, i - plain);
		buf_addc(b, '\\');
		buf_addc(b, escape);
		plain = i + 1;
	}
	buf_add(b, s + plain, len - plain);
	buf_addc(b, '"');
}

void json_key(struct json_out *j, const char *key)
{
	json_str(j, key);
	buf_addc(j->buf, ':');
	j->comma = false;
}

void json_str(struct json_out *j, const char *s)
{
	if (s == NULL) {
		json_null(j);
		return;
	}
	separate(j);
	json_quote(j->buf, s, strlen(s));
}

/* By hand: a manifest of a million rows has millions of numbers. */
static void add_digits(struct buf *b, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v != 0);
	buf_add(b, digits + at, sizeof(digits) - at);
}

void json_u64(struct json_out *j, uint64_t v)
{
	separate(j);
	add_digits(j->buf, v);
}

void json_i64(struct json_out *j, int64_t v)
{
	separate(j);
	if (v < 0)
		buf_addc(j->buf, '-');
	add_digits(j->buf, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void json_bool(struct json_out *j, bool v)
{
	separate(j);
	buf_adds(j->buf, v ? "true" : "false");
}

void json_null(struct json_out *j)
{
	separate(j);
	buf_adds(j->buf, "null");
}

/* ---- reader ---- */

struct reader {
	struct arena *arena; /* NULL: only look */
	const char *at, *end;
	const char *why; /* what was expected where reading stopped */
	unsigned depth;
};

static bool stop(struct reader *r, const char *why)
{
	r->why = why;
	return false;
}

static void skip_blanks(struct reader *r)
{
	while (r->at < r->end &&
		(*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static bool next_is(struct reader *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

/* The byte a one-letter escape stands for, 0 if it is none. */
static char escaped_byte(char letter)
{
	switch (letter) {
	case '"':
	case '\\':
	case '/':
		return letter;
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	default:
		return 0;
	}
}

/* Behind a backslash; *out is the byte meant. */
static bool escape(struct reader *r, char *out)
{
	if (r->at == r->end)
		return stop(r, "an escaped character");
	*out = escaped_byte(*r->at);
	if (*out != 0) {
		r->at++;
		return true;
	}
	/* \u00XX is one byte; the format has no others, and NUL would cut the string */
	if (r->end - r->at < 5 || r->at[0] != 'u' || r->at[1] != '0' || r->at[2] != '0' ||
		!hex_decode(r->at + 3, out, 1) || *out == 0)
		return stop(r, "a known escape");
	r->at += 5;
	return true;
}

/* Copy len bytes of a string that was looked at before, escapes resolved. */
static const char *unescape(struct arena *a, const char *from, size_t len)
{
	struct reader r = {.at = from, .end = from + len};
	char *text = arena_alloc(a, len + 1), *to = text;

	while (r.at < r.end) {
		*to = *r.at++;
		if (*to == '\\' && !escape(&r, to))
			break;
		to++;
	}
	*to = '\0';
	return text;
}

static bool string(struct reader *r, const char **out)
{
	bool escapes = false;
	char byte;

	if (!next_is(r, '"'))
		return stop(r, "a string");
	const char *from = r->at;
	while (r->at < r->end && *r->at != '"') {
		if (*r->at == '\0')
			return stop(r, "no NUL byte");
		if (*r->at++ != '\\')
			continue;
		escapes = true;
		if (!escape(r, &byte))
			return false;
	}
	size_t len = (size_t)(r->at - from);
	if (!next_is(r, '"'))
		return stop(r, "the end of a string");
	if (r->arena != NULL)
		*out = escapes ? unescape(r->arena, from, len) : arena_strndup(r->arena, from, len);
	return true;
}

static bool number(struct reader *r, struct json *v)
{
	bool negative = next_is(r, '-');
	uint64_t max = negative ? INT64_MAX : UINT64_MAX, n = 0;
	const char *from = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
		unsigned digit = (unsigned)(*r->at - '0');

		if (n > (max - digit) / 10)
			return stop(r, "a number of 64 bits");
		n = n * 10 + digit;
		r->at++;
	}
	if (r->at == from || (*from == '0' && r->at - from > 1))
		return stop(r, "a value");
	if (r->at < r->end && (*r->at == '.' || *r->at == 'e' || *r->at == 'E'))
		return stop(r, "an integer");
	*v = (struct json){
		.type = JSON_INT, .number = n, .negative = negative && n != 0, .key = v->key};
	return true;
}

static bool word(struct reader *r, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(r->end - r->at) < len || memcmp(r->at, text, len) != 0)
		return stop(r, "a value");
	r->at += len;
	return true;
}

static bool value(struct reader *r, struct json *v);

static bool member_key(struct reader *r, struct json *member)
{
	skip_blanks(r);
	if (!string(r, &member->key))
		return false;
	skip_blanks(r);
	return next_is(r, ':') || stop(r, "a colon");
}

/* The members or elements behind the opening bracket. */
static bool children(struct reader *r, struct json *v, char close)
{
	struct json **link = &v->child;

	skip_blanks(r);
	if (next_is(r, close))
		return true;
	do {
		struct json looked = {0}, *child = &looked;

		if (r->arena != NULL)
			child = *link = arena_new_object(r->arena, struct json);
		if (v->type == JSON_OBJECT && !member_key(r, child))
			return false;
		if (!value(r, child))
			return false;
		link = &child->next;
	} while (next_is(r, ','));
	return next_is(r, close) || stop(r, close == '}' ? "a comma or }" : "a comma or ]");
}

static bool nested(struct reader *r, struct json *v, enum json_type type, char close)
{
	r->at++;
	if (++r->depth > DEPTH_MAX)
		return stop(r, "less nesting");
	v->type = type;
	bool ok = children(r, v, close);
	r->depth--;
	return ok;
}

static bool bare(struct reader *r, struct json *v)
{
	switch (r->at == r->end ? '\0' : *r->at) {
	case '{':
		return nested(r, v, JSON_OBJECT, '}');
	case '[':
		return nested(r, v, JSON_ARRAY, ']');
	case '"':
		v->type = JSON_STR;
		return string(r, &v->str);
	case 't':
		v->type = JSON_BOOL;
		v->boolean = true;
		return word(r, "true");
	case 'f':
		v->type = JSON_BOOL;
		return word(r, "false");
	case 'n':
		v->type = JSON_NULL;
		return word(r, "null");
	default:
		return number(r, v);
	}
}

/* One value with the blanks around it. */
static bool value(struct reader *r, struct json *v)
{
	skip_blanks(r);
	if (!bare(r, v))
		return false;
	skip_blanks(r);
	return true;
}

static bool whole(struct reader *r, struct json *v)
{
	return value(r, v) && (r->at == r->end || stop(r, "the end of the text"));
}

struct json *json_parse(struct arena *a, const char *text, size_t len)
{
	struct reader r = {.arena = a, .at = text, .end = text + len};
	struct json *v = arena_new_object(a, struct json);

	if (!whole(&r, v))
		return err_null(ERR_JSON, "invalid JSON: expected %s at byte %zu of %zu", r.why,
			(size_t)(r.at - text), len);
	return v;
}

bool json_valid(const char *text, size_t len)
{
	struct reader r = {.at = text, .end = text + len};
	struct json looked = {0};

	return whole(&r, &looked);
}

const struct json *json_member(const struct json *object, const char *key)
{
	if (object->type != JSON_OBJECT)
		return NULL;
	for (const struct json *m = object->child; m != NULL; m = m->next)
		if (strcmp(m->key, key) == 0)
			return m;
	return NULL;
}
