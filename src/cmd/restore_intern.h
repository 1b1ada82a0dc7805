/*
 * restore_intern: what the files of the restore command share; nobody else includes it.
 */
#ifndef CMD_RESTORE_INTERN_H
#define CMD_RESTORE_INTERN_H

#include "base/barrier.h"
#include "cmd/ctx.h"
#include "repo/manifest.h"

/* A directory that the restore writes to: the data directory, a tablespace's, that of a link that is kept. */
struct restore_place {
	const char *name;	 /* in the manifest: "pg_data", "pg_data/log", "pg_tblspc/16384" */
	const char *link;	 /* its link there: "pg_data/log", "pg_data/pg_tblspc/16384"; NULL: data directory */
	const char *destination; /* what the link says */
	const char *user, *group; /* of the link */
	const char *dir;	 /* absolute; of a file link: the directory that holds the file */
	const char *file;	 /* file links only: the name in dir */
	const char *real;	 /* dir (and file), with links resolved as far as it exists */
	bool tablespace;
	const char *folder;	 /* tablespaces: ours in dir, "PG_15_202209061"; NULL: nothing is in it */
};

typedef VEC(uint32_t) restore_oids;

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
	VEC(dev_t) guarded;	/* file systems that take part in the barrier */
	const char *origin;	/* data directory of the backup's cluster */
	VEC(struct restore_place) places; /* a place never lies behind a later one; the data directory first */
	struct map *links;	/* name of a link that is kept -> its place */
	restore_oids zeroed;	/* databases whose files are not copied, ascending */
};

/* restore_select.c: which backup of which repository (behaviours.md 8.2). */
int restore_select(struct restore *r) must_check;

/* restore_timeline.c: can the backup reach the target timeline (8.6)? */
int restore_check_timeline(struct restore *r) must_check;

/* restore_map.c: where everything goes (8.3).  The manifest is changed: targets and links say where things will
 * be, and links that are not kept are gone from it.  Then places and links are filled. */
int restore_map(struct restore *r) must_check;

/* restore_rules.c: the places that the mapped manifest leads to; and the rules of 5.12.2 between them. */
int restore_find_places(struct restore *r) must_check;
int restore_check_rules(const struct restore *r) must_check;
/* Of a target: "pg_tblspc/1" -> "pg_data/pg_tblspc/1". */
const char *restore_link_name(struct arena *a, const char *target);
static inline const struct restore_place *restore_place_of_link(const struct restore *r, const char *name)
{
	return map_get(r->links, name);
}

/* restore_db.c: which databases come back as zeros (8.4). */
int restore_select_databases(struct restore *r) must_check;
bool restore_is_zeroed(const struct restore *r, const struct manifest_file *f);

/* restore_place.c: the places: checked, made. */
int restore_check_places(struct restore *r) must_check;
int restore_make_places(struct restore *r) must_check;
/* A directory with its parents; what has to be made belongs to the cluster's owner. */
int restore_make_dir(struct restore *r, const char *path, mode_t mode) must_check;
/* The directory of a link and the link to it. */
int restore_make_link(struct restore *r, const struct restore_place *p) must_check;

/* restore_clean.c: what is not in the backup is removed from the places; pg_control is, so that nothing starts. */
int restore_clean(struct restore *r) must_check;
int restore_disarm(struct restore *r) must_check;
bool restore_is_leftover(const struct store_entry *e);

/* restore_owner.c: owners of the manifest on this host. */
void restore_owner(struct restore *r, const char *user, const char *group, uid_t *uid, gid_t *gid);
void restore_warn_owners(struct restore *r);

/* restore_jobs.c: all files that are restored, cut into jobs for workers. */
struct restore_job {
	uint64_t bytes;	   /* plain */
	uint32_t first, n; /* of restore_jobs.rows */
	unsigned worker;   /* who has it, for the log */
	bool bundle;	   /* they lie in one bundle, by offset, or nothing is read of them */
};
struct restore_jobs {
	uint32_t *rows; /* of the manifest */
	VEC(struct restore_job) jobs; /* largest first */
};
void restore_cut_jobs(struct restore *r, struct restore_jobs *out);

/* restore_copy.c: all files, by workers; pg_control under CONTROL_TEMP. */
#define CONTROL_NAME "pg_data/global/pg_control"
#define CONTROL_TEMP "global/pg_control" TEMP_SUFFIX
int restore_copy(struct restore *r) must_check;
bool restore_is_left_out(const char *name); /* of the manifest: listed, never restored */

/* restore_plan.c: what is about to happen, after all else is settled and checked; warnings about room and WAL,
 * and ERR_BACKUP_SET from the check for WAL that cannot reach the target.  Nothing is changed. */
struct restore_plan;
int restore_plan(struct restore *r, struct restore_plan **out) must_check;
int restore_plan_check(const struct restore *r, const struct restore_plan *plan) must_check;

/* recovery.c: recovery settings and signal files (8.5).  The plan settles the type in force, refuses what cannot
 * be, and takes the files out of the manifest that are not to be restored; keeps: files directly in the data
 * directory that the restore leaves as they are (type preserve). */
int restore_plan_recovery(struct restore *r) must_check;
bool restore_keeps(const struct restore *r, const struct store_entry *e);
int restore_write_recovery(struct restore *r) must_check;

#endif
