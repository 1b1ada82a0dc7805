/*
 * manifest5_read: backup.manifest into memory, a line at a time (format/repository.md 5).
 *
 * Sections come in any order and the defaults come last, so rows say what they were not given until
 * the end.  A line's JSON lives in a scratch arena that is renewed every SCRATCH_ROWS lines; what
 * stays is a row, its name, and strings that all rows share.
 */
#include <string.h>

#include "repo/format5/format5.h"

#define SCRATCH_ROWS 1000

/* Sections that are one object each: collected, read when all is there. */
static const struct head {
	const char *section;
	const struct field *fields;
	size_t offset; /* of the object in struct manifest */
	bool required;
} heads[] = {
	{"backup", manifest5_backup, 0, true},
	{"backup:db", backup_db_fields, offsetof(struct manifest, db), true},
	{"backup:option", manifest5_option, 0, true},
	{"metadata", manifest5_metadata, 0, false},
	{"target:file:default", manifest5_file_default, 0, false},
	{"target:link:default", manifest5_link_default, 0, false},
	{"target:path:default", manifest5_path_default, 0, false},
};
#define HEADS (sizeof(heads) / sizeof(heads[0]))

struct reading {
	struct arena *a;
	struct manifest *m;
	struct info_section head[HEADS];
	struct arena *scratch;
	unsigned rows; /* since scratch was renewed */
};

static void renew_scratch(struct reading *r)
{
	arena_free(r->scratch);
	r->scratch = arena_new();
	r->rows = 0;
}

static void begin(void *ctx)
{
	struct reading *r = ctx;

	r->m = manifest_new(r->a);
	r->m->codec = CODEC_COUNT;
	r->m->file_mode = r->m->path_mode = MODE5_DEFAULT;
	for (size_t i = 0; i < HEADS; i++)
		r->head[i] = (struct info_section){0};
	renew_scratch(r);
}

/* ---- rows ---- */

/* A string of a row that many rows have. */
static const char *shared(struct reading *r, const char *s)
{
	return s == NULL || !manifest_owner_known(s) ? s : manifest_intern(r->m, s);
}

static int finish_file(struct reading *r, struct manifest_file *f)
{
	if (f->repo_size == SIZE5_SAME)
		f->repo_size = f->size;
	if (f->size_orig == SIZE5_SAME)
		f->size_orig = f->size;
	if (f->block_size != 0 && f->block_sum_size == 0)
		f->block_sum_size = BLOCK_SUM5_DEFAULT;
	if (f->size == 0) {
		f->sum = sum_empty;
		f->has_sum = true;
	}
	if (f->bad_n > 0 && (!f->page_check || f->page_ok))
		return err_set(ERR_FORMAT, "has bad pages though they are said to be good");
	f->bad = f->bad_n == 0 ? NULL
			       : arena_memdup(r->m->arena, f->bad, f->bad_n * sizeof(*f->bad));
	return 0;
}

static int read_file(struct reading *r, const char *name, const struct json *v)
{
	struct manifest_file f = {
		.mode = MODE5_DEFAULT, .repo_size = SIZE5_SAME, .size_orig = SIZE5_SAME};

	if (fields_read(r->scratch, manifest5_file, &f, v) != 0 || finish_file(r, &f) != 0)
		return -1;
	f.name = arena_strdup(r->m->arena, name);
	f.user = shared(r, f.user);
	f.group = shared(r, f.group);
	f.reference = shared(r, f.reference);
	vec_push(&r->m->files, f);
	return 0;
}

static int read_path(struct reading *r, const char *name, const struct json *v)
{
	struct manifest_path p = {.mode = MODE5_DEFAULT};

	if (fields_read(r->scratch, manifest5_path, &p, v) != 0)
		return -1;
	p.name = arena_strdup(r->m->arena, name);
	p.user = shared(r, p.user);
	p.group = shared(r, p.group);
	vec_push(&r->m->paths, p);
	return 0;
}

static int read_link(struct reading *r, const char *name, const struct json *v)
{
	struct manifest_link l = {.name = arena_strdup(r->m->arena, name)};

	if (fields_read(r->m->arena, manifest5_link, &l, v) != 0)
		return -1;
	l.user = shared(r, l.user);
	l.group = shared(r, l.group);
	vec_push(&r->m->links, l);
	return 0;
}

static int read_target(struct reading *r, const char *name, const struct json *v)
{
	struct manifest_target t = {.name = arena_strdup(r->m->arena, name)};

	if (fields_read(r->m->arena, manifest5_target, &t, v) != 0)
		return -1;
	vec_push(&r->m->targets, t);
	return 0;
}

static int read_db(struct reading *r, const char *name, const struct json *v)
{
	struct manifest_db db = {.name = arena_strdup(r->m->arena, name)};

	if (fields_read(r->scratch, manifest5_db, &db, v) != 0)
		return -1;
	vec_push(&r->m->dbs, db);
	return 0;
}

/* The longest one first: it is asked for a million times. */
static const struct rows {
	const char *section;
	int (*read)(struct reading *r, const char *name, const struct json *v);
} rows[] = {
	{"target:file", read_file},
	{"target:path", read_path},
	{"target:link", read_link},
	{"backup:target", read_target},
	{"db", read_db},
};

