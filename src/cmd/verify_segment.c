/*
 * verify_segment: is one segment what its name says, and how large are segments here?
 */
#include "cmd/verify_intern.h"

#include <string.h>

#include "base/log.h"
#include "repo/wal_check.h"

#define PROBES 16 /* segments that are asked for the segment size before it is given up */

/* --- one segment --- */

/* Keeps what wal_check_header wants to know.  wal_fetch finishes it only if the bytes have the hash of the name. */
struct peek {
	struct sink sink;
	struct wal_seen seen;
	bool only_head; /* stop the reading when there is enough */
};

static int peek_write(struct sink *s, const void *data, size_t len)
{
	struct peek *p = (struct peek *)s;

	wal_seen_add(&p->seen, data, len);
	if (p->only_head && p->seen.head_len == sizeof(p->seen.head))
		return err_set(ERR_ASSERT, "the head is enough");
	return 0;
}

static int peek_finish(struct sink *s)
{
	(void)s;
	return 0;
}

static struct wal_file wal_file_of(const struct verify_wal *w)
{
	return (struct wal_file){ .path = w->path, .name = w->name, .sum = w->sum, .codec = w->codec };
}

static int look_at_segment(struct arena *a, const struct verify_archive *ar, const struct verify_wal *w,
	struct check_result *out)
{
	struct peek p = { .sink = { peek_write, peek_finish } };
	const struct wal_file file = wal_file_of(w);
	const char *what = arena_printf(a, "WAL file '%s'", store_name(a, ar->place.repo, w->path));

	*out = (struct check_result){ .msg = "" };
	int rc = wal_fetch(a, &ar->place, &file, NULL, &p.sink);
	if (rc == 0 && ar->expect.segment_size != 0 && p.seen.size != ar->expect.segment_size) {
		out->state = CHECK_SIZE;
		return 0;
	}
	if (rc == 0)
		rc = wal_check_header(&p.seen, what, w->name, &ar->expect);
	if (rc == 0)
		return 0;
	if (err_code() == ERR_TERM)
		return -1;
	check_take(a, out);
	return 0;
}

int verify_wal_check(struct arena *a, const struct verify_archive *ar, const struct verify_wal *w,
	struct check_result *out)
{
	if (look_at_segment(a, ar, w, out) != 0)
		return -1;
	return out->state == CHECK_OK ? 0 : look_at_segment(a, ar, w, out);
}

/* --- the segment size --- */

/* 1 the header is one of this cluster's, 0 it is not. */
static int ask_segment(struct verify_archive *ar, const struct verify_wal *w, uint32_t *size, bool *unknown_magic)
{
	struct peek p = { .sink = { peek_write, peek_finish }, .only_head = true };
	const struct pipe_spec spec = { .decrypt = ar->place.pass, .expand = w->codec };
	struct pipe_result passed;
	const struct get_opts get = { .spec = &spec, .result = &passed };
	struct wal_header h;
	struct wal_pos pos;

	(void)!store_get(ar->place.repo, w->path, &get, &p.sink);
	err_clear();
	if (p.seen.head_len < WAL_HEADER)
		return 0;
	if (wal_header_parse(p.seen.head, &h) != 0) {
		*unknown_magic = *unknown_magic || err_code() == ERR_VERSION_NOT_SUPPORTED;
		err_clear();
		return 0;
	}
	if (ar->db != NULL && (h.system_id != ar->db->system_id || strcmp(h.version->name, ar->db->version) != 0))
		return 0;
	*size = h.segment_size;
	return wal_parse(w->name, h.segment_size, &pos) && h.page_addr == pos.segment * h.segment_size;
}

void verify_segment_size(struct verify_archive *ar)
{
	static const uint32_t usual = 16u * 1024 * 1024, largest = 1024u * 1024 * 1024;
	bool unknown_magic = false;
	struct wal_pos pos;
	size_t asked = 0, known = 0;

	for (size_t i = 0; i < ar->files.n && asked < PROBES; i++) {
		uint32_t size = 0;
		if (ar->files.v[i].kind != WAL_SEGMENT || ar->files.v[i].judged)
			continue;
		asked++;
		if (ask_segment(ar, &ar->files.v[i], &size, &unknown_magic)) {
			ar->expect.segment_size = size;
			return;
		}
		known += size != 0;
	}
	if (unknown_magic && known == 0) {
		log_detail("archive '%s': the WAL is of a server that is not known (pg-version-force), so its headers "
			"are not looked at", ar->id);
		ar->expect.version = NULL;
	}
	uint32_t size = usual;
	for (size_t i = 0; i < ar->files.n; i++)
		while (ar->files.v[i].kind == WAL_SEGMENT && size < largest &&
			!wal_parse(ar->files.v[i].name, size, &pos) && size > 1024u * 1024)
			size /= 2;
	/* for the arithmetic of names only: nothing has said that files must have it */
	ar->names_size = size;
}
