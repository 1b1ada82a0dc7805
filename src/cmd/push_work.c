/*
 * push_work: what is done in the process of a run of pushes.
 *
 * Always true: before each file the process looks anew whose the cluster and the repositories are, so that a worker
 * that lives for long does not push into what was upgraded, unmounted or created anew meanwhile.
 */
#include "cmd/push_work.h"

#include <inttypes.h>
#include <string.h>

#include "base/path.h"
#include "cmd/archive.h"
#include "cmd/push_answer.h"
#include "repo/cluster.h"
#include "repo/layout.h"
#include "repo/wal_check.h"

/* Whose WAL this is: what pg_control says, or without pg1-path what the repositories agree on. */
struct owner {
	const char *version; /* NULL: not known yet */
	uint64_t system_id;
	unsigned key; /* repository that said so; 0: pg_control */
};

static int read_owner(struct arena *a, const struct config *cfg, struct owner *out)
{
	const struct pg_version *forced;
	struct pg_control control;
	struct store *pg;

	memset(out, 0, sizeof(*out));
	if (cfg->pg.n == 0 || cfg->pg.v[0].path == NULL)
		return 0;
	if (ctx_forced_version(cfg, &forced) != 0 || ctx_pg(a, cfg, &pg) != 0 ||
		cluster_control(pg, forced, NULL, &control) != 0)
		return -1;
	out->version = control.version->name;
	out->system_id = control.system_id;
	return 0;
}

static int check_owner(struct owner *owner, const struct archive_db *db, unsigned key)
{
	if (owner->version == NULL) {
		*owner = (struct owner){db->version, db->system_id, key};
		return 0;
	}
	if (owner->system_id == db->system_id && strcmp(owner->version, db->version) == 0)
		return 0;
	if (owner->key == 0)
		(void)err_set(ERR_ARCHIVE_MISMATCH,
			"PostgreSQL version %s, system-id %" PRIu64
			" do not match repo%u stanza version %s, system-id %" PRIu64,
			owner->version, owner->system_id, key, db->version, db->system_id);
	else
		(void)err_set(ERR_ARCHIVE_MISMATCH,
			"repo%u stanza version %s, system-id %" PRIu64
			" do not match repo%u stanza version %s, system-id %" PRIu64,
			owner->key, owner->version, owner->system_id, key, db->version,
			db->system_id);
	return err_hint("are you archiving to the correct stanza?");
}

static int open_repo(struct arena *a, const struct config *cfg, const struct ctx_repo *repo,
	struct owner *owner, struct wal_place *out)
{
	struct archive_info info;

	if (archive_load(a, cfg, repo, &info) != 0)
		return -1;
	const struct archive_db *db = archive_info_current(&info);
	*out = ctx_wal_place(a, cfg, repo, &info, db);
	return check_owner(owner, db, repo->key);
}

/* Nothing may point to what is about to go. */
static void forget(struct push_run *run)
{
	for (size_t i = 0; i < run->n; i++) {
		struct wal_put_repo *r = &run->repos[i];
		r->place = (struct wal_place){.repo = run->stores.v[i].store, .stanza = run->cfg->stanza};
		if (!run->hung[i])
			r->failed = NULL;
	}
	arena_free(run->opened);
	run->opened = NULL;
}

/* The unusable ones are marked; -1 if the cluster cannot be known. */
static int open_all(struct push_run *run)
{
	struct arena *a = arena_new();
	struct owner owner;

	forget(run);
	if (read_owner(a, run->cfg, &owner) != 0) {
		arena_free(a);
		return -1;
	}
	run->opened = a;
	for (size_t i = 0; i < run->n; i++) {
		struct wal_put_repo *r = &run->repos[i];
		if (!run->hung[i] && open_repo(a, run->cfg, &run->stores.v[i], &owner, &r->place) != 0)
			r->failed = err_take(a);
	}
	run->opts.version = owner.version;
	run->opts.system_id = owner.system_id;
	return 0;
}

static bool has_key(const uint64_t *keys, size_t n, unsigned key)
{
	for (size_t i = 0; i < n; i++)
		if (keys[i] == key)
			return true;
	return false;
}

/* A put makes the folders that it needs: where a repository was unmounted or renamed meanwhile, it has made a new tree
 * that nobody will look into. */
