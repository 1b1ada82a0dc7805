/*
 * main: one command from the words of the user to an exit code.
 *
 * The order is the reference's (cli.md 11): options, log, root, log file, begin line, locks, rules
 * between options, the command, end line.  Every way out of archive-get, also one before its
 * options are read, goes through archive_get_exit, because PostgreSQL takes its exit code for an
 * answer (promise P2).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/path.h"
#include "base/sig.h"
#include "base/str.h"
#include "base/sys.h"
#include "cmd/cmd.h"
#include "cmd/ctx_remote.h"
#include "cmd/locks.h"
#include "config/load.h"
#include "repo/layout.h"

typedef int command_fn(struct arena *a, const struct config *cfg);

static command_fn *const functions[CMD_COUNT] = {
	[CMD_ANNOTATE] = cmd_annotate,
	[CMD_ARCHIVE_GET] = cmd_archive_get,
	[CMD_ARCHIVE_PUSH] = cmd_archive_push,
	[CMD_AUTHORIZE] = cmd_authorize,
	[CMD_BACKUP] = cmd_backup,
	[CMD_CHECK] = cmd_check,
	[CMD_EXPIRE] = cmd_expire,
	[CMD_HELP] = cmd_help,
	[CMD_INFO] = cmd_info,
	[CMD_RESTORE] = cmd_restore,
	[CMD_SERVE] = cmd_serve,
	[CMD_STANZA_CREATE] = cmd_stanza_create,
	[CMD_STANZA_DELETE] = cmd_stanza_delete,
	[CMD_STANZA_UPGRADE] = cmd_stanza_upgrade,
	[CMD_START] = cmd_start,
	[CMD_STOP] = cmd_stop,
	[CMD_VERIFY] = cmd_verify,
	[CMD_VERSION] = cmd_version,
};

/* help and version: no configuration, no log, and root may ask too. */
static bool only_prints(enum command c)
{
	return c == CMD_HELP || c == CMD_VERSION;
}

static int check_root(const struct config *cfg)
{
	if (cfg->allow_root || geteuid() != 0)
		return 0;
	err_set(ERR_OPTION_INVALID, "the '%s' command must not be run as the root user",
		command_name(cfg->command));
	err_hint("run the command as the user that owns the cluster or the repository, e.g. "
		 "postgres.");
	return err_hint("option allow-root allows it; files that root creates may be unusable for "
			"PostgreSQL.");
}

/* Before a log, a lock or anything else gets a name that is made from it. */
static int check_stanza(const struct config *cfg)
{
	if (cfg->stanza == NULL || stanza_name_ok(cfg->stanza))
		return 0;
	return err_set(ERR_OPTION_VALUE, "'%s' cannot be the name of a stanza", cfg->stanza);
}

static int set_priority(const struct config *cfg)
{
	if (!cfg->has_priority || setpriority(PRIO_PROCESS, 0, (int)cfg->priority) == 0)
		return 0;
	return err_sys(ERR_KERNEL, "unable to set priority %d", (int)cfg->priority);
}

static void start_log(const struct config *cfg)
{
	/* stdout belongs to the JSON, the line or the conversation, for the program that reads it */
	bool serves = cfg->command == CMD_SERVE || cfg->command == CMD_AUTHORIZE;
	bool report = cfg->dry_run || cfg->command == CMD_INFO || (cfg->command == CMD_VERIFY && cfg->archive);
	bool apart = serves || (report && cfg->output && strcmp(cfg->output, "json") == 0);
	/* what serve has to say beyond its failures nobody asked for at the other end */
	enum log_level console = serves ? LOG_ERROR : cfg->log_level_console, err = cfg->log_level_stderr;
	const struct log_config log = {
		.console = apart ? LOG_OFF : console,
		.stderr_level = apart && console > err ? console : err,
		.dry_run = cfg->dry_run,
		.file = cfg->log_level_file,
		.timestamp = cfg->log_timestamp,
		.process_width = cfg->process_max > 99 ? 3 : 2,
	};

	log_configure(&log);
}

static void open_log_file(struct arena *a, const struct config *cfg)
{
	if (cfg->log_level_file == LOG_OFF ||
		!(command_info(cfg->command)->log_file || cfg->log_file_given))
		return;
	log_file_open(path_join(a, cfg->log_path,
		arena_printf(a, "%s-%s.log", cfg->stanza ? cfg->stanza : "all",
			command_name(cfg->command))));
}

static enum log_level frame_level(const struct config *cfg)
{
	return command_info(cfg->command)->begin_info ? LOG_INFO : LOG_DEBUG;
}

static void log_begin(struct arena *a, const struct config *cfg)
{
	const char *params =
		cfg->params.n == 0 ? "" : arena_printf(a, "[%s] ", str_join(a, &cfg->params, ", "));

	log_print(frame_level(cfg), "%s command begin " PACKAGE_VERSION ": %s%s",
		command_name(cfg->command), params, config_print(a, cfg));
}

static void log_end(
	struct arena *a, const struct config *cfg, int64_t began_ms, enum err_code failure)
{
	const char *result = "completed successfully";

	if (failure != ERR_NONE)
		result = arena_printf(a, "aborted with exception [%03d]", (int)failure);
	else if (cfg->log_timestamp)
		result = arena_printf(
			a, "%s (%lldms)", result, (long long)(clock_mono_ms() - began_ms));
	log_print(frame_level(cfg), "%s command end: %s", command_name(cfg->command), result);
}

