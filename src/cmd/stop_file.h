/*
 * stop_file: the file that keeps commands from running on this host (format/repository.md 9.3): empty, mode
 * 0640, <lock-path>/<stanza>.stop or <lock-path>/all.stop.
 */
#ifndef CMD_STOP_FILE_H
#define CMD_STOP_FILE_H

#include "base/err.h"
#include "config/config.h"

/* Path of the file of this stanza; NULL: of all stanzas. */
char *stop_file_path(struct arena *a, const struct config *cfg, const char *stanza);

/* 1 if this stanza's own file is there, 0 if it is proven absent, -1 unknown. */
int stop_file_exists(const struct config *cfg, const char *stanza) must_check;

/* Make it, durably: 0, STOP_FILE_WAS_THERE, or -1.  Success means that commands see it: a name that is taken
 * by a link without destination is a failure. */
enum { STOP_FILE_WAS_THERE = 1, STOP_FILE_WAS_ABSENT = 1 };
int stop_file_make(const struct config *cfg, const char *stanza) must_check;

/* Remove it, durably: 0, STOP_FILE_WAS_ABSENT, or -1. */
int stop_file_remove(const struct config *cfg, const char *stanza) must_check;

#endif
