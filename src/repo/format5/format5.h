/*
 * format5: what the files of this folder share; nobody else includes it.
 *
 * The folder is the only place that knows how repository format 5 spells archive_info, backup_info
 * and manifest.  Outside only their load and save functions are seen.
 */
#ifndef REPO_FORMAT5_FORMAT5_H
#define REPO_FORMAT5_FORMAT5_H

#include "form/fields.h"
#include "repo/format5/info_file.h"
#include "repo/manifest.h"

/* [db] of backup.info and [backup:db] of a manifest: struct backup_db. */
extern const struct field backup_db_fields[];

/* manifest5_text.c: spellings of members that the kinds of lib/form/fields do not know. */
extern const struct field_custom text5_type, text5_labels, text5_codec, text5_owner, text5_mode,
	text5_oid, text5_link, text5_blocks, text5_block_sum, text5_size, text5_sum, text5_pages;

/* manifest5_fields.c: the manifest's sections, one struct manifest each... */
extern const struct field manifest5_backup[]; /* [backup] */
extern const struct field manifest5_option[]; /* [backup:option] */
extern const struct field manifest5_metadata[];
extern const struct field manifest5_file_default[], manifest5_link_default[],
	manifest5_path_default[];

/* ...and its rows: manifest_target, manifest_db, manifest_file, manifest_link, manifest_path. */
extern const struct field manifest5_target[], manifest5_db[];
extern const struct field manifest5_file[], manifest5_link[], manifest5_path[];

/*
 * What is not spelled out in a row.  The tables show and take these; reader and writer translate.
 * An owner that is NULL and a mode that is MODE5_DEFAULT are the section's default, a size that is
 * SIZE5_SAME equals size, a codec that is CODEC_COUNT was not named.
 */
#define MODE5_DEFAULT 0xFFFF
#define SIZE5_SAME UINT64_MAX

#define BLOCK_SUM5_DEFAULT 6 /* bytes of a block checksum that need no "bic" */

#endif
