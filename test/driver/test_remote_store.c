/*
 * The caller's side against a server that this test plays: hellos of all kinds, answers that no honest server sends,
 * ends at every byte, requests ahead and their dropping.  Nothing is taken for an absence but the answer that says
 * so; every wait ends; no request is sent twice.  (The honest server: test_store.)
 */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "remote_server.h"
#include "store/store.h"

#define ANSWER_MS 20000

/* ---- the player ---- */

#define MUST(x) \
	do { \
		if (!(x)) { \
			dprintf(2, "player, line %d: %s (%s)\n", __LINE__, #x, err_msg()); \
			_exit(1); \
		} \
	} while (0)

struct far {
	int fd;
	struct arena *a;
	struct wire *w;
	uint32_t request; /* the last one */
	struct unpack fields; /* behind its verb */
};

static const struct remote_hello usual = { .major = REMOTE_MAJOR, .minor = REMOTE_MINOR, .program = "a test",
	.capabilities = "ahead blocks", .ahead = 256, .roles = REMOTE_ROLE_ARCHIVE | REMOTE_ROLE_BACKUP };

static struct remote_hello with_places(struct arena *a, const struct remote_hello *from)
{
	struct remote_hello h = *from;

	vec_init(&h.places, a);
	vec_push(&h.places, ((struct remote_place){ 7, "/repo", "none" }));
	vec_push(&h.places, ((struct remote_place){ REMOTE_PLACE_PG + 2, "/data/", NULL }));
	return h;
}

static struct far *far_open(int fd)
{
	struct arena *a = arena_new();
	struct far *f = arena_new_object(a, struct far);

	f->fd = fd;
	f->a = a;
	f->w = wire_new(a, fd, fd, "the caller", ANSWER_MS);
	return f;
}

static void far_hello(struct far *f, const struct remote_hello *from)
{
	const struct remote_hello h = with_places(f->a, from);
	struct buf b;

	buf_init(&b, f->a);
	remote_pack_hello(&b, &h, true);
	MUST(wire_send_magic(f->w) == 0 && wire_send(f->w, WIRE_HELLO, WIRE_LAST, 0, b.data, b.len) == 0);
	MUST(wire_flush(f->w) == 0);
}

static struct far *far_greet_as(int fd, const struct remote_hello *from)
{
	struct far *f = far_open(fd);
	struct remote_hello theirs;
	struct wire_frame frame;

	far_hello(f, from);
	MUST(wire_receive(f->w, &frame) == 0 && frame.type == WIRE_HELLO);
	MUST(remote_unpack_hello(f->a, frame.data, frame.len, false, &theirs) == 0);
	MUST(theirs.roles == REMOTE_ROLE_ARCHIVE && strcmp(theirs.stanza, "demo") == 0 && theirs.silence_ms == 1000);
	return f;
}

static struct far *far_greet(int fd)
{
	return far_greet_as(fd, &usual);
}

static void far_request(struct far *f, enum remote_verb verb)
{
	struct wire_frame frame;

	MUST(wire_receive(f->w, &frame) == 0 && frame.type == WIRE_REQUEST && frame.last);
	MUST(frame.request == f->request + 1);
	f->request = frame.request;
	unpack_init(&f->fields, f->a, arena_memdup(f->a, frame.data, frame.len), frame.len);
	MUST(unpack_u8(&f->fields) == verb);
}

/* A get of this path. */
static void far_get(struct far *f, const char *path)
{
	struct remote_get g = { 0 };

	far_request(f, REMOTE_GET);
	remote_unpack_get(&f->fields, &g);
	MUST(unpack_end(&f->fields, "get") == 0 && g.place == 7 && strcmp(g.path, path) == 0);
}

static void far_expect(struct far *f, enum wire_type type, uint32_t request)
{
	struct wire_frame frame;

	MUST(wire_receive(f->w, &frame) == 0 && frame.type == type && frame.request == request);
}

static void far_send(struct far *f, enum wire_type type, uint32_t request, const void *data, size_t len)
{
	MUST(wire_send(f->w, type, WIRE_LAST, request, data, len) == 0);
}

static void far_text(struct far *f, uint32_t request, const char *text)
{
	far_send(f, WIRE_DATA, request, text, strlen(text));
}

/* Of a get without a spec. */
static void far_got(struct far *f, uint32_t request, bool absent)
{
	struct buf b;

	buf_init(&b, f->a);
	remote_pack_got(&b, absent, NULL, NULL);
	far_send(f, WIRE_ANSWER, request, b.data, b.len);
}

static void far_fail(struct far *f, uint32_t request, enum err_code code, const char *text)
{
	struct buf b;

	buf_init(&b, f->a);
	err_set(code, "%s", text);
	wire_pack_failure(&b);
	err_clear();
	far_send(f, WIRE_FAILURE, request, b.data, b.len);
}

static void add_entry(struct buf *b, const char *name)
{
	const struct store_entry e = { .name = name, .type = STORE_FILE, .size = 3, .mode = 0640, .user = "",
		.group = "" };

	remote_pack_entry(b, &e);
}

static void far_counted(struct far *f, bool absent, uint32_t n)
{
	struct buf b;

	buf_init(&b, f->a);
	pack_bool(&b, absent);
	if (!absent)
		pack_u32(&b, n);
	far_send(f, WIRE_ANSWER, f->request, b.data, b.len);
}

/* Nothing more is asked: the caller says goodbye, or is gone. */
static void far_end(struct far *f)
{
	struct wire_frame frame;
	int rc = wire_receive(f->w, &frame);

	MUST(rc == 1 || (rc == 0 && frame.type == WIRE_GOODBYE) || (rc < 0 && err_code() == ERR_SERVICE));
	_exit(0);
}

/* ---- the caller ---- */

struct fixture {
	struct arena *a;
	struct remote *r;
	struct store *s;
	struct buf got;
};

static struct peer peer;

static struct remote_opts usual_opts(void)
{
	return (struct remote_opts){ .host = "db1", .program = "/usr/bin/pgstrata", .option = "repo1-host-cmd",
		.open = peer_open,
		.ctx = &peer, .stanza = "demo", .roles = REMOTE_ROLE_ARCHIVE, .exec_id = "1-test", .connect_ms = 2000,
		.silence_ms = 1000, .level = WIRE_NO_PACK };
}

static int setup(void **state)
{
	struct arena *a = arena_new();
	struct fixture *f = arena_new_object(a, struct fixture);
	const struct remote_opts o = usual_opts();

	peer = (struct peer){ 0 };
	f->a = a;
	f->r = remote_new(a, &o);
	f->s = store_remote(a, f->r, 1, NULL);
	buf_init(&f->got, a);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	arena_free(f->a);
	err_clear();
	assert_int_equal(peer.failed, 0);
	return 0;
}

static void play(void (*fn)(void *ctx, int fd), void *ctx)
{
	peer.play = fn;
	peer.ctx = ctx;
}

static int get(struct fixture *f, const char *path)
{
	buf_reset(&f->got);
	return store_get(f->s, path, &(struct get_opts){ .missing_ok = true }, sink_buf(f->a, &f->got));
}

static void assert_got(struct fixture *f, const char *path, const char *content)
{
	if (get(f, path) != 0)
		fail_msg("%s: %s", path, err_msg());
	assert_string_equal(f->got.data, content);
}

static void assert_failed(int rc, enum err_code code, const char *text)
{
	assert_int_equal(rc, -1);
	if (err_code() != code || strstr(err_msg(), text) == NULL)
		fail_msg("not [%d] '%s' but [%d] %s", code, text, err_code(), err_msg());
	err_clear();
}

/* ---- hello ---- */

static void play_shell(void *ctx, int fd)
{
	MUST(write(fd, ctx, strlen(ctx)) > 0);
}

static void play_nothing(void *ctx, int fd)
{
}

static void play_silence(void *ctx, int fd)
{
	char byte;

	MUST(ctx == NULL || write(fd, ctx, strlen(ctx)) > 0);
	while (read(fd, &byte, 1) > 0)
		;
}

static void play_hello(void *ctx, int fd)
{
	struct far *f = far_open(fd);
	const struct remote_hello *h = ctx;

	far_hello(f, h);
	/* of another generation's nothing is to be answered */
	if (h->major == REMOTE_MAJOR)
		far_expect(f, WIRE_HELLO, 0);
	far_end(f);
}

static void play_other_frame(void *ctx, int fd)
{
	struct far *f = far_open(fd);

	MUST(wire_send_magic(f->w) == 0);
	far_send(f, WIRE_ANSWER, 1, "", 0);
	MUST(wire_flush(f->w) == 0);
	far_end(f);
}

static void play_bad_hello(void *ctx, int fd)
{
	struct far *f = far_open(fd);

	MUST(wire_send_magic(f->w) == 0);
	far_send(f, WIRE_HELLO, 0, "\1\0\1\0\0", 5);
	MUST(wire_flush(f->w) == 0);
	far_end(f);
}

static void play_refusal(void *ctx, int fd)
{
	struct far *f = far_open(fd);

	MUST(wire_send_magic(f->w) == 0);
	far_fail(f, 0, ERR_STOP, "stop file stands");
	MUST(wire_flush(f->w) == 0);
	far_end(f);
}

static struct remote_hello major_2 = { .major = 2, .minor = 5, .program = "later", .capabilities = "" };
static struct remote_hello other_stanza = { .major = 1, .program = "p", .capabilities = "", .stanza = "other",
	.roles = REMOTE_ROLE_ARCHIVE };
static struct remote_hello other_role = { .major = 1, .program = "p", .capabilities = "",
	.roles = REMOTE_ROLE_RESTORE };

static void test_hellos(void **state)
{
	static const struct {
		void (*play)(void *ctx, int fd);
		void *ctx;
		int status;
		const char *why;
		enum err_code code;
		const char *text, *hint;
	} cases[] = {
		{ play_shell, "{\"name\":\"pgBackRest\"}\n", 0, NULL, ERR_PROTOCOL,
			"it said: {\"name\":\"pgBackRest\"}", "repo1-host-cmd" },
		{ play_nothing, NULL, 255, "ssh ended with 255: Permission denied", ERR_HOST_CONNECT, "host 'db1'",
			"" },
		{ play_nothing, NULL, 255, "ssh ended with 255: Permission denied", ERR_HOST_CONNECT,
			"Permission denied", "" },
		{ play_nothing, NULL, -1, NULL, ERR_HOST_CONNECT, "closed without a greeting", "" },
		{ play_nothing, NULL, 127, "pgstrata: not found", ERR_EXECUTE,
			"'/usr/bin/pgstrata' could not be run: pgstrata: not found",
			"repo1-host-cmd" },
		{ play_nothing, NULL, 37, "ERROR: [037]", ERR_EXECUTE, "ended without a greeting: ERROR: [037]",
			"repo1-host-cmd" },
		{ play_shell, "PGSTR", 255, "cut", ERR_PROTOCOL, "it said: PGSTR", "" },
		{ play_silence, NULL, -1, NULL, ERR_HOST_CONNECT, "has not greeted within 300 ms", "io-timeout" },
		{ play_silence, "PGSTRATA", -1, NULL, ERR_HOST_CONNECT, "has not greeted within 300 ms", "io-timeout" },
		{ play_shell, "PGSTRATA\100\0\0\0", 255, "cut", ERR_SERVICE, "cut", "" },
		{ play_shell, "PGSTRATA", 255, "cut", ERR_SERVICE, "before its hello: cut", "" },
		{ play_other_frame, NULL, 0, NULL, ERR_PROTOCOL, "where its hello is due", "" },
		{ play_bad_hello, NULL, 0, NULL, ERR_PROTOCOL, "host 'db1'", "" },
		{ play_refusal, NULL, 0, NULL, ERR_STOP, "host 'db1': stop file stands", "" },
		{ play_hello, &major_2, 0, NULL, ERR_PROTOCOL, "version 2.5 of the protocol, this program 1.1",
			"same generation" },
		{ play_hello, &other_stanza, 0, NULL, ERR_HOST_INVALID,
			"no stanza 'demo' on this connection, only 'other'", "" },
		{ play_hello, &other_role, 0, NULL, ERR_ACCESS, "permits restore only, and archive is needed", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		SCOPED_ARENA(a);
		struct remote_opts o = usual_opts();
		struct store_entry e;
		peer = (struct peer){ .play = cases[i].play, .ctx = cases[i].ctx, .status = cases[i].status,
			.why = cases[i].why };
		o.connect_ms = cases[i].play == play_silence ? 300 : 2000;
		struct remote *r = remote_new(a, &o);
		assert_null(remote_hello(r));
		assert_non_null(strstr(err_hints(), cases[i].hint));
		assert_failed(-1, cases[i].code, cases[i].text);
		assert_int_equal(peer.failed, 0);
		/* what has failed is not tried again at once, and fails in the same way */
		if (cases[i].play == play_silence)
			continue;
		assert_failed(store_stat(a, store_remote(a, r, 1, NULL), "x", &e), cases[i].code, cases[i].text);
		assert_int_equal(peer.opens, 1);
		assert_int_equal(remote_generation(r), 0);
	}
}

/* ---- places ---- */

static void play_stats(void *ctx, int fd)
{
	struct far *f = far_greet(fd);

	for (const uint32_t *place = ctx; *place != 0; place++) {
		uint32_t number;
		const char *path;
		far_request(f, REMOTE_STAT);
		remote_unpack_path(&f->fields, &number, &path);
		MUST(unpack_end(&f->fields, "stat") == 0 && number == *place);
		far_counted(f, true, 0);
	}
	far_end(f);
}

static void test_places(void **state)
{
	static uint32_t places[] = { 7, 7, REMOTE_PLACE_PG + 2, REMOTE_PLACE_PG + 2, 0 };
	struct fixture *f = *state;
	struct store_entry e;

	play(play_stats, places);
	assert_string_equal(f->s->root, "db1:repo1");
	/* the only repository there is, and the cluster at the path */
	assert_int_equal(store_stat(f->a, f->s, "x", &e), STORE_ABSENT);
	assert_string_equal(f->s->root, "db1:/repo");
	assert_string_equal(store_remote_place(f->s)->cipher, "none");
	assert_int_equal(store_stat(f->a, store_remote(f->a, f->r, 7, "/repo"), "x", &e), STORE_ABSENT);
	assert_int_equal(store_stat(f->a, store_remote(f->a, f->r, REMOTE_PLACE_PG + 1, "/data"), "", &e),
		STORE_ABSENT);
	assert_int_equal(store_stat(f->a, store_remote(f->a, f->r, REMOTE_PLACE_PG + 2, NULL), "", &e), STORE_ABSENT);
	assert_failed(store_stat(f->a, store_remote(f->a, f->r, 1, "/other"), "x", &e), ERR_HOST_INVALID,
		"host 'db1' has no repo1 at '/other' for this connection; it has: repo7 at '/repo'");
	assert_failed(store_stat(f->a, store_remote(f->a, f->r, REMOTE_PLACE_PG + 2, "/dat"), "x", &e),
		ERR_HOST_INVALID,
		"it has: pg2 at '/data/'");
	assert_failed(store_stat(f->a, store_remote(f->a, f->r, REMOTE_PLACE_PG + 1, NULL), "x", &e),
		ERR_HOST_INVALID, "pg2");
	assert_failed(store_remove(f->s, "x", true), ERR_ACCESS, "host 'db1' permits no removal");
	assert_int_equal(peer.opens, 1);
}

/* ---- one get, answered in all ways ---- */

struct answer {
	void (*give)(struct far *f, uint32_t n);
	enum err_code code; /* ERR_NONE: absent */
	const char *text;
	bool goes_on; /* the connection does */
};

static void play_answer(void *ctx, int fd)
{
	const struct answer *answer = ctx;
	struct far *f = far_greet(fd);

	far_get(f, "x");
	answer->give(f, f->request);
	MUST(wire_flush(f->w) == 0);
	if (!answer->goes_on)
		far_end(f);
	far_get(f, "y");
	far_text(f, f->request, "next");
	far_got(f, f->request, false);
	far_end(f);
}

static void play_next(void *ctx, int fd)
{
	struct far *f = far_greet(fd);

	far_get(f, "y");
	far_text(f, f->request, "next");
	far_got(f, f->request, false);
	far_end(f);
}

static void give_absent(struct far *f, uint32_t n)
{
	far_got(f, n, true);
}

static void give_other_number(struct far *f, uint32_t n)
{
	far_got(f, n + 1, false);
}

static void give_other_data(struct far *f, uint32_t n)
{
	far_text(f, n + 1, "data");
	far_got(f, n, false);
}

static void give_data_and_absent(struct far *f, uint32_t n)
{
	far_text(f, n, "data");
	far_got(f, n, true);
}

static void give_request(struct far *f, uint32_t n)
{
	far_send(f, WIRE_REQUEST, n, "\1", 1);
}

static void give_finish(struct far *f, uint32_t n)
{
	far_send(f, WIRE_FINISH, n, "", 0);
}

static void give_bad_answer(struct far *f, uint32_t n)
{
	far_send(f, WIRE_ANSWER, n, "\0\0", 2);
}

static void give_bad_entry(struct far *f, uint32_t n)
{
	far_send(f, WIRE_ENTRY, n, "\0\0", 2);
}

static void give_goodbye(struct far *f, uint32_t n)
{
	far_send(f, WIRE_GOODBYE, 0, "", 0);
}

static void give_failure(struct far *f, uint32_t n)
{
	far_text(f, n, "half");
	far_fail(f, n, ERR_FILE_READ, "unable to read '/repo/x'");
}

static void give_denial(struct far *f, uint32_t n)
{
	far_fail(f, n, ERR_ACCESS, "access denied");
}

static void give_end(struct far *f, uint32_t n)
{
	far_fail(f, 0, ERR_SERVICE, "the caller was silent");
}

static void give_term(struct far *f, uint32_t n)
{
	far_fail(f, n, ERR_TERM, "terminated on signal SIGTERM");
}

static void give_bad_failure(struct far *f, uint32_t n)
{
	far_send(f, WIRE_FAILURE, n, "\1", 1);
}

static void give_warning(struct far *f, uint32_t n)
{
	struct buf b;

	buf_init(&b, f->a);
	pack_u8(&b, 6);
	pack_str(&b, "only for traces");
	far_send(f, WIRE_WARNING, n, b.data, b.len);
	far_got(f, n, true);
}

static void give_bad_warning(struct far *f, uint32_t n)
{
	struct buf b;

	buf_init(&b, f->a);
	pack_u8(&b, 7);
	pack_str(&b, "no such level");
	far_send(f, WIRE_WARNING, n, b.data, b.len);
	far_got(f, n, true);
}

static void give_nothing(struct far *f, uint32_t n)
{
}

static void test_answers(void **state)
{
	static const struct answer answers[] = {
		{ give_absent, ERR_NONE, NULL, true },
		{ give_other_number, ERR_PROTOCOL, "a frame of request 2 where one of 1 is due", false },
		{ give_other_data, ERR_PROTOCOL, "a frame of request 2 where one of 1 is due", false },
		{ give_data_and_absent, ERR_PROTOCOL, "a file, and that it is absent", false },
		{ give_request, ERR_PROTOCOL, "of type 'Q'", false },
		{ give_finish, ERR_PROTOCOL, "of type 'F'", false },
		{ give_bad_answer, ERR_PROTOCOL, "a malformed result", false },
		{ give_bad_entry, ERR_PROTOCOL, "an entry", false },
		{ give_goodbye, ERR_SERVICE, "reading 'db1:/repo/x': host 'db1' has closed the connection", false },
		{ give_failure, ERR_FILE_READ, "host 'db1': unable to read '/repo/x'", true },
		{ give_denial, ERR_ACCESS, "host 'db1': access denied", false },
		{ give_end, ERR_SERVICE, "host 'db1': the caller was silent", false },
		{ give_term, ERR_SERVICE, "host 'db1': terminated", false },
		{ give_bad_failure, ERR_PROTOCOL, "host 'db1'", false },
		{ give_warning, ERR_NONE, NULL, true },
		{ give_bad_warning, ERR_PROTOCOL, "host 'db1'", false },
		{ give_nothing, ERR_SERVICE, "reading 'db1:/repo/x': host 'db1' has", false }, /* silence */
	};

	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		struct fixture *f;
		setup((void **)&f);
		play(play_answer, (void *)(uintptr_t)&answers[i]);
		int rc = get(f, "x");
		if (answers[i].code == ERR_NONE)
			assert_int_equal(rc, STORE_ABSENT);
		else
			assert_failed(rc, answers[i].code, answers[i].text);
		/* whatever it was: the next one is well */
		play(play_next, NULL);
		assert_got(f, "y", "next");
		assert_int_equal(peer.opens, answers[i].goes_on ? 1 : 2);
		teardown((void **)&f);
	}
}

/* ---- the end at every byte ---- */

static void add_frame(struct buf *b, enum wire_type type, const struct buf *content)
{
	pack_u32(b, (uint32_t)content->len);
	pack_u8(b, (uint8_t)type);
	pack_u8(b, WIRE_LAST);
	pack_u16(b, 0);
	pack_u32(b, 1);
	buf_add(b, content->data, content->len);
}

struct cut {
	enum remote_verb verb;
	struct buf bytes; /* of the whole answer */
	size_t at;
};

static void play_cut(void *ctx, int fd)
{
	const struct cut *c = ctx;
	struct far *f = far_greet(fd);

	far_request(f, c->verb);
	MUST(c->at == 0 || write(fd, c->bytes.data, c->at) == (ssize_t)c->at);
}

static int note_entry(void *ctx, const struct store_entry *e)
{
	buf_addf(ctx, "%s ", e->name);
	return 0;
}

static int look_at(void *ctx, const struct store_entry *e)
{
	assert_string_equal(e->name, "x");
	return 0;
}

static void test_cut_get(void **state)
{
	struct fixture *f = *state;
	const struct get_opts o = { .opened = look_at };
	struct cut c = { .verb = REMOTE_GET };
	struct buf part;

	buf_init(&c.bytes, f->a);
	buf_init(&part, f->a);
	add_entry(&part, "anything");
	add_frame(&c.bytes, WIRE_ENTRY, &part);
	buf_reset(&part);
	buf_adds(&part, "content");
	add_frame(&c.bytes, WIRE_DATA, &part);
	buf_reset(&part);
	remote_pack_got(&part, false, NULL, NULL);
	add_frame(&c.bytes, WIRE_ANSWER, &part);
	play(play_cut, &c);
	for (c.at = 0; c.at <= c.bytes.len; c.at++) {
		buf_reset(&f->got);
		int rc = store_get(f->s, "x", &o, sink_buf(f->a, &f->got));
		if (c.at == c.bytes.len)
			assert_int_equal(rc, 0);
		else
			assert_failed(rc, ERR_SERVICE, "reading 'db1:/repo/x': ");
	}
	assert_string_equal(f->got.data, "content");
	assert_int_equal(peer.opens, c.bytes.len + 1);
}

static void test_cut_list(void **state)
{
	struct fixture *f = *state;
	struct cut c = { .verb = REMOTE_LIST };
	struct buf part;

	buf_init(&c.bytes, f->a);
	buf_init(&part, f->a);
	add_entry(&part, "a");
	add_entry(&part, "b");
	add_frame(&c.bytes, WIRE_DATA, &part);
	buf_reset(&part);
	pack_bool(&part, false);
	pack_u32(&part, 2);
	add_frame(&c.bytes, WIRE_ANSWER, &part);
	play(play_cut, &c);
	for (c.at = 0; c.at <= c.bytes.len; c.at++) {
		int rc = store_list(f->s, "dir", note_entry, &f->got);
		if (c.at == c.bytes.len)
			assert_int_equal(rc, 0);
		else
			assert_failed(rc, ERR_SERVICE, "listing 'db1:/repo/dir': ");
		assert_string_equal(f->got.data, rc == 0 ? "a b " : "");
	}
}

/* ---- listings ---- */

struct listing {
	const char *names[4];
	uint32_t n;
	bool absent;
};

static void play_listing(void *ctx, int fd)
{
	const struct listing *l = ctx;
	struct far *f = far_greet(fd);
	struct buf b;

	buf_init(&b, f->a);
	far_request(f, REMOTE_LIST);
	for (size_t i = 0; i < 4 && l->names[i] != NULL; i++)
		add_entry(&b, l->names[i]);
	/* an entry need not lie in one frame */
	for (size_t i = 0; i < b.len; i += 7)
		far_send(f, WIRE_DATA, f->request, b.data + i, b.len - i < 7 ? b.len - i : 7);
	far_counted(f, l->absent, l->n);
	far_end(f);
}

static void test_listings(void **state)
{
	static const struct {
		struct listing l;
		int rc; /* -1: ERR_PROTOCOL */
		const char *found;
	} cases[] = {
		{ { { "B", "a", "a.b" }, 3, false }, 0, "B a a.b " },
		{ { { NULL }, 0, false }, 0, "" },
		{ { { NULL }, 0, true }, STORE_ABSENT, "" },
		{ { { "a" }, 0, true }, -1, "" },
		{ { { "b", "a" }, 2, false }, -1, "" },
		{ { { "a", "a" }, 2, false }, -1, "" },
		{ { { "a", "b" }, 1, false }, -1, "" },
		{ { { "a", "b" }, 3, false }, -1, "" },
		{ { { "a/b" }, 1, false }, -1, "" },
		{ { { ".." }, 1, false }, -1, "" },
		{ { { "" }, 1, false }, -1, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fixture *f;
		setup((void **)&f);
		play(play_listing, (void *)(uintptr_t)&cases[i].l);
		int rc = store_list(f->s, "dir", note_entry, &f->got);
		if (cases[i].rc < 0)
			assert_failed(rc, ERR_PROTOCOL, "host 'db1' sent ");
		else
			assert_int_equal(rc, cases[i].rc);
		assert_string_equal(f->got.data, cases[i].found);
		teardown((void **)&f);
	}
}

static void add_folder(struct buf *b, const char *path, uint32_t n, const char *name)
{
	pack_str(b, path);
	pack_u32(b, n);
	for (uint32_t i = 0; i < n; i++)
		add_entry(b, name);
}

static void play_tree(void *ctx, int fd)
{
	struct far *f = far_greet(fd);
	struct buf b;

	buf_init(&b, f->a);
	far_request(f, REMOTE_TREE);
	add_folder(&b, "base", 1, "one");
	add_folder(&b, "base/1", 0, NULL);
	add_folder(&b, ctx == NULL ? "base/2" : ctx, 1, "two");
	far_send(f, WIRE_DATA, f->request, b.data, b.len);
	far_counted(f, false, 3);
	if (ctx != NULL)
		far_end(f);
	/* what was not foreseen, and what was listed once already */
	for (int i = 0; i < 2; i++) {
		far_request(f, REMOTE_LIST);
		far_counted(f, true, 0);
	}
	far_end(f);
}

static void test_foresee(void **state)
{
	struct fixture *f = *state;
	struct store *pg = store_remote(f->a, f->r, REMOTE_PLACE_PG + 1, "/data");

	play(play_tree, NULL);
	assert_int_equal(store_foresee(f->s, ""), 0); /* a repository: nothing is asked */
	assert_int_equal(store_foresee(pg, "base"), 0);
	assert_int_equal(store_list(pg, "base/2", note_entry, &f->got), 0);
	assert_int_equal(store_list(pg, "base/1", note_entry, &f->got), 0);
	assert_int_equal(store_list(pg, "base/3", note_entry, &f->got), STORE_ABSENT);
	assert_int_equal(store_list(pg, "base/2", note_entry, &f->got), STORE_ABSENT);
	assert_int_equal(store_list(pg, "base", note_entry, &f->got), 0);
	assert_string_equal(f->got.data, "two one ");
	assert_int_equal(peer.opens, 1);
}

static void test_foresee_elsewhere(void **state)
{
	static char *const paths[] = { "other", "base/../..", "/etc", "base/1", "" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct fixture *f;
		setup((void **)&f);
		play(play_tree, paths[i]);
		assert_failed(store_foresee(store_remote(f->a, f->r, REMOTE_PLACE_PG + 1, "/data"), "base"),
			ERR_PROTOCOL,
			"a malformed listing of 'base'");
		teardown((void **)&f);
	}
}

/* ---- ahead ---- */

static void play_ahead(void *ctx, int fd)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	struct far *f = far_greet(fd);

	/* all of them are here before the first is answered */
	for (size_t i = 0; i < 4; i++)
		far_get(f, names[i]);
	far_text(f, 1, "A");
	far_got(f, 1, false);
	far_got(f, 2, true);
	/* the question for something else drops the rest, whose answers may be on their way */
	far_text(f, 3, "C");
	far_expect(f, WIRE_CANCEL, 3);
	far_expect(f, WIRE_CANCEL, 4);
	far_text(f, 3, "CC");
	far_got(f, 3, false);
	far_fail(f, 4, ERR_FILE_READ, "what nobody wants to know");
	far_request(f, REMOTE_STAT);
	far_counted(f, true, 0);
	far_get(f, "a");
	far_text(f, f->request, "again");
	far_got(f, f->request, false);
	far_end(f);
}

static void test_ahead(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	struct fixture *f = *state;
	struct store_entry e;

	play(play_ahead, NULL);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(store_ahead(f->s, names[i], NULL), 0);
	assert_got(f, "a", "A");
	assert_int_equal(get(f, "b"), STORE_ABSENT);
	assert_int_equal(store_stat(f->a, f->s, "c", &e), STORE_ABSENT);
	assert_got(f, "a", "again");
	assert_int_equal(peer.opens, 1);
}

static void play_ahead_other(void *ctx, int fd)
{
	struct far *f = far_greet(fd);

	far_get(f, "x");
	far_expect(f, WIRE_CANCEL, 1);
	far_got(f, 1, false);
	far_request(f, REMOTE_GET);
	far_text(f, 2, "x");
	far_got(f, 2, false);
	far_end(f);
}

static int no_look(void *ctx, const struct store_entry *e)
{
	return 0;
}

/* Another range is another get; so is one that asks for the entry, but not one that does not. */
static void test_ahead_equal(void **state)
{
	struct fixture *f = *state;
	struct get_opts o = { .length = 1 };

	play(play_ahead_other, NULL);
	assert_int_equal(store_ahead(f->s, "x", NULL), 0);
	assert_int_equal(store_get(f->s, "x", &o, sink_buf(f->a, &f->got)), 0);
	assert_string_equal(f->got.data, "x");
}

static void play_ahead_entry(void *ctx, int fd)
{
	struct far *f = far_greet(fd);
	struct buf b;

	buf_init(&b, f->a);
	add_entry(&b, "x");
	far_get(f, "x");
	far_send(f, WIRE_ENTRY, 1, b.data, b.len);
	far_text(f, 1, "x");
	far_got(f, 1, false);
	far_get(f, "x");
	far_expect(f, WIRE_CANCEL, 2);
	far_got(f, 2, false);
	far_get(f, "x");
	far_send(f, WIRE_ENTRY, 3, b.data, b.len);
	far_got(f, 3, false);
	far_end(f);
}

static void test_ahead_entry(void **state)
{
	struct fixture *f = *state;
	struct get_opts o = { .opened = no_look };

	play(play_ahead_entry, NULL);
	assert_int_equal(store_ahead(f->s, "x", &o), 0);
	assert_got(f, "x", "x");
	assert_int_equal(store_ahead(f->s, "x", NULL), 0);
	assert_int_equal(store_get(f->s, "x", &o, sink_null(f->a)), 0);
}

static void play_one_by_one(void *ctx, int fd)
{
	struct far *f = far_greet_as(fd, ctx);

	/* the next request is not here before this one is answered */
	for (int i = 0; i < 3; i++) {
		far_get(f, "x");
		MUST(!wire_ready(f->w, i == 0 ? 100 : 0));
		far_text(f, f->request, "x");
		far_got(f, f->request, false);
	}
	far_end(f);
}

static struct remote_hello first_minor = { .major = 1, .program = "p", .capabilities = "", .roles = 7 };
static struct remote_hello one_only = { .major = 1, .minor = 1, .program = "p", .capabilities = "ahead", .ahead = 1,
	.roles = 7 };

static void test_one_by_one(void **state)
{
	struct remote_hello *const hellos[] = { &first_minor, &one_only };

	for (size_t i = 0; i < 2; i++) {
		struct fixture *f;
		setup((void **)&f);
		play(play_one_by_one, hellos[i]);
		for (int k = 0; k < 3; k++)
			assert_int_equal(store_ahead(f->s, "x", NULL), 0);
		for (int k = 0; k < 3; k++)
			assert_got(f, "x", "x");
		teardown((void **)&f);
	}
}

static void play_bounded(void *ctx, int fd)
{
	struct remote_hello h = usual;
	struct far *f;

	h.ahead = 3;
	f = far_greet_as(fd, &h);
	for (int i = 0; i < 3; i++)
		far_get(f, "x");
	MUST(!wire_ready(f->w, 100));
	for (uint32_t n = 1; n <= 3; n++)
		far_got(f, n, true);
	for (uint32_t n = 4; n <= 5; n++) {
		far_get(f, "x");
		far_got(f, n, true);
	}
	far_end(f);
}

static void test_ahead_bound(void **state)
{
	struct fixture *f = *state;

	play(play_bounded, NULL);
	for (int i = 0; i < 5; i++)
		assert_int_equal(store_ahead(f->s, "x", NULL), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(get(f, "x"), STORE_ABSENT);
}

/* ---- what the other side cannot do ---- */

static void play_plain(void *ctx, int fd)
{
	struct far *f = far_greet_as(fd, &first_minor);
	struct remote_get g = { 0 };

	far_request(f, REMOTE_GET);
	remote_unpack_get(&f->fields, &g);
	MUST(unpack_end(&f->fields, "get") == 0 && g.opts.spec == NULL && g.opts.length == 5);
	far_text(f, 1, "12345");
	far_got(f, 1, false);
	far_end(f);
}

static void test_blocks_here(void **state)
{
	struct fixture *f = *state;
	const struct blocks_spec blocks = { .block_size = 4, .sum_size = 6, .super_size = 8 };
	const struct pipe_spec spec = { .blocks = &blocks, .hash_plain = true };
	struct pipe_result r;
	const struct get_opts o = { .spec = &spec, .result = &r, .length = 5 };

	play(play_plain, NULL);
	assert_int_equal(store_get(f->s, "x", &o, sink_buf(f->a, &f->got)), 0);
	assert_int_equal(r.blocks.n, 2);
	assert_int_equal(r.blocks.changed.n, 2);
	assert_int_equal(r.plain_size, 5);
	assert_int_equal(r.stored_size, f->got.len);
}

static void play_short_spec(void *ctx, int fd)
{
	struct far *f = far_greet(fd);
	const struct pipe_spec spec = { .hash_plain = true };
	const struct pipe_result r = { .plain_size = 5, .stored_size = 5 };
	struct buf b;

	buf_init(&b, f->a);
	far_request(f, REMOTE_GET);
	far_text(f, 1, ctx);
	remote_pack_got(&b, false, &spec, &r);
	far_send(f, WIRE_ANSWER, 1, b.data, b.len);
	far_end(f);
}

/* The answer says how much must have come. */
static void test_sizes(void **state)
{
	static char *const data[] = { "12345", "1234", "123456" };
	const struct pipe_spec spec = { .hash_plain = true };

	for (size_t i = 0; i < 3; i++) {
		struct fixture *f;
		struct pipe_result r;
		setup((void **)&f);
		const struct get_opts o = { .spec = &spec, .result = &r };
		play(play_short_spec, data[i]);
		int rc = store_get(f->s, "x", &o, sink_buf(f->a, &f->got));
		if (i == 0)
			assert_int_equal(rc, 0);
		else
			assert_failed(rc, ERR_PROTOCOL, "bytes, and that they are 5");
		teardown((void **)&f);
	}
}

static void play_range(void *ctx, int fd)
{
	struct far *f = far_greet(fd);

	for (int i = 0; i < 3; i++) {
		far_get(f, "x");
		far_text(f, f->request, i == 0 ? "12345" : i == 1 ? "1234" : "123456");
		far_got(f, f->request, false);
	}
	far_end(f);
}

static void test_range(void **state)
{
	struct fixture *f = *state;
	const struct get_opts o = { .length = 5, .exact = true };

	play(play_range, NULL);
	assert_int_equal(store_get(f->s, "x", &o, sink_buf(f->a, &f->got)), 0);
	assert_failed(store_get(f->s, "x", &o, sink_buf(f->a, &f->got)), ERR_FILE_READ,
		"5 bytes at offset 0 wanted, 4 found");
	assert_failed(store_get(f->s, "x", &o, sink_buf(f->a, &f->got)), ERR_PROTOCOL, "more than the 5 bytes");
}

/* ---- a sink that fails ---- */

static void play_cancelled(void *ctx, int fd)
{
	struct far *f = far_greet(fd);

	far_get(f, "x");
	far_get(f, "y");
	far_text(f, 1, "123456");
	far_expect(f, WIRE_CANCEL, 1);
	far_text(f, 1, "more that was on its way");
	far_got(f, 1, false);
	far_text(f, 2, "next");
	far_got(f, 2, false);
	far_end(f);
}

static void test_sink_fails(void **state)
{
	struct fixture *f = *state;
	struct buf b;

	buf_init(&b, f->a);
	play(play_cancelled, NULL);
	assert_int_equal(store_ahead(f->s, "x", NULL), 0);
	assert_int_equal(store_ahead(f->s, "y", NULL), 0);
	assert_failed(store_read(f->s, "x", 5, false, &b), ERR_FILE_READ, "larger than 5 bytes");
	/* what was asked ahead behind it is still good */
	assert_got(f, "y", "next");
	assert_int_equal(peer.opens, 1);
}

/* ---- connections that end ---- */

static void play_once(void *ctx, int fd)
{
	struct far *f = far_greet(fd);

	far_get(f, "x");
	far_text(f, 1, "x");
	far_got(f, 1, false);
	if (ctx != NULL)
		far_fail(f, 0, ERR_SERVICE, "the caller was silent");
	MUST(wire_flush(f->w) == 0);
}

/* Closed while nothing was asked: nobody notices. */
static void test_opened_again(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		play(play_once, i == 0 ? NULL : f);
		assert_got(f, "x", "x");
		struct pollfd ended = { .fd = peer.fd, .events = POLLRDHUP };
		assert_int_equal(poll(&ended, 1, ANSWER_MS), 1);
	}
	play(play_next, NULL);
	assert_got(f, "y", "next");
	assert_int_equal(peer.opens, 3);
}

static void play_end_asked(void *ctx, int fd)
{
	struct far *f = far_greet(fd);

	far_get(f, "x");
}

static void test_never_sent_again(void **state)
{
	struct fixture *f = *state;

	play(play_end_asked, NULL);
	peer.why = "ssh ended with 255:\n\033[1mKilled";
	assert_failed(get(f, "x"), ERR_SERVICE,
		"reading 'db1:/repo/x': host 'db1' has closed the connection: ssh ended with 255:\n?[1mKilled");
	assert_int_equal(peer.opens, 1);
	play(play_next, NULL);
	assert_got(f, "y", "next");
	assert_int_equal(peer.opens, 2);
	assert_int_equal(remote_generation(f->r), 2);
}

static void play_two(void *ctx, int fd)
{
	struct far *f = far_greet(fd);

	for (int i = 0; i < 2; i++) {
		far_get(f, "x");
		far_text(f, f->request, "x");
		far_got(f, f->request, false);
	}
	far_end(f);
}

/* A child has a connection of its own, and leaves its parent's alone. */
static void test_fork(void **state)
{
	struct fixture *f = *state;
	int status;

	play(play_two, NULL);
	assert_got(f, "x", "x");
	pid_t pid = fork();
	if (pid == 0) {
		bool well = get(f, "x") == 0 && get(f, "x") == 0 && peer.opens == 2;
		arena_free(f->a);
		_exit(well && peer.failed == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_got(f, "x", "x");
	assert_int_equal(peer.opens, 1);
}

/* ---- put ---- */

static void far_put(struct far *f, const char *path, bool replace)
{
	struct remote_put p;

	far_request(f, REMOTE_PUT);
	remote_unpack_put(&f->fields, &p);
	MUST(unpack_end(&f->fields, "put") == 0 && p.place == 7 && strcmp(p.path, path) == 0);
	MUST(p.create_new == !replace && p.replace == replace);
}

static void play_put(void *ctx, int fd)
{
	struct far *f = far_greet(fd);
	struct wire_frame frame;
	struct unpack u;
	size_t len = 0;

	far_put(f, "d/x", false);
	for (;;) {
		MUST(wire_receive(f->w, &frame) == 0 && frame.request == 1);
		if (frame.type != WIRE_DATA)
			break;
		for (size_t i = 0; i < frame.len; i++)
			MUST(frame.data[i] == (uint8_t)((len + i) % 251));
		len += frame.len;
	}
	MUST(len == 700000 && frame.type == WIRE_FINISH);
	unpack_init(&u, f->a, frame.data, frame.len);
	MUST(strcmp(unpack_text(&u), "d/final") == 0 && unpack_end(&u, "finish") == 0);
	far_send(f, WIRE_ANSWER, 1, "", 0);
	/* one that is undone, and one that is refused at its end */
	far_put(f, "d/y", false);
	far_expect(f, WIRE_DATA, 2);
	far_expect(f, WIRE_CANCEL, 2);
	far_fail(f, 2, ERR_SERVICE, "put was cancelled");
	far_put(f, "d/z", false);
	far_expect(f, WIRE_FINISH, 3);
	far_fail(f, 3, ERR_FILE_EXISTS, "file exists");
	far_put(f, "d/z", true);
	far_expect(f, WIRE_FINISH, 4);
	far_fail(f, 4, ERR_ACCESS, "access denied: nothing is replaced");
	far_end(f);
}

static void test_put(void **state)
{
	static const size_t pieces[] = { 1, 100000, 262143, 262144, 300000 };
	uint8_t *data = arena_alloc(((struct fixture *)*state)->a, 700000);

	for (size_t i = 0; i < 700000; i++)
		data[i] = (uint8_t)(i % 251);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		struct fixture *f;
		setup((void **)&f);
		const char *final = NULL;
		struct put_opts o = { .atomic = true, .create_new = true, .final_path = &final };
		play(play_put, NULL);
		struct arena *a = arena_new();
		struct sink *to = store_put(a, f->s, "d/x", &o);
		assert_non_null(to);
		for (size_t at = 0; at < 700000; at += pieces[i])
			assert_int_equal(sink_write(to, data + at, pieces[i] < 700000 - at ? pieces[i] : 700000 - at),
				0);
		final = "d/final";
		assert_int_equal(sink_finish(to), 0);
		arena_free(a);
		a = arena_new();
		o.final_path = NULL;
		to = store_put(a, f->s, "d/y", &o);
		assert_int_equal(sink_write(to, data, 300000), 0);
		arena_free(a);
		assert_failed(store_write(f->s, "d/z", "", 0, &o), ERR_FILE_EXISTS, "host 'db1': file exists");
		o.create_new = false;
		assert_failed(store_write(f->s, "d/z", "", 0, &o), ERR_ACCESS, "nothing is replaced");
		assert_int_equal(peer.opens, 1);
		teardown((void **)&f);
	}
}

static void play_full_disk(void *ctx, int fd)
{
	struct far *f = far_greet(fd);
	struct wire_frame frame;

	far_put(f, "x", false);
	far_expect(f, WIRE_DATA, 1);
	far_fail(f, 1, ERR_FILE_WRITE, "no space left on device");
	MUST(wire_flush(f->w) == 0);
	while (wire_receive(f->w, &frame) == 0 && frame.type == WIRE_DATA)
		;
	MUST(frame.type == WIRE_REQUEST && frame.request == 2);
	far_got(f, 2, true);
	far_end(f);
}

/* The failure is heard of while there is still something to send, and a put that has failed is not ended once more. */
static void test_put_fails(void **state)
{
	struct fixture *f = *state;
	struct arena *a = arena_new();
	const struct put_opts o = { .atomic = true, .create_new = true };
	char *data = arena_zalloc(f->a, 1 << 20);
	int rc = 0;

	play(play_full_disk, NULL);
	struct sink *to = store_put(a, f->s, "x", &o);
	for (int i = 0; i < 100000 && rc == 0; i++)
		rc = sink_write(to, data, 1 << 20);
	assert_failed(rc, ERR_FILE_WRITE, "host 'db1': no space left on device");
	arena_free(a);
	assert_int_equal(get(f, "x"), STORE_ABSENT);
	assert_int_equal(peer.opens, 1);
}

static void play_put_alone(void *ctx, int fd)
{
	struct far *f = far_greet(fd);

	far_put(f, "x", false);
	far_expect(f, WIRE_DATA, 1);
	far_expect(f, WIRE_FINISH, 1);
	far_send(f, WIRE_ANSWER, 1, "", 0);
	far_end(f);
}

static void test_put_alone(void **state)
{
	struct fixture *f = *state;
	struct arena *a = arena_new();
	const struct put_opts o = { .atomic = true, .create_new = true };
	struct store_entry e;

	play(play_put_alone, NULL);
	struct sink *to = store_put(a, f->s, "x", &o);
	assert_int_equal(sink_write(to, "1", 1), 0);
	assert_failed(get(f, "y"), ERR_ASSERT, "writing 'db1:/repo/x' is not finished");
	assert_failed(store_stat(a, f->s, "y", &e), ERR_ASSERT, "is not finished");
	assert_null(store_put(a, f->s, "y", &o));
	assert_failed(-1, ERR_ASSERT, "is not finished");
	assert_int_equal(store_ahead(f->s, "y", NULL), 0);
	assert_int_equal(sink_finish(to), 0);
	arena_free(a);
	assert_int_equal(peer.opens, 1);
}

static void test_put_opts(void **state)
{
	static const uint64_t at = 0;
	static const struct put_opts opts[] = {
		{ .create_new = true }, { .at = &at, .size_hint = 1 }, { .at = &at, .keep = true }, { .atomic = true,
			.set_mtime = true },
		{ .atomic = true, .set_owner = true }, { .atomic = true, .mode = 0600 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(opts) / sizeof(*opts); i++) {
		assert_null(store_put(f->a, f->s, "x", &opts[i]));
		assert_failed(-1, ERR_FEATURE, "unable to write 'db1:repo1/x'");
	}
	assert_int_equal(peer.opens, 0);
}

/* ---- questions ---- */

static void play_ask(void *ctx, int fd)
{
	struct far *f = far_greet(fd);
	char *big = arena_zalloc(f->a, 600000);

	far_request(f, REMOTE_DB_TIME);
	far_send(f, WIRE_ANSWER, 1, "1234", 4);
	far_request(f, REMOTE_DB_DATABASES);
	for (int i = 0; i < 3; i++)
		MUST(wire_send(f->w, WIRE_ANSWER, i == 2 ? WIRE_LAST : 0, 2, big, 600000) == 0);
	far_request(f, REMOTE_DB_STOP);
	far_text(f, 3, "data");
	far_end(f);
}

static void test_ask(void **state)
{
	struct fixture *f = *state;
	struct unpack u;
	struct buf q;

	buf_init(&q, f->a);
	play(play_ask, NULL);
	pack_u8(&q, REMOTE_DB_TIME);
	assert_int_equal(remote_ask(f->r, &q, &u, f->a), 0);
	assert_int_equal(u.end - u.at, 4);
	assert_memory_equal(u.at, "1234", 4);
	buf_reset(&q);
	pack_u8(&q, REMOTE_DB_DATABASES);
	assert_int_equal(remote_ask(f->r, &q, &u, f->a), 0);
	assert_int_equal(u.end - u.at, 1800000);
	buf_reset(&q);
	pack_u8(&q, REMOTE_DB_STOP);
	assert_failed(remote_ask(f->r, &q, &u, f->a), ERR_PROTOCOL, "data where an answer is due");
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hellos), T(test_places), cmocka_unit_test(test_answers), T(test_cut_get),
			T(test_cut_list),
		cmocka_unit_test(test_listings), T(test_foresee), cmocka_unit_test(test_foresee_elsewhere),
			T(test_ahead),
		T(test_ahead_equal), T(test_ahead_entry), cmocka_unit_test(test_one_by_one), T(test_ahead_bound),
		T(test_blocks_here), cmocka_unit_test(test_sizes), T(test_range), T(test_sink_fails),
			T(test_opened_again),
		T(test_never_sent_again), T(test_fork), T(test_put), T(test_put_fails), T(test_put_alone),
			T(test_put_opts),
		T(test_ask),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
