/*
 * verify_means: what each thing that was found means for recovery, in one line per backup or stretch of WAL.
 */
#include "cmd/verify_intern.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "repo/wal_loss.h"

#define SHOWN 3 /* names in a line; the log has all of them at level info */

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* --- backups --- */

/* What is wrong with the files of one backup. */
struct tally {
	uint64_t damaged, missing, unread, empty;
	strvec shown;
};

/* Of a file that is stored in another backup, or has blocks there. */
static const char *file_text(struct arena *a, const struct verify *v, const struct verify_backup *b,
	const struct verify_object *x, uint32_t label, const char *how)
{
	const char *holder = v->objects.labels.v[label].label;

	return strcmp(holder, b->label) == 0 ? arena_printf(a, "'%s'", x->name) :
		arena_printf(a, "'%s' (%s backup %s)", x->name, how, holder);
}

static void count(struct verify_backup *b, enum check_state state, bool empty, struct tally *t)
{
	b->wrong++;
	verify_count(&b->counts, state);
	t->empty += empty;
	t->missing += !empty && state == CHECK_MISSING;
	t->unread += !empty && state == CHECK_UNREAD;
	t->damaged += !empty && state != CHECK_MISSING && state != CHECK_UNREAD;
}

static void tally(struct arena *a, const struct verify *v, struct verify_backup *b, struct tally *t)
{
	memset(t, 0, sizeof(*t));
	vec_init(&t->shown, a);
	for (size_t i = 0; i < b->uses.n; i++) {
		const struct verify_object *x = &v->objects.v.v[b->uses.v[i]];
		const struct verify_map *map = x->map == 0 ? NULL : &v->objects.maps.v[x->map - 1];
		bool blocks = x->state == CHECK_OK && map != NULL;
		enum check_state state = (enum check_state)(blocks ? map->state : x->state);
		if (state == CHECK_OK)
			continue;
		count(b, state, x->empty, t);
		if (t->shown.n < SHOWN)
			vec_push(&t->shown, file_text(a, v, b, x, blocks ? map->guilty : x->label,
				blocks ? "with blocks in" : "stored in"));
	}
	if (b->wrong > 0)
		b->status = VERIFY_INVALID;
}

static void add_part(struct buf *out, uint64_t n, const char *what)
{
	if (n > 0)
		buf_addf(out, "%s%" PRIu64 " file%s %s", out->len > 0 ? ", " : "", n, plural(n), what);
}

static void tell_files(struct verify *v, struct verify_backup *b)
{
	struct arena *a = v->arena;
	struct tally t;
	struct buf parts;

	tally(a, v, b, &t);
	if (b->wrong == 0)
		return;
	buf_init(&parts, a);
	add_part(&parts, t.damaged, "damaged");
	add_part(&parts, t.missing, "missing");
	add_part(&parts, t.unread, "not readable");
	add_part(&parts, t.empty, "without content not as stored, which no restore needs");
	const char *what = t.damaged + t.missing > 0 ? "cannot be restored" :
		t.unread > 0 ? "cannot be restored as long as not all of it can be read" : "restores";
	const char *names = str_join(a, &t.shown, ", ");
	if (b->wrong > t.shown.n)
		names = arena_printf(a, "%s and %" PRIu64 " more", names, b->wrong - t.shown.n);
	verify_find(v, "backup %s %s: %s: %s", b->label, what, parts.data, names);
}

