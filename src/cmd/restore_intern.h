/*
 * restore_intern: what the files of the restore command share; nobody else includes it.
 */
#ifndef CMD_RESTORE_INTERN_H
#define CMD_RESTORE_INTERN_H

#include "base/barrier.h"
#include "cmd/ctx.h"
#include "repo/manifest.h"

struct restore {
	struct arena *arena; /* of the command */
	const struct config *cfg;
	struct ctx_repo *repo;
	struct backup_info info;	/* of that repository */
	const struct backup_line *line; /* the chosen backup */
	const char *type;		/* recovery type in force */
	struct manifest *m;
	const struct pg_version *version;
	struct store *pg;
	bool replace;	     /* what is not in the backup is removed (--delta or --force) */
	bool delta;	     /* files that are right are kept: by their bytes, */
	bool delta_by_time;  /* or (--delta --force) by size and time */
	bool as_root;
	uid_t fallback_uid;   /* root only: for owners that are not known here */
	gid_t fallback_gid;
	struct barrier *barrier;
};

/* restore_select.c: which backup of which repository (behaviours.md 8.2). */
int restore_select(struct restore *r) must_check;

/* restore_timeline.c: can the backup reach the target timeline (8.6)? */
int restore_check_timeline(struct restore *r) must_check;

/* restore_place.c: the target directories: checked, cleaned, made. */
int restore_check_places(struct restore *r) must_check;
int restore_make_places(struct restore *r) must_check;

/* restore_owner.c: owners of the manifest on this host. */
void restore_owner(struct restore *r, const char *user, const char *group, uid_t *uid, gid_t *gid);
void restore_warn_owners(struct restore *r);

/* restore_copy.c: all files, by workers; pg_control under CONTROL_TEMP. */
#define CONTROL_TEMP "global/pg_control" TEMP_SUFFIX
int restore_copy(struct restore *r) must_check;

/* recovery.c: recovery settings and signal files (8.5). */
int restore_write_recovery(struct restore *r) must_check;

#endif
