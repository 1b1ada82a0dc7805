/*
 * wal_find: what the archive has of a WAL file.
 *
 * Always true: "not there" is said only after a complete listing; whatever kept us from seeing is
 * -1. Stored names are taken apart here and nowhere else (format/repository.md 6.1).
 */
#include "repo/wal_find.h"

#include <string.h>

#include "base/buf.h"
#include "base/path.h"
#include "base/str.h"
#include "pg/timeline.h"
#include "repo/layout.h"
#include "repo/wal_check.h"
#include "repo/wal_drop.h"

#define HEX_UPPER "0123456789ABCDEF"
#define PARTIAL ".partial"
#define SUFFIX_XZ ".xz" /* known to the format, never written, and nothing that we can expand */

bool wal_stored_parse(const char *file_name, struct wal_stored *out)
{
	size_t len = strlen(file_name);

	memset(out, 0, sizeof(*out));
	if (len < WAL_NAME + 1 + SHA1_HEX || !str_all(file_name, WAL_NAME, HEX_UPPER))
		return false;
	out->name_len = WAL_NAME;
	if (str_starts(file_name + WAL_NAME, PARTIAL))
		out->name_len += strlen(PARTIAL);
	if (len < out->name_len + 1 + SHA1_HEX || file_name[out->name_len] != '-' ||
		!sum_parse(file_name + out->name_len + 1, &out->sum))
		return false;
	const char *suffix = file_name + out->name_len + 1 + SHA1_HEX;
	out->unreadable = strcmp(suffix, SUFFIX_XZ) == 0;
	if (out->unreadable)
		return true;
	for (unsigned c = 0; c < CODEC_COUNT; c++) {
		out->codec = (enum codec)c;
		if (strcmp(suffix, codec_info(out->codec)->suffix) == 0)
			return true;
	}
	return false;
}

bool wal_is_dir(const struct store_entry *e)
{
	return (e->type == STORE_DIR || e->type == STORE_LINK) && strlen(e->name) == WAL_DIR &&
		str_all(e->name, WAL_DIR, HEX_UPPER);
}

bool wal_is_stored_segment(const char *file_name)
{
	struct wal_stored s;

	return wal_stored_parse(file_name, &s) && s.name_len == WAL_NAME && !s.unreadable;
}

struct find {
	struct arena *a;
	const char *dir, *name;
	wal_files *out;
};

static int find_entry(void *ctx, const struct store_entry *e)
{
	struct find *f = ctx;
	struct wal_stored s;

	if (!wal_stored_parse(e->name, &s) || s.name_len != strlen(f->name) ||
		strncmp(e->name, f->name, s.name_len) != 0)
		return 0;
	/* something has its name: that is no proof of absence */
	if (e->type == STORE_DIR)
		return err_set(ERR_FORMAT, "WAL file '%s' in '%s' is a directory", e->name, f->dir);
	if (s.unreadable)
		return err_set(ERR_FEATURE,
			"WAL file '%s' in '%s' is compressed with xz, which cannot be read",
			e->name, f->dir);
	struct wal_file *w = vec_add(f->out);
	w->path = path_join(f->a, f->dir, e->name);
	w->name = path_base(w->path);
	w->sum = s.sum;
	w->codec = s.codec;
	return 0;
}

static int find_exact(const struct find *f, struct store *repo)
{
	struct store_entry e;
	const char *path = path_join(f->a, f->dir, f->name);
	int rc = store_stat(f->a, repo, path, &e);

	if (rc != 0)
		return rc == STORE_ABSENT ? 0 : -1;
	if (e.type == STORE_DIR)
		return err_set(ERR_FORMAT, "'%s' is a directory", store_name(f->a, repo, path));
	struct wal_file *w = vec_add(f->out);
	w->path = path;
	w->name = path_base(path);
	w->plain_name = true;
	return 0;
}

int wal_find(struct arena *a, const struct wal_place *place, const char *name, wal_files *out)
{
	struct find f = {
		a, layout_wal_dir(a, place->stanza, place->archive_id, name), name, out};
	enum wal_kind kind = wal_kind(name);

	vec_init(out, a);
	if (kind != WAL_SEGMENT && kind != WAL_PARTIAL)
		return find_exact(&f, place->repo);
	return store_list(place->repo, f.dir, find_entry, &f) < 0 ? -1 : 0;
}

/* What an archive id's directory holds, as names: directories of segments, and history files. */
struct top {
	struct arena *a;
	strvec dirs, histories;
};

