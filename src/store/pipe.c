/*
 * pipe: a description becomes a chain.  Chains are built from their end; sizes are always counted.
 */
#include "store/pipe.h"

#include <string.h>
#include "stream/cipher.h"
#include "stream/hold.h"

struct unwanted {
	const struct pipe_spec *spec;
	struct pipe_result *out;
};

/* Asked when the plain bytes have been counted and hashed. */
static bool is_unwanted(void *ctx)
{
	const struct unwanted *u = ctx;
	const struct pipe_spec *spec = u->spec;

	u->out->skipped = (spec->skip_empty && u->out->plain_size == 0) ||
		(spec->unless != NULL && sum_equal(spec->unless, &u->out->plain_sum));
	return u->out->skipped;
}

static struct sink *hold(struct arena *a, const struct pipe_spec *spec, struct sink *to,
	struct pipe_result *out)
{
	if (spec->unless == NULL && !spec->skip_empty)
		return to;
	struct unwanted *u = arena_new_object(a, struct unwanted);
	*u = (struct unwanted){ arena_memdup(a, spec, sizeof(*spec)), out };
	return sink_hold(a, to, spec->unless == NULL ? 0 : PIPE_HOLD, is_unwanted, u);
}

/* What is behind the plain bytes. */
static struct sink *stored(struct arena *a, const struct pipe_spec *spec, struct sink *to, struct pipe_result *out)
{
	struct sink *s = to;

	if (spec->blocks != NULL)
		return sink_blocks(a, sink_count(a, s, &out->stored_size), spec->blocks, &out->blocks);
	if (spec->hash_stored)
		s = sink_sha1(a, s, &out->stored_sum);
	s = sink_count(a, s, &out->stored_size);
	if (spec->encrypt != NULL)
		s = sink_encrypt(a, s, spec->encrypt, spec->raw);
	s = sink_compress(a, spec->compress, spec->level, spec->raw, s);
	return hold(a, spec, s, out);
}

struct sink *pipe_chain(struct arena *a, const struct pipe_spec *spec,
	ssize_t (*reread)(void *, void *, size_t, uint64_t), void *ctx, struct sink *to,
	struct pipe_result *out)
{
	struct sink *s;

	memset(out, 0, sizeof(*out));
	s = stored(a, spec, to, out);
	if (spec->hash_plain)
		s = sink_sha1(a, s, &out->plain_sum);
	if (spec->page_size != 0) {
		struct page_check check = {
			.page_size = spec->page_size,
			.first_block = spec->first_block,
			.header_check = spec->page_header_check,
			.reread = reread,
			.ctx = ctx,
		};

		s = sink_page_check(a, s, &check, &out->pages);
	}
	s = sink_count(a, s, &out->plain_size);
	s = sink_expand(a, spec->expand, spec->raw, s);
	return spec->decrypt != NULL ? sink_decrypt(a, s, spec->decrypt, spec->raw) : s;
}
