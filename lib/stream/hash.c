/*
 * hash: SHA-1 through OpenSSL.
 *
 * The algorithm is fetched once, contexts come from a free list: fetching and building them costs
 * more than hashing a page.  Hashing cannot fail except for a broken library, which ends the
 * program: going on without a checksum is no option and half of the callers have no way to report
 * it.
 */
#include "stream/hash.h"

#include <stdlib.h>
#include <string.h>
#include <openssl/evp.h>
#include "base/enc.h"
#include "base/log.h"
#include "stream/idle.h"

struct sha1 {
	struct idle idle;
	EVP_MD_CTX *ctx;
};

struct sha1_sink {
	struct sink sink;
	struct sink *next;
	struct sha1 *sha1;
	struct sum *out;
};

const struct sum sum_empty = {{0xda, 0x39, 0xa3, 0xee, 0x5e, 0x6b, 0x4b, 0x0d, 0x32, 0x55, 0xbf,
	0xef, 0x95, 0x60, 0x18, 0x90, 0xaf, 0xd8, 0x07, 0x09}};

static struct idle_list sha1_idle = {.size = sizeof(struct sha1)};

static void require(bool ok)
{
	if (ok)
		return;
	log_print(LOG_ERROR, "OpenSSL is unable to compute SHA-1 checksums");
	abort();
}

static void begin(struct sha1 *s)
{
	static EVP_MD *algorithm;

	if (algorithm == NULL)
		require((algorithm = EVP_MD_fetch(NULL, "SHA1", NULL)) != NULL);
	if (s->ctx == NULL)
		require((s->ctx = EVP_MD_CTX_new()) != NULL);
	require(EVP_DigestInit_ex(s->ctx, algorithm, NULL) == 1);
}

struct sha1 *sha1_new(struct arena *a)
{
	struct sha1 *s = idle_take(a, &sha1_idle);

	begin(s);
	return s;
}

void sha1_add(struct sha1 *s, const void *data, size_t len)
{
	require(EVP_DigestUpdate(s->ctx, data, len) == 1);
}

void sha1_end(struct sha1 *s, struct sum *out)
{
	unsigned len = 0;

	require(EVP_DigestFinal_ex(s->ctx, out->bytes, &len) == 1 && len == SHA1_SIZE);
}

void sha1_of(const void *data, size_t len, struct sum *out)
{
	static struct sha1 own;

	begin(&own);
	sha1_add(&own, data, len);
	sha1_end(&own, out);
}

static int sha1_write(struct sink *s, const void *data, size_t len)
{
	struct sha1_sink *h = (struct sha1_sink *)s;

	sha1_add(h->sha1, data, len);
	return sink_write(h->next, data, len);
}

static int sha1_finish(struct sink *s)
{
	struct sha1_sink *h = (struct sha1_sink *)s;

	sha1_end(h->sha1, h->out);
	return sink_finish(h->next);
}

struct sink *sink_sha1(struct arena *a, struct sink *next, struct sum *out)
{
	struct sha1_sink *h = arena_new_object(a, struct sha1_sink);

	h->sink = (struct sink){sha1_write, sha1_finish};
	h->next = next;
	h->sha1 = sha1_new(a);
	h->out = out;
	return &h->sink;
}

bool sum_equal(const struct sum *x, const struct sum *y)
{
	return memcmp(x->bytes, y->bytes, SHA1_SIZE) == 0;
}

void sum_hex(const struct sum *s, char out[SHA1_HEX + 1])
{
	hex_encode(s->bytes, SHA1_SIZE, out);
}

bool sum_parse(const char *hex, struct sum *out)
{
	return hex_decode(hex, out->bytes, SHA1_SIZE);
}
