/*
 * wal_drop, wal_loss, drop: a note is whole or refused; which notes matter, against a plain model on random histories;
 * when the queue is full; nothing is dropped that is not noted.
 *
 * SEED=n starts the random histories elsewhere, CASES=n sets how many.
 */
#include "wal_fixture.h"

#include <stdio.h>
#include <sys/stat.h>
#include "base/str.h"
#include "cmd/drop.h"
#include "repo/layout.h"
#include "repo/wal_check.h"
#include "repo/wal_loss.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define ID_1 "20261120T210012Z-1f2e3d4c"
#define ID_2 "20261120T220012Z-00000001"

static struct wal_drop make_note(struct arena *a, const char *id, size_t n, const char *const *names)
{
	struct wal_drop d = {.id = id, .when = 1795208412, .system_id = SYSTEM_ID,
		.text = "archive queue exceeded 20MB: \"\\\xc3\xa4\n"};

	vec_init(&d.files, a);
	for (size_t i = 0; i < n; i++)
		vec_push(&d.files, names[i]);
	return d;
}

static const char *const three[] = {"000000010000000000000005", "000000010000000000000006",
	"000000020000000000000007.partial"};

static struct buf text_of(struct arena *a, const struct wal_drop *d)
{
	struct buf b;

	buf_init(&b, a);
	wal_drop_text(d, &b);
	return b;
}

static void round_trip(void **state)
{
	SCOPED_ARENA(a);
	const struct wal_drop d = make_note(a, ID_1, COUNT(three), three);
	struct buf text = text_of(a, &d);
	struct wal_drop back;

	assert_int_equal(wal_drop_parse(a, "note", &text, &back), 0);
	assert_string_equal(back.id, d.id);
	assert_string_equal(back.text, d.text);
	assert_int_equal(back.when, d.when);
	assert_true(back.system_id == d.system_id && back.why == d.why);
	assert_int_equal(back.files.n, 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(back.files.v[i], three[i]);
}

static void refuse(struct arena *a, const char *text, size_t len)
{
	struct buf b;
	struct wal_drop d;

	buf_init(&b, a);
	buf_add(&b, text, len);
	assert_int_equal(wal_drop_parse(a, "note", &b, &d), -1);
	err_clear();
}

static void damage_is_refused(void **state)
{
	SCOPED_ARENA(a);
	const struct wal_drop d = make_note(a, ID_1, COUNT(three), three);
	struct buf text = text_of(a, &d);

	for (size_t i = 0; i < text.len; i++) {
		SCOPED_ARENA(turn);
		refuse(turn, text.data, i);
		for (unsigned bit = 0; bit < 8; bit++) {
			text.data[i] = (char)(text.data[i] ^ 1 << bit);
			refuse(turn, text.data, text.len);
			text.data[i] = (char)(text.data[i] ^ 1 << bit);
		}
	}
	buf_addc(&text, '\n');
	refuse(a, text.data, text.len);
}

/* Whole by its checksum, but nothing that drop_note writes. */
static void nonsense_is_refused(void **state)
{
	SCOPED_ARENA(a);
	static const char *const order[] = {"000000010000000000000006", "000000010000000000000005"};
	static const char *const twice[] = {"000000010000000000000005", "000000010000000000000005"};
	static const char *const other[] = {"postgresql.conf"};
	const struct wal_drop bad[] = {make_note(a, ID_1, 2, order), make_note(a, ID_1, 2, twice),
		make_note(a, ID_1, 1, other), make_note(a, ID_1, 0, other),
		make_note(a, "20261320T210012Z-1f2e3d4c", 3, three),
		make_note(a, "20261120T210012Z-1F2e3d4c", 3, three), make_note(a, "../../etc", 3, three)};

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct buf text = text_of(a, &bad[i]);
		refuse(a, text.data, text.len);
	}
}

static void ids(void **state)
{
	SCOPED_ARENA(a);
	const char *id;
	int64_t when;

	assert_int_equal(wal_drop_new_id(a, 1795208412, &id), 0);
	assert_int_equal(strlen(id), WAL_DROP_ID);
	assert_true(wal_drop_file_parse(arena_printf(a, "%s.json", id), &when));
	assert_int_equal(when, 1795208412);
	assert_false(wal_drop_file_parse(id, &when));
	assert_false(wal_drop_file_parse(ID_1 ".json.tmp", &when));
	assert_false(wal_drop_file_parse("20261120T216012Z-1f2e3d4c.json", &when));
}

