/*
 * push_one: one WAL file of the cluster to every repository.
 */
#include "cmd/push_one.h"

#include <string.h>

#include "base/log.h"
#include "cmd/push_answer.h"
#include "cmd/push_work.h"
#include "repo/wal_check.h"
#include "stream/codec.h"

static const char *host_of(const struct push_run *run, unsigned key)
{
	for (size_t i = 0; i < run->cfg->repo.n; i++)
		if (run->cfg->repo.v[i].key == key)
			return run->cfg->repo.v[i].host.host;
	return NULL;
}

static struct err_value *timed_out(const struct push_run *run, unsigned key)
{
	const double seconds = (double)run->cfg->io_timeout / 1000;
	const char *host = host_of(run, key);

	if (host != NULL)
		(void)err_set(ERR_ARCHIVE_TIMEOUT, "host '%s' did not answer within %gs", host, seconds);
	else
		(void)err_set(ERR_ARCHIVE_TIMEOUT, "repository did not answer within %gs", seconds);
	return err_take(run->arena);
}

/* -1: it hung though it was left out. */
static int give_up(struct push_run *run, unsigned key)
{
	for (size_t i = 0; i < run->n; i++) {
		if (run->repos[i].key != key || run->hung[i])
			continue;
		run->hung[i] = true;
		run->repos[i].failed = timed_out(run, key);
		log_warn("repo%u did not answer within %gs: going on without it", key,
			(double)run->cfg->io_timeout / 1000);
		return 0;
	}
	return err_set(ERR_ASSERT, "repo%u is not in use and does not answer", key);
}

/* Time goes by for nothing on each file with storage that watches its own time. */
static void leave_slow_out(struct push_run *run)
{
	for (size_t i = 0; i < run->n; i++)
		if (run->repos[i].failed != NULL && push_guard_was_slow(run->guard, run->repos[i].key))
			run->hung[i] = true;
}

/* What the last answer said is kept until the next one. */
static int take_answer(struct push_run *run, const struct buf *answer, struct sum *sum)
{
	struct arena *told = arena_new();
	int rc;

	if (push_answer_unpack(told, answer, &rc, sum, run) != 0) {
		arena_free(told);
		return -1;
	}
	arena_free(run->told);
	run->told = told;
	leave_slow_out(run);
	return rc;
}

static void forget_answer(void *ctx)
{
	const struct push_run *run = ctx;

	arena_free(run->told);
}

static int host_hangs(const struct push_run *run)
{
	(void)err_set(ERR_ARCHIVE_TIMEOUT, "nothing moved within %gs, though no repository was waited for",
		(double)run->cfg->io_timeout / 1000);
	return err_hint("does the file system of the cluster answer?");
}

/* Ask, and again without each repository that does not answer.  The process knows the run itself, no copy of it. */
static int ask(struct arena *a, struct push_run *run, enum push_job job, struct buf *question, struct sum *sum)
{
	struct buf answer;
	unsigned who;

	if (run->self != run)
		return err_set(ERR_ASSERT, "a changed run of pushes is used outside of its process");
	buf_init(&answer, a);
	for (;;) {
		int rc = push_guard_ask(run->guard, job, question, &answer, &who);
		if (rc < 0)
			return -1;
		if (rc == 0)
			break;
		if (who == 0)
			return host_hangs(run);
		if (give_up(run, who) != 0)
			return -1;
		push_work_ask_again(question);
	}
	return take_answer(run, &answer, sum);
}

/* Only if all are unusable this fails. */
static int check_usable(const struct push_run *run)
{
	SCOPED_ARENA(a);
	struct buf lines;
	size_t failed = 0;

	buf_init(&lines, a);
	for (size_t i = 0; i < run->n; i++) {
		if (run->repos[i].failed == NULL)
			continue;
		wal_add_failure(&lines, run->repos[i].key, run->repos[i].failed);
		failed++;
	}
	if (failed < run->n)
		return 0;
	return err_set(ERR_REPO_INVALID, "unable to find a valid repository:%s", lines.data);
}

/* The stores are watched before the process is made; only there they are used. */
static int list_repos(struct push_run *run)
{
	if (ctx_repos(run->arena, run->cfg, &run->stores) != 0)
		return -1;
	run->n = run->stores.n;
	run->repos = arena_zalloc(run->arena, run->n * sizeof(*run->repos));
	run->hung = arena_zalloc(run->arena, run->n * sizeof(*run->hung));
	for (size_t i = 0; i < run->n; i++) {
		struct ctx_repo *r = &run->stores.v[i];
		run->repos[i].key = r->key;
		r->store = store_watched(run->arena, r->store, push_guard_watch(run->guard), r->key);
		run->repos[i].place = (struct wal_place){.repo = r->store, .stanza = run->cfg->stanza};
	}
	return 0;
}

int push_run_open(struct arena *a, const struct config *cfg, struct push_run **out)
{
	struct push_run *run = arena_new_object(a, struct push_run);
	struct buf question;
	struct sum none;

	run->arena = a;
	run->cfg = cfg;
	run->self = run;
	(void)arena_defer(a, forget_answer, run);
	run->guard = push_guard_new(a, cfg->io_timeout, push_work, run);
	run->opts = (struct wal_put_opts){.level = (int)cfg->compress_level,
		.header_check = cfg->archive_header_check,
		.mode_check = cfg->archive_mode_check,
		.buffer_size = (size_t)cfg->buffer_size,
		.watch = push_guard_watch(run->guard)};
	if (!codec_by_name(cfg->compress_type, &run->opts.codec))
		return err_set(ERR_OPTION_VALUE, "'%s' is not allowed for 'compress-type' option",
			cfg->compress_type);
	buf_init(&question, a);
	if (list_repos(run) != 0 || ask(a, run, PUSH_JOB_OPEN, &question, &none) != 0 || check_usable(run) != 0)
		return -1;
	*out = run;
	return 0;
}

static bool is_inside(const struct push_run *run)
{
	return run->inside || run->guard == NULL;
}

int push_one(struct arena *a, struct push_run *run, const char *source, const uint64_t *skip, size_t skip_n,
	struct push_result *out)
{
	struct buf question;
	int rc;

	*out = (struct push_result){.has = arena_zalloc(a, run->n * sizeof(*out->has))};
	for (size_t i = 0; i < run->n; i++)
		run->repos[i].has = false;
	if (is_inside(run)) {
		rc = push_work_file(a, run, source, run->opts.mode_check, skip, skip_n, &out->sum);
	} else {
		buf_init(&question, a);
		push_work_ask_file(&question, source, skip, skip_n);
		rc = ask(a, run, PUSH_JOB_FILE, &question, &out->sum);
	}
	for (size_t i = 0; i < run->n; i++)
		if (run->repos[i].has)
			out->has[out->has_n++] = run->repos[i].key;
	return rc;
}

int push_run_do(struct arena *a, struct push_run *run, push_run_fn *fn)
{
	struct buf question;
	struct sum none;

	if (is_inside(run))
		return fn(a, run);
	buf_init(&question, a);
	push_work_ask_do(&question, fn);
	return ask(a, run, PUSH_JOB_DO, &question, &none);
}
