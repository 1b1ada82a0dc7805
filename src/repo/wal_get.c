/*
 * wal_get: one WAL file back.
 *
 * Always true: dest comes into being by one rename, after every byte in it was proven; "absent" is
 * said only when every repository has answered and none shows that the file must have existed.
 */
#include "repo/wal_get.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "base/sig.h"
#include "base/str.h"
#include "repo/layout.h"
#include "repo/wal_check.h"
#include "repo/wal_dest.h"

enum { LOOK_AGAIN = 2 }; /* beside enum wal_get_answer: a hole, perhaps a push in flight */

struct copy {
	const struct wal_get_repo *repo;
	const struct wal_place *place;
	struct wal_file file;
};
typedef VEC(struct copy) copies;

struct get {
	struct arena *a; /* of the call */
	const struct wal_get_opts *o;
	enum wal_kind kind;
	struct wal_get_repo *repos;
	size_t n;
	struct wal_got *got;
};

/* A copy's path as users know it: without archive/<stanza>. */
static const char *short_path(struct arena *a, const struct copy *c)
{
	const char *root = layout_archive_root(a, c->place->stanza), *path = c->file.path;

	return str_starts(path, root) ? path + strlen(root) + 1 : path;
}

/* "\nrepoN: [Class] text" for each repository that cannot be asked; *failed: how many. */
static const char *failures(struct arena *a, const struct get *g, size_t *failed)
{
	struct buf lines;

	buf_init(&lines, a);
	*failed = 0;
	for (size_t i = 0; i < g->n; i++) {
		if (g->repos[i].failed == NULL)
			continue;
		wal_add_failure(&lines, g->repos[i].key, g->repos[i].failed);
		++*failed;
	}
	return lines.data;
}

/* Warn of the repositories that cannot be asked; if none can, that is the failure. */
static int report_failed(struct arena *a, const struct get *g, bool found)
{
	size_t failed;
	const char *lines = failures(a, g, &failed);

	if (failed == g->n && !found)
		return err_set(ERR_REPO_INVALID, "unable to find a valid repository:%s", lines);
	for (size_t i = 0; i < g->n; i++) {
		const struct err_value *v = g->repos[i].failed;
		if (v != NULL)
			log_warn("repo%u: [%s] %s", g->repos[i].key, err_class(v->code), v->msg);
	}
	return 0;
}

/* Not found where we could ask, but somebody could not be asked: nothing is proven. */
static int unknown(struct arena *a, const struct get *g)
{
	size_t failed;
	const char *lines = failures(a, g, &failed);

	return err_set(ERR_FILE_READ,
		"unable to get %s: not found, but not every repository could be asked:%s",
		g->o->name, lines);
}

static int ask_repo(struct arena *a, const struct get *g, const struct wal_get_repo *r, copies *out)
{
	wal_files found;

	for (size_t i = 0; i < r->n; i++) {
		if (wal_find(a, &r->places[i], g->o->name, &found) != 0)
			return -1;
		for (size_t k = 0; k < found.n; k++)
			vec_push(out, ((struct copy){r, &r->places[i], found.v[k]}));
	}
	return 0;
}

/* Ask everyone; a repository that fails in the middle keeps the copies it named. */
static void ask_all(struct arena *a, const struct get *g, copies *out)
{
	vec_init(out, a);
	for (size_t i = 0; i < g->n; i++) {
		struct wal_get_repo *r = &g->repos[i];
		if (r->failed == NULL && ask_repo(a, g, r, out) != 0)
			r->failed = err_take(g->a);
	}
}

static int duplicates(struct arena *a, const struct get *g, const copies *c)
{
	struct buf lines;

	buf_init(&lines, a);
	for (size_t i = 0; i < c->n; i++) {
		const struct copy *x = &c->v[i];
		if (i > 0 && c->v[i - 1].repo == x->repo)
			buf_addf(&lines, ", %s", short_path(a, x));
		else
			buf_addf(&lines, "\nrepo%u: %s", x->repo->key,
				short_path(a, x));
	}
	(void)err_set(ERR_ARCHIVE_DUPLICATE, "duplicates found for WAL %s %s:%s",
		g->kind == WAL_SEGMENT ? "segment" : "file", g->o->name, lines.data);
	return err_hint("are multiple primaries archiving to this stanza?");
}

/* A copy that cannot be used: say so now, remember it for the end, go on with the next. */
static void skip_copy(struct arena *a, const struct get *g, const struct copy *c, struct buf *lines)
{
	const struct err_value *v = err_take(a);
	const char *path = short_path(a, c);

	buf_addf(lines, "\nrepo%u: %s [%s] %s", c->repo->key, path, err_class(v->code), v->msg);
	log_warn("repo%u: %s [%s] %s", c->repo->key, path, err_class(v->code), v->msg);
}

static int no_copy(const struct get *g, const struct buf *lines)
{
	return err_set(ERR_FILE_READ, "unable to get %s:%s", g->o->name, lines->data);
}

static int got(const struct get *g, const struct copy *c)
{
	g->got->from = arena_printf(g->a, "repo%u: %s", c->repo->key, c->place->archive_id);
	g->got->sum = c->file.sum;
	return WAL_GOT;
}

static int deliver_segment(struct arena *a, const struct get *g, const copies *c)
{
	struct buf lines;

	for (size_t i = 1; i < c->n; i++)
		if (!sum_equal(&c->v[0].file.sum, &c->v[i].file.sum))
			return duplicates(a, g, c);
	buf_init(&lines, a);
	for (size_t i = 0; i < c->n; i++) {
		SCOPED_ARENA(turn);
		const struct copy *x = &c->v[i];
		struct sink *dest = wal_dest_new(turn, g->o->dest);
		if (dest == NULL)
			return -1;
		if (wal_fetch(turn, x->place, &x->file, &g->o->expect, dest) == 0)
			return got(g, x);
		skip_copy(a, g, x, &lines);
	}
	return no_copy(g, &lines);
}