/* --- in an archive --- */

static void stored_at(const char *pass)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	const struct wal_place place = {s, STANZA, ID, pass};
	const struct wal_drop d = make_note(a, ID_1, 2, three), e = make_note(a, ID_2, 2, three + 1);
	struct buf text = text_of(a, &d), other = text_of(a, &e), raw;
	const char *path = "archive/demo/15-1/pgstrata/gap/" ID_1 ".json";
	wal_drops drops;

	assert_int_equal(wal_drops_load(a, &place, &drops), 0);
	assert_int_equal(drops.n, 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(wal_drop_put(&place, ID_1, &text), 0);
	assert_int_equal(wal_drop_put(&place, ID_2, &other), 0);
	buf_init(&raw, a);
	assert_int_equal(store_read(s, path, 100000, false, &raw), 0);
	assert_int_equal(strstr(raw.data, three[0]) != NULL, pass == NULL);
	assert_int_equal(wal_drops_load(a, &place, &drops), 0);
	assert_int_equal(drops.n, 2);
	assert_string_equal(wal_drop_of(&drops, three[0])->id, ID_1);
	assert_string_equal(wal_drop_of(&drops, three[1])->id, ID_2);
	assert_null(wal_drop_of(&drops, "000000010000000000000007"));

	/* damaged, it still says that something was dropped, and when; carried again it is whole again */
	must_write(s, path, "x", 1);
	assert_int_equal(wal_drops_load(a, &place, &drops), 0);
	assert_int_equal(drops.n, 2);
	assert_int_equal(drops.v[0].files.n, 0);
	assert_int_equal(drops.v[0].when, 1795208412);
	assert_int_equal(wal_drop_put(&place, ID_1, &text), 0);
	assert_int_equal(wal_drops_load(a, &place, &drops), 0);
	assert_int_equal(drops.v[0].files.n, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(wal_drop_remove(&place, ID_1), 0);
	assert_int_equal(wal_drops_load(a, &place, &drops), 0);
	assert_int_equal(drops.n, 1);
}

static void stored(void **state)
{
	stored_at(NULL);
	stored_at("secret");
}

/* A note under another one's name is none. */
static void renamed_note(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	const struct wal_drop d = make_note(a, ID_1, 2, three);
	struct buf text = text_of(a, &d);
	wal_drops drops;

	assert_int_equal(wal_drop_put(&PLACE(s), ID_2, &text), 0);
	assert_int_equal(wal_drops_load(a, &PLACE(s), &drops), 0);
	assert_int_equal(drops.n, 1);
	assert_int_equal(drops.v[0].files.n, 0);
}

static void listing_that_fails(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	const struct wal_drop d = make_note(a, ID_1, 2, three);
	struct buf text = text_of(a, &d);
	struct store_fault list = {.verb = "list", .nth = 1}, get = {.verb = "get", .nth = 1};
	wal_drops drops;

	assert_int_equal(wal_drop_put(&PLACE(s), ID_1, &text), 0);
	assert_int_equal(wal_drops_load(a, &PLACE(store_faulty(a, s, &list)), &drops), -1);
	err_clear();
	assert_int_equal(wal_drops_load(a, &PLACE(store_faulty(a, s, &get)), &drops), 0);
	assert_int_equal(drops.v[0].files.n, 0);
}

/* A dropped segment is a hole though nothing later exists; one that might be what a damaged note tells of, too. */
static void holes(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	const struct wal_drop d = make_note(a, ID_1, 2, three);
	struct buf text = text_of(a, &d);
	const char *evidence;
	size_t at;

	assert_int_equal(wal_is_hole(a, &PLACE(s), 1, three[0], SEG, &evidence, &at), 0);
	assert_int_equal(wal_drop_put(&PLACE(s), ID_1, &text), 0);
	assert_int_equal(wal_is_hole(a, &PLACE(s), 1, three[0], SEG, &evidence, &at), 1);
	assert_non_null(strstr(wal_hole_text(a, evidence), ": it was dropped by archive-push on "));
	assert_non_null(strstr(evidence, "archive queue exceeded 20MB"));
	assert_int_equal(wal_is_hole(a, &PLACE(s), 1, "000000010000000000000007", SEG, &evidence, &at), 0);
	must_write(s, "archive/demo/15-1/pgstrata/gap/" ID_2 ".json", "x", 1);
	assert_int_equal(wal_is_hole(a, &PLACE(s), 1, "000000010000000000000007", SEG, &evidence, &at), 1);
	assert_non_null(strstr(wal_hole_text(a, evidence), ": it may be what was dropped by archive-push on "));
}

/* --- which matter --- */

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(random_state >> 33) % n;
}

