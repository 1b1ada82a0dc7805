/*
 * catalog: the backups of a stanza as directories tell it, beside the index (backup.info).
 */
#ifndef REPO_CATALOG_H
#define REPO_CATALOG_H

#include "repo/backup_info.h"

/* Directory names that are labels, ascending. */
int catalog_labels(struct arena *a, struct store *repo, const char *stanza, strvec *out) must_check;

/* Reconcile the index with the directories (format/repository.md 4.3), warning about each change. */
int catalog_reconcile(struct arena *a, struct store *repo, const char *stanza, struct backup_info *info)
	must_check;

/* What a diff (the newest full one) or incr (the newest one) of the current cluster is based on; NULL: there is
 * none.  Points into info. */
const struct backup_line *catalog_prior(const struct backup_info *info, enum backup_type type);

/* A label for a backup that starts now: later than every label of the stanza and its history (1.3); waits
 * out a second if it had to add one.  ERR_CLOCK. */
int catalog_new_label(struct arena *a, struct store *repo, const char *stanza, enum backup_type type,
	const char *full, int64_t start, const char **out) must_check;

/* The label of a directory without manifest: is it later than all others of the stanza and its history, and was
 * never itself a backup's? */
int catalog_label_unused(struct arena *a, struct store *repo, const char *stanza, const char *label,
	bool *unused) must_check;

#endif
