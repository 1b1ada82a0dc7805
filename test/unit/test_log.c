/*
 * log: the lines, byte for byte.  Each case runs in a child whose stdout and stderr are packet
 * pipes, so that one read returns exactly what one write wrote.
 */
#ifdef HAVE_CONFIG_H
#include "config-build.h"
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

#define STAMP "2026-11-20 11:30:47.722 "
#define BLANKS_36 "                                    "

static char folder[] = "/tmp/test_log_XXXXXX";
static char file_path[64];

/* The packets of a pipe, each ended by '~'. */
static void read_packets(int fd, char *out, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, out + len, size - len - 2)) > 0) {
		len += (size_t)n;
		out[len++] = '~';
	}
	out[len] = '\0';
	close(fd);
}

/* Replace times by one that tests can name. */
static void fix_times(char *text)
{
	static const char stamp[] = STAMP;

	for (char *p = text; strlen(p) >= sizeof(stamp) - 1; p++) {
		size_t i = 0;

		while (i < sizeof(stamp) - 1 &&
			(isdigit((unsigned char)stamp[i]) ? isdigit((unsigned char)p[i])
							  : p[i] == stamp[i]))
			i++;
		if (i == sizeof(stamp) - 1)
			memcpy(p, stamp, i);
	}
}

static char on_stdout[20000], on_stderr[20000];

static void run(void (*body)(void))
{
	int out[2], err[2], status;

	assert_int_equal(pipe2(out, O_DIRECT), 0);
	assert_int_equal(pipe2(err, O_DIRECT), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(err[1], 2);
		body();
		_exit(0);
	}
	close(out[1]);
	close(err[1]);
	read_packets(out[0], on_stdout, sizeof(on_stdout));
	read_packets(err[0], on_stderr, sizeof(on_stderr));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fix_times(on_stdout);
	fix_times(on_stderr);
}

static void configure(enum log_level console, enum log_level err, bool timestamp)
{
	log_configure(&(struct log_config){.console = console,
		.stderr_level = err,
		.timestamp = timestamp,
		.process_width = 2});
}

static void body_unconfigured(void)
{
	log_info("nobody sees this");
	log_warn("first\nsecond");
	err_set(ERR_OPTION_INVALID, "invalid option '--x'");
	log_failure();
}

static void before_configure_warnings_go_to_stderr(void **state)
{
	run(body_unconfigured);
	assert_string_equal(on_stdout, "");
	assert_string_equal(
		on_stderr, "WARN: first\n      second\n~ERROR: [031]: invalid option '--x'\n~");
}

static void body_console(void)
{
	configure(LOG_TRACE, LOG_OFF, true);
	log_info("restore command begin %s: --stanza=%s", "2.60.0", "demo");
	log_warn("first line\nsecond line of the same message");
	log_process(1);
	log_detail("restore file");
	log_process(0);
	log_debug("deep");
	log_print(LOG_TRACE, "deeper");
	err_set(ERR_FILE_MISSING, "unable to open missing file '/x' for read");
	err_hint("is it there?");
	err_hint("HINT: or here?");
	log_failure();
}

static void console_lines_are_the_references(void **state)
{
	run(body_console);
	assert_string_equal(on_stderr, "");
	assert_string_equal(on_stdout,
		STAMP "P00   INFO: restore command begin 2.60.0: --stanza=demo\n~" STAMP
		      "P00   WARN: first line\n" BLANKS_36
		      "second line of the same message\n~" STAMP "P01 DETAIL: restore file\n~" STAMP
		      "P00  DEBUG:     deep\n~" STAMP "P00  TRACE:         deeper\n~" STAMP
		      "P00  ERROR: [055]: unable to open missing file '/x' for read\n" BLANKS_36
		      "HINT: is it there?\n" BLANKS_36 "HINT: or here?\n~");
}

static void body_split(void)
{
	configure(LOG_DETAIL, LOG_WARN, false);
	log_warn("to stderr");
	log_info("to stdout\nmore");
	log_debug("nowhere");
	err_set(ERR_LOCK, "busy");
	err_hint("wait");
	log_failure();
}

static void stderr_takes_its_levels_from_stdout(void **state)
{
	run(body_split);
	assert_string_equal(on_stdout, "P00   INFO: to stdout\n            more\n~");
	assert_string_equal(
		on_stderr, "WARN: to stderr\n~ERROR: [050]: busy\n       HINT: wait\n~");
}

static void body_dry_run(void)
{
	log_configure(&(struct log_config){
		.console = LOG_INFO, .timestamp = true, .dry_run = true, .process_width = 3});
	log_process(12);
	log_info("repo1: expire full backup %s", "20261120-113718F");
	err_set(ERR_STOP, "stopped");
	log_failure();
}

static void dry_run_stands_behind_the_code(void **state)
{
	run(body_dry_run);
	assert_string_equal(on_stdout,
		STAMP "P012   INFO: [DRY-RUN] repo1: expire full backup 20261120-113718F\n~" STAMP
		      "P012  ERROR: [062]: [DRY-RUN] stopped\n~");
}

static void body_off(void)
{
	configure(LOG_OFF, LOG_OFF, true);
	err_set(ERR_STOP, "stopped");
	log_failure();
	log_warn("nothing");
	if (log_wants(LOG_ERROR))
		_exit(1);
	configure(LOG_WARN, LOG_INFO, true);
	if (!log_wants(LOG_INFO) || log_wants(LOG_DETAIL) || log_wants(LOG_OFF))
		_exit(2);
	/* a level for a file that is not open wants nothing */
	log_configure(&(struct log_config){.file = LOG_INFO});
	if (log_wants(LOG_INFO))
		_exit(3);
}

static void off_is_silent(void **state)
{
	run(body_off);
	assert_string_equal(on_stdout, "");
	assert_string_equal(on_stderr, "");
}

