/*
 * verify_cluster: the archive held against the running cluster (verify --archive).
 *
 * The order of looking makes that nothing is called lost which is on its way: the server's position first, then its
 * pg_wal, then the repositories.  A segment that was complete at the first had its status file then; if that said
 * archived at the second, the segment is in the repositories by the third.  Only expire works against us, so what is
 * lost is looked at again if the oldest backup is another one by then.
 */
#include "cmd/cmd.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "cmd/archive.h"
#include "cmd/verify_cluster.h"
#include "cmd/verify_intern.h"
#include "pg/wal_end.h"
#include "repo/wal_survey.h"
#include "stream/sink.h"

#define LOOKS 3
#define HISTORY_MAX (1024u * 1024) /* bytes */

/* One look at everything; lives in an arena of its own. */
struct look {
	struct arena *a;
	const struct config *cfg;
	struct ctx_cluster *cluster;
	uint32_t segment_size;
	VEC(struct wal_place) places; /* all archives of the cluster */
	VEC(const struct wal_survey *) surveys;
	wal_histories histories;
	wal_kepts there;
	wal_ranges ranges;
	cluster_locals local;
	wal_drops drops;
	uint32_t highest;
};

/* --- the server --- */

/* Any server of the stanza can tell how far the WAL has come; the primary best. */
static int find_server(struct arena *a, const struct config *cfg, struct ctx_cluster **out)
{
	struct ctx_clusters all;
	struct store *lowest;

	if (ctx_pg(a, cfg, &lowest) != 0 || ctx_clusters(a, cfg, 1, &all) != 0)
		return -1;
	*out = all.primary != NULL ? all.primary : all.standbys > 0 ? &all.standby[0] : NULL;
	if (*out != NULL)
		return ctx_cluster_open(a, cfg, *out);
	(void)err_set(ERR_DB_CONNECT, "unable to find a running cluster, against which the archive could be held");
	return err_hint("without --archive verify needs no cluster.");
}

static int see_local(void *ctx, const struct store_entry *e)
{
	struct look *l = ctx;
	struct cluster_local *x;
	struct wal_pos pos;

	if (wal_kind(e->name) != WAL_SEGMENT || !wal_parse(e->name, l->segment_size, &pos))
		return 0;
	x = vec_add(&l->local);
	*x = (struct cluster_local){ .pos = pos, .there = true, .since = e->mtime };
	return 0;
}

