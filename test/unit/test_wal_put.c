/*
 * wal_put: exit 0 means stored, durable and equal (lessons P1).
 */
#include "wal_fixture.h"

#include "base/sys.h"

static char *dir; /* of the host, for the whole run */

static const enum codec codecs[] = {CODEC_NONE, CODEC_ZST, CODEC_LZ4, CODEC_GZ};
#define N_CODECS (sizeof(codecs) / sizeof(codecs[0]))

static char *stored_name(struct arena *a, const char *name, const uint8_t *seg, enum codec codec)
{
	char hex[SHA1_HEX + 1];
	struct sum sum;

	sha1_of(seg, SEG, &sum);
	sum_hex(&sum, hex);
	return arena_printf(a, DIR1 "%s-%s%s", name, hex, codec_info(codec)->suffix);
}

/* The stored bytes, fetched through wal_get, equal these. */
static void must_have(struct arena *a, struct store *repo, const char *name, const uint8_t *seg)
{
	const char *dest = path_join(a, dir, "fetched");

	assert_int_equal(get_one(a, dest, name, repo), WAL_GOT);
	assert_true(host_has(a, dest, seg, SEG));
}

static int count_entry(void *ctx, const struct store_entry *e)
{
	++*(size_t *)ctx;
	return 0;
}

static size_t count_in(struct store *s, const char *path)
{
	size_t n = 0;

	assert_true(store_list(s, path, count_entry, &n) >= 0);
	return n;
}

static void stored_and_found(void **state)
{
	for (size_t i = 0; i < N_CODECS; i++) {
		SCOPED_ARENA(a);
		const struct pushing p = {.dir = dir, .codec = codecs[i]};
		uint8_t *seg = make_segment(a, 1, 5, 1), *part = make_segment(a, 1, 5, 2);
		struct store *s = store_mem(a);
		struct store_entry e;
		assert_int_equal(push_one(a, &p, NAME5, seg, SEG, s), 0);
		assert_int_equal(store_stat(a, s, stored_name(a, NAME5, seg, codecs[i]), &e), 0);
		must_have(a, s, NAME5, seg);
		/* a partial is another object */
		assert_int_equal(push_one(a, &p, NAME5 ".partial", part, SEG, s), 0);
		must_have(a, s, NAME5 ".partial", part);
		must_have(a, s, NAME5, seg);
	}
}

static void old_timeline_in_header(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir};
	struct store *s = store_mem(a);
	uint8_t *seg = make_segment(a, 1, 5, 1);

	assert_int_equal(push_one(a, &p, "000000020000000000000005", seg, SEG, s), 0);
	must_have(a, s, "000000020000000000000005", seg);
}

