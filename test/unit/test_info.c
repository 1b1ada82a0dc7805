/* info: archive.info and backup.info, main file and copy (format/repository.md 2.8, 3, 4, 14). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>
#include "format5_text.h"
#include "repo/archive_info.h"
#include "repo/backup_info.h"
#include "stream/cipher.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define AMAIN "archive/demo/archive.info"
#define ACOPY "archive/demo/archive.info.copy"
#define BMAIN "backup/demo/backup.info"
#define BCOPY "backup/demo/backup.info.copy"

static int load(struct arena *a, struct store *s, struct archive_info *out)
{
	return archive_info_load(a, s, "demo", NULL, out);
}

static void reads_the_sample_archive_info(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct archive_info info;

	put_text(s, AMAIN, sample(a, "archive.info"));
	assert_int_equal(load(a, s, &info), 0);
	assert_int_equal(info.current, 1);
	assert_int_equal(info.history.n, 1);
	const struct archive_db *db = archive_info_current(&info);
	assert_true(db->id == 1 && db->system_id == UINT64_C(7000000000000000180));
	assert_string_equal(db->version, "18");
}

static void saves_main_and_copy_alike(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct archive_info info;

	put_text(s, AMAIN, sample(a, "archive.info"));
	assert_int_equal(load(a, s, &info), 0);
	/* another cluster, and a tenth one: numeric order, not byte order */
	vec_push(&info.history, ((struct archive_db){2, UINT64_MAX, "9.6"}));
	vec_push(&info.history, ((struct archive_db){10, 3, "19"}));
	info.current = 10;
	assert_int_equal(archive_info_save(s, "demo", NULL, &info), 0);
	const char *text = get_text(a, s, AMAIN);
	assert_string_equal(text, get_text(a, s, ACOPY));
	assert_string_equal(text,
		signed_text(a,
			arena_printf(a,
				"[backrest]\nbackrest-format=5\nbackrest-version=\"%s\"\n\n"
				"[db]\ndb-id=10\ndb-system-id=3\ndb-version=\"19\"\n\n[db:history]"
				"\n"
				"1={\"db-id\":7000000000000000180,\"db-version\":\"18\"}\n"
				"2={\"db-id\":18446744073709551615,\"db-version\":\"9.6\"}\n"
				"10={\"db-id\":3,\"db-version\":\"19\"}\n",
				repo_program)));
	assert_int_equal(load(a, s, &info), 0);
	assert_true(info.history.n == 3 && archive_info_current(&info)->id == 10);
	assert_true(info.history.v[1].system_id == UINT64_MAX);
	info.current = 3;
	assert_int_equal(archive_info_save(s, "demo", NULL, &info), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	err_clear();
}

/* stderr during fn, where warnings go before the log is configured */
static int captured_load(
	struct arena *a, struct store *s, struct archive_info *out, char *text, size_t size)
{
	FILE *f = tmpfile();
	int saved = dup(2);

	assert_true(f != NULL && saved >= 0);
	dup2(fileno(f), 2);
	int rc = load(a, s, out);
	dup2(saved, 2);
	close(saved);
	rewind(f);
	text[fread(text, 1, size - 1, f)] = '\0';
	fclose(f);
	return rc;
}

static void the_copy_stands_in(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct archive_info info;
	char log[1000];

	const char *good = sample(a, "archive.info");
	put_text(s, ACOPY, good);
	assert_int_equal(captured_load(a, s, &info, log, sizeof(log)), 0);
	assert_string_equal(log, ""); /* missing is no reason to worry */
	/* damaged: rows of the main file must not mix with those of the copy */
	put_text(s, AMAIN, replaced(a, good, "1={", "2={"));
	assert_int_equal(captured_load(a, s, &info, log, sizeof(log)), 0);
	assert_int_equal(info.history.n, 1);
	assert_int_equal(info.history.v[0].id, 1);
	assert_non_null(strstr(log, "archive.info'"));
	assert_non_null(strstr(log, "invalid checksum"));
	assert_non_null(strstr(log, "using its copy"));
}

