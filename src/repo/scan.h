/*
 * scan: walk a data directory into manifest rows: exclusions, links, tablespaces
 * (format/repository.md 5.12).
 */
#ifndef REPO_SCAN_H
#define REPO_SCAN_H

#include "pg/backup_api.h"
#include "pg/control.h"
#include "repo/manifest.h"

struct scan_opts {
	const struct pg_control *control;
	const char *path; /* of the data directory where it is, absolute; NULL: pg's root */
	bool online;
	bool page_check;
	const strvec *exclude;		      /* --exclude, relative to the data directory */
	const struct pg_names *tablespaces;   /* NULL: offline, names become ts<OID> */
};

/* Fill targets, files, links, paths and defaults.  pg's root is the data directory.  Special files are warned about and
 * skipped; a name with a line feed is ERR_FORMAT before anything is copied. */
int scan_cluster(struct store *pg, const struct scan_opts *o, struct manifest *m) must_check;

#endif
