/*
 * sftp_put: a file on an SFTP server comes into being, durably.
 *
 * Order at finish: all bytes, attributes, fsync (where the server has that), close; when all of these are answered,
 * rename; after that, sync of the directory.  Always true: until finish returns 0 the arena undoes the put; a file in
 * place is a new one, so that further names of the old one keep its content; nothing here ever turns a half-written
 * file into a published one.
 *
 * With OpenSSH's posix-rename a replacement is atomic.  Without it RENAME refuses a name that is taken: the old file is
 * then moved aside under a temporary name, and is moved back if the new one cannot take its place.  A crash in between
 * leaves the name missing and both files whole.  What is ever replaced in a repository are the info files, which have a
 * copy that every reader turns to.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/path.h"
#include "base/sig.h"
#include "store/sftp_intern.h"

#define WINDOW 128 /* WRITEs in flight */
#define FILE_MODE 0640
#define STEPS 6

struct sftp_putter {
	struct sink sink;
	struct arena *arena;
	struct put_opts o;
	struct store *store;
	const char *path; /* the final name, which failures name */
	const char *written; /* where the bytes go: the final or the temporary name */
	struct sftp_file f;
	char *held; /* bytes not yet sent, fewer than SFTP_CHUNK between calls */
	size_t held_len;
	uint64_t size; /* bytes sent */
	struct sftp_request *writes[WINDOW]; /* count of them from head on, the oldest first */
	unsigned head, count;
	struct deferred *undo;
};

static int lost(const struct sftp_putter *p)
{
	return err_set(ERR_FILE_WRITE, "unable to write '%s': the connection to the SFTP server was lost", p->path);
}

static void drop_writes(struct sftp_putter *p)
{
	for (; p->count > 0; p->count--, p->head = (p->head + 1) % WINDOW)
		sftp_drop(p->f.session, p->writes[p->head]);
}

static void undo(void *ctx)
{
	struct sftp_putter *p = ctx;
	SCOPED_ARENA(a);

	if (!sftp_is_now(&p->f))
		return;
	/* the failure that led here is the one to report */
	const struct err_value *before = err_take(a);
	drop_writes(p);
	struct sftp_session *s = p->f.session;
	sftp_file_drop(&p->f);
	if (!p->o.keep)
		(void)!sftp_do_path(s, SFTP_REMOVE, p->written, (char[SFTP_TEXT]){ "" });
	err_clear();
	if (before->code != ERR_NONE)
		(void)err_restore(before);
}

/* The server says "failure" when its disk is full, and when it is not. */
static int write_refused(const struct sftp_putter *p, int status, const char *text)
{
	(void)sftp_refused(ERR_FILE_WRITE, status, text, "unable to write '%s'", p->path);
	if (status != SFTP_FAILURE)
		return -1;
	return err_hint("the server does not say more: is there space left on it, within quotas?");
}

static int await_write(struct sftp_putter *p)
{
	char text[SFTP_TEXT];
	int rc = sftp_wait_status(p->f.session, p->writes[p->head], text, sizeof(text));

	p->head = (p->head + 1) % WINDOW;
	p->count--;
	return rc == SFTP_OK ? 0 : write_refused(p, rc, text);
}

static int await_writes(struct sftp_putter *p)
{
	while (p->count > 0)
		if (await_write(p) != 0)
			return -1;
	return 0;
}

static int send_at(struct sftp_putter *p, const char *data, size_t len, uint64_t at)
{
	if (!sftp_is_now(&p->f))
		return lost(p);
	if (p->count == WINDOW && await_write(p) != 0)
		return -1;
	struct sftp_request *r = sftp_ask_handle(p->f.session, SFTP_WRITE, &p->f.handle);
	sftp_add_u64(p->f.session, at);
	sftp_add_bytes(p->f.session, data, len);
	p->writes[(p->head + p->count++) % WINDOW] = r;
	if (sftp_move(p->f.session) != 0)
		return sftp_refused(ERR_FILE_WRITE, -1, NULL, "unable to write '%s'", p->path);
	return 0;
}

static int send_next(struct sftp_putter *p, const char *data, size_t len)
{
	if (send_at(p, data, len, p->size) != 0)
		return -1;
	p->size += len;
	return 0;
}

