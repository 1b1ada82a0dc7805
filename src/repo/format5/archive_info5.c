/*
 * archive_info5: archive.info as format 5 spells it (format/repository.md 3).
 *
 * "db-id" is the history id in [db] and the system identifier in [db:history]: two tables.
 */
#include <stdlib.h>
#include <string.h>

#include "repo/archive_info.h"
#include "repo/format5/info_file.h"
#include "repo/layout.h"

static const struct field db_fields[] = {
	FIELD(struct archive_db, "db-id", id, FIELD_U32, FIELD_REQUIRED),
	FIELD(struct archive_db, "db-system-id", system_id, FIELD_U64, 0),
	FIELD(struct archive_db, "db-version", version, FIELD_STR, 0),
	FIELD_END,
};

static const struct field history_fields[] = {
	FIELD(struct archive_db, "db-id", system_id, FIELD_U64, FIELD_REQUIRED),
	FIELD(struct archive_db, "db-version", version, FIELD_STR, FIELD_REQUIRED),
	FIELD_END,
};

struct reading {
	struct arena *a;
	struct archive_info *out;
	struct info_section db;
};

static void begin(void *ctx)
{
	struct reading *r = ctx;

	*r->out = (struct archive_info){0};
	vec_init(&r->out->history, r->a);
	r->db = (struct info_section){0};
}

static int read_history(struct reading *r, const char *key, const char *value, size_t len)
{
	struct json *v = info_value(r->a, value, len);
	struct archive_db db = {0};

	if (v == NULL || info_history_id(key, &db.id) != 0 ||
		fields_read(r->a, history_fields, &db, v) != 0 ||
		info_check_version(db.version) != 0)
		return -1;
	vec_push(&r->out->history, db);
	return 0;
}

static int entry(void *ctx, const char *section, const char *key, const char *value, size_t len)
{
	struct reading *r = ctx;

	if (strcmp(section, "db") == 0)
		return info_section_add(r->a, &r->db, key, value, len);
	if (strcmp(section, "db:history") == 0)
		return read_history(r, key, value, len);
	return 0;
}

static int by_id(const void *x, const void *y)
{
	const struct archive_db *a = x, *b = y;

	return (a->id > b->id) - (a->id < b->id);
}

static int end(void *ctx, const struct info_head *head)
{
	struct reading *r = ctx;
	struct archive_info *info = r->out;
	struct archive_db current = {0};

	if (r->db.last == NULL)
		return err_set(ERR_FORMAT, "section [db] not found");
	if (fields_read(r->a, db_fields, &current, &r->db.object) != 0)
		return err_wrap("[db]");
	info->current = current.id;
	info->cipher_pass = head->cipher_pass;
	qsort(info->history.v, info->history.n, sizeof(*info->history.v), by_id);
	for (size_t i = 1; i < info->history.n; i++)
		if (info->history.v[i].id == info->history.v[i - 1].id)
			return err_set(
				ERR_FORMAT, "[db:history] repeats id %u", info->history.v[i].id);
	if (archive_info_current(info) == NULL)
		return err_set(ERR_FORMAT, "[db:history] lacks the current id %u", info->current);
	return 0;
}

int archive_info_load(struct arena *a, struct store *repo, const char *stanza, const char *pass,
	struct archive_info *out)
{
	static const struct info_parser parser = {begin, entry, end};
	struct reading r = {.a = a, .out = out};

	return info_load(a, repo, layout_archive_info(a, stanza), pass, &parser, &r);
}

int archive_info_save(struct store *repo, const char *stanza, const char *pass,
	const struct archive_info *info)
{
	SCOPED_ARENA(tmp);
	const struct archive_db *current = archive_info_current(info);
	struct buf text;
	struct info_out o;

	if (current == NULL)
		return err_set(
			ERR_ASSERT, "archive info of stanza '%s' lacks its current id", stanza);
	if (info_check_keys(pass, info->cipher_pass) != 0)
		return -1;
	buf_init(&text, tmp);
	info_out_begin(&o, tmp, sink_buf(tmp, &text), repo_program);
	info_out_cipher(&o, info->cipher_pass);
	info_out_section(&o, "db");
	info_out_fields(&o, db_fields, current);
	info_out_section(&o, "db:history");
	for (size_t i = 0; i < info->history.n; i++)
		info_out_row(&o, arena_printf(tmp, "%u", info->history.v[i].id), history_fields,
			&info->history.v[i]);
	if (info_out_finish(&o) != 0)
		return -1;
	return info_save(repo, layout_archive_info(tmp, stanza), pass, &text);
}
