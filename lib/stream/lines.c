/*
 * lines: cut a stream into lines.  The buffer holds the line that is being collected and nothing
 * else; input is const and lines are handed out writable, so each byte is copied once.
 */
#include "stream/lines.h"

#include <string.h>

struct lines {
	struct sink sink;
	struct buf line;
	size_t max;
	line_fn *fn;
	void *ctx;
};

static int add_part(struct lines *l, const char *data, size_t len)
{
	if (len > l->max - l->line.len)
		return err_set(ERR_FORMAT, "line is longer than %zu bytes", l->max);
	if (len > 0)
		buf_add(&l->line, data, len);
	return 0;
}

static int hand_out(struct lines *l)
{
	if (l->fn(l->ctx, l->line.data, l->line.len) != 0)
		return -1;
	buf_reset(&l->line);
	return 0;
}

static int lines_write(struct sink *s, const void *data, size_t len)
{
	struct lines *l = (struct lines *)s;
	const char *p = data;

	while (len > 0) {
		const char *lf = memchr(p, '\n', len);
		size_t part = lf != NULL ? (size_t)(lf - p) : len;

		if (add_part(l, p, part) != 0)
			return -1;
		if (lf == NULL)
			return 0;
		if (hand_out(l) != 0)
			return -1;
		p += part + 1;
		len -= part + 1;
	}
	return 0;
}

static int lines_finish(struct sink *s)
{
	struct lines *l = (struct lines *)s;

	return l->line.len > 0 ? hand_out(l) : 0;
}

struct sink *sink_lines(struct arena *a, size_t max, line_fn *fn, void *ctx)
{
	struct lines *l = arena_new_object(a, struct lines);

	l->sink = (struct sink){lines_write, lines_finish};
	buf_init(&l->line, a);
	l->max = max;
	l->fn = fn;
	l->ctx = ctx;
	return &l->sink;
}
