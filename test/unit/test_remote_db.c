/*
 * remote_db, serve_db, db_pack: a server of another host, asked by name.  PostgreSQL itself is in
 * test/scenario/505_pg_host.t; here the other side is played: what it may send, what it may be asked, and what becomes of
 * a session whose connection is gone.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "pg/standby.h"
#include "pg/wal_end.h"
#include "work/db_pack.h"
#include "work/remote_db.h"
#include "work/serve_intern.h"

#define SEGMENT_SIZE (16u * 1024 * 1024)
#define SEGMENT "0000000100000000000000AB"
#define SILENCE_MS 20000
#define PLACE (REMOTE_PLACE_PG + 2)

static struct arena *a;

static int setup(void **state)
{
	a = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena_free(a);
	err_clear();
	return 0;
}

static struct buf new_buf(void)
{
	struct buf b;

	buf_init(&b, a);
	return b;
}

static struct pg_server settings(void)
{
	return (struct pg_server){ .version_num = 150004, .data_directory = "/pg", .archive_mode = "on",
		.archive_command = "pgstrata archive-push %p", .checkpoint_timeout_ms = 300000, .in_recovery = true,
		.wal_segment_size = SEGMENT_SIZE };
}

static const struct pg_start started = { 0xAB000028, "0/AB000028", SEGMENT };
static const struct pg_stop stopped = { 0xAB000100, "0/AB000100", SEGMENT, "START WAL LOCATION: 0/AB000028\n", "" };
static const struct pg_replay replay = { true, 7, 5, 3, true };
static const struct pg_wal_end wal_end = { 4, 0xAB000000 };

static struct pg_names names(void)
{
	struct pg_names n;

	vec_init(&n.v, a);
	vec_push(&n.v, ((struct pg_named_oid){ 5, "postgres" }));
	vec_push(&n.v, ((struct pg_named_oid){ 16384, "d\xc3\xa4ta" }));
	return n;
}

/* --- what crosses --- */

static void open_message(struct unpack *u, const struct buf *b, size_t len)
{
	unpack_init(u, a, b->data, len);
	err_clear();
}

static void test_answers_cross(void **state)
{
	struct pg_server in = settings(), server = { 0 };
	struct pg_names some = names(), got;
	struct pg_start start;
	struct pg_stop stop;
	struct unpack u;
	struct buf b = new_buf();

	db_pack_settings(&b, &in);
	open_message(&u, &b, b.len);
	assert_int_equal(db_unpack_settings(&u, &server), 0);
	assert_string_equal(server.version->name, "15");
	assert_int_equal(server.version_num, 150004);
	assert_string_equal(server.data_directory, "/pg");
	assert_string_equal(server.archive_mode, "on");
	assert_string_equal(server.archive_command, in.archive_command);
	assert_int_equal(server.checkpoint_timeout_ms, 300000);
	assert_true(server.in_recovery);
	assert_int_equal(server.wal_segment_size, SEGMENT_SIZE);

	buf_reset(&b);
	db_pack_started(&b, &started);
	open_message(&u, &b, b.len);
	assert_int_equal(db_unpack_started(&u, SEGMENT_SIZE, &start), 0);
	assert_int_equal(start.lsn, started.lsn);
	assert_string_equal(start.lsn_text, started.lsn_text);
	assert_string_equal(start.segment, SEGMENT);

	buf_reset(&b);
	db_pack_stopped(&b, &stopped);
	open_message(&u, &b, b.len);
	assert_int_equal(db_unpack_stopped(&u, SEGMENT_SIZE, &stop), 0);
	assert_int_equal(stop.lsn, stopped.lsn);
	assert_string_equal(stop.label_file, stopped.label_file);
	assert_string_equal(stop.tablespace_map, "");

	buf_reset(&b);
	db_pack_names(&b, &some);
	open_message(&u, &b, b.len);
	assert_int_equal(db_unpack_names(&u, &got), 0);
	assert_int_equal(got.v.n, 2);
	assert_int_equal(got.v.v[1].oid, 16384);
	assert_string_equal(got.v.v[1].name, some.v.v[1].name);
}

