/*
 * sig: the flag, and waiting that it ends: no handler here calls anything.
 */
#include "base/sig.h"

#include <errno.h>
#include <signal.h>
#include "base/clock.h"
#include "base/err.h"

static volatile sig_atomic_t pending;

static void note(int number)
{
	pending = number;
}

void sig_init(void)
{
	struct sigaction act = {.sa_handler = note};

	/* without SA_RESTART, so that waits end with EINTR */
	sigemptyset(&act.sa_mask);
	sigaction(SIGHUP, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	act.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &act, NULL);
}

int sig_pending(void)
{
	return pending;
}

static const char *signal_name(int number)
{
	switch (number) {
	case SIGHUP:
		return "SIGHUP";
	case SIGINT:
		return "SIGINT";
	default:
		return "SIGTERM";
	}
}

int sig_check(void)
{
	int number = pending;

	if (number == 0)
		return 0;
	return err_set(ERR_TERM, "terminated on signal %s", signal_name(number));
}

static int poll_with(struct pollfd *v, size_t n, int64_t ms, const sigset_t *mask)
{
	struct deadline d = deadline_in(ms);

	while (pending == 0) {
		int64_t left = ms < 0 ? 0 : deadline_left(d);
		const struct timespec ts = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
		int ready = ppoll(v, n, ms < 0 ? NULL : &ts, mask);

		if (ready > 0 || (ready < 0 && errno != EINTR))
			return ready;
		if (ready == 0 && ms >= 0 && deadline_left(d) == 0)
			return 0;
	}
	return 0;
}

/* Blocked between the look at the flag and the wait, where ppoll lets them in again. */
int sig_poll(struct pollfd *v, size_t n, int64_t ms)
{
	sigset_t block, before;

	sigemptyset(&block);
	sigaddset(&block, SIGHUP);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, &before);
	int ready = poll_with(v, n, ms, &before);
	int number = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = number;
	return ready;
}
