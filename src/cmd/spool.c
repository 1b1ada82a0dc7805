/*
 * spool: what the background has told about WAL files.
 */
#include "cmd/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/enc.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "cmd/ctx.h"
#include "form/fields.h"
#include "pg/wal.h"
#include "repo/layout.h"
#include "stream/block_sum.h"

#define SEAL (2 * BLOCK_SUM_MAX) /* hex digits */
#define STATUS_MAX ((size_t)256 * 1024)
#define SUFFIX_OK ".ok"
#define SUFFIX_PART ".part"
#define SUFFIX_ERROR ".error"

/* As it is written. */
struct record {
	const char *file, *sha1, *warning;
	struct spool_id id;
	bool dropped;
	config_pairs repos, archives;
};

#define LINE(key, member, kind, flags) FIELD(struct record, key, member, kind, flags)
static const struct field fields[] = {
	LINE("archive", archives, FIELD_STRMAP, 0),
	LINE("ctime", id.ctime, FIELD_I64, FIELD_REQUIRED),
	LINE("dropped", dropped, FIELD_BOOL, FIELD_OMIT_ZERO),
	LINE("file", file, FIELD_STR, FIELD_REQUIRED),
	LINE("inode", id.inode, FIELD_U64, FIELD_REQUIRED),
	LINE("mtime", id.mtime, FIELD_I64, FIELD_REQUIRED),
	LINE("repo", repos, FIELD_STRMAP, 0),
	LINE("sha1", sha1, FIELD_STR, FIELD_REQUIRED),
	LINE("size", id.size, FIELD_U64, FIELD_REQUIRED),
	LINE("warning", warning, FIELD_STR, 0),
	FIELD_END,
};

char *spool_dir(struct arena *a, const struct config *cfg, const char *which)
{
	return arena_printf(a, "%s/archive/%s/%s", cfg->spool_path, cfg->stanza, which);
}

void spool_open(struct arena *a, const struct config *cfg, struct spool *out)
{
	out->dir = spool_dir(a, cfg, "out");
	vec_init(&out->repos, a);
	for (size_t i = 0; i < cfg->repo.n; i++) {
		const struct config_repo *r = &cfg->repo.v[i];
		*vec_add(&out->repos) = (struct config_pair){ arena_printf(a, "%u", r->key), ctx_repo_identity(a, r) };
	}
}