static void an_unreadable_main_is_not_an_absent_one(void **state)
{
	SCOPED_ARENA(a);
	struct store_fault fault = {.verb = "get", .nth = 1};
	struct store *mem = store_mem(a), *s = store_faulty(a, mem, &fault);
	struct archive_info info;

	assert_int_equal(load(a, s, &info), -1);
	err_clear();
	put_text(mem, ACOPY, sample(a, "archive.info"));
	fault.calls = 0;
	assert_int_equal(load(a, s, &info), 0);
	/* and an unreadable copy behind a missing main file is unknown too */
	fault.calls = 0;
	fault.nth = 2;
	assert_int_equal(load(a, s, &info), -1);
	assert_true(err_code() != ERR_FILE_MISSING);
	err_clear();
}

static void both_absent_is_an_answer(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct archive_info info;
	struct backup_info backups;

	assert_int_equal(load(a, s, &info), STORE_ABSENT);
	assert_int_equal(backup_info_load(a, s, "demo", NULL, &backups), STORE_ABSENT);
	assert_int_equal(err_code(), ERR_NONE);
}

static void both_failures_are_told(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct archive_info info;
	const char *good = sample(a, "archive.info");

	put_text(s, AMAIN, replaced(a, good, "577ea", "577eb"));
	put_text(s, ACOPY, "[x]\r\n");
	assert_int_equal(load(a, s, &info), -1);
	assert_int_equal(err_code(), ERR_CHECKSUM);
	assert_non_null(strstr(err_msg(), "ChecksumError: "));
	assert_non_null(strstr(err_msg(), "\nFormatError: "));
	assert_non_null(strstr(err_msg(), "line 1 ends with CR LF"));
	err_clear();
	/* the second's class if the first is only missing, the first's if the second is */
	assert_int_equal(store_remove(s, AMAIN, false), 0);
	assert_int_equal(load(a, s, &info), -1);
	assert_int_equal(err_code(), ERR_FORMAT);
	assert_non_null(strstr(err_msg(), "FileMissingError: "));
	err_clear();
	put_text(s, AMAIN, "");
	assert_int_equal(store_remove(s, ACOPY, false), 0);
	assert_int_equal(load(a, s, &info), -1);
	assert_int_equal(err_code(), ERR_CHECKSUM);
	err_clear();
}

