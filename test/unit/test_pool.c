/*
 * The pool with real processes: every job once, failures whole, nobody left behind.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/sig.h"
#include "work/pool.h"

#define JOBS 1000
#define BIG (5u * 1024 * 1024)

struct run {
	uint32_t jobs, given;
	unsigned done[JOBS], failed, succeeded, ticks;
	bool go_on; /* after failures */
	uint64_t answer_sum;
	pid_t leader;
	int (*act)(struct run *r, uint32_t job, struct buf *answer);
	unsigned hold; /* give job 1 only after job 0 is done */
	unsigned begin_fails; /* worker */
	struct err_value *last;
	struct arena *a;
};

static bool next(void *ctx, unsigned worker, uint32_t *job)
{
	struct run *r = ctx;

	assert_true(worker >= 1 && worker <= 3);
	assert_int_equal(getpid(), r->leader);
	if (r->given == r->jobs || (r->hold && r->given == 1 && r->done[0] == 0))
		return false;
	*job = r->given++;
	return true;
}

static int begin(void *ctx, unsigned worker)
{
	struct run *r = ctx;

	if (r->begin_fails == worker) {
		err_set(ERR_HOST_CONNECT, "unable to connect");
		return err_hint("is it up?");
	}
	return 0;
}

static int work(void *ctx, uint32_t job, struct buf *answer)
{
	struct run *r = ctx;

	if (getpid() == r->leader)
		return err_set(ERR_ASSERT, "the leader works");
	if (r->act != NULL)
		return r->act(r, job, answer);
	buf_addf(answer, "%u", job * 3);
	return 0;
}

static int done(void *ctx, uint32_t job, int rc, const void *answer, size_t len)
{
	struct run *r = ctx;

	assert_true(job < r->given);
	r->done[job]++;
	if (rc != 0) {
		assert_int_not_equal(err_code(), ERR_NONE);
		r->failed++;
		if (!r->go_on)
			return -1;
		r->last = err_take(r->a);
		return 0;
	}
	assert_int_equal(err_code(), ERR_NONE);
	r->succeeded++;
	for (size_t i = 0; i < len; i++)
		r->answer_sum += ((const uint8_t *)answer)[i];
	if (r->act == NULL)
		assert_int_equal(strtoul(answer, NULL, 10), job * 3);
	return 0;
}

static int tick(void *ctx)
{
	((struct run *)ctx)->ticks++;
	return 0;
}

static const char *name(void *ctx, uint32_t job)
{
	static char text[32];

	snprintf(text, sizeof(text), "base/1/%u", job);
	return text;
}

/* Some tests run twice: one job at a time, and with jobs ahead. */
static struct pool_ops ops = { .begin = begin, .next = next, .work = work, .done = done,
	.tick = tick, .tick_ms = 20, .name = name };

static struct run *run_of(struct arena *a, uint32_t jobs)
{
	struct run *r = arena_new_object(a, struct run);

	r->a = a;
	r->jobs = jobs;
	r->leader = getpid();
	return r;
}

static void assert_no_child(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void assert_failure(enum err_code code, const char *msg)
{
	assert_int_equal(err_code(), code);
	assert_string_equal(err_msg(), msg);
	err_clear();
}

static void test_each_job_once(void **state)
{
	for (unsigned workers = 0; workers <= 3; workers++) {
		SCOPED_ARENA(a);
		struct run *r = run_of(a, JOBS);
		assert_int_equal(pool_run(workers, &ops, r), 0);
		for (unsigned i = 0; i < JOBS; i++)
			assert_int_equal(r->done[i], 1);
		assert_int_equal(r->succeeded, JOBS);
		assert_no_child();
	}
}

static void test_no_jobs(void **state)
{
	SCOPED_ARENA(a);
	struct pool_ops bare = { .next = next, .work = work, .done = done };

	assert_int_equal(pool_run(3, &bare, run_of(a, 0)), 0);
	assert_int_equal(pool_run(1, &bare, run_of(a, 5)), 0);
	assert_no_child();
}

static int fail_on_seven(struct run *r, uint32_t job, struct buf *answer)
{
	buf_adds(answer, "dropped");
	if (job != 7)
		return 0;
	err_set(ERR_CHECKSUM, "page %d of 'x' is bad: 100%% sure", 3);
	err_hint("first line");
	return err_hint("second line");
}

static void test_failure_arrives_whole(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, 20);

	r->act = fail_on_seven;
	assert_int_equal(pool_run(3, &ops, r), -1);
	assert_string_equal(err_hints(), "HINT: first line\nHINT: second line");
	assert_failure(ERR_CHECKSUM, "page 3 of 'x' is bad: 100% sure");
	assert_int_equal(r->failed, 1);
	assert_no_child();

	r = run_of(a, 20);
	r->act = fail_on_seven;
	r->go_on = true;
	assert_int_equal(pool_run(3, &ops, r), 0);
	assert_int_equal(r->failed, 1);
	assert_int_equal(r->succeeded, 19);
	assert_int_equal(r->last->code, ERR_CHECKSUM);
	assert_no_child();
}

