/*
 * layout: every path and name in a repository, built and parsed (format/repository.md 1).
 *
 * Only text: nothing here touches a store.  Labels and stanzas are checked by label_is_valid and
 * stanza_name_ok where they come in, so paths are joined without a second look.
 */
#include "repo/layout.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#ifdef HAVE_CONFIG_H
#include "config-build.h"
#endif
#include "base/str.h"
#include "pg/wal.h"

#define DIGITS "0123456789"
#define STAMP 15 /* YYYYMMDD-HHMMSS */
#define STANZA_MAX 200

const char repo_program[] = "pgStrata " PACKAGE_VERSION;

char *layout_archive_root(struct arena *a, const char *stanza)
{
	return arena_printf(a, "archive/%s", stanza);
}

char *layout_backup_root(struct arena *a, const char *stanza)
{
	return arena_printf(a, "backup/%s", stanza);
}

char *layout_archive_info(struct arena *a, const char *stanza)
{
	return arena_printf(a, "archive/%s/archive.info", stanza);
}

char *layout_backup_info(struct arena *a, const char *stanza)
{
	return arena_printf(a, "backup/%s/backup.info", stanza);
}

char *layout_copy(struct arena *a, const char *path)
{
	return arena_printf(a, "%s.copy", path);
}

char *layout_archive_id(struct arena *a, const char *version, uint32_t history_id)
{
	return arena_printf(a, "%s-%u", version, history_id);
}

bool layout_version_ok(const char *version)
{
	const char *dot = strchr(version, '.');
	size_t major = dot == NULL ? strlen(version) : (size_t)(dot - version);

	return str_all(version, major, DIGITS) && major <= 4 &&
		(dot == NULL || (str_all(dot + 1, strlen(dot + 1), DIGITS) && strlen(dot) <= 4));
}

bool layout_archive_id_parse(const char *name, uint32_t *history_id)
{
	char version[16];
	const char *dash = strchr(name, '-');
	uint64_t id;

	if (dash == NULL || (size_t)(dash - name) >= sizeof(version))
		return false;
	memcpy(version, name, (size_t)(dash - name));
	version[dash - name] = '\0';
	if (!layout_version_ok(version) || !str_to_u64(dash + 1, &id) || id == 0 || id > UINT32_MAX)
		return false;
	*history_id = (uint32_t)id;
	return true;
}

char *layout_wal_dir(struct arena *a, const char *stanza, const char *archive_id, const char *name)
{
	switch (wal_kind(name)) {
	case WAL_SEGMENT:
	case WAL_PARTIAL:
	case WAL_BACKUP:
		return arena_printf(a, "archive/%s/%s/%.16s", stanza, archive_id, name);
	case WAL_OTHER:
	case WAL_HISTORY:
		break;
	}
	return arena_printf(a, "archive/%s/%s", stanza, archive_id);
}

char *layout_drop_dir(struct arena *a, const char *stanza, const char *archive_id)
{
	return arena_printf(a, "archive/%s/%s/pgstrata/gap", stanza, archive_id);
}

char *layout_drop(struct arena *a, const char *stanza, const char *archive_id, const char *id)
{
	return arena_printf(a, "archive/%s/%s/pgstrata/gap/%s" DROP_SUFFIX, stanza, archive_id, id);
}

char *layout_backup_dir(struct arena *a, const char *stanza, const char *label)
{
	return arena_printf(a, "backup/%s/%s", stanza, label);
}

char *layout_manifest(struct arena *a, const char *stanza, const char *label)
{
	return arena_printf(a, "backup/%s/%s/backup.manifest", stanza, label);
}

char *layout_history_manifest(struct arena *a, const char *stanza, const char *label)
{
	return arena_printf(
		a, "backup/%s/backup.history/%.4s/%s.manifest.gz", stanza, label, label);
}

char *layout_backup_file(struct arena *a, const char *stanza, const char *label, const char *name,
	const char *suffix)
{
	return arena_printf(a, "backup/%s/%s/%s%s", stanza, label, name, suffix);
}

char *layout_bundle(struct arena *a, const char *stanza, const char *label, uint32_t bundle)
{
	return arena_printf(a, "backup/%s/%s/bundle/%u", stanza, label, bundle);
}

char *layout_latest(struct arena *a, const char *stanza)
{
	return arena_printf(a, "backup/%s/latest", stanza);
}

static const char *const type_names[] = {
	[BACKUP_FULL] = "full",
	[BACKUP_DIFF] = "diff",
	[BACKUP_INCR] = "incr",
};

const char *backup_type_name(enum backup_type t)
{
	return type_names[t];
}

bool backup_type_parse(const char *name, enum backup_type *out)
{
	for (enum backup_type t = BACKUP_FULL; t <= BACKUP_INCR; t++) {
		if (strcmp(name, type_names[t]) == 0) {
			*out = t;
			return true;
		}
	}
	return false;
}

static bool is_stamp(const char *s)
{
	return str_all(s, 8, DIGITS) && s[8] == '-' && str_all(s + 9, 6, DIGITS);
}

bool label_is_valid(const char *label)
{
	size_t len = strnlen(label, LABEL_MAX + 1);

	if ((len != LABEL_FULL && len != LABEL_MAX) || !is_stamp(label) || label[STAMP] != 'F')
		return false;
	if (len == LABEL_FULL)
		return true;
	return label[LABEL_FULL] == '_' && is_stamp(label + LABEL_FULL + 1) &&
		strchr("DI", label[LABEL_MAX - 1]) != NULL;
}

enum backup_type label_type(const char *label)
{
	if (label[LABEL_FULL] == '\0')
		return BACKUP_FULL;
	return label[LABEL_MAX - 1] == 'D' ? BACKUP_DIFF : BACKUP_INCR;
}

char *label_format(struct arena *a, enum backup_type type, int64_t start, const char *full)
{
	static const char letters[] = {
		[BACKUP_FULL] = 'F', [BACKUP_DIFF] = 'D', [BACKUP_INCR] = 'I'};
	char stamp[STAMP + 1] = "";
	time_t when = (time_t)start;
	struct tm tm;

	/* a year of five digits gives an empty stamp, hence no valid label */
	if (localtime_r(&when, &tm) != NULL &&
		strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm) == 0)
		stamp[0] = '\0';
	if (type == BACKUP_FULL)
		return arena_printf(a, "%sF", stamp);
	return arena_printf(a, "%.*s_%s%c", LABEL_FULL, full, stamp, letters[type]);
}

bool stanza_name_ok(const char *name)
{
	size_t len = strnlen(name, STANZA_MAX + 1);

	return len > 0 && len <= STANZA_MAX && strpbrk(name, "/\n") == NULL &&
		strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}
