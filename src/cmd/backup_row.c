/*
 * backup_row: what a worker found out about a row, on its way to the leader, and what it does to the row.
 *
 * Rows are only changed here, in the leader.
 */
#include "cmd/backup_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"

/* On its way: fixed part, then the bad ranges. */
struct answer {
	uint8_t fate;
	bool misaligned, left_bad, prior_unfit, second;
	uint64_t offset, plain_size, stored_size, map_size;
	struct sum plain_sum, stored_sum;
	uint32_t bad_n;
};

void backup_row_pack(struct buf *out, const struct file_put_result *r)
{
	const struct answer answer = { .fate = (uint8_t)r->fate, .misaligned = r->pipe.pages.misaligned,
		.left_bad = r->left_bad, .prior_unfit = r->prior_unfit, .second = r->second, .offset = r->offset,
		.plain_size = r->pipe.plain_size, .stored_size = r->pipe.stored_size, .map_size = r->map_size,
		.plain_sum = r->pipe.plain_sum, .stored_sum = r->pipe.stored_sum,
		.bad_n = (uint32_t)r->pipe.pages.bad.n };

	buf_add(out, &answer, sizeof(answer));
	if (answer.bad_n > 0)
		buf_add(out, r->pipe.pages.bad.v, answer.bad_n * sizeof(struct page_range));
}

int backup_row_unpack(struct arena *a, const char **data, size_t *left, struct file_put_result *out)
{
	struct answer r;

	if (*left < sizeof(r))
		return err_set(ERR_PROTOCOL, "a worker's answer is too short");
	memcpy(&r, *data, sizeof(r));
	const size_t bad = r.bad_n * sizeof(struct page_range);
	if (*left - sizeof(r) < bad || r.fate > FILE_RESUMED)
		return err_set(ERR_PROTOCOL, "a worker's answer has the wrong length");
	*out = (struct file_put_result){ .fate = (enum file_fate)r.fate, .offset = r.offset,
		.left_bad = r.left_bad, .prior_unfit = r.prior_unfit, .second = r.second, .map_size = r.map_size,
		.pipe = { .plain_size = r.plain_size, .stored_size = r.stored_size,
			.plain_sum = r.plain_sum, .stored_sum = r.stored_sum,
			.pages.misaligned = r.misaligned } };
	vec_init(&out->pipe.pages.bad, a);
	if (r.bad_n > 0) {
		out->pipe.pages.bad.v = arena_memdup(a, *data + sizeof(r), bad);
		out->pipe.pages.bad.n = r.bad_n;
	}
	*data += sizeof(r) + bad;
	*left -= sizeof(r) + bad;
	return 0;
}

/* Where the worker read it. */
static char *file_name(struct arena *a, const struct backup *b, const struct manifest_file *f,
	const struct file_put_result *r)
{
	return store_name(a, r->second ? b->cluster.pg : backup_source(b, f), manifest_pg_path(f->name));
}

/* "at page 0" or "at pages 1-3, 7, 9". */
static char *page_list(struct arena *a, const struct page_range *v, size_t n)
{
	struct buf text;

	buf_init(&text, a);
	for (size_t i = 0; i < n; i++) {
		buf_adds(&text, i == 0 ? "" : ", ");
		buf_addf(&text, v[i].first == v[i].last ? "%u" : "%u-%u", v[i].first, v[i].last);
	}
	return text.data;
}

static int report_pages(struct backup *b, const struct manifest_file *f, const struct file_put_result *r)
{
	SCOPED_ARENA(a);
	const char *name = file_name(a, b, f, r);
	const struct page_result *pages = &r->pipe.pages;
	bool one = pages->bad.n == 1 && pages->bad.v[0].first == pages->bad.v[0].last;
	const char *text = pages->misaligned ?
		arena_printf(a, "page misalignment in file %s: file size %" PRIu64 " is not divisible by page "
			"size %u", name, r->pipe.plain_size, b->cluster.control.page_size) :
		arena_printf(a, "invalid page checksum%s found in file %s at page%s %s", one ? "" : "s", name,
			one ? "" : "s", page_list(a, pages->bad.v, pages->bad.n));

	if (b->cfg->checksum_page_error)
		return err_set(ERR_CHECKSUM, "%s", text);
	log_warn("%s", text);
	b->page_warnings++;
	return 0;
}

