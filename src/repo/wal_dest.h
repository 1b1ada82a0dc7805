/*
 * wal_dest: a file of this host that is there as a whole or not at all.
 */
#ifndef REPO_WAL_DEST_H
#define REPO_WAL_DEST_H

#include "stream/sink.h"

#define WAL_DEST_TEMP ".pgstrata.tmp-" /* behind the name, the writer's process id behind it */

/* The temporary name beside a path, for this process; nothing is there any more (only a dead process can have left
 * it).  NULL: ERR_FILE_REMOVE. */
char *wal_dest_temp(struct arena *a, const char *path) must_check;

/* A sink that becomes the file at finish: 0600, by rename, replacing what is there; undone by the arena.  Not
 * fsynced: PostgreSQL syncs what it keeps, and asks for anything else again after a crash. */
struct sink *wal_dest_new(struct arena *a, const char *path) must_check;

#endif
