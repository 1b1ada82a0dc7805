/*
 * push_guard: work in a process of its own, so that storage that hangs does not hang us.
 *
 * Always true: we never wait for the process without a limit, not even for its end: one that cannot be killed stays
 * behind, and holds nothing but the log open.
 */
#include "cmd/push_guard.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/child.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sig.h"
#include "work/pool_intern.h"

#define TERM_MS 1000 /* for clean-ups */
#define KILL_MS 100

/* What both see. */
struct shared {
	unsigned at;	  /* who is being worked for; 0: nobody */
	int64_t moved_ms; /* clock_mono_ms */
	int64_t limit_ms;
	bool slow[PUSH_GUARD_WHO];
	uint32_t question_len;
	char question[PUSH_GUARD_QUESTION];
};

struct push_guard {
	struct shared *shared;
	struct store_watch watch;
	int64_t limit_ms, wait_ms;
	push_guard_fn *fn;
	void *ctx;
	pid_t pid, owner; /* 0: there is none */
	int fd;
	struct buf in;
};

static unsigned work_at(void *ctx, unsigned who)
{
	struct shared *s = ctx;
	unsigned before = s->at;
	int64_t now = clock_mono_ms();

	if (now - s->moved_ms >= s->limit_ms && before < PUSH_GUARD_WHO)
		s->slow[before] = true;
	__atomic_store_n(&s->at, who, __ATOMIC_RELAXED);
	__atomic_store_n(&s->moved_ms, now, __ATOMIC_RELEASE);
	return before;
}

static int64_t still_ms(const struct shared *s)
{
	return clock_mono_ms() - __atomic_load_n(&s->moved_ms, __ATOMIC_ACQUIRE);
}

/* Locks and sockets that a process in an uninterruptible call kept open would be held for ever. */
static void close_all_but(int fd, int log)
{
	const int first = fd < log || log < 0 ? fd : log, second = first == fd ? log : fd;
	unsigned from = STDERR_FILENO + 1;

	if ((unsigned)first > from)
		(void)close_range(from, (unsigned)first - 1, 0);
	if (second > first + 1)
		(void)close_range((unsigned)first + 1, (unsigned)second - 1, 0);
	(void)close_range((unsigned)(second > first ? second : first) + 1, ~0U, 0);
}

static int work(void *ctx, uint32_t job, struct buf *answer)
{
	struct push_guard *g = ctx;

	g->fn(g->ctx, job, g->shared->question, g->shared->question_len, answer);
	return 0;
}

/* A kill needs no clean-up here: it leaves what a kill of the asker itself would leave. */
static void live(struct push_guard *g, int fd, pid_t asker)
{
	static const struct pool_ops ops = {.work = work};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != asker)
		_exit(0);
	close_all_but(fd, log_file_descriptor());
	err_clear();
	pool_worker(0, fd, &ops, g);
}

