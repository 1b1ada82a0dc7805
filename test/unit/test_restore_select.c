/*
 * restore_select: which backup of which repository is taken, on real repositories with nothing but their index
 * (format/repository.md 12.1, behaviours.md 8.2).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <time.h>
#include "cmd/restore_intern.h"
#include "config_fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DAY 1795132800 /* 2026-11-20 00:00:00 UTC */

/* A backup ends at DAY + stop seconds; its label has the number of a day of November. */
struct backup {
	unsigned repo, day;
	int64_t stop;
	const char *lsn; /* NULL: offline */
	unsigned db;	 /* 2 is the current one */
};

/* repo1 has been failing since its third backup; repo2 is newer; the last of repo2 ends when that of repo3 does;
 * 15 is the copy of a standby on another timeline, behind in LSN; 16 is offline. */
static const struct backup backups[] = {
	{ 1, 9, 50, "0/9000000", 1 },
	{ 1, 10, 100, "0/2000100", 2 },
	{ 1, 11, 200, "0/4000000", 2 },
	{ 1, 12, 300, "0/6000000", 2 },
	{ 2, 12, 310, "0/6100000", 2 },
	{ 2, 13, 400, "0/7000000", 2 },
	{ 2, 14, 500, "A/0", 2 },
	{ 3, 14, 500, "A/0", 2 },
	{ 3, 15, 350, "0/5000000", 2 },
	{ 3, 16, 450, NULL, 2 },
};

struct fixture {
	struct arena *a;
	char top[64];
};

static const char *repo_path(struct fixture *f, unsigned key)
{
	return arena_printf(f->a, "%s/r%u", f->top, key);
}

static struct backup_line line_of(struct arena *a, const struct backup *b)
{
	struct backup_line l = { .label = arena_printf(a, "202611%02u-120000F", b->day), .format = 5,
		.program = "2.60", .type = "full", .start = DAY + b->stop - 10, .stop = DAY + b->stop,
		.db_id = b->db, .online = b->lsn != NULL, .lsn_stop = b->lsn };

	if (b->lsn != NULL) {
		l.lsn_start = "0/1000000";
		l.archive_start = l.archive_stop = "000000010000000000000001";
	}
	vec_init(&l.annotations, a);
	vec_init(&l.reference, a);
	return l;
}

static void make_repo(struct fixture *f, unsigned key)
{
	struct backup_info info = { .current = 2 };
	struct store *s = store_posix(f->a, repo_path(f, key));

	vec_init(&info.history, f->a);
	vec_init(&info.backups, f->a);
	for (unsigned id = 1; id <= 2; id++)
		vec_push(&info.history, ((struct backup_db){ id, 7000 + id, id == 1 ? "14" : "15", 1300, 202209061 }));
	for (size_t i = 0; i < COUNT(backups); i++) {
		if (backups[i].repo != key)
			continue;
		struct backup_line l = line_of(f->a, &backups[i]);
		backup_info_add(&info, &l);
	}
	if (backup_info_save(s, "main", NULL, &info) != 0)
		fail_msg("%s", err_msg());
}

static int setup(void **state)
{
	struct arena *a = arena_new();
	struct fixture *f = arena_new_object(a, struct fixture);

	f->a = a;
	strncpy(f->top, "/tmp/pgstrata-select-XXXXXX", sizeof(f->top) - 1);
	if (mkdtemp(f->top) == NULL)
		return -1;
	setenv("TZ", "UTC", 1);
	tzset();
	for (unsigned key = 1; key <= 3; key++)
		make_repo(f, key);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int rc = system(arena_printf(f->a, "rm -rf '%s'", f->top));

	arena_free(f->a);
	return rc;
}

