/*
 * sftp_intern: what sftp.c, sftp_put.c and sftp_names.c share.  Paths here are full paths.
 */
#ifndef STORE_SFTP_INTERN_H
#define STORE_SFTP_INTERN_H

#include "store/sftp_session.h"
#include "store/store.h"

#define SFTP_TEXT 128 /* room for the server's own words about a status */

/* The session of this process, connected if need be; NULL with the failure. */
struct sftp_session *sftp_now(struct store *s);

/* An open file.  It belongs to one session, and is void once another one took its place. */
struct sftp_file {
	struct store *store;
	struct sftp_session *session;
	unsigned generation;
	struct sftp_handle handle;
	bool open;
};

/* Is its session still the one of this process, and alive? */
bool sftp_is_now(const struct sftp_file *f);

/* Open; closed by the arena.  SFTP_OK, another status with the server's words, -1. */
int sftp_open(struct arena *a, struct store *st, struct sftp_session *s, const char *path, uint32_t flags, mode_t mode,
	struct sftp_file *out, char text[SFTP_TEXT]) must_check;
void sftp_file_drop(struct sftp_file *f); /* close, without asking how that went */

/* Requests that have nothing but a status: that, or -1.  Not replacing, RENAME leaves it to the server what becomes of
 * a file that is there (OpenSSH's refuses). */
int sftp_do_path(struct sftp_session *s, enum sftp_type type, const char *path, char text[SFTP_TEXT]) must_check;
int sftp_do_rename(struct sftp_session *s, const char *from, const char *to, bool replace, char text[SFTP_TEXT])
	must_check;

static inline bool sftp_is_missing(int status)
{
	return status == SFTP_NO_FILE || status == SFTP_NO_PATH;
}

/* The failure for a status that was not hoped for: "what: SFTP status [4] failure".  With a status of -1 the failure
 * that stands is wrapped.  Returns -1. */
int sftp_refused(enum err_code code, int status, const char *text, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* 0 present, STORE_ABSENT, -1.  follow: what a link leads to. */
int sftp_look(struct sftp_session *s, const char *path, bool follow, struct sftp_attrs *out) must_check;
bool sftp_is_dir(const struct sftp_attrs *attrs);

/* Make the missing directory of a file that could not be opened, with its parents. */
int sftp_make_parent(struct store *st, struct sftp_session *s, const char *path) must_check;

/* Make durable what happened to the names in a directory, where the server can.  ERR_PATH_MISSING. */
int sftp_sync_dir(struct store *st, struct sftp_session *s, const char *dir) must_check;

/* Verbs of the driver (store/store.h): its paths, relative to the root. */
int sftp_remove(struct store *s, const char *path) must_check;
int sftp_remove_dir(struct store *s, const char *path) must_check;
int sftp_make_dir(struct store *s, const char *path, mode_t mode) must_check;
int sftp_sync_path(struct store *s, const char *path) must_check;
int sftp_touch(struct store *s, const char *path, const struct put_opts *o) must_check;
struct sink *sftp_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o);

#endif
