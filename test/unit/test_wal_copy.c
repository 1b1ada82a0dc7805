/*
 * wal_copy: only proven copies, under one name, whoever pushes meanwhile.
 */
#include "wal_fixture.h"

#include "repo/wal_copy.h"

#define HISTORY "00000002.history"
#define LINE "1\t0/500000\tno recovery target specified\n"
#define NOTE NAME5 ".00000028.backup"
#define NOTE_TEXT "START WAL LOCATION: 0/500028 (file " NAME5 ")\nSTOP WAL LOCATION: 0/500100 (file " NAME5 ")\n"

static char *dir; /* of the host, for the whole run */
static struct store *target; /* of the meddlers */

static void push(struct arena *a, struct store *s, const char *name, const void *data, size_t len, enum codec codec)
{
	const struct pushing p = { .dir = dir, .codec = codec };

	assert_int_equal(push_one(a, &p, name, data, len, s), 0);
}

static struct store *with_five(struct arena *a, uint32_t seed, enum codec codec)
{
	struct store *s = store_mem(a);

	push(a, s, NAME5, make_segment(a, 1, 5, seed), SEG, codec);
	return s;
}

/* Into repo1 from repo2, repo3 and so on. */
static int copy(struct arena *a, struct store *to, const char *name, const struct wal_file *damaged,
	struct store *const *from, size_t n, unsigned *key)
{
	struct wal_copy_from *sources = arena_zalloc(a, n * sizeof(*sources));
	const struct wal_copy_opts o = { .name = name, .key = 1, .to = PLACE(to), .damaged = damaged, .codec = CODEC_GZ,
		.level = 6, .expect = { VERSION, SYSTEM_ID, SEG } };

	for (size_t i = 0; i < n; i++) {
		const struct wal_place place = PLACE(from[i]);
		sources[i] = (struct wal_copy_from){ .key = (unsigned)i + 2, .n = 1,
			.places = arena_memdup(a, &place, sizeof(place)) };
	}
	return wal_copy(a, &o, sources, n, key);
}

static void spoil(struct arena *a, struct store *s, const char *path)
{
	struct buf b;

	buf_init(&b, a);
	assert_int_equal(store_read(s, path, 2 * SEG, false, &b), 0);
	b.data[b.len / 2] ^= 4;
	b.data[100] ^= 4;
	must_write(s, path, b.data, b.len);
}

static void is_right(struct arena *a, struct store *s)
{
	char *dest = path_join(a, dir, "dest");

	assert_int_equal(get_one(a, dest, NAME5, s), WAL_GOT);
	assert_true(host_has(a, dest, make_segment(a, 1, 5, 5), SEG));
}

static void replaces_under_the_same_name(void **state)
{
	for (unsigned c = 0; c < CODEC_COUNT; c++) {
		SCOPED_ARENA(a);
		struct store *to = with_five(a, 5, (enum codec)c), *from = with_five(a, 5, CODEC_ZST);
		struct wal_file bad = stored_file(a, to, NAME5);
		unsigned key;
		spoil(a, to, bad.path);
		assert_int_equal(copy(a, to, NAME5, &bad, &from, 1, &key), 0);
		assert_int_equal(key, 2);
		assert_string_equal(stored_file(a, to, NAME5).path, bad.path);
		is_right(a, to);
	}
}

static void stores_what_is_missing(void **state)
{
	SCOPED_ARENA(a);
	struct store *to = store_mem(a), *from[] = { store_mem(a), with_five(a, 5, CODEC_LZ4) };
	unsigned key;

	assert_int_equal(copy(a, to, NAME5, NULL, from, 2, &key), 0);
	assert_int_equal(key, 3);
	assert_int_equal(stored_file(a, to, NAME5).codec, CODEC_GZ);
	is_right(a, to);
	assert_int_equal(copy(a, store_mem(a), NAME5, NULL, from, 1, &key), WAL_COPY_NONE);
}

