/*
 * version: the table.
 *
 * Sources: format/repository.md 7.1 (identification), 7.2 (offsets), 11.3 (SQL).
 *
 * Rows stand in ascending order.  What several releases share is a macro named after the first of
 * them, so that a row is one line and a new release is one row.
 */
#include "pg/version.h"

#include <stddef.h>
#include <string.h>

/* timeline, page size, segment size, data checksums, CRC */
#define AT_96 56, 216, 228, 252, 256
#define AT_10 56, 216, 228, 252, 288
#define AT_11 48, 208, 220, 244, 280
#define AT_12 48, 216, 228, 252, 288
#define AT_18 48, 216, 228, 252, 292
#define AT_19 48, 224, 240, 268, 308

#define DIR_96 "pg_xlog", "pg_clog"
#define DIR_10 "pg_wal", "pg_xact"

/* recovery_signal, backup_manifest */
#define HAS_96 false, false
#define HAS_12 true, false
#define HAS_13 true, true

#define LABEL "$1::text || current_timestamp::text, $2::bool"
#define POS_96 "pg_xlogfile_name", "pg_current_xlog_insert_location()", "pg_switch_xlog()", \
	"pg_last_xlog_replay_location()", "checkpoint_location"
#define POS_10 "pg_walfile_name", "pg_current_wal_insert_lsn()", "pg_switch_wal()", \
	"pg_last_wal_replay_lsn()", "checkpoint_lsn"
#define SQL_96 "pg_start_backup(" LABEL ", false)", "pg_stop_backup(false)", POS_96
#define SQL_10 "pg_start_backup(" LABEL ", false)", "pg_stop_backup(false, false)", POS_10
#define SQL_15 "pg_backup_start(" LABEL ")", "pg_backup_stop(false)", POS_10

static const struct pg_version versions[] = {
	{90600, "9.6", false, 960, 201608131, 0xD093, AT_96, DIR_96, HAS_96, SQL_96},
	{100000, "10", false, 1002, 201707211, 0xD097, AT_10, DIR_10, HAS_96, SQL_10},
	{110000, "11", false, 1100, 201809051, 0xD098, AT_11, DIR_10, HAS_96, SQL_10},
	{120000, "12", false, 1201, 201909212, 0xD101, AT_12, DIR_10, HAS_12, SQL_10},
	{130000, "13", false, 1300, 202007201, 0xD106, AT_12, DIR_10, HAS_13, SQL_10},
	{140000, "14", false, 1300, 202107181, 0xD10D, AT_12, DIR_10, HAS_13, SQL_10},
	{150000, "15", false, 1300, 202209061, 0xD110, AT_12, DIR_10, HAS_13, SQL_15},
	{160000, "16", false, 1300, 202307071, 0xD113, AT_12, DIR_10, HAS_13, SQL_15},
	{170000, "17", false, 1700, 202406281, 0xD116, AT_12, DIR_10, HAS_13, SQL_15},
	{180000, "18", false, 1800, 202506291, 0xD118, AT_18, DIR_10, HAS_13, SQL_15},
	{190000, "19", true, 1905, 202605131, 0xD122, AT_19, DIR_10, HAS_13, SQL_15},
};

enum { VERSIONS = sizeof(versions) / sizeof(versions[0]) };

const struct pg_version *pg_version_by_name(const char *name)
{
	for (size_t i = 0; i < VERSIONS; i++)
		if (strcmp(versions[i].name, name) == 0)
			return &versions[i];
	return NULL;
}

const struct pg_version *pg_version_by_number(unsigned server_version_num)
{
	/* 90624 is 9.6.24, 150020 is 15.20: before 10 the major version had two numbers */
	unsigned minors = server_version_num < 100000 ? 100 : 10000;
	unsigned num = server_version_num - server_version_num % minors;

	for (size_t i = 0; i < VERSIONS; i++)
		if (versions[i].num == num)
			return &versions[i];
	return NULL;
}

static bool catalog_matches(const struct pg_version *v, uint32_t catalog)
{
	/* A catalog version is a date and a serial digit.  Betas raise it until the release. */
	if (v->beta)
		return catalog >= v->catalog_version &&
			catalog / 100000 == v->catalog_version / 100000;
	return catalog == v->catalog_version;
}

const struct pg_version *pg_version_by_control(uint32_t control, uint32_t catalog)
{
	for (size_t i = 0; i < VERSIONS; i++) {
		const struct pg_version *v = &versions[i];

		if (v->control_version == control && catalog_matches(v, catalog))
			return v;
	}
	return NULL;
}

const struct pg_version *pg_version_by_magic(uint16_t magic)
{
	for (size_t i = 0; i < VERSIONS; i++)
		if (versions[i].wal_magic == magic)
			return &versions[i];
	return NULL;
}

const struct pg_version *pg_version_at(unsigned index)
{
	return index < VERSIONS ? &versions[index] : NULL;
}
