/*
 * lz4: lz4 streams over liblz4's frame functions.  Written: one frame of linked 64 KiB blocks with
 * a content checksum (raw: without); read: one or more frames of any kind.
 *
 * The compressor writes only into room that suffices for the worst case of what it is fed, so it is
 * fed in pieces and asks for an emptied buffer before a piece that might not fit.
 */
#include <string.h>
#include <lz4frame.h>
#include "stream/coder.h"

enum { FEED_MAX = 128 * 1024 };

struct lz4_out {
	struct coder coder;
	LZ4F_cctx *ctx;
	LZ4F_preferences_t prefs;
};

struct lz4_in {
	struct coder coder;
	LZ4F_dctx *ctx;
};

static struct idle_list compress_idle = {.size = sizeof(struct lz4_out)};
static struct idle_list expand_idle = {.size = sizeof(struct lz4_in)};

static int failed(size_t r, enum err_code code, const char *what)
{
	const char *name = LZ4F_getErrorName(r);

	/* The numbers behind the names are not part of the library's stable interface. */
	if (strcmp(name, "ERROR_allocation_failed") == 0)
		code = ERR_MEMORY;
	return err_set(code, "%s: %s", what, name);
}

static int compress_begin(struct coder *c, const struct coder_opts *o)
{
	struct lz4_out *z = (struct lz4_out *)c;
	size_t r;

	if (z->ctx == NULL) {
		r = LZ4F_createCompressionContext(&z->ctx, LZ4F_VERSION);
		if (LZ4F_isError(r))
			return failed(r, ERR_ASSERT, "lz4 compression");
	}
	z->prefs = (LZ4F_preferences_t){
		.frameInfo = {.blockSizeID = LZ4F_max64KB,
			.blockMode = LZ4F_blockLinked,
			.contentChecksumFlag = o->raw ? LZ4F_noContentChecksum
						      : LZ4F_contentChecksumEnabled},
		.compressionLevel = o->level,
	};
	r = LZ4F_compressBegin(z->ctx, c->out, CODER_OUT, &z->prefs);
	if (LZ4F_isError(r))
		return failed(r, ERR_ASSERT, "lz4 compression");
	c->used = r;
	return 0;
}

static int compress_step(struct coder *c, struct piece *in, bool end)
{
	struct lz4_out *z = (struct lz4_out *)c;

	while (in->len > 0 || end) {
		size_t n = in->len < FEED_MAX ? in->len : FEED_MAX;
		size_t room = CODER_OUT - c->used, r;

		if (room < LZ4F_compressBound(n, &z->prefs))
			return STEP_FULL;
		if (end)
			r = LZ4F_compressEnd(z->ctx, c->out + c->used, room, NULL);
		else
			r = LZ4F_compressUpdate(z->ctx, c->out + c->used, room, in->data, n, NULL);
		if (LZ4F_isError(r))
			return failed(r, ERR_ASSERT, "lz4 compression");
		c->used += r;
		in->data += n;
		in->len -= n;
		if (end)
			return STEP_DONE;
	}
	return STEP_HUNGRY;
}

static int expand_begin(struct coder *c, const struct coder_opts *o)
{
	struct lz4_in *z = (struct lz4_in *)c;

	if (z->ctx == NULL) {
		size_t r = LZ4F_createDecompressionContext(&z->ctx, LZ4F_VERSION);

		return LZ4F_isError(r) ? failed(r, ERR_ASSERT, "lz4 decompression") : 0;
	}
	LZ4F_resetDecompressionContext(z->ctx);
	return 0;
}

static int expand_step(struct coder *c, struct piece *in, bool end)
{
	struct lz4_in *z = (struct lz4_in *)c;

	if (end)
		return coder_expand_end(c);
	do {
		size_t taken = in->len, made = CODER_OUT - c->used, r;

		/* Called again behind a frame's end, the decoder would begin the next frame. */
		if (c->complete && in->len == 0)
			return STEP_HUNGRY;
		r = LZ4F_decompress(z->ctx, c->out + c->used, &made, in->data, &taken, NULL);
		if (LZ4F_isError(r))
			return failed(r, ERR_FORMAT, "lz4 decompression");
		in->data += taken;
		in->len -= taken;
		c->used += made;
		c->complete = r == 0;
		if (c->used == CODER_OUT)
			return STEP_FULL;
	} while (in->len > 0);
	return STEP_HUNGRY;
}

struct sink *lz4_compress(struct arena *a, struct sink *next, int level, bool raw)
{
	static const struct coder_type type = {&compress_idle, compress_begin, compress_step};

	return coder_sink(a, next, &type, &(struct coder_opts){.level = level, .raw = raw});
}

struct sink *lz4_expand(struct arena *a, struct sink *next, bool raw)
{
	static const struct coder_type type = {&expand_idle, expand_begin, expand_step};

	return coder_sink(a, next, &type, &(struct coder_opts){0});
}
