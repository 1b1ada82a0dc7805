/*
 * archive: what archive-push and archive-get share.
 */
#include "cmd/archive.h"

#include <string.h>

#include "repo/layout.h"

int archive_load(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	struct archive_info *out)
{
	int rc = archive_info_load(a, repo->store, cfg->stanza, repo->pass, out);

	if (rc != STORE_ABSENT)
		return rc;
	const char *path = layout_archive_info(a, cfg->stanza);
	(void)err_set(ERR_FILE_MISSING, "unable to load info file '%s' or '%s'",
		store_name(a, repo->store, path), store_name(a, repo->store, layout_copy(a, path)));
	(void)err_hint("archive.info cannot be opened but is required to push/get WAL segments.");
	(void)err_hint("is archive_command configured correctly in postgresql.conf?");
	return err_hint("has a stanza-create been performed?");
}

struct wal_place *archive_places(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	const struct archive_info *info, const char *version, uint64_t system_id, size_t *n)
{
	struct wal_place *places = arena_zalloc(a, info->history.n * sizeof(*places));

	*n = 0;
	for (size_t i = info->history.n; i > 0; i--) {
		const struct archive_db *db = &info->history.v[i - 1];
		if (db->system_id == system_id && strcmp(db->version, version) == 0)
			places[(*n)++] = ctx_wal_place(a, cfg, repo, info, db);
	}
	return places;
}
