/*
 * archive_get_async: archive-get with a queue in the spool that a background process keeps filled.
 */
#include "cmd/archive_get_async.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/sig.h"
#include "cmd/background.h"
#include "cmd/locks.h"
#include "cmd/spool_in.h"
#include "stream/hash_beside.h"
#include "work/pool.h"

#define QUEUE_MIN 2	/* segments, however large they are */
#define QUEUE_MAX 65536 /* segments; nobody has more room in a spool */

/* How long to wait for a segment that the background is fetching while no more of it comes; and how long for a
 * background that has not got to it yet: it may be between two of them. */
#define STALL_MS 2000
#define GRACE_MS 10
#define PAUSE_MS 2
#define PAUSE_MAX_MS 8

/* A run that PostgreSQL keeps busy makes way after this: a standby that archives needs the lock for its push, too. */
#define RUN_MS 10000

/* Segments are counted in steps from the one asked for, which is 0. */
struct ahead {
	const struct archive_get *g;
	struct spool_in q;
	struct wal_pos at; /* of the segment asked for */
	uint32_t n;	   /* segments that the queue is to hold */
	bool started;

	/* in the background: */
	struct arena *arena;
	VEC(bool) landed; /* by step: it has been fetched */
	uint32_t first;	  /* the lowest step that PostgreSQL has not taken yet, as far as can be seen */
	uint32_t next;
	bool stop; /* there is one that cannot be had: what is behind it is of no use */
	struct deadline end;

	/* in its workers: */
	struct wal_get_repo *repos;
	size_t repos_n;
};

static const char *name_of(struct arena *a, const struct ahead *h, uint32_t step)
{
	char *name = arena_alloc(a, WAL_NAME + 1);

	wal_name((struct wal_pos){h->at.timeline, h->at.segment + step}, h->g->control.wal_segment_size, name);
	return name;
}

static int begin(void *ctx, unsigned worker)
{
	struct ahead *h = ctx;

	hash_beside_give_up(); /* the other processors have work */
	return archive_get_repos(h->arena, h->g, &h->repos, &h->repos_n);
}

/* Pass over what is in the queue already, and make room for as many as PostgreSQL has taken since. */
static void advance(struct ahead *h)
{
	SCOPED_ARENA(a);

	while (h->first < h->next && h->landed.v[h->first] && !spool_in_seems_to_have(&h->q, name_of(a, h, h->first)))
		h->first++;
	while (h->next < h->first + h->n && spool_in_has(&h->q, name_of(a, h, h->next))) {
		h->next++;
		vec_push(&h->landed, true);
	}
}

static bool next(void *ctx, unsigned worker, uint32_t *job)
{
	struct ahead *h = ctx;

	advance(h);
	if (h->stop || deadline_left(h->end) == 0 || h->next >= h->first + h->n)
		return false;
	*job = h->next++;
	vec_push(&h->landed, false);
	return true;
}

static int fetch(void *ctx, uint32_t job, struct buf *answer)
{
	SCOPED_ARENA(a);
	struct ahead *h = ctx;
	/* which of them fails this time is nothing to remember: a recovery may take days */
	struct wal_get_repo *repos = arena_memdup(a, h->repos, h->repos_n * sizeof(*repos));
	struct wal_get_opts o = {.name = name_of(a, h, job),
		.expect = h->g->opts.expect,
		.buffer_size = h->g->opts.buffer_size};
	struct wal_got got;

	o.dest = spool_in_path(a, &h->q, o.name);
	int rc = wal_get(a, &o, repos, h->repos_n, &got);
	if (rc < 0 || (rc == WAL_GOT && spool_in_believe(&h->q, o.name, &got.sum) != 0))
		return -1;
	if (rc == WAL_GOT)
		log_detail("found %s in the %s archive", o.name, got.from);
	else
		log_detail("unable to find %s in the archive", o.name);
	buf_addc(answer, (char)rc);
	return 0;
}

/* What could not be got archive-get itself will meet, if PostgreSQL asks for it, and say what it means. */
static int fetched(void *ctx, uint32_t job, int rc, const void *answer, size_t len)
{
	struct ahead *h = ctx;

	if (rc == 0 && len == 1 && *(const char *)answer == WAL_GOT) {
		h->landed.v[job] = true;
		return 0;
	}
	h->stop = true;
	if (rc == 0)
		return 0;
	if (err_code() == ERR_TERM)
		return -1;
	log_warn("%s", err_msg());
	err_clear();
	return 0;
}

static const char *job_name(void *ctx, uint32_t job)
{
	const struct ahead *h = ctx;

	return name_of(h->arena, h, job);
}

static void tidy(struct arena *a, struct ahead *h)
{
	strvec wanted;

	vec_init(&wanted, a);
	for (uint32_t i = 1; i <= h->n; i++)
		vec_push(&wanted, name_of(a, h, i));
	spool_in_tidy(&h->q, &wanted);
}