static int check_home(const struct wal_place *place)
{
	SCOPED_ARENA(a);
	const char *path = layout_archive_info(a, place->stanza);
	struct store_entry e;
	int rc = store_stat(a, place->repo, path, &e);

	if (rc == STORE_ABSENT)
		rc = store_stat(a, place->repo, layout_copy(a, path), &e);
	if (rc != STORE_ABSENT)
		return rc;
	(void)err_set(ERR_FILE_MISSING, "'%s' vanished while WAL was pushed", store_name(a, place->repo, path));
	return err_hint("was the repository unmounted, renamed or deleted?");
}

static int check_homes(struct arena *keep, struct wal_put_repo *repos, size_t n)
{
	struct buf lines;

	buf_init(&lines, keep);
	for (size_t i = 0; i < n; i++) {
		if (!repos[i].has || check_home(&repos[i].place) == 0)
			continue;
		repos[i].has = false;
		repos[i].failed = err_take(keep);
		wal_add_failure(&lines, repos[i].key, repos[i].failed);
	}
	if (lines.len == 0)
		return 0;
	return err_set(ERR_COMMAND, "archive-push command encountered error(s):%s", lines.data);
}

int push_work_file(struct arena *a, struct push_run *run, const char *source, bool mode_check, const uint64_t *skip,
	size_t skip_n, struct sum *sum)
{
	struct wal_put_opts o = run->opts;
	struct wal_put_repo *repos = arena_zalloc(a, run->n * sizeof(*repos));
	size_t *at = arena_zalloc(a, run->n * sizeof(*at)), n = 0;

	o.source = source;
	o.name = path_base(source);
	o.mode_check = mode_check;
	for (size_t i = 0; i < run->n; i++) {
		run->repos[i].has = false;
		if (has_key(skip, skip_n, run->repos[i].key))
			continue;
		at[n] = i;
		repos[n++] = run->repos[i];
	}
	/* why one failed is asked for later than this call's arena lives */
	struct arena *keep = run->opened != NULL ? run->opened : a;
	int rc = wal_put(keep, &o, repos, n, sum);
	if (rc == 0)
		rc = check_homes(keep, repos, n);
	for (size_t k = 0; k < n; k++) {
		run->repos[at[k]].has = repos[k].has;
		run->repos[at[k]].failed = repos[k].failed;
	}
	return rc;
}

/* --- questions --- */

void push_work_ask_file(struct buf *question, const char *source, const uint64_t *skip, size_t skip_n)
{
	const uint32_t n = (uint32_t)skip_n;

	buf_addc(question, 0);
	buf_add(question, &n, sizeof(n));
	if (n > 0)
		buf_add(question, skip, n * sizeof(*skip));
	buf_add(question, source, strlen(source) + 1);
}

void push_work_ask_do(struct buf *question, push_run_fn *fn)
{
	buf_addc(question, 0);
	buf_add(question, &fn, sizeof(fn));
}

void push_work_ask_again(struct buf *question)
{
	if (question->len > 0)
		question->data[0] = 1;
}

/* Asked again, what is there may be our own of the first time: no reason to warn. */
static int answer_file(struct arena *a, struct push_run *run, const char *question, struct sum *sum)
{
	bool again = question[0] != 0;
	uint64_t *skip;
	uint32_t n;

	memcpy(&n, question + 1, sizeof(n));
	question += 1 + sizeof(n);
	skip = arena_memdup(a, question, n * sizeof(*skip));
	return push_work_file(a, run, question + n * sizeof(*skip), run->opts.mode_check && !again, skip, n, sum);
}

static int answer_do(struct arena *a, struct push_run *run, const char *question)
{
	push_run_fn *fn;

	memcpy(&fn, question + 1, sizeof(fn));
	return fn(a, run);
}

void push_work(void *ctx, uint32_t job, const char *question, size_t len, struct buf *answer)
{
	SCOPED_ARENA(a);
	struct push_run *run = ctx;
	struct sum sum = {{0}};
	bool must_open = run->opened == NULL || (job != PUSH_JOB_DO && !run->fresh);
	int rc = must_open ? open_all(run) : 0;

	run->inside = true;
	run->fresh = job == PUSH_JOB_OPEN && rc == 0;
	if (rc == 0 && job == PUSH_JOB_FILE)
		rc = answer_file(a, run, question, &sum);
	if (rc == 0 && job == PUSH_JOB_DO)
		rc = answer_do(a, run, question);
	push_answer_pack(answer, rc, &sum, run);
}
