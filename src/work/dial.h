/*
 * dial: start the program on another host, through ssh.
 *
 * The remote command is one argument for ssh, its words quoted for a shell.  The child is ended when the link's arena
 * is freed (standard input closed, 1 s, SIGTERM, 1 s, SIGKILL) and never outlives this process (PR_SET_PDEATHSIG).
 */
#ifndef WORK_DIAL_H
#define WORK_DIAL_H

#include "store/remote.h"

struct dial {
	const char *ssh;     /* cmd-ssh; found through PATH */
	const char *host, *user; /* user NULL: ssh's own choice */
	unsigned port;	     /* 0: ssh's own choice */
	const char *program; /* repo-host-cmd */
	const char *config, *config_include_path, *config_path; /* NULL: the other side's own */
	const char *stanza;  /* NULL: none */
	const char *roles;   /* "archive,restore" */
	bool keep_alive;     /* sck-keep-alive: TCPKeepAlive */
	unsigned keep_alive_s, keep_alive_count; /* ServerAliveInterval (s), ServerAliveCountMax; 0: ssh's own choice */
};

/* A remote_open_fn; ctx is a struct dial that lives as long as the remote. */
int dial_open(struct arena *a, void *ctx, struct remote_link *out) must_check;

/* The words that it executes, for messages and tests. */
strvec dial_words(struct arena *a, const struct dial *d);

#endif
