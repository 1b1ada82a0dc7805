/*
 * sftp_names: making, removing and touching what has a name on an SFTP server, and making that durable.
 *
 * The protocol cannot sync a directory, but OpenSSH's server opens one as a file and syncs that: where this works, names
 * are as durable as in a local directory.
 */
#include <string.h>
#include <sys/stat.h>
#include "base/path.h"
#include "store/sftp_intern.h"

#define DIR_MODE 0750

static int remove_name(struct store *s, enum sftp_type type, enum err_code code, const char *what, const char *path)
{
	SCOPED_ARENA(a);
	const char *full = store_name(a, s, path);
	struct sftp_session *session = sftp_now(s);
	char text[SFTP_TEXT];
	int rc = session == NULL ? -1 : sftp_do_path(session, type, full, text);

	if (rc == SFTP_OK)
		return 0;
	return sftp_is_missing(rc) ? STORE_ABSENT : sftp_refused(code, rc, text, "unable to remove %s'%s'", what, full);
}

int sftp_remove(struct store *s, const char *path)
{
	return remove_name(s, SFTP_REMOVE, ERR_FILE_REMOVE, "", path);
}

int sftp_remove_dir(struct store *s, const char *path)
{
	return remove_name(s, SFTP_RMDIR, ERR_PATH_REMOVE, "path ", path);
}

/* The server's umask has its say in MKDIR, so the mode is set once more. */
static int make_one(struct sftp_session *s, const char *path, mode_t mode, char text[SFTP_TEXT])
{
	const struct sftp_attrs attrs = { .has = SFTP_HAS_MODE, .mode = mode };
	struct sftp_request *r = sftp_ask_path(s, SFTP_MKDIR, path);

	sftp_add_attrs(s, &attrs);
	int rc = sftp_wait_status(s, r, text, SFTP_TEXT);
	if (rc != SFTP_OK)
		return rc;
	r = sftp_ask_path(s, SFTP_SETSTAT, path);
	sftp_add_attrs(s, &attrs);
	return sftp_wait_status(s, r, text, SFTP_TEXT);
}

static int make_path(struct store *st, struct sftp_session *s, const char *path, mode_t mode)
{
	SCOPED_ARENA(a);
	struct sftp_attrs attrs;
	char text[SFTP_TEXT];
	int rc = make_one(s, path, mode, text), looked;

	if (sftp_is_missing(rc)) {
		if (sftp_make_parent(st, s, path) != 0)
			return -1;
		rc = make_one(s, path, mode, text);
	}
	if (rc == SFTP_OK)
		return sftp_sync_dir(st, s, path_parent(a, path));
	looked = rc < 0 ? -1 : sftp_look(s, path, true, &attrs);
	if (looked == 0 && sftp_is_dir(&attrs))
		return 0;
	return sftp_refused(ERR_PATH_CREATE, looked < 0 ? -1 : rc, text, "unable to create path '%s'", path);
}

int sftp_make_parent(struct store *st, struct sftp_session *s, const char *path)
{
	SCOPED_ARENA(a);
	const char *parent = path_parent(a, path);

	if (parent[0] == '\0' || strcmp(parent, path) == 0)
		return err_set(ERR_PATH_MISSING, "unable to create missing path of '%s'", path);
	return make_path(st, s, parent, DIR_MODE);
}

int sftp_make_dir(struct store *s, const char *path, mode_t mode)
{
	SCOPED_ARENA(a);
	const char *full = store_name(a, s, path);
	struct sftp_session *session = sftp_now(s);

	if (session == NULL)
		return sftp_refused(ERR_PATH_CREATE, -1, NULL, "unable to create path '%s'", full);
	return make_path(s, session, full, mode == 0 ? DIR_MODE : mode);
}

