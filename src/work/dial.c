/*
 * dial: ssh as a child process.
 *
 * Always true: only the process that dialled ends the child and holds the pipes to it.  A fork lets go of them at
 * once, for a copy of them in another process would keep the far side from seeing that this one has closed.
 *
 * Standard error is a pipe on which neither side waits: nobody reads it while the conversation runs, and a child that
 * filled it (64 KiB) goes on without it.  A file in memory would hold more, but either nothing bounds what the far side
 * puts there, or a wrapper that opens /dev/stderr to write is refused.
 */
#include "work/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/child.h"
#include "base/str.h"

#define PIPE_SIZE (1024 * 1024)
#define SAID_MAX ((size_t)8 * 1024)
#define SAID_READS 64 /* a child that talks without end is not listened to without end */
#define END_MS 1000

struct call {
	struct call *next;
	const char *ssh;
	pid_t owner, pid;
	int in, out, err; /* -1: not ours any more */
	bool ended;
	int status; /* of waitpid, when ended */
	char said[SAID_MAX + 1]; /* the last of standard error */
	size_t said_len;
};

/* What this process has dialled. */
static struct call *calls;

/* The ends of the child, and how it says that it could not become ssh. */
struct ends {
	int in, out, err, failed;
};

/* ---- the words ---- */

static void add_option(struct arena *a, strvec *words, const char *option)
{
	vec_push(words, "-o");
	vec_push(words, arena_strdup(a, option));
}

static void add_word(struct buf *command, const char *name, const char *value)
{
	SCOPED_ARENA(a);

	if (value == NULL)
		return;
	buf_addc(command, ' ');
	buf_add_shell(command, arena_printf(a, "--%s=%s", name, value));
}

static const char *remote_command(struct arena *a, const struct dial *d)
{
	struct buf command;

	buf_init(&command, a);
	buf_add_shell(&command, d->program);
	add_word(&command, "config", d->config);
	add_word(&command, "config-include-path", d->config_include_path);
	add_word(&command, "config-path", d->config_path);
	add_word(&command, "role", d->roles);
	add_word(&command, "stanza", d->stanza);
	buf_adds(&command, " serve");
	return command.data;
}

strvec dial_words(struct arena *a, const struct dial *d)
{
	strvec words;

	vec_init(&words, a);
	vec_push(&words, d->ssh);
	add_option(a, &words, "LogLevel=error");
	add_option(a, &words, "Compression=no");
	add_option(a, &words, "PasswordAuthentication=no");
	add_option(a, &words, "BatchMode=yes");
	add_option(a, &words, d->keep_alive ? "TCPKeepAlive=yes" : "TCPKeepAlive=no");
	if (d->keep_alive_s > 0)
		add_option(a, &words, arena_printf(a, "ServerAliveInterval=%u", d->keep_alive_s));
	if (d->keep_alive_count > 0)
		add_option(a, &words, arena_printf(a, "ServerAliveCountMax=%u", d->keep_alive_count));
	if (d->port > 0) {
		vec_push(&words, "-p");
		vec_push(&words, arena_printf(a, "%u", d->port));
	}
	vec_push(&words, d->user == NULL ? d->host : arena_printf(a, "%s@%s", d->user, d->host));
	vec_push(&words, remote_command(a, d));
	return words;
}

/* ---- the child ---- */

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void let_go(void)
{
	for (; calls != NULL; calls = calls->next) {
		close_end(&calls->in);
		close_end(&calls->out);
		close_end(&calls->err);
	}
}

static void become_ssh(const struct ends *e, const char *const *words, pid_t caller)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != caller)
		_exit(0);
	/* a terminal's interrupt is for the caller, which ends the child in order, and with it what a wrapper started */
	setpgid(0, 0);
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(e->in, STDIN_FILENO) >= 0 && dup2(e->out, STDOUT_FILENO) >= 0 && dup2(e->err, STDERR_FILENO) >= 0)
		execvp(words[0], (char *const *)words);
	int number = errno;
	while (write(e->failed, &number, sizeof(number)) < 0 && errno == EINTR)
		continue;
	_exit(ERR_EXECUTE);
}

