/*
 * conf_file: tokenize a configuration file, let iniparser carry it, decode what it carried.
 *
 * What iniparser sees has one section per entry (e00001) with the keys l (line), sNN, kNN and vNN
 * (pieces of section, key and value in hex), all far below its line limit; nothing in it can hit
 * one of its special characters.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if HAVE_INIPARSER_INIPARSER_H
#include <iniparser/iniparser.h>
#else
#include <iniparser.h>
#endif
#include "base/enc.h"
#include "base/file.h"
#include "base/str.h"
#include "base/sys.h"
#include "config/conf_file.h"

enum { PIECE = 200, FILE_MAX = 16 * 1024 * 1024 };

/* Releases before 4.1 have no such function. */
extern void iniparser_set_error_callback(int (*errback)(const char *, ...)) __attribute__((weak));

static int silent(const char *format, ...)
{
	return 0;
}

struct text {
	const char *file;
	unsigned line;
	const char *section; /* NULL before the first one */
	struct buf *tokens;
	unsigned entries;
};

static const char name_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/* The name at the start of a bad line; what follows could be a secret. */
static int bad_line(struct text *t, const char *what, const char *line)
{
	size_t lead = strspn(line, "[=");
	size_t shown = lead + strspn(line + lead, lead ? "" : name_chars);

	if (*line == '[')
		shown = lead + strcspn(line + lead, "=");
	err_set(ERR_FORMAT, "%s at line %u: %.*s%s", what, t->line, (int)shown, line,
		line[shown] ? "..." : "");
	return err_hint("the line is in configuration file '%s'.", t->file);
}

