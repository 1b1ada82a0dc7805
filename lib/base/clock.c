/*
 * clock: wall time, deadlines, waiting, and times as text.
 */
#include "base/clock.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/sig.h"

#define BACKOFF_FIRST_MS 20
#define BACKOFF_LAST_MS 1000

static int64_t read_clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_now_ms(void)
{
	return read_clock_ms(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void)
{
	return read_clock_ms(CLOCK_MONOTONIC);
}

struct deadline deadline_in(int64_t ms)
{
	struct deadline d;

	/* "never" may be given as a very large number */
	if (__builtin_add_overflow(clock_mono_ms(), ms, &d.end_ms))
		d.end_ms = INT64_MAX;
	return d;
}

int64_t deadline_left(struct deadline d)
{
	int64_t left = d.end_ms - clock_mono_ms();

	return left > 0 ? left : 0;
}

bool clock_sleep(int64_t ms)
{
	if (ms > 0)
		(void)sig_poll(NULL, 0, ms);
	return sig_pending() != 0;
}

bool backoff_wait(struct backoff *b, struct deadline d)
{
	int64_t left = deadline_left(d);
	int64_t wait = b->next_ms == 0 ? BACKOFF_FIRST_MS : b->next_ms;

	if (left == 0 || sig_pending() != 0)
		return false;
	b->next_ms = wait * 2 < BACKOFF_LAST_MS ? wait * 2 : BACKOFF_LAST_MS;
	return !clock_sleep(wait < left ? wait : left);
}

static char *format_local(struct arena *a, const struct tm *tm)
{
	return arena_printf(a, "%04d-%02d-%02d %02d:%02d:%02d", tm->tm_year + 1900, tm->tm_mon + 1,
		tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec);
}

char *clock_local(struct arena *a, int64_t unix_seconds)
{
	time_t t = unix_seconds;
	struct tm tm = {0};

	localtime_r(&t, &tm);
	return format_local(a, &tm);
}

char *clock_local_zone(struct arena *a, int64_t unix_seconds)
{
	time_t t = unix_seconds;
	struct tm tm = {0};

	localtime_r(&t, &tm);
	long minutes = (tm.tm_gmtoff < 0 ? -tm.tm_gmtoff : tm.tm_gmtoff) / 60;
	const char *text = format_local(a, &tm);
	char sign = tm.tm_gmtoff < 0 ? '-' : '+';
	if (minutes % 60 == 0)
		return arena_printf(a, "%s%c%02ld", text, sign, minutes / 60);
	return arena_printf(a, "%s%c%02ld:%02ld", text, sign, minutes / 60, minutes % 60);
}

/* Exactly n digits at *p, which moves behind them. */
static bool take_digits(const char **p, int n, int *out)
{
	*out = 0;
	for (int i = 0; i < n; i++, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return false;
		*out = *out * 10 + (**p - '0');
	}
	return true;
}

static bool take_char(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

static bool take_calendar(const char **p, struct tm *tm)
{
	return take_digits(p, 4, &tm->tm_year) && take_char(p, '-') &&
	       take_digits(p, 2, &tm->tm_mon) && take_char(p, '-') &&
	       take_digits(p, 2, &tm->tm_mday) && take_char(p, ' ') &&
	       take_digits(p, 2, &tm->tm_hour) && take_char(p, ':') &&
	       take_digits(p, 2, &tm->tm_min) && take_char(p, ':') &&
	       take_digits(p, 2, &tm->tm_sec);
}

/* ".f" of any length, cut to milliseconds; absent is 0. */
static bool take_fraction(const char **p, int *ms)
{
	int weight = 100;

	*ms = 0;
	if (!take_char(p, '.'))
		return true;
	if (!isdigit((unsigned char)**p))
		return false;
	for (; isdigit((unsigned char)**p); (*p)++, weight /= 10)
		*ms += (**p - '0') * weight;
	return true;
}

/* "+ZZ[[:]ZZ]"; PostgreSQL knows offsets below 16 hours. */
static bool take_zone(const char **p, int *seconds)
{
	int hours, minutes = 0, sign = **p == '-' ? -1 : 1;

	if (!take_char(p, '+') && !take_char(p, '-'))
		return false;
	if (!take_digits(p, 2, &hours))
		return false;
	bool colon = take_char(p, ':');
	if ((colon || **p != '\0') && !take_digits(p, 2, &minutes))
		return false;
	*seconds = sign * (hours * 3600 + minutes * 60);
	return hours <= 15 && minutes <= 59;
}

/* Seconds as if the time were UTC; false unless calendar and clock have this time. */
static bool calendar_seconds(const struct tm *tm, int64_t *seconds)
{
	struct tm copy = *tm;

	*seconds = timegm(&copy);
	return copy.tm_year == tm->tm_year && copy.tm_mon == tm->tm_mon &&
	       copy.tm_mday == tm->tm_mday && copy.tm_hour == tm->tm_hour &&
	       copy.tm_min == tm->tm_min && copy.tm_sec == tm->tm_sec;
}

static bool local_seconds(const struct tm *tm, int64_t *seconds)
{
	struct tm copy = *tm;

	/* -1 is a valid time; the week day tells whether mktime has understood */
	copy.tm_isdst = -1;
	copy.tm_wday = -1;
	*seconds = mktime(&copy);
	return copy.tm_wday != -1;
}

bool clock_parse(const char *text, int64_t *unix_ms)
{
	struct tm tm = {0};
	int64_t seconds;
	int ms, zone;

	if (!take_calendar(&text, &tm) || !take_fraction(&text, &ms))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	if (!calendar_seconds(&tm, &seconds))
		return false;
	if (*text == '\0') {
		if (!local_seconds(&tm, &seconds))
			return false;
	} else {
		if (!take_zone(&text, &zone) || *text != '\0')
			return false;
		seconds -= zone;
	}
	*unix_ms = seconds * 1000 + ms;
	return true;
}
