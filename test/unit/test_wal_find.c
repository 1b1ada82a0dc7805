/*
 * wal_find: names, holes, ends, waiting.
 */
#include "wal_fixture.h"

#define SHA_A "-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static int is_hole(struct arena *a, struct store *s, const char *segment, uint32_t segment_size,
	const char **evidence)
{
	size_t at;

	return wal_is_hole(a, &PLACE(s), 1, segment, segment_size, evidence, &at);
}

static void names(void **state)
{
	static const struct {
		const char *entry;
		bool as_segment, as_partial;
		enum codec codec;
	} cases[] = {
		{NAME5 SHA_A, true, false, CODEC_NONE},
		{NAME5 SHA_A ".gz", true, false, CODEC_GZ},
		{NAME5 SHA_A ".zst", true, false, CODEC_ZST},
		{NAME5 SHA_A ".lz4", true, false, CODEC_LZ4},
		{NAME5 SHA_A ".bz2", true, false, CODEC_BZ2},
		{NAME5 ".partial" SHA_A ".gz", false, true, CODEC_GZ},
		{NAME5 SHA_A ".gz.123-0a1b2c3d.pgbackrest.tmp", false, false, CODEC_NONE},
		{NAME5 SHA_A ".pgbackrest.tmp", false, false, CODEC_NONE},
		{NAME5 SHA_A ".bak", false, false, CODEC_NONE},
		{NAME5 "-aaaa", false, false, CODEC_NONE},
		{NAME5, false, false, CODEC_NONE},
		{NAME5 "-gggggggggggggggggggggggggggggggggggggggg", false, false, CODEC_NONE},
		{NAME5 ".00000028.backup", false, false, CODEC_NONE},
		{"000000010000000000000006" SHA_A, false, false, CODEC_NONE},
		{"00000001000000000000000500" SHA_A, false, false, CODEC_NONE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SCOPED_ARENA(a);
		struct store *s = store_mem(a);
		wal_files found;
		must_write(s, path_join(a, DIR1, cases[i].entry), "x", 1);
		assert_int_equal(wal_find(a, &PLACE(s), NAME5, &found), 0);
		assert_int_equal(found.n, cases[i].as_segment);
		if (found.n == 1)
			assert_int_equal(found.v[0].codec, cases[i].codec);
		assert_int_equal(wal_find(a, &PLACE(s), NAME5 ".partial", &found), 0);
		assert_int_equal(found.n, cases[i].as_partial);
		/* another history id of the stanza is another archive */
		assert_int_equal(wal_find(a, &(struct wal_place){s, STANZA, "15-2", NULL}, NAME5, &found), 0);
		assert_int_equal(found.n, 0);
	}
}

static void exact_names(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	wal_files found;

	must_write(s, "archive/demo/15-1/00000002.history", "x", 1);
	must_write(s, DIR1 NAME5 ".00000028.backup", "x", 1);
	assert_int_equal(wal_find(a, &PLACE(s), "00000002.history", &found), 0);
	assert_int_equal(found.n, 1);
	assert_true(found.v[0].plain_name);
	assert_int_equal(wal_find(a, &PLACE(s), NAME5 ".00000028.backup", &found), 0);
	assert_int_equal(found.n, 1);
	assert_int_equal(wal_find(a, &PLACE(s), "00000003.history", &found), 0);
	assert_int_equal(found.n, 0);
}

static void unknown_is_not_absent(void **state)
{
	SCOPED_ARENA(a);
	struct store_fault f = {"list", 1, true, 0}, g = {"stat", 1, true, 0};
	struct store *s = store_mem(a);
	const char *evidence, *min, *max;
	wal_files found;

	must_fail(wal_find(a, &PLACE(store_faulty(a, s, &f)), NAME5, &found), ERR_FILE_READ,
		"injected");
	must_fail(wal_find(a, &PLACE(store_faulty(a, s, &g)), "00000002.history", &found),
		ERR_FILE_READ, "injected");
	must_fail(is_hole(a, store_faulty(a, s, &f), NAME5, SEG, &evidence),
		ERR_FILE_READ, "injected");
	must_fail(wal_min_max(a, &PLACE(store_faulty(a, s, &f)), &min, &max), ERR_FILE_READ,
		"injected");
	/* what we cannot expand is not absent */
	must_write(s, DIR1 NAME5 SHA_A ".xz", "x", 1);
	must_fail(wal_find(a, &PLACE(s), NAME5, &found), ERR_FEATURE, "xz");
	/* nor is what cannot be a segment, but has its name */
	must_write(s, DIR1 "000000010000000000000007" SHA_A "/x", "x", 1);
	must_fail(wal_find(a, &PLACE(s), "000000010000000000000007", &found), ERR_FORMAT,
		"directory");
}

struct hole_case {
	const char *what;
	const char *files[4];	/* below the archive id */
	const char *history[3]; /* name, text */
	int hole;
	const char *evidence;
};

static void try_holes(const char *segment, const struct hole_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		SCOPED_ARENA(a);
		struct store *s = store_mem(a);
		const char *evidence;
		for (size_t k = 0; cases[i].files[k] != NULL; k++)
			must_write(s, path_join(a, "archive/demo/15-1", cases[i].files[k]), "x", 1);
		if (cases[i].history[0] != NULL)
			must_write(s, path_join(a, "archive/demo/15-1", cases[i].history[0]),
				cases[i].history[1], strlen(cases[i].history[1]));
		int rc = is_hole(a, s, segment, SEG, &evidence);
		if (rc != cases[i].hole)
			fail_msg("%s: %d %s", cases[i].what, rc, err_msg());
		if (cases[i].evidence == NULL)
			assert_null(evidence);
		else
			assert_string_equal(evidence, cases[i].evidence);
	}
}

