/*
 * restore_wal: the WAL that recovery will need: from which segment, up to where, and is it there?
 *
 * Refused is only what cannot succeed: what is not known (a repository that cannot be asked, WAL that may come
 * from elsewhere, a target that no name tells) is a warning.
 */
#include "cmd/restore_plan.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "pg/control.h"
#include "repo/archive_info.h"
#include "repo/file_get.h"
#include "repo/layout.h"
#include "repo/wal_drop.h"

#define CONTROL "pg_data/global/pg_control"
#define PUSH_WAIT_MS 1000 /* a hole behind the backup may be a push in flight */

/* The archives of the cluster in all repositories that can be asked, as archive-get asks them. */
struct archives {
	VEC(struct wal_place) places;
	VEC(unsigned) keys; /* of the repository, by place */
	VEC(unsigned) asked;
};

static bool is(const struct restore *r, const char *type)
{
	return strcmp(r->type, type) == 0;
}

/* A repository that cannot be asked proves nothing. */
static int give_up(unsigned key, struct plan_wal *out)
{
	if (err_code() == ERR_TERM)
		return -1;
	log_warn("repo%u: unable to look for WAL: [%s] %s", key, err_class(err_code()), err_msg());
	err_clear();
	out->unasked++;
	return 0;
}

static int find_archives(struct restore *r, struct archives *out, struct plan_wal *w)
{
	struct ctx_repos repos;

	vec_init(&out->places, r->arena);
	vec_init(&out->keys, r->arena);
	vec_init(&out->asked, r->arena);
	if (ctx_repos(r->arena, r->cfg, &repos) != 0)
		return -1;
	for (size_t i = 0; i < repos.n; i++) {
		struct archive_info info;
		int rc = archive_info_load(r->arena, repos.v[i].store, r->cfg->stanza, repos.v[i].pass, &info);
		if (rc < 0) {
			if (give_up(repos.v[i].key, w) != 0)
				return -1;
			continue;
		}
		vec_push(&out->asked, repos.v[i].key);
		for (size_t k = 0; rc == 0 && k < info.history.n; k++) {
			const struct archive_db *db = &info.history.v[k];
			if (db->system_id != r->m->db.system_id || strcmp(db->version, r->m->db.version) != 0)
				continue;
			vec_push(&out->places, ctx_wal_place(r->arena, r->cfg, &repos.v[i], &info, db));
			vec_push(&out->keys, repos.v[i].key);
		}
	}
	return 0;
}

/* Forget all places of a repository that failed. */
static int drop_repo(struct archives *ar, unsigned key, struct plan_wal *w)
{
	size_t kept = 0, asked = 0;

	if (give_up(key, w) != 0)
		return -1;
	for (size_t i = 0; i < ar->places.n; i++) {
		if (ar->keys.v[i] == key)
			continue;
		ar->places.v[kept] = ar->places.v[i];
		ar->keys.v[kept++] = ar->keys.v[i];
	}
	ar->places.n = ar->keys.n = kept;
	for (size_t i = 0; i < ar->asked.n; i++)
		if (ar->asked.v[i] != key)
			ar->asked.v[asked++] = ar->asked.v[i];
	ar->asked.n = asked;
	return 0;
}

/* pg_control of the backup tells the size of a segment: names and LSNs alone may not. */
static int read_segment_size(struct restore *r, uint32_t *size)
{
	SCOPED_ARENA(a);
	const struct manifest_file *f = manifest_file_find(r->m, CONTROL);
	const struct file_get_opts opts = { .stanza = r->cfg->stanza, .m = r->m,
		.dest_name = "pg_control", .no_fsync = true };
	struct store *memory = store_mem(a);
	const struct pg_version *forced;
	struct file_get_result result;
	struct pg_control control;
	struct buf b;

	if (ctx_forced_version(r->cfg, &forced) != 0)
		return -1;
	if (f == NULL)
		return err_set(ERR_FILE_MISSING, "backup '%s' holds no pg_control", r->m->label);
	buf_init(&b, a);
	if (file_get(a, r->repo->store, memory, f, &opts, &result) != 0 ||
		store_read(memory, opts.dest_name, PG_CONTROL_SIZE, false, &b) != 0)
		return err_wrap("unable to read pg_control of backup '%s'", r->m->label);
	if (b.len < PG_CONTROL_READ)
		return err_set(ERR_FORMAT, "pg_control of backup '%s' is too short", r->m->label);
	if (pg_control_parse((const uint8_t *)b.data, forced, &control) != 0)
		return err_wrap("pg_control of backup '%s'", r->m->label);
	*size = control.wal_segment_size;
	return 0;
}