/* It can be read back at once, so it is waited for. */
static int put_at(struct sftp_putter *p, const char *data, size_t len, uint64_t at)
{
	if (at > p->o.size_hint || len > p->o.size_hint - at)
		return err_set(ERR_ASSERT, "unable to write '%s': %zu bytes at offset %ju are behind its end", p->path, len,
			(uintmax_t)at);
	for (size_t n; len > 0; data += n, len -= n, at += n) {
		n = len < SFTP_CHUNK ? len : SFTP_CHUNK;
		if (send_at(p, data, n, at) != 0)
			return -1;
	}
	return await_writes(p);
}

static int put_write(struct sink *s, const void *data, size_t len)
{
	struct sftp_putter *p = (struct sftp_putter *)s;
	const char *from = data;

	if (p->o.at != NULL)
		return put_at(p, data, len, *p->o.at);
	while (len > 0) {
		size_t room = SFTP_CHUNK - p->held_len, n = len < room ? len : room;
		if (p->held_len == 0 && n == SFTP_CHUNK) {
			if (send_next(p, from, n) != 0)
				return -1;
		} else {
			if (p->held == NULL)
				p->held = arena_alloc(p->arena, SFTP_CHUNK);
			memcpy(p->held + p->held_len, from, n);
			p->held_len += n;
			if (p->held_len == SFTP_CHUNK && send_next(p, p->held, SFTP_CHUNK) != 0)
				return -1;
			p->held_len %= SFTP_CHUNK;
		}
		from += n;
		len -= n;
	}
	return 0;
}

struct step {
	struct sftp_request *r;
	enum err_code code;
	const char *what;
	bool may_fail; /* where the server cannot or does not want to */
};

static struct sftp_request *ask_attrs(struct sftp_putter *p, const struct sftp_attrs *attrs)
{
	struct sftp_request *r = sftp_ask_handle(p->f.session, SFTP_FSETSTAT, &p->f.handle);

	sftp_add_attrs(p->f.session, attrs);
	return r;
}

/* All of them in flight at once, the end of the file too: for one file a server works in order. */
static unsigned ask_steps(struct sftp_putter *p, struct step steps[STEPS])
{
	const struct put_opts *o = &p->o;
	unsigned n = 0;

	if (o->at != NULL)
		steps[n++] = (struct step){ ask_attrs(p, &(struct sftp_attrs){ .has = SFTP_HAS_SIZE, .size = o->size_hint }),
			ERR_FILE_WRITE, "unable to set the size of", false };
	if (o->set_owner)
		steps[n++] = (struct step){ ask_attrs(p, &(struct sftp_attrs){ .has = SFTP_HAS_OWNER, .uid = o->uid, .gid = o->gid }),
			ERR_FILE_OWNER, "unable to set ownership for", false };
	/* a mode that nobody asked for is what the server's umask left of it */
	steps[n++] = (struct step){ ask_attrs(p, &(struct sftp_attrs){ .has = SFTP_HAS_MODE,
		.mode = o->mode == 0 ? FILE_MODE : o->mode }), ERR_FILE_MODE, "unable to set mode for", o->mode == 0 };
	if (o->set_mtime)
		steps[n++] = (struct step){ ask_attrs(p, &(struct sftp_attrs){ .has = SFTP_HAS_TIME, .mtime = (uint32_t)o->mtime }),
			ERR_FILE_INFO, "unable to set time for", false };
	if (!o->no_fsync && sftp_has_fsync(p->f.session)) {
		struct sftp_request *r = sftp_ask_extended(p->f.session, "fsync@openssh.com");
		sftp_add_bytes(p->f.session, p->f.handle.data, p->f.handle.len);
		steps[n++] = (struct step){ r, ERR_FILE_SYNC, "unable to sync file", false };
	}
	steps[n++] = (struct step){ sftp_ask_handle(p->f.session, SFTP_CLOSE, &p->f.handle), ERR_FILE_CLOSE,
		"unable to close file", false };
	p->f.open = false;
	sftp_closed(p->f.session);
	return n;
}

