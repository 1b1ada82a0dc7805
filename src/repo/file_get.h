/*
 * file_get: files of a backup into a data directory (a mover), delta aware.
 */
#ifndef REPO_FILE_GET_H
#define REPO_FILE_GET_H

#include "repo/manifest.h"

struct file_get_opts {
	const char *stanza;
	const struct manifest *m; /* of the backup that is restored */
	bool delta;		/* compare with what is there by size and SHA-1 */
	bool delta_by_time;	/* --force: size and mtime decide, if mtime < the backup's copy start */
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
	uint64_t written; /* bytes; of a file stored as blocks only those that were not there */
};

/* However it is stored.  The bytes are proven by their SHA-1 before the file is finished; otherwise there is no
 * file, and ERR_CHECKSUM "error restoring 'X': actual checksum 'A' does not match expected checksum 'B'".  (A file
 * that is mended in place is not finished, but there: block_get.h.) */
int file_get(struct arena *a, struct store *repo, struct store *pg, const struct manifest_file *f,
	const struct file_get_opts *o, struct file_get_result *out) must_check;

/* Ask ahead for what file_get is going to read of repo: as an ahead_fn (store/ahead.h). */
int file_get_ahead(struct store *repo, struct store *pg, const struct manifest_file *f, const struct file_get_opts *o);

struct file_get_item {
	const struct manifest_file *f;
	struct store *pg;
	struct file_get_opts opts;
	struct file_get_result result;
};

/*
 * bundle_get.c: the same for files that are stored whole in one bundle (or of which nothing is read), in order of
 * offset.
 * What has to be read and lies close together is read in one range; ranges may repeat and overlap, since each file
 * is proven by itself.  At the first failure, which names its file, the items behind it are untouched.
 *
 * asked: bundle_get_ahead has asked for all of it; else it asks ahead by itself, and nothing else may be on its way.
 */
int bundle_get(struct store *repo, struct file_get_item *items, size_t n, bool asked) must_check;
int bundle_get_ahead(struct store *repo, struct file_get_item *items, size_t n, unsigned room);

#endif
