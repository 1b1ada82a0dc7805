/*
 * barrier: one sync for many files.
 *
 * Writing 100,000 small files with an fsync each costs minutes; syncing the file systems that hold them once
 * gives the same promise.  A barrier must be opened before the first write, because the kernel reports a
 * failed write-back only to descriptors that were open when it happened.
 */
#ifndef BASE_BARRIER_H
#define BASE_BARRIER_H

#include "base/err.h"

struct barrier;

struct barrier *barrier_new(struct arena *a);

/* The file system that holds this directory takes part. */
int barrier_add(struct barrier *b, const char *dir) must_check;

/* Everything written so far below the directories is durable, or ERR_FILE_SYNC. */
int barrier_sync(struct barrier *b) must_check;

#endif