static int entry(void *ctx, const char *section, const char *key, const char *value, size_t len)
{
	struct reading *r = ctx;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(rows[i].section, section) != 0)
			continue;
		if (++r->rows > SCRATCH_ROWS)
			renew_scratch(r);
		const struct json *v = info_value(r->scratch, value, len);
		return v == NULL ? -1 : rows[i].read(r, key, v);
	}
	for (size_t i = 0; i < HEADS; i++)
		if (strcmp(heads[i].section, section) == 0)
			return info_section_add(r->m->arena, &r->head[i], key, value, len);
	return 0;
}

/* ---- when all is there ---- */

static int read_heads(struct reading *r)
{
	struct manifest *m = r->m;

	for (size_t i = 0; i < HEADS; i++) {
		const struct head *h = &heads[i];

		if (r->head[i].last == NULL) {
			if (h->required)
				return err_set(ERR_FORMAT, "section [%s] not found", h->section);
			continue;
		}
		if (fields_read(m->arena, h->fields, (char *)m + h->offset, &r->head[i].object) !=
			0)
			return err_wrap("[%s]", h->section);
	}
	/* before the type was named there was only one */
	if (m->codec == CODEC_COUNT)
		m->codec = m->compress ? CODEC_GZ : CODEC_NONE;
	return 0;
}

static int apply_owner(const char **owner, const char *otherwise, const char *name)
{
	if (*owner == NULL)
		*owner = otherwise;
	return *owner == NULL
		? err_set(ERR_FORMAT, "'%s' has no owner and there is no default", name)
		: 0;
}

static int apply_mode(uint16_t *mode, uint16_t otherwise, const char *name)
{
	if (*mode == MODE5_DEFAULT)
		*mode = otherwise;
	return *mode == MODE5_DEFAULT
		? err_set(ERR_FORMAT, "'%s' has no mode and there is no default", name)
		: 0;
}

static int apply_defaults(struct manifest *m)
{
	for (size_t i = 0; i < m->files.n; i++) {
		struct manifest_file *f = &m->files.v[i];

		if (apply_owner(&f->user, m->file_user, f->name) != 0 ||
			apply_owner(&f->group, m->file_group, f->name) != 0 ||
			apply_mode(&f->mode, m->file_mode, f->name) != 0)
			return -1;
	}
	for (size_t i = 0; i < m->paths.n; i++) {
		struct manifest_path *p = &m->paths.v[i];

		if (apply_owner(&p->user, m->path_user, p->name) != 0 ||
			apply_owner(&p->group, m->path_group, p->name) != 0 ||
			apply_mode(&p->mode, m->path_mode, p->name) != 0)
			return -1;
	}
	for (size_t i = 0; i < m->links.n; i++) {
		struct manifest_link *l = &m->links.v[i];

		if (apply_owner(&l->user, m->link_user, l->name) != 0 ||
			apply_owner(&l->group, m->link_group, l->name) != 0)
			return -1;
	}
	return 0;
}

static bool has_reference(const struct manifest *m, const char *label)
{
	for (size_t i = m->reference.n; i > 0; i--)
		if (strcmp(m->reference.v[i - 1], label) == 0)
			return true;
	return false;
}

/* Own files have no reference, also where one is spelled out.  Without a list (before 2.42) the
 * labels stand in it as the files, in order, name them. */
static void settle_references(struct manifest *m)
{
	bool rebuild = m->reference.n == 0;
	const char *seen = NULL; /* rows share the string */

	for (size_t i = 0; i < m->files.n; i++) {
		struct manifest_file *f = &m->files.v[i];

		if (f->reference == NULL || f->reference == seen)
			continue;
		if (strcmp(f->reference, m->label) == 0)
			f->reference = NULL;
		else if (rebuild && !has_reference(m, f->reference))
			vec_push(&m->reference, f->reference);
		seen = f->reference;
	}
	if (rebuild)
		vec_push(&m->reference, m->label);
}

static int end(void *ctx, const struct info_head *head)
{
	struct reading *r = ctx;
	struct manifest *m = r->m;

	m->program = manifest_intern(m, head->program);
	m->cipher_pass = head->cipher_pass;
	if (read_heads(r) != 0 || apply_defaults(m) != 0)
		return -1;
	if (m->file_mode == MODE5_DEFAULT)
		m->file_mode = 0;
	if (m->path_mode == MODE5_DEFAULT)
		m->path_mode = 0;
	manifest_sort(m);
	settle_references(m);
	return manifest_check(m);
}

int manifest_load(struct arena *a, struct store *repo, const char *stanza, const char *label,
	const char *pass, struct manifest **out)
{
	static const struct info_parser parser = {begin, entry, end};
	struct reading r = {.a = a};
	int rc = info_load(a, repo, layout_manifest(a, stanza, label), pass, &parser, &r);

	arena_free(r.scratch);
	if (rc != 0)
		return rc;
	if (strcmp(r.m->label, label) != 0) {
		err_set(ERR_FORMAT, "requested backup '%s' and manifest label '%s' do not match",
			label, r.m->label);
		return err_hint("this indicates some sort of corruption (at the very least paths "
				"have been renamed)");
	}
	*out = r.m;
	return 0;
}
