/*
 * manifest: what one backup holds, in memory.  How it is spelled: format5; what it must be:
 * manifest_check.
 *
 * Every kind of row begins with its name, so one comparison sorts and finds them all.
 */
#include "repo/manifest.h"

#include <stdlib.h>
#include <string.h>
#include "base/str.h"

const char manifest_owner_unknown[] = "unknown";

#define NAME_FIRST(type, member) \
	_Static_assert(offsetof(struct type, member) == 0, "name is not first")
NAME_FIRST(manifest_file, name);
NAME_FIRST(manifest_path, name);
NAME_FIRST(manifest_link, name);
NAME_FIRST(manifest_target, name);
NAME_FIRST(manifest_db, name);
NAME_FIRST(annotation, key);

struct manifest *manifest_new(struct arena *a)
{
	struct manifest *m = arena_new_object(a, struct manifest);

	m->arena = a;
	m->strings = map_new(a);
	m->format = 5;
	m->program = repo_program;
	vec_init(&m->reference, a);
	vec_init(&m->annotations, a);
	vec_init(&m->dbs, a);
	vec_init(&m->targets, a);
	vec_init(&m->files, a);
	vec_init(&m->links, a);
	vec_init(&m->paths, a);
	return m;
}

const char *manifest_intern(struct manifest *m, const char *s)
{
	char *known = map_get(m->strings, s);

	if (known == NULL) {
		known = arena_strdup(m->arena, s);
		map_put(m->strings, s, known);
	}
	return known;
}

static int name_cmp(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static const char *misplaced(const void *rows, size_t n, size_t size)
{
	const char *at = rows;

	for (size_t i = 1; i < n; i++, at += size)
		if (name_cmp(at, at + size) >= 0)
			return *(const char *const *)(const void *)(at + size);
	return NULL;
}

static void sort(void *rows, size_t n, size_t size)
{
	/* files that anybody wrote and lists that were scanned are sorted already */
	if (misplaced(rows, n, size) != NULL)
		qsort(rows, n, size, name_cmp);
}

#define ROWS(list) (list).v, (list).n, sizeof(*(list).v)

void manifest_sort(struct manifest *m)
{
	sort(ROWS(m->annotations));
	sort(ROWS(m->dbs));
	sort(ROWS(m->targets));
	sort(ROWS(m->files));
	sort(ROWS(m->links));
	sort(ROWS(m->paths));
}

const char *manifest_misplaced(const struct manifest *m)
{
	const char *const names[] = {
		misplaced(ROWS(m->annotations)),
		misplaced(ROWS(m->dbs)),
		misplaced(ROWS(m->targets)),
		misplaced(ROWS(m->files)),
		misplaced(ROWS(m->links)),
		misplaced(ROWS(m->paths)),
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i] != NULL)
			return names[i];
	return NULL;
}

#define FIND(list, name) bsearch(&(name), ROWS(list), name_cmp)

struct manifest_file *manifest_file_find(struct manifest *m, const char *name)
{
	return FIND(m->files, name);
}

const struct manifest_path *manifest_path_find(const struct manifest *m, const char *name)
{
	return FIND(m->paths, name);
}

const struct manifest_target *manifest_target_find(const struct manifest *m, const char *name)
{
	return FIND(m->targets, name);
}

const char *manifest_pg_path(const char *name)
{
	if (strcmp(name, "pg_data") == 0)
		return name + strlen(name);
	return str_starts(name, "pg_data/") ? name + strlen("pg_data/") : name;
}

static const char *dup(struct arena *a, const char *s)
{
	return s == NULL ? NULL : arena_strdup(a, s);
}

static void summarize_files(const struct manifest *m, struct backup_line *out)
{
	for (size_t i = 0; i < m->files.n; i++) {
		const struct manifest_file *f = &m->files.v[i];
		uint64_t stored = f->repo_size != 0 ? f->repo_size : f->size;
		/* maps that are inherited count only in a backup that makes them itself */
		uint64_t map = m->block_incr ? f->block_map_size : 0;

		out->size += f->size;
		out->repo_size += stored;
		out->repo_size_map += map;
		if (manifest_file_is_bad(f))
			out->error = true;
		if (f->reference != NULL)
			continue;
		out->size_delta += f->size;
		out->repo_size_delta += stored;
		out->repo_size_map_delta += map;
	}
}

static void summarize_lists(struct arena *a, const struct manifest *m, struct backup_line *out)
{
	vec_init(&out->annotations, a);
	for (size_t i = 0; i < m->annotations.n; i++) {
		const struct annotation *n = &m->annotations.v[i];

		vec_push(
			&out->annotations, ((struct annotation){dup(a, n->key), dup(a, n->value)}));
	}
	vec_init(&out->reference, a);
	if (m->type == BACKUP_FULL)
		return;
	for (size_t i = 0; i < m->reference.n; i++)
		if (strcmp(m->reference.v[i], m->label) != 0)
			vec_push(&out->reference, dup(a, m->reference.v[i]));
	qsort(out->reference.v, out->reference.n, sizeof(*out->reference.v), str_cmp_ptr);
}

void manifest_summary(struct arena *a, const struct manifest *m, struct backup_line *out)
{
	*out = (struct backup_line){
		.label = dup(a, m->label),
		.format = m->format,
		.program = dup(a, m->program),
		.archive_start = dup(a, m->archive_start),
		.archive_stop = dup(a, m->archive_stop),
		.has_error = true,
		.has_map_size = m->block_incr,
		.lsn_start = dup(a, m->lsn_start),
		.lsn_stop = dup(a, m->lsn_stop),
		.prior = dup(a, m->prior),
		.start = m->start,
		.stop = m->stop,
		.type = backup_type_name(m->type),
		.db_id = m->db.id,
		.archive_check = m->archive_check,
		.archive_copy = m->archive_copy,
		.backup_standby = m->backup_standby,
		.checksum_page = m->checksum_page,
		.compress = m->codec != CODEC_NONE,
		.hardlink = m->hardlink,
		.online = m->online,
	};
	summarize_files(m, out);
	summarize_lists(a, m, out);
}
