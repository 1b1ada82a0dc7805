/*
 * file_check: stored bytes against what is noted of them.
 *
 * One ranged get pushes into a sink that cuts it at the members' ends.  Each member has an arena and a chain of its own,
 * and a chain that fails only closes its member: the bytes go on to the others.
 */
#include "repo/file_check.h"

#include <string.h>

#include "base/sig.h"
#include "repo/stored.h"

struct cut {
	struct sink sink;
	struct arena *a; /* of the results */
	const struct check_part *parts;
	struct check_result *out;
	size_t at, end;	 /* the part that is open or comes next, and behind the last */
	uint64_t offset; /* of the next byte in the file */
	/* of the open part */
	struct arena *arena;
	struct sink *to;
	bool failed; /* its chain is dead: its verdict stands */
	struct pipe_result seen;
};

void check_take(struct arena *a, struct check_result *out)
{
	struct err_value *v = err_take(a);

	out->code = v->code;
	out->msg = v->msg;
	switch (v->code) {
	case ERR_FILE_MISSING:
		out->state = CHECK_MISSING;
		break;
	case ERR_CHECKSUM:
		out->state = CHECK_SUM;
		break;
	case ERR_FILE_OPEN:
	case ERR_FILE_READ:
	case ERR_FILE_INFO:
	case ERR_PATH_OPEN:
	case ERR_FILE_CLOSE:
		out->state = CHECK_UNREAD;
		break;
	default: /* what came could not be what was stored */
		out->state = CHECK_DAMAGED;
	}
}

static void open_part(struct cut *c)
{
	static const struct pipe_spec as_stored = { .hash_plain = true };
	const struct check_part *p = &c->parts[c->at];
	struct pipe_spec spec = p->read == NULL ? as_stored : *p->read;

	spec.hash_plain = true;
	if (p->keep != NULL)
		buf_reset(p->keep);
	c->arena = arena_new();
	c->failed = false;
	c->to = pipe_chain(c->arena, &spec, NULL, NULL, sink_null(c->arena), &c->seen);
}

static void judge(struct cut *c)
{
	const struct check_part *p = &c->parts[c->at];
	struct check_result *r = &c->out[c->at];

	*r = (struct check_result){ .msg = "" };
	if (!sum_equal(&c->seen.plain_sum, &p->sum))
		r->state = CHECK_SUM;
	else if (c->seen.plain_size != p->size)
		r->state = CHECK_SIZE;
}

/* All bytes of the part have passed, or there are no more of them. */
static void close_part(struct cut *c)
{
	if (!c->failed && sink_finish(c->to) == 0)
		judge(c);
	else if (!c->failed)
		check_take(c->a, &c->out[c->at]);
	arena_free(c->arena);
	c->arena = NULL;
	c->at++;
}

static void keep(const struct cut *c, const char *bytes, size_t len)
{
	const struct check_part *p = &c->parts[c->at];

	if (p->keep == NULL || c->offset + len <= p->keep_from)
		return;
	size_t skip = c->offset < p->keep_from ? (size_t)(p->keep_from - c->offset) : 0;
	uint64_t room = p->keep_max - p->keep->len;
	buf_add(p->keep, bytes + skip, len - skip < room ? len - skip : (size_t)room);
}

static void feed(struct cut *c, const char *bytes, size_t len)
{
	keep(c, bytes, len);
	if (c->failed || sink_write(c->to, bytes, len) == 0)
		return;
	check_take(c->a, &c->out[c->at]);
	c->failed = true;
}

static bool whole(const struct check_part *p)
{
	return p->length == 0;
}

static int cut_write(struct sink *s, const void *data, size_t len)
{
	struct cut *c = (struct cut *)s;
	const char *bytes = data;

	if (sig_check() != 0)
		return -1;
	while (len > 0 && c->at < c->end) {
		const struct check_part *p = &c->parts[c->at];
		bool between = c->offset < p->offset;
		uint64_t left = whole(p) ? len : (between ? p->offset : p->offset + p->length) - c->offset;
		size_t n = left < len ? (size_t)left : len;
		if (!between) {
			if (c->arena == NULL)
				open_part(c);
			feed(c, bytes, n);
		}
		bytes += n;
		len -= n;
		c->offset += n;
		if (!between && !whole(p) && c->offset == p->offset + p->length)
			close_part(c);
	}
	return 0;
}

/* The file has ended: what was not reached has no bytes. */
static int cut_finish(struct sink *s)
{
	struct cut *c = (struct cut *)s;

	while (c->at < c->end) {
		if (c->arena == NULL)
			open_part(c);
		close_part(c);
	}
	return 0;
}

static int read_run(struct arena *a, struct store *repo, const char *path, const struct check_part *parts,
	size_t n, struct check_result *out)
{
	struct cut c = { .sink = { cut_write, cut_finish }, .a = a, .parts = parts, .out = out, .end = n,
		.offset = parts->offset };
	const struct get_opts get = { .offset = parts->offset,
		.length = whole(parts) ? 0 : parts[n - 1].offset + parts[n - 1].length - parts->offset };
	struct check_result failed;

	if (store_get(repo, path, &get, &c.sink) == 0)
		return 0;
	if (c.arena != NULL)
		arena_free(c.arena);
	if (err_code() == ERR_TERM)
		return -1;
	check_take(a, &failed);
	/* what is behind the place where reading stopped is unknown, and so is what was open there */
	for (; c.at < n; c.at++)
		out[c.at] = failed;
	return 0;
}

static size_t run_length(const struct check_part *p, size_t n)
{
	size_t i = 1;

	while (i < n && p[i].offset - (p[i - 1].offset + p[i - 1].length) <= STORED_READ_OVER)
		i++;
	return i;
}

/* A folder or a device in the place of a file is damage: nothing is left of the bytes. */
static void tell_no_file(struct arena *a, struct store *repo, const char *path, struct check_result *r)
{
	struct store_entry e;

	if (store_stat(a, repo, path, &e) != 0)
		err_clear();
	else if (e.type == STORE_DIR || e.type == STORE_SPECIAL)
		r->state = CHECK_DAMAGED;
}

int file_check(struct arena *a, struct store *repo, const char *path, const struct check_part *parts, size_t n,
	struct check_result *out)
{
	for (size_t i = 0; i < n;) {
		size_t run = run_length(&parts[i], n - i);
		if (read_run(a, repo, path, &parts[i], run, &out[i]) != 0)
			return -1;
		i += run;
	}
	for (size_t i = 0; i < n; i++) {
		if (out[i].state == CHECK_OK)
			continue;
		if (read_run(a, repo, path, &parts[i], 1, &out[i]) != 0)
			return -1;
		if (out[i].state == CHECK_UNREAD)
			tell_no_file(a, repo, path, &out[i]);
	}
	return 0;
}
