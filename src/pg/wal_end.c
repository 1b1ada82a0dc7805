/*
 * wal_end: how far a server's WAL has come.
 *
 * The position that is written, not the one of inserting: a segment is complete, and has its status file, before the
 * server shows a written position behind it.
 */
#include "pg/wal_end.h"

#include "base/str.h"
#include "pg/far.h"

static int in_recovery(struct pg_server *s, struct pg_wal_end *out)
{
	struct pg_replay replay;

	if (pg_replay(s, &replay) != 0)
		return -1;
	*out = (struct pg_wal_end){ replay.timeline, replay.lsn };
	return 0;
}

int pg_wal_end(struct pg_server *s, struct pg_wal_end *out)
{
	SCOPED_ARENA(a);
	struct pg_rows r;
	uint64_t timeline;

	if (s->conn == NULL)
		return s->far->wal_end(s->far, out);
	if (s->in_recovery)
		return in_recovery(s, out);
	const char *written = s->version->num >= 100000 ? "pg_current_wal_lsn()" : "pg_current_xlog_location()";
	const char *sql = arena_printf(a, "select lsn::text, %s(lsn) from %s as lsn", s->version->sql_wal_file, written);
	if (pg_query(a, s->conn, sql, 0, NULL, &r) != 0)
		return -1;
	if (r.rows != 1 || PG_CELL(&r, 0, 0) == NULL || PG_CELL(&r, 0, 1) == NULL ||
		!lsn_parse(PG_CELL(&r, 0, 0), &out->lsn) || !str_hex_to_u64(PG_CELL(&r, 0, 1), 8, &timeline))
		return err_set(ERR_DB_QUERY, "unexpected answer of the server to '%s'", sql);
	out->timeline = (uint32_t)timeline;
	return 0;
}
