/*
 * wal_put: one WAL file into the repositories.
 *
 * Always true: the hash in a segment's name is that of the very bytes that were compressed under it; a
 * segment that was there before counts only after its stored bytes were read back; a .history or
 * .backup file only if its bytes are equal.  Nothing accepted is replaced, but for a damaged copy
 * of the same bytes.
 *
 * A segment that no repository has, the rule, is read once and gets its name at the end.  If one has a file
 * of that name, the hash must be known before anything is written, and the segment is read twice.
 */
#include "repo/wal_put.h"

#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "repo/layout.h"
#include "repo/wal_check.h"

enum need { NEED_NOTHING, NEED_NEW, NEED_REPAIR };

/* What one repository needs. */
struct branch {
	enum need need;
	struct wal_file file; /* stored there, or to be stored */
};

struct push {
	struct arena *a;
	const struct wal_put_opts *o;
	struct wal_put_repo *repos;
	size_t n;
	struct branch *branches; /* n */
	struct store *source;
	const char *source_name;
	struct wal_seen seen;	    /* by the first reading */
	struct err_value *conflict; /* another content turned up after ours was published */
};

static void fail_repo(struct push *p, size_t i)
{
	p->repos[i].failed = err_take(p->a);
}

static int conflict_found(const struct push *p, size_t i)
{
	(void)err_set(ERR_ARCHIVE_DUPLICATE,
		"WAL file '%s' already exists in the repo%u archive with a different checksum",
		p->o->name, p->repos[i].key);
	return err_hint("are multiple primaries archiving to this stanza?");
}

static int two_files(const struct push *p, const wal_files *found)
{
	return err_set(ERR_ARCHIVE_DUPLICATE,
		"duplicates found in archive for WAL segment %s: %s, %s", p->o->name,
		found->v[0].name, found->v[1].name);
}

/* What somebody else published is durable only once its directories are: theirs may not have been
 * synced yet when we saw the file. */
static int sync_duplicate(struct push *p, size_t i)
{
	const struct wal_place *place = &p->repos[i].place;
	const char *dir = layout_wal_dir(p->a, place->stanza, place->archive_id, p->o->name);
	const char *root = layout_archive_root(p->a, place->stanza);

	for (; path_is_below(dir, root); dir = path_parent(p->a, dir))
		if (store_sync_dir(place->repo, dir) != 0)
			return -1;
	return 0;
}

/* The repository had the same bytes already, and this has been proven. */
static int accept_duplicate(struct push *p, size_t i)
{
	if (sync_duplicate(p, i) != 0)
		return -1;
	p->repos[i].duplicate = p->repos[i].has = true;
	if (p->o->mode_check)
		log_warn("WAL file '%s' already exists in the repo%u archive with the same "
			 "checksum\n"
			 "HINT: this is valid in some recovery scenarios but may also indicate a "
			 "problem.",
			p->o->name, p->repos[i].key);
	return 0;
}

/* The end of every push: 0, or what went wrong where. */
static int report(struct push *p)
{
	struct buf lines;

	if (p->conflict != NULL)
		return err_restore(p->conflict);
	buf_init(&lines, p->a);
	for (size_t i = 0; i < p->n; i++)
		if (p->repos[i].failed != NULL)
			wal_add_failure(&lines, p->repos[i].key, p->repos[i].failed);
	if (lines.len == 0)
		return 0;
	return err_set(ERR_COMMAND, "archive-push command encountered error(s):%s", lines.data);
}

static int keep_seen(void *ctx, const struct wal_seen *seen)
{
	struct push *p = ctx;

	p->seen = *seen;
	return 0;
}

static int same_as_seen(void *ctx, const struct wal_seen *seen)
{
	const struct push *p = ctx;

	if (seen->size == p->seen.size && sum_equal(&seen->sum, &p->seen.sum))
		return 0;
	return err_set(ERR_CHECKSUM, "WAL file '%s' changed while it was read", p->o->source);
}

