/*
 * scan_skip: what a backup leaves out (format/repository.md 5.12.1, the numbers are its rules).
 */
#include "repo/scan_intern.h"

#include <ctype.h>
#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

static bool in_list(const char *const *list, const char *name)
{
	for (; *list != NULL; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static const char *skip_digits(const char *s)
{
	while (isdigit((unsigned char)*s))
		s++;
	return s;
}

/* What may follow a relation's number: "_fsm" or "_vm", then ".<digits>", then the end. */
static bool is_relation_tail(const char *s)
{
	if (str_starts(s, "_fsm"))
		s += 4;
	else if (str_starts(s, "_vm"))
		s += 3;
	if (*s == '.') {
		const char *end = skip_digits(s + 1);
		if (end == s + 1)
			return false;
		s = end;
	}
	return *s == '\0';
}

/* Rule 10: t<backend>_<number>[_fsm|_vm][.<segment>]. */
static bool is_temporary(const char *name)
{
	if (name[0] != 't')
		return false;
	const char *end = skip_digits(name + 1);
	if (end == name + 1 || *end != '_')
		return false;
	const char *tail = skip_digits(end + 1);
	return tail != end + 1 && is_relation_tail(tail);
}

/* Rule 9. */
static bool is_relcache_init(const char *name)
{
	static const char file[] = "pg_internal.init";

	if (!str_starts(name, file))
		return false;
	const char *tail = name + strlen(file);
	return *tail == '\0' || (*tail == '.' && tail[1] != '\0' && *skip_digits(tail + 1) == '\0');
}

const struct map *scan_unlogged(struct arena *a, const struct store_entry *v, size_t n)
{
	struct map *unlogged = map_new(a);

	for (size_t i = 0; i < n; i++) {
		const char *end = skip_digits(v[i].name);
		if (end != v[i].name && strcmp(end, "_init") == 0)
			map_put(unlogged, arena_strndup(a, v[i].name, (size_t)(end - v[i].name)), unlogged);
	}
	return unlogged;
}

/* Rule 11: an unlogged relation is made anew from its init fork; its other files are not needed. */
static bool is_unlogged(const struct map *unlogged, const char *name)
{
	const char *end = skip_digits(name);
	char number[32];
	size_t len = (size_t)(end - name);

	if (map_count(unlogged) == 0 || len == 0 || len >= sizeof(number) || !is_relation_tail(end))
		return false;
	memcpy(number, name, len);
	number[len] = '\0';
	return map_has(unlogged, number);
}

/* Rules 5 to 8: files directly in the data directory. */
static bool is_base_file(const struct pg_version *version, const char *name)
{
	static const char *const always[] = { "backup_label", "backup_label.old", "postmaster.opts",
		"postmaster.pid", "postgresql.auto.conf.tmp", NULL };
	static const char *const signals[] = { "recovery.signal", "standby.signal", NULL };
	static const char *const recovery[] = { "recovery.conf", "recovery.done", NULL };
	static const char *const manifests[] = { "backup_manifest", "backup_manifest.tmp", NULL };

	return in_list(always, name) ||
		in_list(version->recovery_signal ? signals : recovery, name) ||
		(version->backup_manifest && in_list(manifests, name));
}

/* Rules 3 and 4: directories that stay, emptied. */
static bool is_emptied(const struct scan *s, const char *dir, const struct store_entry *e)
{
	static const char *const emptied[] = { "pg_data/pg_dynshmem", "pg_data/pg_notify",
		"pg_data/pg_replslot", "pg_data/pg_serial", "pg_data/pg_snapshots", "pg_data/pg_stat_tmp",
		"pg_data/pg_subtrans", NULL };

	if (in_list(emptied, dir))
		return true;
	if (!s->o->online || !str_starts(dir, s->wal_dir))
		return false;
	const char *below = dir + strlen(s->wal_dir);
	return (*below == '\0' && e->type == STORE_FILE) || strcmp(below, "/archive_status") == 0;
}

/* Rule 2: "name" drops the file or directory ... */
static bool is_excluded(const struct scan *s, const struct scan_dir *dir, const struct store_entry *e)
{
	if (s->o->exclude == NULL || s->o->exclude->n == 0)
		return false;
	SCOPED_ARENA(a);
	const char *path = path_join(a, manifest_pg_path(dir->name), e->name);

	for (size_t i = 0; i < s->o->exclude->n; i++) {
		const char *rule = s->o->exclude->v[i];
		if (strcmp(rule, path) == 0) {
			log_info("exclude '%s' from backup using '%s' exclusion", store_name(a, s->pg, path), rule);
			return true;
		}
	}
	return false;
}

/* ... and "name/" keeps the directory and drops what is in it. */
bool scan_skip_content(struct scan *s, const char *name)
{
	const char *path = manifest_pg_path(name);
	size_t n = s->o->exclude == NULL ? 0 : s->o->exclude->n;

	for (size_t i = 0; i < n; i++) {
		const char *rule = s->o->exclude->v[i];
		size_t len = strlen(path);
		if (len > 0 && strncmp(rule, path, len) == 0 && strcmp(rule + len, "/") == 0) {
			log_info("exclude contents of '%s' from backup using '%s' exclusion",
				store_name(s->scratch, s->pg, path), rule);
			return true;
		}
	}
	return false;
}

bool scan_skip(struct scan *s, const struct scan_dir *dir, const struct store_entry *e)
{
	if (str_starts(e->name, "pgsql_tmp") || is_emptied(s, dir->name, e))
		return true;
	if (e->type == STORE_FILE && strcmp(dir->name, "pg_data") == 0 &&
		is_base_file(s->o->control->version, e->name))
		return true;
	if (dir->db && e->type == STORE_FILE &&
		(is_relcache_init(e->name) || is_temporary(e->name) || is_unlogged(dir->unlogged, e->name)))
		return true;
	return is_excluded(s, dir, e);
}
