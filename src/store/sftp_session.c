/*
 * sftp_session: packets, and who waits for which.
 *
 * A packet: length (4 bytes, big endian, without itself), type (1), id (4), fields.  Always true: what comes in is held
 * in one buffer of a fixed size, and a length beyond it ends the session; no answer is taken that nobody asked for.
 */
#include "store/sftp_session.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/sig.h"

#define PROTOCOL 3
#define VERSION_REPLY 2
#define PACKET_MAX ((size_t)256 * 1024)
#define SENT_MAX ((size_t)1024 * 1024)
#define IDLE_MS 60000 /* nothing open, nothing asked for so long: do not trust the connection */
#define LAST_MS 3000  /* for clean-ups after a termination signal */
#define SLICE_MS 500

struct sftp_session {
	struct arena *arena;
	struct sftp_link *link;
	int64_t timeout_ms;
	bool failed;
	const struct err_value *cause; /* why it failed */
	struct buf out;
	size_t sent;  /* bytes of out that are gone */
	size_t begun; /* where the last packet in out begins; its length is not written yet */
	bool open_packet;
	char *in;
	size_t in_len;
	uint32_t next_id;
	struct sftp_request *asked, *spare;
	unsigned handles; /* open, or being opened */
	int64_t used_ms;
	bool posix_rename, fsync;
};

int sftp_poll(int fd, short events, struct deadline d)
{
	static int64_t last_ms; /* with a signal pending: when even clean-ups have to end */

	for (;;) {
		int64_t left = deadline_left(d);
		if (sig_pending() != 0 && last_ms == 0)
			last_ms = clock_mono_ms() + LAST_MS;
		if (last_ms != 0 && clock_mono_ms() >= last_ms && sig_check() != 0)
			return -1;
		struct pollfd p = { .fd = fd, .events = events };
		int n = poll(&p, 1, (int)(left < SLICE_MS ? left : SLICE_MS));
		if (n > 0)
			return 1;
		if (n < 0 && errno != EINTR)
			return err_sys(ERR_KERNEL, "unable to wait for the SFTP server");
		if (left == 0)
			return 0;
	}
}

bool sftp_has_posix_rename(const struct sftp_session *s)
{
	return s->posix_rename;
}

bool sftp_has_fsync(const struct sftp_session *s)
{
	return s->fsync;
}

bool sftp_failed(const struct sftp_session *s)
{
	return s->failed;
}

/* The failure that stands ends the session; it is said again to all who come later. */
static int fail(struct sftp_session *s)
{
	if (!s->failed) {
		s->failed = true;
		s->cause = err_take(s->arena);
	}
	return err_restore(s->cause);
}

int sftp_broken(struct sftp_session *s, const char *what)
{
	(void)err_set(ERR_PROTOCOL, "SFTP server '%s' broke the protocol: %s", s->link->peer, what);
	return fail(s);
}

/* Fields of a packet that came in; bad once something was not there. */
struct fields {
	const unsigned char *p;
	size_t left;
	bool bad;
};

static uint32_t take_u32(struct fields *f)
{
	if (f->left < 4) {
		f->bad = true;
		return 0;
	}
	uint32_t value = (uint32_t)f->p[0] << 24 | (uint32_t)f->p[1] << 16 | (uint32_t)f->p[2] << 8 | f->p[3];
	f->p += 4;
	f->left -= 4;
	return value;
}

static uint64_t take_u64(struct fields *f)
{
	uint64_t high = take_u32(f);

	return high << 32 | take_u32(f);
}

static const char *take_bytes(struct fields *f, size_t *len)
{
	*len = take_u32(f);
	if (f->bad || *len > f->left) {
		f->bad = true;
		*len = 0;
	}
	const char *data = (const char *)f->p;
	f->p += *len;
	f->left -= *len;
	return data;
}

