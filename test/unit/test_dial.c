/*
 * dial with scripts in ssh's place: the words, the bytes, why it ended, and that nobody is left behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/sig.h"
#include "base/str.h"
#include "base/sys.h"
#include "work/dial.h"

static const char *folder;

/* A program that runs these lines of shell. */
static const char *script(struct arena *a, const char *lines)
{
	static unsigned count;
	const char *path = arena_printf(a, "%s/ssh%u", folder, ++count);
	const char *text = arena_printf(a, "#!/bin/sh\n%s\n", lines);

	assert_int_equal(file_replace(path, text, strlen(text), 0755), 0);
	return path;
}

static struct dial plain(const char *ssh)
{
	return (struct dial){ .ssh = ssh, .host = "db1", .user = "pg", .program = "pgstrata", .roles = "archive" };
}

static char *joined(struct arena *a, const struct dial *d)
{
	strvec words = dial_words(a, d);

	return str_join(a, &words, "|");
}

#define ALWAYS "-o|LogLevel=error|-o|Compression=no|-o|PasswordAuthentication=no|-o|BatchMode=yes|"

static void words(void **state)
{
	SCOPED_ARENA(a);
	struct dial d = plain("ssh");

	assert_string_equal(joined(a, &d), "ssh|" ALWAYS "-o|TCPKeepAlive=no|pg@db1|pgstrata --role=archive serve");
	d = (struct dial){ .ssh = "/my/ssh", .host = "db1", .port = 2222, .program = "/opt/my pg/strata",
		.config = "/it's/a file", .config_include_path = "/i", .config_path = "/$p", .stanza = "de;mo",
		.roles = "archive,restore", .keep_alive = true, .keep_alive_s = 30, .keep_alive_count = 3 };
	assert_string_equal(joined(a, &d), "/my/ssh|" ALWAYS "-o|TCPKeepAlive=yes|-o|ServerAliveInterval=30|"
		"-o|ServerAliveCountMax=3|-p|2222|db1|'/opt/my pg/strata' '--config=/it'\\''s/a file' "
		"--config-include-path=/i '--config-path=/$p' --role=archive,restore '--stanza=de;mo' serve");
}

/* All that comes until the other side closes. */
static char *read_all(struct arena *a, int fd)
{
	struct buf b;
	char part[4096];
	ssize_t n;

	buf_init(&b, a);
	while ((n = sys_read_full(fd, part, sizeof(part))) > 0)
		buf_add(&b, part, (size_t)n);
	return b.data;
}

static void the_shell_there_sees_the_words(void **state)
{
	SCOPED_ARENA(a);
	struct dial d = plain(script(a, "for last; do :; done\neval \"set -- $last\"\nprintf '[%s]' \"$@\""));
	struct remote_link link;

	d.program = "/a b/c'd\"$(e)`f`\\";
	d.config = "x\ny*?";
	d.stanza = "~&|";
	assert_int_equal(dial_open(a, &d, &link), 0);
	assert_string_equal(read_all(a, link.in),
		"[/a b/c'd\"$(e)`f`\\][--config=x\ny*?][--role=archive][--stanza=~&|][serve]");
}

static void bytes_both_ways(void **state)
{
	SCOPED_ARENA(a);
	struct dial d = plain(script(a, "exec cat"));
	struct remote_link link;
	char back[6] = "";

	assert_int_equal(dial_open(a, &d, &link), 0);
	assert_int_equal(sys_write_full(link.out, "hello", 5), 0);
	assert_int_equal(sys_read_full(link.in, back, 5), 5);
	assert_string_equal(back, "hello");
	assert_string_equal(link.why(a, link.ctx, 0), "");
}

static void no_such_program(void **state)
{
	SCOPED_ARENA(a);
	struct dial d = plain("no-such-ssh-here");
	struct remote_link link;

	assert_int_equal(dial_open(a, &d, &link), -1);
	assert_int_equal(err_code(), ERR_EXECUTE);
	assert_string_equal(err_msg(), "unable to execute 'no-such-ssh-here': [2] No such file or directory");
	assert_non_null(strstr(err_hints(), "cmd-ssh"));
	err_clear();
}

