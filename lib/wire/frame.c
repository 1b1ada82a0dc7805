/*
 * frame: see frame.h.  Both descriptors are non-blocking, and all waiting is in one place (await).
 *
 * What arrives stays where it was read to: a frame's content is handed out in place, and moves only when the next
 * one is asked for.  For that the buffer has room for the frame that is being looked at, one that is coming in,
 * and what is read ahead while a write waits; pages of it that are never used cost nothing.
 */
#include "wire/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <zstd.h>

#include "base/clock.h"
#include "base/sig.h"
#include "base/sys.h"
#include "stream/idle.h"
#include "wire/pack.h"

#define QUEUE ((size_t)64 * 1024)	/* bytes that are written together */
#define AHEAD WIRE_FRAME_MAX		/* most bytes taken in while a write waits */
#define READ_MAX ((size_t)256 * 1024)	/* by one read, else */
#define FRAME_WHOLE (WIRE_HEAD + WIRE_FRAME_MAX)
#define IN_CAP (2 * FRAME_WHOLE + AHEAD)
#define DATA_MAX ((size_t)256 * 1024)	/* plain bytes of a data frame that we send */
#define PACK_MIN 256			/* bytes from which packing is tried */
#define PACK_EVERY 16			/* frames: how often it is tried where it did not help */
#define SIZE_FIELD 4			/* bytes in front of a packed frame */
#define FOREIGN_MAX 200			/* bytes of what came instead of the magic */
#define FOREIGN_MS 500			/* how long more of it is waited for */
#define FAILURE_TEXT_MAX ((size_t)256 * 1024)

struct packer {
	struct idle idle;
	ZSTD_CCtx *ctx;
};

struct expander {
	struct idle idle;
	ZSTD_DCtx *ctx;
};

struct wire {
	struct arena *arena;
	int in_fd, out_fd;
	const char *who;
	int64_t silence_ms;
	bool dead;     /* nothing can be received any more; a last word can still be sent */
	bool cut;      /* nothing can be sent any more; what the other side said before can still be read */
	bool ended;    /* end of file, or a failure to read (in_errno) */
	int in_errno;

	uint8_t *in; /* IN_CAP */
	size_t in_at, in_end;
	uint8_t *plain; /* WIRE_FRAME_MAX: a packed frame's content; made when first needed */
	struct expander *expander;

	struct buf out;
	size_t out_at; /* bytes of it that are written */
	struct packer *packer;
	uint32_t pack_request;	 /* the request of the last data */
	unsigned pack_skip;	 /* data frames of it that are not tried */
};

static struct idle_list packer_idle = { .size = sizeof(struct packer) };
static struct idle_list expander_idle = { .size = sizeof(struct expander) };

static void set_non_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

struct wire *wire_new(struct arena *a, int in, int out, const char *who, int64_t silence_ms)
{
	struct wire *w = arena_new_object(a, struct wire);

	set_non_blocking(in);
	set_non_blocking(out);
	w->arena = a;
	w->in_fd = in;
	w->out_fd = out;
	w->who = arena_strdup(a, who);
	w->silence_ms = silence_ms;
	w->in = arena_alloc(a, IN_CAP);
	buf_init(&w->out, a);
	return w;
}

void wire_set_silence(struct wire *w, int64_t silence_ms)
{
	w->silence_ms = silence_ms;
}

bool wire_dead(const struct wire *w)
{
	return w->dead || w->cut;
}

/* ---- waiting ---- */

enum { CAN_READ = 1, CAN_WRITE = 2 };

/* What can be done now, 0 if ms have passed without it, -1 on a signal. */
static int await(const struct wire *w, bool read, bool write, int64_t ms)
{
	struct pollfd v[2] = { { .fd = read ? w->in_fd : -1, .events = POLLIN },
		{ .fd = write ? w->out_fd : -1, .events = POLLOUT } };
	int n = sig_poll(v, 2, ms);

	if (n > 0)
		return (v[0].revents != 0 ? CAN_READ : 0) | (v[1].revents != 0 ? CAN_WRITE : 0);
	if (sig_check() != 0)
		return -1;
	return n == 0 ? 0 : err_sys(ERR_KERNEL, "unable to wait for %s", w->who);
}

