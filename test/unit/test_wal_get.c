/*
 * wal_get: only proven bytes, and "absent" only when it is proven (lessons P2).
 */
#include "wal_fixture.h"

#include <errno.h>
#include "base/sys.h"

#define NAME4 "000000010000000000000004"
#define NAME6 "000000010000000000000006"
#define OLD "what was there before"

static char *dir, *dest_dir, *dest; /* of the host, for the whole run */

static const enum codec codecs[] = {CODEC_NONE, CODEC_ZST, CODEC_LZ4, CODEC_GZ};
#define N_CODECS (sizeof(codecs) / sizeof(codecs[0]))

static void push(struct arena *a, struct store *s, const char *name, const void *data, size_t len,
	enum codec codec)
{
	const struct pushing p = {.dir = dir, .codec = codec};

	assert_int_equal(push_one(a, &p, name, data, len, s), 0);
}

/* An archive with segments 4 to 6. */
static struct store *archive(struct arena *a, enum codec codec)
{
	struct store *s = store_mem(a);

	push(a, s, NAME4, make_segment(a, 1, 4, 4), SEG, codec);
	push(a, s, NAME5, make_segment(a, 1, 5, 5), SEG, codec);
	push(a, s, NAME6, make_segment(a, 1, 6, 6), SEG, codec);
	return s;
}

static void fresh_dest(void)
{
	assert_int_equal(file_replace(dest, OLD, strlen(OLD), 0600), 0);
}

/* After anything but WAL_GOT: dest is as it was, and nothing temporary is left. */
static void untouched(struct arena *a)
{
	assert_true(host_has(a, dest, OLD, strlen(OLD)));
	assert_int_equal(host_count(a, dest_dir), 1);
}

static void delivered(struct arena *a, const void *data, size_t len)
{
	assert_true(host_has(a, dest, data, len));
	assert_int_equal(host_count(a, dest_dir), 1);
}

static struct wal_get_repo repo_of(struct arena *a, unsigned key, struct store *s)
{
	struct wal_place place = PLACE(s);

	return (struct wal_get_repo){
		.key = key, .places = arena_memdup(a, &place, sizeof(place)), .n = 1};
}

static void sound(void **state)
{
	for (size_t i = 0; i < N_CODECS; i++) {
		SCOPED_ARENA(a);
		struct store *s = archive(a, codecs[i]);
		fresh_dest();
		assert_int_equal(get_one(a, dest, NAME5, s), WAL_GOT);
		delivered(a, make_segment(a, 1, 5, 5), SEG);
		fresh_dest();
		/* the end of the archive */
		assert_int_equal(get_one(a, dest, "000000010000000000000007", s), WAL_ABSENT);
		assert_int_equal(get_one(a, dest, "000000020000000000000005", s), WAL_ABSENT);
		assert_int_equal(get_one(a, dest, "00000002.history", s), WAL_ABSENT);
		assert_int_equal(get_one(a, dest, NAME5 ".partial", s), WAL_ABSENT);
		assert_int_equal(get_one(a, dest, NAME5 ".00000028.backup", s), WAL_ABSENT);
		untouched(a);
		must_fail(get_one(a, dest, "archive.info", s), ERR_PARAM_INVALID, "archive.info");
	}
}

static void partial_only_by_name(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);

	push(a, s, NAME5 ".partial", make_segment(a, 1, 5, 5), SEG, CODEC_ZST);
	fresh_dest();
	assert_int_equal(get_one(a, dest, NAME5, s), WAL_ABSENT);
	untouched(a);
	assert_int_equal(get_one(a, dest, NAME5 ".partial", s), WAL_GOT);
	delivered(a, make_segment(a, 1, 5, 5), SEG);
}

enum damage {
	BIT_FLIP_HEAD,
	BIT_FLIP,
	BIT_FLIP_END,
	TRUNCATED,
	ONE_SHORT,
	EMPTY,
	APPENDED,
	SWAPPED,
	ZEROED,
	MISSING,
	N_DAMAGE
};

