/*
 * file_put: one cluster file into the repository (a mover).  Called the same way from a worker and a
 * test; everything it needs is in its arguments, everything it learned in the result.
 */
#ifndef REPO_FILE_PUT_H
#define REPO_FILE_PUT_H

#include "pg/control.h"
#include "repo/manifest.h"
#include "repo/plan.h"

struct file_put_opts {
	const struct manifest *m; /* of the new backup; label, references, passphrase and bundle are set */
	const char *stanza;
	const char *backup_dir; /* layout_backup_dir */
	enum codec codec;
	int level;
	const char *pass;	  /* of the backup set; NULL: not encrypted */
	bool raw;		  /* members of bundles only: format/blocks.md 1.4 */
	uint32_t page_size;	  /* 0: pages are not checked */
	bool page_header_check;
	uint64_t super_size; /* plain bytes, as configured; for files that are stored as blocks */
	const struct pg_version *forced; /* for pg_control */
};

enum file_fate {
	FILE_STORED,
	FILE_SAME,     /* has the content that its row tells of; nothing was stored */
	FILE_VANISHED, /* removed by the database; nothing was stored */
	FILE_EMPTIED,  /* without content by now, in a backup with bundles; nothing was stored */
	FILE_RESUMED,  /* what an interrupted backup stored is proven: as if it had been stored now */
};

struct file_put_result {
	enum file_fate fate;
	uint64_t offset; /* of a member in its bundle */
	struct pipe_result pipe; /* plain size and SHA-1 of FILE_SAME too */
	uint64_t map_size; /* bytes as stored; 0: stored whole */
	bool prior_unfit;  /* block_put.h */
	bool left_bad; /* an interrupted backup had stored this content, but the stored file was bad */
	bool again;    /* pg was asked for it a second time: what was asked for behind it is lost */
	bool second;   /* for the caller, if it had to look for the file at a second place */
};

/*
 * Store the row's file as a file of its own, or find that it need not be.  f: the row; for PLAN_COPY_IF_NEW,
 * PLAN_COMPARE and BLOCK_CONTINUE with what it took over from the prior, but with page_check as the scan had
 * it.  The stored file is fsynced, its directory is not (the caller syncs all directories at the end).
 *
 * PLAN_RESUME: the row says what an interrupted backup stored under its name (sums, repo_size).  That counts if
 * the file, read now with all checks, has this content, and the stored bytes, read now, have their sum, are
 * a regular file without another name, and could be synced.  Otherwise they are removed first.
 */
int file_put(struct arena *a, struct store *pg, struct store *repo, const struct manifest_file *f,
	const struct plan_row *row, const struct file_put_opts *o, struct file_put_result *out) must_check;

/* The sink of a stored file that is made with its first byte, or at finish (fsynced, its directory not); it must not
 * exist (ERR_FILE_EXISTS). */
struct sink *file_put_late(struct arena *a, struct store *repo, const char *path);

/* A bundle, as far as it is written. */
struct file_put_bundle {
	struct sink *to; /* its finish is the caller's business */
	uint32_t id;
	uint64_t size; /* bytes */
};

/* The same as file_put into a bundle.  repo: where the maps of the prior backup are. */
int file_put_member(struct arena *a, struct store *pg, struct store *repo, const struct file_put_bundle *bundle,
	const struct manifest_file *f, const struct plan_row *row, const struct file_put_opts *o,
	struct file_put_result *out) must_check;

/*
 * Ask ahead for what file_put, or with a bundle file_put_member, is going to read of pg: as an ahead_fn
 * (store/ahead.h).  Of the bundle only that there is one matters.  What is read twice at times, but seldom, counts as
 * read once: see again.
 */
int file_put_ahead(struct store *pg, struct store *repo, const struct file_put_bundle *bundle,
	const struct manifest_file *f, const struct plan_row *row, const struct file_put_opts *o, unsigned room);

#endif
