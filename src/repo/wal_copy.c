/*
 * wal_copy: one WAL file of a repository anew, from the proven copy of another.
 *
 * Always true: only bytes that passed the proof of archive-get get a name here, by one rename.  A damaged file is
 * replaced under its own name, which has the right SHA-1 in it and says the codec: so at no moment the archive has two
 * files for one segment, or none, where it had one.  A missing file is made only if its name is still free.
 */
#include "repo/wal_copy.h"

#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "repo/layout.h"
#include "repo/wal_check.h"
#include "repo/wal_survey.h"

struct copy {
	unsigned key;
	const struct wal_place *place;
	struct wal_file file;
	bool proven;
	struct buf text; /* of a proven .history or .backup file */
};
typedef VEC(struct copy) copies;

struct job {
	struct arena *a;
	const struct wal_copy_opts *o;
	const struct wal_copy_from *from;
	size_t n;
	bool plain;
	copies found;
	unsigned *key;
};

static void skip(const struct job *j, unsigned key)
{
	log_warn("repo%u has no copy of '%s' that could be used: [%s] %s", key, j->o->name, err_class(err_code()),
		err_msg());
	err_clear();
}

/* Who has a file of that name?  Who cannot tell is left out: what is taken is proven by itself. */
static int look(struct job *j)
{
	vec_init(&j->found, j->a);
	for (size_t i = 0; i < j->n; i++)
		for (size_t k = 0; k < j->from[i].n; k++) {
			wal_files files;
			if (wal_find(j->a, &j->from[i].places[k], j->o->name, &files) != 0) {
				if (err_code() == ERR_TERM)
					return -1;
				skip(j, j->from[i].key);
				continue;
			}
			for (size_t f = 0; f < files.n; f++)
				vec_push(&j->found, ((struct copy){ .key = j->from[i].key,
					.place = &j->from[i].places[k], .file = files.v[f] }));
		}
	return 0;
}

static const char *copy_name(struct arena *a, const struct copy *c)
{
	return arena_printf(a, "repo%u: '%s'", c->key, store_name(a, c->place->repo, c->file.path));
}

static int differ(const struct job *j, const struct copy *x, const struct copy *y)
{
	return err_set(ERR_ARCHIVE_DUPLICATE, "the copies of WAL file '%s' are different, so nobody can say which one "
		"is right: %s, %s", j->o->name, copy_name(j->a, x), copy_name(j->a, y));
}

/* --- segments and partials --- */

static struct sink *open_new(struct arena *a, const struct job *j, const struct wal_file *file)
{
	const struct wal_place *to = &j->o->to;
	const bool fresh = j->o->damaged == NULL;
	const int level = file->codec == j->o->codec ? j->o->level : codec_info(file->codec)->level_default;
	const struct pipe_spec spec = { .compress = j->plain ? CODEC_NONE : file->codec, .level = level,
		.encrypt = to->pass };
	const struct put_opts put = { .atomic = true, .create_new = fresh };
	struct pipe_result *passed = arena_new_object(a, struct pipe_result);
	struct sink *s = store_put(a, to->repo, file->path, &put);

	return s == NULL ? NULL : pipe_chain(a, &spec, NULL, NULL, s, passed);
}

/* How the file is to be stored. */
static struct wal_file file_new(const struct job *j, const struct sum *sum)
{
	const struct wal_copy_opts *o = j->o;
	struct wal_file f = { .codec = o->codec, .plain_name = j->plain };
	char hex[SHA1_HEX + 1];

	if (o->damaged != NULL)
		return *o->damaged;
	f.name = o->name;
	if (!j->plain) {
		f.sum = *sum;
		sum_hex(sum, hex);
		f.name = arena_printf(j->a, "%s-%s%s", o->name, hex, codec_info(f.codec)->suffix);
	}
	f.path = path_join(j->a, layout_wal_dir(j->a, o->to.stanza, o->to.archive_id, o->name), f.name);
	return f;
}

static int prove(const struct job *j, const struct wal_place *place, const struct wal_file *file)
{
	SCOPED_ARENA(a);

	return wal_fetch(a, place, file, &j->o->expect, sink_null(a));
}

/* Names tell different hashes: then each copy must be read before anything is believed. */
static int settle_hashes(struct job *j)
{
	const struct copy *right = NULL;
	bool agree = true;

	for (size_t i = 1; i < j->found.n; i++)
		agree = agree && sum_equal(&j->found.v[i].file.sum, &j->found.v[0].file.sum);
	for (size_t i = 0; !agree && i < j->found.n; i++) {
		struct copy *c = &j->found.v[i];
		c->proven = prove(j, c->place, &c->file) == 0;
		if (!c->proven && err_code() == ERR_TERM)
			return -1;
		if (!c->proven)
			skip(j, c->key);
		else if (right != NULL && !sum_equal(&right->file.sum, &c->file.sum))
			return differ(j, right, c);
		else
			right = c;
	}
	if (agree)
		return 0;
	size_t kept = 0;
	for (size_t i = 0; i < j->found.n; i++)
		if (j->found.v[i].proven)
			j->found.v[kept++] = j->found.v[i];
	j->found.n = kept;
	return 0;
}

/* Somebody has stored the segment while we did: theirs counts, like with any push (wal_put), if it is proven. */
static int settle_written(const struct job *j, const struct wal_file *mine)
{
	const struct wal_file *other = NULL;
	wal_files found;

	if (wal_find(j->a, &j->o->to, j->o->name, &found) != 0)
		return -1;
	for (size_t i = 0; i < found.n; i++)
		if (strcmp(found.v[i].path, mine->path) != 0)
			other = &found.v[i];
	if (other == NULL)
		return prove(j, &j->o->to, mine);
	if (j->o->damaged == NULL && store_remove(j->o->to.repo, mine->path, true) != 0)
		return err_wrap("WAL file '%s' was pushed at the same time, and ours must go", j->o->name);
	*j->key = 0;
	return prove(j, &j->o->to, other);
}

