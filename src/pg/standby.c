/*
 * standby: the statements for a server in recovery.
 *
 * PostgreSQL has no function for the timeline that is being replayed.  What is on disk tells: before a page
 * with a change of a timeline is written, pg_control's minimum recovery point is put onto that timeline.
 */
#include "pg/standby.h"

#include "base/clock.h"
#include "base/str.h"
#include "pg/far.h"

/* Up to 15 pg_control is read without a lock, and a reading in the middle of a write is an error. */
#define CONTROL_TRIES 10
#define CONTROL_MS 50

static int unexpected(const char *what, const char *text)
{
	return err_set(ERR_DB_QUERY, "unexpected %s '%s' from the server", what, text == NULL ? "" : text);
}

static int one_row(struct arena *a, struct pg_server *s, const char *sql, size_t cols, struct pg_rows *out)
{
	if (pg_query(a, s->conn, sql, 0, NULL, out) != 0)
		return -1;
	if (out->rows == 1 && out->cols == cols)
		return 0;
	return err_set(ERR_DB_QUERY, "query '%s' gave %zu rows of %zu columns", sql, out->rows, out->cols);
}

static int take_u32(const char *what, const char *text, uint32_t *out)
{
	uint64_t n;

	if (text == NULL || !str_to_u64(text, &n) || n > UINT32_MAX)
		return unexpected(what, text);
	*out = (uint32_t)n;
	return 0;
}

static int take_lsn(const char *text, uint64_t *out)
{
	return text != NULL && lsn_parse(text, out) ? 0 : unexpected("LSN", text);
}

static int ask_state(struct pg_server *s, struct pg_replay *out)
{
	SCOPED_ARENA(a);
	struct pg_rows r;
	/* who may not see statistics sees an empty row while a receiver runs */
	const char *sql = arena_printf(a, "select pg_is_in_recovery(), coalesce(%s, '0/0')::text, count(*) > 0, "
		"coalesce(max(received_tli), 0) from pg_stat_wal_receiver", s->version->sql_replay_lsn);

	if (one_row(a, s, sql, 4, &r) != 0)
		return -1;
	out->in_recovery = PG_CELL(&r, 0, 0) != NULL && *PG_CELL(&r, 0, 0) == 't';
	out->receives = PG_CELL(&r, 0, 2) != NULL && *PG_CELL(&r, 0, 2) == 't';
	if (take_lsn(PG_CELL(&r, 0, 1), &out->lsn) != 0)
		return -1;
	return take_u32("timeline", PG_CELL(&r, 0, 3), &out->timeline);
}

static int ask_control(struct pg_server *s, struct pg_replay *out)
{
	SCOPED_ARENA(a);
	struct pg_rows r;
	uint32_t timeline = 0;
	const char *sql = arena_printf(a, "select c.%s::text, greatest(c.timeline_id, r.min_recovery_end_timeline) "
		"from pg_control_checkpoint() as c, pg_control_recovery() as r", s->version->sql_control_lsn);

	if (one_row(a, s, sql, 2, &r) != 0 || take_lsn(PG_CELL(&r, 0, 0), &out->checkpoint) != 0 ||
		take_u32("timeline", PG_CELL(&r, 0, 1), &timeline) != 0)
		return -1;
	if (timeline > out->timeline)
		out->timeline = timeline;
	return 0;
}

int pg_replay(struct pg_server *s, struct pg_replay *out)
{
	if (s->conn == NULL)
		return s->far->replay(s->far, out);
	*out = (struct pg_replay){ 0 };
	if (ask_state(s, out) != 0)
		return -1;
	for (unsigned i = 1; ask_control(s, out) != 0; i++) {
		if (err_code() != ERR_DB_QUERY || i == CONTROL_TRIES || clock_sleep(CONTROL_MS))
			return -1;
		err_clear();
	}
	return 0;
}

int pg_checkpoint(struct pg_server *s)
{
	SCOPED_ARENA(a);
	struct pg_rows none;

	if (s->conn == NULL)
		return s->far->checkpoint(s->far);
	return pg_query(a, s->conn, "checkpoint", 0, NULL, &none);
}
