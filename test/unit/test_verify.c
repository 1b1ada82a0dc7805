/*
 * verify: from manifests to what is stored, and from findings to the report.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/str.h"
#include "cmd/verify_intern.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FULL "20261120-115146F"
#define DIFF FULL "_20261120-115148D"
#define INCR FULL "_20261120-115150I"

/* --- objects --- */

static struct manifest *new_manifest(struct arena *a, const char *label, const char *references, bool bundle)
{
	struct manifest *m = manifest_new(a);
	strvec words = str_split(a, references, ' ');

	m->label = label;
	m->bundle = bundle;
	m->codec = CODEC_ZST;
	for (size_t i = 0; i < words.n; i++)
		vec_push(&m->reference, words.v[i]);
	return m;
}

/* A row with content; the sum follows from seed. */
static struct manifest_file *add_row(struct manifest *m, const char *name, const char *reference, unsigned seed)
{
	struct manifest_file *f = vec_add(&m->files);

	f->name = name;
	f->reference = reference;
	f->size = 100;
	f->repo_size = 50;
	f->has_sum = f->has_repo_sum = true;
	f->repo_sum.bytes[0] = (uint8_t)seed;
	f->sum.bytes[0] = (uint8_t)(seed + 100);
	return f;
}

static struct manifest_file *add_member(struct manifest *m, const char *name, const char *reference, uint32_t bundle,
	uint64_t offset, unsigned seed)
{
	struct manifest_file *f = add_row(m, name, reference, seed);

	f->bundle = bundle;
	f->bundle_offset = offset;
	return f;
}

/* "0 1": what a backup needs. */
static const char *take(struct arena *a, struct verify_objects *o, const struct manifest *m)
{
	verify_uses uses;
	struct buf b;

	vec_init(&uses, a);
	buf_init(&b, a);
	verify_objects_take(o, m, &uses);
	for (size_t i = 0; i < uses.n; i++)
		buf_addf(&b, "%s%u", i == 0 ? "" : " ", (unsigned)uses.v[i]);
	return b.data;
}

static void what_is_inherited_is_one_thing(void **state)
{
	SCOPED_ARENA(a);
	struct verify_objects o;
	struct manifest *f = new_manifest(a, FULL, FULL, false), *d = new_manifest(a, DIFF, FULL " " DIFF, false);

	verify_objects_init(&o, a);
	add_row(f, "pg_data/a", NULL, 1);
	add_row(f, "pg_data/b", NULL, 2);
	add_row(d, "pg_data/a", FULL, 1);
	add_row(d, "pg_data/b", NULL, 3);
	assert_string_equal(take(a, &o, f), "0 1");
	assert_string_equal(take(a, &o, d), "0 2");
	assert_string_equal(verify_object_path(a, "demo", &o, &o.v.v[0]), "backup/demo/" FULL "/pg_data/a.zst");
	assert_string_equal(verify_object_path(a, "demo", &o, &o.v.v[2]), "backup/demo/" DIFF "/pg_data/b.zst");
	/* an heir that expects something else of it: both are looked at */
	struct manifest *i = new_manifest(a, INCR, FULL " " INCR, false);
	add_row(i, "pg_data/a", FULL, 9);
	add_row(i, "pg_data/b", FULL, 2);
	assert_string_equal(take(a, &o, i), "3 1");
}

static void members_are_told_apart_by_their_place(void **state)
{
	SCOPED_ARENA(a);
	struct verify_objects o;
	struct manifest *f = new_manifest(a, FULL, FULL, true), *d = new_manifest(a, DIFF, FULL " " DIFF, true);

	verify_objects_init(&o, a);
	f->bundle_raw = true;
	add_member(f, "pg_data/a", NULL, 1, 0, 1);
	add_member(f, "pg_data/b", NULL, 1, 50, 2);
	add_member(f, "pg_data/c", NULL, 2, 0, 3);
	add_row(f, "pg_data/d", NULL, 4);
	d->bundle_raw = true;
	add_member(d, "pg_data/a", NULL, 1, 0, 1);
	add_member(d, "pg_data/b", FULL, 1, 50, 2);
	assert_string_equal(take(a, &o, f), "0 1 2 3");
	assert_string_equal(take(a, &o, d), "4 1");
	assert_string_equal(verify_object_path(a, "demo", &o, &o.v.v[4]), "backup/demo/" DIFF "/bundle/1");
	assert_true(o.v.v[0].raw);
	assert_false(o.v.v[3].raw);
}