/* Both ends above the standard streams, which the child puts in place by number. */
static int open_pipe(int flags, int *from, int *to)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | flags) != 0)
		return err_sys(ERR_KERNEL, "unable to create pipe");
	*from = fcntl(fds[0], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	*to = fcntl(fds[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int number = errno;
	close(fds[0]);
	close(fds[1]);
	errno = number;
	return *from >= 0 && *to >= 0 ? 0 : err_sys(ERR_KERNEL, "unable to create pipe");
}

static int open_pipes(struct call *c, struct ends *e, int *failed)
{
	if (open_pipe(0, &e->in, &c->out) != 0 || open_pipe(0, &c->in, &e->out) != 0 ||
		open_pipe(O_NONBLOCK, &c->err, &e->err) != 0 || open_pipe(0, failed, &e->failed) != 0)
		return -1;
	/* larger pipes are only faster, and a user may have no more than so much of them */
	fcntl(c->out, F_SETPIPE_SZ, PIPE_SIZE);
	fcntl(c->in, F_SETPIPE_SZ, PIPE_SIZE);
	return 0;
}

/* The child's signals wait until it has its own way with them: the handlers it inherits only set a flag that nobody
 * looks at. */
static pid_t fork_ssh(const struct ends *e, const char *const *words)
{
	sigset_t all, mask;
	pid_t caller = getpid();

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	pid_t pid = fork();
	if (pid == 0)
		become_ssh(e, words, caller);
	int number = errno;
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	errno = number;
	return pid;
}

/* 0 when it has become ssh. */
static int await_exec(struct call *c, int failed)
{
	int number = 0;
	ssize_t n;

	do
		n = read(failed, &number, sizeof(number));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(number))
		return 0;
	errno = number;
	err_sys(ERR_EXECUTE, "unable to execute '%s'", c->ssh);
	return err_hint("option cmd-ssh names the SSH client.");
}

static int start(struct arena *a, struct call *c, const struct dial *d, struct ends *e, int *failed)
{
	strvec words = dial_words(a, d);

	vec_push(&words, NULL);
	if (open_pipes(c, e, failed) != 0)
		return -1;
	c->pid = fork_ssh(e, words.v);
	if (c->pid < 0)
		return err_sys(ERR_KERNEL, "unable to fork for '%s'", c->ssh);
	close_end(&e->failed);
	return await_exec(c, *failed);
}

/* ---- its end ---- */

/* Its exit status is there within this time. */
static bool wait_end(struct call *c, int64_t ms)
{
	if (!c->ended)
		c->ended = child_wait(c->pid, ms, &c->status) != 0;
	return c->ended;
}

/* Its number is its group's too, and nobody else's as long as it was not waited for. */
static void end_child(struct call *c)
{
	if (c->pid <= 0 || wait_end(c, END_MS))
		return;
	kill(-c->pid, SIGTERM);
	if (wait_end(c, END_MS))
		return;
	kill(-c->pid, SIGKILL);
	while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
		continue;
	c->ended = true;
}

static void forget(const struct call *c)
{
	for (struct call **at = &calls; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			return;
		}
	}
}

static void hang_up(void *ctx)
{
	struct call *c = ctx;

	if (c->owner != getpid())
		return;
	forget(c);
	close_end(&c->in);
	close_end(&c->out);
	end_child(c);
	close_end(&c->err);
}

/* ---- why ---- */

static void listen_to(struct call *c)
{
	char part[SAID_MAX];

	for (unsigned i = 0; i < SAID_READS; i++) {
		ssize_t n = read(c->err, part, sizeof(part));
		if (n <= 0)
			return;
		size_t old = c->said_len, len = (size_t)n, keep = old + len > SAID_MAX ? SAID_MAX - len : old;
		memmove(c->said, c->said + old - keep, keep);
		memcpy(c->said + keep, part, len);
		c->said_len = keep + len;
	}
}

/* For a terminal and a log: nothing but lines of printable characters. */
static const char *said(struct arena *a, const struct call *c)
{
	char *text = arena_strndup(a, "", 0);
	size_t n = 0;

	if (c->said_len > 0)
		text = arena_zalloc(a, c->said_len + 1);
	for (size_t i = 0; i < c->said_len; i++) {
		char ch = c->said[i];
		if (ch != '\r')
			text[n++] = ch == '\n' || (ch >= ' ' && ch < 0x7f) ? ch : ' ';
	}
	return str_trim(a, text);
}

static const char *why(struct arena *a, void *ctx, int64_t ms)
{
	struct call *c = ctx;

	if (c->owner != getpid())
		return "";
	bool ended = wait_end(c, ms);
	listen_to(c);
	const char *text = said(a, c), *colon = text[0] == '\0' ? "" : ": ";
	if (!ended)
		return text[0] == '\0' ? "" : arena_printf(a, "%s says: %s", c->ssh, text);
	if (WIFSIGNALED(c->status))
		return arena_printf(a, "%s was ended by signal %d%s%s", c->ssh, WTERMSIG(c->status), colon, text);
	return arena_printf(a, "%s ended with exit code %d%s%s", c->ssh, WEXITSTATUS(c->status), colon, text);
}

static int status(void *ctx, int64_t ms)
{
	struct call *c = ctx;

	return c->owner == getpid() && wait_end(c, ms) && WIFEXITED(c->status) ? WEXITSTATUS(c->status) : -1;
}

static void hold(struct call *c)
{
	static bool registered;

	if (!registered)
		pthread_atfork(NULL, NULL, let_go);
	registered = true;
	c->next = calls;
	calls = c;
}

int dial_open(struct arena *a, void *ctx, struct remote_link *out)
{
	const struct dial *d = ctx;
	struct call *c = arena_new_object(a, struct call);
	struct ends e = { -1, -1, -1, -1 };
	int failed = -1;

	c->ssh = d->ssh;
	c->owner = getpid();
	c->in = c->out = c->err = -1;
	hold(c);
	arena_defer(a, hang_up, c);
	int rc = start(a, c, d, &e, &failed);
	close_end(&e.in);
	close_end(&e.out);
	close_end(&e.err);
	close_end(&e.failed);
	close_end(&failed);
	*out = (struct remote_link){ .in = c->in, .out = c->out, .why = why, .status = status, .ctx = c };
	return rc;
}
