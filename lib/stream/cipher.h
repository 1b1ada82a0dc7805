/*
 * cipher: aes-256-cbc as repository format 5 has it (format/repository.md 8.1), the same as
 * openssl enc -aes-256-cbc -md sha1: "Salted__", 8 bytes salt, the data padded to blocks of 16 bytes.
 * The raw form (format/blocks.md 1.4) lacks the "Salted__".
 *
 * The passphrase is text of any bytes and any length.  Key and IV come from it and the salt by
 * EVP_BytesToKey with SHA-1 and one round.  There is no authentication: a wrong passphrase or damage
 * shows by bad padding in 255 of 256 cases only, and only at the end; what came out before must not be
 * believed until the caller's own checksum agrees.
 *
 * No failure text contains passphrase or key.
 */
#ifndef STREAM_CIPHER_H
#define STREAM_CIPHER_H

#include "stream/sink.h"

#define CIPHER_MAGIC "Salted__"

/*
 * Passes the ciphertext on.  pass must live until the first write.  The salt is new for each stream, from
 * the system's random source; without one nothing is written (ERR_CRYPTO).  Empty input gives 32
 * bytes (raw: 24).
 */
struct sink *sink_encrypt(struct arena *a, struct sink *next, const char *pass, bool raw);

/* Passes the plain bytes on.  ERR_CRYPTO: not encrypted, cut short, or bad padding. */
struct sink *sink_decrypt(struct arena *a, struct sink *next, const char *pass, bool raw);

/* A new random passphrase (repository.md 8.2): 48 random bytes as 64 characters of base64.  NULL:
 * ERR_CRYPTO, the system gives no random bytes. */
const char *cipher_new_pass(struct arena *a) must_check;

#endif
