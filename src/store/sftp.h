/*
 * sftp: a store on an SFTP server.
 *
 * What a local directory has and SFTP has not: links cannot be made (store_link and store_hard_link are refused), and
 * store_entry.shared is never set, as the protocol does not tell.
 */
#ifndef STORE_SFTP_H
#define STORE_SFTP_H

#include "store/sftp_link.h"
#include "store/store.h"

enum sftp_check { SFTP_CHECK_STRICT, SFTP_CHECK_ACCEPT_NEW, SFTP_CHECK_FINGERPRINT, SFTP_CHECK_NONE };

struct sftp_server {
	const char *host, *user;
	unsigned port;
	const char *private_key; /* a file; "~/" is the user's home, here and below */
	const char *public_key;	 /* NULL: from the private one */
	const char *passphrase;	 /* NULL: none */
	enum sftp_check check;
	const char *hash;	 /* of the fingerprint: "md5", "sha1", "sha256" */
	const char *fingerprint; /* hex, with or without colons, or as ssh-keygen -l prints it */
	strvec known_hosts;	 /* files; none: the usual ones of OpenSSH */
	int64_t timeout_ms;	 /* for connecting in all, and for each answer */
};

/* Nothing is connected before the first use, and each process makes its own connection. */
struct store *store_sftp(struct arena *a, const struct sftp_server *server, const char *root);

/* For tests: over any link. */
struct store *store_sftp_over(struct arena *a, sftp_link_open_fn *open, void *ctx, int64_t timeout_ms,
	const char *root);

#endif
