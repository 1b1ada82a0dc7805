/*
 * err: the one failure record of the process.
 *
 * A function returns 0 or -1 (NULL for constructors); why is in this record: a documented exit
 * code, a message (what was attempted, on what, why) and hints (what the user can do).  The cause
 * is kept on the way up: err_wrap adds in front what the layer below could not know; err_set while
 * a failure stands replaces it, hints included.  Whoever goes on after a failure (retry, tee, "may
 * be missing") calls err_clear.  No secret may be put into a message.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>
#include "arena.h"

/* Exit codes: the reference's, see doc/reference of exit codes in the man page.  ERR_LIST(X) gives
 * X(symbol, code, class name); the class name appears in messages that report another failure. */
#define ERR_LIST(X) \
	X(ERR_ASSERT, 25, "AssertError") \
	X(ERR_CHECKSUM, 26, "ChecksumError") \
	X(ERR_CONFIG, 27, "ConfigError") \
	X(ERR_FILE_INVALID, 28, "FileInvalidError") \
	X(ERR_FORMAT, 29, "FormatError") \
	X(ERR_COMMAND_REQUIRED, 30, "CommandRequiredError") \
	X(ERR_OPTION_INVALID, 31, "OptionInvalidError") \
	X(ERR_OPTION_VALUE, 32, "OptionInvalidValueError") \
	X(ERR_OPTION_REQUIRED, 37, "OptionRequiredError") \
	X(ERR_PG_RUNNING, 38, "PgRunningError") \
	X(ERR_PROTOCOL, 39, "ProtocolError") \
	X(ERR_PATH_NOT_EMPTY, 40, "PathNotEmptyError") \
	X(ERR_FILE_OPEN, 41, "FileOpenError") \
	X(ERR_FILE_READ, 42, "FileReadError") \
	X(ERR_PARAM_REQUIRED, 43, "ParamRequiredError") \
	X(ERR_ARCHIVE_MISMATCH, 44, "ArchiveMismatchError") \
	X(ERR_ARCHIVE_DUPLICATE, 45, "ArchiveDuplicateError") \
	X(ERR_VERSION_NOT_SUPPORTED, 46, "VersionNotSupportedError") \
	X(ERR_PATH_CREATE, 47, "PathCreateError") \
	X(ERR_COMMAND_INVALID, 48, "CommandInvalidError") \
	X(ERR_HOST_CONNECT, 49, "HostConnectError") \
	X(ERR_LOCK, 50, "LockAcquireError") \
	X(ERR_BACKUP_MISMATCH, 51, "BackupMismatchError") \
	X(ERR_FILE_SYNC, 52, "FileSyncError") \
	X(ERR_PATH_OPEN, 53, "PathOpenError") \
	X(ERR_PATH_SYNC, 54, "PathSyncError") \
	X(ERR_FILE_MISSING, 55, "FileMissingError") \
	X(ERR_DB_CONNECT, 56, "DbConnectError") \
	X(ERR_DB_QUERY, 57, "DbQueryError") \
	X(ERR_DB_MISMATCH, 58, "DbMismatchError") \
	X(ERR_FILE_REMOVE, 60, "FileRemoveError") \
	X(ERR_PATH_REMOVE, 61, "PathRemoveError") \
	X(ERR_STOP, 62, "StopError") \
	X(ERR_TERM, 63, "TermError") \
	X(ERR_FILE_WRITE, 64, "FileWriteError") \
	X(ERR_FEATURE, 67, "FeatureNotSupportedError") \
	X(ERR_ARCHIVE_COMMAND, 68, "ArchiveCommandInvalidError") \
	X(ERR_LINK_EXPECTED, 69, "LinkExpectedError") \
	X(ERR_LINK_DESTINATION, 70, "LinkDestinationError") \
	X(ERR_HOST_INVALID, 72, "HostInvalidError") \
	X(ERR_PATH_MISSING, 73, "PathMissingError") \
	X(ERR_FILE_MOVE, 74, "FileMoveError") \
	X(ERR_BACKUP_SET, 75, "BackupSetInvalidError") \
	X(ERR_TABLESPACE_MAP, 76, "TablespaceMapError") \
	X(ERR_LINK_MAP, 78, "LinkMapError") \
	X(ERR_FILE_CLOSE, 79, "FileCloseError") \
	X(ERR_DB_MISSING, 80, "DbMissingError") \
	X(ERR_DB_INVALID, 81, "DbInvalidError") \
	X(ERR_ARCHIVE_TIMEOUT, 82, "ArchiveTimeoutError") \
	X(ERR_FILE_MODE, 83, "FileModeError") \
	X(ERR_ARCHIVE_DISABLED, 87, "ArchiveDisabledError") \
	X(ERR_FILE_OWNER, 88, "FileOwnerError") \
	X(ERR_USER_MISSING, 89, "UserMissingError") \
	X(ERR_FILE_EXISTS, 93, "FileExistsError") \
	X(ERR_MEMORY, 94, "MemoryError") \
	X(ERR_CRYPTO, 95, "CryptoError") \
	X(ERR_PARAM_INVALID, 96, "ParamInvalidError") \
	X(ERR_PATH_CLOSE, 97, "PathCloseError") \
	X(ERR_FILE_INFO, 98, "FileInfoError") \
	X(ERR_JSON, 99, "JsonFormatError") \
	X(ERR_KERNEL, 100, "KernelError") \
	X(ERR_SERVICE, 101, "ServiceError") \
	X(ERR_EXECUTE, 102, "ExecuteError") \
	X(ERR_REPO_INVALID, 103, "RepoInvalidError") \
	X(ERR_COMMAND, 104, "CommandError") \
	X(ERR_ACCESS, 105, "AccessError") \
	X(ERR_CLOCK, 106, "ClockError") \
	X(ERR_UNKNOWN, 125, "UnknownError")

#define ERR_ENUM_(symbol, code, name) symbol = code,
enum err_code { ERR_NONE = 0, ERR_LIST(ERR_ENUM_) };
#undef ERR_ENUM_

#define must_check __attribute__((warn_unused_result))

/* Set the failure; always returns -1, so that "return err_set(...)" reads as the end of a function. */
int err_set(enum err_code code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As err_set, with ": [errno] text" of the current errno at the end. */
int err_sys(enum err_code code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put "context: " before the message that stands; code and hints stay.  Returns -1. */
int err_wrap(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Add a hint line (text without the word HINT) to the failure that stands.  Returns -1. */
int err_hint(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* For constructors: "return err_null(ERR_X, ...)". */
#define err_null(...) ((void)err_set(__VA_ARGS__), NULL)
#define err_sys_null(...) ((void)err_sys(__VA_ARGS__), NULL)

/* Change the code of the failure that stands (a caller that knows the documented one).  Returns -1. */
int err_recode(enum err_code code);

enum err_code err_code(void);	/* ERR_NONE if no failure stands */
const char *err_msg(void);	/* "" if none; valid until the record changes */
const char *err_hints(void);	/* lines "HINT: text", separated by \n, "" if none; same lifetime */
void err_clear(void);

/* "FileMissingError"; "UnknownError" for a code that is not in the list. */
const char *err_class(enum err_code code);

/* A failure as a value: a tee's branch, a worker's report. */
struct err_value {
	enum err_code code;
	const char *msg;
	const char *hints;
};

/* Move the record into a value that lives in the arena; the record is clear afterwards. */
struct err_value *err_take(struct arena *a);

/* Make a value the record again.  Returns -1. */
int err_restore(const struct err_value *v);

#endif
