/*
 * remote_db: a server of another host, by named requests (doc/protocol.md): nothing here sends SQL.
 */
#ifndef WORK_REMOTE_DB_H
#define WORK_REMOTE_DB_H

#include "pg/backup_api.h"
#include "store/remote.h"

/* As pg_server_open: the far side connects with its own settings to the cluster at this place.  out->far is set; its
 * session ends with the connection of this process, and every later request on it fails then (ERR_DB_CONNECT). */
int remote_db_open(struct arena *a, struct remote *r, uint32_t place, struct pg_server *out) must_check;

#endif
