/*
 * sftp_ssh: a link to an SFTP server through SSH, by libssh2, which is loaded on first use.
 */
#ifndef STORE_SFTP_SSH_H
#define STORE_SFTP_SSH_H

#include <libssh2.h>
#include "base/buf.h"
#include "store/sftp.h"
#include "store/sftp_link.h"

#define SSH_FUNCTIONS(X) \
	X(init) X(session_init_ex) X(session_free) X(session_disconnect_ex) X(session_handshake) \
	X(session_set_blocking) X(session_block_directions) X(session_last_error) X(session_method_pref) \
	X(session_hostkey) X(hostkey_hash) X(userauth_publickey_fromfile_ex) X(userauth_list) X(channel_open_ex) \
	X(channel_process_startup) X(channel_read_ex) X(channel_write_ex) X(channel_handle_extended_data2) \
	X(channel_eof) X(knownhost_init) X(knownhost_free) X(knownhost_readline) X(knownhost_checkp)

/* The members have libssh2's names without the prefix: "ssh2.channel_read_ex(...)". */
#define SSH_MEMBER(name) __typeof__(&libssh2_##name) name;
struct ssh2 {
	SSH_FUNCTIONS(SSH_MEMBER)
};
#undef SSH_MEMBER
extern struct ssh2 ssh2;

/* For store_sftp: ctx is a struct sftp_server. */
struct sftp_link *sftp_ssh_open(struct arena *a, void *ctx, struct deadline d);

/* sftp_hostkey.c.  Before the greeting: ask for the kinds of key under which the host is known, so that a host known by
 * one kind is not taken for a stranger because it has others.  After it: is it the host that is meant? */
struct host_keys;
struct host_keys *host_keys_new(struct arena *a, LIBSSH2_SESSION *session, const struct sftp_server *server);
int host_keys_prefer(struct host_keys *k) must_check;
int host_keys_check(struct host_keys *k) must_check;

/* "~/x" below the user's home; another path as it is. */
const char *sftp_home_path(struct arena *a, const char *path);

#endif
