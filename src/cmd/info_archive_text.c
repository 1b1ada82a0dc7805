/*
 * info_archive_text: the archive in the text form of info: at most 120 columns, but for what users call things.
 */
#include "cmd/info_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define COLUMNS 120
#define SHOWN 5 /* losses, unless all are asked for */

static void put_range(struct arena *a, struct buf *out, uint32_t segment_size, struct wal_pos first,
	struct wal_pos last, uint64_t count)
{
	buf_addf(out, "%s/%s (%" PRIu64 ")", info_segment(a, segment_size, first), info_segment(a, segment_size, last),
		count);
}

static const char *kind_text(enum wal_lack_kind kind)
{
	switch (kind) {
	case WAL_LACK_DROPPED:
		return "dropped";
	case WAL_LACK_LOST:
		return "LOST";
	case WAL_LACK_BAD:
		return "of no use";
	case WAL_LACK_EXPIRED:
		return "expired";
	case WAL_LACK_UNNEEDED:
		break;
	}
	return "not needed";
}

/* Notes are written by programs and people: one line each. */
static const char *one_line(struct arena *a, const char *text)
{
	char *copy = info_readable(a, text);

	for (char *c = copy; *c != '\0'; c++)
		if (*c == '\n' || *c == '\t')
			*c = ' ';
	return copy;
}

static void put_lack(struct arena *a, struct buf *out, const struct info_archive *ar, uint32_t timeline,
	const struct wal_lack *l)
{
	buf_addf(out, "                %s: ", kind_text(l->kind));
	put_range(a, out, ar->segment_size, (struct wal_pos){ timeline, l->first },
		(struct wal_pos){ timeline, l->last }, l->last - l->first + 1);
	switch (l->kind) {
	case WAL_LACK_DROPPED:
		buf_addf(out, ",\n                    at %s: %s", clock_local_zone(a, ar->losses.v[l->note].drop->when),
			one_line(a, ar->losses.v[l->note].drop->text));
		break;
	case WAL_LACK_BAD:
		buf_adds(out, ", copies differ or cannot be read");
		break;
	case WAL_LACK_EXPIRED:
		buf_adds(out, ", by retention");
		break;
	case WAL_LACK_UNNEEDED:
		buf_adds(out, ", before all backups");
		break;
	case WAL_LACK_LOST:
		break;
	}
	buf_addc(out, '\n');
}

static void put_labels(struct buf *out, const struct wal_timeline *t)
{
	size_t column;

	buf_adds(out, "                backups: ");
	column = 25;
	for (size_t i = 0; i < t->backups.n; i++) {
		const char *label = t->backups.v[i]->label;
		size_t len = strlen(label) + 1;
		if (i > 0 && column + 1 + len > COLUMNS) {
			buf_adds(out, "\n                    ");
			column = 20;
		} else if (i > 0) {
			buf_addc(out, ' ');
			column++;
		}
		buf_addf(out, "%s%s", label, i + 1 < t->backups.n ? "," : "");
		column += len;
	}
	buf_adds(out, t->backups.n == 0 ? "none\n" : "\n");
}

static void put_timeline(struct arena *a, struct buf *out, const struct info_archive *ar, const struct wal_timeline *t)
{
	char lsn[24];

	buf_addf(out, "            timeline %u: %s\n", t->id, info_timeline_status(ar, t));
	if (t->parent != 0) {
		lsn_print(t->begun_at, lsn);
		buf_addf(out, "                parent: timeline %u, left at %s\n", t->parent, lsn);
	} else if (t->id > 1) {
		buf_adds(out, "                parent: not known\n");
	}
	buf_adds(out, "                wal start/stop: ");
	if (t->count > 0)
		put_range(a, out, ar->segment_size, (struct wal_pos){ t->id, t->first },
			(struct wal_pos){ t->id, t->last }, t->count);
	else
		buf_adds(out, "none present");
	buf_addc(out, '\n');
	for (size_t i = 0; i < t->lacks.n; i++)
		put_lack(a, out, ar, t->id, &t->lacks.v[i]);
	put_labels(out, t);
}

/* Has retention removed it?  Else it is a loss, or nobody knows. */
static bool is_expired(const struct info_wal *wal, struct wal_pos pos)
{
	for (size_t i = 0; i < wal->timelines.n; i++) {
		const struct wal_timeline *t = &wal->timelines.v[i];
		for (size_t k = 0; t->id == pos.timeline && k < t->lacks.n; k++)
			if (t->lacks.v[k].first <= pos.segment && pos.segment <= t->lacks.v[k].last)
				return t->lacks.v[k].kind == WAL_LACK_EXPIRED;
	}
	return false;
}