/* --- what is asked --- */

/* 0: the latest.  restore_check_timeline has refused what is no timeline. */
static uint32_t target_timeline(const struct restore *r, uint32_t current)
{
	const char *text = r->cfg->target_timeline;
	uint64_t value = 0;

	if (text == NULL)
		return is(r, "immediate") || !r->version->recovery_signal ? current : 0;
	if (strcmp(text, "current") == 0)
		return current;
	if (str_starts(text, "0x") || str_starts(text, "0X"))
		return str_hex_to_u64(text + 2, strlen(text + 2), &value) ? (uint32_t)value : 0;
	return str_to_u64(text, &value) ? (uint32_t)value : 0;
}

static int set_backup(struct restore *r, struct wal_reach_ask *ask)
{
	const struct backup_line *line = r->line;
	struct wal_pos start, stop;

	if (!wal_parse(line->archive_start, ask->segment_size, &start) ||
		!wal_parse(line->archive_stop, ask->segment_size, &stop) ||
		!lsn_parse(line->lsn_stop, &ask->stop_lsn) || stop.segment < start.segment)
		return err_set(ERR_FORMAT, "backup '%s' has an impossible range of WAL: '%s' to '%s', lsn '%s'",
			line->label, line->archive_start, line->archive_stop, line->lsn_stop);
	ask->timeline = start.timeline;
	ask->start = start.segment;
	ask->stop = stop.segment;
	return 0;
}

static void set_goal(struct restore *r, struct plan_wal *w)
{
	struct wal_reach_ask *ask = &w->ask;
	uint64_t lsn;

	ask->by = UINT64_MAX;
	w->target = arena_printf(r->arena, "%s '%s'", r->type, r->cfg->target == NULL ? "" : r->cfg->target);
	if (is(r, "lsn") && lsn_parse(r->cfg->target, &lsn)) {
		ask->goal = WAL_GOAL_SEGMENT;
		ask->target = wal_segment_of(lsn, ask->segment_size);
	} else if (is(r, "time") || is(r, "name") || is(r, "xid") || is(r, "lsn")) {
		ask->goal = WAL_GOAL_SOMEWHERE;
	} else if (is(r, "immediate") || is(r, "none")) {
		ask->goal = WAL_GOAL_CONSISTENT;
		w->target = "a consistent state";
	} else {
		ask->goal = WAL_GOAL_END;
		w->target = "the end of the archive";
	}
}

/*
 * Other backups know when WAL was written: all before the first segment of a backup that had ended by the target
 * time was written before it, so that recovery has to come that far; the first segment of a backup that began
 * after it was written after it.
 */
static void set_bounds(struct restore *r, struct wal_reach_ask *ask)
{
	int64_t target_ms;

	if (!is(r, "time") || !clock_parse(r->cfg->target, &target_ms))
		return;
	for (size_t i = 0; i < r->info.backups.n; i++) {
		const struct backup_line *line = &r->info.backups.v[i];
		struct wal_pos start;
		if (line->db_id != r->line->db_id || line->archive_start == NULL ||
			!wal_parse(line->archive_start, ask->segment_size, &start) ||
			wal_line_timeline(ask, start.segment) != start.timeline)
			continue;
		if ((line->stop + 1) * 1000 <= target_ms && start.segment > ask->not_before)
			ask->not_before = start.segment;
		if (line->start * 1000 > target_ms && start.segment < ask->by)
			ask->by = start.segment;
	}
}

/* --- what it comes to --- */

char *restore_wal_name(struct arena *a, const struct plan_wal *w, struct wal_pos pos)
{
	char name[WAL_NAME + 1];

	wal_name(pos, w->ask.segment_size, name);
	return arena_strdup(a, name);
}

