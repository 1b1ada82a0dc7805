/*
 * retention: the cases that have a sentence of their own.  Random histories are in test_retention_model.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "base/str.h"
#include "repo/retention.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DAY 86400
#define NOW INT64_C(1795175794)
#define HASH "-0123456789abcdef0123456789abcdef01234567"

struct history {
	struct arena *a;
	struct retention_policy policy;
	struct backup_info info;
};

/* Four segments to a directory, so that few names make many directories. */
static char *segment_name(struct arena *a, int64_t number)
{
	return arena_printf(a, "00000001%08X%08X", (unsigned)(number / 4), (unsigned)(number % 4));
}

/* "F0 D1 I2 F9": a backup of this type on this day; d: damaged; x: not of the cluster 1 but 2; -: offline. */
static void story(struct history *h, struct arena *a, const char *text)
{
	const char *full = NULL, *last = NULL;
	int number = 1;

	memset(h, 0, sizeof(*h));
	h->a = a;
	h->policy = (struct retention_policy){ .full = -1, .diff = -1, .archive = -1, .history = -1, .now = NOW };
	vec_init(&h->info.history, a);
	vec_init(&h->info.backups, a);
	vec_push(&h->info.history, ((struct backup_db){ .id = 1, .version = "15" }));
	vec_push(&h->info.history, ((struct backup_db){ .id = 2, .version = "16" }));
	h->info.current = 2;
	strvec words = str_split(a, text, ' ');
	for (size_t i = 0; i < words.n && *text != '\0'; i++) {
		const char *w = words.v[i];
		enum backup_type type = w[0] == 'F' ? BACKUP_FULL : w[0] == 'D' ? BACKUP_DIFF : BACKUP_INCR;
		int64_t time = NOW - 100 * DAY + strtol(w + 1, NULL, 10) * DAY;
		struct backup_line b = { .label = label_format(a, type, time, full), .start = time, .stop = time + 10,
			.db_id = strchr(w, 'x') != NULL ? 2 : 1, .error = strchr(w, 'd') != NULL };
		b.prior = type == BACKUP_FULL ? NULL : type == BACKUP_DIFF ? full : last;
		if (strchr(w, '-') == NULL) {
			b.archive_start = segment_name(a, number);
			b.archive_stop = segment_name(a, number + 1);
			number += 3;
		}
		full = type == BACKUP_FULL ? b.label : full;
		last = b.label;
		backup_info_add(&h->info, &b);
	}
}

/* Which of them stay, as '.', and go, as their type. */
static const char *outcome(struct history *h, struct retention *r)
{
	char *text = arena_zalloc(h->a, h->info.backups.n + 1);

	retention_decide(h->a, &h->policy, &h->info, r);
	for (size_t i = 0; i < r->rows.n; i++) {
		const char *label = r->rows.v[i].line->label;
		text[i] = r->rows.v[i].goes ? label[strlen(label) - 1] : '.';
	}
	return text;
}

static void test_counts(void **state)
{
	static const struct {
		const char *story;
		int64_t full, diff;
		bool days;
		const char *gone;
	} cases[] = {
		{ "", 1, 1, false, "" },
		{ "F1 F2 F3", -1, -1, false, "..." },
		{ "F1 F2 F3", 0, -1, false, "FF." },
		{ "F1 F2 F3", 1, -1, false, "FF." },
		{ "F1 F2 F3", 2, -1, false, "F.." },
		{ "F1 F2 F3", 3, -1, false, "..." },
		{ "F1 F2 F3", 4, -1, false, "..." },
		{ "F1 F2 F3", 9999999, -1, false, "..." },
		{ "F1 D2 I3 F4 I5", 1, -1, false, "FDI.." },
		{ "F1 D2 I3 D4 I5", -1, 0, false, ".DI.." },
		{ "F1 D2 I3 D4 I5", -1, 1, false, ".DI.." },
		{ "F1 D2 I3 D4 I5", -1, 2, false, "....." },
		{ "F1 I2 D3 F4", -1, 1, false, "..D." },
		{ "F1 I2 D3 F4", -1, 2, false, "...." },
		{ "F1 F50 F95", 10, -1, true, "F.." },
		{ "F1 F50 F95", 4, -1, true, "FF." },
		{ "F1 F50 F95", 5, -1, true, "F.." },
		{ "F1 F50 F95", 99, -1, true, "..." },
		{ "F1 F50 F95", 9999999, -1, true, "..." },
		{ "F1 D2 I3 F50 D51 F95", 60, -1, true, "......" },
		{ "F1 D2 I3 F50 D51 F95", 10, -1, true, "FDI..." },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct history h;
		struct retention r;

		story(&h, a, cases[i].story);
		h.policy.full = cases[i].full;
		h.policy.diff = cases[i].diff;
		h.policy.full_days = cases[i].days;
		assert_string_equal(outcome(&h, &r), cases[i].gone);
		assert_int_equal(r.verdict, RETENTION_OK);
	}
}

