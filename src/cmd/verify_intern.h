/*
 * verify: what the files of the command share.
 *
 * Order of work: info files (verify_info.c), manifests into objects (verify_backup.c, verify_objects.c), the archive's
 * files (verify_wal.c), reading all of it (verify_run.c), what that means for files stored as blocks (verify_blocks.c),
 * a second look at what is not there (verify_again.c), repair from other repositories (verify_repair.c), what follows
 * for recovery (verify_means.c), the report (verify_text.c).  With --archive none of that: verify_cluster.c.
 */
#ifndef CMD_VERIFY_INTERN_H
#define CMD_VERIFY_INTERN_H

#include "cmd/ctx.h"
#include "repo/file_check.h"
#include "repo/manifest.h"
#include "repo/wal_drop.h"
#include "repo/wal_gaps.h"

/* The report's columns. */
enum verify_count { COUNT_MISSING, COUNT_SUM, COUNT_SIZE, COUNT_OTHER, COUNTS };
struct verify_counts {
	uint64_t v[COUNTS];
};
void verify_count(struct verify_counts *c, enum check_state state); /* CHECK_OK: nothing */
uint64_t verify_counts_sum(const struct verify_counts *c);

/* --- stored files of backups: each once, whoever refers to it --- */

struct verify_object {
	const char *name; /* in the manifest */
	uint64_t offset;  /* in the bundle */
	uint64_t stored;  /* bytes that are read */
	uint64_t size;	  /* bytes that sum is of */
	struct sum sum;
	uint32_t label;	  /* who holds it: index into verify_objects.labels */
	uint32_t bundle;  /* 0: own file */
	uint8_t codec;
	uint8_t state;	  /* enum check_state */
	bool as_stored;	  /* sum and size are of the stored bytes */
	bool raw;
	bool empty;	  /* no restore reads it */
	uint32_t map;	  /* stored as blocks: index + 1 into verify_objects.maps; 0: stored whole */
};

/* Blocks of a file that lie in another backup. */
struct verify_need {
	uint32_t label;	 /* index into verify_objects.labels */
	uint32_t bundle; /* 0: own file */
	uint64_t begin, end; /* bytes of the stored file between which they all lie */
};

/* What a file stored as blocks consists of, according to its map. */
struct verify_map {
	uint64_t size; /* bytes of the whole file, whose SHA-1 sum is */
	struct sum sum;
	uint32_t block_size, sum_size;
	uint64_t map_size; /* bytes; what is stored of the file ends with the map */
	uint32_t list;	   /* that the map's references are of, up to the backup that holds it: index + 1 into lists;
			    * 0: the backup is not in it */
	uint32_t earlier;  /* index + 1 of the same file's blocks that were added before; 0: none */
	/* once the map was read: */
	const struct verify_need *needs;
	uint32_t needs_n;
	/* once those were looked at: */
	uint8_t state;	   /* enum check_state; of all the blocks */
	uint32_t guilty;   /* label of what is not right */
};

/* A list of references is one longer than the list that parent is. */
struct verify_list {
	uint32_t parent; /* index + 1; 0: the empty list */
	uint32_t label;	 /* its last */
	uint32_t n;
};

struct verify_label {
	const char *label;
	const char *pass; /* of its files; NULL: none */
};

struct verify_objects {
	struct arena *arena;
	VEC(struct verify_object) v;
	VEC(struct verify_label) labels;
	VEC(struct verify_map) maps;
	VEC(struct verify_list) lists;
	struct map *blocks; /* name of a file stored as blocks: index + 1 of what was added last */
	uint32_t *slots;    /* open hash of indexes + 1 */
	size_t slots_n;
};

/* Which objects a backup needs: one for each file that is stored. */
typedef VEC(uint32_t) verify_uses;

