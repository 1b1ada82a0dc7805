/*
 * sftp: a store on an SFTP server; reading and listing (sftp_put.c writes, sftp_names.c changes names).
 *
 * Always true: a process uses only the connection that it made itself; "no such file" is the only proof of absence,
 * every other status and every failure of the connection is unknown; nothing is tried again but a connection that was
 * found dead before anything was asked of it.
 */
#include "store/sftp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/path.h"
#include "base/sig.h"
#include "base/str.h"
#include "store/sftp_intern.h"
#include "store/sftp_ssh.h"

#define WINDOW 128 /* READs in flight */
#define WINDOW_FIRST 16
#define SIGNAL_BYTES ((uint64_t)1024 * 1024)
#define LIST_REQUESTS 4
#define LIST_MAX 50000000 /* entries; a server that never ends its listing */
#define HOLD_MS 10000 /* a server that could not be reached is not tried again for so long */

struct sftp_store {
	struct store store;
	sftp_link_open_fn *open;
	void *ctx;
	int64_t timeout_ms;
	pid_t pid; /* whose the rest is */
	struct arena *arena;
	struct sftp_session *session; /* NULL: none */
	unsigned generation; /* of the session */
	struct arena *held; /* the last failure to connect, until held_ms */
	const struct err_value *failure;
	int64_t held_ms;
};

static struct sftp_store *store_of(struct store *s)
{
	return (struct sftp_store *)s;
}

static void end_session(void *ctx)
{
	struct sftp_store *ss = ctx;

	arena_free(ss->arena);
	ss->arena = NULL;
	ss->session = NULL;
}

static void end_store(void *ctx)
{
	struct sftp_store *ss = ctx;

	end_session(ss);
	arena_free(ss->held);
}

static struct sftp_session *connect_now(struct sftp_store *ss)
{
	ss->pid = getpid();
	ss->arena = arena_new();
	ss->generation++;
	struct sftp_link *link = ss->open(ss->arena, ss->ctx, deadline_in(ss->timeout_ms));
	if (link != NULL)
		ss->session = sftp_session_new(ss->arena, link, ss->timeout_ms);
	if (ss->session != NULL)
		return ss->session;
	arena_free(ss->held);
	ss->held = arena_new();
	ss->failure = err_take(ss->held);
	end_session(ss);
	ss->held_ms = clock_mono_ms() + (ss->timeout_ms < HOLD_MS ? ss->timeout_ms : HOLD_MS);
	(void)err_restore(ss->failure);
	return NULL;
}

struct sftp_session *sftp_now(struct store *s)
{
	struct sftp_store *ss = store_of(s);
	bool ours = ss->pid == getpid();

	if (ours && ss->session != NULL && sftp_usable(ss->session))
		return ss->session;
	end_session(ss);
	if (ours && ss->failure != NULL && clock_mono_ms() < ss->held_ms) {
		(void)err_restore(ss->failure);
		return NULL;
	}
	return sig_check() != 0 ? NULL : connect_now(ss);
}

bool sftp_is_now(const struct sftp_file *f)
{
	const struct sftp_store *ss = store_of(f->store);

	return ss->pid == getpid() && ss->session != NULL && ss->generation == f->generation && !sftp_failed(ss->session);
}

int sftp_refused(enum err_code code, int status, const char *text, const char *fmt, ...)
{
	SCOPED_ARENA(a);
	va_list ap;

	va_start(ap, fmt);
	const char *what = arena_vprintf(a, fmt, ap);
	va_end(ap);
	if (status < 0)
		return err_wrap("%s", what);
	return err_set(code, "%s: SFTP status %s", what, sftp_status_text(a, (uint32_t)status, text));
}

int sftp_do_path(struct sftp_session *s, enum sftp_type type, const char *path, char text[SFTP_TEXT])
{
	return sftp_wait_status(s, sftp_ask_path(s, type, path), text, SFTP_TEXT);
}

int sftp_do_rename(struct sftp_session *s, const char *from, const char *to, bool replace, char text[SFTP_TEXT])
{
	struct sftp_request *r = replace ? sftp_ask_extended(s, "posix-rename@openssh.com") : sftp_ask(s, SFTP_RENAME);

	sftp_add_text(s, from);
	sftp_add_text(s, to);
	return sftp_wait_status(s, r, text, SFTP_TEXT);
}

bool sftp_is_dir(const struct sftp_attrs *attrs)
{
	return (attrs->has & SFTP_HAS_MODE) != 0 && S_ISDIR(attrs->mode);
}

