/*
 * verify_cluster: the archive held against the running cluster, by names alone.
 */
#ifndef CMD_VERIFY_CLUSTER_H
#define CMD_VERIFY_CLUSTER_H

#include "base/buf.h"
#include "repo/wal_drop.h"
#include "repo/wal_lines.h"

/* From good to bad; the first three are the exit codes too. */
enum cluster_status { CLUSTER_OK, CLUSTER_WARNING, CLUSTER_FAILURE };

/* Of a segment, from good to bad. */
enum cluster_found { CLUSTER_FOUND, CLUSTER_UPLOADING, CLUSTER_DELAYED, CLUSTER_LOST };

/* What the server has of a segment. */
struct cluster_local {
	struct wal_pos pos;
	bool there;	 /* in pg_wal */
	bool ready, done; /* its status file */
	int64_t since;	 /* Unix seconds: ready, or else written, since then */
};
typedef VEC(struct cluster_local) cluster_locals;

/* Segments side by side on one timeline of which the same is to be said. */
struct cluster_row {
	uint32_t timeline;
	uint64_t first, last; /* numbers of segments */
	enum cluster_found found;
};

struct cluster_ask {
	uint32_t segment_size;
	struct timeline_history line; /* of the server's timeline */
	uint64_t first, end;	      /* the segments that are expected: from first up to, but not, end */
	const wal_kepts *there;	      /* in all repositories together, by timeline and segment, each once */
	const cluster_locals *local;  /* in any order */
	const wal_ranges *ranges;     /* of backups */
	int64_t now;		      /* Unix seconds */
	int64_t timeout_ms;	      /* archive-timeout */
	uint32_t highest;	      /* timeline in storage; 0: there is none */
};

struct cluster_answer {
	enum cluster_status integrity, timeline;
	VEC(struct cluster_row) rows;
	uint32_t current, highest;
	strvec notes; /* what else is to be said */
	uint64_t skipped; /* segments that retention has removed between backups */
};

/* PURE.  Sorts local. */
void cluster_judge(struct arena *a, const struct cluster_ask *ask, struct cluster_answer *out);
/* PURE.  What notes, and status files on the server, tell of what is lost. */
void cluster_explain(struct arena *a, const struct cluster_ask *ask, const wal_drops *drops,
	struct cluster_answer *out);

/* With the keys, and only those, of WAL-G's report wal-verify. */
void cluster_json(const struct cluster_answer *x, uint32_t segment_size, struct buf *out);
void cluster_text(const struct cluster_answer *x, const char *stanza, uint32_t segment_size, struct buf *out);

#endif