static void damage(struct arena *a, struct store *s, enum damage how)
{
	const char *path = stored_file(a, s, NAME5).path;
	struct buf b;

	buf_init(&b, a);
	assert_int_equal(store_read(s, how == SWAPPED ? stored_file(a, s, NAME4).path : path,
				 2 * SEG, false, &b),
		0);
	if (how == BIT_FLIP_HEAD)
		b.data[1] ^= 1;
	if (how == BIT_FLIP)
		b.data[b.len / 2] ^= 1;
	if (how == BIT_FLIP_END)
		b.data[b.len - 1] ^= 1;
	if (how == TRUNCATED)
		b.len /= 2;
	if (how == ONE_SHORT)
		b.len--;
	if (how == EMPTY)
		b.len = 0;
	if (how == APPENDED)
		buf_addc(&b, 'x');
	if (how == ZEROED)
		memset(b.data, 0, b.len);
	if (how == MISSING)
		assert_int_equal(store_remove(s, path, false), 0);
	else
		must_write(s, path, b.data, b.len);
}

/* No damage gives wrong bytes, and none looks like the end of the archive; with a second copy it
 * heals. */
static void damages(void **state)
{
	for (unsigned i = 0; i < N_CODECS * N_DAMAGE; i++) {
		SCOPED_ARENA(a);
		const enum damage how = (enum damage)(i % N_DAMAGE);
		struct store *s = archive(a, codecs[i / N_DAMAGE]);
		uint8_t *seg = make_segment(a, 1, 5, 5);
		struct wal_get_repo r[] = {repo_of(a, 1, s), repo_of(a, 2, archive(a, CODEC_GZ))};
		damage(a, s, how);
		fresh_dest();
		int rc = get_one(a, dest, NAME5, s);
		if (rc == WAL_GOT)
			delivered(a, seg, SEG); /* a flip that decodes to the same bytes is none */
		else if (how == MISSING)
			must_fail(rc, ERR_FILE_MISSING,
				"WAL segment " NAME5 " is missing from the archive although " NAME6
				" is present");
		else
			must_fail(rc, ERR_FILE_READ,
				"unable to get " NAME5 ":\nrepo1: 15-1/0000000100000000/" NAME5);
		if (rc != WAL_GOT)
			untouched(a);
		fresh_dest();
		assert_int_equal(get_from(a, dest, NAME5, r, 2, 0, false), WAL_GOT);
		delivered(a, seg, SEG);
	}
}

/* The hash fits the name, but it is not what the cluster needs. */
static void wrong_wal(void **state)
{
	static const struct {
		size_t at, bytes;
		uint64_t value;
		size_t len;
		const char *text;
	} cases[] = {
		{0, 2, 0xD10D, SEG, "[ArchiveMismatchError]"},
		{0, 2, 7, SEG, "unexpected WAL magic 7"},
		{24, 8, 42, SEG, "system-id 42"},
		{8, 8, 7 * (uint64_t)SEG, SEG, "from 0/700000 on"},
		{4, 4, 9, SEG, "timeline 9"},
		{32, 4, 2 * SEG, SEG, "segment size 2097152"},
		{36, 4, 8192, SEG / 2, "has 524288 bytes"},
		{36, 4, 8192, SEG + 1, "longer than a segment"},
		{36, 4, 8192, 0, "too short"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SCOPED_ARENA(a);
		const struct pushing p = {.dir = dir, .codec = CODEC_ZST, .no_header_check = true};
		struct store *s = store_mem(a);
		uint8_t *seg = arena_zalloc(a, SEG + 1);
		memcpy(seg, make_segment(a, 1, 5, 5), SEG);
		put_le(seg + cases[i].at, cases[i].value, (unsigned)cases[i].bytes);
		if (cases[i].len > 0)
			assert_int_equal(push_one(a, &p, NAME5, seg, cases[i].len, s), 0);
		else
			must_write(
				s, DIR1 NAME5 "-da39a3ee5e6b4b0d3255bfef95601890afd80709", "", 0);
		fresh_dest();
		must_fail(get_one(a, dest, NAME5, s), ERR_FILE_READ, cases[i].text);
		untouched(a);
	}
}

static void forced_version(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_ZST, .no_header_check = true};
	struct store *s = store_mem(a);
	uint8_t *seg = make_segment(a, 1, 5, 5);
	struct wal_get_repo r = repo_of(a, 1, s);
	struct wal_get_opts o = {
		.name = NAME5, .dest = dest, .expect = {NULL, SYSTEM_ID, SEG}};
	struct wal_got got;

	put_le(seg, 7, 2); /* a fork's magic */
	assert_int_equal(push_one(a, &p, NAME5, seg, SEG, s), 0);
	fresh_dest();
	assert_int_equal(wal_get(a, &o, &r, 1, &got), WAL_GOT);
	assert_string_equal(got.from, "repo1: 15-1");
	delivered(a, seg, SEG);
	o.expect.segment_size = 2 * SEG;
	must_fail(wal_get(a, &o, &r, 1, &got), ERR_FILE_READ, "has 1048576 bytes");
}

