/*
 * bundle_get: members of one bundle into a data directory.
 *
 * A member that is kept, zeroed or empty is not read.  The others are read in runs: one ranged get pushes into a
 * sink that cuts it at the members' ends and drops what lies between them.  Each member has an arena and a chain of
 * its own, so that a run of a thousand files needs no more memory than one, and a damaged member fails by its own
 * name.
 */
#include "repo/file_get_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/sig.h"
#include "store/ahead.h"

struct member {
	struct file_get_item *item;
	struct stored from;
};

typedef VEC(struct member) member_vec;

struct cut {
	struct sink sink;
	struct store *repo;
	const struct member *at, *end; /* the member that is open or comes next, and behind the last */
	uint64_t offset;	       /* of the next byte in the bundle */
	struct arena *arena;	       /* of the open member; NULL: none is open */
	struct sink *file;
};

static uint64_t end_of(const struct member *m)
{
	return m->from.offset + m->from.length;
}

static int failed(const struct cut *c)
{
	const struct file_get_item *i = c->at->item;

	return file_get_failed(c->repo, i->pg, i->f, &i->opts, &c->at->from);
}

static int open_member(struct cut *c)
{
	const struct file_get_item *i = c->at->item;

	c->arena = arena_new();
	c->file = file_get_open(c->arena, i->pg, i->f, &i->opts, &c->at->from);
	return c->file == NULL ? -1 : 0;
}

static int close_member(struct cut *c)
{
	if (sink_finish(c->file) != 0)
		return -1;
	arena_free(c->arena);
	c->arena = NULL;
	c->at++;
	return 0;
}

static int cut_write(struct sink *s, const void *data, size_t len)
{
	struct cut *c = (struct cut *)s;
	const char *bytes = data;

	while (len > 0) {
		if (c->at == c->end)
			return err_set(ERR_ASSERT, "more bytes than the members of the bundle have");
		bool between = c->offset < c->at->from.offset;
		uint64_t left = (between ? c->at->from.offset : end_of(c->at)) - c->offset;
		size_t n = left < len ? (size_t)left : len;
		if (!between && c->arena == NULL && open_member(c) != 0)
			return -1;
		if (!between && sink_write(c->file, bytes, n) != 0)
			return -1;
		bytes += n;
		len -= n;
		c->offset += n;
		if (!between && c->offset == end_of(c->at) && close_member(c) != 0)
			return -1;
	}
	return 0;
}

static int cut_finish(struct sink *s)
{
	const struct cut *c = (const struct cut *)s;

	return c->at == c->end ? 0 : err_set(ERR_ASSERT, "fewer bytes than the members of the bundle have");
}

/* Members that one read delivers: from the first on, as long as each begins behind the one before, and close. */
static size_t run_length(const struct member *m, size_t n)
{
	size_t i = 1;

	while (i < n && m[i].from.offset >= end_of(&m[i - 1]) &&
		m[i].from.offset - end_of(&m[i - 1]) <= STORED_READ_OVER)
		i++;
	return i;
}

static struct get_opts get_for(const struct member *m, size_t n)
{
	return (struct get_opts){ .offset = m->from.offset, .length = end_of(&m[n - 1]) - m->from.offset,
		.exact = true };
}

static int read_run(struct store *repo, const struct member *m, size_t n)
{
	struct cut c = { .sink = { cut_write, cut_finish }, .repo = repo, .at = m, .end = m + n,
		.offset = m->from.offset };
	const struct get_opts get = get_for(m, n);

	if (store_get(repo, m->from.path, &get, &c.sink) == 0)
		return 0;
	/* what is wrong behind the last member is none's fault */
	int rc = c.at == c.end ? -1 : failed(&c);
	arena_free(c.arena);
	return rc;
}

static int add_wanted(struct arena *a, struct file_get_item *item, member_vec *out)
{
	struct stored from = stored_find(a, item->opts.stanza, item->opts.m, item->f);

	if (from.length == 0)
		return err_set(ERR_ASSERT, "file '%s' has no range in a bundle", item->f->name);
	vec_push(out, ((struct member){ item, from }));
	return 0;
}

/* The members whose bytes are wanted. */
static int find_wanted(struct arena *a, struct file_get_item *items, size_t n, member_vec *out)
{
	vec_init(out, a);
	for (size_t i = 0; i < n; i++) {
		struct file_get_item *item = &items[i];
		if (sig_check() != 0)
			return -1;
		int done = file_get_unread(item->pg, item->f, &item->opts, &item->result);
		if (done < 0 || (!done && add_wanted(a, item, out) != 0))
			return -1;
	}
	return 0;
}

/* The same, of which nothing is done yet: 0, or AHEAD_UNKNOWN. */
static int foretell_wanted(struct arena *a, struct file_get_item *items, size_t n, member_vec *out)
{
	vec_init(out, a);
	for (size_t i = 0; i < n; i++) {
		int wanted = file_get_foretell(items[i].pg, items[i].f, &items[i].opts);
		if (wanted == AHEAD_UNKNOWN || (wanted == 1 && add_wanted(a, &items[i], out) != 0))
			return AHEAD_UNKNOWN;
	}
	return 0;
}

/* What is asked for and not read: *runs ranges, up to the member *at. */
struct asked {
	size_t at;
	unsigned runs;
};

/* As far as AHEAD_MAX allows. */
static int ask(struct store *repo, const member_vec *wanted, struct asked *s)
{
	while (s->at < wanted->n && s->runs < AHEAD_MAX) {
		const struct member *m = &wanted->v[s->at];
		size_t run = run_length(m, wanted->n - s->at);
		const struct get_opts get = get_for(m, run);
		if (store_ahead(repo, m->from.path, &get) != 0)
			return -1;
		s->at += run;
		s->runs++;
	}
	return 0;
}

int bundle_get(struct store *repo, struct file_get_item *items, size_t n, bool asked)
{
	SCOPED_ARENA(a);
	bool asks = !asked && ahead_helps(repo);
	struct asked s = { 0 };
	member_vec wanted;

	if (find_wanted(a, items, n, &wanted) != 0)
		return -1;
	for (size_t i = 0; i < wanted.n;) {
		size_t run = run_length(&wanted.v[i], wanted.n - i);
		if (asks && ask(repo, &wanted, &s) != 0) {
			err_clear(); /* what is wrong will be found when it is read */
			asks = false;
		}
		if (read_run(repo, &wanted.v[i], run) != 0)
			return -1;
		s.runs -= asks;
		i += run;
	}
	return 0;
}

int bundle_get_ahead(struct store *repo, struct file_get_item *items, size_t n, unsigned room)
{
	SCOPED_ARENA(a);
	struct asked s = { 0 };
	member_vec wanted;
	size_t runs = 0;

	if (foretell_wanted(a, items, n, &wanted) != 0)
		return AHEAD_UNKNOWN;
	for (size_t i = 0; i < wanted.n; i += run_length(&wanted.v[i], wanted.n - i))
		runs++;
	if (runs > room || ask(repo, &wanted, &s) != 0)
		return AHEAD_UNKNOWN;
	return (int)runs;
}
