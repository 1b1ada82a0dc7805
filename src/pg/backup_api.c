/*
 * backup_api: the statements of a backup, composed from the version table's parts.
 *
 * Of a segment's name only the timeline is taken from the server: up to 16 pg_walfile_name() gives
 * an LSN at the first byte of a segment to the segment before, from 17 on to its own.  Which of
 * both is meant depends on the question, so segment numbers are computed here.
 *
 * A server of another host is asked there, by these same functions (pg/far.h): each begins with that.
 */
#include "pg/backup_api.h"

#include <inttypes.h>
#include <string.h>
#include "base/str.h"
#include "pg/far.h"

/* Columns of the query in pg_server_open. */
enum {
	VERSION_NUM,
	DATA_DIRECTORY,
	ARCHIVE_MODE,
	ARCHIVE_COMMAND,
	CHECKPOINT_TIMEOUT,
	IN_RECOVERY,
	SEGMENT_SIZE,
};

#define SETTING(name) "max(setting) filter (where name = '" name "'), "

/* A query that gives one row without nulls. */
static int query_row(struct arena *a, struct pg_server *s, const char *sql, size_t n_params,
	const char *const *params, struct pg_rows *out)
{
	if (pg_query(a, s->conn, sql, n_params, params, out) != 0)
		return -1;
	if (out->rows != 1)
		return err_set(ERR_DB_QUERY, "query '%s' gave %zu rows but 1 was expected", sql,
			out->rows);
	for (size_t i = 0; i < out->cols; i++)
		if (out->v[i] == NULL)
			return err_set(ERR_DB_QUERY, "query '%s' gave null in column %zu", sql,
				i + 1);
	return 0;
}

static int unexpected(const char *what, const char *text)
{
	return err_set(ERR_DB_QUERY, "unexpected %s '%s' from the server", what, text);
}

static bool is_true(const char *text)
{
	return strcmp(text, "t") == 0;
}

static int check_permission(const struct pg_rows *r)
{
	for (size_t i = 0; i < r->cols; i++) {
		if (PG_CELL(r, 0, i) != NULL)
			continue;
		err_set(ERR_DB_QUERY, "unable to select some rows from pg_settings");
		err_hint("is the backup running as the postgres user?");
		return err_hint("is the pg_read_all_settings role assigned for PostgreSQL >= 10?");
	}
	return 0;
}

static int take_version(const char *text, struct pg_server *out)
{
	uint64_t num;

	if (!str_to_u64(text, &num) || num > UINT32_MAX)
		return unexpected("version", text);
	out->version_num = (unsigned)num;
	out->version = pg_version_by_number(out->version_num);
	if (out->version != NULL)
		return 0;
	err_set(ERR_VERSION_NOT_SUPPORTED, "unexpected PostgreSQL version %u", out->version_num);
	return err_hint("is this version of PostgreSQL supported?");
}

static int take_settings(const struct pg_rows *r, struct pg_server *out)
{
	uint64_t timeout_s, segment_size;

	if (check_permission(r) != 0 || take_version(PG_CELL(r, 0, VERSION_NUM), out) != 0)
		return -1;
	out->data_directory = PG_CELL(r, 0, DATA_DIRECTORY);
	out->archive_mode = PG_CELL(r, 0, ARCHIVE_MODE);
	out->archive_command = PG_CELL(r, 0, ARCHIVE_COMMAND);
	if (!str_to_u64(PG_CELL(r, 0, CHECKPOINT_TIMEOUT), &timeout_s) || timeout_s > INT32_MAX)
		return unexpected("checkpoint_timeout", PG_CELL(r, 0, CHECKPOINT_TIMEOUT));
	out->checkpoint_timeout_ms = (int64_t)timeout_s * 1000;
	out->in_recovery = is_true(PG_CELL(r, 0, IN_RECOVERY));
	if (!str_to_u64(PG_CELL(r, 0, SEGMENT_SIZE), &segment_size) || segment_size > UINT32_MAX ||
		!wal_segment_size_is_valid((uint32_t)segment_size))
		return unexpected("WAL segment size", PG_CELL(r, 0, SEGMENT_SIZE));
	out->wal_segment_size = (uint32_t)segment_size;
	return 0;
}

