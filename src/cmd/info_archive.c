/*
 * info_archive: what the archives of a stanza have, and from when to when recovery can stop with it.
 *
 * Each repository is judged by itself, because each must serve alone; where several have the WAL of one cluster, also
 * all together, because archive-get asks them all.
 */
#include "cmd/info_intern.h"

#include <string.h>

const char *info_segment(struct arena *a, uint32_t segment_size, struct wal_pos pos)
{
	char name[WAL_NAME + 1];

	wal_name(pos, segment_size, name);
	return arena_strdup(a, name);
}

bool info_is_of(const struct archive_db *db, uint64_t system_id, const char *version)
{
	return db->system_id == system_id && strcmp(db->version, version) == 0;
}

/* --- status --- */

static bool is_unread(const struct info_archive *ar, uint32_t timeline)
{
	for (size_t i = 0; i < ar->survey.unread.n; i++)
		if (ar->survey.unread.v[i] == timeline)
			return true;
	return false;
}

const char *info_timeline_status(const struct info_archive *ar, const struct wal_timeline *t)
{
	if (t->lost_wal)
		return "LOST_SEGMENTS";
	if (is_unread(ar, t->id))
		return "UNKNOWN";
	return t->lost_history ? "LOST_HISTORY" : "OK";
}

const char *info_wal_status(const struct info_archive *ar)
{
	bool wal = false, history = false, unknown = !ar->surveyed || ar->survey.unread.n > 0;

	for (size_t i = 0; i < ar->wal.timelines.n; i++) {
		wal = wal || ar->wal.timelines.v[i].lost_wal;
		history = history || ar->wal.timelines.v[i].lost_history;
	}
	for (size_t i = 0; i < ar->losses.n; i++) {
		const char *file = ar->losses.v[i].first;
		unknown = unknown || file == NULL;
		wal = wal || (file != NULL && wal_kind(file) == WAL_SEGMENT);
		history = history || (file != NULL && wal_kind(file) == WAL_HISTORY);
	}
	if (wal)
		return "LOST_SEGMENTS";
	if (unknown)
		return "UNKNOWN";
	return history ? "LOST_HISTORY" : "OK";
}

/* --- facts for wal_lines --- */

struct facts {
	struct arena *a;
	uint32_t segment_size;
	wal_kepts kept;
	wal_lines_backups backups;
	wal_ranges former;
	wal_histories histories;
	wal_droppeds dropped;
};

static bool parse_range(const char *start, const char *stop, uint32_t segment_size, struct wal_pos *first,
	uint64_t *last)
{
	struct wal_pos end;

	if (!wal_parse(start, segment_size, first) || !wal_parse(stop, segment_size, &end) ||
		first->timeline != end.timeline || end.segment < first->segment)
		return false;
	*last = end.segment;
	return true;
}

static void add_backups(struct facts *f, const struct info_repo *r, uint32_t db_id)
{
	for (size_t i = 0; i < r->backup.backups.n; i++) {
		const struct backup_line *line = &r->backup.backups.v[i];
		struct wal_lines_backup b = { .label = line->label, .repo_key = r->key, .begun = line->start,
			.ended = line->stop };
		if (line->db_id == db_id && line->archive_start != NULL && line->archive_stop != NULL &&
			line->lsn_stop != NULL && lsn_parse(line->lsn_stop, &b.stop_lsn) &&
			parse_range(line->archive_start, line->archive_stop, f->segment_size, &b.start, &b.stop))
			vec_push(&f->backups, b);
	}
}

static bool has_history(const struct facts *f, uint32_t timeline)
{
	for (size_t i = 0; i < f->histories.n; i++)
		if (f->histories.v[i].timeline == timeline)
			return true;
	return false;
}

/* Files of it that are there after all do no harm. */
static void add_dropped(struct facts *f, const struct wal_drop *drop, size_t note)
{
	for (size_t i = 0; i < drop->files.n; i++) {
		struct wal_dropped d = { .note = note };
		if (wal_kind(drop->files.v[i]) == WAL_SEGMENT && wal_parse(drop->files.v[i], f->segment_size, &d.pos))
			vec_push(&f->dropped, d);
	}
}

static void add_archive(struct facts *f, const struct info_repo *r, const struct info_archive *ar)
{
	add_backups(f, r, ar->db->id);
	for (size_t i = 0; i + 1 < ar->survey.former.n; i += 2) {
		struct wal_range range = { .label = NULL };
		if (parse_range(ar->survey.former.v[i], ar->survey.former.v[i + 1], f->segment_size, &range.start,
				&range.stop))
			vec_push(&f->former, range);
	}
	for (size_t i = 0; i < ar->survey.histories.n; i++)
		if (!has_history(f, ar->survey.histories.v[i].timeline))
			vec_push(&f->histories, ar->survey.histories.v[i]);
	for (size_t i = 0; i < ar->losses.n; i++)
		if (i == 0 || ar->losses.v[i].drop != ar->losses.v[i - 1].drop)
			add_dropped(f, ar->losses.v[i].drop, i);
}

