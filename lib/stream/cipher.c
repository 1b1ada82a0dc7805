/*
 * cipher: aes-256-cbc over OpenSSL's EVP; see cipher.h.
 *
 * The algorithms are fetched once and contexts belong to the process, as the codecs' do.  A context
 * given back may still hold its last key, which is in this process's memory anyway, as the passphrase
 * is.
 */
#include "stream/cipher.h"

#include <string.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include "base/enc.h"
#include "base/sys.h"
#include "stream/coder.h"

enum {
	MAGIC = sizeof(CIPHER_MAGIC) - 1,
	SALT = 8,
	KEY = 32,
	BLOCK = 16,
	SUB_PASS = 48, /* random bytes of a new passphrase */
};

struct cipher {
	struct coder coder;
	EVP_CIPHER_CTX *ctx;
	struct coder_opts opts;
	uint64_t taken; /* decrypting: ciphertext seen so far, without the head */
	size_t have;	/* decrypting: bytes in head */
	uint8_t head[MAGIC + SALT];
};

static struct idle_list encrypt_idle = {.size = sizeof(struct cipher)};
static struct idle_list decrypt_idle = {.size = sizeof(struct cipher)};

/* Libraries can be configured to refuse an algorithm; that is not the fault of the data. */
static int unable(void)
{
	return err_set(ERR_CRYPTO, "OpenSSL is unable to use aes-256-cbc with SHA-1");
}

static int set_key(struct cipher *c, const uint8_t *salt, bool encrypt)
{
	static EVP_CIPHER *algorithm;
	static EVP_MD *digest;
	const char *pass = c->opts.pass;
	uint8_t key[EVP_MAX_KEY_LENGTH], iv[EVP_MAX_IV_LENGTH];
	bool ok;

	if (algorithm == NULL)
		algorithm = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	if (digest == NULL)
		digest = EVP_MD_fetch(NULL, "SHA1", NULL);
	if (c->ctx == NULL)
		c->ctx = EVP_CIPHER_CTX_new();
	if (algorithm == NULL || digest == NULL || c->ctx == NULL)
		return unable();
	ok = EVP_BytesToKey(algorithm, digest, salt, (const uint8_t *)pass, (int)strlen(pass), 1,
		     key, iv) == KEY;
	ok = ok && EVP_CipherInit_ex2(c->ctx, algorithm, key, iv, encrypt, NULL) == 1;
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(iv, sizeof(iv));
	return ok ? 0 : unable();
}

static int encrypt_begin(struct coder *coder, const struct coder_opts *o)
{
	struct cipher *c = (struct cipher *)coder;
	uint8_t salt[SALT];

	c->opts = *o;
	if (sys_random(salt, sizeof(salt)) != 0)
		return err_sys(ERR_CRYPTO, "unable to get random bytes for encryption");
	if (!o->raw) {
		memcpy(coder->out, CIPHER_MAGIC, MAGIC);
		coder->used = MAGIC;
	}
	memcpy(coder->out + coder->used, salt, SALT);
	coder->used += SALT;
	return set_key(c, salt, true);
}

/* As much of in as surely fits; the library gives at most a block more than it is fed. */
static int feed(struct cipher *c, struct piece *in)
{
	struct coder *coder = &c->coder;
	size_t room = CODER_OUT - coder->used - BLOCK;
	size_t n = in->len < room ? in->len : room;
	int made = 0;

	if (EVP_CipherUpdate(c->ctx, coder->out + coder->used, &made, in->data, (int)n) != 1)
		return unable();
	coder->used += (size_t)made;
	in->data += n;
	in->len -= n;
	return 0;
}

static int encrypt_step(struct coder *coder, struct piece *in, bool end)
{
	struct cipher *c = (struct cipher *)coder;

	while (in->len > 0 || end) {
		int made = 0;

		if (CODER_OUT - coder->used <= BLOCK)
			return STEP_FULL;
		if (!end) {
			if (feed(c, in) != 0)
				return -1;
			continue;
		}
		if (EVP_CipherFinal_ex(c->ctx, coder->out + coder->used, &made) != 1)
			return unable();
		coder->used += (size_t)made;
		return STEP_DONE;
	}
	return STEP_HUNGRY;
}

static int decrypt_begin(struct coder *coder, const struct coder_opts *o)
{
	struct cipher *c = (struct cipher *)coder;

	c->opts = *o;
	c->taken = 0;
	c->have = o->raw ? MAGIC : 0; /* as if it had been read */
	return 0;
}

/* Bytes of the head into head; the key once it is complete.  The magic is looked at as soon as it can
 * be told: a short text is called not encrypted, not cut short. */
static int take_head(struct cipher *c, struct piece *in)
{
	size_t n = sizeof(c->head) - c->have;

	if (n > in->len)
		n = in->len;
	memcpy(c->head + c->have, in->data, n);
	c->have += n;
	in->data += n;
	in->len -= n;
	if (!c->opts.raw && memcmp(c->head, CIPHER_MAGIC, c->have < MAGIC ? c->have : MAGIC) != 0)
		return err_set(ERR_CRYPTO, "data is not encrypted (it does not begin with '%s')",
			CIPHER_MAGIC);
	return c->have == sizeof(c->head) ? set_key(c, c->head + MAGIC, false) : 0;
}

static int decrypt_end(struct cipher *c)
{
	struct coder *coder = &c->coder;
	int made = 0;

	if (c->have < sizeof(c->head) || c->taken == 0 || c->taken % BLOCK != 0)
		return err_set(ERR_CRYPTO, "unexpected end of encrypted data");
	if (EVP_CipherFinal_ex(c->ctx, coder->out + coder->used, &made) != 1)
		return err_set(ERR_CRYPTO,
			"unable to decrypt: the passphrase is wrong or the data is damaged");
	coder->used += (size_t)made;
	return STEP_DONE;
}

static int decrypt_step(struct coder *coder, struct piece *in, bool end)
{
	struct cipher *c = (struct cipher *)coder;

	if (c->have < sizeof(c->head) && take_head(c, in) != 0)
		return -1;
	while (in->len > 0 || end) {
		size_t before = in->len;

		if (CODER_OUT - coder->used <= BLOCK)
			return STEP_FULL;
		if (end)
			return decrypt_end(c);
		if (feed(c, in) != 0)
			return -1;
		c->taken += before - in->len;
	}
	return STEP_HUNGRY;
}

struct sink *sink_encrypt(struct arena *a, struct sink *next, const char *pass, bool raw)
{
	static const struct coder_type type = {&encrypt_idle, encrypt_begin, encrypt_step};

	return coder_sink(a, next, &type, &(struct coder_opts){.pass = pass, .raw = raw});
}

struct sink *sink_decrypt(struct arena *a, struct sink *next, const char *pass, bool raw)
{
	static const struct coder_type type = {&decrypt_idle, decrypt_begin, decrypt_step};

	return coder_sink(a, next, &type, &(struct coder_opts){.pass = pass, .raw = raw});
}

const char *cipher_new_pass(struct arena *a)
{
	uint8_t random[SUB_PASS];
	char *text = arena_alloc(a, BASE64_SIZE(SUB_PASS));

	if (sys_random(random, sizeof(random)) != 0)
		return err_sys_null(ERR_CRYPTO, "unable to get random bytes for a passphrase");
	base64_encode(random, sizeof(random), text);
	OPENSSL_cleanse(random, sizeof(random));
	return text;
}
