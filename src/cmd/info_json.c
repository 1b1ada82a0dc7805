/*
 * info_json: the JSON form of info (info-json.md 2): one line, keys in alphabetical order, no line feed.
 */
#include "cmd/info_intern.h"

#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "form/json.h"

void info_key_str(struct json_out *j, const char *key, const char *value)
{
	json_key(j, key);
	json_str(j, value);
}

void info_key_u64(struct json_out *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_u64(j, value);
}

void info_key_database(struct json_out *j, uint32_t id, unsigned repo_key)
{
	json_key(j, "database");
	json_object_begin(j);
	info_key_u64(j, "id", id);
	info_key_u64(j, "repo-key", repo_key);
	json_object_end(j);
}

static void put_archives(struct json_out *j, const struct info_stanza *s)
{
	json_key(j, "archive");
	json_array_begin(j);
	for (size_t i = 0; i < s->repo_n; i++)
		for (size_t k = 0; k < s->repos[i].archives.n; k++) {
			const struct info_archive *ar = &s->repos[i].archives.v[k];
			json_object_begin(j);
			info_key_database(j, ar->db->id, s->repos[i].key);
			info_key_str(j, "id", ar->id);
			info_key_str(j, "max", ar->max);
			info_key_str(j, "min", ar->min);
			json_object_end(j);
		}
	json_array_end(j);
}

static void put_pair(struct json_out *j, const char *key, const char *start, const char *stop)
{
	json_key(j, key);
	json_object_begin(j);
	info_key_str(j, "start", start);
	info_key_str(j, "stop", stop);
	json_object_end(j);
}

static void put_sizes(struct json_out *j, const struct backup_line *line)
{
	json_key(j, "info");
	json_object_begin(j);
	info_key_u64(j, "delta", line->size_delta);
	json_key(j, "repository");
	json_object_begin(j);
	info_key_u64(j, "delta", line->repo_size_delta);
	if (line->has_map_size) {
		info_key_u64(j, "delta-map", line->repo_size_map_delta);
		info_key_u64(j, "size-map", line->repo_size_map);
	} else {
		info_key_u64(j, "size", line->repo_size);
	}
	json_object_end(j);
	info_key_u64(j, "size", line->size);
	json_object_end(j);
}

static void put_set_databases(struct json_out *j, const struct manifest *m)
{
	json_key(j, "database-ref");
	json_array_begin(j);
	for (size_t i = 0; i < m->dbs.n; i++) {
		if (info_is_template(m->dbs.v[i].name))
			continue;
		json_object_begin(j);
		info_key_str(j, "name", m->dbs.v[i].name);
		info_key_u64(j, "oid", m->dbs.v[i].oid);
		json_object_end(j);
	}
	json_array_end(j);
}

static void put_set_errors(struct json_out *j, const struct manifest *m)
{
	bool any = false;

	for (size_t i = 0; i < m->files.n; i++) {
		const struct manifest_file *f = &m->files.v[i];
		if (!f->page_check || f->page_ok)
			continue;
		if (!any) {
			json_key(j, "error-list");
			json_array_begin(j);
			any = true;
		}
		json_str(j, manifest_pg_path(f->name));
	}
	if (any)
		json_array_end(j);
}

static void put_set_links(struct arena *a, struct json_out *j, const struct manifest *m)
{
	bool any = false;

	json_key(j, "link");
	for (size_t i = 0; i < m->targets.n; i++) {
		const struct manifest_target *t = &m->targets.v[i];
		if (!t->link || t->tablespace_oid != 0)
			continue;
		if (!any)
			json_array_begin(j);
		any = true;
		json_object_begin(j);
		info_key_str(j, "destination", t->file == NULL ? t->path : path_join(a, t->path, t->file));
		info_key_str(j, "name", t->file == NULL ? manifest_pg_path(t->name) : t->file);
		json_object_end(j);
	}
	if (any)
		json_array_end(j);
	else
		json_null(j);
}

static void put_set_tablespaces(struct json_out *j, const struct manifest *m)
{
	bool any = false;

	json_key(j, "tablespace");
	for (size_t i = 0; i < m->targets.n; i++) {
		const struct manifest_target *t = &m->targets.v[i];
		if (t->tablespace_oid == 0)
			continue;
		if (!any)
			json_array_begin(j);
		any = true;
		json_object_begin(j);
		info_key_str(j, "destination", t->path);
		info_key_str(j, "name", t->tablespace_name);
		info_key_u64(j, "oid", t->tablespace_oid);
		json_object_end(j);
	}
	if (any)
		json_array_end(j);
	else
		json_null(j);
}

static void put_references(struct json_out *j, const struct backup_line *line)
{
	json_key(j, "reference");
	if (line->reference.n == 0) {
		json_null(j);
		return;
	}
	json_array_begin(j);
	for (size_t i = 0; i < line->reference.n; i++)
		json_str(j, line->reference.v[i]);
	json_array_end(j);
}

static void put_annotations(struct json_out *j, const struct backup_line *line)
{
	if (line->annotations.n == 0)
		return;
	json_key(j, "annotation");
	json_object_begin(j);
	for (size_t i = 0; i < line->annotations.n; i++)
		info_key_str(j, line->annotations.v[i].key, line->annotations.v[i].value);
	json_object_end(j);
}

