/*
 * The SFTP driver against a server that this test plays: every status for every request, answers that no honest server
 * sends, silence, and connections that break.  Nothing is taken for an absence but "no such file"; every wait ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "../driver/sftp_server.h"
#include "store/sftp_session.h"

#define TIMEOUT_MS 300

/* What the server does with one kind of request; all others succeed. */
struct play {
	int request;	 /* its type; 0: every one but the greeting; -1: the greeting */
	unsigned status; /* the answer, if there is no raw one */
	const char *raw; /* instead of it: bytes behind the length and before the id is filled in at 5 */
	size_t raw_len;
	bool silent, ends;
	bool extensions;
	unsigned opens; /* connections so far, in the parent */
};

static bool take(int fd, void *data, size_t len)
{
	for (size_t n = 0; n < len;) {
		ssize_t got = read(fd, (char *)data + n, len - n);
		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	return true;
}

static void give(int fd, const void *data, size_t len)
{
	if (write(fd, data, len) != (ssize_t)len)
		_exit(1);
}

static void give_packet(int fd, const char *body, size_t len)
{
	const char head[4] = { 0, (char)(len >> 16), (char)(len >> 8 & 0xff), (char)(len & 0xff) };

	give(fd, head, 4);
	give(fd, body, len);
}

static void give_status(int fd, const char *id, unsigned status)
{
	char body[] = "\x65" "idid" "\0\0\0\0" "\0\0\0\4word" "\0\0\0\0";

	memcpy(body + 1, id, 4);
	body[8] = (char)status;
	give_packet(fd, body, sizeof(body) - 1);
}

/* An honest answer: files have 4 bytes, directories one file "x". */
static void give_success(int fd, int type, const char *id)
{
	static bool listed, was_read;
	char handle[] = "\x66" "idid" "\0\0\0\1h";
	char attrs[] = "\x69" "idid" "\0\0\0\5" "\0\0\0\0\0\0\0\4" "\0\0\x81\xa0";
	char dir[] = "\x69" "idid" "\0\0\0\4" "\0\0\x41\xe8";
	char data[] = "\x67" "idid" "\0\0\0\4data";
	char name[] = "\x68" "idid" "\0\0\0\1" "\0\0\0\1x" "\0\0\0\1l" "\0\0\0\5" "\0\0\0\0\0\0\0\4" "\0\0\x81\xa0";
	char *body = type == SFTP_OPEN || type == SFTP_OPENDIR ? handle : type == SFTP_LSTAT || type == SFTP_FSTAT ? attrs :
		type == SFTP_STAT ? dir : type == SFTP_READ ? data : name;
	size_t len = body == handle ? sizeof(handle) : body == attrs ? sizeof(attrs) : body == dir ? sizeof(dir) :
		body == data ? sizeof(data) : sizeof(name);

	if ((type == SFTP_READDIR && listed) || (type == SFTP_READ && was_read)) {
		give_status(fd, id, SFTP_EOF);
		return;
	}
	listed = listed || type == SFTP_READDIR;
	was_read = was_read || type == SFTP_READ;
	switch (type) {
	case SFTP_OPEN: case SFTP_OPENDIR: case SFTP_LSTAT: case SFTP_FSTAT: case SFTP_STAT: case SFTP_READ:
	case SFTP_READDIR:
		memcpy(body + 1, id, 4);
		give_packet(fd, body, len - 1);
		break;
	default:
		give_status(fd, id, SFTP_OK);
	}
}

static void greet(const struct play *p, int fd)
{
	const char plain[] = "\2\0\0\0\3";
	const char extended[] = "\2\0\0\0\3" "\0\0\0\x18posix-rename@openssh.com\0\0\0\1" "1" "\0\0\0\x11" "fsync@openssh.com\0\0\0\1" "1";

	if (p->request == -1 && (p->silent || p->ends))
		return;
	if (p->request == -1)
		give_packet(fd, p->raw, p->raw_len);
	else if (p->extensions)
		give_packet(fd, extended, sizeof(extended) - 1);
	else
		give_packet(fd, plain, sizeof(plain) - 1);
}

static void run(void *ctx, int fd)
{
	const struct play *p = ctx;
	unsigned char head[4];
	char body[70000];

	while (take(fd, head, 4)) {
		size_t len = (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
		if (len > sizeof(body) || !take(fd, body, len))
			return;
		int type = (unsigned char)body[0];
		if (type == 1) {
			greet(p, fd);
			if (p->request == -1 && p->ends)
				return;
		} else if (p->request != 0 && p->request != type) {
			give_success(fd, type, body + 1);
		} else if (p->ends) {
			return;
		} else if (p->raw != NULL) {
			char copy[256];
			memcpy(copy, p->raw, p->raw_len);
			if (p->raw_len >= 5 && memcmp(copy + 1, "idid", 4) == 0)
				memcpy(copy + 1, body + 1, 4);
			give_packet(fd, copy, p->raw_len);
		} else if (!p->silent) {
			give_status(fd, body + 1, p->status);
		}
	}
}

static struct sftp_link *open_play(struct arena *a, void *ctx, struct deadline d)
{
	((struct play *)ctx)->opens++;
	return fd_link_open(a, run, ctx);
}

enum verb { GET, LIST, STAT, REMOVE, REMOVE_DIR, MAKE_DIR, PUT, PUT_NEW, PUT_PLACE, SYNC, TOUCH, VERBS };
static const char *const verb_names[] = { "get", "list", "stat", "remove", "remove dir", "make dir", "put", "put new",
	"put in place", "sync", "touch" };

static int note(void *ctx, const struct store_entry *e)
{
	++*(unsigned *)ctx;
	return 0;
}

static int do_verb(struct arena *a, struct store *s, enum verb verb)
{
	const struct get_opts get = { .missing_ok = true };
	const struct put_opts touch = { .mode = 0600, .set_mtime = true };
	struct store_entry e;
	unsigned seen = 0;

	switch (verb) {
	case GET:
		return store_get(s, "file", &get, sink_null(a));
	case LIST:
		return store_list(s, "dir", note, &seen);
	case STAT:
		return store_stat(a, s, "file", &e);
	case REMOVE:
		return s->driver->remove(s, "file");
	case REMOVE_DIR:
		return s->driver->remove_dir(s, "dir");
	case MAKE_DIR:
		return store_make_dir(s, "dir", 0);
	case PUT:
	case PUT_NEW:
	case PUT_PLACE:
		return store_write(s, "file", "data", 4, &(struct put_opts){ .atomic = verb != PUT_PLACE, .create_new = verb == PUT_NEW });
	case SYNC:
		return store_sync_dir(s, "dir");
	case TOUCH:
		return store_touch(s, "file", &touch);
	case VERBS:
		break;
	}
	return 0;
}

static int do_once(struct play *p, enum verb verb)
{
	SCOPED_ARENA(a);
	struct store *s = store_sftp_over(a, open_play, p, TIMEOUT_MS, "/root");

	return do_verb(a, s, verb);
}

/* "No such file" means absent for what the request is about; any other status never does. */
static bool may_be_absent(enum verb verb, int request, unsigned status)
{
	if (status != SFTP_NO_FILE && status != SFTP_NO_PATH)
		return false;
	return (verb == GET && request == SFTP_OPEN) || (verb == STAT && request == SFTP_LSTAT) ||
		(verb == REMOVE && request == SFTP_REMOVE) || (verb == REMOVE_DIR && request == SFTP_RMDIR);
}

static void test_every_status(void **state)
{
	static const int requests[] = { SFTP_OPEN, SFTP_CLOSE, SFTP_READ, SFTP_WRITE, SFTP_LSTAT, SFTP_FSTAT, SFTP_SETSTAT,
		SFTP_FSETSTAT, SFTP_OPENDIR, SFTP_READDIR, SFTP_REMOVE, SFTP_MKDIR, SFTP_RMDIR, SFTP_STAT, SFTP_RENAME,
		SFTP_EXTENDED };
	static const unsigned statuses[] = { 1, 2, 3, 4, 5, 7, 8, 10, 11, 200 };

	for (int verb = 0; verb < VERBS; verb++)
		for (size_t r = 0; r < sizeof(requests) / sizeof(*requests); r++)
			for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
				for (int extensions = 0; extensions < 2; extensions++) {
					const int request = requests[r];
					const unsigned status = statuses[i];
					struct play p = { .request = request, .status = status, .extensions = extensions };
					int rc = do_once(&p, verb);
					if (rc == STORE_ABSENT && !may_be_absent(verb, request, status))
						fail_msg("%s: request %d with status %u is taken for an absence", verb_names[verb],
							request, status);
					if (rc == -1 && err_code() == ERR_NONE)
						fail_msg("%s: request %d with status %u fails without a word", verb_names[verb], request,
							status);
					if (rc != -1 && err_code() != ERR_NONE)
						fail_msg("%s: request %d with status %u leaves '%s'", verb_names[verb], request, status,
							err_msg());
					err_clear();
				}
}

/* A put that says that it is done has had an answer of success to all that it promises. */
static void test_refused_steps(void **state)
{
	static const int steps[] = { SFTP_OPEN, SFTP_WRITE, SFTP_CLOSE, SFTP_EXTENDED };

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++)
		for (unsigned status = 1; status <= 8; status++) {
			struct play p = { .request = steps[i], .status = status, .extensions = true };
			assert_int_equal(do_once(&p, PUT), -1);
			err_clear();
		}
}

static void test_hostile_answers(void **state)
{
	static const struct {
		const char *raw;
		size_t len;
	} cases[] = {
#define RAW(text) { text, sizeof(text) - 1 }
		RAW("\x65" "nono" "\0\0\0\0"),		      /* another id */
		RAW("\x65" "idid"),			      /* no status */
		RAW("\x66" "idid" "\0\0\0\xff" "h"),	      /* a handle that is not there */
		RAW("\x66" "idid" "\xff\xff\xff\xff"),
		RAW("\x67" "idid" "\0\0\0\0"),		      /* no data */
		RAW("\x67" "idid" "\x7f\xff\xff\xff" "x"),
		RAW("\x68" "idid" "\0\0\0\0"),		      /* no names, again and again */
		RAW("\x68" "idid" "\xff\xff\xff\xff" "\0\0\0\1x"),
		RAW("\x68" "idid" "\0\0\0\1" "\0\0\0\4../x" "\0\0\0\0" "\0\0\0\0"),
		RAW("\x68" "idid" "\0\0\0\1" "\0\0\0\0" "\0\0\0\0" "\0\0\0\0"),
		RAW("\x69" "idid" "\0\0\0\xf"),		      /* attributes that are not there */
		RAW("\x69" "idid" "\x80\0\0\0" "\xff\xff\xff\xff"),
		RAW("\xc9" "idid"), RAW("\1" "idid"), RAW("\0\0"),
	};

	for (int verb = 0; verb < VERBS; verb++)
		for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
			struct play p = { .raw = cases[i].raw, .raw_len = cases[i].len, .extensions = true };
			if (do_once(&p, verb) != -1 || err_code() == ERR_NONE)
				fail_msg("%s: hostile answer %zu is believed", verb_names[verb], i);
			err_clear();
		}
}

