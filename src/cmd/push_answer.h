/*
 * push_answer: what the process that pushes tells the one that asked for it, as bytes.
 *
 * Both are one program on one host, so numbers are in its own order.
 */
#ifndef CMD_PUSH_ANSWER_H
#define CMD_PUSH_ANSWER_H

#include "cmd/push_one.h"

/* rc: of what was asked; if it is -1 the failure record is packed too, and is clear afterwards.  Of the repositories
 * go has, failed and where their archive is. */
void push_answer_pack(struct buf *out, int rc, const struct sum *sum, const struct push_run *run);

/* Into the run's repositories, *sum and *rc; strings live in the arena, and if *rc is -1 its failure is the record.
 * -1 (ERR_PROTOCOL) for bytes that are no answer about this run, which then is as it was. */
int push_answer_unpack(struct arena *a, const struct buf *in, int *rc, struct sum *sum, struct push_run *run)
	must_check;

#endif
