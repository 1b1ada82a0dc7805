/*
 * verify_again: a second look at what is not there.
 *
 * Others may work in the repository meanwhile: a backup that is published, an expire, segments that several processes
 * push out of order.  What is missing is only called so if it still is when everything else has been read, and if
 * nothing moves there any more.
 */
#include "cmd/verify_intern.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define LOOK_AGAIN_MS 300
#define LOOKS 3		   /* at what stays as it is */
#define MOVING_MS 30000	   /* at what changes from look to look: no longer than this */
#define IN_FLIGHT_S 15	   /* segments behind a hole that are younger may have overtaken it */

/* Longer each time: every look lists an archive anew. */
static int wait_a_little(int64_t *ms)
{
	*ms *= 2;
	if (clock_sleep(*ms / 2))
		return err_set(ERR_TERM, "terminated while waiting for a second look at the repository");
	return 0;
}

/* --- backups --- */

static bool disagrees(const struct verify_backup *b)
{
	if (b->gone || b->status == VERIFY_IN_PROGRESS)
		return false;
	return b->listed != b->main_seen;
}

static bool any_disagrees(const struct verify *v)
{
	for (size_t i = 0; v->has_backup && i < v->backups.n; i++)
		if (disagrees(&v->backups.v[i]))
			return true;
	return false;
}

/* 1 if something is no longer as it was. */
static int look_at_manifests(struct verify *v)
{
	SCOPED_ARENA(a);
	int changed = 0;

	for (size_t i = 0; i < v->backups.n; i++) {
		struct verify_backup *b = &v->backups.v[i];
		struct store_entry e;
		if (b->gone || !b->main_seen)
			continue;
		int rc = store_stat(a, v->repo->store, layout_manifest(a, v->stanza, b->label), &e);
		if (rc < 0)
			err_clear(); /* what could be read before is not proven absent now */
		if (rc != STORE_ABSENT)
			continue;
		b->gone = true;
		changed = 1;
		log_info("backup '%s' was removed while verify looked at it", b->label);
	}
	return changed;
}

static int look_at_list(struct verify *v)
{
	SCOPED_ARENA(a);
	struct backup_info now;
	int changed = 0;

	int rc = backup_info_load(a, v->repo->store, v->stanza, v->repo->pass, &now);
	if (rc != 0) {
		err_clear();
		return 0;
	}
	for (size_t i = 0; i < v->backups.n; i++) {
		struct verify_backup *b = &v->backups.v[i];
		bool listed = backup_info_find(&now, b->label) != NULL;
		if (listed == b->listed)
			continue;
		changed = 1;
		/* it went from the list after its manifest had gone: expire */
		b->gone = b->gone || (b->listed && !b->main_seen);
		b->listed = listed;
	}
	return changed;
}

static int settle_backups(struct verify *v)
{
	const struct deadline late = deadline_in(MOVING_MS);
	int64_t wait_ms = LOOK_AGAIN_MS;
	int looks = 0;

	(void)look_at_manifests(v);
	while (any_disagrees(v)) {
		int changed = look_at_list(v) | look_at_manifests(v);
		if (!any_disagrees(v) || deadline_left(late) == 0 || (!changed && ++looks == LOOKS))
			break;
		if (wait_a_little(&wait_ms) != 0)
			return -1;
	}
	return 0;
}

/* --- the archive --- */

static bool lacks_missing(struct verify *v, struct verify_archive *ar)
{
	SCOPED_ARENA(a);
	verify_lacks lacks;

	verify_archive_lacks(a, v, ar, &lacks);
	for (size_t i = 0; i < lacks.n; i++)
		if (lacks.v[i].missing)
			return true;
	return false;
}

static bool is_suspicious(struct verify *v, struct verify_archive *ar)
{
	if (ar->no_history.n > 0)
		return true;
	for (size_t i = 0; i < ar->gaps.n; i++)
		if (ar->gaps.v[i].kind == WAL_GAP_HOLE)
			return true;
	for (size_t i = 0; i < ar->files.n; i++)
		if (ar->files.v[i].result.state == CHECK_MISSING)
			return true;
	return lacks_missing(v, ar);
}

