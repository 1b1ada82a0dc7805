/*
 * archive_push_background: the process that pushes what is ready, several files at a time.
 *
 * In rounds: what has come meanwhile is the next round's, until nothing has; so a busy server needs no new process per
 * file.  No file is tried twice in a run, so that a run ends whatever happens; and a run ends after a round in which
 * something failed, because its workers have left the repositories that failed alone since.
 */
#include "cmd/archive_push_async.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/path.h"
#include "base/sig.h"
#include "base/str.h"
#include "cmd/drop.h"
#include "cmd/push_one.h"
#include "work/pool.h"

#define READY ".ready"
#define ROUND_FILES 500
#define RUN_FILES 10000 /* after so many the run ends, and its memory of them */

struct push_back {
	struct arena *arena;
	const struct config *cfg;
	struct spool spool;
	const char *wal_dir;
	const char *wanted; /* the file that the foreground waits for; it may have been called by hand, without .ready */
	struct map *tried;  /* in this run, by name */
};

/*
 * History files first, as PostgreSQL does: a standby cannot follow without them.  Then what the foreground waits for.
 * What some repositories have comes last: while another one is away, it must not take the place of what comes.
 */
enum rank { RANK_HISTORY, RANK_WANTED, RANK_NEW, RANK_PART };

struct open_file {
	const char *name;
	enum rank rank;
	uint64_t size;
};

struct round {
	struct push_back *b;
	struct arena *arena;
	VEC(struct open_file) files;
	size_t next;
	bool failed; /* something, in some repository */
	bool stop;   /* nothing more is handed out */
	struct push_run *run; /* in a worker: its own */
};

/* --- what is to be done --- */

static const char *source_of(struct arena *a, const struct push_back *b, const char *file)
{
	return path_join(a, b->wal_dir, file);
}

static int by_rank(const void *x, const void *y)
{
	const struct open_file *a = x, *b = y;

	return a->rank != b->rank ? (a->rank < b->rank ? -1 : 1) : strcmp(a->name, b->name);
}

static enum rank rank_of(struct arena *a, const struct push_back *b, const char *file, const struct spool_id *id)
{
	struct spool_status st;

	if (wal_kind(file) == WAL_HISTORY)
		return RANK_HISTORY;
	if (strcmp(file, b->wanted) == 0)
		return RANK_WANTED;
	return spool_read_part(a, &b->spool, file, id, &st) ? RANK_PART : RANK_NEW;
}

static int list_ready(struct arena *a, const struct push_back *b, strvec *out)
{
	struct dir_names names;
	bool wanted = false;

	vec_init(out, a);
	if (dir_list(a, path_join(a, b->wal_dir, "archive_status"), &names) != 0) {
		if (err_code() != ERR_PATH_MISSING)
			return -1;
		err_clear(); /* a file that somebody pushes from elsewhere */
		names.n = 0;
	}
	for (size_t i = 0; i < names.n; i++) {
		if (!str_ends(names.v[i], READY))
			continue;
		const char *file = arena_strndup(a, names.v[i], strlen(names.v[i]) - strlen(READY));
		if (wal_kind(file) == WAL_OTHER)
			continue;
		wanted = wanted || strcmp(file, b->wanted) == 0;
		vec_push(out, file);
	}
	if (!wanted)
		vec_push(out, b->wanted);
	if (out->n > 1)
		qsort(out->v, out->n, sizeof(*out->v), str_cmp_ptr);
	return 0;
}

/* Is it there, and not known to be done?  1, 0, -1. */
static int is_open(struct arena *a, const struct push_back *b, const char *file, struct spool_id *id)
{
	struct spool_answer said;

	if (spool_id_of(source_of(a, b, file), id) != 0) {
		if (err_code() != ERR_FILE_MISSING)
			return -1;
		err_clear(); /* PostgreSQL has had its answer meanwhile */
		return 0;
	}
	spool_look(a, &b->spool, file, id, &said);
	return said.word == SPOOL_NONE;
}

static int list_open(struct round *r, const strvec *ready)
{
	struct spool_id id;

	vec_init(&r->files, r->arena);
	for (size_t i = 0; i < ready->n; i++) {
		const char *file = ready->v[i];
		if (map_has(r->b->tried, file))
			continue;
		int rc = is_open(r->arena, r->b, file, &id);
		if (rc < 0)
			return -1;
		if (rc > 0)
			vec_push(&r->files, ((struct open_file){ file, rank_of(r->arena, r->b, file, &id), id.size }));
	}
	if (r->files.n > 1)
		qsort(r->files.v, r->files.n, sizeof(*r->files.v), by_rank);
	return 0;
}

/* At least one file, then as many as archive-push-batch-size allows.  A round is not much longer than a foreground's
 * patience: what has come meanwhile may be a history file, or what failed may be well. */
static void cut(struct round *r)
{
	uint64_t bytes = 0, max = (uint64_t)r->b->cfg->archive_push_batch_size;
	size_t n = 0;

	while (n < r->files.n && n < ROUND_FILES && (n == 0 || bytes + r->files.v[n].size <= max))
		bytes += r->files.v[n++].size;
	r->files.n = n;
}