static void tell_manifests(struct verify *v, struct verify_backup *b)
{
	if (!b->on_disk && b->listed) {
		verify_find(v, "backup '%s' found in backup.info but not in the repository: it cannot be restored, and "
			"the next backup or expire takes it and all that depends on it from the list", b->label);
	} else if (b->status == VERIFY_NO_MANIFEST && b->listed) {
		verify_find(v, "backup %s cannot be restored: its manifest and the copy are missing", b->label);
	} else if (b->status == VERIFY_NO_MANIFEST || b->status == VERIFY_IN_PROGRESS) {
		return;
	} else if (b->unknown && b->listed) {
		verify_find(v, "backup %s cannot be restored: %s; %s", b->label, b->main_why, b->copy_why);
	} else if (b->unknown) {
		verify_find(v, "backup '%s' found in the repository but not in backup.info, and its manifest cannot be "
			"used: %s; %s", b->label, b->main_why, b->copy_why);
	} else if (!b->main_seen) {
		verify_find(v, "backup %s restores by the copy of its manifest, but the next backup or expire takes it "
			"for unfinished and removes it with all that depends on it: copy backup.manifest.copy to "
			"backup.manifest before: %s", b->label, b->main_why);
	} else if (b->main_why != NULL) {
		verify_find(v, "backup %s restores by the copy of its manifest only: %s", b->label, b->main_why);
	} else if (b->copy_why != NULL) {
		verify_find(v, "backup %s restores, but would not if its manifest were damaged as well: %s", b->label,
			b->copy_why);
	}
	if (b->foreign != NULL)
		verify_find(v, "%s", b->foreign);
	if (!b->listed && b->main_seen && !b->unknown)
		verify_find(v, "backup '%s' found in the repository but not in backup.info: restore does not offer it; "
			"the next backup or expire lists it again", b->label);
}

static void tell_pages(struct verify *v, const struct verify_backup *b)
{
	if (b->bad_files == 0)
		return;
	if (b->bad_pages == 0)
		verify_find(v, "backup %s restores only with --no-checksum-page-error: %" PRIu64 " file%s had damaged "
			"pages in the cluster when it was taken", b->label, b->bad_files, plural(b->bad_files));
	else
		verify_find(v, "backup %s restores only with --no-checksum-page-error: %" PRIu64 " page%s in %" PRIu64
			" file%s %s already damaged in the cluster when it was taken", b->label, b->bad_pages,
			plural(b->bad_pages), b->bad_files, plural(b->bad_files), b->bad_pages == 1 ? "was" : "were");
}

/* " (dropped by archive-push on ...)" of what is missing; "" if nobody has noted that. */
static const char *dropped_file(struct arena *a, const struct verify_archive *ar, const char *name)
{
	const struct wal_drop *d = wal_drop_of(&ar->drops, name);

	return d == NULL ? "" : arena_printf(a, " (dropped %s)", wal_drop_how(a, d));
}

static const char *lacks_text(struct arena *a, const struct verify_archive *ar, const verify_lacks *lacks)
{
	struct buf out;

	buf_init(&out, a);
	for (size_t i = 0; i < lacks->n && i < SHOWN; i++)
		buf_addf(&out, "%s%s is %s%s", i == 0 ? "" : ", ", lacks->v[i].name,
			lacks->v[i].missing ? "missing" : "not usable",
			lacks->v[i].missing && ar != NULL ? dropped_file(a, ar, lacks->v[i].name) : "");
	if (lacks->n > SHOWN)
		buf_addf(&out, " and %zu more", lacks->n - SHOWN);
	return out.data;
}

static void tell_wal(struct verify *v, struct verify_backup *b)
{
	struct verify_archive *ar = verify_archive_of(v, b);
	verify_lacks lacks;

	/* without archive.info nothing of an encrypted archive can be read: that is said once */
	if ((!v->has_archive && (v->repo->pass != NULL || v->sealed)) || b->status == VERIFY_IN_PROGRESS)
		return;
	verify_backup_lacks(v->arena, ar, b, &lacks);
	if (lacks.n == 0)
		return;
	const char *text = lacks_text(v->arena, ar, &lacks);
	if (ar != NULL && ar->unlisted.n > 0)
		verify_find(v, "backup %s is not proven to become consistent: a part of the archive cannot be listed, and "
			"of the WAL that it needs %s", b->label, text);
	else if (b->own_wal)
		verify_find(v, "backup %s restores with its own copy of the WAL, but in the archive %s segment %s", b->label,
			lacks.n == 1 ? "the" : "each", text);
	else
		verify_find(v, "backup %s cannot become consistent, so no server can start from it: WAL segment %s",
			b->label, text);
}

/* --- the archive --- */

static const char *stretch(struct arena *a, const struct verify_archive *ar, const struct wal_gap *g)
{
	char first[WAL_NAME + 1], last[WAL_NAME + 1];

	wal_name(g->first, verify_segment_bytes(ar), first);
	wal_name(g->last, verify_segment_bytes(ar), last);
	return strcmp(first, last) == 0 ? arena_printf(a, "segment %s", first) :
					  arena_printf(a, "segments %s to %s", first, last);
}

