/*
 * db_pack: the named requests to a server, and its answers, as bytes, both ways (doc/protocol.md).
 */
#include "work/db_pack.h"

#include <string.h>

#define REQUEST "database request"
#define ANSWER "answer to a database request"
#define TIMEOUT_MAX_MS ((int64_t)INT32_MAX * 1000)
#define YEAR_10000 INT64_C(253402300800) /* Unix seconds */

static int impossible(const char *what, const char *text)
{
	return err_set(ERR_PROTOCOL, "unexpected %s '%s' in the " ANSWER, what, text);
}

/* --- requests --- */

void db_pack_plain(struct buf *b, enum remote_verb verb)
{
	pack_u8(b, (uint8_t)verb);
}

int db_unpack_nothing(struct unpack *u)
{
	return unpack_end(u, REQUEST);
}

void db_pack_open(struct buf *b, uint32_t place)
{
	pack_u8(b, REMOTE_DB_OPEN);
	pack_u32(b, place);
}

int db_unpack_open(struct unpack *u, uint32_t *place)
{
	*place = unpack_u32(u);
	return unpack_end(u, REQUEST);
}

/* A text that becomes a parameter of a statement. */
static int unpack_name(struct unpack *u, const char **out)
{
	*out = unpack_text(u);
	return strlen(*out) > DB_NAME_MAX ? err_set(ERR_PROTOCOL, REQUEST ": a text is too long") : 0;
}

void db_pack_start(struct buf *b, const char *label_prefix, bool fast)
{
	pack_u8(b, REMOTE_DB_START);
	pack_str(b, label_prefix);
	pack_bool(b, fast);
}

int db_unpack_start(struct unpack *u, const char **label_prefix, bool *fast)
{
	if (unpack_name(u, label_prefix) != 0)
		return -1;
	*fast = unpack_bool(u);
	return unpack_end(u, REQUEST);
}

void db_pack_switch(struct buf *b, const char *restore_point)
{
	pack_u8(b, REMOTE_DB_SWITCH);
	pack_str(b, restore_point);
}

int db_unpack_switch(struct unpack *u, const char **restore_point)
{
	return unpack_name(u, restore_point) != 0 ? -1 : unpack_end(u, REQUEST);
}

/* --- answers --- */

void db_pack_settings(struct buf *b, const struct pg_server *s)
{
	pack_u32(b, s->version_num);
	pack_str(b, s->data_directory);
	pack_str(b, s->archive_mode);
	pack_str(b, s->archive_command);
	pack_i64(b, s->checkpoint_timeout_ms);
	pack_bool(b, s->in_recovery);
	pack_u32(b, s->wal_segment_size);
}

int db_unpack_settings(struct unpack *u, struct pg_server *out)
{
	out->version_num = unpack_u32(u);
	out->data_directory = unpack_text(u);
	out->archive_mode = unpack_text(u);
	out->archive_command = unpack_text(u);
	out->checkpoint_timeout_ms = unpack_i64(u);
	out->in_recovery = unpack_bool(u);
	out->wal_segment_size = unpack_u32(u);
	if (unpack_end(u, ANSWER) != 0)
		return -1;
	if (out->checkpoint_timeout_ms < 0 || out->checkpoint_timeout_ms > TIMEOUT_MAX_MS ||
		!wal_segment_size_is_valid(out->wal_segment_size))
		return err_set(ERR_PROTOCOL, "impossible settings in the " ANSWER);
	out->version = pg_version_by_number(out->version_num);
	if (out->version != NULL)
		return 0;
	(void)err_set(ERR_VERSION_NOT_SUPPORTED, "unexpected PostgreSQL version %u", out->version_num);
	return err_hint("is pgStrata of the same version on both hosts?");
}

void db_pack_time(struct buf *b, int64_t unix_seconds)
{
	pack_i64(b, unix_seconds);
}

