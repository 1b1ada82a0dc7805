/*
 * plan_intern: what the files of the plan share; nobody else includes it.
 */
#ifndef REPO_PLAN_INTERN_H
#define REPO_PLAN_INTERN_H

#include "repo/plan.h"

/* A worker has something to do for it. */
static inline bool plan_row_works(const struct plan_row *row)
{
	return row->action == PLAN_COPY || row->action == PLAN_COPY_IF_NEW || row->action == PLAN_COMPARE;
}

/* plan_jobs.c: fill order, jobs and total from the rows. */
void plan_jobs(struct arena *a, const struct manifest *m, const struct plan_opts *o, struct plan *p);

#endif