static int silent(const struct wire *w, const char *what)
{
	err_set(ERR_SERVICE, "%s %s for %lld ms", w->who, what, (long long)w->silence_ms);
	return err_hint("protocol-timeout limits how long the other side may be silent.");
}

static size_t pending(const struct wire *w)
{
	return w->in_end - w->in_at;
}

/* Take in what is there now, at most max bytes; false if there was nothing. */
static bool fill(struct wire *w, size_t max)
{
	size_t room = IN_CAP - w->in_end;
	ssize_t n = sys.read(w->in_fd, w->in + w->in_end, room < max ? room : max);

	if (n > 0)
		w->in_end += (size_t)n;
	else if (n == 0)
		w->ended = true;
	else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
		w->ended = true;
		w->in_errno = errno;
	}
	return n > 0;
}

/* How much may be taken in while nobody asks for it. */
static size_t room_ahead(const struct wire *w)
{
	size_t room = IN_CAP - w->in_end, more = pending(w) < AHEAD ? AHEAD - pending(w) : 0;

	return w->ended ? 0 : room < more ? room : more;
}

/* ---- what a head may be ---- */

static bool is_type(unsigned type)
{
	return type != 0 && strchr("HQDOFCAEWPG", (int)type) != NULL;
}

/* What is wrong with a head, or NULL; the same for what is sent. */
static const char *head_fault(unsigned type, unsigned flags, uint32_t request, size_t len)
{
	bool greeting = type == WIRE_HELLO || type == WIRE_PING || type == WIRE_GOODBYE;
	bool empty = type == WIRE_PING || type == WIRE_GOODBYE || type == WIRE_CANCEL;

	if (!is_type(type))
		return "type";
	if ((flags & ~(WIRE_LAST | (type == WIRE_DATA ? WIRE_PACKED : 0))) != 0)
		return "flags";
	if (greeting ? request != 0 : request == 0 && type != WIRE_FAILURE)
		return "number";
	if (len > (empty ? 0 : type == WIRE_HELLO ? WIRE_HELLO_MAX : WIRE_FRAME_MAX))
		return "length";
	return (flags & WIRE_PACKED) != 0 && len <= SIZE_FIELD ? "length" : NULL;
}

static void put_u32(uint8_t *to, size_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- sending ---- */

static int ended(const struct wire *w)
{
	return err_set(ERR_SERVICE, "the connection to %s has ended", w->who);
}

static int cut(struct wire *w)
{
	w->cut = true;
	return errno == EPIPE || errno == ECONNRESET ?
		err_set(ERR_SERVICE, "%s has closed the connection", w->who) :
		err_sys(ERR_SERVICE, "unable to write to %s", w->who);
}

/* The pipe is full: read what comes until there is room again.  A side that has closed its end, and has nothing
 * more to say, wants nothing more either. */
static int wait_for_room(struct wire *w)
{
	size_t room = room_ahead(w);
	int can = await(w, room > 0, true, w->silence_ms);

	if (can < 0)
		return -1;
	if (can == 0)
		return silent(w, "has taken nothing");
	if ((can & CAN_READ) != 0)
		fill(w, room);
	if (w->ended && pending(w) == 0) {
		errno = EPIPE;
		return cut(w);
	}
	return 0;
}

/* A frame is out by half: but for a broken pipe, nothing more is expected of the other side either. */
static int give_up(struct wire *w)
{
	w->dead |= !w->cut;
	w->cut = true;
	return -1;
}

int wire_flush(struct wire *w)
{
	if (w->cut)
		return ended(w);
	while (w->out_at < w->out.len) {
		ssize_t n = sys.write(w->out_fd, w->out.data + w->out_at, w->out.len - w->out_at);

		if (n >= 0)
			w->out_at += (size_t)n;
		else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			if (wait_for_room(w) != 0)
				return give_up(w);
		} else if (errno != EINTR)
			return cut(w);
	}
	buf_reset(&w->out);
	w->out_at = 0;
	return 0;
}

static int flush_if_full(struct wire *w)
{
	return w->out.len < QUEUE ? 0 : wire_flush(w);
}

