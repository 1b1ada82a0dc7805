/*
 * verify_run: reading all of it, by workers.
 *
 * A job is a segment of WAL, a file of a backup, or what lies side by side in a bundle.  An answer is empty if all is
 * right; otherwise it has one record per thing that is not.  Of what is stored as blocks the map is read with the rest
 * of it, and once it is proven, its record says what it needs of other backups.
 */
#include "cmd/verify_intern.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "cmd/cmd.h"
#include "repo/block_load.h"
#include "repo/layout.h"
#include "stream/hash_beside.h"
#include "work/pool.h"

#define TICK_MS 500
/* Stored bytes of one bundle that make a job: enough for one long read, and no worker is left with much when the others
 * are done. */
#define JOB_BYTES ((uint64_t)64 * 1024 * 1024)
#define JOB_OBJECTS 20000 /* the answer about files stored as blocks grows with them */

struct job {
	uint64_t bytes;
	uint32_t archive; /* + 1; 0: objects */
	uint32_t first;	  /* of the archive's files, or of order */
	uint32_t n;
	unsigned worker;
};

struct run {
	struct verify *v;
	uint32_t *order; /* objects by place */
	VEC(struct job) jobs; /* largest first */
	size_t next;
	uint64_t total, done;
};

/* What an answer has of a thing that is not right; its message follows.  Or (CHECK_OK) of one that is and has a map:
 * its needs follow. */
struct record {
	uint32_t index; /* in the job */
	uint32_t state;
	uint32_t code;
	uint32_t len;
};

/* --- cutting --- */

static const struct verify_objects *sort_objects;

static int by_place(const void *x, const void *y)
{
	const struct verify_object *a = &sort_objects->v.v[*(const uint32_t *)x];
	const struct verify_object *b = &sort_objects->v.v[*(const uint32_t *)y];

	if (a->label != b->label)
		return a->label < b->label ? -1 : 1;
	if (a->bundle != b->bundle)
		return a->bundle < b->bundle ? -1 : 1;
	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	return *(const uint32_t *)x < *(const uint32_t *)y ? -1 : 1;
}

static bool joins(const struct job *last, const struct verify_object *before, const struct verify_object *o)
{
	return last != NULL && o->bundle != 0 && before->bundle == o->bundle && before->label == o->label &&
		last->bytes < JOB_BYTES && last->n < JOB_OBJECTS;
}

static int larger_first(const void *x, const void *y)
{
	const struct job *a = x, *b = y;

	if (a->bytes != b->bytes)
		return a->bytes > b->bytes ? -1 : 1;
	if (a->archive != b->archive)
		return a->archive < b->archive ? -1 : 1;
	return a->first < b->first ? -1 : 1;
}

static void cut_objects(struct run *r)
{
	const struct verify_objects *o = &r->v->objects;
	struct job *last = NULL;

	r->order = arena_alloc(r->v->arena, o->v.n * sizeof(*r->order));
	for (size_t i = 0; i < o->v.n; i++)
		r->order[i] = (uint32_t)i;
	sort_objects = o;
	if (o->v.n > 0)
		qsort(r->order, o->v.n, sizeof(*r->order), by_place);
	for (size_t i = 0; i < o->v.n; i++) {
		const struct verify_object *x = &o->v.v[r->order[i]];
		if (!joins(last, i == 0 ? NULL : &o->v.v[r->order[i - 1]], x)) {
			last = vec_add(&r->jobs);
			last->first = (uint32_t)i;
		}
		last->n++;
		last->bytes += x->stored;
	}
}

static void cut_wal(struct run *r)
{
	for (size_t i = 0; i < r->v->archives.n; i++)
		for (size_t k = 0; k < r->v->archives.v[i].files.n; k++) {
			const struct verify_wal *w = &r->v->archives.v[i].files.v[k];
			if (!w->judged)
				vec_push(&r->jobs, ((struct job){ w->size, (uint32_t)i + 1, (uint32_t)k, 1, 0 }));
		}
}

/* --- working --- */

static void put_record(struct buf *answer, uint32_t index, const struct check_result *r)
{
	struct record rec = { index, r->state, (uint32_t)r->code, (uint32_t)strlen(r->msg) };

	buf_add(answer, &rec, sizeof(rec));
	buf_add(answer, r->msg, rec.len);
}

