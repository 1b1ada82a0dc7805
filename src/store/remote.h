/*
 * remote: the caller's side of a conversation with `pgstrata serve` (doc/protocol.md): a connection per process,
 * requests sent ahead of their answers, answers in order; and a store over it.
 *
 * Always true: a process uses only the connection that it made itself; a failure of the connection is "unknown",
 * never "absent"; nothing is asked again on a new connection but what was never sent on the old one; one request at a
 * time is being answered, and who asks for another one meanwhile (a sink that is fed, an open put) gets ERR_ASSERT.
 */
#ifndef STORE_REMOTE_H
#define STORE_REMOTE_H

#include "store/remote_pack.h"
#include "wire/frame.h"

/* A connection as it was opened, closed by the arena (which ends the program on the other end too). */
struct remote_link {
	int in, out;
	/* What is known about why it ended, in the arena: exit status and the last 8 KiB of standard error of what
	 * carries it; "" if nothing.  ms: how long its end may be waited for.  Optional. */
	const char *(*why)(struct arena *a, void *ctx, int64_t ms);
	/* Its exit status as a shell has it (ssh: 255 if it could not connect, 126, 127 if the program could not be
	 * run); -1 if it has not ended within ms.  Optional. */
	int (*status)(void *ctx, int64_t ms);
	void *ctx;
};
typedef int remote_open_fn(struct arena *a, void *ctx, struct remote_link *out);

struct remote_opts {
	const char *host;    /* for messages */
	const char *program; /* that is started there, for messages */
	const char *option;  /* that names it: "repo1-host-cmd" */
	remote_open_fn *open;
	void *ctx;
	const char *stanza; /* NULL: none */
	uint32_t roles;	    /* that are needed */
	const char *exec_id;
	int64_t connect_ms; /* io-timeout: until the hello is there */
	int64_t silence_ms; /* protocol-timeout: while an answer is awaited */
	int level;	    /* compress-level-network */
};

struct remote;

/* Nothing is connected before it is needed. */
struct remote *remote_new(struct arena *a, const struct remote_opts *o);
const struct remote_opts *remote_opts(const struct remote *r);

/*
 * Connect if need be: what the other side has said.  NULL, with host, program and first cause: ERR_HOST_CONNECT (ssh
 * could not, or nobody greeted in time), ERR_EXECUTE (the program could not be run, or ended at once), ERR_PROTOCOL
 * (something else greeted, or another generation), ERR_HOST_INVALID (it serves another stanza only), ERR_ACCESS (none
 * of the roles).  A side that could not be reached is not tried again for io-timeout, at most 10 s.
 */
const struct remote_hello *remote_hello(struct remote *r);
/* Grows with each connection of this process: whoever has something on the other side (a database session) sees that it
 * is gone. */
unsigned remote_generation(const struct remote *r);

/* One request without data and its one answer: the verb and fields in request, the answer's fields in *answer (valid
 * until the next call). -1 with the other side's failure, "host 'x': " in front. */
int remote_ask(struct remote *r, const struct buf *request, struct unpack *answer, struct arena *a) must_check;

/* A store at a place of the other side.  number: as remote_place; a repository's that is not there stands for the
 * only one that is (else ERR_HOST_INVALID at first use).  path: what the place's path must be; NULL: any.  root, for
 * messages, is "host:path", before it is known "host:repo1". */
struct store *store_remote(struct arena *a, struct remote *r, uint32_t number, const char *path);
/* The place behind a store of this kind: connects.  NULL as remote_hello. */
const struct remote_place *store_remote_place(struct store *s);

#endif
