/*
 * zstd: zst streams over libzstd.  Written: one frame with checksum (raw: without); read: one or more
 * frames, with or without checksum and content size, whose window is at most 128 MiB.
 */
#include <zstd.h>
#include <zstd_errors.h>
#include "stream/coder.h"

enum { WINDOW_LOG_MAX = 27 };

struct zst_out {
	struct coder coder;
	ZSTD_CCtx *ctx;
};

struct zst_in {
	struct coder coder;
	ZSTD_DCtx *ctx;
};

static struct idle_list compress_idle = {.size = sizeof(struct zst_out)};
static struct idle_list expand_idle = {.size = sizeof(struct zst_in)};

static int failed(size_t r, enum err_code code, const char *what)
{
	bool memory = ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation;

	return err_set(memory ? ERR_MEMORY : code, "%s: %s", what, ZSTD_getErrorName(r));
}

static int compress_begin(struct coder *c, const struct coder_opts *o)
{
	struct zst_out *z = (struct zst_out *)c;
	size_t r;

	if (z->ctx == NULL && (z->ctx = ZSTD_createCCtx()) == NULL)
		return err_set(ERR_MEMORY, "zstd compression: unable to allocate context");
	r = ZSTD_CCtx_reset(z->ctx, ZSTD_reset_session_and_parameters);
	if (!ZSTD_isError(r))
		r = ZSTD_CCtx_setParameter(z->ctx, ZSTD_c_compressionLevel, o->level);
	if (!ZSTD_isError(r))
		r = ZSTD_CCtx_setParameter(z->ctx, ZSTD_c_checksumFlag, !o->raw);
	return ZSTD_isError(r) ? failed(r, ERR_ASSERT, "zstd compression") : 0;
}

static int compress_step(struct coder *c, struct piece *in, bool end)
{
	struct zst_out *z = (struct zst_out *)c;
	ZSTD_inBuffer from = {in->data, in->len, 0};
	ZSTD_outBuffer to = {c->out, CODER_OUT, c->used};
	size_t left;

	do {
		left = ZSTD_compressStream2(z->ctx, &to, &from, end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return failed(left, ERR_ASSERT, "zstd compression");
	} while (to.pos < to.size && (end ? left > 0 : from.pos < from.size));
	in->data += from.pos;
	in->len -= from.pos;
	c->used = to.pos;
	if (end && left == 0)
		return STEP_DONE;
	return to.pos == to.size ? STEP_FULL : STEP_HUNGRY;
}

static int expand_begin(struct coder *c, const struct coder_opts *o)
{
	struct zst_in *z = (struct zst_in *)c;
	size_t r;

	if (z->ctx == NULL && (z->ctx = ZSTD_createDCtx()) == NULL)
		return err_set(ERR_MEMORY, "zstd decompression: unable to allocate context");
	r = ZSTD_DCtx_reset(z->ctx, ZSTD_reset_session_only);
	if (!ZSTD_isError(r))
		r = ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	return ZSTD_isError(r) ? failed(r, ERR_ASSERT, "zstd decompression") : 0;
}

static int expand_step(struct coder *c, struct piece *in, bool end)
{
	struct zst_in *z = (struct zst_in *)c;

	if (end)
		return coder_expand_end(c);
	do {
		ZSTD_inBuffer from = {in->data, in->len, 0};
		ZSTD_outBuffer to = {c->out, CODER_OUT, c->used};
		size_t r;

		/* Called again behind a frame's end, the decoder would begin the next frame. */
		if (c->complete && in->len == 0)
			return STEP_HUNGRY;
		r = ZSTD_decompressStream(z->ctx, &to, &from);
		if (ZSTD_isError(r))
			return failed(r, ERR_FORMAT, "zstd decompression");
		in->data += from.pos;
		in->len -= from.pos;
		c->used = to.pos;
		c->complete = r == 0;
		if (c->used == CODER_OUT)
			return STEP_FULL;
	} while (in->len > 0);
	return STEP_HUNGRY;
}

struct sink *zst_compress(struct arena *a, struct sink *next, int level, bool raw)
{
	static const struct coder_type type = {&compress_idle, compress_begin, compress_step};

	return coder_sink(a, next, &type, &(struct coder_opts){.level = level, .raw = raw});
}

struct sink *zst_expand(struct arena *a, struct sink *next, bool raw)
{
	static const struct coder_type type = {&expand_idle, expand_begin, expand_step};

	return coder_sink(a, next, &type, &(struct coder_opts){0});
}
