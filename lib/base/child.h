/*
 * child: waiting for the end of a process of ours.
 */
#ifndef BASE_CHILD_H
#define BASE_CHILD_H

#include <stdint.h>
#include <sys/types.h>

/* As waitpid: the child's number, and *status says how it ended; 0 if it has not within ms; -1 if it is no child of ours.
 * Waits also while a termination signal is pending, which is when children are ended. */
pid_t child_wait(pid_t pid, int64_t ms, int *status);

#endif
