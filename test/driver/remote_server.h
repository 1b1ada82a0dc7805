/*
 * remote_server: a connection for the caller's side over a pair of sockets, without ssh around it; a child of the
 * test plays the server.
 */
#ifndef TEST_REMOTE_SERVER_H
#define TEST_REMOTE_SERVER_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "store/remote.h"

struct peer {
	void (*play)(void *ctx, int fd); /* in the child */
	void *ctx;
	const char *why; /* what is known about the end of what carries the connection */
	int status;
	int fd; /* of the newest connection */
	unsigned opens;	 /* connections so far */
	unsigned failed; /* players that did not end well */
};

struct peer_link {
	struct peer *peer;
	int fd;
	pid_t child, owner;
};

static const char *peer_why(struct arena *a, void *ctx, int64_t ms)
{
	const struct peer_link *l = ctx;

	return l->peer->why == NULL ? "" : l->peer->why;
}

static int peer_status(void *ctx, int64_t ms)
{
	return ((struct peer_link *)ctx)->peer->status;
}

static void peer_end(void *ctx)
{
	struct peer_link *l = ctx;
	int status;

	close(l->fd);
	if (l->owner != getpid())
		return;
	waitpid(l->child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		l->peer->failed++;
}

/* A remote_open_fn. */
static int peer_open(struct arena *a, void *ctx, struct remote_link *out)
{
	struct peer_link *l = arena_new_object(a, struct peer_link);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return err_sys(ERR_SERVICE, "socketpair");
	*l = (struct peer_link){ .peer = ctx, .fd = pair[0], .owner = getpid() };
	l->peer->opens++;
	l->peer->fd = l->fd;
	l->child = fork();
	if (l->child == 0) {
		close(pair[0]);
		l->peer->play(l->peer->ctx, pair[1]);
		_exit(0);
	}
	close(pair[1]);
	arena_defer(a, peer_end, l);
	*out = (struct remote_link){ .in = l->fd, .out = l->fd, .why = peer_why, .status = peer_status, .ctx = l };
	return 0;
}

#endif