/* A head at the end of the queue, with room for max bytes behind it: where they go. */
static uint8_t *add_head(struct wire *w, unsigned type, unsigned flags, uint32_t request, size_t max)
{
	buf_reserve(&w->out, WIRE_HEAD + max);
	uint8_t *head = (uint8_t *)w->out.data + w->out.len;

	head[4] = (uint8_t)type;
	head[5] = (uint8_t)flags;
	head[6] = head[7] = 0;
	put_u32(head + 8, request);
	return head + WIRE_HEAD;
}

/* The len bytes behind the head that add_head made belong to the queue. */
static int end_frame(struct wire *w, size_t len)
{
	put_u32((uint8_t *)w->out.data + w->out.len, len);
	w->out.len += WIRE_HEAD + len;
	w->out.data[w->out.len] = '\0';
	return flush_if_full(w);
}

int wire_send_magic(struct wire *w)
{
	buf_add(&w->out, WIRE_MAGIC, WIRE_MAGIC_LEN);
	return flush_if_full(w);
}

int wire_send(struct wire *w, enum wire_type type, unsigned flags, uint32_t request, const void *data, size_t len)
{
	const char *fault = head_fault(type, flags, request, len);

	if (fault != NULL)
		return err_set(ERR_ASSERT, "a frame of type %d to %s has an impossible %s", type, w->who, fault);
	if (w->cut)
		return ended(w);
	uint8_t *to = add_head(w, type, flags, request, len);
	if (len > 0)
		memcpy(to, data, len);
	return end_frame(w, len);
}

/* len bytes packed to `to`, at most max: how many, 0 if they do not fit. */
static size_t pack(struct wire *w, uint8_t *to, size_t max, const void *data, size_t len, int level)
{
	if (w->packer == NULL)
		w->packer = idle_take(w->arena, &packer_idle);
	if (w->packer->ctx == NULL && (w->packer->ctx = ZSTD_createCCtx()) == NULL)
		return 0;
	size_t n = ZSTD_compressCCtx(w->packer->ctx, to, max, data, len, level);
	return ZSTD_isError(n) ? 0 : n;
}

/*
 * Whether the next data of this request is worth a try.  Compressed and encrypted bytes do not shrink, and they
 * are what most of a repository is: trying each frame would cost the time of a compression for nothing.  A file
 * can change its nature on the way (a bundle, a tar), so it is asked again now and then; a sixteenth of the cost
 * is little, and 4 MiB (16 frames) that cross as they are are little too.  What another file was like says
 * nothing.
 */
static bool is_worth_a_try(struct wire *w, uint32_t request, size_t len, int level)
{
	if (request != w->pack_request)
		w->pack_skip = 0;
	w->pack_request = request;
	if (level == WIRE_NO_PACK || len < PACK_MIN)
		return false;
	if (w->pack_skip == 0)
		return true;
	w->pack_skip--;
	return false;
}

/* Packed if that saves a tenth, else as it is. */
static int send_piece(struct wire *w, uint32_t request, const void *data, size_t len, int level, unsigned flags)
{
	const size_t max = len - len / 10 - SIZE_FIELD;

	if (!is_worth_a_try(w, request, len, level))
		return wire_send(w, WIRE_DATA, flags, request, data, len);
	if (w->cut)
		return ended(w);
	uint8_t *to = add_head(w, WIRE_DATA, flags | WIRE_PACKED, request, SIZE_FIELD + max);
	size_t n = pack(w, to + SIZE_FIELD, max, data, len, level);
	if (n > 0) {
		put_u32(to, len);
		return end_frame(w, SIZE_FIELD + n);
	}
	w->pack_skip = PACK_EVERY - 1;
	return wire_send(w, WIRE_DATA, flags, request, data, len);
}

int wire_send_data(struct wire *w, uint32_t request, const void *data, size_t len, int level, bool last)
{
	const uint8_t *p = data;

	if (len == 0 && !last)
		return 0;
	for (; len > DATA_MAX; p += DATA_MAX, len -= DATA_MAX) {
		if (send_piece(w, request, p, DATA_MAX, level, 0) != 0)
			return -1;
	}
	return send_piece(w, request, p, len, level, last ? WIRE_LAST : 0);
}

/* ---- receiving ---- */

