/*
 * serve: let another host use the repositories or the clusters of this one, as far as its role and stanza go.
 *
 * sshd starts it; standard input and output are the conversation and nothing else comes near them.  What is where is
 * said by this host's own configuration, who may do what by its own command line (doc/protocol.md).
 */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "cmd/ctx.h"
#include "cmd/serve_policy.h"
#include "cmd/stop_file.h"
#include "repo/wal_find.h"
#include "store/beneath.h"

struct serving {
	const struct config *cfg;
	struct serve_policy policy;
	VEC(struct serve_place) places;
	VEC(const char *) passes; /* of places; NULL: not encrypted */
};

/* --- what is allowed --- */

static bool is_cluster(const struct serve_place *p)
{
	return p->place.number >= REMOTE_PLACE_PG;
}

static enum serve_leave may(void *ctx, const struct serve_place *p, enum serve_act act, const char *path)
{
	const struct serving *s = ctx;

	return is_cluster(p) ? serve_policy_cluster(&s->policy, act) : serve_policy_repo(&s->policy, act, path);
}

static bool shows(void *ctx, const struct serve_place *p, const char *dir, const char *name)
{
	SCOPED_ARENA(a);

	return is_cluster(p) || may(ctx, p, SERVE_STAT, path_join(a, dir, name)) == SERVE_ALLOWED;
}

static const char *opens(void *ctx, const struct serve_place *p, const char *path)
{
	const struct serving *s = ctx;

	if (is_cluster(p) || !serve_policy_is_info(path))
		return NULL;
	for (size_t i = 0; i < s->places.n; i++)
		if (s->places.v[i].place.number == p->place.number)
			return s->passes.v[i];
	return NULL;
}

static int stopped(void *ctx)
{
	const struct serving *s = ctx;
	SCOPED_ARENA(a);

	return ctx_check_stop(a, s->cfg);
}

/* Where all stanzas are served, the path says which one it is about. */
static int check_stop_of(const struct serving *s, const char *path)
{
	SCOPED_ARENA(a);
	const strvec parts = str_split(a, path, '/');
	struct config one = *s->cfg;

	if (s->cfg->stanza != NULL || parts.n < 2)
		return 0;
	one.stanza = parts.v[1];
	return ctx_check_stop(a, &one);
}

struct same_segment {
	const char *name; /* that is to be stored */
	size_t name_len;  /* of the segment's name in it */
};

static int refuse_same(void *ctx, const struct store_entry *e)
{
	const struct same_segment *same = ctx;
	struct wal_stored s;

	if (!wal_stored_parse(e->name, &s) || s.name_len != same->name_len ||
		strncmp(e->name, same->name, s.name_len) != 0)
		return 0;
	return err_set(ERR_FILE_EXISTS, "WAL file '%.*s' is in the archive already, as '%s'", (int)same->name_len,
		same->name, e->name);
}

static int publish(void *ctx, const struct serve_place *p, const char *final_path)
{
	const struct serving *s = ctx;
	SCOPED_ARENA(a);
	struct same_segment same = { .name = path_base(final_path) };
	struct wal_stored stored;

	if (!serve_policy_is_whole(final_path))
		return err_set(ERR_ACCESS, "access denied: '%s' lacks the checksum with which WAL is stored", final_path);
	if (check_stop_of(s, final_path) != 0)
		return -1;
	if (!wal_stored_parse(same.name, &stored))
		return 0; /* its name is all of it, and new files only are made */
	same.name_len = stored.name_len;
	return store_list(p->store, path_parent(a, final_path), refuse_same, &same) < 0 ? -1 : 0;
}

/* --- what there is --- */

static void add_place(struct serving *s, const struct serve_place *p, const char *pass)
{
	p->store->buffer_size = (size_t)s->cfg->buffer_size;
	vec_push(&s->places, *p);
	vec_push(&s->passes, pass);
}