static int fail_oddly(struct run *r, uint32_t job, struct buf *answer)
{
	if (job == 0)
		return -1; /* without a cause */
	err_set(ERR_FORMAT, "left behind");
	return 0; /* success with a failure on record */
}

static void test_broken_results_are_failures(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, 2);

	r->act = fail_oddly;
	r->go_on = true;
	assert_int_equal(pool_run(1, &ops, r), 0);
	assert_int_equal(r->failed, 2);
	assert_string_equal(r->last->msg, "left behind");
}

static int die_on_five(struct run *r, uint32_t job, struct buf *answer)
{
	if (job == 5)
		kill(getpid(), SIGKILL);
	buf_addc(answer, 'x');
	return 0;
}

static void test_dead_worker(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, 6);

	r->act = die_on_five;
	assert_int_equal(pool_run(1, &ops, r), -1);
	assert_failure(ERR_UNKNOWN, "worker 1 died (signal 9) while working on 'base/1/5'");
	assert_int_equal(r->succeeded, 5);
	assert_int_equal(r->done[5], 1);
	assert_no_child();

	/* the others do the rest */
	r = run_of(a, 200);
	r->act = die_on_five;
	r->go_on = true;
	assert_int_equal(pool_run(3, &ops, r), 0);
	assert_int_equal(r->failed, 1);
	assert_int_equal(r->succeeded, 199);
	assert_no_child();
}

static void test_nobody_left(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, 10);

	r->act = die_on_five;
	r->go_on = true;
	assert_int_equal(pool_run(1, &ops, r), -1);
	assert_failure(ERR_UNKNOWN, "worker 1 has died, nobody is left to work on 'base/1/6'");
	assert_int_equal(r->failed, 1);
	assert_no_child();
}

static int exit_with_three(struct run *r, uint32_t job, struct buf *answer)
{
	_exit(3);
}

static void test_worker_that_exits(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, 1);

	r->act = exit_with_three;
	assert_int_equal(pool_run(1, &ops, r), -1);
	assert_failure(ERR_UNKNOWN, "worker 1 died (exit code 3) while working on 'base/1/0'");
}

static int answer_big(struct run *r, uint32_t job, struct buf *answer)
{
	buf_reserve(answer, BIG);
	memset(answer->data, (int)job + 1, BIG);
	answer->len = BIG;
	return 0;
}

static void test_big_answers(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, 6);

	r->act = answer_big;
	assert_int_equal(pool_run(3, &ops, r), 0);
	assert_int_equal(r->answer_sum, (uint64_t)BIG * 21);
	assert_no_child();
}

static int answer_too_big(struct run *r, uint32_t job, struct buf *answer)
{
	const size_t len = (size_t)64 * 1024 * 1024 + 1;

	buf_reserve(answer, len);
	memset(answer->data, 0, len);
	answer->len = len;
	return 0;
}

static void test_too_big_answer(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, 1);

	r->act = answer_too_big;
	assert_int_equal(pool_run(1, &ops, r), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	err_clear();
}

static void test_begin_fails(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, JOBS);

	r->begin_fails = 1;
	assert_int_equal(pool_run(1, &ops, r), -1);
	assert_string_equal(err_hints(), "HINT: is it up?");
	assert_failure(ERR_HOST_CONNECT, "unable to connect");
	assert_no_child();
}

static int sleep_a_little(struct run *r, uint32_t job, struct buf *answer)
{
	usleep(200 * 1000);
	return 0;
}

