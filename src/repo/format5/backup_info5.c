/*
 * backup_info5: backup.info as format 5 spells it (format/repository.md 4).
 *
 * Labels become paths, so each one that comes in, also as a prior or a reference, is a valid label.
 */
#include <stdlib.h>
#include <string.h>

#include "repo/format5/format5.h"

const struct field backup_db_fields[] = {
	FIELD(struct backup_db, "db-catalog-version", catalog_version, FIELD_U32, 0),
	FIELD(struct backup_db, "db-control-version", control_version, FIELD_U32, 0),
	FIELD(struct backup_db, "db-id", id, FIELD_U32, FIELD_REQUIRED),
	FIELD(struct backup_db, "db-system-id", system_id, FIELD_U64, 0),
	FIELD(struct backup_db, "db-version", version, FIELD_STR, 0),
	FIELD_END,
};

static const struct field history_fields[] = {
	FIELD(struct backup_db, "db-catalog-version", catalog_version, FIELD_U32, FIELD_REQUIRED),
	FIELD(struct backup_db, "db-control-version", control_version, FIELD_U32, FIELD_REQUIRED),
	FIELD(struct backup_db, "db-system-id", system_id, FIELD_U64, FIELD_REQUIRED),
	FIELD(struct backup_db, "db-version", version, FIELD_STR, FIELD_REQUIRED),
	FIELD_END,
};

#define LINE(key, member, kind, flags) FIELD(struct backup_line, key, member, kind, flags)
#define LINE_OPT(key, member, kind, has) FIELD_OPT(struct backup_line, key, member, kind, has)

static const struct field line_fields[] = {
	LINE("backrest-format", format, FIELD_U32, FIELD_REQUIRED),
	LINE("backrest-version", program, FIELD_STR, FIELD_REQUIRED),
	LINE("backup-annotation", annotations, FIELD_STRMAP, 0),
	LINE("backup-archive-start", archive_start, FIELD_STR_NULL, 0),
	LINE("backup-archive-stop", archive_stop, FIELD_STR_NULL, 0),
	LINE_OPT("backup-error", error, FIELD_BOOL, has_error),
	LINE("backup-info-repo-size", repo_size, FIELD_U64, FIELD_REQUIRED),
	LINE("backup-info-repo-size-delta", repo_size_delta, FIELD_U64, FIELD_REQUIRED),
	LINE_OPT("backup-info-repo-size-map", repo_size_map, FIELD_U64, has_map_size),
	LINE_OPT("backup-info-repo-size-map-delta", repo_size_map_delta, FIELD_U64, has_map_size),
	LINE("backup-info-size", size, FIELD_U64, FIELD_REQUIRED),
	LINE("backup-info-size-delta", size_delta, FIELD_U64, FIELD_REQUIRED),
	LINE("backup-lsn-start", lsn_start, FIELD_STR, 0),
	LINE("backup-lsn-stop", lsn_stop, FIELD_STR, 0),
	LINE("backup-prior", prior, FIELD_STR, 0),
	LINE("backup-reference", reference, FIELD_STRVEC, 0),
	LINE("backup-timestamp-start", start, FIELD_I64, FIELD_REQUIRED),
	LINE("backup-timestamp-stop", stop, FIELD_I64, FIELD_REQUIRED),
	LINE("backup-type", type, FIELD_STR, FIELD_REQUIRED),
	LINE("db-id", db_id, FIELD_U32, FIELD_REQUIRED),
	LINE("option-archive-check", archive_check, FIELD_BOOL, FIELD_REQUIRED),
	LINE("option-archive-copy", archive_copy, FIELD_BOOL, FIELD_REQUIRED),
	LINE("option-backup-standby", backup_standby, FIELD_BOOL, FIELD_REQUIRED),
	LINE("option-checksum-page", checksum_page, FIELD_BOOL, FIELD_REQUIRED),
	LINE("option-compress", compress, FIELD_BOOL, FIELD_REQUIRED),
	LINE("option-hardlink", hardlink, FIELD_BOOL, FIELD_REQUIRED),
	LINE("option-online", online, FIELD_BOOL, FIELD_REQUIRED),
	FIELD_END,
};

struct reading {
	struct arena *a;
	struct backup_info *out;
	struct info_section db;
};

static void begin(void *ctx)
{
	struct reading *r = ctx;

	*r->out = (struct backup_info){0};
	vec_init(&r->out->history, r->a);
	vec_init(&r->out->backups, r->a);
	r->db = (struct info_section){0};
}

static int read_history(struct reading *r, const char *key, struct json *v)
{
	struct backup_db db = {0};

	if (info_history_id(key, &db.id) != 0 || fields_read(r->a, history_fields, &db, v) != 0 ||
		info_check_version(db.version) != 0)
		return -1;
	vec_push(&r->out->history, db);
	return 0;
}

