/*
 * wal_gaps: what an archive lacks, and whether it ought to have it.
 *
 * Retention leaves gaps on purpose: of backups older than the one from which it keeps everything (R), only the WAL
 * from start to stop stays, of R and later all (format/repository.md 10.5).  Nobody notes down which backup R is, so
 * the archive itself must tell.  What expire has removed is gone without exception, but for the ranges of backups:
 * a segment that is there and belongs to no backup's range proves that the archive is meant to be whole from it on.
 * And a whole stretch begins with the start of a backup, listed or formerly so (its .backup file is then in the
 * archive).  A gap before such a start, with nothing but ranges of backups before it, may be retention's work; every
 * other one that recovery from a listed backup comes to is a hole (promise P2).
 */
#ifndef REPO_WAL_GAPS_H
#define REPO_WAL_GAPS_H

#include "base/vec.h"
#include "pg/timeline.h"
#include "pg/wal.h"

/* What a backup needs to become consistent; both ends included, both on one timeline. */
struct wal_range {
	const char *label; /* NULL: not listed any more, known by its .backup file */
	struct wal_pos start;
	uint64_t stop; /* number of a segment */
};

struct wal_have {
	struct wal_pos pos;
	bool bad; /* there, but of no use */
};

enum wal_gap_kind {
	WAL_GAP_HOLE,	  /* missing, and nothing explains it */
	WAL_GAP_BAD,	  /* there, but of no use */
	WAL_GAP_EXPIRED,  /* removed by retention, or not to be told from that */
	WAL_GAP_UNNEEDED, /* missing before all listed backups */
};

struct wal_gap {
	enum wal_gap_kind kind;
	struct wal_pos first, last;
	struct wal_pos before; /* the segment in front of it: the last one that recovery can use */
	size_t stopped;	       /* listed backups whose recovery gets to it and not over it */
	const char *newest;    /* label of the newest of them; NULL: none */
};

typedef VEC(struct wal_range) wal_ranges;
typedef VEC(struct wal_have) wal_haves;
typedef VEC(struct wal_gap) wal_gap_list;

struct wal_gaps_ask {
	uint32_t segment_size;
	const wal_haves *have;	  /* by timeline and segment, each once */
	const wal_ranges *ranges; /* in any order */
	const struct timeline_history *lines; /* of every timeline of which the archive has something */
	size_t lines_n;
};

/* Order of wal_haves. */
int wal_have_cmp(const void *x, const void *y);

/* Is a segment part of the range of some backup? */
bool wal_in_range(const wal_ranges *ranges, struct wal_pos pos, bool listed_only);

/* PURE.  Gaps in order of their first segment, each once, the worse kind where lines differ.  Segments within the
 * range of a listed backup are left out of HOLE, EXPIRED and UNNEEDED: what they mean, only the backup tells. */
void wal_gaps_find(struct arena *a, const struct wal_gaps_ask *ask, wal_gap_list *out);

#endif
