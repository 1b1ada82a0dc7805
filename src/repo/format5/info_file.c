/*
 * info_file: loading and saving of main file and copy (format/repository.md 2.8), format check
 * (14).
 *
 * A file passes these gates in this order: its first bytes (encrypted or not, not format 6), the
 * cipher, the format number, the parser of its kind, the checksum.  Only then is the parser told to
 * complete its target.
 *
 * A wrong passphrase is told by the cipher in 255 of 256 cases, and only behind the last byte; until
 * then, and in the last case, it makes garbage that fails as text.  The first bytes of the text tell
 * which failure it is.
 */
#include "repo/format5/info_file.h"

#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "repo/layout.h"
#include "stream/cipher.h"

#define MAGIC 8 /* bytes that tell an encrypted file */

static const char text_begin[] = "[backrest]"; /* of every writer (2.3) */
#define TEXT_BEGIN (sizeof(text_begin) - 1)

/* ---- one file ---- */

/* The first bytes of a stream, kept back until there are enough of them. */
struct head {
	struct sink sink;
	struct sink *next;
	struct loading *l;
	int (*check)(struct loading *l, const char *bytes); /* NULL: they are only kept */
	char bytes[TEXT_BEGIN];
	size_t size, len;
};

struct loading {
	struct head stored; /* tells encrypted from plain files */
	struct head text;   /* behind the cipher: tells a right passphrase from a wrong one */
	struct arena *a;
	const char *name; /* for messages */
	const char *pass;
	bool opened; /* if it was encrypted, another host has opened it */
	const struct info_parser *parser;
	void *ctx;
	bool has_format;
	struct info_head about;
	bool refused; /* sound, but not for this program as it is set up */
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
	err_set(ERR_CRYPTO, "%s is encrypted, but no passphrase is set for its repository", l->name);
	return err_hint("set repoN-cipher-type=aes-256-cbc and repoN-cipher-pass, where N is the "
			"number of this repository%s", l->opened ? ", on the host that has it" : "");
}

static int refuse_plain(struct loading *l)
{
	l->refused = true;
	err_set(ERR_CRYPTO, "%s is not encrypted, but a passphrase is set for its repository",
		l->name);
	return err_hint("encryption cannot be switched on later: remove repoN-cipher-type and "
			"repoN-cipher-pass, where N is the number of this repository, or use another "
			"repository");
}

static int refuse_half(struct loading *l)
{
	l->refused = true;
	err_set(ERR_CRYPTO, "%s is not encrypted, but has the [cipher] section of a file that is",
		l->name);
	return err_hint("somebody has decrypted it: what depends on it is still encrypted");
}

static int check_stored(struct loading *l, const char *bytes)
{
	if (memcmp(bytes, "PGBR006_", MAGIC) == 0)
		return refuse_format6(l);
	bool encrypted = memcmp(bytes, CIPHER_MAGIC, MAGIC) == 0;
	if (encrypted && l->pass == NULL)
		return refuse_encrypted(l);
	if (!encrypted && l->pass != NULL && memcmp(bytes, text_begin, MAGIC) == 0)
		return refuse_plain(l);
	return 0;
}

static int head_write(struct sink *s, const void *data, size_t len)
{
	struct head *h = (struct head *)s;
	const char *bytes = data;
	size_t missing = h->size - h->len;

	if (missing == 0)
		return sink_write(h->next, bytes, len);
	size_t taken = len < missing ? len : missing;
	memcpy(h->bytes + h->len, bytes, taken);
	h->len += taken;
	if (h->len < h->size)
		return 0;
	if ((h->check != NULL && h->check(h->l, h->bytes) != 0) ||
		sink_write(h->next, h->bytes, h->len) != 0)
		return -1;
	return taken < len ? sink_write(h->next, bytes + taken, len - taken) : 0;
}

static int head_finish(struct sink *s)
{
	struct head *h = (struct head *)s;

	if (h->len > 0 && h->len < h->size && sink_write(h->next, h->bytes, h->len) != 0)
		return -1;
	return sink_finish(h->next);
}

static struct sink *head_init(struct head *h, struct loading *l, size_t size, struct sink *next,
	int (*check)(struct loading *l, const char *bytes))
{
	*h = (struct head){.sink = {.write = head_write, .finish = head_finish},
		.next = next, .l = l, .check = check, .size = size};
	return &h->sink;
}

/* [cipher] belongs to encrypted files, and there it must be. */
static int read_cipher(struct loading *l, const char *key, const char *value, size_t len)
{
	if (l->pass == NULL && !l->opened)
		return refuse_half(l);
	if (strcmp(key, "cipher-pass") != 0)
		return 0;
	struct json *v = info_value(l->a, value, len);
	if (v != NULL && v->type == JSON_OBJECT)
		return refuse_format6(l);
	if (v == NULL || json_get_str(v, &l->about.cipher_pass) != 0)
		return err_wrap("[cipher] %s", key);
	if (l->about.cipher_pass[0] == '\0')
		return err_set(ERR_FORMAT, "[cipher] %s: is empty", key);
	return 0;
}

