/*
 * coder: the sink around a compressor, decompressor or cipher; see coder.h.
 *
 * A step is repeated until it has used up its input *and* left room in the buffer: output that a
 * library still holds when the buffer is exactly full must not wait for input that may never come.
 */
#include "stream/coder.h"

enum { PIECE_MAX = 1 << 30 };

struct coder_sink {
	struct sink sink;
	struct arena *arena;
	struct sink *next;
	const struct coder_type *type;
	struct coder_opts opts;
	struct coder *coder; /* NULL until the first byte or the end */
};

static int begin_once(struct coder_sink *s)
{
	if (s->coder != NULL)
		return 0;
	s->coder = idle_take(s->arena, s->type->idle);
	s->coder->used = 0;
	s->coder->complete = false;
	return s->type->begin(s->coder, &s->opts);
}

static int pass_on(struct coder_sink *s)
{
	size_t len = s->coder->used;

	s->coder->used = 0;
	return len > 0 ? sink_write(s->next, s->coder->out, len) : 0;
}

static int run(struct coder_sink *s, struct piece *in, bool end)
{
	for (;;) {
		int r = s->type->step(s->coder, in, end);

		if (r < 0)
			return -1;
		if (r == STEP_HUNGRY)
			return 0;
		if (pass_on(s) != 0)
			return -1;
		if (r == STEP_DONE)
			return 0;
	}
}

static int coder_write(struct sink *sink, const void *data, size_t len)
{
	struct coder_sink *s = (struct coder_sink *)sink;
	const uint8_t *p = data;

	while (len > 0) {
		size_t n = len < PIECE_MAX ? len : PIECE_MAX;
		struct piece in = {p, n};

		if (begin_once(s) != 0 || run(s, &in, false) != 0)
			return -1;
		p += n;
		len -= n;
	}
	return 0;
}

static int coder_finish(struct sink *sink)
{
	struct coder_sink *s = (struct coder_sink *)sink;
	struct piece none = {(const uint8_t *)"", 0};

	if (begin_once(s) != 0 || run(s, &none, true) != 0)
		return -1;
	return sink_finish(s->next);
}

struct sink *coder_sink(struct arena *a, struct sink *next, const struct coder_type *type,
	const struct coder_opts *o)
{
	struct coder_sink *s = arena_new_object(a, struct coder_sink);

	s->sink = (struct sink){coder_write, coder_finish};
	s->arena = a;
	s->next = next;
	s->type = type;
	s->opts = *o;
	return &s->sink;
}

int coder_expand_end(const struct coder *c)
{
	if (!c->complete)
		return err_set(ERR_FORMAT, "unexpected eof in compressed data");
	return STEP_DONE;
}
