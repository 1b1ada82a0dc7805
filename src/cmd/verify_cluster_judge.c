/*
 * verify_cluster_judge: which segments ought to be in the archive, and what is to be said of each.
 *
 * PURE: names decide.  A segment that the server has and PostgreSQL takes for archived (.done) is lost although its file
 * is still there: nobody will push it again by itself.
 */
#include "cmd/verify_cluster.h"

#include <inttypes.h>
#include <stdlib.h>

#include "form/json.h"

static int cmp_pos(const struct wal_pos *x, const struct wal_pos *y)
{
	if (x->timeline != y->timeline)
		return x->timeline < y->timeline ? -1 : 1;
	return x->segment < y->segment ? -1 : x->segment > y->segment;
}

static int by_kept_pos(const void *x, const void *y)
{
	return cmp_pos(&((const struct wal_kept *)x)->pos, &((const struct wal_kept *)y)->pos);
}

static int by_local_pos(const void *x, const void *y)
{
	return cmp_pos(&((const struct cluster_local *)x)->pos, &((const struct cluster_local *)y)->pos);
}

static const struct cluster_local *find_local(const struct cluster_ask *ask, struct wal_pos pos)
{
	const struct cluster_local key = { .pos = pos };

	return ask->local->n == 0 ? NULL :
		bsearch(&key, ask->local->v, ask->local->n, sizeof(key), by_local_pos);
}

static const struct wal_kept *find_there(const struct cluster_ask *ask, struct wal_pos pos)
{
	const struct wal_kept key = { .pos = pos };

	return ask->there->n == 0 ? NULL : bsearch(&key, ask->there->v, ask->there->n, sizeof(key), by_kept_pos);
}

static enum cluster_found judge_one(const struct cluster_ask *ask, struct wal_pos pos)
{
	const struct wal_kept *kept = find_there(ask, pos);

	if (kept != NULL && !kept->bad)
		return CLUSTER_FOUND;
	const struct cluster_local *l = find_local(ask, pos);
	if (l == NULL || !l->there || l->done)
		return CLUSTER_LOST;
	return (ask->now - l->since) * 1000 < ask->timeout_ms ? CLUSTER_UPLOADING : CLUSTER_DELAYED;
}

static struct wal_pos pos_at(const struct cluster_ask *ask, uint64_t segment)
{
	const struct wal_reach_ask way = { .segment_size = ask->segment_size, .line = ask->line };

	return (struct wal_pos){ wal_line_timeline(&way, segment), segment };
}

/* Gaps that retention leaves between the ranges of backups. */
static void find_expired(struct arena *a, const struct cluster_ask *ask, wal_gap_list *out)
{
	wal_haves have;
	const struct wal_gaps_ask gaps = { .segment_size = ask->segment_size, .have = &have, .ranges = ask->ranges,
		.lines = &ask->line, .lines_n = 1 };

	vec_init(&have, a);
	for (size_t i = 0; i < ask->there->n; i++)
		vec_push(&have, ((struct wal_have){ .pos = ask->there->v[i].pos }));
	vec_init(out, a);
	if (have.n > 0)
		wal_gaps_find(a, &gaps, out);
}

/* The segment behind the gap that retention left here; 0: it left none. */
static uint64_t expired_end(const wal_gap_list *gaps, uint64_t segment)
{
	for (size_t i = 0; i < gaps->n; i++)
		if ((gaps->v[i].kind == WAL_GAP_EXPIRED || gaps->v[i].kind == WAL_GAP_UNNEEDED) &&
			segment >= gaps->v[i].first.segment && segment <= gaps->v[i].last.segment)
			return gaps->v[i].last.segment + 1;
	return 0;
}

