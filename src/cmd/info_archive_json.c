/*
 * info_archive_json: the key pgstrata of a stanza in the JSON form of info: the archive, and dropped WAL.
 */
#include "cmd/info_intern.h"

static const char *kind_name(enum wal_lack_kind kind)
{
	switch (kind) {
	case WAL_LACK_DROPPED:
		return "dropped";
	case WAL_LACK_LOST:
		return "lost";
	case WAL_LACK_BAD:
		return "different";
	case WAL_LACK_EXPIRED:
		return "expired";
	case WAL_LACK_UNNEEDED:
		break;
	}
	return "unneeded";
}

static void put_lsn(struct json_out *j, const char *key, uint64_t lsn)
{
	char text[24];

	lsn_print(lsn, text);
	info_key_str(j, key, text);
}

static void put_time(struct json_out *j, int64_t when)
{
	json_key(j, "time");
	if (when == 0)
		json_null(j);
	else
		json_i64(j, when);
}

static void put_segment(struct arena *a, struct json_out *j, const char *key, uint32_t segment_size, struct wal_pos pos)
{
	info_key_str(j, key, info_segment(a, segment_size, pos));
}

static void put_lack(struct arena *a, struct json_out *j, const struct info_archive *ar, const struct wal_timeline *t,
	const struct wal_lack *l)
{
	json_object_begin(j);
	info_key_u64(j, "count", l->last - l->first + 1);
	info_key_str(j, "kind", kind_name(l->kind));
	if (l->kind == WAL_LACK_DROPPED)
		info_key_str(j, "note", ar->losses.v[l->note].drop->id);
	put_segment(a, j, "start", ar->segment_size, (struct wal_pos){ t->id, l->first });
	put_segment(a, j, "stop", ar->segment_size, (struct wal_pos){ t->id, l->last });
	json_object_end(j);
}

static void put_timeline(struct arena *a, struct json_out *j, const struct info_archive *ar,
	const struct wal_timeline *t)
{
	json_object_begin(j);
	json_key(j, "backup");
	json_array_begin(j);
	for (size_t i = 0; i < t->backups.n; i++)
		json_str(j, t->backups.v[i]->label);
	json_array_end(j);
	info_key_u64(j, "count", t->count);
	info_key_u64(j, "id", t->id);
	json_key(j, "missing");
	json_array_begin(j);
	for (size_t i = 0; i < t->lacks.n; i++)
		put_lack(a, j, ar, t, &t->lacks.v[i]);
	json_array_end(j);
	if (t->parent != 0)
		info_key_u64(j, "parent", t->parent);
	if (t->count > 0)
		put_segment(a, j, "start", ar->segment_size, (struct wal_pos){ t->id, t->first });
	info_key_str(j, "status", info_timeline_status(ar, t));
	if (t->count > 0)
		put_segment(a, j, "stop", ar->segment_size, (struct wal_pos){ t->id, t->last });
	if (t->parent != 0)
		put_lsn(j, "switch-lsn", t->begun_at);
	json_object_end(j);
}

static void put_windows(struct arena *a, struct json_out *j, uint32_t segment_size, const wal_windows *windows)
{
	json_key(j, "window");
	json_array_begin(j);
	for (size_t i = 0; i < windows->n; i++) {
		const struct wal_window *w = &windows->v[i];
		json_object_begin(j);
		json_key(j, "hole");
		json_bool(j, w->hole);
		put_segment(a, j, "next", segment_size, w->next);
		json_key(j, "start");
		json_object_begin(j);
		info_key_str(j, "backup", w->from->label);
		put_lsn(j, "lsn", w->from->stop_lsn);
		info_key_u64(j, "repo-key", w->from->repo_key);
		put_time(j, w->from->ended);
		json_object_end(j);
		json_key(j, "stop");
		json_object_begin(j);
		put_lsn(j, "lsn", (w->last.segment + 1) * segment_size);
		put_segment(a, j, "segment", segment_size, w->last);
		put_time(j, w->until);
		json_key(j, "time-approximate");
		json_bool(j, true);
		json_object_end(j);
		info_key_u64(j, "timeline", w->last.timeline);
		json_object_end(j);
	}
	json_array_end(j);
}