/* "repo2 14", or "[code] message and hints"; what is said on stderr is appended behind " | ". */
static const char *select_text(struct fixture *f, const char *repos, const char *words)
{
	struct buf line;
	int said = open_unnamed(), err = dup(2);

	buf_init(&line, f->a);
	buf_adds(&line, "pgstrata restore --stanza=main --pg1-path=/pg ");
	for (; *repos != '\0'; repos++)
		buf_addf(&line, "--repo%c-path=%s ", *repos, repo_path(f, (unsigned)(*repos - '0')));
	buf_adds(&line, words);
	struct loaded l = load_words(line.data, NULL, NULL);
	if (l.cfg == NULL)
		fail_msg("%s: %s", line.data, l.message);
	struct restore r = { .arena = f->a, .cfg = l.cfg, .type = l.cfg->type };
	dup2(said, 2);
	int rc = restore_select(&r);
	dup2(err, 2);
	close(err);
	const char *text = rc == 0 ? arena_printf(f->a, "repo%u %.2s", r.repo->key, r.line->label + 6) :
		arena_printf(f->a, "[%d] %s%s%s", err_code(), err_msg(), *err_hints() == '\0' ? "" : "\n",
			err_hints());
	err_clear();
	const char *warned = read_all(f->a, said);
	close(said);
	arena_free(l.arena);
	return *warned == '\0' ? text : arena_printf(f->a, "%s | %s", text, warned);
}

struct request {
	const char *repos, *words, *expected;
};

static void check_all(struct fixture *f, const struct request *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *text = select_text(f, cases[i].repos, cases[i].words);
		if (strcmp(text, cases[i].expected) != 0)
			print_message("# repositories %s: %s\n", cases[i].repos, cases[i].words);
		assert_string_equal(text, cases[i].expected);
	}
}

static void takes_the_newest_of_all(void **state)
{
	static const struct request cases[] = {
		{ "1", "", "repo1 12" },
		{ "12", "", "repo2 14" },
		{ "13", "", "repo3 14" },
		{ "123", "", "repo2 14" }, /* a tie: the lower key */
		{ "123", "--repo=1", "repo1 12" },
		{ "123", "--repo=3", "repo3 14" },
		{ "123", "--set=latest", "repo2 14" },
		{ "123", "--type=immediate", "repo2 14" },
		{ "123", "--type=standby", "repo2 14" },
		{ "123", "--type=preserve", "repo2 14" },
		{ "123", "--type=none", "repo2 14" },
		{ "123", "--type=xid --target=5", "repo2 14" },
		{ "123", "--type=name --target=x", "repo2 14" },
		{ "123", "--set=20261112-120000F", "repo1 12" }, /* both have it: the first */
		{ "123", "--set=20261115-120000F", "repo3 15" },
		{ "123", "--set=20261109-120000F", "repo1 09" }, /* of the old cluster */
		{ "123", "--set=20261101-120000F", "[75] backup set 20261101-120000F is not valid\n"
			"HINT: use the info command to see which backups exist." },
		{ "123", "--set=../main", "[75] backup set ../main is not valid\n"
			"HINT: use the info command to see which backups exist." },
	};

	check_all(*state, cases, COUNT(cases));
}

/* DAY is midnight: 00:05:00 is second 300. */
static void takes_what_ended_before_a_time(void **state)
{
	static const struct request cases[] = {
		{ "1", "--type=time --target=2026-11-20~00:05:00+00", "repo1 11" },
		{ "1", "--type=time --target=2026-11-20~00:05:00.999+00", "repo1 11" },
		{ "1", "--type=time --target=2026-11-20~00:05:01+00", "repo1 12" },
		{ "1", "--type=time --target=2026-11-20~01:05:01+01", "repo1 12" },
		{ "1", "--type=time --target=2026-11-20~00:05:01", "repo1 12" },
		{ "123", "--type=time --target=2026-11-20~00:05:05+00", "repo1 12" },
		{ "123", "--type=time --target=2026-11-20~00:05:11+00", "repo2 12" },
		{ "123", "--type=time --target=2026-11-20~00:05:51+00", "repo3 15" },
		{ "123", "--type=time --target=2026-11-20~00:06:41+00", "repo2 13" },
		{ "123", "--type=time --target=2026-11-20~00:08:00+00", "repo3 16" },
		{ "123", "--type=time --target=2030-01-01~00:00:00+00", "repo2 14" },
		{ "123", "--set=latest --type=time --target=2026-11-20~00:05:05+00", "repo1 12" },
		{ "1", "--type=time --target=2026-11-20~00:01:00+00", "repo1 09" }, /* a time of the old cluster */
		/* with --set PostgreSQL alone judges the time */
		{ "12", "--type=time --target=tomorrow --set=20261113-120000F", "repo2 13" },
		{ "12", "--type=time --target=tomorrow",
		  "[29] automatic backup set selection cannot be performed with provided time 'tomorrow'\n"
			"HINT: time format must be YYYY-MM-DD HH:MM:SS with optional msec and optional timezone "
			"(+/- HH or HHMM or HH:MM) - if timezone is omitted, local time is assumed (for UTC use +00)" },
	};

	check_all(*state, cases, COUNT(cases));
}

