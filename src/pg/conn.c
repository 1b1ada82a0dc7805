/*
 * conn: libpq without blocking calls.
 *
 * libpq is loaded on first use, and never blocks: this file waits, with a deadline and an eye on
 * termination signals.  A statement that did not end in time is cancelled and its connection
 * closed: the server then ends a running backup by itself, and no later statement can meet a late
 * answer.
 */
#include "pg/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/lazy.h"
#include "base/log.h"
#include "base/sig.h"

#define CANCEL_MS 5000
#define SERVER_LATER_MS 1000

struct pg_conn {
	PGconn *pg; /* NULL after a failure that left a statement without an end */
	int64_t timeout_ms;
	int peer; /* -1: none */
};

#define FUNCTIONS(X) \
	X(PQconnectStartParams) X(PQconnectPoll) X(PQsocket) X(PQstatus) X(PQerrorMessage) \
	X(PQsetnonblocking) X(PQsetNoticeProcessor) X(PQfinish) X(PQsendQueryParams) X(PQflush) \
	X(PQconsumeInput) X(PQisBusy) X(PQgetResult) X(PQresultStatus) X(PQresultErrorMessage) \
	X(PQntuples) X(PQnfields) X(PQgetisnull) X(PQgetvalue) X(PQclear) X(PQgetCancel) \
	X(PQcancel) X(PQfreeCancel)

/* The members have libpq's names, so that a call reads "pq.PQclear(r)". */
#define MEMBER(name) __typeof__(&name) name;
static struct {
	FUNCTIONS(MEMBER)
} pq;
#undef MEMBER

#define SYMBOL(name) {#name, (void **)(void *)&pq.name},
static const struct lazy_symbol symbols[] = {FUNCTIONS(SYMBOL){NULL, NULL}};
#undef SYMBOL

/* Length without the line feed that ends libpq's messages. */
static int trimmed(const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
		len--;
	return len > INT_MAX ? INT_MAX : (int)len;
}

static void log_notice(void *ctx, const char *message)
{
	log_debug("server: %.*s", trimmed(message), message);
}

/* Why a wait ended without what it was for: 0 if time is over, -1 with a failure. */
static int why_not_ready(bool peer_gone, int error)
{
	if (sig_check() != 0)
		return -1;
	if (peer_gone)
		return err_set(ERR_SERVICE,
			"the other host has ended the conversation while the server was waited for");
	if (error == 0)
		return 0;
	errno = error;
	return err_sys(ERR_KERNEL, "unable to wait for the server");
}

/* 1 if the server's descriptor is ready, 0 if time is over, -1 with a failure (a signal wants us to end, or the peer is
 * gone). */
static int wait_ready(const struct pg_conn *c, short events, struct deadline d)
{
	struct pollfd p[] = {{.fd = pq.PQsocket(c->pg), .events = events}, {.fd = c->peer, .events = POLLRDHUP}};
	int64_t left = deadline_left(d);
	int n = left > 0 ? sig_poll(p, 2, left) : 0;

	return p[0].revents != 0 ? 1 : why_not_ready(p[1].revents != 0, n < 0 ? errno : 0);
}

/* 'it''s' as a connection string has it: 'it\'s'. */
static void add_quoted(struct buf *b, const char *text)
{
	buf_addc(b, '\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'' || *text == '\\')
			buf_addc(b, '\\');
		buf_addc(b, *text);
	}
	buf_addc(b, '\'');
}

static const char *describe(struct arena *a, const struct pg_conn_opts *o)
{
	struct buf b;

	buf_init(&b, a);
	buf_adds(&b, "dbname=");
	add_quoted(&b, o->database);
	buf_addf(&b, " port=%u", o->port);
	if (o->user != NULL) {
		buf_adds(&b, " user=");
		add_quoted(&b, o->user);
	}
	if (o->socket_path != NULL) {
		buf_adds(&b, " host=");
		add_quoted(&b, o->socket_path);
	}
	return b.data;
}

static void finish(void *ctx)
{
	struct pg_conn *c = ctx;

	if (c->pg != NULL)
		pq.PQfinish(c->pg);
	c->pg = NULL;
}

