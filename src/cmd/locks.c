/*
 * locks: which lock files a command holds.
 */
#include "cmd/locks.h"

static const char *lock_name(struct arena *a, const struct config *cfg, const char *type, unsigned key)
{
	return arena_printf(a, "%s-%s-%u.lock", cfg->stanza, type, key);
}

static bool concerns(const struct config *cfg, unsigned key)
{
	return cfg->repo_key == 0 || key == cfg->repo_key;
}

int cmd_lock(struct arena *a, const struct config *cfg, const char *type, cmd_locks *out)
{
	struct lock *held;

	vec_init(out, a);
	held = lock_take(a, cfg->lock_path, arena_printf(a, "%s-%s.lock", cfg->stanza, type), LOCK_SHARED, cfg->exec_id);
	if (held == NULL)
		return -1;
	*vec_add(out) = held;
	for (size_t i = 0; i < cfg->repo.n; i++) {
		unsigned key = cfg->repo.v[i].key;

		if (!concerns(cfg, key))
			continue;
		held = lock_take(a, cfg->lock_path, lock_name(a, cfg, type, key), LOCK_EXCLUSIVE, cfg->exec_id);
		if (held == NULL)
			return -1;
		*vec_add(out) = held;
	}
	return 0;
}

int cmd_lock_is_busy(const struct config *cfg, const char *type)
{
	SCOPED_ARENA(a);
	struct lock_state state;

	for (size_t i = 0; i < cfg->repo.n; i++) {
		unsigned key = cfg->repo.v[i].key;

		if (!concerns(cfg, key))
			continue;
		if (lock_look(cfg->lock_path, lock_name(a, cfg, type, key), &state) != 0)
			return -1;
		if (state.held)
			return 1;
	}
	return 0;
}