/* Is what was read what it should be? */
static int check_seen(const struct push *p)
{
	SCOPED_ARENA(a);
	const struct wal_expect expect = {p->o->version, p->o->system_id, 0};
	const char *what = arena_printf(a, "WAL file '%s'", p->o->source);

	if (p->seen.size == 0)
		return err_set(ERR_FORMAT, "%s is empty", what);
	if (!p->o->header_check || wal_check_header(&p->seen, what, p->o->name, &expect) == 0)
		return 0;
	if (err_code() == ERR_VERSION_NOT_SUPPORTED)
		return err_hint("is this version of PostgreSQL supported?");
	return -1;
}

/* Before anything is written: size and header, without reading the whole. */
static int check_head(struct push *p)
{
	SCOPED_ARENA(a);
	struct store_entry e;
	struct buf head;
	const struct get_opts get = {.length = sizeof(p->seen.head)};

	buf_init(&head, a);
	if (store_get(p->source, p->source_name, &get, sink_buf(a, &head)) != 0 ||
		store_stat(a, p->source, p->source_name, &e) < 0)
		return -1;
	p->seen.size = e.type == STORE_LINK && e.target_entry != NULL ? e.target_entry->size : e.size;
	p->seen.head_len = head.len;
	memcpy(p->seen.head, head.data, head.len);
	return check_seen(p);
}

/* The first of two readings, for the hash. */
static int first_reading(struct push *p)
{
	SCOPED_ARENA(a);

	if (store_get(p->source, p->source_name, NULL, wal_gate(a, sink_null(a), keep_seen, p)) !=
		0)
		return -1;
	return check_seen(p);
}

static char *stored_path(const struct push *p, size_t i, const char *name)
{
	const struct wal_place *place = &p->repos[i].place;
	const char *dir = layout_wal_dir(p->a, place->stanza, place->archive_id, p->o->name);

	return path_join(p->a, dir, name);
}

/* The file as this push would store it. */
static struct wal_file file_of(struct push *p, size_t i)
{
	char hex[SHA1_HEX + 1];
	struct wal_file f = {.sum = p->seen.sum, .codec = p->o->codec};

	sum_hex(&f.sum, hex);
	f.name = arena_printf(p->a, "%s-%s%s", p->o->name, hex, codec_info(f.codec)->suffix);
	f.path = stored_path(p, i, f.name);
	return f;
}

static int list(struct push *p, size_t i, wal_files *found)
{
	return wal_find(p->a, &p->repos[i].place, p->o->name, found);
}

/* Look in every repository before anything is written; -1 only for what must stop all of it. */
static int look(struct push *p)
{
	wal_files found;

	for (size_t i = 0; i < p->n; i++) {
		struct branch *b = &p->branches[i];
		if (p->repos[i].failed != NULL)
			continue;
		if (list(p, i, &found) != 0 || (found.n > 1 && two_files(p, &found) != 0)) {
			fail_repo(p, i);
			continue;
		}
		if (found.n == 1 && !sum_equal(&found.v[0].sum, &p->seen.sum))
			return conflict_found(p, i);
		b->need = found.n == 0 ? NEED_NEW : NEED_REPAIR;
		b->file = found.n == 0 ? file_of(p, i) : found.v[0];
	}
	return 0;
}

/* Does no repository have a file of this name?  Then each that could be asked gets one whose name waits for the
 * hash.  A repository that cannot be asked is out. */
static bool is_new_everywhere(struct push *p)
{
	wal_files found;

	for (size_t i = 0; i < p->n; i++) {
		if (p->repos[i].failed != NULL)
			continue;
		if (list(p, i, &found) != 0)
			fail_repo(p, i);
		else if (found.n > 0)
			return false;
	}
	for (size_t i = 0; i < p->n; i++) {
		struct branch *b = &p->branches[i];
		if (p->repos[i].failed != NULL)
			continue;
		b->need = NEED_NEW;
		b->file = (struct wal_file){.codec = p->o->codec, .name = p->o->name,
			.path = stored_path(p, i, p->o->name)};
	}
	return true;
}