/* Segment 5 of timeline 1 is not there: is it a hole?  LSNs with segments of 1 MiB: 5 is 0/500000
 * on. */
static void holes(void **state)
{
	static const struct hole_case cases[] = {
		{"empty archive", {NULL}, {NULL}, 0, NULL},
		{"end of archive", {"0000000100000000/000000010000000000000004" SHA_A}, {NULL}, 0,
			NULL},
		{"later in the directory",
			{"0000000100000000/000000010000000000000006" SHA_A ".gz"}, {NULL}, 1,
			"000000010000000000000006"},
		{"later in a later directory", {"0000000100000001/000000010000000100000000" SHA_A},
			{NULL}, 1, "000000010000000100000000"},
		{"a later partial", {"0000000100000000/000000010000000000000006.partial" SHA_A},
			{NULL}, 1, "000000010000000000000006.partial"},
		{"its own partial", {"0000000100000000/000000010000000000000005.partial" SHA_A},
			{NULL}, 0, NULL},
		{"a later one, unfinished",
			{"0000000100000000/000000010000000000000006" SHA_A
			 ".1-00000000.pgbackrest.tmp"},
			{NULL}, 0, NULL},
		{"another timeline went on", {"0000000200000000/000000020000000000000006" SHA_A},
			{NULL}, 0, NULL},
		{"child leaves later", {NULL}, {"00000002.history", "1\t0/600100\tx\n"}, 1,
			"00000002.history"},
		{"child leaves at the end", {NULL}, {"00000002.history", "1\t0/600000\tx\n"}, 1,
			"00000002.history"},
		{"child leaves before", {NULL}, {"00000002.history", "1\t0/4FFFF8\tx\n"}, 0, NULL},
		{"child leaves at its first byte", {NULL}, {"00000002.history", "1\t0/500000\tx\n"},
			0, NULL},
		{"child leaves within, its copy is missing", {NULL},
			{"00000002.history", "1\t0/500100\tx\n"}, 1, "00000002.history"},
		{"child leaves within, its copy is there",
			{"0000000200000000/000000020000000000000005" SHA_A},
			{"00000002.history", "1\t0/500100\tx\n"}, 0, NULL},
		{"only the copy's partial is there",
			{"0000000200000000/000000020000000000000005.partial" SHA_A},
			{"00000002.history", "1\t0/500100\tx\n"}, 1, "00000002.history"},
		{"grandchild's line leaves later", {NULL},
			{"00000003.history", "1\t0/700100\tx\n2\t0/900000\ty\n"}, 1,
			"00000003.history"},
		{"grandchild later, child's copy missing", {NULL},
			{"00000003.history", "1\t0/500100\tx\n2\t0/900000\ty\n"}, 1,
			"00000003.history"},
		{"grandchild later, child's copy there",
			{"0000000200000000/000000020000000000000005" SHA_A},
			{"00000003.history", "1\t0/500100\tx\n2\t0/900000\ty\n"}, 0, NULL},
		{"grandchild within, its copy there",
			{"0000000300000000/000000030000000000000005" SHA_A},
			{"00000003.history", "1\t0/500100\tx\n2\t0/500200\ty\n"}, 0, NULL},
		{"a line that does not come from us", {NULL},
			{"00000004.history", "3\t0/900000\tx\n"}, 0, NULL},
	};

	try_holes(NAME5, cases, sizeof(cases) / sizeof(cases[0]));
}

