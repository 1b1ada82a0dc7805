/*
 * child: there is no wait with a time limit, so it is looked for, at first often.
 */
#include "base/child.h"

#include <sys/wait.h>
#include <time.h>
#include "base/clock.h"

#define PAUSE_FIRST_NS 50000
#define PAUSE_LAST_NS 16000000

pid_t child_wait(pid_t pid, int64_t ms, int *status)
{
	struct timespec pause = { .tv_nsec = PAUSE_FIRST_NS };
	struct deadline d = deadline_in(ms);
	pid_t rc;

	while ((rc = waitpid(pid, status, WNOHANG)) == 0 && deadline_left(d) > 0) {
		/* not clock_sleep, which does not sleep while a signal is pending */
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < PAUSE_LAST_NS)
			pause.tv_nsec *= 2;
	}
	return rc;
}
