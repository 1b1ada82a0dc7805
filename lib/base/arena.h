/*
 * arena: memory and clean-ups that die together.
 *
 * Whatever returns memory takes the arena it lives in as its first argument.  A command, a job and
 * a loop turn have an arena; nothing smaller does.  The function that made an arena frees it.
 * Allocation cannot fail: out of memory ends the program with a message and exit code 94.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>
#include <stdarg.h>

struct arena;
struct deferred;

/* A new, empty arena; owned by the caller until arena_free. */
struct arena *arena_new(void);

/* Run the deferred clean-ups, last one first, then release all memory.  NULL is allowed.  Clean-ups
 * never touch the failure record. */
void arena_free(struct arena *a);

/* Bytes aligned for any type, alive until the arena is freed; zalloc gives them zeroed. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((malloc, alloc_size(2)));
void *arena_zalloc(struct arena *a, size_t size) __attribute__((malloc, alloc_size(2)));
void *arena_memdup(struct arena *a, const void *data, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

/* Give the object at old (old_size bytes of this arena) the new, larger size; its content moves
 * with it and old must not be used any more.  Cheap for the newest object and for large ones: buf
 * and vec grow by it without leaving copies behind. */
void *arena_grow(struct arena *a, void *old, size_t old_size, size_t new_size);

/* Write a message and end the program with code 94; for allocators beside the arena. */
void arena_out_of_memory(void) __attribute__((noreturn));

/* Another exit code for that end, where 94 would be taken for an answer (archive-get). */
void arena_out_of_memory_exit(int code);

/* One object of a type, zeroed. */
#define arena_new_object(a, type) ((type *)arena_zalloc((a), sizeof(type)))

/* Have fn(ctx) run when the arena is freed.  The handle stays valid until then or until undefer. */
struct deferred *arena_defer(struct arena *a, void (*fn)(void *), void *ctx);

/* Forget a clean-up without running it (the effect was completed or undone by other means).  NULL
 * is allowed. */
void arena_undefer(struct arena *a, struct deferred *d);

void arena_scope_end(struct arena **a);

/* An arena that is freed when the enclosing block is left by any path. */
#define SCOPED_ARENA(name) \
	__attribute__((cleanup(arena_scope_end))) struct arena *name = arena_new()

#endif
