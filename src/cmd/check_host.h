/*
 * check_host: what the other hosts of a stanza permit this one.
 */
#ifndef CMD_CHECK_HOST_H
#define CMD_CHECK_HOST_H

#include "cmd/ctx.h"

/* Log it for each repository and cluster on another host; a warning where nothing but the rights of a user there
 * bounds what this host may do.  -1 if a repository's host cannot be asked; one of a cluster is left to those who
 * need it. */
int check_hosts(const struct config *cfg) must_check;

#endif
