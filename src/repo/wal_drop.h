/*
 * wal_drop: notes of WAL files that were given up on purpose, so that no gap in an archive is silent.
 *
 * A note is a small JSON file of our own, archive/<stanza>/<archive id>/pgstrata/gap/<id>.json, encrypted like the
 * WAL; pgBackRest does not look at it.  It is written once under a new name and never changed; expire removes it when
 * no kept backup can come to its files any more.  A note speaks only of what is missing: a file of it that is in the
 * archive after all is not lost.  A file may stand in several notes: then the last one counts.
 *
 * Its checksum covers all of it, and nothing but the very text that wal_drop_text gives is accepted.  A note that is
 * damaged still says when something was dropped, by its name: it becomes a note of unknown files.
 *
 * Which notes still matter is decided in repo/wal_loss.h.
 */
#ifndef REPO_WAL_DROP_H
#define REPO_WAL_DROP_H

#include "repo/wal_find.h"

enum wal_drop_why {
	WAL_DROP_QUEUE,  /* archive-push-queue-max */
	WAL_DROP_SKIPPED /* an administrator's word in the spool */
};

#define WAL_DROP_ID 25 /* characters */

struct wal_drop {
	const char *id; /* "20261120T210012Z-1f2e3d4c": UTC and 8 random hex digits; the same wherever it is */
	enum wal_drop_why why;
	int64_t when;	    /* Unix seconds; of the first file */
	uint64_t system_id; /* of the cluster whose WAL it was; 0: not known */
	const char *text;   /* for people: "archive queue exceeded 20MB"; of unknown files: why the note is of no use */
	strvec files;	    /* as PostgreSQL calls them, by name; empty: unknown files, only from wal_drops_load */
};
typedef VEC(struct wal_drop) wal_drops;

/* A new id of this time; -1 without random bytes. */
int wal_drop_new_id(struct arena *a, int64_t when, const char **id) must_check;
/* Is this "<id>.json"?  *when: what the id says. */
bool wal_drop_file_parse(const char *file_name, int64_t *when);

/* As text; and back: ERR_FORMAT, naming what, for anything else than a whole note with its own checksum. */
void wal_drop_text(const struct wal_drop *d, struct buf *out);
int wal_drop_parse(struct arena *a, const char *what, const struct buf *text, struct wal_drop *out) must_check;

/* Durable in this archive; the same note that is there already is fine.  The text is stored as it is: a damaged note
 * must not be lost on its way either. */
int wal_drop_put(const struct wal_place *place, const char *id, const struct buf *text) must_check;

/* All notes of this archive, by id.  One that cannot be read is logged as a warning, and is in the list as a note of
 * unknown files. */
int wal_drops_load(struct arena *a, const struct wal_place *place, wal_drops *out) must_check;

/* The note that names this file; NULL: none. */
const struct wal_drop *wal_drop_of(const wal_drops *drops, const char *file);

/* Is all of it older than this time?  What is dropped was written before, so a backup that began later does not need
 * it; the clocks of the hosts that note and that back up may differ by an hour. */
bool wal_drop_is_before(const struct wal_drop *d, int64_t time);

/* "by archive-push on 2026-11-20 21:00:12+00: archive queue exceeded 20MB" */
char *wal_drop_how(struct arena *a, const struct wal_drop *d);

/*
 * Do the notes of any of these archives say that the file was dropped, or might one that cannot be read say so?  1 a
 * note names it, 0 no, -1 unknown.  *how: wal_drop_how; with 0 NULL, or what makes it possible.  *at is the place
 * that said so, or could not answer.
 */
int wal_was_dropped(struct arena *a, const struct wal_place *places, size_t n, const char *file, const char **how,
	size_t *at) must_check;

/* Remove a note that concerns nobody any more. */
int wal_drop_remove(const struct wal_place *place, const char *id) must_check;

#endif