int pg_server_open(struct arena *a, const struct pg_conn_opts *opts, struct pg_server *out)
{
	/* the setting wal_segment_size has another unit before 11 */
	static const char sql[] = "select " SETTING("server_version_num") SETTING("data_directory")
		SETTING("archive_mode") SETTING("archive_command") SETTING("checkpoint_timeout")
		"pg_is_in_recovery(), (select bytes_per_wal_segment from pg_control_init()) "
		"from pg_settings";
	struct pg_rows r;

	*out = (struct pg_server){.conn = pg_connect(a, opts)};
	if (out->conn == NULL || pg_query(a, out->conn, sql, 0, NULL, &r) != 0)
		return -1;
	return take_settings(&r, out);
}

int pg_server_time(struct pg_server *s, int64_t *unix_seconds)
{
	static const char sql[] = "select trunc(extract(epoch from clock_timestamp()))::bigint";
	SCOPED_ARENA(a);
	struct pg_rows r;

	if (s->conn == NULL)
		return s->far->time(s->far, unix_seconds);
	if (query_row(a, s, sql, 0, NULL, &r) != 0)
		return -1;
	if (!str_to_i64(PG_CELL(&r, 0, 0), unix_seconds))
		return unexpected("time", PG_CELL(&r, 0, 0));
	return 0;
}

static int take_lsn(const char *text, uint64_t *lsn)
{
	return lsn_parse(text, lsn) ? 0 : unexpected("LSN", text);
}

/* The name of segment number n; given: the server's name for an LSN nearby, for its timeline. */
static int name_segment(struct arena *a, struct pg_server *s, const char *given, uint64_t n,
	const char **out)
{
	char name[WAL_NAME + 1];
	struct wal_pos pos;

	if (wal_kind(given) != WAL_SEGMENT || !wal_parse(given, s->wal_segment_size, &pos))
		return unexpected("WAL segment name", given);
	pos.segment = n;
	wal_name(pos, s->wal_segment_size, name);
	*out = arena_strdup(a, name);
	return 0;
}

int pg_insert_segment(struct arena *a, struct pg_server *s, const char **segment)
{
	const struct pg_version *v = s->version;
	struct pg_rows r;
	uint64_t lsn;

	if (s->conn == NULL)
		return s->far->insert_segment(a, s->far, segment);
	const char *sql = arena_printf(a, "select lsn::text, %s(lsn) from %s as lsn",
		v->sql_wal_file, v->sql_insert_lsn);
	if (query_row(a, s, sql, 0, NULL, &r) != 0 || take_lsn(PG_CELL(&r, 0, 0), &lsn) != 0)
		return -1;
	return name_segment(a, s, PG_CELL(&r, 0, 1), wal_segment_of(lsn, s->wal_segment_size),
		segment);
}

int pg_backup_start(struct arena *a, struct pg_server *s, const char *label_prefix, bool fast,
	struct pg_start *out)
{
	const struct pg_version *v = s->version;
	const char *const params[] = {label_prefix, fast ? "t" : "f"};
	struct pg_rows r;

	if (s->conn == NULL)
		return s->far->start(a, s->far, label_prefix, fast, out);
	const char *sql = arena_printf(a, "select lsn::text, %s(lsn) from %s as lsn",
		v->sql_wal_file, v->sql_start);
	if (query_row(a, s, sql, 2, params, &r) != 0 || take_lsn(PG_CELL(&r, 0, 0), &out->lsn) != 0)
		return -1;
	out->lsn_text = PG_CELL(&r, 0, 0);
	return name_segment(a, s, PG_CELL(&r, 0, 1), wal_segment_of(out->lsn, s->wal_segment_size),
		&out->segment);
}

/* Without tablespaces the server gives an empty map, or one of blanks and line feeds. */
static const char *map_or_empty(struct arena *a, const char *map)
{
	return *str_trim(a, map) == '\0' ? "" : map;
}

