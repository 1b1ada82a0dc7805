/*
 * wal_survey: one archive as its listing tells.
 */
#include "repo/wal_survey.h"

#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "repo/layout.h"
#include "repo/wal_check.h"

#define HEX_UPPER "0123456789ABCDEF"
#define PROBES 16 /* segments that are asked for the segment size before it is given up */

/* --- listing --- */

struct probe {
	const char *path, *name;
	enum codec codec;
};

struct listing {
	struct arena *a;
	const struct wal_place *place;
	struct wal_survey *out;
	strvec dirs;
	const char *dir;    /* being listed */
	const char *prefix; /* its last part */
	VEC(struct probe) probes;
	strvec small; /* paths of .history and .backup files */
};

static void add_other(struct listing *l, const struct store_entry *e, size_t len)
{
	vec_push(&l->out->others, arena_strndup(l->a, e->name, len));
}

static void add_small(struct listing *l, const struct store_entry *e)
{
	add_other(l, e, strlen(e->name));
	vec_push(&l->small, path_join(l->a, l->dir, e->name));
}

static struct wal_survey_file file_of(const struct store_entry *e, const struct wal_stored *s)
{
	uint64_t timeline = 0, high = 0, low = 0;

	(void)(str_hex_to_u64(e->name, 8, &timeline) && str_hex_to_u64(e->name + 8, 8, &high) &&
		str_hex_to_u64(e->name + 16, 8, &low));
	return (struct wal_survey_file){ .timeline = (uint32_t)timeline, .high = (uint32_t)high, .low = (uint32_t)low,
		.bad = s->unreadable || e->type == STORE_DIR || e->type == STORE_SPECIAL, .sum = s->sum,
		.stored = e->mtime };
}

static bool same_name(const struct wal_survey_file *x, const struct wal_survey_file *y)
{
	return x->timeline == y->timeline && x->high == y->high && x->low == y->low;
}

static int see_file(void *ctx, const struct store_entry *e)
{
	struct listing *l = ctx;
	struct wal_survey *out = l->out;
	struct wal_stored s;

	/* where nobody looks for it, it is not a file of the archive */
	if (strncmp(e->name, l->prefix, WAL_DIR) != 0)
		return 0;
	if (wal_kind(e->name) == WAL_BACKUP)
		add_small(l, e);
	if (!wal_stored_parse(e->name, &s))
		return 0;
	if (s.name_len != WAL_NAME) {
		add_other(l, e, s.name_len);
		return 0;
	}
	struct wal_survey_file file = file_of(e, &s);
	struct wal_survey_file *last = out->files.n == 0 ? NULL : &out->files.v[out->files.n - 1];
	/* listed by name: those of one segment follow each other */
	if (last != NULL && same_name(last, &file)) {
		last->bad = last->bad || file.bad || !sum_equal(&last->sum, &file.sum);
		return 0;
	}
	vec_push(&out->files, file);
	if (!file.bad && l->probes.n < PROBES) {
		const char *path = path_join(l->a, l->dir, e->name);
		vec_push(&l->probes, ((struct probe){ path, path_base(path), s.codec }));
	}
	return 0;
}

static int see_top(void *ctx, const struct store_entry *e)
{
	struct listing *l = ctx;

	if (wal_kind(e->name) == WAL_HISTORY)
		add_small(l, e);
	else if (wal_is_dir(e))
		vec_push(&l->dirs, arena_strdup(l->a, e->name));
	return 0;
}

/* --- small files --- */

static void take_history(struct listing *l, const char *path, const struct buf *text)
{
	const char *name = path_base(path);
	struct timeline_history h;
	uint64_t timeline = 0;

	if (!str_hex_to_u64(name, 8, &timeline))
		return;
	if (wal_check_history(name, name, text) == 0 &&
		timeline_parse(l->a, (uint32_t)timeline, text->data, text->len, &h) == 0)
		vec_push(&l->out->histories, h);
	else
		vec_push(&l->out->unread, (uint32_t)timeline);
	err_clear();
}

/* "START WAL LOCATION: 0/3000028 (file 000000010000000000000003)" */
static const char *segment_in(struct arena *a, const struct buf *text, const char *line)
{
	static const char mark[] = " (file ";
	const char *at = strstr(text->data, line);
	const char *end = at == NULL ? NULL : strchr(at, '\n');
	const char *file = at == NULL ? NULL : strstr(at, mark);

	if (file == NULL || (end != NULL && file > end) || !str_all(file + strlen(mark), WAL_NAME, HEX_UPPER))
		return NULL;
	return arena_strndup(a, file + strlen(mark), WAL_NAME);
}

bool wal_survey_backup_file(struct arena *a, const char *name, const struct buf *text, const char **start,
	const char **stop)
{
	*start = segment_in(a, text, "START WAL LOCATION:");
	*stop = segment_in(a, text, "STOP WAL LOCATION:");
	return *start != NULL && *stop != NULL && strncmp(*start, name, WAL_NAME) == 0;
}

/* One of no use explains nothing: then more counts as lost, never less. */
static int read_small(struct listing *l)
{
	struct buf text;

	buf_init(&text, l->a);
	for (size_t i = 0; i < l->small.n; i++) {
		const char *path = l->small.v[i], *start, *stop;
		buf_reset(&text);
		int rc = wal_read_text(l->place, path, true, &text);
		if (rc < 0 && err_code() == ERR_TERM)
			return -1;
		if (rc == STORE_ABSENT)
			continue; /* removed while we looked */
		if (rc < 0)
			buf_reset(&text); /* no history, and no backup file, is empty */
		err_clear();
		if (wal_kind(path_base(path)) == WAL_HISTORY) {
			take_history(l, path, &text);
		} else if (rc == 0 && wal_survey_backup_file(l->a, path_base(path), &text, &start, &stop)) {
			vec_push(&l->out->former, start);
			vec_push(&l->out->former, stop);
		}
	}
	return 0;
}

