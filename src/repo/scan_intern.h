/*
 * scan_intern: what the files of the scan share; nobody else includes it.
 */
#ifndef REPO_SCAN_INTERN_H
#define REPO_SCAN_INTERN_H

#include "base/map.h"
#include "repo/scan.h"
#include "store/owner.h"

struct scan {
	struct store *pg;
	const char *path; /* of its root, on its host */
	const struct scan_opts *o;
	struct manifest *m;
	struct arena *scratch; /* of the whole scan: texts for messages */
	const char *xact_prefix, *wal_dir;
	struct owners *owners; /* of this host */
};

struct scan_dir {
	const char *name; /* manifest name */
	bool db;	  /* a database directory */
	bool tblspc;	  /* pg_data/pg_tblspc */
	const struct map *unlogged; /* relation numbers with an init fork; db only */
};

/* The entries of a directory, in order; descends. */
int scan_dir(struct scan *s, const char *name) must_check;

/* scan_skip.c: is this entry left out (rules 1 to 11 of 5.12.1)? */
bool scan_skip(struct scan *s, const struct scan_dir *dir, const struct store_entry *e);
/* Is all that is in this directory left out by the user (rule 2)? */
bool scan_skip_content(struct scan *s, const char *name);
const struct map *scan_unlogged(struct arena *a, const struct store_entry *v, size_t n);

/* scan_link.c: links and what they lead to (5.12.2); names of owners. */
int scan_tablespace(struct scan *s, const char *name, const struct store_entry *e) must_check;
int scan_link(struct scan *s, const char *name, const struct store_entry *e) must_check;
int scan_check_links(struct scan *s) must_check;
const char *scan_user(struct scan *s, const struct store_entry *e);
const char *scan_group(struct scan *s, const struct store_entry *e);

/* Rows that links bring. */
void scan_add_link(struct scan *s, const char *name, const struct store_entry *e);
void scan_add_linked(struct scan *s, const char *name, const struct store_entry *destination);
/* A path row with owner and mode of another, unless it is there (5.11). */
void scan_add_dummy(struct scan *s, const char *name, const char *like);
bool manifest_path_known(const struct scan *s, const char *name);

#endif