/* Files that are sound but not for us are refused though a copy of format 5 stands beside them. */
static void other_formats_are_refused_by_name(void **state)
{
	SCOPED_ARENA(a);
	const char *good = sample(a, "archive.info");
	const struct {
		const char *text;
		enum err_code code;
		const char *part, *hint;
	} cases[] = {
		{signed_text(a, replaced(a, good, "format=5", "format=6")), ERR_FORMAT,
			"archive.info is of repository format 6, which pgStrata cannot read "
			"(format 5 is supported)",
			""},
		{"PGBR006_\x01\x02\x03", ERR_FORMAT, "is of repository format 6", ""},
		{"PGBR006_", ERR_FORMAT, "is of repository format 6", ""},
		{"Salted__0123456789abcdef", ERR_CRYPTO,
			"archive.info is encrypted, but no passphrase is set",
			"HINT: set repoN-cipher-type=aes-256-cbc and repoN-cipher-pass"},
		{signed_text(
			 a, replaced(a, good, "[db]\n", "[cipher]\ncipher-pass=\"x\"\n\n[db]\n")),
			ERR_CRYPTO, "archive.info is not encrypted, but has the [cipher] section",
			"still encrypted"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct store *s = store_mem(a);
		struct archive_info info;

		put_text(s, AMAIN, cases[i].text);
		put_text(s, ACOPY, good);
		assert_int_equal(load(a, s, &info), -1);
		assert_int_equal(err_code(), cases[i].code);
		assert_non_null(strstr(err_msg(), cases[i].part));
		assert_non_null(strstr(err_hints(), cases[i].hint));
		err_clear();
	}
}

/* ---- encrypted ---- */

static void encrypt_into(struct arena *a, struct store *s, const char *path, const char *pass,
	const char *text)
{
	struct buf b;

	buf_init(&b, a);
	struct sink *to = sink_encrypt(a, sink_buf(a, &b), pass, false);
	if (sink_write(to, text, strlen(text)) != 0 || sink_finish(to) != 0 ||
		store_write(s, path, b.data, b.len, NULL) != 0)
		fail_msg("%s", err_msg());
}

static char *decrypted(struct arena *a, struct store *s, const char *path, const char *pass)
{
	struct buf stored, b;

	buf_init(&stored, a);
	buf_init(&b, a);
	struct sink *to = sink_decrypt(a, sink_buf(a, &b), pass, false);
	if (store_read(s, path, 1 << 24, false, &stored) != 0 ||
		sink_write(to, stored.data, stored.len) != 0 || sink_finish(to) != 0)
		fail_msg("%s", err_msg());
	return b.data;
}

static const char *with_cipher(struct arena *a, const char *text, const char *value)
{
	return signed_text(a, replaced(a, text, "[db]\n",
				      arena_printf(a, "[cipher]\ncipher-pass=%s\n\n[db]\n", value)));
}

static void encrypted_infos_round_trip(void **state)
{
	static const char sub_pass[] = "3E/aQ+\"\\= #\xc3\xa4";
	static const char pass[] = " p#=\"' \xc3\xa4";
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct archive_info archive;
	struct backup_info backup;
	struct buf main, copy;

	put_text(s, AMAIN, sample(a, "archive.info"));
	put_text(s, BMAIN, sample(a, "backup.info"));
	assert_int_equal(load(a, s, &archive), 0);
	assert_int_equal(backup_info_load(a, s, "demo", NULL, &backup), 0);
	assert_null(archive.cipher_pass);
	assert_null(backup.cipher_pass);
	archive.cipher_pass = sub_pass;
	backup.cipher_pass = "manifests";
	assert_int_equal(archive_info_save(s, "demo", pass, &archive), 0);
	assert_int_equal(backup_info_save(s, "demo", pass, &backup), 0);

	/* the same ciphertext twice */
	buf_init(&main, a);
	buf_init(&copy, a);
	assert_int_equal(store_read(s, BMAIN, 1 << 20, false, &main), 0);
	assert_int_equal(store_read(s, BCOPY, 1 << 20, false, &copy), 0);
	assert_int_equal(main.len, copy.len);
	assert_memory_equal(main.data, copy.data, main.len);
	assert_memory_equal(main.data, "Salted__", 8);

	const char *text = decrypted(a, s, ACOPY, pass);
	assert_string_equal(text, with_cipher(a,
		arena_printf(a, "[backrest]\nbackrest-format=5\nbackrest-version=\"%s\"\n\n%s",
			repo_program, strstr(sample(a, "archive.info"), "[db]")),
		"\"3E/aQ+\\\"\\\\= #\xc3\xa4\""));
	text = decrypted(a, s, BMAIN, pass);
	assert_true(strstr(text, "[backup:current]\n") < strstr(text, "[cipher]\n"));
	assert_true(strstr(text, "[cipher]\ncipher-pass=\"manifests\"\n\n[db]\n") != NULL);

	struct archive_info again;
	struct backup_info again2;
	assert_int_equal(archive_info_load(a, s, "demo", pass, &again), 0);
	assert_int_equal(backup_info_load(a, s, "demo", pass, &again2), 0);
	assert_string_equal(again.cipher_pass, sub_pass);
	assert_string_equal(again2.cipher_pass, "manifests");
	assert_int_equal(again2.backups.n, backup.backups.n);
	assert_int_equal(again.history.n, archive.history.n);
}

/* In all that fails here nothing may be taken for absent, and the cause is named. */
static void keys_that_do_not_fit(void **state)
{
	SCOPED_ARENA(a);
	const char *good = sample(a, "archive.info");
	const char *secret = with_cipher(a, good, "\"sub\"");
	const struct {
		const char *text, *encrypt_with, *pass;
		enum err_code code;
		const char *part, *hint;
	} cases[] = {
		{secret, "right", "wrong", ERR_CRYPTO, "the passphrase is wrong or the data is damaged",
			"the passphrase that the stanza was created with?"},
		{secret, "right", "right ", ERR_CRYPTO, "the passphrase is wrong", ""},
		{secret, "right", "", ERR_CRYPTO, "the passphrase is wrong", ""},
		{secret, "right", NULL, ERR_CRYPTO, "is encrypted, but no passphrase is set",
			"HINT: set repoN-cipher-type=aes-256-cbc and repoN-cipher-pass"},
		{good, NULL, "right", ERR_CRYPTO, "is not encrypted, but a passphrase is set",
			"remove repoN-cipher-type and repoN-cipher-pass"},
		{secret, NULL, "right", ERR_CRYPTO, "is not encrypted, but a passphrase is set", ""},
		{secret, NULL, NULL, ERR_CRYPTO, "is not encrypted, but has the [cipher] section", ""},
		{good, "right", "right", ERR_CRYPTO, "names no passphrase in [cipher]", ""},
		{with_cipher(a, good, "\"\""), "right", "right", ERR_FORMAT, "cipher-pass: is empty", ""},
		{with_cipher(a, good, "7"), "right", "right", ERR_FORMAT, "cipher-pass: not a string", ""},
		{with_cipher(a, good, "{}"), "right", "right", ERR_FORMAT, "of repository format 6", ""},
		{replaced(a, secret, "format=5", "format=4"), "right", "right", ERR_FORMAT,
			"expected format 5 but found 4", ""},
		{replaced(a, secret, "sub", "bus"), "right", "right", ERR_CHECKSUM, "invalid checksum", ""},
		{"", "right", "right", ERR_CRYPTO, "unable to decrypt", ""},
		{"neither text nor cipher", NULL, "right", ERR_CRYPTO, "data is not encrypted", ""},
		{"", NULL, "right", ERR_CRYPTO, "unexpected end of encrypted data", ""},
		{"PGBR006_0123456789", NULL, "right", ERR_FORMAT, "of repository format 6", ""},
		{"PGBR006_0123456789", NULL, NULL, ERR_FORMAT, "of repository format 6", ""},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct store *s = store_mem(a);
		struct archive_info info;

		if (cases[i].encrypt_with != NULL)
			encrypt_into(a, s, AMAIN, cases[i].encrypt_with, cases[i].text);
		else
			put_text(s, AMAIN, cases[i].text);
		assert_int_equal(archive_info_load(a, s, "demo", cases[i].pass, &info), -1);
		if (err_code() != cases[i].code || strstr(err_msg(), cases[i].part) == NULL ||
			strstr(err_hints(), cases[i].hint) == NULL)
			fail_msg("case %zu: [%d] %s\n%s", i, err_code(), err_msg(), err_hints());
		assert_null(strstr(err_msg(), "right"));
		assert_null(strstr(err_msg(), "sub"));
		err_clear();
	}
}

/* One wrong passphrase in 256 ends in right padding; long texts reach the parser before their end is seen. */
static void a_wrong_passphrase_is_never_a_wrong_text(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct archive_info info = {.current = 1, .cipher_pass = "sub"};

	vec_init(&info.history, a);
	for (uint32_t n = 1; n <= 10000; n++)
		vec_push(&info.history, ((struct archive_db){n, n, "15"}));
	for (int length = 0; length < 2; length++) {
		assert_int_equal(archive_info_save(s, "demo", "right", &info), 0);
		for (int i = 0; i < (length == 0 ? 20 : 1500); i++) {
			SCOPED_ARENA(b);
			struct archive_info out;

			assert_int_equal(archive_info_load(b, s, "demo",
						 arena_printf(b, "wrong%d", i), &out), -1);
			assert_int_equal(err_code(), ERR_CRYPTO);
			assert_non_null(strstr(err_msg(), "the passphrase is wrong"));
			err_clear();
		}
		info.history.n = 1;
	}
}

static void damaged_ciphertext_falls_to_the_copy(void **state)
{
	static const struct {
		size_t at;	  /* SIZE_MAX: cut there instead */
		const char *part; /* of the warning's cause, in the failure of both */
	} cases[] = {{0, "data is not encrypted"}, {10, "the passphrase is wrong"},
		{20, "the passphrase is wrong"}, {100, ""}, {SIZE_MAX, "unexpected end of encrypted data"}};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct store *s = store_mem(a);
		struct archive_info info;
		struct buf b;

		buf_init(&b, a);
		encrypt_into(a, s, ACOPY, "right", with_cipher(a, sample(a, "archive.info"), "\"sub\""));
		assert_int_equal(store_read(s, ACOPY, 1 << 20, false, &b), 0);
		if (cases[i].at == SIZE_MAX)
			b.len -= 7;
		else
			b.data[cases[i].at] ^= 1;
		assert_int_equal(store_write(s, AMAIN, b.data, b.len, NULL), 0);
		assert_int_equal(archive_info_load(a, s, "demo", "right", &info), 0);
		assert_string_equal(info.cipher_pass, "sub");
		/* no copy to fall to */
		assert_int_equal(store_remove(s, ACOPY, false), 0);
		assert_int_equal(archive_info_load(a, s, "demo", "right", &info), -1);
		if (strstr(err_msg(), cases[i].part) == NULL)
			fail_msg("case %zu: %s", i, err_msg());
		err_clear();
	}
}

