/*
 * cipher: the stored bytes are those of format/repository.md 8.1 and of openssl enc, both ways; what
 * is wrong with ciphertext or passphrase is told, and damage never ends the program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/enc.h"
#include "base/file.h"
#include "base/str.h"
#include "base/sys.h"
#include "stream/cipher.h"
#include "stream/idle.h"

enum { BIG = 1024 * 1024 + 3 };

static struct sys_calls plain_calls;

/* What sys.getrandom gives when a test wants a known salt. */
static uint8_t salt_of_test[8];
static ssize_t give_salt(void *data, size_t len, unsigned flags)
{
	assert_int_equal(len, sizeof(salt_of_test));
	memcpy(data, salt_of_test, len);
	return (ssize_t)len;
}

static ssize_t give_nothing(void *data, size_t len, unsigned flags)
{
	errno = ENOSYS;
	return -1;
}

static unsigned calls;
static ssize_t give_little(void *data, size_t len, unsigned flags)
{
	if (calls++ % 2 == 0) {
		errno = EINTR;
		return -1;
	}
	memset(data, (int)calls, 1);
	return 1;
}

static int reset(void **state)
{
	sys = plain_calls;
	err_clear();
	return 0;
}

static struct buf unhex(struct arena *a, const char *hex)
{
	struct buf b;
	uint8_t byte;

	buf_init(&b, a);
	for (; *hex != '\0'; hex += 2) {
		assert_true(hex_decode(hex, &byte, 1));
		buf_addc(&b, (char)byte);
	}
	return b;
}

static uint8_t *make_data(struct arena *a, size_t len)
{
	uint8_t *p = arena_alloc(a, len + 1);

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 2654435761u >> 11);
	return p;
}

static int feed(struct sink *s, const void *data, size_t len, size_t piece)
{
	const uint8_t *p = data;

	for (size_t at = 0; at < len; at += piece) {
		if (sink_write(s, p + at, len - at < piece ? len - at : piece) != 0)
			return -1;
	}
	return sink_finish(s);
}

static struct buf encrypted(struct arena *a, const char *pass, bool raw, const void *data,
	size_t len, size_t piece)
{
	struct buf b;

	buf_init(&b, a);
	if (feed(sink_encrypt(a, sink_buf(a, &b), pass, raw), data, len, piece) != 0)
		fail_msg("%s", err_msg());
	return b;
}

static int decrypt(struct arena *a, const char *pass, bool raw, const void *data, size_t len,
	size_t piece, struct buf *out)
{
	buf_init(out, a);
	return feed(sink_decrypt(a, sink_buf(a, out), pass, raw), data, len, piece);
}

static void check_plain(const char *pass, bool raw, const struct buf *z, const void *want,
	size_t len, size_t piece)
{
	SCOPED_ARENA(a);
	struct buf got;

	if (decrypt(a, pass, raw, z->data, z->len, piece, &got) != 0)
		fail_msg("%s", err_msg());
	assert_int_equal(got.len, len);
	assert_int_equal(memcmp(got.data, want, len), 0);
}

static void check_refused(
	const char *pass, bool raw, const void *data, size_t len, const char *text)
{
	SCOPED_ARENA(a);

	for (size_t piece = 1; piece < 40; piece += 19) {
		struct buf got;

		assert_int_equal(decrypt(a, pass, raw, data, len, piece, &got), -1);
		assert_int_equal(err_code(), ERR_CRYPTO);
		if (strstr(err_msg(), text) == NULL)
			fail_msg("'%s' is not in '%s'", text, err_msg());
		err_clear();
	}
}

/* Made with openssl 3.0.x: openssl enc -aes-256-cbc -md sha1 -S SALT -pass pass:PASS; the second is
 * that of format/blocks.md, appendix A, the third begins with the block of repository.md 8.1. */
static const struct {
	const char *pass, *salt, *plain, *cipher;
} vectors[] = {
	{"fixture-C-passphrase", "0001020304050607", "", "35e3b0194598d64357d6974c920320a4"},
	{"fixture-C-passphrase", "0001020304050607", "18\n", "61b5713989735a757953048c7c31ef00"},
	{"topsecret", "ad25396fb75c873f", "[backrest]\nbackrest-format=5\n", 
		"c82bdc84dda4879f4215b3d9bc710baa26edf3fdc88ee5fc86068812aeed961d"},
	{" #\"='\\;[x] \xc3\xa4", "ffffffffffffffff", "0123456789abcdef", 
		"94a4061bc6f26b6aec7a87a7a1614644a1412649b16d009bea4773cc382e3895"},
};