/* --- given up --- */

static int carry(const struct push_back *b)
{
	SCOPED_ARENA(a);
	struct push_run *run;

	if (!drop_waits(b->cfg))
		return 0;
	return push_run_open(a, b->cfg, &run) != 0 ? -1 : drop_carry(a, run);
}

/* The note is durable before the first .ok says that PostgreSQL may go on. */
static int drop_all(struct round *r, const char *why)
{
	struct spool_status st = { .dropped = true, .warning = why };
	strvec names;

	vec_init(&st.repos, r->arena);
	vec_init(&st.archives, r->arena);
	vec_init(&names, r->arena);
	for (size_t i = 0; i < r->files.n; i++)
		vec_push(&names, r->files.v[i].name);
	if (drop_note(r->arena, r->b->cfg, WAL_DROP_QUEUE, why, r->b->wal_dir, &names) != 0)
		return -1;
	for (size_t i = 0; i < r->files.n; i++) {
		const char *file = r->files.v[i].name;
		struct spool_id id;
		log_warn("dropped WAL file '%s' because %s", file, why);
		if (spool_id_of(source_of(r->arena, r->b, file), &id) != 0 ||
			spool_write_ok(&r->b->spool, file, &id, &st) != 0)
			return -1;
	}
	return 0;
}

/* --- a worker --- */

static int begin(void *ctx, unsigned worker)
{
	struct round *r = ctx;

	return push_run_open(r->arena, r->b->cfg, &r->run);
}

static const struct wal_put_repo *repo_of(const struct push_run *run, uint64_t key)
{
	for (size_t i = 0; i < run->n; i++)
		if (run->repos[i].key == key)
			return &run->repos[i];
	return NULL;
}

static const char *value_of(const config_pairs *pairs, const char *key)
{
	for (size_t i = 0; i < pairs->n; i++)
		if (strcmp(pairs->v[i].key, key) == 0)
			return pairs->v[i].value;
	return "";
}

/* The repositories that a .part knows to have it, in the very archive that it would be stored in now. */
static size_t read_proven(struct arena *a, const struct round *r, const char *file, const struct spool_id *id,
	struct spool_status *st, uint64_t *keys)
{
	config_pairs repos, archives;
	size_t n = 0;

	vec_init(&repos, a);
	vec_init(&archives, a);
	if (!spool_read_part(a, &r->b->spool, file, id, st))
		st->sum = (struct sum){ { 0 } };
	for (size_t i = 0; i < st->repos.n; i++) {
		const char *key = st->repos.v[i].key, *archive = value_of(&st->archives, key);
		const struct wal_put_repo *repo;
		if (!str_to_u64(key, &keys[n]) || (repo = repo_of(r->run, keys[n])) == NULL ||
			repo->place.archive_id == NULL || strcmp(repo->place.archive_id, archive) != 0)
			continue;
		vec_push(&repos, st->repos.v[i]);
		vec_push(&archives, ((struct config_pair){ key, archive }));
		n++;
	}
	st->repos = repos;
	st->archives = archives;
	return n;
}

static void add_stored(struct arena *a, const struct round *r, const struct push_result *result,
	struct spool_status *st)
{
	if (result->has_n > 0)
		st->sum = result->sum;
	for (size_t i = 0; i < result->has_n; i++) {
		const char *key = arena_printf(a, "%u", (unsigned)result->has[i]);
		const struct wal_put_repo *repo = repo_of(r->run, result->has[i]);
		vec_push(&st->repos, ((struct config_pair){ key, value_of(&r->b->spool.repos, key) }));
		vec_push(&st->archives, ((struct config_pair){ key, repo->place.archive_id }));
	}
}

/* What was stored is what the file is, if it was in the same state before and after. */
static int check_unchanged(const char *source, const struct spool_id *before)
{
	struct spool_id after;

	if (spool_id_of(source, &after) != 0)
		return -1;
	return spool_id_equal(before, &after) ? 0 :
		err_set(ERR_CHECKSUM, "WAL file '%s' changed while it was pushed", source);
}

static void warn_failed(const char *file, const struct err_value *why)
{
	log_warn("could not push WAL file '%s' to the archive (will be retried): [%d] %s%s%s", file, (int)why->code,
		why->msg, why->hints[0] == '\0' ? "" : "\n", why->hints);
}

/* Some have it: that is kept, and the others of the list go on to those. */
static int fail_in_part(struct arena *a, const struct round *r, const char *file, const struct spool_id *id,
	const struct spool_status *st, struct buf *answer)
{
	const struct err_value *why = err_take(a);

	if (why->code == ERR_TERM)
		return err_restore(why);
	if (spool_write_part(&r->b->spool, file, id, st) != 0)
		err_clear(); /* then it is proven again */
	warn_failed(file, why);
	if (spool_write_error(&r->b->spool, file, why) != 0)
		return -1;
	buf_addc(answer, 'p');
	return 0;
}

