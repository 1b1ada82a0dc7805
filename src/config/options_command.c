/*
 * options_command: options of archiving, backup and stanza commands.
 */
#include "config/options.h"

const struct option options_command[] = {
	{ .name = "annotation", .type = OPT_HASH, .section = SECTION_GLOBAL, .theme = THEME_COMMAND,
	  .flags = OPT_RESET, .commands = C_(ANNOTATE) | C_(BACKUP), .required = C_(ANNOTATE),
	  MEMBER(annotation),
	  .help = "A note that is stored with the backup as key=value and shown by info; repeat "
		"the option for several notes. An empty value removes the key of an existing "
		"backup." },
	{ .name = "archive", .type = OPT_BOOL, .section = SECTION_LINE, .theme = THEME_COMMAND,
	  .commands = C_(INFO) | C_(VERIFY), .def = "n", MEMBER(archive),
	  .help = "For info: show the WAL archive, timeline by timeline, with what is missing and from when to when "
		"recovery is possible. For verify: hold the archive against the running cluster." },
	{ .name = "archive-async", .type = OPT_BOOL, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_NEGATE | OPT_RESET, .commands = CMDS_ARCHIVE,
	  .def = "n", MEMBER(archive_async),
	  .help = "Push or fetch WAL segments in the background, several at a time, with the "
		"spool path as a buffer." },
	{ .name = "archive-check", .type = OPT_BOOL, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_NEGATE | OPT_RESET,
	  .commands = C_(ARCHIVE_PUSH) | C_(BACKUP) | C_(CHECK), .def = "y", .depends = "online=y",
	  .depends_for = C_(BACKUP), .unmet = "n", MEMBER(archive_check),
	  .help = "After a backup, wait until the WAL segments that it needs to become consistent "
		"are in the archive." },
	{ .name = "archive-copy", .type = OPT_BOOL, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_NEGATE | OPT_RESET, .commands = C_(BACKUP),
	  .def = "n", .depends = "archive-check=y", .unmet = "n", MEMBER(archive_copy),
	  .help = "Copy the WAL segments that the backup needs into the backup itself, so that it "
		"can be restored without the archive." },
	{ .name = "archive-gap", .type = OPT_ENUM, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_RESET, .commands = C_(ARCHIVE_GET) | C_(RESTORE),
	  .def = "stop", .allowed = "stop|end", MEMBER(archive_gap),
	  .help = "What archive-get tells PostgreSQL at a hole in the archive: stop makes "
		"recovery fail so that nothing is lost unseen, end lets recovery end there on "
		"purpose. Restore refuses at once with stop, and hands end on to archive-get." },
	{ .name = "archive-get-queue-max", .type = OPT_SIZE, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_RESET, .commands = C_(ARCHIVE_GET), .def = "128MiB",
	  .allowed = "0B..4PiB", MEMBER(archive_get_queue_max),
	  .help = "How much WAL archive-get fetches ahead in the background." },
	{ .name = "archive-header-check", .type = OPT_BOOL, .section = SECTION_GLOBAL,
	  .theme = THEME_MAINTAINER, .flags = OPT_NEGATE | OPT_RESET,
	  .commands = C_(ARCHIVE_PUSH) | C_(ARCHIVE_GET), .def = "y", MEMBER(archive_header_check),
	  .help = "Check that version and system identifier in the header of a WAL segment fit "
		"the stanza before it is stored, and the cluster before it is handed out." },
	{ .name = "archive-missing-retry", .type = OPT_BOOL, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_NEGATE | OPT_RESET, .commands = C_(ARCHIVE_GET),
	  .def = "y", .idle = C_(ARCHIVE_GET),
	  .help = "Ask the archive again for a WAL segment that was reported missing before. It always is: what an "
		"earlier run did not find is never believed." },
	{ .name = "archive-mode-check", .type = OPT_BOOL, .section = SECTION_GLOBAL,
	  .theme = THEME_MAINTAINER, .flags = OPT_NEGATE | OPT_RESET,
	  .commands = C_(ARCHIVE_PUSH) | C_(BACKUP) | C_(CHECK), .def = "y",
	  .depends = "archive-check=y", .unmet = "n", MEMBER(archive_mode_check),
	  .help = "Check that archive_mode of the cluster is a setting that works with this "
		"program." },
	{ .name = "archive-push-batch-size", .type = OPT_SIZE, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_RESET, .commands = C_(ARCHIVE_PUSH), .def = "16GiB",
	  .allowed = "1MiB..4PiB", MEMBER(archive_push_batch_size),
	  .help = "How much WAL one background push works through before it looks for new "
		"segments again." },
	{ .name = "archive-push-queue-max", .type = OPT_SIZE, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_RESET, .commands = C_(ARCHIVE_PUSH),
	  .allowed = "0B..4PiB", .aliases = "archive-queue-max",
	  MEMBER(archive_push_queue_max),
	  .help = "When more WAL than this waits for archiving, drop it and report success, so "
		"that the disk of the cluster does not fill up. The archive has a gap then." },
	{ .name = "archive-timeout", .type = OPT_TIME, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_RESET,
	  .commands = CMDS_ARCHIVE | C_(BACKUP) | C_(CHECK) | C_(VERIFY), .def = "1m", .allowed = "100ms..1d",
	  MEMBER(archive_timeout),
	  .help = "How long to wait for a WAL segment to reach the archive." },
	{ .name = "backup-standby", .type = OPT_ENUM, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_NEGATE | OPT_RESET | OPT_BOOL_LIKE,
	  .commands = C_(BACKUP) | C_(CHECK), .def = "n", .allowed = "n|prefer|y",
	  MEMBER(backup_standby),
	  .help = "Copy most files from a standby to spare the primary: y needs a standby, prefer "
		"takes the primary if no standby answers. Primary and standby both have to be "
		"configured, as pg1, pg2 and so on." },
	{ .name = "beta", .type = OPT_BOOL, .section = SECTION_GLOBAL, .theme = THEME_MAINTAINER,
	  .flags = OPT_NEGATE | OPT_RESET | OPT_INTERNAL, .commands = CMDS_ALL, .def = "n",
	  .help = "Allow features that are still in beta." },
	{ .name = "checksum-page", .type = OPT_BOOL, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_NEGATE | OPT_RESET, .commands = C_(BACKUP),
	  MEMBER_AS(M_TRI, checksum_page),
	  .help = "Check the page checksums of the cluster while its files are copied. Without "
		"this option the check follows the cluster: on where data checksums are "
		"enabled." },
	{ .name = "checksum-page-error", .type = OPT_BOOL, .section = SECTION_GLOBAL,
	  .theme = THEME_MAINTAINER, .flags = OPT_NEGATE | OPT_RESET,
	  .commands = C_(BACKUP) | C_(EXPIRE) | C_(RESTORE),
	  .def_cmd = "backup=n expire=y restore=y", MEMBER(checksum_page_error),
	  .help = "Fail when invalid page checksums were found, instead of only warning about "
		"them." },
	{ .name = "exclude", .type = OPT_LIST, .section = SECTION_GLOBAL, .theme = THEME_COMMAND,
	  .flags = OPT_RESET, .commands = C_(BACKUP), MEMBER(exclude),
	  .help = "Leave a file or folder out of the backup, named relative to the data "
		"directory; repeat the option for several. A name that ends in / leaves out the "
		"content of the folder only. Restored clusters miss these files." },
	{ .name = "expire-auto", .type = OPT_BOOL, .section = SECTION_GLOBAL,
	  .theme = THEME_MAINTAINER, .flags = OPT_NEGATE | OPT_RESET, .commands = C_(BACKUP),
	  .def = "y", MEMBER(expire_auto),
	  .help = "Apply the retention settings after each successful backup." },
	{ .name = "force", .type = OPT_BOOL, .section = SECTION_LINE, .theme = THEME_MAINTAINER,
	  .hidden = C_(STANZA_CREATE),
	  .commands = C_(BACKUP) | C_(RESTORE) | C_(STANZA_CREATE) | C_(STANZA_DELETE) | C_(STOP),
	  .def = "n", .depends = "online=n", .depends_for = C_(BACKUP), MEMBER(force),
	  .help = "Go on where the command would refuse for safety: a backup without a connection "
		"although PostgreSQL may be running, a restore over files that do not look like a "
		"cluster, or stanza-delete while PostgreSQL may be running. With stop: end the "
		"commands that run." },
	{ .name = "manifest-save-threshold", .type = OPT_SIZE, .section = SECTION_GLOBAL,
	  .theme = THEME_MAINTAINER, .flags = OPT_RESET, .commands = C_(BACKUP), .def = "1GiB",
	  .allowed = "1B..1TiB", MEMBER(manifest_save_threshold),
	  .help = "The list of files of a running backup is saved each time this much has been "
		"copied, so that an interrupted backup can be resumed." },
	{ .name = "online", .type = OPT_BOOL, .section = SECTION_LINE, .theme = THEME_MAINTAINER,
	  .flags = OPT_NEGATE, .commands = C_(BACKUP) | C_(STANZA_CREATE) | C_(STANZA_UPGRADE),
	  .def = "y", MEMBER(online),
	  .help = "Work with a running cluster through a connection. With --no-online none is made: "
		"a backup needs a stopped cluster then, stanza commands only read pg_control." },
	{ .name = "page-header-check", .type = OPT_BOOL, .section = SECTION_GLOBAL,
	  .theme = THEME_MAINTAINER, .flags = OPT_NEGATE | OPT_RESET, .commands = C_(BACKUP),
	  .def = "y", MEMBER(page_header_check),
	  .help = "Check the headers of pages too when page checksums are checked." },
	{ .name = "repo-target-time", .type = OPT_STRING, .section = SECTION_GLOBAL,
	  .theme = THEME_COMMAND, .flags = OPT_RESET,
	  .commands = C_(ARCHIVE_GET) | C_(INFO) | C_(MANIFEST) | C_(REPO_GET) | C_(REPO_LS) |
		C_(RESTORE) | C_(VERIFY),
	  .help = "Read the repository as it was at this time, where the store keeps versions." },
	{ .name = "resume", .type = OPT_BOOL, .section = SECTION_GLOBAL, .theme = THEME_COMMAND,
	  .flags = OPT_NEGATE | OPT_RESET, .commands = C_(BACKUP), .def = "y",
	  MEMBER(resume),
	  .help = "Go on with an interrupted full backup: what it stored is read and compared by "
		"checksum with the cluster's files, and kept if it is equal." },
	{ .name = "start-fast", .type = OPT_BOOL, .section = SECTION_GLOBAL, .theme = THEME_COMMAND,
	  .flags = OPT_NEGATE | OPT_RESET, .commands = C_(BACKUP), .def = "n", MEMBER(start_fast),
	  .help = "Begin the backup with an immediate checkpoint instead of waiting for the next "
		"regular one." },
	{ .name = "stop-auto", .type = OPT_BOOL, .section = SECTION_GLOBAL, .theme = THEME_COMMAND,
	  .flags = OPT_NEGATE | OPT_RESET | OPT_INTERNAL, .commands = C_(BACKUP), .def = "n",
	  .help = "Accepted for compatibility; running backups of older servers end by "
		"themselves." },
	{ .name = "type", .type = OPT_ENUM, .section = SECTION_LINE, .theme = THEME_COMMAND,
	  .commands = C_(BACKUP) | C_(INFO) | C_(RESTORE), .def_cmd = "backup=incr restore=default",
	  .allowed_cmd = "backup=full|diff|incr info=full|diff|incr "
		"restore=default|preserve|immediate|standby|none|name|time|lsn|xid",
	  MEMBER(type),
	  .help = "Type of the backup: full, diff or incr. For restore where recovery ends: "
		"default follows all WAL, immediate stops when the backup is consistent, time, "
		"name, xid and lsn stop at a target, standby goes on following, preserve keeps "
		"the recovery settings that the data directory has, none does no recovery. For "
		"info: show backups of this type only." },
	{ .name = NULL },
};