void verify_objects_init(struct verify_objects *o, struct arena *a);
uint32_t verify_label(struct verify_objects *o, const char *label, const char *pass);
/* Add what is not there yet.  Objects are the same if they lie in the same place and the same is expected of them.
 * map: what a file stored as blocks is said to be, NULL for others. */
uint32_t verify_object_add(struct verify_objects *o, const struct verify_object *object, const struct verify_map *map);
/* All files of a manifest that are stored somewhere.  uses: of this manifest's backup; NULL: only files whose blocks an
 * object there may need, that is, stored as blocks under the name of one. */
void verify_objects_take(struct verify_objects *o, const struct manifest *m, verify_uses *uses);
/* In the repository. */
const char *verify_object_path(struct arena *a, const char *stanza, const struct verify_objects *o,
	const struct verify_object *object);

/* The backups of a list in order: labels; n of them as list->n says. */
uint32_t *verify_list_labels(struct arena *a, const struct verify_objects *o, uint32_t list);

/* verify_blocks.c.  What an object with a map was in a manifest. */
struct manifest_file verify_map_row(const struct verify_objects *o, const struct verify_object *x);
/* In a worker: what a map that was read with its object, and proven, needs of other backups; -1: it is none. */
int verify_map_needs(struct arena *a, const struct verify_objects *o, const struct verify_object *x,
	const struct buf *stored, struct buf *needs) must_check;
/* Its needs as they came from a worker; false: that cannot be. */
bool verify_map_take(struct verify_objects *o, const struct verify_object *x, const void *needs, size_t len);

/* --- backups --- */

enum verify_status { VERIFY_VALID, VERIFY_INVALID, VERIFY_NO_MANIFEST, VERIFY_IN_PROGRESS };

struct verify_backup {
	const char *label;
	enum verify_status status;
	bool listed, on_disk;
	bool main_seen; /* backup.manifest was there: if it is not now, somebody removed the backup */
	bool gone;	/* removed while we looked */
	bool unknown;	/* no manifest could be used */
	const char *main_why, *copy_why; /* what is wrong with the manifest and its copy; NULL: nothing */
	const char *foreign; /* not looked into: what to say; NULL: no */
	const char *archive_id;
	const char *start, *stop; /* WAL; NULL: none needed */
	bool own_wal;		  /* has a copy of it */
	uint64_t bad_pages, bad_files; /* of the cluster, when it was taken */
	uint64_t total;
	uint64_t wrong; /* files, of all kinds */
	struct verify_counts counts;
	verify_uses uses;
};

/* --- the archive --- */

struct verify_wal {
	const char *path; /* in the repository */
	const char *name; /* last part of path */
	enum wal_kind kind;
	struct sum sum;
	enum codec codec;
	uint64_t size; /* as stored */
	int64_t mtime;
	bool judged;   /* result is known */
	bool told;     /* and was logged */
	bool twin;     /* another file has the same segment */
	struct check_result result;
};
typedef VEC(struct verify_wal) verify_wals;

struct verify_archive {
	const char *id;
	const char *root;	     /* its folder */
	const struct archive_db *db; /* NULL: of no cluster of the stanza */
	struct wal_place place;
	struct wal_expect expect;    /* segment_size 0: not known */
	uint32_t names_size;	     /* then: a segment size for the arithmetic of names */
	bool listed;		     /* at least once */
	verify_wals files;	     /* by path */
	VEC(struct timeline_history) histories;
	strvec old_names; /* first and last segment of backups, as .backup files tell: pairs */
	strvec unlisted; /* what of it could not be read, and why */
	wal_drops drops; /* what is noted as dropped */
	/* judged: */
	wal_haves have;
	wal_ranges ranges; /* of listed backups and of former ones */
	wal_gap_list gaps;
	VEC(uint32_t) no_history; /* timelines whose history is missing, though somebody would need it */
	uint64_t total, valid; /* segments */
	struct verify_counts counts;
};

/* --- all of it --- */