/* The attributes that a request is answered with. */
static int take_look(struct sftp_session *s, struct sftp_request *r, const char *path, struct sftp_attrs *out)
{
	int rc = sftp_wait(s, r);

	if (rc != 0) {
		rc = sftp_refused(ERR_FILE_INFO, -1, NULL, "unable to get info for path/file '%s'", path);
	} else if (r->type == SFTP_ATTRS) {
		*out = r->attrs;
	} else if (r->type != SFTP_STATUS || r->status == SFTP_OK) {
		rc = sftp_broken(s, "no attributes where they are due");
	} else {
		rc = sftp_is_missing((int)r->status) ? STORE_ABSENT :
			sftp_refused(ERR_FILE_INFO, (int)r->status, r->text, "unable to get info for path/file '%s'", path);
	}
	sftp_drop(s, r);
	return rc;
}

int sftp_look(struct sftp_session *s, const char *path, bool follow, struct sftp_attrs *out)
{
	return take_look(s, sftp_ask_path(s, follow ? SFTP_STAT : SFTP_LSTAT, path), path, out);
}

void sftp_file_drop(struct sftp_file *f)
{
	if (f->open && sftp_is_now(f)) {
		sftp_close(f->session, &f->handle);
		sftp_closed(f->session);
	}
	f->open = false;
}

static void drop_file(void *ctx)
{
	sftp_file_drop(ctx);
}

static int take_handle(struct arena *a, struct store *st, struct sftp_session *s, struct sftp_request *r,
	struct sftp_file *out, char text[SFTP_TEXT])
{
	int rc = sftp_wait(s, r);

	*out = (struct sftp_file){ .session = s, .store = st, .generation = store_of(st)->generation };
	if (rc == 0 && r->type == SFTP_HANDLE) {
		sftp_opened(s, r, &out->handle);
		out->open = true;
		arena_defer(a, drop_file, out);
	} else if (rc == 0 && (r->type != SFTP_STATUS || r->status == SFTP_OK)) {
		rc = sftp_broken(s, "no handle where one is due");
	} else if (rc == 0) {
		rc = (int)(r->status & 0xffff);
		snprintf(text, SFTP_TEXT, "%s", r->text);
	}
	sftp_drop(s, r);
	return rc;
}

int sftp_open(struct arena *a, struct store *st, struct sftp_session *s, const char *path, uint32_t flags, mode_t mode,
	struct sftp_file *out, char text[SFTP_TEXT])
{
	return take_handle(a, st, s, sftp_ask_open(s, path, flags, mode), out, text);
}

/* --- get --- */

struct slot {
	struct sftp_request *r;
	char *data;
	uint64_t offset;
	size_t want, got;
};

struct reader {
	struct arena *arena;
	struct sftp_file f;
	const char *name;
	uint64_t next; /* the first byte that was not asked for yet */
	uint64_t end;  /* behind the last one; UINT64_MAX: where the file ends */
	bool sized;    /* end is what the server says */
	struct slot slots[WINDOW]; /* count of them from head on, in order of offsets */
	unsigned head, count, width;
};

static int gone(const struct reader *f)
{
	return err_set(ERR_FILE_READ, "unable to read '%s': the connection to the SFTP server was lost", f->name);
}

static void ask_rest(struct reader *f, struct slot *slot)
{
	slot->r = sftp_ask_read(f->f.session, &f->f.handle, slot->offset + slot->got, slot->want - slot->got,
		slot->data + slot->got);
}

static void ask_more(struct reader *f)
{
	while (f->count < f->width && f->next < f->end) {
		struct slot *slot = &f->slots[(f->head + f->count++) % WINDOW];
		uint64_t left = f->end - f->next;
		if (slot->data == NULL)
			slot->data = arena_alloc(f->arena, SFTP_CHUNK);
		slot->offset = f->next;
		slot->want = left < SFTP_CHUNK ? (size_t)left : SFTP_CHUNK;
		slot->got = 0;
		f->next += slot->want;
		ask_rest(f, slot);
	}
}

static void drop_reads(struct reader *f)
{
	for (; f->count > 0; f->count--, f->head = (f->head + 1) % WINDOW)
		sftp_drop(f->f.session, f->slots[f->head].r);
}