/* One per process that asks: who was forked from an asker must not meddle with his. */
static void map(struct push_guard *g)
{
	void *p = mmap(NULL, sizeof(*g->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		arena_out_of_memory();
	if (g->shared != NULL)
		munmap(g->shared, sizeof(*g->shared));
	g->shared = p;
	g->shared->limit_ms = g->limit_ms;
	g->watch.ctx = p;
}

static int start(struct push_guard *g)
{
	pid_t asker = getpid();
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return err_sys(ERR_KERNEL, "unable to create socket for a process that works on repositories");
	map(g);
	g->pid = fork();
	if (g->pid == 0)
		live(g, fds[1], asker);
	int failed = g->pid < 0 ? err_sys(ERR_KERNEL, "unable to fork a process that works on repositories") : 0;
	close(fds[1]);
	if (failed != 0) {
		close(fds[0]);
		g->pid = 0;
		return -1;
	}
	g->fd = fds[0];
	g->owner = asker;
	return 0;
}

/* A process that was forked from us has our memory, but the process that works is not its own. */
static bool is_ours(const struct push_guard *g)
{
	return g->pid > 0 && g->owner == getpid();
}

/* signal_number 0: it ends by itself.  True if it has ended, *status says how. */
static bool end(struct push_guard *g, int signal_number, int64_t ms, int *status)
{
	pid_t pid = g->pid;

	g->pid = 0;
	close(g->fd);
	if (signal_number != 0)
		kill(pid, signal_number);
	if (child_wait(pid, ms, status) > 0)
		return true;
	kill(pid, SIGKILL);
	return signal_number != SIGKILL && child_wait(pid, KILL_MS, status) > 0;
}

/* It waits for a question and has nothing to clean up. */
static void end_idle(void *ctx)
{
	struct push_guard *g = ctx;
	int status;

	if (is_ours(g))
		(void)end(g, SIGKILL, KILL_MS, &status);
}

static int died(struct push_guard *g)
{
	unsigned at = g->shared->at;
	int status = 0;

	if (!end(g, 0, KILL_MS, &status))
		(void)err_set(ERR_UNKNOWN, "the process that works on repositories has closed its socket");
	else if (WIFEXITED(status) && WEXITSTATUS(status) == ERR_TERM)
		return err_set(ERR_TERM, "the process that works on repositories was terminated");
	else
		(void)err_set(ERR_UNKNOWN, "the process that works on repositories died (%s %d)",
			WIFSIGNALED(status) ? "signal" : "exit code",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return at == 0 ? -1 : err_wrap("repo%u", at);
}

/* Take what has arrived: 1 if the answer is complete, 0, -1. */
static int receive(struct push_guard *g, struct buf *answer)
{
	struct pool_frame f;

	buf_reserve(&g->in, 65536);
	ssize_t n = recv(g->fd, g->in.data + g->in.len, 65536, MSG_DONTWAIT);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0)
		return died(g);
	g->in.len += (size_t)n;
	if (g->in.len < sizeof(f))
		return 0;
	memcpy(&f, g->in.data, sizeof(f));
	if (g->in.len < sizeof(f) + f.len)
		return 0;
	if (f.outcome != POOL_DONE) {
		pool_unpack_failure(g->in.data + sizeof(f), f.len);
		return -1;
	}
	buf_add(answer, g->in.data + sizeof(f), f.len);
	return 1;
}

static int wait_for_answer(struct push_guard *g, struct buf *answer, unsigned *who)
{
	struct pollfd p = {.fd = g->fd, .events = POLLIN};
	int status;

	for (;;) {
		int64_t left = g->wait_ms - still_ms(g->shared);
		bool ready = sig_poll(&p, 1, left > 0 ? left : 0) > 0;
		if (sig_check() != 0) {
			(void)end(g, SIGTERM, TERM_MS, &status);
			return -1;
		}
		int rc = ready ? receive(g, answer) : 0;
		if (rc != 0)
			return rc < 0 ? -1 : 0;
		if (!ready && still_ms(g->shared) >= g->wait_ms) {
			*who = __atomic_load_n(&g->shared->at, __ATOMIC_RELAXED);
			(void)end(g, SIGKILL, KILL_MS, &status);
			return PUSH_GUARD_HUNG;
		}
	}
}

int push_guard_ask(struct push_guard *g, uint32_t job, const struct buf *question, struct buf *answer, unsigned *who)
{
	if (question->len > PUSH_GUARD_QUESTION)
		return err_set(ERR_ASSERT, "a question of %zu bytes is too long", question->len);
	if (!is_ours(g) && start(g) != 0)
		return -1;
	memcpy(g->shared->question, question->data, question->len);
	g->shared->question_len = (uint32_t)question->len;
	(void)work_at(g->shared, 0);
	buf_reset(&g->in);
	/* if it is gone the socket says so */
	(void)pool_send(g->fd, &job, sizeof(job));
	return wait_for_answer(g, answer, who);
}

bool push_guard_was_slow(const struct push_guard *g, unsigned who)
{
	return who < PUSH_GUARD_WHO && g->shared->slow[who];
}

const struct store_watch *push_guard_watch(const struct push_guard *g)
{
	return &g->watch;
}

static void unmap(void *ctx)
{
	const struct push_guard *g = ctx;

	munmap(g->shared, sizeof(*g->shared));
}

struct push_guard *push_guard_new(struct arena *a, int64_t limit_ms, push_guard_fn *fn, void *ctx)
{
	struct push_guard *g = arena_new_object(a, struct push_guard);

	g->limit_ms = limit_ms;
	/* storage that watches its own time says more precisely what it waited for: it gets a tenth more */
	g->wait_ms = limit_ms + limit_ms / 10;
	g->watch.at = work_at;
	g->fn = fn;
	g->ctx = ctx;
	buf_init(&g->in, a);
	map(g);
	(void)arena_defer(a, unmap, g);
	(void)arena_defer(a, end_idle, g);
	return g;
}
