/*
 * ctx_remote: which other host a repository or a cluster is on, and the conversation with it.
 */
#ifndef CMD_CTX_REMOTE_H
#define CMD_CTX_REMOTE_H

#include "config/config.h"
#include "store/remote.h"

/* The one conversation of this process tree with the host of a repository or cluster that has one (config_repo.host,
 * config_pg.host); it lives as long as the configuration.  Nothing is connected yet. */
struct remote *ctx_remote_repo(const struct config *cfg, const struct config_repo *r);
struct remote *ctx_remote_pg(const struct config *cfg, const struct config_pg *pg);

/* 0, or ERR_HOST_INVALID "X command must be run on the PostgreSQL host" (or "repository host") where the files that the
 * command needs are on another one. */
int ctx_check_host(const struct config *cfg) must_check;

/* Is the repository one of those that the command works on: that of --repo; else all, but for those of other hosts where
 * the command changes more than the WAL archive. */
bool ctx_works_on(const struct config *cfg, const struct config_repo *r);

#endif
