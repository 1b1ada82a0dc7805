/*
 * backup_resume: what an interrupted backup left is taken over or removed.
 *
 * Always true: the directory is changed only after the save point says that it is ours, and after that only by
 * removing what may not stay.  What stays is looked at by the workers (file_put with PLAN_RESUME).  Nobody else can be
 * writing there on this host, because we hold the stanza's backup lock; one on another host finds files that he has not
 * made (file_put never writes into what is there) or a save point that is not his, and gives up.
 */
#include "cmd/backup_intern.h"

#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "repo/catalog.h"
#include "repo/resume.h"

/* What must go; names are below the backup's directory. */
struct doomed {
	const char *name;
	const char *why; /* files only */
	enum store_type type;
};

struct doomed_dir {
	const char *dir; /* in the repository */
	strvec names;	 /* files, links and the like: one sync for all */
};

struct leftover {
	struct backup *b;
	struct arena *arena;
	const char *label, *dir, *copy;
	struct manifest *m;
	struct resume_files files;
	bool bad_name;
	VEC(struct doomed) doomed;
	VEC(struct doomed_dir) dirs;
};

/* ---- which ---- */

/* The newest directory, if it is no complete backup.  STORE_ABSENT: there is nothing to do. */
static int find_leftover(struct leftover *l)
{
	const struct backup *b = l->b;
	strvec labels;
	struct store_entry e;

	if (catalog_labels(l->arena, b->repo->store, b->cfg->stanza, &labels) != 0)
		return -1;
	if (labels.n == 0)
		return STORE_ABSENT;
	l->label = labels.v[labels.n - 1];
	l->dir = layout_backup_dir(l->arena, b->cfg->stanza, l->label);
	const char *manifest = layout_manifest(l->arena, b->cfg->stanza, l->label);
	l->copy = layout_copy(l->arena, manifest);
	int rc = store_stat(l->arena, b->repo->store, manifest, &e);
	if (rc == 0)
		return STORE_ABSENT;
	return rc == STORE_ABSENT ? 0 : -1;
}

static int load_save_point(struct leftover *l, enum resume_why *why)
{
	const struct backup *b = l->b;
	struct store_entry e;
	int rc = store_stat(l->arena, b->repo->store, l->copy, &e);

	if (rc < 0)
		return -1;
	*why = RESUME_NO_COPY;
	if (rc == STORE_ABSENT || e.type != STORE_FILE)
		return 0;
	*why = RESUME_FITS;
	rc = manifest_load(l->arena, b->repo->store, b->cfg->stanza, l->label, b->infos.backup.cipher_pass, &l->m);
	if (rc == 0)
		return 0;
	if (rc < 0 && err_code() == ERR_TERM)
		return -1;
	log_detail("%s", rc < 0 ? err_msg() : "no save point");
	err_clear();
	*why = RESUME_UNREAD;
	return 0;
}

/* ---- which of its files ---- */

static void doom(struct leftover *l, const char *name, enum store_type type, const char *why)
{
	vec_push(&l->doomed, ((struct doomed){ name, why, type }));
}

struct walk {
	struct leftover *l;
	const char *dir; /* below the backup's directory, "" at the top */
	strvec names;	 /* to be removed */
};

static int walk_dir(struct leftover *l, const char *name);

static void see_file(struct walk *w, const struct store_entry *e, const char *name)
{
	struct leftover *l = w->l;
	struct manifest *m = l->b->m;
	uint32_t row;
	enum resume_file why = resume_file(&l->files, name, e->size, e->shared, &row);

	if (why != RESUME_KEEP) {
		doom(l, name, e->type, resume_file_text(why));
		vec_push(&w->names, path_base(name));
		return;
	}
	resume_carry(&m->files.v[row], manifest_file_find(l->m, m->files.v[row].name));
	l->b->plan.rows[row].action = PLAN_RESUME;
}

static int see_entry(void *ctx, const struct store_entry *e)
{
	struct walk *w = ctx;
	struct leftover *l = w->l;
	char *name = path_join(l->arena, w->dir, arena_strdup(l->arena, e->name));

	if (!path_is_safe(e->name)) {
		l->bad_name = true;
		return 0;
	}
	if (e->type == STORE_DIR) {
		if (resume_has_dir(l->b->m, name))
			return walk_dir(l, name);
		doom(l, name, e->type, NULL);
		return 0;
	}
	if (e->type == STORE_FILE) {
		if (strcmp(name, "backup.manifest.copy") != 0)
			see_file(w, e, name);
		return 0;
	}
	doom(l, name, e->type, NULL);
	vec_push(&w->names, path_base(name));
	return 0;
}

static int walk_dir(struct leftover *l, const char *name)
{
	struct walk w = { l, name, { 0 } };
	const char *path = path_join(l->arena, l->dir, name);

	vec_init(&w.names, l->arena);
	if (store_list(l->b->repo->store, path, see_entry, &w) < 0)
		return -1;
	if (w.names.n > 0)
		vec_push(&l->dirs, ((struct doomed_dir){ path, w.names }));
	return 0;
}

