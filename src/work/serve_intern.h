/*
 * serve_intern: what the parts of the server share.
 */
#ifndef WORK_SERVE_INTERN_H
#define WORK_SERVE_INTERN_H

#include "store/owner.h"
#include "wire/frame.h"
#include "work/serve.h"

#define SERVE_ENDED 64

struct serving {
	const struct serve *s;
	struct wire *wire;
	struct remote_hello mine, theirs;
	int level; /* of data that is not compressed already */
	struct arena *db_arena; /* of the database session; NULL: none */
	struct pg_server db;
	struct inbox *inbox;
	struct owners *owners; /* names for entries */
	uint32_t newest; /* number of the newest request that was taken up */
	/* Puts that failed before the caller had sent all of them: the last ones.  What comes of them is dropped. */
	uint32_t ended[SERVE_ENDED];
	size_t n_ended;
};

/* One request: its number, verb and fields. */
struct serve_request {
	uint32_t number;
	enum remote_verb verb;
	struct unpack fields; /* behind the verb */
	struct arena *arena;  /* ends with the request */
};

/* serve_files.c, serve_db.c: do it and send the answer.  -1: the failure is to be sent (nothing of the answer was), or
 * the wire is dead (wire_dead). */
int serve_file_request(struct serving *v, struct serve_request *q) must_check;
int serve_db_request(struct serving *v, struct serve_request *q) must_check;

/* serve_inbox.c: the caller's frames, in order.  What is handed out is valid until the next call of any of these. */
struct inbox *inbox_new(struct arena *a, struct wire *w);
/* As wire_receive. */
int inbox_next(struct inbox *in, struct wire_frame *out) must_check;
/* The next one of this request; what is for others waits.  -1 also if the caller is gone. */
int inbox_of(struct inbox *in, uint32_t request, struct wire_frame *out) must_check;
/* Without waiting: 1 if this request is cancelled, 0, -1: the caller is gone, or the wire failed. */
int inbox_cancelled(struct inbox *in, uint32_t request) must_check;

/* An answer of any length. */
int serve_answer(struct serving *v, const struct serve_request *q, const struct buf *fields) must_check;

/* The place, or NULL: ERR_ACCESS. */
const struct serve_place *serve_find_place(const struct serving *v, uint32_t number);

#endif
