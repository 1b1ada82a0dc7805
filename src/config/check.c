/*
 * check: rules between options (phase 7, reference cli.md 13), as far as the options are supported.
 */
#include <string.h>
#include "base/log.h"
#include "config/load.h"
#include "config/values.h"

static bool given(const struct config *cfg, const char *name)
{
	const struct value *v = values_get(cfg->values, option_named(name), 0);

	return v && v->source != SRC_DEFAULT && !v->reset;
}

static int check_paths(const struct config *cfg)
{
	for (size_t i = 0; i < cfg->repo.n; i++)
		for (size_t k = i + 1; k < cfg->repo.n; k++) {
			const struct config_repo *x = &cfg->repo.v[i], *y = &cfg->repo.v[k];

			if (x->path && y->path && strcmp(x->type, y->type) == 0 &&
				strcmp(x->path, y->path) == 0)
				return err_set(ERR_OPTION_VALUE,
					"local repo%u and repo%u paths are both '%s' but must be "
					"different",
					x->key, y->key, x->path);
		}
	return 0;
}

static void check_full(const struct config_repo *r)
{
	if (r->retention_full < 0)
		log_warn("option 'repo%u-retention-full' is not set for "
			 "'repo%u-retention-full-type=%s', "
			 "the repository may run out of space\n"
			 "HINT: to retain full backups indefinitely (without warning), set option "
			 "'repo%u-retention-full' to the maximum.",
			r->key, r->key, r->retention_full_type, r->key);
}

/* WAL is kept for as many backups as are kept, unless something else is said. */
static void settle_archive(struct config_repo *r)
{
	const char *type = r->retention_archive_type;
	bool diff = strcmp(type, "diff") == 0;

	if (r->retention_archive >= 0) {
		if (diff && r->retention_diff < 0)
			log_warn("option 'repo%u-retention-diff' is not set for "
				 "'repo%u-retention-archive-type=diff'\n"
				 "HINT: to retain differential backups indefinitely (without "
				 "warning), set "
				 "option 'repo%u-retention-diff' to the maximum.",
				r->key, r->key, r->key);
	} else if (strcmp(type, "full") == 0) {
		if (strcmp(r->retention_full_type, "count") == 0)
			r->retention_archive = r->retention_full;
	} else if (diff && r->retention_diff >= 0) {
		r->retention_archive = r->retention_diff;
	} else if (diff) {
		log_warn("WAL segments will not be expired: option "
			 "'repo%u-retention-archive-type=diff' but neither option "
			 "'repo%u-retention-archive' nor option 'repo%u-retention-diff' is set",
			r->key, r->key, r->key);
	} else {
		log_warn("WAL segments will not be expired: option "
			 "'repo%u-retention-archive-type=incr' but option "
			 "'repo%u-retention-archive' "
			 "is not set",
			r->key, r->key);
	}
}

int config_check(struct config *cfg)
{
	if (check_paths(cfg) != 0)
		return -1;
	if (cfg->command == CMD_BACKUP)
		for (size_t i = 0; i < cfg->repo.n; i++) {
			check_full(&cfg->repo.v[i]);
			settle_archive(&cfg->repo.v[i]);
		}
	if (given(cfg, "compress") && given(cfg, "compress-type"))
		log_warn("'compress' and 'compress-type' options should not both be set\n"
			 "HINT: 'compress-type' is preferred and 'compress' is deprecated.");
	if (cfg->command == CMD_INFO && cfg->set && strcmp(cfg->detail_level, "progress") == 0)
		return err_set(ERR_OPTION_INVALID,
			"option 'set' cannot be used with option 'detail-level' = 'progress'");
	return 0;
}
