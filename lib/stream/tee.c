/*
 * tee: one source, n branches.
 *
 * A branch is alive exactly as long as failed[i] is NULL, and a dead one is never called again: its
 * half file or upload is undone by the arena it lives in.
 */
#include "stream/sink.h"

struct tee {
	struct sink sink;
	struct arena *arena;
	size_t n, alive;
	struct sink **branches;
	struct err_value **failed;
};

/* The branch's failure becomes a value.  With the last one the tee fails, for that one's reason. */
static int drop_branch(struct tee *t, size_t i)
{
	t->failed[i] = err_take(t->arena);
	t->alive--;
	return t->alive > 0 ? 0 : err_restore(t->failed[i]);
}

static int tee_write(struct sink *s, const void *data, size_t len)
{
	struct tee *t = (struct tee *)s;

	for (size_t i = 0; i < t->n; i++) {
		if (t->failed[i] != NULL)
			continue;
		if (sink_write(t->branches[i], data, len) != 0 && drop_branch(t, i) != 0)
			return -1;
	}
	return 0;
}

static int tee_finish(struct sink *s)
{
	struct tee *t = (struct tee *)s;

	if (t->n == 0)
		return err_set(ERR_ASSERT, "a tee without branches was finished");
	for (size_t i = 0; i < t->n; i++) {
		if (t->failed[i] != NULL)
			continue;
		if (sink_finish(t->branches[i]) != 0 && drop_branch(t, i) != 0)
			return -1;
	}
	return 0;
}

struct sink *sink_tee(
	struct arena *a, size_t n, struct sink *const *branches, struct err_value **failed)
{
	struct tee *t = arena_new_object(a, struct tee);

	t->sink = (struct sink){tee_write, tee_finish};
	t->arena = a;
	t->n = t->alive = n;
	t->branches = arena_zalloc(a, (n > 0 ? n : 1) * sizeof(*branches));
	t->failed = failed;
	for (size_t i = 0; i < n; i++) {
		t->branches[i] = branches[i];
		failed[i] = NULL;
	}
	return &t->sink;
}
