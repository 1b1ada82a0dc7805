/*
 * commands: facts per command (names, locks, logs), one line each.
 */
#include <string.h>
#include "config/load.h"

#define LOCKS_ARCHIVE .lock_archive = true
#define LOCKS_BACKUP .lock_backup = true
#define LOCKS_RESTORE .lock_restore = true
#define LOCKS_ALL LOCKS_ARCHIVE, LOCKS_BACKUP, LOCKS_RESTORE
#define LOGS .log_file = true, .begin_info = true
#define TELLS .begin_info = true

static const struct command_info commands[CMD_COUNT] = {
	[CMD_ANNOTATE] = { "annotate", "Add, change or remove notes of a backup.",
		.implemented = true, TELLS, LOCKS_BACKUP },
	[CMD_ARCHIVE_GET] = { "archive-get", "Fetch a WAL segment for PostgreSQL.",
		.implemented = true, .params_min = 2, .params_max = 2, TELLS },
	[CMD_ARCHIVE_PUSH] = { "archive-push", "Store a WAL segment for PostgreSQL.",
		.implemented = true, .params_min = 1, .params_max = 1, TELLS, .obeys_stop = true },
	[CMD_AUTHORIZE] = { "authorize", "Print the authorized_keys line for another host's key.",
		.implemented = true, .params_min = 1, .params_max = 1 },
	[CMD_BACKUP] = { "backup", "Back up a cluster.",
		.implemented = true, LOGS, LOCKS_BACKUP, .obeys_stop = true },
	[CMD_CHECK] = { "check", "Test configuration and archiving.", .implemented = true, TELLS },
	[CMD_EXPIRE] = { "expire", "Remove backups and WAL that are no longer kept.",
		.implemented = true, LOGS, LOCKS_BACKUP, .obeys_stop = true },
	[CMD_HELP] = { "help", "Show help.", .implemented = true, .params_max = 2 },
	[CMD_INFO] = { "info", "Show what backups and WAL there are.", .implemented = true },
	[CMD_MANIFEST] = { "manifest", "Show the list of files of a backup.", .hidden = true },
	[CMD_REPO_GET] = { "repo-get", "Show a file of the repository.",
		.params_min = 1, .params_max = 1 },
	[CMD_REPO_LS] = { "repo-ls", "List a folder of the repository.", .params_max = 1 },
	[CMD_REPO_RM] = { "repo-rm", "Remove a file or folder of the repository.",
		.hidden = true, .params_max = 1 },
	[CMD_RESTORE] = { "restore", "Restore a cluster.",
		.implemented = true, LOGS, LOCKS_RESTORE },
	[CMD_SERVE] = { "serve", "Serve repositories or a cluster of this host to other hosts, through SSH.",
		.implemented = true },
	[CMD_SERVER] = { "server", "Serve other hosts over TLS.", LOGS },
	[CMD_SERVER_PING] = { "server-ping", "Test whether a TLS server answers.",
		.params_max = 1, TELLS },
	[CMD_STANZA_CREATE] = { "stanza-create", "Prepare the repository for a cluster.",
		.implemented = true, LOGS, LOCKS_ALL, .obeys_stop = true },
	[CMD_STANZA_DELETE] = { "stanza-delete", "Delete a stanza with all its backups.",
		.implemented = true, LOGS, LOCKS_ALL },
	[CMD_STANZA_UPGRADE] = { "stanza-upgrade", "Record a new version of the cluster.",
		.implemented = true, LOGS, LOCKS_ALL, .obeys_stop = true },
	[CMD_START] = { "start", "Allow commands to run again after stop.",
		.implemented = true, LOGS },
	[CMD_STOP] = { "stop", "Keep commands from running.", .implemented = true, LOGS },
	[CMD_VERIFY] = { "verify", "Check the files of the repository.", .implemented = true, LOGS },
	[CMD_VERSION] = { "version", "Show the version.", .implemented = true },
};

const struct command_info *command_info(enum command c)
{
	return &commands[c];
}

const char *command_name(enum command c)
{
	return commands[c].name;
}

const char *command_summary(enum command c)
{
	return commands[c].summary;
}

bool command_by_name(const char *name, enum command *out)
{
	for (int c = CMD_NONE + 1; c < CMD_COUNT; c++)
		if (strcmp(commands[c].name, name) == 0) {
			*out = (enum command)c;
			return true;
		}
	return false;
}
