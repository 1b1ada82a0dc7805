/*
 * wal_check: the proof that bytes are the WAL file they are taken for.
 *
 * Always true: a sink behind a gate is finished only after the verdict on all bytes has been heard.
 */
#include "repo/wal_check.h"

#include <inttypes.h>
#include <string.h>

#include "base/str.h"
#include "pg/timeline.h"
#include "stream/hash_beside.h"

struct gate {
	struct sink sink;
	struct sink *next;
	struct hash_beside *hash;
	struct wal_seen seen;
	wal_verdict_fn *fn;
	void *ctx;
};

void wal_seen_add(struct wal_seen *s, const void *data, size_t len)
{
	size_t head = sizeof(s->head) - s->head_len;

	if (head > len)
		head = len;
	if (head > 0)
		memcpy(s->head + s->head_len, data, head);
	s->head_len += head;
	s->size += len;
}

static int gate_write(struct sink *s, const void *data, size_t len)
{
	struct gate *g = (struct gate *)s;

	wal_seen_add(&g->seen, data, len);
	hash_beside_add(g->hash, data, len);
	return sink_write(g->next, data, len);
}

static int gate_finish(struct sink *s)
{
	struct gate *g = (struct gate *)s;

	hash_beside_end(g->hash, &g->seen.sum);
	if (g->fn(g->ctx, &g->seen) != 0)
		return -1;
	return sink_finish(g->next);
}

struct sink *wal_gate(struct arena *a, struct sink *next, wal_verdict_fn *fn, void *ctx)
{
	struct gate *g = arena_new_object(a, struct gate);

	g->sink = (struct sink){gate_write, gate_finish};
	g->next = next;
	g->hash = hash_beside_new(a);
	g->fn = fn;
	g->ctx = ctx;
	return &g->sink;
}

static int check_size(const struct wal_seen *seen, const char *what, uint32_t size)
{
	if (size == 0 || seen->size == size)
		return 0;
	return err_set(ERR_FORMAT, "%s has %" PRIu64 " bytes, but a segment has %u", what,
		seen->size, size);
}

static int check_place(const struct wal_header *h, const char *what, const char *name)
{
	struct wal_pos pos;
	char lsn[24];

	if (!wal_parse(name, h->segment_size, &pos))
		return err_set(ERR_FORMAT,
			"%s cannot have segments of %u bytes, as its header says", what,
			h->segment_size);
	if (h->page_addr != pos.segment * h->segment_size) {
		lsn_print(h->page_addr, lsn);
		return err_set(ERR_FORMAT,
			"%s does not hold the WAL of its name but that from %s on", what, lsn);
	}
	if (h->timeline > pos.timeline)
		return err_set(ERR_FORMAT,
			"%s has timeline %u in its header, which is later than its name's", what,
			h->timeline);
	return 0;
}

int wal_check_header(const struct wal_seen *seen, const char *what, const char *name,
	const struct wal_expect *expect)
{
	struct wal_header h;

	if (expect->version == NULL)
		return check_size(seen, what, expect->segment_size);
	if (seen->head_len < WAL_HEADER)
		return err_set(ERR_FORMAT, "%s is too short for a WAL segment: %" PRIu64 " bytes",
			what, seen->size);
	if (wal_header_parse(seen->head, &h) != 0)
		return err_wrap("%s", what);
	if (strcmp(h.version->name, expect->version) != 0 || h.system_id != expect->system_id)
		return err_set(ERR_ARCHIVE_MISMATCH,
			"%s version %s, system-id %" PRIu64
			" do not match stanza version %s, system-id %" PRIu64,
			what, h.version->name, h.system_id, expect->version, expect->system_id);
	if (expect->segment_size != 0 && h.segment_size != expect->segment_size)
		return err_set(ERR_FORMAT,
			"%s has segment size %u in its header, but the cluster has %u", what,
			h.segment_size, expect->segment_size);
	if (check_size(seen, what, h.segment_size) != 0)
		return -1;
	return check_place(&h, what, name);
}

