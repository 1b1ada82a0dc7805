/*
 * push_one: one WAL file of the cluster to every repository; what the foreground and each worker in the background do.
 *
 * No repository can hold up the others.  One that fails is named in the answer, and tried again with the next file.
 * One that does not answer within io-timeout is left out for the rest of the run; the file reaches the others
 * all the same, because the work is done in a process that can be given up (push_guard.h).
 */
#ifndef CMD_PUSH_ONE_H
#define CMD_PUSH_ONE_H

#include "cmd/ctx.h"
#include "cmd/push_guard.h"
#include "repo/wal_put.h"

/*
 * A run: one foreground call, or one worker in the background.  Only the run's own process may touch the
 * repositories: push_run_do.
 */
struct push_run {
	struct arena *arena;
	const struct config *cfg;
	struct wal_put_opts opts;   /* source and name are the file's */
	struct wal_put_repo *repos; /* all of the configuration, by key; failed: why not, at the last try */
	size_t n;
	struct ctx_repos stores; /* the same */
	bool *hung;		 /* out for the rest of the run */
	struct push_guard *guard; /* NULL: whoever has the run is its process, as in tests */
	const struct push_run *self; /* copies that point to other archives are for the process */
	struct arena *told;   /* what the last answer says */
	struct arena *opened; /* in the process: what the places point to; NULL: not opened yet */
	bool fresh;	      /* in the process: opened, and nothing pushed since */
	bool inside;	      /* this is the process */
};

/* Read pg_control and open the repositories; fails only if none is usable (ERR_REPO_INVALID), or the cluster cannot be
 * known.  The run lives in the arena. */
int push_run_open(struct arena *a, const struct config *cfg, struct push_run **out) must_check;

struct push_result {
	struct sum sum;	/* SHA-1 of the content; zero for .history and .backup files */
	uint64_t *has;	/* keys of the repositories that have it now, durable and proven in this call */
	size_t has_n;
};

/*
 * source: absolute path; its last part is the name.  skip: keys of repositories that are known to have the file
 * already (NULL: none), left alone.  0: all others have it now.  -1: see wal_put; out is filled all the same (has_n may
 * be 0).
 */
int push_one(struct arena *a, struct push_run *run, const char *source, const uint64_t *skip, size_t skip_n,
	struct push_result *out) must_check;

/* Something else that touches the repositories of a run (not those that have failed), in its process: fn is called
 * there, and again without a repository that did not answer.  What it changes in memory stays there.  The result is
 * fn's. */
typedef int push_run_fn(struct arena *a, struct push_run *run);
int push_run_do(struct arena *a, struct push_run *run, push_run_fn *fn) must_check;

#endif