static int read_header(struct loading *l, const char *key, const char *value, size_t len)
{
	uint64_t format = 0;
	struct json *v = info_value(l->a, value, len);

	if (v == NULL)
		return -1;
	if (strcmp(key, "backrest-version") == 0)
		return json_get_str(v, &l->about.program) != 0 ? err_wrap("key '%s'", key) : 0;
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
	if (strcmp(section, "cipher") == 0)
		return read_cipher(l, key, value, len);
	if (l->parser->entry(l->ctx, section, key, value, len) != 0)
		return err_wrap("[%s] %s", section, key);
	return 0;
}

/* The failure that stands is of the text that the cipher gave, or of the cipher itself. */
static int explain_cipher(const struct loading *l)
{
	bool of_text = err_code() == ERR_FORMAT || err_code() == ERR_JSON ||
		       err_code() == ERR_CHECKSUM;

	if (of_text && (l->text.len < TEXT_BEGIN ||
			       memcmp(l->text.bytes, text_begin, TEXT_BEGIN) != 0))
		err_set(ERR_CRYPTO,
			"unable to decrypt: the passphrase is wrong or the data is damaged");
	if (err_code() == ERR_CRYPTO)
		err_hint("is this the passphrase that the stanza was created with?");
	return -1;
}

static int check_complete(struct loading *l)
{
	if (!l->has_format)
		return err_set(ERR_FORMAT, "expected format %d but found none", INFO_FORMAT);
	if (l->pass != NULL && l->about.cipher_pass == NULL)
		return err_set(ERR_CRYPTO, "the file is encrypted but names no passphrase in [cipher]");
	if (l->about.program == NULL)
		l->about.program = "";
	return l->parser->end(l->ctx, &l->about);
}

static int load_file(struct loading *l, struct store *repo, const char *path)
{
	SCOPED_ARENA(tmp);
	const struct get_opts opts = {.missing_ok = true};
	struct sink *s = ini_reader(tmp, loading_entry, l);

	s = head_init(&l->text, l, TEXT_BEGIN, s, NULL);
	if (l->pass != NULL)
		s = sink_decrypt(tmp, s, l->pass, false);
	s = head_init(&l->stored, l, MAGIC, s, check_stored);
	l->parser->begin(l->ctx);
	int rc = store_get(repo, path, &opts, s);
	if (rc == STORE_ABSENT)
		return STORE_ABSENT;
	if (rc != 0 && !l->refused && l->pass != NULL)
		explain_cipher(l);
	if (rc == 0)
		rc = check_complete(l);
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

int info_load(struct arena *a, struct store *repo, const char *path, const char *pass,
	const struct info_parser *parser, void *ctx)
{
	const char *copy = layout_copy(a, path);
	struct info_pair pair = {
		.main_name = store_name(a, repo, path), .copy_name = store_name(a, repo, copy)};
	struct loading l = {
		.a = a, .name = pair.main_name, .pass = pass, .opened = repo->opened,
		.parser = parser, .ctx = ctx};

	int rc = load_file(&l, repo, path);
	if (rc == 0 || l.refused)
		return rc;
	if (rc < 0)
		pair.main_failed = err_take(a);
	l = (struct loading){
		.a = a, .name = pair.copy_name, .pass = pass, .opened = repo->opened,
		.parser = parser, .ctx = ctx};
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

int info_save(struct store *repo, const char *path, const char *pass, const struct buf *text)
{
	SCOPED_ARENA(tmp);
	const struct put_opts opts = {.atomic = true};
	struct buf stored = *text;

	if (pass != NULL) {
		buf_init(&stored, tmp);
		struct sink *s = sink_encrypt(tmp, sink_buf(tmp, &stored), pass, false);
		if (sink_write(s, text->data, text->len) != 0 || sink_finish(s) != 0)
			return -1;
	}
	if (store_write(repo, path, stored.data, stored.len, &opts) != 0)
		return -1;
	return store_write(repo, layout_copy(tmp, path), stored.data, stored.len, &opts);
}

int info_check_keys(const char *pass, const char *cipher_pass)
{
	if ((pass == NULL) != (cipher_pass == NULL))
		return err_set(ERR_ASSERT, "a file is either encrypted and has keys or neither");
	return 0;
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

void info_out_cipher(struct info_out *o, const char *cipher_pass)
{
	if (cipher_pass == NULL)
		return;
	info_out_section(o, "cipher");
	json_str(info_out_value(o), cipher_pass);
	info_out_entry(o, "cipher-pass");
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
