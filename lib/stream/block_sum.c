/*
 * block_sum: see block_sum.h.  Where xxHash can choose its code by the processor it is asked to: of a file
 * without changes every byte passes here, and AVX2 takes a third of the time of SSE2 (measured).
 */
#include "stream/block_sum.h"

#include <string.h>
#ifdef HAVE_CONFIG_H
#include "config-build.h"
#endif
#ifdef HAVE_XXH_X86DISPATCH_H
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

void block_sum(const void *data, size_t len, uint32_t sum_size, uint8_t out[BLOCK_SUM_MAX])
{
	XXH128_canonical_t whole;

	XXH128_canonicalFromHash(&whole, XXH3_128bits(data, len));
	memcpy(out, whole.digest, sum_size);
	memset(out + sum_size, 0, BLOCK_SUM_MAX - sum_size);
}