/* Nothing may be written for a source that is not what its name says. */
static void refused(void **state)
{
	static const struct {
		const char *what, *name;
		size_t at, bytes; /* header field to change */
		uint64_t value;
		size_t len;
		enum err_code code;
		const char *text;
	} cases[] = {
		{"magic", NAME5, 0, 2, 53759, SEG, ERR_VERSION_NOT_SUPPORTED,
			"unexpected WAL magic 53759"},
		{"version", NAME5, 0, 2, 0xD10D, SEG, ERR_ARCHIVE_MISMATCH,
			"version 14, system-id 7000000000000000180 do not match stanza version 15, "
			"system-id "
			"7000000000000000180"},
		{"system", NAME5, 24, 8, 42, SEG, ERR_ARCHIVE_MISMATCH,
			"version 15, system-id 42 do not match stanza version 15"},
		{"short header", NAME5, 2, 2, 0, SEG, ERR_FORMAT, "WAL file"},
		{"another place", NAME5, 8, 8, 6 * SEG, SEG, ERR_FORMAT, "from 0/600000 on"},
		{"later timeline", NAME5, 4, 4, 2, SEG, ERR_FORMAT, "timeline 2"},
		{"short", NAME5, 36, 4, 8192, SEG - 1, ERR_FORMAT, "has 1048575 bytes"},
		{"long", NAME5, 36, 4, 8192, SEG + 1, ERR_FORMAT, "has 1048577 bytes"},
		{"header only", NAME5, 36, 4, 8192, 40, ERR_FORMAT, "has 40 bytes"},
		{"less than a header", NAME5, 36, 4, 8192, 39, ERR_FORMAT, "too short"},
		{"empty", NAME5, 36, 4, 8192, 0, ERR_FORMAT, "is empty"},
		{"partial", NAME5 ".partial", 36, 4, 8192, SEG / 2, ERR_FORMAT, "has 524288 bytes"},
		{"no such kind", "archive.info", 36, 4, 8192, SEG, ERR_PARAM_INVALID,
			"archive.info"},
		{"no such kind", NAME5 "x", 36, 4, 8192, SEG, ERR_PARAM_INVALID, NAME5 "x"},
		{"lower case", "00000001000000000000000a", 36, 4, 8192, SEG, ERR_PARAM_INVALID,
			"0a"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SCOPED_ARENA(a);
		const struct pushing p = {.dir = dir, .codec = CODEC_ZST};
		struct store *s = store_mem(a);
		uint8_t *seg = arena_zalloc(a, SEG + 1);
		memcpy(seg, make_segment(a, 1, 5, 1), SEG);
		put_le(seg + cases[i].at, cases[i].value, (unsigned)cases[i].bytes);
		must_fail(push_one(a, &p, cases[i].name, seg, cases[i].len, s), cases[i].code,
			cases[i].text);
		assert_int_equal(count_in(s, "archive"), 0);
	}
}

static void without_header_check(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_ZST, .no_header_check = true};
	struct store *s = store_mem(a);

	assert_int_equal(push_one(a, &p, NAME5, "not a header", 12, s), 0);
	assert_true(stored_file(a, s, NAME5).codec == CODEC_ZST);
	must_fail(push_one(a, &p, "000000010000000000000006", "", 0, s), ERR_FORMAT, "is empty");
}

static void missing_source(void **state)
{
	SCOPED_ARENA(a);
	const struct wal_put_opts o = {.source = path_join(a, dir, "gone/" NAME5),
		.name = NAME5,
		.version = VERSION,
		.system_id = SYSTEM_ID};
	struct wal_put_repo r = {.key = 1, .place = PLACE(store_mem(a))};

	must_fail(wal_put(a, &o, &r, 1, NULL), ERR_FILE_MISSING, "gone/" NAME5);
}

/* What is stored already: same bytes, damage of every kind, other bytes. */
enum damage { SOUND, BIT_FLIP, TRUNCATED, EMPTY, NOT_THERE };

static void damage(struct arena *a, struct store *s, const char *path, enum damage how)
{
	struct buf b;

	buf_init(&b, a);
	assert_int_equal(store_read(s, path, 2 * SEG, false, &b), 0);
	if (how == BIT_FLIP)
		b.data[b.len / 2] ^= 4;
	if (how == TRUNCATED)
		b.len /= 2;
	if (how == EMPTY)
		b.len = 0;
	must_write(s, path, b.data, b.len);
}

static void duplicates(void **state)
{
	for (size_t i = 0; i < N_CODECS; i++) {
		for (enum damage how = SOUND; how <= EMPTY; how++) {
			SCOPED_ARENA(a);
			/* pushed again with another compression: the stored name must stay the only
			 * one */
			const struct pushing p = {.dir = dir, .codec = codecs[i]};
			const struct pushing again = {
				.dir = dir, .codec = codecs[(i + 1) % N_CODECS]};
			struct store *s = store_mem(a);
			struct wal_put_repo r = {.key = 1, .place = PLACE(s)};
			uint8_t *seg = make_segment(a, 1, 5, 1);
			assert_int_equal(push_one(a, &p, NAME5, seg, SEG, s), 0);
			const char *path = stored_file(a, s, NAME5).path;
			damage(a, s, path, how);
			assert_int_equal(push_to(a, &again, NAME5, seg, SEG, &r, 1), 0);
			assert_int_equal(r.duplicate, how == SOUND);
			assert_string_equal(stored_file(a, s, NAME5).path, path);
			must_have(a, s, NAME5, seg);
			/* other bytes are refused, whatever is there */
			uint8_t *other = make_segment(a, 1, 5, 2);
			damage(a, s, path, how);
			must_fail(push_to(a, &again, NAME5, other, SEG, &r, 1),
				ERR_ARCHIVE_DUPLICATE,
				"WAL file '" NAME5
				"' already exists in the repo1 archive with a different checksum");
			assert_string_equal(stored_file(a, s, NAME5).path, path);
		}
	}
}

