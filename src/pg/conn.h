/*
 * conn: a connection to a server, through libpq (loaded on first use), with time limits.
 */
#ifndef PG_CONN_H
#define PG_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/vec.h"

struct pg_conn;

struct pg_conn_opts {
	const char *socket_path; /* directory, "@name" if abstract; NULL: libpq's default */
	unsigned port;
	const char *database;
	const char *user; /* NULL: libpq's default */
	int64_t timeout_ms; /* per query and for connecting */
	const char *application; /* "pgStrata [backup]" */
	/* For whom it is asked, if that is somebody else: once the other end of this descriptor is gone nothing is
	 * waited for any more (ERR_SERVICE).  NULL: nobody. */
	const int *peer;
};

/* Connected with search_path pg_catalog, client_encoding UTF8, no parallel workers; closed with the
 * arena.  ERR_DB_CONNECT, also when the time limit passes; ERR_DB_QUERY if the session cannot be
 * set up; ERR_EXECUTE if libpq is not installed; ERR_TERM if a termination signal came.  A password
 * comes from where libpq finds one (~/.pgpass, PGPASSFILE). */
struct pg_conn *pg_connect(struct arena *a, const struct pg_conn_opts *opts) must_check;

struct pg_rows {
	size_t rows, cols;
	const char **v; /* row-major; NULL for SQL null */
};
#define PG_CELL(r, row, col) ((r)->v[(row) * (r)->cols + (col)])

/* One statement with text parameters.  ERR_DB_QUERY with the statement and the server's message,
 * also when the time limit passes; ERR_TERM if a termination signal came.  In these two cases, and
 * if the server is lost, the statement is cancelled and the connection closed: every later query
 * fails.  Otherwise the connection can be used further. */
int pg_query(struct arena *a, struct pg_conn *c, const char *sql, size_t n_params,
	const char *const *params, struct pg_rows *out) must_check;

#endif