struct proof {
	const char *what;
	const struct wal_file *file;
	const struct wal_expect *expect;
};

static int prove(void *ctx, const struct wal_seen *seen)
{
	const struct proof *p = ctx;
	char actual[SHA1_HEX + 1];

	if (!sum_equal(&seen->sum, &p->file->sum)) {
		sum_hex(&seen->sum, actual);
		return err_set(ERR_CHECKSUM, "%s does not have the checksum of its name but %s",
			p->what, actual);
	}
	return p->expect == NULL ? 0 : wal_check_header(seen, p->what, p->file->name, p->expect);
}

int wal_fetch(struct arena *a, const struct wal_place *place, const struct wal_file *file,
	const struct wal_expect *expect, struct sink *to)
{
	struct proof *p = arena_new_object(a, struct proof);
	const struct pipe_spec spec = {.decrypt = place->pass, .expand = file->codec};
	struct pipe_result passed;
	const struct get_opts get = {.spec = &spec, .result = &passed};
	uint64_t max = expect != NULL && expect->segment_size != 0 ? expect->segment_size
								   : WAL_SEGMENT_MAX;

	p->what = arena_printf(a, "WAL file '%s'", store_name(a, place->repo, file->path));
	p->file = file;
	p->expect = expect;
	to = wal_gate(a, to, prove, p);
	/* A damaged stream may expand to anything: it must not fill the disk. */
	to = sink_limit(
		a, to, max, ERR_FORMAT, arena_printf(a, "%s is longer than a segment", p->what));
	if (store_get(place->repo, file->path, &get, to) == 0)
		return 0;
	/* A decoder knows nothing of names. */
	return strstr(err_msg(), file->path) != NULL ? -1 : err_wrap("unable to read %s", p->what);
}

int wal_read_text(const struct wal_place *place, const char *path, bool missing_ok, struct buf *out)
{
	SCOPED_ARENA(a);
	const struct pipe_spec spec = {.decrypt = place->pass};
	struct pipe_result passed;
	const struct get_opts get = {.missing_ok = missing_ok, .spec = &spec, .result = &passed};
	struct sink *to = sink_limit(a, sink_buf(a, out), WAL_PLAIN_MAX, ERR_FILE_READ,
		arena_printf(a, "unable to read '%s': file is larger than %u bytes",
			store_name(a, place->repo, path), WAL_PLAIN_MAX));

	int rc = store_get(place->repo, path, &get, to);
	if (rc < 0 && strstr(err_msg(), path) == NULL) /* a decoder knows nothing of names */
		return err_wrap("unable to read '%s'", store_name(a, place->repo, path));
	return rc;
}

int wal_check_history(const char *what, const char *name, const struct buf *text)
{
	SCOPED_ARENA(a);
	struct timeline_history history;
	uint64_t timeline;

	if (!str_hex_to_u64(name, 8, &timeline))
		return err_set(ERR_FORMAT, "%s does not begin with a timeline", what);
	if (timeline_parse(a, (uint32_t)timeline, text->data, text->len, &history) != 0)
		return err_wrap("%s is not a timeline history", what);
	/* PostgreSQL writes whole lines: a cut number would be another, lower one. */
	if (text->len > 0 && text->data[text->len - 1] != '\n')
		return err_set(ERR_FORMAT,
			"%s is not a whole timeline history: its last line has no end", what);
	if (history.v.n == 0)
		return err_set(
			ERR_FORMAT, "%s is not a timeline history: it names no parent", what);
	return 0;
}

void wal_add_failure(struct buf *lines, unsigned repo, const struct err_value *v)
{
	buf_addf(lines, "\nrepo%u: [%s] %s", repo, err_class(v->code), v->msg);
	if (v->hints[0] != '\0')
		buf_addf(lines, "\n%s", v->hints);
}
