/*
 * store: where files are.  One interface over the drivers; everything common to drivers is here.
 *
 * Paths are relative to the store's root, "" is the root itself, and never leave it (path_is_safe);
 * links inside are followed by get, put and list (the operator's own directory links), not by stat.
 * A link that is the root itself is always followed.
 *
 * A question has three answers: present, proven absent, unknown (-1).  Unknown is never absent.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <sys/types.h>
#include "base/arena.h"
#include "base/err.h"
#include "base/vec.h"
#include "store/pipe.h"
#include "stream/sink.h"

enum store_type { STORE_FILE, STORE_DIR, STORE_LINK, STORE_SPECIAL };

struct store_entry {
	const char *name; /* without directories */
	enum store_type type;
	uint64_t size;	  /* bytes, files only */
	int64_t mtime;	  /* Unix seconds */
	int64_t ctime;	  /* Unix seconds: last change of anything about it; 0 = not known */
	mode_t mode;	  /* permission bits, 0777 mask */
	uid_t uid;
	gid_t gid;
	/* Names of both, told by the host where the file is ("": it has none for it); NULL: the numbers are this host's. */
	const char *user, *group;
	bool shared;	    /* files only: it has another name somewhere (a hard link) */
	const char *target; /* links only: as readlink gives it */
	/* Links only: what the destination itself is (lstat of it; a link again has no
	 * target_entry of its own); NULL if it does not exist. */
	const struct store_entry *target_entry;
	int target_error; /* errno: the destination leads nowhere or where we may not look */
};

enum { STORE_ABSENT = 1 }; /* "proven absent", where missing_ok allows it */

struct get_opts {
	bool missing_ok;  /* absent: return STORE_ABSENT without touching the sink */
	uint64_t offset;  /* bytes */
	uint64_t length;  /* at most; 0 = to the end */
	bool exact;	  /* length must be there, else ERR_FILE_READ */
	const struct pipe_spec *spec; /* applied where the file is; NULL: bytes as they are */
	struct pipe_result *result;   /* required with spec; page list: as long as the store */
	/* Held back until the caller knows that it wants them: when set, called once with the
	 * entry (fstat of the opened file) before the first byte; -1 stops. */
	int (*opened)(void *ctx, const struct store_entry *e);
	void *ctx;
};

struct put_opts {
	bool atomic;	/* temporary name "<name>.<pid>-<8 hex>.pgbackrest.tmp", rename at finish */
	/* Atomic only: at finish the file gets the path that *final_path says then, in the same directory; for
	 * names that come from the content.  NULL: the path of store_put. */
	const char *const *final_path;
	bool create_new; /* fail with ERR_FILE_EXISTS instead of replacing */
	bool no_fsync;	/* the caller promises a barrier (store_sync) before success is reported */
	bool no_dir_sync; /* do not sync the directory at finish (the caller does) */
	mode_t mode;	/* 0: 0640 */
	bool set_mtime;
	int64_t mtime;
	bool set_owner;
	uid_t uid;
	gid_t gid;
	uint64_t size_hint; /* expected bytes, for preallocation; 0 = unknown */
	bool sparse;	/* long runs of zeros become holes */
	/* In place only: bytes in any order.  A write goes to where *at says then (bytes from the start) and can be
	 * read back at once; with sparse no byte may be written twice.  At finish the file has size_hint bytes,
	 * behind which nothing may be written; what never was is zeros or, with keep, what was there.  NULL: one
	 * after another. */
	const uint64_t *at;
	/* With at: a file that must be there is changed where it is written, and stays as it is by then if this is
	 * not finished.  ERR_FILE_OPEN if it has further names (hard links), which must not change. */
	bool keep;
};

/* -1 stops the listing with the failure record set. */
typedef int store_list_fn(void *ctx, const struct store_entry *e);

struct store;

/* Paths are checked and options are never NULL when a driver is called.  get returns STORE_ABSENT
 * whether or not missing_ok is set, remove and remove_dir too; they need not be durable before
 * sync_dir. */
struct store_driver {
	const char *name; /* "posix" */
	int (*get)(struct store *s, const char *path, const struct get_opts *o, struct sink *to);
	struct sink *(*put)(struct arena *a, struct store *s, const char *path, const struct put_opts *o);
	int (*list)(struct store *s, const char *dir, store_list_fn *fn, void *ctx);
	int (*stat)(struct arena *a, struct store *s, const char *path, struct store_entry *out);
	int (*remove)(struct store *s, const char *path); /* a file or link */
	int (*remove_dir)(struct store *s, const char *path); /* an empty directory */
	/* optional from here */
	int (*make_dir)(struct store *s, const char *path, mode_t mode);
	int (*link)(struct store *s, const char *target, const char *path); /* symbolic, replaces */
	int (*hard_link)(struct store *s, const char *from, const char *path); /* STORE_ABSENT as get */
	int (*sync_dir)(struct store *s, const char *dir);
	/* Mode (if not 0), owner and mtime of what is there, as put_opts says; not through a link. */
	int (*touch)(struct store *s, const char *path, const struct put_opts *o);
	/* As store_ahead and store_foresee; without them there is nothing to gain. */
	int (*ahead)(struct store *s, const char *path, const struct get_opts *o);
	int (*foresee)(struct store *s, const char *dir);
};

