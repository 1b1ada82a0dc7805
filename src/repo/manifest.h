/*
 * manifest: what one backup holds, in memory (format/repository.md 5).
 *
 * Rows are flat and sorted by name (bytes); names, users and groups are shared strings.  A row can hold
 * everything format 5 can say, also what this program does not write yet.
 */
#ifndef REPO_MANIFEST_H
#define REPO_MANIFEST_H

#include "base/map.h"
#include "base/vec.h"
#include "pg/page.h"
#include "repo/backup_info.h"
#include "store/store.h"

/* Marks an owner without a name ("false" in the file); compare pointers through manifest_owner_known. */
extern const char manifest_owner_unknown[];

static inline bool manifest_owner_known(const char *owner)
{
	return owner != manifest_owner_unknown;
}

struct manifest_file {
	const char *name;      /* "pg_data/..." or "pg_tblspc/OID/..." */
	const char *user, *group;
	const char *reference; /* label that holds the bytes; NULL: this backup */
	uint64_t size;	       /* plain bytes copied (before: seen) */
	uint64_t size_orig;    /* plain bytes seen when listing */
	uint64_t repo_size;    /* stored bytes */
	uint64_t bundle_offset;
	int64_t mtime;
	int64_t ctime; /* not stored: last change of the inode as listed, 0 = not known */
	const struct page_range *bad; /* bad pages, NULL if none or not known */
	uint32_t bad_n;
	uint32_t bundle;       /* 0: own file */
	uint32_t block_size;   /* bytes; 0: not block incremental */
	uint32_t block_sum_size;
	uint64_t block_map_size; /* 0: no map */
	struct sum sum, repo_sum;
	uint16_t mode;
	bool has_sum;	    /* copied (or size 0) */
	bool has_repo_sum;
	bool page_check;    /* pages were (are to be) checked */
	bool page_ok;	    /* meaningful with page_check */
	bool copy_bounded;  /* not stored: read at most size_orig (5.12.5) */
};

struct manifest_path {
	const char *name;
	const char *user, *group;
	uint16_t mode;
};

struct manifest_link {
	const char *name; /* "pg_data/..." */
	const char *destination;
	const char *user, *group;
};

struct manifest_target {
	const char *name; /* "pg_data", "pg_data/log", "pg_tblspc/16384" */
	const char *path;
	const char *file; /* file links: last part of the destination, else NULL */
	uint32_t tablespace_oid; /* 0: no tablespace */
	const char *tablespace_name;
	bool link; /* type "link", else "path" */
};

struct manifest_db {
	const char *name;
	uint32_t oid, last_system_oid;
};

struct manifest {
	struct arena *arena; /* everything below lives here */
	struct map *strings; /* for manifest_intern */
	uint32_t format;
	const char *program; /* backrest-version */

	const char *label, *prior; /* prior NULL for full */
	strvec reference;	   /* own label last */
	enum backup_type type;
	int64_t start, copy_start, stop; /* stop 0: unfinished */
	const char *archive_start, *archive_stop, *lsn_start, *lsn_stop; /* NULL: offline or unfinished */
	bool bundle, block_incr, bundle_raw;

	struct backup_db db;

	bool archive_check, archive_copy, backup_standby, checksum_page, compress, delta, hardlink, online;
	bool complete; /* the keys of a completed manifest are known: standby .. process_max */
	enum codec codec;
	int level, level_network;
	uint64_t buffer_size;
	uint32_t process_max;

	const char *cipher_pass; /* of the backup set's files (8.2); NULL: not encrypted */

	VEC(struct annotation) annotations;
	VEC(struct manifest_db) dbs;
	VEC(struct manifest_target) targets;
	VEC(struct manifest_file) files;
	VEC(struct manifest_link) links;
	VEC(struct manifest_path) paths;

	/* 5.9: taken from the data directory when written */
	const char *file_user, *file_group, *path_user, *path_group, *link_user, *link_group;
	uint16_t file_mode, path_mode;
};

/* An empty manifest in the arena. */
struct manifest *manifest_new(struct arena *a);

/* A shared copy of a string; equal strings give the same pointer (owners, labels). */
const char *manifest_intern(struct manifest *m, const char *s);

void manifest_sort(struct manifest *m); /* all lists by name; call after filling */
/* A name that does not come after the one before it in its list: out of order, or there twice.  NULL if
 * there is none. */
const char *manifest_misplaced(const struct manifest *m);
struct manifest_file *manifest_file_find(struct manifest *m, const char *name);
const struct manifest_path *manifest_path_find(const struct manifest *m, const char *name);
const struct manifest_target *manifest_target_find(const struct manifest *m, const char *name);

/* Path below the data directory: "pg_data/base/1" -> "base/1", "pg_data" -> "",
 * "pg_tblspc/16384/..." as it is.  Points into name. */
const char *manifest_pg_path(const char *name);

/* A copied file that has invalid pages. */
static inline bool manifest_file_is_bad(const struct manifest_file *f)
{
	return f->page_check && f->has_sum && f->size > 0 && !f->page_ok;
}

/*
 * What must be true of any sorted manifest before its names become paths; ERR_FORMAT otherwise.
 * Names are safe (path_is_safe) and lie in pg_data/ or pg_tblspc/OID/, links below pg_data only; every
 * parent is listed (the bare pg_tblspc need not be); no name stands twice, none is both file and path;
 * each link has its target and each target but pg_data its link; labels are labels of one backup set;
 * numbers are possible.  Destinations of links and targets are the operator's own places: any text but an
 * empty one, line feeds included, because a link may hold one and JSON spells it.
 */
int manifest_check(const struct manifest *m) must_check;

/*
 * Read <dir>/backup.manifest, else its copy (main 0 or copy 0; STORE_ABSENT if both are proven absent).
 * Refused (ERR_FORMAT): format 6, another label than the directory's, what manifest_check refuses.  The
 * text is never held whole.  pass: backup_info's cipher_pass.
 *  The rows are sorted.  A failed main file's rows stay in the arena.
 */
int manifest_load(struct arena *a, struct store *repo, const char *stanza, const char *label,
	const char *pass, struct manifest **out) must_check;

/* Write the text into a sink and finish it (checksum included).  ERR_ASSERT if it is not sorted. */
int manifest_write(const struct manifest *m, struct sink *to) must_check;

/* backup.manifest.copy, atomically and durable: a save point.  *stored: SHA-1 of the file's bytes. */
int manifest_save_copy(struct store *repo, const char *stanza, const char *pass,
	const struct manifest *m, struct sum *stored) must_check;

/* The strict checks of 5.13 and manifest_check, then the copy, then backup.manifest (which makes the backup exist), then
 * the history file (gz). */
int manifest_publish(struct store *repo, const char *stanza, const char *pass,
	const struct manifest *m) must_check;

/* The line of backup.info that belongs to a completed manifest. */
void manifest_summary(struct arena *a, const struct manifest *m, struct backup_line *out);

#endif
