/*
 * buf: growing bytes.  A head with the arena stands in front of the bytes, so that struct buf shows
 * its readers nothing but the content.
 */
#include "base/buf.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAP 48

struct head {
	alignas(max_align_t) struct arena *arena;
};

static struct head *head_of(const struct buf *b)
{
	return (struct head *)(void *)b->data - 1;
}

void buf_init(struct buf *b, struct arena *a)
{
	struct head *h = arena_alloc(a, sizeof(*h) + FIRST_CAP);

	h->arena = a;
	b->data = (char *)(h + 1);
	b->cap = FIRST_CAP;
	buf_reset(b);
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->data[0] = '\0';
}

void buf_reserve(struct buf *b, size_t more)
{
	if (more < b->cap - b->len)
		return;
	if (more > PTRDIFF_MAX / 2 - b->cap)
		arena_out_of_memory();
	size_t cap = b->cap * 2;
	if (cap < b->len + more + 1)
		cap = b->len + more + 1;
	struct head *h = head_of(b);
	h = arena_grow(h->arena, h, sizeof(*h) + b->cap, sizeof(*h) + cap);
	b->data = (char *)(h + 1);
	b->cap = cap;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
	if (len == 0)
		return;
	buf_reserve(b, len);
	memcpy(b->data + b->len, data, len);
	b->len += len;
	b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
	va_end(ap);
	if (n < 0)
		arena_out_of_memory();
	if ((size_t)n >= b->cap - b->len) {
		buf_reserve(b, (size_t)n);
		va_start(ap, fmt);
		vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
		va_end(ap);
	}
	b->len += (size_t)n;
}

void buf_add_shell(struct buf *out, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_=+./:,@";

	if (*text && text[strspn(text, plain)] == '\0') {
		buf_adds(out, text);
		return;
	}
	buf_addc(out, '\'');
	for (; *text; text++) {
		if (*text == '\'')
			buf_adds(out, "'\\''");
		else
			buf_addc(out, *text);
	}
	buf_addc(out, '\'');
}
