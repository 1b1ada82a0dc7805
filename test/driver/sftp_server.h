/*
 * sftp_server: a link for the SFTP driver over a pair of sockets, without SSH around it; a child of the test plays the
 * server.
 */
#ifndef TEST_SFTP_SERVER_H
#define TEST_SFTP_SERVER_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "store/sftp.h"

struct fd_link {
	struct sftp_link link;
	int fd;
	pid_t child, owner;
};

static ssize_t fd_moved(ssize_t n, const char *what)
{
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return n > 0 ? n : 0;
	return n == 0 ? err_set(ERR_SERVICE, "%s: the server ended", what) : err_sys(ERR_SERVICE, "%s", what);
}

static ssize_t fd_read(struct sftp_link *l, void *data, size_t len)
{
	return len == 0 ? 0 : fd_moved(recv(((struct fd_link *)l)->fd, data, len, MSG_DONTWAIT), "read");
}

static ssize_t fd_write(struct sftp_link *l, const void *data, size_t len)
{
	return fd_moved(send(((struct fd_link *)l)->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL), "write");
}

static int fd_wait(struct sftp_link *l, bool writing, struct deadline d)
{
	return sftp_poll(((struct fd_link *)l)->fd, writing ? POLLIN | POLLOUT : POLLIN, d);
}

static void fd_end(void *ctx)
{
	struct fd_link *l = ctx;

	close(l->fd);
	if (l->child > 0 && l->owner == getpid()) {
		kill(l->child, SIGKILL);
		waitpid(l->child, NULL, 0);
	}
}

/* The link whose other end is played by the child that play() is called in; it does not return from there. */
static struct sftp_link *fd_link_open(struct arena *a, void (*play)(void *ctx, int fd), void *ctx)
{
	struct fd_link *l = arena_new_object(a, struct fd_link);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return err_sys_null(ERR_SERVICE, "socketpair");
	*l = (struct fd_link){ .link = { .peer = "test:0", .read = fd_read, .write = fd_write, .wait = fd_wait },
		.fd = pair[0], .owner = getpid() };
	l->child = fork();
	if (l->child == 0) {
		close(pair[0]);
		play(ctx, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	arena_defer(a, fd_end, l);
	return &l->link;
}

#endif