static void known_streams(void **state)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		SCOPED_ARENA(a);
		const char *plain = vectors[i].plain;
		size_t len = strlen(plain);
		struct buf raw = unhex(
			a, arena_printf(a, "%s%s", vectors[i].salt, vectors[i].cipher));
		struct buf whole = unhex(a, arena_printf(a, "53616c7465645f5f%s%s",
						     vectors[i].salt, vectors[i].cipher));

		hex_decode(vectors[i].salt, salt_of_test, sizeof(salt_of_test));
		sys.getrandom = give_salt;
		struct buf got = encrypted(a, vectors[i].pass, false, plain, len, 5);
		assert_int_equal(got.len, whole.len);
		assert_memory_equal(got.data, whole.data, whole.len);
		got = encrypted(a, vectors[i].pass, true, plain, len, 100);
		assert_int_equal(got.len, raw.len);
		assert_memory_equal(got.data, raw.data, raw.len);
		check_plain(vectors[i].pass, false, &whole, plain, len, 1);
		check_plain(vectors[i].pass, true, &raw, plain, len, 1);
	}
}

static size_t stored_size(size_t n, bool raw)
{
	return (raw ? 8 : 16) + 16 * (n / 16 + 1);
}

static void round_trips(void **state)
{
	static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 32, 344, 8191, 8192, 262111, 262112,
		262127, 262128, 262129, 262143, 262144, 262145, 524288, BIG};
	static const size_t pieces[] = {1, 13, 100000, BIG};
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, BIG);

	assert_int_equal(stored_size(344, false), 368);
	for (int raw = 0; raw < 2; raw++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			for (size_t j = 0; j < 4; j++) {
				SCOPED_ARENA(b);
				size_t back = pieces[(i + j) % 4];
				struct buf z = encrypted(
					b, "secret", raw, data, sizes[i], pieces[j]);

				assert_int_equal(z.len, stored_size(sizes[i], raw));
				assert_int_equal(memcmp(z.data, CIPHER_MAGIC, 8) == 0, !raw);
				check_plain("secret", raw, &z, data, sizes[i], back);
			}
		}
	}
}

/* Any bytes and any length; no two of them open each other's data. */
static void passphrases(void **state)
{
	SCOPED_ARENA(a);
	char *filler = arena_zalloc(a, 5000);
	const char *table[] = {"", " ", "  ", "a", "a ", "#", "=", "\"", "'", "\\", "\t\n\r\x01\x7f",
		"\xff\xfe", "\xc3\xa4\xc3\xb6", "[cipher]", "x=y", "%s%n", filler,
		filler + 1, filler + 4936, filler + 4935, filler + 4937, filler + 4968, filler + 4984};
	size_t n = sizeof(table) / sizeof(table[0]);

	memset(filler, 'p', 4999);
	for (size_t i = 0; i < n; i++) {
		struct buf z = encrypted(a, table[i], false, "eighteen bytes....", 18, 18);

		for (size_t j = 0; j < n; j++) {
			struct buf got;

			if (i == j) {
				check_plain(table[j], false, &z, "eighteen bytes....", 18, 7);
			} else if (decrypt(a, table[j], false, z.data, z.len, 48, &got) == 0) {
				/* the padding of one in 256 looks right */
				assert_true(got.len != 18 || memcmp(got.data, "eigh", 4) != 0);
			} else {
				assert_int_equal(err_code(), ERR_CRYPTO);
				err_clear();
			}
		}
	}
}

static void each_stream_has_its_salt(void **state)
{
	SCOPED_ARENA(a);
	struct buf last = encrypted(a, "secret", true, "same", 4, 4);

	for (int i = 0; i < 100; i++) {
		struct buf z = encrypted(a, "secret", true, "same", 4, 4);

		assert_memory_not_equal(z.data, last.data, 8);
		assert_memory_not_equal(z.data + 8, last.data + 8, 16);
		last = z;
	}
}