static void takes_what_ended_up_to_an_lsn(void **state)
{
	static const struct request cases[] = {
		{ "1", "--type=lsn --target=0/2000100", "repo1 10" },
		{ "1", "--type=lsn --target=0/5FFFFFF", "repo1 11" },
		{ "1", "--type=lsn --target=0/6000000", "repo1 12" },
		{ "12", "--type=lsn --target=0/60fffff", "repo1 12" },
		{ "12", "--type=lsn --target=0/6100000", "repo2 12" },
		{ "12", "--type=lsn --target=9/FFFFFFFF", "repo2 13" }, /* 64 bits, no text */
		{ "123", "--type=lsn --target=A/0", "repo2 14" },
		{ "123", "--type=lsn --target=0/6000000", "repo3 15" }, /* the newest, not the nearest */
		{ "3", "--type=lsn --target=B/0", "repo3 14" }, /* the one without LSN ends no search */
		{ "123", "--type=lsn --target=0/0 --set=20261113-120000F", "repo2 13" },
		{ "1", "--type=lsn --target=000100", "[29] lsn requires two parts" },
		{ "1", "--type=lsn --target=0/1/2", "[29] lsn requires two parts" },
		{ "1", "--type=lsn --target=0/xyz", "[29] lsn requires two parts of 1 to 8 hexadecimal digits, but the "
			"target is '0/xyz'" },
		{ "1", "--type=lsn --target=/ --set=20261113-120000F", "[29] lsn requires two parts of 1 to 8 "
			"hexadecimal digits, but the target is '/'" },
	};

	check_all(*state, cases, COUNT(cases));
}

/* Nothing fits: the message says what there is. */
static void names_the_windows(void **state)
{
	static const struct request cases[] = {
		{ "23", "--type=time --target=2026-11-20~00:05:10+00",
		  "[75] unable to find backup set with stop time less than '2026-11-20 00:05:10+00'\n"
			"backups end at: repo2 2026-11-20 00:05:10+00 (20261112-120000F) ... "
			"2026-11-20 00:08:20+00 (20261114-120000F)\n"
			"backups end at: repo3 2026-11-20 00:05:50+00 (20261115-120000F) ... "
			"2026-11-20 00:08:20+00 (20261114-120000F)\n"
			"HINT: the earliest time that can be reached is '2026-11-20 00:05:11+00'." },
		{ "23", "--type=time --target=2026-11-20~00:05:11+00", "repo2 12" }, /* as the hint says */
		{ "23", "--type=lsn --target=0/4FFFFFF",
		  "[75] unable to find backup set with lsn less than or equal to '0/4FFFFFF'\n"
			"backups end at: repo2 0/6100000 (20261112-120000F) ... A/0 (20261114-120000F)\n"
			"backups end at: repo3 0/5000000 (20261115-120000F) ... A/0 (20261114-120000F)\n"
			"HINT: the lowest lsn that can be reached is 0/5000000." },
		{ "23", "--type=lsn --target=0/5000000", "repo3 15" },
	};

	check_all(*state, cases, COUNT(cases));
}

