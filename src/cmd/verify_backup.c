/*
 * verify_backup: which backups there are, what they are made of, what they need.
 *
 * Manifests are read one after the other, oldest first, and forgotten again.
 */
#include "cmd/verify_intern.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "pg/version.h"
#include "repo/block_stored.h"
#include "repo/catalog.h"

static struct verify_backup *backup_of(struct verify *v, struct map *seen, const char *label)
{
	if (!map_has(seen, label)) {
		struct verify_backup *b = vec_add(&v->backups);
		b->label = arena_strdup(v->arena, label);
		vec_init(&b->uses, v->arena);
		map_put(seen, label, (void *)(uintptr_t)v->backups.n);
	}
	return &v->backups.v[(uintptr_t)map_get(seen, label) - 1];
}

static int by_label(const void *x, const void *y)
{
	return strcmp(((const struct verify_backup *)x)->label, ((const struct verify_backup *)y)->label);
}

/* Without a list, every folder counts as listed: that the list is missing is said once. */
static int find_backups(struct verify *v)
{
	SCOPED_ARENA(a);
	struct map *seen = map_new(a);
	strvec labels;

	if (catalog_labels(a, v->repo->store, v->stanza, &labels) != 0) {
		if (err_code() == ERR_TERM)
			return -1;
		verify_find(v, "the backups cannot be listed, so nobody knows whether they are there: %s", err_msg());
		err_clear();
		return 0;
	}
	for (size_t i = 0; i < labels.n; i++) {
		struct verify_backup *b = backup_of(v, seen, labels.v[i]);
		b->on_disk = true;
		b->listed = !v->has_backup;
	}
	for (size_t i = 0; v->has_backup && i < v->backup.backups.n; i++)
		backup_of(v, seen, v->backup.backups.v[i].label)->listed = true;
	if (v->backups.n > 0)
		qsort(v->backups.v, v->backups.n, sizeof(*v->backups.v), by_label);
	return 0;
}

static bool db_known(const struct verify *v, const struct backup_db *db)
{
	if (!v->has_backup)
		return true;
	for (size_t i = 0; i < v->backup.history.n; i++) {
		const struct backup_db *h = &v->backup.history.v[i];
		if (h->id == db->id && h->system_id == db->system_id && strcmp(h->version, db->version) == 0)
			return true;
	}
	return false;
}

static void take_pages(const struct manifest *m, struct verify_backup *b)
{
	for (size_t i = 0; i < m->files.n; i++) {
		const struct manifest_file *f = &m->files.v[i];
		if (!manifest_file_is_bad(f))
			continue;
		b->bad_files++;
		for (uint32_t r = 0; r < f->bad_n; r++)
			b->bad_pages += (uint64_t)f->bad[r].last - f->bad[r].first + 1;
	}
}

/* archive-copy has put the segments beside the other files of the cluster. */
static bool has_own_wal(struct arena *a, struct manifest *m)
{
	static const char *const dirs[] = { "pg_data/pg_wal", "pg_data/pg_xlog" };

	for (size_t i = 0; m->archive_copy && m->archive_start != NULL && i < 2; i++)
		if (manifest_file_find(m, arena_printf(a, "%s/%s", dirs[i], m->archive_start)) != NULL)
			return true;
	return false;
}

static void take_manifest(struct arena *tmp, struct verify *v, struct verify_backup *b, struct manifest *m)
{
	struct arena *a = v->arena;

	if (!db_known(v, &m->db)) {
		b->foreign = arena_printf(a, "'%s' may not be recoverable - PG data (id %u, version %s, system-id "
			"%" PRIu64 ") is not in the backup.info history, skipping", b->label, m->db.id, m->db.version,
			m->db.system_id);
		b->status = VERIFY_INVALID;
		return;
	}
	if (block_find_beta(m) != NULL) {
		b->foreign = arena_printf(a, "backup '%s' cannot be restored but by pgBackRest %s, which stored blocks in it "
			"as a test, in a form that only releases before 2.46 read, skipping", b->label, m->program);
		b->status = VERIFY_INVALID;
		return;
	}
	b->archive_id = layout_archive_id(a, m->db.version, m->db.id);
	b->start = m->archive_start == NULL ? NULL : arena_strdup(a, m->archive_start);
	b->stop = m->archive_stop == NULL ? NULL : arena_strdup(a, m->archive_stop);
	b->own_wal = has_own_wal(tmp, m);
	b->total = m->files.n;
	take_pages(m, b);
	verify_objects_take(&v->objects, m, &b->uses);
}

