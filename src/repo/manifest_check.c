/*
 * manifest_check: what must be true of a manifest before its names become paths on a host.
 *
 * A manifest may come from a damaged or a hostile repository; its checksum proves nothing against
 * the latter.  All lists must be sorted: duplicates are neighbours and parents are found by
 * bisection.
 */
#include "repo/manifest.h"

#include <stdlib.h>
#include <string.h>
#include "base/path.h"
#include "base/str.h"
#include "stream/block_sum.h"

#define MODE_MAX 0777 /* no writer records more; a setuid file of root must not come out of a manifest */
#define DATA "pg_data"
#define TBLSPC "pg_tblspc"
#define DIGITS "0123456789"

struct prefix {
	const char *name;
	size_t len;
};

struct check {
	const struct manifest *m;
	struct prefix parent;  /* of an earlier row, known to be listed */
	const char *reference; /* of an earlier row, known to be listed */
};

/* ---- names ---- */

/* Behind "pg_tblspc/": the OID, then something below it unless a directory is meant. */
static bool tablespace_rest_ok(const char *rest, bool dir)
{
	size_t digits = strspn(rest, DIGITS);

	return digits > 0 && (rest[digits] == '/' || (rest[digits] == '\0' && dir));
}

static int check_name(const char *name, bool dir)
{
	if (!path_is_safe(name))
		return err_set(ERR_FORMAT, "'%s' is not a safe name", name);
	if (str_starts(name, DATA "/") || (dir && strcmp(name, DATA) == 0))
		return 0;
	if (dir && strcmp(name, TBLSPC) == 0)
		return 0;
	if (str_starts(name, TBLSPC "/") && tablespace_rest_ok(name + strlen(TBLSPC "/"), dir))
		return 0;
	return err_set(ERR_FORMAT, "'%s' is outside of " DATA " and " TBLSPC, name);
}

static int prefix_cmp(const void *key, const void *row)
{
	const struct prefix *k = key;
	const char *name = ((const struct manifest_path *)row)->name;
	int order = strncmp(k->name, name, k->len);

	return order != 0 ? order : -(name[k->len] != '\0');
}

/* Restore makes directories in the order listed and never their parents. */
static int check_parent(struct check *c, const char *name)
{
	const char *slash = strrchr(name, '/');
	struct prefix parent = {.name = name, .len = slash == NULL ? 0 : (size_t)(slash - name)};

	if (slash == NULL || (parent.len == strlen(TBLSPC) && str_starts(name, TBLSPC "/")))
		return 0;
	/* neighbours mostly share it */
	if (parent.len == c->parent.len && memcmp(c->parent.name, name, parent.len) == 0)
		return 0;
	const struct manifest_path *p =
		bsearch(&parent, c->m->paths.v, c->m->paths.n, sizeof(*p), prefix_cmp);
	if (p == NULL)
		return err_set(ERR_FORMAT, "'%s' is listed without its parent", name);
	c->parent = (struct prefix){.name = p->name, .len = parent.len};
	return 0;
}

static int check_paths(struct check *c)
{
	const struct manifest *m = c->m;

	if (manifest_path_find(m, DATA) == NULL)
		return err_set(ERR_FORMAT, "path '" DATA "' is not listed");
	for (size_t i = 0; i < m->paths.n; i++) {
		const struct manifest_path *p = &m->paths.v[i];

		if (check_name(p->name, true) != 0 || check_parent(c, p->name) != 0)
			return -1;
		if (p->mode > MODE_MAX)
			return err_set(ERR_FORMAT, "path '%s' has an impossible mode", p->name);
	}
	return 0;
}

/* Both lists are sorted: one walk finds a name that stands in both. */
static int check_apart(const struct manifest *m)
{
	size_t p = 0;

	for (size_t f = 0; f < m->files.n; f++) {
		int order = 1;

		while (p < m->paths.n &&
			(order = strcmp(m->paths.v[p].name, m->files.v[f].name)) < 0)
			p++;
		if (p < m->paths.n && order == 0)
			return err_set(ERR_FORMAT, "'%s' is listed as file and as path",
				m->files.v[f].name);
	}
	return 0;
}

/* ---- files ---- */

static bool same_set(const struct manifest *m, const char *label)
{
	return label_is_valid(label) && strncmp(label, m->label, LABEL_FULL) == 0;
}

static int check_reference(struct check *c, const struct manifest_file *f)
{
	const strvec *known = &c->m->reference;

	/* rows share the string */
	if (f->reference == c->reference)
		return 0;
	for (size_t i = known->n; i > 0; i--) {
		if (strcmp(known->v[i - 1], f->reference) == 0) {
			c->reference = f->reference;
			return 0;
		}
	}
	return err_set(ERR_FORMAT,
		"file '%s' refers to backup '%s', which is not in the reference list", f->name,
		f->reference);
}

static int check_pages(const struct manifest_file *f)
{
	for (uint32_t i = 0; i < f->bad_n; i++)
		if (f->bad[i].first > f->bad[i].last ||
			(i > 0 && f->bad[i].first <= f->bad[i - 1].last))
			return err_set(ERR_FORMAT,
				"file '%s' has a list of pages that does not ascend", f->name);
	return 0;
}

