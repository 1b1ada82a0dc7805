/*
 * serve_db: the named requests to the server of a cluster (doc/protocol.md).
 *
 * Always true: what the caller sends becomes a parameter of a statement that stands in src/pg, never a part of one.
 */
#include "work/serve_intern.h"

#include "work/db_pack.h"

/* What a request does: fields in, answer out. */
typedef int answer_fn(struct serving *v, struct serve_request *q, struct buf *out);

static void end_session(struct serving *v)
{
	arena_free(v->db_arena);
	v->db_arena = NULL;
	v->db = (struct pg_server){ 0 };
}

/* Waiting for PostgreSQL ends too when the caller is gone. */
static int connect_to(struct serving *v, const struct serve_place *p)
{
	struct pg_conn_opts opts = *p->db;

	opts.peer = &v->s->in;
	v->db_arena = arena_new();
	if (pg_server_open(v->db_arena, &opts, &v->db) == 0)
		return 0;
	end_session(v);
	return -1;
}

static int open_session(struct serving *v, struct serve_request *q, struct buf *out)
{
	const struct serve_place *p;
	uint32_t place;

	if (db_unpack_open(&q->fields, &place) != 0 || (p = serve_find_place(v, place)) == NULL)
		return -1;
	if (p->db == NULL)
		return err_set(ERR_ACCESS, "access denied: place %u is no cluster", place);
	end_session(v);
	if (v->s->ops->stopped(v->s->ctx) != 0 || connect_to(v, p) != 0)
		return -1;
	db_pack_settings(out, &v->db);
	return 0;
}

static int tell_time(struct serving *v, struct serve_request *q, struct buf *out)
{
	int64_t unix_seconds;

	if (db_unpack_nothing(&q->fields) != 0 || pg_server_time(&v->db, &unix_seconds) != 0)
		return -1;
	db_pack_time(out, unix_seconds);
	return 0;
}

static int tell_segment(struct serving *v, struct serve_request *q, struct buf *out)
{
	const char *segment;

	if (db_unpack_nothing(&q->fields) != 0 || pg_insert_segment(q->arena, &v->db, &segment) != 0)
		return -1;
	db_pack_segment(out, segment);
	return 0;
}

static int start(struct serving *v, struct serve_request *q, struct buf *out)
{
	const char *label_prefix;
	struct pg_start started;
	bool fast;

	if (db_unpack_start(&q->fields, &label_prefix, &fast) != 0 ||
		pg_backup_start(q->arena, &v->db, label_prefix, fast, &started) != 0)
		return -1;
	db_pack_started(out, &started);
	return 0;
}

static int stop(struct serving *v, struct serve_request *q, struct buf *out)
{
	struct pg_stop stopped;

	if (db_unpack_nothing(&q->fields) != 0 || pg_backup_stop(q->arena, &v->db, &stopped) != 0)
		return -1;
	db_pack_stopped(out, &stopped);
	return 0;
}

static int switch_wal(struct serving *v, struct serve_request *q, struct buf *out)
{
	const char *restore_point, *segment;

	if (db_unpack_switch(&q->fields, &restore_point) != 0 ||
		pg_switch_wal(q->arena, &v->db, restore_point, &segment) != 0)
		return -1;
	db_pack_segment(out, segment);
	return 0;
}

static int tell_names(struct serving *v, struct serve_request *q, struct buf *out)
{
	const bool databases = q->verb == REMOTE_DB_DATABASES;
	struct pg_names names;

	if (db_unpack_nothing(&q->fields) != 0)
		return -1;
	if ((databases ? pg_databases : pg_tablespaces)(q->arena, &v->db, &names) != 0)
		return -1;
	db_pack_names(out, &names);
	return 0;
}

static int ping(struct serving *v, struct serve_request *q, struct buf *out)
{
	return db_unpack_nothing(&q->fields) != 0 ? -1 : pg_ping(&v->db);
}

static int tell_replay(struct serving *v, struct serve_request *q, struct buf *out)
{
	struct pg_replay replay;

	if (db_unpack_nothing(&q->fields) != 0 || pg_replay(&v->db, &replay) != 0)
		return -1;
	db_pack_replay(out, &replay);
	return 0;
}

static int checkpoint(struct serving *v, struct serve_request *q, struct buf *out)
{
	return db_unpack_nothing(&q->fields) != 0 ? -1 : pg_checkpoint(&v->db);
}

static int tell_wal_end(struct serving *v, struct serve_request *q, struct buf *out)
{
	struct pg_wal_end end;

	if (db_unpack_nothing(&q->fields) != 0 || pg_wal_end(&v->db, &end) != 0)
		return -1;
	db_pack_wal_end(out, &end);
	return 0;
}

#define AT(verb) [REMOTE_DB_##verb - REMOTE_DB_OPEN]
static answer_fn *const answers[] = { AT(OPEN) = open_session, AT(TIME) = tell_time, AT(SEGMENT) = tell_segment,
	AT(START) = start, AT(STOP) = stop, AT(SWITCH) = switch_wal, AT(DATABASES) = tell_names,
	AT(TABLESPACES) = tell_names, AT(PING) = ping, AT(REPLAY) = tell_replay, AT(CHECKPOINT) = checkpoint,
	AT(WAL_END) = tell_wal_end };

int serve_db_request(struct serving *v, struct serve_request *q)
{
	struct buf out;

	if (q->verb != REMOTE_DB_OPEN && v->db_arena == NULL)
		return err_set(ERR_DB_CONNECT, "there is no session on a database server in this conversation");
	buf_init(&out, q->arena);
	return answers[q->verb - REMOTE_DB_OPEN](v, q, &out) != 0 ? -1 : serve_answer(v, q, &out);
}
