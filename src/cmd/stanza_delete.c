/*
 * stanza-delete: remove a stanza with all its backups and WAL from one repository.
 *
 * The info files go first: a run that is killed leaves nothing that could be taken for a stanza, and the next one
 * removes the rest (promise P7).  The stop file goes last, so that nothing starts in between.  Links are
 * removed, never what they lead to.
 */
#include "cmd/cmd.h"

#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "cmd/ctx.h"
#include "cmd/stop_file.h"
#include "repo/layout.h"

struct places {
	const char *root[2];	      /* the stanza's folders */
	const char *info[2];	      /* the info file in each of them */
	enum store_type type[2];
	bool there[2];
};

static int find_places(struct arena *a, struct store *repo, const char *stanza, struct places *p)
{
	*p = (struct places){ .root = { layout_archive_root(a, stanza), layout_backup_root(a, stanza) },
		.info = { layout_archive_info(a, stanza), layout_backup_info(a, stanza) } };
	for (size_t i = 0; i < 2; i++) {
		struct store_entry e;
		int rc = store_stat(a, repo, p->root[i], &e);
		if (rc < 0)
			return -1;
		p->there[i] = rc == 0;
		p->type[i] = rc == 0 ? e.type : STORE_FILE;
	}
	return 0;
}

static int check_stop_file(const struct config *cfg)
{
	int found = stop_file_exists(cfg, cfg->stanza);

	if (found != 0)
		return found < 0 ? -1 : 0;
	(void)err_set(ERR_FILE_MISSING, "stop file does not exist for stanza '%s'", cfg->stanza);
	return err_hint("run the stop command for this stanza on each host that works with it, then "
			"stanza-delete again.");
}

/* Every cluster of the stanza, on whatever host: that the first one is down says nothing of the others. */
static int check_postgres(const struct config *cfg, const struct ctx_repo *repo)
{
	SCOPED_ARENA(a);
	struct store_entry e;

	for (size_t i = 0; i < cfg->pg.n && !cfg->force; i++) {
		if (cfg->pg.v[i].path == NULL)
			continue;
		struct store *pg = ctx_pg_store(a, cfg, &cfg->pg.v[i]);
		int rc = store_stat(a, pg, "postmaster.pid", &e);
		if (rc < 0)
			return err_hint("use --force if no server of this stanza runs there.");
		if (rc == STORE_ABSENT)
			continue;
		(void)err_set(ERR_PG_RUNNING, "postmaster.pid exists - looks like PostgreSQL is running. To delete "
			"stanza '%s' on repo%u, shut down PostgreSQL for this stanza, or use --force.",
			cfg->stanza, repo->key);
		return err_hint("the file is in '%s'.", pg->root);
	}
	return 0;
}

struct link_walk {
	struct arena *arena;
	struct store *repo;
	const char *dir;
};

static void tell_link(const struct link_walk *w, const char *path, const char *target)
{
	log_warn("'%s' is a link to '%s': the link is removed, what it leads to is not",
		store_name(w->arena, w->repo, path), target);
}

/* One that stays in its folder, as latest does, leads to something that is removed as well. */
static int see_link(void *ctx, const struct store_entry *e)
{
	const struct link_walk *w = ctx;

	if (e->type == STORE_LINK && strchr(e->target, '/') != NULL)
		tell_link(w, path_join(w->arena, w->dir, e->name), e->target);
	return 0;
}

/* Where operators put links: the stanza's folder itself, and archives or backups in it. */
static int tell_links(struct store *repo, const struct places *p, size_t i)
{
	SCOPED_ARENA(a);
	struct link_walk w = { a, repo, p->root[i] };
	struct store_entry e;

	if (p->type[i] == STORE_DIR)
		return store_list(repo, p->root[i], see_link, &w) < 0 ? -1 : 0;
	if (p->type[i] == STORE_LINK && store_stat(a, repo, p->root[i], &e) == 0)
		tell_link(&w, p->root[i], e.target);
	return 0;
}

static int remove_stanza(struct store *repo, const struct places *p)
{
	SCOPED_ARENA(a);

	for (size_t i = 0; i < 2; i++)
		if (tell_links(repo, p, i) != 0)
			return -1;
	for (size_t i = 0; i < 2; i++) {
		if (p->type[i] != STORE_DIR)
			continue;
		if (store_remove(repo, p->info[i], true) != 0 ||
			store_remove(repo, layout_copy(a, p->info[i]), true) != 0)
			return -1;
	}
	for (size_t i = 0; i < 2; i++)
		if (store_remove_tree(repo, p->root[i]) != 0)
			return -1;
	return 0;
}

/* 1 if another repository of the configuration has the stanza, 0 if none has, -1. */
static int is_elsewhere(struct arena *a, const struct config *cfg)
{
	struct config all = *cfg;
	struct ctx_repos repos;
	struct places p;

	all.repo_key = 0;
	if (ctx_repos(a, &all, &repos) != 0)
		return -1;
	for (size_t i = 0; i < repos.n; i++) {
		if (find_places(a, repos.v[i].store, cfg->stanza, &p) != 0)
			return -1;
		if (p.there[0] || p.there[1])
			return 1;
	}
	return 0;
}

/* Nothing to delete.  A stop file may be what an earlier run could not remove any more, or somebody stopped a
 * stanza that another repository has. */
static int not_there(struct arena *a, const struct config *cfg, const struct ctx_repo *repo)
{
	log_info("stanza '%s' does not exist on repo%u", cfg->stanza, repo->key);
	int elsewhere = is_elsewhere(a, cfg);
	if (elsewhere < 0)
		return -1;
	return elsewhere || stop_file_remove(cfg, cfg->stanza) >= 0 ? 0 : -1;
}

int cmd_stanza_delete(struct arena *a, const struct config *cfg)
{
	struct ctx_repos repos;
	struct places p;

	if (ctx_repos(a, cfg, &repos) != 0)
		return -1;
	const struct ctx_repo *repo = &repos.v[0];
	if (find_places(a, repo->store, cfg->stanza, &p) != 0)
		return -1;
	if (!p.there[0] && !p.there[1])
		return not_there(a, cfg, repo);
	if (check_stop_file(cfg) != 0 || check_postgres(cfg, repo) != 0)
		return -1;
	log_info("stanza-delete for stanza '%s' on repo%u", cfg->stanza, repo->key);
	if (remove_stanza(repo->store, &p) != 0)
		return -1;
	return stop_file_remove(cfg, cfg->stanza) < 0 ? -1 : 0;
}