/* Another process may have published what it has not synced yet. */
static void duplicates_are_synced(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_GZ};
	struct store_fault f = {"sync", 0, false, 0};
	struct store *s = store_mem(a);
	uint8_t *seg = make_segment(a, 1, 5, 1);

	assert_int_equal(push_one(a, &p, NAME5, seg, SEG, s), 0);
	assert_int_equal(push_one(a, &p, NAME5, seg, SEG, store_faulty(a, s, &f)), 0);
	assert_int_equal(f.calls, 3); /* the segment's directory, the archive id's, the stanza's */
	for (unsigned nth = 1; nth <= 3; nth++) {
		f = (struct store_fault){"sync", nth, false, 0};
		must_fail(push_one(a, &p, NAME5, seg, SEG, store_faulty(a, s, &f)), ERR_COMMAND,
			"repo1: [");
	}
}

static void two_files_are_an_error(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_NONE};
	struct store *s = store_mem(a);
	uint8_t *seg = make_segment(a, 1, 5, 1);

	must_write(s, stored_name(a, NAME5, seg, CODEC_NONE), seg, SEG);
	must_write(s, stored_name(a, NAME5, seg, CODEC_GZ), seg, SEG);
	must_fail(push_one(a, &p, NAME5, seg, SEG, s), ERR_COMMAND,
		"repo1: [ArchiveDuplicateError] duplicates found in archive for WAL "
		"segment " NAME5);
	assert_int_equal(count_in(s, "archive/demo/15-1/0000000100000000"), 2);
}

/* A file of that name is there, so the hash is needed first; the second reading gives other bytes. */
static int (*real_open)(const char *, int, mode_t);
static unsigned source_opens;

static int open_changing(const char *path, int flags, mode_t mode)
{
	if (strcmp(path_base(path), NAME5) == 0 && (flags & O_ACCMODE) == O_RDONLY &&
		++source_opens == 3) {
		int fd = real_open(path, O_WRONLY, 0);
		assert_int_equal(pwrite(fd, "changed", 7, SEG - 7), 7);
		close(fd);
	}
	return real_open(path, flags, mode);
}

static void changed_while_read(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_LZ4};
	struct wal_put_repo r[] = {{.key = 1, .place = PLACE(store_mem(a))},
		{.key = 2, .place = PLACE(store_mem(a))}};
	uint8_t *seg = make_segment(a, 1, 5, 1);

	assert_int_equal(push_to(a, &p, NAME5, seg, SEG, r, 1), 0);
	const char *there = stored_file(a, r[0].place.repo, NAME5).path;
	assert_int_equal(store_write(r[0].place.repo, there, "damaged", 7, NULL), 0);
	source_opens = 0;
	real_open = sys.open;
	sys.open = open_changing;
	int rc = push_to(a, &p, NAME5, seg, SEG, r, 2);
	sys.open = real_open;
	must_fail(rc, ERR_CHECKSUM, "changed while it was read");
	assert_int_equal(source_opens, 3);
	assert_int_equal(count_in(r[0].place.repo, "archive/demo/15-1/0000000100000000"), 1);
	assert_int_equal(count_in(r[1].place.repo, "archive/demo/15-1/0000000100000000"), 0);
}

