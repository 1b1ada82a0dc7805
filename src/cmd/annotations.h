/*
 * annotations: notes as the user gives them, for backup and annotate.
 */
#ifndef CMD_ANNOTATIONS_H
#define CMD_ANNOTATIONS_H

#include "base/err.h"
#include "config/config.h"

/* ERR_OPTION_VALUE if a name cannot be stored: format 5 writes names unescaped and reads at most 66 bytes of
 * one (format/repository.md 2.2), so that a wrong name would make the whole file unreadable. */
int annotations_check(const config_pairs *given) must_check;

#endif
