/*
 * spool: what the background has told about WAL files, for archive-push in the foreground.
 *
 * In <spool-path>/archive/<stanza>/out, names as pgBackRest's:
 *
 *	<file>.ok	every repository has it, or it was dropped (the note of it was durable before), or an
 *			administrator renamed <file>.error: it is to be skipped
 *	<file>.part	some repositories have it: not to be proven again
 *	<file>.error	why it failed: code, line feed, text with hints;  global.error: why nothing could be done
 *
 * An .ok or .part of ours has three lines: 0 (for pgBackRest, should it find one: a success), a JSON object, and the
 * XXH3-128 of the two lines.  It counts only if it is whole and names this very file as it is now and, for an .ok,
 * every repository as it is configured now.  Whatever else lies there is as absent: neither trusted nor an obstacle.
 */
#ifndef CMD_SPOOL_H
#define CMD_SPOOL_H

#include "base/err.h"
#include "config/config.h"
#include "stream/hash.h"

struct spool {
	const char *dir;
	config_pairs repos; /* all of the configuration: key, and what it is: "posix:/var/lib/pgbackrest" */
};

/* <spool-path>/archive/<stanza>/<which>: "out" of archive-push, "in" of archive-get. */
char *spool_dir(struct arena *a, const struct config *cfg, const char *which);

/* Where it is; nothing is read or made. */
void spool_open(struct arena *a, const struct config *cfg, struct spool *out);

/* What tells one state of a file from any other; all zero: no such file. */
struct spool_id {
	uint64_t size, inode;
	int64_t mtime, ctime; /* ns */
};

/* ERR_FILE_MISSING, ERR_FILE_INFO. */
int spool_id_of(const char *path, struct spool_id *out) must_check;
bool spool_id_equal(const struct spool_id *x, const struct spool_id *y);

enum spool_word {
	SPOOL_NONE,
	SPOOL_STORED,  /* text: a warning, or NULL */
	SPOOL_DROPPED, /* text: why */
	SPOOL_SKIPPED  /* code and text of the error that the administrator decided about */
};

struct spool_answer {
	enum spool_word word;
	int code;
	const char *text;
};

/* What the .ok of a file says whose state is id. */
void spool_look(struct arena *a, const struct spool *s, const char *file, const struct spool_id *id,
	struct spool_answer *out);

/* What is known to be durable, of a file in this state. */
struct spool_status {
	struct sum sum;	    /* SHA-1 of the content; zero: not known (.history and .backup files) */
	config_pairs repos; /* that have it, as in struct spool */
	config_pairs archives; /* key and archive id there */
	const char *warning;
	bool dropped; /* warning says why */
};

/* Write <file>.ok; <file>.part and <file>.error go. */
int spool_write_ok(const struct spool *s, const char *file, const struct spool_id *id, const struct spool_status *st)
	must_check;

int spool_write_part(const struct spool *s, const char *file, const struct spool_id *id, const struct spool_status *st)
	must_check;

/* What a counting .part says; only repositories that are configured as they were.  False: nothing. */
bool spool_read_part(struct arena *a, const struct spool *s, const char *file, const struct spool_id *id,
	struct spool_status *out);

#define SPOOL_GLOBAL "global"

/* file: or SPOOL_GLOBAL. */
int spool_write_error(const struct spool *s, const char *file, const struct err_value *why) must_check;

/* The state of <file>.error, to know it again. */
void spool_error_id(const struct spool *s, const char *file, struct spool_id *out);

/* What <file>.error says; NULL if there is none, or nothing to be understood, or if it is still the one known as old
 * (NULL: any is good). */
struct err_value *spool_read_error(struct arena *a, const struct spool *s, const char *file,
	const struct spool_id *old);

char *spool_path(struct arena *a, const struct spool *s, const char *file, const char *suffix);

/* Remove what nobody waits for: status files whose file is not in `ready` (by name), global.error, and what writers
 * that were killed have left.  Only for who holds the lock "archive".  What cannot be removed stays: it does no harm. */
void spool_tidy(const struct spool *s, const strvec *ready);

#endif