/* Both lists come by name, and names of segments are in order of timeline and number. */
static int see_status(void *ctx, const struct store_entry *e)
{
	struct look *l = ctx;
	const char *end = e->name + WAL_NAME;
	struct wal_pos pos;

	if (strlen(e->name) <= WAL_NAME || !str_all(e->name, WAL_NAME, "0123456789ABCDEF") ||
		!wal_parse(e->name, l->segment_size, &pos) || (strcmp(end, ".ready") != 0 && strcmp(end, ".done") != 0))
		return 0;
	for (size_t low = 0, high = l->local.n; low < high;) {
		size_t mid = low + (high - low) / 2;
		struct cluster_local *x = &l->local.v[mid];
		if (x->pos.timeline == pos.timeline && x->pos.segment == pos.segment) {
			x->ready = strcmp(end, ".ready") == 0;
			x->done = !x->ready;
			x->since = e->mtime;
			break;
		}
		if (x->pos.timeline < pos.timeline || (x->pos.timeline == pos.timeline && x->pos.segment < pos.segment))
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

/* A standby that does not archive by itself calls all that it received archived (.done): that says nothing. */
static int look_at_server(struct look *l)
{
	const struct pg_server *s = &l->cluster->server;
	const char *dir = l->cluster->control.version->wal_dir;

	vec_init(&l->local, l->a);
	if (store_list(l->cluster->pg, dir, see_local, l) < 0)
		return -1;
	if (s->in_recovery && strcmp(s->archive_mode, "always") != 0)
		return 0;
	return store_list(l->cluster->pg, path_join(l->a, dir, "archive_status"), see_status, l) < 0 ? -1 : 0;
}

/* The server's own history file knows its line; a restored server may have only the archive's. */
static int read_line(struct look *l, uint32_t timeline, struct timeline_history *out)
{
	const char *name = arena_printf(l->a, "%s/%08X.history", l->cluster->control.version->wal_dir, timeline);
	struct buf text;

	*out = (struct timeline_history){ .timeline = timeline };
	if (timeline == 1)
		return 0;
	buf_init(&text, l->a);
	int rc = store_read(l->cluster->pg, name, HISTORY_MAX, true, &text);
	if (rc != STORE_ABSENT)
		return rc < 0 ? -1 : timeline_parse(l->a, timeline, text.data, text.len, out);
	for (size_t i = 0; i < l->histories.n; i++)
		if (l->histories.v[i].timeline == timeline) {
			*out = l->histories.v[i];
			return 0;
		}
	return err_set(ERR_FILE_MISSING, "neither the cluster nor the archive has the history of its timeline %u",
		timeline);
}

/* --- the repositories --- */

static void see_timeline(struct look *l, uint32_t timeline)
{
	l->highest = timeline > l->highest ? timeline : l->highest;
}

static void take_former(struct look *l, const struct wal_survey *s)
{
	struct wal_range r = { .label = NULL };
	struct wal_pos stop;

	for (size_t i = 0; i + 1 < s->former.n; i += 2) {
		if (!wal_parse(s->former.v[i], l->segment_size, &r.start) ||
			!wal_parse(s->former.v[i + 1], l->segment_size, &stop) || stop.timeline != r.start.timeline)
			continue;
		r.stop = stop.segment;
		vec_push(&l->ranges, r);
	}
}

/* Its history counts even if it is damaged: whoever wrote it was promoted. */
static void take_names(struct look *l, const struct wal_survey *s)
{
	uint64_t timeline;

	for (size_t i = 0; i < s->files.n; i++)
		see_timeline(l, s->files.v[i].timeline);
	for (size_t i = 0; i < s->others.n; i++)
		if (wal_kind(s->others.v[i]) == WAL_HISTORY && str_hex_to_u64(s->others.v[i], 8, &timeline))
			see_timeline(l, (uint32_t)timeline);
	for (size_t i = 0; i < s->histories.n; i++)
		vec_push(&l->histories, s->histories.v[i]);
}

static int look_at_place(struct look *l, const struct wal_place *p)
{
	const struct archive_db db = { .system_id = l->cluster->control.system_id,
		.version = l->cluster->control.version->name };
	struct wal_survey *s = arena_new_object(l->a, struct wal_survey);
	wal_drops drops;

	if (wal_survey(l->a, p, &db, s) != 0 || wal_drops_load(l->a, p, &drops) != 0)
		return -1;
	take_former(l, s);
	take_names(l, s);
	vec_push(&l->surveys, s);
	for (size_t i = 0; i < drops.n; i++)
		vec_push(&l->drops, drops.v[i]);
	return 0;
}

static void take_backups(struct look *l, const struct backup_info *info)
{
	const struct pg_control *c = &l->cluster->control;

	for (size_t i = 0; i < info->backups.n; i++) {
		const struct backup_line *b = &info->backups.v[i];
		struct wal_range r = { .label = b->label };
		struct wal_pos stop;
		for (size_t k = 0; k < info->history.n; k++) {
			const struct backup_db *db = &info->history.v[k];
			if (db->id != b->db_id || db->system_id != c->system_id ||
				strcmp(db->version, c->version->name) != 0 || b->archive_start == NULL ||
				b->archive_stop == NULL || !wal_parse(b->archive_start, l->segment_size, &r.start) ||
				!wal_parse(b->archive_stop, l->segment_size, &stop) ||
				stop.timeline != r.start.timeline)
				continue;
			r.stop = stop.segment;
			vec_push(&l->ranges, r);
		}
	}
}

/* Every repository must answer: what one of them would have said is not known without it. */
static int open_repo(struct look *l, const struct ctx_repo *repo)
{
	const struct pg_control *c = &l->cluster->control;
	struct ctx_infos infos;
	size_t n;

	if (ctx_infos_load(l->a, l->cfg, repo, &infos) != 0)
		return -1;
	const struct wal_place *places = archive_places(l->a, l->cfg, repo, &infos.archive, c->version->name,
		c->system_id, &n);
	if (n == 0)
		return ctx_mismatch(&infos.backup, c);
	for (size_t i = 0; i < n; i++)
		vec_push(&l->places, places[i]);
	take_backups(l, &infos.backup);
	return 0;
}

static int look_at_repos(struct look *l, const struct ctx_repos *repos)
{
	vec_init(&l->places, l->a);
	vec_init(&l->ranges, l->a);
	vec_init(&l->surveys, l->a);
	vec_init(&l->histories, l->a);
	vec_init(&l->drops, l->a);
	l->highest = 0;
	for (size_t i = 0; i < repos->n; i++)
		if (open_repo(l, &repos->v[i]) != 0)
			return err_wrap("repo%u", repos->v[i].key);
	for (size_t i = 0; i < l->places.n; i++)
		if (look_at_place(l, &l->places.v[i]) != 0)
			return -1;
	wal_survey_merge(l->a, l->surveys.v, l->surveys.n, l->segment_size, &l->there);
	return 0;
}

/* --- all of it --- */

/* Does recovery from the backup follow the line?  One that begins in the segment in which its timeline is left goes on
 * with the child's copy of that segment; others of other lines begin where this cluster never was. */
static bool is_on_line(const struct look *l, const struct timeline_history *line, struct wal_pos start)
{
	const struct wal_reach_ask way = { .segment_size = l->segment_size, .line = *line };
	uint64_t left;

	if (wal_line_timeline(&way, start.segment) == start.timeline)
		return true;
	return timeline_left_at(line, start.timeline, &left) && left % l->segment_size != 0 &&
		wal_segment_of(left, l->segment_size) == start.segment;
}

static uint64_t first_expected(const struct look *l, const struct timeline_history *line)
{
	uint64_t first = 0;

	for (size_t i = 0; i < l->ranges.n; i++) {
		const struct wal_range *r = &l->ranges.v[i];
		if (r->label != NULL && is_on_line(l, line, r->start) && (first == 0 || r->start.segment < first))
			first = r->start.segment;
	}
	return first == 0 ? 1 : first;
}

static int look_once(struct look *l, const struct ctx_repos *repos, struct cluster_ask *ask, struct cluster_answer *out)
{
	struct pg_wal_end end;

	if (pg_wal_end(&l->cluster->server, &end) != 0 || look_at_server(l) != 0 || look_at_repos(l, repos) != 0)
		return -1;
	*ask = (struct cluster_ask){ .segment_size = l->segment_size, .end = wal_segment_of(end.lsn, l->segment_size),
		.there = &l->there, .local = &l->local, .ranges = &l->ranges, .now = clock_now_ms() / 1000,
		.timeout_ms = l->cfg->archive_timeout, .highest = l->highest };
	if (read_line(l, end.timeline, &ask->line) != 0)
		return -1;
	ask->first = first_expected(l, &ask->line);
	cluster_judge(l->a, ask, out);
	return 0;
}

static int show(struct arena *a, const struct config *cfg, const struct cluster_answer *x, uint32_t segment_size)
{
	struct buf text;
	bool json = strcmp(cfg->output, "json") == 0;

	buf_init(&text, a);
	if (json)
		cluster_json(x, segment_size, &text);
	else
		cluster_text(x, cfg->stanza, segment_size, &text);
	for (size_t i = 0; i < x->notes.n; i++)
		log_warn("%s", x->notes.v[i]);
	if (strcmp(cfg->output, "none") == 0)
		return 0;
	struct sink *out = sink_fd(a, STDOUT_FILENO, "stdout");
	return sink_write(out, text.data, text.len) != 0 ? -1 : sink_finish(out);
}

int verify_cluster(struct arena *a, const struct config *cfg)
{
	struct look l = { .a = a, .cfg = cfg };
	struct cluster_answer answer;
	struct cluster_ask ask;
	struct ctx_repos repos;
	uint64_t first = 0;

	if (ctx_repos(a, cfg, &repos) != 0 || find_server(a, cfg, &l.cluster) != 0)
		return -1;
	l.segment_size = l.cluster->control.wal_segment_size;
	for (int looks = 1;; looks++) {
		if (look_once(&l, &repos, &ask, &answer) != 0)
			return -1;
		if (answer.integrity != CLUSTER_FAILURE || ask.first == first || looks == LOOKS)
			break;
		first = ask.first;
	}
	cluster_explain(a, &ask, &l.drops, &answer);
	if (show(a, cfg, &answer, l.segment_size) != 0)
		return -1;
	return (int)(answer.integrity > answer.timeline ? answer.integrity : answer.timeline);
}