int pg_backup_stop(struct arena *a, struct pg_server *s, struct pg_stop *out)
{
	const struct pg_version *v = s->version;
	struct pg_rows r;

	if (s->conn == NULL)
		return s->far->stop(a, s->far, out);
	const char *sql = arena_printf(a,
		"select lsn::text, %s(lsn), labelfile, spcmapfile from %s", v->sql_wal_file,
		v->sql_stop);
	if (query_row(a, s, sql, 0, NULL, &r) != 0 || take_lsn(PG_CELL(&r, 0, 0), &out->lsn) != 0)
		return -1;
	out->lsn_text = PG_CELL(&r, 0, 0);
	out->label_file = PG_CELL(&r, 0, 2);
	out->tablespace_map = map_or_empty(a, PG_CELL(&r, 0, 3));
	return name_segment(a, s, PG_CELL(&r, 0, 1),
		wal_segment_before(out->lsn, s->wal_segment_size), &out->segment);
}

int pg_switch_wal(struct arena *a, struct pg_server *s, const char *restore_point,
	const char **segment)
{
	const struct pg_version *v = s->version;
	struct pg_rows r, switched;
	uint64_t lsn;

	if (s->conn == NULL)
		return s->far->switch_wal(a, s->far, restore_point, segment);
	const char *point = arena_printf(a,
		"select lsn::text, %s(lsn) from pg_create_restore_point($1) as lsn",
		v->sql_wal_file);
	const char *change = arena_printf(a, "select %s::text", v->sql_switch);
	/* The restore point makes sure that there is something to switch away from; its LSN is the
	 * end of its record, so the byte before lies in the segment that the switch completes,
	 * whoever else writes. */
	if (query_row(a, s, point, 1, &restore_point, &r) != 0)
		return -1;
	if (take_lsn(PG_CELL(&r, 0, 0), &lsn) != 0)
		return -1;
	if (query_row(a, s, change, 0, NULL, &switched) != 0)
		return -1;
	return name_segment(a, s, PG_CELL(&r, 0, 1), wal_segment_before(lsn, s->wal_segment_size),
		segment);
}

static int query_names(struct arena *a, struct pg_server *s, const char *sql, struct pg_names *out)
{
	struct pg_rows r;
	uint64_t oid;

	if (pg_query(a, s->conn, sql, 0, NULL, &r) != 0)
		return -1;
	vec_init(&out->v, a);
	for (size_t i = 0; i < r.rows; i++) {
		if (!str_to_u64(PG_CELL(&r, i, 0), &oid) || oid > UINT32_MAX)
			return unexpected("oid", PG_CELL(&r, i, 0));
		vec_push(&out->v, ((struct pg_named_oid){(uint32_t)oid, PG_CELL(&r, i, 1)}));
	}
	return 0;
}

int pg_databases(struct arena *a, struct pg_server *s, struct pg_names *out)
{
	if (s->conn == NULL)
		return s->far->databases(a, s->far, out);
	return query_names(a, s,
		"select oid::text, datname::text from pg_database "
		"order by datname::text collate \"C\"",
		out);
}

int pg_tablespaces(struct arena *a, struct pg_server *s, struct pg_names *out)
{
	if (s->conn == NULL)
		return s->far->tablespaces(a, s->far, out);
	return query_names(a, s,
		"select oid::text, spcname::text from pg_tablespace order by pg_tablespace.oid",
		out);
}

int pg_ping(struct pg_server *s)
{
	SCOPED_ARENA(a);
	struct pg_rows r;

	if (s->conn == NULL)
		return s->far->ping(s->far);
	if (query_row(a, s, "select pg_is_in_recovery()", 0, NULL, &r) != 0)
		return -1;
	if (!is_true(PG_CELL(&r, 0, 0)))
		return 0;
	err_set(ERR_DB_MISMATCH, "primary has switched to recovery");
	return err_hint("was the primary demoted during the backup?");
}