static int work_wal(const struct run *r, const struct job *job, struct buf *answer)
{
	SCOPED_ARENA(a);
	const struct verify_archive *ar = &r->v->archives.v[job->archive - 1];
	struct check_result result;

	if (verify_wal_check(a, ar, &ar->files.v[job->first], &result) != 0)
		return -1;
	if (result.state != CHECK_OK)
		put_record(answer, 0, &result);
	return 0;
}

static void keep_map(struct arena *a, const struct verify_objects *o, const struct verify_object *x,
	struct check_part *part)
{
	const struct manifest_file f = verify_map_row(o, x);

	part->keep = arena_new_object(a, struct buf);
	buf_init(part->keep, a);
	part->keep_from = x->offset + x->stored - f.block_map_size;
	part->keep_max = f.block_map_size;
	if (block_map_check(&f) != 0) {
		err_clear(); /* it fails when it is read */
		part->keep_max = 0;
	}
}

static void put_needs(const struct verify_objects *o, const struct verify_object *x, uint32_t index,
	const struct buf *stored, struct buf *answer)
{
	SCOPED_ARENA(a);
	struct check_result bad;
	struct buf needs;

	buf_init(&needs, a);
	if (verify_map_needs(a, o, x, stored, &needs) != 0) {
		check_take(a, &bad);
		put_record(answer, index, &bad);
	} else if (needs.len > 0) {
		struct record rec = { index, CHECK_OK, 0, (uint32_t)needs.len };
		buf_add(answer, &rec, sizeof(rec));
		buf_add(answer, needs.data, needs.len);
	}
}

static int work_objects(const struct run *r, const struct job *job, struct buf *answer)
{
	SCOPED_ARENA(a);
	const struct verify_objects *o = &r->v->objects;
	const uint32_t *rows = r->order + job->first;
	const struct verify_object *first = &o->v.v[rows[0]];
	struct check_part *parts = arena_zalloc(a, job->n * sizeof(*parts));
	struct check_result *results = arena_zalloc(a, job->n * sizeof(*results));
	struct pipe_spec *reads = arena_zalloc(a, job->n * sizeof(*reads));

	for (uint32_t i = 0; i < job->n; i++) {
		const struct verify_object *x = &o->v.v[rows[i]];
		parts[i].offset = x->offset;
		parts[i].length = x->bundle == 0 ? 0 : x->stored;
		parts[i].sum = x->sum;
		parts[i].size = x->size;
		reads[i] = (struct pipe_spec){ .decrypt = o->labels.v[x->label].pass, .expand = (enum codec)x->codec,
			.raw = x->raw };
		parts[i].read = x->as_stored ? NULL : &reads[i];
		if (x->map != 0)
			keep_map(a, o, x, &parts[i]);
	}
	if (file_check(a, r->v->repo->store, verify_object_path(a, r->v->stanza, o, first), parts, job->n,
		results) != 0)
		return -1;
	for (uint32_t i = 0; i < job->n; i++) {
		const struct verify_object *x = &o->v.v[rows[i]];
		if (results[i].state != CHECK_OK)
			put_record(answer, i, &results[i]);
		else if (x->map != 0)
			put_needs(o, x, i, parts[i].keep, answer);
	}
	return 0;
}

static int work(void *ctx, uint32_t number, struct buf *answer)
{
	const struct run *r = ctx;
	const struct job *job = &r->jobs.v[number];

	return job->archive != 0 ? work_wal(r, job, answer) : work_objects(r, job, answer);
}

/* --- leading --- */

static bool next(void *ctx, unsigned worker, uint32_t *number)
{
	struct run *r = ctx;

	if (r->next == r->jobs.n)
		return false;
	r->jobs.v[r->next].worker = worker;
	*number = (uint32_t)r->next++;
	return true;
}

void verify_log_file(const char *path, const struct check_result *r)
{
	switch (r->state) {
	case CHECK_MISSING:
		log_info("file missing '%s'", path);
		break;
	case CHECK_SUM:
		log_info("invalid checksum '%s'", path);
		break;
	case CHECK_SIZE:
		log_info("invalid size '%s'", path);
		break;
	case CHECK_DAMAGED:
	case CHECK_UNREAD:
		log_info("invalid result %s: [%d] %s", path, (int)r->code, r->msg);
		break;
	case CHECK_OK:
	case CHECK_STATES:
		break;
	}
}

static const char *below(const char *path, const char *root)
{
	return path + strlen(root) + 1;
}

