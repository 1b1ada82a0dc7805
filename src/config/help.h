/*
 * help: texts for commands and options, from the option table; the man pages come from the same texts.
 */
#ifndef CONFIG_HELP_H
#define CONFIG_HELP_H

#include "base/buf.h"
#include "config/config.h"
#include "base/err.h"

/* cfg->params: none, COMMAND, or COMMAND OPTION. */
int help_print(struct arena *a, const struct config *cfg, struct buf *out) must_check;

#endif
