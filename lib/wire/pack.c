/*
 * pack: see pack.h.  Bytes are put together one by one, so that no host's own order matters.
 */
#include "wire/pack.h"

#include <string.h>

#define NO_TEXT UINT32_MAX

static void add(struct buf *b, uint64_t v, unsigned bytes)
{
	uint8_t out[8];

	for (unsigned i = 0; i < bytes; i++)
		out[i] = (uint8_t)(v >> (8 * i));
	buf_add(b, out, bytes);
}

void pack_u8(struct buf *b, uint8_t v)
{
	add(b, v, 1);
}

void pack_u16(struct buf *b, uint16_t v)
{
	add(b, v, 2);
}

void pack_u32(struct buf *b, uint32_t v)
{
	add(b, v, 4);
}

void pack_u64(struct buf *b, uint64_t v)
{
	add(b, v, 8);
}

void pack_i64(struct buf *b, int64_t v)
{
	add(b, (uint64_t)v, 8);
}

void pack_bool(struct buf *b, bool v)
{
	add(b, v, 1);
}

void pack_str(struct buf *b, const char *s)
{
	if (s == NULL)
		pack_u32(b, NO_TEXT);
	else
		pack_bytes(b, s, strlen(s));
}

void pack_bytes(struct buf *b, const void *data, size_t len)
{
	pack_u32(b, (uint32_t)len);
	if (len > 0)
		buf_add(b, data, len);
}

void unpack_init(struct unpack *u, struct arena *a, const void *data, size_t len)
{
	*u = (struct unpack){ .arena = a, .at = data, .end = (const uint8_t *)data + len };
}

static size_t left(const struct unpack *u)
{
	return (size_t)(u->end - u->at);
}

/* The next len bytes where they are, or NULL. */
static const uint8_t *take(struct unpack *u, size_t len)
{
	const uint8_t *p = u->at;

	if (u->bad || len > left(u)) {
		u->bad = true;
		return NULL;
	}
	u->at += len;
	return p;
}

static uint64_t take_number(struct unpack *u, unsigned bytes)
{
	const uint8_t *p = take(u, bytes);
	uint64_t v = 0;

	for (unsigned i = 0; p != NULL && i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t unpack_u8(struct unpack *u)
{
	return (uint8_t)take_number(u, 1);
}

uint16_t unpack_u16(struct unpack *u)
{
	return (uint16_t)take_number(u, 2);
}

uint32_t unpack_u32(struct unpack *u)
{
	return (uint32_t)take_number(u, 4);
}

uint64_t unpack_u64(struct unpack *u)
{
	return take_number(u, 8);
}

int64_t unpack_i64(struct unpack *u)
{
	return (int64_t)take_number(u, 8);
}

bool unpack_bool(struct unpack *u)
{
	uint8_t v = unpack_u8(u);

	u->bad |= v > 1;
	return v == 1;
}

const char *unpack_str(struct unpack *u)
{
	uint32_t len = unpack_u32(u);

	if (len == NO_TEXT)
		return NULL;
	const uint8_t *p = take(u, len);
	if (p == NULL)
		return NULL;
	if (memchr(p, '\0', len) != NULL) {
		u->bad = true;
		return NULL;
	}
	return arena_strndup(u->arena, (const char *)p, len);
}

const char *unpack_text(struct unpack *u)
{
	const char *s = unpack_str(u);

	if (s != NULL)
		return s;
	u->bad = true;
	return "";
}

const void *unpack_bytes(struct unpack *u, size_t *len)
{
	uint32_t n = unpack_u32(u);
	const uint8_t *p = take(u, n);

	*len = p == NULL ? 0 : n;
	return p == NULL ? NULL : arena_memdup(u->arena, p, n);
}

uint32_t unpack_u32_max(struct unpack *u, uint32_t max)
{
	uint32_t v = unpack_u32(u);

	if (v <= max)
		return v;
	u->bad = true;
	return 0;
}

size_t unpack_count(struct unpack *u, size_t each)
{
	uint32_t n = unpack_u32(u);

	if (n <= left(u) / each)
		return n;
	u->bad = true;
	return 0;
}

int unpack_end(const struct unpack *u, const char *what)
{
	if (u->bad || left(u) > 0)
		return err_set(ERR_PROTOCOL, "%s: malformed", what);
	return 0;
}
