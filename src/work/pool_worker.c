/*
 * pool_worker: a worker's life: begin, then one job after the other until the socket closes or a
 * termination signal has arrived.  It leaves by _exit: the leader's clean-ups are not its own.
 *
 * Between two jobs it takes all that have been given to it, so that each is known as early as can be.
 */
#include "work/pool_intern.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/sig.h"

struct given {
	uint32_t v[POOL_AHEAD + 1]; /* not worked yet */
	unsigned n;
};

/* False if there will be no more. */
static bool take_job(int fd, struct given *g)
{
	ssize_t n;

	do
		n = recv(fd, &g->v[g->n], sizeof(*g->v), MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	return n == sizeof(*g->v);
}

/* Wait for a job if there is none; take what else has arrived.  False if the worker is to end. */
static bool take_jobs(int fd, const struct pool_ops *ops, void *ctx, struct given *g)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (g->n <= POOL_AHEAD && sig_poll(&p, 1, g->n == 0 ? -1 : 0) > 0) {
		if (!take_job(fd, g))
			return false;
		if (ops->ahead != NULL)
			ops->ahead(ctx, g->v[g->n]);
		g->n++;
		/* a leader that gives one at a time gives none now */
		if (ops->weight == NULL)
			break;
	}
	return g->n > 0 && sig_pending() == 0;
}

static bool report(int fd, uint32_t job, enum pool_outcome outcome, struct buf *answer)
{
	if (outcome == POOL_DONE && answer->len > POOL_FRAME_MAX) {
		err_set(ERR_ASSERT, "the answer of a job has %zu bytes, at most %u are allowed",
			answer->len, POOL_FRAME_MAX);
		outcome = POOL_FAILED;
	}
	if (outcome != POOL_DONE) {
		buf_reset(answer);
		pool_pack_failure(answer);
		err_clear(); /* it is the leader's now, this worker goes on */
	}
	const struct pool_frame head = { .job = job, .outcome = outcome,
		.len = (uint32_t)answer->len };
	return pool_send(fd, &head, sizeof(head)) && pool_send(fd, answer->data, answer->len);
}

static enum pool_outcome work(const struct pool_ops *ops, void *ctx, uint32_t job,
	struct buf *answer)
{
	int rc = ops->work(ctx, job, answer);

	if (rc != 0 && err_code() == ERR_NONE)
		err_set(ERR_ASSERT, "a job failed without saying why");
	/* success with a failure on record is none */
	return rc == 0 && err_code() == ERR_NONE ? POOL_DONE : POOL_FAILED;
}

void pool_worker(unsigned number, int fd, const struct pool_ops *ops, void *ctx)
{
	struct given given = { .n = 0 };
	struct buf answer;

	buf_init(&answer, arena_new());
	if (ops->begin != NULL && ops->begin(ctx, number) != 0) {
		bool told = report(fd, 0, POOL_BEGIN_FAILED, &answer);
		_exit(told ? 0 : 1);
	}
	while (take_jobs(fd, ops, ctx, &given)) {
		const uint32_t job = given.v[0];
		buf_reset(&answer);
		if (!report(fd, job, work(ops, ctx, job, &answer), &answer))
			break;
		given.n--;
		memmove(given.v, given.v + 1, given.n * sizeof(*given.v));
	}
	_exit(sig_pending() != 0 ? ERR_TERM : 0);
}