struct verify {
	struct arena *arena;
	const struct config *cfg;
	const struct ctx_repo *repo;
	const char *stanza;
	struct archive_info archive;
	struct backup_info backup;
	bool has_archive, has_backup; /* usable */
	bool sealed;		      /* there is something encrypted that our passphrase, or none, does not open */
	const char *set;	      /* the one backup to look at; NULL: all */
	VEC(struct verify_backup) backups; /* by label */
	struct verify_objects objects;
	VEC(struct verify_archive) archives;
	strvec lines; /* of the report, behind its status: what it cannot do */
	strvec finds; /* what is wrong and what follows from it */
	size_t repaired; /* WAL files */
};

/* Something is wrong: the command fails, and this is said. */
void verify_find(struct verify *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Both copies of each kind.  Load what can be used; each file that cannot, or differs, is a finding. */
int verify_infos(struct verify *v) must_check;
/* 0 and a manifest, STORE_ABSENT if there is none at all, -1 (record set: neither file can be used). */
int verify_manifest(struct arena *a, struct verify *v, struct verify_backup *b, struct manifest **out) must_check;

/* 0; 1 if the backup asked for (--set) does not exist, with a line of the report; -1. */
int verify_backups(struct verify *v) must_check;
int verify_archives(struct verify *v) must_check;

/* List one archive anew: files, histories, ranges.  Segments and partials are only named, all else is read. */
int verify_archive_list(struct verify *v, struct verify_archive *ar) must_check;
/* As PostgreSQL calls it. */
const char *verify_pushed_name(struct arena *a, const struct verify_wal *w);
/* A mover without a destination: one segment or partial.  0, or -1 if the process was told to end. */
int verify_wal_check(struct arena *a, const struct verify_archive *ar, const struct verify_wal *w,
	struct check_result *out) must_check;
/* Of the first segment that can tell.  Where none can, the largest usual one that all names are possible for serves
 * the arithmetic of names only. */
void verify_segment_size(struct verify_archive *ar);
/* From files to have, counts, ranges and gaps. */
void verify_archive_judge(struct verify *v, struct verify_archive *ar);
/* The archive of a backup, NULL if it is not there. */
struct verify_archive *verify_archive_of(struct verify *v, const struct verify_backup *b);
/* Segments that a backup needs and that are missing or of no use; ar may be NULL. */
struct verify_lack {
	const char *name;
	bool missing; /* else of no use */
};
typedef VEC(struct verify_lack) verify_lacks;
void verify_backup_lacks(struct arena *a, const struct verify_archive *ar, const struct verify_backup *b,
	verify_lacks *out);
/* The same of all backups that the archive serves. */
void verify_archive_lacks(struct arena *a, struct verify *v, const struct verify_archive *ar, verify_lacks *out);
uint32_t verify_segment_bytes(const struct verify_archive *ar);
/* One line per range without a gap, at the reference's level. */
void verify_archive_log(const struct verify_archive *ar);

int verify_run(struct verify *v) must_check;
/* Settle for each file stored as blocks whether all that its map says is there and right. */
int verify_blocks(struct verify *v) must_check;
int verify_again(struct verify *v) must_check;
/* List and judge one archive anew, without backups that are gone.  What is known of a file stays known, but for those that are called missing. */
int verify_archive_look_again(struct verify *v, struct verify_archive *ar) must_check;
/* Replace what is damaged or missing.  What could not be is a finding as before; a failure ends the command. */
int verify_repair(struct verify *v) must_check;
void verify_means(struct verify *v);

/* What a file's state is to a reader of the log: the reference's line. */
void verify_log_file(const char *path, const struct check_result *r);

/* verify --archive: 0, 1 or 2 as the report's worst check is OK, WARNING or FAILURE; -1. */
int verify_cluster(struct arena *a, const struct config *cfg) must_check;

/* The report; false and nothing added if there is nothing to report. */
bool verify_text(const struct verify *v, bool verbose, struct buf *out);

#endif
