/* spool: a status counts only for the very file and the very repositories, whole; all else is as absent. */
#ifdef HAVE_CONFIG_H
#include "config-build.h"
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"
#include "base/sys.h"
#include "cmd/spool.h"

#define NAME "000000010000000000000007"

static char folder[] = "/tmp/test spool_XXXXXX";
static char *source; /* the WAL file */
static struct arena *arena;
static struct config cfg;
static struct spool spool;

static void configure_repos(size_t n, const char *type, const char *second)
{
	vec_init(&cfg.repo, arena);
	for (size_t i = 0; i < n; i++)
		*vec_add(&cfg.repo) = (struct config_repo){
			.key = (unsigned)i + 1, .type = type, .path = i == 0 ? "/first \"repo\"" : second };
	spool_open(arena, &cfg, &spool);
}

static int make(void **state)
{
	if (mkdtemp(folder) == NULL)
		return -1;
	return 0;
}

static int begin(void **state)
{
	arena = arena_new();
	cfg = (struct config){ .stanza = "demo", .spool_path = folder };
	configure_repos(2, "posix", "/second");
	source = arena_printf(arena, "%s/" NAME, folder);
	assert_int_equal(dir_make(spool.dir, 0750), 0);
	assert_int_equal(file_replace(source, "content", 7, 0600), 0);
	return 0;
}

static int clean(void **state)
{
	int rc = system(arena_printf(arena, "rm -rf '%s'/*", folder));

	arena_free(arena);
	err_clear();
	return rc;
}

static int remove_folder(void **state)
{
	return rmdir(folder);
}

static struct spool_id id_now(void)
{
	struct spool_id id;

	assert_int_equal(spool_id_of(source, &id), 0);
	return id;
}

/* What both repositories have, or the first n of them. */
static struct spool_status stored_in(size_t n, const char *warning)
{
	struct spool_status st = { .warning = warning };

	sha1_of("content", 7, &st.sum);
	vec_init(&st.repos, arena);
	vec_init(&st.archives, arena);
	for (size_t i = 0; i < n; i++) {
		vec_push(&st.repos, spool.repos.v[i]);
		vec_push(&st.archives, ((struct config_pair){ spool.repos.v[i].key, "17-1" }));
	}
	return st;
}

static enum spool_word word(const char *name, struct spool_id id)
{
	struct spool_answer said;

	spool_look(arena, &spool, name, &id, &said);
	assert_int_equal(err_code(), ERR_NONE);
	return said.word;
}

static void write_ok(const struct spool_status *st)
{
	struct spool_id id = id_now();

	assert_int_equal(spool_write_ok(&spool, NAME, &id, st), 0);
}

static char *ok_path(void)
{
	return spool_path(arena, &spool, NAME, ".ok");
}

static void put(const char *path, const void *text, size_t len)
{
	assert_int_equal(file_replace(path, text, len, 0640), 0);
}

static struct buf content(const char *path)
{
	struct buf b;

	buf_init(&b, arena);
	assert_int_equal(file_read(path, 100000, &b), 0);
	return b;
}

static bool exists(const char *name, const char *suffix)
{
	return file_exists(spool_path(arena, &spool, name, suffix)) == 1;
}

static void an_ok_is_believed(void **state)
{
	const struct spool_status st = stored_in(2, "a \"warning\"\nof two lines");
	const struct spool_id id = id_now();
	struct spool_answer said;

	assert_int_equal(word(NAME, id), SPOOL_NONE);
	write_ok(&st);
	spool_look(arena, &spool, NAME, &id, &said);
	assert_int_equal(said.word, SPOOL_STORED);
	assert_string_equal(said.text, st.warning);
	/* pgBackRest takes it for a success with a text */
	assert_true(str_starts(content(ok_path()).data, "0\n{"));
}

static void without_a_warning_there_is_none(void **state)
{
	const struct spool_status st = stored_in(2, NULL);
	const struct spool_id id = id_now();
	struct spool_answer said;

	write_ok(&st);
	spool_look(arena, &spool, NAME, &id, &said);
	assert_int_equal(said.word, SPOOL_STORED);
	assert_null(said.text);
}

static void another_state_of_the_file_is_another_file(void **state)
{
	const struct spool_status st = stored_in(2, NULL);
	struct spool_id id = id_now();

	write_ok(&st);
	id.size++;
	assert_int_equal(word(NAME, id), SPOOL_NONE);
	id = id_now();
	id.inode++;
	assert_int_equal(word(NAME, id), SPOOL_NONE);
	id = id_now();
	id.mtime++;
	assert_int_equal(word(NAME, id), SPOOL_NONE);
	id = id_now();
	id.ctime--;
	assert_int_equal(word(NAME, id), SPOOL_NONE);
	assert_int_equal(word(NAME, id_now()), SPOOL_STORED);

	/* the same bytes under the same name, written again */
	put(source, "content", 7);
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
}