/* Does the user let the WAL come from elsewhere, or recovery go elsewhere, than these options say? */
static bool has_own_rules(const struct restore *r)
{
	const config_pairs *options = &r->cfg->recovery_option;

	for (size_t i = 0; i < options->n; i++) {
		char *name = arena_strdup(r->arena, options->v[i].key);
		for (char *c = name; *c != '\0'; c++)
			if (*c == '-')
				*c = '_';
		if (strcmp(name, "restore_command") == 0 || str_starts(name, "recovery_target"))
			return true;
	}
	return false;
}

/* A standby may get WAL from its primary, and what is preserved is not known here; without recovery nobody asks
 * the archive. */
static bool may_refuse(const struct restore *r, const struct plan_wal *w)
{
	return w->unasked == 0 && !has_own_rules(r) && !is(r, "standby") && !is(r, "preserve") &&
		!is(r, "none");
}

static const char *short_text(struct arena *a, const struct plan_wal *w)
{
	const struct wal_reach *got = &w->reach;
	struct buf b;

	if (got->left_early)
		return arena_printf(a, "timeline %u leaves timeline %u before the backup ended",
			w->ask.line.timeline, w->ask.timeline);
	if (got->gaps_n == 0)
		return arena_printf(a, "the WAL ends at %s", restore_wal_name(a, w, got->to));
	buf_init(&b, a);
	buf_addf(&b, "WAL segment %s is missing from %s", restore_wal_name(a, w, got->gaps[0]), w->asked);
	if (w->dropped != NULL)
		buf_addf(&b, ": it was dropped %s", w->dropped);
	else if (got->evidence != NULL)
		buf_adds(&b, wal_hole_text(a, got->evidence));
	if (got->missing > 1)
		buf_addf(&b, ", and %" PRIu64 " more", got->missing - 1);
	return b.data;
}

static const char *verdict_text(struct arena *a, const struct plan_wal *w)
{
	const struct wal_reach *got = &w->reach;

	if (got->verdict == WAL_FALLS_SHORT)
		return arena_printf(a, "%s cannot be reached: %s", w->target, short_text(a, w));
	const char *to = restore_wal_name(a, w, got->to);
	if (got->verdict == WAL_MAY_REACH)
		return got->missing > 0 ?
			arena_printf(a, "%s; %s can be reached only if it lies before", short_text(a, w),
				w->target) :
			arena_printf(a, "the WAL runs without a hole to %s; whether %s lies before its end is "
				"not known", to, w->target);
	if (w->ask.goal == WAL_GOAL_END)
		return arena_printf(a, "the WAL runs without a hole to %s, the end of the archive", to);
	return arena_printf(a, "%s can be reached: the WAL runs without a hole to %s", w->target, to);
}

static void conclude(struct restore *r, const struct archives *ar, struct plan_wal *w)
{
	struct buf asked;
	bool falls_short = w->reach.verdict == WAL_FALLS_SHORT;

	if (ar->asked.n == 0) {
		w->unjudged = "no repository could be asked";
		return;
	}
	buf_init(&asked, r->arena);
	vec_init(&w->asked_keys, r->arena);
	for (size_t i = 0; i < ar->asked.n; i++) {
		buf_addf(&asked, "%srepo%u", i == 0 ? "" : i + 1 < ar->asked.n ? ", " : " and ", ar->asked.v[i]);
		vec_push(&w->asked_keys, ar->asked.v[i]);
	}
	w->asked = asked.data;
	w->last = w->ask.start + w->reach.present + w->reach.missing;
	w->last -= w->last > w->ask.start ? 1 : 0;
	w->ends_at_gap = falls_short && w->ask.goal == WAL_GOAL_END && w->reach.consistent &&
		!w->reach.left_early && r->cfg->archive_gap != NULL && strcmp(r->cfg->archive_gap, "end") == 0;
	w->refuses = falls_short && !w->ends_at_gap && may_refuse(r, w);
	w->text = verdict_text(r->arena, w);
}