/* The oldest piece.  A short one is asked for again: only "end of file" is the end. */
static int take_piece(struct reader *f, struct slot *slot)
{
	while (slot->got < slot->want) {
		struct sftp_request *r = slot->r;
		if (sftp_wait(f->f.session, r) != 0)
			return sftp_refused(ERR_FILE_READ, -1, NULL, "unable to read '%s'", f->name);
		if (r->type == SFTP_STATUS && r->status == SFTP_EOF) {
			if (f->sized && slot->offset + slot->got < f->end)
				return err_set(ERR_FILE_READ, "unable to read '%s': it ends after %ju bytes instead of %ju",
					f->name, (uintmax_t)(slot->offset + slot->got), (uintmax_t)f->end);
			f->end = slot->offset + slot->got;
			break;
		}
		if (r->type == SFTP_STATUS && r->status != SFTP_OK)
			return sftp_refused(ERR_FILE_READ, (int)r->status, r->text, "unable to read '%s'", f->name);
		if (r->type != SFTP_DATA)
			return sftp_broken(f->f.session, "no data where they are due");
		slot->got += r->got;
		if (slot->got < slot->want) {
			sftp_drop(f->f.session, r);
			ask_rest(f, slot);
		}
	}
	return 0;
}

static int push(struct reader *f, const struct get_opts *o, struct sink *to)
{
	uint64_t done = 0;

	for (ask_more(f); f->count > 0; ask_more(f)) {
		struct slot *slot = &f->slots[f->head];
		if (done >= SIGNAL_BYTES && sig_check() != 0)
			return -1;
		if (take_piece(f, slot) != 0)
			return -1;
		size_t n = slot->got;
		if (n > 0 && sink_write(to, slot->data, n) != 0)
			return -1;
		/* the sink may have used the store, too */
		if (!sftp_is_now(&f->f))
			return gone(f);
		sftp_drop(f->f.session, slot->r);
		f->head = (f->head + 1) % WINDOW;
		f->count--;
		done += n;
		f->width = f->width * 2 < WINDOW ? f->width * 2 : WINDOW;
		if (n < SFTP_CHUNK && o->offset + done >= f->end)
			drop_reads(f);
	}
	if (o->exact && done < o->length)
		return err_set(ERR_FILE_READ, "unable to read '%s': %ju bytes at offset %ju wanted, %ju found", f->name,
			(uintmax_t)o->length, (uintmax_t)o->offset, (uintmax_t)done);
	return sink_finish(to);
}

static ssize_t reread(void *ctx, void *data, size_t len, uint64_t offset)
{
	struct reader *f = ctx;
	struct slot one = { .data = data, .offset = offset, .want = len < SFTP_CHUNK ? len : SFTP_CHUNK };
	uint64_t end = f->end;
	bool sized = f->sized;

	if (!sftp_is_now(&f->f))
		return gone(f);
	f->sized = false;
	ask_rest(f, &one);
	int rc = take_piece(f, &one);
	sftp_drop(f->f.session, one.r);
	f->end = end;
	f->sized = sized;
	return rc != 0 ? rc : (ssize_t)one.got;
}

static enum store_type type_of(uint32_t mode)
{
	if (S_ISREG(mode))
		return STORE_FILE;
	if (S_ISDIR(mode))
		return STORE_DIR;
	return S_ISLNK(mode) ? STORE_LINK : STORE_SPECIAL;
}

static struct store_entry entry_of(const char *name, const struct sftp_attrs *attrs)
{
	struct store_entry e = { .name = name, .type = type_of(attrs->mode), .mtime = attrs->mtime,
		.mode = attrs->mode & 0777, .uid = attrs->uid, .gid = attrs->gid };

	e.size = e.type == STORE_FILE ? attrs->size : 0;
	return e;
}

/* The attributes of the open file, asked for together with its first bytes. */
static int inspect(struct reader *f, const char *path, const struct get_opts *o)
{
	struct sftp_request *r = sftp_ask_handle(f->f.session, SFTP_FSTAT, &f->f.handle);
	struct sftp_attrs attrs;

	ask_more(f);
	int rc = take_look(f->f.session, r, f->name, &attrs);
	if (rc != 0)
		return rc < 0 ? rc : err_set(ERR_FILE_READ, "unable to read '%s': it vanished", f->name);
	if ((attrs.has & SFTP_HAS_MODE) != 0 && !S_ISREG(attrs.mode))
		return err_set(ERR_FILE_READ, "unable to read '%s': not a regular file", f->name);
	if ((attrs.has & SFTP_HAS_SIZE) != 0 && attrs.size < f->end) {
		f->end = attrs.size;
		f->sized = true;
	}
	if (o->opened == NULL)
		return 0;
	attrs.mode |= attrs.has & SFTP_HAS_MODE ? 0 : S_IFREG;
	const struct store_entry e = entry_of(path_base(path), &attrs);
	return o->opened(o->ctx, &e);
}

static int get_open(struct arena *a, struct reader *f, struct store *s, const char *path, const struct get_opts *o,
	struct sink *to)
{
	if (inspect(f, path, o) != 0)
		return -1;
	int rc = push(f, o, store_get_chain(a, o, reread, f, to));
	store_keep_result(s, o);
	return rc;
}