static void put_backup(struct arena *a, struct json_out *j, const struct info_backup *b)
{
	const struct backup_line *line = b->line;

	json_object_begin(j);
	put_annotations(j, line);
	put_pair(j, "archive", line->archive_start, line->archive_stop);
	json_key(j, "backrest");
	json_object_begin(j);
	info_key_u64(j, "format", line->format);
	info_key_str(j, "version", line->program);
	json_object_end(j);
	info_key_database(j, line->db_id, b->repo->key);
	if (b->manifest != NULL)
		put_set_databases(j, b->manifest);
	if (line->has_error) {
		json_key(j, "error");
		json_bool(j, line->error);
	}
	if (b->manifest != NULL)
		put_set_errors(j, b->manifest);
	put_sizes(j, line);
	info_key_str(j, "label", line->label);
	if (b->manifest != NULL)
		put_set_links(a, j, b->manifest);
	if (line->lsn_start != NULL && line->lsn_stop != NULL)
		put_pair(j, "lsn", line->lsn_start, line->lsn_stop);
	info_key_str(j, "prior", line->prior);
	put_references(j, line);
	if (b->manifest != NULL)
		put_set_tablespaces(j, b->manifest);
	json_key(j, "timestamp");
	json_object_begin(j);
	json_key(j, "start");
	json_i64(j, line->start);
	json_key(j, "stop");
	json_i64(j, line->stop);
	json_object_end(j);
	info_key_str(j, "type", line->type);
	json_object_end(j);
}

static void put_dbs(struct json_out *j, const struct info_stanza *s)
{
	json_key(j, "db");
	json_array_begin(j);
	for (size_t i = 0; i < s->repo_n; i++) {
		const struct info_repo *r = &s->repos[i];
		for (size_t k = 0; r->loaded && k < r->backup.history.n; k++) {
			json_object_begin(j);
			info_key_u64(j, "id", r->backup.history.v[k].id);
			info_key_u64(j, "repo-key", r->key);
			info_key_u64(j, "system-id", r->backup.history.v[k].system_id);
			info_key_str(j, "version", r->backup.history.v[k].version);
			json_object_end(j);
		}
	}
	json_array_end(j);
}

static void put_repos(struct json_out *j, const struct info_stanza *s)
{
	json_key(j, "repo");
	json_array_begin(j);
	for (size_t i = 0; i < s->repo_n; i++) {
		const struct info_repo *r = &s->repos[i];
		json_object_begin(j);
		info_key_str(j, "cipher", r->cipher);
		info_key_u64(j, "key", r->key);
		json_key(j, "status");
		json_object_begin(j);
		info_key_u64(j, "code", r->code);
		info_key_str(j, "message", r->error != NULL ? r->error : info_message(r->code));
		json_object_end(j);
		json_object_end(j);
	}
	json_array_end(j);
}

static void put_backup_lock(struct json_out *j, const struct info_stanza *s)
{
	uint64_t size = 0, complete = 0;
	bool held = false, progress = false;

	for (size_t i = 0; i < s->repo_n; i++) {
		const struct lock_state *l = &s->repos[i].lock;
		held |= l->held;
		progress |= l->held && l->has_progress;
		size += l->held && l->has_progress ? l->size : 0;
		complete += l->held && l->has_progress ? l->complete : 0;
	}
	json_key(j, "backup");
	json_object_begin(j);
	json_key(j, "held");
	json_bool(j, held);
	if (progress) {
		json_key(j, "repo");
		json_array_begin(j);
		for (size_t i = 0; i < s->repo_n; i++) {
			const struct lock_state *l = &s->repos[i].lock;
			if (!l->held || !l->has_progress)
				continue;
			json_object_begin(j);
			info_key_u64(j, "key", s->repos[i].key);
			info_key_u64(j, "size", l->size);
			info_key_u64(j, "size-cplt", l->complete);
			json_object_end(j);
		}
		json_array_end(j);
		info_key_u64(j, "size", size);
		info_key_u64(j, "size-cplt", complete);
	}
	json_object_end(j);
}

static void put_status(struct json_out *j, const struct info_stanza *s)
{
	json_key(j, "status");
	json_object_begin(j);
	info_key_u64(j, "code", s->code);
	json_key(j, "lock");
	json_object_begin(j);
	put_backup_lock(j, s);
	json_key(j, "restore");
	json_object_begin(j);
	json_key(j, "held");
	json_bool(j, s->restore.held);
	if (s->restore.held && s->restore.has_progress) {
		info_key_u64(j, "size", s->restore.size);
		info_key_u64(j, "size-cplt", s->restore.complete);
	}
	json_object_end(j);
	json_object_end(j);
	info_key_str(j, "message", info_message(s->code));
	json_object_end(j);
}

void info_json(struct arena *a, const struct config *cfg, const struct info_stanza *v, size_t n,
	struct buf *out)
{
	struct json_out j;
	bool full = info_is_full(cfg);

	json_out_init(&j, out);
	json_array_begin(&j);
	for (size_t i = 0; i < n; i++) {
		json_object_begin(&j);
		if (full) {
			put_archives(&j, &v[i]);
			json_key(&j, "backup");
			json_array_begin(&j);
			for (size_t k = 0; k < v[i].backups.n; k++)
				put_backup(a, &j, &v[i].backups.v[k]);
			json_array_end(&j);
			info_key_str(&j, "cipher", info_cipher(&v[i]));
			put_dbs(&j, &v[i]);
		}
		info_key_str(&j, "name", v[i].name);
		if (full) {
			info_archive_json(a, &j, cfg, &v[i]);
			put_repos(&j, &v[i]);
		}
		put_status(&j, &v[i]);
		json_object_end(&j);
	}
	json_array_end(&j);
}
