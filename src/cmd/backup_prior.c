/*
 * backup_prior: what a diff or incr is based on, and what follows from it before anything is copied.
 */
#include "cmd/backup_intern.h"

#include <string.h>

#include "base/log.h"
#include "repo/block_stored.h"
#include "repo/catalog.h"

/* A chain with a hole restores nothing: better no backup than one that seems to be one. */
static int check_chain(const struct backup *b)
{
	const struct manifest *prior = b->prior;

	for (size_t i = 0; i < prior->reference.n; i++) {
		const char *label = prior->reference.v[i];
		if (backup_info_find(&b->infos.backup, label) != NULL)
			continue;
		(void)err_set(ERR_BACKUP_SET, "backup '%s' depends on backup '%s', which does not exist any more",
			prior->label, label);
		return err_hint("use --type=full.");
	}
	if (block_find_beta(prior) != NULL) {
		(void)err_set(ERR_BACKUP_SET, "backup '%s' has blocks that a test of pgBackRest %s stored, in a form that only "
			"releases before 2.46 read", prior->label, prior->program);
		return err_hint("use --type=full.");
	}
	if ((b->infos.backup.cipher_pass == NULL) == (prior->cipher_pass == NULL))
		return 0;
	return err_set(ERR_CRYPTO, "backup '%s' is %s, but the repository is %s", prior->label,
		prior->cipher_pass == NULL ? "not encrypted" : "encrypted",
		prior->cipher_pass == NULL ? "encrypted" : "not");
}

static void forget_prior(void *ctx)
{
	arena_free(ctx);
}

static int load_prior(struct backup *b, const struct backup_line *line)
{
	struct manifest *m = b->m;
	struct arena *a = arena_new();

	b->prior_undo = arena_defer(b->arena, forget_prior, a);
	b->prior_arena = a;
	if (manifest_load(a, b->repo->store, b->cfg->stanza, line->label, b->infos.backup.cipher_pass,
		&b->prior) != 0)
		return err_wrap("unable to base a backup on '%s'", line->label);
	if (check_chain(b) != 0)
		return -1;
	m->prior = line->label;
	log_info("last backup label = %s, version = %s", m->prior, b->prior->program);
	return 0;
}

void backup_forget_prior(struct backup *b)
{
	if (b->prior_arena == NULL)
		return;
	arena_undefer(b->arena, b->prior_undo);
	arena_free(b->prior_arena);
	b->prior_arena = NULL;
	b->prior = NULL;
}

/* All files of a set have one codec. */
static void adopt_codec(struct backup *b)
{
	struct manifest *m = b->m;
	const struct manifest *prior = b->prior;

	if (m->codec == prior->codec)
		return;
	log_warn("%s backup cannot alter compress-type option to '%s', reset to value in %s",
		backup_type_name(m->type), codec_info(m->codec)->name, m->prior);
	m->codec = prior->codec;
	/* old manifests and unfinished ones do not tell it; it is nothing a reader depends on */
	m->level = prior->complete ? prior->level : codec_info(m->codec)->level_default;
}

/* Results of rows that are inherited and of those that are not should mean the same.  But checking pages of
 * a cluster that has no checksums any more would call all of them bad. */
static void adopt_page_checks(struct backup *b)
{
	struct manifest *m = b->m;
	const bool prior = b->prior->checksum_page;

	if (prior && !b->cluster.control.checksums) {
		log_warn("checksum-page is true in %s but checksums are not enabled on the cluster any more, "
			"resetting to false", m->prior);
		m->checksum_page = false;
		return;
	}
	if (m->checksum_page != prior)
		log_warn("%s backup cannot alter 'checksum-page' option to '%s', reset to '%s' from %s",
			backup_type_name(m->type), m->checksum_page ? "true" : "false", prior ? "true" : "false",
			m->prior);
	m->checksum_page = prior;
}

static void adopt(struct backup *b)
{
	struct manifest *m = b->m;
	const struct manifest *prior = b->prior;

	adopt_codec(b);
	adopt_page_checks(b);
	m->bundle_raw = prior->bundle_raw;
	if (prior->cipher_pass != NULL)
		m->cipher_pass = arena_strdup(m->arena, prior->cipher_pass);
	for (size_t i = 0; i < prior->reference.n; i++)
		vec_push(&m->reference, manifest_intern(m, prior->reference.v[i]));
}

int backup_choose_prior(struct backup *b)
{
	struct manifest *m = b->m;

	if (!backup_type_parse(b->cfg->type, &m->type))
		return err_set(ERR_OPTION_VALUE, "'%s' is not allowed for 'type' option", b->cfg->type);
	if (m->type == BACKUP_FULL)
		return 0;
	const struct backup_line *line = catalog_prior(&b->infos.backup, m->type);
	if (line == NULL) {
		log_warn("no prior backup exists, %s backup has been changed to full", b->cfg->type);
		m->type = BACKUP_FULL;
		return 0;
	}
	if (load_prior(b, line) != 0)
		return -1;
	adopt(b);
	return 0;
}

/* ---- the plan ---- */

static const char *file_name(struct arena *a, const struct backup *b, const struct manifest_file *f)
{
	return store_name(a, b->cluster.pg, manifest_pg_path(f->name));
}

static void log_why(const struct backup *b, const struct plan_opts *o)
{
	SCOPED_ARENA(a);
	const char *hint;
	char *text = plan_why_text(a, &b->plan, b->prior, b->m,
		b->m->files.n == 0 ? "" : file_name(a, b, &b->m->files.v[b->plan.why_row]), o, &hint);

	if (text == NULL)
		return;
	if (hint != NULL)
		log_warn("%s\nHINT: %s", text, hint);
	else
		log_warn("%s", text);
}

static void log_empty(const struct backup *b)
{
	if (!log_wants(LOG_DETAIL))
		return;
	for (size_t i = 0; i < b->m->files.n; i++) {
		SCOPED_ARENA(a);
		if (b->plan.rows[i].action == PLAN_EMPTY)
			log_detail("store zero-length file %s", file_name(a, b, &b->m->files.v[i]));
	}
}

int backup_nothing_changed(void)
{
	return err_set(ERR_FILE_MISSING, "no files have changed since the last backup - this seems unlikely");
}

int backup_plan(struct backup *b)
{
	const struct config_repo *r = b->repo->cfg;
	const struct plan_opts opts = { .delta = b->cfg->delta, .bundle = r->bundle,
		.bundle_limit = (uint64_t)r->bundle_limit, .bundle_size = (uint64_t)r->bundle_size,
		.blocks = b->blocks,
		.workers = (unsigned)b->cfg->process_max, .apart = b->standby != NULL,
		.start_segment = b->cluster.online ? b->start.segment : NULL, .start_lsn = b->start.lsn };

	plan_backup(b->arena, b->m, b->prior, &opts, &b->plan);
	log_why(b, &opts);
	if (b->plan.jobs.n == 0)
		return backup_nothing_changed();
	log_empty(b);
	backup_forget_prior(b);
	return 0;
}