/* The first segment behind a hole is so young that the missing one may still be on its way. */
static bool is_in_flight(const struct verify_archive *ar)
{
	int64_t now = clock_now_ms() / 1000;
	char last[WAL_NAME + 1];

	for (size_t i = 0; i < ar->gaps.n; i++) {
		if (ar->gaps.v[i].kind != WAL_GAP_HOLE)
			continue;
		wal_name(ar->gaps.v[i].last, verify_segment_bytes(ar), last);
		for (size_t k = 0; k < ar->files.n; k++) {
			const struct verify_wal *w = &ar->files.v[k];
			if (w->kind != WAL_SEGMENT || strncmp(w->name, last, WAL_NAME) <= 0)
				continue;
			if (w->mtime > now - IN_FLIGHT_S)
				return true;
			break;
		}
	}
	return false;
}

static struct verify_wal *find_file(const verify_wals *files, const char *path)
{
	size_t low = 0, high = files->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int c = strcmp(files->v[mid].path, path);
		if (c == 0)
			return &files->v[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static bool has_place(const struct verify_archive *ar, const char *name)
{
	struct wal_have key = { .bad = false };

	return wal_parse(name, verify_segment_bytes(ar), &key.pos) && ar->have.n > 0 &&
		bsearch(&key, ar->have.v, ar->have.n, sizeof(key), wal_have_cmp) != NULL;
}

/* Is it where something was missing?  What has come behind everything is not looked at any more. */
static bool fills(const struct verify_archive *before, const struct verify_wal *w)
{
	const struct wal_have *last = before->have.n == 0 ? NULL : &before->have.v[before->have.n - 1];
	struct wal_pos pos;

	if (w->kind != WAL_SEGMENT)
		return w->kind != WAL_PARTIAL;
	if (!wal_parse(w->name, verify_segment_bytes(before), &pos) || has_place(before, w->name))
		return false;
	return wal_in_range(&before->ranges, pos, true) || (last != NULL && (pos.timeline < last->pos.timeline ||
		(pos.timeline == last->pos.timeline && pos.segment < last->pos.segment)));
}

/* 1 if the archive is no longer as it was. */
static int list_again(struct verify *v, struct verify_archive *ar)
{
	const struct verify_archive before = *ar;
	size_t kept = 0, known = 0;
	int changed = 0;

	if (verify_archive_list(v, ar) != 0)
		return -1;
	for (size_t i = 0; i < ar->files.n; i++) {
		struct verify_wal *w = &ar->files.v[i];
		const struct verify_wal *was = find_file(&before.files, w->path);
		known += was != NULL;
		if (was == NULL && !fills(&before, w))
			continue;
		changed |= was == NULL && w->kind == WAL_SEGMENT;
		if (was != NULL && was->result.state != CHECK_MISSING && was->size == w->size) {
			w->judged = was->judged;
			w->told = was->told;
			w->result = was->result;
		}
		if (!w->judged && verify_wal_check(v->arena, ar, w, &w->result) != 0)
			return -1;
		w->judged = true;
		ar->files.v[kept++] = *w;
	}
	ar->files.n = kept;
	verify_archive_judge(v, ar);
	return changed || known < before.files.n;
}

int verify_archive_look_again(struct verify *v, struct verify_archive *ar)
{
	(void)look_at_manifests(v); /* what backups need that are gone is not missing */
	return list_again(v, ar) < 0 ? -1 : 0;
}

static int settle_archive(struct verify *v, struct verify_archive *ar)
{
	const struct deadline late = deadline_in(MOVING_MS);
	int64_t wait_ms = LOOK_AGAIN_MS;
	int looks = 0;

	verify_archive_judge(v, ar);
	while (is_suspicious(v, ar)) {
		int changed = list_again(v, ar);
		if (changed < 0)
			return -1;
		/* what is missing may have gone with a backup */
		if (settle_backups(v) != 0)
			return -1;
		verify_archive_judge(v, ar);
		bool moves = changed || is_in_flight(ar);
		if (!is_suspicious(v, ar) || deadline_left(late) == 0 || (!moves && ++looks == 2))
			break;
		if (wait_a_little(&wait_ms) != 0)
			return -1;
	}
	return 0;
}

int verify_again(struct verify *v)
{
	if (settle_backups(v) != 0)
		return -1;
	for (size_t i = 0; i < v->archives.n; i++)
		if (settle_archive(v, &v->archives.v[i]) != 0)
			return -1;
	/* once more: reading the archive again took its time */
	if (look_at_manifests(v))
		for (size_t i = 0; i < v->archives.n; i++)
			verify_archive_judge(v, &v->archives.v[i]);
	return 0;
}
