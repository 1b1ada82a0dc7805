/*
 * serve: the far side of a conversation (doc/protocol.md): requests in order, each checked against what this
 * connection may do.
 *
 * Always true: the policy is asked before anything is opened, with a path that is safe (path_is_safe) and normalised;
 * what is not allowed is ERR_ACCESS and ends the connection; what does not exist for this peer is absent.
 */
#ifndef WORK_SERVE_H
#define WORK_SERVE_H

#include "pg/backup_api.h"
#include "store/remote_pack.h"
#include "store/store.h"

/* How a path may be used. SERVE_HIDDEN: as if it were not there. */
enum serve_leave { SERVE_DENIED, SERVE_HIDDEN, SERVE_ALLOWED };
enum serve_act { SERVE_READ, SERVE_LIST, SERVE_STAT, SERVE_PUT, SERVE_SYNC };

struct serve_place {
	struct remote_place place;
	struct store *store; /* of this host's: store_beneath, so that nothing leaves its root */
	const struct pg_conn_opts *db; /* clusters only: for the named requests */
};

struct serve_ops {
	/* What the roles and the stanza allow at this place.  Pure. */
	enum serve_leave (*may)(void *ctx, const struct serve_place *p, enum serve_act act, const char *path);
	/* Entries of a listing that this peer does not see: false.  Pure. */
	bool (*shows)(void *ctx, const struct serve_place *p, const char *dir, const char *name);
	/* The passphrase with which a stored file is opened for the peer before it crosses (info files of an encrypted
	 * repository); NULL: as it is. */
	const char *(*opens)(void *ctx, const struct serve_place *p, const char *path);
	/* Before a put's file gets its name, under a lock of its directory, when its bytes are durable: -1 refuses
	 * (ERR_FILE_EXISTS: there is one already). */
	int (*publish)(void *ctx, const struct serve_place *p, const char *final_path);
	/* Before a put or a database session: -1 ERR_STOP while a stop file stands. */
	int (*stopped)(void *ctx);
};

#define SERVE_MINOR_0 UINT16_MAX

struct serve {
	int in, out;
	const char *stanza; /* NULL: all */
	uint32_t roles;
	bool forced; /* for the hello */
	const struct serve_place *places;
	size_t n;
	const struct serve_ops *ops;
	void *ctx;
	int64_t silence_ms; /* its own protocol-timeout; the caller's counts if it is lower */
	uint16_t minor; /* 0: REMOTE_MINOR; for tests, SERVE_MINOR_0: 1.0 */
};

/* Until the caller has said goodbye or is gone (0), or a failure that ends the conversation (-1; the caller was told
 * if it still listens). */
int serve_run(const struct serve *s) must_check;

#endif
