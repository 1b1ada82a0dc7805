/*
 * sftp_link: bytes to and from one SFTP server, never blocking.  Through SSH (sftp_ssh.c), or in tests through a
 * pair of descriptors.
 */
#ifndef STORE_SFTP_LINK_H
#define STORE_SFTP_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"

struct sftp_link {
	const char *peer; /* "host:port", for messages */
	/* Bytes moved; 0: none now; -1 with the failure, also when the other side has ended. */
	ssize_t (*read)(struct sftp_link *l, void *data, size_t len);
	ssize_t (*write)(struct sftp_link *l, const void *data, size_t len);
	/* Until bytes may move again: 1, 0 if the deadline is over, -1. */
	int (*wait)(struct sftp_link *l, bool writing, struct deadline d);
};

/* Open a link; it and all that belongs to it lives in the arena.  Only the process that opened it may use it: in
 * another one the arena's end closes that process's descriptor and says nothing to the server.  NULL on failure. */
typedef struct sftp_link *sftp_link_open_fn(struct arena *a, void *ctx, struct deadline d);

/* Wait for a descriptor (POLLIN, POLLOUT): 1, 0 if time is over, -1.  A termination signal leaves a little time in
 * all, so that clean-ups can talk to a server that answers: ERR_TERM after it. */
int sftp_poll(int fd, short events, struct deadline d) must_check;

#endif
