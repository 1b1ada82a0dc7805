/*
 * info_intern: what the info command found out, for its two forms; nobody else includes it.
 */
#ifndef CMD_INFO_INTERN_H
#define CMD_INFO_INTERN_H

#include "base/lock.h"
#include "cmd/ctx.h"
#include "repo/manifest.h"

/* Status codes and texts are the reference's (info-json.md 2.2); scripts match on them. */
enum info_code {
	INFO_OK = 0,
	INFO_MISSING_PATH = 1,
	INFO_NO_BACKUP = 2,
	INFO_MISSING_DATA = 3,
	INFO_MIXED = 4,
	INFO_DB_MISMATCH = 5,
	INFO_SET_NOT_FOUND = 6,
	INFO_OTHER = 99
};

struct info_archive {
	const char *id; /* "15-1" */
	const struct archive_db *db;
	const char *min, *max; /* NULL: none */
};

struct info_repo {
	unsigned key;
	struct store *store;
	const char *pass; /* of the repository */
	const char *cipher; /* "none", "aes-256-cbc" */
	enum info_code code;
	const char *error; /* "[Class] text" with INFO_OTHER */
	bool loaded;
	struct archive_info archive;
	struct backup_info backup;
	VEC(struct info_archive) archives; /* oldest id first */
	struct lock_state lock;
};

struct info_backup {
	const struct info_repo *repo;
	const struct backup_line *line;
	struct manifest *manifest; /* with --set only */
};

struct info_stanza {
	const char *name;
	enum info_code code;
	struct info_repo *repos;
	size_t repo_n;
	struct lock_state restore;
	VEC(struct info_backup) backups; /* all repositories, by stop time */
};

const char *info_message(enum info_code code);
/* That of all its repositories, or "mixed". */
const char *info_cipher(const struct info_stanza *s);
/* Template databases are not shown. */
bool info_is_template(const char *database);
void info_json(struct arena *a, const struct config *cfg, const struct info_stanza *v, size_t n,
	struct buf *out);
void info_text(struct arena *a, const struct config *cfg, const struct info_stanza *v, size_t n,
	struct buf *out);

#endif