static void put_info(struct fixture *f, unsigned key, const char *text)
{
	struct store *s = store_posix(f->a, repo_path(f, key));
	static const char *const names[] = { "backup/main/backup.info", "backup/main/backup.info.copy" };

	for (size_t i = 0; i < 2; i++)
		assert_int_equal(store_write(s, names[i], text, strlen(text), NULL), 0);
}

static void names_unreadable_repositories(void **state)
{
	struct fixture *f = *state;

	put_info(f, 4, "rubbish");
	const char *text = select_text(f, "14", "");
	if (strncmp(text, "repo1 12 | WARN: repo4: [", 25) != 0)
		fail_msg("%s", text);
	text = select_text(f, "41", "--type=time --target=2026-11-20~00:00:01+00");
	if (strstr(text, "WARN: repo4: [") == NULL ||
		strstr(text, "[75] unable to find backup set with stop time less than") != text ||
		strstr(text, "\nbackups end at: repo1 2026-11-20 00:00:50+00 (20261109-120000F) ... ") == NULL ||
		strstr(text, "\nHINT: 1 repository(s) could not be read, see the warnings above.") == NULL)
		fail_msg("%s", text);
	text = select_text(f, "15", "");
	assert_string_equal(text, "repo1 12 | WARN: repo5: [BackupSetInvalidError] no backup sets to restore\n");
	text = select_text(f, "5", "");
	if (strstr(text, "[75] no backup set found to restore\n") != text)
		fail_msg("%s", text);
}

/* One offline backup, and one of the cluster before the last upgrade. */
static void knows_old_clusters_and_offline_backups(void **state)
{
	struct fixture *f = *state;
	static const struct backup offline = { 6, 20, 600, NULL, 2 }, old = { 7, 21, 700, "0/1000000", 1 };
	static const struct request cases[] = {
		{ "6", "", "repo6 20" },
		{ "6", "--type=lsn --target=F/0",
		  "[75] unable to find backup set with lsn less than or equal to 'F/0'\n"
			"repo6 has no backup that knows its stop lsn\n"
			"HINT: use the info command to see which backups exist." },
		{ "7", "", "[75] the latest backup set found '20261121-120000F' is from a prior version of PostgreSQL\n"
			"HINT: was a backup created after the stanza-upgrade?\n"
			"HINT: specify --set=20261121-120000F to restore from a prior version of PostgreSQL." },
		{ "7", "--type=lsn --target=0/5000000", "[75] the latest backup set found '20261121-120000F' is from a "
			"prior version of PostgreSQL\nHINT: was a backup created after the stanza-upgrade?\n"
			"HINT: specify --set=20261121-120000F to restore from a prior version of PostgreSQL." },
		{ "7", "--type=time --target=2027-01-01~00:00:00", "repo7 21" },
		{ "7", "--set=20261121-120000F", "repo7 21" },
	};
	const struct backup *all[] = { &offline, &old };

	for (size_t i = 0; i < 2; i++) {
		struct backup_info info = { .current = 2 };
		struct backup_line l = line_of(f->a, all[i]);
		vec_init(&info.history, f->a);
		vec_init(&info.backups, f->a);
		vec_push(&info.history, ((struct backup_db){ 1, 7001, "14", 1300, 202107181 }));
		vec_push(&info.history, ((struct backup_db){ 2, 7002, "15", 1300, 202209061 }));
		backup_info_add(&info, &l);
		assert_int_equal(backup_info_save(store_posix(f->a, repo_path(f, all[i]->repo)), "main", NULL, &info), 0);
	}
	check_all(f, cases, COUNT(cases));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_the_newest_of_all),
		cmocka_unit_test(takes_what_ended_before_a_time),
		cmocka_unit_test(takes_what_ended_up_to_an_lsn),
		cmocka_unit_test(names_the_windows),
		cmocka_unit_test(names_unreadable_repositories),
		cmocka_unit_test(knows_old_clusters_and_offline_backups),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