/* The verdict of a single reading: what is it, and what are the files called? */
static int name_by_content(void *ctx, const struct wal_seen *seen)
{
	struct push *p = ctx;

	p->seen = *seen;
	if (check_seen(p) != 0)
		return -1;
	for (size_t i = 0; i < p->n; i++)
		if (p->branches[i].need == NEED_NEW)
			p->branches[i].file = file_of(p, i);
	return 0;
}

/* A file with our hash in its name: only its bytes prove that it is ours. */
static int read_back(struct push *p, size_t i)
{
	SCOPED_ARENA(a);

	return wal_fetch(a, &p->repos[i].place, &p->branches[i].file, NULL, sink_null(a));
}

/* Which of the files that are there already need no repair after all? */
static void prove_present(struct push *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct branch *b = &p->branches[i];
		if (p->repos[i].failed != NULL || b->need != NEED_REPAIR)
			continue;
		if (read_back(p, i) != 0) {
			log_warn("WAL file '%s' in the repo%u archive is damaged and is stored "
				 "again: [%s] %s",
				b->file.name, p->repos[i].key, err_class(err_code()), err_msg());
			err_clear();
			continue;
		}
		b->need = NEED_NOTHING;
		if (accept_duplicate(p, i) != 0)
			fail_repo(p, i);
	}
}

/* The place's own key comes last, so that one compressor serves repositories with different keys. */
static struct sink *open_stored(struct arena *a, const struct wal_place *place, const char *path,
	const struct put_opts *put)
{
	const struct pipe_spec spec = {.encrypt = place->pass};
	struct pipe_result *passed = arena_new_object(a, struct pipe_result);
	struct sink *s = store_put(a, place->repo, path, put);

	return s == NULL ? NULL : pipe_chain(a, &spec, NULL, NULL, s, passed);
}

/* The repositories that are written with one codec, behind one compressor. */
struct group {
	struct sink **puts;
	struct err_value **failed; /* of the tee, by branch */
	size_t *repo, n;
};

static void group_open(struct push *p, struct arena *a, enum codec codec, struct group *g)
{
	g->puts = arena_zalloc(a, p->n * sizeof(*g->puts));
	g->failed = arena_zalloc(a, p->n * sizeof(*g->failed));
	g->repo = arena_zalloc(a, p->n * sizeof(*g->repo));
	g->n = 0;
	for (size_t i = 0; i < p->n; i++) {
		const struct branch *b = &p->branches[i];
		const struct put_opts put = {.atomic = true, .create_new = b->need == NEED_NEW,
			.final_path = &b->file.path};
		if (p->repos[i].failed != NULL || b->need == NEED_NOTHING || b->file.codec != codec)
			continue;
		struct sink *s = open_stored(a, &p->repos[i].place, b->file.path, &put);
		if (s == NULL) {
			fail_repo(p, i);
			continue;
		}
		g->repo[g->n] = i;
		g->puts[g->n++] = s;
	}
}

/* How many of a group are well?  A failure of the whole (its compressor) is each branch's. */
static size_t group_close(struct push *p, const struct group *g, const struct err_value *whole)
{
	size_t well = 0;

	for (size_t k = 0; k < g->n; k++) {
		const struct err_value *v = g->failed[k] != NULL ? g->failed[k] : whole;
		if (v == NULL) {
			well++;
			continue;
		}
		(void)err_restore(v);
		fail_repo(p, g->repo[k]);
	}
	return well;
}

/* Read once, compress once per codec, into all repositories that need it; they are finished only after the
 * verdict.  -1: the source failed us, and nothing was stored. */