/* A plain pair of an encrypted stanza (or the reverse) would give away or lose the key of all that is there. */
static void keys_are_saved_together_or_not_at_all(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct archive_info info;
	struct backup_info backup;

	put_text(s, AMAIN, sample(a, "archive.info"));
	put_text(s, BMAIN, sample(a, "backup.info"));
	assert_int_equal(load(a, s, &info), 0);
	assert_int_equal(backup_info_load(a, s, "demo", NULL, &backup), 0);
	assert_int_equal(archive_info_save(s, "demo", "pass", &info), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	err_clear();
	assert_int_equal(backup_info_save(s, "demo", "pass", &backup), -1);
	err_clear();
	info.cipher_pass = backup.cipher_pass = "sub";
	assert_int_equal(archive_info_save(s, "demo", NULL, &info), -1);
	err_clear();
	assert_int_equal(backup_info_save(s, "demo", NULL, &backup), -1);
	err_clear();
	assert_string_equal(get_text(a, s, AMAIN), sample(a, "archive.info"));
}

static void malformed_archive_infos_are_refused(void **state)
{
	SCOPED_ARENA(a);
	const char *good = sample(a, "archive.info");
	static const struct {
		const char *from, *to, *part;
	} cases[] = {
		{"backrest-format=5", "backrest-format=4", "expected format 5 but found 4"},
		{"backrest-format=5", "backrest-format=7", "expected format 5 but found 7"},
		{"backrest-format=5\n", "", "expected format 5 but found none"},
		{"backrest-format=5", "backrest-format=\"5\"",
			"key 'backrest-format': not a number"},
		{"backrest-version=\"2.60.0\"", "backrest-version=2",
			"key 'backrest-version': not a string"},
		{"db-id=1\n", "", "required key 'db-id' not found"},
		{"db-id=1\n", "db-id=2\n", "[db:history] lacks the current id 2"},
		{"db-id=1\n", "db-id=-1\n", "key 'db-id'"},
		{"[db]\ndb-id=1\ndb-system-id=7000000000000000180\ndb-version=\"18\"\n", "",
			"section [db] not found"},
		{"1={", "x={", "[db:history] x: not a history id"},
		{"1={", "0={", "not a history id"},
		{"1={", "4294967296={", "not a history id"},
		{"1={", "1={\"db-id\":1,\"db-version\":\"18\"}\n01={", "repeats id 1"},
		{"\"db-version\":\"18\"}", "\"db-version\":\"../..\"}",
			"'../..' is not a PostgreSQL version"},
		{",\"db-version\":\"18\"}", "}", "required key 'db-version' not found"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct store *s = store_mem(a);
		struct archive_info info;

		put_text(s, AMAIN, signed_text(a, replaced(a, good, cases[i].from, cases[i].to)));
		assert_int_equal(load(a, s, &info), -1);
		if (strstr(err_msg(), cases[i].part) == NULL)
			fail_msg("case %zu: %s", i, err_msg());
		assert_int_equal(err_code(), ERR_FORMAT);
		err_clear();
	}
}

static void reads_the_sample_backup_info(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct backup_info info;

	put_text(s, BMAIN, sample(a, "backup.info"));
	assert_int_equal(backup_info_load(a, s, "demo", NULL, &info), 0);
	assert_int_equal(info.backups.n, 3);
	const struct backup_db *db = backup_info_current(&info);
	assert_true(db->system_id == UINT64_C(7000000000000000180) && db->control_version == 1800 &&
		db->catalog_version == 202506291);
	const struct backup_line *l = backup_info_find(&info, "20261120-115634F_20261120-115635D");
	assert_non_null(l);
	assert_string_equal(l->type, "diff");
	assert_string_equal(l->prior, "20261120-115634F");
	assert_true(l->reference.n == 1 && l->annotations.n == 1 && l->archive_start == NULL);
	assert_string_equal(l->annotations.v[0].value, "test");
	assert_true(l->repo_size == 8200 && l->repo_size_delta == 2 && l->has_error && !l->error &&
		!l->has_map_size && !l->compress);
	assert_true(info.backups.v[2].compress);
	assert_null(backup_info_find(&info, "20261120-115635F"));
}

static void round_trips_the_sample_backup_info(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct backup_info info;
	const char *text = sample(a, "backup.info");

	put_text(s, BMAIN, text);
	assert_int_equal(backup_info_load(a, s, "demo", NULL, &info), 0);
	assert_int_equal(backup_info_save(s, "demo", NULL, &info), 0);
	/* all but who wrote the file itself; the lines keep who made the backup */
	const char *expected = signed_text(a,
		replaced(a, text, "\nbackrest-version=\"2.60.0\"",
			arena_printf(a, "\nbackrest-version=\"%s\"", repo_program)));
	assert_string_equal(get_text(a, s, BMAIN), expected);
	assert_string_equal(get_text(a, s, BCOPY), expected);
}

static void keeps_what_online_backups_have(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct backup_info info;
	const char *text = sample(a, "backup.info");

	text = replaced(a, text,
		"\"backup-archive-start\":null,\"backup-archive-stop\":null,\"backup-error\":false,"
		"\"backup-info-repo-size\":316,\"backup-info-repo-size-delta\":316,",
		"\"backup-archive-start\":\"00000001000000000000000F\",\"backup-archive-stop\":"
		"\"000000010000000000000010\",\"backup-error\":true,\"backup-info-repo-size\":316,"
		"\"backup-info-repo-size-delta\":316,\"backup-info-repo-size-map\":7,"
		"\"backup-info-repo-size-map-delta\":0,");
	text = replaced(a, text, "\"backup-info-size-delta\":8208,",
		"\"backup-info-size-delta\":8208,"
		"\"backup-lsn-start\":\"0/F00028\",\"backup-lsn-stop\":\"0/F00100\",");
	/* an old line: no backup-error, and it stays away */
	text = replaced(a, text, "\"backup-error\":false,\"backup-info-repo-size\":8198",
		"\"backup-info-repo-size\":8198");
	put_text(s, BMAIN, signed_text(a, text));
	assert_int_equal(backup_info_load(a, s, "demo", NULL, &info), 0);
	assert_true(info.backups.v[2].error && info.backups.v[2].has_map_size);
	assert_string_equal(info.backups.v[2].lsn_stop, "0/F00100");
	assert_int_equal(backup_info_save(s, "demo", NULL, &info), 0);
	assert_string_equal(
		strstr(get_text(a, s, BMAIN), "[db]"), strstr(get_text(a, s, BCOPY), "[db]"));
	const char *saved = get_text(a, s, BMAIN);
	const char *lines = strstr(text, "[backup:current]");
	assert_memory_equal(strstr(saved, "[backup:current]"), lines,
		(size_t)(strstr(lines, "[backrest]") - lines));
}

static void lists_stay_sorted(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	struct backup_info info;
	struct backup_line line = {.label = "20261120-115636F"};

	put_text(s, BMAIN, sample(a, "backup.info"));
	assert_int_equal(backup_info_load(a, s, "demo", NULL, &info), 0);
	backup_info_add(&info, &line);
	line.label = "20200101-000000F";
	backup_info_add(&info, &line);
	line.label = "20300101-000000F";
	backup_info_add(&info, &line);
	assert_int_equal(info.backups.n, 6);
	for (size_t i = 1; i < info.backups.n; i++)
		assert_true(strcmp(info.backups.v[i - 1].label, info.backups.v[i].label) < 0);
	/* the same label replaces */
	line.size = 5;
	backup_info_add(&info, &line);
	assert_int_equal(info.backups.n, 6);
	assert_true(backup_info_find(&info, "20300101-000000F")->size == 5);
	backup_info_remove(&info, "20200101-000000F");
	backup_info_remove(&info, "20200101-000000F");
	backup_info_remove(&info, "20300101-000000F");
	assert_int_equal(info.backups.n, 4);
	assert_null(backup_info_find(&info, "20300101-000000F"));
	while (info.backups.n > 0)
		backup_info_remove(&info, info.backups.v[0].label);
	/* without backups there is no section */
	assert_int_equal(backup_info_save(s, "demo", NULL, &info), 0);
	assert_null(strstr(get_text(a, s, BMAIN), "[backup:current]"));
	assert_int_equal(backup_info_load(a, s, "demo", NULL, &info), 0);
	assert_int_equal(info.backups.n, 0);
}

static void malformed_backup_infos_are_refused(void **state)
{
	SCOPED_ARENA(a);
	const char *good = sample(a, "backup.info");
	static const struct {
		const char *from, *to, *part;
	} cases[] = {
		{"20261120-115637F={", "../20261120-115637F={", "not a backup label"},
		{"20261120-115637F={", "20261120-115634F={", "label is repeated"},
		{"\"backup-prior\":\"20261120-115634F\"", "\"backup-prior\":\"../../etc\"",
			"prior '../../etc'"},
		{"\"backup-prior\":\"20261120-115634F\",", "", "a full backup has no prior"},
		{"\"backup-reference\":[\"20261120-115634F\"]", "\"backup-reference\":[\"..\"]",
			"reference '..'"},
		{"\"backup-type\":\"diff\"", "\"backup-type\":\"incr\"",
			"does not belong to the label"},
		{"\"backup-type\":\"diff\"", "\"backup-type\":\"new\"",
			"does not belong to the label"},
		{"\"backup-info-size\":8208,", "", "required key 'backup-info-size' not found"},
		{"\"backup-info-size\":8208,", "\"backup-info-size\":-1,",
			"key 'backup-info-size'"},
		{"\"option-online\":false", "\"option-online\":0", "key 'option-online'"},
		{"\"db-control-version\":1800,", "", "required key 'db-control-version' not found"},
		{"\ndb-id=1\n", "\ndb-id=7\n", "[db:history] lacks the current id 7"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct store *s = store_mem(a);
		struct backup_info info;

		put_text(s, BMAIN, signed_text(a, replaced(a, good, cases[i].from, cases[i].to)));
		assert_int_equal(backup_info_load(a, s, "demo", NULL, &info), -1);
		if (strstr(err_msg(), cases[i].part) == NULL)
			fail_msg("case %zu: %s", i, err_msg());
		assert_int_equal(err_code(), ERR_FORMAT);
		err_clear();
	}
}

/* Whatever call of a save fails: the old state or the new one can be loaded. */
static void a_failed_save_leaves_a_pair_that_loads(void **state)
{
	static const char *const verbs[] = {"put", "write", "finish"};

	for (size_t v = 0; v < COUNT(verbs); v++) {
		for (unsigned nth = 1; nth <= 2; nth++) {
			SCOPED_ARENA(a);
			struct store_fault fault = {.verb = verbs[v], .nth = nth};
			struct store *mem = store_mem(a), *s = store_faulty(a, mem, &fault);
			struct archive_info info;

			put_text(mem, AMAIN, sample(a, "archive.info"));
			put_text(mem, ACOPY, sample(a, "archive.info"));
			assert_int_equal(load(a, mem, &info), 0);
			vec_push(&info.history, ((struct archive_db){2, 5, "19"}));
			info.current = 2;
			assert_int_equal(archive_info_save(s, "demo", NULL, &info), -1);
			err_clear();
			assert_int_equal(load(a, mem, &info), 0);
			assert_int_equal(info.current, nth);
			assert_int_equal(archive_info_current(&info)->id, info.current);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_sample_archive_info),
		cmocka_unit_test(saves_main_and_copy_alike),
		cmocka_unit_test(the_copy_stands_in),
		cmocka_unit_test(an_unreadable_main_is_not_an_absent_one),
		cmocka_unit_test(both_absent_is_an_answer),
		cmocka_unit_test(both_failures_are_told),
		cmocka_unit_test(other_formats_are_refused_by_name),
		cmocka_unit_test(encrypted_infos_round_trip),
		cmocka_unit_test(keys_that_do_not_fit),
		cmocka_unit_test(a_wrong_passphrase_is_never_a_wrong_text),
		cmocka_unit_test(damaged_ciphertext_falls_to_the_copy),
		cmocka_unit_test(keys_are_saved_together_or_not_at_all),
		cmocka_unit_test(malformed_archive_infos_are_refused),
		cmocka_unit_test(reads_the_sample_backup_info),
		cmocka_unit_test(round_trips_the_sample_backup_info),
		cmocka_unit_test(keeps_what_online_backups_have),
		cmocka_unit_test(lists_stay_sorted),
		cmocka_unit_test(malformed_backup_infos_are_refused),
		cmocka_unit_test(a_failed_save_leaves_a_pair_that_loads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
