/*
 * remote_db: a server of another host, by named requests (doc/protocol.md): nothing here sends SQL.
 *
 * The session is the conversation's: it is gone with the connection, and whatever a backup began in it has been ended
 * there.  A new connection, and another process, has no session, and no request is tried on one.
 */
#include "work/remote_db.h"

#include <unistd.h>

#include "pg/far.h"
#include "work/db_pack.h"

struct remote_db {
	struct pg_far far; /* first: a far is one of these */
	struct remote *remote;
	unsigned generation; /* the connection that has the session, */
	pid_t pid;	     /* of this process */
	uint32_t segment_size;
};

static bool has_session(const struct remote_db *d)
{
	return d->pid == getpid() && d->generation == remote_generation(d->remote);
}

static int lost(const struct remote_db *d)
{
	(void)err_set(ERR_DB_CONNECT, "host '%s': the session on the database server was lost with the connection",
		remote_opts(d->remote)->host);
	return err_hint("was the other host, its sshd or the network restarted?");
}

static int ask(struct arena *a, struct remote_db *d, const struct buf *request, struct unpack *answer)
{
	if (!has_session(d))
		return lost(d);
	int rc = remote_ask(d->remote, request, answer, a);
	/* the old connection was found closed, and the new one knows no session */
	return has_session(d) ? rc : lost(d);
}

static int ask_plain(struct arena *a, struct pg_far *f, enum remote_verb verb, struct unpack *answer)
{
	struct buf request;

	buf_init(&request, a);
	db_pack_plain(&request, verb);
	return ask(a, (struct remote_db *)f, &request, answer);
}

static uint32_t segment_size(const struct pg_far *f)
{
	return ((const struct remote_db *)f)->segment_size;
}

static int far_time(struct pg_far *f, int64_t *unix_seconds)
{
	SCOPED_ARENA(a);
	struct unpack u;

	return ask_plain(a, f, REMOTE_DB_TIME, &u) != 0 ? -1 : db_unpack_time(&u, unix_seconds);
}

static int far_insert_segment(struct arena *a, struct pg_far *f, const char **segment)
{
	struct unpack u;

	return ask_plain(a, f, REMOTE_DB_SEGMENT, &u) != 0 ? -1 : db_unpack_segment(&u, segment_size(f), segment);
}

static int far_start(struct arena *a, struct pg_far *f, const char *label_prefix, bool fast, struct pg_start *out)
{
	struct buf request;
	struct unpack u;

	buf_init(&request, a);
	db_pack_start(&request, label_prefix, fast);
	if (ask(a, (struct remote_db *)f, &request, &u) != 0)
		return -1;
	return db_unpack_started(&u, segment_size(f), out);
}

static int far_stop(struct arena *a, struct pg_far *f, struct pg_stop *out)
{
	struct unpack u;

	return ask_plain(a, f, REMOTE_DB_STOP, &u) != 0 ? -1 : db_unpack_stopped(&u, segment_size(f), out);
}

static int far_switch_wal(struct arena *a, struct pg_far *f, const char *restore_point, const char **segment)
{
	struct buf request;
	struct unpack u;

	buf_init(&request, a);
	db_pack_switch(&request, restore_point);
	if (ask(a, (struct remote_db *)f, &request, &u) != 0)
		return -1;
	return db_unpack_segment(&u, segment_size(f), segment);
}

static int far_databases(struct arena *a, struct pg_far *f, struct pg_names *out)
{
	struct unpack u;

	return ask_plain(a, f, REMOTE_DB_DATABASES, &u) != 0 ? -1 : db_unpack_names(&u, out);
}

static int far_tablespaces(struct arena *a, struct pg_far *f, struct pg_names *out)
{
	struct unpack u;

	return ask_plain(a, f, REMOTE_DB_TABLESPACES, &u) != 0 ? -1 : db_unpack_names(&u, out);
}

static int far_ping(struct pg_far *f)
{
	SCOPED_ARENA(a);
	struct unpack u;

	return ask_plain(a, f, REMOTE_DB_PING, &u) != 0 ? -1 : db_unpack_nothing(&u);
}

static int far_replay(struct pg_far *f, struct pg_replay *out)
{
	SCOPED_ARENA(a);
	struct unpack u;

	return ask_plain(a, f, REMOTE_DB_REPLAY, &u) != 0 ? -1 : db_unpack_replay(&u, out);
}

static int far_checkpoint(struct pg_far *f)
{
	SCOPED_ARENA(a);
	struct unpack u;

	return ask_plain(a, f, REMOTE_DB_CHECKPOINT, &u) != 0 ? -1 : db_unpack_nothing(&u);
}

static int far_wal_end(struct pg_far *f, struct pg_wal_end *out)
{
	SCOPED_ARENA(a);
	struct unpack u;

	return ask_plain(a, f, REMOTE_DB_WAL_END, &u) != 0 ? -1 : db_unpack_wal_end(&u, out);
}

static const struct pg_far functions = { .time = far_time, .insert_segment = far_insert_segment, .start = far_start,
	.stop = far_stop, .switch_wal = far_switch_wal, .databases = far_databases, .tablespaces = far_tablespaces,
	.ping = far_ping, .replay = far_replay, .checkpoint = far_checkpoint, .wal_end = far_wal_end };

int remote_db_open(struct arena *a, struct remote *r, uint32_t place, struct pg_server *out)
{
	struct remote_db *d = arena_new_object(a, struct remote_db);
	struct buf request;
	struct unpack u;

	*out = (struct pg_server){ .far = &d->far };
	buf_init(&request, a);
	db_pack_open(&request, place);
	if (remote_ask(r, &request, &u, a) != 0 || db_unpack_settings(&u, out) != 0)
		return -1;
	*d = (struct remote_db){ functions, r, remote_generation(r), getpid(), out->wal_segment_size };
	return 0;
}