static int take_lock(struct arena *a, const struct config *cfg, const char *type)
{
	cmd_locks held;

	if (cmd_lock(a, cfg, type, &held) != 0)
		return -1;
	for (size_t i = 0; i < held.n; i++)
		cmd_progress_lock(held.v[i]);
	return 0;
}

static int take_locks(struct arena *a, const struct config *cfg)
{
	const struct command_info *info = command_info(cfg->command);

	if (info->lock_archive && take_lock(a, cfg, "archive") != 0)
		return -1;
	if (info->lock_backup && take_lock(a, cfg, "backup") != 0)
		return -1;
	return info->lock_restore ? take_lock(a, cfg, "restore") : 0;
}

/* From the begin line to the command's own result: 0, 1 or -1. */
static int work(struct arena *a, struct config *cfg)
{
	if (!cfg->follows && (take_locks(a, cfg) != 0 || config_check(cfg) != 0 || ctx_check_host(cfg) != 0))
		return -1;
	if ((cfg->next && config_check(cfg->next) != 0) || sig_check() != 0)
		return -1;
	return functions[cfg->command](a, cfg);
}

/* A signal ends the program with one plain line, whatever it interrupted. */
static void tell_signal(void)
{
	struct err_value *interrupted;
	SCOPED_ARENA(a);

	interrupted = err_take(a);
	if (sig_check() == 0)
		(void)err_restore(interrupted);
	fprintf(stderr, "%s\n", err_msg());
}

/* The exit code of the failure that stands, after it was told to the user. */
static int fail(void)
{
	int code = (int)err_code();

	if (code == ERR_TERM)
		tell_signal();
	else
		log_failure();
	err_clear();
	return code;
}

static int run_logged(struct arena *a, struct config *cfg)
{
	int64_t began_ms = clock_mono_ms();

	start_log(cfg);
	if (check_root(cfg) != 0 || check_stanza(cfg) != 0 || set_priority(cfg) != 0)
		return fail();
	open_log_file(a, cfg);
	log_begin(a, cfg);

	int result = work(a, cfg);
	if (result < 0 && cfg->follows)
		(void)err_hint("the backup before it completed successfully; only %s failed, and can be "
			"run again.", command_name(cfg->command));
	int code = result < 0 ? fail() : result;

	log_progress(NULL);
	if (code != ERR_TERM)
		log_end(a, cfg, began_ms, result < 0 ? (enum err_code)code : ERR_NONE);
	log_file_close();
	return code;
}

static int run(struct arena *a, struct config *cfg)
{
	if (cfg->neutral_umask)
		umask(0);
	if (!only_prints(cfg->command)) {
		int code = run_logged(a, cfg);

		return code == 0 && cfg->next ? run_logged(a, cfg->next) : code;
	}

	int result = functions[cfg->command](a, cfg);

	return result < 0 ? fail() : result;
}

/* What can be told about the call when its options cannot be read: is it archive-get, and for which
 * data directory?  Taking a wrong word for the command would only make the exit code more careful.
 */
static bool looks_like_archive_get(int argc, char **argv, const char **pg_path)
{
	static const char option[] = "--pg1-path";
	size_t len = strlen(option);
	bool found = false;

	*pg_path = NULL;
	for (int i = 1; i < argc; i++) {
		const char *value = NULL;

		found = found || strcmp(argv[i], "archive-get") == 0;
		if (strcmp(argv[i], option) == 0 && i + 1 < argc)
			value = argv[i + 1];
		else if (strncmp(argv[i], option, len) == 0 && argv[i][len] == '=')
			value = argv[i] + len + 1;
		if (value && *value == '/')
			*pg_path = value;
	}
	return found;
}

/* Running out of memory ends the program at once, with a code that must be as careful. */
static void guard_memory(bool archive_get, const char *pg_path)
{
	arena_out_of_memory_exit(
		archive_get ? archive_get_exit(ERR_MEMORY, pg_path) : (int)ERR_MEMORY);
}

/*
 * The options of the expire after a backup are read before the backup: whoever has a mistake there learns it
 * at once.  What there is to warn about in the files was said when they were read for backup.
 */
static int load_next(struct arena *a, struct config *cfg)
{
	static const struct log_config quiet = { .process_width = 2 };
	static const struct log_config early = { .stderr_level = LOG_WARN, .process_width = 2 };

	if (cfg->command != CMD_BACKUP || !cfg->expire_auto)
		return 0;
	log_configure(&quiet);
	int rc = config_load_next(a, cfg, CMD_EXPIRE);
	log_configure(&early);
	return rc;
}

int main(int argc, char **argv)
{
	SCOPED_ARENA(a);
	struct config *cfg = NULL;
	const char *pg_path;
	bool archive_get = looks_like_archive_get(argc, argv, &pg_path);
	int code;

	sys_init();
	sig_init();
	guard_memory(archive_get, pg_path);
	if (config_load(a, argc, argv, &cfg) != 0 || load_next(a, cfg) != 0) {
		code = fail();
	} else {
		archive_get = cfg->command == CMD_ARCHIVE_GET;
		pg_path = cfg->pg.n > 0 ? cfg->pg.v[0].path : NULL;
		guard_memory(archive_get, pg_path);
		code = run(a, cfg);
	}
	return archive_get ? archive_get_exit(code, pg_path) : code;
}