static void believes_no_damaged_copy(void **state)
{
	SCOPED_ARENA(a);
	struct store *to = store_mem(a), *from[] = { with_five(a, 5, CODEC_NONE), with_five(a, 5, CODEC_ZST) };
	unsigned key;

	spoil(a, from[0], stored_file(a, from[0], NAME5).path);
	assert_int_equal(copy(a, to, NAME5, NULL, from, 1, &key), WAL_COPY_NONE);
	assert_int_equal(copy(a, to, NAME5, NULL, from, 2, &key), 0);
	assert_int_equal(key, 3);
	is_right(a, to);
	/* of another cluster, though its bytes have the checksum of the name */
	struct store *foreign = store_mem(a);
	uint8_t *seg = make_segment(a, 1, 5, 5);
	put_le(seg + 24, SYSTEM_ID + 1, 8);
	const struct pushing p = { .dir = dir, .codec = CODEC_ZST, .no_header_check = true };
	assert_int_equal(push_one(a, &p, NAME5, seg, SEG, foreign), 0);
	assert_int_equal(copy(a, store_mem(a), NAME5, NULL, &foreign, 1, &key), WAL_COPY_NONE);
}

static void refuses_where_copies_differ(void **state)
{
	SCOPED_ARENA(a);
	struct store *to = store_mem(a), *from[] = { with_five(a, 5, CODEC_ZST), with_five(a, 6, CODEC_ZST) };
	wal_files found;
	unsigned key;

	must_fail(copy(a, to, NAME5, NULL, from, 2, &key), ERR_ARCHIVE_DUPLICATE, "repo3");
	assert_int_equal(wal_find(a, &PLACE(to), NAME5, &found), 0);
	assert_int_equal(found.n, 0);
	/* but one that is damaged has no say */
	spoil(a, from[1], stored_file(a, from[1], NAME5).path);
	assert_int_equal(copy(a, to, NAME5, NULL, from, 2, &key), 0);
	is_right(a, to);
	/* the name says what the damaged file was: another content is no replacement */
	struct store *other = with_five(a, 6, CODEC_ZST);
	struct wal_file bad = stored_file(a, other, NAME5);
	spoil(a, other, bad.path);
	assert_int_equal(copy(a, other, NAME5, &bad, from, 1, &key), WAL_COPY_NONE);
	assert_string_equal(stored_file(a, other, NAME5).path, bad.path);
}

static void push_into_target(struct store *s)
{
	SCOPED_ARENA(a);

	(void)s;
	push(a, target, NAME5, make_segment(a, 1, 5, 5), SEG, CODEC_GZ);
}

/* As a push of another codec that has listed before our file was there. */
static void slip_into_target(struct store *s)
{
	SCOPED_ARENA(a);
	struct store *elsewhere = with_five(a, 5, CODEC_LZ4);
	const struct wal_file f = stored_file(a, elsewhere, NAME5);
	struct buf b;

	(void)s;
	buf_init(&b, a);
	assert_int_equal(store_read(elsewhere, f.path, 2 * SEG, false, &b), 0);
	must_write(target, f.path, b.data, b.len);
}

static void a_push_at_the_same_time_wins(void **state)
{
	SCOPED_ARENA(a);
	struct store *from = with_five(a, 5, CODEC_ZST);
	unsigned key;

	target = store_mem(a);
	meddle_with(from, 1, push_into_target); /* the very name is taken */
	assert_int_equal(copy(a, target, NAME5, NULL, &from, 1, &key), 0);
	assert_int_equal(key, 0);
	is_right(a, target);
	from = with_five(a, 5, CODEC_ZST);
	target = store_mem(a);
	meddle_with(target, 1, slip_into_target); /* between our write and our look */
	assert_int_equal(copy(a, target, NAME5, NULL, &from, 1, &key), 0);
	assert_int_equal(key, 0);
	assert_int_equal(stored_file(a, target, NAME5).codec, CODEC_LZ4);
	is_right(a, target);
}

