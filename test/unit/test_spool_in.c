/*
 * spool_in: a segment of the queue is believed only if its note says of it, letter by letter, what is true now.
 */
#include "wal_fixture.h"

#include <errno.h>
#include <stdio.h>
#include "base/sys.h"
#include "cmd/spool_in.h"

#define NAME6 "000000010000000000000006"

static char *dir; /* of the host, for the whole run */

struct setting {
	struct config cfg;
	struct pg_control control;
	struct wal_expect expect;
	struct spool_in q;
	const char *dest;
	uint8_t *bytes; /* of segment 5 */
	struct sum sum;
};

static void write_file(struct arena *a, const char *path, const void *data, size_t len)
{
	assert_int_equal(dir_make(path_parent(a, path), 0700), 0);
	assert_int_equal(file_replace(path, data, len, 0600), 0);
}

static void reopen(struct arena *a, struct setting *s)
{
	assert_int_equal(spool_in_open(a, &s->cfg, &s->control, &s->expect, &s->q), 0);
}

static void add_repo(struct setting *s, unsigned key, const char *path)
{
	vec_push(&s->cfg.repo,
		((struct config_repo){.key = key, .type = "posix", .cipher_type = "none", .path = path}));
}

/* A queue with segment 5 in it. */
static void fill(struct arena *a, struct setting *s)
{
	host_remove(dir);
	*s = (struct setting){.cfg = {.spool_path = path_join(a, dir, "spool"), .stanza = STANZA},
		.control = {.version = pg_version_by_name(VERSION), .system_id = SYSTEM_ID, .wal_segment_size = SEG},
		.expect = {VERSION, SYSTEM_ID, SEG},
		.dest = path_join(a, dir, "pg/got")};
	vec_init(&s->cfg.pg, a);
	vec_init(&s->cfg.repo, a);
	vec_push(&s->cfg.pg, ((struct config_pg){.key = 1, .path = path_join(a, dir, "pg")}));
	add_repo(s, 1, "/repo");
	write_file(a, path_join(a, dir, "pg/global/pg_control"), "x", 1);
	reopen(a, s);
	assert_int_equal(spool_in_make(&s->q), 0);
	s->bytes = make_segment(a, 1, 5, 5);
	sha1_of(s->bytes, SEG, &s->sum);
	write_file(a, spool_in_path(a, &s->q, NAME5), s->bytes, SEG);
	assert_int_equal(spool_in_believe(&s->q, NAME5, &s->sum), 0);
	assert_true(spool_in_has(&s->q, NAME5));
}

static const char *note_file(struct arena *a, const struct setting *s)
{
	return arena_printf(a, "%s.note", spool_in_path(a, &s->q, NAME5));
}

static void not_taken(const struct setting *s)
{
	assert_false(spool_in_has(&s->q, NAME5));
	assert_int_equal(spool_in_take(&s->q, NAME5, s->dest), SPOOL_IN_NOT);
	assert_int_equal(file_exists(s->dest), 0);
}

static void take(void **state)
{
	SCOPED_ARENA(a);
	struct setting s;

	fill(a, &s);
	assert_true(spool_in_seems_to_have(&s.q, NAME5));
	assert_int_equal(spool_in_take(&s.q, NAME6, s.dest), SPOOL_IN_NOT);
	assert_int_equal(spool_in_take(&s.q, NAME5, s.dest), SPOOL_IN_TAKEN);
	assert_true(host_has(a, s.dest, s.bytes, SEG));
	assert_int_equal(host_count(a, s.q.dir), 0);
	assert_int_equal(spool_in_take(&s.q, NAME5, s.dest), SPOOL_IN_NOT);
}

static void each_letter_counts(void **state)
{
	SCOPED_ARENA(a);
	struct setting s;
	struct buf note;

	fill(a, &s);
	buf_init(&note, a);
	assert_int_equal(file_read(note_file(a, &s), 65536, &note), 0);
	for (size_t i = 0; i < note.len; i++) {
		note.data[i] ^= 1;
		write_file(a, note_file(a, &s), note.data, note.len);
		assert_false(spool_in_has(&s.q, NAME5));
		note.data[i] ^= 1;
		write_file(a, note_file(a, &s), note.data, i);
		assert_false(spool_in_has(&s.q, NAME5));
	}
	write_file(a, note_file(a, &s), note.data, note.len);
	assert_true(spool_in_has(&s.q, NAME5));
	buf_addc(&note, '\n');
	write_file(a, note_file(a, &s), note.data, note.len);
	not_taken(&s);
}

