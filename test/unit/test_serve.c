/*
 * The server over a socket, in a process of its own: every request, what is denied and hidden, what is malformed, what
 * is cancelled, who vanishes.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/path.h"
#include "base/sig.h"
#include "base/str.h"
#include "store/beneath.h"
#include "stream/cipher.h"
#include "work/serve_intern.h"

#define REPO 1u
#define ELSEWHERE 2u /* a repository that is not on this host */
#define CLUSTER (REMOTE_PLACE_PG + 1)
#define BIG ((size_t)64 * 1024 * 1024)
#define WAIT_MS 60000
#define ALL (REMOTE_ROLE_ARCHIVE | REMOTE_ROLE_RESTORE | REMOTE_ROLE_BACKUP)
#define PASS "the repository's own"

struct fixture {
	struct arena *a;
	char dir[64];
	/* how the next conversation is to be */
	uint32_t roles;
	uint16_t minor;
	struct remote_hello me;
	/* the conversation */
	pid_t pid;
	int fd;
	struct wire *wire;
	struct remote_hello server;
	uint32_t number;
};

static const char *at(struct fixture *f, const char *path)
{
	return path_join(f->a, f->dir, path);
}

static void make_file(struct fixture *f, const char *path, const void *content, size_t len)
{
	assert_int_equal(dir_make(path_parent(f->a, at(f, path)), 0755), 0);
	assert_int_equal(file_replace(at(f, path), content, len, 0644), 0);
}

static void make_text(struct fixture *f, const char *path, const char *text)
{
	make_file(f, path, text, strlen(text));
}

/* ---- the policy of these tests: by words in the path ---- */

static enum serve_leave may(void *ctx, const struct serve_place *p, enum serve_act act, const char *path)
{
	assert_true(path[0] == '\0' || path_is_safe(path));
	if (strstr(path, "hidden") != NULL)
		return SERVE_HIDDEN;
	if (strstr(path, "denied") != NULL || (act == SERVE_PUT && !str_starts(path, "archive/")))
		return SERVE_DENIED;
	return SERVE_ALLOWED;
}

static bool shows(void *ctx, const struct serve_place *p, const char *dir, const char *name)
{
	return strcmp(name, "hidden") != 0;
}

static const char *opens(void *ctx, const struct serve_place *p, const char *path)
{
	return strcmp(path, "archive/info") == 0 ? PASS : NULL;
}

static int publish(void *ctx, const struct serve_place *p, const char *final_path)
{
	return str_ends(final_path, "-taken") ? err_set(ERR_FILE_EXISTS, "'%s' is there already", final_path) : 0;
}

static int stopped(void *ctx)
{
	struct fixture *f = ctx;

	return access(at(f, "stop"), F_OK) == 0 ? err_set(ERR_STOP, "stop file exists") : 0;
}

static const struct serve_ops ops = { .may = may, .shows = shows, .opens = opens, .publish = publish,
	.stopped = stopped };

/* ---- a conversation ---- */

static void serve_child(struct fixture *f, int fd)
{
	const struct serve_place places[] = {
		{ .place = { REPO, at(f, "repo"), "none" }, .store = store_beneath(f->a, at(f, "repo"), BENEATH_REPO) },
		{ .place = { ELSEWHERE, "mem", "none" }, .store = store_mem(f->a) },
		{ .place = { CLUSTER, at(f, "pg"), NULL }, .store = store_beneath(f->a, at(f, "pg"), BENEATH_CLUSTER) },
	};
	const struct serve s = { .in = fd, .out = fd, .roles = f->roles, .forced = true, .places = places, .n = 3,
		.ops = &ops, .ctx = f, .silence_ms = WAIT_MS, .minor = f->minor };

	_exit(serve_run(&s) == 0 ? 0 : (int)err_code());
}

static void start(struct fixture *f)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	f->pid = fork();
	if (f->pid == 0) {
		close(pair[0]);
		serve_child(f, pair[1]);
	}
	close(pair[1]);
	f->fd = pair[0];
	f->number = 0;
}

/* As far as the server's hello. */
static void meet(struct fixture *f)
{
	struct wire_frame frame;
	const char *foreign;

	start(f);
	f->wire = wire_new(f->a, f->fd, f->fd, "the server", WAIT_MS);
	assert_int_equal(wire_expect_magic(f->wire, WAIT_MS, &foreign), 0);
	assert_int_equal(wire_receive(f->wire, &frame), 0);
	assert_int_equal(frame.type, WIRE_HELLO);
	assert_int_equal(remote_unpack_hello(f->a, frame.data, frame.len, true, &f->server), 0);
}

static void send_frame(struct fixture *f, enum wire_type type, unsigned flags, uint32_t number, const void *data,
	size_t len)
{
	assert_int_equal(wire_send(f->wire, type, flags, number, data, len), 0);
}

static void talk(struct fixture *f)
{
	struct buf b;

	meet(f);
	buf_init(&b, f->a);
	remote_pack_hello(&b, &f->me, false);
	send_frame(f, WIRE_HELLO, WIRE_LAST, 0, b.data, b.len);
}

