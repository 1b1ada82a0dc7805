/*
 * pieces_store: for tests, a repository that delivers in small pieces and counts what it is asked for.
 */
#ifndef TEST_PIECES_STORE_H
#define TEST_PIECES_STORE_H

#include "store/store.h"

struct pieces {
	struct store store;
	struct store *inner;
	size_t piece; /* bytes at most; may be changed */
	unsigned gets;
	uint64_t bytes;
};

struct pieces_sink {
	struct sink sink;
	struct sink *next;
	struct pieces *p;
};

static int pieces_write(struct sink *s, const void *data, size_t len)
{
	struct pieces_sink *c = (struct pieces_sink *)s;
	const char *bytes = data;

	c->p->bytes += len;
	while (len > 0) {
		size_t n = len < c->p->piece ? len : c->p->piece;
		/* an allocation of its own, so that a sanitizer sees who keeps the pointer or reads on */
		SCOPED_ARENA(a);
		if (sink_write(c->next, arena_memdup(a, bytes, n), n) != 0)
			return -1;
		bytes += n;
		len -= n;
	}
	return 0;
}

static int pieces_finish(struct sink *s)
{
	return sink_finish(((struct pieces_sink *)s)->next);
}

static int pieces_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	struct pieces *p = (struct pieces *)s;
	struct pieces_sink c = {{pieces_write, pieces_finish}, to, p};

	p->gets++;
	return p->inner->driver->get(p->inner, path, o, &c.sink);
}

static struct pieces *pieces_new(struct arena *a, struct store *inner, size_t piece)
{
	static const struct store_driver driver = {.name = "pieces", .get = pieces_get};
	struct pieces *p = arena_new_object(a, struct pieces);

	p->store = (struct store){.driver = &driver, .root = inner->root, .arena = a};
	p->inner = inner;
	p->piece = piece;
	return p;
}

#endif
