/*
 * info_file: loading and saving of main file and copy (format/repository.md 2.8), format check
 * (14).
 *
 * A file passes four gates in this order: its first bytes (not encrypted, not format 6), the format
 * number, the parser of its kind, the checksum.  Only then is the parser told to complete its
 * target.
 */
#include "repo/format5/info_file.h"

#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "repo/layout.h"

#define MAGIC 8 /* bytes that tell an encrypted file */

static const char cipher_hint[] =
	"set repo-cipher-type and repo-cipher-pass (not yet supported by this release of pgStrata)";

/* ---- one file ---- */

struct loading {
	struct sink sink; /* looks at the first bytes, then passes everything on */
	struct sink *ini;
	struct arena *a;
	const char *name; /* for messages */
	char head[MAGIC];
	size_t head_len;
	const struct info_parser *parser;
	void *ctx;
	bool has_format;
	const char *program;
	bool refused; /* sound, but not for this program */
};

static int refuse_format6(struct loading *l)
{
	l->refused = true;
	return err_set(ERR_FORMAT,
		"%s is of repository format 6, which pgStrata cannot read (format 5 is supported)",
		l->name);
}

static int refuse_encrypted(struct loading *l)
{
	l->refused = true;
	err_set(ERR_CRYPTO, "%s is encrypted", l->name);
	return err_hint("%s", cipher_hint);
}

static int check_head(struct loading *l)
{
	if (memcmp(l->head, "PGBR006_", MAGIC) == 0)
		return refuse_format6(l);
	if (memcmp(l->head, "Salted__", MAGIC) == 0)
		return refuse_encrypted(l);
	return sink_write(l->ini, l->head, l->head_len);
}

static int loading_write(struct sink *s, const void *data, size_t len)
{
	struct loading *l = (struct loading *)s;
	const char *bytes = data;
	size_t missing = MAGIC - l->head_len;

	if (missing == 0)
		return sink_write(l->ini, bytes, len);
	size_t taken = len < missing ? len : missing;
	memcpy(l->head + l->head_len, bytes, taken);
	l->head_len += taken;
	if (l->head_len < MAGIC)
		return 0;
	if (check_head(l) != 0)
		return -1;
	return taken < len ? sink_write(l->ini, bytes + taken, len - taken) : 0;
}

static int loading_finish(struct sink *s)
{
	struct loading *l = (struct loading *)s;

	if (l->head_len > 0 && l->head_len < MAGIC && sink_write(l->ini, l->head, l->head_len) != 0)
		return -1;
	return sink_finish(l->ini);
}

static int read_header(struct loading *l, const char *key, const char *value, size_t len)
{
	uint64_t format = 0;
	struct json *v = info_value(l->a, value, len);

	if (v == NULL)
		return -1;
	if (strcmp(key, "backrest-version") == 0)
		return json_get_str(v, &l->program) != 0 ? err_wrap("key '%s'", key) : 0;
	if (strcmp(key, "backrest-format") != 0)
		return 0;
	if (json_get_u64(v, &format) != 0)
		return err_wrap("key '%s'", key);
	if (format == 6)
		return refuse_format6(l);
	if (format != INFO_FORMAT)
		return err_set(ERR_FORMAT, "expected format %d but found %llu", INFO_FORMAT,
			(unsigned long long)format);
	l->has_format = true;
	return 0;
}

static int loading_entry(
	void *ctx, const char *section, const char *key, const char *value, size_t len)
{
	struct loading *l = ctx;

	if (strcmp(section, "backrest") == 0)
		return read_header(l, key, value, len);
	/* plain text, but what it describes is encrypted */
	if (strcmp(section, "cipher") == 0)
		return refuse_encrypted(l);
	if (l->parser->entry(l->ctx, section, key, value, len) != 0)
		return err_wrap("[%s] %s", section, key);
	return 0;
}

static int load_file(struct loading *l, struct store *repo, const char *path)
{
	SCOPED_ARENA(tmp);
	const struct get_opts opts = {.missing_ok = true};

	l->sink = (struct sink){.write = loading_write, .finish = loading_finish};
	l->ini = ini_reader(tmp, loading_entry, l);
	l->parser->begin(l->ctx);
	int rc = store_get(repo, path, &opts, &l->sink);
	if (rc == STORE_ABSENT)
		return STORE_ABSENT;
	if (rc == 0 && !l->has_format)
		rc = err_set(ERR_FORMAT, "expected format %d but found none", INFO_FORMAT);
	if (rc == 0)
		rc = l->parser->end(l->ctx, l->program != NULL ? l->program : "");
	if (rc != 0 && !l->refused)
		return err_wrap("unable to load info file '%s'", l->name);
	return rc;
}

/* ---- main file and copy ---- */

struct info_pair {
	const char *main_name, *copy_name;
	const struct err_value *main_failed; /* NULL: proven absent */
	const struct err_value *copy_failed;
};