static int complete(struct sftp_putter *p)
{
	struct step steps[STEPS];
	char text[SFTP_TEXT];
	int rc = 0;

	if (p->held_len > 0 && send_next(p, p->held, p->held_len) != 0)
		return -1;
	p->held_len = 0;
	if (!sftp_is_now(&p->f))
		return lost(p);
	unsigned n = ask_steps(p, steps);
	rc = await_writes(p);
	for (unsigned i = 0; i < n; i++) {
		if (rc != 0) {
			sftp_drop(p->f.session, steps[i].r);
			continue;
		}
		int status = sftp_wait_status(p->f.session, steps[i].r, text, sizeof(text));
		if (status < 0 || (status != SFTP_OK && !steps[i].may_fail))
			rc = sftp_refused(steps[i].code, status, text, "%s '%s'", steps[i].what, p->path);
	}
	return rc;
}

static int exists(const struct sftp_putter *p)
{
	return err_set(ERR_FILE_EXISTS, "unable to create '%s': file exists", p->path);
}

static int move_refused(const struct sftp_putter *p, int status, const char *text)
{
	return sftp_refused(ERR_FILE_MOVE, status, text, "unable to move '%s' to '%s'", p->written, p->path);
}

/* OpenSSH's server refuses to rename over a file.  Another one might not, so it is asked first; that leaves the moment
 * in between, which this protocol cannot close. */
static int publish_new(struct sftp_putter *p)
{
	struct sftp_session *s = p->f.session;
	struct sftp_attrs attrs;
	char text[SFTP_TEXT];
	int rc = sftp_has_posix_rename(s) ? STORE_ABSENT : sftp_look(s, p->path, false, &attrs);

	if (rc <= 0)
		return rc < 0 ? -1 : exists(p);
	rc = sftp_do_rename(s, p->written, p->path, false, text);
	if (rc == SFTP_OK)
		return 0;
	if (rc > 0 && sftp_look(s, p->path, false, &attrs) == 0)
		return exists(p);
	return rc > 0 && err_code() != ERR_NONE ? -1 : move_refused(p, rc, text);
}

/* There is something of that name, and the server does not replace it. */
static int move_aside(struct sftp_putter *p, int status, const char *why)
{
	struct sftp_session *s = p->f.session;
	const char *aside = store_temp_name(p->arena, p->path);
	struct sftp_attrs attrs;
	char text[SFTP_TEXT];
	int rc = sftp_look(s, p->path, false, &attrs);

	if (rc < 0)
		return -1;
	if (rc == STORE_ABSENT || sftp_is_dir(&attrs))
		return move_refused(p, status, why);
	rc = sftp_do_rename(s, p->path, aside, false, text);
	if (rc != SFTP_OK)
		return sftp_refused(ERR_FILE_MOVE, rc, text, "unable to move '%s' to '%s'", p->path, aside);
	rc = sftp_do_rename(s, p->written, p->path, false, text);
	if (rc == SFTP_OK) {
		/* it is garbage now, which readers ignore by its name */
		if (sftp_do_path(s, SFTP_REMOVE, aside, text) < 0)
			return sftp_refused(ERR_FILE_REMOVE, -1, NULL, "unable to remove '%s'", aside);
		return 0;
	}
	if (rc > 0 && sftp_do_rename(s, aside, p->path, false, (char[SFTP_TEXT]){ "" }) != SFTP_OK) {
		(void)move_refused(p, rc, text);
		return err_hint("what it was before is in '%s' now.", aside);
	}
	return move_refused(p, rc, text);
}

static int publish(struct sftp_putter *p)
{
	char text[SFTP_TEXT];
	bool posix = sftp_has_posix_rename(p->f.session);

	if (p->o.create_new)
		return publish_new(p);
	int rc = sftp_do_rename(p->f.session, p->written, p->path, posix, text);
	if (rc == SFTP_OK)
		return 0;
	return rc < 0 || posix || sftp_is_missing(rc) ? move_refused(p, rc, text) : move_aside(p, rc, text);
}

