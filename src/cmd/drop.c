/*
 * drop: WAL that archive-push gives up: is the queue full, and what becomes of its files?
 *
 * Always true: a file is named in a durable note, or kept, before drop_note says yes.  Notes are never changed; one
 * that is waiting grows by being written anew with more files before the old one goes, so that an archive that is
 * away for long does not get a note per segment.
 */
#include "cmd/drop_intern.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "repo/cluster.h"
#include "repo/wal_check.h"

#define STATUS "archive_status"
#define READY ".ready"
#define DIGITS "0123456789"
#define NOTE_FILES 1000 /* names in one note */

struct store *drop_spool(struct arena *a, const struct config *cfg)
{
	return store_posix(a, cfg->spool_path);
}

char *drop_dir(struct arena *a, const struct config *cfg)
{
	return arena_printf(a, "pgstrata/%s/gap", cfg->stanza);
}

struct listing {
	struct arena *a;
	struct drop_names *out;
};

static int list_entry(void *ctx, const struct store_entry *e)
{
	struct listing *l = ctx;
	int64_t when;

	if (e->type == STORE_DIR && str_all(e->name, strlen(e->name), DIGITS))
		vec_push(&l->out->kept, arena_strdup(l->a, e->name));
	else if (e->type == STORE_FILE && wal_drop_file_parse(e->name, &when))
		vec_push(&l->out->notes, arena_strdup(l->a, e->name));
	return 0;
}

int drop_list(struct arena *a, struct store *spool, const char *dir, struct drop_names *out)
{
	struct listing l = { a, out };

	vec_init(&out->notes, a);
	vec_init(&out->kept, a);
	return store_list(spool, dir, list_entry, &l);
}

/* An empty folder of kept files stays behind: somebody may be about to keep one there. */
bool drop_waits(const struct config *cfg)
{
	SCOPED_ARENA(a);
	struct store *spool = drop_spool(a, cfg);
	const char *dir = drop_dir(a, cfg);
	struct drop_names names;
	struct dir_names kept;
	int rc = drop_list(a, spool, dir, &names);

	for (size_t i = 0; rc == 0 && i < names.kept.n; i++)
		if (dir_list(a, store_name(a, spool, path_join(a, dir, names.kept.v[i])), &kept) != 0 || kept.n > 0)
			rc = -1;
	err_clear();
	return rc < 0 || (rc == 0 && names.notes.n > 0);
}

/* --- the queue --- */

/* A file that PostgreSQL has removed needs no room any more. */
static int size_of(const char *path, uint64_t *size)
{
	struct stat st;

	*size = 0;
	if (sys.stat(path, &st) == 0)
		*size = (uint64_t)st.st_size;
	else if (errno != ENOENT)
		return err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", path);
	return 0;
}

int drop_queue_is_full(struct arena *a, const struct config *cfg, const char *wal_dir, bool *full, const char **why)
{
	SCOPED_ARENA(turn);
	struct dir_names names;
	uint64_t max = (uint64_t)cfg->archive_push_queue_max, sum = 0;

	*full = false;
	*why = NULL;
	if (cfg->archive_push_queue_max < 0)
		return 0;
	if (dir_list(turn, path_join(turn, wal_dir, STATUS), &names) != 0) {
		if (err_code() != ERR_PATH_MISSING)
			return -1;
		err_clear(); /* a file that somebody pushes from elsewhere: nothing waits there */
		return 0;
	}
	for (size_t i = 0; i < names.n && sum <= max; i++) {
		uint64_t size;
		if (!str_ends(names.v[i], READY))
			continue;
		const char *name = arena_strndup(turn, names.v[i], strlen(names.v[i]) - strlen(READY));
		if (size_of(path_join(turn, wal_dir, name), &size) != 0)
			return -1;
		sum += size;
	}
	*full = sum > max;
	*why = *full ? arena_printf(a, "archive queue exceeded %s", str_size(turn, max)) : NULL;
	return 0;
}

/* --- noting --- */

struct noting {
	struct arena *a;
	const struct config *cfg;
	const char *wal_dir;
	struct store *spool;
	const char *dir;
	struct wal_drop note; /* of all the files */
};

/* Directories that a killed run made may not be durable yet. */
static int sync_path(const struct noting *n, const char *dir)
{
	const char *end = path_parent(n->a, n->cfg->spool_path);

	for (dir = store_name(n->a, n->spool, dir); dir_sync(dir) == 0; dir = path_parent(n->a, dir))
		if (strcmp(dir, end) == 0)
			return 0;
	return -1;
}

static int write_new(const struct noting *n, const char *path, const struct buf *content)
{
	const struct put_opts put = { .atomic = true, .create_new = true };

	return store_write(n->spool, path, content->data, content->len, &put);
}

/* 0 kept; 1 there is nothing to keep. */
static int keep(const struct noting *n, const char *name)
{
	SCOPED_ARENA(a);
	const char *dir = arena_printf(a, "%s/%" PRIu64, n->dir, n->note.system_id);
	const char *path = path_join(a, dir, name);
	struct buf content, there;

	buf_init(&content, a);
	buf_init(&there, a);
	if (file_read(path_join(a, n->wal_dir, name), WAL_PLAIN_MAX, &content) != 0) {
		if (err_code() != ERR_FILE_MISSING)
			return -1;
		err_clear();
		return 1;
	}
	if (write_new(n, path, &content) == 0)
		return sync_path(n, dir);
	if (err_code() != ERR_FILE_EXISTS)
		return -1;
	err_clear();
	if (store_read(n->spool, path, WAL_PLAIN_MAX, false, &there) != 0)
		return -1;
	if (there.len != content.len || memcmp(there.data, content.data, content.len) != 0)
		return err_set(ERR_ARCHIVE_DUPLICATE, "'%s' is kept already with a different content",
			store_name(a, n->spool, path));
	return sync_path(n, dir);
}