static void test_numbers_cross(void **state)
{
	struct pg_replay standing;
	struct pg_wal_end end;
	struct unpack u;
	struct buf b = new_buf();
	int64_t seconds;

	db_pack_replay(&b, &replay);
	open_message(&u, &b, b.len);
	assert_int_equal(db_unpack_replay(&u, &standing), 0);
	assert_true(standing.in_recovery && standing.receives);
	assert_int_equal(standing.lsn, 7);
	assert_int_equal(standing.checkpoint, 5);
	assert_int_equal(standing.timeline, 3);

	buf_reset(&b);
	db_pack_wal_end(&b, &wal_end);
	open_message(&u, &b, b.len);
	assert_int_equal(db_unpack_wal_end(&u, &end), 0);
	assert_int_equal(end.timeline, 4);
	assert_int_equal(end.lsn, wal_end.lsn);

	buf_reset(&b);
	db_pack_time(&b, 1700000000);
	open_message(&u, &b, b.len);
	assert_int_equal(db_unpack_time(&u, &seconds), 0);
	assert_int_equal(seconds, 1700000000);
}

static int as_settings(struct unpack *u)
{
	struct pg_server s = { 0 };

	return db_unpack_settings(u, &s);
}

static int as_started(struct unpack *u)
{
	struct pg_start s;

	return db_unpack_started(u, SEGMENT_SIZE, &s);
}

static int as_stopped(struct unpack *u)
{
	struct pg_stop s;

	return db_unpack_stopped(u, SEGMENT_SIZE, &s);
}

static int as_names(struct unpack *u)
{
	struct pg_names n;

	return db_unpack_names(u, &n);
}

static int as_replay(struct unpack *u)
{
	struct pg_replay r;

	return db_unpack_replay(u, &r);
}

static int as_wal_end(struct unpack *u)
{
	struct pg_wal_end e;

	return db_unpack_wal_end(u, &e);
}

static int as_time(struct unpack *u)
{
	int64_t t;

	return db_unpack_time(u, &t);
}

static int as_segment(struct unpack *u)
{
	const char *segment;

	return db_unpack_segment(u, SEGMENT_SIZE, &segment);
}

static void refused(const struct buf *b, size_t len, int (*as)(struct unpack *u), enum err_code code)
{
	struct unpack u;

	open_message(&u, b, len);
	assert_int_equal(as(&u), -1);
	assert_int_equal(err_code(), code);
	err_clear();
}

static void cut_and_longer(struct buf *b, int (*as)(struct unpack *u))
{
	for (size_t len = 0; len < b->len; len++)
		refused(b, len, as, ERR_PROTOCOL);
	buf_addc(b, '\0');
	refused(b, b->len, as, ERR_PROTOCOL);
	buf_reset(b);
}

static void test_no_answer_is_believed_in_part(void **state)
{
	const struct pg_server s = settings();
	const struct pg_names some = names();
	struct buf b = new_buf();

	db_pack_settings(&b, &s);
	cut_and_longer(&b, as_settings);
	db_pack_started(&b, &started);
	cut_and_longer(&b, as_started);
	db_pack_stopped(&b, &stopped);
	cut_and_longer(&b, as_stopped);
	db_pack_names(&b, &some);
	cut_and_longer(&b, as_names);
	db_pack_replay(&b, &replay);
	cut_and_longer(&b, as_replay);
	db_pack_wal_end(&b, &wal_end);
	cut_and_longer(&b, as_wal_end);
	db_pack_time(&b, 1);
	cut_and_longer(&b, as_time);
	db_pack_segment(&b, SEGMENT);
	cut_and_longer(&b, as_segment);
}

static void refused_settings(struct pg_server s, enum err_code code)
{
	struct buf b = new_buf();

	db_pack_settings(&b, &s);
	refused(&b, b.len, as_settings, code);
}

