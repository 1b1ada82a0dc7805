/*
 * ini: repository info files, reader and writer.
 *
 * Both feed the same digest: the checksum is taken over the entries as one JSON object, keys
 * escaped, values as they stand (format/repository.md 2.6), so what a reader accepts is what a
 * writer would have signed.  Text is handed on in pieces of PIECE bytes; no file is ever held
 * whole.
 */
#include "form/ini.h"

#include <string.h>
#include "stream/lines.h"

#define PIECE ((size_t)64 * 1024)
#define LINE_MAX_BYTES ((size_t)16 * 1024 * 1024) /* the largest buffer-size there is */

static const char checksum_section[] = "backrest";
static const char checksum_key[] = "backrest-checksum";

/* ---- digest ---- */

struct digest {
	struct sha1 *sha1;
	struct buf pending;
	struct buf section; /* of the entry that was fed last */
	bool any;
};

static void digest_init(struct digest *d, struct arena *a)
{
	d->sha1 = sha1_new(a);
	buf_init(&d->pending, a);
	buf_init(&d->section, a);
	d->any = false;
	buf_addc(&d->pending, '{');
}

static void digest_flush(struct digest *d)
{
	sha1_add(d->sha1, d->pending.data, d->pending.len);
	buf_reset(&d->pending);
}

static void digest_section(struct digest *d, const char *section)
{
	buf_adds(&d->pending, d->any ? "},\"" : "\"");
	buf_adds(&d->pending, section);
	buf_adds(&d->pending, "\":{");
	buf_reset(&d->section);
	buf_adds(&d->section, section);
	d->any = true;
}

static void digest_entry(
	struct digest *d, const char *section, const char *key, const char *value, size_t value_len)
{
	if (!d->any || strcmp(d->section.data, section) != 0)
		digest_section(d, section);
	else
		buf_addc(&d->pending, ',');
	json_quote(&d->pending, key, strlen(key));
	buf_addc(&d->pending, ':');
	buf_add(&d->pending, value, value_len);
	if (d->pending.len >= PIECE)
		digest_flush(d);
}

static void digest_end(struct digest *d, char hex[SHA1_HEX + 1])
{
	struct sum sum;

	buf_adds(&d->pending, "}}");
	digest_flush(d);
	sha1_end(d->sha1, &sum);
	sum_hex(&sum, hex);
}

/* ---- reader ---- */

struct reader {
	struct sink sink;
	struct sink *lines;
	ini_fn *fn;
	void *ctx;
	struct digest digest;
	struct buf section;
	bool in_section;
	struct buf checksum; /* the value as it stands; empty: none yet */
	size_t line;
};

/* The '=' that parts key and value: the first one behind which valid JSON stands.  NULL if none. */
static char *separator(char *line, size_t len)
{
	char *end = line + len;

	for (char *at = line; (at = memchr(at, '=', (size_t)(end - at))) != NULL; at++)
		if (json_valid(at + 1, (size_t)(end - at - 1)))
			return at;
	return NULL;
}

static int read_entry(struct reader *r, char *line, size_t len)
{
	char *equals = separator(line, len);

	if (equals == NULL)
		return err_set(ERR_FORMAT, "line %zu is neither a section nor key=value", r->line);
	if (equals == line)
		return err_set(ERR_FORMAT, "line %zu has no key", r->line);
	if (!r->in_section)
		return err_set(ERR_FORMAT, "line %zu stands before the first section", r->line);
	*equals = '\0';
	const char *value = equals + 1;
	size_t value_len = (size_t)(line + len - value);
	if (strcmp(r->section.data, checksum_section) == 0 && strcmp(line, checksum_key) == 0) {
		buf_reset(&r->checksum);
		buf_add(&r->checksum, value, value_len);
		return 0;
	}
	digest_entry(&r->digest, r->section.data, line, value, value_len);
	return r->fn(r->ctx, r->section.data, line, value, value_len);
}