static void no_random_bytes_no_data(void **state)
{
	SCOPED_ARENA(a);
	struct buf b;

	buf_init(&b, a);
	sys.getrandom = give_nothing;
	assert_int_equal(sink_write(sink_encrypt(a, sink_buf(a, &b), "x", false), "abc", 3), -1);
	assert_int_equal(err_code(), ERR_CRYPTO);
	assert_non_null(strstr(err_msg(), "random bytes"));
	assert_int_equal(b.len, 0);
	assert_int_equal(sink_finish(sink_encrypt(a, sink_buf(a, &b), "x", true)), -1);
	assert_int_equal(b.len, 0);
	assert_null(cipher_new_pass(a));
	assert_int_equal(err_code(), ERR_CRYPTO);
}

static void new_passphrases(void **state)
{
	SCOPED_ARENA(a);
	const char *last = "";

	for (int i = 0; i < 100; i++) {
		const char *pass = cipher_new_pass(a);

		assert_int_equal(strlen(pass), 64);
		assert_int_equal(strspn(pass, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					      "0123456789+/"), 64);
		assert_string_not_equal(pass, last);
		last = pass;
	}
	/* interrupted and short answers are gone on with: 48 bytes of 02, 04, 06, ... */
	sys.getrandom = give_little;
	calls = 0;
	assert_string_equal(cipher_new_pass(a),
		"AgQGCAoMDhASFBYYGhweICIkJigqLC4wMjQ2ODo8PkBCREZISkxOUFJUVlhaXF5g");
}

static void what_is_wrong_is_told(void **state)
{
	static const char end[] = "unexpected end of encrypted data";
	static const char not_encrypted[] = "data is not encrypted";
	static const char wrong[] = "the passphrase is wrong or the data is damaged";
	SCOPED_ARENA(a);
	struct buf z = encrypted(a, "secret", false, "[backrest]\nbackrest-format=5\n", 29, 29);
	struct buf raw = encrypted(a, "secret", true, "[backrest]\nbackrest-format=5\n", 29, 29);
	unsigned told = 0;

	for (size_t n = 0; n < z.len; n++) {
		bool aligned = n >= 32 && n % 16 == 0;

		check_refused("secret", false, z.data, n, aligned ? wrong : end);
	}
	for (size_t n = 0; n < raw.len; n++)
		check_refused("secret", true, raw.data, n, n >= 24 && n % 16 == 8 ? wrong : end);
	check_refused("secret", false, "[backrest]\n", 11, not_encrypted);
	check_refused("secret", false, "Salted_", 7, end);
	check_refused("secret", false, "Saltee", 6, not_encrypted);
	check_refused("secret", false, raw.data, raw.len, not_encrypted);
	check_refused("secret", false, "PGBR006_12345678", 16, not_encrypted);
	z.data[z.len] = 'x';
	check_refused("secret", false, z.data, z.len + 1, end);
	/* a wrong passphrase: nearly always told here, for the rest there are checksums */
	for (int i = 0; i < 200; i++) {
		struct buf got;

		if (decrypt(a, arena_printf(a, "wrong%d", i), false, z.data, z.len, 99, &got) != 0) {
			assert_int_equal(err_code(), ERR_CRYPTO);
			assert_non_null(strstr(err_msg(), wrong));
			assert_null(strstr(err_msg(), "wrong1"));
			err_clear();
			told++;
		} else {
			assert_true(got.len != 29 || memcmp(got.data, "[backrest]", 10) != 0);
		}
	}
	assert_true(told > 150);
}

static void damage_never_gives_the_true_bytes(void **state)
{
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, 100);
	struct buf z = encrypted(a, "secret", false, data, 100, 100);

	for (size_t bit = 64; bit < z.len * 8; bit++) {
		SCOPED_ARENA(b);
		struct buf got;

		z.data[bit / 8] ^= (char)(1 << bit % 8);
		if (decrypt(b, "secret", false, z.data, z.len, z.len, &got) == 0)
			assert_false(got.len == 100 && memcmp(got.data, data, 100) == 0);
		err_clear();
		z.data[bit / 8] ^= (char)(1 << bit % 8);
	}
}

static int refuse(struct sink *s, const void *data, size_t len)
{
	return err_set(ERR_FILE_WRITE, "next is full");
}

