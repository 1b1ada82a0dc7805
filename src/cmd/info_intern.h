/*
 * info_intern: what the info command found out, for its two forms; nobody else includes it.
 */
#ifndef CMD_INFO_INTERN_H
#define CMD_INFO_INTERN_H

#include "base/lock.h"
#include "cmd/ctx.h"
#include "form/json.h"
#include "repo/manifest.h"
#include "repo/wal_loss.h"
#include "repo/wal_survey.h"

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

/* What recovery has there. */
struct info_wal {
	wal_timelines timelines;
	wal_windows windows;
};

struct info_archive {
	const char *id; /* "15-1" */
	const struct archive_db *db;
	const char *min, *max; /* NULL: none */
	wal_losses losses;     /* of WAL that was dropped */
	bool surveyed;	       /* with --archive; else it cannot be read */
	struct wal_survey survey;
	uint32_t segment_size; /* of the survey, of another archive of the cluster, or guessed */
	struct info_wal wal;   /* notes are indexes of losses */
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

/* A cluster's archives in several repositories, as archive-get reads them. */
struct info_combined {
	uint64_t system_id;
	const char *version;
	VEC(unsigned) keys;   /* of the repositories */
	VEC(unsigned) unread; /* of those of which nobody knows whether they have something */
	uint32_t segment_size;
	struct info_wal wal;
};

struct info_stanza {
	const char *name;
	enum info_code code;
	struct info_repo *repos;
	size_t repo_n;
	struct lock_state restore;
	VEC(struct info_backup) backups; /* all repositories, by stop time */
	VEC(struct info_combined) combined; /* with --archive, where several repositories have the cluster's WAL */
};

const char *info_message(enum info_code code);
/* That of all its repositories, or "mixed". */
const char *info_cipher(const struct info_stanza *s);
/* All but how far what runs has come? */
bool info_is_full(const struct config *cfg);
/* Template databases are not shown. */
bool info_is_template(const char *database);

/* Has any archive lost WAL because it was dropped? */
bool info_has_dropped(const struct info_stanza *s);
/* Once all repositories have been looked at: what it comes to. */
void info_judge(struct arena *a, struct info_stanza *s);
/* "OK", "LOST_SEGMENTS", "LOST_HISTORY", "UNKNOWN": of one timeline, of all, of an archive. */
const char *info_timeline_status(const struct info_archive *ar, const struct wal_timeline *t);
const char *info_wal_status(const struct info_archive *ar);
/* A segment's name in an arena. */
const char *info_segment(struct arena *a, uint32_t segment_size, struct wal_pos pos);
/* Is this archive, or what all have together, one of this cluster? */
bool info_is_of(const struct archive_db *db, uint64_t system_id, const char *version);

/* A copy without bytes that no reader of text or JSON expects: they may come from a damaged file. */
char *info_readable(struct arena *a, const char *text);
void info_key_str(struct json_out *j, const char *key, const char *value);
void info_key_u64(struct json_out *j, const char *key, uint64_t value);
void info_key_database(struct json_out *j, uint32_t id, unsigned repo_key);
/* The key pgstrata of a stanza, if there is something to say. */
void info_archive_json(struct arena *a, struct json_out *j, const struct config *cfg, const struct info_stanza *s);
/* All archives of one cluster. */
void info_archive_text(struct arena *a, struct buf *out, const struct info_stanza *s, uint64_t system_id,
	const char *version);
/* A line for each of the first losses of dropped WAL; more: for all, with what their notes say. */
void info_dropped_text(struct arena *a, struct buf *out, const struct info_stanza *s, bool more);
void info_json(struct arena *a, const struct config *cfg, const struct info_stanza *v, size_t n,
	struct buf *out);
void info_text(struct arena *a, const struct config *cfg, const struct info_stanza *v, size_t n,
	struct buf *out);

#endif