static int read_line(void *ctx, char *line, size_t len)
{
	struct reader *r = ctx;

	r->line++;
	if (len == 0)
		return 0;
	if (line[len - 1] == '\r')
		return err_set(ERR_FORMAT, "line %zu ends with CR LF", r->line);
	if (memchr(line, '\0', len) != NULL)
		return err_set(ERR_FORMAT, "line %zu has a NUL byte", r->line);
	if (line[0] != '[' || line[len - 1] != ']')
		return read_entry(r, line, len);
	if (len <= 2)
		return err_set(ERR_FORMAT, "line %zu is a section without a name", r->line);
	buf_reset(&r->section);
	buf_add(&r->section, line + 1, len - 2);
	r->in_section = true;
	return 0;
}

static int reader_write(struct sink *s, const void *data, size_t len)
{
	return sink_write(((struct reader *)s)->lines, data, len);
}

static int reader_finish(struct sink *s)
{
	struct reader *r = (struct reader *)s;
	char hex[SHA1_HEX + 1];

	if (sink_finish(r->lines) != 0)
		return -1;
	digest_end(&r->digest, hex);
	if (r->checksum.len == 0)
		return err_set(
			ERR_CHECKSUM, "invalid checksum, actual '%s' but no checksum found", hex);
	/* compared as text: a quoted string of lower-case hex is the only spelling */
	if (r->checksum.len != SHA1_HEX + 2 || r->checksum.data[0] != '"' ||
		memcmp(r->checksum.data + 1, hex, SHA1_HEX) != 0)
		return err_set(ERR_CHECKSUM,
			"invalid checksum, actual '\"%s\"' but expected '%.80s'", hex,
			r->checksum.data);
	return 0;
}

struct sink *ini_reader(struct arena *a, ini_fn *fn, void *ctx)
{
	struct reader *r = arena_new_object(a, struct reader);

	r->sink = (struct sink){.write = reader_write, .finish = reader_finish};
	r->lines = sink_lines(a, LINE_MAX_BYTES, read_line, r);
	r->fn = fn;
	r->ctx = ctx;
	digest_init(&r->digest, a);
	buf_init(&r->section, a);
	buf_init(&r->checksum, a);
	return &r->sink;
}

/* ---- writer ---- */

struct ini_writer {
	struct sink *to;
	struct digest digest;
	struct buf text; /* not yet handed on */
	struct buf section;
	bool any;
};

struct ini_writer *ini_writer_new(struct arena *a, struct sink *to)
{
	struct ini_writer *w = arena_new_object(a, struct ini_writer);

	w->to = to;
	digest_init(&w->digest, a);
	buf_init(&w->text, a);
	buf_init(&w->section, a);
	return w;
}

static int flush(struct ini_writer *w)
{
	if (w->text.len > 0 && sink_write(w->to, w->text.data, w->text.len) != 0)
		return -1;
	buf_reset(&w->text);
	return 0;
}

static void header(struct ini_writer *w, const char *name)
{
	if (w->any)
		buf_addc(&w->text, '\n');
	w->any = true;
	buf_addf(&w->text, "[%s]\n", name);
}

int ini_section(struct ini_writer *w, const char *name)
{
	if (name[0] == '\0' || strchr(name, '\n') != NULL)
		return err_set(ERR_FORMAT, "'%s' cannot be the name of a section", name);
	header(w, name);
	buf_reset(&w->section);
	buf_adds(&w->section, name);
	return 0;
}

int ini_entry(struct ini_writer *w, const char *key, const char *value, size_t value_len)
{
	size_t key_len = strlen(key);

	if (key_len == 0)
		return err_set(ERR_FORMAT, "an empty key cannot be stored");
	if (memchr(key, '\n', key_len) != NULL)
		return err_set(ERR_FORMAT, "key '%s' has a line feed and cannot be stored", key);
	digest_entry(&w->digest, w->section.data, key, value, value_len);
	buf_add(&w->text, key, key_len);
	buf_addc(&w->text, '=');
	buf_add(&w->text, value, value_len);
	buf_addc(&w->text, '\n');
	return w->text.len >= PIECE ? flush(w) : 0;
}

int ini_finish(struct ini_writer *w)
{
	char hex[SHA1_HEX + 1];

	digest_end(&w->digest, hex);
	header(w, checksum_section);
	buf_addf(&w->text, "%s=\"%s\"\n", checksum_key, hex);
	if (flush(w) != 0)
		return -1;
	return sink_finish(w->to);
}
