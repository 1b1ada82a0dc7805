/*
 * ini: the grammar of repository info files (format/repository.md 2.1), its checksum included.
 *
 * Not the user's configuration: that is iniparser's.  No comments, nothing trimmed; key and value are
 * split at the first '=' after which the rest is valid JSON.
 */
#ifndef FORM_INI_H
#define FORM_INI_H

#include "form/json.h"
#include "stream/hash.h"
#include "stream/sink.h"

/* Called per entry; strings are valid during the call only.  value is the raw JSON text, known to be
 * valid.  The checksum itself is not delivered. */
typedef int ini_fn(void *ctx, const char *section, const char *key, const char *value, size_t value_len);

/*
 * An end of a chain that parses what is pushed, computes the checksum of 2.6 as it goes, and at finish
 * compares it with backrest-checksum (ERR_CHECKSUM if missing or different).  Entries are delivered as
 * they come, so the caller must not trust them before finish returned 0.  ERR_FORMAT with the line's
 * number for what is no info file: CR LF, NUL bytes, no key, no section, lines above 16 MiB.
 */
struct sink *ini_reader(struct arena *a, ini_fn *fn, void *ctx);

/* Writer: sections and keys in the caller's order; ini_finish adds the trailing [backrest] checksum and
 * finishes the sink.  Empty sections are the caller's to avoid.  A key with LF is ERR_FORMAT. */
struct ini_writer;
struct ini_writer *ini_writer_new(struct arena *a, struct sink *to);
int ini_section(struct ini_writer *w, const char *name) must_check;
int ini_entry(struct ini_writer *w, const char *key, const char *value, size_t value_len) must_check;
int ini_finish(struct ini_writer *w) must_check;

#endif
