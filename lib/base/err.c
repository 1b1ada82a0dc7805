/*
 * err: the failure record.
 *
 * Three buffers that grow and are never given back: the message, the hints and a scratch buffer in
 * which each new text is formed first, because its arguments may point into the record itself.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
	char *s;
	size_t cap;
};

static struct {
	enum err_code code;
	struct text msg, hints, scratch;
} record;

static void text_reserve(struct text *t, size_t size)
{
	if (size <= t->cap)
		return;
	size_t cap = size < 256 ? 256 : size * 2;
	char *s = realloc(t->s, cap);
	if (s == NULL)
		arena_out_of_memory();
	if (t->cap == 0)
		s[0] = '\0';
	t->s = s;
	t->cap = cap;
}

static size_t text_len(const struct text *t)
{
	return t->cap == 0 ? 0 : strlen(t->s);
}

static void text_add(struct text *t, const char *s)
{
	size_t len = text_len(t), more = strlen(s);

	text_reserve(t, len + more + 1);
	memcpy(t->s + len, s, more + 1);
}

static void text_clear(struct text *t)
{
	if (t->cap > 0)
		t->s[0] = '\0';
}

static void text_swap(struct text *x, struct text *y)
{
	struct text t = *x;

	*x = *y;
	*y = t;
}

static void text_vformat(struct text *t, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
static void text_vformat(struct text *t, const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);
	text_reserve(t, 1);
	int n = vsnprintf(t->s, t->cap, fmt, ap);
	if (n < 0)
		arena_out_of_memory();
	if ((size_t)n >= t->cap) {
		text_reserve(t, (size_t)n + 1);
		vsnprintf(t->s, t->cap, fmt, again);
	}
	va_end(again);
}

/* The scratch text becomes the message of a new failure. */
static int record_set(enum err_code code)
{
	text_swap(&record.msg, &record.scratch);
	text_clear(&record.hints);
	record.code = code;
	return -1;
}

int err_set(enum err_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_vformat(&record.scratch, fmt, ap);
	va_end(ap);
	return record_set(code);
}

int err_sys(enum err_code code, const char *fmt, ...)
{
	int number = errno;
	char cause[32];
	va_list ap;

	va_start(ap, fmt);
	text_vformat(&record.scratch, fmt, ap);
	va_end(ap);
	snprintf(cause, sizeof(cause), ": [%d] ", number);
	text_add(&record.scratch, cause);
	text_add(&record.scratch, strerror(number));
	record_set(code);
	errno = number;
	return -1;
}

int err_wrap(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_vformat(&record.scratch, fmt, ap);
	va_end(ap);
	/* -1 must never travel without a cause */
	if (record.code == ERR_NONE)
		return record_set(ERR_ASSERT);
	text_add(&record.scratch, ": ");
	text_add(&record.scratch, err_msg());
	text_swap(&record.msg, &record.scratch);
	return -1;
}

int err_hint(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_vformat(&record.scratch, fmt, ap);
	va_end(ap);
	if (text_len(&record.hints) > 0)
		text_add(&record.hints, "\n");
	if (strncmp(record.scratch.s, "HINT", 4) != 0)
		text_add(&record.hints, "HINT: ");
	text_add(&record.hints, record.scratch.s);
	return -1;
}

int err_recode(enum err_code code)
{
	record.code = code;
	return -1;
}

enum err_code err_code(void)
{
	return record.code;
}

const char *err_msg(void)
{
	return record.msg.cap == 0 ? "" : record.msg.s;
}

const char *err_hints(void)
{
	return record.hints.cap == 0 ? "" : record.hints.s;
}

void err_clear(void)
{
	record.code = ERR_NONE;
	text_clear(&record.msg);
	text_clear(&record.hints);
}

const char *err_class(enum err_code code)
{
#define CLASS_CASE(symbol, number, name)                                                           \
	case symbol:                                                                               \
		return name;
	switch (code) {
		ERR_LIST(CLASS_CASE)
	case ERR_NONE:
		break;
	}
#undef CLASS_CASE
	return "UnknownError";
}

struct err_value *err_take(struct arena *a)
{
	struct err_value *v = arena_new_object(a, struct err_value);

	v->code = record.code;
	v->msg = arena_strdup(a, err_msg());
	v->hints = arena_strdup(a, err_hints());
	err_clear();
	return v;
}

int err_restore(const struct err_value *v)
{
	text_clear(&record.scratch);
	text_add(&record.scratch, v->msg);
	record_set(v->code);
	text_add(&record.hints, v->hints);
	return -1;
}