static void one_repository_fails(void **state)
{
	static const char *const verbs[] = {"list", "put", "write", "finish"};

	for (size_t i = 0; i < 2 * sizeof(verbs) / sizeof(verbs[0]); i++) {
		SCOPED_ARENA(a);
		const struct pushing p = {.dir = dir, .codec = CODEC_ZST};
		const size_t bad = i % 2, good = 1 - bad;
		struct store_fault f = {verbs[i / 2], 1, true, 0};
		struct store *s[] = {store_mem(a), store_mem(a)};
		struct wal_put_repo r[] = {{.key = 1, .place = PLACE(s[0])},
			{.key = 3, .place = PLACE(s[1])}};
		uint8_t *seg = make_segment(a, 1, 5, 1);
		r[bad].place.repo = store_faulty(a, s[bad], &f);
		must_fail(push_to(a, &p, NAME5, seg, SEG, r, 2), ERR_COMMAND,
			arena_printf(a, "archive-push command encountered error(s):\nrepo%u: [",
				r[bad].key));
		assert_non_null(r[bad].failed);
		assert_null(r[good].failed);
		must_have(a, s[good], NAME5, seg);
		/* it can simply be run again */
		r[bad] =
			(struct wal_put_repo){.key = r[bad].key, .place = PLACE(s[bad])};
		assert_int_equal(push_to(a, &p, NAME5, seg, SEG, r, 2), 0);
		assert_true(r[good].duplicate);
		must_have(a, s[bad], NAME5, seg);
	}
}

/* One push, three ciphers: each repository's bytes are for its own key only, and count as stored when pushed again. */
static void a_key_for_each(void **state)
{
	static const char text[] = "1\t0/500100\tno recovery target specified\n";
	static const char *const keys[] = {"one", NULL, "three"};
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_ZST};
	const char *dest = path_join(a, dir, "back");
	struct wal_put_repo r[3];
	struct wal_get_repo g[3];
	uint8_t *seg = make_segment(a, 1, 5, 1);

	for (unsigned i = 0; i < 3; i++) {
		r[i] = (struct wal_put_repo){.key = i + 1, .place = PLACE(store_mem(a))};
		r[i].place.pass = keys[i];
		g[i] = (struct wal_get_repo){.key = i + 1, .places = &r[i].place, .n = 1};
	}
	for (int again = 0; again < 2; again++) {
		assert_int_equal(push_to(a, &p, NAME5, seg, SEG, r, 3), 0);
		assert_int_equal(push_to(a, &p, "00000002.history", text, strlen(text), r, 3), 0);
		for (unsigned i = 0; i < 3; i++)
			assert_true(r[i].duplicate == (again == 1));
	}
	for (unsigned i = 0; i < 3; i++) {
		struct buf b;

		buf_init(&b, a);
		assert_int_equal(store_read(r[i].place.repo,
					 stored_file(a, r[i].place.repo, NAME5).path, 2 * SEG, false, &b),
			0);
		assert_int_equal(memcmp(b.data, "Salted__", 8) == 0, keys[i] != NULL);
		assert_int_equal(get_from(a, dest, NAME5, &g[i], 1, 0, false), WAL_GOT);
		assert_true(host_has(a, dest, seg, SEG));
		assert_int_equal(get_from(a, dest, "00000002.history", &g[i], 1, 0, false), WAL_GOT);
		assert_true(host_has(a, dest, text, strlen(text)));
	}
	/* another key: neither there nor absent */
	r[0].place.pass = "three";
	must_fail(get_from(a, dest, NAME5, &g[0], 1, 0, false), ERR_FILE_READ, "unable to get " NAME5);
	must_fail(get_from(a, dest, "00000002.history", &g[0], 1, 0, false), ERR_FILE_READ,
		"passphrase is wrong");
	assert_int_equal(get_from(a, dest, NAME5, g, 3, 0, false), WAL_GOT);
}

static void known_to_be_unusable(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_ZST};
	struct err_value v = {ERR_ARCHIVE_MISMATCH, "another cluster", ""};
	struct wal_put_repo r[] = {{.key = 1, .failed = &v},
		{.key = 2, .place = PLACE(store_mem(a))}};
	uint8_t *seg = make_segment(a, 1, 5, 1);

	must_fail(push_to(a, &p, NAME5, seg, SEG, r, 2), ERR_COMMAND,
		"repo1: [ArchiveMismatchError] another cluster");
	must_have(a, r[1].place.repo, NAME5, seg);
}

