/*
 * wal_reach: can recovery get from a backup to its target with the WAL that is archived?
 *
 * PostgreSQL would find out only after everything was copied.  Judged by names alone, in all places together,
 * because archive-get asks them all; whether the bytes behind a name are right, only archive-get can tell.
 */
#ifndef REPO_WAL_REACH_H
#define REPO_WAL_REACH_H

#include "pg/timeline.h"
#include "repo/wal_find.h"

enum wal_goal {
	WAL_GOAL_CONSISTENT, /* the end of the backup */
	WAL_GOAL_SEGMENT,    /* a known segment: that of an LSN */
	WAL_GOAL_SOMEWHERE,  /* a point that no name tells: a time, a restore point, a transaction */
	WAL_GOAL_END	     /* the end of the archive */
};

struct wal_reach_ask {
	uint32_t segment_size;
	uint32_t timeline;	  /* of the backup */
	uint64_t start, stop;	  /* of the backup: numbers of segments */
	uint64_t stop_lsn;
	enum wal_goal goal;
	uint64_t target;	  /* WAL_GOAL_SEGMENT: its number */
	uint64_t not_before, by;  /* WAL_GOAL_SOMEWHERE: in which segments it must lie; 0 and UINT64_MAX: any */
	struct timeline_history line; /* of the timeline that recovery follows */
};

enum wal_verdict { WAL_REACHES, WAL_MAY_REACH, WAL_FALLS_SHORT };

#define WAL_REACH_SHOWN 10

struct wal_reach {
	enum wal_verdict verdict;
	bool left_early; /* falls short because the line leaves the backup's timeline before the backup ends */
	bool any;	 /* the first segment is there, so there is a run: */
	struct wal_pos from, to;  /* without a hole, as far as was looked */
	bool consistent;	  /* the run covers the backup itself */
	uint64_t present;	  /* segments on the way that are there */
	uint64_t missing;	  /* and that are not, up to the goal or to the last one that is there */
	struct wal_pos gaps[WAL_REACH_SHOWN]; /* the first of them */
	size_t gaps_n;
	const char *evidence;	  /* of the last gap, where no later segment proves that it is one; else NULL */
};

typedef VEC(struct wal_pos) wal_positions;

/* The timeline whose file recovery asks for first. */
uint32_t wal_line_timeline(const struct wal_reach_ask *ask, uint64_t segment);

/* PURE: what is there, in any order and any number of times, decides.  That nothing later exists is taken for
 * the end of the archive. */
void wal_reach_judge(struct arena *a, const struct wal_reach_ask *ask, const wal_positions *there,
	struct wal_reach *out);

/* The line of descent that recovery follows from a timeline to another one; target 0: as PostgreSQL finds the
 * latest, by history files with numbers that follow each other.  ERR_FILE_MISSING if no place has the
 * history.  After -1, *at is the place that could not answer (n: none of them). */
int wal_reach_line(struct arena *a, const struct wal_place *places, size_t n,
	uint32_t timeline, uint32_t target, struct timeline_history *out, size_t *at) must_check;

/* List and judge; at the end of the run the question of archive-get is asked, with its answer.  After -1, *at
 * is the place that could not answer. */
int wal_reach(struct arena *a, const struct wal_place *places, size_t n,
	const struct wal_reach_ask *ask, struct wal_reach *out, size_t *at) must_check;

#endif