/* Until n bytes are there: 0; 1 if it has ended without a single one; -1. */
static int want(struct wire *w, size_t n)
{
	while (pending(w) < n) {
		if (!w->ended && fill(w, READ_MAX))
			continue;
		if (w->in_errno != 0) {
			errno = w->in_errno;
			return err_sys(ERR_SERVICE, "unable to read from %s", w->who);
		}
		if (w->ended && pending(w) == 0)
			return 1;
		if (w->ended)
			return err_set(ERR_SERVICE, "%s has closed the connection inside a frame", w->who);
		int can = await(w, true, false, w->silence_ms);
		if (can <= 0)
			return can < 0 ? -1 : silent(w, "has been silent");
	}
	return 0;
}

/* The frame before is not looked at any more. */
static void make_room(struct wire *w)
{
	if (pending(w) == 0) {
		w->in_at = w->in_end = 0;
	} else if (w->in_at > FRAME_WHOLE) {
		memmove(w->in, w->in + w->in_at, pending(w));
		w->in_end -= w->in_at;
		w->in_at = 0;
	}
}

/* Exactly one zstd frame that expands to exactly what is said in front of it. */
static int expand(struct wire *w, struct wire_frame *f)
{
	const size_t plain = get_u32(f->data), len = f->len - SIZE_FIELD;
	const uint8_t *packed = f->data + SIZE_FIELD;

	if (plain == 0 || plain > WIRE_FRAME_MAX)
		return err_set(ERR_PROTOCOL, "%s sent a packed frame of an impossible size", w->who);
	if (w->plain == NULL) {
		w->plain = arena_alloc(w->arena, WIRE_FRAME_MAX);
		w->expander = idle_take(w->arena, &expander_idle);
	}
	if (w->expander->ctx == NULL && (w->expander->ctx = ZSTD_createDCtx()) == NULL)
		return err_set(ERR_MEMORY, "zstd decompression: unable to allocate context");
	if (ZSTD_findFrameCompressedSize(packed, len) != len ||
		ZSTD_decompressDCtx(w->expander->ctx, w->plain, plain, packed, len) != plain)
		return err_set(ERR_PROTOCOL, "%s sent a packed frame that does not expand as it says", w->who);
	f->data = w->plain;
	f->len = plain;
	return 0;
}

/* The next frame of any type: 0, 1, -1. */
static int take_frame(struct wire *w, struct wire_frame *f)
{
	make_room(w);
	int rc = want(w, WIRE_HEAD);
	if (rc != 0)
		return rc;
	const uint8_t *head = w->in + w->in_at;
	const size_t len = get_u32(head);
	const uint32_t request = get_u32(head + 8);
	const char *fault = head_fault(head[4], head[5], request, len);
	if (fault == NULL && (head[6] != 0 || head[7] != 0))
		fault = "head";
	if (fault != NULL)
		return err_set(ERR_PROTOCOL, "%s sent a frame with an impossible %s", w->who, fault);
	if (want(w, WIRE_HEAD + len) != 0)
		return -1;
	*f = (struct wire_frame){ .type = head[4], .last = (head[5] & WIRE_LAST) != 0, .request = request,
		.data = head + WIRE_HEAD, .len = len };
	w->in_at += WIRE_HEAD + len;
	return (head[5] & WIRE_PACKED) != 0 ? expand(w, f) : 0;
}

/* Whoever does not listen any more may have said why: a broken pipe does not keep us from reading. */
static int flush_first(struct wire *w)
{
	if (w->dead)
		return ended(w);
	if (w->cut || wire_flush(w) == 0)
		return 0;
	if (w->dead)
		return -1;
	err_clear();
	return 0;
}

int wire_receive(struct wire *w, struct wire_frame *out)
{
	int rc = flush_first(w);

	if (rc == 0)
		rc = sig_check();
	do {
		if (rc == 0)
			rc = take_frame(w, out);
	} while (rc == 0 && out->type == WIRE_PING);
	w->dead |= rc != 0;
	return rc;
}

/* Pings in front that are there already: they are nothing to receive. */
static void drop_pings(struct wire *w)
{
	static const uint8_t ping[WIRE_HEAD] = { [4] = WIRE_PING };

	while (pending(w) >= WIRE_HEAD && memcmp(w->in + w->in_at, ping, WIRE_HEAD) == 0)
		w->in_at += WIRE_HEAD;
}

