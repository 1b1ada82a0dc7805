/*
 * catalog: which backups exist.
 *
 * The manifests are authoritative: a directory with backup.manifest is a backup, whatever the index says
 * (format/repository.md 4.3 and 5.13).  Labels only ever grow, also over backups that were removed.
 */
#include "repo/catalog.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "repo/manifest.h"

struct label_list {
	struct arena *arena;
	strvec *labels;
};

static int add_label(void *ctx, const struct store_entry *e)
{
	struct label_list *l = ctx;

	if (e->type == STORE_DIR && label_is_valid(e->name))
		vec_push(l->labels, arena_strdup(l->arena, e->name));
	return 0;
}

int catalog_labels(struct arena *a, struct store *repo, const char *stanza, strvec *out)
{
	struct label_list l = { a, out };

	vec_init(out, a);
	return store_list(repo, layout_backup_root(a, stanza), add_label, &l) < 0 ? -1 : 0;
}

/* 1 if the backup's manifest is there, 0 if it is proven absent. */
static int has_manifest(struct arena *a, struct store *repo, const char *stanza, const char *label)
{
	struct store_entry e;
	int rc = store_stat(a, repo, layout_manifest(a, stanza, label), &e);

	return rc < 0 ? -1 : rc == 0;
}

/* Remove a line and all that depend on it; later labels are the only ones that can. */
static void drop_with_dependents(struct arena *a, struct backup_info *info, const char *label)
{
	strvec gone;

	vec_init(&gone, a);
	vec_push(&gone, label);
	for (size_t i = 0; i < info->backups.n; i++) {
		const struct backup_line *b = &info->backups.v[i];
		for (size_t g = 0; b->prior != NULL && g < gone.n; g++)
			if (strcmp(b->prior, gone.v[g]) == 0) {
				vec_push(&gone, b->label);
				break;
			}
	}
	for (size_t g = 0; g < gone.n; g++) {
		log_warn("backup '%s' missing manifest removed from backup.info", gone.v[g]);
		backup_info_remove(info, gone.v[g]);
	}
}

static bool db_known(const struct backup_info *info, const struct backup_db *db)
{
	for (size_t i = 0; i < info->history.n; i++) {
		const struct backup_db *h = &info->history.v[i];
		if (h->id == db->id && h->system_id == db->system_id &&
			strcmp(h->version, db->version) == 0)
			return true;
	}
	return false;
}

static bool set_listed(const struct backup_info *info, const char *label)
{
	for (size_t i = 0; i < info->backups.n; i++)
		if (strncmp(info->backups.v[i].label, label, LABEL_FULL) == 0)
			return true;
	return false;
}

static int add_unlisted(struct arena *a, struct store *repo, const char *stanza, const char *label,
	struct backup_info *info)
{
	struct manifest *m;
	struct backup_line line;

	if (label_type(label) != BACKUP_FULL && !set_listed(info, label))
		return 0;
	int found = has_manifest(a, repo, stanza, label);
	if (found <= 0)
		return found;
	if (manifest_load(a, repo, stanza, label, info->cipher_pass, &m) != 0)
		return err_wrap("backup '%s' is not in backup.info", label);
	if (!db_known(info, &m->db) ||
		(m->prior != NULL && backup_info_find(info, m->prior) == NULL)) {
		log_warn("invalid backup '%s' cannot be added to current backups", label);
		return 0;
	}
	manifest_summary(a, m, &line);
	backup_info_add(info, &line);
	log_warn("backup '%s' found in repository added to backup.info", label);
	return 0;
}

int catalog_reconcile(struct arena *a, struct store *repo, const char *stanza, struct backup_info *info)
{
	strvec labels;
	size_t i = 0;

	while (i < info->backups.n) {
		const char *label = info->backups.v[i].label;
		int found = has_manifest(a, repo, stanza, label);
		if (found < 0)
			return -1;
		if (found)
			i++;
		else
			drop_with_dependents(a, info, label);
	}
	if (catalog_labels(a, repo, stanza, &labels) != 0)
		return -1;
	for (i = 0; i < labels.n; i++)
		if (backup_info_find(info, labels.v[i]) == NULL &&
			add_unlisted(a, repo, stanza, labels.v[i], info) != 0)
			return -1;
	return 0;
}

