/*
 * log: levels to stdout, stderr and a file, in the reference's line format.
 *
 * "2026-11-20 11:30:47.722 P00   INFO: text" on stdout and in the file (time left out without
 * timestamps); "WARN: text" on stderr.  A message whose level stderr covers goes there instead of
 * stdout.  Each line is one write(2), so that workers may share the descriptors.  Continuation lines
 * of a message are indented to the column after "LEVEL: ".  Messages are cut at 32 KiB.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DETAIL, LOG_DEBUG, LOG_TRACE };

struct log_config {
	enum log_level console;	     /* stdout */
	enum log_level stderr_level; /* stderr, instead of stdout */
	enum log_level file;
	bool timestamp;
	bool dry_run;		     /* "[DRY-RUN] " on every line */
	unsigned process_width;	     /* digits after P: 2, or 3 if process-max > 99 */
};

/* Before log_configure: warnings and errors on stderr, without time. */
void log_configure(const struct log_config *cfg);

/* Append to a file (0640), writing the banner "-------------------PROCESS START-------------------"
 * (after an empty line if the file has content) before the first line.  A file that cannot be opened
 * is a warning ("NOTE: process will continue without log file."), never a failure. */
void log_file_open(const char *path);
void log_file_close(void);

/* For processes that close what they do not need; -1: none. */
int log_file_descriptor(void);

/* The number after P: 0 in the main process, 1.. in workers. */
void log_process(unsigned number);

bool log_wants(enum log_level level);

void log_print(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_warn(...) log_print(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_print(LOG_INFO, __VA_ARGS__)
#define log_detail(...) log_print(LOG_DETAIL, __VA_ARGS__)
#define log_debug(...) log_print(LOG_DEBUG, __VA_ARGS__)

/* The failure record (code, message, hints) as one line "ERROR: [055]: ...".  The record stays. */
void log_failure(void);

/* One progress line on stderr, rewritten in place, only if stderr is a terminal and at most ten times
 * a second; the next log line clears it.  NULL ends it. */
void log_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "warn" -> LOG_WARN; -1 for an unknown word (no failure is set). */
int log_level_parse(const char *word);

#endif
