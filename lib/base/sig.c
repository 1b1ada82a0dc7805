/*
 * sig: the flag, and nothing else: no handler here calls anything.
 */
#include "base/sig.h"

#include <signal.h>
#include <stddef.h>
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
