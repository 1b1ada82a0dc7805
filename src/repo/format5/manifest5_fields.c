/*
 * manifest5_fields: every key of a manifest is one line of these tables, read and written
 * (format/repository.md 5.2 to 5.11).
 */
#include "repo/format5/format5.h"

#define MAN(key, member, kind, flags) FIELD(struct manifest, key, member, kind, flags)
#define MAN_BY(key, member, custom, flags) FIELD_BY(struct manifest, key, member, custom, flags)
#define COMPLETED(key, member, kind) FIELD_OPT(struct manifest, key, member, kind, complete)

const struct field manifest5_backup[] = {
	MAN("backup-archive-start", archive_start, FIELD_STR, 0),
	MAN("backup-archive-stop", archive_stop, FIELD_STR, 0),
	MAN("backup-block-incr", block_incr, FIELD_BOOL, FIELD_OMIT_ZERO),
	MAN("backup-bundle", bundle, FIELD_BOOL, FIELD_OMIT_ZERO),
	MAN("backup-bundle-raw", bundle_raw, FIELD_BOOL, FIELD_OMIT_ZERO),
	MAN("backup-label", label, FIELD_STR, FIELD_REQUIRED),
	MAN("backup-lsn-start", lsn_start, FIELD_STR, 0),
	MAN("backup-lsn-stop", lsn_stop, FIELD_STR, 0),
	MAN("backup-prior", prior, FIELD_STR, 0),
	MAN_BY("backup-reference", reference, &text5_labels, 0),
	MAN("backup-timestamp-copy-start", copy_start, FIELD_I64, FIELD_REQUIRED),
	MAN("backup-timestamp-start", start, FIELD_I64, FIELD_REQUIRED),
	MAN("backup-timestamp-stop", stop, FIELD_I64, FIELD_REQUIRED),
	MAN_BY("backup-type", type, &text5_type, FIELD_REQUIRED),
	FIELD_END,
};

const struct field manifest5_option[] = {
	MAN("option-archive-check", archive_check, FIELD_BOOL, FIELD_REQUIRED),
	MAN("option-archive-copy", archive_copy, FIELD_BOOL, FIELD_REQUIRED),
	COMPLETED("option-backup-standby", backup_standby, FIELD_BOOL),
	COMPLETED("option-buffer-size", buffer_size, FIELD_U64),
	MAN("option-checksum-page", checksum_page, FIELD_BOOL, 0),
	MAN("option-compress", compress, FIELD_BOOL, FIELD_REQUIRED),
	COMPLETED("option-compress-level", level, FIELD_INT),
	COMPLETED("option-compress-level-network", level_network, FIELD_INT),
	MAN_BY("option-compress-type", codec, &text5_codec, 0),
	MAN("option-delta", delta, FIELD_BOOL, 0),
	MAN("option-hardlink", hardlink, FIELD_BOOL, FIELD_REQUIRED),
	MAN("option-online", online, FIELD_BOOL, FIELD_REQUIRED),
	COMPLETED("option-process-max", process_max, FIELD_U32),
	FIELD_END,
};

const struct field manifest5_metadata[] = {
	MAN("annotation", annotations, FIELD_STRMAP, 0),
	FIELD_END,
};

const struct field manifest5_file_default[] = {
	MAN_BY("group", file_group, &text5_owner, 0),
	MAN_BY("mode", file_mode, &text5_mode, 0),
	MAN_BY("user", file_user, &text5_owner, 0),
	FIELD_END,
};

const struct field manifest5_link_default[] = {
	MAN_BY("group", link_group, &text5_owner, 0),
	MAN_BY("user", link_user, &text5_owner, 0),
	FIELD_END,
};

const struct field manifest5_path_default[] = {
	MAN_BY("group", path_group, &text5_owner, 0),
	MAN_BY("mode", path_mode, &text5_mode, 0),
	MAN_BY("user", path_user, &text5_owner, 0),
	FIELD_END,
};

const struct field manifest5_target[] = {
	FIELD(struct manifest_target, "file", file, FIELD_STR, 0),
	FIELD(struct manifest_target, "path", path, FIELD_STR, FIELD_REQUIRED),
	FIELD_BY(struct manifest_target, "tablespace-id", tablespace_oid, &text5_oid, 0),
	FIELD(struct manifest_target, "tablespace-name", tablespace_name, FIELD_STR, 0),
	FIELD_BY(struct manifest_target, "type", link, &text5_link, FIELD_REQUIRED),
	FIELD_END,
};

const struct field manifest5_db[] = {
	FIELD(struct manifest_db, "db-id", oid, FIELD_U32, FIELD_REQUIRED),
	FIELD(struct manifest_db, "db-last-system-id", last_system_oid, FIELD_U32, 0),
	FIELD_END,
};

#define ROW(key, member, kind, flags) FIELD(struct manifest_file, key, member, kind, flags)
#define ROW_BY(key, member, custom) FIELD_BY(struct manifest_file, key, member, custom, 0)

const struct field manifest5_file[] = {
	ROW_BY("bi", block_size, &text5_blocks),
	ROW_BY("bic", block_sum_size, &text5_block_sum),
	ROW("bim", block_map_size, FIELD_U64, FIELD_OMIT_ZERO),
	ROW("bni", bundle, FIELD_U32, FIELD_OMIT_ZERO),
	ROW("bno", bundle_offset, FIELD_U64, FIELD_OMIT_ZERO),
	FIELD_OPT_BY(struct manifest_file, "checksum", sum, &text5_sum, has_sum),
	FIELD_OPT(struct manifest_file, "checksum-page", page_ok, FIELD_BOOL, page_check),
	ROW_BY("checksum-page-error", bad, &text5_pages),
	ROW_BY("group", group, &text5_owner),
	ROW_BY("mode", mode, &text5_mode),
	FIELD_OPT_BY(struct manifest_file, "rck", repo_sum, &text5_sum, has_repo_sum),
	ROW("reference", reference, FIELD_STR, 0),
	ROW_BY("repo-size", repo_size, &text5_size),
	ROW("size", size, FIELD_U64, FIELD_REQUIRED),
	ROW_BY("szo", size_orig, &text5_size),
	ROW("timestamp", mtime, FIELD_I64, FIELD_REQUIRED),
	ROW_BY("user", user, &text5_owner),
	FIELD_END,
};

const struct field manifest5_link[] = {
	FIELD(struct manifest_link, "destination", destination, FIELD_STR, FIELD_REQUIRED),
	FIELD_BY(struct manifest_link, "group", group, &text5_owner, 0),
	FIELD_BY(struct manifest_link, "user", user, &text5_owner, 0),
	FIELD_END,
};

const struct field manifest5_path[] = {
	FIELD_BY(struct manifest_path, "group", group, &text5_owner, 0),
	FIELD_BY(struct manifest_path, "mode", mode, &text5_mode, 0),
	FIELD_BY(struct manifest_path, "user", user, &text5_owner, 0),
	FIELD_END,
};