/* In the background: until the queue is full. */
static int fetch_ahead(struct arena *a, const struct config *cfg, void *ctx)
{
	static const struct pool_ops ops = {.begin = begin, .next = next, .work = fetch, .done = fetched,
		.name = job_name};
	struct ahead *h = ctx;

	h->arena = a;
	h->end = deadline_in(RUN_MS);
	h->first = h->next = 1;
	vec_init(&h->landed, a);
	vec_push(&h->landed, true); /* the one asked for is not ours to fetch */
	tidy(a, h);
	advance(h);
	uint32_t n = h->first + h->n - h->next;
	if (n == 0)
		return 0;
	log_info("get %u WAL file(s) from archive: %s...%s", n, name_of(a, h, h->next), name_of(a, h, h->next + n - 1));
	return pool_run((unsigned)(cfg->process_max < n ? cfg->process_max : n), &ops, h);
}

/* To fetch ahead is a help and no more: PostgreSQL gets its segment without it too. */
static void warn_sync(void)
{
	log_warn("WAL is not fetched ahead: [%s] %s", err_class(err_code()), err_msg());
	err_clear();
}

static void start(void *ctx)
{
	struct ahead *h = ctx;
	pid_t pid;

	if (h->started)
		return;
	h->started = true;
	if (spool_in_make(&h->q) != 0 || background_start(h->g->cfg, fetch_ahead, h, &pid) < 0)
		warn_sync();
}

/* SPOOL_IN_TAKEN or SPOOL_IN_NOT; *bad: there is no use in waiting. */
static int take_now(const struct ahead *h, bool *bad)
{
	int rc = spool_in_take(&h->q, h->g->opts.name, h->g->opts.dest);

	*bad = rc < 0;
	if (rc >= 0)
		return rc;
	log_warn("WAL segment %s is not taken from the queue: [%s] %s", h->g->opts.name, err_class(err_code()),
		err_msg());
	err_clear();
	return SPOOL_IN_NOT;
}

static bool background_runs(const struct config *cfg)
{
	int busy = cmd_lock_is_busy(cfg, "archive");

	if (busy < 0)
		err_clear();
	return busy == 1;
}

/* From the queue, also if the background is fetching it at this moment: to fetch it once more would take as long.
 * -1: a signal has come. */
static int take(const struct ahead *h)
{
	struct deadline end = deadline_in(GRACE_MS);
	int64_t seen = -1;
	bool bad;

	if (take_now(h, &bad) == SPOOL_IN_TAKEN)
		return SPOOL_IN_TAKEN;
	for (int64_t pause = PAUSE_MS; !bad; pause = pause < PAUSE_MAX_MS ? pause * 2 : pause) {
		/* in this order: what ends meanwhile is seen by the take */
		bool runs = background_runs(h->g->cfg);
		int64_t size = spool_in_progress(&h->q, h->g->opts.name);
		if (take_now(h, &bad) == SPOOL_IN_TAKEN)
			return SPOOL_IN_TAKEN;
		if (size > seen) {
			seen = size;
			end = deadline_in(STALL_MS);
		}
		if (!runs || deadline_left(end) == 0)
			break;
		if (clock_sleep(pause) && sig_check() != 0)
			return -1;
	}
	return SPOOL_IN_NOT;
}

static int prepare(struct arena *a, const struct archive_get *g, struct ahead *h)
{
	uint32_t size = g->control.wal_segment_size;
	int64_t n = g->cfg->archive_get_queue_max / size;

	*h = (struct ahead){.g = g, .n = (uint32_t)(n < QUEUE_MIN ? QUEUE_MIN : n > QUEUE_MAX ? QUEUE_MAX : n)};
	if (!wal_parse(g->opts.name, size, &h->at))
		return err_set(ERR_PARAM_INVALID, "no WAL segment of %u bytes can be called '%s'", size, g->opts.name);
	return spool_in_open(a, g->cfg, &g->control, &g->opts.expect, &h->q);
}

int archive_get_async(struct arena *a, struct archive_get *g)
{
	struct ahead *h = arena_new_object(a, struct ahead);

	if (prepare(a, g, h) != 0) {
		warn_sync();
		return archive_get_sync(a, g);
	}
	int rc = take(h);
	if (rc < 0)
		return -1;
	if (rc == SPOOL_IN_NOT) {
		/* not before the archive has shown that there is more: a standby asks for its end again and again */
		g->opts.found = start;
		g->opts.found_ctx = h;
		return archive_get_sync(a, g);
	}
	log_info("found %s in the archive asynchronously", g->opts.name);
	/* it is filled in order: this one tells of all before it */
	if (!spool_in_seems_to_have(&h->q, name_of(a, h, h->n / 2)))
		start(h);
	return WAL_GOT;
}