/* format/blocks.md 1.6 */
static void nothing_is_expected_where_nothing_is_stored(void **state)
{
	static const struct {
		const char *name;
		bool bundle, rck;
		const char *reference;
		bool stored;
	} cases[] = {
		{ "with bundles: not stored", true, false, NULL, false },
		{ "without: an empty stream", false, true, NULL, true },
		{ "without, not compressed: an empty file", false, false, NULL, true },
		{ "inherited stream", true, true, FULL, true },
		{ "inherited, who knows from what", false, false, FULL, false },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct verify_objects o;
		struct manifest *m = new_manifest(a, DIFF, FULL " " DIFF, cases[i].bundle);
		struct manifest_file *f = add_row(m, "pg_data/empty", cases[i].reference, 1);
		verify_objects_init(&o, a);
		f->size = 0;
		f->repo_size = cases[i].rck ? 9 : 0;
		f->has_repo_sum = cases[i].rck;
		if (strcmp(take(a, &o, m), cases[i].stored ? "0" : "") != 0)
			fail_msg("%s", cases[i].name);
		if (!cases[i].stored)
			continue;
		assert_true(o.v.v[0].empty);
		assert_true(sum_equal(&o.v.v[0].sum, cases[i].rck ? &f->repo_sum : &sum_empty));
	}
}

static void without_a_sum_of_what_is_stored_it_is_expanded(void **state)
{
	SCOPED_ARENA(a);
	struct verify_objects o;
	struct manifest *m = new_manifest(a, FULL, FULL, false);
	struct manifest_file *f = add_row(m, "pg_data/pg_wal/000000010000000000000003", NULL, 1);

	verify_objects_init(&o, a);
	f->has_repo_sum = false;
	take(a, &o, m);
	assert_false(o.v.v[0].as_stored);
	assert_int_equal(o.v.v[0].size, 100);
	assert_true(sum_equal(&o.v.v[0].sum, &f->sum));
	assert_int_equal(o.v.v[0].codec, CODEC_ZST);
}

static void add_blocks(struct manifest *m, const char *name, const char *reference, unsigned seed)
{
	struct manifest_file *f = add_row(m, name, reference, seed);

	f->block_size = 8192;
	f->block_map_size = 30;
}

/* "L L": the backups that the references of an object's map are of. */
static const char *list_of(struct arena *a, const struct verify_objects *o, uint32_t object)
{
	uint32_t list = o->maps.v[o->v.v[object].map - 1].list;
	const uint32_t *labels = verify_list_labels(a, o, list);
	strvec words;

	vec_init(&words, a);
	for (uint32_t i = 0; list != 0 && i < o->lists.v[list - 1].n; i++)
		vec_push(&words, o->labels.v[labels[i]].label);
	return str_join(a, &words, " ");
}

static void maps_know_their_references(void **state)
{
	SCOPED_ARENA(a);
	struct verify_objects o;
	struct manifest *f = new_manifest(a, FULL, FULL, false), *d = new_manifest(a, DIFF, FULL " " DIFF, false);
	struct manifest *i = new_manifest(a, INCR, FULL " " DIFF " " INCR, false);
	struct manifest *other = new_manifest(a, INCR, DIFF " " FULL " " INCR, false);
	struct manifest *without = new_manifest(a, INCR, INCR, false);

	verify_objects_init(&o, a);
	add_blocks(f, "pg_data/a", NULL, 1);
	add_blocks(f, "pg_data/b", NULL, 2);
	add_blocks(d, "pg_data/a", NULL, 3);
	add_row(d, "pg_data/b", NULL, 4);
	add_blocks(i, "pg_data/a", NULL, 5);
	add_blocks(i, "pg_data/b", FULL, 2);
	assert_string_equal(take(a, &o, f), "0 1");
	assert_string_equal(take(a, &o, d), "2 3");
	assert_string_equal(take(a, &o, i), "4 1");
	assert_string_equal(list_of(a, &o, 0), FULL);
	assert_string_equal(list_of(a, &o, 2), FULL " " DIFF);
	assert_string_equal(list_of(a, &o, 4), FULL " " DIFF " " INCR);
	assert_int_equal(o.v.v[3].map, 0);
	assert_string_equal(verify_object_path(a, "demo", &o, &o.v.v[0]), "backup/demo/" FULL "/pg_data/a.pgbi");
	/* the same numbers in a map mean other backups: it is looked at once more */
	add_blocks(other, "pg_data/a", DIFF, 3);
	assert_string_equal(take(a, &o, other), "5");
	assert_string_equal(list_of(a, &o, 5), DIFF);
	add_blocks(without, "pg_data/a", DIFF, 3);
	assert_string_equal(take(a, &o, without), "6");
	assert_string_equal(list_of(a, &o, 6), "");
	/* and so it is if the file should be another one, or its blocks larger */
	add_blocks(i, "pg_data/a", DIFF, 3);
	i->files.v[2].size++;
	add_blocks(i, "pg_data/a", DIFF, 3);
	i->files.v[3].block_size *= 2;
	assert_string_equal(take(a, &o, i), "4 1 7 8");
}