static bool numbers_ok(const struct manifest_file *f)
{
	const uint64_t max = INT64_MAX;

	if (f->size > max || f->size_orig > max || f->repo_size > max || f->mode > MODE_MAX)
		return false;
	if (f->bundle_offset > max - f->repo_size || (f->bundle == 0 && f->bundle_offset != 0))
		return false;
	/* a range of no bytes would be read to the bundle's end */
	if (f->bundle != 0 && f->size != 0 && f->repo_size == 0)
		return false;
	if (f->block_size == 0)
		return f->block_map_size == 0;
	return f->block_sum_size >= 1 && f->block_sum_size <= BLOCK_SUM_MAX &&
		f->block_map_size <= f->repo_size;
}

static int check_files(struct check *c)
{
	const struct manifest *m = c->m;

	for (size_t i = 0; i < m->files.n; i++) {
		const struct manifest_file *f = &m->files.v[i];

		if (check_name(f->name, false) != 0 || check_parent(c, f->name) != 0)
			return -1;
		if (!numbers_ok(f))
			return err_set(ERR_FORMAT, "file '%s' has impossible numbers", f->name);
		if (f->reference != NULL && check_reference(c, f) != 0)
			return -1;
		if (check_pages(f) != 0)
			return -1;
	}
	return check_apart(m);
}

/* ---- links and targets ---- */

static int check_target(const struct manifest_target *t)
{
	bool tablespace = str_starts(t->name, TBLSPC "/");

	if (check_name(t->name, true) != 0)
		return -1;
	if (strcmp(t->name, TBLSPC) == 0 || t->link == (strcmp(t->name, DATA) == 0))
		return err_set(ERR_FORMAT, "target '%s' is of an impossible type", t->name);
	if (t->path == NULL || t->path[0] == '\0')
		return err_set(ERR_FORMAT, "target '%s' has no path", t->name);
	if (t->file != NULL && (!path_is_safe(t->file) || strchr(t->file, '/') != NULL))
		return err_set(ERR_FORMAT, "target '%s' has the file '%s', which is not a name",
			t->name, t->file);
	if (tablespace != (t->tablespace_oid != 0) || tablespace != (t->tablespace_name != NULL))
		return err_set(ERR_FORMAT, "target '%s' lacks what makes a tablespace, or has it",
			t->name);
	if (!tablespace)
		return 0;
	uint64_t oid;
	if (!str_to_u64(t->name + strlen(TBLSPC "/"), &oid) || oid != t->tablespace_oid)
		return err_set(ERR_FORMAT, "target '%s' has the tablespace-id %u", t->name,
			t->tablespace_oid);
	return 0;
}

static int check_link(struct check *c, const struct manifest_link *l)
{
	const char *name = l->name;

	if (check_name(name, false) != 0 || check_parent(c, name) != 0)
		return -1;
	if (!str_starts(name, DATA "/"))
		return err_set(ERR_FORMAT, "link '%s' is not below " DATA, name);
	if (l->destination == NULL || l->destination[0] == '\0')
		return err_set(ERR_FORMAT, "link '%s' has no destination", name);
	/* tablespaces: pg_data/pg_tblspc/OID here, pg_tblspc/OID there */
	if (str_starts(name, DATA "/" TBLSPC "/"))
		name += strlen(DATA "/");
	if (manifest_target_find(c->m, name) == NULL)
		return err_set(ERR_FORMAT, "link '%s' has no target", l->name);
	return 0;
}

static int check_links(struct check *c)
{
	const struct manifest *m = c->m;

	if (manifest_target_find(m, DATA) == NULL)
		return err_set(ERR_FORMAT, "target '" DATA "' is not listed");
	for (size_t i = 0; i < m->targets.n; i++)
		if (check_target(&m->targets.v[i]) != 0)
			return -1;
	for (size_t i = 0; i < m->links.n; i++)
		if (check_link(c, &m->links.v[i]) != 0)
			return -1;
	/* different links have different targets, so equal numbers mean one for one */
	if (m->targets.n != m->links.n + 1)
		return err_set(ERR_FORMAT, "a target has no link");
	return 0;
}

/* ---- the backup itself ---- */

static int check_labels(const struct manifest *m)
{
	if (m->label == NULL || !label_is_valid(m->label))
		return err_set(ERR_FORMAT, "'%.40s' is not a backup label",
			m->label == NULL ? "" : m->label);
	if (m->type != label_type(m->label))
		return err_set(ERR_FORMAT, "type '%s' does not belong to backup '%s'",
			backup_type_name(m->type), m->label);
	if ((m->prior == NULL) != (m->type == BACKUP_FULL))
		return err_set(ERR_FORMAT, "a full backup has no prior, all others have one");
	if (m->prior != NULL && !same_set(m, m->prior))
		return err_set(ERR_FORMAT, "prior '%.40s' is not of the same backup set", m->prior);
	for (size_t i = 0; i < m->reference.n; i++)
		if (!same_set(m, m->reference.v[i]))
			return err_set(ERR_FORMAT,
				"reference '%.40s' is not of the same backup set",
				m->reference.v[i]);
	if (m->reference.n == 0 || strcmp(m->reference.v[m->reference.n - 1], m->label) != 0)
		return err_set(
			ERR_FORMAT, "the reference list does not end with the backup itself");
	return 0;
}

int manifest_check(const struct manifest *m)
{
	struct check c = {.m = m};
	const char *twice = manifest_misplaced(m);

	if (twice != NULL)
		return err_set(ERR_FORMAT, "'%s' is listed twice", twice);
	if (check_labels(m) != 0)
		return -1;
	if (m->db.version == NULL || !layout_version_ok(m->db.version))
		return err_set(ERR_FORMAT, "no PostgreSQL version");
	return check_paths(&c) != 0 || check_files(&c) != 0 || check_links(&c) != 0 ? -1 : 0;
}