static void add_pieces(struct buf *b, char kind, const char *data, size_t len)
{
	for (size_t at = 0, n = 0; at < len; at += PIECE, n++) {
		char hex[2 * PIECE + 1];
		size_t part = len - at < PIECE ? len - at : PIECE;

		hex_encode(data + at, part, hex);
		buf_addf(b, "%c%zu = ", kind, n);
		buf_add(b, hex, 2 * part);
		buf_addc(b, '\n');
		explicit_bzero(hex, sizeof(hex));
	}
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

static size_t trimmed(const char *p, const char *end)
{
	while (end > p && is_space(end[-1]))
		end--;
	return (size_t)(end - p);
}

static int take_section(struct arena *a, struct text *t, const char *line, size_t len)
{
	if (line[len - 1] != ']')
		return bad_line(t, "ini section should end with ]", line);
	if (len == 2)
		return bad_line(t, "invalid empty section", line);
	t->section = arena_strndup(a, line + 1, len - 2);
	return 0;
}

static int take_entry(struct text *t, const char *line, size_t len)
{
	const char *equal = memchr(line, '=', len);

	if (!t->section)
		return bad_line(t, "key/value found outside of section", line);
	if (!equal)
		return bad_line(t, "missing '=' in key/value", line);
	if (equal == line)
		return bad_line(t, "key is zero-length", line);

	const char *value = skip_space(equal + 1, line + len);

	buf_addf(t->tokens, "[e%u]\nl = %u\n", ++t->entries, t->line);
	add_pieces(t->tokens, 's', t->section, strlen(t->section));
	add_pieces(t->tokens, 'k', line, trimmed(line, equal));
	add_pieces(t->tokens, 'v', value, (size_t)(line + len - value));
	return 0;
}

static int tokenize(struct arena *a, struct text *t, const char *data, size_t len)
{
	for (const char *p = data, *end = data + len; p < end;) {
		const char *feed = memchr(p, '\n', (size_t)(end - p));
		const char *stop = feed ? feed : end;
		const char *start = skip_space(p, stop);
		size_t size = trimmed(start, stop);
		SCOPED_ARENA(scratch);
		char *line = arena_strndup(scratch, start, size);
		int result = 0;

		t->line++;
		if (memchr(start, '\0', size))
			result = bad_line(t, "invalid zero byte", "");
		else if (*line == '[')
			result = take_section(a, t, line, size);
		else if (size > 0 && *line != '#')
			result = take_entry(t, line, size);
		explicit_bzero(line, size);
		if (result != 0)
			return -1;
		p = feed ? feed + 1 : end;
	}
	return 0;
}

static char *join_pieces(struct arena *a, const dictionary *d, unsigned entry, char kind)
{
	char key[64];
	size_t pieces = 0, len = 0;

	for (;; pieces++) {
		snprintf(key, sizeof(key), "e%u:%c%zu", entry, kind, pieces);

		const char *piece = iniparser_getstring(d, key, NULL);

		if (!piece)
			break;
		len += strlen(piece) / 2;
	}

	char *text = arena_zalloc(a, len + 1);
	size_t at = 0;

	for (size_t n = 0; n < pieces; n++) {
		snprintf(key, sizeof(key), "e%u:%c%zu", entry, kind, n);

		char *piece = (char *)iniparser_getstring(d, key, "");
		size_t part = strlen(piece) / 2;

		if (!hex_decode(piece, text + at, part))
			return NULL;
		explicit_bzero(piece, 2 * part);
		at += part;
	}
	return text;
}

static int decode(struct arena *a, const struct text *t, const dictionary *d, conf_entries *out)
{
	for (unsigned n = 1; n <= t->entries; n++) {
		char key[64];

		snprintf(key, sizeof(key), "e%u:l", n);

		struct conf_entry e = {
			.line = (unsigned)iniparser_getint(d, key, 0),
			.section = join_pieces(a, d, n, 's'),
			.key = join_pieces(a, d, n, 'k'),
			.value = join_pieces(a, d, n, 'v'),
			.file = t->file,
		};

		if (e.line == 0 || !e.section || !e.key || !e.value)
			return err_set(ERR_FILE_READ,
				"unable to read configuration file '%s': iniparser "
				"lost an entry",
				t->file);
		vec_push(out, e);
	}
	return 0;
}

/* iniparser opens files by name only; /proc names the memory. */
static int carry(struct arena *a, const struct text *t, conf_entries *out)
{
	SCOPED_ARENA(scratch);
	int fd = memfd_create("pgstrata-configuration", MFD_CLOEXEC);

	if (fd < 0)
		return err_sys(
			ERR_FILE_OPEN, "unable to get memory for configuration file '%s'", t->file);
	fd_defer_close(scratch, fd);
	if (sys_write_full(fd, t->tokens->data, t->tokens->len) != 0)
		return err_sys(ERR_FILE_WRITE, "unable to hold configuration file '%s' in memory",
			t->file);
	if (iniparser_set_error_callback)
		iniparser_set_error_callback(silent);

	dictionary *d = iniparser_load(arena_printf(scratch, "/proc/self/fd/%d", fd));

	if (!d) {
		err_set(ERR_FILE_OPEN,
			"unable to read configuration file '%s' through /proc/self/fd", t->file);
		return err_hint("is /proc mounted?");
	}

	int result = decode(a, t, d, out);

	iniparser_freedict(d);
	return result;
}

int conf_parse(struct arena *a, const char *file, const char *text, size_t len, conf_entries *out)
{
	SCOPED_ARENA(scratch);
	struct buf tokens;
	struct text t = {.file = arena_strdup(a, file), .tokens = &tokens};

	/* Roomy enough that it never moves and leaves a copy behind in freed memory. */
	buf_init(&tokens, scratch);
	buf_reserve(&tokens, 32 * len + 4096);

	int result = tokenize(a, &t, text, len);

	if (result == 0 && t.entries > 0)
		result = carry(a, &t, out);
	explicit_bzero(tokens.data, tokens.len);
	return result;
}

int conf_read(struct arena *a, const char *path, conf_entries *out)
{
	SCOPED_ARENA(scratch);
	struct buf text;

	buf_init(&text, scratch);
	if (file_read(path, FILE_MAX, &text) != 0)
		return -1;

	int result = conf_parse(a, path, text.data, text.len, out);

	explicit_bzero(text.data, text.len);
	return result;
}