/* For one backup alone, only of what it has itself the blocks of others count. */
static void of_other_backups_only_blocks_are_taken(void **state)
{
	SCOPED_ARENA(a);
	struct verify_objects o;
	struct manifest *f = new_manifest(a, FULL, FULL, false), *i = new_manifest(a, INCR, FULL " " INCR, false);

	verify_objects_init(&o, a);
	add_blocks(i, "pg_data/a", NULL, 1);
	add_row(i, "pg_data/b", NULL, 2);
	add_blocks(f, "pg_data/a", NULL, 3);
	add_blocks(f, "pg_data/b", NULL, 4);
	add_blocks(f, "pg_data/c", NULL, 5);
	add_row(f, "pg_data/d", NULL, 6);
	assert_string_equal(take(a, &o, i), "0 1");
	verify_objects_take(&o, f, NULL);
	assert_int_equal(o.v.n, 3);
	assert_string_equal(o.v.v[2].name, "pg_data/a");
	assert_string_equal(o.labels.v[o.v.v[2].label].label, FULL);
}

static void needs_of_a_worker_are_not_believed(void **state)
{
	SCOPED_ARENA(a);
	struct verify_objects o;
	struct manifest *i = new_manifest(a, INCR, FULL " " INCR, false);
	struct verify_need needs[2] = { { 0, 0, 5, 9 }, { 1, 2, 0, 7 } };

	verify_objects_init(&o, a);
	add_blocks(i, "pg_data/a", NULL, 1);
	add_row(i, "pg_data/b", NULL, 2);
	take(a, &o, i);
	assert_true(verify_map_take(&o, &o.v.v[0], needs, sizeof(needs)));
	assert_int_equal(o.maps.v[0].needs_n, 2);
	assert_int_equal(o.maps.v[0].needs[1].end, 7);
	assert_false(verify_map_take(&o, &o.v.v[0], needs, sizeof(needs) - 1));
	assert_false(verify_map_take(&o, &o.v.v[1], needs, sizeof(needs)));
	needs[1].label = 2;
	assert_false(verify_map_take(&o, &o.v.v[0], needs, sizeof(needs)));
}

static void many_objects_are_found_again(void **state)
{
	SCOPED_ARENA(a);
	struct verify_objects o;
	struct verify_object x = { .label = 0, .as_stored = true };

	verify_objects_init(&o, a);
	verify_label(&o, FULL, NULL);
	for (uint32_t round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 50000; i++) {
			x.name = arena_printf(a, "pg_data/base/%u/%u", i % 7, i);
			x.offset = i % 3;
			assert_int_equal(verify_object_add(&o, &x, NULL), i);
		}
	assert_int_equal(o.v.n, 50000);
}

/* --- the report --- */


static void text_is(struct arena *a, struct verify *v, bool verbose, const char *want)
{
	struct buf b;

	buf_init(&b, a);
	bool any = verify_text(v, verbose, &b);
	assert_string_equal(b.data, want);
	assert_true(any == (want[0] != '\0'));
}

