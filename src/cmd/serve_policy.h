/*
 * serve_policy: what another host may do with a path, by its roles and its stanza (doc/protocol.md, "Roles").  Pure.
 *
 * Always true: whatever is not named here is not there; nothing is written but what a push of WAL makes new.
 */
#ifndef CMD_SERVE_POLICY_H
#define CMD_SERVE_POLICY_H

#include "work/serve.h"

struct serve_policy {
	const char *stanza; /* NULL: all */
	uint32_t roles;
};

/* path: safe, or "" for the root itself. */
enum serve_leave serve_policy_repo(const struct serve_policy *p, enum serve_act act, const char *path);
enum serve_leave serve_policy_cluster(const struct serve_policy *p, enum serve_act act);

/* Is it a file that an encrypted repository keeps under its own passphrase? */
bool serve_policy_is_info(const char *path);

/* A put may begin under the name of a segment alone; it must end with the whole name, in which the checksum is. */
bool serve_policy_is_whole(const char *path);

#endif
