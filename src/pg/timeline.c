/*
 * timeline: history files parsed.
 *
 * One damaged history file can block every restore that follows it, and an undetected one can lead
 * a restore astray: what PostgreSQL cannot have written is refused, what it does write is accepted.
 */
#include "pg/timeline.h"

#include <inttypes.h>
#include <string.h>
#include "base/str.h"
#include "pg/wal.h"

enum { FIELD_MAX = 32, SHOWN_MAX = 80 };

struct line {
	const char *text;
	size_t len;
	unsigned number; /* from 1, for messages */
};

static int bad_line(const struct timeline_history *h, const struct line *l, const char *why)
{
	size_t shown = l->len < SHOWN_MAX ? l->len : SHOWN_MAX;

	return err_set(ERR_FORMAT, "invalid line %u '%.*s' in timeline history %08" PRIX32 ": %s",
		l->number, (int)shown, l->text, h->timeline, why);
}

static bool is_skipped(const struct line *l)
{
	size_t i = 0;

	while (i < l->len && strchr(" \t\r\n\v\f", l->text[i]) != NULL && l->text[i] != '\0')
		i++;
	return i == l->len || l->text[i] == '#';
}

/* The field at *at up to the next TAB or the end, as a C string; *at moves behind the TAB, or
 * behind the end if there was none.  False if it is too long for any valid field or holds a NUL. */
static bool take_field(const struct line *l, size_t *at, char out[FIELD_MAX])
{
	size_t len = 0;

	while (*at + len < l->len && l->text[*at + len] != '\t')
		len++;
	if (len >= FIELD_MAX || memchr(l->text + *at, '\0', len) != NULL)
		return false;
	memcpy(out, l->text + *at, len);
	out[len] = '\0';
	*at += len + 1;
	return true;
}

static int parse_line(const struct line *l, struct timeline_history *h)
{
	char field[FIELD_MAX];
	size_t at = 0;
	uint64_t parent, lsn;
	uint32_t last = h->v.n == 0 ? 0 : h->v.v[h->v.n - 1].parent;

	if (!take_field(l, &at, field) || !str_to_u64(field, &parent))
		return bad_line(h, l, "timeline expected");
	if (at > l->len)
		return bad_line(h, l, "TAB expected behind the timeline");
	if (!take_field(l, &at, field) || !lsn_parse(field, &lsn))
		return bad_line(h, l, "LSN expected");
	if (parent <= last)
		return bad_line(h, l, "timelines must ascend");
	if (parent >= h->timeline)
		return bad_line(h, l, "timeline must be lower than that of the file");
	vec_push(&h->v, ((struct timeline_switch){(uint32_t)parent, lsn}));
	return 0;
}

int timeline_parse(struct arena *a, uint32_t timeline, const char *text, size_t len,
	struct timeline_history *out)
{
	struct line l = {0};
	size_t at = 0;

	out->timeline = timeline;
	vec_init(&out->v, a);
	while (at < len) {
		const char *end = memchr(text + at, '\n', len - at);

		l.text = text + at;
		l.len = end == NULL ? len - at : (size_t)(end - l.text);
		l.number++;
		if (!is_skipped(&l) && parse_line(&l, out) != 0)
			return -1;
		at += l.len + 1;
	}
	return 0;
}

bool timeline_left_at(const struct timeline_history *h, uint32_t t, uint64_t *lsn)
{
	bool found = false;

	for (size_t i = 0; i < h->v.n; i++) {
		if (h->v.v[i].parent == t) {
			found = true;
			*lsn = h->v.v[i].lsn;
		} else if (found && h->v.v[i].lsn < *lsn) {
			*lsn = h->v.v[i].lsn;
		}
	}
	return found;
}
