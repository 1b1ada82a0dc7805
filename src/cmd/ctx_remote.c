/*
 * ctx_remote: which other host a repository or a cluster is on, and the conversation with it.
 *
 * A conversation lives as long as the configuration that names its host, whoever asked for it first: every store over
 * it may be made and dropped many times, the connection is made once in a process.
 */
#include "cmd/ctx_remote.h"

#include "base/log.h"
#include "config/load.h"
#include "config/values.h"
#include "work/dial.h"

struct known {
	const struct config_host *host;
	struct remote *remote;
	struct known *next;
};

static struct known *known;

static void forget(void *ctx)
{
	for (struct known **k = &known; *k != NULL; k = &(*k)->next)
		if (*k == ctx) {
			*k = (*k)->next;
			return;
		}
}

/* Of two pauses that TCP would tell apart ssh knows one: the longer, so that no connection ends earlier than was asked
 * for. */
static unsigned keep_alive_pause(const struct config *cfg)
{
	int64_t idle = cfg->tcp_keep_alive_idle, between = cfg->tcp_keep_alive_interval;
	int64_t pause = idle > between ? idle : between;

	return pause > 0 ? (unsigned)pause : 0;
}

static struct dial *dial_new(struct arena *a, const struct config *cfg, const struct config_host *h, uint32_t roles)
{
	struct dial *d = arena_new_object(a, struct dial);

	*d = (struct dial){ .ssh = cfg->cmd_ssh, .host = h->host, .user = h->user,
		.port = h->port > 0 ? (unsigned)h->port : 0, .program = h->cmd, .config = h->config,
		.config_include_path = h->config_include_path, .config_path = h->config_path,
		.stanza = cfg->stanza, .roles = remote_roles_text(a, roles), .keep_alive = cfg->sck_keep_alive,
		.keep_alive_s = keep_alive_pause(cfg),
		.keep_alive_count = cfg->tcp_keep_alive_count > 0 ? (unsigned)cfg->tcp_keep_alive_count : 0 };
	return d;
}

static struct remote *conversation(const struct config *cfg, const struct config_host *h, const char *group,
	unsigned key, uint32_t roles)
{
	struct arena *a = cfg->values->arena;

	for (struct known *k = known; k != NULL; k = k->next)
		if (k->host == h)
			return k->remote;

	const struct remote_opts opts = { .host = h->host, .program = h->cmd,
		.option = arena_printf(a, "%s%u-host-cmd", group, key), .open = dial_open,
		.ctx = dial_new(a, cfg, h, roles), .stanza = cfg->stanza, .roles = roles, .exec_id = cfg->exec_id,
		/* a little less, so that whoever watches a push with this limit hears the reason (push_guard.h) */
		.connect_ms = cfg->io_timeout - cfg->io_timeout / 8, .silence_ms = cfg->protocol_timeout,
		.level = (int)cfg->compress_level_network };
	struct known *k = arena_new_object(a, struct known);

	*k = (struct known){ .host = h, .remote = remote_new(a, &opts), .next = known };
	known = k;
	(void)arena_defer(a, forget, k);
	return k->remote;
}

static uint32_t roles_of(enum command command)
{
	switch (command) {
	case CMD_ARCHIVE_PUSH:
	case CMD_ARCHIVE_GET:
		return REMOTE_ROLE_ARCHIVE;
	case CMD_CHECK:
		return REMOTE_ROLE_ARCHIVE | REMOTE_ROLE_RESTORE;
	default:
		return REMOTE_ROLE_RESTORE;
	}
}

struct remote *ctx_remote_repo(const struct config *cfg, const struct config_repo *r)
{
	return conversation(cfg, &r->host, "repo", r->key, roles_of(cfg->command));
}

struct remote *ctx_remote_pg(const struct config *cfg, const struct config_pg *pg)
{
	return conversation(cfg, &pg->host, "pg", pg->key, REMOTE_ROLE_BACKUP);
}

static int not_here(const struct config *cfg, const char *where, const char *host)
{
	(void)err_set(ERR_HOST_INVALID, "%s command must be run on the %s host", command_name(cfg->command), where);
	return err_hint("that is '%s', as this host's configuration has it.", host);
}

/* The commands that change all repositories otherwise than by adding WAL ... */
static bool changes_all(enum command command)
{
	return command == CMD_ANNOTATE || command == CMD_EXPIRE || command == CMD_STANZA_CREATE ||
		command == CMD_STANZA_UPGRADE;
}

/* ... and those that change one, or read all of it. */
static bool needs_one(enum command command)
{
	return command == CMD_BACKUP || command == CMD_STANZA_DELETE || command == CMD_VERIFY;
}

static bool needs_pg(enum command command)
{
	return command == CMD_ARCHIVE_GET || command == CMD_ARCHIVE_PUSH || command == CMD_RESTORE;
}

bool ctx_works_on(const struct config *cfg, const struct config_repo *r)
{
	if (cfg->repo_key != 0)
		return r->key == cfg->repo_key;
	return r->host.host == NULL || !changes_all(cfg->command);
}

/* The first repository that the command could work on, one of this host if there is one. */
static const struct config_repo *first_repo(const struct config *cfg)
{
	const struct config_repo *first = NULL;

	for (size_t i = 0; i < cfg->repo.n; i++) {
		const struct config_repo *r = &cfg->repo.v[i];

		if (ctx_works_on(cfg, r))
			return r;
		if (cfg->repo_key == 0 && first == NULL)
			first = r;
	}
	return first;
}

int ctx_check_host(const struct config *cfg)
{
	if (needs_pg(cfg->command) && cfg->pg.v[0].host.host != NULL)
		return not_here(cfg, "PostgreSQL", cfg->pg.v[0].host.host);
	if (!changes_all(cfg->command) && !needs_one(cfg->command))
		return 0;

	const struct config_repo *first = first_repo(cfg);

	if (first->host.host != NULL)
		return not_here(cfg, "repository", first->host.host);
	for (size_t i = 0; i < cfg->repo.n && changes_all(cfg->command) && cfg->repo_key == 0; i++) {
		const struct config_repo *r = &cfg->repo.v[i];

		if (r->host.host != NULL)
			log_info("repo%u is left out: it is on host '%s', where %s has to be run for it", r->key,
				r->host.host, command_name(cfg->command));
	}
	return 0;
}
