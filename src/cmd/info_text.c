/*
 * info_text: the text form of info (info-json.md 4).
 */
#include "cmd/info_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/path.h"
#include "base/str.h"

static void put_percent(struct buf *out, const struct lock_state *l, uint64_t size, uint64_t complete)
{
	/* Cut, not rounded, to hundredths: a running backup is never shown as 100 %. */
	uint64_t hundredths = size == 0 ? 0 : (uint64_t)((long double)complete * 10000 / (long double)size);

	if (l->has_progress)
		buf_addf(out, " - %" PRIu64 ".%02" PRIu64 "%% complete", hundredths / 100, hundredths % 100);
}

/* What stands in the parentheses behind the status: lock states. */
static void put_running(struct buf *out, const struct info_stanza *s, const char *before)
{
	struct lock_state sum = { 0 };

	for (size_t i = 0; i < s->repo_n; i++) {
		const struct lock_state *l = &s->repos[i].lock;
		sum.held |= l->held;
		sum.has_progress |= l->held && l->has_progress;
		sum.size += l->held ? l->size : 0;
		sum.complete += l->held ? l->complete : 0;
	}
	if (sum.held) {
		buf_addf(out, "%sbackup/expire running", before);
		put_percent(out, &sum, sum.size, sum.complete);
		before = ", ";
	}
	if (s->restore.held) {
		buf_addf(out, "%srestore running", before);
		put_percent(out, &s->restore, s->restore.size, s->restore.complete);
	}
}

static void put_repo_progress(struct buf *out, const struct info_stanza *s)
{
	size_t writing = 0;

	for (size_t i = 0; i < s->repo_n; i++)
		writing += s->repos[i].lock.held && s->repos[i].lock.has_progress;
	for (size_t i = 0; writing > 1 && i < s->repo_n; i++) {
		const struct lock_state *l = &s->repos[i].lock;
		if (!l->held || !l->has_progress)
			continue;
		uint64_t hundredths = l->size == 0 ? 0 : l->complete * 10000 / l->size;
		buf_addf(out, "        repo%u backup: %" PRIu64 ".%02" PRIu64 "%% complete\n", s->repos[i].key,
			hundredths / 100, hundredths % 100);
	}
}

static void put_error_text(struct arena *a, struct buf *out, const char *text, const char *indent)
{
	strvec lines = str_split(a, text, '\n');

	for (size_t i = 0; i < lines.n; i++)
		buf_addf(out, "%s%s\n", indent, lines.v[i]);
}

static void put_repo_status(struct arena *a, struct buf *out, const struct info_stanza *s)
{
	if (s->code != INFO_MIXED && s->code != INFO_DB_MISMATCH && s->code != INFO_OTHER)
		return;
	for (size_t i = 0; i < s->repo_n; i++) {
		const struct info_repo *r = &s->repos[i];
		if (s->repo_n == 1) {
			if (r->error != NULL)
				put_error_text(a, out, r->error, "            ");
			continue;
		}
		if (r->code == INFO_OK)
			buf_addf(out, "        repo%u: ok\n", r->key);
		else
			buf_addf(out, "        repo%u: error (%s)\n", r->key, info_message(r->code));
		if (r->error != NULL)
			put_error_text(a, out, r->error, "               ");
	}
}

static void put_cipher(struct buf *out, const struct info_stanza *s)
{
	const char *all = info_cipher(s);

	buf_addf(out, "    cipher: %s\n", all);
	for (size_t i = 0; i < s->repo_n && strcmp(all, "mixed") == 0; i++)
		buf_addf(out, "        repo%u: %s\n", s->repos[i].key, s->repos[i].cipher);
}

static void put_status(struct arena *a, const struct config *cfg, struct buf *out, const struct info_stanza *s,
	bool full)
{
	struct buf running;

	buf_init(&running, a);
	buf_addf(out, "stanza: %s\n    status: ", s->name);
	if (s->code == INFO_OK || (s->code == INFO_MIXED && full)) {
		put_running(&running, s, "");
		buf_adds(out, s->code == INFO_OK ? "ok" : "mixed");
		if (running.len > 0)
			buf_addf(out, " (%s)", running.data);
	} else {
		put_running(&running, s, ", ");
		buf_addf(out, "error (%s%s)", info_message(s->code), running.data);
	}
	buf_addc(out, '\n');
	put_repo_progress(out, s);
	if (!full)
		return;
	put_repo_status(a, out, s);
	info_dropped_text(a, out, s, strcmp(cfg->detail_level, "more") == 0);
	if (s->code != INFO_MISSING_PATH)
		put_cipher(out, s);
}

