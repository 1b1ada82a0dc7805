/*
 * restore_plan: what a restore is about to do, for people and programs to read before it does it.
 *
 * Made for every restore after all checks, before anything is touched; making it changes nothing.
 */
#ifndef CMD_RESTORE_PLAN_H
#define CMD_RESTORE_PLAN_H

#include "cmd/restore_intern.h"
#include "repo/wal_reach.h"

/* A file system that gets files. */
struct plan_space {
	const char *path; /* of the first place on it */
	dev_t dev;
	uint64_t block;	  /* bytes; files take whole ones */
	uint64_t free;
	uint64_t need;	  /* beyond what the files that are there take already */
};

/* The WAL that recovery needs, by the names in the archive. */
struct plan_wal {
	const char *unjudged; /* why nothing is said about it; NULL: the rest is filled */
	struct wal_reach_ask ask;
	struct wal_reach reach;
	uint64_t last;	      /* number of the last segment on the way that is known */
	const char *target;   /* "lsn '0/5000000'", "the end of the archive" */
	const char *asked;    /* "repo1 and repo2" */
	VEC(unsigned) asked_keys;
	const char *dropped;  /* the first segment that is missing was: wal_drop_how; or NULL */
	unsigned unasked;     /* repositories that could not be asked */
	bool refuses;	      /* it falls short, and the restore is refused for it */
	bool ends_at_gap;     /* it falls short, and archive-gap=end says that this is wanted */
	const char *text;     /* what it comes to, in a sentence */
};

struct restore_plan {
	const char *why;	    /* this backup was chosen */
	uint64_t files, bytes;	    /* in the cluster */
	uint64_t zeroed_files, zeroed_bytes; /* of these, those of databases that come back as zeros */
	bool compared;		    /* with what is in the directories now: */
	uint64_t alike;		    /* files with the right size (and, if that decides, time) */
	uint64_t write_min, write_max; /* bytes */
	VEC(struct plan_space) spaces;
	struct plan_wal wal;
};

/* restore_wal.c: what recovery needs and what is there; then a warning, or ERR_BACKUP_SET, if that will not
 * do. */
int restore_wal_plan(struct restore *r, struct plan_wal *out) must_check;
int restore_wal_check(const struct restore *r, const struct plan_wal *w) must_check;
char *restore_wal_name(struct arena *a, const struct plan_wal *w, struct wal_pos pos);

/* restore_plan_print.c: as text or, with output=json, as one object, on stdout.  refusal: what a real restore
 * would say, or NULL. */
int restore_plan_print(struct restore *r, const struct restore_plan *plan, const struct err_value *refusal)
	must_check;

#endif
