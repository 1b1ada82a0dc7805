/*
 * plan: the decision about each row.
 *
 * What makes a reference without reading safe: the prior's list was made before its copying began, and its
 * copying began in a later second than any time in that list.  So a file that changed after it was copied has
 * another time than the list says, and a file with the listed time and size is the one that was copied.
 * This rests on clocks that go forward and on times that nobody sets; where the two lists, the inode's
 * change time or the WAL positions show that this may not hold, content decides:
 *
 *  - a time in the future, a time that went back, a size that changed under the same time, another timeline,
 *    a start before the prior's end, online and offline mixed: for all rows (5.14, and our own PLAN_LSN);
 *  - a listed time close to or behind the begin of the prior's copying: for that row.  The prior's own delta
 *    has made its copy right, but a change since then may have left the time as it was;
 *  - an inode that was changed since then although the file's time was not (somebody set it back, or put
 *    another file under the name): for that row.
 *
 * The reference trusts the times in the last two cases.
 *
 * If the prior was copied from a standby, "close to the begin of copying" is too late.  List and times are the
 * primary's.  A change that came after the start may have been in the primary's file when it was listed, while the
 * standby, which is only known to have everything before the start, had not replayed it when its file was copied.
 * For the prior that is no harm, its WAL brings the change.  But a later backup begins its WAL behind the change; it
 * would refer to the file by its unchanged time, and the change would be nowhere.  What the primary's file held
 * before the start the copy holds too, so it is the start that times are held against.  (A row that the prior itself
 * left to an earlier one has passed this there, for the same time.)  In the other direction all is well: what is
 * copied from a primary holds what its file held when it was listed.
 */
#include "repo/plan.h"

#include <inttypes.h>
#include <string.h>

#include "pg/wal.h"
#include "repo/plan_intern.h"

#define CONTROL "pg_data/global/pg_control"
#define TIMELINE_DIGITS 8
#define NO_ROW UINT32_MAX

struct deciding {
	struct manifest *m;
	const struct manifest *prior;
	const struct plan_opts *o;
	struct plan *p;
	const uint32_t *match; /* row of the prior, NO_ROW */
	const char *label_of[2]; /* last label seen in the prior's rows, and ours for it */
};

/* Both lists are sorted by name: one walk. */
static uint32_t *match_rows(struct arena *a, const struct manifest *m, const struct manifest *prior)
{
	uint32_t *match = arena_alloc(a, m->files.n * sizeof(*match));
	size_t k = 0;

	for (size_t i = 0; i < m->files.n; i++) {
		int order = 1;
		match[i] = NO_ROW;
		while (prior != NULL && k < prior->files.n &&
			(order = strcmp(prior->files.v[k].name, m->files.v[i].name)) < 0)
			k++;
		if (order == 0)
			match[i] = (uint32_t)k;
	}
	return match;
}

static const struct manifest_file *prior_row(const struct deciding *d, size_t i)
{
	return d->match[i] == NO_ROW ? NULL : &d->prior->files.v[d->match[i]];
}

/* ---- why content is compared ---- */

/* The second in which the list was complete: times after it are from the future (blocks.md 6.1). */
static int64_t list_time(const struct manifest *m)
{
	return m->copy_start - (m->online ? 1 : 0);
}

static enum plan_why because(struct plan *p, enum plan_why why, size_t row, int64_t prior, int64_t now)
{
	p->why_row = (uint32_t)row;
	p->why_prior = prior;
	p->why_now = now;
	return why;
}

static enum plan_why why_times(const struct deciding *d)
{
	const int64_t listed = list_time(d->m);

	for (size_t i = 0; i < d->m->files.n; i++)
		if (d->m->files.v[i].mtime > listed)
			return because(d->p, PLAN_FUTURE, i, listed, d->m->files.v[i].mtime);
	return PLAN_TRUST;
}

/* A position that a completed online backup lacks or that cannot be read is no proof of order. */
static bool starts_after(const struct manifest *prior, const struct plan_opts *o)
{
	uint64_t stop;

	return prior->archive_stop != NULL && prior->lsn_stop != NULL && lsn_parse(prior->lsn_stop, &stop) &&
		o->start_lsn >= stop;
}

static enum plan_why why_cluster(const struct deciding *d)
{
	const struct manifest *prior = d->prior;