static int check_line(const struct backup_line *l)
{
	enum backup_type type;

	if (!label_is_valid(l->label))
		return err_set(ERR_FORMAT, "not a backup label");
	if (!backup_type_parse(l->type, &type) || type != label_type(l->label))
		return err_set(ERR_FORMAT, "type '%s' does not belong to the label", l->type);
	if ((l->prior == NULL) != (type == BACKUP_FULL))
		return err_set(ERR_FORMAT, "a full backup has no prior, all others have one");
	if (l->prior != NULL && !label_is_valid(l->prior))
		return err_set(ERR_FORMAT, "prior '%s' is not a backup label", l->prior);
	for (size_t i = 0; i < l->reference.n; i++)
		if (!label_is_valid(l->reference.v[i]))
			return err_set(ERR_FORMAT, "reference '%s' is not a backup label",
				l->reference.v[i]);
	return 0;
}

static int annotation_cmp(const void *x, const void *y)
{
	const struct annotation *a = x, *b = y;

	return strcmp(a->key, b->key);
}

static int read_line(struct reading *r, const char *key, struct json *v)
{
	struct backup_line l = {.label = arena_strdup(r->a, key)};

	if (fields_read(r->a, line_fields, &l, v) != 0 || check_line(&l) != 0)
		return -1;
	qsort(l.annotations.v, l.annotations.n, sizeof(*l.annotations.v), annotation_cmp);
	if (backup_info_find(r->out, l.label) != NULL)
		return err_set(ERR_FORMAT, "label is repeated");
	backup_info_add(r->out, &l);
	return 0;
}

static int entry(void *ctx, const char *section, const char *key, const char *value, size_t len)
{
	struct reading *r = ctx;
	bool history = strcmp(section, "db:history") == 0;

	if (strcmp(section, "db") == 0)
		return info_section_add(r->a, &r->db, key, value, len);
	if (!history && strcmp(section, "backup:current") != 0)
		return 0;
	struct json *v = info_value(r->a, value, len);
	if (v == NULL)
		return -1;
	return history ? read_history(r, key, v) : read_line(r, key, v);
}

static int by_id(const void *x, const void *y)
{
	const struct backup_db *a = x, *b = y;

	return (a->id > b->id) - (a->id < b->id);
}

static int check_history(const struct backup_info *info)
{
	for (size_t i = 1; i < info->history.n; i++)
		if (info->history.v[i].id == info->history.v[i - 1].id)
			return err_set(
				ERR_FORMAT, "[db:history] repeats id %u", info->history.v[i].id);
	if (backup_info_current(info) == NULL)
		return err_set(ERR_FORMAT, "[db:history] lacks the current id %u", info->current);
	return 0;
}

static int end(void *ctx, const struct info_head *head)
{
	struct reading *r = ctx;
	struct backup_info *info = r->out;
	struct backup_db current = {0};

	if (r->db.last == NULL)
		return err_set(ERR_FORMAT, "section [db] not found");
	if (fields_read(r->a, backup_db_fields, &current, &r->db.object) != 0)
		return err_wrap("[db]");
	info->current = current.id;
	info->cipher_pass = head->cipher_pass;
	qsort(info->history.v, info->history.n, sizeof(*info->history.v), by_id);
	return check_history(info);
}

int backup_info_load(struct arena *a, struct store *repo, const char *stanza, const char *pass,
	struct backup_info *out)
{
	static const struct info_parser parser = {begin, entry, end};
	struct reading r = {.a = a, .out = out};

	return info_load(a, repo, layout_backup_info(a, stanza), pass, &parser, &r);
}

int backup_info_save(struct store *repo, const char *stanza, const char *pass,
	const struct backup_info *info)
{
	SCOPED_ARENA(tmp);
	const struct backup_db *current = backup_info_current(info);
	struct buf text;
	struct info_out o;

	if (current == NULL)
		return err_set(
			ERR_ASSERT, "backup info of stanza '%s' lacks its current id", stanza);
	if (info_check_keys(pass, info->cipher_pass) != 0)
		return -1;
	buf_init(&text, tmp);
	info_out_begin(&o, tmp, sink_buf(tmp, &text), repo_program);
	if (info->backups.n > 0)
		info_out_section(&o, "backup:current");
	for (size_t i = 0; i < info->backups.n; i++)
		info_out_row(&o, info->backups.v[i].label, line_fields, &info->backups.v[i]);
	info_out_cipher(&o, info->cipher_pass);
	info_out_section(&o, "db");
	info_out_fields(&o, backup_db_fields, current);
	info_out_section(&o, "db:history");
	for (size_t i = 0; i < info->history.n; i++)
		info_out_row(&o, arena_printf(tmp, "%u", info->history.v[i].id), history_fields,
			&info->history.v[i]);
	if (info_out_finish(&o) != 0)
		return -1;
	return info_save(repo, layout_backup_info(tmp, stanza), pass, &text);
}
