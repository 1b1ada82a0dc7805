/*
 * remote_talk: requests and what is answered.
 *
 * Always true: numbers go up by one; frames of no other request than the current one are accepted; a failure that the
 * other side reports ends its request, and only if it is about the conversation (ERR_PROTOCOL, ERR_ACCESS, its end)
 * the connection.
 */
#include <string.h>
#include "base/log.h"
#include "store/remote_intern.h"

#define ANSWER_MAX ((size_t)256 * 1024 * 1024)

/* ---- hearing ---- */

static int pass_warning(struct remote *r, const struct wire_frame *f)
{
	SCOPED_ARENA(a);
	struct unpack u;

	unpack_init(&u, a, f->data, f->len);
	const uint8_t level = unpack_u8(&u);
	const char *text = unpack_text(&u);
	u.bad |= level < LOG_ERROR || level > LOG_TRACE;
	if (unpack_end(&u, "warning") != 0)
		return err_wrap("%s", r->who);
	log_print((enum log_level)level, "%s: %s", r->who, remote_clean(a, text));
	return 0;
}

/* 0, 1, -1 as wire_receive, but for warnings. */
static int receive(struct remote *r, struct wire_frame *out)
{
	int rc = wire_receive(r->wire, out);

	for (; rc == 0 && out->type == WIRE_WARNING; rc = wire_receive(r->wire, out)) {
		if (pass_warning(r, out) != 0)
			return -1;
	}
	return rc;
}

bool remote_is_good(struct remote *r)
{
	struct wire_frame f;

	while (!wire_dead(r->wire) && wire_ready(r->wire, 0)) {
		/* an end of file, a goodbye, why it has ended: nothing was asked that could fail by it */
		if (wire_receive(r->wire, &f) != 0 || f.type != WIRE_WARNING || pass_warning(r, &f) != 0) {
			err_clear();
			return false;
		}
	}
	return !wire_dead(r->wire);
}

/* The end of a program over there by a signal is none of this one. */
static int refused(struct remote *r, const struct wire_frame *f)
{
	(void)!wire_unpack_failure(f, r->who);
	const enum err_code code = err_code();
	if (code == ERR_TERM)
		(void)err_recode(ERR_SERVICE);
	r->current = 0;
	r->what = NULL;
	if (f->request == 0 || code == ERR_TERM || code == ERR_PROTOCOL || code == ERR_ACCESS)
		remote_drop(r);
	return -1;
}

/* The next frame, which is of the current request. */
static int next_frame(struct remote *r, struct wire_frame *out)
{
	int rc = receive(r, out);

	if (rc > 0 || (rc == 0 && out->type == WIRE_GOODBYE))
		rc = err_set(ERR_SERVICE, "%s has closed the connection", r->who);
	if (rc != 0)
		return remote_broken(r);
	if (out->type == WIRE_FAILURE && (out->request == r->current || out->request == 0))
		return refused(r, out);
	if (out->request != r->current)
		return remote_confused(r, "a frame of request %u where one of %u is due", out->request, r->current);
	if (out->type != WIRE_DATA && out->type != WIRE_ENTRY && out->type != WIRE_ANSWER)
		return remote_confused(r, "a frame of type '%c' where an answer is due", out->type);
	return 0;
}

/* An answer that is too long for a frame comes in several. */
static int join_answer(struct remote *r, struct wire_frame *f)
{
	buf_reset(&r->answer);
	while (!f->last) {
		if (f->len > ANSWER_MAX - r->answer.len)
			return remote_confused(r, "an answer without an end");
		buf_add(&r->answer, f->data, f->len);
		if (next_frame(r, f) != 0)
			return -1;
		if (f->type != WIRE_ANSWER)
			return remote_confused(r, "a frame of type '%c' inside an answer", f->type);
	}
	if (r->answer.len == 0)
		return 0;
	buf_add(&r->answer, f->data, f->len);
	f->data = (const uint8_t *)r->answer.data;
	f->len = r->answer.len;
	return 0;
}

int remote_next(struct remote *r, struct wire_frame *out)
{
	if (next_frame(r, out) != 0)
		return -1;
	if (out->type != WIRE_ANSWER)
		return 0;
	if (join_answer(r, out) != 0)
		return -1;
	r->current = 0;
	r->what = NULL;
	return 0;
}

/* Frames of the current request that nobody wants, to its end.  -1: the connection has ended. */
static int drain(struct remote *r)
{
	struct wire_frame f;

	while (r->current != 0 && remote_next(r, &f) == 0)
		;
	if (r->wire == NULL)
		return -1;
	err_clear();
	return 0;
}

int remote_look(struct remote *r)
{
	struct wire_frame f;

	while (wire_ready(r->wire, 0)) {
		int rc = wire_receive(r->wire, &f);
		if (rc == 0 && f.type == WIRE_WARNING)
			rc = pass_warning(r, &f);
		else if (rc == 0 && f.type == WIRE_FAILURE && (f.request == r->current || f.request == 0))
			return refused(r, &f);
		else if (rc == 0)
			return remote_confused(r, "a frame of type '%c' while it was sent data", f.type);
		else if (rc > 0)
			(void)err_set(ERR_SERVICE, "%s has closed the connection", r->who);
		if (rc != 0)
			return remote_broken(r);
	}
	return 0;
}

/* ---- asking ---- */

int remote_send_failed(struct remote *r)
{
	SCOPED_ARENA(a);
	const struct err_value *sent = err_take(a);
	struct wire_frame f;
	int rc = sent->code == ERR_SERVICE ? 0 : 1;

	while (rc == 0) {
		rc = receive(r, &f);
		if (rc == 0 && f.type == WIRE_FAILURE) {
			(void)refused(r, &f);
			remote_drop(r);
			return -1;
		}
	}
	err_clear();
	(void)err_restore(sent);
	return remote_broken(r);
}