static const char *why_of(struct arena *a, const char *lines, int64_t ms)
{
	struct dial d = plain(script(a, lines));
	struct remote_link *link = arena_new_object(a, struct remote_link);

	assert_int_equal(dial_open(a, &d, link), 0);
	const char *text = link->why(a, link->ctx, ms);
	assert_string_equal(link->why(a, link->ctx, 0), text); /* asked again */
	return text;
}

static void why_it_ended(void **state)
{
	SCOPED_ARENA(a);
	const char *text = why_of(a, "printf ' no\\tway\\033\\r\\nhome\\n' >&2; exit 255", 10000);

	assert_true(str_ends(text, " ended with exit code 255: no way \nhome"));
	text = why_of(a, "exit 0", 10000);
	assert_true(str_ends(text, " ended with exit code 0"));
	assert_true(str_starts(text, folder));
	assert_true(str_ends(why_of(a, "kill -9 $$", 10000), " was ended by signal 9"));
}

/* Nobody reads standard error while it runs: more than a pipe takes stops nobody, and the end waits for no reader. */
static void much_on_standard_error(void **state)
{
	SCOPED_ARENA(a);
	struct dial d = plain(script(a, "i=0\nwhile [ $i -lt 40000 ]; do\n"
		"echo $i some text that fills it >&2\ni=$((i+1))\ndone\necho done"));
	struct remote_link link;

	assert_int_equal(dial_open(a, &d, &link), 0);
	assert_string_equal(read_all(a, link.in), "done\n");
	const char *text = link.why(a, link.ctx, 10000);
	assert_true(strlen(text) > 8000 && strlen(text) < 8 * 1024 + 200);
	assert_non_null(strstr(text, " some text that fills it\n"));
	assert_null(strstr(text, ": 0 some"));
}

static void still_running(void **state)
{
	SCOPED_ARENA(a);
	struct dial d = plain(script(a, "echo trouble >&2; echo ready; exec cat >/dev/null"));
	struct remote_link link;
	char line[6];

	assert_int_equal(dial_open(a, &d, &link), 0);
	assert_int_equal(sys_read_full(link.in, line, 6), 6);
	assert_true(str_ends(link.why(a, link.ctx, 0), " says: trouble"));
}

static bool alive(pid_t pid)
{
	return kill(pid, 0) == 0;
}

static pid_t read_pid(int fd)
{
	char line[32] = "";
	int64_t pid;

	for (size_t n = 0; n < sizeof(line) - 1 && read(fd, line + n, 1) == 1; n++) {
		if (line[n] == '\n') {
			line[n] = '\0';
			assert_true(str_to_i64(line, &pid));
			return (pid_t)pid;
		}
	}
	fail();
	return 0;
}

/* Open, read the number that the script prints, hang up: how long that took in ms. */
static int64_t hang_up_on(const char *lines, pid_t *pid)
{
	struct arena *a = arena_new();
	struct dial d = plain(script(a, lines));
	struct remote_link link;

	assert_int_equal(dial_open(a, &d, &link), 0);
	*pid = read_pid(link.in);
	int64_t begin = clock_mono_ms();
	arena_free(a);
	return clock_mono_ms() - begin;
}

