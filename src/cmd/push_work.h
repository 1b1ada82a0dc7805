/*
 * push_work: what is done in the process of a run of pushes.
 */
#ifndef CMD_PUSH_WORK_H
#define CMD_PUSH_WORK_H

#include "cmd/push_one.h"

enum push_job { PUSH_JOB_OPEN, PUSH_JOB_FILE, PUSH_JOB_DO };

/*
 * The question of PUSH_JOB_FILE, in the program's own order: whether it is asked again because a repository did not
 * answer (1 byte), the number of keys to skip (4 bytes), those (8 bytes each), the path of the source with its NUL.
 * Of PUSH_JOB_DO: the same byte, then the function.
 */
void push_work_ask_file(struct buf *question, const char *source, const uint64_t *skip, size_t skip_n);
void push_work_ask_do(struct buf *question, push_run_fn *fn);
void push_work_ask_again(struct buf *question);

push_guard_fn push_work; /* ctx: the run; answers with push_answer_pack */

/* One file from within the process. */
int push_work_file(struct arena *a, struct push_run *run, const char *source, bool mode_check, const uint64_t *skip,
	size_t skip_n, struct sum *sum) must_check;

#endif