static void several_archive_ids(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = archive(a, CODEC_ZST);
	struct wal_place places[] = {{s, STANZA, "15-3", NULL}, PLACE(s)};
	struct wal_get_repo r = {.key = 4, .places = places, .n = 2};
	struct wal_get_opts o = {
		.name = NAME5, .dest = dest, .expect = {VERSION, SYSTEM_ID, SEG}};
	struct wal_got got;

	fresh_dest();
	assert_int_equal(wal_get(a, &o, &r, 1, &got), WAL_GOT);
	assert_string_equal(got.from, "repo4: 15-1");
	/* a hole in an older archive id is one, too */
	damage(a, s, MISSING);
	must_fail(wal_get(a, &o, &r, 1, &got), ERR_FILE_MISSING, NAME6);
}

static void different_hashes(void **state)
{
	SCOPED_ARENA(a);
	struct wal_get_repo r[] = {repo_of(a, 1, store_mem(a)), repo_of(a, 2, store_mem(a))};

	push(a, r[0].places[0].repo, NAME5, make_segment(a, 1, 5, 1), SEG, CODEC_GZ);
	push(a, r[1].places[0].repo, NAME5, make_segment(a, 1, 5, 2), SEG, CODEC_GZ);
	fresh_dest();
	must_fail(get_from(a, dest, NAME5, r, 2, 0, false), ERR_ARCHIVE_DUPLICATE,
		"duplicates found for WAL segment " NAME5 ":\nrepo1: 15-1/");
	untouched(a);
	/* two names for the same bytes are no contradiction */
	struct wal_file f = stored_file(a, r[0].places[0].repo, NAME5);
	uint8_t *seg = make_segment(a, 1, 5, 1);
	must_write(r[0].places[0].repo, arena_strndup(a, f.path, strlen(f.path) - 3), seg, SEG);
	assert_int_equal(get_from(a, dest, NAME5, r, 1, 0, false), WAL_GOT);
	delivered(a, seg, SEG);
}

static void unreachable(void **state)
{
	SCOPED_ARENA(a);
	struct store_fault f = {"list", 1, true, 0};
	struct err_value v = {ERR_HOST_CONNECT, "no route", ""};
	struct wal_get_repo r[] = {repo_of(a, 1, store_faulty(a, archive(a, CODEC_GZ), &f)),
		repo_of(a, 2, archive(a, CODEC_GZ))};

	/* the other one has it */
	fresh_dest();
	assert_int_equal(get_from(a, dest, NAME5, r, 2, 0, false), WAL_GOT);
	assert_non_null(r[0].failed);
	/* the other one has not: that proves nothing */
	r[0].failed = &v;
	must_fail(get_from(a, dest, "000000010000000000000007", r, 2, 0, true), ERR_FILE_READ,
		"unable to get 000000010000000000000007: not found, but not every repository could "
		"be asked:\n"
		"repo1: [HostConnectError] no route");
	r[1].failed = &v;
	must_fail(get_from(a, dest, NAME5, r, 2, 0, false), ERR_REPO_INVALID,
		"unable to find a valid repository:\nrepo1: [HostConnectError] no route\nrepo2: [");
}