static void the_name_must_be_its_own(void **state)
{
	static const char other[] = "000000010000000000000008";
	const struct spool_status st = stored_in(2, NULL);

	write_ok(&st);
	assert_int_equal(rename(ok_path(), spool_path(arena, &spool, other, ".ok")), 0);
	assert_int_equal(word(other, id_now()), SPOOL_NONE);
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
}

static void every_repository_as_it_is_configured(void **state)
{
	const struct spool_status one = stored_in(1, NULL), two = stored_in(2, NULL);

	write_ok(&one);
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
	write_ok(&two);
	assert_int_equal(word(NAME, id_now()), SPOOL_STORED);
	configure_repos(2, "posix", "/elsewhere");
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
	configure_repos(2, "cifs", "/second");
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
	configure_repos(3, "posix", "/second");
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
	configure_repos(1, "posix", NULL);
	assert_int_equal(word(NAME, id_now()), SPOOL_STORED);
	configure_repos(0, "posix", NULL);
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
}

static void whatever_is_cut_or_damaged_is_as_absent(void **state)
{
	const struct spool_status st = stored_in(2, "text");

	write_ok(&st);
	const struct buf whole = content(ok_path());
	for (size_t len = 0; len < whole.len; len++) {
		put(ok_path(), whole.data, len);
		assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
	}
	for (size_t at = 0; at < whole.len; at++) {
		char *bad = arena_memdup(arena, whole.data, whole.len);
		bad[at] ^= 1;
		put(ok_path(), bad, whole.len);
		/* also where the first line is 1 then, as an administrator's skip could have it */
		assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
	}
	put(ok_path(), arena_printf(arena, "%s\n", whole.data), whole.len + 1);
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
	put(ok_path(), whole.data, whole.len);
	assert_int_equal(word(NAME, id_now()), SPOOL_STORED);
}

static void what_others_leave_is_as_absent(void **state)
{
	static const char *const texts[] = { "", "0", "0\n", "0\nwarning", "0\n{}\n", "\n", "\n\n", "x\ntext", "45", "45\n",
		"45\n \n", "-45\ntext", "256\ntext", "0\n{}\n01234567890123456789012345678901\n", "4 5\ntext" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put(ok_path(), texts[i], strlen(texts[i]));
		assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
	}
	put(ok_path(), "45\nte\0xt", 8);
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
	assert_int_equal(unlink(ok_path()), 0);
	assert_int_equal(dir_make(ok_path(), 0700), 0);
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
	assert_int_equal(rmdir(ok_path()), 0);
	char *big = arena_zalloc(arena, 1000000);
	put(ok_path(), big, 1000000);
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
}

static void an_administrator_may_skip(void **state)
{
	const struct err_value why = { ERR_ARCHIVE_DUPLICATE, "it is another one", "HINT: two primaries?" };
	const struct spool_id id = id_now();
	struct spool_answer said;

	assert_int_equal(spool_write_error(&spool, NAME, &why), 0);
	assert_int_equal(rename(spool_path(arena, &spool, NAME, ".error"), ok_path()), 0);
	spool_look(arena, &spool, NAME, &id, &said);
	assert_int_equal(said.word, SPOOL_SKIPPED);
	assert_int_equal(said.code, 45);
	assert_string_equal(said.text, "it is another one\nHINT: two primaries?");

	/* the file is younger than the word: it was meant for another */
	const struct timeval older[] = { { 1000, 0 }, { 1000, 0 } };
	assert_int_equal(utimes(ok_path(), older), 0);
	assert_int_equal(word(NAME, id), SPOOL_NONE);
}

static void what_was_dropped_is_said(void **state)
{
	struct spool_status st = stored_in(0, "archive queue exceeded 20MB");
	const struct spool_id id = id_now();
	struct spool_answer said;

	st.dropped = true;
	write_ok(&st);
	spool_look(arena, &spool, NAME, &id, &said);
	assert_int_equal(said.word, SPOOL_DROPPED);
	assert_string_equal(said.text, "archive queue exceeded 20MB");
	put(source, "later", 5);
	assert_int_equal(word(NAME, id_now()), SPOOL_NONE);
}