static int sftp_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	SCOPED_ARENA(a);
	struct reader *f = arena_new_object(a, struct reader);
	struct sftp_session *session = sftp_now(s);
	char text[SFTP_TEXT];

	*f = (struct reader){ .arena = a, .name = store_name(a, s, path), .next = o->offset, .end = UINT64_MAX,
		.width = WINDOW_FIRST };
	if (o->length != 0 && o->length < UINT64_MAX - o->offset)
		f->end = o->offset + o->length;
	int rc = session == NULL ? -1 : sftp_open(a, s, session, f->name, SFTP_F_READ, 0, &f->f, text);
	if (rc != 0 && sftp_is_missing(rc))
		return STORE_ABSENT;
	if (rc != 0)
		return sftp_refused(ERR_FILE_OPEN, rc, text, "unable to open file '%s' for read", f->name);
	rc = get_open(a, f, s, path, o, to);
	if (sftp_is_now(&f->f))
		drop_reads(f);
	return rc;
}

/* --- stat, list --- */

static int read_link(struct arena *a, struct sftp_session *s, const char *path, const char **target)
{
	struct sftp_request *r = sftp_ask_path(s, SFTP_READLINK, path);
	struct sftp_names names = { .body = &r->body };
	struct sftp_attrs ignored;
	bool bad = false;
	int rc = sftp_wait(s, r);

	if (rc != 0 || (r->type == SFTP_STATUS && !sftp_is_missing((int)r->status)))
		rc = sftp_refused(ERR_FILE_INFO, rc != 0 ? -1 : (int)r->status, r->text,
			"unable to get destination of link '%s'", path);
	else if (r->type == SFTP_STATUS)
		rc = STORE_ABSENT;
	else if (r->type != SFTP_NAME || !sftp_next_name(a, &names, target, &ignored, &bad))
		rc = sftp_broken(s, "a malformed link");
	sftp_drop(s, r);
	return rc;
}

static int link_target(struct arena *a, struct sftp_session *s, const char *path, struct store_entry *e)
{
	struct sftp_attrs attrs;
	int rc = read_link(a, s, path, &e->target);

	if (rc != 0)
		return rc;
	const char *full = e->target[0] == '/' ? e->target : path_join(a, path_parent(a, path), e->target);
	rc = sftp_look(s, full, false, &attrs);
	if (rc == 0) {
		struct store_entry *to = arena_new_object(a, struct store_entry);
		*to = entry_of(path_base(e->target), &attrs);
		e->target_entry = to;
	}
	return rc < 0 ? -1 : 0;
}

static int stat_path(struct arena *a, struct sftp_session *s, const char *path, bool follow, struct store_entry *out)
{
	struct sftp_attrs attrs;
	int rc = sftp_look(s, path, follow, &attrs);

	if (rc != 0)
		return rc;
	if ((attrs.has & SFTP_HAS_MODE) == 0)
		return err_set(ERR_FEATURE, "unable to get info for path/file '%s': the SFTP server does not tell what it is", path);
	*out = entry_of(path_base(path), &attrs);
	return out->type == STORE_LINK ? link_target(a, s, path, out) : 0;
}

static int sftp_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out)
{
	struct sftp_session *session = sftp_now(s);
	const char *full = store_name(a, s, path);

	if (session == NULL)
		return sftp_refused(ERR_FILE_INFO, -1, NULL, "unable to get info for path/file '%s'", full);
	return stat_path(a, session, full, path[0] == '\0', out);
}

struct listed {
	const char *name;
	struct sftp_attrs attrs;
};
typedef VEC(struct listed) listing;

static int by_name(const void *x, const void *y)
{
	return strcmp(((const struct listed *)x)->name, ((const struct listed *)y)->name);
}

static int take_names(struct arena *a, struct sftp_session *s, const struct sftp_request *r, listing *out)
{
	struct sftp_names names = { .body = &r->body };
	struct listed one;
	bool bad;

	while (sftp_next_name(a, &names, &one.name, &one.attrs, &bad)) {
		if (strchr(one.name, '/') != NULL)
			return sftp_broken(s, "a listing with a name that leaves the directory");
		if (strcmp(one.name, ".") != 0 && strcmp(one.name, "..") != 0)
			vec_push(out, one);
	}
	if (bad || out->n > LIST_MAX)
		return sftp_broken(s, bad ? "a malformed listing" : "a listing without an end");
	return 0;
}

