/*
 * sig: termination signals set a flag; loops look at it.
 */
#ifndef BASE_SIG_H
#define BASE_SIG_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

/* HUP, INT, TERM set the flag; PIPE is ignored. */
void sig_init(void);

/* 0, or the number of the signal that asked us to end. */
int sig_pending(void);

/* 0, or -1 with ERR_TERM "terminated on signal SIGTERM" if one is pending. */
int sig_check(void) __attribute__((warn_unused_result));

/* poll for at most ms (below 0: without an end), which no termination signal slips past, not even one that came a moment
 * before: how many are ready; 0 if time is over or a signal is pending; -1 with errno. */
int sig_poll(struct pollfd *v, size_t n, int64_t ms);

#endif