static void test_no_data_end_a_get(void **state)
{
	struct play p = { .request = SFTP_READ, .raw = "\x67" "idid" "\0\0\0\2xx", .raw_len = 11 };

	/* two bytes at a time, as often as it takes: short answers are no end */
	assert_int_equal(do_once(&p, GET), 0);
	/* the file has four bytes and ends after none */
	p = (struct play){ .request = SFTP_READ, .status = SFTP_EOF };
	assert_int_equal(do_once(&p, GET), -1);
	assert_int_equal(err_code(), ERR_FILE_READ);
	err_clear();
}

static void test_greetings(void **state)
{
	static const struct play plays[] = {
		{ .request = -1, .raw = "\2\0\0\0\2", .raw_len = 5 },
		{ .request = -1, .raw = "This service allows sftp connections only.", .raw_len = 42 },
		{ .request = -1, .raw = "\2", .raw_len = 1 },
		{ .request = -1, .silent = true },
		{ .request = -1, .ends = true },
	};

	for (size_t i = 0; i < sizeof(plays) / sizeof(*plays); i++) {
		struct play p = plays[i];
		assert_int_equal(do_once(&p, STAT), -1);
		assert_non_null(strstr(err_msg(), "/root/file"));
		err_clear();
	}
}

static void test_silence_and_ends(void **state)
{
	for (int verb = 0; verb < VERBS; verb++)
		for (int ends = 0; ends < 2; ends++) {
			struct play p = { .silent = !ends, .ends = ends };
			int64_t begin = clock_mono_ms();
			assert_int_equal(do_once(&p, verb), -1);
			assert_non_null(strstr(err_msg(), "/root/"));
			assert_true(clock_mono_ms() - begin < 20 * TIMEOUT_MS);
			err_clear();
		}
}