static const char *reason(struct arena *a, const char *name, const struct err_value *v)
{
	if (v == NULL)
		return arena_printf(a, "%s: '%s' is missing", err_class(ERR_FILE_MISSING), name);
	return arena_printf(a, "%s: %s", err_class(v->code), v->msg);
}

static int fail_both(struct arena *a, const struct info_pair *p)
{
	const struct err_value *first =
		p->main_failed != NULL && p->main_failed->code != ERR_FILE_MISSING ? p->main_failed
										   : p->copy_failed;
	if (first == NULL)
		first = p->main_failed;
	const struct err_value both = {
		.code = first->code,
		.msg = arena_printf(a, "unable to load info file '%s' or '%s':\n%s\n%s",
			p->main_name, p->copy_name, reason(a, p->main_name, p->main_failed),
			reason(a, p->copy_name, p->copy_failed)),
		.hints = first->hints,
	};

	return err_restore(&both);
}

int info_load(struct arena *a, struct store *repo, const char *path,
	const struct info_parser *parser, void *ctx)
{
	const char *copy = layout_copy(a, path);
	struct info_pair pair = {
		.main_name = store_name(a, repo, path), .copy_name = store_name(a, repo, copy)};
	struct loading l = {.a = a, .name = pair.main_name, .parser = parser, .ctx = ctx};

	int rc = load_file(&l, repo, path);
	if (rc == 0 || l.refused)
		return rc;
	if (rc < 0)
		pair.main_failed = err_take(a);
	l = (struct loading){.a = a, .name = pair.copy_name, .parser = parser, .ctx = ctx};
	rc = load_file(&l, repo, copy);
	if (l.refused)
		return rc;
	if (rc == 0) {
		if (pair.main_failed != NULL)
			log_warn("%s, using its copy", pair.main_failed->msg);
		return 0;
	}
	if (rc < 0)
		pair.copy_failed = err_take(a);
	if (pair.main_failed == NULL && pair.copy_failed == NULL)
		return STORE_ABSENT;
	return fail_both(a, &pair);
}

int info_save(struct store *repo, const char *path, const struct buf *text)
{
	SCOPED_ARENA(tmp);
	const struct put_opts opts = {.atomic = true};

	if (store_write(repo, path, text->data, text->len, &opts) != 0)
		return -1;
	return store_write(repo, layout_copy(tmp, path), text->data, text->len, &opts);
}

/* ---- pieces of parsers ---- */

struct json *info_value(struct arena *a, const char *value, size_t len)
{
	struct json *v = json_parse(a, value, len);

	if (v == NULL)
		err_recode(ERR_FORMAT);
	return v;
}

int info_history_id(const char *key, uint32_t *out)
{
	uint64_t id = 0;

	if (!str_to_u64(key, &id) || id == 0 || id > UINT32_MAX)
		return err_set(ERR_FORMAT, "not a history id");
	*out = (uint32_t)id;
	return 0;
}

int info_check_version(const char *version)
{
	if (version == NULL || !layout_version_ok(version))
		return err_set(ERR_FORMAT, "'%.20s' is not a PostgreSQL version",
			version == NULL ? "" : version);
	return 0;
}

int info_section_add(
	struct arena *a, struct info_section *s, const char *key, const char *value, size_t len)
{
	struct json *v = info_value(a, value, len);

	if (v == NULL)
		return -1;
	v->key = arena_strdup(a, key);
	if (s->last == NULL)
		s->object.child = v;
	else
		s->last->next = v;
	s->last = v;
	s->object.type = JSON_OBJECT;
	return 0;
}

/* ---- writing ---- */

void info_out_begin(struct info_out *o, struct arena *a, struct sink *to, const char *program)
{
	*o = (struct info_out){.ini = ini_writer_new(a, to)};
	buf_init(&o->value, a);
	info_out_section(o, "backrest");
	json_u64(info_out_value(o), INFO_FORMAT);
	info_out_entry(o, "backrest-format");
	json_str(info_out_value(o), program);
	info_out_entry(o, "backrest-version");
}

void info_out_section(struct info_out *o, const char *name)
{
	if (!o->failed)
		o->failed = ini_section(o->ini, name) != 0;
}

struct json_out *info_out_value(struct info_out *o)
{
	buf_reset(&o->value);
	json_out_init(&o->json, &o->value);
	return &o->json;
}

void info_out_entry(struct info_out *o, const char *key)
{
	if (!o->failed)
		o->failed = ini_entry(o->ini, key, o->value.data, o->value.len) != 0;
}

void info_out_row(
	struct info_out *o, const char *key, const struct field *fields, const void *object)
{
	struct json_out *j = info_out_value(o);

	json_object_begin(j);
	fields_write(j, fields, object);
	json_object_end(j);
	info_out_entry(o, key);
}

void info_out_fields(struct info_out *o, const struct field *fields, const void *object)
{
	for (const struct field *f = fields; f->key != NULL; f++)
		if (field_print(info_out_value(o), f, object))
			info_out_entry(o, f->key);
}

int info_out_finish(struct info_out *o)
{
	return o->failed ? -1 : ini_finish(o->ini);
}
