/*
 * backup_info: the index of a stanza's backups (format/repository.md 4).
 */
#ifndef REPO_BACKUP_INFO_H
#define REPO_BACKUP_INFO_H

#include "base/vec.h"
#include "repo/layout.h"
#include "store/store.h"

struct backup_db {
	uint32_t id; /* history id */
	uint64_t system_id;
	const char *version;
	uint32_t control_version, catalog_version;
};

struct annotation {
	const char *key, *value;
};

/* One line of [backup:current]; the comments of the format's table apply. */
struct backup_line {
	const char *label;
	uint32_t format;
	const char *program; /* backrest-version */
	VEC(struct annotation) annotations; /* by key */
	const char *archive_start, *archive_stop; /* NULL when offline */
	bool has_error, error;
	uint64_t repo_size, repo_size_delta;
	bool has_map_size;
	uint64_t repo_size_map, repo_size_map_delta;
	uint64_t size, size_delta;
	const char *lsn_start, *lsn_stop; /* NULL when offline */
	const char *prior;		  /* NULL for a full backup */
	strvec reference;		  /* ascending */
	int64_t start, stop;
	const char *type;
	uint32_t db_id;
	bool archive_check, archive_copy, backup_standby, checksum_page, compress, hardlink, online;
};

struct backup_info {
	uint32_t current; /* history id */
	VEC(struct backup_db) history;	  /* ascending by id */
	VEC(struct backup_line) backups;  /* ascending by label */
	const char *cipher_pass; /* of the manifests (8.2); NULL: not encrypted */
};

const struct backup_db *backup_info_current(const struct backup_info *info);
const struct backup_line *backup_info_find(const struct backup_info *info, const char *label);
/* Insert in order (a line of the same label is replaced). */
void backup_info_add(struct backup_info *info, const struct backup_line *line);
void backup_info_remove(struct backup_info *info, const char *label);

/* As archive_info_load and _save. */
int backup_info_load(struct arena *a, struct store *repo, const char *stanza, const char *pass,
	struct backup_info *out) must_check;
int backup_info_save(struct store *repo, const char *stanza, const char *pass,
	const struct backup_info *info) must_check;

#endif