/* After a failure the next use connects again; but a server that cannot be reached is not tried for each file. */
static void test_again(void **state)
{
	SCOPED_ARENA(a);
	struct play p = { .request = SFTP_REMOVE, .ends = true };
	struct store *s = store_sftp_over(a, open_play, &p, TIMEOUT_MS, "/root");

	assert_int_equal(do_verb(a, s, STAT), 0);
	assert_int_equal(do_verb(a, s, REMOVE), -1);
	err_clear();
	assert_int_equal(do_verb(a, s, STAT), 0);
	assert_int_equal(do_verb(a, s, STAT), 0);
	assert_int_equal(p.opens, 2);
	struct play deaf = { .request = -1, .ends = true };
	s = store_sftp_over(a, open_play, &deaf, 60000, "/root");
	for (int i = 0; i < 5; i++) {
		assert_int_equal(do_verb(a, s, STAT), -1);
		err_clear();
	}
	assert_int_equal(deaf.opens, 1);
}

/* A put or a get that was begun on a connection that is lost does not go on on the next one. */
static void test_lost_while_open(void **state)
{
	SCOPED_ARENA(a);
	struct play p = { .request = SFTP_REMOVE, .ends = true };
	struct store *s = store_sftp_over(a, open_play, &p, TIMEOUT_MS, "/root");
	struct sink *to = store_put(a, s, "file", NULL);

	assert_non_null(to);
	assert_int_equal(sink_write(to, "data", 4), 0);
	assert_int_equal(do_verb(a, s, REMOVE), -1);
	err_clear();
	assert_int_equal(do_verb(a, s, STAT), 0);
	assert_int_equal(sink_finish(to), -1);
	assert_non_null(strstr(err_msg(), "/root/file"));
	err_clear();
}

/* What was forked uses a connection of its own, and does not end the parent's. */
static void test_fork(void **state)
{
	SCOPED_ARENA(a);
	struct play p = { .request = SFTP_SYMLINK };
	struct store *s = store_sftp_over(a, open_play, &p, TIMEOUT_MS, "/root");
	int status = 1;

	assert_int_equal(do_verb(a, s, STAT), 0);
	pid_t child = fork();
	if (child == 0)
		_exit(do_verb(a, s, STAT) == 0 && p.opens == 2 ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(do_verb(a, s, STAT), 0);
	assert_int_equal(p.opens, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_status), cmocka_unit_test(test_refused_steps), cmocka_unit_test(test_hostile_answers),
		cmocka_unit_test(test_no_data_end_a_get), cmocka_unit_test(test_greetings), cmocka_unit_test(test_silence_and_ends),
		cmocka_unit_test(test_again), cmocka_unit_test(test_lost_while_open), cmocka_unit_test(test_fork),
	};

	return cmocka_run_group_tests_name("sftp", tests, NULL, NULL);
}
