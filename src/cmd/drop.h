/*
 * drop: WAL that archive-push gives up, and how the repositories learn of it.
 *
 * Nothing is dropped before a note of it is durable in the spool, <spool-path>/pgstrata/<stanza>/gap/ (apart from what
 * pgBackRest's restore removes); the next push carries the notes to every repository before it reports success.
 *
 * Small files, .history and .backup, are not given up but kept there, in <system identifier>/<name>, and pushed with
 * the notes: an archive without the history of a promotion is of no use, and they need no room.  So no note names
 * them: they are late, not lost.  Those that were skipped by hand are given up.
 */
#ifndef CMD_DROP_H
#define CMD_DROP_H

#include "config/config.h"
#include "repo/wal_drop.h"

struct push_run;

/* Does more WAL wait in wal_dir (the folder of the segments, with archive_status in it) than archive-push-queue-max
 * allows?  Counted in bytes of the very files that are ready.  *why: text for messages and the note.  Never full
 * without the option. */
int drop_queue_is_full(struct arena *a, const struct config *cfg, const char *wal_dir, bool *full, const char **why)
	must_check;

/* A note of these files of wal_dir, durable in the spool.  -1: then they must not be dropped. */
int drop_note(struct arena *a, const struct config *cfg, enum wal_drop_why why, const char *text,
	const char *wal_dir, const strvec *files) must_check;

/* Does the spool note or keep anything, as far as can be told?  Without notes this costs one look for the folder. */
bool drop_waits(const struct config *cfg);

/*
 * Bring what the spool has noted and kept to every repository of the run.  0: all of them have all of it (the spool's
 * notes are gone then); -1: one has not, so the push must not report success.  The healthy ones have it all the same;
 * one that fails is left out for the rest of the run.  Nothing is done unless drop_waits.
 *
 * A damaged note goes to the repositories as it is, where it counts as a note of unknown files: so it is seen for
 * ever, and does not stop archiving.  One that cannot be read at all does.
 */
int drop_carry(struct arena *a, struct push_run *run) must_check;

#endif