static int put_finish(struct sink *sink)
{
	struct sftp_putter *p = (struct sftp_putter *)sink;
	SCOPED_ARENA(a);

	if (complete(p) != 0)
		return -1;
	if (p->o.atomic) {
		if (p->o.final_path != NULL)
			p->path = store_name(p->arena, p->store, *p->o.final_path);
		if (publish(p) != 0)
			return -1;
		/* the old file is gone: from here on the new one is better than none */
		arena_undefer(p->arena, p->undo);
	}
	if (!p->o.no_dir_sync && sftp_sync_dir(p->store, p->f.session, path_parent(a, p->path)) != 0)
		return -1;
	if (!p->o.atomic)
		arena_undefer(p->arena, p->undo);
	return 0;
}

/* Open and, if the directory is missing, make it and open again. */
static int open_in_dir(struct sftp_putter *p, struct sftp_session *s, uint32_t flags, char text[SFTP_TEXT])
{
	mode_t mode = p->o.mode == 0 ? FILE_MODE : p->o.mode;
	int rc = sftp_open(p->arena, p->store, s, p->written, flags, mode, &p->f, text);

	if (!sftp_is_missing(rc))
		return rc;
	if (sftp_make_parent(p->store, s, p->written) != 0)
		return err_code() == ERR_PATH_CREATE ? err_recode(ERR_FILE_OPEN) : -1;
	return sftp_open(p->arena, p->store, s, p->written, flags, mode, &p->f, text);
}

/* Something stands there.  A file is replaced by a new one, because it may have further names; one behind a link is the
 * operator's, and stays where it is. */
static int open_over(struct sftp_putter *p, struct sftp_session *s, int status, char text[SFTP_TEXT])
{
	const uint32_t flags = SFTP_F_WRITE | SFTP_F_CREATE;
	struct sftp_attrs attrs;
	int rc = sftp_look(s, p->path, false, &attrs);

	if (rc != 0)
		return rc < 0 ? -1 : status;
	if (p->o.create_new)
		return exists(p);
	if ((attrs.has & SFTP_HAS_MODE) == 0 || !S_ISREG(attrs.mode))
		return open_in_dir(p, s, flags | SFTP_F_TRUNCATE, text);
	rc = sftp_do_path(s, SFTP_REMOVE, p->path, text);
	return rc != SFTP_OK && !sftp_is_missing(rc) ? rc : open_in_dir(p, s, flags | SFTP_F_EXCLUSIVE, text);
}

static int open_kept(struct sftp_putter *p, struct sftp_session *s, char text[SFTP_TEXT])
{
	struct sftp_attrs attrs;
	int rc = sftp_look(s, p->path, true, &attrs);

	if (rc < 0)
		return -1;
	if (rc == STORE_ABSENT || !S_ISREG(attrs.mode))
		return rc == STORE_ABSENT ? SFTP_NO_FILE : SFTP_FAILURE;
	return sftp_open(p->arena, p->store, s, p->path, SFTP_F_WRITE, 0, &p->f, text);
}

static int open_file(struct sftp_putter *p, struct sftp_session *s, char text[SFTP_TEXT])
{
	text[0] = '\0';
	p->written = p->o.atomic ? store_temp_name(p->arena, p->path) : p->path;
	if (p->o.keep)
		return open_kept(p, s, text);
	int rc = open_in_dir(p, s, SFTP_F_WRITE | SFTP_F_CREATE | SFTP_F_EXCLUSIVE, text);
	return rc > 0 && !p->o.atomic ? open_over(p, s, rc, text) : rc;
}

struct sink *sftp_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o)
{
	struct sftp_putter *p = arena_new_object(a, struct sftp_putter);
	struct sftp_session *session = sftp_now(s);
	char text[SFTP_TEXT];

	*p = (struct sftp_putter){ .sink = { .write = put_write, .finish = put_finish }, .arena = a, .store = s, .o = *o,
		.path = store_name(a, s, path) };
	int rc = session == NULL ? -1 : open_file(p, session, text);
	if (rc == SFTP_OK) {
		p->undo = arena_defer(a, undo, p);
		return &p->sink;
	}
	if (rc > 0 || err_code() != ERR_FILE_EXISTS)
		(void)sftp_refused(ERR_FILE_OPEN, rc, text, "unable to open file '%s' for write", p->path);
	return NULL;
}