/* Segment 5 of timeline 3 is not there, and its history says that it begins in it. */
static void births(void **state)
{
	static const struct hole_case cases[] = {
		{"no ancestor has it", {NULL},
			{"00000003.history", "1\t0/300100\tx\n2\t0/500100\ty\n"}, 0, NULL},
		{"its parent has it", {"0000000200000000/000000020000000000000005" SHA_A},
			{"00000003.history", "1\t0/300100\tx\n2\t0/500100\ty\n"}, 1,
			"00000003.history"},
		{"it begins with the segment", {"0000000200000000/000000020000000000000005" SHA_A},
			{"00000003.history", "1\t0/300100\tx\n2\t0/500000\ty\n"}, 1,
			"00000003.history"},
		{"its parent has only a partial",
			{"0000000200000000/000000020000000000000005.partial" SHA_A},
			{"00000003.history", "1\t0/300100\tx\n2\t0/500100\ty\n"}, 0, NULL},
		{"an ancestor left earlier has it",
			{"0000000100000000/000000010000000000000005" SHA_A},
			{"00000003.history", "1\t0/300100\tx\n2\t0/500100\ty\n"}, 0, NULL},
		{"an ancestor left in it has it",
			{"0000000100000000/000000010000000000000005" SHA_A},
			{"00000003.history", "1\t0/500080\tx\n2\t0/500100\ty\n"}, 1,
			"00000003.history"},
		{"recovery had ended before the parent began",
			{"0000000100000000/000000010000000000000005" SHA_A},
			{"00000003.history", "1\t0/700000\tx\n2\t0/500100\ty\n"}, 1,
			"00000003.history"},
		{"it begins earlier", {"0000000200000000/000000020000000000000005" SHA_A},
			{"00000003.history", "1\t0/300100\tx\n2\t0/400100\ty\n"}, 0, NULL},
	};

	try_holes("000000030000000000000005", cases, sizeof(cases) / sizeof(cases[0]));
}

static void damaged_history_is_unknown(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	const char *evidence;

	must_write(s, "archive/demo/15-1/00000002.history", "rubbish\n", 8);
	must_fail(is_hole(a, s, NAME5, SEG, &evidence), ERR_FORMAT,
		"00000002.history");
	/* an older timeline's file has no say */
	assert_int_equal(
		is_hole(a, s, "000000030000000000000005", SEG, &evidence), 0);
	must_fail(is_hole(a, s, "0000000100000000FFFFFFFF", SEG, &evidence),
		ERR_FORMAT, "FFFFFFFF");
}

/* The usual end of an archive must not cost a listing of all of it. */
static void end_is_cheap(void **state)
{
	SCOPED_ARENA(a);
	struct store_fault f = {"list", 0, false, 0};
	struct store *s = store_mem(a);
	const char *evidence;

	for (unsigned i = 0; i < 5; i++)
		must_write(s,
			arena_printf(a, "archive/demo/15-1/00000001%08X/00000001%08X00000000" SHA_A,
				i, i),
			"x", 1);
	assert_int_equal(is_hole(a, store_faulty(a, s, &f), "000000010000000400000001", SEG, &evidence),
		0);
	/* the notes of dropped WAL, the archive, one directory */
	assert_int_equal(f.calls, 3);
}