static void the_file_counts(void **state)
{
	SCOPED_ARENA(a);
	struct setting s;

	/* the same bytes again: another inode, or another time */
	fill(a, &s);
	write_file(a, spool_in_path(a, &s.q, NAME5), s.bytes, SEG);
	not_taken(&s);
	fill(a, &s);
	assert_int_equal(sys.utime(spool_in_path(a, &s.q, NAME5), 1000), 0);
	not_taken(&s);
	/* a file and its note under another name */
	fill(a, &s);
	assert_int_equal(sys.rename(spool_in_path(a, &s.q, NAME5), spool_in_path(a, &s.q, NAME6)), 0);
	assert_int_equal(sys.rename(note_file(a, &s), arena_printf(a, "%s/" NAME6 ".note", s.q.dir)), 0);
	assert_false(spool_in_has(&s.q, NAME6));
}

/* For whom it was fetched: i counts the ways to be somebody else; false after the last. */
static bool become_other(struct arena *a, struct setting *s, unsigned i)
{
	const char *pg = s->cfg.pg.v[0].path, *control = path_join(a, pg, "global/pg_control");

	switch (i) {
	case 0: s->control.system_id++; return true;
	case 1: s->control.version = pg_version_by_name("16"); return true;
	case 2: s->control.wal_segment_size *= 2; return true;
	case 3: s->expect.version = NULL; return true;
	case 4: s->cfg.repo.v[0].path = "/other"; return true;
	case 5: s->cfg.repo.v[0].type = "cifs"; return true;
	case 6: s->cfg.repo.v[0].cipher_type = "aes-256-cbc"; return true;
	case 7: s->cfg.repo.v[0].key = 2; return true;
	case 8: add_repo(s, 2, "/other"); return true;
	case 9: s->cfg.repo.v[0].sftp_host = "elsewhere"; return true;
	case 10: write_file(a, control, "x", 1); return true;
	case 11: write_file(a, path_join(a, pg, "postmaster.pid"), "7\n/pg\n1700\n5432\n", 16); return true;
	case 12:
		write_file(a, path_join(a, dir, "other/global/pg_control"), "x", 1);
		s->cfg.pg.v[0].path = path_join(a, dir, "other");
		return true;
	case 13: s->cfg.pg.v[0].path = arena_printf(a, "%s/.", pg); return true;
	default: return false;
	}
}

static void whose_it_is_counts(void **state)
{
	bool more = true;

	for (unsigned i = 0; more; i++) {
		SCOPED_ARENA(a);
		struct setting s;

		fill(a, &s);
		more = become_other(a, &s, i);
		reopen(a, &s);
		if (more)
			not_taken(&s);
		else
			assert_true(spool_in_has(&s.q, NAME5));
	}
}

/* The server is told by its process and its start, not by what it writes into its file later. */
static void run_of_the_server(void **state)
{
	static const char *const runs[] = {"7\n/pg\n1700\n5432\n", "7\n/pg\n1700\n5432\n/socket\n\nready\n",
		"8\n/pg\n1700\n5432\n", "7\n/pg\n1701\n5432\n"};
	SCOPED_ARENA(a);
	struct setting s;
	struct spool_in q;

	fill(a, &s);
	const char *pid = path_join(a, s.cfg.pg.v[0].path, "postmaster.pid");
	for (size_t i = 0; i < 4; i++) {
		write_file(a, pid, runs[i], strlen(runs[i]));
		assert_int_equal(spool_in_open(a, &s.cfg, &s.control, &s.expect, &q), 0);
		if (i == 0)
			s.q = q;
		assert_int_equal(strcmp(q.whose, s.q.whose) == 0, i <= 1);
	}
	write_file(a, pid, "7\n/pg\n", 6);
	must_fail(spool_in_open(a, &s.cfg, &s.control, &s.expect, &q), ERR_FORMAT, "postmaster.pid");
}

