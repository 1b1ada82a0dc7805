/*
 * verify_wal: what the archive has.
 *
 * Segments are only named here, workers read them.  Histories and .backup files are small, and which gaps are holes
 * depends on them: they are read at once.
 */
#include "cmd/verify_intern.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "repo/layout.h"
#include "repo/wal_check.h"
#include "repo/wal_survey.h"

/* --- listing --- */

struct listing {
	struct verify *v;
	struct verify_archive *ar;
	strvec dirs;
	const char *dir;    /* being listed */
	const char *prefix; /* its last part; NULL: the archive id's own folder */
	size_t segments;
};

static bool is_wanted(const struct verify *v, const struct verify_archive *ar, const char *name)
{
	if (v->set == NULL)
		return true;
	const struct verify_backup *b = v->backups.n == 0 ? NULL : &v->backups.v[0];
	return b != NULL && b->start != NULL && b->stop != NULL && strcmp(b->archive_id, ar->id) == 0 &&
		strncmp(name, b->start, WAL_NAME) >= 0 && strncmp(name, b->stop, WAL_NAME) <= 0;
}

static struct verify_wal *add_file(struct listing *l, const struct store_entry *e, enum wal_kind kind)
{
	struct arena *a = l->v->arena;
	struct verify_wal *w = vec_add(&l->ar->files);

	w->path = path_join(a, l->dir, e->name);
	w->name = path_base(w->path);
	w->kind = kind;
	w->size = e->size;
	w->mtime = e->mtime;
	w->result.msg = "";
	if (e->type == STORE_DIR || e->type == STORE_SPECIAL) {
		w->judged = true;
		w->result = (struct check_result){ CHECK_DAMAGED, ERR_FILE_READ,
			arena_printf(a, "'%s' is not a file", store_name(a, l->v->repo->store, w->path)) };
	}
	return w;
}

static int see_file(void *ctx, const struct store_entry *e)
{
	struct listing *l = ctx;
	struct wal_stored s;
	enum wal_kind kind = wal_kind(e->name);

	/* where nobody looks for it, it is not a file of the archive */
	if (strncmp(e->name, l->prefix, WAL_DIR) != 0)
		return 0;
	if (kind == WAL_BACKUP && l->v->set == NULL)
		add_file(l, e, kind);
	if (kind != WAL_OTHER || !wal_stored_parse(e->name, &s))
		return 0;
	kind = s.name_len == WAL_NAME ? WAL_SEGMENT : WAL_PARTIAL;
	l->segments += kind == WAL_SEGMENT;
	if (!is_wanted(l->v, l->ar, e->name) || (l->v->set != NULL && kind != WAL_SEGMENT))
		return 0;
	struct verify_wal *w = add_file(l, e, kind);
	w->sum = s.sum;
	w->codec = s.codec;
	if (s.unreadable) {
		w->judged = true;
		w->result = (struct check_result){ CHECK_UNREAD, ERR_FEATURE,
			"compressed with xz, which cannot be read" };
	}
	return 0;
}

static int see_top(void *ctx, const struct store_entry *e)
{
	struct listing *l = ctx;

	if (wal_kind(e->name) == WAL_HISTORY) {
		if (l->v->set == NULL)
			add_file(l, e, WAL_HISTORY);
	} else if (wal_is_dir(e)) {
		vec_push(&l->dirs, arena_strdup(l->v->arena, e->name));
	}
	return 0;
}

static int list_folder(struct listing *l, const char *dir, store_list_fn *see)
{
	l->dir = dir;
	/* absent: removed while we looked */
	if (store_list(l->v->repo->store, dir, see, l) >= 0)
		return 0;
	if (err_code() == ERR_TERM)
		return -1;
	vec_push(&l->ar->unlisted, arena_strdup(l->v->arena, err_msg()));
	err_clear();
	return 0;
}

/* --- files that are read at once, because they are small and the rest depends on them --- */

static int read_text(struct arena *a, struct verify_archive *ar, struct verify_wal *w, struct buf *text)
{
	for (int look = 0; look < 2; look++) {
		buf_reset(text);
		int rc = wal_read_text(&ar->place, w->path, true, text);
		w->result = (struct check_result){ .msg = "" };
		if (rc == 0)
			return 0;
		if (rc < 0 && err_code() == ERR_TERM)
			return -1;
		if (rc < 0)
			check_take(a, &w->result);
		else
			w->result.state = CHECK_MISSING;
	}
	return 1;
}

static int take_history(struct arena *a, struct verify_archive *ar, struct verify_wal *w, const struct buf *text)
{
	struct timeline_history h;
	uint64_t timeline = 0;

	if (wal_check_history(arena_printf(a, "'%s'", store_name(a, ar->place.repo, w->path)), w->name, text) != 0) {
		check_take(a, &w->result);
		return 0;
	}
	(void)str_hex_to_u64(w->name, 8, &timeline);
	if (timeline_parse(a, (uint32_t)timeline, text->data, text->len, &h) == 0)
		vec_push(&ar->histories, h);
	err_clear();
	return 0;
}

static void take_backup_file(struct arena *a, struct verify_archive *ar, struct verify_wal *w, const struct buf *text)
{
	const char *start, *stop;

	if (!wal_survey_backup_file(a, w->name, text, &start, &stop)) {
		w->result = (struct check_result){ CHECK_DAMAGED, ERR_FORMAT, arena_printf(a,
			"'%s' is not the backup history file of its name", store_name(a, ar->place.repo, w->path)) };
		return;
	}
	vec_push(&ar->old_names, start);
	vec_push(&ar->old_names, stop);
}