static void add_segment(struct cluster_answer *x, struct wal_pos pos, enum cluster_found found)
{
	static const enum cluster_status means[] = { CLUSTER_OK, CLUSTER_WARNING, CLUSTER_WARNING, CLUSTER_FAILURE };
	struct cluster_row *last = x->rows.n == 0 ? NULL : &x->rows.v[x->rows.n - 1];

	if (means[found] > x->integrity)
		x->integrity = means[found];
	if (last != NULL && last->found == found && last->timeline == pos.timeline && last->last + 1 == pos.segment)
		last->last = pos.segment;
	else
		vec_push(&x->rows, ((struct cluster_row){ pos.timeline, pos.segment, pos.segment, found }));
}

void cluster_judge(struct arena *a, const struct cluster_ask *ask, struct cluster_answer *out)
{
	wal_gap_list gaps;

	*out = (struct cluster_answer){ .current = ask->line.timeline, .highest = ask->highest };
	vec_init(&out->rows, a);
	vec_init(&out->notes, a);
	if (ask->local->n > 0)
		qsort(ask->local->v, ask->local->n, sizeof(*ask->local->v), by_local_pos);
	find_expired(a, ask, &gaps);
	for (uint64_t n = ask->first; n < ask->end; n++) {
		uint64_t next = expired_end(&gaps, n);
		if (next != 0) {
			next = next < ask->end ? next : ask->end;
			out->skipped += next - n;
			n = next - 1;
			continue;
		}
		const struct wal_pos pos = pos_at(ask, n);
		add_segment(out, pos, judge_one(ask, pos));
	}
	if (ask->highest == 0)
		out->timeline = CLUSTER_WARNING;
	else if (ask->highest > ask->line.timeline)
		out->timeline = CLUSTER_FAILURE;
}

/* --- what is said beside the table --- */

static void explain_row(struct arena *a, const struct cluster_ask *ask, const wal_drops *drops,
	const struct cluster_row *row, struct cluster_answer *out)
{
	const struct wal_drop *told = NULL;
	char name[WAL_NAME + 1];

	for (uint64_t n = row->first; n <= row->last; n++) {
		const struct wal_pos pos = { row->timeline, n };
		const struct cluster_local *l = find_local(ask, pos);
		wal_name(pos, ask->segment_size, name);
		const struct wal_drop *d = wal_drop_of(drops, name);
		if (find_there(ask, pos) != NULL)
			vec_push(&out->notes, arena_printf(a, "WAL segment %s is in the archive, but of no use: its copies "
				"differ, or it cannot be read", name));
		else if (d != NULL && d != told)
			vec_push(&out->notes, arena_printf(a, "WAL segment %s was dropped %s", name,
				wal_drop_how(a, d)));
		else if (d == NULL && l != NULL && l->there && l->done)
			vec_push(&out->notes, arena_printf(a, "WAL segment %s is still in the cluster, but PostgreSQL "
				"takes it for archived: push it by hand before it is removed", name));
		told = d;
	}
}

/* A note that cannot be read any more may be of any of them. */
static void explain_unknown(struct arena *a, const wal_drops *drops, struct cluster_answer *out)
{
	for (size_t i = 0; i < drops->n; i++)
		if (drops->v[i].files.n == 0)
			vec_push(&out->notes, arena_printf(a, "WAL was dropped, nobody knows which, %s",
				wal_drop_how(a, &drops->v[i])));
}

void cluster_explain(struct arena *a, const struct cluster_ask *ask, const wal_drops *drops,
	struct cluster_answer *out)
{
	for (size_t i = 0; i < out->rows.n; i++)
		if (out->rows.v[i].found == CLUSTER_LOST)
			explain_row(a, ask, drops, &out->rows.v[i], out);
	if (out->integrity == CLUSTER_FAILURE)
		explain_unknown(a, drops, out);
	if (out->skipped > 0)
		vec_push(&out->notes, arena_printf(a, "%" PRIu64 " segment%s between backups %s not expected: retention "
			"keeps only what the backups themselves need", out->skipped, out->skipped == 1 ? "" : "s",
			out->skipped == 1 ? "is" : "are"));
	if (out->timeline == CLUSTER_FAILURE)
		vec_push(&out->notes, arena_printf(a, "the archive has timeline %u, but the cluster is on timeline %u: "
			"another server was promoted, or this one was set back", out->highest, out->current));
	else if (out->timeline == CLUSTER_WARNING)
		vec_push(&out->notes, "the archive has no WAL, so nothing tells its timeline");
}