static int refuse_finish(struct sink *s)
{
	return err_set(ERR_FILE_SYNC, "next cannot finish");
}

static void failures_of_the_next_sink_come_through(void **state)
{
	SCOPED_ARENA(a);
	struct sink full = {refuse, refuse_finish};
	struct buf z = encrypted(a, "secret", false, make_data(a, BIG), BIG, BIG);

	assert_int_equal(sink_write(sink_encrypt(a, &full, "x", false), make_data(a, BIG), BIG), -1);
	assert_int_equal(err_code(), ERR_FILE_WRITE);
	err_clear();
	assert_int_equal(sink_write(sink_decrypt(a, &full, "secret", false), z.data, z.len), -1);
	assert_int_equal(err_code(), ERR_FILE_WRITE);
}

static void contexts_are_reused(void **state)
{
	size_t before = 0;

	for (int n = 0; n < 1000; n++) {
		SCOPED_ARENA(a);
		struct buf z = encrypted(a, "secret", n % 2 == 0, &n, sizeof(n), 1);

		check_plain("secret", n % 2 == 0, &z, &n, sizeof(n), 1);
		if (n % 3 == 0) /* left in the middle of a stream */
			assert_int_equal(
				sink_write(sink_encrypt(a, sink_null(a), "y", false), "abc", 3), 0);
		if (n % 3 == 1)
			check_refused("secret", n % 2 == 0, z.data, z.len - 1, "unexpected end");
		if (n == 10)
			before = idle_made();
	}
	assert_int_equal(idle_made(), before);
}

/* openssl -d or -e on file "in", giving file "out"; the passphrase from file "pass". */
static bool run_openssl(const char *folder, const char *direction)
{
	SCOPED_ARENA(a);

	return system(arena_printf(a,
		       "cd %s && openssl enc %s -aes-256-cbc -md sha1 -in in -out out "
		       "-pass file:pass 2>/dev/null", folder, direction)) == 0;
}

static void both_ways_with_openssl(void **state)
{
	static const size_t sizes[] = {0, 1, 16, 1000, BIG};
	static const char pass[] = " #\"odd' = \\ \xc3\xa4";
	char folder[] = "/tmp/test_cipher_XXXXXX";
	SCOPED_ARENA(a);
	uint8_t *data = make_data(a, BIG);

	if (system("openssl version >/dev/null 2>&1") != 0)
		skip(); /* known_streams has what it wrote */
	assert_non_null(mkdtemp(folder));
	const char *in = arena_printf(a, "%s/in", folder), *out = arena_printf(a, "%s/out", folder);
	assert_int_equal(
		file_replace(arena_printf(a, "%s/pass", folder), pass, strlen(pass), 0600), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf z = encrypted(a, pass, false, data, sizes[i], BIG), b;

		buf_init(&b, a);
		assert_int_equal(file_replace(in, z.data, z.len, 0600), 0);
		assert_true(run_openssl(folder, "-d"));
		assert_int_equal(file_read(out, 2 * BIG, &b), 0);
		assert_int_equal(b.len, sizes[i]);
		assert_int_equal(memcmp(b.data, data, b.len), 0);

		assert_int_equal(file_replace(in, data, sizes[i], 0600), 0);
		assert_true(run_openssl(folder, "-e"));
		buf_reset(&b);
		assert_int_equal(file_read(out, 2 * BIG, &b), 0);
		check_plain(pass, false, &b, data, sizes[i], 1000);
	}
	assert_int_equal(system(arena_printf(a, "rm -r %s", folder)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(known_streams, reset),
		cmocka_unit_test_teardown(round_trips, reset),
		cmocka_unit_test_teardown(passphrases, reset),
		cmocka_unit_test_teardown(each_stream_has_its_salt, reset),
		cmocka_unit_test_teardown(no_random_bytes_no_data, reset),
		cmocka_unit_test_teardown(new_passphrases, reset),
		cmocka_unit_test_teardown(what_is_wrong_is_told, reset),
		cmocka_unit_test_teardown(damage_never_gives_the_true_bytes, reset),
		cmocka_unit_test_teardown(failures_of_the_next_sink_come_through, reset),
		cmocka_unit_test_teardown(contexts_are_reused, reset),
		cmocka_unit_test_teardown(both_ways_with_openssl, reset),
	};

	plain_calls = sys;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
