/*
 * pool_worker: a worker's life: begin, then one job after the other until the socket closes or a
 * termination signal has arrived.  It leaves by _exit: the leader's clean-ups are not its own.
 */
#include "work/pool_intern.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/sig.h"

/* False if there will be no more. */
static bool take_job(int fd, uint32_t *job)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t n;

	if (!pool_wait(&p, 1, -1))
		return false;
	do
		n = recv(fd, job, sizeof(*job), MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	return n == sizeof(*job);
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
	struct buf answer;
	uint32_t job;

	buf_init(&answer, arena_new());
	if (ops->begin != NULL && ops->begin(ctx, number) != 0) {
		bool told = report(fd, 0, POOL_BEGIN_FAILED, &answer);
		_exit(told ? 0 : 1);
	}
	while (take_job(fd, &job)) {
		buf_reset(&answer);
		if (!report(fd, job, work(ops, ctx, job, &answer), &answer))
			break;
	}
	_exit(sig_pending() != 0 ? ERR_TERM : 0);
}