static void test_impossible_settings(void **state)
{
	struct pg_server s = settings();

	s.version_num = 80400;
	refused_settings(s, ERR_VERSION_NOT_SUPPORTED);
	s = settings();
	s.data_directory = NULL;
	refused_settings(s, ERR_PROTOCOL);
	s = settings();
	s.archive_command = NULL;
	refused_settings(s, ERR_PROTOCOL);
	s = settings();
	s.checkpoint_timeout_ms = -1;
	refused_settings(s, ERR_PROTOCOL);
	s = settings();
	s.wal_segment_size = 3 * 1024 * 1024;
	refused_settings(s, ERR_PROTOCOL);
	s.wal_segment_size = 0;
	refused_settings(s, ERR_PROTOCOL);
}

static void refused_start(struct pg_start s)
{
	struct buf b = new_buf();

	db_pack_started(&b, &s);
	refused(&b, b.len, as_started, ERR_PROTOCOL);
}

static void refused_segment(const char *segment)
{
	struct buf b = new_buf();

	db_pack_segment(&b, segment);
	refused(&b, b.len, as_segment, ERR_PROTOCOL);
	refused_start((struct pg_start){ 0, "0/1", segment });
}

static void test_impossible_positions(void **state)
{
	struct buf b = new_buf();

	refused_segment("../../etc/passwd");
	refused_segment("0000000100000000000000ab");
	refused_segment("0000000100000000000000AB.partial");
	refused_segment("0000000100000000000001AB"); /* of a size that has 256 of them */
	refused_segment(NULL);
	refused_start((struct pg_start){ 0, "0/", SEGMENT });
	refused_start((struct pg_start){ 0, NULL, SEGMENT });
	refused_start((struct pg_start){ 0, "AB000028", SEGMENT });
	db_pack_time(&b, -1);
	refused(&b, b.len, as_time, ERR_PROTOCOL);
	buf_reset(&b);
	db_pack_time(&b, INT64_MAX);
	refused(&b, b.len, as_time, ERR_PROTOCOL);
	/* more names than there are bytes */
	buf_reset(&b);
	pack_u32(&b, UINT32_MAX);
	refused(&b, b.len, as_names, ERR_PROTOCOL);
}

static int as_start(struct unpack *u)
{
	const char *prefix;
	bool fast;

	return db_unpack_start(u, &prefix, &fast);
}

static int as_switch(struct unpack *u)
{
	const char *point;

	return db_unpack_switch(u, &point);
}

static int as_open(struct unpack *u)
{
	uint32_t place;

	return db_unpack_open(u, &place);
}

/* A request as the server gets it: its verb has been read. */
static void refused_request(struct buf *b, int (*as)(struct unpack *u))
{
	struct buf fields = new_buf();

	buf_add(&fields, b->data + 1, b->len - 1);
	refused(&fields, fields.len, as, ERR_PROTOCOL);
	buf_reset(b);
}

static void test_impossible_requests(void **state)
{
	char text[DB_NAME_MAX + 2];
	struct buf b = new_buf(), fields = new_buf();
	struct unpack u;

	memset(text, 'x', sizeof(text));
	text[DB_NAME_MAX + 1] = '\0';
	db_pack_start(&b, text, true);
	refused_request(&b, as_start);
	db_pack_switch(&b, text);
	refused_request(&b, as_switch);
	db_pack_start(&b, NULL, true);
	refused_request(&b, as_start);
	db_pack_switch(&b, NULL);
	refused_request(&b, as_switch);
	db_pack_open(&b, 1);
	buf_addc(&b, '\0');
	refused_request(&b, as_open);

	text[DB_NAME_MAX] = '\0';
	db_pack_start(&b, text, true);
	buf_add(&fields, b.data + 1, b.len - 1);
	open_message(&u, &fields, fields.len);
	assert_int_equal(as_start(&u), 0);
	buf_reset(&fields);
	buf_addc(&fields, '\0');
	open_message(&u, &fields, fields.len);
	assert_int_equal(db_unpack_nothing(&u), -1);
}

/* --- the other side --- */

typedef void play_fn(int fd);

static play_fn *plays[8]; /* one for each connection */
static unsigned connections;

static void close_fd(void *ctx)
{
	close((int)(intptr_t)ctx);
}

