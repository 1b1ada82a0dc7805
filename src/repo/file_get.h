/*
 * file_get: one file of a backup into a data directory (a mover), delta aware.
 */
#ifndef REPO_FILE_GET_H
#define REPO_FILE_GET_H

#include "repo/manifest.h"

struct file_get_opts {
	const char *stanza;
	const char *label;	/* of the backup that is restored */
	enum codec codec;
	bool delta;		/* compare with what is there by size and SHA-1 */
	bool delta_by_time;	/* --force: size and mtime decide, if mtime < copy_start */
	int64_t copy_start;
	const char *dest_name;	/* below the data directory; NULL: manifest_pg_path(f->name) */
	bool set_owner;
	uid_t uid;
	gid_t gid;
	bool no_fsync;		/* the caller syncs afterwards */
	bool zeroed;		/* zeros of the full size, one hole where the platform has them; nothing is kept */
};

enum file_get_how { FILE_GET_WRITTEN, FILE_GET_KEPT, FILE_GET_ZEROED };

struct file_get_result {
	enum file_get_how how;
	uint64_t written; /* bytes */
};

/* The bytes are proven by their SHA-1 before success is reported; ERR_CHECKSUM "error restoring 'X':
 * actual checksum 'A' does not match expected checksum 'B'" otherwise. */
int file_get(struct arena *a, struct store *repo, struct store *pg, const struct manifest_file *f,
	const struct file_get_opts *o, struct file_get_result *out) must_check;

#endif