static int work(void *ctx, uint32_t job, struct buf *answer)
{
	SCOPED_ARENA(a);
	struct round *r = ctx;
	const char *file = r->files.v[job].name, *source = source_of(a, r->b, file);
	uint64_t *proven = arena_zalloc(a, (r->run->n + 1) * sizeof(*proven));
	struct spool_status st;
	struct push_result result;
	struct spool_id id;

	if (spool_id_of(source, &id) != 0)
		return -1;
	size_t n = read_proven(a, r, file, &id, &st, proven);
	int rc = push_one(a, r->run, source, proven, n, &result);
	add_stored(a, r, &result, &st);
	if (rc == 0)
		rc = check_unchanged(source, &id);
	else if (st.repos.n > 0)
		return fail_in_part(a, r, file, &id, &st, answer);
	if (rc != 0 || spool_write_ok(&r->b->spool, file, &id, &st) != 0)
		return -1;
	log_detail("pushed WAL file '%s' to the archive", file);
	return 0;
}

/* --- the leader --- */

static bool next(void *ctx, unsigned worker, uint32_t *job)
{
	struct round *r = ctx;

	if (r->stop || r->next == r->files.n)
		return false;
	*job = (uint32_t)r->next++;
	return true;
}

static const char *name(void *ctx, uint32_t job)
{
	return ((struct round *)ctx)->files.v[job].name;
}

/* An error of the file itself, or of every repository, would be the next file's too; and PostgreSQL is to hear of the
 * first. */
static int done(void *ctx, uint32_t job, int rc, const void *answer, size_t len)
{
	struct round *r = ctx;
	const char *file = r->files.v[job].name;

	if (rc == 0) {
		r->failed = r->failed || len > 0;
		return 0;
	}
	if (err_code() == ERR_TERM)
		return -1;
	const struct err_value *why = err_take(r->arena);
	r->failed = r->stop = true;
	warn_failed(file, why);
	return spool_write_error(&r->b->spool, file, why);
}

static int push_list(struct round *r)
{
	static const struct pool_ops ops = { .begin = begin, .next = next, .work = work, .done = done, .name = name };
	unsigned workers = (unsigned)r->b->cfg->process_max;

	if (r->files.n == 1)
		log_info("push 1 WAL file(s) to archive: %s", r->files.v[0].name);
	else
		log_info("push %zu WAL file(s) to archive: %s...%s", r->files.n, r->files.v[0].name,
			r->files.v[r->files.n - 1].name);
	for (size_t i = 0; i < r->files.n; i++)
		map_put(r->b->tried, r->files.v[i].name, r->b);
	if (pool_run(workers < r->files.n ? workers : (unsigned)r->files.n, &ops, r) != 0)
		return -1;
	if (r->stop)
		log_warn("stopped archive-push after an error, remaining WAL will be processed on the next run");
	return 0;
}

/* *go_on: is there a next round? */
static int run_round(struct push_back *b, bool first, bool *go_on)
{
	SCOPED_ARENA(a);
	struct round r = { .b = b, .arena = a };
	const char *why;
	strvec ready;
	bool full;

	*go_on = false;
	if (ctx_check_stop(a, b->cfg) != 0 || sig_check() != 0 || list_ready(a, b, &ready) != 0)
		return -1;
	if (first)
		spool_tidy(&b->spool, &ready);
	if (list_open(&r, &ready) != 0)
		return -1;
	/* over the limit nothing may depend on the repositories; what was noted goes with the next push */
	if (r.files.n > 0 && drop_queue_is_full(a, b->cfg, b->wal_dir, &full, &why) != 0)
		return -1;
	if (r.files.n > 0 && full)
		return drop_all(&r, why);
	if (carry(b) != 0)
		return -1;
	if (r.files.n == 0)
		return 0;
	cut(&r);
	if (push_list(&r) != 0)
		return -1;
	*go_on = !r.failed && map_count(b->tried) < RUN_FILES;
	return 0;
}

static int run_rounds(struct push_back *b)
{
	bool first = true, go_on;

	do {
		if (run_round(b, first, &go_on) != 0)
			return -1;
		first = false;
	} while (go_on);
	return 0;
}

/* What concerns all files is told to all foregrounds that wait. */
static int tell_all(struct arena *a, const struct push_back *b)
{
	const struct err_value *why = err_take(a);

	if (why->code != ERR_TERM && spool_write_error(&b->spool, SPOOL_GLOBAL, why) != 0) {
		log_failure();
		err_clear();
	}
	return err_restore(why);
}

int push_background(struct arena *a, const struct config *cfg, void *source)
{
	struct push_back b = { .arena = a, .cfg = cfg };

	spool_open(a, cfg, &b.spool);
	b.wal_dir = path_parent(a, source);
	b.wanted = path_base(source);
	b.tried = map_new(a);
	return run_rounds(&b) == 0 ? 0 : tell_all(a, &b);
}