static void put_window(struct arena *a, struct buf *out, uint32_t segment_size, const struct info_wal *wal,
	const struct wal_window *w)
{
	char from[24], to[24];

	lsn_print(w->from->stop_lsn, from);
	lsn_print((w->last.segment + 1) * segment_size, to);
	buf_addf(out, "            recovery window on timeline %u: %s / ~ %s\n", w->last.timeline,
		clock_local_zone(a, w->from->ended), w->until == 0 ? "?" : clock_local_zone(a, w->until));
	buf_addf(out, "                from %s, the end of repo%u: %s\n", from, w->from->repo_key, w->from->label);
	buf_addf(out, "                to   %s, the end of %s\n", to, info_segment(a, segment_size, w->last));
	if (w->hole)
		buf_addf(out, "                it ends %s: %s cannot be had\n",
			is_expired(wal, w->next) ? "with the WAL of its backups, by retention" : "at a HOLE",
			info_segment(a, segment_size, w->next));
}

static void put_windows(struct arena *a, struct buf *out, uint32_t segment_size, const struct info_wal *wal)
{
	for (size_t i = 0; i < wal->windows.n; i++)
		put_window(a, out, segment_size, wal, &wal->windows.v[i]);
	if (wal->windows.n == 0)
		buf_adds(out, "            recovery window: none, no backup has all of its WAL here\n");
}

static void put_archive(struct arena *a, struct buf *out, const struct info_repo *r, const struct info_archive *ar)
{
	buf_addf(out, "\n        repo%u: %s", r->key, ar->id);
	if (!ar->surveyed) {
		buf_adds(out, ": UNKNOWN, it cannot be read\n");
		return;
	}
	buf_addf(out, ", segment size %s: %s\n", str_size(a, ar->segment_size), info_wal_status(ar));
	for (size_t i = 0; i < ar->wal.timelines.n; i++)
		put_timeline(a, out, ar, &ar->wal.timelines.v[i]);
	put_windows(a, out, ar->segment_size, &ar->wal);
}

static void put_repos(struct buf *out, const unsigned *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "%srepo%u", i == 0 ? "" : i + 1 < n ? ", " : " and ", v[i]);
}

static void put_combined(struct arena *a, struct buf *out, const struct info_combined *c)
{
	buf_adds(out, "\n        ");
	put_repos(out, c->keys.v, c->keys.n);
	buf_adds(out, " together, as archive-get reads them");
	if (c->unread.n > 0) {
		buf_adds(out, ", without ");
		put_repos(out, c->unread.v, c->unread.n);
		buf_adds(out, ", which cannot be read");
	}
	buf_adds(out, ":\n");
	put_windows(a, out, c->segment_size, &c->wal);
}

void info_archive_text(struct arena *a, struct buf *out, const struct info_stanza *s, uint64_t system_id,
	const char *version)
{
	for (size_t r = 0; r < s->repo_n; r++)
		for (size_t i = 0; i < s->repos[r].archives.n; i++)
			if (info_is_of(s->repos[r].archives.v[i].db, system_id, version))
				put_archive(a, out, &s->repos[r], &s->repos[r].archives.v[i]);
	for (size_t i = 0; i < s->combined.n; i++)
		if (s->combined.v[i].system_id == system_id && strcmp(s->combined.v[i].version, version) == 0)
			put_combined(a, out, &s->combined.v[i]);
}

/* --- dropped WAL --- */

static void put_loss(struct arena *a, struct buf *out, unsigned key, const struct wal_loss *l, bool more)
{
	buf_addf(out, "        repo%u: ", key);
	if (l->first == NULL)
		buf_adds(out, "nobody knows which files");
	else if (l->n == 1)
		buf_addf(out, "%s", one_line(a, l->first));
	else
		buf_addf(out, "%zu files, %s to %s", l->n, one_line(a, l->first), one_line(a, l->last));
	buf_addf(out, ", at %s\n", clock_local_zone(a, l->drop->when));
	if (more)
		buf_addf(out, "            %s\n", one_line(a, l->drop->text));
}

void info_dropped_text(struct arena *a, struct buf *out, const struct info_stanza *s, bool more)
{
	size_t n = 0;

	if (!info_has_dropped(s))
		return;
	buf_adds(out, "    warning: WAL was dropped, recovery cannot get past it\n");
	for (size_t r = 0; r < s->repo_n; r++)
		for (size_t i = 0; i < s->repos[r].archives.n; i++) {
			const wal_losses *losses = &s->repos[r].archives.v[i].losses;
			for (size_t k = 0; k < losses->n; k++, n++)
				if (more || n < SHOWN)
					put_loss(a, out, s->repos[r].key, &losses->v[k], more);
		}
	if (!more && n > SHOWN)
		buf_addf(out, "        and %zu more (--detail-level=more shows all)\n", n - SHOWN);
}
