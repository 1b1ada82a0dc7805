/*
 * load: argv, environment and INI files into a config (reference cli.md 6 to 13).
 */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include "base/err.h"
#include "config/config.h"

/*
 * Phases 1 to 5 of the reference's order of checks.  Everything lives in the arena.  Exit codes and
 * messages are the reference's; warnings are logged.  Where no command is given (or --help, --version)
 * command is CMD_HELP or CMD_VERSION.
 */
int config_load(struct arena *a, int argc, char **argv, struct config **out) must_check;

/* The same call again, as if --stanza=stanza stood on its command line. */
int config_load_stanza(struct arena *a, const struct config *cfg, const char *stanza,
	struct config **out) must_check;

/*
 * Into cfg->next: the command that runs after cfg's in the same process (expire after backup).  It has what is
 * valid for it of the command line, the environment and the files; its own sections of a file come first, then those
 * of the first command, as the reference knows them only.  checksum-page-error is the first command's unless given.
 */
int config_load_next(struct arena *a, struct config *cfg, enum command next) must_check;

/* Phase 7, rules between options; after the lock is taken. */
int config_check(struct config *cfg) must_check;

/* "--config=... --stanza=demo": the begin line's options, in its order, secrets redacted. */
char *config_print(struct arena *a, const struct config *cfg);

/* For restore_command: the options given on the command line or in the environment (secrets never) that
 * the command `for_cmd` accepts, quoted for a shell; without log, process-max and retry options. */
char *config_pass_on(struct arena *a, const struct config *cfg, enum command for_cmd);

/* Name of a command, "archive-push"; NULL for CMD_NONE. */
const char *command_name(enum command c);
bool command_by_name(const char *name, enum command *out);
const char *command_summary(enum command c);

/* Facts per command (cli.md 2). */
struct command_info {
	const char *name, *summary;
	bool hidden, implemented;
	unsigned params_min, params_max;
	bool log_file;	   /* writes a log file by default */
	bool begin_info;   /* begin and end lines at info, else debug */
	bool lock_archive, lock_backup, lock_restore;
	bool obeys_stop;   /* ERR_STOP while a stop file exists */
};
const struct command_info *command_info(enum command c);

#endif