/* "more than N days ago": not one second less. */
static void test_limits(void **state)
{
	SCOPED_ARENA(a);
	struct history h;
	struct retention r;

	story(&h, a, "F1 F50 F95");
	h.policy.full_days = true;
	h.policy.full = 10;
	h.policy.now = h.info.backups.v[1].stop + 10 * DAY;
	assert_string_equal(outcome(&h, &r), "...");
	h.policy.now++;
	assert_string_equal(outcome(&h, &r), "F..");
	assert_false(retention_history_goes(&r, "20200101-000000F", "20200101-000000F.manifest.gz"));
	assert_true(retention_history_goes(&r, "20200101-000001F", "20200101-000000F.manifest.gz"));
}

static void test_set(void **state)
{
	static const struct {
		const char *story;
		size_t set; /* beyond: one that is not listed */
		const char *gone;
		enum retention_verdict verdict;
		bool newest;
	} cases[] = {
		{ "F1 D2 I3 F4 I5", 1, ".DI..", RETENTION_OK, false },
		{ "F1 D2 I3 F4 I5", 0, "FDI..", RETENTION_OK, false },
		{ "F1 D2 I3 F4 I5", 3, "...FI", RETENTION_OK, true },
		{ "F1 D2 I3 F4 I5", 4, "....I", RETENTION_OK, true },
		{ "F1 D2 I3 F4 I5", 9, ".....", RETENTION_UNKNOWN, false },
		{ "F1 D2", 0, "FD", RETENTION_LAST_FULL, true },
		{ "F1 F2x", 1, ".F", RETENTION_LAST_FULL, true },
		{ "F1 F2x", 0, "F.", RETENTION_OK, false },
		{ "F1d F2d", 0, "F.", RETENTION_OK, false },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct history h;
		struct retention r;

		story(&h, a, cases[i].story);
		h.policy.full = 1;
		h.policy.refuse_damaged = true;
		h.policy.set = cases[i].set < h.info.backups.n ? h.info.backups.v[cases[i].set].label : "20990101-000000F";
		assert_string_equal(outcome(&h, &r), cases[i].gone);
		assert_int_equal(r.verdict, cases[i].verdict);
		assert_int_equal(r.newest_goes, cases[i].newest);
	}
}

static void test_oldest(void **state)
{
	SCOPED_ARENA(a);
	struct history h;
	struct retention r;

	story(&h, a, "F1 D2 F3 F4 D5");
	h.policy.oldest = h.policy.full_days = true;
	h.policy.full = 1;
	h.policy.archive_type = BACKUP_INCR;
	assert_string_equal(outcome(&h, &r), "FD...");
	assert_false(r.oldest_in_vain);
	assert_false(r.policy.full_days);
	assert_int_equal(r.policy.full, 2);
	assert_int_equal(r.policy.archive, 2);
	assert_int_equal(r.policy.archive_type, BACKUP_FULL);
	story(&h, a, "F1 D2 D3");
	h.policy.oldest = true;
	h.policy.diff = 1;
	assert_string_equal(outcome(&h, &r), ".D.");
	assert_true(r.oldest_in_vain);
}

static void test_guard(void **state)
{
	static const struct {
		const char *story, *damaged;
		bool refuse;
		enum retention_verdict verdict;
	} cases[] = {
		{ "F1 F2d F3", "yes", true, RETENTION_DAMAGED }, { "F1 F2d F3", "yes", false, RETENTION_OK },
		{ "F1d F2 F3", NULL, true, RETENTION_OK },	  { "F2d F3", "yes", true, RETENTION_OK },
		{ "F1 F2 F3d", NULL, true, RETENTION_OK },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct history h;
		struct retention r;

		story(&h, a, cases[i].story);
		h.policy.full = 2;
		h.policy.refuse_damaged = cases[i].refuse;
		(void)outcome(&h, &r);
		assert_int_equal(r.verdict, cases[i].verdict);
		assert_int_equal(r.damaged != NULL, cases[i].damaged != NULL);
	}
}

