/*
 * remote: the connection: made when it is needed, judged by the other side's hello, ended with the process that made
 * it.
 *
 * A child never speaks on its parent's connection.  It frees its own copy of what belongs to it; what started the
 * program at the other end (link) knows whose child that is.
 */
#include "store/remote.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/sig.h"
#include "store/remote_intern.h"

#define HOLD_MS 10000	/* a side that could not be reached is not tried again for so long */
#define WHY_MS 1000	/* for an end of which the reason is not known yet */
#define GOODBYE_MS 1000 /* for the last word */
#define SSH_FAILED 255	/* ssh's own failure, and not that of what it ran */
#define NOT_EXECUTABLE 126
#define NOT_FOUND 127

/* ---- its end ---- */

static void forget(struct remote *r)
{
	r->arena = NULL;
	r->wire = NULL;
	r->link = (struct remote_link){ .in = -1, .out = -1 };
	r->current = r->number = 0;
	r->what = NULL;
	r->ahead_at = r->ahead_n = 0;
	r->ahead_bytes = 0;
}

void remote_drop(struct remote *r)
{
	arena_free(r->arena);
	forget(r);
}

/* In the middle of something the other side is busy: it sees the end of file, and a goodbye would only wait. */
static void say_goodbye(struct remote *r)
{
	SCOPED_ARENA(a);

	if (r->pid != getpid() || r->wire == NULL || wire_dead(r->wire) || r->current != 0 || r->ahead_n > 0)
		return;
	const struct err_value *before = err_take(a);
	wire_set_silence(r->wire, GOODBYE_MS);
	if (wire_send(r->wire, WIRE_GOODBYE, WIRE_LAST, 0, NULL, 0) != 0 || wire_flush(r->wire) != 0)
		err_clear();
	if (before->code != ERR_NONE)
		(void)err_restore(before);
}

static void end_remote(void *ctx)
{
	struct remote *r = ctx;

	say_goodbye(r);
	remote_drop(r);
	arena_free(r->held);
}

/* ---- failures ---- */

const char *remote_clean(struct arena *a, const char *text)
{
	char *copy = arena_strdup(a, text);

	for (char *p = copy; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = *p == '\n' || *p == '\t' ? *p : '?';
	}
	return copy;
}

static const char *why_ended(struct arena *a, const struct remote *r, int64_t ms)
{
	const char *text = r->link.why == NULL ? "" : r->link.why(a, r->link.ctx, ms);

	return text == NULL ? "" : remote_clean(a, text);
}

int remote_broken(struct remote *r)
{
	SCOPED_ARENA(a);
	bool ended = err_code() == ERR_SERVICE;
	struct err_value v = *err_take(a);

	if (v.code != ERR_TERM) {
		const char *why = why_ended(a, r, ended ? WHY_MS : 0);
		if (r->what != NULL)
			v.msg = arena_printf(a, "%s: %s", r->what, v.msg);
		if (why[0] != '\0')
			v.msg = arena_printf(a, "%s: %s", v.msg, why);
	}
	remote_drop(r);
	return err_restore(&v);
}

int remote_confused(struct remote *r, const char *fmt, ...)
{
	SCOPED_ARENA(a);
	va_list ap;

	va_start(ap, fmt);
	(void)err_set(ERR_PROTOCOL, "%s sent %s", r->who, arena_vprintf(a, fmt, ap));
	va_end(ap);
	return remote_broken(r);
}

static int hint_option(const struct remote *r)
{
	return err_hint("%s must name pgStrata, of this generation, on that host.", r->o.option);
}

/* ---- its beginning ---- */

/* Nobody has greeted, and nothing was said instead of it. */
static int ended_unheard(const struct remote *r, bool late)
{
	SCOPED_ARENA(a);
	const int status = late || r->link.status == NULL ? -1 : r->link.status(r->link.ctx, WHY_MS);
	const char *why = why_ended(a, r, late ? 0 : WHY_MS), *sep = why[0] == '\0' ? "" : ": ";

	if (late) {
		(void)err_set(ERR_HOST_CONNECT, "unable to connect to %s: '%s' has not greeted within %lld ms%s%s",
			r->who, r->o.program, (long long)r->o.connect_ms, sep, why);
		return err_hint("io-timeout limits how long that may take.");
	}
	if (status == -1 || status == SSH_FAILED)
		return err_set(ERR_HOST_CONNECT, "unable to connect to %s for '%s'%s%s", r->who, r->o.program,
			why[0] == '\0' ? ": the connection was closed without a greeting" : sep, why);
	const bool ran = status != NOT_EXECUTABLE && status != NOT_FOUND;
	(void)err_set(ERR_EXECUTE, "%s: '%s' %s%s%s", r->who, r->o.program,
		ran ? "ended without a greeting" : "could not be run", sep, why);
	return hint_option(r);
}

static int no_greeting(const struct remote *r, const char *got, bool late)
{
	if (err_code() == ERR_TERM)
		return -1;
	if (got[0] == '\0')
		return ended_unheard(r, late);
	(void)err_set(ERR_PROTOCOL, "%s: what should be '%s' does not greet as pgStrata does; it said: %s", r->who,
		r->o.program, got);
	return hint_option(r);
}

static int send_hello(struct remote *r)
{
	SCOPED_ARENA(a);
	struct buf b;

	buf_init(&b, a);
	remote_pack_hello(&b, &r->mine, false);
	if (wire_send(r->wire, WIRE_HELLO, WIRE_LAST, 0, b.data, b.len) != 0 || wire_flush(r->wire) != 0)
		return remote_send_failed(r);
	return 0;
}