static int read_small(struct verify *v, struct verify_archive *ar)
{
	struct arena *a = v->arena;
	struct buf text;

	buf_init(&text, a);
	for (size_t i = 0; i < ar->files.n; i++) {
		struct verify_wal *w = &ar->files.v[i];
		if (w->judged || (w->kind != WAL_HISTORY && w->kind != WAL_BACKUP))
			continue;
		w->judged = true;
		int rc = read_text(a, ar, w, &text);
		if (rc < 0)
			return -1;
		if (rc == 0 && w->kind == WAL_HISTORY)
			take_history(a, ar, w, &text);
		else if (rc == 0)
			take_backup_file(a, ar, w, &text);
	}
	return 0;
}

const char *verify_pushed_name(struct arena *a, const struct verify_wal *w)
{
	struct wal_stored s;

	return wal_stored_parse(w->name, &s) ? arena_strndup(a, w->name, s.name_len) : w->name;
}

static int by_path(const void *x, const void *y)
{
	return strcmp(((const struct verify_wal *)x)->path, ((const struct verify_wal *)y)->path);
}

int verify_archive_list(struct verify *v, struct verify_archive *ar)
{
	struct arena *a = v->arena;
	struct listing l = { .v = v, .ar = ar };

	vec_init(&ar->files, a);
	vec_init(&ar->histories, a);
	vec_init(&ar->old_names, a);
	vec_init(&ar->unlisted, a);
	vec_init(&l.dirs, a);
	if (list_folder(&l, ar->root, see_top) != 0)
		return -1;
	for (size_t i = 0; i < l.dirs.n; i++) {
		l.prefix = l.dirs.v[i];
		l.segments = 0;
		if (list_folder(&l, path_join(a, ar->root, l.prefix), see_file) != 0)
			return -1;
		if (l.segments == 0 && !ar->listed)
			log_detail("path '%s/%s' does not contain any valid WAL to be processed", ar->id, l.prefix);
	}
	if (ar->files.n > 0)
		qsort(ar->files.v, ar->files.n, sizeof(*ar->files.v), by_path);
	ar->listed = true;
	if (read_small(v, ar) != 0)
		return -1;
	if (ar->expect.segment_size == 0)
		verify_segment_size(ar);
	return 0;
}

/* --- all archives --- */

struct ids {
	struct arena *a;
	strvec found;
};

static int see_id(void *ctx, const struct store_entry *e)
{
	struct ids *ids = ctx;
	uint32_t id;

	if ((e->type == STORE_DIR || e->type == STORE_LINK) && layout_archive_id_parse(e->name, &id))
		vec_push(&ids->found, arena_strdup(ids->a, e->name));
	return 0;
}

static const struct archive_db *db_of(const struct verify *v, const char *name)
{
	SCOPED_ARENA(a);

	for (size_t i = 0; v->has_archive && i < v->archive.history.n; i++) {
		const struct archive_db *db = &v->archive.history.v[i];
		if (strcmp(layout_archive_id(a, db->version, db->id), name) == 0)
			return db;
	}
	return NULL;
}

static int add_archive(struct verify *v, const char *id)
{
	struct verify_archive *ar = vec_add(&v->archives);

	ar->id = id;
	ar->root = path_join(v->arena, layout_archive_root(v->arena, v->stanza), id);
	ar->db = db_of(v, id);
	ar->place = (struct wal_place){ v->repo->store, v->stanza, id, v->has_archive ? v->archive.cipher_pass : NULL };
	if (ar->db != NULL && v->cfg->pg_version_force == NULL) {
		ar->expect.version = ar->db->version;
		ar->expect.system_id = ar->db->system_id;
	}
	if (wal_drops_load(v->arena, &ar->place, &ar->drops) != 0) {
		if (err_code() == ERR_TERM)
			return -1;
		verify_find(v, "the notes of dropped WAL of archive %s cannot be listed: %s", id, err_msg());
		err_clear();
	}
	return verify_archive_list(v, ar);
}

static void tell_unknown_ids(struct verify *v)
{
	strvec names;

	vec_init(&names, v->arena);
	for (size_t i = 0; v->has_archive && i < v->archives.n; i++)
		if (v->archives.v[i].db == NULL)
			vec_push(&names, v->archives.v[i].id);
	if (names.n == 0)
		return;
	const char *list = str_join(v->arena, &names, ", ");
	log_info("archiveIds '%s' are not in the archive.info history list", list);
	verify_find(v, "the archive has WAL under '%s', which archive.info does not know: no recovery will find it", list);
}

int verify_archives(struct verify *v)
{
	struct arena *a = v->arena;
	struct ids ids = { .a = a };

	vec_init(&v->archives, a);
	vec_init(&ids.found, a);
	/* the archive's files are encrypted with a passphrase that only archive.info has */
	if (!v->has_archive && (v->repo->pass != NULL || v->sealed))
		return 0;
	if (store_list(v->repo->store, layout_archive_root(a, v->stanza), see_id, &ids) < 0) {
		if (err_code() == ERR_TERM)
			return -1;
		verify_find(v, "the archive cannot be listed, so nobody knows whether its WAL is there: %s", err_msg());
		err_clear();
	}
	for (size_t i = 0; i < ids.found.n; i++) {
		if (v->set != NULL && (v->backups.n == 0 || v->backups.v[0].archive_id == NULL ||
				strcmp(v->backups.v[0].archive_id, ids.found.v[i]) != 0))
			continue;
		if (add_archive(v, ids.found.v[i]) != 0)
			return -1;
	}
	tell_unknown_ids(v);
	return 0;
}