static void put_references(struct arena *a, struct buf *out, const struct backup_line *line, bool set)
{
	unsigned count[3] = { 0 };
	const char *before = "";

	if (line->reference.n == 0)
		return;
	if (set) {
		buf_addf(out, "            backup reference list: %s\n", str_join(a, &line->reference, ", "));
		return;
	}
	for (size_t i = 0; i < line->reference.n; i++)
		count[label_type(line->reference.v[i])]++;
	buf_adds(out, "            backup reference total: ");
	for (enum backup_type t = BACKUP_FULL; t <= BACKUP_INCR; t++) {
		if (count[t] == 0)
			continue;
		buf_addf(out, "%s%u %s", before, count[t], backup_type_name(t));
		before = ", ";
	}
	buf_addc(out, '\n');
}

static void put_databases(struct buf *out, const struct manifest *m)
{
	const char *before = "";

	buf_adds(out, "            database list: ");
	for (size_t i = 0; i < m->dbs.n; i++) {
		if (info_is_template(m->dbs.v[i].name))
			continue;
		buf_addf(out, "%s%s (%u)", before, m->dbs.v[i].name, m->dbs.v[i].oid);
		before = ", ";
	}
	buf_adds(out, *before == '\0' ? "none\n" : "\n");
}

static void put_targets(struct arena *a, struct buf *out, const struct manifest *m)
{
	bool head = false;

	for (size_t i = 0; i < m->targets.n; i++) {
		const struct manifest_target *t = &m->targets.v[i];
		if (!t->link || t->tablespace_oid != 0)
			continue;
		buf_adds(out, head ? "" : "            symlinks:\n");
		head = true;
		buf_addf(out, "                %s => %s\n", t->file == NULL ? manifest_pg_path(t->name) : t->file,
			t->file == NULL ? t->path : path_join(a, t->path, t->file));
	}
	head = false;
	for (size_t i = 0; i < m->targets.n; i++) {
		const struct manifest_target *t = &m->targets.v[i];
		if (t->tablespace_oid == 0)
			continue;
		buf_adds(out, head ? "" : "            tablespaces:\n");
		head = true;
		buf_addf(out, "                %s (%u) => %s\n", t->tablespace_name, t->tablespace_oid, t->path);
	}
}

static void put_errors(struct buf *out, const struct info_backup *b)
{
	const char *before = "            error list: ";

	if (!b->line->has_error || !b->line->error)
		return;
	if (b->manifest == NULL) {
		buf_adds(out, "            error(s) detected during backup\n");
		return;
	}
	for (size_t i = 0; i < b->manifest->files.n; i++) {
		const struct manifest_file *f = &b->manifest->files.v[i];
		if (!f->page_check || f->page_ok)
			continue;
		buf_addf(out, "%s%s", before, manifest_pg_path(f->name));
		before = ", ";
	}
	buf_addc(out, '\n');
}

static void put_set(struct arena *a, struct buf *out, const struct info_backup *b)
{
	put_databases(out, b->manifest);
	put_targets(a, out, b->manifest);
	put_errors(out, b);
	if (b->line->annotations.n == 0)
		return;
	buf_adds(out, "            annotation(s)\n");
	for (size_t i = 0; i < b->line->annotations.n; i++)
		buf_addf(out, "                %s: %s\n", b->line->annotations.v[i].key,
			b->line->annotations.v[i].value);
}

static void put_backup(struct arena *a, struct buf *out, const struct info_backup *b)
{
	const struct backup_line *l = b->line;

	buf_addf(out, "\n        %s backup: %s\n", l->type, l->label);
	buf_addf(out, "            timestamp start/stop: %s / %s\n", clock_local_zone(a, l->start),
		clock_local_zone(a, l->stop));
	if (l->archive_start != NULL && l->archive_stop != NULL)
		buf_addf(out, "            wal start/stop: %s / %s\n", l->archive_start, l->archive_stop);
	else
		buf_adds(out, "            wal start/stop: n/a\n");
	if (b->manifest != NULL && l->lsn_start != NULL && l->lsn_stop != NULL)
		buf_addf(out, "            lsn start/stop: %s / %s\n", l->lsn_start, l->lsn_stop);
	buf_addf(out, "            database size: %s, database backup size: %s\n", str_size(a, l->size),
		str_size(a, l->size_delta));
	buf_addf(out, "            repo%u: ", b->repo->key);
	if (!l->has_map_size)
		buf_addf(out, "backup set size: %s, ", str_size(a, l->repo_size));
	buf_addf(out, "backup size: %s\n", str_size(a, l->repo_size_delta));
	put_references(a, out, l, b->manifest != NULL);
	if (b->manifest != NULL)
		put_set(a, out, b);
	else
		put_errors(out, b);
}