/* --- forms --- */

static const char *status_name(enum cluster_status s)
{
	static const char *const names[] = { "OK", "WARNING", "FAILURE" };

	return names[s];
}

static const char *found_name(enum cluster_found f)
{
	static const char *const names[] = { "FOUND", "MISSING_UPLOADING", "MISSING_DELAYED", "MISSING_LOST" };

	return names[f];
}

static void put_str(struct json_out *j, const char *key, const char *value)
{
	json_key(j, key);
	json_str(j, value);
}

static void put_u64(struct json_out *j, const char *key, uint64_t value)
{
	json_key(j, key);
	json_u64(j, value);
}

static void put_row(struct json_out *j, const struct cluster_row *row, uint32_t segment_size)
{
	char first[WAL_NAME + 1], last[WAL_NAME + 1];

	wal_name((struct wal_pos){ row->timeline, row->first }, segment_size, first);
	wal_name((struct wal_pos){ row->timeline, row->last }, segment_size, last);
	json_object_begin(j);
	put_u64(j, "timeline_id", row->timeline);
	put_str(j, "start_segment", first);
	put_str(j, "end_segment", last);
	put_u64(j, "segments_count", row->last - row->first + 1);
	put_str(j, "status", found_name(row->found));
	json_object_end(j);
}

void cluster_json(const struct cluster_answer *x, uint32_t segment_size, struct buf *out)
{
	struct json_out j;

	json_out_init(&j, out);
	json_object_begin(&j);
	json_key(&j, "integrity");
	json_object_begin(&j);
	put_str(&j, "status", status_name(x->integrity));
	json_key(&j, "details");
	json_array_begin(&j);
	for (size_t i = 0; i < x->rows.n; i++)
		put_row(&j, &x->rows.v[i], segment_size);
	json_array_end(&j);
	json_object_end(&j);
	json_key(&j, "timeline");
	json_object_begin(&j);
	put_str(&j, "status", status_name(x->timeline));
	json_key(&j, "details");
	json_object_begin(&j);
	put_u64(&j, "current_timeline_id", x->current);
	put_u64(&j, "highest_storage_timeline_id", x->highest);
	json_object_end(&j);
	json_object_end(&j);
	json_object_end(&j);
	buf_addc(out, '\n');
}

void cluster_text(const struct cluster_answer *x, const char *stanza, uint32_t segment_size, struct buf *out)
{
	buf_addf(out, "stanza: %s\nintegrity: %s\n", stanza, status_name(x->integrity));
	if (x->rows.n > 0)
		buf_addf(out, "    %8s  %-24s  %-24s  %8s  %s\n", "timeline", "start segment", "end segment",
			"segments", "status");
	for (size_t i = 0; i < x->rows.n; i++) {
		const struct cluster_row *row = &x->rows.v[i];
		char first[WAL_NAME + 1], last[WAL_NAME + 1];
		wal_name((struct wal_pos){ row->timeline, row->first }, segment_size, first);
		wal_name((struct wal_pos){ row->timeline, row->last }, segment_size, last);
		buf_addf(out, "    %8u  %-24s  %-24s  %8" PRIu64 "  %s\n", row->timeline, first, last,
			row->last - row->first + 1, found_name(row->found));
	}
	buf_addf(out, "timeline: %s\n    current timeline of the cluster: %u\n    highest timeline in storage: %u\n",
		status_name(x->timeline), x->current, x->highest);
	for (size_t i = 0; i < x->notes.n; i++)
		buf_addf(out, "note: %s\n", x->notes.v[i]);
}