static int64_t ns(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int spool_id_of(const char *path, struct spool_id *out)
{
	struct stat st;

	*out = (struct spool_id){ 0 };
	if (sys.stat(path, &st) != 0)
		return err_sys(errno == ENOENT || errno == ENOTDIR ? ERR_FILE_MISSING : ERR_FILE_INFO,
			"unable to get info for path/file '%s'", path);
	*out = (struct spool_id){ (uint64_t)st.st_size, st.st_ino, ns(st.st_mtim), ns(st.st_ctim) };
	return 0;
}

bool spool_id_equal(const struct spool_id *x, const struct spool_id *y)
{
	return x->size == y->size && x->inode == y->inode && x->mtime == y->mtime && x->ctime == y->ctime;
}

char *spool_path(struct arena *a, const struct spool *s, const char *file, const char *suffix)
{
	return arena_printf(a, "%s/%s%s", s->dir, file, suffix);
}

/* --- writing --- */

/* Not SHA-1: against accidents this one is as good, and OpenSSL would cost each call of archive-push more than all the
 * rest of its work. */
static void seal_of(const struct buf *b, size_t len, char out[SEAL + 1])
{
	uint8_t sum[BLOCK_SUM_MAX];

	block_sum(b->data, len, sizeof(sum), sum);
	hex_encode(sum, sizeof(sum), out);
}

static void seal(struct buf *b)
{
	char hex[SEAL + 1];

	seal_of(b, b->len, hex);
	buf_addf(b, "%s\n", hex);
}

static int write_status(const struct spool *s, const char *file, const char *suffix, const struct spool_id *id,
	const struct spool_status *st)
{
	SCOPED_ARENA(a);
	char hex[SHA1_HEX + 1];
	struct json_out j;
	struct buf b;
	const struct record r = { .file = file, .sha1 = hex, .warning = st->warning, .id = *id,
		.dropped = st->dropped, .repos = st->repos, .archives = st->archives };

	sum_hex(&st->sum, hex);
	buf_init(&b, a);
	buf_adds(&b, "0\n");
	json_out_init(&j, &b);
	json_object_begin(&j);
	fields_write(&j, fields, &r);
	json_object_end(&j);
	buf_addc(&b, '\n');
	seal(&b);
	return file_replace(spool_path(a, s, file, suffix), b.data, b.len, 0640);
}

int spool_write_ok(const struct spool *s, const char *file, const struct spool_id *id, const struct spool_status *st)
{
	SCOPED_ARENA(a);

	if (write_status(s, file, SUFFIX_OK, id, st) != 0)
		return -1;
	/* what they say is no longer true, but beside the .ok nobody asks them */
	sys.unlink(spool_path(a, s, file, SUFFIX_PART));
	sys.unlink(spool_path(a, s, file, SUFFIX_ERROR));
	return 0;
}

int spool_write_part(const struct spool *s, const char *file, const struct spool_id *id, const struct spool_status *st)
{
	return write_status(s, file, SUFFIX_PART, id, st);
}

int spool_write_error(const struct spool *s, const char *file, const struct err_value *why)
{
	SCOPED_ARENA(a);
	bool hints = why->hints != NULL && why->hints[0] != '\0';
	const char *text = arena_printf(a, "%d\n%s%s%s", (int)why->code, why->msg, hints ? "\n" : "",
		hints ? why->hints : "");

	return file_replace(spool_path(a, s, file, SUFFIX_ERROR), text, strlen(text), 0640);
}

/* --- reading --- */

/* Does the text end with the checksum of what stands before it?  It is cut off then. */
static bool unseal(struct buf *b)
{
	char hex[SEAL + 1];

	if (b->len < SEAL + 1 || b->data[b->len - 1] != '\n')
		return false;
	b->len -= SEAL + 1;
	seal_of(b, b->len, hex);
	bool whole = memcmp(b->data + b->len, hex, SEAL) == 0;
	b->data[b->len] = '\0';
	return whole;
}

/* Is it a whole record of this very file in this state? */
static bool parse_record(struct arena *a, struct buf *b, const char *file, const struct spool_id *id,
	struct record *out)
{
	const struct json *j;

	*out = (struct record){ 0 };
	if (!str_starts(b->data, "0\n{") || !unseal(b))
		return false;
	j = json_parse(a, b->data + 2, b->len - 2);
	if (j == NULL || fields_read(a, fields, out, j) != 0) {
		err_clear();
		return false;
	}
	return strcmp(out->file, file) == 0 && spool_id_equal(&out->id, id);
}

static const char *find_pair(const config_pairs *pairs, const char *key)
{
	for (size_t i = 0; i < pairs->n; i++)
		if (strcmp(pairs->v[i].key, key) == 0)
			return pairs->v[i].value;
	return NULL;
}

static bool has_repo(const struct record *r, const struct config_pair *repo)
{
	const char *is = find_pair(&r->repos, repo->key);

	return is != NULL && strcmp(is, repo->value) == 0;
}

static bool is_everywhere(const struct spool *s, const struct record *r)
{
	for (size_t i = 0; i < s->repos.n; i++)
		if (!has_repo(r, &s->repos.v[i]))
			return false;
	return s->repos.n > 0;
}

/* What the error files and a skip have: a code, a line feed, text.  False: something else. */
static bool parse_error(struct arena *a, const struct buf *b, int *code, char **text)
{
	const char *end = memchr(b->data, '\n', b->len);
	uint64_t number;

	if (end == NULL || memchr(b->data, '\0', b->len) != NULL)
		return false;
	if (!str_to_u64(arena_strndup(a, b->data, (size_t)(end - b->data)), &number) || number == 0 || number > 255)
		return false;
	*code = (int)number;
	*text = str_trim(a, end + 1);
	return (*text)[0] != '\0';
}

static bool read_file(struct arena *a, const char *path, struct buf *b)
{
	buf_init(b, a);
	if (file_read(path, STATUS_MAX, b) == 0)
		return true;
	err_clear();
	return false;
}

/*
 * An administrator's word names no state of the file.  It cannot have been meant for one that was written later, as
 * after a restore that reaches the same segment again: the error it was made of is never older than the file.
 */
static bool is_meant_for(const char *path, const struct spool_id *id)
{
	struct spool_id word;

	if (spool_id_of(path, &word) == 0)
		return word.mtime >= id->mtime;
	err_clear();
	return false;
}

void spool_look(struct arena *a, const struct spool *s, const char *file, const struct spool_id *id,
	struct spool_answer *out)
{
	const char *path = spool_path(a, s, file, SUFFIX_OK);
	struct record r;
	struct buf b;
	char *text;
	int code;

	*out = (struct spool_answer){ SPOOL_NONE, 0, NULL };
	if (!read_file(a, path, &b))
		return;
	if (parse_error(a, &b, &code, &text)) {
		/* a record of ours with a damaged first line is nobody's word */
		if (text[0] != '{' && is_meant_for(path, id))
			*out = (struct spool_answer){ SPOOL_SKIPPED, code, text };
		return;
	}
	if (!parse_record(a, &b, file, id, &r))
		return;
	if (r.dropped)
		*out = (struct spool_answer){ SPOOL_DROPPED, 0, r.warning == NULL ? "" : r.warning };
	else if (is_everywhere(s, &r))
		*out = (struct spool_answer){ SPOOL_STORED, 0, r.warning };
}

bool spool_read_part(struct arena *a, const struct spool *s, const char *file, const struct spool_id *id,
	struct spool_status *out)
{
	struct record r;
	struct buf b;

	*out = (struct spool_status){ .warning = NULL };
	vec_init(&out->repos, a);
	if (!read_file(a, spool_path(a, s, file, SUFFIX_PART), &b) || !parse_record(a, &b, file, id, &r) ||
		r.dropped || !sum_parse(r.sha1, &out->sum))
		return false;
	for (size_t i = 0; i < s->repos.n; i++)
		if (has_repo(&r, &s->repos.v[i]))
			vec_push(&out->repos, s->repos.v[i]);
	out->archives = r.archives;
	out->warning = r.warning;
	return out->repos.n > 0;
}

void spool_error_id(const struct spool *s, const char *file, struct spool_id *out)
{
	SCOPED_ARENA(a);

	if (spool_id_of(spool_path(a, s, file, SUFFIX_ERROR), out) != 0)
		err_clear();
}

struct err_value *spool_read_error(struct arena *a, const struct spool *s, const char *file,
	const struct spool_id *old)
{
	struct err_value *out = arena_new_object(a, struct err_value);
	struct spool_id now;
	struct buf b;
	char *text, *hints;
	int code;

	/* looked at first: what is read is then at least as new */
	spool_error_id(s, file, &now);
	if (old != NULL && spool_id_equal(&now, old))
		return NULL;
	if (!read_file(a, spool_path(a, s, file, SUFFIX_ERROR), &b) || !parse_error(a, &b, &code, &text))
		return NULL;
	hints = strstr(text, "\nHINT: ");
	if (hints != NULL)
		*hints++ = '\0';
	*out = (struct err_value){ (enum err_code)code, text, hints == NULL ? "" : hints };
	return out;
}

/* --- tidying --- */

static bool waits(const strvec *ready, const char *file)
{
	return ready->n > 0 && bsearch(&file, ready->v, ready->n, sizeof(*ready->v), str_cmp_ptr) != NULL;
}

/* Is this a status file, and of what?  NULL: no. */
static const char *status_of(struct arena *a, const char *name)
{
	static const char *const suffixes[] = { SUFFIX_OK, SUFFIX_PART, SUFFIX_ERROR };

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (str_ends(name, suffixes[i]))
			return arena_strndup(a, name, strlen(name) - strlen(suffixes[i]));
	return NULL;
}

static bool is_needless(struct arena *a, const char *name, const strvec *ready)
{
	const char *file = status_of(a, name);

	if (file == NULL)
		return str_ends(name, TEMP_SUFFIX);
	if (strcmp(file, SPOOL_GLOBAL) == 0)
		return true;
	return wal_kind(file) != WAL_OTHER && !waits(ready, file);
}

void spool_tidy(const struct spool *s, const strvec *ready)
{
	SCOPED_ARENA(a);
	struct dir_names names;

	if (dir_list(a, s->dir, &names) != 0) {
		err_clear();
		return;
	}
	for (size_t i = 0; i < names.n; i++)
		if (is_needless(a, names.v[i], ready))
			sys.unlink(path_join(a, s->dir, names.v[i]));
}