/* --- the segment size --- */

/* Keeps the head, and ends the reading when it has it. */
struct peek {
	struct sink sink;
	struct wal_seen seen;
};

static int peek_write(struct sink *s, const void *data, size_t len)
{
	struct peek *p = (struct peek *)s;

	wal_seen_add(&p->seen, data, len);
	return p->seen.head_len == sizeof(p->seen.head) ? err_set(ERR_ASSERT, "the head is enough") : 0;
}

static int peek_finish(struct sink *s)
{
	(void)s;
	return 0;
}

/* 0: the header is not that of this cluster's segment. */
static uint32_t ask_segment(const struct wal_place *place, const struct probe *file, const struct archive_db *db)
{
	struct peek p = { .sink = { peek_write, peek_finish } };
	const struct pipe_spec spec = { .decrypt = place->pass, .expand = file->codec };
	struct pipe_result passed;
	const struct get_opts get = { .spec = &spec, .result = &passed };
	struct wal_header h;
	struct wal_pos pos;

	(void)!store_get(place->repo, file->path, &get, &p.sink);
	err_clear();
	if (p.seen.head_len < WAL_HEADER || wal_header_parse(p.seen.head, &h) != 0 || h.system_id != db->system_id ||
		!wal_parse(file->name, h.segment_size, &pos) || h.page_addr != pos.segment * h.segment_size) {
		err_clear();
		return 0;
	}
	return h.segment_size;
}

uint32_t wal_survey_guess(const struct wal_survey *s)
{
	uint32_t size = 16u * 1024 * 1024, low = 0;

	for (size_t i = 0; i < s->files.n; i++)
		low = s->files.v[i].low > low ? s->files.v[i].low : low;
	while (low >= (UINT64_C(1) << 32) / size && size > 1024u * 1024)
		size /= 2;
	return size;
}

static int file_cmp(const void *x, const void *y)
{
	const struct wal_survey_file *fx = x, *fy = y;

	if (fx->timeline != fy->timeline)
		return fx->timeline < fy->timeline ? -1 : 1;
	if (fx->high != fy->high)
		return fx->high < fy->high ? -1 : 1;
	return fx->low < fy->low ? -1 : fx->low > fy->low;
}

int wal_survey(struct arena *a, const struct wal_place *place, const struct archive_db *db, struct wal_survey *out)
{
	const char *root = path_join(a, layout_archive_root(a, place->stanza), place->archive_id);
	struct listing l = { .a = a, .place = place, .out = out, .dir = root };

	*out = (struct wal_survey){ .segment_size = 0 };
	vec_init(&out->files, a);
	vec_init(&out->histories, a);
	vec_init(&out->unread, a);
	vec_init(&out->former, a);
	vec_init(&out->others, a);
	vec_init(&l.dirs, a);
	vec_init(&l.probes, a);
	vec_init(&l.small, a);
	if (store_list(place->repo, root, see_top, &l) < 0)
		return -1;
	for (size_t i = 0; i < l.dirs.n; i++) {
		l.prefix = l.dirs.v[i];
		l.dir = path_join(a, root, l.prefix);
		/* absent: removed while we looked */
		if (store_list(place->repo, l.dir, see_file, &l) < 0)
			return -1;
	}
	if (out->files.n > 0)
		qsort(out->files.v, out->files.n, sizeof(*out->files.v), file_cmp);
	for (size_t i = 0; i < l.probes.n && out->segment_size == 0; i++)
		out->segment_size = ask_segment(place, &l.probes.v[i], db);
	return read_small(&l);
}

/* --- several archives --- */

static const struct wal_survey_file *file_at(const struct wal_survey *s, size_t i)
{
	return i < s->files.n ? &s->files.v[i] : NULL;
}

/* All copies of one segment. */
static struct wal_kept take_copies(const struct wal_survey *const *v, size_t n, size_t *next,
	const struct wal_survey_file *first, uint64_t per_high)
{
	struct wal_kept k = { { first->timeline, first->high * per_high + first->low }, false, first->stored };

	for (size_t i = 0; i < n; i++) {
		const struct wal_survey_file *file = file_at(v[i], next[i]);
		if (file == NULL || !same_name(file, first))
			continue;
		k.bad = k.bad || file->bad || !sum_equal(&file->sum, &first->sum);
		k.stored = file->stored < k.stored ? file->stored : k.stored;
		next[i]++;
	}
	return k;
}

void wal_survey_merge(struct arena *a, const struct wal_survey *const *v, size_t n, uint32_t segment_size,
	wal_kepts *out)
{
	const uint64_t per_high = (UINT64_C(1) << 32) / segment_size;
	size_t *next = arena_zalloc(a, (n + 1) * sizeof(*next));

	vec_init(out, a);
	for (;;) {
		const struct wal_survey_file *first = NULL;
		for (size_t i = 0; i < n; i++) {
			const struct wal_survey_file *file = file_at(v[i], next[i]);
			if (file != NULL && (first == NULL || file_cmp(file, first) < 0))
				first = file;
		}
		if (first == NULL)
			return;
		struct wal_kept k = take_copies(v, n, next, first, per_high);
		if (first->low < per_high)
			vec_push(out, k);
	}
}
