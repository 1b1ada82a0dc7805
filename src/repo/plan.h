/*
 * plan: what becomes of each row of a new backup.  Pure: rows in, rows out; no store, no clock, no log.
 *
 * The rows of the new manifest (from the scan) are held against those of the prior backup
 * (format/repository.md 5.14, blocks.md 1.2, 1.6, 6.2, 6.3).  A row that is left to an earlier backup without
 * being read must be proven by what both lists say; whenever that is in doubt its content is read and
 * compared by SHA-1.
 */
#ifndef REPO_PLAN_H
#define REPO_PLAN_H

#include "repo/block_size.h"
#include "repo/manifest.h"

/*
 * A file's times are believed only if they lie more than so many seconds before the copying of the prior
 * backup began.  Then whatever changed it after it was copied has given it another time, even if the clock
 * that stamps files (the kernel's, which lags by a tick, or a file server's) is not quite that of the
 * database.
 */
#define PLAN_SETTLE 2

enum plan_action {
	PLAN_COPY,	  /* store it */
	PLAN_COPY_IF_NEW, /* store it unless its content proves to be the prior's: probably changed */
	PLAN_COMPARE,	  /* the same: probably unchanged, so it is hashed first if it is large */
	PLAN_REFERENCE,	  /* the prior's content, unread */
	PLAN_EMPTY,	  /* no content and, with bundles, stored nowhere */
	PLAN_RESUME,	  /* an interrupted backup has stored it, perhaps (repo/resume.h); never decided here */
};

/* Why content is compared instead of times, for all rows. */
enum plan_why {
	PLAN_TRUST,    /* it is not */
	PLAN_ASKED,    /* the option */
	PLAN_FUTURE,   /* a file is newer than the list */
	PLAN_TIMELINE, /* another one than at the end of the prior */
	PLAN_LSN,      /* this backup starts before the prior ended: the cluster was set back */
	PLAN_ONLINE,   /* the prior was made online and this is not, or the reverse */
	PLAN_EARLIER,  /* a file is older than in the prior */
	PLAN_RESIZED,  /* a file has the prior's time but another size */
};

struct plan_opts {
	bool delta;
	bool bundle;
	uint64_t bundle_limit; /* bytes; larger files are stored by themselves */
	uint64_t bundle_size;  /* plain bytes after which a bundle is full */
	const struct block_rules *blocks; /* NULL: repo-block is off */
	unsigned workers;
	bool apart; /* no job has both rows that are copy_bounded and others: they are read from two servers */
	const char *start_segment; /* first WAL segment of this backup; NULL offline */
	uint64_t start_lsn;
};

struct plan_row {
	uint8_t action; /* enum plan_action */
	/* should the row be stored after all: */
	uint8_t how;		/* enum block_how */
	uint8_t block_sum_size; /* bytes */
	bool page_check;	/* what the scan asked for */
	uint32_t block_size;	/* bytes; 0: the manifest says nothing of blocks */
};

/* What a worker does in one go: one file of its own, or one bundle. */
struct plan_job {
	uint32_t bundle; /* its id; 0: the row is stored by itself */
	uint32_t first, n; /* in plan.order */
	uint64_t size; /* plain bytes as listed */
	bool bounded;  /* its first row is copy_bounded; with plan_opts.apart all are */
};

struct plan {
	enum plan_why why;
	uint32_t why_row; /* of the new manifest, for reasons that are about a file */
	int64_t why_prior, why_now; /* times or sizes, as the reason has it */
	bool delta; /* why is not PLAN_TRUST */
	struct plan_row *rows; /* one per file of the manifest */
	uint32_t *order;       /* row numbers: those of a job stand together */
	VEC(struct plan_job) jobs; /* the costliest first */
	uint64_t total; /* plain bytes of all jobs, as listed */
	size_t asked;	/* rows in jobs by the rules of the reference; the others are compared only because
			 * their times cannot be believed */
};

/*
 * Decide.  m: sorted rows of the scan, copy_start and online set.  prior: the sorted manifest that this backup is
 * based on, NULL for a full one; it is not needed afterwards.  Rows that (may) stay with an earlier backup, or go on
 * with its map (BLOCK_CONTINUE), take over what the prior says of content, size and place, but keep their mode, owner
 * and time; their has_sum tells whether that is settled (PLAN_REFERENCE) or not yet.  m->delta is set.
 */
void plan_backup(struct arena *a, struct manifest *m, const struct manifest *prior,
	const struct plan_opts *o, struct plan *out);

/* A row will be stored by this backup, as planned: forget what it took over from the prior. */
void plan_own(struct manifest_file *f, const struct plan_row *row);

/* The warning that belongs to the reason, or NULL (PLAN_TRUST, PLAN_ASKED); hint may become NULL.  name: of
 * the file in question, as the user knows it (manifest row why_row). */
char *plan_why_text(struct arena *a, const struct plan *p, const struct manifest *prior,
	const struct manifest *m, const char *name, const struct plan_opts *o, const char **hint);

#endif
