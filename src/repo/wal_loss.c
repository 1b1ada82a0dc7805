/*
 * wal_loss: which of the notes of dropped WAL still matter.
 */
#include "repo/wal_loss.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"

#define TIMELINE 8 /* characters of a name: the timeline */

void wal_wanted_by(struct arena *a, const struct backup_info *info, uint32_t db_id, struct wal_wanted *out)
{
	out->since = INT64_MAX;
	vec_init(&out->starts, a);
	for (size_t i = 0; i < info->backups.n; i++) {
		const struct backup_line *line = &info->backups.v[i];
		if (line->db_id != db_id || line->archive_start == NULL)
			continue;
		vec_push(&out->starts, line->archive_start);
		if (line->start < out->since)
			out->since = line->start;
	}
}

bool wal_is_wanted(const struct wal_wanted *w, const char *name)
{
	bool history = wal_kind(name) == WAL_HISTORY;

	for (size_t i = 0; i < w->starts.n; i++) {
		const char *start = w->starts.v[i];
		if (strncmp(start, name, TIMELINE) <= 0 &&
			(history || strncmp(start + TIMELINE, name + TIMELINE, WAL_NAME - TIMELINE) <= 0))
			return true;
	}
	return w->starts.n == 0;
}

static bool may_matter(const struct wal_wanted *w, const struct wal_drop *d)
{
	return w->starts.n == 0 || !wal_drop_is_before(d, w->since);
}

/* How many names come before this one? */
static size_t rank(const strvec *there, const char *name)
{
	size_t low = 0, high = there->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (strcmp(there->v[mid], name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_there(const strvec *there, const char *name)
{
	size_t at = rank(there, name);

	return at < there->n && strcmp(there->v[at], name) == 0;
}

static bool goes_on(const struct wal_loss *loss, const strvec *there, const char *name)
{
	return wal_kind(loss->last) == WAL_SEGMENT && wal_kind(name) == WAL_SEGMENT &&
		strncmp(loss->last, name, TIMELINE) == 0 && rank(there, loss->last) == rank(there, name);
}

void wal_losses_find(struct arena *a, const wal_drops *drops, const strvec *there, const struct wal_wanted *w,
	wal_losses *out)
{
	vec_init(out, a);
	for (size_t i = 0; i < drops->n; i++) {
		const struct wal_drop *d = &drops->v[i];
		struct wal_loss *loss = NULL;
		if (d->files.n == 0 && may_matter(w, d))
			vec_push(out, ((struct wal_loss){.drop = d}));
		for (size_t k = 0; k < d->files.n; k++) {
			const char *name = d->files.v[k];
			if (is_there(there, name) || !wal_is_wanted(w, name) || wal_drop_of(drops, name) != d)
				continue;
			if (loss == NULL || !goes_on(loss, there, name)) {
				loss = vec_add(out);
				*loss = (struct wal_loss){.drop = d, .first = name};
			}
			loss->last = name;
			loss->n++;
		}
	}
}

/* --- looking --- */

struct look {
	struct arena *a;
	const char *first, *last; /* directories of the files that are asked for */
	strvec dirs;
	strvec *there;
};

static int see_file(void *ctx, const struct store_entry *e)
{
	struct look *l = ctx;
	struct wal_stored s;
	size_t len = strlen(e->name);

	if (e->type == STORE_DIR)
		return 0;
	if (wal_stored_parse(e->name, &s))
		len = s.name_len;
	else if (wal_kind(e->name) == WAL_OTHER)
		return 0;
	vec_push(l->there, arena_strndup(l->a, e->name, len));
	return 0;
}

static int see_top(void *ctx, const struct store_entry *e)
{
	struct look *l = ctx;

	if (!wal_is_dir(e))
		return see_file(ctx, e);
	if (strncmp(e->name, l->first, WAL_DIR) >= 0 && strncmp(e->name, l->last, WAL_DIR) <= 0)
		vec_push(&l->dirs, arena_strdup(l->a, e->name));
	return 0;
}

/* What the archive has from the first to the last directory of the files that the notes name. */
static int find_there(struct arena *a, const struct wal_place *place, const wal_drops *drops, strvec *there)
{
	struct look l = {.a = a, .there = there};
	const char *root = path_join(a, layout_archive_root(a, place->stanza), place->archive_id);

	vec_init(there, a);
	vec_init(&l.dirs, a);
	for (size_t i = 0; i < drops->n; i++) {
		const strvec *files = &drops->v[i].files;
		if (files->n == 0)
			continue;
		if (l.first == NULL || strcmp(files->v[0], l.first) < 0)
			l.first = files->v[0];
		if (l.last == NULL || strcmp(files->v[files->n - 1], l.last) > 0)
			l.last = files->v[files->n - 1];
	}
	if (l.first == NULL)
		return 0;
	if (store_list(place->repo, root, see_top, &l) < 0)
		return -1;
	for (size_t i = 0; i < l.dirs.n; i++)
		if (store_list(place->repo, path_join(a, root, l.dirs.v[i]), see_file, &l) < 0)
			return -1;
	if (there->n > 0)
		qsort(there->v, there->n, sizeof(*there->v), str_cmp_ptr);
	return 0;
}

int wal_losses_load(struct arena *a, const struct wal_place *place, const struct wal_wanted *w, wal_losses *out)
{
	wal_drops *drops = arena_new_object(a, wal_drops);
	strvec there;

	vec_init(out, a);
	if (wal_drops_load(a, place, drops) != 0)
		return -1;
	if (drops->n == 0)
		return 0;
	if (find_there(a, place, drops, &there) != 0)
		return -1;
	wal_losses_find(a, drops, &there, w, out);
	return 0;
}

char *wal_loss_text(struct arena *a, const struct wal_loss *loss)
{
	const char *how = wal_drop_how(a, loss->drop);

	if (loss->first == NULL)
		return arena_printf(a, "WAL was dropped %s", how);
	if (loss->n == 1)
		return arena_printf(a, "WAL file %s was dropped %s", loss->first, how);
	return arena_printf(a, "%zu WAL files from %s to %s were dropped %s", loss->n, loss->first, loss->last, how);
}