/* A directory of which the server makes no file, or that it does not sync, is as durable as the server makes it. */
int sftp_sync_dir(struct store *st, struct sftp_session *s, const char *dir)
{
	SCOPED_ARENA(a);
	struct sftp_file *d = arena_new_object(a, struct sftp_file);
	struct sftp_attrs attrs;
	char text[SFTP_TEXT];
	int rc = SFTP_FAILURE;

	if (sftp_has_fsync(s))
		rc = sftp_open(a, st, s, dir, SFTP_F_READ, 0, d, text);
	if (rc == SFTP_OK) {
		struct sftp_request *r = sftp_ask_extended(s, "fsync@openssh.com");
		sftp_add_bytes(s, d->handle.data, d->handle.len);
		rc = sftp_wait_status(s, r, text, sizeof(text));
		sftp_file_drop(d);
		if (rc != SFTP_BAD_MESSAGE && rc != SFTP_UNSUPPORTED && rc != SFTP_OK)
			return sftp_refused(ERR_PATH_SYNC, rc, text, "unable to sync path '%s'", dir);
		return 0;
	}
	rc = rc < 0 ? -1 : sftp_look(s, dir, true, &attrs);
	if (rc == STORE_ABSENT)
		return err_set(ERR_PATH_MISSING, "unable to sync missing path '%s'", dir);
	return rc < 0 ? sftp_refused(ERR_PATH_SYNC, -1, NULL, "unable to sync path '%s'", dir) : 0;
}

int sftp_sync_path(struct store *s, const char *path)
{
	SCOPED_ARENA(a);
	const char *full = store_name(a, s, path);
	struct sftp_session *session = sftp_now(s);

	if (session == NULL)
		return sftp_refused(ERR_PATH_SYNC, -1, NULL, "unable to sync path '%s'", full);
	return sftp_sync_dir(s, session, full);
}

static int set_attrs(struct sftp_session *s, const char *path, const struct sftp_attrs *attrs, enum err_code code,
	const char *what)
{
	struct sftp_request *r = sftp_ask_path(s, SFTP_SETSTAT, path);
	char text[SFTP_TEXT];

	sftp_add_attrs(s, attrs);
	int rc = sftp_wait_status(s, r, text, sizeof(text));
	return rc == SFTP_OK ? 0 : sftp_refused(code, rc, text, "unable to set %s for '%s'", what, path);
}

static int touch_at(struct sftp_session *s, const char *full, const struct put_opts *o)
{
	struct sftp_attrs attrs;
	int rc = sftp_look(s, full, false, &attrs);

	if (rc != 0)
		return rc < 0 ? -1 : err_set(ERR_FILE_MISSING, "unable to get info for path/file '%s': no such file", full);
	/* the protocol sets what a link leads to */
	if ((attrs.has & SFTP_HAS_MODE) != 0 && S_ISLNK(attrs.mode))
		return 0;
	if (o->set_owner && (attrs.uid != o->uid || attrs.gid != o->gid) &&
		set_attrs(s, full, &(struct sftp_attrs){ .has = SFTP_HAS_OWNER, .uid = o->uid, .gid = o->gid }, ERR_FILE_OWNER,
			"ownership") != 0)
		return -1;
	if (o->mode != 0 && set_attrs(s, full, &(struct sftp_attrs){ .has = SFTP_HAS_MODE, .mode = o->mode }, ERR_FILE_MODE,
		"mode") != 0)
		return -1;
	if (!o->set_mtime)
		return 0;
	return set_attrs(s, full, &(struct sftp_attrs){ .has = SFTP_HAS_TIME, .mtime = (uint32_t)o->mtime }, ERR_FILE_INFO,
		"time");
}

int sftp_touch(struct store *s, const char *path, const struct put_opts *o)
{
	SCOPED_ARENA(a);
	const char *full = store_name(a, s, path);
	struct sftp_session *session = sftp_now(s);

	return session == NULL ? sftp_refused(ERR_FILE_INFO, -1, NULL, "unable to get info for path/file '%s'", full) :
		touch_at(session, full, o);
}