static void a_part_gives_what_is_proven(void **state)
{
	const struct spool_status one = stored_in(1, NULL), none = stored_in(0, NULL);
	struct spool_id id = id_now();
	struct spool_status st;

	assert_false(spool_read_part(arena, &spool, NAME, &id, &st));
	assert_int_equal(st.repos.n, 0);
	assert_int_equal(spool_write_part(&spool, NAME, &id, &one), 0);
	assert_int_equal(word(NAME, id), SPOOL_NONE);
	assert_true(spool_read_part(arena, &spool, NAME, &id, &st));
	assert_true(sum_equal(&st.sum, &one.sum));
	assert_int_equal(st.repos.n, 1);
	assert_string_equal(st.repos.v[0].key, "1");
	assert_int_equal(st.archives.n, 1);
	assert_string_equal(st.archives.v[0].value, "17-1");

	configure_repos(2, "cifs", "/second");
	assert_false(spool_read_part(arena, &spool, NAME, &id, &st));
	configure_repos(2, "posix", "/second");
	id.mtime++;
	assert_false(spool_read_part(arena, &spool, NAME, &id, &st));
	assert_int_equal(st.repos.n, 0);
	id.mtime--;
	assert_int_equal(spool_write_part(&spool, NAME, &id, &none), 0);
	assert_false(spool_read_part(arena, &spool, NAME, &id, &st));
}

static void an_ok_ends_part_and_error(void **state)
{
	const struct err_value why = { ERR_COMMAND, "away", "" };
	const struct spool_status one = stored_in(1, NULL), two = stored_in(2, NULL);
	struct spool_id id = id_now();

	assert_int_equal(spool_write_part(&spool, NAME, &id, &one), 0);
	assert_int_equal(spool_write_error(&spool, NAME, &why), 0);
	write_ok(&two);
	assert_false(exists(NAME, ".part"));
	assert_false(exists(NAME, ".error"));
	assert_true(exists(NAME, ".ok"));
}

static void an_error_is_told_unless_it_is_the_old_one(void **state)
{
	const struct err_value why = { ERR_ARCHIVE_DUPLICATE, "first line\nsecond", "HINT: one\nHINT: two" };
	const struct err_value bare = { ERR_COMMAND, "text", "" };
	const struct err_value *said;
	struct spool_id old;

	spool_error_id(&spool, NAME, &old);
	assert_null(spool_read_error(arena, &spool, NAME, &old));
	assert_int_equal(spool_write_error(&spool, NAME, &why), 0);
	said = spool_read_error(arena, &spool, NAME, &old);
	assert_non_null(said);
	assert_int_equal(said->code, 45);
	assert_string_equal(said->msg, why.msg);
	assert_string_equal(said->hints, why.hints);

	spool_error_id(&spool, NAME, &old);
	assert_null(spool_read_error(arena, &spool, NAME, &old));
	assert_non_null(spool_read_error(arena, &spool, NAME, NULL));
	assert_int_equal(spool_write_error(&spool, NAME, &bare), 0);
	said = spool_read_error(arena, &spool, NAME, &old);
	assert_non_null(said);
	assert_string_equal(said->hints, "");

	static const char *const bad[] = { "", "45", "45\n", "0\ntext", "text", "999\ntext" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(spool_path(arena, &spool, NAME, ".error"), bad[i], strlen(bad[i]));
		assert_null(spool_read_error(arena, &spool, NAME, NULL));
	}
	assert_int_equal(err_code(), ERR_NONE);
}

static void tidying_leaves_what_is_waited_for(void **state)
{
	static const char *const kept[] = { NAME ".ok", NAME ".part", NAME ".error", "00000002.history.ok", "notes.txt",
		"other.ok" };
	static const char *const gone[] = { "000000010000000000000006.ok", "000000010000000000000006.part",
		"000000010000000000000006.error", "00000003.history.ok", "global.error",
		NAME ".ok.4711-0badcafe.pgbackrest.tmp", "000000010000000000000006.00000028.backup.ok" };
	strvec ready;

	vec_init(&ready, arena);
	vec_push(&ready, NAME);
	vec_push(&ready, "00000002.history");
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		put(spool_path(arena, &spool, kept[i], ""), "x", 1);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		put(spool_path(arena, &spool, gone[i], ""), "x", 1);
	spool_tidy(&spool, &ready);
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		assert_true(exists(kept[i], ""));
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		assert_false(exists(gone[i], ""));
	vec_init(&ready, arena);
	spool_tidy(&spool, &ready);
	assert_false(exists(NAME, ".ok"));
	spool.dir = "/nonexistent";
	spool_tidy(&spool, &ready);
	assert_int_equal(err_code(), ERR_NONE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_ok_is_believed),
		TEST(without_a_warning_there_is_none),
		TEST(another_state_of_the_file_is_another_file),
		TEST(the_name_must_be_its_own),
		TEST(every_repository_as_it_is_configured),
		TEST(whatever_is_cut_or_damaged_is_as_absent),
		TEST(what_others_leave_is_as_absent),
		TEST(an_administrator_may_skip),
		TEST(what_was_dropped_is_said),
		TEST(a_part_gives_what_is_proven),
		TEST(an_ok_ends_part_and_error),
		TEST(an_error_is_told_unless_it_is_the_old_one),
		TEST(tidying_leaves_what_is_waited_for),
	};

	return cmocka_run_group_tests(tests, make, remove_folder);
}
