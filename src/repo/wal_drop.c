/*
 * wal_drop: notes of WAL files that were given up on purpose.
 *
 * Always true: a note is accepted only if writing what was read gives the same bytes again, so no byte of it can
 * change unseen; and whatever is called like a note and is none counts as a note of unknown files.
 */
#include "repo/wal_drop.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "form/fields.h"
#include "repo/layout.h"
#include "repo/wal_check.h"

#define DIGITS "0123456789"
#define HEX_LOWER DIGITS "abcdef"
#define STAMP_FORMAT "%Y%m%dT%H%M%SZ"
#define STAMP 16 /* characters */
#define CLOCKS_DIFFER 3600 /* seconds */

/* --- ids --- */

static bool stamp(int64_t when, char out[STAMP + 1])
{
	time_t t = (time_t)when;
	struct tm tm;

	return gmtime_r(&t, &tm) != NULL && strftime(out, STAMP + 1, STAMP_FORMAT, &tm) == STAMP;
}

int wal_drop_new_id(struct arena *a, int64_t when, const char **id)
{
	char text[STAMP + 1];
	uint32_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return err_sys(ERR_KERNEL, "unable to get random bytes");
	if (!stamp(when, text))
		return err_set(ERR_CLOCK, "the time %" PRId64 " has no date", when);
	*id = arena_printf(a, "%s-%08x", text, random);
	return 0;
}

static bool id_parse(const char *id, int64_t *when)
{
	char again[STAMP + 1];
	struct tm tm = {0};
	const char *end = strptime(id, STAMP_FORMAT, &tm);

	if (end != id + STAMP || *end != '-' || !str_all(end + 1, 8, HEX_LOWER))
		return false;
	*when = (int64_t)timegm(&tm);
	/* strptime is lax about what timegm puts right */
	return stamp(*when, again) && strncmp(again, id, STAMP) == 0;
}

bool wal_drop_file_parse(const char *file_name, int64_t *when)
{
	return strlen(file_name) == WAL_DROP_ID + strlen(DROP_SUFFIX) && id_parse(file_name, when) &&
		strcmp(file_name + WAL_DROP_ID, DROP_SUFFIX) == 0;
}

/* --- text --- */

static const char *const why_names[] = {
	[WAL_DROP_QUEUE] = "queue",
	[WAL_DROP_SKIPPED] = "skipped",
};

static bool why_print(struct json_out *j, const struct field *f, const void *object)
{
	json_str(j, why_names[*(const enum wal_drop_why *)field_at_const(f, object)]);
	return true;
}

static int why_parse(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	enum wal_drop_why *why = field_at(f, object);
	const char *name;

	if (json_get_str(v, &name) != 0)
		return -1;
	for (*why = WAL_DROP_QUEUE; *why <= WAL_DROP_SKIPPED; (*why)++)
		if (strcmp(name, why_names[*why]) == 0)
			return 0;
	return err_set(ERR_FORMAT, "'%s' is no reason that is known", name);
}

static const struct field_custom why_form = {why_print, why_parse};

static const struct field note_fields[] = {
	FIELD(struct wal_drop, "files", files, FIELD_STRVEC, FIELD_REQUIRED),
	FIELD(struct wal_drop, "id", id, FIELD_STR, FIELD_REQUIRED),
	FIELD(struct wal_drop, "system-id", system_id, FIELD_U64, FIELD_REQUIRED),
	FIELD(struct wal_drop, "text", text, FIELD_STR, FIELD_REQUIRED),
	FIELD(struct wal_drop, "time", when, FIELD_I64, FIELD_REQUIRED),
	FIELD_BY(struct wal_drop, "why", why, &why_form, FIELD_REQUIRED),
	FIELD_END,
};

