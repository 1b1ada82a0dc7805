/*
 * verify_repair: WAL that is damaged or missing here, anew from another repository's proven copy.
 *
 * Decided from verify's own findings: files that are proven damaged, segments that recovery from a listed backup needs
 * and that are not there, histories that are missed.  A file that cannot be read is not known to be damaged and stays;
 * so does a segment that is there twice, because only people can say which one goes.
 *
 * Pushes may run meanwhile: wal_copy takes care, as two pushes do.  Expire may not: what it removes between our look
 * and our write would come back, and a segment alone in front of the archive is a hole behind it.  So the repair holds the
 * repository's backup lock, and looks at the archives once more when it has it.  Like a push it obeys the stop file.
 */
#include "cmd/verify_intern.h"

#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "cmd/archive.h"
#include "cmd/locks.h"
#include "repo/wal_check.h"
#include "repo/wal_copy.h"

struct repair {
	struct verify *v;
	struct verify_archive *ar;
	struct wal_copy_from *from;
	size_t from_n;
	enum codec codec;
	bool changed; /* something of the archive */
	struct map *done;
};

static struct wal_copy_opts opts_of(const struct repair *r, const char *name)
{
	return (struct wal_copy_opts){ .name = name, .key = r->v->repo->key, .to = r->ar->place, .codec = r->codec,
		.level = (int)r->v->cfg->compress_level, .expect = r->ar->expect };
}

static const char *what_of(const char *name)
{
	return wal_kind(name) == WAL_SEGMENT ? "WAL segment" : "WAL file";
}

/* Said once for each file, whoever needs it; a failure is one of this file only. */
static int copy(struct repair *r, const struct wal_copy_opts *o, const char *was)
{
	struct verify *v = r->v;
	unsigned key;

	if (map_has(r->done, o->name))
		return 0;
	map_put(r->done, o->name, r);
	int rc = wal_copy(v->arena, o, r->from, r->from_n, &key);
	if (rc < 0 && err_code() == ERR_TERM)
		return -1;
	if (rc < 0) {
		verify_find(v, "%s %s of archive %s was not repaired: [%03d]: %s", what_of(o->name), o->name, r->ar->id,
			(int)err_code(), err_msg());
		err_clear();
	}
	if (rc != 0)
		return 0;
	r->changed = true;
	v->repaired++;
	if (key == 0)
		log_warn("repo%u: %s %s was %s and has been pushed again meanwhile", o->key, what_of(o->name), o->name,
			was);
	else
		log_warn("repo%u: %s %s was %s and has been replaced by the copy of repo%u", o->key, what_of(o->name),
			o->name, was, key);
	return 0;
}

static const char *damage(enum check_state s)
{
	return s == CHECK_SUM ? "damaged (checksum)" : s == CHECK_SIZE ? "damaged (size)" : "damaged";
}

static bool is_damaged(const struct verify_wal *w)
{
	return !w->twin && (w->result.state == CHECK_SUM || w->result.state == CHECK_SIZE ||
		w->result.state == CHECK_DAMAGED);
}

static int repair_files(struct repair *r)
{
	for (size_t i = 0; i < r->ar->files.n; i++) {
		struct verify_wal *w = &r->ar->files.v[i];
		const struct wal_file file = { .path = w->path, .name = w->name, .sum = w->sum, .codec = w->codec,
			.plain_name = w->kind == WAL_HISTORY || w->kind == WAL_BACKUP };
		if (!is_damaged(w))
			continue;
		struct wal_copy_opts o = opts_of(r, verify_pushed_name(r->v->arena, w));
		o.damaged = &file;
		const size_t before = r->v->repaired;
		if (copy(r, &o, damage(w->result.state)) != 0)
			return -1;
		if (r->v->repaired > before)
			w->result.state = CHECK_MISSING; /* what was known of it is of the past */
	}
	return 0;
}

static int repair_missing(struct repair *r, const char *name)
{
	const struct wal_copy_opts o = opts_of(r, name);

	return copy(r, &o, "missing");
}

static int repair_gaps(struct repair *r)
{
	struct arena *a = r->v->arena;
	char name[WAL_NAME + 1];

	for (size_t i = 0; i < r->ar->gaps.n; i++) {
		const struct wal_gap *g = &r->ar->gaps.v[i];
		if (g->kind != WAL_GAP_HOLE)
			continue;
		for (struct wal_pos at = g->first; at.segment <= g->last.segment; at.segment++) {
			wal_name(at, verify_segment_bytes(r->ar), name);
			if (repair_missing(r, arena_strdup(a, name)) != 0)
				return -1;
		}
	}
	for (size_t i = 0; i < r->ar->no_history.n; i++)
		if (repair_missing(r, arena_printf(a, "%08X.history", r->ar->no_history.v[i])) != 0)
			return -1;
	return 0;
}

static int repair_lacks(struct repair *r)
{
	verify_lacks lacks;

	verify_archive_lacks(r->v->arena, r->v, r->ar, &lacks);
	for (size_t i = 0; i < lacks.n; i++)
		if (lacks.v[i].missing && repair_missing(r, lacks.v[i].name) != 0)
			return -1;
	return 0;
}

