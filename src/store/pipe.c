/*
 * pipe: a description becomes a chain.  Chains are built from their end; sizes are always counted.
 */
#include "store/pipe.h"

#include <string.h>

struct sink *pipe_chain(struct arena *a, const struct pipe_spec *spec,
	ssize_t (*reread)(void *, void *, size_t, uint64_t), void *ctx, struct sink *to,
	struct pipe_result *out)
{
	struct sink *s = to;

	memset(out, 0, sizeof(*out));
	if (spec->hash_stored)
		s = sink_sha1(a, s, &out->stored_sum);
	s = sink_count(a, s, &out->stored_size);
	s = sink_compress(a, spec->compress, spec->level, s);
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
	return sink_expand(a, spec->expand, s);
}