static void body_progress(void)
{
	configure(LOG_INFO, LOG_OFF, false);
	log_progress("%d%%", 10);
	log_info("x");
	log_progress(NULL);
}

static void no_progress_without_a_terminal(void **state)
{
	run(body_progress);
	assert_string_equal(on_stdout, "P00   INFO: x\n~");
	assert_string_equal(on_stderr, "");
}

/* True if it was quick enough for the second progress line to come too soon. */
static bool terminal_progress(void)
{
	int64_t start = clock_mono_ms();

	configure(LOG_OFF, LOG_INFO, false);
	log_progress("%d%%", 10);
	log_progress("%d%%", 11);
	bool quick = clock_mono_ms() - start < 100;
	log_info("line");
	log_info("line");
	clock_sleep(110);
	log_progress("%s", "wider than this terminal");
	log_progress(NULL);
	log_progress(NULL);
	return quick;
}

/* What a terminal receives; the child's exit status is 1 if the machine was too slow to tell. */
static int read_terminal(char *text, size_t size)
{
	const struct winsize shape = {.ws_row = 5, .ws_col = 12};
	int leader, terminal, status;
	size_t len = 0;
	ssize_t n;

	assert_int_equal(openpty(&leader, &terminal, NULL, NULL, &shape), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(terminal, 2);
		_exit(terminal_progress() ? 0 : 1);
	}
	close(terminal);
	/* a terminal without writers fails to be read */
	while (len < size - 1 && (n = read(leader, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(leader);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void progress_is_one_line_of_a_terminal(void **state)
{
	char text[500];
	int tries = 20;

	while (read_terminal(text, sizeof(text)) != 0)
		assert_true(--tries > 0);
	assert_string_equal(text, "\r\033[K10%\r\033[KINFO: line\r\nINFO: line\r\n"
				  "\r\033[Kwider than \r\033[K");
}

static void body_file(void)
{
	umask(0);
	log_configure(
		&(struct log_config){.file = LOG_INFO, .timestamp = true, .process_width = 2});
	log_file_open(file_path);
	log_detail("too much");
	log_info("one");
	log_warn("two\nlines");
	log_file_close();
	log_info("closed");
}

static void read_file(char *out, size_t size)
{
	FILE *f = fopen(file_path, "r");

	assert_non_null(f);
	out[fread(out, 1, size - 1, f)] = '\0';
	fclose(f);
	fix_times(out);
}

static void file_has_a_banner_per_process(void **state)
{
	static const char once[] =
		"-------------------PROCESS START-------------------\n" STAMP
		"P00   INFO: one\n" STAMP "P00   WARN: two\n" BLANKS_36 "lines\n";
	char text[2000], twice[2000];
	struct stat st;

	run(body_file);
	assert_string_equal(on_stdout, "");
	read_file(text, sizeof(text));
	assert_string_equal(text, once);
	assert_int_equal(stat(file_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	run(body_file);
	read_file(text, sizeof(text));
	snprintf(twice, sizeof(twice), "%s\n%s", once, once);
	assert_string_equal(text, twice);
	unlink(file_path);
}

static void body_no_file(void)
{
	log_configure(
		&(struct log_config){.console = LOG_WARN, .file = LOG_INFO, .process_width = 2});
	log_file_open("/missing/demo.log");
	log_info("goes on");
}

static void a_file_that_cannot_be_opened_is_a_warning(void **state)
{
	run(body_no_file);
	assert_string_equal(on_stdout,
		"P00   WARN: unable to open log file '/missing/demo.log': No such file or "
		"directory\n"
		"            NOTE: process will continue without log file.\n~");
}

static void body_long(void)
{
	log_configure(&(struct log_config){.file = LOG_INFO, .process_width = 2});
	log_file_open(file_path);
	log_info("%*s", 40000, "x");
	log_info("next");
	log_info("%*s\n%*s", 32000, "x", 32000, "y");
}

static void long_messages_are_cut(void **state)
{
	static char text[80000];

	run(body_long);
	read_file(text, sizeof(text));
	const char *line = strchr(text, '\n') + 1;
	assert_int_equal(strcspn(line, "\n"), 32767);
	line += 32768;
	assert_true(strncmp(line, "P00   INFO: next\n", 17) == 0);
	line += 17;
	assert_int_equal(strlen(line), 32768);
	assert_int_equal(line[32767], '\n');
	unlink(file_path);
}

static void levels_have_names(void **state)
{
	static const char *const words[] = {
		"off", "error", "warn", "info", "detail", "debug", "trace"};

	for (int i = 0; i < 7; i++)
		assert_int_equal(log_level_parse(words[i]), i);
	assert_int_equal(log_level_parse("WARN"), -1);
	assert_int_equal(log_level_parse(""), -1);
	assert_int_equal(log_level_parse("warning"), -1);
}

static int make_folder(void **state)
{
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(file_path, sizeof(file_path), "%s/demo-backup.log", folder);
	return 0;
}

static int remove_folder(void **state)
{
	unlink(file_path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_configure_warnings_go_to_stderr),
		cmocka_unit_test(console_lines_are_the_references),
		cmocka_unit_test(stderr_takes_its_levels_from_stdout),
		cmocka_unit_test(dry_run_stands_behind_the_code),
		cmocka_unit_test(off_is_silent),
		cmocka_unit_test(no_progress_without_a_terminal),
		cmocka_unit_test(progress_is_one_line_of_a_terminal),
		cmocka_unit_test(file_has_a_banner_per_process),
		cmocka_unit_test(a_file_that_cannot_be_opened_is_a_warning),
		cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(levels_have_names),
	};

	return cmocka_run_group_tests_name("log", tests, make_folder, remove_folder);
}