static const char *random_name(struct arena *a)
{
	const char *segment = arena_printf(a, "%08X%08X%08X", below(3) + 1, below(2), below(8));

	switch (below(12)) {
	case 0:
		return arena_printf(a, "%s.partial", segment);
	case 1:
		return arena_printf(a, "%.8s.history", segment);
	case 2:
		return arena_printf(a, "%s.00000028.backup", segment);
	}
	return segment;
}

static bool has(const strvec *v, const char *name)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->v[i], name) == 0)
			return true;
	return false;
}

static void random_names(struct arena *a, strvec *v, uint32_t max)
{
	vec_init(v, a);
	for (uint32_t n = below(max); n > 0; n--) {
		const char *name = random_name(a);
		if (!has(v, name))
			vec_push(v, name);
	}
	if (v->n > 0)
		qsort(v->v, v->n, sizeof(*v->v), str_cmp_ptr);
}

/* Numbers instead of names. */
static bool model_wanted(const struct wal_wanted *w, const char *name)
{
	uint64_t timeline, high, low, t, h, l;

	if (w->starts.n == 0)
		return true;
	assert_true(str_hex_to_u64(name, 8, &timeline));
	for (size_t i = 0; i < w->starts.n; i++) {
		const char *s = w->starts.v[i];
		assert_true(str_hex_to_u64(s, 8, &t) && str_hex_to_u64(s + 8, 8, &h) && str_hex_to_u64(s + 16, 8, &l));
		if (t > timeline)
			continue;
		if (wal_kind(name) == WAL_HISTORY)
			return true;
		assert_true(str_hex_to_u64(name + 8, 8, &high) && str_hex_to_u64(name + 16, 8, &low));
		if ((h << 32 | l) <= (high << 32 | low))
			return true;
	}
	return false;
}

static bool model_lost(const wal_drops *drops, size_t note, const char *name, const strvec *there,
	const struct wal_wanted *w)
{
	for (size_t i = note + 1; i < drops->n; i++)
		if (has(&drops->v[i].files, name))
			return false;
	return !has(there, name) && model_wanted(w, name);
}

static bool between(const strvec *there, const char *first, const char *last)
{
	for (size_t i = 0; i < there->n; i++)
		if (strcmp(there->v[i], first) > 0 && strcmp(there->v[i], last) < 0)
			return true;
	return false;
}

static size_t check_note(const wal_drops *drops, size_t note, const strvec *there, const struct wal_wanted *w,
	const wal_losses *losses, size_t at)
{
	const struct wal_drop *d = &drops->v[note];
	size_t left = 0;

	for (size_t k = 0; k < d->files.n; k++) {
		const char *name = d->files.v[k];
		if (!model_lost(drops, note, name, there, w))
			continue;
		if (left == 0) {
			const struct wal_loss *l = &losses->v[at++];
			assert_true(at <= losses->n && l->drop == d);
			assert_string_equal(l->first, name);
			assert_false(between(there, l->first, l->last));
			assert_memory_equal(l->first, l->last, l->n > 1 ? 8 : strlen(l->first));
			const struct wal_loss *before = at > 1 ? l - 1 : NULL;
			if (before != NULL && before->drop == d && wal_kind(before->last) == WAL_SEGMENT &&
				wal_kind(name) == WAL_SEGMENT && strncmp(before->last, name, 8) == 0) {
				/* something stands between two ranges, though it may be a file that is noted too */
				bool parted = between(there, before->last, name);
				assert_true(parted || between(&d->files, before->last, name));
			}
			left = l->n;
		}
		left--;
		if (left == 0)
			assert_string_equal(losses->v[at - 1].last, name);
	}
	assert_int_equal(left, 0);
	return at;
}