static void take_attrs(struct fields *f, struct sftp_attrs *out)
{
	uint32_t has = take_u32(f);
	size_t len;

	*out = (struct sftp_attrs){ .has = has };
	if (has & SFTP_HAS_SIZE)
		out->size = take_u64(f);
	if (has & SFTP_HAS_OWNER) {
		out->uid = take_u32(f);
		out->gid = take_u32(f);
	}
	if (has & SFTP_HAS_MODE)
		out->mode = take_u32(f);
	if (has & SFTP_HAS_TIME) {
		(void)take_u32(f);
		out->mtime = take_u32(f);
	}
	if (has & 0x80000000u)
		for (uint32_t n = take_u32(f); n > 0 && !f->bad; n--) {
			(void)take_bytes(f, &len);
			(void)take_bytes(f, &len);
		}
}

/* What a server says goes into logs: nothing but printable characters of it. */
static void keep_text(struct sftp_request *r, const char *text, size_t len)
{
	size_t n = len < sizeof(r->text) - 1 ? len : sizeof(r->text) - 1;

	for (size_t i = 0; i < n; i++)
		r->text[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
	r->text[n] = '\0';
}

static int take_data(struct sftp_session *s, struct sftp_request *r, struct fields *f)
{
	const char *data = take_bytes(f, &r->got);

	if (r->dropped)
		return 0;
	if (r->got == 0 || r->got > r->room)
		return sftp_broken(s, "it sent another amount of data than was asked for");
	memcpy(r->into, data, r->got);
	return 0;
}

static void recycle(struct sftp_session *s, struct sftp_request *r)
{
	r->next = s->spare;
	s->spare = r;
}

static struct sftp_request *answered(struct sftp_session *s, uint32_t id)
{
	for (struct sftp_request **at = &s->asked; *at != NULL; at = &(*at)->next) {
		if ((*at)->id == id) {
			struct sftp_request *r = *at;
			*at = r->next;
			r->next = NULL;
			return r;
		}
	}
	return NULL;
}

static int take_answer(struct sftp_session *s, const char *packet, size_t len)
{
	struct fields f = { .p = (const unsigned char *)packet + 1, .left = len - 1 };
	struct sftp_request *r = answered(s, take_u32(&f));
	size_t n;

	if (r == NULL || f.bad)
		return sftp_broken(s, "an answer that nobody asked for");
	r->type = (enum sftp_type)(unsigned char)packet[0];
	const char *text;
	switch (r->type) {
	case SFTP_STATUS:
		r->status = take_u32(&f);
		/* the text is left out by some servers */
		text = f.left >= 4 ? take_bytes(&f, &n) : (n = 0, "");
		keep_text(r, text, n);
		break;
	case SFTP_HANDLE:
		text = take_bytes(&f, &n);
		if (n > SFTP_HANDLE_MAX)
			return sftp_broken(s, "a handle that is too long");
		memcpy(r->handle.data, text, n);
		r->handle.len = n;
		break;
	case SFTP_DATA:
		if (take_data(s, r, &f) != 0)
			return -1;
		break;
	case SFTP_NAME:
		buf_reset(&r->body);
		if (!r->dropped)
			buf_add(&r->body, f.p, f.left);
		break;
	case SFTP_ATTRS:
		take_attrs(&f, &r->attrs);
		break;
	default:
		f.bad = true;
	}
	if (f.bad)
		return sftp_broken(s, "a malformed answer");
	r->done = true;
	if (r->dropped) {
		if (r->type == SFTP_HANDLE)
			sftp_close(s, &r->handle);
		recycle(s, r);
	}
	return 0;
}

/* The length of the first packet in the buffer if it is all there, else 0. */
static int whole_packet(struct sftp_session *s, size_t *len)
{
	struct fields f = { .p = (const unsigned char *)s->in, .left = s->in_len };

	*len = 0;
	if (s->in_len < 4)
		return 0;
	uint32_t n = take_u32(&f);
	if (n < 5 || n > PACKET_MAX) {
		(void)sftp_broken(s, "it sent something else than SFTP packets");
		return err_hint("does a start-up script of the user print something there?");
	}
	if (s->in_len - 4 >= n)
		*len = n;
	return 0;
}

static void remove_packets(struct sftp_session *s, size_t bytes)
{
	memmove(s->in, s->in + bytes, s->in_len - bytes);
	s->in_len -= bytes;
}

static int take_packets(struct sftp_session *s)
{
	size_t done = 0, len;
	char *all = s->in;
	size_t all_len = s->in_len;
	int rc = 0;

	while (rc == 0) {
		s->in = all + done;
		s->in_len = all_len - done;
		rc = whole_packet(s, &len);
		if (rc != 0 || len == 0)
			break;
		rc = take_answer(s, s->in + 4, len);
		done += 4 + len;
	}
	s->in = all;
	s->in_len = all_len;
	remove_packets(s, done);
	return rc;
}

static void end_packet(struct sftp_session *s)
{
	if (!s->open_packet)
		return;
	size_t len = s->out.len - s->begun - 4;
	char *p = s->out.data + s->begun;
	for (int i = 0; i < 4; i++)
		p[i] = (char)(len >> (24 - 8 * i) & 0xff);
	s->open_packet = false;
}

/* 1 if bytes moved, 0 if none could, -1. */
static int move(struct sftp_session *s)
{
	ssize_t in, out = 0;

	if (s->failed)
		return fail(s);
	end_packet(s);
	if (s->sent < s->out.len && (out = s->link->write(s->link, s->out.data + s->sent, s->out.len - s->sent)) < 0)
		return fail(s);
	s->sent += (size_t)out;
	if (s->sent == s->out.len || s->sent >= SENT_MAX) {
		/* what is left moves to the front, so that the buffer ends where the requests in flight do */
		memmove(s->out.data, s->out.data + s->sent, s->out.len - s->sent);
		s->out.len -= s->sent;
		s->sent = 0;
	}
	in = s->link->read(s->link, s->in + s->in_len, PACKET_MAX + 4 - s->in_len);
	if (in < 0)
		return fail(s);
	s->in_len += (size_t)in;
	return in > 0 || out > 0;
}

int sftp_move(struct sftp_session *s)
{
	int moved = move(s);

	return moved <= 0 ? moved : take_packets(s);
}

static int wait_link(struct sftp_session *s, struct deadline d)
{
	int ready = s->link->wait(s->link, s->sent < s->out.len, d);

	if (ready == 0)
		(void)err_set(ERR_SERVICE, "SFTP server '%s' did not answer within %lldms", s->link->peer,
			(long long)s->timeout_ms);
	return ready > 0 ? 0 : fail(s);
}

int sftp_wait(struct sftp_session *s, struct sftp_request *r)
{
	struct deadline d = deadline_in(s->timeout_ms);

	while (!r->done) {
		int moved = move(s);
		if (moved < 0 || (moved > 0 && take_packets(s) != 0))
			return -1;
		if (moved > 0)
			d = deadline_in(s->timeout_ms);
		else if (wait_link(s, d) != 0)
			return -1;
	}
	s->used_ms = clock_mono_ms();
	return 0;
}

int sftp_wait_status(struct sftp_session *s, struct sftp_request *r, char *text, size_t size)
{
	int rc = sftp_wait(s, r);

	if (rc == 0) {
		/* something else than a status is no success */
		rc = r->type == SFTP_STATUS ? (int)(r->status & 0xffff) : sftp_broken(s, "no status where one is due");
		if (text != NULL)
			snprintf(text, size, "%s", r->type == SFTP_STATUS ? r->text : "");
	}
	sftp_drop(s, r);
	return rc;
}

void sftp_drop(struct sftp_session *s, struct sftp_request *r)
{
	if (r == NULL)
		return;
	r->into = NULL;
	r->dropped = true;
	if (r->done)
		recycle(s, r);
}

struct sftp_request *sftp_ask(struct sftp_session *s, enum sftp_type type)
{
	struct sftp_request *r = s->spare;

	if (r != NULL) {
		s->spare = r->next;
	} else {
		r = arena_new_object(s->arena, struct sftp_request);
		buf_init(&r->body, s->arena);
	}
	r->id = s->next_id++;
	r->into = NULL;
	r->room = r->got = 0;
	r->done = r->dropped = false;
	r->next = s->asked;
	s->asked = r;
	end_packet(s);
	s->begun = s->out.len;
	s->open_packet = true;
	sftp_add_u32(s, 0);
	buf_addc(&s->out, (char)type);
	sftp_add_u32(s, r->id);
	return r;
}

void sftp_add_u32(struct sftp_session *s, uint32_t value)
{
	const char bytes[4] = { (char)(value >> 24), (char)(value >> 16 & 0xff), (char)(value >> 8 & 0xff),
		(char)(value & 0xff) };

	buf_add(&s->out, bytes, 4);
}

void sftp_add_u64(struct sftp_session *s, uint64_t value)
{
	sftp_add_u32(s, (uint32_t)(value >> 32));
	sftp_add_u32(s, (uint32_t)value);
}

void sftp_add_bytes(struct sftp_session *s, const void *data, size_t len)
{
	sftp_add_u32(s, (uint32_t)len);
	buf_add(&s->out, data, len);
}

void sftp_add_text(struct sftp_session *s, const char *text)
{
	sftp_add_bytes(s, text, strlen(text));
}

void sftp_add_attrs(struct sftp_session *s, const struct sftp_attrs *attrs)
{
	sftp_add_u32(s, attrs->has);
	if (attrs->has & SFTP_HAS_SIZE)
		sftp_add_u64(s, attrs->size);
	if (attrs->has & SFTP_HAS_OWNER) {
		sftp_add_u32(s, attrs->uid);
		sftp_add_u32(s, attrs->gid);
	}
	if (attrs->has & SFTP_HAS_MODE)
		sftp_add_u32(s, attrs->mode);
	if (attrs->has & SFTP_HAS_TIME) {
		sftp_add_u32(s, attrs->mtime);
		sftp_add_u32(s, attrs->mtime);
	}
}

struct sftp_request *sftp_ask_path(struct sftp_session *s, enum sftp_type type, const char *path)
{
	struct sftp_request *r = sftp_ask(s, type);

	sftp_add_text(s, path);
	return r;
}

struct sftp_request *sftp_ask_handle(struct sftp_session *s, enum sftp_type type, const struct sftp_handle *h)
{
	struct sftp_request *r = sftp_ask(s, type);

	sftp_add_bytes(s, h->data, h->len);
	return r;
}

struct sftp_request *sftp_ask_open(struct sftp_session *s, const char *path, uint32_t flags, mode_t mode)
{
	const struct sftp_attrs attrs = { .has = mode == 0 ? 0 : SFTP_HAS_MODE, .mode = (uint32_t)mode };
	struct sftp_request *r = sftp_ask_path(s, SFTP_OPEN, path);

	sftp_add_u32(s, flags);
	sftp_add_attrs(s, &attrs);
	return r;
}

struct sftp_request *sftp_ask_extended(struct sftp_session *s, const char *name)
{
	return sftp_ask_path(s, SFTP_EXTENDED, name);
}

struct sftp_request *sftp_ask_read(struct sftp_session *s, const struct sftp_handle *h, uint64_t offset, size_t len,
	void *into)
{
	struct sftp_request *r = sftp_ask_handle(s, SFTP_READ, h);

	sftp_add_u64(s, offset);
	sftp_add_u32(s, (uint32_t)len);
	r->into = into;
	r->room = len;
	return r;
}

void sftp_opened(struct sftp_session *s, const struct sftp_request *r, struct sftp_handle *out)
{
	*out = r->handle;
	s->handles++;
}

void sftp_closed(struct sftp_session *s)
{
	if (s->handles > 0)
		s->handles--;
}

void sftp_close(struct sftp_session *s, const struct sftp_handle *h)
{
	if (!s->failed)
		sftp_drop(s, sftp_ask_handle(s, SFTP_CLOSE, h));
}

bool sftp_next_name(struct arena *a, struct sftp_names *n, const char **name, struct sftp_attrs *attrs, bool *bad)
{
	struct fields f = { .p = (const unsigned char *)n->body->data + n->at, .left = n->body->len - n->at };
	size_t len, ignored;

	*bad = false;
	if (!n->begun) {
		n->begun = true;
		n->left = take_u32(&f);
		/* a server that goes on sending nothing must not keep us for ever */
		*bad = f.bad || n->left == 0;
	}
	if (*bad || n->left == 0)
		return false;
	n->left--;
	const char *text = take_bytes(&f, &len);
	(void)take_bytes(&f, &ignored);
	take_attrs(&f, attrs);
	*bad = f.bad || len == 0 || memchr(text, '\0', len) != NULL;
	if (*bad)
		return false;
	*name = arena_strndup(a, text, len);
	n->at = n->body->len - f.left;
	return true;
}

const char *sftp_status_text(struct arena *a, uint32_t status, const char *text)
{
	static const char *const known[] = { "no error", "end of file", "no such file", "permission denied", "failure",
		"bad message", "no connection", "connection lost", "operation unsupported", "invalid handle", "no such path",
		"file already exists", "write protected", "no media", "no space left", "quota exceeded" };
	const char *word = status < sizeof(known) / sizeof(*known) ? known[status] : "unknown status";

	if (text == NULL || text[0] == '\0' || strcasecmp(text, word) == 0)
		return arena_printf(a, "[%u] %s", status, word);
	return arena_printf(a, "[%u] %s (%s)", status, word, text);
}

bool sftp_usable(struct sftp_session *s)
{
	SCOPED_ARENA(a);

	if (s->failed)
		return false;
	if (s->handles > 0)
		return true;
	if (clock_mono_ms() - s->used_ms > IDLE_MS)
		return false;
	/* a server that ended meanwhile is seen before anything is asked of it */
	const struct err_value *before = err_take(a);
	bool fine = sftp_move(s) == 0;
	err_clear();
	if (before->code != ERR_NONE)
		(void)err_restore(before);
	return fine;
}

static void note_extensions(struct sftp_session *s, struct fields *f)
{
	while (f->left > 0 && !f->bad) {
		size_t len, version_len;
		const char *name = take_bytes(f, &len), *version = take_bytes(f, &version_len);
		if (f->bad)
			break;
		bool one = version_len == 1 && version[0] == '1';
		if (one && len == strlen("posix-rename@openssh.com") && memcmp(name, "posix-rename@openssh.com", len) == 0)
			s->posix_rename = true;
		if (one && len == strlen("fsync@openssh.com") && memcmp(name, "fsync@openssh.com", len) == 0)
			s->fsync = true;
	}
}

/* The greeting has no id. */
static int greet(struct sftp_session *s)
{
	struct deadline d = deadline_in(s->timeout_ms);
	size_t len = 0;

	buf_add(&s->out, "\0\0\0\5\1\0\0\0\3", 9);
	while (len == 0) {
		int moved = move(s);
		if (moved < 0 || (moved == 0 && wait_link(s, d) != 0) || whole_packet(s, &len) != 0)
			return -1;
	}
	struct fields f = { .p = (const unsigned char *)s->in + 5, .left = len - 1 };
	uint32_t version = take_u32(&f);
	if (s->in[4] != VERSION_REPLY || f.bad)
		return sftp_broken(s, "no greeting");
	if (version < PROTOCOL) {
		(void)err_set(ERR_FEATURE, "SFTP server '%s' speaks version %u of the protocol, 3 is needed", s->link->peer,
			version);
		return fail(s);
	}
	note_extensions(s, &f);
	remove_packets(s, 4 + len);
	log_debug("SFTP server '%s': posix-rename %s, fsync %s", s->link->peer, s->posix_rename ? "yes" : "no",
		s->fsync ? "yes" : "no");
	return 0;
}

struct sftp_session *sftp_session_new(struct arena *a, struct sftp_link *link, int64_t timeout_ms)
{
	struct sftp_session *s = arena_new_object(a, struct sftp_session);

	s->arena = a;
	s->link = link;
	s->timeout_ms = timeout_ms;
	s->used_ms = clock_mono_ms();
	s->in = arena_alloc(a, PACKET_MAX + 4);
	buf_init(&s->out, a);
	return greet(s) == 0 ? s : NULL;
}
