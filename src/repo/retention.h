/*
 * retention: what stays, what goes, and why (format/repository.md 10).
 *
 * PURE: rows in, rows out; no store, no clock, no log.  Labels are names whose byte order is their
 * age; segments are compared as names.  What is not known for sure stays.
 *
 * Nothing here can fail: whoever calls has read everything that it passes in, and an archive whose
 * backups do not say clearly what they need stays whole.
 */
#ifndef REPO_RETENTION_H
#define REPO_RETENTION_H

#include "repo/backup_info.h"

struct retention_policy {
	/* -1: not set.  0 counts as 1: no policy removes the last backup of a kind. */
	int64_t full, diff;
	int64_t archive;	       /* after the defaults of 10.1 */
	int64_t history;	       /* days, 0 is allowed; -1: not set */
	bool full_days;		       /* full is a number of days, not of backups */
	enum backup_type archive_type; /* what archive counts: full, full + diff, all */
	const char *set;	    /* only this backup and all that depends on it; NULL: by rule */
	bool oldest;		    /* all full backups but the oldest, for this run */
	const char *archive_before; /* WAL from this segment on stays in any case; or NULL */
	bool refuse_damaged;	    /* the guard of 10.2 step 2 */
	int64_t now;		    /* Unix seconds */
};

enum retention_rule {
	/* stays */
	STAY_UNLIMITED, /* full: no limit is set */
	STAY_COUNT,	/* full: among the newest */
	STAY_DAYS,	/* full: not older than the limit */
	STAY_COVER,	/* full: the newest one beyond the limit, so that the days are covered */
	STAY_DIFF,	/* diff: among the newest */
	STAY_WITH,	/* diff, incr: as long as what it is based on */
	STAY_OTHER,	/* another one was asked for */
	/* goes */
	GO_COUNT,
	GO_DAYS,
	GO_DIFF,
	GO_SET,
	GO_WITH, /* it depends on one that goes */
};

struct retention_row {
	const struct backup_line *line;
	size_t base; /* row of what it is based on; RETENTION_NONE */
	bool goes;
	enum retention_rule rule;
};
#define RETENTION_NONE SIZE_MAX

/* What one rule removes: a backup and, after it, what depends on it, oldest first. */
struct retention_set {
	enum retention_rule rule;
	strvec labels;
};

enum retention_verdict {
	RETENTION_OK,
	RETENTION_UNKNOWN,   /* the backup asked for is not listed; nothing goes */
	RETENTION_LAST_FULL, /* refused: no other full backup of this cluster would be left */
	RETENTION_DAMAGED,   /* refused: the oldest that would stay has damaged pages */
};

struct retention {
	struct retention_policy policy; /* as in force: oldest and days decide over full and archive */
	VEC(struct retention_row) rows; /* all listed backups, oldest first */
	VEC(struct retention_set) sets; /* in the order of removal */
	size_t going;			/* rows that go */
	enum retention_verdict verdict; /* refused: the rows say what would have gone */
	bool oldest_in_vain;		/* oldest was asked for, and there is just one full backup */
	const char *damaged;		/* the oldest that stays has damaged pages; or NULL */
	bool newest_goes;
};

/* Which backups go (10.3).  Rows point into info, which must live as long. */
void retention_decide(struct arena *a, const struct retention_policy *policy,
	const struct backup_info *info, struct retention *out);

/* Is the backup listed, and stays? */
bool retention_stays(const struct retention *r, const char *label);

/* "among the newest 2 full backups": why a row stays or goes. */
char *retention_why(struct arena *a, const struct retention *r, const struct retention_row *row);

/*
 * Directories of backups (10.2 step 5, 10.4).
 */
struct retention_dir {
	const char *label;
	bool manifest, copy; /* backup.manifest and its .copy are there */
	const char *prior;   /* what the copy says; NULL: nothing, or not read */
	bool goes;	     /* from here on: the decision */
	enum retention_dir_rule {
		DIR_LISTED,   /* stays */
		DIR_EXPIRED,  /* its backup goes */
		DIR_LEFTOVER, /* goes: no backup, and none to be */
		DIR_RUNNING,  /* stays: the newest, running or resumable */
		DIR_BASELESS, /* goes: would be the newest, but what it is based on goes with --set */
		DIR_COMPLETE, /* stays: has a manifest, though it could not be listed */
		DIR_NEEDED,   /* stays: perhaps holds files of a DIR_COMPLETE one */
	} rule;
};

/* Must the caller read the prior of this one, the newest of all? */
bool retention_wants_prior(const struct retention *r, const struct retention_dir *newest);

/* dirs: all of the stanza, oldest first.  They are to be removed newest first. */
void retention_dirs(const struct retention *r, struct retention_dir *dirs, size_t n);

/*
 * WAL (10.5).
 */
enum retention_fate { FATE_STAYS, FATE_GOES, FATE_MIXED };

struct retention_range {
	const char *label; /* who needs it; NULL: archive_before */
	const char *start, *stop; /* segments, both included; stop NULL: no end */
};

enum retention_wal_rule {
	WAL_NOT_SET,	/* no number of backups is set: nothing is removed */
	WAL_DAYS_NOT_MET, /* the same with days: no full backup is older than the limit */
	WAL_TOO_FEW,	/* fewer backups than the number: nothing is removed */
	WAL_NO_BACKUP,	/* of this cluster, which is the current one: stays */
	WAL_FORMER,	/* no backup of a former cluster is left: the archive goes */
	WAL_OFFLINE,	/* the backup that decides has no WAL: stays */
	WAL_UNCLEAR,	/* a backup does not say clearly what it needs: stays */
	WAL_RANGES,	/* what is in no range goes */
};

struct retention_archive {
	const char *archive_id; /* "15-1" */
	enum retention_wal_rule rule;
	enum retention_fate fate;
	const char *base; /* label of the backup from which on all WAL stays; or NULL */
	const char *from; /* its first segment: what is older goes, unless in a range */
	VEC(struct retention_range) ranges;
};
typedef VEC(struct retention_archive) retention_archives;

/* One row for each history id, ascending; without any row if no WAL is to be removed at all, and the
 * result says why (WAL_RANGES otherwise). */
enum retention_wal_rule retention_wal(struct arena *a, const struct retention *r,
	const struct backup_info *info, retention_archives *out);

/* A directory of segments, named by 16 characters: FATE_MIXED asks for a look at its files. */
enum retention_fate retention_wal_dir(const struct retention_archive *w, const char *dir);
/* A file in a FATE_MIXED directory: segment, partial or backup file. */
bool retention_wal_file_goes(const struct retention_archive *w, const char *name);
/* "00000002.history"; any other name stays. */
bool retention_timeline_goes(const struct retention_archive *w, const char *name);

/*
 * History manifests (10.6).
 */

/* The label of a full backup at the limit; NULL if history manifests stay. */
char *retention_history_limit(struct arena *a, const struct retention_policy *policy);
/* A directory "2026"; FATE_MIXED asks for a look at its files. */
enum retention_fate retention_history_year(const char *limit, const char *year);
/* "<label>.manifest.gz"; any other name stays. */
bool retention_history_goes(const struct retention *r, const char *limit, const char *name);

#endif