static void nobody_is_left(void **state)
{
	pid_t pid;

	hang_up_on("echo $$; exec cat", &pid); /* ends when its input does */
	assert_false(alive(pid));
	assert_true(hang_up_on("echo $$; exec sleep 600", &pid) >= 900); /* does not listen: SIGTERM */
	assert_false(alive(pid));
	/* what a wrapper has started is asked to end with it */
	hang_up_on("sleep 600 & echo $!; wait", &pid);
	for (int i = 0; alive(pid) && i < 1000; i++)
		usleep(10000);
	assert_false(alive(pid));
	assert_true(hang_up_on("trap '' TERM; echo $$; while :; do sleep 1; done", &pid) >= 1900); /* nor to SIGTERM */
	assert_false(alive(pid));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* A process that was forked later neither ends the child nor keeps it from seeing that its input ended. */
static void a_fork_has_no_part_in_it(void **state)
{
	struct arena *a = arena_new();
	struct dial d = plain(script(a, "echo $$; exec cat >&2"));
	struct remote_link link;
	int hold[2], status;

	assert_int_equal(dial_open(a, &d, &link), 0);
	pid_t ssh = read_pid(link.in);
	assert_int_equal(pipe(hold), 0);
	pid_t child = fork();
	if (child == 0) {
		char byte;
		close(hold[1]);
		bool silent = link.why(a, link.ctx, 0)[0] == '\0';
		arena_free(a);
		_exit(silent && alive(ssh) && read(hold[0], &byte, 1) == 0 ? 7 : 8);
	}
	close(hold[0]);
	assert_true(alive(ssh));
	close(link.out);
	const char *why = link.why(a, link.ctx, 10000); /* it ends although the fork still lives */
	assert_true(str_ends(why, " ended with exit code 0"));
	arena_free(a);
	close(hold[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/* Whoever dialled is killed: the child is told. */
static void it_does_not_outlive_the_caller(void **state)
{
	SCOPED_ARENA(a);
	struct dial d = plain(script(a, "echo $$; exec sleep 600"));
	int fds[2];
	pid_t ssh;

	assert_int_equal(pipe(fds), 0);
	pid_t child = fork();
	if (child == 0) {
		struct remote_link link;
		if (dial_open(a, &d, &link) != 0)
			_exit(1);
		ssh = read_pid(link.in);
		if (write(fds[1], &ssh, sizeof(ssh)) == sizeof(ssh))
			raise(SIGKILL);
		_exit(1);
	}
	assert_int_equal(read(fds[0], &ssh, sizeof(ssh)), sizeof(ssh));
	assert_int_equal(waitpid(child, NULL, 0), child);
	for (int i = 0; alive(ssh) && i < 1000; i++)
		usleep(10000);
	assert_false(alive(ssh));
	close(fds[0]);
	close(fds[1]);
}

static unsigned inherited(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);
		n += flags >= 0 && (flags & FD_CLOEXEC) == 0;
	}
	return n;
}

/* What we ignore or block is not the child's business, and no descriptor of ours is in it. */
static void a_clean_child(void **state)
{
	SCOPED_ARENA(a);
	struct dial d = plain(script(a, "sed -nE 's/^Sig(Blk|Ign).*(.{7})$/\\1 \\2/p' /proc/self/status"));
	struct remote_link link;
	unsigned before = inherited();
	sigset_t blocked, mask;

	sig_init();
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	assert_int_equal(dial_open(a, &d, &link), 0);
	assert_int_equal(inherited(), before);
	assert_string_equal(read_all(a, link.in), "Blk 0000000\nIgn 0000000\n");
	sigprocmask(SIG_UNBLOCK, &blocked, &mask);
	assert_true(sigismember(&mask, SIGUSR1)); /* ours are as they were */
	assert_false(sigismember(&mask, SIGTERM));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words),
		cmocka_unit_test(the_shell_there_sees_the_words),
		cmocka_unit_test(bytes_both_ways),
		cmocka_unit_test(no_such_program),
		cmocka_unit_test(why_it_ended),
		cmocka_unit_test(much_on_standard_error),
		cmocka_unit_test(still_running),
		cmocka_unit_test(nobody_is_left),
		cmocka_unit_test(a_fork_has_no_part_in_it),
		cmocka_unit_test(it_does_not_outlive_the_caller),
		cmocka_unit_test(a_clean_child),
	};
	char path[] = "/tmp/pgs-dial-XXXXXX";

	/* of another user's PATH some folders may not be looked into, which is another failure than "not there" */
	setenv("PATH", "/usr/bin:/bin", 1);

	folder = mkdtemp(path);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	SCOPED_ARENA(a);
	struct dir_names names;
	if (dir_list(a, folder, &names) == 0)
		for (size_t i = 0; i < names.n; i++)
			unlink(arena_printf(a, "%s/%s", folder, names.v[i]));
	rmdir(folder);
	return rc;
}