int db_unpack_time(struct unpack *u, int64_t *unix_seconds)
{
	*unix_seconds = unpack_i64(u);
	if (unpack_end(u, ANSWER) != 0)
		return -1;
	if (*unix_seconds < 0 || *unix_seconds >= YEAR_10000)
		return err_set(ERR_PROTOCOL, "impossible time in the " ANSWER);
	return 0;
}

static int check_segment(const char *segment, uint32_t segment_size)
{
	struct wal_pos pos;

	return wal_kind(segment) == WAL_SEGMENT && wal_parse(segment, segment_size, &pos) ? 0 :
		impossible("WAL segment name", segment);
}

static int check_lsn(const char *text, uint64_t *lsn)
{
	return lsn_parse(text, lsn) ? 0 : impossible("LSN", text);
}

void db_pack_segment(struct buf *b, const char *segment)
{
	pack_str(b, segment);
}

int db_unpack_segment(struct unpack *u, uint32_t segment_size, const char **segment)
{
	*segment = unpack_text(u);
	return unpack_end(u, ANSWER) != 0 ? -1 : check_segment(*segment, segment_size);
}

/* The LSN crosses as the text that it was. */
void db_pack_started(struct buf *b, const struct pg_start *s)
{
	pack_str(b, s->lsn_text);
	pack_str(b, s->segment);
}

int db_unpack_started(struct unpack *u, uint32_t segment_size, struct pg_start *out)
{
	out->lsn_text = unpack_text(u);
	out->segment = unpack_text(u);
	if (unpack_end(u, ANSWER) != 0 || check_lsn(out->lsn_text, &out->lsn) != 0)
		return -1;
	return check_segment(out->segment, segment_size);
}

void db_pack_stopped(struct buf *b, const struct pg_stop *s)
{
	pack_str(b, s->lsn_text);
	pack_str(b, s->segment);
	pack_str(b, s->label_file);
	pack_str(b, s->tablespace_map);
}

int db_unpack_stopped(struct unpack *u, uint32_t segment_size, struct pg_stop *out)
{
	out->lsn_text = unpack_text(u);
	out->segment = unpack_text(u);
	out->label_file = unpack_text(u);
	out->tablespace_map = unpack_text(u);
	if (unpack_end(u, ANSWER) != 0 || check_lsn(out->lsn_text, &out->lsn) != 0)
		return -1;
	return check_segment(out->segment, segment_size);
}

void db_pack_names(struct buf *b, const struct pg_names *n)
{
	pack_u32(b, (uint32_t)n->v.n);
	for (size_t i = 0; i < n->v.n; i++) {
		pack_u32(b, n->v.v[i].oid);
		pack_str(b, n->v.v[i].name);
	}
}

int db_unpack_names(struct unpack *u, struct pg_names *out)
{
	const size_t n = unpack_count(u, 2 * sizeof(uint32_t));

	vec_init(&out->v, u->arena);
	for (size_t i = 0; i < n; i++) {
		struct pg_named_oid *x = vec_add(&out->v);
		x->oid = unpack_u32(u);
		x->name = unpack_text(u);
	}
	return unpack_end(u, ANSWER);
}

void db_pack_replay(struct buf *b, const struct pg_replay *r)
{
	pack_bool(b, r->in_recovery);
	pack_u64(b, r->lsn);
	pack_u64(b, r->checkpoint);
	pack_u32(b, r->timeline);
	pack_bool(b, r->receives);
}

int db_unpack_replay(struct unpack *u, struct pg_replay *out)
{
	out->in_recovery = unpack_bool(u);
	out->lsn = unpack_u64(u);
	out->checkpoint = unpack_u64(u);
	out->timeline = unpack_u32(u);
	out->receives = unpack_bool(u);
	return unpack_end(u, ANSWER);
}

void db_pack_wal_end(struct buf *b, const struct pg_wal_end *e)
{
	pack_u32(b, e->timeline);
	pack_u64(b, e->lsn);
}

int db_unpack_wal_end(struct unpack *u, struct pg_wal_end *out)
{
	out->timeline = unpack_u32(u);
	out->lsn = unpack_u64(u);
	return unpack_end(u, ANSWER);
}
