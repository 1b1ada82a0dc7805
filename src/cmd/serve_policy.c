/*
 * serve_policy: the parts of a path, one after the other.
 */
#include "cmd/serve_policy.h"

#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "repo/layout.h"
#include "repo/wal_drop.h"

#define COPY ".copy"
#define HEX_UPPER "0123456789ABCDEF"

static bool has(const struct serve_policy *p, uint32_t roles)
{
	return (p->roles & roles) != 0;
}

static bool is(const strvec *parts, size_t i, const char *word)
{
	return i < parts->n && strcmp(parts->v[i], word) == 0;
}

/* The archive of one cluster: archive/STANZA/18-1. */
static bool is_archive_id(const char *name)
{
	uint32_t id;

	return layout_archive_id_parse(name, &id);
}

static bool is_info_name(const char *name, const char *info)
{
	return str_starts(name, info) && (name[strlen(info)] == '\0' || strcmp(name + strlen(info), COPY) == 0);
}

bool serve_policy_is_info(const char *path)
{
	SCOPED_ARENA(a);
	const strvec parts = str_split(a, path, '/');

	if (parts.n != 3)
		return false;
	return (is(&parts, 0, "archive") && is_info_name(parts.v[2], "archive.info")) ||
		(is(&parts, 0, "backup") && is_info_name(parts.v[2], "backup.info"));
}

static bool is_wal_folder(const char *name)
{
	return strlen(name) == WAL_DIR && str_all(name, WAL_DIR, HEX_UPPER);
}

/* In archive/STANZA/ID: is a file of this name what a push stores in this folder? */
static bool is_segment_name(const char *folder, const char *name)
{
	struct wal_stored s;
	enum wal_kind kind = wal_kind(name);
	bool stored = wal_stored_parse(name, &s) && !s.unreadable;

	return is_wal_folder(folder) && strncmp(name, folder, WAL_DIR) == 0 &&
		(stored || kind == WAL_SEGMENT || kind == WAL_PARTIAL || kind == WAL_BACKUP);
}

static bool may_put(const strvec *parts)
{
	int64_t when;

	if (parts->n < 4 || !is(parts, 0, "archive") || !is_archive_id(parts->v[2]))
		return false;
	switch (parts->n) {
	case 4:
		return wal_kind(parts->v[3]) == WAL_HISTORY;
	case 5:
		return is_segment_name(parts->v[3], parts->v[4]);
	case 6:
		return is(parts, 3, "pgstrata") && is(parts, 4, "gap") && wal_drop_file_parse(parts->v[5], &when);
	default:
		return false;
	}
}

/* The folders in which a put makes something, up to the stanza's. */
static bool may_sync(const strvec *parts)
{
	if (parts->n < 2 || !is(parts, 0, "archive"))
		return false;
	if (parts->n > 2 && !is_archive_id(parts->v[2]))
		return false;
	if (parts->n < 4)
		return true;
	if (parts->n == 4)
		return is_wal_folder(parts->v[3]) || is(parts, 3, "pgstrata");
	return parts->n == 5 && is(parts, 3, "pgstrata") && is(parts, 4, "gap");
}

/* Reading what is in the archive of a visible stanza. */
static bool may_see_archive(const struct serve_policy *p, const strvec *parts)
{
	if (has(p, REMOTE_ROLE_RESTORE) || parts->n == 2)
		return true;
	return is_archive_id(parts->v[2]) || (parts->n == 3 && is_info_name(parts->v[2], "archive.info"));
}

static bool is_stanza(const struct serve_policy *p, const char *name)
{
	return p->stanza != NULL ? strcmp(p->stanza, name) == 0 : stanza_name_ok(name);
}

static bool may_see(const struct serve_policy *p, const strvec *parts)
{
	bool archive = is(parts, 0, "archive"), backup = is(parts, 0, "backup") && has(p, REMOTE_ROLE_RESTORE);

	if (parts->n == 1)
		return archive || backup || parts->v[0][0] == '\0';
	if ((!archive && !backup) || !is_stanza(p, parts->v[1]))
		return false;
	return backup || may_see_archive(p, parts);
}

/* Its own stanza's backups are there, and a peer that may not see them must not believe that there are none. */
static enum serve_leave unseen(const struct serve_policy *p, const strvec *parts)
{
	bool own = is(parts, 0, "backup") && (parts->n == 1 || is_stanza(p, parts->v[1]));

	return own ? SERVE_DENIED : SERVE_HIDDEN;
}

enum serve_leave serve_policy_repo(const struct serve_policy *p, enum serve_act act, const char *path)
{
	SCOPED_ARENA(a);
	const strvec parts = str_split(a, path, '/');

	if (!has(p, REMOTE_ROLE_ARCHIVE | REMOTE_ROLE_RESTORE))
		return SERVE_DENIED;
	switch (act) {
	case SERVE_READ:
	case SERVE_LIST:
	case SERVE_STAT:
		return may_see(p, &parts) ? SERVE_ALLOWED : unseen(p, &parts);
	case SERVE_PUT:
		if (has(p, REMOTE_ROLE_ARCHIVE) && may_see(p, &parts) && may_put(&parts))
			return SERVE_ALLOWED;
		break;
	case SERVE_SYNC:
		if (has(p, REMOTE_ROLE_ARCHIVE) && may_see(p, &parts) && may_sync(&parts))
			return SERVE_ALLOWED;
		break;
	}
	return SERVE_DENIED;
}

enum serve_leave serve_policy_cluster(const struct serve_policy *p, enum serve_act act)
{
	bool reads = act == SERVE_READ || act == SERVE_LIST || act == SERVE_STAT;

	return has(p, REMOTE_ROLE_BACKUP) && reads ? SERVE_ALLOWED : SERVE_DENIED;
}

bool serve_policy_is_whole(const char *path)
{
	enum wal_kind kind = wal_kind(path_base(path));

	return kind != WAL_SEGMENT && kind != WAL_PARTIAL;
}