/* A damaged copy with another compression and a new one, in one push. */
static void repair_and_new(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing gz = {.dir = dir, .codec = CODEC_GZ},
			     zst = {.dir = dir, .codec = CODEC_ZST};
	struct wal_put_repo r[] = {{.key = 1, .place = PLACE(store_mem(a))},
		{.key = 2, .place = PLACE(store_mem(a))}};
	uint8_t *seg = make_segment(a, 1, 5, 1);

	assert_int_equal(push_one(a, &gz, NAME5, seg, SEG, r[0].place.repo), 0);
	damage(a, r[0].place.repo, stored_file(a, r[0].place.repo, NAME5).path, TRUNCATED);
	assert_int_equal(push_to(a, &zst, NAME5, seg, SEG, r, 2), 0);
	assert_int_equal(stored_file(a, r[0].place.repo, NAME5).codec, CODEC_GZ);
	assert_int_equal(stored_file(a, r[1].place.repo, NAME5).codec, CODEC_ZST);
	must_have(a, r[0].place.repo, NAME5, seg);
	must_have(a, r[1].place.repo, NAME5, seg);
}

static void conflict_stops_everything(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_ZST};
	struct wal_put_repo r[] = {{.key = 1, .place = PLACE(store_mem(a))},
		{.key = 2, .place = PLACE(store_mem(a))}};

	assert_int_equal(push_one(a, &p, NAME5, make_segment(a, 1, 5, 1), SEG, r[1].place.repo), 0);
	must_fail(push_to(a, &p, NAME5, make_segment(a, 1, 5, 2), SEG, r, 2), ERR_ARCHIVE_DUPLICATE,
		"repo2");
	assert_int_equal(count_in(r[0].place.repo, "archive"), 0);
}

/* Two primaries: another file appears between our look and our write. */
static struct arena *race_arena;
static uint8_t *race_segment;
static enum codec race_codec;

static void another_primary(struct store *s)
{
	const struct pushing p = {.dir = path_join(race_arena, dir, "other"), .codec = race_codec};

	s->driver = meddler.real;
	assert_int_equal(dir_make(p.dir, 0700), 0);
	assert_int_equal(push_one(race_arena, &p, NAME5, race_segment, SEG, s), 0);
}

/* Just before the file appears under its name, the other one does. */
static struct sink *put_after_other(
	struct arena *a, struct store *s, const char *path, const struct put_opts *o)
{
	another_primary(s);
	return s->driver->put(a, s, path, o);
}

static void race_other_content(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_GZ};
	struct store *s = store_mem(a);
	uint8_t *ours = make_segment(a, 1, 5, 1);

	race_arena = a;
	race_segment = make_segment(a, 1, 5, 2);
	race_codec = CODEC_GZ;
	meddle_with(s, 0, NULL);
	meddler.driver.put = put_after_other;
	must_fail(push_one(a, &p, NAME5, ours, SEG, s), ERR_ARCHIVE_DUPLICATE,
		"with a different checksum");
	must_have(a, s, NAME5, race_segment);
	assert_string_equal(
		stored_file(a, s, NAME5).path, stored_name(a, NAME5, race_segment, CODEC_GZ));
}

static void race_same_name(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_GZ};
	struct wal_put_repo r = {.key = 1, .place = PLACE(store_mem(a))};

	race_arena = a;
	race_segment = make_segment(a, 1, 5, 1);
	race_codec = CODEC_GZ;
	meddle_with(r.place.repo, 0, NULL);
	meddler.driver.put = put_after_other;
	assert_int_equal(push_to(a, &p, NAME5, race_segment, SEG, &r, 1), 0);
	assert_true(r.duplicate);
	must_have(a, r.place.repo, NAME5, race_segment);
}

