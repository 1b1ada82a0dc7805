/*
 * wal_loss: which of the notes of dropped WAL still matter.
 *
 * A file that is noted as dropped is lost if the archive does not have it after all, and recovery from a backup could
 * come to it.
 */
#ifndef REPO_WAL_LOSS_H
#define REPO_WAL_LOSS_H

#include "repo/backup_info.h"
#include "repo/wal_drop.h"

/* The backups that count. */
struct wal_wanted {
	strvec starts; /* their first segments, in any order; empty: whatever is missing is lost */
	int64_t since; /* Unix seconds: the start of the oldest */
};

/* Lost files of one note with nothing in between that is there. */
struct wal_loss {
	const struct wal_drop *drop;
	const char *first, *last; /* NULL: nobody knows which files */
	size_t n;		  /* how many of them the note names; 0: not known */
};
typedef VEC(struct wal_loss) wal_losses;

/* The listed backups of a history id (archive_db.id) that were made online. */
void wal_wanted_by(struct arena *a, const struct backup_info *info, uint32_t db_id, struct wal_wanted *out);

/* Could recovery from one of the backups ask for this file?  Timelines are not followed: what is on a later timeline
 * at or behind the start of a backup may be on its way. */
bool wal_is_wanted(const struct wal_wanted *w, const char *name);

/* PURE.  there: names of what the archive has, as PostgreSQL calls them, by name.  By note, then by name; each file
 * once. */
void wal_losses_find(struct arena *a, const wal_drops *drops, const strvec *there, const struct wal_wanted *w,
	wal_losses *out);

/* Read the notes, look for their files, find the losses; cheap without notes. */
int wal_losses_load(struct arena *a, const struct wal_place *place, const struct wal_wanted *w, wal_losses *out)
	must_check;

/* "3 WAL files from A to C were dropped by archive-push on <date>: <text>" */
char *wal_loss_text(struct arena *a, const struct wal_loss *loss);

#endif