/* Another generation has said no more than its version. */
static int check_version(const struct remote *r)
{
	const struct remote_hello *h = &r->theirs;

	if (h->major == REMOTE_MAJOR)
		return 0;
	(void)err_set(ERR_PROTOCOL, "%s: '%s' speaks version %u.%u of the protocol, this program %d.%d", r->who,
		r->o.program, h->major, h->minor, REMOTE_MAJOR, REMOTE_MINOR);
	return err_hint("install the same generation of pgStrata on both hosts.");
}

static int take_hello(struct remote *r, struct deadline d)
{
	struct wire_frame f;
	wire_set_silence(r->wire, deadline_left(d) + 1);
	int rc = wire_receive(r->wire, &f);

	if (rc < 0 && err_code() == ERR_SERVICE && deadline_left(d) == 0)
		return ended_unheard(r, true);
	if (rc > 0)
		(void)err_set(ERR_SERVICE, "%s has closed the connection before its hello", r->who);
	if (rc != 0)
		return remote_broken(r);
	if (f.type == WIRE_FAILURE)
		return wire_unpack_failure(&f, r->who);
	if (f.type != WIRE_HELLO)
		return remote_confused(r, "a frame of type '%c' where its hello is due", f.type);
	if (remote_unpack_hello(r->arena, f.data, f.len, true, &r->theirs) != 0)
		return err_wrap("%s", r->who);
	return check_version(r);
}

/* What this connection may be used for, the other side decides; that it is of no use at all is better heard now. */
static int judge(const struct remote *r)
{
	SCOPED_ARENA(a);
	const struct remote_hello *h = &r->theirs;

	if (h->stanza != NULL && r->o.stanza != NULL && strcmp(h->stanza, r->o.stanza) != 0) {
		(void)err_set(ERR_HOST_INVALID, "%s serves no stanza '%s' on this connection, only '%s'", r->who,
			r->o.stanza, remote_clean(a, h->stanza));
		return err_hint("the command of the key in authorized_keys there says which one.");
	}
	if (r->o.roles == 0 || (h->roles & r->o.roles) != 0)
		return 0;
	(void)err_set(ERR_ACCESS, "%s permits %s only, and %s is needed", r->who,
		h->roles == 0 ? "nothing" : remote_roles_text(a, h->roles), remote_roles_text(a, r->o.roles));
	return err_hint("the command of the key in authorized_keys there says what is permitted.");
}

static int greet(struct remote *r)
{
	const struct deadline d = deadline_in(r->o.connect_ms);
	const char *got;

	r->wire = wire_new(r->arena, r->link.in, r->link.out, r->who, r->o.connect_ms);
	if (wire_expect_magic(r->wire, r->o.connect_ms, &got) != 0)
		return no_greeting(r, got, deadline_left(d) == 0);
	if (take_hello(r, d) != 0 || send_hello(r) != 0)
		return -1;
	wire_set_silence(r->wire, r->o.silence_ms);
	return judge(r);
}

static int hold_failure(struct remote *r)
{
	if (err_code() == ERR_TERM) {
		remote_drop(r);
		return -1;
	}
	arena_free(r->held);
	r->held = arena_new();
	r->failure = err_take(r->held);
	remote_drop(r);
	r->held_ms = clock_mono_ms() + (r->o.connect_ms < HOLD_MS ? r->o.connect_ms : HOLD_MS);
	return err_restore(r->failure);
}

static int connect_now(struct remote *r)
{
	r->pid = getpid();
	r->failure = NULL;
	r->arena = arena_new();
	buf_init(&r->answer, r->arena);
	if (r->o.open(r->arena, r->o.ctx, &r->link) != 0 || greet(r) != 0)
		return hold_failure(r);
	r->generation++;
	return 0;
}

const struct remote_hello *remote_hello(struct remote *r)
{
	const bool ours = r->pid == getpid();

	if (ours && r->wire != NULL) {
		/* whoever is in the middle of something hears of its failure itself */
		if (r->current != 0 || r->ahead_n > 0 || remote_is_good(r))
			return &r->theirs;
		log_debug("the connection to %s was closed there and is opened again", r->who);
	}
	remote_drop(r);
	if (ours && r->failure != NULL && clock_mono_ms() < r->held_ms) {
		(void)err_restore(r->failure);
		return NULL;
	}
	return sig_check() != 0 || connect_now(r) != 0 ? NULL : &r->theirs;
}

unsigned remote_generation(const struct remote *r)
{
	return r->generation;
}

const struct remote_opts *remote_opts(const struct remote *r)
{
	return &r->o;
}

static const char *copy(struct arena *a, const char *text)
{
	return text == NULL ? NULL : arena_strdup(a, text);
}

struct remote *remote_new(struct arena *a, const struct remote_opts *o)
{
	struct remote *r = arena_new_object(a, struct remote);

	r->o = *o;
	r->o.host = copy(a, o->host);
	r->o.program = copy(a, o->program);
	r->o.option = copy(a, o->option);
	r->o.stanza = copy(a, o->stanza);
	r->o.exec_id = copy(a, o->exec_id);
	r->who = arena_printf(a, "host '%s'", o->host);
	r->mine = (struct remote_hello){ .major = REMOTE_MAJOR, .minor = REMOTE_MINOR,
		.program = "pgStrata " PACKAGE_VERSION, .capabilities = REMOTE_CAP_AHEAD " " REMOTE_CAP_BLOCKS,
		.ahead = REMOTE_AHEAD_MAX, .stanza = r->o.stanza, .roles = o->roles, .exec_id = r->o.exec_id,
		.silence_ms = o->silence_ms, .level = o->level };
	forget(r);
	arena_defer(a, end_remote, r);
	return r;
}