static void test_tick(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, 2);

	r->act = sleep_a_little;
	assert_int_equal(pool_run(2, &ops, r), 0);
	assert_true(r->ticks >= 3);
}

static int tick_fails(void *ctx)
{
	return err_set(ERR_DB_CONNECT, "session lost");
}

static void test_failing_tick(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, 100);
	struct pool_ops failing = ops;

	failing.tick = tick_fails;
	r->act = sleep_a_little;
	assert_int_equal(pool_run(2, &failing, r), -1);
	assert_failure(ERR_DB_CONNECT, "session lost");
	assert_no_child();
}

/* A job that becomes ready when another one is done reaches a worker that was idle before. */
static void test_held_job(void **state)
{
	SCOPED_ARENA(a);
	struct run *r = run_of(a, 3);

	r->hold = 1;
	assert_int_equal(pool_run(3, &ops, r), 0);
	assert_int_equal(r->succeeded, 3);
}

/* Workers on jobs that do not end by themselves; counted in memory that is shared. */
static unsigned *started;

static int wait_for_signal(struct run *r, uint32_t job, struct buf *answer)
{
	__atomic_add_fetch(started, 1, __ATOMIC_SEQ_CST);
	clock_sleep(20 * 1000);
	return sig_check();
}

static int ignore_signals(struct run *r, uint32_t job, struct buf *answer)
{
	signal(SIGTERM, SIG_IGN);
	__atomic_add_fetch(started, 1, __ATOMIC_SEQ_CST);
	sleep(60);
	return 0;
}

static pid_t lead_in_child(int (*act)(struct run *r, uint32_t job, struct buf *answer))
{
	__atomic_store_n(started, 0, __ATOMIC_SEQ_CST);
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	struct run *r = run_of(arena_new(), JOBS);
	r->act = act;
	sig_init();
	int rc = pool_run(3, &ops, r);
	bool empty = waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD;
	_exit(rc == -1 && err_code() == ERR_TERM && empty ? ERR_TERM : 1);
}

static void wait_until_started(void)
{
	for (int i = 0; i < 1000 && __atomic_load_n(started, __ATOMIC_SEQ_CST) < 3; i++)
		usleep(10 * 1000);
	assert_int_equal(*started, 3);
}

static void test_signal_to_leader(void **state)
{
	int status;
	int64_t begun = clock_mono_ms();
	pid_t pid = lead_in_child(wait_for_signal);

	wait_until_started();
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), ERR_TERM);
	assert_true(clock_mono_ms() - begun < 10 * 1000); /* far from the jobs' 20 s */
}

static void test_signal_with_deaf_workers(void **state)
{
	int status;
	pid_t pid = lead_in_child(ignore_signals);

	wait_until_started();
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), ERR_TERM);
}

/* Workers of a leader that was killed end by themselves: each holds one end of a pipe. */
static void test_killed_leader(void **state)
{
	int ends[2], status;
	char byte;

	assert_int_equal(pipe(ends), 0);
	pid_t pid = lead_in_child(wait_for_signal);
	close(ends[1]);
	wait_until_started();
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	alarm(15);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	alarm(0);
	close(ends[0]);
}