static const char *who_is_stopped(struct arena *a, const struct verify_archive *ar, const struct wal_gap *g)
{
	char before[WAL_NAME + 1];

	if (g->stopped == 0)
		return wal_in_range(&ar->ranges, g->first, true) ? "a backup needs it to become consistent" :
								   "recovery from no listed backup gets there";
	wal_name(g->before, verify_segment_bytes(ar), before);
	const char *others = g->stopped == 1 ? "" :
		arena_printf(a, " and %zu older backup%s", g->stopped - 1, plural(g->stopped - 1));
	return arena_printf(a, "recovery from backup %s%s cannot go past segment %s, and can stop there "
		"(--type=immediate, or a target before its end)", g->newest, others, before);
}

static void add_note(struct buf *out, const char *how)
{
	buf_addf(out, "%s%s", out->len > 0 ? "; " : "", how);
}

static const char *dropped_gap(struct arena *a, const struct verify_archive *ar, const struct wal_gap *g)
{
	const struct wal_drop *last = NULL;
	char name[WAL_NAME + 1];
	uint64_t noted = 0;
	struct buf out;

	buf_init(&out, a);
	for (struct wal_pos at = g->first; ar->drops.n > 0 && at.segment <= g->last.segment; at.segment++) {
		wal_name(at, verify_segment_bytes(ar), name);
		const struct wal_drop *d = wal_drop_of(&ar->drops, name);
		noted += d != NULL;
		if (d != NULL && d != last)
			add_note(&out, wal_drop_how(a, d));
		last = d == NULL ? last : d;
	}
	if (noted > 0)
		return arena_printf(a, "; %sdropped %s", noted <= g->last.segment - g->first.segment ? "in part " : "",
			out.data);
	for (size_t i = 0; i < ar->drops.n; i++)
		if (ar->drops.v[i].files.n == 0)
			add_note(&out, wal_drop_how(a, &ar->drops.v[i]));
	return out.len == 0 ? "" : arena_printf(a, "; perhaps dropped: nobody knows which WAL was, %s", out.data);
}

/* What the first file of a bad stretch suffers from. */
static const char *why_bad(const struct verify_archive *ar, const struct wal_gap *g)
{
	char name[WAL_NAME + 1];

	wal_name(g->first, verify_segment_bytes(ar), name);
	for (size_t i = 0; i < ar->files.n; i++) {
		const struct verify_wal *w = &ar->files.v[i];
		if (w->kind != WAL_SEGMENT || strncmp(w->name, name, WAL_NAME) != 0)
			continue;
		if (w->result.state == CHECK_UNREAD)
			return "not readable";
		if (w->result.state == CHECK_OK)
			return "there with different contents";
		break;
	}
	return "damaged";
}

static void tell_gap(struct verify *v, const struct verify_archive *ar, const struct wal_gap *g)
{
	struct arena *a = v->arena;

	if (g->kind == WAL_GAP_HOLE)
		verify_find(v, "the WAL of archive %s has a hole, %s missing: %s%s", ar->id,
			arena_printf(a, "%s %s", stretch(a, ar, g), g->first.segment == g->last.segment ? "is" : "are"),
			who_is_stopped(a, ar, g), dropped_gap(a, ar, g));
	else if (g->kind == WAL_GAP_BAD)
		verify_find(v, "WAL %s of archive %s %s %s: %s", stretch(a, ar, g), ar->id,
			g->first.segment == g->last.segment ? "is" : "are", why_bad(ar, g), who_is_stopped(a, ar, g));
}

static const char *file_meaning(const struct verify_wal *w)
{
	switch (w->kind) {
	case WAL_HISTORY:
		return "no recovery can follow its timeline, and one that targets the latest timeline fails";
	case WAL_PARTIAL:
		return "it is the unfinished last segment of an old timeline, which recovery does not ask for by itself";
	case WAL_BACKUP:
		return "it only tells people about a backup, no recovery needs it";
	case WAL_SEGMENT:
	case WAL_OTHER:
		break;
	}
	return "recovery cannot use it";
}

static const char *what_it_is(enum check_state s)
{
	return s == CHECK_MISSING ? "missing" : s == CHECK_UNREAD ? "not readable" : "damaged";
}

static bool is_told_by_gap(struct verify *v, const struct verify_wal *w)
{
	return w->kind == WAL_SEGMENT && v->set == NULL && !w->twin;
}

