/*
 * sig: termination signals set a flag; loops look at it.
 */
#ifndef BASE_SIG_H
#define BASE_SIG_H

/* HUP, INT, TERM set the flag; PIPE is ignored. */
void sig_init(void);

/* 0, or the number of the signal that asked us to end. */
int sig_pending(void);

/* 0, or -1 with ERR_TERM "terminated on signal SIGTERM" if one is pending. */
int sig_check(void) __attribute__((warn_unused_result));

#endif