static void histories_must_agree(void **state)
{
	SCOPED_ARENA(a);
	struct store *to = store_mem(a), *from[] = { store_mem(a), store_mem(a) };
	const struct wal_file bad = { .path = "archive/demo/15-1/" HISTORY, .name = HISTORY, .plain_name = true };
	struct wal_copy_from source = { .key = 2, .places = &PLACE(from[0]), .n = 1 };
	struct buf b;
	unsigned key;

	buf_init(&b, a);
	must_write(to, bad.path, "1", 1);
	push(a, from[0], HISTORY, LINE, strlen(LINE), CODEC_NONE);
	must_write(from[1], bad.path, "2\t0/500000\n", 11); /* no history of timeline 2 */
	assert_int_equal(copy(a, to, HISTORY, &bad, from + 1, 1, &key), WAL_COPY_NONE);
	assert_int_equal(copy(a, to, HISTORY, &bad, from, 2, &key), 0);
	assert_int_equal(key, 2);
	assert_int_equal(store_read(to, bad.path, 1000, false, &b), 0);
	assert_string_equal(b.data, LINE);
	assert_int_equal(wal_copy_agrees(a, HISTORY, 1, &bad, &PLACE(to), &source, 1), 0);
	must_write(from[1], bad.path, "1\t0/600000\n", 11);
	must_fail(copy(a, store_mem(a), HISTORY, NULL, from, 2, &key), ERR_ARCHIVE_DUPLICATE, "repo2");
	source.places = &PLACE(from[1]);
	must_fail(wal_copy_agrees(a, HISTORY, 1, &bad, &PLACE(to), &source, 1), ERR_ARCHIVE_DUPLICATE, "repo1");
	source.places = &PLACE(store_mem(a));
	assert_int_equal(wal_copy_agrees(a, HISTORY, 1, &bad, &PLACE(to), &source, 1), 0);
}

static void backup_files_too(void **state)
{
	SCOPED_ARENA(a);
	struct store *to = store_mem(a), *from = store_mem(a);
	struct buf b;
	unsigned key;

	buf_init(&b, a);
	push(a, from, NOTE, NOTE_TEXT, strlen(NOTE_TEXT), CODEC_NONE);
	assert_int_equal(copy(a, to, NOTE, NULL, &from, 1, &key), 0);
	assert_int_equal(store_read(to, stored_file(a, to, NOTE).path, 1000, false, &b), 0);
	assert_string_equal(b.data, NOTE_TEXT);
	must_write(from, stored_file(a, from, NOTE).path, "nonsense", 8);
	assert_int_equal(copy(a, store_mem(a), NOTE, NULL, &from, 1, &key), WAL_COPY_NONE);
}

/* Each call of the target's store fails in turn: the damaged file or the right one is there, alone. */
static void old_or_new(void **state)
{
	static const char *const verbs[] = { "put", "write", "finish", "list", "get", "read" };
	bool failed = true;

	for (size_t v = 0; v < sizeof(verbs) / sizeof(verbs[0]); v++) {
		failed = true;
		for (unsigned nth = 1; failed && nth < 100; nth++) {
			SCOPED_ARENA(a);
			struct store *inner = with_five(a, 5, CODEC_GZ), *from = with_five(a, 5, CODEC_ZST);
			struct store_fault f = { .verb = verbs[v], .nth = nth };
			struct wal_file bad = stored_file(a, inner, NAME5);
			unsigned key;
			spoil(a, inner, bad.path);
			failed = copy(a, store_faulty(a, inner, &f), NAME5, &bad, &from, 1, &key) != 0;
			err_clear();
			assert_string_equal(stored_file(a, inner, NAME5).path, bad.path);
			assert_int_equal(copy(a, inner, NAME5, &bad, &from, 1, &key), 0);
			is_right(a, inner);
		}
		assert_false(failed);
	}
}

int main(void)
{
	SCOPED_ARENA(a);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replaces_under_the_same_name),
		cmocka_unit_test(stores_what_is_missing),
		cmocka_unit_test(believes_no_damaged_copy),
		cmocka_unit_test(refuses_where_copies_differ),
		cmocka_unit_test(a_push_at_the_same_time_wins),
		cmocka_unit_test(histories_must_agree),
		cmocka_unit_test(backup_files_too),
		cmocka_unit_test(old_or_new),
	};

	dir = host_dir(a);
	int failed = cmocka_run_group_tests(tests, quiet, NULL);
	host_remove(dir);
	return failed;
}