static void facts_init(struct facts *f, struct arena *a, uint32_t segment_size)
{
	f->a = a;
	f->segment_size = segment_size;
	vec_init(&f->backups, a);
	vec_init(&f->former, a);
	vec_init(&f->histories, a);
	vec_init(&f->dropped, a);
}

static void judge(const struct facts *f, struct info_wal *out)
{
	const struct wal_lines_ask ask = { f->segment_size, &f->kept, &f->backups, &f->former, &f->histories,
		&f->dropped };

	wal_lines_list(f->a, &ask, &out->timelines);
	wal_lines_windows(f->a, &ask, &out->windows);
}

bool info_has_dropped(const struct info_stanza *s)
{
	for (size_t r = 0; r < s->repo_n; r++)
		for (size_t i = 0; i < s->repos[r].archives.n; i++)
			if (s->repos[r].archives.v[i].losses.n > 0)
				return true;
	return false;
}

/* --- all of a stanza --- */

/* The next archive of the cluster behind *repo and *archive that was looked at. */
static struct info_archive *next_of(const struct info_stanza *s, uint64_t system_id, const char *version, size_t *repo,
	size_t *archive)
{
	for (; *repo < s->repo_n; ++*repo, *archive = 0)
		while (*archive < s->repos[*repo].archives.n) {
			struct info_archive *ar = &s->repos[*repo].archives.v[(*archive)++];
			if (ar->surveyed && info_is_of(ar->db, system_id, version))
				return ar;
		}
	return NULL;
}

/* Clusters have one segment size; an archive in which nothing tells it may be empty. */
static uint32_t size_of_cluster(const struct info_stanza *s, const struct archive_db *db)
{
	struct info_archive *ar;

	for (size_t r = 0, i = 0; (ar = next_of(s, db->system_id, db->version, &r, &i)) != NULL;)
		if (ar->survey.segment_size != 0)
			return ar->survey.segment_size;
	return 0;
}

static void judge_archive(struct arena *a, const struct info_stanza *s, const struct info_repo *r,
	struct info_archive *ar)
{
	const struct wal_survey *one[] = { &ar->survey };
	struct facts f;

	ar->segment_size = ar->survey.segment_size;
	if (ar->segment_size == 0)
		ar->segment_size = size_of_cluster(s, ar->db);
	if (ar->segment_size == 0)
		ar->segment_size = wal_survey_guess(&ar->survey);
	facts_init(&f, a, ar->segment_size);
	wal_survey_merge(a, one, 1, f.segment_size, &f.kept);
	add_archive(&f, r, ar);
	judge(&f, &ar->wal);
}

static bool is_new(const struct info_stanza *s, const struct archive_db *db)
{
	for (size_t i = 0; i < s->combined.n; i++)
		if (info_is_of(db, s->combined.v[i].system_id, s->combined.v[i].version))
			return false;
	return true;
}

static void combine(struct arena *a, struct info_stanza *s, const struct archive_db *db)
{
	struct info_combined all = { .system_id = db->system_id, .version = db->version };
	VEC(const struct wal_survey *) surveys;
	uint32_t size = size_of_cluster(s, db);
	struct info_archive *ar;
	struct facts f;

	vec_init(&surveys, a);
	vec_init(&all.keys, a);
	vec_init(&all.unread, a);
	all.segment_size = size == 0 ? 16u * 1024 * 1024 : size;
	facts_init(&f, a, all.segment_size);
	for (size_t r = 0, i = 0; (ar = next_of(s, db->system_id, db->version, &r, &i)) != NULL;) {
		if (ar->segment_size != f.segment_size)
			continue;
		if (all.keys.n == 0 || all.keys.v[all.keys.n - 1] != s->repos[r].key)
			vec_push(&all.keys, s->repos[r].key);
		vec_push(&surveys, &ar->survey);
		add_archive(&f, &s->repos[r], ar);
	}
	for (size_t r = 0; r < s->repo_n; r++)
		if (s->repos[r].code == INFO_OTHER)
			vec_push(&all.unread, s->repos[r].key);
	if (all.keys.n < 2)
		return;
	wal_survey_merge(a, surveys.v, surveys.n, f.segment_size, &f.kept);
	judge(&f, &all.wal);
	vec_push(&s->combined, all);
}

void info_judge(struct arena *a, struct info_stanza *s)
{
	vec_init(&s->combined, a);
	for (size_t r = 0; r < s->repo_n; r++)
		for (size_t i = 0; i < s->repos[r].archives.n; i++)
			if (s->repos[r].archives.v[i].surveyed)
				judge_archive(a, s, &s->repos[r], &s->repos[r].archives.v[i]);
	for (size_t r = 0; r < s->repo_n; r++)
		for (size_t i = 0; i < s->repos[r].archives.n; i++)
			if (s->repos[r].archives.v[i].surveyed && is_new(s, s->repos[r].archives.v[i].db))
				combine(a, s, s->repos[r].archives.v[i].db);
}
