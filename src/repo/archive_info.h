/*
 * archive_info: which clusters a stanza's WAL archive has held (format/repository.md 3).
 */
#ifndef REPO_ARCHIVE_INFO_H
#define REPO_ARCHIVE_INFO_H

#include "base/vec.h"
#include "store/store.h"

struct archive_db {
	uint32_t id; /* history id */
	uint64_t system_id;
	const char *version; /* "15" */
};

struct archive_info {
	uint32_t current; /* history id; always in the list */
	VEC(struct archive_db) history; /* ascending by id */
	const char *cipher_pass; /* of the archive's files (8.2); NULL: not encrypted */
};

const struct archive_db *archive_info_current(const struct archive_info *info);

/*
 * pass: the repository passphrase, NULL for a repository that is not encrypted.
 * Main file, then its copy.  0; STORE_ABSENT if both are proven absent; -1.  Format 6 is refused by name
 * (both signs of format/repository.md 14).  A main file that could not be used though the copy could is a
 * warning in the log.
 */
int archive_info_load(struct arena *a, struct store *repo, const char *stanza, const char *pass,
	struct archive_info *out) must_check;

/* Main file first, then the copy, each atomically and durable. */
int archive_info_save(struct store *repo, const char *stanza, const char *pass,
	const struct archive_info *info) must_check;

#endif
