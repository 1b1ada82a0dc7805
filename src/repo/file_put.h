/*
 * file_put: one cluster file into the repository (a mover).  Called the same way from a worker and a
 * test; everything it needs is in its arguments, everything it learned in the result.
 */
#ifndef REPO_FILE_PUT_H
#define REPO_FILE_PUT_H

#include "pg/control.h"
#include "repo/manifest.h"

struct file_put_opts {
	const char *backup_dir; /* layout_backup_dir */
	enum codec codec;
	int level;
	uint32_t page_size;	  /* 0: pages are not checked */
	bool page_header_check;
	const struct pg_version *forced; /* for pg_control */
};

struct file_put_result {
	bool vanished; /* removed by the database; nothing was stored */
	struct pipe_result pipe;
};

/* The stored file is fsynced, its directory is not (the caller syncs all directories at the end). */
int file_put(struct arena *a, struct store *pg, struct store *repo, const struct manifest_file *f,
	const struct file_put_opts *o, struct file_put_result *out) must_check;

#endif