static int connect_play(struct arena *arena, void *ctx, struct remote_link *out)
{
	int pair[2];

	assert_non_null(plays[connections]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(pair[0]);
		plays[connections](pair[1]);
		_exit(0);
	}
	connections++;
	close(pair[1]);
	(void)arena_defer(arena, close_fd, (void *)(intptr_t)pair[0]);
	*out = (struct remote_link){ .in = pair[0], .out = pair[0] };
	return 0;
}

static struct remote *call(play_fn *first, play_fn *second)
{
	const struct remote_opts opts = { .host = "db1", .program = "pgstrata", .option = "pg1-host-cmd",
		.open = connect_play, .stanza = "demo", .roles = REMOTE_ROLE_BACKUP, .exec_id = "1",
		.connect_ms = SILENCE_MS, .silence_ms = SILENCE_MS, .level = WIRE_NO_PACK };

	plays[0] = first;
	plays[1] = second;
	connections = 0;
	return remote_new(a, &opts);
}

static struct wire *greet(int fd)
{
	struct remote_hello h = { .major = REMOTE_MAJOR, .minor = REMOTE_MINOR, .program = "played",
		.capabilities = REMOTE_CAP_AHEAD " " REMOTE_CAP_BLOCKS, .ahead = REMOTE_AHEAD_MAX,
		.roles = REMOTE_ROLE_BACKUP };
	struct wire *w = wire_new(a, fd, fd, "the caller", SILENCE_MS);
	struct buf b = new_buf();
	struct wire_frame f;

	vec_init(&h.places, a);
	vec_push(&h.places, ((struct remote_place){ PLACE, "/pg", NULL }));
	remote_pack_hello(&b, &h, true);
	if (wire_send_magic(w) != 0 || wire_send(w, WIRE_HELLO, WIRE_LAST, 0, b.data, b.len) != 0 ||
		wire_receive(w, &f) != 0 || f.type != WIRE_HELLO)
		_exit(1);
	return w;
}

/* Answer one request, whose verb must be this one (0: any); false: there is none. */
static bool answer(struct wire *w, int verb, const struct buf *fields)
{
	struct wire_frame f;

	if (wire_receive(w, &f) != 0 || f.type != WIRE_REQUEST)
		return false;
	if (verb != 0 && f.data[0] != verb)
		_exit(2);
	return wire_send(w, WIRE_ANSWER, WIRE_LAST, f.request, fields->data, fields->len) == 0 && wire_flush(w) == 0;
}

static void answer_open(struct wire *w)
{
	const struct pg_server s = settings();
	struct buf b = new_buf();

	db_pack_settings(&b, &s);
	if (!answer(w, REMOTE_DB_OPEN, &b))
		_exit(3);
}

static void answer_all(struct wire *w)
{
	const struct pg_names some = names();
	struct buf b[12];

	for (size_t i = 0; i < 12; i++)
		b[i] = new_buf();
	db_pack_time(&b[REMOTE_DB_TIME - REMOTE_DB_OPEN], 1700000000);
	db_pack_segment(&b[REMOTE_DB_SEGMENT - REMOTE_DB_OPEN], SEGMENT);
	db_pack_started(&b[REMOTE_DB_START - REMOTE_DB_OPEN], &started);
	db_pack_stopped(&b[REMOTE_DB_STOP - REMOTE_DB_OPEN], &stopped);
	db_pack_segment(&b[REMOTE_DB_SWITCH - REMOTE_DB_OPEN], SEGMENT);
	db_pack_names(&b[REMOTE_DB_DATABASES - REMOTE_DB_OPEN], &some);
	db_pack_names(&b[REMOTE_DB_TABLESPACES - REMOTE_DB_OPEN], &some);
	db_pack_replay(&b[REMOTE_DB_REPLAY - REMOTE_DB_OPEN], &replay);
	db_pack_wal_end(&b[REMOTE_DB_WAL_END - REMOTE_DB_OPEN], &wal_end);
	for (int verb = REMOTE_DB_TIME; verb <= REMOTE_DB_WAL_END; verb++)
		if (!answer(w, verb, &b[verb - REMOTE_DB_OPEN]))
			_exit(4);
}

