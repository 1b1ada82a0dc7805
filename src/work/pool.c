/*
 * pool: the leader's side.
 *
 * Always true: a worker works its jobs in the order in which it got them; each job that was given out comes
 * to done() exactly once unless the pool ends first; no worker outlives pool_run.
 */
#include "work/pool_intern.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/child.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sig.h"

#define END_MS 5000
#define RECEIVE_SIZE ((size_t)256 * 1024)
#define TICK_MS 1000

struct worker {
	pid_t pid;
	int fd; /* -1: it is gone */
	uint32_t jobs[POOL_AHEAD + 1]; /* given and not answered; the first is worked on */
	unsigned n;
	uint64_t ahead;	/* weight of all but the first */
	struct buf in; /* the part of a frame that has arrived */
};

struct pool {
	const struct pool_ops *ops;
	void *ctx;
	struct worker *v;
	unsigned n;
	struct pollfd *polls;
	struct deadline tick;
};

static const char *job_name(const struct pool *p, uint32_t job)
{
	return p->ops->name == NULL ? "a job" : p->ops->name(p->ctx, job);
}

static void become_worker(const struct pool *p, unsigned i, int fd, pid_t leader)
{
	/* the leader's death must be seen by all: no worker may hold another one's socket open */
	for (unsigned k = 0; k < i; k++)
		close(p->v[k].fd);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != leader)
		_exit(0);
	log_process(i + 1);
	pool_worker(i + 1, fd, p->ops, p->ctx);
}

static int start_worker(struct pool *p, unsigned i, struct arena *a)
{
	struct worker *w = &p->v[i];
	pid_t leader = getpid();
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return err_sys(ERR_KERNEL, "unable to create socket for worker %u", i + 1);
	pid_t pid = fork();
	if (pid == 0) {
		close(fds[0]);
		become_worker(p, i, fds[1], leader);
	}
	int number = errno;
	close(fds[1]);
	w->fd = fds[0];
	if (pid < 0) {
		errno = number;
		return err_sys(ERR_KERNEL, "unable to fork worker %u", i + 1);
	}
	w->pid = pid;
	buf_init(&w->in, a);
	return 0;
}

/* The exit status; after the deadline by force. */
static int reap(struct worker *w, struct deadline d)
{
	int status = 0;

	if (child_wait(w->pid, deadline_left(d), &status) == 0) {
		kill(w->pid, SIGKILL);
		while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
			continue;
	}
	w->pid = 0;
	return status;
}

/* Idle workers see the socket close; a busy one is told to end before its next piece of work. */
static void end_workers(struct pool *p)
{
	struct deadline d = deadline_in(END_MS);

	for (unsigned i = 0; i < p->n; i++) {
		if (p->v[i].fd >= 0)
			close(p->v[i].fd);
		if (p->v[i].pid > 0)
			kill(p->v[i].pid, SIGTERM);
	}
	for (unsigned i = 0; i < p->n; i++) {
		if (p->v[i].pid > 0)
			reap(&p->v[i], d);
	}
}

static int died_idle(unsigned number, bool terminated, const char *how, int code)
{
	if (terminated)
		return err_set(ERR_TERM, "worker %u was terminated", number);
	/* what it was given is done; the others go on */
	log_warn("worker %u died (%s %d)", number, how, code);
	return 0;
}

static void failed_by_death(const struct pool *p, const struct worker *w, unsigned k, bool terminated, const char *how,
	int code)
{
	err_set(terminated ? ERR_TERM : ERR_UNKNOWN, "worker %u died (%s %d) %s '%s'", (unsigned)(w - p->v) + 1, how,
		code, k == 0 ? "while working on" : "before it worked on", job_name(p, w->jobs[k]));
}

static int worker_died(struct pool *p, unsigned i)
{
	struct worker *w = &p->v[i];

	close(w->fd);
	w->fd = -1;
	int status = reap(w, deadline_in(END_MS));
	bool terminated = WIFEXITED(status) && WEXITSTATUS(status) == ERR_TERM;
	const char *how = WIFSIGNALED(status) ? "signal" : "exit code";
	int code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);

	if (w->n == 0)
		return died_idle(i + 1, terminated, how, code);
	for (unsigned k = 0; k < w->n; k++) {
		failed_by_death(p, w, k, terminated, how, code);
		if (p->ops->done(p->ctx, w->jobs[k], -1, NULL, 0) != 0)
			return -1;
	}
	w->n = 0;
	return 0;
}

static uint64_t weight(const struct pool *p, uint32_t job)
{
	return p->ops->weight(p->ctx, job);
}

/* The first job is answered. */
static void drop_first(const struct pool *p, struct worker *w)
{
	w->n--;
	memmove(w->jobs, w->jobs + 1, w->n * sizeof(*w->jobs));
	if (w->n > 0)
		w->ahead -= weight(p, w->jobs[0]);
}

static int take_frame(struct pool *p, struct worker *w, const struct pool_frame *f,
	const char *body)
{
	if (f->outcome == POOL_BEGIN_FAILED) {
		pool_unpack_failure(body, f->len);
		return -1;
	}
	if (w->n == 0 || f->job != w->jobs[0])
		return err_set(ERR_PROTOCOL, "a worker answered for job %u, which it does not have",
			f->job);
	drop_first(p, w);
	if (f->outcome == POOL_DONE)
		return p->ops->done(p->ctx, f->job, 0, body, f->len);
	pool_unpack_failure(body, f->len);
	return p->ops->done(p->ctx, f->job, -1, NULL, 0);
}

