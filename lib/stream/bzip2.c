/*
 * bzip2: bz2 streams over libbz2.  One stream, nothing behind it.
 *
 * The library has no reset: a context given back stays open and is ended when the next stream
 * begins, so only its output buffer is really reused.
 */
#include <bzlib.h>
#include "stream/coder.h"

struct bz2 {
	struct coder coder;
	bz_stream z;
	bool open;
};

static struct idle_list compress_idle = {.size = sizeof(struct bz2)};
static struct idle_list expand_idle = {.size = sizeof(struct bz2)};

static const char *error_text(int r)
{
	switch (r) {
	case BZ_DATA_ERROR:
		return "data integrity error";
	case BZ_DATA_ERROR_MAGIC:
		return "not a bzip2 stream";
	case BZ_MEM_ERROR:
		return "out of memory";
	case BZ_PARAM_ERROR:
		return "invalid parameter";
	case BZ_SEQUENCE_ERROR:
		return "invalid sequence of calls";
	default:
		return "unexpected error";
	}
}

static int failed(int r, enum err_code code, const char *what)
{
	return err_set(r == BZ_MEM_ERROR ? ERR_MEMORY : code, "%s: %s", what, error_text(r));
}

static void give_buffers(struct bz2 *b, const struct piece *in)
{
	b->z.next_in =
		(char *)(uintptr_t)in->data; /* not const in the library's header, but only read */
	b->z.avail_in = (unsigned)in->len;
	b->z.next_out = (char *)b->coder.out + b->coder.used;
	b->z.avail_out = (unsigned)(CODER_OUT - b->coder.used);
}

static void take_buffers(struct bz2 *b, struct piece *in)
{
	in->data += in->len - b->z.avail_in;
	in->len = b->z.avail_in;
	b->coder.used = CODER_OUT - b->z.avail_out;
}

static int compress_begin(struct coder *c, const struct coder_opts *o)
{
	struct bz2 *b = (struct bz2 *)c;
	int r;

	if (b->open)
		BZ2_bzCompressEnd(&b->z);
	b->z = (bz_stream){0};
	r = BZ2_bzCompressInit(&b->z, o->level, 0, 0);
	b->open = r == BZ_OK;
	return r == BZ_OK ? 0 : failed(r, ERR_ASSERT, "bz2 compression");
}

static int compress_step(struct coder *c, struct piece *in, bool end)
{
	struct bz2 *b = (struct bz2 *)c;
	int r;

	/* Without input and end the library calls it an error of the caller to ask for progress. */
	if (in->len == 0 && !end)
		return STEP_HUNGRY;
	give_buffers(b, in);
	r = BZ2_bzCompress(&b->z, end ? BZ_FINISH : BZ_RUN);
	take_buffers(b, in);
	if (r == BZ_STREAM_END)
		return STEP_DONE;
	if (r < 0)
		return failed(r, ERR_ASSERT, "bz2 compression");
	return c->used == CODER_OUT ? STEP_FULL : STEP_HUNGRY;
}

static int expand_begin(struct coder *c, const struct coder_opts *o)
{
	struct bz2 *b = (struct bz2 *)c;
	int r;

	if (b->open)
		BZ2_bzDecompressEnd(&b->z);
	b->z = (bz_stream){0};
	r = BZ2_bzDecompressInit(&b->z, 0, 0);
	b->open = r == BZ_OK;
	return r == BZ_OK ? 0 : failed(r, ERR_ASSERT, "bz2 decompression");
}

static int expand_step(struct coder *c, struct piece *in, bool end)
{
	struct bz2 *b = (struct bz2 *)c;

	if (end)
		return coder_expand_end(c);
	do {
		int r;

		if (c->complete) {
			if (in->len == 0)
				return STEP_HUNGRY;
			return err_set(
				ERR_FORMAT, "bz2 decompression: data after the end of the stream");
		}
		give_buffers(b, in);
		r = BZ2_bzDecompress(&b->z);
		take_buffers(b, in);
		c->complete = r == BZ_STREAM_END;
		if (r < 0)
			return failed(r, ERR_FORMAT, "bz2 decompression");
		if (c->used == CODER_OUT)
			return STEP_FULL;
	} while (in->len > 0);
	return STEP_HUNGRY;
}

struct sink *bz2_compress(struct arena *a, struct sink *next, int level, bool raw)
{
	static const struct coder_type type = {&compress_idle, compress_begin, compress_step};

	return coder_sink(a, next, &type, &(struct coder_opts){.level = level});
}

struct sink *bz2_expand(struct arena *a, struct sink *next, bool raw)
{
	static const struct coder_type type = {&expand_idle, expand_begin, expand_step};

	return coder_sink(a, next, &type, &(struct coder_opts){0});
}
