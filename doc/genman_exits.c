/*
 * genman_exits: what each exit code means to whoever reads it in a log.
 *
 * The codes and names are those of base/err.h; a code without a text here fails the build of the
 * pages that show it.
 */
#include <string.h>
#include "base/str.h"
#include "genman.h"

static const char *const meanings[] = {
	[ERR_ASSERT] = "a fault of this program, or a state that cannot be",
	[ERR_CHECKSUM] = "bytes are not the ones that were stored; or invalid pages, with "
			 "checksum-page-error",
	[ERR_CONFIG] = "the configuration contradicts itself or the cluster",
	[ERR_FILE_INVALID] = "info files fit neither each other nor the cluster",
	[ERR_FORMAT] = "a file, a name, a time or a line of the configuration has the wrong form",
	[ERR_COMMAND_REQUIRED] = "no command was given",
	[ERR_OPTION_INVALID] = "an option is unknown, not valid here, or not yet supported",
	[ERR_OPTION_VALUE] = "the value of an option is not allowed",
	[ERR_OPTION_REQUIRED] = "a required option is missing",
	[ERR_PG_RUNNING] = "PostgreSQL runs, and must not",
	[ERR_PROTOCOL] = "two processes or hosts did not understand each other",
	[ERR_PATH_NOT_EMPTY] = "a folder has content, and must not",
	[ERR_FILE_OPEN] = "a file could not be opened",
	[ERR_FILE_READ] = "a file could not be read, or not proven present or absent",
	[ERR_PARAM_REQUIRED] = "a parameter is missing",
	[ERR_ARCHIVE_MISMATCH] = "WAL or an archive belongs to another cluster or version",
	[ERR_ARCHIVE_DUPLICATE] = "a WAL file of this name with other content is in the archive",
	[ERR_VERSION_NOT_SUPPORTED] = "a version of PostgreSQL that is not known",
	[ERR_PATH_CREATE] = "a folder could not be made",
	[ERR_COMMAND_INVALID] = "the command is unknown or not yet supported",
	[ERR_HOST_CONNECT] = "a host could not be reached",
	[ERR_LOCK] = "another process works on this stanza and repository",
	[ERR_BACKUP_MISMATCH] = "the backups of the stanza are of another cluster or version",
	[ERR_FILE_SYNC] = "a file could not be made durable",
	[ERR_PATH_OPEN] = "a folder could not be opened, or is not ours to write to",
	[ERR_PATH_SYNC] = "a folder could not be made durable",
	[ERR_FILE_MISSING] = "a file is missing",
	[ERR_DB_CONNECT] = "no connection to PostgreSQL, or no primary was found",
	[ERR_DB_QUERY] = "a query failed or took too long",
	[ERR_DB_MISMATCH] = "server, data directory and configuration do not fit each other",
	[ERR_FILE_REMOVE] = "a file could not be removed",
	[ERR_PATH_REMOVE] = "a folder could not be removed",
	[ERR_STOP] = "a stop file forbids the command",
	[ERR_TERM] = "a signal ended the command",
	[ERR_FILE_WRITE] = "a file could not be written, perhaps because the disk is full",
	[ERR_FEATURE] = "a setting or a feature that is not supported",
	[ERR_ARCHIVE_COMMAND] = "archive_command of the cluster does not call this program",
	[ERR_LINK_EXPECTED] = "a folder stands where a symbolic link has to be",
	[ERR_LINK_DESTINATION] = "a link leads into the data directory, to a link, or into another "
				 "one's place",
	[ERR_HOST_INVALID] = "the command runs on the wrong host",
	[ERR_PATH_MISSING] = "a folder is missing",
	[ERR_FILE_MOVE] = "a file could not be renamed",
	[ERR_BACKUP_SET] = "there is no such backup, or none that fits",
	[ERR_TABLESPACE_MAP] = "the mapping of tablespaces is wrong",
	[ERR_LINK_MAP] = "the mapping of links is wrong",
	[ERR_FILE_CLOSE] = "a file could not be closed",
	[ERR_DB_MISSING] = "a database that was named is not in the backup",
	[ERR_DB_INVALID] = "a database that was named cannot be chosen",
	[ERR_ARCHIVE_TIMEOUT] = "a WAL segment did not reach the archive within archive-timeout",
	[ERR_FILE_MODE] = "the mode of a file could not be set",
	[ERR_ARCHIVE_DISABLED] = "archive_mode of the cluster is off",
	[ERR_FILE_OWNER] = "the owner of a file could not be set",
	[ERR_USER_MISSING] = "there is no such user",
	[ERR_FILE_EXISTS] = "a file exists, and must not",
	[ERR_MEMORY] = "out of memory",
	[ERR_CRYPTO] = "encryption, decryption or a certificate failed",
	[ERR_PARAM_INVALID] = "a parameter is not allowed",
	[ERR_PATH_CLOSE] = "a folder could not be closed",
	[ERR_FILE_INFO] = "size, time or kind of a file could not be read or set",
	[ERR_JSON] = "JSON in the repository is malformed",
	[ERR_KERNEL] = "a system call failed, or the clock does not advance",
	[ERR_SERVICE] = "a service answered with an error",
	[ERR_EXECUTE] = "another program could not be run, or failed",
	[ERR_REPO_INVALID] = "no repository is usable",
	[ERR_COMMAND] = "the command failed in part, as told before",
	[ERR_ACCESS] = "access was denied",
	[ERR_CLOCK] = "the clock is behind the newest backup",
	[ERR_UNKNOWN] = "a failure that says no more",
};

enum { MEANINGS = sizeof(meanings) / sizeof(meanings[0]) };

static int add_exit(enum err_code code, const char *name, struct arena *a, struct buf *out)
{
	if ((size_t)code >= MEANINGS || !meanings[code])
		return err_set(ERR_FORMAT, "exit code %d (%s) has no meaning in doc/genman_exits.c",
			(int)code, name);
	buf_addf(out, ".TP 6\n.B %d\n", (int)code);
	roff_add(out, arena_printf(a, "%s: %s\n", name, meanings[code]));
	return 0;
}

static int add_all(struct arena *a, struct buf *out)
{
#define ADD_EXIT_(symbol, code, name) \
	if (add_exit(symbol, name, a, out) != 0) \
		return -1;
	ERR_LIST(ADD_EXIT_)
#undef ADD_EXIT_
	return 0;
}

int genman_exits(struct arena *a, const char *codes, struct buf *out)
{
	strvec words = str_split(a, str_trim(a, codes), ' ');

	buf_adds(out, ".PD 0\n");
	if (words.v[0][0] == '\0' && add_all(a, out) != 0)
		return -1;
	for (size_t i = 0; i < words.n; i++) {
		int64_t code;

		if (words.v[i][0] == '\0')
			continue;
		if (!str_to_i64(words.v[i], &code) || code <= 0 || code >= MEANINGS)
			return err_set(ERR_FORMAT, "'%s' is not an exit code", words.v[i]);
		if (add_exit((enum err_code)code, err_class((enum err_code)code), a, out) != 0)
			return -1;
	}
	buf_adds(out, ".PD\n");
	return 0;
}