bool wire_ready(struct wire *w, int64_t ms)
{
	struct deadline d = deadline_in(ms);

	for (;;) {
		drop_pings(w);
		if (w->dead || w->ended || pending(w) > 0 || room_ahead(w) == 0)
			return true;
		int can = await(w, true, false, deadline_left(d));
		if (can < 0)
			err_clear(); /* a signal: whoever asks looks at the flag */
		if (can <= 0)
			return false;
		fill(w, room_ahead(w));
	}
}

/* ---- the magic ---- */

/* What came, as text for a terminal. */
static const char *printable(struct arena *a, const uint8_t *data, size_t len)
{
	char *text = arena_strndup(a, "", 0);

	if (len > FOREIGN_MAX)
		len = FOREIGN_MAX;
	if (len > 0)
		text = arena_zalloc(a, len + 1);
	for (size_t i = 0; i < len; i++)
		text[i] = data[i] >= ' ' && data[i] < 0x7f ? (char)data[i] : ' ';
	return text;
}

/* More of it until n bytes are there, it ends, or d is over: -1 on a signal. */
static int gather(struct wire *w, size_t n, struct deadline d)
{
	int can = 1;

	while (can > 0 && !w->ended && pending(w) < n) {
		can = await(w, true, false, deadline_left(d));
		if (can > 0)
			fill(w, READ_MAX);
	}
	return can < 0 ? -1 : 0;
}

static bool begins_as_magic(const struct wire *w)
{
	size_t n = pending(w) < WIRE_MAGIC_LEN ? pending(w) : WIRE_MAGIC_LEN;

	return memcmp(w->in + w->in_at, WIRE_MAGIC, n) == 0;
}

int wire_expect_magic(struct wire *w, int64_t timeout_ms, const char **got)
{
	struct deadline d = deadline_in(timeout_ms);

	*got = "";
	for (size_t n = 1; n <= WIRE_MAGIC_LEN && begins_as_magic(w); n++) {
		if (gather(w, n, d) != 0)
			return -1;
	}
	if (pending(w) >= WIRE_MAGIC_LEN && begins_as_magic(w)) {
		w->in_at += WIRE_MAGIC_LEN;
		return 0;
	}
	w->dead = true;
	if (!begins_as_magic(w) && gather(w, FOREIGN_MAX, deadline_in(FOREIGN_MS)) != 0)
		return -1;
	*got = printable(w->arena, w->in + w->in_at, pending(w));
	if (!w->ended && begins_as_magic(w))
		return err_set(ERR_PROTOCOL, "%s has not greeted for %lld ms", w->who, (long long)timeout_ms);
	return err_set(ERR_PROTOCOL, pending(w) == 0 ? "%s has closed the connection without a greeting" :
		"%s does not greet as pgStrata does", w->who);
}

/* ---- failures ---- */

void wire_pack_failure(struct buf *b)
{
	pack_u16(b, (uint16_t)err_code());
	pack_bytes(b, err_msg(), strnlen(err_msg(), FAILURE_TEXT_MAX));
	pack_bytes(b, err_hints(), strnlen(err_hints(), FAILURE_TEXT_MAX));
}

static enum err_code known_code(unsigned number)
{
#define CODE_CASE(symbol, code, name) case code: return symbol;
	switch (number) {
		ERR_LIST(CODE_CASE)
	default:
		return ERR_UNKNOWN;
	}
#undef CODE_CASE
}

/* Another host's text must not speak to this one's terminal. */
static const char *harmless(struct arena *a, const char *text)
{
	char *copy = arena_strdup(a, text);

	for (char *p = copy; *p != '\0'; p++) {
		if (((unsigned char)*p < ' ' && *p != '\n' && *p != '\t') || *p == 0x7f)
			*p = '?';
	}
	return copy;
}

int wire_unpack_failure(const struct wire_frame *f, const char *where)
{
	SCOPED_ARENA(a);
	struct unpack u;

	unpack_init(&u, a, f->data, f->len);
	unsigned code = unpack_u16(&u);
	const char *msg = unpack_text(&u), *hints = unpack_text(&u);
	if (unpack_end(&u, "failure report") != 0)
		return err_wrap("%s", where);
	const struct err_value v = { .code = known_code(code), .msg = harmless(a, msg), .hints = harmless(a, hints) };
	err_restore(&v);
	return err_wrap("%s", where);
}