	if (d->o->start_segment != NULL && prior->archive_stop != NULL &&
		strncmp(d->o->start_segment, prior->archive_stop, TIMELINE_DIGITS) != 0)
		return PLAN_TIMELINE;
	if (d->m->online != prior->online)
		return PLAN_ONLINE;
	return d->m->online && !starts_after(prior, d->o) ? PLAN_LSN : PLAN_TRUST;
}

static enum plan_why why_rows(const struct deciding *d)
{
	for (size_t i = 0; i < d->m->files.n; i++) {
		const struct manifest_file *f = &d->m->files.v[i], *was = prior_row(d, i);
		if (was == NULL)
			continue;
		if (f->mtime < was->mtime)
			return because(d->p, PLAN_EARLIER, i, was->mtime, f->mtime);
		if (f->mtime == was->mtime && f->size_orig != was->size_orig)
			return because(d->p, PLAN_RESIZED, i, (int64_t)was->size_orig,
				(int64_t)f->size_orig);
	}
	return PLAN_TRUST;
}

static enum plan_why decide_why(const struct deciding *d)
{
	enum plan_why why = d->o->delta ? PLAN_ASKED : why_times(d);

	if (why == PLAN_TRUST && d->prior != NULL)
		why = why_cluster(d);
	if (why == PLAN_TRUST && d->prior != NULL)
		why = why_rows(d);
	return why;
}

/* ---- each row ---- */

static bool settled(const struct manifest_file *f, const struct manifest *prior)
{
	const bool standby = prior->backup_standby && f->copy_bounded;
	const int64_t before = (standby ? prior->start : prior->copy_start) - PLAN_SETTLE;

	return f->mtime < before && f->ctime < before;
}

/*
 * A file without content is stored by a backup without bundles only (blocks.md 1.6): what a bundled one
 * lists can be neither linked to nor found by verify.
 */
static enum plan_action decide(const struct deciding *d, const struct manifest_file *f,
	const struct manifest_file *was)
{
	if (d->o->bundle && f->size_orig == 0)
		return PLAN_EMPTY;
	/* what recovery begins with is never somebody else's */
	if (d->m->online && strcmp(f->name, CONTROL) == 0)
		return PLAN_COPY;
	if (was == NULL || !was->has_sum || was->size != f->size_orig)
		return PLAN_COPY;
	if (f->size_orig == 0)
		return d->prior->bundle ? PLAN_COPY : PLAN_REFERENCE;
	if (d->p->delta)
		return PLAN_COMPARE;
	if (was->mtime != f->mtime)
		return PLAN_COPY_IF_NEW;
	return settled(f, d->prior) ? PLAN_REFERENCE : PLAN_COMPARE;
}

/* Labels are shared: rows that name the same backup mostly follow each other. */
static const char *label_for(struct deciding *d, const char *prior_label)
{
	if (d->label_of[0] != prior_label) {
		d->label_of[0] = prior_label;
		d->label_of[1] = manifest_intern(d->m, prior_label);
	}
	return d->label_of[1];
}

static void inherit(struct deciding *d, struct manifest_file *f, const struct manifest_file *was,
	bool settled_now)
{
	f->size = was->size;
	f->sum = was->sum;
	f->has_sum = settled_now;
	f->repo_sum = was->repo_sum;
	f->has_repo_sum = was->has_repo_sum;
	f->repo_size = was->repo_size;
	f->bundle = was->bundle;
	f->bundle_offset = was->bundle_offset;
	f->block_size = was->block_size;
	f->block_sum_size = was->block_sum_size;
	f->block_map_size = was->block_map_size;
	f->page_check = was->page_check;
	f->page_ok = was->page_ok;
	f->bad_n = was->bad_n;
	f->bad = was->bad_n == 0 ? NULL :
		arena_memdup(d->m->arena, was->bad, was->bad_n * sizeof(*was->bad));
	f->reference = label_for(d, was->reference != NULL ? was->reference : d->prior->label);
}

/* pg_control is what restore waits for to the end and changes: always whole.  A prior that does not tell its content
 * cannot be gone on with. */
static struct block_choice choose_blocks(const struct deciding *d, const struct manifest_file *f,
	const struct manifest_file *was)
{
	if (strcmp(f->name, CONTROL) == 0)
		return (struct block_choice){ BLOCK_WHOLE, 0, 0 };
	return block_choose(d->o->blocks, f->size_orig, f->mtime, d->m->start,
		was != NULL && was->has_sum ? was : NULL);
}