/* 1 if connected, 0 if time is over, -1 with a failure. */
static int poll_connect(const struct pg_conn *c, const char *where, struct deadline d)
{
	PGconn *pg = c->pg;
	PostgresPollingStatusType want = PGRES_POLLING_WRITING;

	while (want != PGRES_POLLING_OK && want != PGRES_POLLING_FAILED &&
		pq.PQstatus(pg) != CONNECTION_BAD) {
		short events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT;
		int ready = wait_ready(c, events, d);

		if (ready <= 0)
			return ready;
		want = pq.PQconnectPoll(pg);
	}
	if (want == PGRES_POLLING_OK)
		return 1;
	const char *text = pq.PQerrorMessage(pg);
	return err_set(ERR_DB_CONNECT, "unable to connect to '%s': %.*s", where, trimmed(text),
		text);
}

static int start_connect(struct arena *a, const struct pg_conn_opts *o, struct pg_conn *c)
{
	const char *where = describe(a, o);
	const char *port = arena_printf(a, "%u", o->port);
	/* a value of NULL leaves the choice to libpq */
	const char *names[] = {"dbname", "port", "user", "host", "application_name", NULL};
	const char *values[] = {o->database, port, o->user, o->socket_path, o->application, NULL};
	struct deadline d = deadline_in(o->timeout_ms);
	int done;

	c->pg = pq.PQconnectStartParams(names, values, 0);
	if (c->pg == NULL)
		arena_out_of_memory();
	pq.PQsetNoticeProcessor(c->pg, log_notice, NULL);
	done = poll_connect(c, where, d);
	if (done == 0)
		return err_set(ERR_DB_CONNECT, "unable to connect to '%s': timed out after %lldms",
			where, (long long)o->timeout_ms);
	if (done < 0)
		return -1;
	if (pq.PQsetnonblocking(c->pg, 1) != 0)
		return err_set(ERR_DB_CONNECT, "unable to connect to '%s': not without blocking",
			where);
	return 0;
}

static int set_up_session(struct arena *a, struct pg_conn *c)
{
	/* The server's own limit is for the case that we cannot cancel any more.  It comes a little
	 * after ours, so that the failure reads the same each time. */
	int64_t most = INT_MAX - SERVER_LATER_MS;
	int64_t limit = (c->timeout_ms < most ? c->timeout_ms : most) + SERVER_LATER_MS;
	const char *const statements[] = {
		"set search_path = 'pg_catalog'",
		"set client_encoding = 'UTF8'",
		"set max_parallel_workers_per_gather = 0",
		arena_printf(a, "set statement_timeout = %lld", (long long)limit),
		/* from 14 on; a session is idle while files are copied */
		"select set_config(name, '0', false) from pg_settings where name = 'idle_session_timeout'",
	};
	struct pg_rows none;

	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
		if (pg_query(a, c, statements[i], 0, NULL, &none) != 0)
			return -1;
	return 0;
}

struct pg_conn *pg_connect(struct arena *a, const struct pg_conn_opts *opts)
{
	struct pg_conn *c = arena_new_object(a, struct pg_conn);

	if (lazy_load("libpq.so.5", "libpq5", symbols) != 0)
		return NULL;
	c->timeout_ms = opts->timeout_ms;
	c->peer = opts->peer == NULL ? -1 : *opts->peer;
	arena_defer(a, finish, c);
	if (start_connect(a, opts, c) != 0 || set_up_session(a, c) != 0) {
		finish(c);
		return NULL;
	}
	return c;
}

/* PQcancel connects anew and blocks for as long as the server pleases, so a child does it, who is
 * not waited for beyond CANCEL_MS.  A failure is none of ours: closing and the server's limit
 * remain. */
