/* arena: alignment, growth, the order of clean-ups, the end by lack of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdalign.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"

static char order[64];

static void note(void *ctx)
{
	size_t len = strlen(order);

	order[len] = *(const char *)ctx;
	order[len + 1] = '\0';
}

static void objects_are_aligned_and_apart(void **state)
{
	static const size_t sizes[] = {
		0, 1, 7, 8, 15, 16, 17, 4096, 8192, 32767, 32768, 32769, 300000};
	SCOPED_ARENA(a);
	unsigned char *p[13];

	for (size_t i = 0; i < 13; i++) {
		p[i] = arena_alloc(a, sizes[i]);
		assert_int_equal((uintptr_t)p[i] % alignof(max_align_t), 0);
		memset(p[i], (int)i + 1, sizes[i]);
	}
	for (size_t i = 0; i < 13; i++) {
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(p[i][k], i + 1);
	}
	assert_ptr_not_equal(arena_alloc(a, 0), arena_alloc(a, 0));
}

static void zalloc_is_zeroed_in_reused_memory(void **state)
{
	for (int round = 0; round < 3; round++) {
		SCOPED_ARENA(a);
		memset(arena_alloc(a, 5000), 0xff, 5000);
		const char *z = arena_zalloc(a, 5000);
		for (size_t i = 0; i < 5000; i++)
			assert_int_equal(z[i], 0);
	}
}

static void strings_are_copied(void **state)
{
	SCOPED_ARENA(a);
	char text[] = "abc";
	const char *dup = arena_strdup(a, text);
	const char *cut = arena_strndup(a, text, 2);
	const char *all = arena_strndup(a, text, 99);

	text[0] = 'x';
	assert_string_equal(dup, "abc");
	assert_string_equal(cut, "ab");
	assert_string_equal(all, "abc");
	assert_string_equal(arena_memdup(a, "a\0b", 4), "a");
	assert_non_null(arena_memdup(a, NULL, 0));
}

/* They come from the two ends of a chunk and must never meet. */
static void strings_and_objects_stay_apart(void **state)
{
	SCOPED_ARENA(a);
	char *text[3000];
	unsigned char *object[3000];

	for (size_t i = 0; i < 3000; i++) {
		text[i] = arena_printf(a, "%zu%.*s", i, (int)(i * 7 % 40), "........................................");
		object[i] = memset(arena_alloc(a, 1 + i * 13 % 90), (int)(i % 251), 1 + i * 13 % 90);
		assert_true((uintptr_t)object[i] % alignof(max_align_t) == 0);
	}
	for (size_t i = 0; i < 3000; i++) {
		assert_int_equal(strtoul(text[i], NULL, 10), i);
		assert_int_equal(strspn(text[i], "0123456789") + i * 7 % 40, strlen(text[i]));
		for (size_t k = 0; k < 1 + i * 13 % 90; k++)
			assert_int_equal(object[i][k], i % 251);
	}
}

static void printf_has_no_edge(void **state)
{
	SCOPED_ARENA(a);

	for (int len = 0; len < 600; len++) {
		const char *s = arena_printf(a, "%*s%s", len, "", "|");

		assert_int_equal(strlen(s), len + 1);
		assert_int_equal(s[len], '|');
	}
}

static void grow_keeps_content(void **state)
{
	SCOPED_ARENA(a);
	size_t size = 3;
	char *p = arena_alloc(a, size);
	char *neighbour = arena_strdup(a, "neighbour");

	memset(p, 'p', size);
	while (size < 3000000) {
		size_t more = size * 2 + 1;

		p = arena_grow(a, p, size, more);
		memset(p + size, 'p', more - size);
		size = more;
		if (size % 3 == 0)
			arena_alloc(a, 40000); /* large ones before and behind it in their list */
	}
	for (size_t i = 0; i < size; i++)
		assert_int_equal(p[i], 'p');
	assert_string_equal(neighbour, "neighbour");
}

static void newest_object_grows_in_place(void **state)
{
	SCOPED_ARENA(a);
	char *p = arena_alloc(a, 10);

	assert_ptr_equal(arena_grow(a, p, 10, 100), p);
	char *q = arena_alloc(a, 10);
	assert_true(q >= p + 100);
	assert_ptr_not_equal(arena_grow(a, p, 100, 200), p);
}

static void clean_ups_run_last_first(void **state)
{
	struct arena *a = arena_new();

	order[0] = '\0';
	arena_defer(a, note, "1");
	struct deferred *two = arena_defer(a, note, "2");
	arena_defer(a, note, "3");
	arena_undefer(a, two);
	arena_undefer(a, two);
	arena_undefer(a, NULL);
	assert_string_equal(order, "");
	arena_free(a);
	assert_string_equal(order, "31");
	arena_free(NULL);
}

static struct deferred *victim;

static void defer_another(void *ctx)
{
	note("d");
	arena_defer(ctx, note, "n");
	arena_undefer(ctx, victim);
}

static void clean_ups_may_change_the_list(void **state)
{
	struct arena *a = arena_new();

	order[0] = '\0';
	arena_defer(a, note, "1");
	victim = arena_defer(a, note, "v");
	arena_defer(a, defer_another, a);
	arena_free(a);
	assert_string_equal(order, "dn1");
}

static void leave_early(bool early)
{
	SCOPED_ARENA(a);

	arena_defer(a, note, "s");
	if (early)
		return;
	arena_defer(a, note, "t");
}

static void scope_ends_on_every_path(void **state)
{
	order[0] = '\0';
	leave_early(true);
	leave_early(false);
	assert_string_equal(order, "sts");
}

static void no_memory_ends_with_94(void **state)
{
	int status, ends[2];
	char text[100] = "";

	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		volatile size_t size = (size_t)PTRDIFF_MAX;

		dup2(ends[1], 2);
		arena_alloc(arena_new(), size);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(ends[1]);
	assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
	close(ends[0]);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 94);
	assert_non_null(strstr(text, "out of memory"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_aligned_and_apart),
		cmocka_unit_test(zalloc_is_zeroed_in_reused_memory),
		cmocka_unit_test(strings_are_copied),
		cmocka_unit_test(strings_and_objects_stay_apart),
		cmocka_unit_test(printf_has_no_edge),
		cmocka_unit_test(grow_keeps_content),
		cmocka_unit_test(newest_object_grows_in_place),
		cmocka_unit_test(clean_ups_run_last_first),
		cmocka_unit_test(clean_ups_may_change_the_list),
		cmocka_unit_test(scope_ends_on_every_path),
		cmocka_unit_test(no_memory_ends_with_94),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