static void take_wal(struct run *r, const struct job *job, const struct check_result *result)
{
	struct arena *a = r->v->arena;
	struct verify_wal *w = &r->v->archives.v[job->archive - 1].files.v[job->first];

	w->result = *result;
	w->result.msg = arena_strdup(a, result->msg);
	w->told = result->state != CHECK_MISSING; /* retention may have removed it: that is looked at again */
	if (w->told)
		verify_log_file(below(w->path, layout_archive_root(a, r->v->stanza)), result);
}

static void take_object(struct run *r, const struct job *job, uint32_t index, const struct check_result *result)
{
	SCOPED_ARENA(a);
	struct verify_objects *o = &r->v->objects;
	struct verify_object *x = &o->v.v[r->order[job->first + index]];
	const char *path = below(verify_object_path(a, r->v->stanza, o, x), layout_backup_root(a, r->v->stanza));

	x->state = (uint8_t)result->state;
	verify_log_file(path, result);
	if (x->bundle != 0)
		log_detail("'%s' in it: '%s', %llu bytes from byte %llu on", path, x->name,
			(unsigned long long)x->stored, (unsigned long long)x->offset);
}

static int take_record(struct run *r, const struct job *job, const char *data, size_t len, size_t *used)
{
	SCOPED_ARENA(a);
	struct record rec;

	if (len < sizeof(rec))
		return -1;
	memcpy(&rec, data, sizeof(rec));
	if (rec.len > len - sizeof(rec) || rec.index >= job->n || rec.state >= CHECK_STATES)
		return -1;
	*used = sizeof(rec) + rec.len;
	if (rec.state == CHECK_OK) {
		struct verify_objects *o = &r->v->objects;
		if (job->archive != 0)
			return -1;
		const struct verify_object *x = &o->v.v[r->order[job->first + rec.index]];
		return verify_map_take(o, x, data + sizeof(rec), rec.len) ? 0 : -1;
	}
	const struct check_result result = { (enum check_state)rec.state, (enum err_code)rec.code,
		arena_strndup(a, data + sizeof(rec), rec.len) };
	if (job->archive != 0)
		take_wal(r, job, &result);
	else
		take_object(r, job, rec.index, &result);
	return 0;
}

static int done(void *ctx, uint32_t number, int rc, const void *answer, size_t len)
{
	struct run *r = ctx;
	const struct job *job = &r->jobs.v[number];
	const char *data = answer;
	size_t used = 0;

	if (rc != 0)
		return -1;
	log_process(job->worker);
	for (size_t at = 0; rc == 0 && at < len; at += used)
		rc = take_record(r, job, data + at, len - at, &used);
	log_process(0);
	if (rc != 0)
		return err_set(ERR_PROTOCOL, "a worker's answer has the wrong form");
	if (job->archive != 0)
		r->v->archives.v[job->archive - 1].files.v[job->first].judged = true;
	r->done += job->bytes;
	return 0;
}

static int tick(void *ctx)
{
	const struct run *r = ctx;

	return cmd_progress("verify", r->total, r->done);
}

static const char *name_of(void *ctx, uint32_t number)
{
	const struct run *r = ctx;
	const struct job *job = &r->jobs.v[number];
	const struct verify_objects *o = &r->v->objects;

	if (job->archive != 0)
		return r->v->archives.v[job->archive - 1].files.v[job->first].path;
	return verify_object_path(r->v->arena, r->v->stanza, o, &o->v.v[r->order[job->first]]);
}

/* Several workers leave no processor idle that could hash beside them. */
static int begin(void *ctx, unsigned worker)
{
	const struct run *r = ctx;

	if (r->v->cfg->process_max > 1)
		hash_beside_give_up();
	return 0;
}

int verify_run(struct verify *v)
{
	static const struct pool_ops ops = { .begin = begin, .next = next, .work = work, .done = done, .tick = tick,
		.tick_ms = TICK_MS, .name = name_of };
	struct run r = { .v = v };

	vec_init(&r.jobs, v->arena);
	cut_objects(&r);
	cut_wal(&r);
	if (r.jobs.n == 0)
		return 0;
	qsort(r.jobs.v, r.jobs.n, sizeof(*r.jobs.v), larger_first);
	for (size_t i = 0; i < r.jobs.n; i++)
		r.total += r.jobs.v[i].bytes;
	int rc = pool_run((unsigned)v->cfg->process_max, &ops, &r);
	log_progress(NULL);
	return rc;
}
