/*
 * layout: every path and name in a repository is built and parsed here only (format/repository.md 1).
 * Paths are relative to the repository's root.
 */
#ifndef REPO_LAYOUT_H
#define REPO_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/err.h"

#define BLOCK_SUFFIX ".pgbi" /* of a file stored as blocks, whatever the codec */
#define TEMP_SUFFIX ".pgbackrest.tmp" /* ignored wherever it stands */

/* Who writes: "pgStrata x.y.z", the backrest-version of everything this program saves. */
extern const char repo_program[];

char *layout_archive_root(struct arena *a, const char *stanza);	      /* archive/demo */
char *layout_backup_root(struct arena *a, const char *stanza);	      /* backup/demo */
char *layout_archive_info(struct arena *a, const char *stanza);	      /* archive/demo/archive.info */
char *layout_backup_info(struct arena *a, const char *stanza);	      /* backup/demo/backup.info */
char *layout_copy(struct arena *a, const char *path);		      /* path + ".copy" */
char *layout_archive_id(struct arena *a, const char *version, uint32_t history_id); /* "18-1" */
/* A version fit for an archive id: digits, perhaps a dot and digits. */
bool layout_version_ok(const char *version);
bool layout_archive_id_parse(const char *name, uint32_t *history_id);
/* Where a file of the archive lies: archive/demo/18-1[/0000000100000000]; name as PostgreSQL gives it. */
char *layout_wal_dir(struct arena *a, const char *stanza, const char *archive_id, const char *name);
/* Notes of dropped WAL, and one of them. */
char *layout_drop_dir(struct arena *a, const char *stanza, const char *archive_id);
char *layout_drop(struct arena *a, const char *stanza, const char *archive_id, const char *id);
#define DROP_SUFFIX ".json"
char *layout_backup_dir(struct arena *a, const char *stanza, const char *label);
char *layout_manifest(struct arena *a, const char *stanza, const char *label);
char *layout_history_manifest(struct arena *a, const char *stanza, const char *label);
/* A stored file: name as in the manifest ("pg_data/base/1/1255"), suffix of the codec. */
char *layout_backup_file(struct arena *a, const char *stanza, const char *label, const char *name,
	const char *suffix);
char *layout_bundle(struct arena *a, const char *stanza, const char *label, uint32_t bundle);
char *layout_latest(struct arena *a, const char *stanza); /* the informative link */

#define LABEL_FULL 16 /* characters of a full backup's label */
#define LABEL_MAX 33

enum backup_type { BACKUP_FULL, BACKUP_DIFF, BACKUP_INCR };
const char *backup_type_name(enum backup_type t); /* "full" */
bool backup_type_parse(const char *name, enum backup_type *out);

bool label_is_valid(const char *label);
enum backup_type label_type(const char *label); /* of a valid label */
/* Local time; full: NULL for a full backup, else the label (16 characters count) it belongs to. */
char *label_format(struct arena *a, enum backup_type type, int64_t start, const char *full);

/* A name fit for a stanza: not empty, no slash, not "." or "..", no line feed, at most 200 bytes. */
bool stanza_name_ok(const char *name);

#endif