/* Every store call fails once or for good: right bytes or -1, never "absent", never leftovers. */
static void faults(void **state)
{
	static const char *const verbs[] = {"get", "read", "list", "stat"};
	static const char *const wanted[] = {
		NAME5, "00000002.history", "000000010000000000000005.partial"};

	for (size_t i = 0; i < 3 * sizeof(verbs) / sizeof(verbs[0]); i++) {
		bool more = true;
		for (unsigned nth = 1; more; nth++) {
			SCOPED_ARENA(a);
			struct store_fault f = {verbs[i / 3], nth, nth % 2 == 0, 0};
			struct store *s = archive(a, CODEC_ZST);
			push(a, s, wanted[2], make_segment(a, 1, 5, 5), SEG, CODEC_LZ4);
			push(a, s, wanted[1], "1\t0/500100\tx\n", 13, CODEC_NONE);
			fresh_dest();
			int rc = get_one(a, dest, wanted[i % 3], store_faulty(a, s, &f));
			assert_int_not_equal(rc, WAL_ABSENT);
			if (rc != 0) {
				assert_true(err_code() != ERR_NONE);
				untouched(a);
			} else if (i % 3 == 1) {
				delivered(a, "1\t0/500100\tx\n", 13);
			} else {
				delivered(a, make_segment(a, 1, 5, 5), SEG);
			}
			err_clear();
			more = f.calls >= nth;
		}
	}
}

/* In an archive with a hole no fault turns it into an end. */
static void faults_at_a_hole(void **state)
{
	static const char *const verbs[] = {"get", "list", "stat"};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		bool more = true;
		for (unsigned nth = 1; more; nth++) {
			SCOPED_ARENA(a);
			struct store_fault f = {verbs[i], nth, false, 0};
			struct store *s = store_mem(a);
			push(a, s, "00000002.history", "1\t0/600100\tx\n", 13, CODEC_NONE);
			push(a, s, "000000020000000000000006", make_segment(a, 1, 6, 6), SEG,
				CODEC_NONE);
			assert_int_equal(get_one(a, dest, NAME5, store_faulty(a, s, &f)), -1);
			err_clear();
			more = f.calls >= nth;
		}
	}
}

static struct arena *late_arena;

static void arrive(struct store *s)
{
	s->driver = meddler.real;
	push(late_arena, s, NAME5, make_segment(late_arena, 1, 5, 5), SEG, CODEC_GZ);
}

static void hole_in_flight(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = archive(a, CODEC_GZ);
	struct wal_get_repo r = repo_of(a, 1, s);

	damage(a, s, MISSING);
	late_arena = a;
	meddle_with(s, 8, arrive);
	fresh_dest();
	assert_int_equal(get_from(a, dest, NAME5, &r, 1, 20000, false), WAL_GOT);
	delivered(a, make_segment(a, 1, 5, 5), SEG);
}

static void hole_for_good(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = archive(a, CODEC_GZ);
	struct wal_get_repo r = repo_of(a, 1, s);

	damage(a, s, MISSING);
	fresh_dest();
	must_fail(get_from(a, dest, NAME5, &r, 1, 100, false), ERR_FILE_MISSING,
		"is missing from the archive");
	assert_int_equal(get_from(a, dest, NAME5, &r, 1, 100, true), WAL_ABSENT);
	untouched(a);
}