static void one_history(uint64_t seed)
{
	SCOPED_ARENA(a);
	struct wal_wanted w = {.since = 1000000};
	wal_drops drops;
	wal_losses losses;
	strvec there;
	size_t at = 0;

	random_state = seed;
	vec_init(&drops, a);
	vec_init(&w.starts, a);
	for (uint32_t n = below(4); n > 0; n--)
		vec_push(&w.starts, arena_printf(a, "%08X%08X%08X", below(3) + 1, below(2), below(8)));
	for (uint32_t n = below(5); n > 0; n--) {
		struct wal_drop *d = vec_add(&drops);
		d->text = "text";
		d->when = 1000000 - 7200 + below(7200);
		random_names(a, &d->files, 12);
	}
	random_names(a, &there, 30);
	wal_losses_find(a, &drops, &there, &w, &losses);
	for (size_t i = 0; i < drops.n; i++) {
		const struct wal_drop *d = &drops.v[i];
		if (d->files.n == 0 && (w.starts.n == 0 || d->when >= w.since - 3600)) {
			assert_true(at < losses.n && losses.v[at].drop == d && losses.v[at].first == NULL);
			at++;
			continue;
		}
		at = check_note(&drops, i, &there, &w, &losses, at);
	}
	assert_int_equal(at, losses.n);
}

static void random_histories(void **state)
{
	const char *seed = getenv("SEED"), *cases = getenv("CASES");
	uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : 1;
	uint64_t n = cases != NULL ? strtoull(cases, NULL, 10) : 3000;

	for (uint64_t i = first; i < first + n; i++) {
		if (seed != NULL)
			print_message("SEED=%llu\n", (unsigned long long)i);
		one_history(i);
	}
}

/* From the archive itself: what is there counts with any hash and codec, and in between the notes. */
static void losses_of_an_archive(void **state)
{
	SCOPED_ARENA(a);
	struct store *s = store_mem(a);
	static const char *const names[] = {"000000010000000000000005", "000000010000000000000006",
		"000000010000000000000008", "000000010000000100000000"};
	const struct wal_drop d = make_note(a, ID_1, 4, names);
	struct buf text = text_of(a, &d);
	struct wal_wanted w = {.since = 0};
	wal_losses losses;

	vec_init(&w.starts, a);
	assert_int_equal(wal_losses_load(a, &PLACE(s), &w, &losses), 0);
	assert_int_equal(losses.n, 0);
	assert_int_equal(wal_drop_put(&PLACE(s), ID_1, &text), 0);
	must_write(s, DIR1 "000000010000000000000006-0123456789012345678901234567890123456789.zst", "x", 1);
	assert_int_equal(wal_losses_load(a, &PLACE(s), &w, &losses), 0);
	assert_int_equal(losses.n, 2);
	assert_int_equal(losses.v[0].n, 1);
	assert_non_null(strstr(wal_loss_text(a, &losses.v[0]),
		"WAL file 000000010000000000000005 was dropped by archive-push on "));
	assert_non_null(strstr(wal_loss_text(a, &losses.v[1]),
		"2 WAL files from 000000010000000000000008 to 000000010000000100000000 were dropped "));
	vec_push(&w.starts, "000000010000000100000000");
	assert_int_equal(wal_losses_load(a, &PLACE(s), &w, &losses), 0);
	assert_int_equal(losses.n, 1);
	assert_string_equal(losses.v[0].first, "000000010000000100000000");
}

/* --- the queue --- */

struct host {
	const char *dir, *wal, *spool;
	struct config cfg;
};

static struct host *host_new(struct arena *a)
{
	struct host *h = arena_new_object(a, struct host);

	h->dir = host_dir(a);
	h->wal = path_join(a, h->dir, "pg_wal");
	h->spool = path_join(a, h->dir, "spool/deep");
	h->cfg.stanza = STANZA;
	h->cfg.spool_path = h->spool;
	h->cfg.archive_push_queue_max = -1;
	assert_int_equal(dir_make(path_join(a, h->wal, "archive_status"), 0700), 0);
	return h;
}

