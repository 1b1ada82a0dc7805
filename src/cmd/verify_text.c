/*
 * verify_text: the report, in the reference's form (behaviours.md 11).
 *
 * PURE.  What is ours stands in the log.
 */
#include "cmd/verify_intern.h"

#include <inttypes.h>

static const char *status_name(enum verify_status s)
{
	switch (s) {
	case VERIFY_VALID:
		return "valid";
	case VERIFY_INVALID:
		return "invalid";
	case VERIFY_NO_MANIFEST:
		return "manifest missing";
	case VERIFY_IN_PROGRESS:
		break;
	}
	return "in-progress";
}

static void add_counts(struct buf *out, const struct verify_counts *c, bool verbose)
{
	static const char *const names[COUNTS] = { "missing", "checksum invalid", "size invalid", "other" };
	const char *before = "\n    ";

	for (int i = 0; i < COUNTS; i++) {
		if (!verbose && c->v[i] == 0)
			continue;
		buf_addf(out, "%s%s: %" PRIu64, before, names[i], c->v[i]);
		before = ", ";
	}
}

static void add_archive(struct buf *out, const struct verify_archive *ar, bool verbose)
{
	if (!verbose && ar->total == ar->valid && verify_counts_sum(&ar->counts) == 0)
		return;
	buf_addf(out, "\n  archiveId: %s, total WAL checked: %" PRIu64 ", total valid WAL: %" PRIu64, ar->id,
		ar->total, ar->valid);
	if (ar->total > 0 || verify_counts_sum(&ar->counts) > 0)
		add_counts(out, &ar->counts, verbose);
}

static bool is_wrong(const struct verify_backup *b)
{
	return b->status == VERIFY_INVALID || (b->status == VERIFY_NO_MANIFEST && b->listed);
}

static void add_backup(struct buf *out, const struct verify_backup *b, bool verbose)
{
	if (b->gone || (!verbose && !is_wrong(b)))
		return;
	buf_addf(out, "\n  backup: %s, status: %s, total files checked: %" PRIu64 ", total valid files: %" PRIu64,
		b->label, status_name(b->status), b->total, b->total - b->wrong);
	if (b->total > 0)
		add_counts(out, &b->counts, verbose);
}

bool verify_text(const struct verify *v, bool verbose, struct buf *out)
{
	bool wrong = v->finds.n > 0 || v->lines.n > 0;

	if (!wrong && !verbose)
		return false;
	buf_addf(out, "stanza: %s\nstatus: %s", v->stanza, wrong ? "error" : "ok");
	for (size_t i = 0; i < v->lines.n; i++)
		buf_addf(out, "\n  %s", v->lines.v[i]);
	for (size_t i = 0; i < v->archives.n; i++)
		add_archive(out, &v->archives.v[i], verbose);
	for (size_t i = 0; i < v->backups.n; i++)
		add_backup(out, &v->backups.v[i], verbose);
	return true;
}
