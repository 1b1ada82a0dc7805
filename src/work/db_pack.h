/*
 * db_pack: the named requests to a server, and its answers, as bytes, both ways (doc/protocol.md).
 *
 * One pair of functions per thing, side by side, so that both ends cannot differ.  Unpacking is to the end of the
 * message and checks what it gives: ERR_PROTOCOL for what cannot be.
 */
#ifndef WORK_DB_PACK_H
#define WORK_DB_PACK_H

#include "pg/standby.h"
#include "pg/wal_end.h"
#include "store/remote_pack.h"

#define DB_NAME_MAX 1024 /* bytes of a label's prefix, and of a restore point's name */

/* Requests, with the verb in front. */
void db_pack_open(struct buf *b, uint32_t place);
int db_unpack_open(struct unpack *u, uint32_t *place) must_check;
void db_pack_start(struct buf *b, const char *label_prefix, bool fast);
int db_unpack_start(struct unpack *u, const char **label_prefix, bool *fast) must_check;
void db_pack_switch(struct buf *b, const char *restore_point);
int db_unpack_switch(struct unpack *u, const char **restore_point) must_check;
void db_pack_plain(struct buf *b, enum remote_verb verb); /* all others: nothing but the verb */

/* Answers.  An answer without fields is one of db_pack_plain's requests and of nothing else. */
void db_pack_settings(struct buf *b, const struct pg_server *s);
int db_unpack_settings(struct unpack *u, struct pg_server *out) must_check; /* all but conn and far */
void db_pack_time(struct buf *b, int64_t unix_seconds);
int db_unpack_time(struct unpack *u, int64_t *unix_seconds) must_check;
void db_pack_segment(struct buf *b, const char *segment);
int db_unpack_segment(struct unpack *u, uint32_t segment_size, const char **segment) must_check;
void db_pack_started(struct buf *b, const struct pg_start *s);
int db_unpack_started(struct unpack *u, uint32_t segment_size, struct pg_start *out) must_check;
void db_pack_stopped(struct buf *b, const struct pg_stop *s);
int db_unpack_stopped(struct unpack *u, uint32_t segment_size, struct pg_stop *out) must_check;
void db_pack_names(struct buf *b, const struct pg_names *n);
int db_unpack_names(struct unpack *u, struct pg_names *out) must_check;
void db_pack_replay(struct buf *b, const struct pg_replay *r);
int db_unpack_replay(struct unpack *u, struct pg_replay *out) must_check;
void db_pack_wal_end(struct buf *b, const struct pg_wal_end *e);
int db_unpack_wal_end(struct unpack *u, struct pg_wal_end *out) must_check;
int db_unpack_nothing(struct unpack *u) must_check;

#endif