static int write_all(struct push *p, wal_verdict_fn *verdict)
{
	SCOPED_ARENA(a);
	struct group groups[CODEC_COUNT];
	struct sink *heads[CODEC_COUNT];
	struct err_value *whole[CODEC_COUNT] = {NULL}, *v = NULL;
	size_t n = 0, well = 0;

	for (unsigned c = 0; c < CODEC_COUNT; c++) {
		const enum codec codec = (enum codec)c;
		struct group *g = &groups[n];
		group_open(p, a, codec, g);
		if (g->n == 0)
			continue;
		heads[n++] = sink_compress(a, codec,
			codec == p->o->codec ? p->o->level : codec_info(codec)->level_default,
			false, sink_tee(a, g->n, g->puts, g->failed));
	}
	if (n == 0)
		return 0;
	struct sink *gate = wal_gate(a, sink_tee(a, n, heads, whole), verdict, p);
	if (store_get(p->source, p->source_name, NULL, gate) != 0)
		v = err_take(a);
	for (size_t k = 0; k < n; k++)
		well += group_close(p, &groups[k], whole[k]);
	return v != NULL && well > 0 ? err_restore(v) : 0;
}

/* Somebody stored the same name between our look and our write: a duplicate like any other. */
static int settle_existing(struct push *p, size_t i)
{
	wal_files found;

	if (list(p, i, &found) != 0)
		return -1;
	if (found.n > 1)
		return two_files(p, &found);
	if (found.n == 0)
		return err_set(ERR_FILE_MISSING,
			"WAL file '%s' appeared and vanished while it was pushed", p->o->name);
	p->branches[i].file = found.v[0];
	if (!sum_equal(&found.v[0].sum, &p->seen.sum))
		return conflict_found(p, i);
	return read_back(p, i) != 0 ? -1 : accept_duplicate(p, i);
}

/* Look again after publishing: two primaries may have stored different files in the same moment.
 * Neither may count then, so each takes its own away; whoever is asked again decides. */
static int settle_written(struct push *p, size_t i)
{
	const struct branch *b = &p->branches[i];
	const struct wal_file *other = NULL;
	bool ours = false;
	wal_files found;

	if (list(p, i, &found) != 0)
		return -1;
	for (size_t k = 0; k < found.n; k++) {
		if (strcmp(found.v[k].path, b->file.path) == 0)
			ours = true;
		else
			other = &found.v[k];
	}
	if (other == NULL && ours)
		return 0;
	if (other == NULL)
		return err_set(ERR_FILE_MISSING, "WAL file '%s' vanished after it was stored",
			store_name(p->a, p->repos[i].place.repo, b->file.path));
	if (ours && b->need == NEED_NEW && store_remove(p->repos[i].place.repo, b->file.path, true) != 0)
		return err_wrap(
			"WAL file '%s' was stored as '%s' at the same time, and ours must go",
			p->o->name, other->name);
	return sum_equal(&other->sum, &b->file.sum) ? two_files(p, &found) : conflict_found(p, i);
}

static void settle(struct push *p)
{
	for (size_t i = 0; i < p->n; i++) {
		struct wal_put_repo *r = &p->repos[i];
		int rc;
		if (p->branches[i].need == NEED_NOTHING)
			continue;
		if (r->failed == NULL) {
			rc = settle_written(p, i);
		} else if (r->failed->code == ERR_FILE_EXISTS && p->branches[i].need == NEED_NEW) {
			r->failed = NULL;
			rc = settle_existing(p, i);
		} else {
			continue;
		}
		r->has = rc == 0;
		if (rc == 0)
			continue;
		fail_repo(p, i);
		if (r->failed->code == ERR_ARCHIVE_DUPLICATE)
			p->conflict = r->failed;
	}
}

static int put_segment(struct push *p)
{
	if (check_head(p) != 0)
		return -1;
	if (is_new_everywhere(p)) {
		if (write_all(p, name_by_content) != 0)
			return -1;
	} else {
		if (first_reading(p) != 0 || look(p) != 0)
			return -1;
		prove_present(p);
		if (write_all(p, same_as_seen) != 0)
			return -1;
	}
	settle(p);
	return report(p);
}