static int read_plain(struct arena *a, const struct get *g, const struct copy *c, struct buf *out)
{
	buf_init(out, a);
	if (wal_read_text(c->place, c->file.path, false, out) != 0)
		return -1;
	if (g->kind != WAL_HISTORY)
		return 0;
	return wal_check_history(
		arena_printf(a, "'%s'", store_name(a, c->place->repo, c->file.path)), g->o->name,
		out);
}

/* Without a hash in the name, agreement of all copies is the best proof there is. */
static int deliver_plain(struct arena *a, const struct get *g, const copies *c)
{
	const struct copy *chosen = NULL;
	struct buf lines, content, other;

	buf_init(&lines, a);
	for (size_t i = 0; i < c->n; i++) {
		if (read_plain(a, g, &c->v[i], chosen == NULL ? &content : &other) != 0)
			skip_copy(a, g, &c->v[i], &lines);
		else if (chosen == NULL)
			chosen = &c->v[i];
		else if (other.len != content.len ||
			memcmp(other.data, content.data, content.len) != 0)
			return duplicates(a, g, c);
	}
	if (chosen == NULL)
		return no_copy(g, &lines);
	struct sink *dest = wal_dest_new(a, g->o->dest);
	if (dest == NULL || sink_write(dest, content.data, content.len) != 0 ||
		sink_finish(dest) != 0)
		return -1;
	return got(g, chosen);
}

/* All places that can be asked whether the absence is a hole; owner: which repository each belongs
 * to. */
static size_t all_places(struct arena *a, const struct get *g, struct wal_place **places,
	struct wal_get_repo ***owner)
{
	size_t n = 0, max = 0;

	for (size_t i = 0; i < g->n; i++)
		max += g->repos[i].n;
	*places = arena_zalloc(a, max * sizeof(**places));
	*owner = arena_zalloc(a, max * sizeof(**owner));
	for (size_t i = 0; i < g->n; i++) {
		for (size_t k = 0; k < g->repos[i].n; k++) {
			(*places)[n] = g->repos[i].places[k];
			(*owner)[n++] = &g->repos[i];
		}
	}
	return n;
}

/* Nobody has it, and everybody has answered. */
static int absent(struct arena *a, const struct get *g, const char **evidence)
{
	struct wal_place *places;
	struct wal_get_repo **owner;
	size_t at;

	if (g->kind != WAL_SEGMENT)
		return WAL_ABSENT;
	size_t n = all_places(a, g, &places, &owner);
	int rc = wal_is_hole(
		a, places, n, g->o->name, g->o->expect.segment_size, evidence, &at);
	if (rc >= 0)
		return rc == 0 ? WAL_ABSENT : LOOK_AGAIN;
	if (at >= n)
		return -1;
	owner[at]->failed = err_take(g->a);
	return unknown(a, g);
}

static int get_once(struct arena *a, const struct get *g, const char **evidence)
{
	copies c;

	ask_all(a, g, &c);
	if (report_failed(a, g, c.n > 0) != 0)
		return -1;
	if (c.n > 0 && g->o->found != NULL)
		g->o->found(g->o->found_ctx);
	if (c.n > 0)
		return g->kind == WAL_SEGMENT || g->kind == WAL_PARTIAL ? deliver_segment(a, g, &c)
									: deliver_plain(a, g, &c);
	for (size_t i = 0; i < g->n; i++)
		if (g->repos[i].failed != NULL)
			return unknown(a, g);
	return absent(a, g, evidence);
}

static int hole(const struct wal_get_opts *o, const char *evidence)
{
	SCOPED_ARENA(a);

	if (sig_check() != 0)
		return -1;
	if (o->gap_is_end) {
		log_warn("WAL segment %s is missing from the archive%s: recovery ends here (archive-gap=end)",
			o->name, wal_hole_text(a, evidence));
		return WAL_ABSENT;
	}
	(void)err_set(ERR_FILE_MISSING,
		"WAL segment %s is missing from the archive%s", o->name,
		wal_hole_text(a, evidence));
	(void)err_hint(
		"restore the segment from another copy of the archive and start recovery again.");
	if (wal_kind(evidence) == WAL_HISTORY && strncmp(evidence, o->name, 8) == 0)
		(void)err_hint("the timeline begins in this segment: restore with "
			       "--target-timeline=current to stay on the backup's timeline.");
	return err_hint(
		"use --archive-gap=end to end recovery here on purpose: everything later is lost.");
}

int wal_get(struct arena *a, const struct wal_get_opts *o, struct wal_get_repo *repos, size_t n,
	struct wal_got *out)
{
	const struct get g = {a, o, wal_kind(o->name), repos, n, out};
	struct deadline end = deadline_in(o->gap_wait_ms);
	struct backoff pause = {0};

	*out = (struct wal_got){0};
	if (g.kind == WAL_OTHER)
		return err_set(ERR_PARAM_INVALID,
			"'%s' is not the name of a WAL file: a segment, .partial, .backup "
			"or .history file is expected",
			o->name);
	for (;;) {
		SCOPED_ARENA(turn);
		const char *evidence = NULL;
		int rc = get_once(turn, &g, &evidence);
		if (rc != LOOK_AGAIN)
			return rc;
		if (!backoff_wait(&pause, end))
			return hole(o, evidence);
	}
}
