/*
 * remote_intern: what the parts of the caller share.
 *
 * remote.c connects, remote_talk.c asks and hears, remote_store.c is a store over that (remote_get.c, remote_list.c,
 * remote_put.c).  One request at a time is being answered (current); behind it only gets may be open, in the order in
 * which they were asked for ahead.
 */
#ifndef STORE_REMOTE_INTERN_H
#define STORE_REMOTE_INTERN_H

#include <sys/types.h>
#include "store/remote.h"
#include "stream/hash.h"

/* A get that was sent before it was wanted: known again by the checksum of its bytes. */
struct remote_ahead {
	uint32_t number;
	struct sum sum; /* of the request without "entry wanted" */
	bool entry;	/* wanted */
	size_t len;
};

struct remote {
	struct remote_opts o;
	const char *who; /* "host 'x'" */
	pid_t pid;	 /* whose the rest is */
	unsigned generation;
	struct arena *arena; /* of the connection; NULL: none */
	struct remote_link link;
	struct wire *wire;
	struct remote_hello mine, theirs;
	uint32_t number;  /* of the last request */
	uint32_t current; /* the request that is being answered; 0: none */
	const char *what; /* it in words: "reading 'x'" */
	struct buf answer; /* over several frames */
	struct remote_ahead ahead[REMOTE_AHEAD_MAX]; /* ahead_n of them from ahead_at on, a ring */
	unsigned ahead_at, ahead_n;
	size_t ahead_bytes;
	struct arena *held; /* the last failure to connect, until held_ms */
	const struct err_value *failure;
	int64_t held_ms;
};

/* ---- remote.c ---- */

/* End the connection; the failure record stays. */
void remote_drop(struct remote *r);
/* The connection is no good any more: put what was asked in front of the failure and what carries the connection
 * behind it, and end it.  Returns -1. */
int remote_broken(struct remote *r);
/* The same for what the other side may not say. */
int remote_confused(struct remote *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The text of another host, fit for a terminal. */
const char *remote_clean(struct arena *a, const char *text);

/* ---- remote_talk.c ---- */

/* Is the connection, on which nothing is asked, still good?  Takes in what came meanwhile. */
bool remote_is_good(struct remote *r);

/* Ask, on the connection that remote_hello gave a moment ago.  what is used until the request has ended.  ERR_ASSERT
 * while another one is being answered; what was asked ahead is dropped. */
int remote_begin(struct remote *r, const char *what, const struct buf *request) must_check;
/* The next frame of the current request: WIRE_ENTRY, WIRE_DATA, or WIRE_ANSWER, whole, with which the request has
 * ended.  -1: it failed and has ended, or the connection has. */
int remote_next(struct remote *r, struct wire_frame *out) must_check;
/* Without waiting: has the request failed already?  For whoever sends. */
int remote_look(struct remote *r) must_check;
/* Something could not be sent: why, in the other side's words if it said any.  Returns -1. */
int remote_send_failed(struct remote *r);
/* End the current request before its answer; the failure record stays. */
void remote_cancel(struct remote *r);

/* Send a get before it is wanted, while no request is current.  key: as it is without "entry wanted".  1: sent, 0: no
 * room for it, -1. */
int remote_send_ahead(struct remote *r, const struct buf *request, const struct buf *key, bool entry) must_check;
/* Is this get the next that was asked for ahead?  Then it is the current request. */
bool remote_take_ahead(struct remote *r, const char *what, const struct buf *key, bool entry);

/* ---- the store ---- */

struct remote_foreseen;

struct remote_store {
	struct store store;
	struct remote *remote;
	uint32_t number;
	const char *path; /* NULL: any */
	const struct remote_place *place; /* in the hello of this generation */
	unsigned generation;
	struct arena *got; /* what the last get found; ends with the next */
	unsigned depth;	   /* gets that are running */
	struct remote_foreseen *foreseen; /* NULL: none */
};

/* Connect, and find the place. */
const struct remote_place *remote_store_now(struct remote_store *rs);

int remote_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to);
int remote_get_ahead(struct store *s, const char *path, const struct get_opts *o);
int remote_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx);
int remote_foresee(struct store *s, const char *dir);
void remote_forget(struct remote_store *rs); /* what was foreseen */
int remote_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out);
struct sink *remote_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o);
int remote_sync(struct store *s, const char *dir);

#endif
