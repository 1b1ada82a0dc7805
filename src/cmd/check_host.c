/*
 * check_host: what the other hosts of a stanza permit this one, as they say in their hello.
 *
 * Only a forced command bounds a peer: what it asks for by itself it could ask for otherwise.
 */
#include "cmd/check_host.h"

#include "base/log.h"
#include "base/str.h"
#include "cmd/ctx_remote.h"

static void tell_bound(const char *who, const struct remote_hello *h)
{
	SCOPED_ARENA(a);
	const strvec roles = str_split(a, remote_roles_text(a, h->roles), ',');
	const char *what = str_join(a, &roles, ", ");

	if (h->stanza != NULL)
		log_info("%s permits %s for stanza '%s' only", who, what, h->stanza);
	else
		log_warn("%s permits %s for all stanzas\n"
			"HINT: name the stanza in the command of the key's line in authorized_keys.", who, what);
}

static int tell(const struct config *cfg, const char *group, unsigned key, struct remote *r)
{
	SCOPED_ARENA(a);
	const struct remote_hello *h = remote_hello(r);
	const char *who = arena_printf(a, "%s%u host '%s'", group, key, remote_opts(r)->host);

	if (h == NULL)
		return err_wrap("%s%u", group, key);
	if (h->forced)
		tell_bound(who, h);
	else
		log_warn("%s permits this host all that its user may do there\n"
			"HINT: 'pgstrata --stanza=%s --role=%s authorize KEYFILE', run there, prints a line for "
			"authorized_keys that permits no more than is needed.",
			who, cfg->stanza, *group == 'p' ? "backup" : "archive,restore");
	return 0;
}

int check_hosts(const struct config *cfg)
{
	for (size_t i = 0; i < cfg->repo.n; i++) {
		const struct config_repo *r = &cfg->repo.v[i];

		if (r->host.host != NULL && tell(cfg, "repo", r->key, ctx_remote_repo(cfg, r)) != 0)
			return -1;
	}
	for (size_t i = 0; i < cfg->pg.n; i++) {
		const struct config_pg *pg = &cfg->pg.v[i];

		if (pg->host.host == NULL || pg->path == NULL || tell(cfg, "pg", pg->key, ctx_remote_pg(cfg, pg)) == 0)
			continue;
		if (err_code() == ERR_TERM)
			return -1;
		err_clear();
	}
	return 0;
}