/* What the list tells of a backup whose manifest cannot. */
static void take_line(struct verify *v, struct verify_backup *b)
{
	const struct backup_line *line = v->has_backup ? backup_info_find(&v->backup, b->label) : NULL;

	for (size_t i = 0; line != NULL && i < v->backup.history.n; i++)
		if (v->backup.history.v[i].id == line->db_id)
			b->archive_id = layout_archive_id(v->arena, v->backup.history.v[i].version, line->db_id);
	if (line != NULL) {
		b->start = line->archive_start;
		b->stop = line->archive_stop;
	}
}

static bool is_newest(const struct verify *v, const struct verify_backup *b)
{
	for (const struct verify_backup *o = b + 1; o < v->backups.v + v->backups.n; o++)
		if (o->on_disk)
			return false;
	return true;
}

static void no_manifest(struct verify *v, struct verify_backup *b)
{
	b->status = VERIFY_NO_MANIFEST;
	b->unknown = true;
	take_line(v, b);
	if (!b->listed && is_newest(v, b)) {
		b->status = VERIFY_IN_PROGRESS;
		log_info("backup '%s' appears to be in progress, skipping", b->label);
	} else {
		log_detail("backup '%s' has no backup.manifest: it was expired or never completed", b->label);
	}
}

static int read_backup(struct verify *v, struct verify_backup *b)
{
	SCOPED_ARENA(a);
	struct manifest *m;

	if (!b->on_disk) {
		no_manifest(v, b);
		return 0;
	}
	int rc = verify_manifest(a, v, b, &m);
	if (rc < 0 && err_code() == ERR_TERM)
		return -1;
	/* what only has a copy is unfinished (format/repository.md 5.13), unless the list says that it was finished */
	if (rc == STORE_ABSENT || (!b->main_seen && !b->listed)) {
		err_clear();
		no_manifest(v, b);
		return 0;
	}
	if (b->main_why != NULL)
		log_detail("%s", b->main_why);
	if (b->copy_why != NULL)
		log_detail("%s", b->copy_why);
	if (rc < 0) {
		err_clear();
		b->status = VERIFY_INVALID;
		b->unknown = true;
		take_line(v, b);
		return 0;
	}
	take_manifest(a, v, b, m);
	return 0;
}

/* For blocks that lie in earlier backups, which are not looked at otherwise. */
static int read_earlier(struct verify *v, struct verify_backup *b)
{
	SCOPED_ARENA(a);
	struct verify_backup earlier = { .label = b->label };
	struct manifest *m;

	int rc = verify_manifest(a, v, &earlier, &m);
	if (rc < 0 && err_code() == ERR_TERM)
		return -1;
	err_clear();
	if (rc == 0)
		verify_objects_take(&v->objects, m, NULL);
	return 0;
}

static bool is_wanted(const struct verify *v, const struct verify_backup *b)
{
	return v->set == NULL || strcmp(b->label, v->set) == 0;
}

/* Those that the one backup asked for names in its list of references, if it has files stored as blocks. */
static int read_references(struct verify *v)
{
	const struct verify_objects *o = &v->objects;
	size_t known = o->labels.n;

	for (size_t i = 0; o->maps.n > 0 && i < v->backups.n; i++) {
		struct verify_backup *b = &v->backups.v[i];
		size_t k = 0;
		while (k < known && strcmp(o->labels.v[k].label, b->label) != 0)
			k++;
		if (k < known && b->on_disk && !is_wanted(v, b) && read_earlier(v, b) != 0)
			return -1;
	}
	return 0;
}

/* 0, 1 if the one that was asked for is not there. */
static int check_set(struct verify *v)
{
	if (!label_is_valid(v->set)) {
		vec_push(&v->lines, arena_printf(v->arena, "'%s' is not a valid backup label format", v->set));
		return 1;
	}
	for (size_t i = 0; i < v->backups.n; i++)
		if (strcmp(v->backups.v[i].label, v->set) == 0)
			return 0;
	vec_push(&v->lines, arena_printf(v->arena, "backup set %s is not valid", v->set));
	return 1;
}

int verify_backups(struct verify *v)
{
	size_t kept = 0;

	vec_init(&v->backups, v->arena);
	if (find_backups(v) != 0)
		return -1;
	if (v->set != NULL && check_set(v) != 0)
		return 1;
	/* manifests are encrypted with a passphrase that only backup.info has */
	if (!v->has_backup && (v->repo->pass != NULL || v->sealed)) {
		v->backups.n = 0;
		return 0;
	}
	for (size_t i = 0; i < v->backups.n; i++) {
		struct verify_backup *b = &v->backups.v[i];
		if (is_wanted(v, b) && read_backup(v, b) != 0)
			return -1;
	}
	if (v->set != NULL && read_references(v) != 0)
		return -1;
	for (size_t i = 0; i < v->backups.n; i++)
		if (is_wanted(v, &v->backups.v[i]))
			v->backups.v[kept++] = v->backups.v[i];
	v->backups.n = kept;
	return 0;
}