static void tell_wal_file(struct verify *v, const struct verify_archive *ar, const struct verify_wal *w)
{
	if (w->result.state == CHECK_OK || is_told_by_gap(v, w))
		return;
	verify_find(v, "'%s' of archive %s is %s: %s", w->name, ar->id, what_it_is(w->result.state), file_meaning(w));
}

static void tell_twin(struct verify *v, const struct verify_archive *ar, const struct verify_wal *w)
{
	verify_find(v, "WAL segment %.*s is more than once in archive %s: backups that need it fail, and if the contents "
		"differ archive-get does too; remove the wrong ones", WAL_NAME, w->name, ar->id);
}

/* What a gap, or what a backup lacks, tells anyway; or what retention would have removed. */
static bool is_told(const struct verify_archive *ar, const char *name)
{
	struct wal_pos pos;

	if (wal_kind(name) != WAL_SEGMENT || !wal_parse(name, verify_segment_bytes(ar), &pos))
		return false;
	for (size_t i = 0; i < ar->gaps.n; i++)
		if (ar->gaps.v[i].first.timeline <= pos.timeline && pos.timeline <= ar->gaps.v[i].last.timeline &&
			ar->gaps.v[i].first.segment <= pos.segment && pos.segment <= ar->gaps.v[i].last.segment)
			return true;
	return wal_in_range(&ar->ranges, pos, true);
}

/* What was dropped behind all that is there, and no name of a later segment tells. */
static void tell_drops(struct verify *v, const struct verify_archive *ar)
{
	struct arena *a = v->arena;
	struct wal_wanted wanted = { .since = 0 };
	wal_losses losses;
	strvec there;

	if (v->set != NULL || ar->drops.n == 0 || ar->db == NULL || ar->unlisted.n > 0)
		return;
	vec_init(&there, a);
	for (size_t i = 0; i < ar->files.n; i++)
		vec_push(&there, verify_pushed_name(a, &ar->files.v[i]));
	if (there.n > 0)
		qsort(there.v, there.n, sizeof(*there.v), str_cmp_ptr);
	vec_init(&wanted.starts, a);
	if (v->has_backup)
		wal_wanted_by(a, &v->backup, ar->db->id, &wanted);
	wal_losses_find(a, &ar->drops, &there, &wanted, &losses);
	for (size_t i = 0; i < losses.n; i++)
		if (losses.v[i].first == NULL || !is_told(ar, losses.v[i].first))
			verify_find(v, "archive %s: %s", ar->id, wal_loss_text(a, &losses.v[i]));
}

static void tell_archive(struct verify *v, const struct verify_archive *ar)
{
	const struct verify_wal *before = NULL;

	for (size_t i = 0; i < ar->unlisted.n; i++)
		verify_find(v, "a part of archive %s cannot be listed, so nobody knows whether its WAL is there: %s",
			ar->id, ar->unlisted.v[i]);
	for (size_t i = 0; i < ar->gaps.n; i++)
		tell_gap(v, ar, &ar->gaps.v[i]);
	for (size_t i = 0; i < ar->files.n; i++) {
		const struct verify_wal *w = &ar->files.v[i];
		tell_wal_file(v, ar, w);
		if (w->twin && (before == NULL || strncmp(before->name, w->name, WAL_NAME) != 0))
			tell_twin(v, ar, w);
		before = w->twin ? w : NULL;
	}
	for (size_t i = 0; i < ar->no_history.n; i++)
		verify_find(v, "archive %s has WAL of timeline %u, but not %08X.history: no backup of an earlier timeline "
			"can be recovered into it%s", ar->id, ar->no_history.v[i], ar->no_history.v[i],
			dropped_file(v->arena, ar, arena_printf(v->arena, "%08X.history", ar->no_history.v[i])));
	tell_drops(v, ar);
}

void verify_means(struct verify *v)
{
	for (size_t i = 0; i < v->backups.n; i++) {
		struct verify_backup *b = &v->backups.v[i];
		if (b->gone)
			continue;
		tell_manifests(v, b);
		tell_files(v, b);
		tell_pages(v, b);
		tell_wal(v, b);
	}
	for (size_t i = 0; i < v->archives.n; i++)
		tell_archive(v, &v->archives.v[i]);
}
