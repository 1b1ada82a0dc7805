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

static bool same_place(const struct config_repo *x, const struct config_repo *y)
{
	if (x->host.host || y->host.host || strcmp(x->type, y->type) != 0 || strcmp(x->type, "sftp") == 0)
		return false;
	return x->path && y->path && strcmp(x->path, y->path) == 0;
}

static int check_paths(const struct config *cfg)
{
	for (size_t i = 0; i < cfg->repo.n; i++)
		for (size_t k = i + 1; k < cfg->repo.n; k++) {
			const struct config_repo *x = &cfg->repo.v[i], *y = &cfg->repo.v[k];

			if (same_place(x, y))
				return err_set(ERR_OPTION_VALUE,
					"local repo%u and repo%u paths are both '%s' but must be "
					"different",
					x->key, y->key, x->path);
		}
	return 0;
}

/*
 * A passphrase without a cipher type encrypts nothing.  The reference drops it without a word, which we
 * follow except where it would make a new stanza plain for good.
 */
static int check_cipher(const struct config *cfg)
{
	const struct option *pass = option_named("repo-cipher-pass");
	const struct option *type = option_named("repo-cipher-type");

	for (size_t i = 0; i < cfg->repo.n; i++) {
		unsigned key = cfg->repo.v[i].key;
		const struct sources *from = &cfg->values->from;
		const struct value *v = values_get(cfg->values, type, key);

		if (v->source != SRC_DEFAULT || cfg->repo.v[i].host.host ||
			(!given_find(&from->env, pass, key) && !given_find(&from->file, pass, key)))
			continue;
		err_set(ERR_OPTION_INVALID,
			"option 'repo%u-cipher-pass' not valid without option 'repo%u-cipher-type' = "
			"'aes-256-cbc'", key, key);
		return err_hint("set 'repo%u-cipher-type=none' if the stanza is to be stored without "
			"encryption.", key);
	}
	return 0;
}