static const char *segment(struct arena *a, unsigned n)
{
	return arena_printf(a, "0000000100000000%08X", n);
}

/* A file of that size without its bytes; status "": none. */
static void wal_file_new(struct arena *a, const struct host *h, const char *name, int64_t size, const char *status)
{
	const char *path = path_join(a, h->wal, name);
	const char *mark = arena_printf(a, "%s/archive_status/%s%s", h->wal, name, status);

	if (size >= 0) {
		assert_int_equal(file_replace(path, "", 0, 0600), 0);
		assert_int_equal(truncate(path, size), 0);
	}
	if (status[0] != '\0')
		assert_int_equal(file_replace(mark, "", 0, 0600), 0);
}

static bool is_full(struct arena *a, struct host *h, int64_t max, const char *text)
{
	const char *why;
	bool full;

	h->cfg.archive_push_queue_max = max;
	assert_int_equal(drop_queue_is_full(a, &h->cfg, h->wal, &full, &why), 0);
	if (full)
		assert_string_equal(why, text);
	else
		assert_null(why);
	return full;
}

static void queue_of(int64_t size, const char *text)
{
	SCOPED_ARENA(a);
	struct host *h = host_new(a);

	for (unsigned i = 1; i <= 3; i++)
		wal_file_new(a, h, segment(a, i), size, ".ready");
	wal_file_new(a, h, segment(a, 4), size, ".done");
	wal_file_new(a, h, segment(a, 5), size, "");
	wal_file_new(a, h, segment(a, 6), -1, ".ready"); /* gone */
	assert_false(is_full(a, h, -1, ""));
	assert_false(is_full(a, h, 3 * size, ""));
	assert_true(is_full(a, h, 3 * size - 1, text));
	wal_file_new(a, h, "00000002.history", 1, ".ready");
	text = arena_printf(a, "archive queue exceeded %s", str_size(a, (uint64_t)(3 * size)));
	assert_true(is_full(a, h, 3 * size, text));
	host_remove(h->dir);
}

static void queue(void **state)
{
	SCOPED_ARENA(a);
	struct host *h = host_new(a);

	queue_of(1 << 20, "archive queue exceeded 3MB");
	queue_of(64 << 20, "archive queue exceeded 192MB");
	queue_of(1 << 30, "archive queue exceeded 3GB");
	wal_file_new(a, h, segment(a, 1), 1, ".ready");
	assert_false(is_full(a, h, 1, ""));
	assert_true(is_full(a, h, 0, "archive queue exceeded 0B"));
	h->wal = path_join(a, h->dir, "elsewhere");
	assert_false(is_full(a, h, 0, ""));
	host_remove(h->dir);
}

/* --- noting --- */

/* All that the spool notes. */
static void spool_notes(struct arena *a, const struct host *h, wal_drops *out)
{
	const char *dir = path_join(a, h->spool, "pgstrata/demo/gap");
	struct dir_names names;
	int64_t when;

	vec_init(out, a);
	assert_int_equal(dir_list(a, dir, &names), 0);
	for (size_t i = 0; i < names.n; i++) {
		struct wal_drop d;
		struct buf text;
		if (!wal_drop_file_parse(names.v[i], &when))
			continue;
		buf_init(&text, a);
		assert_int_equal(file_read(path_join(a, dir, names.v[i]), WAL_PLAIN_MAX, &text), 0);
		assert_int_equal(wal_drop_parse(a, names.v[i], &text, &d), 0);
		vec_push(out, d);
	}
}

static int note_range(struct arena *a, const struct host *h, enum wal_drop_why why, unsigned first, unsigned n)
{
	strvec files;

	vec_init(&files, a);
	for (unsigned i = first + n; i > first; i--)
		vec_push(&files, segment(a, i - 1));
	return drop_note(a, &h->cfg, why, "archive queue exceeded 20MB", h->wal, &files);
}

