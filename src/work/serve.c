/*
 * serve: the conversation: hello, requests one after the other, the end.
 *
 * Always true: a request is whole and its role is held before anything of it is looked at; a failure that says the
 * caller is out of step or out of bounds ends the conversation, every other one only its request.
 */
#include "work/serve.h"

#include "store/owner.h"
#include "work/serve_intern.h"

#define SILENCE_MIN_MS 100
#define SILENCE_MAX_MS ((int64_t)7 * 24 * 3600 * 1000)
/* compress-level-network of any caller is held to what our own may be */
#define LEVEL_MIN (-5)
#define LEVEL_MAX 12

#define ROLES_ALL (REMOTE_ROLE_ARCHIVE | REMOTE_ROLE_RESTORE | REMOTE_ROLE_BACKUP)

static const struct verb {
	enum remote_verb first, last;
	uint32_t roles; /* one of them is enough */
	int (*serve)(struct serving *v, struct serve_request *q);
} verbs[] = {
	{ REMOTE_GET, REMOTE_GET, ROLES_ALL, serve_file_request },
	{ REMOTE_PUT, REMOTE_PUT, REMOTE_ROLE_ARCHIVE, serve_file_request },
	{ REMOTE_LIST, REMOTE_LIST, ROLES_ALL, serve_file_request },
	{ REMOTE_TREE, REMOTE_TREE, REMOTE_ROLE_BACKUP, serve_file_request },
	{ REMOTE_STAT, REMOTE_STAT, ROLES_ALL, serve_file_request },
	{ REMOTE_SYNC, REMOTE_SYNC, REMOTE_ROLE_ARCHIVE, serve_file_request },
	{ REMOTE_DB_OPEN, REMOTE_DB_WAL_END, REMOTE_ROLE_BACKUP, serve_db_request },
};

static const struct verb *find_verb(uint8_t number)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (number >= verbs[i].first && number <= verbs[i].last)
			return &verbs[i];
	}
	return NULL;
}

const struct serve_place *serve_find_place(const struct serving *v, uint32_t number)
{
	for (size_t i = 0; i < v->s->n; i++) {
		if (v->s->places[i].place.number == number)
			return &v->s->places[i];
	}
	return err_null(ERR_ACCESS, "access denied: there is no place %u", number);
}

int serve_answer(struct serving *v, const struct serve_request *q, const struct buf *fields)
{
	const char *p = fields->data;
	size_t len = fields->len;

	for (; len > WIRE_FRAME_MAX; p += WIRE_FRAME_MAX, len -= WIRE_FRAME_MAX) {
		if (wire_send(v->wire, WIRE_ANSWER, 0, q->number, p, WIRE_FRAME_MAX) != 0)
			return -1;
	}
	return wire_send(v->wire, WIRE_ANSWER, WIRE_LAST, q->number, p, len);
}

static void describe_self(struct serving *v, struct arena *a)
{
	struct remote_hello *h = &v->mine;
	bool first = v->s->minor == SERVE_MINOR_0;

	*h = (struct remote_hello){ .major = REMOTE_MAJOR, .program = "pgStrata " PACKAGE_VERSION,
		.minor = first ? 0 : v->s->minor == 0 ? REMOTE_MINOR : v->s->minor,
		.capabilities = first ? "" : REMOTE_CAP_AHEAD " " REMOTE_CAP_BLOCKS,
		.ahead = first ? 0 : REMOTE_AHEAD_MAX,
		.stanza = v->s->stanza, .roles = v->s->roles, .forced = v->s->forced };
	vec_init(&h->places, a);
	for (size_t i = 0; i < v->s->n; i++)
		vec_push(&h->places, v->s->places[i].place);
}

static int check_caller(struct serving *v)
{
	const struct remote_hello *h = &v->theirs;
	int64_t silence = h->silence_ms < SILENCE_MIN_MS ? SILENCE_MIN_MS :
		h->silence_ms > SILENCE_MAX_MS ? SILENCE_MAX_MS : h->silence_ms;

	if (h->major != v->mine.major)
		return err_set(ERR_PROTOCOL, "the caller speaks protocol %u.%u, this host (%s) speaks %u.%u",
			h->major, h->minor, v->mine.program, v->mine.major, v->mine.minor);
	if (silence < v->s->silence_ms)
		wire_set_silence(v->wire, silence);
	v->level = h->level;
	if (v->level != WIRE_NO_PACK)
		v->level = v->level < LEVEL_MIN ? LEVEL_MIN : v->level > LEVEL_MAX ? LEVEL_MAX : v->level;
	return 0;
}

/* 0; 1 if the caller left without a word; -1. */
static int greet(struct serving *v, struct arena *a)
{
	struct wire_frame f;
	struct buf b;

	describe_self(v, a);
	buf_init(&b, a);
	remote_pack_hello(&b, &v->mine, true);
	if (wire_send_magic(v->wire) != 0 || wire_send(v->wire, WIRE_HELLO, WIRE_LAST, 0, b.data, b.len) != 0)
		return -1;
	int rc = wire_receive(v->wire, &f);
	if (rc != 0)
		return rc;
	if (f.type != WIRE_HELLO)
		return err_set(ERR_PROTOCOL, "the caller sent a frame of type %d where its hello was expected", f.type);
	if (remote_unpack_hello(a, f.data, f.len, false, &v->theirs) != 0)
		return -1;
	return check_caller(v);
}