static int top_entry(void *ctx, const struct store_entry *e)
{
	struct top *t = ctx;

	if (wal_is_dir(e))
		vec_push(&t->dirs, arena_strdup(t->a, e->name));
	else if (wal_kind(e->name) == WAL_HISTORY)
		vec_push(&t->histories, arena_strdup(t->a, e->name));
	return 0;
}

static int top_list(struct arena *a, struct store *repo, const char *root, struct top *out)
{
	out->a = a;
	vec_init(&out->dirs, a);
	vec_init(&out->histories, a);
	return store_list(repo, root, top_entry, out) < 0 ? -1 : 0;
}

static char *archive_dir(struct arena *a, const struct wal_place *place)
{
	return path_join(a, layout_archive_root(a, place->stanza), place->archive_id);
}

/* The question of wal_is_hole, taken apart. */
struct hole {
	struct arena *a;
	const struct wal_place *places;
	size_t n, at; /* at: the place being asked */
	const char *segment;
	uint32_t segment_size;
	struct wal_pos pos;
	const char *evidence;
};

static int later_entry(void *ctx, const struct store_entry *e)
{
	struct hole *h = ctx;
	struct wal_stored s;

	if (h->evidence == NULL && e->type != STORE_DIR && wal_stored_parse(e->name, &s) &&
		strncmp(e->name, h->segment, 8) == 0 && strncmp(e->name, h->segment, WAL_NAME) > 0)
		h->evidence = arena_strndup(h->a, e->name, s.name_len);
	return 0;
}

/* A later segment of the same timeline: only directories from the segment's own on can have one. */
static int find_later(struct hole *h, const char *root, const struct top *top)
{
	struct store *repo = h->places[h->at].repo;

	for (size_t i = 0; i < top->dirs.n && h->evidence == NULL; i++) {
		const char *dir = top->dirs.v[i];
		if (strncmp(dir, h->segment, 8) != 0 || strncmp(dir, h->segment, WAL_DIR) < 0)
			continue;
		if (store_list(repo, path_join(h->a, root, dir), later_entry, h) < 0)
			return -1;
	}
	return h->evidence != NULL;
}

/* Does any archive have the segment under another timeline's name?  1, 0, -1. */
static int has_segment(struct hole *h, uint32_t timeline)
{
	char name[WAL_NAME + 1];
	wal_files found;
	size_t asked = h->at;

	wal_name((struct wal_pos){timeline, h->pos.segment}, h->segment_size, name);
	for (h->at = 0; h->at < h->n; h->at++) {
		if (wal_find(h->a, &h->places[h->at], name, &found) != 0)
			return -1;
		if (found.n > 0)
			break;
	}
	bool present = h->at < h->n;
	h->at = asked;
	return present;
}

/* The line of descent goes on from our segment itself: then a descendant that begins in it has its
 * own copy of the segment, which recovery asks for first.  1 if some descendant's copy is there, 0,
 * -1. */
static int descendant_has_it(struct hole *h, const struct timeline_history *line)
{
	bool begun = false;

	for (size_t i = 0; i < line->v.n; i++) {
		const struct timeline_switch *s = &line->v.v[i];
		if (!begun) {
			begun = s->parent == h->pos.timeline;
			continue;
		}
		int rc = has_segment(h, s->parent);
		if (rc != 0)
			return rc;
		if (wal_segment_of(s->lsn, h->segment_size) > h->pos.segment)
			return 0; /* what comes after begins in a later segment */
	}
	return has_segment(h, line->timeline);
}

/* The timeline itself begins in our segment: without its copy PostgreSQL goes on in an ancestor's,
 * beyond the point where the line left it, and ends with the rows of another line (seen with 15).
 */
