/*
 * restore_db: which databases are restored (format/repository.md 12.7).
 *
 * The files of the others come back as zeros of the full size, so that the server can replay WAL over them and
 * the database can be dropped.  A database is what has a PG_VERSION in a database directory; system databases
 * are never left out unless they are named.
 */
#include "cmd/restore_intern.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

#define FIRST_USER_OID 16384
#define DIGITS "0123456789"

static bool has_oid(const restore_oids *list, uint32_t oid)
{
	size_t low = 0, high = list->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (list->v[mid] == oid)
			return true;
		if (list->v[mid] < oid)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/* In place, ascending; a list of databases is short. */
static void add_oid(restore_oids *list, uint32_t oid)
{
	if (has_oid(list, oid))
		return;
	vec_push(list, oid);
	for (size_t i = list->n - 1; i > 0 && list->v[i - 1] > oid; i--) {
		list->v[i] = list->v[i - 1];
		list->v[i - 1] = oid;
	}
}

static bool parse_oid(const char *text, size_t len, uint32_t *oid)
{
	char digits[11];
	uint64_t value;

	if (len == 0 || len >= sizeof(digits) || !str_all(text, len, DIGITS))
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (!str_to_u64(digits, &value) || value == 0 || value > UINT32_MAX)
		return false;
	*oid = (uint32_t)value;
	return true;
}

/* The name of a file inside of a database directory, and of which database; NULL for all others. */
static const char *in_database(const char *name, uint32_t *oid)
{
	if (str_starts(name, "pg_data/base/")) {
		name += strlen("pg_data/base/");
	} else if (str_starts(name, "pg_tblspc/")) {
		const char *folder = strchr(name + strlen("pg_tblspc/"), '/');
		if (folder == NULL || (name = strchr(folder + 1, '/')) == NULL)
			return NULL;
		name++;
	} else {
		return NULL;
	}
	const char *end = strchr(name, '/');
	return end != NULL && parse_oid(name, (size_t)(end - name), oid) ? end + 1 : NULL;
}

static bool is_system_name(const char *name)
{
	return strcmp(name, "template0") == 0 || strcmp(name, "template1") == 0 || strcmp(name, "postgres") == 0;
}

static bool is_system(const struct manifest *m, uint32_t oid)
{
	for (size_t i = 0; i < m->dbs.n; i++)
		if (m->dbs.v[i].oid == oid && is_system_name(m->dbs.v[i].name))
			return true;
	return oid < FIRST_USER_OID;
}

static void find_known(const struct manifest *m, restore_oids *known)
{
	uint32_t oid;

	for (size_t i = 0; i < m->dbs.n; i++)
		if (is_system(m, m->dbs.v[i].oid))
			add_oid(known, m->dbs.v[i].oid);
	for (size_t i = 0; i < m->files.n; i++) {
		const char *rest = in_database(m->files.v[i].name, &oid);
		if (rest != NULL && strcmp(rest, "PG_VERSION") == 0)
			add_oid(known, oid);
	}
}

static bool find_database(const struct manifest *m, const restore_oids *known, const char *text, uint32_t *oid)
{
	if (parse_oid(text, strlen(text), oid) && has_oid(known, *oid))
		return true;
	for (size_t i = 0; i < m->dbs.n; i++) {
		*oid = m->dbs.v[i].oid;
		if (strcmp(m->dbs.v[i].name, text) == 0)
			return has_oid(known, *oid);
	}
	return false;
}

static int find_excluded(const struct restore *r, const restore_oids *known, restore_oids *excluded)
{
	uint32_t oid;

	for (size_t i = 0; i < r->cfg->db_exclude.n; i++) {
		const char *text = r->cfg->db_exclude.v[i];
		if (!find_database(r->m, known, text, &oid))
			return err_set(ERR_DB_MISSING, "database to exclude '%s' does not exist", text);
		if (is_system(r->m, oid))
			log_warn("system database '%s' is excluded from selective restore", text);
		add_oid(excluded, oid);
	}
	return 0;
}

static int find_included(const struct restore *r, const restore_oids *known, const restore_oids *excluded,
	restore_oids *included)
{
	uint32_t oid;

	for (size_t i = 0; i < r->cfg->db_include.n; i++) {
		const char *text = r->cfg->db_include.v[i];
		if (!find_database(r->m, known, text, &oid))
			return err_set(ERR_DB_MISSING, "database to include '%s' does not exist", text);
		if (is_system(r->m, oid))
			return err_set(ERR_DB_INVALID, "system databases (template0, postgres, etc.) are included "
				"by default");
		if (has_oid(excluded, oid))
			return err_set(ERR_DB_INVALID, "database to include '%" PRIu32 "' is in the exclude list",
				oid);
		add_oid(included, oid);
	}
	return 0;
}

static const char *list_text(struct arena *a, const restore_oids *list)
{
	struct buf b;

	buf_init(&b, a);
	for (size_t i = 0; i < list->n; i++)
		buf_addf(&b, "%s%" PRIu32, i == 0 ? "" : ", ", list->v[i]);
	return b.data;
}

int restore_select_databases(struct restore *r)
{
	restore_oids known, excluded, included, *zeroed = &r->zeroed;

	vec_init(zeroed, r->arena);
	if (r->cfg->db_include.n == 0 && r->cfg->db_exclude.n == 0)
		return 0;
	vec_init(&known, r->arena);
	vec_init(&excluded, r->arena);
	vec_init(&included, r->arena);
	find_known(r->m, &known);
	if (known.n == 0)
		return err_set(ERR_DB_MISSING, "no databases found for selective restore");
	log_detail("databases found for selective restore (%s)", list_text(r->arena, &known));
	if (find_excluded(r, &known, &excluded) != 0 || find_included(r, &known, &excluded, &included) != 0)
		return -1;
	for (size_t i = 0; i < known.n; i++) {
		uint32_t oid = known.v[i];
		if (included.n == 0 ? has_oid(&excluded, oid) : !is_system(r->m, oid) && !has_oid(&included, oid))
			add_oid(zeroed, oid);
	}
	if (zeroed->n == 0)
		log_info("nothing to filter - all user databases have been selected");
	else
		log_detail("databases excluded (zeroed) from selective restore (%s)", list_text(r->arena, zeroed));
	return 0;
}

bool restore_is_zeroed(const struct restore *r, const struct manifest_file *f)
{
	uint32_t oid;

	if (r->zeroed.n == 0)
		return false;
	const char *rest = in_database(f->name, &oid);
	return rest != NULL && strcmp(rest, "PG_VERSION") != 0 && has_oid(&r->zeroed, oid);
}
