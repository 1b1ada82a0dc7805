/*
 * recovery_text: what recovery settings look like (format/repository.md 12.9, behaviours.md 8.5).
 *
 * Pure: facts of a version and what the user asked for go in, names of files and texts come out; nothing here
 * looks at a disk, a clock or the configuration.
 */
#ifndef CMD_RECOVERY_TEXT_H
#define CMD_RECOVERY_TEXT_H

#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"
#include "pg/version.h"

struct recovery_ask {
	const struct pg_version *version;
	const char *type; /* in force: see recovery_type */
	const char *target, *target_action, *target_timeline; /* NULL: not given */
	bool target_exclusive, archive_off;
	const config_pairs *options; /* --recovery-option */
	const char *command;	     /* restore_command, see recovery_command */
};

/* The type in force.  Without WAL there is nothing to recover to, unless the user says so. */
const char *recovery_type(const char *type, bool given, bool online);

/* Does the type write settings at all? */
bool recovery_writes(const char *type);

/* What the version cannot do, or PostgreSQL could not read: ERR_OPTION_INVALID, ERR_OPTION_VALUE. */
int recovery_check(struct arena *a, const struct recovery_ask *ask) must_check;

/* The file that holds the settings: from 12 on they are appended to it, before it holds nothing else. */
const char *recovery_file(const struct pg_version *v);

/* The empty file that makes PostgreSQL recover; NULL: none. */
const char *recovery_signal(const struct recovery_ask *ask);

/* Is this file of the data directory one of those above, of any type? */
bool recovery_owns(const struct pg_version *v, const char *name);

/* "<program> <options> archive-get %f "%p"", as PostgreSQL wants it; program and options as a shell does. */
char *recovery_command(struct arena *a, const char *program, const char *options);

/* All lines, the comment with the date first; "" if the type writes none. */
char *recovery_settings(struct arena *a, const struct recovery_ask *ask, const char *when);

/* Append the old text with its recovery targets commented out, so that they cannot stop this recovery. */
void recovery_comment_out(struct buf *b, const struct buf *old, const char *when);

#endif
