/* clock and sig: times as text both ways, waits, and the signals that end them. */
#ifdef HAVE_CONFIG_H
#include "config-build.h"
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/sig.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void set_zone(const char *zone)
{
	setenv("TZ", zone, 1);
	tzset();
}

static void parses_times(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{"1970-01-01 00:00:00+00", 0},
		{"1969-12-31 23:59:59+00", -1000},
		{"2026-11-20 11:30:47+00", 1795174247000},
		{"2026-11-20 11:30:47.7+00", 1795174247700},
		{"2026-11-20 11:30:47.722+00", 1795174247722},
		{"2026-11-20 11:30:47.722999+00", 1795174247722},
		{"2026-11-20 11:30:47+05", 1795156247000},
		{"2026-11-20 11:30:47+0530", 1795154447000},
		{"2026-11-20 11:30:47+05:30", 1795154447000},
		{"2026-11-20 11:30:47-03:30", 1795186847000},
		{"2026-11-20 11:30:47-00", 1795174247000},
		{"2024-02-29 00:00:00+00", 1709164800000},
		{"2000-02-29 23:59:59.999+15:59", 951811259999},
		{"2026-11-20 11:30:47", 1795174247000 - 3600000},
		{"2026-07-01 12:00:00.5", 1782900000500},
		{"1970-01-01 00:59:59", -1000},
	};

	set_zone("CET-1CEST,M3.5.0,M10.5.0/3");
	for (size_t i = 0; i < COUNT(good); i++) {
		int64_t ms = 0;

		if (!clock_parse(good[i].text, &ms) || ms != good[i].ms)
			fail_msg("'%s' gives %lld", good[i].text, (long long)ms);
	}
}

static void refuses_what_is_no_time(void **state)
{
	static const char *const bad[] = {"", "2026-01-01", "2026-01-01T00:00:00",
		"2026-1-01 00:00:00", "2026-13-01 00:00:00", "2026-00-01 00:00:00",
		"2026-01-00 00:00:00", "2026-02-29 00:00:00", "1900-02-29 00:00:00",
		"2026-04-31 00:00:00", "2026-01-01 24:00:00", "2026-01-01 00:60:00",
		"2026-01-01 00:00:60", "2026-01-01 00:00", "2026-01-01  00:00:00",
		" 2026-01-01 00:00:00", "2026-01-01 00:00:00 ", "2026-01-01 00:00:00.",
		"2026-01-01 00:00:00.x", "2026-01-01 00:00:00Z", "2026-01-01 00:00:00+",
		"2026-01-01 00:00:00+1", "2026-01-01 00:00:00+100",
		"2026-01-01 00:00:00+01:", "2026-01-01 00:00:00+01:0", "2026-01-01 00:00:00+01:60",
		"2026-01-01 00:00:00+16", "2026-01-01 00:00:00+01:00x", "2026-01-01 00:00:00 +01",
		"2026-01-01 00:00:00.5.5", "+026-01-01 00:00:00", "2026-01-01 00:00:-1",
		"2026/01/01 00:00:00", "12026-01-01 00:00:00"};
	int64_t ms = 42;

	for (size_t i = 0; i < COUNT(bad); i++) {
		if (clock_parse(bad[i], &ms))
			fail_msg("'%s' taken for a time", bad[i]);
		assert_int_equal(ms, 42);
	}
}

static void prints_local_times(void **state)
{
	static const struct {
		const char *zone, *text, *with_zone;
	} cases[] = {
		{"UTC0", "2026-11-20 11:30:47", "2026-11-20 11:30:47+00"},
		{"IST-5:30", "2026-11-20 17:00:47", "2026-11-20 17:00:47+05:30"},
		{"NST3:30", "2026-11-20 08:00:47", "2026-11-20 08:00:47-03:30"},
		{"EST5", "2026-11-20 06:30:47", "2026-11-20 06:30:47-05"},
	};
	SCOPED_ARENA(a);

	for (size_t i = 0; i < COUNT(cases); i++) {
		int64_t back;

		set_zone(cases[i].zone);
		assert_string_equal(clock_local(a, 1795174247), cases[i].text);
		assert_string_equal(clock_local_zone(a, 1795174247), cases[i].with_zone);
		assert_true(clock_parse(cases[i].text, &back));
		assert_true(back == 1795174247000);
		assert_true(clock_parse(cases[i].with_zone, &back));
		assert_true(back == 1795174247000);
	}
}

static void deadlines_end_at_zero(void **state)
{
	int64_t start = clock_mono_ms();

	assert_int_equal(deadline_left(deadline_in(0)), 0);
	assert_int_equal(deadline_left(deadline_in(-5)), 0);
	assert_true(deadline_left(deadline_in(600000)) > 500000);
	assert_true(deadline_left(deadline_in(INT64_MAX)) > INT64_MAX / 2);
	assert_false(clock_sleep(30));
	assert_true(clock_mono_ms() - start >= 30);
	assert_true(clock_now_ms() / 1000 - time(NULL) <= 1);
}

static void back_off_doubles_within_the_deadline(void **state)
{
	struct backoff b = {0};
	struct deadline d = deadline_in(100);
	int64_t start = clock_mono_ms();
	int turns = 0;

	while (backoff_wait(&b, d))
		turns++;
	/* 20 + 40 + what is left; fewer on a busy machine, where sleeping takes longer */
	assert_in_range(turns, 1, 3);
	assert_true(clock_mono_ms() - start >= 100);
	b.next_ms = 800;
	assert_true(backoff_wait(&b, deadline_in(500)));
	assert_int_equal(b.next_ms, 1000);
}

/* In a child: signal number, before or while sleeping; the exit code tells what was seen. */
static void child_sleeps(int number, bool before)
{
	struct backoff b = {0};

	sig_init();
	if (sig_check() != 0 || sig_pending() != 0)
		_exit(1);
	raise(SIGPIPE);
	if (before) {
		raise(number);
	} else {
		const struct itimerspec in = {.it_value = {.tv_nsec = 50000000}};
		struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
		timer_t timer;

		if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
			timer_settime(timer, 0, &in, NULL) != 0)
			_exit(2);
	}
	if (!clock_sleep(20000) || !clock_sleep(20000) || backoff_wait(&b, deadline_in(20000)))
		_exit(3);
	if (sig_pending() != number || sig_check() != -1 || err_code() != ERR_TERM)
		_exit(4);
	_exit(number == SIGTERM && strcmp(err_msg(), "terminated on signal SIGTERM") != 0 ? 5 : 0);
}

static void signals_end_waits(void **state)
{
	static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};

	for (int i = 0; i < 6; i++) {
		int64_t start = clock_mono_ms();
		int status;
		pid_t pid = fork();

		if (pid == 0)
			child_sleeps(numbers[i % 3], i < 3);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_true(clock_mono_ms() - start < 15000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_times),
		cmocka_unit_test(refuses_what_is_no_time),
		cmocka_unit_test(prints_local_times),
		cmocka_unit_test(deadlines_end_at_zero),
		cmocka_unit_test(back_off_doubles_within_the_deadline),
		cmocka_unit_test(signals_end_waits),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