/* The same bytes in another compression: one file must remain, and ours is not it. */
static void race_other_codec(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_GZ};
	struct store *s = store_mem(a);

	race_arena = a;
	race_segment = make_segment(a, 1, 5, 1);
	race_codec = CODEC_ZST;
	meddle_with(s, 0, NULL);
	meddler.driver.put = put_after_other;
	must_fail(push_one(a, &p, NAME5, race_segment, SEG, s), ERR_ARCHIVE_DUPLICATE,
		"duplicates found");
	assert_int_equal(stored_file(a, s, NAME5).codec, CODEC_ZST);
	assert_int_equal(push_one(a, &p, NAME5, race_segment, SEG, s), 0);
}

static void vanish(struct store *s)
{
	s->driver = meddler.real;
	assert_int_equal(
		store_remove(s, stored_name(race_arena, NAME5, race_segment, CODEC_GZ), false), 0);
}

static void vanished_is_not_stored(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_GZ};
	struct store *s = store_mem(a);

	race_arena = a;
	race_segment = make_segment(a, 1, 5, 1);
	meddle_with(s, 2, vanish);
	must_fail(push_one(a, &p, NAME5, race_segment, SEG, s), ERR_COMMAND, "vanished");
}

/* Every store call fails once, and for good: 0 only if it is there and right, and again is always
 * right. */
static void faults(void **state)
{
	static const char *const verbs[] = {
		"get", "read", "put", "write", "finish", "list", "stat", "remove", "sync"};

	for (size_t i = 0; i < 3 * sizeof(verbs) / sizeof(verbs[0]); i++) {
		const enum damage before = i % 3 == 0 ? NOT_THERE : i % 3 == 1 ? SOUND : BIT_FLIP;
		bool more = true;
		for (unsigned nth = 1; more; nth++) {
			SCOPED_ARENA(a);
			const struct pushing p = {.dir = dir, .codec = CODEC_ZST};
			struct store_fault f = {verbs[i / 3], nth, nth % 2 == 0, 0};
			struct store *s = store_mem(a);
			uint8_t *seg = make_segment(a, 1, 5, 1);
			if (before != NOT_THERE) {
				assert_int_equal(push_one(a, &p, NAME5, seg, SEG, s), 0);
				damage(a, s, stored_file(a, s, NAME5).path, before);
			}
			int rc = push_one(a, &p, NAME5, seg, SEG, store_faulty(a, s, &f));
			if (rc == 0)
				must_have(a, s, NAME5, seg);
			else
				assert_true(err_code() != ERR_NONE);
			err_clear();
			assert_int_equal(push_one(a, &p, NAME5, seg, SEG, s), 0);
			must_have(a, s, NAME5, seg);
			stored_file(a, s, NAME5);
			more = f.calls >= nth;
		}
	}
}

static void histories(void **state)
{
	static const char text[] = "1\t0/500100\tno recovery target specified\n";
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_GZ};
	struct wal_put_repo r[] = {{.key = 1, .place = PLACE(store_mem(a))},
		{.key = 2, .place = PLACE(store_mem(a))}};
	struct buf b;

	assert_int_equal(push_to(a, &p, "00000002.history", text, strlen(text), r, 1), 0);
	buf_init(&b, a);
	assert_int_equal(
		store_read(r[0].place.repo, "archive/demo/15-1/00000002.history", 1000, false, &b), 0);
	assert_string_equal(b.data, text);
	assert_int_equal(push_to(a, &p, "00000002.history", text, strlen(text), r, 2), 0);
	assert_true(r[0].duplicate);
	assert_false(r[1].duplicate);
	/* another server's timeline 2 must not replace ours, nor reach a repository that has none
	 */
	r[1].place.repo = store_mem(a);
	must_fail(push_to(a, &p, "00000002.history", "1\t0/600100\tx\n", 13, r, 2),
		ERR_ARCHIVE_DUPLICATE, "00000002.history");
	assert_int_equal(count_in(r[1].place.repo, "archive"), 0);
	must_fail(push_to(a, &p, "00000003.history", "rubbish\n", 8, r, 2), ERR_FORMAT,
		"00000003.history");
	must_fail(push_to(a, &p, "00000003.history", "", 0, r, 2), ERR_FORMAT, "00000003.history");
	assert_int_equal(count_in(r[0].place.repo, "archive/demo/15-1"), 1);
}