/* The note is right, the bytes are none of the segment's. */
static void head_is_looked_at(void **state)
{
	SCOPED_ARENA(a);
	struct setting s;

	fill(a, &s);
	write_file(a, spool_in_path(a, &s.q, NAME5), make_segment(a, 1, 6, 6), SEG);
	assert_int_equal(spool_in_believe(&s.q, NAME5, &s.sum), 0);
	must_fail(spool_in_take(&s.q, NAME5, s.dest), ERR_FORMAT, "does not hold the WAL of its name");
	write_file(a, spool_in_path(a, &s.q, NAME5), s.bytes, SEG / 2);
	assert_int_equal(spool_in_believe(&s.q, NAME5, &s.sum), 0);
	must_fail(spool_in_take(&s.q, NAME5, s.dest), ERR_FORMAT, "a segment has");
	assert_int_equal(file_exists(s.dest), 0);
}

static int rename_fails_with;
static int fail_rename(const char *from, const char *to)
{
	if (strstr(from, "/in/") != NULL && strstr(to, "/in/") == NULL) {
		errno = rename_fails_with;
		return -1;
	}
	return rename(from, to);
}

/* On another file system it is copied, and proven by its SHA-1 on the way. */
static void other_file_system(void **state)
{
	SCOPED_ARENA(a);
	struct setting s;
	struct sys_calls right = sys;

	fill(a, &s);
	sys.rename = fail_rename;
	rename_fails_with = EXDEV;
	assert_int_equal(spool_in_take(&s.q, NAME5, s.dest), SPOOL_IN_TAKEN);
	assert_true(host_has(a, s.dest, s.bytes, SEG));
	assert_int_equal(host_count(a, s.q.dir), 0);

	fill(a, &s);
	s.bytes[SEG - 1] ^= 1;
	write_file(a, spool_in_path(a, &s.q, NAME5), s.bytes, SEG);
	assert_int_equal(spool_in_believe(&s.q, NAME5, &s.sum), 0);
	must_fail(spool_in_take(&s.q, NAME5, s.dest), ERR_CHECKSUM, "of its note");
	assert_int_equal(file_exists(s.dest), 0);
	assert_int_equal(host_count(a, path_parent(a, s.dest)), 1); /* global/ */

	fill(a, &s);
	rename_fails_with = EACCES;
	must_fail(spool_in_take(&s.q, NAME5, s.dest), ERR_FILE_MOVE, "unable to move");
	assert_true(spool_in_has(&s.q, NAME5));
	sys = right;
}

static void tidy(void **state)
{
	SCOPED_ARENA(a);
	struct setting s;
	strvec wanted;

	fill(a, &s);
	vec_init(&wanted, a);
	vec_push(&wanted, NAME5);
	vec_push(&wanted, NAME6);
	write_file(a, spool_in_path(a, &s.q, NAME6), s.bytes, SEG); /* without a note */
	write_file(a, arena_printf(a, "%s/folder/file", s.q.dir), "x", 1);
	write_file(a, path_join(a, s.q.dir, NAME5 ".ok"), "", 0);
	write_file(a, path_join(a, s.q.dir, NAME5 ".pgstrata.tmp-1"), "", 0);
	assert_int_equal(spool_in_progress(&s.q, NAME6), SEG);
	spool_in_tidy(&s.q, &wanted);
	assert_int_equal(host_count(a, s.q.dir), 2);
	assert_true(spool_in_has(&s.q, NAME5));
	assert_int_equal(spool_in_progress(&s.q, NAME6), -1);
	wanted.v[0] = NAME6;
	wanted.n = 1;
	spool_in_tidy(&s.q, &wanted);
	assert_int_equal(host_count(a, s.q.dir), 0);

	fill(a, &s);
	write_file(a, path_join(a, dir, "spool/archive/demo/out/x.ok"), "", 0);
	write_file(a, path_join(a, dir, "spool/archive/demo/other/x"), "", 0);
	spool_in_forget(&s.cfg);
	assert_int_equal(host_count(a, s.q.dir), 0);
	assert_int_equal(host_count(a, path_join(a, dir, "spool/archive/demo/out")), 0);
	assert_int_equal(host_count(a, path_join(a, dir, "spool/archive/demo/other")), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(take),
		cmocka_unit_test(each_letter_counts),
		cmocka_unit_test(the_file_counts),
		cmocka_unit_test(whose_it_is_counts),
		cmocka_unit_test(run_of_the_server),
		cmocka_unit_test(head_is_looked_at),
		cmocka_unit_test(other_file_system),
		cmocka_unit_test(tidy),
	};
	struct arena *a = arena_new();

	dir = host_dir(a);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	host_remove(dir);
	arena_free(a);
	return failed;
}
