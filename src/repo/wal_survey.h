/*
 * wal_survey: one archive as its listing tells: names, and the small files that explain them.
 *
 * No segment is read, but for the head of one that tells the segment size.  What cannot be listed is -1, never
 * "nothing".
 */
#ifndef REPO_WAL_SURVEY_H
#define REPO_WAL_SURVEY_H

#include "repo/archive_info.h"
#include "repo/wal_lines.h"

/* A segment as it is stored.  Which number it has, only the segment size tells. */
struct wal_survey_file {
	uint32_t timeline, high, low; /* as in its name */
	bool bad; /* several of this name with different content, or nothing that can be read */
	struct sum sum;
	int64_t stored; /* Unix seconds */
};

struct wal_survey {
	uint32_t segment_size; /* as a header says; 0: none could tell */
	VEC(struct wal_survey_file) files; /* by name, each once */
	wal_histories histories;
	VEC(uint32_t) unread; /* timelines whose history file is there and cannot be used */
	strvec former;	      /* first and last segment of each backup that has its .backup file here, in turn */
	strvec others;	      /* names of all other files that PostgreSQL may have given: .history, .backup, .partial */
};

/* db: whose headers are believed. */
int wal_survey(struct arena *a, const struct wal_place *place, const struct archive_db *db, struct wal_survey *out)
	must_check;

/* First and last segment that a .backup file tells; false: it is not the one of its name. */
bool wal_survey_backup_file(struct arena *a, const char *name, const struct buf *text, const char **start,
	const char **stop);

/* The largest usual size that all these names are possible for, where nothing tells it. */
uint32_t wal_survey_guess(const struct wal_survey *s);

/* Several archives of one cluster as archive-get takes them: a segment counts wherever it is, and not at all where
 * copies differ.  Names that are impossible for the size are left out. */
void wal_survey_merge(struct arena *a, const struct wal_survey *const *v, size_t n, uint32_t segment_size,
	wal_kepts *out);

#endif