/* Several requests are in flight; after the end all of them are answered with it. */
static int read_names(struct arena *a, const struct sftp_file *d, const char *path, listing *out)
{
	struct sftp_request *asked[LIST_REQUESTS];
	unsigned at = 0;
	int rc = 0;
	bool more = true;

	for (unsigned i = 0; i < LIST_REQUESTS; i++)
		asked[i] = sftp_ask_handle(d->session, SFTP_READDIR, &d->handle);
	for (; more && rc == 0; at = (at + 1) % LIST_REQUESTS) {
		struct sftp_request *r = asked[at];
		rc = sftp_wait(d->session, r);
		if (rc == 0 && r->type == SFTP_NAME)
			rc = take_names(a, d->session, r, out);
		else if (rc == 0 && r->type == SFTP_STATUS && r->status == SFTP_EOF)
			more = false;
		else
			rc = sftp_refused(ERR_PATH_OPEN, rc != 0 ? -1 : (int)r->status, r->text,
				"unable to list files in '%s'", path);
		sftp_drop(d->session, r);
		asked[at] = more && rc == 0 ? sftp_ask_handle(d->session, SFTP_READDIR, &d->handle) : NULL;
	}
	for (unsigned i = 0; i < LIST_REQUESTS; i++)
		sftp_drop(d->session, asked[i]);
	return rc;
}

/* A directory that could not be opened: is it really not there?  A file in its place is reported in the same way. */
static int list_refused(struct sftp_session *s, const char *path, int status, const char *text)
{
	struct sftp_attrs attrs;
	int rc = status < 0 || !sftp_is_missing(status) ? 0 : sftp_look(s, path, true, &attrs);

	if (rc == STORE_ABSENT)
		return STORE_ABSENT;
	return sftp_refused(ERR_PATH_OPEN, rc < 0 ? -1 : status, text, "unable to list files in '%s'", path);
}

static int tell(struct arena *a, struct store *s, const char *full, const struct listed *l, store_list_fn *fn,
	void *ctx)
{
	struct store_entry e;
	int rc = 0;

	if ((l->attrs.has & SFTP_HAS_MODE) != 0 && !S_ISLNK(l->attrs.mode)) {
		e = entry_of(l->name, &l->attrs);
	} else {
		struct sftp_session *session = sftp_now(s);
		rc = session == NULL ? -1 : stat_path(a, session, path_join(a, full, l->name), false, &e);
	}
	return rc == 0 ? fn(ctx, &e) : rc < 0 ? -1 : 0;
}

static int sftp_list(struct store *s, const char *path, store_list_fn *fn, void *ctx)
{
	SCOPED_ARENA(a);
	const char *full = store_name(a, s, path);
	struct sftp_session *session = sftp_now(s);
	struct sftp_file *d = arena_new_object(a, struct sftp_file);
	char text[SFTP_TEXT];
	listing all;

	vec_init(&all, a);
	int rc = session == NULL ? -1 :
		take_handle(a, s, session, sftp_ask_path(session, SFTP_OPENDIR, full), d, text);
	if (rc != 0)
		return list_refused(session, full, rc, text);
	rc = read_names(a, d, full, &all);
	sftp_file_drop(d);
	if (rc != 0)
		return -1;
	if (all.n > 0)
		qsort(all.v, all.n, sizeof(*all.v), by_name);
	for (size_t i = 0; i < all.n; i++) {
		if (i > 0 && strcmp(all.v[i].name, all.v[i - 1].name) == 0)
			continue; /* seen twice because the directory changed meanwhile */
		if (tell(a, s, full, &all.v[i], fn, ctx) != 0)
			return -1;
	}
	return 0;
}

struct store *store_sftp_over(struct arena *a, sftp_link_open_fn *open, void *ctx, int64_t timeout_ms, const char *root)
{
	static const struct store_driver driver = {
		.name = "sftp",
		.get = sftp_get,
		.put = sftp_put,
		.list = sftp_list,
		.stat = sftp_stat,
		.remove = sftp_remove,
		.remove_dir = sftp_remove_dir,
		.make_dir = sftp_make_dir,
		.sync_dir = sftp_sync_path,
		.touch = sftp_touch,
	};
	struct sftp_store *ss = arena_new_object(a, struct sftp_store);

	ss->store.driver = &driver;
	ss->store.root = arena_strdup(a, root);
	ss->store.arena = a;
	ss->open = open;
	ss->ctx = ctx;
	ss->timeout_ms = timeout_ms;
	arena_defer(a, end_store, ss);
	return &ss->store;
}

struct store *store_sftp(struct arena *a, const struct sftp_server *server, const char *root)
{
	return store_sftp_over(a, sftp_ssh_open, arena_memdup(a, server, sizeof(*server)), server->timeout_ms, root);
}