static bool is_small(const char *name)
{
	return wal_kind(name) == WAL_HISTORY || wal_kind(name) == WAL_BACKUP;
}

/* By name, each once. */
static void sort_names(strvec *v)
{
	size_t kept = 0;

	if (v->n > 0)
		qsort(v->v, v->n, sizeof(*v->v), str_cmp_ptr);
	for (size_t i = 0; i < v->n; i++)
		if (kept == 0 || strcmp(v->v[kept - 1], v->v[i]) != 0)
			v->v[kept++] = v->v[i];
	v->n = kept;
}

/* Can the files go into this note too? */
static bool is_alike(const struct wal_drop *old, const struct wal_drop *d)
{
	return old->why == d->why && old->system_id == d->system_id && strcmp(old->text, d->text) == 0 &&
		old->files.n + d->files.n <= NOTE_FILES;
}

/* The newest note that waits, if it is alike.  What is wrong with it is drop_carry's business. */
static bool find_waiting(const struct noting *n, const struct wal_drop *d, struct wal_drop *out)
{
	struct drop_names names;
	struct buf text;

	buf_init(&text, n->a);
	if (drop_list(n->a, n->spool, n->dir, &names) == 0 && names.notes.n > 0) {
		const char *name = names.notes.v[names.notes.n - 1];
		if (store_read(n->spool, path_join(n->a, n->dir, name), WAL_PLAIN_MAX, false, &text) == 0 &&
			wal_drop_parse(n->a, name, &text, out) == 0 && is_alike(out, d))
			return true;
	}
	err_clear();
	return false;
}

static int write_note(const struct noting *n, struct wal_drop *d)
{
	SCOPED_ARENA(a);
	struct wal_drop old;
	struct buf text;
	bool grows = find_waiting(n, d, &old);

	if (grows) {
		d->when = old.when;
		for (size_t i = 0; i < old.files.n; i++)
			vec_push(&d->files, old.files.v[i]);
		sort_names(&d->files);
	}
	buf_init(&text, a);
	if (wal_drop_new_id(n->a, clock_now_ms() / 1000, &d->id) != 0)
		return -1;
	wal_drop_text(d, &text);
	if (write_new(n, arena_printf(a, "%s/%s" DROP_SUFFIX, n->dir, d->id), &text) != 0 ||
		sync_path(n, n->dir) != 0)
		return -1;
	if (grows && store_remove(n->spool, arena_printf(a, "%s/%s" DROP_SUFFIX, n->dir, old.id), true) != 0)
		err_clear(); /* it says nothing that the new one does not */
	return 0;
}

/* Whose WAL is it?  A note must not come into the archive of another cluster; 0 where nothing tells. */
static uint64_t find_system(const struct noting *n, const strvec *files)
{
	const struct pg_version *forced = NULL;
	struct pg_control control;
	struct wal_header header;
	struct store *pg, *wal = store_posix(n->a, n->wal_dir);

	if (n->cfg->pg.n > 0 && n->cfg->pg.v[0].path != NULL && ctx_forced_version(n->cfg, &forced) == 0 &&
		ctx_pg(n->a, n->cfg, &pg) == 0 && cluster_control(pg, forced, NULL, &control) == 0)
		return control.system_id;
	for (size_t i = 0; i < files->n; i++) {
		const struct get_opts get = { .length = WAL_HEADER, .exact = true };
		struct buf head;
		buf_init(&head, n->a);
		if (!is_small(files->v[i]) && store_get(wal, files->v[i], &get, sink_buf(n->a, &head)) == 0 &&
			wal_header_parse((const uint8_t *)head.data, &header) == 0) {
			err_clear();
			return header.system_id;
		}
	}
	err_clear();
	return 0;
}

static int note_all(struct noting *n, const strvec *files)
{
	struct wal_drop part = n->note;

	for (size_t i = 0; i < files->n; i++) {
		if (wal_kind(files->v[i]) == WAL_OTHER)
			return err_set(ERR_PARAM_INVALID, "'%s' is not the name of a WAL file", files->v[i]);
		/* what was skipped by hand is not wanted, or cannot be pushed */
		bool keeps = n->note.why == WAL_DROP_QUEUE && is_small(files->v[i]);
		int rc = keeps ? keep(n, files->v[i]) : 1;
		if (rc < 0)
			return -1;
		if (rc > 0)
			vec_push(&n->note.files, files->v[i]);
	}
	sort_names(&n->note.files);
	for (size_t i = 0; i < n->note.files.n; i += part.files.n) {
		part.when = n->note.when;
		vec_init(&part.files, n->a);
		for (size_t k = i; k < n->note.files.n && k < i + NOTE_FILES; k++)
			vec_push(&part.files, n->note.files.v[k]);
		size_t own = part.files.n;
		if (write_note(n, &part) != 0)
			return -1;
		part.files.n = own;
	}
	return 0;
}

int drop_note(struct arena *a, const struct config *cfg, enum wal_drop_why why, const char *text,
	const char *wal_dir, const strvec *files)
{
	SCOPED_ARENA(turn);
	struct noting n = { turn, cfg, wal_dir, drop_spool(turn, cfg), drop_dir(turn, cfg), { .why = why } };

	n.note.text = text;
	n.note.when = clock_now_ms() / 1000;
	n.note.system_id = find_system(&n, files);
	vec_init(&n.note.files, turn);
	if (note_all(&n, files) == 0)
		return 0;
	(void)err_wrap("WAL cannot be dropped because no note of it can be left in the spool");
	return err_hint("make spool-path '%s' writable; until then all WAL stays in '%s'.", cfg->spool_path, wal_dir);
}
