/*
 * serve_files: what the requests for files have in common.
 */
#ifndef WORK_SERVE_FILES_H
#define WORK_SERVE_FILES_H

#include "work/serve_intern.h"

/* What the policy says of a path; SERVE_DENIED for one that is not safe.  "" is the place itself. */
enum serve_leave serve_may(const struct serving *v, const struct serve_place *p, enum serve_act act, const char *path);

/* ERR_ACCESS. */
int serve_denied(const struct serve_place *p, const char *path) must_check;

int serve_put(struct serving *v, struct serve_request *q) must_check;
int serve_get(struct serving *v, struct serve_request *q) must_check;
int serve_tree(struct serving *v, struct serve_request *q) must_check;

/* Entries on their way to the caller, in frames that hold whole items. */
struct serve_listing {
	struct serving *v;
	uint32_t request;
	struct buf items; /* not yet sent */
	bool cancelled;
};
/* Send what has come together if it is enough, or all of it.  -1: also if cancelled. */
int serve_send_items(struct serve_listing *l, bool all) must_check;
/* If that is why it failed: the failure is none. */
bool serve_is_cancelled(const struct serve_listing *l);
/* The entry as the caller is told of it. */
void serve_add_entry(struct serve_listing *l, struct buf *to, const struct store_entry *e);
/* The place and folder of a request that the policy is asked about: 0, STORE_ABSENT (hidden), -1. */
int serve_take_path(struct serving *v, struct serve_request *q, enum serve_act act, const struct serve_place **p,
	const char **path) must_check;
/* Absent, or how many. */
int serve_answer_count(struct serving *v, const struct serve_request *q, bool absent, uint32_t n) must_check;

#endif