static void another_archive_fills_the_hole(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a), *t = store_mem(a);
	const struct wal_place places[] = {PLACE(s), PLACE(t)};
	const char *evidence;
	size_t at;

	must_write(s, "archive/demo/15-1/00000002.history", "1\t0/500100\tx\n", 13);
	assert_int_equal(wal_is_hole(a, places, 2, NAME5, SEG, &evidence, &at), 1);
	must_write(t, "archive/demo/15-1/0000000200000000/000000020000000000000005" SHA_A, "x", 1);
	assert_int_equal(wal_is_hole(a, places, 2, NAME5, SEG, &evidence, &at), 0);
}

static void ends(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	const char *min, *max;

	assert_int_equal(wal_min_max(a, &PLACE(s), &min, &max), 0);
	assert_null(min);
	assert_null(max);
	must_write(s, "archive/demo/15-1/0000000100000000/000000010000000000000003.00000028.backup",
		"x", 1);
	must_write(s, "archive/demo/15-1/0000000100000001/000000010000000100000004" SHA_A ".gz",
		"x", 1);
	must_write(s, "archive/demo/15-1/0000000100000001/000000010000000100000005" SHA_A ".gz",
		"x", 1);
	must_write(s, "archive/demo/15-1/0000000200000001/000000020000000100000005" SHA_A ".gz",
		"x", 1);
	must_write(s, "archive/demo/15-1/0000000200000002/000000020000000200000005.partial" SHA_A,
		"x", 1);
	assert_int_equal(wal_min_max(a, &PLACE(s), &min, &max), 0);
	assert_string_equal(min, "000000010000000100000004");
	assert_string_equal(max, "000000020000000100000005");
}

static void waiting(void **state)
{
	SCOPED_ARENA(a);
	const struct wal_expect expect = {VERSION, SYSTEM_ID, SEG};
	char *dir = host_dir(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_ZST};
	struct store *s = store_mem(a);
	uint8_t *seg = make_segment(a, 1, 5, 1);
	struct wal_file found;

	must_fail(wal_wait(a, &PLACE(s), NAME5, &expect, 0, &found), ERR_ARCHIVE_TIMEOUT,
		"WAL segment " NAME5 " was not archived before the 0ms timeout");
	assert_int_equal(push_one(a, &p, NAME5, seg, SEG, s), 0);
	assert_int_equal(wal_wait(a, &PLACE(s), NAME5, &expect, 0, &found), 0);
	assert_string_equal(found.path, stored_file(a, s, NAME5).path);
	/* a name is no proof */
	must_write(s, found.path, "x", 1);
	must_fail(wal_wait(a, &PLACE(s), NAME5, &expect, 30, &found), ERR_ARCHIVE_TIMEOUT,
		"30ms timeout\n[");
	/* nor are two files one */
	must_write(s, DIR1 NAME5 SHA_B, "x", 1);
	must_fail(wal_wait(a, &PLACE(s), NAME5, &expect, 30, &found), ERR_ARCHIVE_TIMEOUT,
		"duplicates");
	host_remove(dir);
}

static struct arena *late_arena;
static const char *late_dir;

static void arrive(struct store *s)
{
	const struct pushing p = {.dir = late_dir, .codec = CODEC_GZ};

	s->driver = meddler.real;
	assert_int_equal(
		push_one(late_arena, &p, NAME5, make_segment(late_arena, 1, 5, 1), SEG, s), 0);
}

static void waiting_is_rewarded(void **state)
{
	SCOPED_ARENA(a);
	const struct wal_expect expect = {VERSION, SYSTEM_ID, SEG};
	struct store *s = store_mem(a);
	struct wal_file found;

	late_arena = a;
	late_dir = host_dir(a);
	meddle_with(s, 3, arrive);
	assert_int_equal(wal_wait(a, &PLACE(s), NAME5, &expect, 20000, &found), 0);
	assert_int_equal(found.codec, CODEC_GZ);
	host_remove(late_dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(exact_names),
		cmocka_unit_test(unknown_is_not_absent),
		cmocka_unit_test(holes),
		cmocka_unit_test(births),
		cmocka_unit_test(damaged_history_is_unknown),
		cmocka_unit_test(end_is_cheap),
		cmocka_unit_test(another_archive_fills_the_hole),
		cmocka_unit_test(ends),
		cmocka_unit_test(waiting),
		cmocka_unit_test(waiting_is_rewarded),
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
