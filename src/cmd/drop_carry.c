/*
 * drop_carry: what the spool has noted and kept on its way to the repositories.
 *
 * Always true: a note leaves the spool only after every repository has it, durable, so that a death at any point
 * leaves it there or everywhere.  Two carriers do the same work twice, and neither undoes the other's.
 */
#include "cmd/drop_intern.h"

#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/sig.h"
#include "base/str.h"
#include "cmd/archive.h"
#include "repo/wal_check.h"

struct carry {
	struct arena *a;
	struct push_run *run;
	struct store *spool;
	const char *dir;
	bool again;		  /* a note was written anew while we looked */
	struct err_value *failed; /* the first failure */
};

static void fail(struct carry *c)
{
	if (c->failed == NULL)
		c->failed = err_take(c->a);
	err_clear();
}

/* --- whose --- */

static const struct archive_db *db_of(const struct archive_info *info, uint64_t system_id)
{
	for (size_t i = info->history.n; i > 0; i--)
		if (info->history.v[i - 1].system_id == system_id)
			return &info->history.v[i - 1];
	return NULL;
}

/* The archives of a former cluster of the stanza; n is 0 if no repository knows of it. */
static struct push_run *former_run(struct carry *c, uint64_t system_id)
{
	struct push_run *run = arena_memdup(c->a, c->run, sizeof(*run));

	run->repos = arena_zalloc(c->a, c->run->n * sizeof(*run->repos));
	run->n = 0;
	run->opts.system_id = system_id;
	for (size_t i = 0; i < c->run->n; i++) {
		struct wal_put_repo *r = &run->repos[run->n];
		const struct archive_db *db;
		struct archive_info info;
		*r = (struct wal_put_repo){ .key = c->run->repos[i].key };
		if (c->run->hung[i])
			r->failed = c->run->repos[i].failed;
		else if (archive_load(c->a, run->cfg, &run->stores.v[i], &info) != 0)
			r->failed = err_take(c->a);
		else if ((db = db_of(&info, system_id)) == NULL)
			continue;
		else {
			r->place = ctx_wal_place(c->a, run->cfg, &run->stores.v[i], &info, db);
			run->opts.version = db->version;
		}
		run->n++;
	}
	return run;
}

static struct push_run *run_of(struct carry *c, uint64_t system_id)
{
	return system_id == 0 || system_id == c->run->opts.system_id ? c->run : former_run(c, system_id);
}

/* --- notes --- */

static int put_everywhere(struct carry *c, struct push_run *run, const char *id, const struct buf *text)
{
	struct buf lines;

	buf_init(&lines, c->a);
	for (size_t i = 0; i < run->n; i++) {
		struct wal_put_repo *r = &run->repos[i];
		if (r->failed == NULL && wal_drop_put(&r->place, id, text) != 0)
			r->failed = err_take(run->opened);
		if (r->failed != NULL)
			wal_add_failure(&lines, r->key, r->failed);
	}
	if (sig_check() != 0)
		return -1;
	return lines.len == 0 ? 0 : err_set(ERR_COMMAND, "the note of dropped WAL '%s' is not in every repository:%s",
		id, lines.data);
}

/* A damaged one is of no cluster that we know. */
static void understand(struct carry *c, const char *path, const struct buf *text, struct wal_drop *d)
{
	const char *what = arena_printf(c->a, "'%s'", store_name(c->a, c->spool, path));

	if (wal_drop_parse(c->a, what, text, d) == 0)
		return;
	log_warn("%s: it goes to the repositories as it is, and nobody knows any more which WAL was dropped",
		err_msg());
	err_clear();
	*d = (struct wal_drop){ .id = NULL };
}