/* A fingerprint alone meant that it is checked, before there were kinds of checking. */
static int check_fingerprint(const struct config *cfg, struct config_repo *r)
{
	const struct option *type = option_named("repo-sftp-host-key-check-type");
	const struct value *v = values_get(cfg->values, type, r->key);

	if (r->sftp_host_fingerprint == NULL) {
		if (strcmp(r->sftp_host_key_check_type, "fingerprint") != 0)
			return 0;
		return err_set(ERR_OPTION_REQUIRED, "%s command requires option: repo%u-sftp-host-fingerprint",
			command_name(cfg->command), r->key);
	}
	if (strcmp(r->sftp_host_key_check_type, "fingerprint") == 0)
		return 0;
	if (v->source != SRC_DEFAULT)
		return err_set(ERR_OPTION_INVALID, "option 'repo%u-sftp-host-fingerprint' not valid without option "
			"'repo%u-sftp-host-key-check-type' = 'fingerprint'", r->key, r->key);
	log_warn("option 'repo%u-sftp-host-fingerprint' without option 'repo%u-sftp-host-key-check-type' = "
		 "'fingerprint' is deprecated\n"
		 "HINT: set option 'repo%u-sftp-host-key-check-type=fingerprint'", r->key, r->key, r->key);
	r->sftp_host_key_check_type = "fingerprint";
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

/* What is deleted for good is named, not guessed. */
static int check_delete(const struct config *cfg)
{
	if (cfg->repo_key != 0 || (cfg->repo.n == 1 && cfg->repo.v[0].key == 1))
		return 0;
	(void)err_set(ERR_OPTION_REQUIRED, "stanza-delete command requires option: repo");
	return err_hint("this command requires a specific repository to operate on");
}

/* The archive is shown whole: what one backup, or one type, has of it would look like all of it. */
static int check_info_archive(const struct config *cfg)
{
	const char *other = cfg->set ? "'set'" : cfg->type ? "'type'" : NULL;

	if (strcmp(cfg->detail_level, "progress") == 0)
		other = "'detail-level' = 'progress'";
	return !other ? 0 :
		err_set(ERR_OPTION_INVALID, "option 'archive' cannot be used with option %s", other);
}

/* This host has the cluster or the repository: a third host in between has neither, and would move every byte twice. */
static int check_hosts(const struct config *cfg)
{
	bool pg = false, repo = false;

	for (size_t i = 0; i < cfg->pg.n; i++)
		pg = pg || cfg->pg.v[i].host.host;
	for (size_t i = 0; i < cfg->repo.n; i++)
		repo = repo || cfg->repo.v[i].host.host;
	if (pg && repo && cfg->command != CMD_SERVE && cfg->command != CMD_VERIFY)
		return err_set(ERR_CONFIG, "pg and repo hosts cannot both be configured as remote");
	return 0;
}

static int bad_timeouts(const struct config *cfg)
{
	SCOPED_ARENA(a);
	strvec protocol = value_texts(a, values_get(cfg->values, option_named("protocol-timeout"), 0));
	strvec db = value_texts(a, values_get(cfg->values, option_named("db-timeout"), 0));

	err_set(ERR_OPTION_VALUE, "'%s' is not valid for 'protocol-timeout' option", protocol.v[0]);
	return err_hint("'protocol-timeout' option (%s) should be greater than 'db-timeout' option (%s).", protocol.v[0],
		db.v[0]);
}

/*
 * The other side must have time to tell that a query took too long.  Of the two options the one that nobody
 * set gives way.
 */
static int check_timeouts(struct config *cfg)
{
	enum { APART_MS = 30000, LEAST_MS = 15000 };

	if (cfg->db_timeout <= 0 || cfg->protocol_timeout > cfg->db_timeout)
		return 0;
	if (!given(cfg, "protocol-timeout")) {
		cfg->protocol_timeout = cfg->db_timeout + APART_MS;
	} else if (!given(cfg, "db-timeout")) {
		cfg->db_timeout = cfg->protocol_timeout - APART_MS;
		if (cfg->db_timeout < LEAST_MS)
			cfg->db_timeout = cfg->protocol_timeout / 2;
	} else {
		return bad_timeouts(cfg);
	}
	return 0;
}

static int check_verify(struct config *cfg)
{
	if (!cfg->archive && strcmp(cfg->output, "json") == 0) {
		(void)err_set(ERR_OPTION_VALUE, "'json' is not allowed for 'output' option");
		return err_hint("only the report of verify --archive has that form.");
	}
	if (cfg->repair && cfg->repo.n < 2) {
		(void)err_set(ERR_OPTION_INVALID, "option 'repair' needs a second repository that may have a copy");
		return err_hint("all repositories are asked for copies, also with --repo.");
	}
	if (!cfg->archive)
		return 0;
	if (cfg->repair || cfg->set)
		return err_set(ERR_OPTION_INVALID, "--archive and --%s cannot be used together", cfg->repair ? "repair" : "set");
	if (!given(cfg, "output"))
		cfg->output = "text";
	return 0;
}

int config_check(struct config *cfg)
{
	if (cfg->command == CMD_VERIFY && check_verify(cfg) != 0)
		return -1;
	if (cfg->command == CMD_STANZA_DELETE && check_delete(cfg) != 0)
		return -1;
	if (check_timeouts(cfg) != 0 || check_hosts(cfg) != 0)
		return -1;
	if (check_paths(cfg) != 0 || (cfg->command == CMD_STANZA_CREATE && check_cipher(cfg) != 0))
		return -1;
	for (size_t i = 0; i < cfg->repo.n; i++)
		if (cfg->repo.v[i].sftp_host != NULL && check_fingerprint(cfg, &cfg->repo.v[i]) != 0)
			return -1;
	if (cfg->command == CMD_EXPIRE && cfg->oldest && cfg->set)
		return err_set(ERR_OPTION_INVALID, "--oldest and --set cannot be used together");
	/* the retention that counts is that of the expire after the backup, if there is one */
	if (cfg->command == CMD_EXPIRE || (cfg->command == CMD_BACKUP && !cfg->next))
		for (size_t i = 0; i < cfg->repo.n; i++) {
			check_full(&cfg->repo.v[i]);
			settle_archive(&cfg->repo.v[i]);
		}
	if (given(cfg, "compress") && given(cfg, "compress-type"))
		log_warn("'compress' and 'compress-type' options should not both be set\n"
			 "HINT: 'compress-type' is preferred and 'compress' is deprecated.");
	if (cfg->command == CMD_INFO && cfg->archive && check_info_archive(cfg) != 0)
		return -1;
	if (cfg->command == CMD_INFO && cfg->set && strcmp(cfg->detail_level, "progress") == 0)
		return err_set(ERR_OPTION_INVALID,
			"option 'set' cannot be used with option 'detail-level' = 'progress'");
	return 0;
}