/* Two backups of cluster 1, one of cluster 2: what is said of each archive. */
static void test_wal(void **state)
{
	static const struct {
		const char *story;
		int64_t archive;
		enum backup_type type;
		enum retention_wal_rule rule, first, second;
		size_t base; /* of the first archive */
	} cases[] = {
		{ "F1 F2x", -1, BACKUP_FULL, WAL_NOT_SET, 0, 0, 0 },
		{ "", 1, BACKUP_FULL, WAL_TOO_FEW, 0, 0, 0 },
		{ "F1 D2 D3", 2, BACKUP_FULL, WAL_TOO_FEW, 0, 0, 0 },
		{ "F1 D2 D3", 2, BACKUP_DIFF, WAL_RANGES, WAL_RANGES, WAL_NO_BACKUP, 1 },
		{ "F1 D2 I3", 1, BACKUP_DIFF, WAL_RANGES, WAL_RANGES, WAL_NO_BACKUP, 1 },
		{ "F1 D2 I3", 1, BACKUP_INCR, WAL_RANGES, WAL_RANGES, WAL_NO_BACKUP, 2 },
		{ "F2x F3x", 1, BACKUP_FULL, WAL_RANGES, WAL_FORMER, WAL_RANGES, 0 },
		{ "F1 F2 F3x", 1, BACKUP_FULL, WAL_RANGES, WAL_RANGES, WAL_RANGES, 1 },
		{ "F1 F2 F3x", 3, BACKUP_FULL, WAL_RANGES, WAL_RANGES, WAL_RANGES, 0 },
		{ "F1 F2- F3x", 2, BACKUP_FULL, WAL_RANGES, WAL_OFFLINE, WAL_RANGES, 1 },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct history h;
		struct retention r;
		retention_archives w;

		story(&h, a, cases[i].story);
		h.policy.archive = cases[i].archive;
		h.policy.archive_type = cases[i].type;
		(void)outcome(&h, &r);
		assert_int_equal(retention_wal(a, &r, &h.info, &w), cases[i].rule);
		assert_int_equal(w.n, cases[i].rule == WAL_RANGES ? 2 : 0);
		if (w.n == 0)
			continue;
		assert_int_equal(w.v[0].rule, cases[i].first);
		assert_int_equal(w.v[1].rule, cases[i].second);
		if (w.v[0].base != NULL)
			assert_string_equal(w.v[0].base, h.info.backups.v[cases[i].base].label);
	}
}

static void test_wal_days(void **state)
{
	SCOPED_ARENA(a);
	struct history h;
	struct retention r;
	retention_archives w;

	story(&h, a, "F1 F50 F95");
	h.policy.full_days = true;
	h.policy.full = 10;
	assert_string_equal(outcome(&h, &r), "F..");
	assert_int_equal(r.policy.archive, 2);
	assert_int_equal(retention_wal(a, &r, &h.info, &w), WAL_RANGES);
	assert_string_equal(w.v[0].base, h.info.backups.v[1].label);
	for (h.policy.full = 98; h.policy.full < 102; h.policy.full++) {
		assert_string_equal(outcome(&h, &r), "...");
		assert_int_equal(r.policy.archive, -1);
	}
	assert_int_equal(retention_wal(a, &r, &h.info, &w), WAL_DAYS_NOT_MET);
	h.policy.full_days = false;
	(void)outcome(&h, &r);
	assert_int_equal(retention_wal(a, &r, &h.info, &w), WAL_NOT_SET);
}

/* A backup that does not say clearly what it needs keeps all WAL of its cluster. */
static void test_unclear(void **state)
{
	static const char *const spoilt[][2] = { { "00000001000000000000000G", NULL }, { "", NULL }, { NULL, "" },
		{ NULL, "000000010000000000000000" }, { "000000010000000000000001.partial", NULL } };

	for (size_t i = 0; i < COUNT(spoilt); i++) {
		SCOPED_ARENA(a);
		struct history h;
		struct retention r;
		retention_archives w;

		story(&h, a, "F1 F2 F3");
		if (spoilt[i][0] != NULL)
			h.info.backups.v[i % 2].archive_start = spoilt[i][0];
		if (spoilt[i][1] != NULL)
			h.info.backups.v[0].archive_stop = spoilt[i][1];
		h.policy.archive = 2;
		(void)outcome(&h, &r);
		assert_int_equal(retention_wal(a, &r, &h.info, &w), WAL_RANGES);
		assert_int_equal(w.v[0].rule, WAL_UNCLEAR);
		assert_int_equal(w.v[0].fate, FATE_STAYS);
		assert_int_equal(retention_wal_dir(&w.v[0], "0000000100000000"), FATE_STAYS);
		assert_false(retention_wal_file_goes(&w.v[0], "000000010000000000000000" HASH));
		assert_false(retention_timeline_goes(&w.v[0], "00000000.history"));
	}
}