static void test_signal_before_start(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		SCOPED_ARENA(a);
		struct run *r = run_of(a, 5);
		sig_init();
		raise(SIGINT);
		int rc = pool_run(2, &ops, r);
		_exit(rc == -1 && err_code() == ERR_TERM && r->given == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- jobs ahead ---- */

/* Between the leader and its only worker, beside the pool: how many jobs were given. */
static unsigned *handed;

struct ahead_run {
	struct run run;
	uint64_t weight; /* of each */
	unsigned most;	 /* given and not answered */
	unsigned known;	 /* to the worker when it worked on job 1, and not begun */
	unsigned worker[JOBS];
	unsigned wait_for; /* job 0 lasts until so many are given */
	uint32_t dies;	   /* the worker, in this job; 0: in none */

	/* in the worker */
	unsigned told, worked;
};

static bool next_ahead(void *ctx, unsigned worker, uint32_t *job)
{
	struct ahead_run *r = ctx;

	if (!next(ctx, worker, job))
		return false;
	unsigned open = r->run.given - r->run.succeeded - r->run.failed;
	if (r->most < open)
		r->most = open;
	r->worker[*job] = worker;
	__atomic_add_fetch(handed, 1, __ATOMIC_SEQ_CST);
	return true;
}

static uint64_t weight_ahead(void *ctx, uint32_t job)
{
	assert_int_equal(getpid(), ((struct run *)ctx)->leader);
	return ((struct ahead_run *)ctx)->weight;
}

static void told_ahead(void *ctx, uint32_t job)
{
	struct ahead_run *r = ctx;

	if (job != r->told++)
		err_set(ERR_ASSERT, "told of job %u out of turn", job);
}

static int work_ahead(void *ctx, uint32_t job, struct buf *answer)
{
	struct ahead_run *r = ctx;

	if (err_code() != ERR_NONE || job != r->worked++ || job >= r->told)
		return err_set(ERR_ASSERT, "job %u out of turn", job);
	for (int i = 0; job == 0 && i < 2000 && __atomic_load_n(handed, __ATOMIC_SEQ_CST) < r->wait_for; i++)
		usleep(5 * 1000);
	if (r->dies != 0 && job == r->dies)
		kill(getpid(), SIGKILL);
	buf_addc(answer, (char)(r->told - r->worked));
	return 0;
}

static int done_ahead(void *ctx, uint32_t job, int rc, const void *answer, size_t len)
{
	struct ahead_run *r = ctx;

	assert_int_equal(job, r->run.succeeded + r->run.failed); /* one worker: in order */
	if (rc == 0 && job == 1)
		r->known = *(const uint8_t *)answer;
	return done(ctx, job, rc, answer, len);
}

static const struct pool_ops ahead_ops = { .next = next_ahead, .work = work_ahead, .done = done_ahead,
	.weight = weight_ahead, .ahead = told_ahead, .name = name };

static struct ahead_run *ahead_run_of(struct arena *a, uint32_t jobs, uint64_t weight, unsigned wait_for)
{
	struct ahead_run *r = arena_new_object(a, struct ahead_run);

	r->run = *run_of(a, jobs);
	r->run.act = fail_oddly; /* none: the answers are not those of work() */
	r->weight = weight;
	r->wait_for = wait_for;
	__atomic_store_n(handed, 0, __ATOMIC_SEQ_CST);
	return r;
}

/* How many a worker holds by weight, and what it is told of; most includes the one it works on. */
static void test_jobs_ahead(void **state)
{
	static const struct {
		uint64_t weight;
		unsigned most;
	} cases[] = { { 0, POOL_AHEAD + 1 }, { 1, POOL_AHEAD + 1 }, { POOL_AHEAD_BYTES / POOL_AHEAD, POOL_AHEAD + 1 },
		{ POOL_AHEAD_BYTES / 4, 5 }, { POOL_AHEAD_BYTES, 2 }, { POOL_AHEAD_BYTES + 1, 1 },
		{ UINT64_MAX / 4, 1 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SCOPED_ARENA(a);
		struct ahead_run *r = ahead_run_of(a, JOBS, cases[i].weight, cases[i].most);
		assert_int_equal(pool_run(1, &ahead_ops, r), 0);
		assert_int_equal(r->run.succeeded, JOBS);
		assert_int_equal(r->most, cases[i].most);
		/* when job 1 begins, all that were sent while job 0 lasted are known; the last may be on its way */
		assert_true(r->known + 3 >= cases[i].most);
		for (unsigned k = 0; k < JOBS; k++)
			assert_int_equal(r->run.done[k], 1);
		assert_no_child();
	}
}

static int work_shared(void *ctx, uint32_t job, struct buf *answer)
{
	return 0;
}

static int done_shared(void *ctx, uint32_t job, int rc, const void *answer, size_t len)
{
	return done(ctx, job, rc, answer, len);
}

static void test_shared_in_turn(void **state)
{
	SCOPED_ARENA(a);
	struct ahead_run *r = ahead_run_of(a, 60, 1, 0);
	struct pool_ops shared = ahead_ops;

	shared.work = work_shared;
	shared.done = done_shared;
	shared.ahead = NULL;
	assert_int_equal(pool_run(3, &shared, r), 0);
	assert_int_equal(r->run.succeeded, 60);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(r->worker[i], i % 3 + 1);
}

static void test_death_with_jobs_ahead(void **state)
{
	SCOPED_ARENA(a);
	struct ahead_run *r = ahead_run_of(a, 20, 1, 20);

	r->dies = 5;
	assert_int_equal(pool_run(1, &ahead_ops, r), -1);
	assert_failure(ERR_UNKNOWN, "worker 1 died (signal 9) while working on 'base/1/5'");
	assert_int_equal(r->run.succeeded, 5);
	assert_int_equal(r->run.failed, 1);

	/* all that it held fail, by name */
	r = ahead_run_of(a, 20, 1, 20);
	r->dies = 5;
	r->run.go_on = true;
	assert_int_equal(pool_run(1, &ahead_ops, r), 0);
	assert_int_equal(r->run.succeeded, 5);
	assert_int_equal(r->run.failed, 15);
	assert_string_equal(r->run.last->msg, "worker 1 died (signal 9) before it worked on 'base/1/19'");
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(r->run.done[i], 1);
	assert_no_child();

	/* what it was not given is for the others, if there are any */
	r = ahead_run_of(a, 200, 1, POOL_AHEAD + 1);
	r->dies = 5;
	r->run.go_on = true;
	assert_int_equal(pool_run(1, &ahead_ops, r), -1);
	assert_int_equal(r->run.succeeded, 5);
	assert_in_range(r->run.failed, POOL_AHEAD - 4, POOL_AHEAD + 1);
	assert_int_equal(err_code(), ERR_UNKNOWN);
	assert_non_null(strstr(err_msg(), "nobody is left to work on"));
	err_clear();
	assert_no_child();
}

/* A worker that was told to end does not begin another job, however many it has. */
static int note_and_wait(struct run *r, uint32_t job, struct buf *answer)
{
	__atomic_add_fetch(started, 1, __ATOMIC_SEQ_CST);
	while (sig_pending() == 0)
		usleep(5 * 1000);
	return 0;
}

static void test_signal_with_jobs_ahead(void **state)
{
	int status;
	pid_t pid = lead_in_child(note_and_wait);

	wait_until_started();
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), ERR_TERM);
	assert_int_equal(*started, 3);
}

static uint64_t weight_one(void *ctx, uint32_t job)
{
	return 1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_job_once), cmocka_unit_test(test_no_jobs),
		cmocka_unit_test(test_failure_arrives_whole),
		cmocka_unit_test(test_broken_results_are_failures),
		cmocka_unit_test(test_dead_worker),
		cmocka_unit_test(test_nobody_left), cmocka_unit_test(test_worker_that_exits),
		cmocka_unit_test(test_big_answers), cmocka_unit_test(test_too_big_answer),
		cmocka_unit_test(test_begin_fails), cmocka_unit_test(test_tick),
		cmocka_unit_test(test_failing_tick), cmocka_unit_test(test_held_job),
		cmocka_unit_test(test_signal_to_leader),
		cmocka_unit_test(test_signal_with_deaf_workers),
		cmocka_unit_test(test_killed_leader), cmocka_unit_test(test_signal_before_start),
	};

	const struct CMUnitTest ahead[] = {
		cmocka_unit_test(test_each_job_once), cmocka_unit_test(test_failure_arrives_whole),
		cmocka_unit_test(test_broken_results_are_failures), cmocka_unit_test(test_worker_that_exits),
		cmocka_unit_test(test_big_answers), cmocka_unit_test(test_too_big_answer),
		cmocka_unit_test(test_begin_fails), cmocka_unit_test(test_failing_tick),
		cmocka_unit_test(test_held_job), cmocka_unit_test(test_signal_to_leader),
		cmocka_unit_test(test_signal_with_deaf_workers), cmocka_unit_test(test_killed_leader),
		cmocka_unit_test(test_signal_before_start), cmocka_unit_test(test_jobs_ahead),
		cmocka_unit_test(test_shared_in_turn), cmocka_unit_test(test_death_with_jobs_ahead),
		cmocka_unit_test(test_signal_with_jobs_ahead),
	};
	int failed;

	started = mmap(NULL, 2 * sizeof(*started), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (started == MAP_FAILED)
		return 1;
	handed = started + 1;
	failed = cmocka_run_group_tests_name("pool", tests, NULL, NULL);
	ops.weight = weight_one;
	return failed + cmocka_run_group_tests_name("pool with jobs ahead", ahead, NULL, NULL);
}