static int copy_segment(struct job *j, const struct copy *c)
{
	SCOPED_ARENA(a);
	const struct wal_file file = file_new(j, &c->file.sum);
	struct sink *to = open_new(a, j, &file);

	*j->key = c->key;
	if (to != NULL && wal_fetch(a, c->place, &c->file, &j->o->expect, to) == 0)
		return settle_written(j, &file);
	if (err_code() != ERR_FILE_EXISTS)
		return -1;
	err_clear();
	*j->key = 0;
	return settle_written(j, &file);
}

static int copy_from_any(struct job *j)
{
	for (size_t i = 0; i < j->found.n; i++) {
		const struct copy *c = &j->found.v[i];
		if (j->o->damaged != NULL && !sum_equal(&c->file.sum, &j->o->damaged->sum)) {
			(void)err_set(ERR_CHECKSUM, "%s has another checksum in its name", copy_name(j->a, c));
			skip(j, c->key);
			continue;
		}
		/* what fails now must be the target's fault, else the next copy would not be tried */
		if (!c->proven && prove(j, c->place, &c->file) != 0) {
			if (err_code() == ERR_TERM)
				return -1;
			skip(j, c->key);
			continue;
		}
		return copy_segment(j, c);
	}
	return WAL_COPY_NONE;
}

/* --- .history and .backup files: no hash, so all copies must agree --- */

static int read_plain(const struct job *j, const struct wal_place *place, const struct wal_file *file, struct buf *text)
{
	const char *what = arena_printf(j->a, "'%s'", store_name(j->a, place->repo, file->path));
	const char *start, *stop;

	buf_init(text, j->a);
	if (wal_read_text(place, file->path, false, text) != 0)
		return -1;
	if (wal_kind(j->o->name) == WAL_HISTORY)
		return wal_check_history(what, j->o->name, text);
	if (wal_survey_backup_file(j->a, j->o->name, text, &start, &stop))
		return 0;
	return err_set(ERR_FORMAT, "%s is not the backup history file of its name", what);
}

static bool same_text(const struct buf *x, const struct buf *y)
{
	return x->len == y->len && memcmp(x->data, y->data, x->len) == 0;
}

/* *right: a proven copy, NULL if there is none. */
static int settle_texts(struct job *j, const struct copy **right)
{
	*right = NULL;
	for (size_t i = 0; i < j->found.n; i++) {
		struct copy *c = &j->found.v[i];
		if (read_plain(j, c->place, &c->file, &c->text) != 0) {
			if (err_code() == ERR_TERM)
				return -1;
			skip(j, c->key);
		} else if (*right != NULL && !same_text(&(*right)->text, &c->text)) {
			return differ(j, *right, c);
		} else {
			*right = c;
		}
	}
	return 0;
}

static int copy_plain(struct job *j)
{
	SCOPED_ARENA(a);
	const struct copy *c;
	struct buf back;

	if (settle_texts(j, &c) != 0)
		return -1;
	if (c == NULL)
		return WAL_COPY_NONE;
	const struct wal_file file = file_new(j, NULL);
	struct sink *to = open_new(a, j, &file);
	*j->key = c->key;
	if (to == NULL || sink_write(to, c->text.data, c->text.len) != 0 || sink_finish(to) != 0) {
		if (err_code() != ERR_FILE_EXISTS)
			return -1;
		err_clear();
		*j->key = 0;
	}
	if (read_plain(j, &j->o->to, &file, &back) != 0)
		return -1;
	if (same_text(&back, &c->text))
		return 0;
	return err_set(ERR_ARCHIVE_DUPLICATE, "WAL file '%s' of repo%u is not as that of repo%u after it was stored",
		j->o->name, j->o->key, c->key);
}

static bool is_plain(const char *name)
{
	enum wal_kind kind = wal_kind(name);

	return kind == WAL_HISTORY || kind == WAL_BACKUP;
}

int wal_copy(struct arena *a, const struct wal_copy_opts *o, const struct wal_copy_from *from, size_t n, unsigned *key)
{
	struct job j = { .a = a, .o = o, .from = from, .n = n, .plain = is_plain(o->name), .key = key };

	*key = 0;
	if (look(&j) != 0)
		return -1;
	if (j.plain)
		return copy_plain(&j);
	return settle_hashes(&j) != 0 ? -1 : copy_from_any(&j);
}

int wal_copy_agrees(struct arena *a, const char *name, unsigned key, const struct wal_file *file,
	const struct wal_place *place, const struct wal_copy_from *from, size_t n)
{
	const struct wal_copy_opts o = { .name = name, .key = key };
	struct job j = { .a = a, .o = &o, .from = from, .n = n, .plain = true };
	struct copy own = { .key = key, .place = place, .file = *file };

	if (look(&j) != 0)
		return -1;
	if (j.found.n == 0)
		return 0;
	if (read_plain(&j, place, file, &own.text) != 0)
		return -1;
	for (size_t i = 0; i < j.found.n; i++) {
		struct copy *c = &j.found.v[i];
		if (read_plain(&j, c->place, &c->file, &c->text) == 0) {
			if (!same_text(&own.text, &c->text))
				return differ(&j, &own, c);
		} else if (err_code() == ERR_TERM) {
			return -1;
		} else {
			skip(&j, c->key);
		}
	}
	return 0;
}