static void add_repos(struct serving *s, struct arena *a)
{
	for (size_t i = 0; i < s->cfg->repo.n; i++) {
		const struct config_repo *r = &s->cfg->repo.v[i];

		if (r->host.host != NULL)
			continue;
		const struct serve_place p = { .place = { .number = r->key, .path = r->path, .cipher = r->cipher_type },
			.store = strcmp(r->type, "sftp") == 0 ? ctx_repo_sftp(a, s->cfg, r) :
				store_beneath(a, r->path, BENEATH_REPO) };
		add_place(s, &p, r->cipher_pass);
	}
}

static void add_clusters(struct serving *s, struct arena *a)
{
	for (size_t i = 0; i < s->cfg->pg.n; i++) {
		const struct config_pg *pg = &s->cfg->pg.v[i];

		if (pg->host.host != NULL || pg->path == NULL)
			continue;
		const struct serve_place p = { .place = { .number = REMOTE_PLACE_PG + pg->key, .path = pg->path },
			.store = store_beneath(a, pg->path, BENEATH_CLUSTER), .db = ctx_pg_conn(a, s->cfg, pg) };
		add_place(s, &p, NULL);
	}
}

static int gather(struct serving *s, struct arena *a)
{
	const uint32_t repo_roles = REMOTE_ROLE_ARCHIVE | REMOTE_ROLE_RESTORE;

	if ((s->policy.roles & REMOTE_ROLE_BACKUP) != 0 && s->cfg->stanza == NULL) {
		(void)err_set(ERR_OPTION_REQUIRED, "serve command requires option: stanza");
		return err_hint("a cluster belongs to one stanza.");
	}
	vec_init(&s->places, a);
	vec_init(&s->passes, a);
	if ((s->policy.roles & repo_roles) != 0)
		add_repos(s, a);
	if ((s->policy.roles & REMOTE_ROLE_BACKUP) != 0)
		add_clusters(s, a);
	if (s->places.n > 0)
		return 0;
	(void)err_set(ERR_HOST_INVALID, "nothing that the role '%s' is for is configured as being on this host",
		s->cfg->role);
	return err_hint("archive and restore need a repository without repo-host, backup needs pg1-path without "
		"pg1-host in the section of the stanza.");
}

/* --- standard streams --- */

/* The descriptor's place is taken by one that leads nowhere: what writes to standard output by mistake must not be
 * taken for a word of the conversation. */
static int take_away(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int nowhere = moved < 0 ? -1 : sys.open("/dev/null", O_RDWR, 0);

	if (nowhere < 0 || dup2(nowhere, fd) < 0)
		return err_sys(ERR_KERNEL, "unable to keep standard input and output for the conversation");
	(void)sys.close(nowhere);
	return moved;
}

static int refuse_terminal(void)
{
	if (!isatty(STDIN_FILENO) && !isatty(STDOUT_FILENO))
		return 0;
	(void)err_set(ERR_PROTOCOL, "serve talks to pgStrata on another host, not to a terminal");
	return err_hint("it is started through ssh; see the command authorize.");
}

int cmd_serve(struct arena *a, const struct config *cfg)
{
	static const struct serve_ops ops = { .may = may, .shows = shows, .opens = opens, .publish = publish,
		.stopped = stopped };
	struct serving s = { .cfg = cfg, .policy = { .stanza = cfg->stanza } };

	if (remote_roles_parse(cfg->role, &s.policy.roles) != 0 || refuse_terminal() != 0 || gather(&s, a) != 0)
		return -1;

	struct serve conversation = { .stanza = cfg->stanza, .roles = s.policy.roles,
		.forced = getenv("SSH_ORIGINAL_COMMAND") != NULL, .places = s.places.v, .n = s.places.n,
		.ops = &ops, .ctx = &s, .silence_ms = cfg->protocol_timeout };

	conversation.in = take_away(STDIN_FILENO);
	conversation.out = conversation.in < 0 ? -1 : take_away(STDOUT_FILENO);
	return conversation.out < 0 ? -1 : serve_run(&conversation);
}
