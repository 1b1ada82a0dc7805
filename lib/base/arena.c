/*
 * arena: chunks of memory, filled from both ends, released together.
 *
 * Small objects share chunks of 8 KiB, doubling up to 256 KiB: objects from the bottom, aligned, and
 * strings from the top, packed, because a manifest has a million names.  An object above LARGE_SIZE has a
 * chunk of its own, so that it can be resized and returns to the system whole.  Free space is
 * poisoned under the address sanitizer and a gap follows each object, so that overruns inside a
 * chunk are seen too.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#define GAP_SIZE 16
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define GAP_SIZE 0
#endif

#define CHUNK_FIRST ((size_t)8 * 1024)
#define CHUNK_LAST ((size_t)256 * 1024)
#define LARGE_SIZE ((size_t)32 * 1024)
#define ALIGN alignof(max_align_t)

struct chunk {
	struct chunk *next, *prev; /* prev only in the list of large objects */
	size_t size;		   /* of data */
	size_t used, top;	   /* shared chunks only: end of the objects, start of the strings */
	alignas(max_align_t) char data[];
};

struct deferred {
	struct deferred *next;
	void (*fn)(void *); /* NULL once forgotten */
	void *ctx;
};

struct arena {
	struct chunk *shared; /* the one being filled comes first */
	struct chunk *large;
	struct deferred *deferred; /* newest first */
	size_t chunk_size;	   /* of the next shared chunk */
};

static int out_of_memory_exit = 94;

void arena_out_of_memory_exit(int code)
{
	out_of_memory_exit = code;
}

void arena_out_of_memory(void)
{
	static const char text[] = "ERROR: [094]: out of memory\n";

	/* nothing can be done about a failing write here */
	if (write(2, text, sizeof(text) - 1) < 0)
		_exit(out_of_memory_exit);
	_exit(out_of_memory_exit);
}

static size_t round_up(size_t size)
{
	return (size + ALIGN - 1) & ~(ALIGN - 1);
}

static struct chunk *chunk_resize(struct chunk *old, size_t size)
{
	if (size > PTRDIFF_MAX - sizeof(struct chunk))
		arena_out_of_memory();
	struct chunk *c = realloc(old, sizeof(struct chunk) + size);
	if (c == NULL)
		arena_out_of_memory();
	c->size = size;
	return c;
}

static struct chunk *chunk_new(size_t size)
{
	struct chunk *c = chunk_resize(NULL, size);

	c->next = c->prev = NULL;
	c->used = 0;
	c->top = size;
	POISON(c->data, size);
	return c;
}

static void *chunk_take(struct chunk *c, size_t size)
{
	char *p = c->data + c->used;

	c->used += round_up(size + (size == 0)) + GAP_SIZE;
	UNPOISON(p, size);
	return p;
}

static bool chunk_has_room(const struct chunk *c, size_t size)
{
	return c->top - c->used >= round_up(size + (size == 0)) + GAP_SIZE;
}

struct arena *arena_new(void)
{
	struct chunk *c = chunk_new(CHUNK_FIRST);
	struct arena *a = chunk_take(c, sizeof(*a));

	*a = (struct arena){.shared = c, .chunk_size = CHUNK_FIRST * 2};
	return a;
}

static void chunks_free(struct chunk *c)
{
	while (c != NULL) {
		struct chunk *next = c->next;

		UNPOISON(c->data, c->size);
		free(c);
		c = next;
	}
}

void arena_free(struct arena *a)
{
	if (a == NULL)
		return;
	/* a clean-up may defer or forget others, so the list is read anew each time */
	while (a->deferred != NULL) {
		struct deferred *d = a->deferred;

		a->deferred = d->next;
		if (d->fn != NULL)
			d->fn(d->ctx);
	}
	/* the arena itself lies in its first chunk */
	struct chunk *shared = a->shared;
	chunks_free(a->large);
	chunks_free(shared);
}

void arena_scope_end(struct arena **a)
{
	arena_free(*a);
}

static void large_relink(struct arena *a, struct chunk *c)
{
	if (c->prev != NULL)
		c->prev->next = c;
	else
		a->large = c;
	if (c->next != NULL)
		c->next->prev = c;
}

static void add_chunk(struct arena *a, size_t need)
{
	struct chunk *c = chunk_new(need > a->chunk_size ? need : a->chunk_size);

	if (a->chunk_size < CHUNK_LAST)
		a->chunk_size *= 2;
	c->next = a->shared;
	a->shared = c;
}

void *arena_alloc(struct arena *a, size_t size)
{
	if (size > LARGE_SIZE) {
		struct chunk *c = chunk_new(size);

		c->next = a->large;
		large_relink(a, c);
		UNPOISON(c->data, size);
		return c->data;
	}
	if (!chunk_has_room(a->shared, size))
		add_chunk(a, round_up(size) + ALIGN + GAP_SIZE);
	return chunk_take(a->shared, size);
}

/* For bytes that need no alignment.  The sanitizer sees overruns only of what is aligned. */
static char *text_alloc(struct arena *a, size_t size)
{
	if (GAP_SIZE > 0 || size > LARGE_SIZE)
		return arena_alloc(a, size);
	if (a->shared->top - a->shared->used < size)
		add_chunk(a, size);
	return a->shared->data + (a->shared->top -= size);
}

void *arena_zalloc(struct arena *a, size_t size)
{
	return memset(arena_alloc(a, size), 0, size);
}

/* True if the object was the newest of the chunk being filled and has got its new size in place. */
static bool grown_in_place(struct arena *a, char *old, size_t old_size, size_t new_size)
{
	struct chunk *c = a->shared;
	size_t tail = round_up(old_size + (old_size == 0)) + GAP_SIZE;

	if (old + tail != c->data + c->used)
		return false;
	c->used -= tail;
	if (!chunk_has_room(c, new_size)) {
		c->used += tail;
		return false;
	}
	chunk_take(c, new_size);
	return true;
}

void *arena_grow(struct arena *a, void *old, size_t old_size, size_t new_size)
{
	if (old_size > LARGE_SIZE) {
		struct chunk *c =
			(struct chunk *)(void *)((char *)old - offsetof(struct chunk, data));

		c = chunk_resize(c, new_size);
		large_relink(a, c);
		return c->data;
	}
	if (new_size <= LARGE_SIZE && grown_in_place(a, old, old_size, new_size))
		return old;
	void *p = arena_alloc(a, new_size);
	memcpy(p, old, old_size);
	POISON(old, old_size);
	return p;
}

void *arena_memdup(struct arena *a, const void *data, size_t size)
{
	void *p = arena_alloc(a, size);

	return size > 0 ? memcpy(p, data, size) : p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	size_t n = strnlen(s, len);
	char *p = text_alloc(a, n + 1);

	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	size_t size = strlen(s) + 1;

	return memcpy(text_alloc(a, size), s, size);
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	char small[256];
	va_list again;

	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	if (n < 0)
		arena_out_of_memory();
	char *p = text_alloc(a, (size_t)n + 1);
	if ((size_t)n < sizeof(small))
		memcpy(p, small, (size_t)n + 1);
	else
		vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *p = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return p;
}

struct deferred *arena_defer(struct arena *a, void (*fn)(void *), void *ctx)
{
	struct deferred *d = arena_new_object(a, struct deferred);

	*d = (struct deferred){.next = a->deferred, .fn = fn, .ctx = ctx};
	a->deferred = d;
	return d;
}

void arena_undefer(struct arena *a, struct deferred *d)
{
	if (d != NULL)
		d->fn = NULL;
}