/* Take bytes until there are so many, and no more: they belong to the next frame.  1: there are; 0: not yet; -1: the
 * worker is gone. */
static int fill(struct worker *w, size_t until)
{
	while (w->in.len < until) {
		size_t want = until - w->in.len < RECEIVE_SIZE ? until - w->in.len : RECEIVE_SIZE;
		buf_reserve(&w->in, want);
		ssize_t n = recv(w->fd, w->in.data + w->in.len, want, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			return 0;
		if (n <= 0)
			return -1;
		w->in.len += (size_t)n;
	}
	return 1;
}

/* Take what has arrived; a frame that is complete is handled. */
static int receive(struct pool *p, unsigned i)
{
	struct worker *w = &p->v[i];
	struct pool_frame f = { 0 };
	int rc = fill(w, sizeof(f));

	if (rc == 1) {
		memcpy(&f, w->in.data, sizeof(f));
		if (f.len > POOL_FRAME_MAX)
			return err_set(ERR_PROTOCOL, "worker %u sent a malformed answer", i + 1);
		rc = fill(w, sizeof(f) + f.len);
	}
	if (rc < 0)
		return worker_died(p, i);
	if (rc == 0)
		return 0;
	w->in.data[w->in.len] = '\0';
	rc = take_frame(p, w, &f, w->in.data + sizeof(f));
	buf_reset(&w->in);
	return rc;
}

/* Jobs come by weight, so the next one is not heavier than the last. */
static bool may_have_more(const struct pool *p, const struct worker *w)
{
	if (w->fd < 0 || w->n == 0)
		return w->fd >= 0;
	return p->ops->weight != NULL && w->n <= POOL_AHEAD &&
		w->ahead + weight(p, w->jobs[w->n - 1]) <= POOL_AHEAD_BYTES;
}

static bool give_job(struct pool *p, unsigned i)
{
	struct worker *w = &p->v[i];
	uint32_t *job = &w->jobs[w->n];

	if (!may_have_more(p, w) || !p->ops->next(p->ctx, i + 1, job))
		return false;
	if (w->n++ == 0)
		w->ahead = 0;
	else
		w->ahead += weight(p, *job);
	/* if it is gone its socket says so at the next look */
	pool_send(w->fd, job, sizeof(*job));
	return true;
}

/* To all in turn, so that all get much the same.  Returns the number of workers that have a job now. */
static unsigned give_jobs(struct pool *p)
{
	unsigned busy = 0;
	bool given;

	do {
		given = false;
		for (unsigned i = 0; i < p->n; i++)
			given |= give_job(p, i);
	} while (given && p->ops->weight != NULL);
	for (unsigned i = 0; i < p->n; i++)
		busy += p->v[i].n > 0;
	return busy;
}

/* Jobs that only a dead worker would have got are not done: that is no success. */
static int check_nothing_left(struct pool *p)
{
	uint32_t job;

	for (unsigned i = 0; i < p->n; i++) {
		if (p->v[i].fd < 0 && p->ops->next(p->ctx, i + 1, &job))
			return err_set(ERR_UNKNOWN,
				"worker %u has died, nobody is left to work on '%s'", i + 1,
				job_name(p, job));
	}
	return 0;
}

static int64_t tick_ms(const struct pool *p)
{
	return p->ops->tick_ms > 0 ? p->ops->tick_ms : TICK_MS;
}

static int wait_and_receive(struct pool *p)
{
	for (unsigned i = 0; i < p->n; i++)
		p->polls[i] = (struct pollfd){ .fd = p->v[i].fd, .events = POLLIN };
	bool ready = sig_poll(p->polls, p->n, p->ops->tick == NULL ? -1 : deadline_left(p->tick)) > 0;
	if (sig_check() != 0)
		return -1;
	for (unsigned i = 0; ready && i < p->n; i++) {
		if (p->polls[i].revents != 0 && receive(p, i) != 0)
			return -1;
	}
	if (p->ops->tick != NULL && deadline_left(p->tick) == 0) {
		if (p->ops->tick(p->ctx) != 0)
			return -1;
		p->tick = deadline_in(tick_ms(p));
	}
	return 0;
}

static int lead(struct pool *p)
{
	p->tick = deadline_in(tick_ms(p));
	while (sig_check() == 0) {
		if (give_jobs(p) == 0)
			return check_nothing_left(p);
		if (wait_and_receive(p) != 0)
			return -1;
	}
	return -1;
}

int pool_run(unsigned workers, const struct pool_ops *ops, void *ctx)
{
	SCOPED_ARENA(a);
	struct pool p = { .ops = ops, .ctx = ctx, .n = workers == 0 ? 1 : workers };
	int rc = sig_check();

	p.v = arena_zalloc(a, p.n * sizeof(*p.v));
	p.polls = arena_zalloc(a, p.n * sizeof(*p.polls));
	for (unsigned i = 0; i < p.n; i++)
		p.v[i].fd = -1;
	for (unsigned i = 0; rc == 0 && i < p.n; i++)
		rc = start_worker(&p, i, a);
	if (rc == 0)
		rc = lead(&p);
	end_workers(&p);
	return rc;
}