/* The record stays: it is what the request, or the conversation, ended with. */
static void tell_failure(struct serving *v, uint32_t number)
{
	SCOPED_ARENA(a);
	struct buf b;

	if (err_code() == ERR_NONE)
		(void)err_set(ERR_ASSERT, "a request failed without saying why");
	buf_init(&b, a);
	wire_pack_failure(&b);
	const struct err_value *why = err_take(a);
	/* who does not listen any more cannot be told; the wire knows, and the next use of it says so */
	if (wire_send(v->wire, WIRE_FAILURE, WIRE_LAST, number, b.data, b.len) != 0 || wire_flush(v->wire) != 0)
		err_clear();
	(void)err_restore(why);
}

static bool ends_conversation(void)
{
	return err_code() == ERR_PROTOCOL || err_code() == ERR_ACCESS || err_code() == ERR_TERM;
}

/* What the caller had sent before it learned that its put had failed, and a cancel that came too late. */
static bool is_left_over(const struct serving *v, const struct wire_frame *f)
{
	if (f->type == WIRE_CANCEL)
		return f->request <= v->newest;
	if (f->type != WIRE_DATA && f->type != WIRE_FINISH)
		return false;
	for (size_t i = 0; i < SERVE_ENDED && i < v->n_ended; i++) {
		if (v->ended[i] == f->request)
			return true;
	}
	return false;
}

static int out_of_step(const struct wire_frame *f)
{
	return err_set(ERR_PROTOCOL, "the caller sent a frame of type '%c' for request %u, which is out of step",
		f->type, f->request);
}

/* The rest of a request of which f is the first frame. */
static int take_request(struct serving *v, struct wire_frame *f, struct buf *b)
{
	const uint32_t number = f->request;

	if (number != v->newest + 1)
		return out_of_step(f);
	v->newest = number;
	for (;;) {
		if (f->len > REMOTE_REQUEST_MAX - b->len)
			return err_set(ERR_PROTOCOL, "request %u has more than %zu bytes", number, REMOTE_REQUEST_MAX);
		if (f->len == 0)
			return err_set(ERR_PROTOCOL, "request %u has an empty frame", number);
		buf_add(b, f->data, f->len);
		if (f->last)
			return 0;
		if (inbox_of(v->inbox, number, f) != 0)
			return -1;
		if (f->type != WIRE_REQUEST)
			return out_of_step(f);
	}
}

static int do_request(struct serving *v, struct serve_request *q, const struct buf *b)
{
	unpack_init(&q->fields, q->arena, b->data, b->len);
	const uint8_t number = unpack_u8(&q->fields);
	const struct verb *verb = find_verb(number);

	if (verb == NULL)
		return err_set(ERR_PROTOCOL, "request %u has an unknown verb %u", q->number, number);
	q->verb = number;
	if ((verb->roles & v->s->roles) == 0)
		return err_set(ERR_ACCESS, "access denied: no role of this connection allows what request %u asks for",
			q->number);
	return verb->serve(v, q);
}

/* 0: go on; -1: the conversation has ended. */
static int serve_request(struct serving *v, struct wire_frame *first)
{
	SCOPED_ARENA(a);
	struct serve_request q = { .number = first->request, .arena = a };
	struct buf b;

	buf_init(&b, a);
	if (take_request(v, first, &b) == 0 && do_request(v, &q, &b) == 0)
		return 0;
	bool over = ends_conversation() || wire_dead(v->wire);
	tell_failure(v, q.number);
	if (over)
		return -1;
	err_clear();
	return 0;
}

/* 0: go on; 1: the end; -1. */
static int serve_frame(struct serving *v)
{
	struct wire_frame f;
	int rc = inbox_next(v->inbox, &f);

	if (rc == 0 && f.type == WIRE_REQUEST)
		return serve_request(v, &f);
	if (rc == 0 && f.type != WIRE_GOODBYE) {
		if (is_left_over(v, &f))
			return 0;
		rc = out_of_step(&f);
	}
	if (rc < 0)
		tell_failure(v, 0);
	if (rc != 0)
		return rc;
	/* a caller that closes at once needs no goodbye */
	if (wire_send(v->wire, WIRE_GOODBYE, WIRE_LAST, 0, NULL, 0) != 0 || wire_flush(v->wire) != 0)
		err_clear();
	return 1;
}

int serve_run(const struct serve *s)
{
	SCOPED_ARENA(a);
	struct serving v = { .s = s };

	v.wire = wire_new(a, s->in, s->out, "the caller", s->silence_ms);
	v.inbox = inbox_new(a, v.wire);
	v.owners = owners_new(a);
	int rc = greet(&v, a);
	if (rc < 0)
		tell_failure(&v, 0);
	while (rc == 0)
		rc = serve_frame(&v);
	arena_free(v.db_arena);
	return rc < 0 ? -1 : 0;
}