void wal_drop_text(const struct wal_drop *d, struct buf *out)
{
	SCOPED_ARENA(a);
	struct json_out j;
	struct sum sum;
	struct buf note;
	char hex[SHA1_HEX + 1];

	buf_init(&note, a);
	json_out_init(&j, &note);
	json_object_begin(&j);
	fields_write(&j, note_fields, d);
	json_object_end(&j);
	sha1_of(note.data, note.len, &sum);
	sum_hex(&sum, hex);
	buf_addf(out, "{\"checksum\":\"%s\",\"note\":", hex);
	buf_add(out, note.data, note.len);
	buf_adds(out, "}\n");
}

static bool is_sound(const struct wal_drop *d)
{
	int64_t when;

	if (!id_parse(d->id, &when) || d->id[WAL_DROP_ID] != '\0' || d->files.n == 0)
		return false;
	for (size_t i = 0; i < d->files.n; i++)
		if (wal_kind(d->files.v[i]) == WAL_OTHER ||
			(i > 0 && strcmp(d->files.v[i - 1], d->files.v[i]) >= 0))
			return false;
	return true;
}

int wal_drop_parse(struct arena *a, const char *what, const struct buf *text, struct wal_drop *out)
{
	const struct json *all = json_parse(a, text->data, text->len), *note;
	struct buf again;

	*out = (struct wal_drop){.id = NULL};
	vec_init(&out->files, a);
	if (all == NULL || all->type != JSON_OBJECT || (note = json_member(all, "note")) == NULL ||
		note->type != JSON_OBJECT)
		return err_set(ERR_FORMAT, "%s is not a note of dropped WAL", what);
	if (fields_read(a, note_fields, out, note) != 0)
		return err_wrap("%s is not a note of dropped WAL", what);
	buf_init(&again, a);
	wal_drop_text(out, &again);
	if (again.len != text->len || memcmp(again.data, text->data, text->len) != 0)
		return err_set(ERR_FORMAT, "%s does not have the checksum of its content", what);
	return is_sound(out) ? 0 : err_set(ERR_FORMAT, "%s is a note of dropped WAL that makes no sense", what);
}

bool wal_drop_is_before(const struct wal_drop *d, int64_t time)
{
	return d->when < time - CLOCKS_DIFFER;
}

char *wal_drop_how(struct arena *a, const struct wal_drop *d)
{
	return arena_printf(a, "by archive-push on %s: %s", clock_local_zone(a, d->when), d->text);
}

/* --- stored --- */

static int write_note(const struct wal_place *place, const char *path, const struct buf *text, bool replace)
{
	SCOPED_ARENA(a);
	const struct pipe_spec spec = {.encrypt = place->pass};
	const struct put_opts put = {.atomic = true, .create_new = !replace};
	struct pipe_result passed;
	struct sink *to = store_put(a, place->repo, path, &put);

	if (to != NULL)
		to = pipe_chain(a, &spec, NULL, NULL, to, &passed);
	return to == NULL || sink_write(to, text->data, text->len) != 0 ? -1 : sink_finish(to);
}

/* Whoever put it there may not have come to sync the directories. */
static int sync_dirs(const struct wal_place *place)
{
	SCOPED_ARENA(a);
	const char *root = layout_archive_root(a, place->stanza);
	const char *dir = layout_drop_dir(a, place->stanza, place->archive_id);

	for (; path_is_below(dir, root); dir = path_parent(a, dir))
		if (store_sync_dir(place->repo, dir) != 0)
			return -1;
	return 0;
}

int wal_drop_put(const struct wal_place *place, const char *id, const struct buf *text)
{
	SCOPED_ARENA(a);
	const char *path = layout_drop(a, place->stanza, place->archive_id, id);
	struct buf stored;

	if (write_note(place, path, text, false) == 0)
		return 0;
	if (err_code() != ERR_FILE_EXISTS)
		return -1;
	err_clear();
	buf_init(&stored, a);
	int rc = wal_read_text(place, path, true, &stored);
	if (rc == 0 && stored.len == text->len && memcmp(stored.data, text->data, text->len) == 0)
		return sync_dirs(place);
	/* An id is given once: what has it and is something else has been damaged there. */
	if (rc < 0)
		err_clear();
	return write_note(place, path, text, true);
}

struct listing {
	struct arena *a;
	strvec names;
};