static void histories(void **state)
{
	static const char text[] = "1\t0/500100\tx\n", other[] = "1\t0/600100\tx\n";
	SCOPED_ARENA(a);
	struct wal_get_repo r[] = {repo_of(a, 1, store_mem(a)), repo_of(a, 2, store_mem(a))};
	static const char path[] = "archive/demo/15-1/00000002.history";

	/* one of two has it */
	must_write(r[1].places[0].repo, path, text, strlen(text));
	fresh_dest();
	assert_int_equal(get_from(a, dest, "00000002.history", r, 2, 0, false), WAL_GOT);
	delivered(a, text, strlen(text));
	/* a damaged one does not count */
	must_write(r[0].places[0].repo, path, "1\tgarb", 6);
	fresh_dest();
	assert_int_equal(get_from(a, dest, "00000002.history", r, 2, 0, false), WAL_GOT);
	delivered(a, text, strlen(text));
	fresh_dest();
	must_fail(get_from(a, dest, "00000002.history", r, 1, 0, false), ERR_FILE_READ,
		"not a timeline history");
	must_write(r[0].places[0].repo, path, "", 0);
	must_fail(get_from(a, dest, "00000002.history", r, 1, 0, false), ERR_FILE_READ,
		"not a timeline history");
	/* two sound ones that differ are two timelines */
	must_write(r[0].places[0].repo, path, other, strlen(other));
	must_fail(get_from(a, dest, "00000002.history", r, 2, 0, false), ERR_ARCHIVE_DUPLICATE,
		"duplicates found for WAL file 00000002.history:\nrepo1: "
		"15-1/00000002.history\nrepo2: ");
	untouched(a);
}

static void backup_file(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);

	push(a, s, NAME5 ".00000028.backup", "START WAL", 9, CODEC_GZ);
	fresh_dest();
	assert_int_equal(get_one(a, dest, NAME5 ".00000028.backup", s), WAL_GOT);
	delivered(a, "START WAL", 9);
}

/* The destination's own failures: nothing is left, and nothing is called absent. */
static int fail_rename(const char *from, const char *to)
{
	errno = EIO;
	return -1;
}

static ssize_t fail_write(int fd, const void *data, size_t len)
{
	errno = ENOSPC;
	return -1;
}

static void bad_destination(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = archive(a, CODEC_LZ4);
	const struct sys_calls real = sys;

	fresh_dest();
	for (unsigned i = 0; i < 2; i++) {
		sys.rename = i == 0 ? fail_rename : real.rename;
		sys.write = i == 1 ? fail_write : real.write;
		int rc = get_one(a, dest, NAME5, s);
		sys = real;
		must_fail(rc, ERR_FILE_READ, dest);
		untouched(a);
	}
	must_fail(get_one(a, path_join(a, dest_dir, "gone/file"), NAME5, s), ERR_FILE_OPEN,
		"gone/file");
	/* a dead process' file of our number is no obstacle */
	const char *temp = arena_printf(a, "%s.pgstrata.tmp-%d", dest, (int)getpid());
	assert_int_equal(file_replace(temp, "x", 1, 0600), 0);
	assert_int_equal(get_one(a, dest, NAME5, s), WAL_GOT);
	delivered(a, make_segment(a, 1, 5, 5), SEG);
}

static int setup(void **state)
{
	static struct arena *arena;

	arena = arena_new();
	*state = arena;
	dir = host_dir(arena);
	dest_dir = host_dir(arena);
	dest = path_join(arena, dest_dir, "RECOVERYXLOG");
	return quiet(state);
}

static int teardown(void **state)
{
	host_remove(dir);
	host_remove(dest_dir);
	arena_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sound),
		cmocka_unit_test(partial_only_by_name),
		cmocka_unit_test(damages),
		cmocka_unit_test(wrong_wal),
		cmocka_unit_test(forced_version),
		cmocka_unit_test(several_archive_ids),
		cmocka_unit_test(different_hashes),
		cmocka_unit_test(unreachable),
		cmocka_unit_test(faults),
		cmocka_unit_test(faults_at_a_hole),
		cmocka_unit_test(hole_in_flight),
		cmocka_unit_test(hole_for_good),
		cmocka_unit_test(histories),
		cmocka_unit_test(backup_file),
		cmocka_unit_test(bad_destination),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