/* A history has no hash: only the other repositories can tell that it is another one. */
static int compare_histories(struct repair *r)
{
	struct verify *v = r->v;

	for (size_t i = 0; i < r->ar->files.n; i++) {
		const struct verify_wal *w = &r->ar->files.v[i];
		const struct wal_file file = { .path = w->path, .name = w->name, .plain_name = true };
		if (w->kind != WAL_HISTORY || w->result.state != CHECK_OK)
			continue;
		if (wal_copy_agrees(v->arena, w->name, v->repo->key, &file, &r->ar->place, r->from, r->from_n) == 0)
			continue;
		if (err_code() == ERR_TERM)
			return -1;
		verify_find(v, "WAL file %s of archive %s was not repaired: [%03d]: %s", w->name, r->ar->id,
			(int)err_code(), err_msg());
		err_clear();
	}
	return 0;
}

static int prepare(struct repair *r, const struct ctx_repos *others, const struct archive_info *infos)
{
	struct verify *v = r->v;
	const struct archive_db *db = r->ar->db;

	if (!codec_by_name(v->cfg->compress_type, &r->codec))
		return err_set(ERR_OPTION_VALUE, "'%s' is not allowed for 'compress-type' option",
			v->cfg->compress_type);
	r->done = map_new(v->arena);
	r->from = arena_zalloc(v->arena, others->n * sizeof(*r->from));
	for (size_t i = 0; i < others->n; i++) {
		struct wal_copy_from *from = &r->from[i];
		from->key = others->v[i].key;
		from->places = archive_places(v->arena, v->cfg, &others->v[i], &infos[i], db->version, db->system_id,
			&from->n);
	}
	r->from_n = others->n;
	return 0;
}

static int repair_archive(struct repair *r)
{
	if (verify_archive_look_again(r->v, r->ar) != 0 || repair_files(r) != 0 || repair_gaps(r) != 0 ||
		repair_lacks(r) != 0)
		return -1;
	return r->changed ? verify_archive_look_again(r->v, r->ar) : 0;
}

/* The other repositories; one that cannot be asked can still not make a copy wrong. */
static int open_others(struct verify *v, struct ctx_repos *others, struct archive_info **infos)
{
	struct config all = *v->cfg;
	size_t kept = 0;

	all.repo_key = 0;
	if (ctx_repos(v->arena, &all, others) != 0)
		return -1;
	*infos = arena_zalloc(v->arena, others->n * sizeof(**infos));
	for (size_t i = 0; i < others->n; i++) {
		struct ctx_repo *repo = &others->v[i];
		if (repo->key == v->repo->key)
			continue;
		others->v[kept] = *repo;
		int rc = archive_info_load(v->arena, repo->store, v->stanza, repo->pass, &(*infos)[kept]);
		if (rc == 0) {
			kept++;
			continue;
		}
		if (rc < 0 && err_code() == ERR_TERM)
			return -1;
		log_warn("repo%u cannot be asked for copies: %s", repo->key,
			rc < 0 ? err_msg() : "it has no archive.info");
		err_clear();
	}
	others->n = kept;
	return 0;
}

static bool is_wrong(struct verify *v, struct verify_archive *ar)
{
	SCOPED_ARENA(a);
	verify_lacks lacks;

	for (size_t i = 0; i < ar->files.n; i++)
		if (is_damaged(&ar->files.v[i]))
			return true;
	for (size_t i = 0; i < ar->gaps.n; i++)
		if (ar->gaps.v[i].kind == WAL_GAP_HOLE)
			return true;
	verify_archive_lacks(a, v, ar, &lacks);
	return lacks.n > 0 || ar->no_history.n > 0;
}

/* Held to the end of the process; taken only where there is something to do, because it keeps backups out. */
static int lock(struct verify *v)
{
	struct config one = *v->cfg;
	cmd_locks held;

	one.repo_key = v->repo->key;
	if (cmd_lock(v->arena, &one, "backup", &held) == 0)
		return 0;
	if (err_code() == ERR_LOCK)
		(void)err_hint("a repair cannot run beside a backup or an expire of its repository.");
	return -1;
}

int verify_repair(struct verify *v)
{
	struct archive_info *infos;
	struct ctx_repos others;
	bool locked = false;

	if (open_others(v, &others, &infos) != 0)
		return -1;
	for (size_t i = 0; i < v->archives.n; i++) {
		struct repair r = { .v = v, .ar = &v->archives.v[i] };
		/* of which cluster is it?  without that nothing elsewhere is known to be a copy of it */
		if (r.ar->db == NULL)
			continue;
		bool wrong = is_wrong(v, r.ar);
		if (wrong && !locked && lock(v) != 0)
			return -1;
		locked = locked || wrong;
		if (prepare(&r, &others, infos) != 0 || (wrong && repair_archive(&r) != 0) ||
			compare_histories(&r) != 0)
			return -1;
	}
	if (v->repaired > 0)
		log_info("repo%u: %zu WAL file%s repaired", v->repo->key, v->repaired, v->repaired == 1 ? "" : "s");
	return 0;
}
