/*
 * spool_in: WAL segments that archive-get has fetched ahead, <spool-path>/archive/<stanza>/in/.
 *
 * The queue holds nothing but proven bytes: a segment, and behind it a note that says of which file they are the bytes
 * and for whom they were proven.  A note that does not fit word for word is as no note; that something is absent, or
 * failed, is never said here.  So whatever lies here, the worst it can do is to make archive-get fetch by itself.
 *
 * The note need not survive a crash: it names the boot, and what an earlier one wrote is not believed.
 */
#ifndef CMD_SPOOL_IN_H
#define CMD_SPOOL_IN_H

#include <sys/stat.h>
#include "config/config.h"
#include "pg/control.h"
#include "repo/wal_check.h"

struct spool_in {
	const char *dir;
	const char *whose; /* lines of the note, see spool_in_open */
	struct wal_expect expect;
};

/*
 * For whom: this boot, this data directory under this run of its server (without a server: with this very pg_control),
 * this system and version, these repositories.  A restore is none of a running server and always writes a new
 * pg_control, so whatever was fetched before it is not believed.  The archive ids are not in it: system and version
 * decide them, and asking for them would cost each call a connection.
 * -1: it cannot be known, and so no queue be used.
 */
int spool_in_open(struct arena *a, const struct config *cfg, const struct pg_control *control,
	const struct wal_expect *expect, struct spool_in *out) must_check;

/* The directory, to be written to. */
int spool_in_make(const struct spool_in *q) must_check;

/* What the note says of a segment and the file that holds its bytes. */
const char *spool_in_note(struct arena *a, const struct spool_in *q, const char *segment, const struct sum *sum,
	const struct stat *file);

/* Write the note of a segment that is in place and was proven to have this SHA-1. */
int spool_in_believe(const struct spool_in *q, const char *segment, const struct sum *sum) must_check;

const char *spool_in_path(struct arena *a, const struct spool_in *q, const char *segment);

/* Does the queue have it: the file, and a note that fits?  What cannot be read is not there. */
bool spool_in_has(const struct spool_in *q, const char *segment);

/* As spool_in_has, by the note's name alone. */
bool spool_in_seems_to_have(const struct spool_in *q, const char *segment);

/* Move it to dest, by rename where that is possible, else proven once more while it is copied.  SPOOL_IN_NOT: it is
 * not there, or not to be believed; dest is untouched.  -1: so too, and why. */
enum { SPOOL_IN_TAKEN = 0, SPOOL_IN_NOT = 1 };
int spool_in_take(const struct spool_in *q, const char *segment, const char *dest) must_check;

/* How far the fetching of a segment has come: bytes, or -1 if nobody seems to be at it (a dead process may seem so). */
int64_t spool_in_progress(const struct spool_in *q, const char *segment);

/* Remove everything but these segments (sorted by name), and of them what is not to be believed.  What cannot be
 * removed is a warning. */
void spool_in_tidy(const struct spool_in *q, const strvec *wanted);

/* After a restore nothing of the stanza's state in the spool is true any more: empties in/ and out/; a failure is a
 * warning. */
void spool_in_forget(const struct config *cfg);

#endif
