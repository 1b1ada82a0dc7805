/*
 * sftp_session: the SFTP protocol, version 3 (draft-ietf-secsh-filexfer-02), with OpenSSH's extensions posix-rename and
 * fsync, as a client that keeps many requests in flight.
 *
 * A request is asked, and waited for whenever its answer is wanted; others may be asked meanwhile.  A server's answers
 * are checked before anything believes them.  A failure of the connection or of the protocol ends the session for good;
 * a status that is not OK is an answer, which the caller judges.
 *
 * libssh2 has an SFTP client too.  It is not used because that of Debian 12 cannot replace a file atomically
 * (posix-rename), and because none lets requests for different things be in flight together.
 */
#ifndef STORE_SFTP_SESSION_H
#define STORE_SFTP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "store/sftp_link.h"

enum sftp_type {
	SFTP_OPEN = 3, SFTP_CLOSE, SFTP_READ, SFTP_WRITE, SFTP_LSTAT, SFTP_FSTAT, SFTP_SETSTAT, SFTP_FSETSTAT,
	SFTP_OPENDIR, SFTP_READDIR, SFTP_REMOVE, SFTP_MKDIR, SFTP_RMDIR, SFTP_REALPATH, SFTP_STAT, SFTP_RENAME,
	SFTP_READLINK, SFTP_SYMLINK,
	SFTP_STATUS = 101, SFTP_HANDLE, SFTP_DATA, SFTP_NAME, SFTP_ATTRS,
	SFTP_EXTENDED = 200
};

enum sftp_status {
	SFTP_OK, SFTP_EOF, SFTP_NO_FILE, SFTP_DENIED, SFTP_FAILURE, SFTP_BAD_MESSAGE, SFTP_NO_CONNECTION,
	SFTP_CONNECTION_LOST, SFTP_UNSUPPORTED,
	SFTP_NO_PATH = 10 /* of later versions; some servers send it */
};

enum { SFTP_F_READ = 1, SFTP_F_WRITE = 2, SFTP_F_CREATE = 8, SFTP_F_TRUNCATE = 16, SFTP_F_EXCLUSIVE = 32 };
enum { SFTP_HAS_SIZE = 1, SFTP_HAS_OWNER = 2, SFTP_HAS_MODE = 4, SFTP_HAS_TIME = 8 };

#define SFTP_CHUNK ((size_t)32 * 1024) /* bytes per READ and WRITE: what every server takes */
#define SFTP_HANDLE_MAX 256

struct sftp_attrs {
	uint32_t has; /* SFTP_HAS_... */
	uint64_t size;
	uint32_t uid, gid, mode, mtime; /* mode: with the type; mtime: Unix seconds, 32 bits */
};

struct sftp_handle {
	char data[SFTP_HANDLE_MAX];
	size_t len;
};

struct sftp_session;

/* Members below done are valid once it is set, each with the answer's type that is named. */
struct sftp_request {
	uint32_t id;
	void *into; /* READ: set by the caller after asking, room for what was asked */
	size_t room;
	bool dropped;
	struct sftp_request *next;
	bool done;
	enum sftp_type type;	   /* of the answer: STATUS where nothing else fits */
	uint32_t status;	   /* STATUS */
	char text[128];		   /* STATUS: what the server says about it, printable */
	struct sftp_handle handle; /* HANDLE */
	struct sftp_attrs attrs;   /* ATTRS */
	size_t got;		   /* DATA: bytes in into */
	struct buf body;	   /* NAME: what follows the id, not looked at yet */
};

/* Greet the server.  The session lives in the arena, as the link does.  timeout_ms: how long the server may be silent
 * while an answer is awaited. */
struct sftp_session *sftp_session_new(struct arena *a, struct sftp_link *link, int64_t timeout_ms);

bool sftp_has_posix_rename(const struct sftp_session *s);
bool sftp_has_fsync(const struct sftp_session *s);

/* Worth being used for something new?  Not after a failure, nor after a long silence with nothing open: something on
 * the way may have forgotten the connection.  Does not touch the failure record. */
bool sftp_usable(struct sftp_session *s);
bool sftp_failed(const struct sftp_session *s);

/* Ask: the packet begins, gets its fields, and is sent by and by.  The request is the session's; it must be waited for
 * or dropped, and after an answer was looked at dropped too. */
struct sftp_request *sftp_ask(struct sftp_session *s, enum sftp_type type);
void sftp_add_u32(struct sftp_session *s, uint32_t value);
void sftp_add_u64(struct sftp_session *s, uint64_t value);
void sftp_add_bytes(struct sftp_session *s, const void *data, size_t len); /* with their length */
void sftp_add_text(struct sftp_session *s, const char *text);
void sftp_add_attrs(struct sftp_session *s, const struct sftp_attrs *attrs);

/* The common kinds, whole. */
struct sftp_request *sftp_ask_path(struct sftp_session *s, enum sftp_type type, const char *path);
struct sftp_request *sftp_ask_handle(struct sftp_session *s, enum sftp_type type, const struct sftp_handle *h);
struct sftp_request *sftp_ask_open(struct sftp_session *s, const char *path, uint32_t flags, mode_t mode);
struct sftp_request *sftp_ask_extended(struct sftp_session *s, const char *name);
struct sftp_request *sftp_ask_read(struct sftp_session *s, const struct sftp_handle *h, uint64_t offset, size_t len,
	void *into);

/* Until the answer is there.  -1: the session has failed. */
int sftp_wait(struct sftp_session *s, struct sftp_request *r) must_check;

/* Wait for a request whose answer is a status only, and drop it: the status, or -1. */
int sftp_wait_status(struct sftp_session *s, struct sftp_request *r, char *text, size_t size) must_check;

/* Send what can be sent, take what has come, without waiting. */
int sftp_move(struct sftp_session *s) must_check;

/* Not wanted any more, answered or not.  A file that its answer opens is closed.  NULL is allowed. */
void sftp_drop(struct sftp_session *s, struct sftp_request *r);

/* Close without waiting for the answer. */
void sftp_close(struct sftp_session *s, const struct sftp_handle *h);

/* Take the answer to OPEN and OPENDIR apart: the handle counts as open until it is closed. */
void sftp_opened(struct sftp_session *s, const struct sftp_request *r, struct sftp_handle *out);
void sftp_closed(struct sftp_session *s);

/* One name of a NAME answer: false at its end.  A malformed one is the end of the session: *bad. */
struct sftp_names {
	const struct buf *body;
	size_t at;
	uint32_t left;
	bool begun;
};
bool sftp_next_name(struct arena *a, struct sftp_names *n, const char **name, struct sftp_attrs *attrs, bool *bad);

/* The protocol was broken: the session ends.  Returns -1. */
int sftp_broken(struct sftp_session *s, const char *what);

/* A status as text: "permission denied". */
const char *sftp_status_text(struct arena *a, uint32_t status, const char *text);

#endif
