/*
 * sys_fault: wrappers around the system calls that count them and spoil one.  Only in builds
 * configured with --enable-faults.
 *
 *	PGSTRATA_FAULT=CALL:N:ACTION[:forever]
 *		CALL	a member of struct sys_calls, or "any": each call that changes something
 *			(open only with O_CREAT or O_TRUNC)
 *		N	the n-th such call of this program and its forked children together, from
 *			1; 0 only counts; with "forever" all calls from the n-th on
 *		ACTION	EIO ENOSPC EACCES EMFILE EROFS: the call fails; "short": half of the
 *			transfer (read, pread, write, pwrite; other calls pass); "kill": SIGKILL
 *			before the call; "stop": SIGSTOP before it, for tests that change something meanwhile
 *	PGSTRATA_FAULT_COUNT=FILE
 *		append the number of calls counted, one line, when the program exits (CALL is
 *		"any" if PGSTRATA_FAULT is not set)
 */
#ifndef BASE_SYS_FAULT_H
#define BASE_SYS_FAULT_H

/* Replace the table if the environment asks.  A malformed value ends the program: a test that
 * injects nothing must not pass. */
void sys_fault_install(void);

#endif