struct store {
	const struct store_driver *driver;
	const char *root; /* for messages */
	struct arena *arena; /* the store's own */
	size_t buffer_size; /* bytes per read; may be set; at least 64 KiB are used */
	bool opened; /* what is sealed with a repository's passphrase comes opened from here: info files */
};

struct store *store_posix(struct arena *a, const char *root);
/* For tests: in memory (links are kept, not followed; mtime is 0 unless set); and around a store,
 * failing or cutting short the n-th call of a verb. */
struct store *store_mem(struct arena *a);
struct store_fault {
	/* "get", "put", "write", "finish", "list", "stat", "remove", "sync"; "read": a get that
	 * breaks after half of its bytes were pushed */
	const char *verb;
	unsigned nth;	  /* from 1; 0 = never */
	bool for_good;	  /* fail all later ones too */
	unsigned calls;	  /* counts, for the loop over every n */
};
struct store *store_faulty(struct arena *a, struct store *inner, struct store_fault *f);

/* Push the file into the sink, then finish it.  0, STORE_ABSENT, -1 (ERR_FILE_MISSING if absent
 * and not missing_ok).  opts NULL: all defaults. */
int store_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to) must_check;

/*
 * A get that will follow, in this order and with equal options (opened, ctx and result do not matter): a driver that
 * waits for another host asks for it now.  Only a hint: what cannot be asked for ahead is not, and a get of something
 * else drops what was.
 */
int store_ahead(struct store *s, const char *path, const struct get_opts *o) must_check;

/* Listings of this directory and of all below it will follow, each once: a driver that waits for another host
 * asks for all of them at once.  Only a hint. */
int store_foresee(struct store *s, const char *dir) must_check;

/* A sink that becomes the file at finish (fsync, rename, directory fsync as asked); undone by the
 * arena. Missing directories are made (0750).  Not atomic: the file appears at once, for
 * unpublished places. A file in place that has further names (hard links) gets a new inode: those
 * keep the old content. If only the directory's fsync fails after a rename, finish fails and the
 * new file stays. */
struct sink *store_put(struct arena *a, struct store *s, const char *path, const struct put_opts *o)
	must_check;

/* Entries in order of name (bytes), "." and ".." left out.  0, STORE_ABSENT if the directory is
 * proven absent, -1.  The entry is valid during the call; the callback may use the store. */
int store_list(struct store *s, const char *dir, store_list_fn *fn, void *ctx) must_check;

/* 0 present (out filled, strings in the arena), STORE_ABSENT, -1. */
int store_stat(struct arena *a, struct store *s, const char *path, struct store_entry *out) must_check;

/* Both are durable when they report success. */
int store_remove(struct store *s, const char *path, bool missing_ok) must_check;
int store_remove_tree(struct store *s, const char *path) must_check; /* absent is fine */
/* Many files of one directory with one sync; absent ones are fine.  After a failure some are gone. */
int store_remove_files(struct store *s, const char *dir, const strvec *names) must_check;
int store_make_dir(struct store *s, const char *path, mode_t mode) must_check; /* with parents */
int store_link(struct store *s, const char *target, const char *path) must_check;
/* One more name for the file at from; path must not exist (ERR_FILE_EXISTS), missing directories are made.  0,
 * STORE_ABSENT if from is proven absent, -1 (ERR_FEATURE where storage or file system has no hard links).
 * Durable when the directory is synced. */
int store_hard_link(struct store *s, const char *from, const char *path) must_check;
int store_sync_dir(struct store *s, const char *dir) must_check;
int store_touch(struct store *s, const char *path, const struct put_opts *o) must_check;

/* Whole small files. */
int store_read(struct store *s, const char *path, uint64_t max, bool missing_ok, struct buf *out)
	must_check;
int store_write(struct store *s, const char *path, const void *data, size_t len,
	const struct put_opts *o) must_check;

/* Root and path as one text for messages. */
char *store_name(struct arena *a, const struct store *s, const char *path);

/* For drivers around another store: a store that is like inner in all but its driver, from which everything optional goes
 * that inner cannot do either. */
void store_wrap(struct arena *a, const struct store *inner, struct store_driver *driver, struct store *out);

/* For drivers: "<path>.<pid>-<8 hex>.pgbackrest.tmp"; readers of format 5 ignore what ends so. */
char *store_temp_name(struct arena *a, const char *path);

/* For drivers: the head of what a get pushes into, the spec's chain if there is one; and after
 * it, the page list of the result moves to where it lives as long as the store. */
struct sink *store_get_chain(struct arena *a, const struct get_opts *o,
	ssize_t (*reread)(void *, void *, size_t, uint64_t), void *ctx, struct sink *to);
void store_keep_result(struct store *s, const struct get_opts *o);

#endif
