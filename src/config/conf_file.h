/*
 * conf_file: the text of a configuration file as entries, exactly as the file says (reference
 * cli.md 8.2): names and sections keep their case, values keep '#', ';' and '\', repeated keys stay
 * in order.
 *
 * iniparser does the reading, but its own grammar differs in each of these points and from version
 * to version.  So the text is tokenized and checked here first and handed to it as hex in short
 * pieces, in memory that never reaches a disk; what it gives back is decoded.
 */
#ifndef CONFIG_CONF_FILE_H
#define CONFIG_CONF_FILE_H

#include "base/err.h"
#include "base/vec.h"

struct conf_entry {
	const char *section, *key, *value; /* value may be "" */
	const char *file;
	unsigned line;
};
typedef VEC(struct conf_entry) conf_entries;

/* Append the entries of a text; file is its name in messages.  ERR_FORMAT for text that is no
 * configuration; such a message never shows more than the name on the bad line. */
int conf_parse(struct arena *a, const char *file, const char *text, size_t len,
	conf_entries *out) must_check;

/* The same for a file.  ERR_FILE_MISSING, ERR_FILE_OPEN, ERR_FILE_READ. */
int conf_read(struct arena *a, const char *path, conf_entries *out) must_check;

#endif
