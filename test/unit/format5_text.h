/*
 * format5_text: info files for tests: the samples of the format's description, and texts that a
 * test makes up, with the checksum that belongs to them.
 */
#ifndef TEST_FORMAT5_TEXT_H
#define TEST_FORMAT5_TEXT_H

#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/str.h"
#include "form/ini.h"
#include "store/store.h"

/* test/data/format5/NAME */
static inline char *sample(struct arena *a, const char *name)
{
	const char *srcdir = getenv("srcdir");
	struct buf b;

	buf_init(&b, a);
	if (file_read(
		    arena_printf(a, "%s/test/data/format5/%s", srcdir == NULL ? "." : srcdir, name),
		    1 << 20, &b) != 0)
		fail_msg("%s", err_msg());
	return b.data;
}

/* text with each occurrence of from replaced */
static inline char *replaced(struct arena *a, const char *text, const char *from, const char *to)
{
	struct buf b;
	const char *at;

	buf_init(&b, a);
	if (strstr(text, from) == NULL)
		fail_msg("'%s' is not in the text", from);
	for (; (at = strstr(text, from)) != NULL; text = at + strlen(from)) {
		buf_add(&b, text, (size_t)(at - text));
		buf_adds(&b, to);
	}
	buf_adds(&b, text);
	return b.data;
}

/* The sections of text written again with a right checksum; key and value part at the last "={", or
 * else at the first "=". */
static inline char *signed_text(struct arena *a, const char *text)
{
	struct buf b;
	strvec lines = str_split(a, text, '\n');

	buf_init(&b, a);
	struct ini_writer *w = ini_writer_new(a, sink_buf(a, &b));
	for (size_t i = 0; i < lines.n; i++) {
		const char *line = lines.v[i], *value = NULL;
		int rc;

		if (line[0] == '\0')
			continue;
		if (line[0] == '[' && line[1] == 'b' &&
			strstr(lines.v[i + 1], "backrest-checksum") != NULL)
			break;
		if (line[0] == '[' && str_ends(line, "]"))
			rc = ini_section(w, arena_strndup(a, line + 1, strlen(line) - 2));
		else {
			for (const char *at = line; (at = strstr(at, "={")) != NULL; at++)
				value = at;
			if (value == NULL)
				value = strchr(line, '=');
			rc = ini_entry(w, arena_strndup(a, line, (size_t)(value - line)), value + 1,
				strlen(value + 1));
		}
		if (rc != 0)
			fail_msg("%s", err_msg());
	}
	if (ini_finish(w) != 0)
		fail_msg("%s", err_msg());
	return b.data;
}

static inline void put_text(struct store *s, const char *path, const char *text)
{
	if (store_write(s, path, text, strlen(text), NULL) != 0)
		fail_msg("%s", err_msg());
}

static inline char *get_text(struct arena *a, struct store *s, const char *path)
{
	struct buf b;

	buf_init(&b, a);
	if (store_read(s, path, 1 << 20, false, &b) != 0)
		fail_msg("%s", err_msg());
	return b.data;
}

#endif