/* The server's exit code, once the conversation is over for it too. */
static int over(struct fixture *f)
{
	int status;

	close(f->fd);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = 0;
	err_clear();
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int goodbye(struct fixture *f)
{
	struct wire_frame frame;

	send_frame(f, WIRE_GOODBYE, WIRE_LAST, 0, NULL, 0);
	assert_int_equal(wire_receive(f->wire, &frame), 0);
	assert_int_equal(frame.type, WIRE_GOODBYE);
	return over(f);
}

static uint32_t request(struct fixture *f, const struct buf *b)
{
	send_frame(f, WIRE_REQUEST, WIRE_LAST, ++f->number, b->data, b->len);
	return f->number;
}

struct got {
	struct buf data;
	struct unpack answer;
	enum err_code code; /* ERR_NONE: answered */
	const char *msg;
	struct store_entry entry; /* name NULL: none came */
};

static void take_failure(struct fixture *f, const struct wire_frame *frame, struct got *g)
{
	assert_int_equal(wire_unpack_failure(frame, "there"), -1);
	g->code = err_code();
	g->msg = arena_strdup(f->a, err_msg());
	err_clear();
}

static struct got answer(struct fixture *f, uint32_t number)
{
	struct got g = { 0 };
	struct buf all;

	buf_init(&g.data, f->a);
	buf_init(&all, f->a);
	for (;;) {
		struct wire_frame frame;
		assert_int_equal(wire_receive(f->wire, &frame), 0);
		assert_int_equal(frame.request, number);
		if (frame.type == WIRE_FAILURE) {
			take_failure(f, &frame, &g);
			return g;
		}
		if (frame.type == WIRE_ENTRY) {
			struct unpack u;
			unpack_init(&u, f->a, frame.data, frame.len);
			assert_int_equal(g.data.len, 0);
			remote_unpack_entry(&u, &g.entry);
			assert_int_equal(unpack_end(&u, "entry"), 0);
			continue;
		}
		if (frame.type == WIRE_DATA) {
			buf_add(&g.data, frame.data, frame.len);
			continue;
		}
		assert_int_equal(frame.type, WIRE_ANSWER);
		buf_add(&all, frame.data, frame.len);
		if (frame.last)
			break;
	}
	unpack_init(&g.answer, f->a, all.data, all.len);
	return g;
}

static struct got ask(struct fixture *f, const struct buf *b)
{
	return answer(f, request(f, b));
}

static struct got ask_path(struct fixture *f, enum remote_verb verb, uint32_t place, const char *path)
{
	struct buf b;

	buf_init(&b, f->a);
	remote_pack_path(&b, verb, place, path);
	return ask(f, &b);
}

static struct buf get_request(struct fixture *f, const struct remote_get *r)
{
	struct buf b;

	buf_init(&b, f->a);
	remote_pack_get(&b, r);
	return b;
}

static struct got get(struct fixture *f, uint32_t place, const char *path)
{
	const struct buf b = get_request(f, &(struct remote_get){ .place = place, .path = path });

	return ask(f, &b);
}

static void assert_got(struct got g, const char *content)
{
	struct pipe_result r;
	bool absent;

	assert_int_equal(g.code, ERR_NONE);
	remote_unpack_got(&g.answer, NULL, &absent, &r);
	assert_int_equal(unpack_end(&g.answer, "answer"), 0);
	assert_int_equal(absent, content == NULL);
	assert_string_equal(g.data.data, content == NULL ? "" : content);
}

/* This ends the conversation. */
static void assert_ended(struct fixture *f, struct got g, enum err_code code)
{
	struct wire_frame frame;

	assert_int_equal(g.code, code);
	assert_int_not_equal(wire_receive(f->wire, &frame), 0); /* -1: what it had not read was dropped */
	assert_int_equal(over(f), code);
}

static uint32_t begin_put_at(struct fixture *f, uint32_t place, const char *path, bool replace)
{
	struct buf b;

	buf_init(&b, f->a);
	remote_pack_put(&b, &(struct remote_put){ place, path, true, replace });
	return request(f, &b);
}

static uint32_t begin_put(struct fixture *f, const char *path, bool replace)
{
	return begin_put_at(f, REPO, path, replace);
}

static void send_data(struct fixture *f, uint32_t number, const char *text)
{
	assert_int_equal(wire_send_data(f->wire, number, text, strlen(text), WIRE_NO_PACK, false), 0);
}

static void send_finish(struct fixture *f, uint32_t number, const char *final_path)
{
	struct buf b;

	buf_init(&b, f->a);
	pack_str(&b, final_path);
	send_frame(f, WIRE_FINISH, WIRE_LAST, number, b.data, b.len);
}

static struct got put(struct fixture *f, const char *path, const char *final_path, const char *text)
{
	uint32_t n = begin_put(f, path, false);

	send_data(f, n, text);
	send_finish(f, n, final_path);
	return answer(f, n);
}

static const char *content_of(struct fixture *f, const char *path)
{
	struct buf b;

	buf_init(&b, f->a);
	if (file_read(at(f, path), 1024, &b) == 0)
		return b.data;
	err_clear();
	return NULL;
}

static const char *names_in(struct fixture *f, const char *dir)
{
	struct dir_names names;
	struct buf b;

	buf_init(&b, f->a);
	assert_int_equal(dir_list(f->a, at(f, dir), &names), 0);
	for (size_t i = 0; i < names.n; i++)
		buf_addf(&b, "%s ", names.v[i]);
	return b.data;
}

/* ---- the small world ---- */

static void make_world(struct fixture *f)
{
	struct buf b;

	make_text(f, "repo/archive/plain", "plain");
	make_text(f, "repo/archive/dir/one", "1");
	make_text(f, "repo/archive/dir/two", "22");
	make_text(f, "repo/archive/dir/hidden", "not for you");
	make_text(f, "repo/archive/denied", "not for you");
	make_text(f, "pg/PG_VERSION", "17\n");
	make_text(f, "pg/base/1/2", "relation");
	make_text(f, "pg/base/hidden/2", "relation");
	make_text(f, "ts/PG_17/5/6", "far relation");
	assert_int_equal(dir_make(at(f, "pg/pg_tblspc"), 0755), 0);
	assert_int_equal(symlink(at(f, "ts"), at(f, "pg/pg_tblspc/16384")), 0);
	assert_int_equal(symlink("..", at(f, "ts/round")), 0);
	assert_int_equal(symlink(at(f, "none"), at(f, "pg/dangling")), 0);
	buf_init(&b, f->a);
	struct sink *s = sink_encrypt(f->a, sink_buf(f->a, &b), PASS, false);
	assert_int_equal(sink_write(s, "sub-passphrase", 14), 0);
	assert_int_equal(sink_finish(s), 0);
	make_file(f, "repo/archive/info", b.data, b.len);
	make_file(f, "repo/big", "", 0);
	assert_int_equal(truncate(at(f, "repo/big"), (off_t)BIG), 0);
}

static int setup(void **state)
{
	struct arena *a = arena_new();
	struct fixture *f = arena_new_object(a, struct fixture);

	f->a = a;
	snprintf(f->dir, sizeof(f->dir), "/tmp/pgstrata-serve-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->roles = ALL;
	f->me = (struct remote_hello){ .major = REMOTE_MAJOR, .minor = REMOTE_MINOR, .program = "a test",
		.capabilities = REMOTE_CAP_AHEAD " " REMOTE_CAP_BLOCKS, .ahead = REMOTE_AHEAD_MAX, .roles = ALL,
		.exec_id = "1-test", .silence_ms = WAIT_MS, .level = WIRE_NO_PACK };
	make_world(f);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char dir[64];

	if (f->pid > 0) {
		kill(f->pid, SIGKILL);
		waitpid(f->pid, NULL, 0);
	}
	memcpy(dir, f->dir, sizeof(dir));
	arena_free(f->a);
	err_clear();
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- hello and end ---- */

static void test_hello(void **state)
{
	struct fixture *f = *state;

	f->roles = REMOTE_ROLE_RESTORE;
	talk(f);
	assert_int_equal(f->server.major, REMOTE_MAJOR);
	assert_int_equal(f->server.minor, REMOTE_MINOR);
	assert_int_equal(f->server.ahead, REMOTE_AHEAD_MAX);
	assert_int_equal(f->server.roles, REMOTE_ROLE_RESTORE);
	assert_null(f->server.stanza);
	assert_true(f->server.forced);
	assert_true(remote_can(&f->server, &f->me, REMOTE_CAP_BLOCKS));
	assert_int_equal(f->server.places.n, 3);
	assert_int_equal(f->server.places.v[0].number, REPO);
	assert_string_equal(f->server.places.v[0].path, at(f, "repo"));
	assert_string_equal(f->server.places.v[0].cipher, "none");
	assert_int_equal(f->server.places.v[2].number, CLUSTER);
	assert_int_equal(goodbye(f), 0);
}

static void test_other_versions(void **state)
{
	struct fixture *f = *state;

	f->me.major = REMOTE_MAJOR + 1;
	talk(f);
	const struct got g = answer(f, 0);
	assert_non_null(strstr(g.msg, arena_printf(f->a, "speaks protocol %u.%u", REMOTE_MAJOR + 1, REMOTE_MINOR)));
	assert_ended(f, g, ERR_PROTOCOL);
	f->me.major = REMOTE_MAJOR;
	f->minor = SERVE_MINOR_0;
	talk(f);
	assert_int_equal(f->server.minor, 0);
	assert_int_equal(f->server.ahead, 0);
	assert_string_equal(f->server.capabilities, "");
	assert_got(get(f, REPO, "archive/plain"), "plain");
	assert_int_equal(goodbye(f), 0);
}

static void test_no_hello(void **state)
{
	struct fixture *f = *state;

	meet(f);
	assert_int_equal(over(f), 0);
	meet(f);
	send_frame(f, WIRE_REQUEST, WIRE_LAST, 1, "x", 1);
	assert_ended(f, answer(f, 0), ERR_PROTOCOL);
	meet(f);
	send_frame(f, WIRE_HELLO, WIRE_LAST, 0, "short", 5);
	assert_ended(f, answer(f, 0), ERR_PROTOCOL);
}

static void test_caller_leaves(void **state)
{
	struct fixture *f = *state;

	talk(f);
	assert_got(get(f, REPO, "archive/plain"), "plain");
	assert_int_equal(over(f), 0);
}

/* The lower protocol-timeout of both counts. */
static void test_silent_caller(void **state)
{
	struct fixture *f = *state;

	f->me.silence_ms = 1;
	talk(f);
	assert_ended(f, answer(f, 0), ERR_SERVICE);
}

/* ---- reading ---- */

static void test_get(void **state)
{
	struct fixture *f = *state;
	struct buf b;

	talk(f);
	assert_got(get(f, REPO, "archive/plain"), "plain");
	assert_got(get(f, CLUSTER, "base/1/2"), "relation");
	assert_got(get(f, CLUSTER, "pg_tblspc/16384/PG_17/5/6"), "far relation");
	assert_got(get(f, REPO, "archive/none"), NULL);
	assert_got(get(f, REPO, "none/none"), NULL);
	assert_got(get(f, REPO, "archive/dir/hidden"), NULL);
	struct remote_get part = { REPO, "archive/plain", false, { .offset = 1, .length = 3, .exact = true } };
	b = get_request(f, &part);
	assert_got(ask(f, &b), "lai");
	part.opts.length = 5;
	b = get_request(f, &part);
	assert_int_equal(ask(f, &b).code, ERR_FILE_READ);
	assert_int_equal(get(f, REPO, "archive/dir").code, ERR_FILE_READ);
	b = get_request(f, &(struct remote_get){ REPO, "archive/dir/two", true, { 0 } });
	struct got g = ask(f, &b);
	assert_string_equal(g.entry.name, "two");
	assert_int_equal(g.entry.size, 2);
	assert_got(g, "22");
	assert_int_equal(goodbye(f), 0);
}

static void test_get_through_a_pipe(void **state)
{
	static const struct pipe_spec spec = { .hash_plain = true, .hash_stored = true, .compress = CODEC_GZ,
		.level = 1 };
	struct fixture *f = *state;
	struct pipe_result r;
	struct sum sum;
	bool absent;

	talk(f);
	struct buf b = get_request(f, &(struct remote_get){ REPO, "archive/plain", false, { .spec = &spec } });
	struct got g = ask(f, &b);
	assert_int_equal(g.code, ERR_NONE);
	remote_unpack_got(&g.answer, &spec, &absent, &r);
	assert_int_equal(unpack_end(&g.answer, "answer"), 0);
	sha1_of("plain", 5, &sum);
	assert_int_equal(r.plain_size, 5);
	assert_int_equal(r.stored_size, g.data.len);
	assert_true(sum_equal(&r.plain_sum, &sum));
	sha1_of(g.data.data, g.data.len, &sum);
	assert_true(sum_equal(&r.stored_sum, &sum));
	/* what is not wanted does not cross */
	const struct pipe_spec unless = { .hash_plain = true, .unless = &r.plain_sum };
	b = get_request(f, &(struct remote_get){ REPO, "archive/plain", false, { .spec = &unless } });
	g = ask(f, &b);
	assert_int_equal(g.data.len, 0);
	remote_unpack_got(&g.answer, &unless, &absent, &r);
	assert_int_equal(unpack_end(&g.answer, "answer"), 0);
	assert_true(r.skipped);
	assert_int_equal(goodbye(f), 0);
}

/* With the server's passphrase, whatever the caller says. */
static void test_opened_for_the_peer(void **state)
{
	static const struct pipe_spec own = { .decrypt = "a guess", .raw = true, .hash_plain = true };
	struct fixture *f = *state;
	struct pipe_result r;
	struct sum sum;
	bool absent;

	talk(f);
	assert_got(get(f, REPO, "archive/info"), "sub-passphrase");
	const struct buf b = get_request(f, &(struct remote_get){ REPO, "archive/info", false, { .spec = &own } });
	struct got g = ask(f, &b);
	assert_string_equal(g.data.data, "sub-passphrase");
	remote_unpack_got(&g.answer, &own, &absent, &r);
	assert_int_equal(unpack_end(&g.answer, "answer"), 0);
	sha1_of("sub-passphrase", 14, &sum);
	assert_true(sum_equal(&r.plain_sum, &sum));
	assert_int_equal(goodbye(f), 0);
}

/* More than a frame holds. */
static void test_long_answer(void **state)
{
	static const struct blocks_spec blocks = { .block_size = 512, .sum_size = 16, .super_size = 512 * 1024,
		.codec = CODEC_ZST, .level = 1 };
	static const struct pipe_spec spec = { .blocks = &blocks };
	struct fixture *f = *state;
	struct pipe_result r;
	bool absent;

	talk(f);
	const struct buf b = get_request(f, &(struct remote_get){ REPO, "big", false, { .spec = &spec } });
	struct got g = ask(f, &b);
	assert_int_equal(g.code, ERR_NONE);
	assert_true((size_t)(g.answer.end - g.answer.at) > WIRE_FRAME_MAX);
	remote_unpack_got(&g.answer, &spec, &absent, &r);
	assert_int_equal(unpack_end(&g.answer, "answer"), 0);
	assert_int_equal(r.blocks.changed.n, BIG / 512);
	assert_int_equal(r.stored_size, g.data.len);
	assert_int_equal(goodbye(f), 0);
}

static void test_impossible_specs(void **state)
{
	static const struct blocks_spec small = { .block_size = 8192, .sum_size = 6, .super_size = 65536 };
	static const struct blocks_spec huge = { .block_size = 1u << 30, .sum_size = 6, .super_size = 1u << 31 };
	static const struct pipe_spec specs[] = {
		{ .compress = CODEC_GZ, .level = 1000 },
		{ .compress = CODEC_ZST, .level = -100000 },
		{ .blocks = &huge },
		{ .blocks = &small }, /* the last one: without the capability */
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < 4; i++) {
		f->minor = i == 3 ? SERVE_MINOR_0 : 0;
		const struct remote_get r = { REPO, "archive/plain", false, { .spec = &specs[i] } };
		const struct buf b = get_request(f, &r);
		talk(f);
		assert_ended(f, ask(f, &b), ERR_PROTOCOL);
	}
}

/* Name and type of each. */
static const char *entries(struct fixture *f, struct unpack *u, uint32_t n)
{
	static const char type[] = { [STORE_FILE] = 'f', [STORE_DIR] = 'd', [STORE_LINK] = 'l', [STORE_SPECIAL] = 's' };
	struct buf b;

	buf_init(&b, f->a);
	for (uint32_t i = 0; i < n; i++) {
		struct store_entry e;
		remote_unpack_entry(u, &e);
		buf_addf(&b, "%s:%c ", e.name, type[e.type]);
	}
	return b.data;
}

static uint32_t count_of(struct got *g)
{
	assert_int_equal(g->code, ERR_NONE);
	assert_false(unpack_bool(&g->answer));
	uint32_t n = unpack_u32(&g->answer);
	assert_int_equal(unpack_end(&g->answer, "answer"), 0);
	return n;
}

static void assert_absent(struct got g)
{
	assert_int_equal(g.code, ERR_NONE);
	assert_true(unpack_bool(&g.answer));
	assert_int_equal(unpack_end(&g.answer, "answer"), 0);
	assert_int_equal(g.data.len, 0);
}

static const char *list(struct fixture *f, uint32_t place, const char *dir)
{
	struct got g = ask_path(f, REMOTE_LIST, place, dir);
	uint32_t n = count_of(&g);
	struct unpack u;

	unpack_init(&u, f->a, g.data.data, g.data.len);
	const char *text = entries(f, &u, n);
	assert_int_equal(unpack_end(&u, "entries"), 0);
	return text;
}

static void test_list(void **state)
{
	struct fixture *f = *state;

	talk(f);
	assert_string_equal(list(f, REPO, "archive/dir"), "one:f two:f ");
	assert_string_equal(list(f, REPO, ""), "archive:d big:f ");
	assert_string_equal(list(f, CLUSTER, "pg_tblspc"), "16384:l ");
	assert_string_equal(list(f, CLUSTER, "pg_tblspc/16384"), "PG_17:d round:l ");
	assert_absent(ask_path(f, REMOTE_LIST, REPO, "none"));
	assert_absent(ask_path(f, REMOTE_LIST, CLUSTER, "base/hidden"));
	assert_int_equal(ask_path(f, REMOTE_LIST, REPO, "archive/plain").code, ERR_PATH_OPEN);
	assert_int_equal(goodbye(f), 0);
}

static void test_long_list(void **state)
{
	struct fixture *f = *state;
	struct buf want;

	buf_init(&want, f->a);
	for (unsigned i = 0; i < 3000; i++) {
		const char *name = arena_printf(f->a, "a-rather-long-name-of-a-file-%06u", i);
		int fd = open(at(f, path_join(f->a, "repo/archive/dir", name)), O_CREAT | O_WRONLY, 0644);
		assert_true(fd >= 0);
		close(fd);
		buf_addf(&want, "%s:f ", name);
	}
	buf_adds(&want, "one:f two:f ");
	talk(f);
	assert_string_equal(list(f, REPO, "archive/dir"), want.data);
	assert_int_equal(goodbye(f), 0);
}

static void test_stat(void **state)
{
	struct fixture *f = *state;
	struct store_entry e;

	talk(f);
	struct got g = ask_path(f, REMOTE_STAT, CLUSTER, "pg_tblspc/16384");
	assert_false(unpack_bool(&g.answer));
	remote_unpack_entry(&g.answer, &e);
	assert_int_equal(unpack_end(&g.answer, "answer"), 0);
	assert_int_equal(e.type, STORE_LINK);
	assert_string_equal(e.target, at(f, "ts"));
	assert_int_equal(e.target_entry->type, STORE_DIR);
	assert_absent(ask_path(f, REMOTE_STAT, REPO, "none"));
	assert_absent(ask_path(f, REMOTE_STAT, REPO, "archive/dir/hidden"));
	g = ask_path(f, REMOTE_STAT, REPO, "");
	assert_false(unpack_bool(&g.answer));
	assert_int_equal(goodbye(f), 0);
}

static const char *tree(struct fixture *f, const char *dir)
{
	struct got g = ask_path(f, REMOTE_TREE, CLUSTER, dir);
	uint32_t n = count_of(&g);
	struct unpack u;
	struct buf b;

	buf_init(&b, f->a);
	unpack_init(&u, f->a, g.data.data, g.data.len);
	for (uint32_t i = 0; i < n; i++) {
		const char *path = unpack_text(&u);
		uint32_t count = unpack_u32(&u);
		buf_addf(&b, "[%s] %s", path, entries(f, &u, count));
	}
	assert_int_equal(unpack_end(&u, "folders"), 0);
	return b.data;
}

static void test_tree(void **state)
{
	struct fixture *f = *state;

	talk(f);
	assert_string_equal(tree(f, ""),
		"[] PG_VERSION:f base:d dangling:l pg_tblspc:d [base] 1:d [base/1] 2:f "
		"[pg_tblspc] 16384:l [pg_tblspc/16384] PG_17:d round:l [pg_tblspc/16384/PG_17] 5:d "
		"[pg_tblspc/16384/PG_17/5] 6:f ");
	assert_string_equal(tree(f, "base/1"), "[base/1] 2:f ");
	assert_absent(ask_path(f, REMOTE_TREE, CLUSTER, "none"));
	assert_absent(ask_path(f, REMOTE_TREE, CLUSTER, "base/hidden"));
	/* what cannot be listed is no answer if it was asked for */
	assert_int_equal(ask_path(f, REMOTE_TREE, CLUSTER, "PG_VERSION").code, ERR_PATH_OPEN);
	assert_int_equal(goodbye(f), 0);
}

/* ---- writing ---- */

static void test_put(void **state)
{
	struct fixture *f = *state;

	talk(f);
	assert_int_equal(put(f, "archive/x/y/new", "archive/x/y/new-sum", "content").code, ERR_NONE);
	assert_string_equal(content_of(f, "repo/archive/x/y/new-sum"), "content");
	assert_string_equal(names_in(f, "repo/archive/x/y"), "new-sum ");
	/* there already: by its name, and by what the policy says of names */
	assert_int_equal(put(f, "archive/x/y/new", "archive/x/y/new-sum", "other").code, ERR_FILE_EXISTS);
	assert_int_equal(put(f, "archive/x/y/new", "archive/x/y/new-taken", "other").code, ERR_FILE_EXISTS);
	assert_string_equal(content_of(f, "repo/archive/x/y/new-sum"), "content");
	assert_string_equal(names_in(f, "repo/archive/x/y"), "new-sum ");
	struct got g = ask_path(f, REMOTE_SYNC, REPO, "archive/x/y");
	assert_int_equal(g.code, ERR_NONE);
	assert_int_equal(unpack_end(&g.answer, "answer"), 0);
	assert_int_equal(ask_path(f, REMOTE_SYNC, REPO, "archive/none").code, ERR_PATH_MISSING);
	assert_got(get(f, REPO, "archive/x/y/new-sum"), "content");
	assert_int_equal(goodbye(f), 0);
}

static void test_put_elsewhere(void **state)
{
	struct fixture *f = *state;

	talk(f);
	uint32_t n = begin_put_at(f, ELSEWHERE, "archive/new", false);
	send_data(f, n, "content");
	send_finish(f, n, "archive/new-sum");
	assert_int_equal(answer(f, n).code, ERR_NONE);
	n = begin_put_at(f, ELSEWHERE, "archive/new", false);
	send_finish(f, n, "archive/new-taken");
	assert_int_equal(answer(f, n).code, ERR_FILE_EXISTS);
	assert_got(get(f, ELSEWHERE, "archive/new-sum"), "content");
	assert_string_equal(list(f, ELSEWHERE, "archive"), "new-sum:f ");
	assert_int_equal(goodbye(f), 0);
}

/* What the caller sends before it hears of the failure is dropped. */
static void test_put_that_fails_early(void **state)
{
	struct fixture *f = *state;

	make_text(f, "stop", "");
	talk(f);
	uint32_t n = begin_put(f, "archive/new", false);
	assert_int_equal(answer(f, n).code, ERR_STOP);
	send_data(f, n, "content");
	send_finish(f, n, "archive/new");
	send_frame(f, WIRE_CANCEL, WIRE_LAST, n, NULL, 0);
	assert_got(get(f, REPO, "archive/plain"), "plain");
	assert_null(content_of(f, "repo/archive/new"));
	assert_int_equal(goodbye(f), 0);
}

static void test_put_that_is_denied(void **state)
{
	static const char *const wrong[] = { "outside", "archive/../outside", "/etc/new", "archive/denied",
		"archive/hidden", "" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		talk(f);
		assert_ended(f, answer(f, begin_put(f, wrong[i], false)), ERR_ACCESS);
		talk(f);
		assert_ended(f, put(f, "archive/new", wrong[i], "content"), ERR_ACCESS);
	}
	talk(f);
	assert_ended(f, put(f, "archive/new", "archive/dir/new", "content"), ERR_ACCESS);
	talk(f);
	assert_ended(f, answer(f, begin_put(f, "archive/plain", true)), ERR_ACCESS);
	assert_string_equal(content_of(f, "repo/archive/plain"), "plain");
	assert_string_equal(names_in(f, "repo"), "archive big ");
	assert_string_equal(names_in(f, "repo/archive"), "denied dir info plain ");
}

static void wait_for_temporary(struct fixture *f)
{
	while (strstr(names_in(f, "repo/archive"), ".pgbackrest.tmp") == NULL)
		continue;
}

static void test_put_undone(void **state)
{
	struct fixture *f = *state;

	/* cancelled */
	talk(f);
	uint32_t n = begin_put(f, "archive/new", false);
	send_data(f, n, "content");
	send_frame(f, WIRE_CANCEL, WIRE_LAST, n, NULL, 0);
	assert_int_equal(answer(f, n).code, ERR_SERVICE);
	assert_string_equal(names_in(f, "repo/archive"), "denied dir info plain ");
	assert_got(get(f, REPO, "archive/plain"), "plain");
	/* the caller is gone */
	n = begin_put(f, "archive/new", false);
	send_data(f, n, "content");
	assert_int_equal(wire_flush(f->wire), 0);
	wait_for_temporary(f);
	assert_int_equal(over(f), ERR_SERVICE);
	assert_string_equal(names_in(f, "repo/archive"), "denied dir info plain ");
	/* in the middle of a frame */
	talk(f);
	n = begin_put(f, "archive/new", false);
	assert_int_equal(wire_flush(f->wire), 0);
	wait_for_temporary(f);
	assert_int_equal(write(f->fd, "\x10\0\0\0F\1\0\0\2", 9), 9);
	assert_int_equal(over(f), ERR_SERVICE);
	assert_string_equal(names_in(f, "repo/archive"), "denied dir info plain ");
}

/* Requests that are sent inside a put wait for its end; but not without bound for a put that never ends. */
static void test_requests_inside_a_put(void **state)
{
	struct fixture *f = *state;
	const struct buf b = get_request(f, &(struct remote_get){ .place = REPO, .path = "archive/plain" });

	talk(f);
	uint32_t n = begin_put(f, "archive/new", false), behind = request(f, &b);
	send_data(f, n, "content");
	send_finish(f, n, "archive/new");
	assert_int_equal(answer(f, n).code, ERR_NONE);
	assert_got(answer(f, behind), "plain");
	n = begin_put(f, "archive/never", false);
	for (unsigned i = 0; i < 5000; i++) {
		if (wire_send(f->wire, WIRE_REQUEST, WIRE_LAST, ++f->number, b.data, b.len) != 0)
			break;
	}
	err_clear();
	assert_ended(f, answer(f, n), ERR_PROTOCOL);
	assert_string_equal(names_in(f, "repo/archive"), "denied dir info new plain ");
}

/* ---- out of bounds, out of step ---- */

static void test_denied(void **state)
{
	static const struct {
		uint32_t roles;
		enum remote_verb verb;
		uint32_t place;
		const char *path;
	} cases[] = {
		{ ALL, REMOTE_LIST, REPO, "archive/denied" },
		{ ALL, REMOTE_STAT, REPO, "archive/denied" },
		{ ALL, REMOTE_TREE, CLUSTER, "denied" },
		{ ALL, REMOTE_SYNC, REPO, "archive/denied" },
		{ ALL, REMOTE_SYNC, REPO, "archive/hidden" },
		{ ALL, REMOTE_LIST, REPO, ".." },
		{ ALL, REMOTE_LIST, REPO, "archive/.." },
		{ ALL, REMOTE_STAT, REPO, "/etc" },
		{ ALL, REMOTE_STAT, REPO, "archive//plain" },
		{ ALL, REMOTE_LIST, REPO + 2, "" },
		{ ALL, REMOTE_LIST, 0, "" },
		{ REMOTE_ROLE_RESTORE, REMOTE_SYNC, REPO, "archive" },
		{ REMOTE_ROLE_RESTORE | REMOTE_ROLE_ARCHIVE, REMOTE_TREE, CLUSTER, "" },
		{ 0, REMOTE_LIST, REPO, "" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f->roles = cases[i].roles;
		talk(f);
		assert_ended(f, ask_path(f, cases[i].verb, cases[i].place, cases[i].path), ERR_ACCESS);
	}
	f->roles = REMOTE_ROLE_RESTORE | REMOTE_ROLE_BACKUP;
	talk(f);
	assert_ended(f, answer(f, begin_put(f, "archive/new", false)), ERR_ACCESS);
	f->roles = ALL;
	talk(f);
	assert_ended(f, get(f, REPO, "archive/denied"), ERR_ACCESS);
	talk(f);
	assert_ended(f, get(f, REPO, ""), ERR_ACCESS);
}

/* Each verb with a body that is cut at every byte, and with one too many. */
static void test_malformed_requests(void **state)
{
	static const struct pipe_spec spec = { .decrypt = "pass", .hash_plain = true, .unless = &sum_empty };
	struct fixture *f = *state;
	struct buf all[6];

	for (size_t i = 0; i < 6; i++)
		buf_init(&all[i], f->a);
	remote_pack_get(&all[0], &(struct remote_get){ REPO, "a", false, { .spec = &spec } });
	remote_pack_put(&all[1], &(struct remote_put){ REPO, "archive/a", true, false });
	remote_pack_path(&all[2], REMOTE_LIST, REPO, "a");
	remote_pack_path(&all[3], REMOTE_TREE, CLUSTER, "a");
	remote_pack_path(&all[4], REMOTE_STAT, REPO, "a");
	remote_pack_path(&all[5], REMOTE_SYNC, REPO, "a");
	for (size_t i = 0; i < 6; i++) {
		size_t len = all[i].len;
		buf_addc(&all[i], '\0');
		for (size_t n = 0; n <= len + 1; n++) {
			if (n == len)
				continue;
			talk(f);
			send_frame(f, WIRE_REQUEST, WIRE_LAST, 1, all[i].data, n);
			assert_ended(f, answer(f, 1), ERR_PROTOCOL);
		}
	}
}

static void test_unknown_verbs(void **state)
{
	static const uint8_t wrong[] = { 0, 7, 8, 9, 22, 100, 255 };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(wrong); i++) {
		talk(f);
		send_frame(f, WIRE_REQUEST, WIRE_LAST, 1, &wrong[i], 1);
		assert_ended(f, answer(f, 1), ERR_PROTOCOL);
	}
}

static void test_out_of_step(void **state)
{
	static const struct {
		enum wire_type type;
		uint32_t number, told;
	} cases[] = {
		{ WIRE_REQUEST, 2, 2 }, { WIRE_REQUEST, UINT32_MAX, UINT32_MAX }, { WIRE_DATA, 1, 0 },
		{ WIRE_FINISH, 1, 0 }, { WIRE_CANCEL, 1, 0 }, { WIRE_ANSWER, 1, 0 }, { WIRE_FAILURE, 1, 0 },
		{ WIRE_ENTRY, 1, 0 }, { WIRE_WARNING, 1, 0 }, { WIRE_HELLO, 0, 0 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		talk(f);
		send_frame(f, cases[i].type, WIRE_LAST, cases[i].number, NULL, 0);
		assert_ended(f, answer(f, cases[i].told), ERR_PROTOCOL);
	}
	/* sound requests, with a number left out, and with one for the second time */
	const struct buf b = get_request(f, &(struct remote_get){ .place = REPO, .path = "archive/plain" });
	talk(f);
	f->number++;
	assert_ended(f, ask(f, &b), ERR_PROTOCOL);
	talk(f);
	assert_got(ask(f, &b), "plain");
	f->number--;
	assert_ended(f, ask(f, &b), ERR_PROTOCOL);
	/* data of a request that is no put */
	talk(f);
	assert_got(get(f, REPO, "archive/plain"), "plain");
	send_data(f, 1, "x");
	assert_ended(f, answer(f, 0), ERR_PROTOCOL);
	/* a request of which another type's frame is a part; and a put's end that is malformed */
	talk(f);
	send_frame(f, WIRE_REQUEST, 0, 1, "\1", 1);
	send_frame(f, WIRE_DATA, WIRE_LAST, 1, "x", 1);
	assert_ended(f, answer(f, 1), ERR_PROTOCOL);
	talk(f);
	uint32_t n = begin_put(f, "archive/new", false);
	send_frame(f, WIRE_FINISH, WIRE_LAST, n, "\5\0\0\0a", 5);
	assert_ended(f, answer(f, n), ERR_PROTOCOL);
	assert_string_equal(names_in(f, "repo/archive"), "denied dir info plain ");
}

/* Over several frames as in one; without end it is refused. */
static void test_long_requests(void **state)
{
	struct fixture *f = *state;
	const struct buf b = get_request(f, &(struct remote_get){ .place = REPO, .path = "archive/plain" });
	char *mib = arena_zalloc(f->a, WIRE_FRAME_MAX);

	talk(f);
	f->number++;
	for (size_t i = 0; i < b.len; i++)
		send_frame(f, WIRE_REQUEST, i + 1 == b.len, f->number, b.data + i, 1);
	assert_got(answer(f, f->number), "plain");
	for (size_t i = 0; i <= REMOTE_REQUEST_MAX / WIRE_FRAME_MAX; i++) {
		if (wire_send(f->wire, WIRE_REQUEST, 0, 2, mib, WIRE_FRAME_MAX) != 0)
			break;
	}
	err_clear();
	assert_ended(f, answer(f, 2), ERR_PROTOCOL);
}

/* ---- ahead, and cancelled ---- */

static void test_many_ahead(void **state)
{
	struct fixture *f = *state;
	const struct buf one = get_request(f, &(struct remote_get){ .place = REPO, .path = "archive/dir/one" });
	const struct buf none = get_request(f, &(struct remote_get){ .place = REPO, .path = "archive/none" });

	talk(f);
	for (unsigned i = 0; i < REMOTE_AHEAD_MAX; i++)
		(void)request(f, i % 3 == 0 ? &none : &one);
	for (unsigned i = 0; i < REMOTE_AHEAD_MAX; i++)
		assert_got(answer(f, i + 1), i % 3 == 0 ? NULL : "1");
	assert_int_equal(goodbye(f), 0);
}

static void test_cancel(void **state)
{
	struct fixture *f = *state;
	const struct buf big = get_request(f, &(struct remote_get){ .place = REPO, .path = "big" });
	const struct buf small = get_request(f, &(struct remote_get){ .place = REPO, .path = "archive/plain" });

	talk(f);
	uint32_t first = request(f, &big), second = request(f, &small), third = request(f, &big);
	uint32_t fourth = request(f, &small);
	send_frame(f, WIRE_CANCEL, WIRE_LAST, third, NULL, 0);
	send_frame(f, WIRE_CANCEL, WIRE_LAST, first, NULL, 0);
	assert_int_equal(wire_flush(f->wire), 0);
	struct got g = answer(f, first);
	assert_int_equal(g.code, ERR_NONE);
	assert_true(g.data.len < BIG);
	assert_got(answer(f, second), "plain");
	g = answer(f, third);
	assert_int_equal(g.code, ERR_NONE);
	assert_int_equal(g.data.len, 0);
	assert_got(answer(f, fourth), "plain");
	/* too late: no effect */
	send_frame(f, WIRE_CANCEL, WIRE_LAST, fourth, NULL, 0);
	g = ask(f, &big);
	assert_int_equal(g.data.len, BIG);
	assert_int_equal(goodbye(f), 0);
}

/* The server stops when nobody reads any more. */
static void test_caller_vanishes(void **state)
{
	struct fixture *f = *state;
	const struct buf big = get_request(f, &(struct remote_get){ .place = REPO, .path = "big" });
	struct wire_frame frame;

	talk(f);
	(void)request(f, &big);
	assert_int_equal(wire_receive(f->wire, &frame), 0);
	assert_int_equal(over(f), ERR_SERVICE);
}

/* ---- a whole conversation as bytes ---- */

static void add_frame(struct buf *b, enum wire_type type, uint32_t number, const struct buf *content)
{
	pack_u32(b, (uint32_t)content->len);
	pack_u8(b, (uint8_t)type);
	pack_u8(b, WIRE_LAST);
	pack_u16(b, 0);
	pack_u32(b, number);
	buf_add(b, content->data, content->len);
}

/* Where each of its frames begins is added to starts. */
static struct buf whole_conversation(struct fixture *f, size_t *starts, size_t *n)
{
	static const struct pipe_spec spec = { .hash_plain = true, .compress = CODEC_ZST, .level = 3 };
	const char *name = "archive/new-sum";
	struct buf all, part[9];
	const enum wire_type types[9] = { WIRE_HELLO, WIRE_REQUEST, WIRE_REQUEST, WIRE_REQUEST, WIRE_REQUEST,
		WIRE_DATA, WIRE_FINISH, WIRE_REQUEST, WIRE_GOODBYE };
	const uint32_t numbers[9] = { 0, 1, 2, 3, 4, 4, 4, 5, 0 };

	buf_init(&all, f->a);
	for (size_t i = 0; i < 9; i++)
		buf_init(&part[i], f->a);
	remote_pack_hello(&part[0], &f->me, false);
	remote_pack_get(&part[1], &(struct remote_get){ REPO, "archive/plain", true, { .spec = &spec } });
	remote_pack_path(&part[2], REMOTE_LIST, REPO, "archive/dir");
	remote_pack_path(&part[3], REMOTE_TREE, CLUSTER, "");
	remote_pack_put(&part[4], &(struct remote_put){ REPO, "archive/new", true, false });
	buf_adds(&part[5], "content");
	pack_str(&part[6], name);
	remote_pack_path(&part[7], REMOTE_STAT, REPO, name);
	for (*n = 0; *n < 9; ++*n) {
		starts[*n] = all.len;
		add_frame(&all, types[*n], numbers[*n], &part[*n]);
	}
	return all;
}

/* Say this, listen to the end: the exit code.  Only a failure of ours, or none, may come of it. */
static int say(struct fixture *f, const void *bytes, size_t len)
{
	char heard[4096];

	start(f);
	assert_int_equal(write(f->fd, bytes, len), len);
	assert_int_equal(shutdown(f->fd, SHUT_WR), 0);
	while (read(f->fd, heard, sizeof(heard)) > 0)
		continue;
	int code = over(f);
	assert_true(code == 0 || code >= ERR_ASSERT);
	return code;
}

/* Complete, or not there; and nothing else.  True if it is there. */
static bool is_put_whole(struct fixture *f)
{
	const char *content = content_of(f, "repo/archive/new-sum");

	if (content != NULL)
		assert_string_equal(content, "content");
	unlink(at(f, "repo/archive/new-sum"));
	assert_string_equal(names_in(f, "repo/archive"), "denied dir info plain ");
	return content != NULL;
}

/* A caller who is gone while it is being answered may be noticed before what it had still asked for is done. */
static void test_cuts(void **state)
{
	struct fixture *f = *state;
	size_t starts[9], n, frame = 0;
	const struct buf all = whole_conversation(f, starts, &n);

	for (size_t cut = 0; cut <= all.len; cut++) {
		while (frame < n && starts[frame] < cut)
			frame++;
		bool between = cut == all.len || (frame < n && starts[frame] == cut);
		bool inside_put = between && cut < all.len && (frame == 5 || frame == 6);
		int code = say(f, all.data, cut);
		assert_true(code == ERR_SERVICE || (code == 0 && between && !inside_put));
		assert_true(!is_put_whole(f) || cut >= starts[7]);
		assert_true(code == 0 || !between || frame > 1);
	}
}

/* Whatever comes of it: an end that we chose, and no file but a whole one. */
static void test_spoiled_bytes(void **state)
{
	struct fixture *f = *state;
	size_t starts[9], n;
	const struct buf all = whole_conversation(f, starts, &n);
	unsigned refused = 0;

	srand(7);
	for (unsigned i = 0; i < 500; i++) {
		char *bytes = arena_memdup(f->a, all.data, all.len);
		for (int k = 0; k <= rand() % 3; k++)
			bytes[(size_t)rand() % all.len] ^= (char)(1 << rand() % 8);
		refused += say(f, bytes, all.len) == ERR_PROTOCOL;
		const char *const names = names_in(f, "repo/archive");
		assert_null(strstr(names, ".tmp"));
		assert_string_equal(content_of(f, "repo/archive/plain"), "plain");
		assert_string_equal(content_of(f, "repo/archive/denied"), "not for you");
		assert_string_equal(names_in(f, "repo"), "archive big ");
	}
	assert_true(refused > 100);
}

#define CASE(test) { #test, test, setup, teardown, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_hello), CASE(test_other_versions), CASE(test_no_hello), CASE(test_caller_leaves),
		CASE(test_silent_caller), CASE(test_get), CASE(test_get_through_a_pipe), CASE(test_opened_for_the_peer),
		CASE(test_long_answer), CASE(test_impossible_specs), CASE(test_list), CASE(test_long_list),
		CASE(test_stat), CASE(test_tree), CASE(test_put), CASE(test_put_elsewhere),
		CASE(test_put_that_fails_early), CASE(test_put_that_is_denied), CASE(test_put_undone),
		CASE(test_requests_inside_a_put), CASE(test_denied), CASE(test_malformed_requests),
		CASE(test_unknown_verbs), CASE(test_out_of_step), CASE(test_long_requests), CASE(test_many_ahead),
		CASE(test_cancel), CASE(test_caller_vanishes), CASE(test_cuts), CASE(test_spoiled_bytes),
	};

	sig_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