/* 0; 1: not judged; -1. */
static int follow_line(struct restore *r, struct archives *ar, struct plan_wal *w)
{
	uint32_t target = target_timeline(r, w->ask.timeline);
	size_t at;

	while (wal_reach_line(r->arena, ar->places.v, ar->places.n, w->ask.timeline, target,
			&w->ask.line, &at) != 0) {
		if (at < ar->places.n && drop_repo(ar, ar->keys.v[at], w) == 0)
			continue;
		if (err_code() != ERR_FILE_MISSING || w->unasked == 0)
			return -1;
		w->unjudged = arena_printf(r->arena, "%s", err_msg());
		err_clear();
		return 1;
	}
	return 0;
}

/* Is the first gap known to be one?  The notes only explain: without them it is missing all the same. */
static int find_cause(struct restore *r, const struct archives *ar, struct plan_wal *w)
{
	size_t at;

	w->dropped = NULL;
	if (w->reach.gaps_n == 0 || wal_was_dropped(r->arena, ar->places.v, ar->places.n,
			restore_wal_name(r->arena, w, w->reach.gaps[0]), &w->dropped, &at) > 0)
		return 0;
	w->dropped = NULL;
	if (err_code() == ERR_TERM)
		return -1;
	err_clear();
	return 0;
}

static int look(struct restore *r, struct archives *ar, struct plan_wal *w)
{
	size_t at;

	while (wal_reach(r->arena, ar->places.v, ar->places.n, &w->ask, &w->reach, &at) != 0)
		if (at >= ar->places.n || drop_repo(ar, ar->keys.v[at], w) != 0)
			return -1;
	return find_cause(r, ar, w);
}

int restore_wal_plan(struct restore *r, struct plan_wal *w)
{
	struct deadline end = deadline_in(PUSH_WAIT_MS);
	struct backoff pause = { 0 };
	struct archives ar;

	*w = (struct plan_wal){ .asked = "" };
	if (!r->m->online)
		w->unjudged = "the backup was made offline and needs none";
	else if (r->line->archive_start == NULL || r->line->archive_stop == NULL || r->line->lsn_stop == NULL)
		w->unjudged = "the backup does not say which it needs";
	if (w->unjudged != NULL)
		return 0;
	if (read_segment_size(r, &w->ask.segment_size) != 0 || set_backup(r, &w->ask) != 0 ||
		find_archives(r, &ar, w) != 0)
		return -1;
	set_goal(r, w);
	int rc = follow_line(r, &ar, w);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	set_bounds(r, &w->ask);
	do {
		if (look(r, &ar, w) != 0)
			return -1;
		conclude(r, &ar, w);
	} while (w->unjudged == NULL && w->refuses && w->reach.consistent && !w->reach.left_early && backoff_wait(&pause, end));
	return 0;
}

static int refuse(const struct restore *r, const struct plan_wal *w)
{
	struct arena *a = r->arena;
	const struct wal_reach *got = &w->reach;

	(void)err_set(ERR_BACKUP_SET, "backup '%s' cannot be recovered to %s: %s", r->m->label, w->target,
		short_text(a, w));
	if (got->left_early)
		return err_hint("use --target-timeline=current to stay on the backup's timeline.");
	if (!got->consistent) {
		(void)err_hint("to become consistent the backup needs all WAL from %s to %s.",
			r->line->archive_start, r->line->archive_stop);
		return err_hint("use --set or --repo to restore another backup.");
	}
	(void)err_hint("the WAL of this set ends at %s; use --type=immediate or an earlier target, or --set or "
		"--repo to restore another backup.", restore_wal_name(a, w, got->to));
	if (w->ask.goal != WAL_GOAL_END)
		return -1;
	return err_hint("use --archive-gap=end to end recovery there on purpose: everything later is lost.");
}

int restore_wal_check(const struct restore *r, const struct plan_wal *w)
{
	const char *more = w->unasked > 0 ? ", but not every repository could be asked" : "";

	if (w->unjudged != NULL || w->reach.verdict == WAL_REACHES)
		return 0;
	if (w->refuses)
		return refuse(r, w);
	if (w->ends_at_gap)
		log_warn("recovery will end at WAL segment %s (archive-gap=end), everything later is lost: %s",
			restore_wal_name(r->arena, w, w->reach.to), short_text(r->arena, w));
	else if (w->reach.missing == 0 && !w->reach.left_early)
		log_detail("%s", w->text);
	else if (!is(r, "none") || !r->m->archive_copy)
		log_warn("%s%s", w->text, more);
	return 0;
}
