/*
 * gzip: gz streams over zlib.  Written: one member; read: one or more, nothing between or behind.
 * Raw: one zlib stream (RFC 1950) in both directions, nothing behind it.
 */
#define ZLIB_CONST
#include <zlib.h>
#include "stream/coder.h"

enum { WINDOW_ZLIB = 15, WINDOW_GZIP = 15 + 16, MEMORY_LEVEL = 9 };

struct gz {
	struct coder coder;
	z_stream z;
	bool open;
	struct coder_opts opts; /* those that it was opened with; a reset keeps them */
};

static struct idle_list deflate_idle = {.size = sizeof(struct gz)};
static struct idle_list inflate_idle = {.size = sizeof(struct gz)};

static int failed(const struct gz *g, int r, enum err_code code, const char *what)
{
	return err_set(r == Z_MEM_ERROR ? ERR_MEMORY : code, "%s: %s", what,
		g->z.msg != NULL ? g->z.msg : zError(r));
}

static int window(const struct coder_opts *o)
{
	return o->raw ? WINDOW_ZLIB : WINDOW_GZIP;
}

static int run(struct gz *g, struct piece *in, int (*fn)(z_stream *, int), int flush)
{
	int r;

	g->z.next_in = in->data;
	g->z.avail_in = (uInt)in->len;
	g->z.next_out = g->coder.out + g->coder.used;
	g->z.avail_out = (uInt)(CODER_OUT - g->coder.used);
	r = fn(&g->z, flush);
	in->data = g->z.next_in;
	in->len = g->z.avail_in;
	g->coder.used = CODER_OUT - g->z.avail_out;
	return r;
}

static int deflate_begin(struct coder *c, const struct coder_opts *o)
{
	struct gz *g = (struct gz *)c;
	int r;

	if (g->open && g->opts.level == o->level && g->opts.raw == o->raw) {
		r = deflateReset(&g->z);
	} else {
		if (g->open)
			deflateEnd(&g->z);
		g->z = (z_stream){0};
		r = deflateInit2(&g->z, o->level, Z_DEFLATED, window(o), MEMORY_LEVEL,
			Z_DEFAULT_STRATEGY);
		g->open = r == Z_OK;
		g->opts = *o;
	}
	return r == Z_OK ? 0 : failed(g, r, ERR_ASSERT, "gz compression");
}

static int deflate_step(struct coder *c, struct piece *in, bool end)
{
	struct gz *g = (struct gz *)c;
	int r = run(g, in, deflate, end ? Z_FINISH : Z_NO_FLUSH);

	if (r == Z_STREAM_END)
		return STEP_DONE;
	if (r != Z_OK && r != Z_BUF_ERROR)
		return failed(g, r, ERR_ASSERT, "gz compression");
	return c->used == CODER_OUT ? STEP_FULL : STEP_HUNGRY;
}

static int inflate_begin(struct coder *c, const struct coder_opts *o)
{
	struct gz *g = (struct gz *)c;
	int r;

	if (g->open) {
		r = inflateReset2(&g->z, window(o));
	} else {
		r = inflateInit2(&g->z, window(o));
		g->open = r == Z_OK;
	}
	g->opts = *o;
	return r == Z_OK ? 0 : failed(g, r, ERR_ASSERT, "gz decompression");
}

static int inflate_step(struct coder *c, struct piece *in, bool end)
{
	struct gz *g = (struct gz *)c;

	if (end)
		return coder_expand_end(c);
	do {
		int r;

		if (c->complete) {
			if (in->len == 0)
				return STEP_HUNGRY;
			if (g->opts.raw)
				return err_set(
					ERR_FORMAT, "gz decompression: data after the end of the stream");
			if (inflate_begin(c, &g->opts) != 0)
				return -1;
		}
		r = run(g, in, inflate, Z_NO_FLUSH);
		c->complete = r == Z_STREAM_END;
		if (!c->complete && r != Z_OK && r != Z_BUF_ERROR)
			return failed(g, r, ERR_FORMAT, "gz decompression");
		if (c->used == CODER_OUT)
			return STEP_FULL;
	} while (in->len > 0);
	return STEP_HUNGRY;
}

struct sink *gz_compress(struct arena *a, struct sink *next, int level, bool raw)
{
	static const struct coder_type type = {&deflate_idle, deflate_begin, deflate_step};

	return coder_sink(a, next, &type, &(struct coder_opts){.level = level, .raw = raw});
}

struct sink *gz_expand(struct arena *a, struct sink *next, bool raw)
{
	static const struct coder_type type = {&inflate_idle, inflate_begin, inflate_step};

	return coder_sink(a, next, &type, &(struct coder_opts){.raw = raw});
}