static void decide_row(struct deciding *d, size_t i)
{
	struct manifest_file *f = &d->m->files.v[i];
	const struct manifest_file *was = prior_row(d, i);
	const enum plan_action action = decide(d, f, was);
	const struct block_choice blocks = choose_blocks(d, f, was);

	d->p->rows[i] = (struct plan_row){ .action = (uint8_t)action, .how = (uint8_t)blocks.how,
		.block_sum_size = (uint8_t)blocks.sum_size, .page_check = f->page_check,
		.block_size = blocks.block_size };
	switch (action) {
	case PLAN_RESUME:
		return;
	case PLAN_COPY:
		/* the worker finds the prior's map by it, and perhaps that nothing has changed after all */
		if (blocks.how == BLOCK_CONTINUE)
			inherit(d, f, was, false);
		return;
	case PLAN_COPY_IF_NEW:
	case PLAN_COMPARE:
	case PLAN_REFERENCE:
		inherit(d, f, was, action == PLAN_REFERENCE);
		return;
	case PLAN_EMPTY:
		f->size = f->repo_size = 0;
		f->sum = sum_empty;
		f->has_sum = true;
		return;
	}
}

static bool is_asked(const struct deciding *d, size_t i)
{
	const struct manifest_file *was = prior_row(d, i);

	/* read only because its times cannot be believed: equal by the rules of the reference */
	return d->p->delta || d->p->rows[i].action != PLAN_COMPARE || was->mtime != d->m->files.v[i].mtime;
}

void plan_own(struct manifest_file *f, const struct plan_row *row)
{
	f->reference = NULL;
	f->bundle = 0;
	f->bundle_offset = 0;
	f->block_size = row->block_size;
	f->block_sum_size = row->block_sum_size;
	f->block_map_size = 0;
	f->page_check = row->page_check;
	f->page_ok = false;
	f->bad = NULL;
	f->bad_n = 0;
	f->has_sum = f->has_repo_sum = false;
}

void plan_backup(struct arena *a, struct manifest *m, const struct manifest *prior, const struct plan_opts *o,
	struct plan *out)
{
	SCOPED_ARENA(scratch);
	struct deciding d = { .m = m, .prior = prior, .o = o, .p = out,
		.match = match_rows(scratch, m, prior) };

	*out = (struct plan){ .rows = arena_zalloc(a, m->files.n * sizeof(*out->rows)) };
	out->why = decide_why(&d);
	m->delta = out->delta = out->why != PLAN_TRUST;
	for (size_t i = 0; i < m->files.n; i++) {
		decide_row(&d, i);
		if (plan_row_works(&out->rows[i]) && is_asked(&d, i))
			out->asked++;
	}
	plan_jobs(a, m, o, out);
}

/* ---- the reason as text ---- */

char *plan_why_text(struct arena *a, const struct plan *p, const struct manifest *prior,
	const struct manifest *m, const char *name, const struct plan_opts *o, const char **hint)
{
	char lsn[24];

	*hint = NULL;
	switch (p->why) {
	case PLAN_TRUST:
	case PLAN_ASKED:
		return NULL;
	case PLAN_FUTURE:
		return arena_printf(a, "file '%s' has timestamp (%" PRId64 ") in the future (relative to copy "
			"start %" PRId64 "), enabling delta checksum", name, p->why_now, p->why_prior);
	case PLAN_TIMELINE:
		*hint = "this is normal after restoring from backup or promoting a standby.";
		return arena_printf(a, "a timeline switch has occurred since the %s backup, enabling delta "
			"checksum", prior->label);
	case PLAN_LSN:
		lsn_print(o->start_lsn, lsn);
		*hint = "has the data directory been set back to an earlier state, or exchanged?";
		return arena_printf(a, "the start of this backup (%s) is not after the end of the %s backup (%s), "
			"enabling delta checksum", lsn, prior->label,
			prior->lsn_stop == NULL ? "unknown" : prior->lsn_stop);
	case PLAN_ONLINE:
		return arena_printf(a, "the online option has changed since the %s backup, enabling delta "
			"checksum", prior->label);
	case PLAN_EARLIER:
		return arena_printf(a, "file '%s' has timestamp earlier than prior backup (prior %" PRId64
			", current %" PRId64 "), enabling delta checksum", name, p->why_prior, p->why_now);
	case PLAN_RESIZED:
		return arena_printf(a, "file '%s' has same timestamp (%" PRId64 ") as prior but different size "
			"(prior %" PRId64 ", current %" PRId64 "), enabling delta checksum", name,
			m->files.v[p->why_row].mtime, p->why_prior, p->why_now);
	}
	return NULL;
}
