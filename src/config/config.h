/*
 * config: what the user asked for, one typed member per option.
 *
 * Filled by config/load from the option table; only src/cmd and src/main.c read it.  Members of options
 * that are not valid for the command hold zero.  Times are milliseconds, sizes bytes.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include "base/arena.h"
#include "base/log.h"
#include "base/vec.h"

enum command {
	CMD_NONE,
	CMD_ANNOTATE, CMD_ARCHIVE_GET, CMD_ARCHIVE_PUSH, CMD_AUTHORIZE, CMD_BACKUP, CMD_CHECK, CMD_EXPIRE, CMD_HELP,
	CMD_INFO, CMD_MANIFEST, CMD_REPO_GET, CMD_REPO_LS, CMD_REPO_RM, CMD_RESTORE, CMD_SERVE, CMD_SERVER,
	CMD_SERVER_PING, CMD_STANZA_CREATE, CMD_STANZA_DELETE, CMD_STANZA_UPGRADE, CMD_START, CMD_STOP,
	CMD_VERIFY, CMD_VERSION, CMD_COUNT
};

enum option_tri { TRI_NO = 0, TRI_YES = 1, TRI_UNSET = -1 };

struct config_pair {
	const char *key, *value;
};
typedef VEC(struct config_pair) config_pairs;

/* Another host, and how the program there is started; host NULL: this one. */
struct config_host {
	const char *host, *user;
	int64_t port; /* -1, 0: ssh's own choice */
	const char *cmd; /* as this program was called, if nothing else is said */
	const char *config, *config_include_path, *config_path; /* NULL: not given */
};

struct config_pg {
	unsigned key; /* pg1 -> 1 */
	const char *path, *socket_path, *database, *user;
	int64_t port;
	struct config_host host;
};

struct config_repo {
	unsigned key;
	const char *path;
	const char *type; /* "posix", "cifs", "sftp"; on another host it means nothing here, as does path */
	bool symlink, bundle, block, hardlink; /* block: only with bundle */
	int64_t bundle_limit, bundle_size, block_size_super, block_size_super_full;
	config_pairs block_size_map, block_age_map, block_checksum_size_map;
	const char *cipher_type; /* "none", "aes-256-cbc" */
	const char *cipher_pass; /* NULL: not encrypted */
	int64_t retention_full, retention_diff, retention_archive, retention_history; /* -1: not set */
	const char *retention_full_type, *retention_archive_type;
	struct config_host host;
	/* sftp only */
	const char *sftp_host, *sftp_host_user, *sftp_host_fingerprint;
	const char *sftp_host_key_check_type; /* "strict", "accept-new", "fingerprint", "none" */
	const char *sftp_host_key_hash_type; /* "md5", "sha1", "sha256" */
	const char *sftp_private_key_file, *sftp_private_key_passphrase, *sftp_public_key_file;
	int64_t sftp_host_port;
	strvec sftp_known_host;
};

struct config {
	enum command command;
	const char *program; /* as called, for restore_command */
	strvec params;	     /* words after the command */
	bool as_pgbackrest;  /* called by that name */

	struct config *next; /* what runs after it in the same process; NULL: nothing */
	bool follows;	     /* it is such a next one: under the locks of the first */

	const char *stanza;
	const char *exec_id;
	const char *cmd; /* what restore_command calls */

	/* other hosts */
	const char *cmd_ssh;
	int64_t protocol_timeout;
	bool sck_keep_alive;
	int64_t tcp_keep_alive_count, tcp_keep_alive_idle, tcp_keep_alive_interval; /* s; -1: not set */
	const char *role; /* serve, authorize: "archive,restore" */

	bool allow_root, neutral_umask, log_timestamp;
	int64_t priority;
	bool has_priority;
	enum log_level log_level_console, log_level_file, log_level_stderr;
	bool log_file_given; /* log-level-file stood on the command line */
	const char *log_path, *lock_path;
	int64_t buffer_size;

	/* archive */
	bool archive_async, archive_check, archive_copy, archive_header_check, archive_mode_check;
	bool archive; /* info, verify: the WAL archive */
	int64_t archive_timeout, io_timeout;
	int64_t archive_push_queue_max, archive_push_batch_size, archive_get_queue_max; /* bytes; -1: no limit */
	const char *spool_path;
	const char *archive_gap; /* "stop", "end" */

	/* compression */
	const char *compress_type;
	int64_t compress_level, compress_level_network;

	/* backup */
	enum option_tri checksum_page;
	bool checksum_page_error; /* restore too */
	bool page_header_check, expire_auto, start_fast, online, force, resume;
	int64_t db_timeout, manifest_save_threshold, process_max;
	const char *backup_standby; /* "n", "y", "prefer"; check too */
	strvec exclude;
	config_pairs annotation;

	/* info, backup, restore */
	const char *type; /* NULL if not given and without default */
	bool type_given;
	const char *set;  /* NULL: not given */
	const char *output, *detail_level;
	bool verbose, repair; /* verify */

	bool delta; /* backup, restore */

	/* restore */
	bool target_exclusive;
	const char *target, *target_action, *target_timeline, *archive_mode;
	config_pairs recovery_option;
	config_pairs tablespace_map, link_map;
	const char *tablespace_map_all;
	bool link_all;
	strvec db_include, db_exclude;
	bool dry_run; /* expire too */

	/* expire */
	bool oldest;
	const char *archive_expire_before;

	const char *pg_version_force;
	unsigned repo_key; /* --repo; 0: not given */

	VEC(struct config_pg) pg;     /* by key; always pg1 */
	VEC(struct config_repo) repo; /* by key; repo1 if no other is named */

	strvec stanzas; /* that the configuration files name in sections, by name */
	int argc;	/* the call itself, for config_load_stanza */
	char **argv;
	const struct option_values *values; /* what load resolved, for config_print and help */
};

#endif