static int ancestor_has_it(struct hole *h, const struct timeline_history *line)
{
	for (size_t i = 0; i < line->v.n; i++) {
		uint32_t parent = line->v.v[i].parent;
		uint64_t lsn;
		if (!timeline_left_at(line, parent, &lsn) ||
			wal_segment_of(lsn, h->segment_size) != h->pos.segment)
			continue;
		int rc = has_segment(h, parent);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* Does the line leave our timeline after our segment, or in it without a copy of its own?  1, 0,
 * -1. */
static int leaves_after(struct hole *h, const struct timeline_history *line)
{
	uint64_t lsn;

	if (!timeline_left_at(line, h->pos.timeline, &lsn))
		return 0;
	/* A line that leaves before our segment, or at its very first byte, has nothing in it. */
	uint64_t left = wal_segment_of(lsn, h->segment_size);
	if (left < h->pos.segment || lsn == h->pos.segment * h->segment_size)
		return 0;
	int rc = left > h->pos.segment ? 0 : descendant_has_it(h, line);
	return rc < 0 ? -1 : rc == 0;
}

static int check_descent(struct hole *h, const char *root, const char *name)
{
	struct timeline_history line;
	struct buf text;
	uint64_t timeline;
	const char *path = path_join(h->a, root, name);
	struct store *repo = h->places[h->at].repo;

	if (!str_hex_to_u64(name, 8, &timeline) || timeline < h->pos.timeline)
		return 0;
	buf_init(&text, h->a);
	int rc = wal_read_text(&h->places[h->at], path, true, &text);
	if (rc != 0)
		return rc == STORE_ABSENT ? 0 : -1;
	if (timeline_parse(h->a, (uint32_t)timeline, text.data, text.len, &line) != 0)
		return err_wrap("timeline history '%s'", store_name(h->a, repo, path));
	rc = timeline == h->pos.timeline ? ancestor_has_it(h, &line) : leaves_after(h, &line);
	if (rc == 1)
		h->evidence = name;
	return rc;
}

static int ask_place(struct hole *h)
{
	const struct wal_place *p = &h->places[h->at];
	const char *root = archive_dir(h->a, p);
	struct top top;

	if (top_list(h->a, p->repo, root, &top) != 0)
		return -1;
	int rc = find_later(h, root, &top);
	for (size_t i = 0; rc == 0 && i < top.histories.n; i++)
		rc = check_descent(h, root, top.histories.v[i]);
	return rc;
}

/* A note that names the segment tells more than a later segment does, and one that might, more than nothing. */
static int ask_notes(struct hole *h, const char **perhaps)
{
	const char *how;
	int rc = wal_was_dropped(h->a, h->places, h->n, h->segment, &how, &h->at);

	if (rc > 0)
		h->evidence = arena_printf(h->a, "it was dropped %s", how);
	else if (rc == 0 && how != NULL)
		*perhaps = arena_printf(h->a, "it may be what was dropped %s", how);
	return rc;
}

char *wal_hole_text(struct arena *a, const char *evidence)
{
	if (wal_kind(evidence) == WAL_OTHER)
		return arena_printf(a, ": %s", evidence);
	return arena_printf(a, " although %s is present", evidence);
}

int wal_is_hole(struct arena *a, const struct wal_place *places, size_t n, const char *segment,
	uint32_t segment_size, const char **evidence, size_t *at)
{
	const char *perhaps = NULL;
	struct hole h = {.a = a,
		.places = places,
		.n = n,
		.segment = segment,
		.segment_size = segment_size};
	int rc = 0;

	*evidence = NULL;
	*at = 0;
	if (!wal_parse(segment, segment_size, &h.pos))
		return err_set(ERR_FORMAT, "'%s' is not the name of a WAL segment of %u bytes",
			segment, segment_size);
	rc = ask_notes(&h, &perhaps);
	*at = h.at;
	for (h.at = 0; rc == 0 && h.at < n; h.at++) {
		rc = ask_place(&h);
		*at = h.at;
	}
	if (rc == 0 && perhaps != NULL) {
		h.evidence = perhaps;
		rc = 1;
	}
	*evidence = h.evidence;
	return rc;
}

struct ends {
	struct arena *a;
	const char *first, *last;
};

static int ends_entry(void *ctx, const struct store_entry *e)
{
	struct ends *x = ctx;
	struct wal_stored s;

	if (e->type == STORE_DIR || !wal_stored_parse(e->name, &s) || s.name_len != WAL_NAME)
		return 0;
	x->last = arena_strndup(x->a, e->name, WAL_NAME);
	if (x->first == NULL)
		x->first = x->last;
	return 0;
}

int wal_min_max(struct arena *a, const struct wal_place *place, const char **min, const char **max)
{
	struct store *repo = place->repo;
	const char *root = archive_dir(a, place);
	struct ends low = {a, NULL, NULL}, high = {a, NULL, NULL};
	struct top top;

	*min = *max = NULL;
	if (top_list(a, repo, root, &top) != 0)
		return -1;
	for (size_t i = 0; i < top.dirs.n && low.first == NULL; i++)
		if (store_list(repo, path_join(a, root, top.dirs.v[i]), ends_entry, &low) < 0)
			return -1;
	for (size_t i = top.dirs.n; i > 0 && high.last == NULL; i--)
		if (store_list(repo, path_join(a, root, top.dirs.v[i - 1]), ends_entry, &high) < 0)
			return -1;
	*min = low.first;
	*max = high.last;
	return 0;
}
