/*
 * info: what is known of the stanzas in all repositories.
 *
 * A repository that cannot be read is reported as such (status 99) and never as empty; the exit code is 0 all
 * the same, as users of such tools expect.
 */
#include "cmd/cmd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/map.h"
#include "base/str.h"
#include "cmd/info_intern.h"
#include "repo/layout.h"
#include "repo/wal_find.h"
#include "stream/sink.h"

const char *info_message(enum info_code code)
{
	switch (code) {
	case INFO_OK:
		return "ok";
	case INFO_MISSING_PATH:
		return "missing stanza path";
	case INFO_NO_BACKUP:
		return "no valid backups";
	case INFO_MISSING_DATA:
		return "missing stanza data";
	case INFO_MIXED:
		return "different across repos";
	case INFO_DB_MISMATCH:
		return "database mismatch across repos";
	case INFO_SET_NOT_FOUND:
		return "requested backup not found";
	case INFO_OTHER:
		break;
	}
	return "other";
}

const char *info_cipher(const struct info_stanza *s)
{
	for (size_t i = 1; i < s->repo_n; i++)
		if (strcmp(s->repos[i].cipher, s->repos[0].cipher) != 0)
			return "mixed";
	return s->repos[0].cipher;
}

bool info_is_full(const struct config *cfg)
{
	return cfg->detail_level == NULL || strcmp(cfg->detail_level, "progress") != 0;
}

bool info_is_template(const char *database)
{
	return strcmp(database, "template0") == 0 || strcmp(database, "template1") == 0;
}