static void put_archive(struct arena *a, struct json_out *j, const struct info_repo *r, const struct info_archive *ar)
{
	json_object_begin(j);
	info_key_database(j, ar->db->id, r->key);
	info_key_str(j, "id", ar->id);
	if (ar->surveyed)
		info_key_u64(j, "segment-size", ar->segment_size);
	info_key_str(j, "status", info_wal_status(ar));
	if (ar->surveyed) {
		json_key(j, "timeline");
		json_array_begin(j);
		for (size_t i = 0; i < ar->wal.timelines.n; i++)
			put_timeline(a, j, ar, &ar->wal.timelines.v[i]);
		json_array_end(j);
		put_windows(a, j, ar->segment_size, &ar->wal.windows);
	}
	json_object_end(j);
}

static void put_keys(struct json_out *j, const char *key, const unsigned *v, size_t n)
{
	json_key(j, key);
	json_array_begin(j);
	for (size_t i = 0; i < n; i++)
		json_u64(j, v[i]);
	json_array_end(j);
}

static void put_archives(struct arena *a, struct json_out *j, const struct info_stanza *s)
{
	json_key(j, "archive");
	json_array_begin(j);
	for (size_t r = 0; r < s->repo_n; r++)
		for (size_t i = 0; i < s->repos[r].archives.n; i++)
			put_archive(a, j, &s->repos[r], &s->repos[r].archives.v[i]);
	json_array_end(j);
	json_key(j, "combined");
	json_array_begin(j);
	for (size_t i = 0; i < s->combined.n; i++) {
		const struct info_combined *c = &s->combined.v[i];
		json_object_begin(j);
		put_keys(j, "repo-key", c->keys.v, c->keys.n);
		info_key_u64(j, "segment-size", c->segment_size);
		info_key_u64(j, "system-id", c->system_id);
		put_keys(j, "unknown-repo-key", c->unread.v, c->unread.n);
		info_key_str(j, "version", c->version);
		put_windows(a, j, c->segment_size, &c->wal.windows);
		json_object_end(j);
	}
	json_array_end(j);
}

static void put_loss(struct arena *a, struct json_out *j, const struct info_repo *r, const struct info_archive *ar,
	const struct wal_loss *l)
{
	json_object_begin(j);
	info_key_u64(j, "count", l->n);
	info_key_database(j, ar->db->id, r->key);
	info_key_str(j, "id", l->drop->id);
	info_key_str(j, "reason", l->first == NULL ? NULL : l->drop->why == WAL_DROP_QUEUE ? "queue" : "skipped");
	info_key_str(j, "start", l->first);
	info_key_str(j, "stop", l->last);
	info_key_str(j, "text", info_readable(a, l->drop->text));
	put_time(j, l->drop->when);
	json_object_end(j);
}

static void put_losses(struct arena *a, struct json_out *j, const struct info_stanza *s)
{
	json_key(j, "dropped");
	json_array_begin(j);
	for (size_t r = 0; r < s->repo_n; r++)
		for (size_t i = 0; i < s->repos[r].archives.n; i++) {
			const struct info_archive *ar = &s->repos[r].archives.v[i];
			for (size_t k = 0; k < ar->losses.n; k++)
				put_loss(a, j, &s->repos[r], ar, &ar->losses.v[k]);
		}
	json_array_end(j);
}

void info_archive_json(struct arena *a, struct json_out *j, const struct config *cfg, const struct info_stanza *s)
{
	bool dropped = info_has_dropped(s);

	if (!cfg->archive && !dropped)
		return;
	json_key(j, "pgstrata");
	json_object_begin(j);
	if (cfg->archive)
		put_archives(a, j, s);
	if (dropped)
		put_losses(a, j, s);
	json_object_end(j);
}
