/*
 * wal_lines: what an archive has, timeline by timeline, and from when to when recovery can stop with it.
 *
 * PURE: names of segments, backups, histories and notes of dropped WAL decide; no store, no clock.  What is a loss and
 * what retention has left is decided by wal_gaps; this says it of each timeline by itself, and adds what wal_gaps
 * leaves to others: segments within a listed backup's own range, and those that were dropped behind all that is there.
 */
#ifndef REPO_WAL_LINES_H
#define REPO_WAL_LINES_H

#include "repo/wal_gaps.h"
#include "repo/wal_reach.h"

struct wal_kept {
	struct wal_pos pos;
	bool bad;	/* there, but of no use: files of one name with different content */
	int64_t stored; /* when, Unix seconds; 0: not known */
};

struct wal_lines_backup {
	const char *label;
	unsigned repo_key;
	struct wal_pos start;
	uint64_t stop; /* number of a segment; not below that of start */
	uint64_t stop_lsn;
	int64_t begun, ended; /* Unix seconds */
};

struct wal_dropped {
	struct wal_pos pos;
	size_t note; /* whose: index of the caller's */
};

typedef VEC(struct wal_kept) wal_kepts;
typedef VEC(struct wal_lines_backup) wal_lines_backups;
typedef VEC(struct wal_dropped) wal_droppeds;
typedef VEC(struct timeline_history) wal_histories;

struct wal_lines_ask {
	uint32_t segment_size;
	const wal_kepts *kept;		  /* by timeline and segment, each once */
	const wal_lines_backups *backups; /* listed ones, in any order */
	const wal_ranges *former;	  /* of backups known by their .backup files only */
	const wal_histories *histories;	  /* in any order, each timeline once */
	const wal_droppeds *dropped;	  /* in any order; what is there all the same is not lost */
};

/* The worse first; the first three are losses. */
enum wal_lack_kind {
	WAL_LACK_DROPPED,  /* given up, and there is a note of it */
	WAL_LACK_LOST,	   /* missing, and nothing explains it */
	WAL_LACK_BAD,	   /* there, but of no use */
	WAL_LACK_EXPIRED,  /* as retention leaves it between backups */
	WAL_LACK_UNNEEDED, /* before all backups */
};

struct wal_lack {
	enum wal_lack_kind kind;
	uint64_t first, last; /* numbers of segments */
	size_t note;	      /* WAL_LACK_DROPPED */
};

struct wal_timeline {
	uint32_t id;
	bool has_history;
	uint32_t parent; /* 0: none, or not known */
	uint64_t begun_at; /* LSN at which the parent was left */
	bool lost_history; /* there is none, and a backup of an earlier timeline needs it */
	bool lost_wal;	   /* one of lacks is a loss */
	uint64_t count;	   /* of segments; 0: then first and last mean nothing */
	uint64_t first, last;
	VEC(struct wal_lack) lacks; /* by first, not overlapping */
	VEC(const struct wal_lines_backup *) backups; /* by label */
};

/* Recovery from a backup may stop anywhere from the backup's end to the end of a segment. */
struct wal_window {
	const struct wal_lines_backup *from; /* the oldest with which it can begin */
	struct wal_pos last;		     /* its timeline is the one to aim at */
	int64_t until; /* Unix seconds, APPROXIMATE: about when the end of last was written; 0: not known */
	bool hole;     /* the WAL goes on behind a hole; else it simply ends */
	struct wal_pos next; /* the segment that is missing or, without a hole, not there yet */
};

typedef VEC(struct wal_timeline) wal_timelines;
typedef VEC(struct wal_window) wal_windows;

/* Each timeline of which there is, or should be, something; ascending. */
void wal_lines_list(struct arena *a, const struct wal_lines_ask *ask, wal_timelines *out);

/*
 * Along each line of descent: the longest runs without a hole that hold all WAL of a backup, by timeline and time.
 * A run that another one only prolongs, from the same backup, is left out.
 */
void wal_lines_windows(struct arena *a, const struct wal_lines_ask *ask, wal_windows *out);

#endif