/* A request under the next number, over several frames if it is long. */
static int send_request(struct remote *r, const struct buf *request)
{
	const char *at = request->data;
	size_t left = request->len;

	r->number++;
	for (; left > WIRE_FRAME_MAX; at += WIRE_FRAME_MAX, left -= WIRE_FRAME_MAX) {
		if (wire_send(r->wire, WIRE_REQUEST, 0, r->number, at, WIRE_FRAME_MAX) != 0)
			return remote_send_failed(r);
	}
	if (wire_send(r->wire, WIRE_REQUEST, WIRE_LAST, r->number, at, left) != 0)
		return remote_send_failed(r);
	return 0;
}

static void shift_ahead(struct remote *r)
{
	r->ahead_bytes -= r->ahead[r->ahead_at].len;
	r->ahead_at = (r->ahead_at + 1) % REMOTE_AHEAD_MAX;
	r->ahead_n--;
}

/* All are cancelled before the first answer is waited for: nothing is sent then that nobody wants. */
static int drop_ahead(struct remote *r)
{
	r->what = "ending what was asked for ahead";
	for (unsigned i = 0; i < r->ahead_n; i++) {
		const struct remote_ahead *one = &r->ahead[(r->ahead_at + i) % REMOTE_AHEAD_MAX];
		if (wire_send(r->wire, WIRE_CANCEL, WIRE_LAST, one->number, NULL, 0) != 0)
			return remote_send_failed(r);
	}
	while (r->ahead_n > 0) {
		r->what = "ending what was asked for ahead";
		r->current = r->ahead[r->ahead_at].number;
		shift_ahead(r);
		if (drain(r) != 0)
			return -1;
	}
	r->what = NULL;
	return 0;
}

int remote_begin(struct remote *r, const char *what, const struct buf *request)
{
	if (r->current != 0)
		return err_set(ERR_ASSERT, "%s: %s is not finished, and a connection takes one request at a time", what,
			r->what);
	if (request->len > REMOTE_REQUEST_MAX)
		return err_set(ERR_FEATURE, "%s: the request of %zu bytes is too long for %s", what, request->len,
			r->who);
	if (r->ahead_n > 0 && drop_ahead(r) != 0)
		return -1;
	r->what = what;
	if (send_request(r, request) != 0)
		return -1;
	r->current = r->number;
	return 0;
}

void remote_cancel(struct remote *r)
{
	SCOPED_ARENA(a);
	const struct err_value *before = err_take(a);

	if (wire_send(r->wire, WIRE_CANCEL, WIRE_LAST, r->current, NULL, 0) != 0)
		remote_drop(r);
	else
		(void)drain(r);
	err_clear();
	if (before->code != ERR_NONE)
		(void)err_restore(before);
}

/* ---- asking ahead ---- */

static bool has_room(const struct remote *r, size_t len)
{
	const unsigned most = r->theirs.ahead < REMOTE_AHEAD_MAX ? r->theirs.ahead : REMOTE_AHEAD_MAX;

	if (!remote_can(&r->mine, &r->theirs, REMOTE_CAP_AHEAD) || r->ahead_n >= most || most < 2)
		return false;
	/* one that is too long for the bound can still be the first */
	return r->ahead_n == 0 || (len <= REMOTE_AHEAD_BYTES && r->ahead_bytes <= REMOTE_AHEAD_BYTES - len);
}

int remote_send_ahead(struct remote *r, const struct buf *request, const struct buf *key, bool entry)
{
	struct remote_ahead *one = &r->ahead[(r->ahead_at + r->ahead_n) % REMOTE_AHEAD_MAX];

	if (!has_room(r, request->len))
		return 0;
	if (send_request(r, request) != 0)
		return -1;
	*one = (struct remote_ahead){ .number = r->number, .entry = entry, .len = request->len };
	sha1_of(key->data, key->len, &one->sum);
	r->ahead_n++;
	r->ahead_bytes += one->len;
	return 1;
}

bool remote_take_ahead(struct remote *r, const char *what, const struct buf *key, bool entry)
{
	const struct remote_ahead *one = &r->ahead[r->ahead_at];
	struct sum sum;

	if (r->current != 0 || r->ahead_n == 0 || (entry && !one->entry))
		return false;
	sha1_of(key->data, key->len, &sum);
	if (!sum_equal(&sum, &one->sum))
		return false;
	r->current = one->number;
	r->what = what;
	shift_ahead(r);
	return true;
}

/* ---- one question, one answer ---- */

static const char *words_for(enum remote_verb verb)
{
	switch (verb) {
	case REMOTE_DB_OPEN:
		return "connecting to the database server";
	case REMOTE_DB_START:
		return "starting the backup";
	case REMOTE_DB_STOP:
		return "ending the backup";
	case REMOTE_DB_SWITCH:
		return "switching to the next WAL segment";
	case REMOTE_DB_REPLAY:
		return "asking how far replay is";
	case REMOTE_DB_CHECKPOINT:
		return "a checkpoint";
	default:
		return "asking the database server";
	}
}

int remote_ask(struct remote *r, const struct buf *request, struct unpack *answer, struct arena *a)
{
	struct wire_frame f;

	if (remote_hello(r) == NULL)
		return -1;
	if (remote_begin(r, words_for((uint8_t)request->data[0]), request) != 0 || remote_next(r, &f) != 0)
		return -1;
	if (f.type != WIRE_ANSWER)
		return remote_confused(r, "data where an answer is due");
	unpack_init(answer, a, arena_memdup(a, f.data, f.len), f.len);
	return 0;
}