static void init_verify(struct arena *a, struct verify *v)
{
	*v = (struct verify){ .arena = a, .stanza = "demo" };
	vec_init(&v->lines, a);
	vec_init(&v->finds, a);
	vec_init(&v->backups, a);
	vec_init(&v->archives, a);
}

static void add_parts(struct verify *v)
{
	vec_push(&v->archives, ((struct verify_archive){ .id = "18-1", .total = 11, .valid = 11 }));
	vec_push(&v->backups, ((struct verify_backup){ .label = FULL, .listed = true, .total = 1883 }));
}

static void the_report_has_its_form(void **state)
{
	SCOPED_ARENA(a);
	struct verify v;

	init_verify(a, &v);
	add_parts(&v);
	text_is(a, &v, false, "");
	text_is(a, &v, true, "stanza: demo\nstatus: ok\n"
		"  archiveId: 18-1, total WAL checked: 11, total valid WAL: 11\n"
		"    missing: 0, checksum invalid: 0, size invalid: 0, other: 0\n"
		"  backup: " FULL ", status: valid, total files checked: 1883, total valid files: 1883\n"
		"    missing: 0, checksum invalid: 0, size invalid: 0, other: 0");
	v.archives.v[0].valid = 10;
	verify_count(&v.archives.v[0].counts, CHECK_UNREAD);
	v.backups.v[0].status = VERIFY_INVALID;
	v.backups.v[0].wrong = 2;
	verify_count(&v.backups.v[0].counts, CHECK_MISSING);
	verify_count(&v.backups.v[0].counts, CHECK_SUM);
	verify_find(&v, "something");
	text_is(a, &v, false, "stanza: demo\nstatus: error\n"
		"  archiveId: 18-1, total WAL checked: 11, total valid WAL: 10\n"
		"    other: 1\n"
		"  backup: " FULL ", status: invalid, total files checked: 1883, total valid files: 1881\n"
		"    missing: 1, checksum invalid: 1");
}

static void empty_and_unfinished_have_no_counters(void **state)
{
	SCOPED_ARENA(a);
	struct verify v;

	init_verify(a, &v);
	vec_push(&v.archives, ((struct verify_archive){ .id = "18-1" }));
	vec_push(&v.backups, ((struct verify_backup){ .label = FULL, .status = VERIFY_NO_MANIFEST }));
	vec_push(&v.backups, ((struct verify_backup){ .label = DIFF, .status = VERIFY_IN_PROGRESS }));
	vec_push(&v.backups, ((struct verify_backup){ .label = INCR, .gone = true }));
	text_is(a, &v, false, "");
	text_is(a, &v, true, "stanza: demo\nstatus: ok\n"
		"  archiveId: 18-1, total WAL checked: 0, total valid WAL: 0\n"
		"  backup: " FULL ", status: manifest missing, total files checked: 0, total valid files: 0\n"
		"  backup: " DIFF ", status: in-progress, total files checked: 0, total valid files: 0");
	v.backups.v[0].listed = true;
	verify_find(&v, "something");
	text_is(a, &v, false, "stanza: demo\nstatus: error\n"
		"  backup: " FULL ", status: manifest missing, total files checked: 0, total valid files: 0");
}

static void what_cannot_be_done_stands_first(void **state)
{
	SCOPED_ARENA(a);
	struct verify v;

	init_verify(a, &v);
	vec_push(&v.lines, "No usable backup.info file");
	vec_push(&v.lines, "No usable archive.info file");
	text_is(a, &v, false, "stanza: demo\nstatus: error\n  No usable backup.info file\n  No usable archive.info file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_inherited_is_one_thing),
		cmocka_unit_test(members_are_told_apart_by_their_place),
		cmocka_unit_test(nothing_is_expected_where_nothing_is_stored),
		cmocka_unit_test(without_a_sum_of_what_is_stored_it_is_expanded),
		cmocka_unit_test(maps_know_their_references),
		cmocka_unit_test(of_other_backups_only_blocks_are_taken),
		cmocka_unit_test(needs_of_a_worker_are_not_believed),
		cmocka_unit_test(many_objects_are_found_again),
		cmocka_unit_test(the_report_has_its_form),
		cmocka_unit_test(empty_and_unfinished_have_no_counters),
		cmocka_unit_test(what_cannot_be_done_stands_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