static void cancel_statement(PGconn *pg)
{
	PGcancel *cancel = pq.PQgetCancel(pg);
	int done[2];
	pid_t child;

	if (cancel == NULL)
		return;
	if (pipe2(done, O_CLOEXEC) == 0) {
		child = fork();
		if (child == 0) {
			char text[256];

			pq.PQcancel(cancel, text, sizeof(text));
			_exit(0);
		}
		close(done[1]);
		if (child > 0) {
			/* ends when the child does: it alone holds the other end */
			struct pollfd p = {.fd = done[0], .events = POLLIN};
			struct deadline d = deadline_in(CANCEL_MS);

			while (poll(&p, 1, (int)deadline_left(d)) < 0 && errno == EINTR)
				;
			kill(child, SIGKILL);
			while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
				;
		}
		close(done[0]);
	}
	pq.PQfreeCancel(cancel);
}

static int lost(struct pg_conn *c, const char *sql)
{
	const char *text = pq.PQerrorMessage(c->pg);

	err_set(ERR_DB_QUERY, "unable to execute query '%s': %.*s", sql, trimmed(text), text);
	finish(c);
	return -1;
}

/* Until PQgetResult would not block. */
static int await_result(struct pg_conn *c, const char *sql, struct deadline d)
{
	for (;;) {
		int unsent = pq.PQflush(c->pg);

		if (unsent < 0)
			return lost(c, sql);
		if (unsent == 0 && !pq.PQisBusy(c->pg))
			return 0;
		int ready = wait_ready(c, unsent ? POLLIN | POLLOUT : POLLIN, d);
		if (ready <= 0) {
			cancel_statement(c->pg);
			finish(c);
			if (ready == 0)
				err_set(ERR_DB_QUERY, "query '%s' timed out after %lldms", sql,
					(long long)c->timeout_ms);
			return -1;
		}
		if (!pq.PQconsumeInput(c->pg))
			return lost(c, sql);
	}
}

static bool is_ended(ExecStatusType status)
{
	return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
		status == PGRES_EMPTY_QUERY || status == PGRES_FATAL_ERROR;
}

/* The one result of the statement that was sent, whatever it says; to be cleared by the caller. */
static PGresult *take_result(struct pg_conn *c, const char *sql, struct deadline d)
{
	PGresult *result, *next;

	if (await_result(c, sql, d) != 0)
		return NULL;
	result = pq.PQgetResult(c->pg);
	if (result == NULL || !is_ended(pq.PQresultStatus(result))) {
		pq.PQclear(result);
		(void)err_set(ERR_DB_QUERY, "unable to execute query '%s': no result", sql);
		finish(c);
		return NULL;
	}
	do {
		if (await_result(c, sql, d) != 0) {
			pq.PQclear(result);
			return NULL;
		}
		next = pq.PQgetResult(c->pg);
		pq.PQclear(next);
	} while (next != NULL);
	return result;
}

static void copy_rows(struct arena *a, const PGresult *result, struct pg_rows *out)
{
	out->rows = (size_t)pq.PQntuples(result);
	out->cols = (size_t)pq.PQnfields(result);
	out->v = arena_zalloc(a, out->rows * out->cols * sizeof(*out->v));
	for (size_t r = 0; r < out->rows; r++)
		for (size_t col = 0; col < out->cols; col++)
			if (!pq.PQgetisnull(result, (int)r, (int)col))
				PG_CELL(out, r, col) =
					arena_strdup(a, pq.PQgetvalue(result, (int)r, (int)col));
}

int pg_query(struct arena *a, struct pg_conn *c, const char *sql, size_t n_params,
	const char *const *params, struct pg_rows *out)
{
	struct deadline d = deadline_in(c->timeout_ms);
	PGresult *result;
	int rc = 0;

	*out = (struct pg_rows){0};
	if (c->pg == NULL)
		return err_set(ERR_DB_QUERY,
			"unable to execute query '%s': the connection is closed", sql);
	if (!pq.PQsendQueryParams(c->pg, sql, (int)n_params, NULL, params, NULL, NULL, 0))
		return lost(c, sql);
	result = take_result(c, sql, d);
	if (result == NULL)
		return -1;
	if (pq.PQresultStatus(result) == PGRES_FATAL_ERROR) {
		const char *text = pq.PQresultErrorMessage(result);

		rc = err_set(ERR_DB_QUERY, "unable to execute query '%s': %.*s", sql, trimmed(text),
			text);
	} else {
		copy_rows(a, result, out);
	}
	pq.PQclear(result);
	return rc;
}