/* Is a plain file with this content there?  1 yes, 0 absent, -1 unknown or another content. */
static int compare_plain(struct push *p, size_t i, const char *path, const struct buf *text)
{
	SCOPED_ARENA(a);
	struct buf stored;

	buf_init(&stored, a);
	int rc = wal_read_text(&p->repos[i].place, path, true, &stored);
	if (rc != 0)
		return rc == STORE_ABSENT ? 0 : -1;
	if (stored.len == text->len && memcmp(stored.data, text->data, text->len) == 0)
		return 1;
	return conflict_found(p, i);
}

static int write_plain(struct push *p, size_t i, const char *path, const struct buf *text)
{
	SCOPED_ARENA(a);
	const struct put_opts put = {.atomic = true, .create_new = true};
	struct sink *to = open_stored(a, &p->repos[i].place, path, &put);

	if (to != NULL && sink_write(to, text->data, text->len) == 0 && sink_finish(to) == 0)
		return 0;
	if (err_code() != ERR_FILE_EXISTS)
		return -1;
	err_clear();
	int rc = compare_plain(p, i, path, text);
	if (rc < 0)
		return -1;
	return rc == 1 ? accept_duplicate(p, i)
		       : err_set(ERR_FILE_MISSING,
				 "WAL file '%s' appeared and vanished while it was pushed", path);
}

/* .history and .backup files: under their exact name, as they are, never replaced. */
static int put_plain(struct push *p, enum wal_kind kind)
{
	struct buf text;

	buf_init(&text, p->a);
	if (store_read(p->source, p->source_name, WAL_PLAIN_MAX, false, &text) != 0)
		return -1;
	if (kind == WAL_HISTORY &&
		wal_check_history(
			arena_printf(p->a, "file '%s'", p->o->source), p->o->name, &text) != 0)
		return -1;
	for (size_t i = 0; i < p->n; i++) {
		if (p->repos[i].failed != NULL)
			continue;
		int rc = compare_plain(p, i, stored_path(p, i, p->o->name), &text);
		if (rc < 0 && err_code() == ERR_ARCHIVE_DUPLICATE)
			return -1;
		p->branches[i].need = rc == 0 ? NEED_NEW : NEED_NOTHING;
		if (rc < 0 || (rc == 1 && accept_duplicate(p, i) != 0))
			fail_repo(p, i);
	}
	for (size_t i = 0; i < p->n; i++) {
		struct wal_put_repo *r = &p->repos[i];
		if (r->failed != NULL || p->branches[i].need == NEED_NOTHING)
			continue;
		r->has = write_plain(p, i, stored_path(p, i, p->o->name), &text) == 0;
		if (r->has)
			continue;
		fail_repo(p, i);
		if (r->failed->code == ERR_ARCHIVE_DUPLICATE)
			p->conflict = r->failed;
	}
	return report(p);
}

int wal_put(struct arena *a, const struct wal_put_opts *o, struct wal_put_repo *repos, size_t n,
	struct sum *sum)
{
	enum wal_kind kind = wal_kind(o->name);
	struct push p = {.a = a, .o = o, .repos = repos, .n = n};

	if (kind == WAL_OTHER)
		return err_set(ERR_PARAM_INVALID,
			"'%s' is not the name of a WAL file: a segment, .partial, .backup "
			"or .history file is expected",
			o->name);
	p.branches = arena_zalloc(a, n * sizeof(*p.branches));
	p.source = store_posix(a, path_parent(a, o->source));
	p.source_name = path_base(o->source);
	if (o->buffer_size != 0)
		p.source->buffer_size = o->buffer_size;
	if (o->watch != NULL)
		p.source = store_watched(a, p.source, o->watch, 0);
	for (size_t i = 0; i < n; i++)
		repos[i].duplicate = repos[i].has = false;
	int rc = kind == WAL_HISTORY || kind == WAL_BACKUP ? put_plain(&p, kind) : put_segment(&p);
	if (sum != NULL)
		*sum = p.seen.sum;
	return rc;
}
