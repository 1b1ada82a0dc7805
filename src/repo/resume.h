/*
 * resume: may an interrupted backup be gone on with, and with which of its files?  Pure: no store, no clock, no log
 * (format/repository.md 5.13, reference/behaviours.md 6.5).
 *
 * What an interrupted backup left is evidence, never proof.  Here it is only sorted out what is worth a look; a file
 * counts when, later, the cluster's file was read and has the listed SHA-1, and the stored bytes were read and have
 * theirs (file_put with PLAN_RESUME).  Size and time spare looking in vain, they prove nothing.
 *
 * Full backups only, as in the reference: a diff or incr is short, and mostly made of bundles and blocks, which are
 * stored anew in any case; what it has to compare with its prior would have to be compared with the leftover too.
 */
#ifndef REPO_RESUME_H
#define REPO_RESUME_H

#include "repo/plan.h"

enum resume_why {
	RESUME_FITS,
	RESUME_NOT_FULL, /* this backup is none that resumes */
	RESUME_DISABLED,
	RESUME_NO_COPY, /* there is no save point */
	RESUME_UNREAD,  /* or it cannot be read */
	RESUME_PROGRAM, /* of another program or version */
	RESUME_TYPE,
	RESUME_CODEC,
	RESUME_CLUSTER, /* of another cluster or history id */
	RESUME_CIPHER,	/* encrypted and the repository is not, or the reverse */
	RESUME_FUTURE,	/* its label would be later than one of now */
	RESUME_USED,	/* its label is not later than all that were ever listed */
	RESUME_NAMES,	/* it holds a name that no path can be made of */
	RESUME_WHYS
};

/* Before anything is read: RESUME_FITS, RESUME_NOT_FULL or RESUME_DISABLED. */
enum resume_why resume_asked(enum backup_type type, bool enabled);

/* now: the new manifest, with type, codec and db.  left: the save point.  encrypted: the repository.  label_now: what
 * a backup of this moment would be called. */
enum resume_why resume_fits(const struct manifest *now, const struct manifest *left, bool encrypted,
	const char *label_now);

/* Is that a warning?  Else it is what was asked for. */
bool resume_warns(enum resume_why why);

/* What is said about it, whole.  copy: the save point's name for the user.  left: only from RESUME_PROGRAM on. */
char *resume_why_text(struct arena *a, enum resume_why why, const char *label, const char *copy,
	const struct manifest *now, const struct manifest *left);

enum resume_file {
	RESUME_KEEP, /* worth a look */
	RESUME_SUFFIX,
	RESUME_NOT_LISTED,
	RESUME_NOT_LEFT,
	RESUME_NO_SUM,
	RESUME_ELSEWHERE, /* the save point says that it lies in a bundle, in blocks, or in another backup */
	RESUME_SIZE,
	RESUME_TIME,
	RESUME_EMPTY,
	RESUME_OTHERWISE, /* this backup puts it into a bundle or stores it as blocks */
	RESUME_STORED,	/* other size than was stored */
	RESUME_SHARED,	/* somebody else has a name for it */
};

struct resume_files {
	struct manifest *now, *left;
	const bool *own; /* resume_own */
	bool delta;	 /* times do not count */
};

/* By row of the manifest: true if the plan stores it whole and as a file of its own. */
bool *resume_own(struct arena *a, const struct manifest *m, const struct plan *plan);

/* A file of the leftover; name: below its directory.  row: of the new manifest, with RESUME_KEEP. */
enum resume_file resume_file(const struct resume_files *r, const char *name, uint64_t size, bool shared,
	uint32_t *row);
const char *resume_file_text(enum resume_file why); /* why it is removed */

/* May the leftover have this directory?  name: below its own. */
bool resume_has_dir(const struct manifest *now, const char *name);

/* What a row expects of a file that is kept: content and what is stored. */
void resume_carry(struct manifest_file *f, const struct manifest_file *was);

#endif