static void play_all(int fd)
{
	struct wire *w = greet(fd);

	answer_open(w);
	answer_all(w);
}

/* Each function of a far server asks by its own name, in the order of the verbs. */
static void test_functions_ask_by_name(void **state)
{
	struct pg_server s;
	struct pg_start start;
	struct pg_stop stop;
	struct pg_names n;
	struct pg_replay r;
	struct pg_wal_end end;
	const char *segment;
	int64_t seconds;

	assert_int_equal(remote_db_open(a, call(play_all, NULL), PLACE, &s), 0);
	assert_null(s.conn);
	assert_string_equal(s.version->name, "15");
	assert_int_equal(pg_server_time(&s, &seconds), 0);
	assert_int_equal(seconds, 1700000000);
	assert_int_equal(pg_insert_segment(a, &s, &segment), 0);
	assert_string_equal(segment, SEGMENT);
	assert_int_equal(pg_backup_start(a, &s, "prefix ", true, &start), 0);
	assert_int_equal(start.lsn, started.lsn);
	assert_int_equal(pg_backup_stop(a, &s, &stop), 0);
	assert_string_equal(stop.label_file, stopped.label_file);
	assert_int_equal(pg_switch_wal(a, &s, "point", &segment), 0);
	assert_int_equal(pg_databases(a, &s, &n), 0);
	assert_int_equal(n.v.n, 2);
	assert_int_equal(pg_tablespaces(a, &s, &n), 0);
	assert_int_equal(pg_ping(&s), 0);
	assert_int_equal(pg_replay(&s, &r), 0);
	assert_int_equal(r.checkpoint, 5);
	assert_int_equal(pg_checkpoint(&s), 0);
	assert_int_equal(pg_wal_end(&s, &end), 0);
	assert_int_equal(end.lsn, wal_end.lsn);
	assert_int_equal(connections, 1);
}

static void play_open_and_leave(int fd)
{
	answer_open(greet(fd));
}

/* It would do whatever it is asked: nobody may ask. */
static void play_yes(int fd)
{
	struct wire *w = greet(fd);
	struct buf none = new_buf();

	while (answer(w, 0, &none))
		;
}

static void lost_session(struct pg_server *s)
{
	assert_int_equal(pg_ping(s), -1);
	assert_int_equal(err_code(), ERR_DB_CONNECT);
	assert_non_null(strstr(err_msg(), "host 'db1'"));
	assert_non_null(strstr(err_msg(), "lost"));
	err_clear();
}

static void wait_for_players(void)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
}

static void test_a_session_ends_with_its_connection(void **state)
{
	struct remote *r = call(play_open_and_leave, play_yes);
	struct pg_server s;

	assert_int_equal(remote_db_open(a, r, PLACE, &s), 0);
	wait_for_players();
	/* whatever says so first, connection or session: it is a failure, and from the second time on it is this one */
	assert_int_equal(pg_ping(&s), -1);
	err_clear();
	assert_non_null(remote_hello(r));
	assert_int_equal(connections, 2);
	lost_session(&s);
	lost_session(&s);
}