/* A cluster as all repositories know it: same system id and version. */
struct cluster {
	uint64_t system_id;
	const char *version;
	bool current;
};

static bool db_is(const struct info_repo *r, uint32_t id, const struct cluster *c)
{
	for (size_t i = 0; i < r->backup.history.n; i++) {
		const struct backup_db *db = &r->backup.history.v[i];
		if (db->id == id)
			return db->system_id == c->system_id && strcmp(db->version, c->version) == 0;
	}
	return false;
}

/* Is the backup one of this cluster, in some repository? */
static bool has_set(const struct info_stanza *s, const char *label, const struct cluster *c)
{
	for (size_t i = 0; i < s->repo_n; i++) {
		const struct info_repo *r = &s->repos[i];
		const struct backup_line *line = r->loaded ? backup_info_find(&r->backup, label) : NULL;
		if (line != NULL && db_is(r, line->db_id, c))
			return true;
	}
	return false;
}

static void put_cluster(struct arena *a, const struct config *cfg, struct buf *out,
	const struct info_stanza *s, const struct cluster *c)
{
	const char *min = NULL, *max = NULL;
	size_t backups = 0;
	bool of_set = cfg->set != NULL && has_set(s, cfg->set, c);

	for (size_t i = 0; i < s->repo_n; i++)
		for (size_t k = 0; k < s->repos[i].archives.n; k++) {
			const struct info_archive *ar = &s->repos[i].archives.v[k];
			if (ar->db->system_id != c->system_id || strcmp(ar->db->version, c->version) != 0)
				continue;
			if (ar->min != NULL && (min == NULL || strcmp(ar->min, min) < 0))
				min = ar->min;
			if (ar->max != NULL && (max == NULL || strcmp(ar->max, max) > 0))
				max = ar->max;
		}
	for (size_t i = 0; i < s->backups.n; i++)
		backups += db_is(s->backups.v[i].repo, s->backups.v[i].line->db_id, c);
	if (cfg->set != NULL ? !of_set : backups == 0 && !c->current && min == NULL)
		return;
	buf_addf(out, "\n    db (%s)\n        wal archive min/max (%s): ", c->current ? "current" : "prior",
		c->version);
	if (min != NULL)
		buf_addf(out, "%s/%s\n", min, max);
	else
		buf_adds(out, "none present\n");
	if (cfg->archive)
		info_archive_text(a, out, s, c->system_id, c->version);
	for (size_t i = 0; i < s->backups.n && !cfg->archive; i++)
		if (db_is(s->backups.v[i].repo, s->backups.v[i].line->db_id, c))
			put_backup(a, out, &s->backups.v[i]);
}

static void put_clusters(struct arena *a, const struct config *cfg, struct buf *out,
	const struct info_stanza *s)
{
	VEC(struct cluster) clusters;

	vec_init(&clusters, a);
	for (size_t i = 0; i < s->repo_n; i++) {
		const struct info_repo *r = &s->repos[i];
		for (size_t k = 0; r->loaded && k < r->backup.history.n; k++) {
			const struct backup_db *db = &r->backup.history.v[k];
			size_t known = 0;
			while (known < clusters.n && (clusters.v[known].system_id != db->system_id ||
					strcmp(clusters.v[known].version, db->version) != 0))
				known++;
			if (known == clusters.n)
				vec_push(&clusters, ((struct cluster){ db->system_id, db->version, false }));
			clusters.v[known].current |= db->id == r->backup.current;
		}
	}
	for (int current = 0; current <= 1; current++)
		for (size_t i = 0; i < clusters.n; i++)
			if (clusters.v[i].current == (bool)current)
				put_cluster(a, cfg, out, s, &clusters.v[i]);
}

void info_text(struct arena *a, const struct config *cfg, const struct info_stanza *v, size_t n,
	struct buf *out)
{
	bool full = info_is_full(cfg);

	if (n == 0)
		buf_adds(out, "No stanzas exist in the repository.\n");
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(out, '\n');
		put_status(a, cfg, out, &v[i], full);
		if (full)
			put_clusters(a, cfg, out, &v[i]);
	}
}