void backup_row_log(const struct backup *b, const struct manifest_file *f, uint32_t bundle,
	const struct file_put_result *r, double percent)
{
	if (!log_wants(LOG_DETAIL))
		return;
	SCOPED_ARENA(a);
	char hex[SHA1_HEX + 1];
	const char *name = file_name(a, b, f, r);
	const char *size = str_size(a, r->pipe.plain_size), *what = "backup file", *where = "";

	if (r->fate == FILE_VANISHED) {
		log_detail("skip file removed by database %s", name);
		return;
	}
	if (r->fate == FILE_SAME)
		what = "match file from prior backup";
	else if (r->fate == FILE_EMPTIED)
		what = "store truncated file";
	else if (r->fate == FILE_RESUMED)
		what = "checksum resumed file";
	else if (bundle != 0)
		where = arena_printf(a, "bundle %u/%" PRIu64 ", ", bundle, r->offset);
	if (r->pipe.plain_size != f->size_orig)
		size = arena_printf(a, "%s->%s", str_size(a, f->size_orig), size);
	sum_hex(&r->pipe.plain_sum, hex);
	log_detail("%s %s (%s%s, %.2f%%)%s%s", what, name, where, size, percent,
		r->pipe.plain_size == 0 ? "" : " checksum ", r->pipe.plain_size == 0 ? "" : hex);
}

static int take_stored(struct backup *b, struct manifest_file *f, uint32_t bundle,
	const struct file_put_result *r)
{
	const struct pipe_result *p = &r->pipe;

	f->bundle = bundle;
	f->bundle_offset = bundle == 0 ? 0 : r->offset;
	f->repo_size = p->stored_size;
	f->repo_sum = p->stored_sum;
	f->block_map_size = r->map_size;
	/* of blocks it is the only checksum there is (format/blocks.md 4) */
	f->has_repo_sum = b->m->codec != CODEC_NONE || b->m->cipher_pass != NULL || r->map_size != 0;
	f->page_ok = !p->pages.misaligned && p->pages.bad.n == 0;
	if (!f->page_check || f->page_ok)
		return 0;
	if (!p->pages.misaligned) {
		f->bad = arena_memdup(b->m->arena, p->pages.bad.v, p->pages.bad.n * sizeof(*f->bad));
		f->bad_n = (uint32_t)p->pages.bad.n;
	}
	return report_pages(b, f, r);
}

static void warn_left_bad(const struct manifest_file *f)
{
	char hex[SHA1_HEX + 1];

	sum_hex(&f->sum, hex);
	log_warn("resumed backup file %s did not have expected checksum %s\nNOTE: it is stored again; it was "
		"damaged in the repository, or never reached its disk.", f->name, hex);
}

int backup_row_settle(struct backup *b, uint32_t row, uint32_t bundle, const struct file_put_result *r)
{
	struct manifest_file *f = &b->m->files.v[row];

	if (r->left_bad)
		warn_left_bad(f);
	if (r->prior_unfit)
		log_warn("the block map of '%s' in %s does not belong to the content that is listed there\n"
			"NOTE: all blocks are stored again; verify tells what else may be damaged.",
			manifest_pg_path(f->name), f->reference);
	/* the row has taken over the rest from the prior */
	f->has_sum = r->fate != FILE_VANISHED;
	if (r->fate == FILE_SAME || r->fate == FILE_VANISHED)
		return 0;
	plan_own(f, &b->plan.rows[row]);
	f->size = r->pipe.plain_size;
	f->sum = r->pipe.plain_sum;
	f->has_sum = true;
	if (r->fate == FILE_STORED || r->fate == FILE_RESUMED)
		return take_stored(b, f, bundle, r);
	f->repo_size = 0;
	return 0;
}
