/*
 * genman: parts of a manual page in man(7), made from the tables of commands, options and exit
 * codes.
 *
 * Everything here appends whole lines, and leaves the text at the beginning of one.
 */
#ifndef GENMAN_H
#define GENMAN_H

#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"

/* Running text: whatever means something to roff is escaped, each sentence begins a line. */
void roff_add(struct buf *out, const char *text);

/* The options that a command honours and help shows, under a heading per theme. */
void genman_options(struct arena *a, enum command c, struct buf *out);

/* Exit codes with their meanings: those named in "26 50", or all of them for "".  ERR_FORMAT for a
 * code that does not exist or that nobody explained. */
int genman_exits(struct arena *a, const char *codes, struct buf *out) must_check;

#endif