const struct backup_line *catalog_prior(const struct backup_info *info, enum backup_type type)
{
	for (size_t i = info->backups.n; i-- > 0;) {
		const struct backup_line *l = &info->backups.v[i];
		if (l->db_id == info->current && (type == BACKUP_INCR || label_type(l->label) == BACKUP_FULL))
			return l;
	}
	return NULL;
}

/* Greatest label so far, within one backup set (prefix) or of all. */
struct newest {
	struct arena *arena;
	const char *prefix;  /* NULL: any */
	const char *label;   /* greatest so far, "" at first */
	const char *suffix;  /* what follows the label in the names that are listed */
	enum store_type type;
};

static int see_label(void *ctx, const struct store_entry *e)
{
	struct newest *n = ctx;
	size_t len = strlen(e->name), tail = strlen(n->suffix);

	if (e->type != n->type || len <= tail || !str_ends(e->name, n->suffix))
		return 0;
	const char *label = arena_strndup(n->arena, e->name, len - tail);
	if (label_is_valid(label) && strcmp(label, n->label) > 0 &&
		(n->prefix == NULL || strncmp(label, n->prefix, LABEL_FULL) == 0))
		n->label = label;
	return 0;
}

struct newest_year {
	struct arena *arena;
	const char *year;
};

static int see_year(void *ctx, const struct store_entry *e)
{
	struct newest_year *n = ctx;

	if (e->type == STORE_DIR && strlen(e->name) == 4 && e->name[0] == '2' &&
		str_all(e->name, 4, "0123456789"))
		n->year = arena_strdup(n->arena, e->name);
	return 0;
}

/* The greatest label of directories and of the newest year of the history. */
static int newest_label(struct arena *a, struct store *repo, const char *stanza, const char *prefix,
	const char **out)
{
	const char *root = layout_backup_root(a, stanza);
	const char *history = path_join(a, root, "backup.history");
	struct newest n = { a, prefix, "", "", STORE_DIR };
	struct newest_year y = { a, NULL };

	if (store_list(repo, root, see_label, &n) < 0 || store_list(repo, history, see_year, &y) < 0)
		return -1;
	n.suffix = ".manifest.gz";
	n.type = STORE_FILE;
	if (y.year != NULL && store_list(repo, path_join(a, history, y.year), see_label, &n) < 0)
		return -1;
	*out = n.label;
	return 0;
}

int catalog_new_label(struct arena *a, struct store *repo, const char *stanza, enum backup_type type,
	const char *full, int64_t start, const char **out)
{
	const char *newest;

	if (newest_label(a, repo, stanza, full, &newest) != 0)
		return -1;
	*out = label_format(a, type, start, full);
	if (strcmp(*out, newest) > 0)
		return 0;
	const char *later = label_format(a, type, start + 1, full);
	if (strcmp(later, newest) <= 0) {
		(void)err_set(ERR_CLOCK, "new backup label '%s' is not later than latest backup label '%s'",
			*out, newest);
		(void)err_hint("has the timezone changed?");
		return err_hint("is there clock skew?");
	}
	*out = later;
	if (clock_sleep(1000 - clock_now_ms() % 1000))
		return err_set(ERR_TERM, "terminated while waiting for a new backup label");
	return 0;
}

int catalog_label_unused(struct arena *a, struct store *repo, const char *stanza, const char *label,
	bool *unused)
{
	const char *newest;
	struct store_entry e;
	int rc = store_stat(a, repo, layout_history_manifest(a, stanza, label), &e);

	if (rc < 0 || newest_label(a, repo, stanza, NULL, &newest) != 0)
		return -1;
	*unused = rc == STORE_ABSENT && strcmp(newest, label) == 0;
	return 0;
}
