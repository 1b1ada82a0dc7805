/*
 * lines: cut a stream into lines for parsers.
 */
#ifndef STREAM_LINES_H
#define STREAM_LINES_H

#include "stream/sink.h"

/* Called per line, without its LF, NUL-terminated, writable, valid during the call.  A last line without
 * LF counts.  -1 stops the stream with the failure record set. */
typedef int line_fn(void *ctx, char *line, size_t len);

/* A line longer than max bytes is ERR_FORMAT.  finish does not pass on (this is an end of a chain). */
struct sink *sink_lines(struct arena *a, size_t max, line_fn *fn, void *ctx);

#endif
