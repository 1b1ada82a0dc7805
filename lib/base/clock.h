/*
 * clock: wall time, deadlines, waiting.  Milliseconds unless a name says otherwise.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include "arena.h"

int64_t clock_now_ms(void);  /* Unix time */
int64_t clock_mono_ms(void); /* for deadlines */

struct deadline {
	int64_t end_ms; /* monotonic */
};
struct deadline deadline_in(int64_t ms);
int64_t deadline_left(struct deadline d); /* ms, never below 0 */

/* Sleep; returns early (true) if a termination signal has arrived (see sig.h). */
bool clock_sleep(int64_t ms);

/* Back-off for polling: 20 ms, doubling up to 1 s, never beyond the deadline.  False if it is over
 * or a termination signal has arrived. */
struct backoff {
	int64_t next_ms;
};
bool backoff_wait(struct backoff *b, struct deadline d);

/* Local time "YYYY-MM-DD HH:MM:SS"; with zone: "+00", "+05:30" behind it. */
char *clock_local(struct arena *a, int64_t unix_seconds);
char *clock_local_zone(struct arena *a, int64_t unix_seconds);

/* "YYYY-MM-DD HH:MM:SS[.f][+ZZ[[:]ZZ]]" (local without zone) to Unix milliseconds; false if malformed
 * or not a calendar date. */
bool clock_parse(const char *text, int64_t *unix_ms);

#endif