static int carry_note(struct carry *c, const char *name)
{
	const char *path = path_join(c->a, c->dir, name), *id = arena_strndup(c->a, name, WAL_DROP_ID);
	struct wal_drop d;
	struct buf text;

	buf_init(&text, c->a);
	int rc = store_read(c->spool, path, WAL_PLAIN_MAX, true, &text);
	if (rc == STORE_ABSENT) {
		c->again = true; /* carried by somebody else, or now part of a newer one */
		return 0;
	}
	if (rc != 0)
		return err_hint("WAL was dropped, and which can be told by this file only: make it readable.");
	understand(c, path, &text, &d);
	struct push_run *run = run_of(c, d.system_id);
	if (put_everywhere(c, run, id, &text) != 0)
		return -1;
	if (run->n == 0)
		log_warn("the note of dropped WAL '%s' is of a cluster that the stanza does not know any more, and goes",
			id);
	else
		log_info("carried the note of dropped WAL '%s' to the archive", id);
	return store_remove(c->spool, path, true);
}

/* --- kept files --- */

struct names {
	struct arena *a;
	strvec v;
};

static int add_name(void *ctx, const struct store_entry *e)
{
	struct names *n = ctx;

	if (e->type == STORE_FILE && wal_kind(e->name) != WAL_OTHER)
		vec_push(&n->v, arena_strdup(n->a, e->name));
	return 0;
}

/* Somebody else carries too, and takes a file away only when all have it. */
static bool was_carried(struct carry *c, const char *path)
{
	struct err_value *why = err_take(c->a);
	struct store_entry e;

	if (store_stat(c->a, c->spool, path, &e) == STORE_ABSENT)
		return true;
	err_clear();
	(void)err_restore(why);
	return false;
}

static int carry_file(struct carry *c, struct push_run *run, const char *path)
{
	const char *source = store_name(c->a, c->spool, path);
	struct push_result result;

	if (run->n > 0 && push_one(c->a, run, source, NULL, 0, &result) != 0) {
		if (was_carried(c, path))
			return 0;
		return err_code() != ERR_ARCHIVE_DUPLICATE ? -1 :
			err_hint("it was kept as '%s' when the archive queue was full; remove it if it is not wanted.",
				source);
	}
	if (run->n == 0)
		log_warn("'%s' is of a cluster that the stanza does not know any more, and goes", source);
	else
		log_info("pushed WAL file '%s', which was kept, to the archive", path_base(path));
	return store_remove(c->spool, path, true);
}

static int carry_kept(struct carry *c, const char *system)
{
	const char *dir = path_join(c->a, c->dir, system);
	struct names files = { .a = c->a };
	uint64_t system_id;

	vec_init(&files.v, c->a);
	if (store_list(c->spool, dir, add_name, &files) < 0)
		return -1;
	if (files.v.n == 0 || !str_to_u64(system, &system_id))
		return 0;
	struct push_run *run = run_of(c, system_id);
	for (size_t i = 0; i < files.v.n; i++)
		if (carry_file(c, run, path_join(c->a, dir, files.v.v[i])) != 0)
			fail(c);
	return 0;
}

/* Once over all that is there; what fails does not stop the rest. */
static void carry_all(struct carry *c, const struct drop_names *names)
{
	for (size_t i = 0; i < names->kept.n; i++)
		if (carry_kept(c, names->kept.v[i]) != 0)
			fail(c);
	for (size_t i = 0; i < names->notes.n; i++)
		if (carry_note(c, names->notes.v[i]) != 0)
			fail(c);
}

/* In the process of the run.  0; 1: look again; -1. */
static int carry_once(struct push_run *run)
{
	SCOPED_ARENA(a);
	struct carry c = { .a = a, .run = run, .spool = drop_spool(a, run->cfg), .dir = drop_dir(a, run->cfg) };
	struct drop_names names;
	int rc = drop_list(a, c.spool, c.dir, &names);

	if (rc == STORE_ABSENT)
		return 0;
	if (rc != 0)
		return err_hint("notes of dropped WAL may be there, and must reach the archive: make it readable.");
	carry_all(&c, &names);
	if (c.failed != NULL)
		return err_restore(c.failed);
	return c.again;
}

static int carry_inside(struct arena *a, struct push_run *run)
{
	int rc;

	do
		rc = carry_once(run);
	while (rc > 0 && sig_check() == 0);
	return rc == 0 ? 0 : -1;
}

int drop_carry(struct arena *a, struct push_run *run)
{
	return drop_waits(run->cfg) ? push_run_do(a, run, carry_inside) : 0;
}