static void notes(void **state)
{
	SCOPED_ARENA(a);
	struct host *h = host_new(a);
	wal_drops drops;

	/* one by one, as the foreground does: one note that grows */
	for (unsigned i = 1; i <= 20; i++)
		assert_int_equal(note_range(a, h, WAL_DROP_QUEUE, i, 1), 0);
	assert_int_equal(note_range(a, h, WAL_DROP_QUEUE, 20, 1), 0);
	spool_notes(a, h, &drops);
	assert_int_equal(drops.n, 1);
	assert_int_equal(drops.v[0].files.n, 20);
	/* for another reason: another note; many at once: as many as it takes, the last of which may have grown
	 * from the first (ids of one second are in any order) */
	assert_int_equal(note_range(a, h, WAL_DROP_SKIPPED, 21, 1), 0);
	assert_int_equal(note_range(a, h, WAL_DROP_QUEUE, 22, 2500), 0);
	spool_notes(a, h, &drops);
	assert_in_range(drops.n, 4, 5);
	for (unsigned i = 1; i < 2522; i++)
		assert_non_null(wal_drop_of(&drops, segment(a, i)));
	host_remove(h->dir);
}

/* What needs no room stays; unless somebody says that it is not wanted, or it is gone. */
static void small_files_are_kept(void **state)
{
	SCOPED_ARENA(a);
	struct host *h = host_new(a);
	const uint8_t *content = make_segment(a, 1, 5, 1);
	static const char text[] = "1\t0/5000000\tno reason\n";
	const char *kept = arena_printf(a, "%s/pgstrata/demo/gap/%llu/00000002.history", h->spool,
		(unsigned long long)SYSTEM_ID);
	wal_drops drops;
	strvec files;

	vec_init(&files, a);
	vec_push(&files, "00000002.history");
	vec_push(&files, NAME5);
	vec_push(&files, "00000003.history");
	assert_int_equal(file_replace(path_join(a, h->wal, NAME5), content, SEG, 0600), 0);
	assert_int_equal(file_replace(path_join(a, h->wal, "00000002.history"), text, sizeof(text) - 1, 0600), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(drop_note(a, &h->cfg, WAL_DROP_QUEUE, "full", h->wal, &files), 0);
	assert_true(host_has(a, kept, text, sizeof(text) - 1));
	spool_notes(a, h, &drops);
	assert_int_equal(drops.n, 1);
	assert_true(drops.v[0].system_id == SYSTEM_ID);
	assert_int_equal(drops.v[0].files.n, 2);
	assert_string_equal(drops.v[0].files.v[0], NAME5);
	assert_string_equal(drops.v[0].files.v[1], "00000003.history");

	assert_int_equal(file_replace(path_join(a, h->wal, "00000002.history"), "other", 5, 0600), 0);
	must_fail(drop_note(a, &h->cfg, WAL_DROP_QUEUE, "full", h->wal, &files), ERR_ARCHIVE_DUPLICATE,
		"is kept already with a different content");
	assert_true(host_has(a, kept, text, sizeof(text) - 1));
	assert_int_equal(drop_note(a, &h->cfg, WAL_DROP_SKIPPED, "by hand", h->wal, &files), 0);
	spool_notes(a, h, &drops);
	assert_int_equal(drops.n, 2);
	assert_non_null(wal_drop_of(&drops, "00000002.history"));
	host_remove(h->dir);
}

static void no_spool_no_drop(void **state)
{
	SCOPED_ARENA(a);
	struct host *h = host_new(a);

	assert_int_equal(file_replace(path_join(a, h->dir, "spool"), "", 0, 0600), 0);
	strvec other;
	vec_init(&other, a);
	vec_push(&other, "postgresql.conf");
	must_fail(drop_note(a, &h->cfg, WAL_DROP_QUEUE, "full", h->wal, &other), ERR_PARAM_INVALID,
		"'postgresql.conf' is not the name of a WAL file");
	must_fail(note_range(a, h, WAL_DROP_QUEUE, 1, 1), ERR_FILE_OPEN, "WAL cannot be dropped because no note of it");
	host_remove(h->dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(damage_is_refused),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(ids),
		cmocka_unit_test(stored),
		cmocka_unit_test(renamed_note),
		cmocka_unit_test(listing_that_fails),
		cmocka_unit_test(holes),
		cmocka_unit_test(random_histories),
		cmocka_unit_test(losses_of_an_archive),
		cmocka_unit_test(queue),
		cmocka_unit_test(notes),
		cmocka_unit_test(small_files_are_kept),
		cmocka_unit_test(no_spool_no_drop),
	};

	return cmocka_run_group_tests(tests, quiet, NULL);
}