static void backup_files(void **state)
{
	static const char name[] = NAME5 ".00000028.backup";
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_GZ};
	struct store *s = store_mem(a);

	assert_int_equal(push_one(a, &p, name, "START WAL", 9, s), 0);
	assert_int_equal(push_one(a, &p, name, "START WAL", 9, s), 0);
	must_fail(push_one(a, &p, name, "START", 5, s), ERR_ARCHIVE_DUPLICATE, name);
	assert_int_equal(count_in(s, "archive/demo/15-1/0000000100000000"), 1);
}

static void plain_faults(void **state)
{
	static const char *const verbs[] = {
		"get", "read", "put", "write", "finish", "stat", "sync"};
	static const char text[] = "1\t0/500100\tx\n";

	for (size_t i = 0; i < 2 * sizeof(verbs) / sizeof(verbs[0]); i++) {
		bool more = true;
		for (unsigned nth = 1; more; nth++) {
			SCOPED_ARENA(a);
			const struct pushing p = {.dir = dir};
			struct store_fault f = {verbs[i / 2], nth, false, 0};
			struct store *s = store_mem(a);
			if (i % 2 == 1)
				must_write(s, "archive/demo/15-1/00000002.history", text,
					strlen(text));
			int rc = push_one(a, &p, "00000002.history", text, strlen(text),
				store_faulty(a, s, &f));
			err_clear();
			struct buf b;
			buf_init(&b, a);
			if (rc == 0)
				assert_int_equal(store_read(s, "archive/demo/15-1/00000002.history",
							 99, false, &b),
					0);
			assert_int_equal(
				push_one(a, &p, "00000002.history", text, strlen(text), s), 0);
			more = f.calls >= nth;
		}
	}
}

/* The same on a real file system: modes, nothing temporary left. */
static void on_disk(void **state)
{
	SCOPED_ARENA(a);
	const struct pushing p = {.dir = dir, .codec = CODEC_ZST};
	char *root = host_dir(a);
	struct store *s = store_posix(a, root);
	uint8_t *seg = make_segment(a, 1, 5, 1);

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(push_one(a, &p, NAME5, seg, SEG, s), 0);
		must_have(a, s, NAME5, seg);
		assert_int_equal(
			host_count(a, path_join(a, root, "archive/demo/15-1/0000000100000000")), 1);
	}
	host_remove(root);
}

static int setup(void **state)
{
	static struct arena *arena;

	arena = arena_new();
	*state = arena;
	dir = host_dir(arena);
	return quiet(state);
}

static int teardown(void **state)
{
	host_remove(dir);
	arena_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stored_and_found),
		cmocka_unit_test(old_timeline_in_header),
		cmocka_unit_test(refused),
		cmocka_unit_test(without_header_check),
		cmocka_unit_test(missing_source),
		cmocka_unit_test(duplicates),
		cmocka_unit_test(duplicates_are_synced),
		cmocka_unit_test(two_files_are_an_error),
		cmocka_unit_test(changed_while_read),
		cmocka_unit_test(one_repository_fails),
		cmocka_unit_test(a_key_for_each),
		cmocka_unit_test(known_to_be_unusable),
		cmocka_unit_test(repair_and_new),
		cmocka_unit_test(conflict_stops_everything),
		cmocka_unit_test(race_other_content),
		cmocka_unit_test(race_same_name),
		cmocka_unit_test(race_other_codec),
		cmocka_unit_test(vanished_is_not_stored),
		cmocka_unit_test(faults),
		cmocka_unit_test(histories),
		cmocka_unit_test(backup_files),
		cmocka_unit_test(plain_faults),
		cmocka_unit_test(on_disk),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