/* Only names that WAL has are ever chosen. */
static void test_foreign_names(void **state)
{
	static const char *const dirs[] = { "", "pgstrata", "000000000000000", "00000000000000000", "000000000000000g",
		"0000000000000000.tmp", "000000000000000G" };
	static const char *const files[] = { "", "pgstrata", "00000000000000000000000", "00000000000000000000000g",
		"0000000100000000.x" };
	static const char *const timelines[] = { "", "0000000.history", "00000000.history.tmp", "0000000g.history",
		"00000000", "000000000.history" };
	SCOPED_ARENA(a);
	struct history h;
	struct retention r;
	retention_archives w;

	story(&h, a, "F1 F2 F3");
	h.policy.archive = 1;
	(void)outcome(&h, &r);
	assert_int_equal(retention_wal(a, &r, &h.info, &w), WAL_RANGES);
	assert_int_equal(retention_wal_dir(&w.v[0], "0000000000000000"), FATE_GOES);
	assert_true(retention_wal_file_goes(&w.v[0], "000000000000000000000000-x"));
	assert_true(retention_timeline_goes(&w.v[0], "00000000.history"));
	for (size_t i = 0; i < COUNT(dirs); i++)
		assert_int_equal(retention_wal_dir(&w.v[0], dirs[i]), FATE_STAYS);
	for (size_t i = 0; i < COUNT(files); i++)
		assert_false(retention_wal_file_goes(&w.v[0], files[i]));
	for (size_t i = 0; i < COUNT(timelines); i++)
		assert_false(retention_timeline_goes(&w.v[0], timelines[i]));
}

static void test_history_names(void **state)
{
	static const char *const stay[] = { "", ".manifest.gz", "x.manifest.gz", "20200101-000000F.manifest", "latest",
		"20200101-000000F.manifest.gz.pgbackrest.tmp", "20200101-000000F_20200102-000000X.manifest.gz",
		"20990101-000000F.manifest.gz" };
	static const char *const years[] = { "", "1999", "199", "20255", "x", "3000", "backup" };
	SCOPED_ARENA(a);
	struct history h;
	struct retention r;
	const char *limit;

	story(&h, a, "F1 F2");
	h.policy.history = 0;
	(void)outcome(&h, &r);
	limit = retention_history_limit(a, &h.policy);
	assert_string_equal(limit, "20261120-115634F");
	assert_true(retention_history_goes(&r, limit, "20200101-000000F.manifest.gz"));
	assert_true(retention_history_goes(&r, limit, "20200101-000000F_20200102-000000D.manifest.gz"));
	assert_false(retention_history_goes(&r, limit, arena_printf(a, "%s.manifest.gz", r.rows.v[0].line->label)));
	for (size_t i = 0; i < COUNT(stay); i++)
		assert_false(retention_history_goes(&r, limit, stay[i]));
	for (size_t i = 0; i < COUNT(years); i++)
		assert_int_equal(retention_history_year(limit, years[i]), FATE_STAYS);
	assert_int_equal(retention_history_year(limit, "2025"), FATE_GOES);
	assert_int_equal(retention_history_year(limit, "2026"), FATE_MIXED);
	assert_int_equal(retention_history_year(limit, "2027"), FATE_STAYS);
	/* so long ago that no label can say it: nothing goes */
	h.policy.history = 9999999;
	assert_null(retention_history_limit(a, &h.policy));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_oldest),
		cmocka_unit_test(test_guard),
		cmocka_unit_test(test_wal),
		cmocka_unit_test(test_wal_days),
		cmocka_unit_test(test_unclear),
		cmocka_unit_test(test_foreign_names),
		cmocka_unit_test(test_history_names),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("retention", tests, NULL, NULL);
}