/* Bytes of the UTF-8 character that begins here; 0: none does. */
static size_t utf8_length(const unsigned char *s)
{
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

char *info_readable(struct arena *a, const char *text)
{
	char *copy = arena_strdup(a, text);

	for (unsigned char *s = (unsigned char *)copy; *s != '\0';) {
		size_t len = utf8_length(s);
		if (len == 0 || (*s < ' ' && *s != '\n' && *s != '\t'))
			*s = '?';
		s += len == 0 ? 1 : len;
	}
	return copy;
}

static const char *error_text(struct arena *a, const struct err_value *v)
{
	const char *more = v->code != ERR_CRYPTO ? "" : "\nHINT: use option --stanza if encryption settings are "
		"different for the stanza than the global settings.";

	return info_readable(a, arena_printf(a, "[%s] %s%s%s%s", err_class(v->code), v->msg,
		*v->hints == '\0' ? "" : "\n", v->hints, more));
}

static void take_error(struct arena *a, struct info_repo *r)
{
	r->code = INFO_OTHER;
	r->error = error_text(a, err_take(a));
}

/* All of it only if that is wanted; what was dropped, always. */
static int look_into(struct arena *a, const struct config *cfg, const struct info_repo *r,
	const struct wal_place *place, struct info_archive *ar)
{
	struct wal_wanted wanted;

	wal_wanted_by(a, &r->backup, ar->db->id, &wanted);
	if (wal_losses_load(a, place, &wanted, &ar->losses) != 0)
		return -1;
	if (!cfg->archive)
		return 0;
	if (wal_survey(a, place, ar->db, &ar->survey) != 0)
		return -1;
	ar->surveyed = true;
	return 0;
}

static int load_archives(struct arena *a, const struct config *cfg, const char *stanza, struct info_repo *r)
{
	for (size_t i = 0; i < r->archive.history.n; i++) {
		const struct archive_db *db = &r->archive.history.v[i];
		struct info_archive ar = { .id = layout_archive_id(a, db->version, db->id), .db = db };
		const struct wal_place place = { r->store, stanza, ar.id, r->archive.cipher_pass };
		if (wal_min_max(a, &place, &ar.min, &ar.max) != 0)
			return -1;
		if (ar.min == NULL && db->id != r->archive.current)
			continue;
		vec_push(&r->archives, ar);
		if (look_into(a, cfg, r, &place, &r->archives.v[r->archives.n - 1]) != 0)
			return -1;
	}
	return 0;
}

/* Releases of pgBackRest before 2.60 hold one lock for all repositories, which counts for the first of them;
 * ours hold that one shared, and that is not seen here. */
static int look_at_backup(struct arena *a, const struct config *cfg, const char *stanza, bool first,
	struct info_repo *r)
{
	if (lock_look(cfg->lock_path, arena_printf(a, "%s-backup-%u.lock", stanza, r->key), &r->lock) != 0)
		return -1;
	if (r->lock.held || !first)
		return 0;
	return lock_look(cfg->lock_path, arena_printf(a, "%s-backup.lock", stanza), &r->lock);
}

/* 0 and a code, or -1 with the record. */
static int load_repo(struct arena *a, const struct config *cfg, const char *stanza, bool first,
	struct info_repo *r)
{
	struct store_entry e;
	int there = store_stat(a, r->store, layout_backup_root(a, stanza), &e);

	if (there < 0)
		return -1;
	if (there == STORE_ABSENT) {
		r->code = INFO_MISSING_PATH;
		return 0;
	}
	int ba = backup_info_load(a, r->store, stanza, r->pass, &r->backup);
	int ar = ba < 0 ? -1 : archive_info_load(a, r->store, stanza, r->pass, &r->archive);
	if (ba < 0 || ar < 0)
		return -1;
	if (ba == STORE_ABSENT || ar == STORE_ABSENT) {
		r->code = INFO_MISSING_DATA;
		return 0;
	}
	if (look_at_backup(a, cfg, stanza, first, r) != 0)
		return -1;
	r->code = r->backup.backups.n == 0 ? INFO_NO_BACKUP : INFO_OK;
	if (load_archives(a, cfg, stanza, r) != 0)
		return -1;
	r->loaded = true;
	return 0;
}

static void add_backups(struct arena *a, const struct config *cfg, struct info_stanza *s,
	struct info_repo *r)
{
	for (size_t i = 0; i < r->backup.backups.n; i++) {
		const struct backup_line *line = &r->backup.backups.v[i];
		struct info_backup b = { r, line, NULL };
		if (cfg->set != NULL && strcmp(cfg->set, line->label) != 0)
			continue;
		if (cfg->type != NULL && strcmp(cfg->type, line->type) != 0)
			continue;
		if (cfg->set != NULL) {
			int rc = manifest_load(a, r->store, s->name, line->label, r->backup.cipher_pass,
				&b.manifest);
			if (rc == STORE_ABSENT)
				(void)err_set(ERR_FILE_MISSING, "the manifest of backup '%s' is missing", line->label);
			if (rc != 0) {
				take_error(a, r);
				return;
			}
		}
		vec_push(&s->backups, b);
	}
}

/* A label that no repository has: nothing else of them is shown. */
static void judge_set(const struct config *cfg, struct info_stanza *s)
{
	for (size_t i = 0; i < s->repo_n; i++)
		if (cfg->set == NULL ||
			(s->repos[i].loaded && backup_info_find(&s->repos[i].backup, cfg->set) != NULL))
			return;
	for (size_t i = 0; i < s->repo_n; i++) {
		struct info_repo *r = &s->repos[i];
		r->loaded = false;
		r->archives.n = 0;
		if (r->code == INFO_OK)
			r->code = INFO_SET_NOT_FOUND;
	}
}

static int by_stop(const void *x, const void *y)
{
	const struct info_backup *bx = x, *by = y;

	if (bx->line->stop != by->line->stop)
		return bx->line->stop < by->line->stop ? -1 : 1;
	if (bx->repo->key != by->repo->key)
		return bx->repo->key < by->repo->key ? -1 : 1;
	return strcmp(bx->line->label, by->line->label);
}

static enum info_code common_code(const struct info_stanza *s)
{
	const struct backup_db *db = NULL;

	for (size_t i = 0; i < s->repo_n; i++) {
		if (!s->repos[i].loaded)
			continue;
		const struct backup_db *other = backup_info_current(&s->repos[i].backup);
		if (db != NULL && (db->system_id != other->system_id || strcmp(db->version, other->version) != 0))
			return INFO_DB_MISMATCH;
		db = other;
	}
	for (size_t i = 1; i < s->repo_n; i++)
		if (s->repos[i].code != s->repos[0].code)
			return INFO_MIXED;
	return s->repos[0].code;
}

static int look_at_restore(struct arena *a, const struct config *cfg, struct info_stanza *s)
{
	for (size_t i = 0; i < s->repo_n; i++) {
		struct lock_state state;
		if (lock_look(cfg->lock_path,
			arena_printf(a, "%s-restore-%u.lock", s->name, s->repos[i].key), &state) != 0)
			return -1;
		if (state.held)
			s->restore = state;
	}
	return 0;
}

static int gather(struct arena *a, const struct config *cfg, const struct ctx_repos *repos,
	const char *name, struct info_stanza *s)
{
	bool progress = !info_is_full(cfg);

	s->name = name;
	s->repo_n = repos->n;
	s->repos = arena_zalloc(a, repos->n * sizeof(*s->repos));
	vec_init(&s->backups, a);
	for (size_t i = 0; i < repos->n; i++) {
		struct info_repo *r = &s->repos[i];
		r->key = repos->v[i].key;
		r->store = repos->v[i].store;
		r->pass = repos->v[i].pass;
		r->cipher = ctx_repo_cipher(&repos->v[i]);
		vec_init(&r->archives, a);
		if (progress) {
			if (look_at_backup(a, cfg, name, i == 0, r) != 0)
				return -1;
			continue;
		}
		if (load_repo(a, cfg, name, i == 0, r) != 0)
			take_error(a, r);
		if (r->loaded)
			add_backups(a, cfg, s, r);
	}
	judge_set(cfg, s);
	info_judge(a, s);
	qsort(s->backups.v, s->backups.n, sizeof(*s->backups.v), by_stop);
	s->code = common_code(s);
	return look_at_restore(a, cfg, s);
}

struct names {
	struct arena *arena;
	struct map *seen;
	strvec *names;
};

static int see_stanza(void *ctx, const struct store_entry *e)
{
	struct names *n = ctx;

	if (e->type != STORE_FILE && !map_has(n->seen, e->name)) {
		map_put(n->seen, e->name, n);
		vec_push(n->names, arena_strdup(n->arena, e->name));
	}
	return 0;
}

/* A repository whose stanzas cannot even be listed stands under the name [invalid]. */
static int all_stanzas(struct arena *a, const struct ctx_repos *repos, strvec *names,
	struct err_value **failed)
{
	struct names n = { a, map_new(a), names };

	for (size_t i = 0; i < repos->n; i++)
		if (store_list(repos->v[i].store, "backup", see_stanza, &n) < 0)
			*failed = err_take(a);
	qsort(names->v, names->n, sizeof(*names->v), str_cmp_ptr);
	return 0;
}

static int check_options(const struct config *cfg)
{
	if (cfg->set == NULL)
		return 0;
	if (!info_is_full(cfg))
		return err_set(ERR_OPTION_INVALID, "option 'set' cannot be used with option 'detail-level' = "
			"'progress'");
	return 0;
}

static void invalid_stanza(struct arena *a, const struct ctx_repos *repos, const struct err_value *failed,
	struct info_stanza *s)
{
	s->name = "[invalid]";
	s->code = INFO_OTHER;
	s->repo_n = repos->n;
	s->repos = arena_zalloc(a, repos->n * sizeof(*s->repos));
	vec_init(&s->backups, a);
	vec_init(&s->combined, a);
	for (size_t i = 0; i < repos->n; i++) {
		s->repos[i].key = repos->v[i].key;
		vec_init(&s->repos[i].archives, a);
		s->repos[i].cipher = ctx_repo_cipher(&repos->v[i]);
		s->repos[i].code = INFO_OTHER;
		s->repos[i].error = error_text(a, failed);
	}
}

int cmd_info(struct arena *a, const struct config *cfg)
{
	struct ctx_repos repos;
	struct err_value *failed = NULL;
	struct buf text;
	strvec names;

	if (check_options(cfg) != 0 || ctx_repos(a, cfg, &repos) != 0)
		return -1;
	vec_init(&names, a);
	if (cfg->stanza != NULL)
		vec_push(&names, cfg->stanza);
	else if (all_stanzas(a, &repos, &names, &failed) != 0)
		return -1;

	struct info_stanza *v = arena_zalloc(a, (names.n + 1) * sizeof(*v));
	size_t n = 0;
	for (; n < names.n; n++)
		if (gather(a, cfg, &repos, names.v[n], &v[n]) != 0)
			return -1;
	if (n == 0 && failed != NULL)
		invalid_stanza(a, &repos, failed, &v[n++]);

	buf_init(&text, a);
	if (cfg->output != NULL && strcmp(cfg->output, "json") == 0)
		info_json(a, cfg, v, n, &text);
	else
		info_text(a, cfg, v, n, &text);
	return sink_write(sink_fd(a, STDOUT_FILENO, "standard output"), text.data, text.len);
}