/* ---- removing ---- */

static void log_doomed(const struct leftover *l, const struct doomed *d)
{
	const char *name = store_name(l->arena, l->b->repo->store, path_join(l->arena, l->dir, d->name));

	switch (d->type) {
	case STORE_FILE:
		log_detail("remove file '%s' from resumed backup (%s)", name, d->why);
		break;
	case STORE_DIR:
		log_detail("remove path '%s' from resumed backup", name);
		break;
	case STORE_LINK:
		log_detail("remove link '%s' from resumed backup", name);
		break;
	case STORE_SPECIAL:
		log_warn("remove special file '%s' from resumed backup", name);
		break;
	}
}

static int remove_doomed(struct leftover *l)
{
	struct store *repo = l->b->repo->store;

	for (size_t i = 0; i < l->doomed.n; i++) {
		const struct doomed *d = &l->doomed.v[i];
		log_doomed(l, d);
		if (d->type == STORE_DIR && store_remove_tree(repo, path_join(l->arena, l->dir, d->name)) != 0)
			return -1;
	}
	for (size_t i = 0; i < l->dirs.n; i++)
		if (store_remove_files(repo, l->dirs.v[i].dir, &l->dirs.v[i].names) != 0)
			return -1;
	return 0;
}

static int discard(struct leftover *l, enum resume_why why)
{
	const struct backup *b = l->b;
	const char *copy = store_name(l->arena, b->repo->store, l->copy);
	char *text = resume_why_text(l->arena, why, l->label, copy, b->m, l->m);

	if (resume_warns(why))
		log_warn("%s", text);
	else
		log_info("%s", text);
	/* the save point first: a directory that is half gone is not worth another look */
	if (store_remove_tree(b->repo->store, l->copy) != 0)
		return -1;
	return store_remove_tree(b->repo->store, l->dir);
}

/* ---- taking over ---- */

static int judge(struct leftover *l, enum resume_why *why)
{
	struct backup *b = l->b;
	bool unused;

	*why = resume_asked(b->m->type, b->cfg->resume);
	if (*why == RESUME_FITS && load_save_point(l, why) != 0)
		return -1;
	if (*why != RESUME_FITS)
		return 0;
	*why = resume_fits(b->m, l->m, b->infos.backup.cipher_pass != NULL,
		label_format(l->arena, BACKUP_FULL, b->m->start, NULL));
	if (*why != RESUME_FITS)
		return 0;
	if (catalog_label_unused(l->arena, b->repo->store, b->cfg->stanza, l->label, &unused) != 0)
		return -1;
	if (!unused)
		*why = RESUME_USED;
	return 0;
}

/* From here on the directory is ours. */
static int claim(struct leftover *l)
{
	struct backup *b = l->b;
	struct manifest *m = b->m;
	struct store_entry e;

	m->label = arena_strdup(b->arena, l->label);
	vec_push(&m->reference, m->label);
	b->dir = layout_backup_dir(b->arena, b->cfg->stanza, m->label);
	if (l->m->cipher_pass != NULL)
		m->cipher_pass = arena_strdup(m->arena, l->m->cipher_pass);
	if (backup_save_point(b) != 0)
		return -1;
	int rc = store_stat(l->arena, b->repo->store, layout_manifest(l->arena, b->cfg->stanza, m->label), &e);
	if (rc == 0) {
		(void)err_set(ERR_FILE_INVALID, "backup '%s' was completed by somebody else", m->label);
		return err_hint("does another host back up to this repository?");
	}
	return rc == STORE_ABSENT ? 0 : -1;
}

static int take_over(struct leftover *l)
{
	struct backup *b = l->b;

	l->files = (struct resume_files){ b->m, l->m, resume_own(l->arena, b->m, &b->plan), b->plan.delta };
	vec_init(&l->doomed, l->arena);
	vec_init(&l->dirs, l->arena);
	if (walk_dir(l, "") != 0)
		return -1;
	if (l->bad_name)
		return 0;
	log_warn("%s", resume_why_text(l->arena, RESUME_FITS, l->label, NULL, b->m, l->m));
	return claim(l) != 0 ? -1 : remove_doomed(l);
}

/* A decision that is taken back: rows that were to be resumed. */
static void forget(struct backup *b)
{
	for (size_t i = 0; i < b->m->files.n; i++) {
		if (b->plan.rows[i].action != PLAN_RESUME)
			continue;
		b->plan.rows[i].action = PLAN_COPY;
		plan_own(&b->m->files.v[i], &b->plan.rows[i]);
	}
}

int backup_resume(struct backup *b)
{
	SCOPED_ARENA(a);
	struct leftover l = { .b = b, .arena = a };
	enum resume_why why;
	int rc = find_leftover(&l);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	if (judge(&l, &why) != 0)
		return -1;
	if (why != RESUME_FITS)
		return discard(&l, why);
	if (take_over(&l) != 0)
		return -1;
	if (!l.bad_name)
		return 0;
	forget(b);
	return discard(&l, RESUME_NAMES);
}