static void test_a_session_is_of_one_process(void **state)
{
	struct pg_server s;
	int status;

	assert_int_equal(remote_db_open(a, call(play_all, play_yes), PLACE, &s), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(pg_ping(&s) == -1 && err_code() == ERR_DB_CONNECT && strstr(err_msg(), "lost") != NULL ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void play_impossible(int fd)
{
	struct pg_server s = settings();
	struct wire *w = greet(fd);
	struct buf b = new_buf();

	s.wal_segment_size = 5;
	db_pack_settings(&b, &s);
	if (!answer(w, REMOTE_DB_OPEN, &b))
		_exit(3);
}

static void test_what_is_impossible_opens_nothing(void **state)
{
	struct pg_server s;

	assert_int_equal(remote_db_open(a, call(play_impossible, NULL), PLACE, &s), -1);
	assert_int_equal(err_code(), ERR_PROTOCOL);
}

/* --- the server's own side --- */

static uint32_t served_roles;
static bool is_stopped;

static int stop_file(void *ctx)
{
	return is_stopped ? err_set(ERR_STOP, "stop file exists for stanza demo") : 0;
}

static void play_serve(int fd)
{
	static const struct pg_conn_opts nobody = { .socket_path = "/nonexistent", .port = 5432, .database = "postgres",
		.timeout_ms = SILENCE_MS, .application = "test" };
	const struct serve_place places[] = {
		{ .place = { 1, "/repo", "none" }, .store = store_mem(a) },
		{ .place = { PLACE, "/pg", NULL }, .store = store_mem(a), .db = &nobody },
	};
	const struct serve_ops ops = { .stopped = stop_file };
	const struct serve s = { .in = fd, .out = fd, .stanza = "demo", .roles = served_roles, .places = places, .n = 2,
		.ops = &ops, .silence_ms = SILENCE_MS };

	_exit(serve_run(&s) == 0 ? 0 : 1);
}

static void refused_open(struct remote *r, uint32_t place, enum err_code code)
{
	struct pg_server s;

	assert_int_equal(remote_db_open(a, r, place, &s), -1);
	assert_int_equal(err_code(), code);
	assert_non_null(strstr(err_msg(), "db1"));
	err_clear();
}

static void test_a_server_opens_only_clusters(void **state)
{
	served_roles = REMOTE_ROLE_BACKUP;
	is_stopped = false;
	refused_open(call(play_serve, NULL), 1, ERR_ACCESS);
	refused_open(call(play_serve, NULL), 77, ERR_ACCESS);
}

static void test_a_request_needs_a_session(void **state)
{
	struct buf b = new_buf();
	struct unpack u;

	served_roles = REMOTE_ROLE_BACKUP;
	is_stopped = false;
	struct remote *r = call(play_serve, NULL);
	for (int verb = REMOTE_DB_TIME; verb <= REMOTE_DB_WAL_END; verb++) {
		buf_reset(&b);
		db_pack_plain(&b, (enum remote_verb)verb);
		assert_int_equal(remote_ask(r, &b, &u, a), -1);
		assert_int_equal(err_code(), ERR_DB_CONNECT);
		assert_non_null(strstr(err_msg(), "no session"));
		err_clear();
	}
	/* one that could not be opened is none */
	refused_open(r, PLACE, ERR_DB_CONNECT);
	buf_reset(&b);
	db_pack_plain(&b, REMOTE_DB_STOP);
	assert_int_equal(remote_ask(r, &b, &u, a), -1);
	assert_non_null(strstr(err_msg(), "no session"));
	assert_int_equal(connections, 1);
}

static void test_a_stopped_stanza_has_no_sessions(void **state)
{
	served_roles = REMOTE_ROLE_BACKUP;
	is_stopped = true;
	refused_open(call(play_serve, NULL), PLACE, ERR_STOP);
}

static void test_only_the_role_backup_asks(void **state)
{
	struct buf b = new_buf();
	struct unpack u;

	served_roles = REMOTE_ROLE_ARCHIVE | REMOTE_ROLE_RESTORE;
	is_stopped = false;
	db_pack_open(&b, PLACE);
	assert_int_equal(remote_ask(call(play_serve, NULL), &b, &u, a), -1);
	assert_int_equal(err_code(), ERR_ACCESS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_answers_cross),
		TEST(test_numbers_cross),
		TEST(test_no_answer_is_believed_in_part),
		TEST(test_impossible_settings),
		TEST(test_impossible_positions),
		TEST(test_impossible_requests),
		TEST(test_functions_ask_by_name),
		TEST(test_a_session_ends_with_its_connection),
		TEST(test_a_session_is_of_one_process),
		TEST(test_what_is_impossible_opens_nothing),
		TEST(test_a_server_opens_only_clusters),
		TEST(test_a_request_needs_a_session),
		TEST(test_a_stopped_stanza_has_no_sessions),
		TEST(test_only_the_role_backup_asks),
	};

	signal(SIGPIPE, SIG_IGN); /* as main does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