static int list_note(void *ctx, const struct store_entry *e)
{
	struct listing *l = ctx;
	int64_t when;

	if (wal_drop_file_parse(e->name, &when))
		vec_push(&l->names, arena_strdup(l->a, e->name));
	return 0;
}

/* 0, STORE_ABSENT, -1. */
static int read_note(struct arena *a, const struct wal_place *place, const char *id, struct wal_drop *out)
{
	const char *path = layout_drop(a, place->stanza, place->archive_id, id);
	const char *what = arena_printf(a, "'%s'", store_name(a, place->repo, path));
	struct buf text;

	buf_init(&text, a);
	int rc = wal_read_text(place, path, true, &text);
	if (rc != 0)
		return rc;
	if (wal_drop_parse(a, what, &text, out) != 0)
		return -1;
	return strcmp(out->id, id) == 0 ? 0 : err_set(ERR_FORMAT, "%s is the note '%s'", what, out->id);
}

/* A note that is of no use but for its name. */
static void add_unknown(struct arena *a, const char *id, int64_t when, struct wal_drop *out)
{
	log_warn("a note of dropped WAL cannot be read, so nobody knows which files were dropped on %s: [%s] %s",
		clock_local_zone(a, when), err_class(err_code()), err_msg());
	*out = (struct wal_drop){.id = id, .when = when};
	out->text = arena_printf(a, "the note of it cannot be read: %s", err_msg());
	vec_init(&out->files, a);
	err_clear();
}

int wal_drops_load(struct arena *a, const struct wal_place *place, wal_drops *out)
{
	struct listing l = {.a = a};

	vec_init(out, a);
	vec_init(&l.names, a);
	if (store_list(place->repo, layout_drop_dir(a, place->stanza, place->archive_id), list_note, &l) < 0)
		return -1;
	for (size_t i = 0; i < l.names.n; i++) {
		struct wal_drop d = {.id = NULL};
		int64_t when;
		const char *id = arena_strndup(a, l.names.v[i], WAL_DROP_ID);
		int rc = read_note(a, place, id, &d);
		if (rc == STORE_ABSENT)
			continue; /* expire was faster */
		if (rc < 0 && err_code() == ERR_TERM)
			return -1;
		if (rc < 0 && wal_drop_file_parse(l.names.v[i], &when))
			add_unknown(a, id, when, &d);
		vec_push(out, d);
	}
	return 0;
}

int wal_drop_remove(const struct wal_place *place, const char *id)
{
	SCOPED_ARENA(a);

	return store_remove(place->repo, layout_drop(a, place->stanza, place->archive_id, id), true);
}

/* --- questions --- */

static bool names_file(const struct wal_drop *d, const char *file)
{
	size_t low = 0, high = d->files.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int cmp = strcmp(d->files.v[mid], file);
		if (cmp == 0)
			return true;
		if (cmp < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

const struct wal_drop *wal_drop_of(const wal_drops *drops, const char *file)
{
	for (size_t i = drops->n; i > 0; i--)
		if (names_file(&drops->v[i - 1], file))
			return &drops->v[i - 1];
	return NULL;
}

static const struct wal_drop *unknown_of(const wal_drops *drops)
{
	for (size_t i = drops->n; i > 0; i--)
		if (drops->v[i - 1].files.n == 0)
			return &drops->v[i - 1];
	return NULL;
}

int wal_was_dropped(struct arena *a, const struct wal_place *places, size_t n, const char *file, const char **how,
	size_t *at)
{
	const struct wal_drop *d;
	size_t unsure = n;

	*how = NULL;
	for (*at = 0; *at < n; ++*at) {
		wal_drops drops;
		if (wal_drops_load(a, &places[*at], &drops) != 0)
			return -1;
		d = wal_drop_of(&drops, file);
		if (d != NULL) {
			*how = wal_drop_how(a, d);
			return 1;
		}
		d = unknown_of(&drops);
		if (d != NULL) {
			*how = wal_drop_how(a, d);
			unsure = *at;
		}
	}
	*at = unsure;
	return 0;
}
