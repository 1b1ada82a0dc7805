/*
 * plan: the decision about each row, as tables; the cut into jobs; and random histories of a cluster with a coarse
 * clock, against what the files really held: nothing that is referenced unread may differ from what the prior has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/str.h"
#include "repo/plan.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define T0 1795000000 /* list time of the prior */
#define T1 (T0 + 1000) /* of the new backup */
#define FULL "20261120-100000F"
#define INCR "20261120-100000F_20261120-110000I"

static struct sum sum_of(uint64_t content)
{
	struct sum s;

	sha1_of(&content, sizeof(content), &s);
	return s;
}

static struct manifest *manifest_of(struct arena *a, const char *label, int64_t listed, bool online)
{
	struct manifest *m = manifest_new(a);

	m->label = label;
	m->online = online;
	m->copy_start = listed + (online ? 1 : 0);
	m->archive_stop = online ? "000000030000000000000009" : NULL;
	m->lsn_stop = online ? "0/9000100" : NULL;
	return m;
}

static struct manifest_file *add(struct manifest *m, const char *name, uint64_t size, int64_t mtime)
{
	struct manifest_file *f = vec_add(&m->files);

	f->name = name;
	f->user = f->group = "postgres";
	f->mode = 0600;
	f->size = f->size_orig = f->repo_size = size;
	f->mtime = f->ctime = mtime;
	return f;
}

static struct manifest_file *add_stored(struct manifest *m, const char *name, uint64_t size, int64_t mtime,
	uint64_t content)
{
	struct manifest_file *f = add(m, name, size, mtime);

	f->sum = size == 0 ? sum_empty : sum_of(content);
	f->has_sum = true;
	f->ctime = 0; /* as a loaded manifest has it */
	return f;
}

static const struct plan_opts online_opts = { .bundle_limit = 8192, .bundle_size = 1 << 20, .workers = 2,
	.start_segment = "00000003000000000000000A", .start_lsn = 0xA000028 };

/* ---- one row ---- */

enum { ABSENT = -1 };

static const struct row_case {
	const char *what, *name;
	int64_t size, mtime, ctime; /* now; ctime 0: as mtime */
	int64_t was_size, was_mtime;
	int64_t was_orig; /* 0: as was_size */
	bool bundle, delta, prior_bundle, offline;
	enum plan_action action;
} row_cases[] = {
	{ "unchanged", "pg_data/a", 10, T0 - 100, 0, 10, T0 - 100, 0, 0, 0, 0, 0, PLAN_REFERENCE },
	{ "unchanged, just settled", "pg_data/a", 10, T0 - 2, 0, 10, T0 - 2, 0, 0, 0, 0, 0, PLAN_REFERENCE },
	{ "modified shortly before the list", "pg_data/a", 10, T0 - 1, 0, 10, T0 - 1, 0, 0, 0, 0, 0, PLAN_COMPARE },
	{ "modified in the second of the list", "pg_data/a", 10, T0, 0, 10, T0, 0, 0, 0, 0, 0, PLAN_COMPARE },
	{ "came from the future then", "pg_data/a", 10, T0 + 500, 0, 10, T0 + 500, 0, 0, 0, 0, 0, PLAN_COMPARE },
	{ "came from the future, unchanged inode", "pg_data/a", 10, T0 + 500, T0 - 100, 10, T0 + 500, 0, 0, 0, 0, 0, PLAN_COMPARE },
	{ "no change time is known", "pg_data/a", 10, T0, 1, 10, T0, 0, 0, 0, 0, 0, PLAN_COMPARE },
	{ "offline has no second to spare", "pg_data/a", 10, T0 - 2, 0, 10, T0 - 2, 0, 0, 0, 0, 1, PLAN_COMPARE },
	{ "offline, settled", "pg_data/a", 10, T0 - 3, 0, 10, T0 - 3, 0, 0, 0, 0, 1, PLAN_REFERENCE },
	{ "time set back", "pg_data/a", 10, T0 - 100, T0 + 5, 10, T0 - 100, 0, 0, 0, 0, 0, PLAN_COMPARE },
	{ "touched", "pg_data/a", 10, T0 + 7, 0, 10, T0 - 100, 0, 0, 0, 0, 0, PLAN_COPY_IF_NEW },
	{ "grown", "pg_data/a", 11, T0 + 7, 0, 10, T0 - 100, 0, 0, 0, 0, 0, PLAN_COPY },
	{ "shrunk to what was listed", "pg_data/a", 8, T0 + 7, 0, 10, T0 - 100, 8, 0, 0, 0, 0, PLAN_COPY },
	{ "as long as was copied", "pg_data/a", 10, T0 + 7, 0, 10, T0 - 100, 8, 0, 0, 0, 0, PLAN_COPY_IF_NEW },
	{ "new", "pg_data/a", 10, T0 - 100, 0, ABSENT, 0, 0, 0, 0, 0, 0, PLAN_COPY },
	{ "delta: unchanged", "pg_data/a", 10, T0 - 100, 0, 10, T0 - 100, 0, 0, 1, 0, 0, PLAN_COMPARE },
	{ "delta: touched", "pg_data/a", 10, T0 + 7, 0, 10, T0 - 100, 0, 0, 1, 0, 0, PLAN_COMPARE },
	{ "delta: grown", "pg_data/a", 11, T0 + 7, 0, 10, T0 - 100, 0, 0, 1, 0, 0, PLAN_COPY },
	{ "empty as before", "pg_data/a", 0, T0 + 7, 0, 0, T0 - 100, 0, 0, 0, 0, 0, PLAN_REFERENCE },
	{ "empty as before, delta", "pg_data/a", 0, T0 + 7, 0, 0, T0 - 100, 0, 0, 1, 0, 0, PLAN_REFERENCE },
	{ "empty, but the prior stored no such files", "pg_data/a", 0, T0 - 100, 0, 0, T0 - 100, 0, 0, 0, 1, 0, PLAN_COPY },
	{ "empty now", "pg_data/a", 0, T0 + 7, 0, 10, T0 - 100, 0, 0, 0, 0, 0, PLAN_COPY },
	{ "empty then", "pg_data/a", 10, T0 + 7, 0, 0, T0 - 100, 0, 0, 0, 0, 0, PLAN_COPY },
	{ "empty, bundles", "pg_data/a", 0, T0 + 7, 0, 0, T0 - 100, 0, 1, 0, 0, 0, PLAN_EMPTY },
	{ "empty now, bundles", "pg_data/a", 0, T0 + 7, 0, 10, T0 - 100, 0, 1, 0, 1, 0, PLAN_EMPTY },
	{ "new and empty, bundles", "pg_data/a", 0, T0 + 7, 0, ABSENT, 0, 0, 1, 0, 0, 0, PLAN_EMPTY },
	{ "pg_control, online", "pg_data/global/pg_control", 8192, T0 - 100, 0, 8192, T0 - 100, 0, 0, 0, 0, 0, PLAN_COPY },
	{ "pg_control, offline", "pg_data/global/pg_control", 8192, T0 - 100, 0, 8192, T0 - 100, 0, 0, 0, 0, 1, PLAN_REFERENCE },
};

/* Sorted around the row in question, so that the walk over both lists is tried. */
static struct plan plan_row_case(struct arena *a, const struct row_case *c, struct manifest **m)
{
	struct manifest *prior = manifest_of(a, FULL, T0, !c->offline);
	struct plan_opts o = online_opts;
	struct plan p;

	*m = manifest_of(a, NULL, T1, !c->offline);
	add_stored(prior, "pg_data/@gone", 5, T0 - 100, 1);
	add(*m, "pg_data/@new", 5, T0 - 100);
	if (c->was_size != ABSENT) {
		struct manifest_file *was = add_stored(prior, c->name, (uint64_t)c->was_size, c->was_mtime, 2);
		if (c->was_orig != 0)
			was->size_orig = (uint64_t)c->was_orig;
	}
	struct manifest_file *f = add(*m, c->name, (uint64_t)c->size, c->mtime);
	if (c->ctime != 0)
		f->ctime = c->ctime;
	add_stored(prior, "pg_data/z", 5, T0 - 100, 3);
	add(*m, "pg_data/z", 5, T0 - 100);
	prior->bundle = c->prior_bundle;
	o.bundle = c->bundle;
	o.delta = c->delta;
	if (c->offline)
		o.start_segment = NULL;
	plan_backup(a, *m, prior, &o, &p);
	return p;
}

static void decides_by_row(void **state)
{
	for (size_t i = 0; i < COUNT(row_cases); i++) {
		SCOPED_ARENA(a);
		const struct row_case *c = &row_cases[i];
		struct manifest *m;
		struct plan p = plan_row_case(a, c, &m);
		const struct manifest_file *f = &m->files.v[1];

		if (p.rows[1].action != c->action)
			fail_msg("%s: %d instead of %d", c->what, p.rows[1].action, c->action);
		assert_int_equal(p.why, c->delta ? PLAN_ASKED : PLAN_TRUST);
		assert_int_equal(m->delta, c->delta);
		bool settled = c->action == PLAN_REFERENCE || c->action == PLAN_EMPTY;
		assert_int_equal(f->has_sum, settled);
		bool refers = settled ? c->action == PLAN_REFERENCE :
			c->action == PLAN_COMPARE || c->action == PLAN_COPY_IF_NEW;
		assert_int_equal(f->reference != NULL, refers);
		if (refers)
			assert_string_equal(f->reference, FULL);
		assert_int_equal(p.rows[0].action, PLAN_COPY);
		assert_int_equal(p.rows[2].action, c->delta ? PLAN_COMPARE : PLAN_REFERENCE);
		/* what only our own caution has us read does not count as a change */
		bool cautious = c->action == PLAN_COMPARE && !c->delta;
		assert_int_equal(p.asked, p.jobs.n == 0 ? 0 : (size_t)(1 + (!settled && !cautious) + c->delta));
	}
}

/* ---- what is taken over ---- */

static void takes_over_content_but_not_attributes(void **state)
{
	static const struct page_range bad[] = { { 3, 5 }, { 9, 9 } };
	SCOPED_ARENA(a);
	SCOPED_ARENA(gone);
	struct manifest *prior = manifest_of(gone, INCR, T0, true), *m = manifest_of(a, NULL, T1, true);
	struct plan p;

	struct manifest_file *was = add_stored(prior, "pg_data/base/5/1", 8192 * 10, T0 - 100, 7);
	*was = (struct manifest_file){ .name = was->name, .user = "old", .group = "old", .mode = 0640,
		.reference = FULL, .size = 81920, .size_orig = 81920, .repo_size = 777, .bundle = 4,
		.bundle_offset = 99, .mtime = T0 - 100, .bad = bad, .bad_n = 2, .block_size = 8192,
		.block_sum_size = 6, .block_map_size = 55, .sum = sum_of(7), .repo_sum = sum_of(8),
		.has_sum = true, .has_repo_sum = true, .page_check = true };
	add_stored(prior, "pg_data/base/5/2", 5, T0 - 100, 9);
	for (int i = 1; i <= 2; i++) {
		struct manifest_file *f = add(m, i == 1 ? "pg_data/base/5/1" : "pg_data/base/5/2",
			i == 1 ? 81920 : 5, T0 - 100);
		f->user = "new";
	}
	plan_backup(a, m, prior, &online_opts, &p);
	const struct manifest_file *f = &m->files.v[0];
	assert_int_equal(p.rows[0].action, PLAN_REFERENCE);
	/* the prior's memory must not be needed any more: write over it */
	char *label = arena_strdup(gone, INCR);
	prior->label = label;
	memset(was, 0x55, sizeof(*was));
	assert_string_equal(f->user, "new");
	assert_string_equal(f->group, "postgres");
	assert_int_equal(f->mode, 0600);
	assert_string_equal(f->reference, FULL);
	assert_int_equal(f->size, 81920);
	assert_int_equal(f->size_orig, 81920);
	assert_int_equal(f->repo_size, 777);
	assert_int_equal(f->bundle, 4);
	assert_int_equal(f->bundle_offset, 99);
	assert_int_equal(f->block_size, 8192);
	assert_int_equal(f->block_sum_size, 6);
	assert_int_equal(f->block_map_size, 55);
	assert_true(f->page_check && !f->page_ok && f->has_sum && f->has_repo_sum);
	assert_int_equal(f->bad_n, 2);
	assert_ptr_not_equal(f->bad, bad);
	assert_int_equal(f->bad[1].first, 9);
	struct sum plain = sum_of(7), stored = sum_of(8);
	assert_true(sum_equal(&f->sum, &plain) && sum_equal(&f->repo_sum, &stored));
	assert_string_equal(m->files.v[1].reference, INCR);
	/* copied after all, and blocks are off: only their size stays */
	plan_own(&m->files.v[0], &p.rows[0]);
	assert_null(f->reference);
	assert_true(f->bundle == 0 && f->bundle_offset == 0 && f->block_map_size == 0 && f->bad_n == 0);
	assert_false(f->page_check || f->has_sum || f->has_repo_sum);
	assert_int_equal(f->block_size, 8192);
}

/* A label must not dangle when the prior's memory goes. */
static void labels_are_our_own(void **state)
{
	SCOPED_ARENA(a);
	struct arena *gone = arena_new();
	struct manifest *prior = manifest_of(gone, arena_strdup(gone, INCR), T0, true);
	struct manifest *m = manifest_of(a, NULL, T1, true);
	struct plan p;

	for (int i = 0; i < 10; i++) {
		struct manifest_file *was = add_stored(prior, arena_printf(gone, "pg_data/%d", i), 5, T0 - 100, 7);
		if (i % 3 != 0)
			was->reference = arena_strdup(gone, FULL);
		add(m, arena_printf(a, "pg_data/%d", i), 5, T0 - 100);
	}
	plan_backup(a, m, prior, &online_opts, &p);
	arena_free(gone);
	for (int i = 0; i < 10; i++) {
		assert_string_equal(m->files.v[i].reference, i % 3 != 0 ? FULL : INCR);
		assert_ptr_equal(m->files.v[i].reference, m->files.v[i % 3 != 0 ? 1 : 0].reference);
	}
	assert_int_equal(p.jobs.n, 0);
}

/* ---- blocks (format/blocks.md 2.3) ---- */

enum { K = 1024, PAGE = 8192 };

static const struct block_case {
	const char *what;
	int64_t size, mtime; /* now */
	int64_t was_size;    /* ABSENT: not in the prior */
	uint32_t was_block, was_sum; /* bytes */
	uint64_t was_map;
	bool on, delta, prior_unproven;
	enum plan_action action;
	enum block_how how;
	uint32_t block_size, sum_size; /* planned */
} block_cases[] = {
	/* no prior row: the tables */
	{ "new", 16 * K, T0, ABSENT, 0, 0, 0, 1, 0, 0, PLAN_COPY, BLOCK_NEW, PAGE, 6 },
	{ "new, off", 16 * K, T0, ABSENT, 0, 0, 0, 0, 0, 0, PLAN_COPY, BLOCK_WHOLE, 0, 0 },
	{ "new, too small", 16 * K - 1, T0, ABSENT, 0, 0, 0, 1, 0, 0, PLAN_COPY, BLOCK_WHOLE, 0, 0 },
	{ "new, a week old", 20000, T1 - 7 * 86400, ABSENT, 0, 0, 0, 1, 0, 0, PLAN_COPY, BLOCK_NEW, 2 * PAGE, 6 },
	{ "new, a month old", 1 << 30, T1 - 28 * 86400, ABSENT, 0, 0, 0, 1, 0, 0, PLAN_COPY, BLOCK_WHOLE, 0, 0 },
	{ "new, large", 96 << 20, T0, ABSENT, 0, 0, 0, 1, 0, 0, PLAN_COPY, BLOCK_NEW, 4 * PAGE, 7 },
	{ "new and empty", 0, T0, ABSENT, 0, 0, 0, 1, 0, 0, PLAN_EMPTY, BLOCK_WHOLE, 0, 0 },
	/* the prior has a map */
	{ "map, grown", 90000, T0, 80000, 3 * PAGE, 9, 55, 1, 0, 0, PLAN_COPY, BLOCK_CONTINUE, 3 * PAGE, 9 },
	{ "map, shrunk", 3 * PAGE, T0, 80000, 3 * PAGE, 9, 55, 1, 0, 0, PLAN_COPY, BLOCK_CONTINUE, 3 * PAGE, 9 },
	{ "map, as large", 80000, T0, 80000, 3 * PAGE, 9, 55, 1, 0, 0, PLAN_COPY_IF_NEW, BLOCK_CONTINUE, 3 * PAGE, 9 },
	{ "map, as large, delta", 80000, T0, 80000, PAGE, 6, 55, 1, 1, 0, PLAN_COMPARE, BLOCK_CONTINUE, PAGE, 6 },
	{ "map, unchanged", 80000, T0 - 100, 80000, PAGE, 6, 55, 1, 0, 0, PLAN_REFERENCE, BLOCK_CONTINUE, PAGE, 6 },
	{ "map, below a block", 3 * PAGE - 1, T0, 80000, 3 * PAGE, 9, 55, 1, 0, 0, PLAN_COPY, BLOCK_NEW, PAGE, 6 },
	{ "map, below all", 4000, T0, 80000, PAGE, 6, 55, 1, 0, 0, PLAN_COPY, BLOCK_WHOLE, 0, 0 },
	{ "map, always below a block", 20000, T0, 20000, 4 * PAGE, 7, 33, 1, 0, 0, PLAN_COPY_IF_NEW, BLOCK_NEW, PAGE, 6 },
	{ "map, empty now", 0, T0, 80000, PAGE, 6, 55, 1, 0, 0, PLAN_EMPTY, BLOCK_WHOLE, 0, 0 },
	{ "map, off", 90000, T0, 80000, 3 * PAGE, 9, 55, 0, 0, 0, PLAN_COPY, BLOCK_WHOLE, 3 * PAGE, 9 },
	{ "map, as large, off", 80000, T0, 80000, 3 * PAGE, 9, 55, 0, 0, 0, PLAN_COPY_IF_NEW, BLOCK_WHOLE, 3 * PAGE, 9 },
	{ "map, below a block, off", 4000, T0, 80000, PAGE, 9, 55, 0, 0, 0, PLAN_COPY, BLOCK_WHOLE, 0, 0 },
	{ "map, old by now", 90000, T1 - 90 * 86400, 80000, PAGE, 6, 55, 1, 1, 0, PLAN_COPY, BLOCK_CONTINUE, PAGE, 6 },
	{ "map, no checksum", 90000, T0, 80000, 3 * PAGE, 9, 55, 1, 0, 1, PLAN_COPY, BLOCK_NEW, PAGE, 6 },
	{ "map, empty then", 90000, T0, 0, 3 * PAGE, 9, 30, 1, 0, 0, PLAN_COPY, BLOCK_NEW, PAGE, 6 },
	/* it has none */
	{ "whole, grown", 90000, T0, 80000, 0, 0, 0, 1, 0, 0, PLAN_COPY, BLOCK_NEW, PAGE, 6 },
	{ "whole, as large", 80000, T0, 80000, 0, 0, 0, 1, 0, 0, PLAN_COPY_IF_NEW, BLOCK_WHOLE, 0, 0 },
	{ "whole, as large, delta", 80000, T0, 80000, 0, 0, 0, 1, 1, 0, PLAN_COMPARE, BLOCK_WHOLE, 0, 0 },
	{ "block size only, as large", 80000, T0, 80000, 3 * PAGE, 9, 0, 1, 0, 0, PLAN_COPY_IF_NEW, BLOCK_NEW, 3 * PAGE, 9 },
	{ "block size only, as large, off", 80000, T0, 80000, 3 * PAGE, 9, 0, 0, 0, 0, PLAN_COPY_IF_NEW, BLOCK_WHOLE, 3 * PAGE, 9 },
	{ "block size only, grown", 90000, T0, 80000, 3 * PAGE, 9, 0, 1, 0, 0, PLAN_COPY, BLOCK_NEW, PAGE, 6 },
};

static void decides_about_blocks(void **state)
{
	for (size_t i = 0; i < COUNT(block_cases); i++) {
		SCOPED_ARENA(a);
		const struct block_case *c = &block_cases[i];
		struct manifest *prior = manifest_of(a, FULL, T0, true), *m = manifest_of(a, NULL, T1, true);
		struct plan_opts o = online_opts;
		struct block_rules rules;
		struct plan p;

		block_rules_init(&rules, a);
		m->start = T1;
		o.bundle = true;
		o.delta = c->delta;
		o.blocks = c->on ? &rules : NULL;
		if (c->was_size != ABSENT) {
			struct manifest_file *was = add_stored(prior, "pg_data/base/5/1", (uint64_t)c->was_size,
				c->mtime < T0 - 100 ? c->mtime : T0 - 100, 7);
			was->block_size = c->was_block;
			was->block_sum_size = c->was_sum;
			was->block_map_size = c->was_map;
			was->bundle = 4;
			was->bundle_offset = 99;
			was->repo_size = 777;
			was->has_sum = !c->prior_unproven;
		}
		add(m, "pg_data/base/5/1", (uint64_t)c->size, c->mtime);
		plan_backup(a, m, prior, &o, &p);

		struct manifest_file *f = &m->files.v[0];
		const struct plan_row *row = &p.rows[0];
		if (row->action != c->action || row->how != c->how || row->block_size != c->block_size ||
			row->block_sum_size != c->sum_size)
			fail_msg("%s: action %d, how %d, block size %u, sum size %u", c->what, row->action, row->how,
				row->block_size, row->block_sum_size);
		assert_int_equal(f->size_orig, c->size);
		if (c->how == BLOCK_CONTINUE) { /* the map can be found, and its content is known */
			struct sum was = sum_of(7);
			assert_string_equal(f->reference, FULL);
			assert_int_equal(f->size, c->was_size);
			assert_true(sum_equal(&f->sum, &was));
			assert_true(f->bundle == 4 && f->bundle_offset == 99 && f->repo_size == 777 &&
				f->block_map_size == c->was_map);
			assert_int_equal(f->block_size, c->was_block);
		} else if (c->action == PLAN_COPY) {
			assert_null(f->reference);
			assert_int_equal(f->size, c->size);
			assert_int_equal(f->block_map_size, 0);
		}
		if (c->action == PLAN_REFERENCE || c->action == PLAN_EMPTY)
			continue;
		plan_own(f, row);
		assert_int_equal(f->block_size, c->block_size);
		assert_int_equal(f->block_sum_size, c->sum_size);
		assert_true(f->block_map_size == 0 && f->reference == NULL && f->bundle == 0);
	}
}

/* Whatever the tables say: pg_control is stored whole. */
static void pg_control_is_never_blocks(void **state)
{
	SCOPED_ARENA(a);
	struct manifest *m = manifest_of(a, NULL, T1, true);
	struct plan_opts o = online_opts;
	struct block_rules rules;
	strvec keys, values;
	struct plan p;

	block_rules_init(&rules, a);
	vec_init(&keys, a);
	vec_init(&values, a);
	vec_push(&keys, "1");
	vec_push(&values, "8KiB");
	assert_int_equal(block_rules_set(&rules, BLOCK_TABLE_SIZE, "map", &keys, &values), 0);
	o.bundle = true;
	o.blocks = &rules;
	add(m, "pg_data/global/pg_control", 8192, T0);
	add(m, "pg_data/global/pg_filenode.map", 512, T0);
	plan_backup(a, m, NULL, &o, &p);
	assert_int_equal(p.rows[0].how, BLOCK_WHOLE);
	assert_int_equal(p.rows[0].block_size, 0);
	assert_int_equal(p.rows[1].how, BLOCK_NEW);
}

/* ---- why all rows are compared ---- */

static const struct why_case {
	const char *what;
	bool online, prior_online;
	const char *segment, *prior_stop, *prior_lsn;
	uint64_t lsn;
	int64_t mtime, was_mtime;
	uint64_t size, was_orig;
	bool full;
	enum plan_why why;
	const char *text, *hint;
} why_cases[] = {
	{ "nothing", true, true, "00000003000000000000000A", "000000030000000000000009", "0/9000100", 0xA000028,
		T0 - 9, T0 - 9, 5, 5, false, PLAN_TRUST, NULL, NULL },
	{ "timeline", true, true, "00000004000000000000000A", "000000030000000000000009", "0/9000100", 0xA000028,
		T0 - 9, T0 - 9, 5, 5, false, PLAN_TIMELINE,
		"a timeline switch has occurred since the " FULL " backup, enabling delta checksum",
		"this is normal after restoring from backup or promoting a standby." },
	{ "timeline back", true, true, "00000002000000000000000A", "000000030000000000000009", "0/9000100", 0xA000028,
		T0 - 9, T0 - 9, 5, 5, false, PLAN_TIMELINE,
		"a timeline switch has occurred since the " FULL " backup, enabling delta checksum",
		"this is normal after restoring from backup or promoting a standby." },
	{ "set back", true, true, "000000030000000000000008", "000000030000000000000009", "0/9000100", 0x8000028,
		T0 - 9, T0 - 9, 5, 5, false, PLAN_LSN,
		"the start of this backup (0/8000028) is not after the end of the " FULL " backup (0/9000100), "
		"enabling delta checksum", "has the data directory been set back to an earlier state, or exchanged?" },
	{ "just after", true, true, "000000030000000000000009", "000000030000000000000009", "0/9000100", 0x9000100,
		T0 - 9, T0 - 9, 5, 5, false, PLAN_TRUST, NULL, NULL },
	{ "no position", true, true, "00000003000000000000000A", "000000030000000000000009", NULL, 0xA000028,
		T0 - 9, T0 - 9, 5, 5, false, PLAN_LSN, NULL, NULL },
	{ "a bad position", true, true, "00000003000000000000000A", "000000030000000000000009", "9000100", 0xA000028,
		T0 - 9, T0 - 9, 5, 5, false, PLAN_LSN, NULL, NULL },
	{ "no segment", true, true, "00000003000000000000000A", NULL, "0/9000100", 0xA000028,
		T0 - 9, T0 - 9, 5, 5, false, PLAN_LSN, NULL, NULL },
	{ "online after offline", true, false, "00000003000000000000000A", NULL, NULL, 0xA000028, T0 - 9, T0 - 9, 5, 5,
		false, PLAN_ONLINE, "the online option has changed since the " FULL " backup, enabling delta checksum", NULL },
	{ "offline after online", false, true, NULL, "000000030000000000000009", "0/9000100", 0, T0 - 9, T0 - 9, 5, 5,
		false, PLAN_ONLINE, "the online option has changed since the " FULL " backup, enabling delta checksum", NULL },
	{ "offline after offline", false, false, NULL, NULL, NULL, 0, T0 - 9, T0 - 9, 5, 5, false, PLAN_TRUST, NULL, NULL },
	{ "a file from the future", true, true, "00000003000000000000000A", "000000030000000000000009", "0/9000100",
		0xA000028, T1 + 1, T0 - 9, 5, 5, false, PLAN_FUTURE,
		"file '/pg/f' has timestamp (1795001001) in the future (relative to copy start 1795001000), enabling delta "
		"checksum", NULL },
	{ "the present is no future", true, true, "00000003000000000000000A", "000000030000000000000009", "0/9000100",
		0xA000028, T1, T0 - 9, 5, 5, false, PLAN_TRUST, NULL, NULL },
	{ "offline, the present", false, false, NULL, NULL, NULL, 0, T1, T0 - 9, 5, 5, false, PLAN_TRUST, NULL, NULL },
	{ "offline, the future", false, false, NULL, NULL, NULL, 0, T1 + 1, T0 - 9, 5, 5, false, PLAN_FUTURE,
		"file '/pg/f' has timestamp (1795001001) in the future (relative to copy start 1795001000), enabling delta "
		"checksum", NULL },
	{ "full, from the future", true, true, "00000003000000000000000A", NULL, NULL, 0xA000028, T1 + 5, 0, 5, 5, true,
		PLAN_FUTURE, "file '/pg/f' has timestamp (1795001005) in the future (relative to copy start 1795001000), "
		"enabling delta checksum", NULL },
	{ "full", true, true, "00000003000000000000000A", NULL, NULL, 0xA000028, T1, 0, 5, 5, true, PLAN_TRUST, NULL, NULL },
	{ "earlier", true, true, "00000003000000000000000A", "000000030000000000000009", "0/9000100", 0xA000028,
		T0 - 10, T0 - 9, 5, 5, false, PLAN_EARLIER,
		"file '/pg/f' has timestamp earlier than prior backup (prior 1794999991, current 1794999990), enabling delta "
		"checksum", NULL },
	{ "resized", true, true, "00000003000000000000000A", "000000030000000000000009", "0/9000100", 0xA000028,
		T0 - 9, T0 - 9, 5, 6, false, PLAN_RESIZED,
		"file '/pg/f' has same timestamp (1794999991) as prior but different size (prior 6, current 5), enabling delta "
		"checksum", NULL },
	{ "resized and later", true, true, "00000003000000000000000A", "000000030000000000000009", "0/9000100", 0xA000028,
		T0 - 8, T0 - 9, 5, 6, false, PLAN_TRUST, NULL, NULL },
	{ "before the epoch", true, true, "00000003000000000000000A", "000000030000000000000009", "0/9000100", 0xA000028,
		-5, T0 - 9, 5, 5, false, PLAN_EARLIER,
		"file '/pg/f' has timestamp earlier than prior backup (prior 1794999991, current -5), enabling delta checksum",
		NULL },
};

static void says_why(void **state)
{
	for (size_t i = 0; i < COUNT(why_cases); i++) {
		SCOPED_ARENA(a);
		const struct why_case *c = &why_cases[i];
		struct manifest *prior = manifest_of(a, FULL, T0, c->prior_online);
		struct manifest *m = manifest_of(a, NULL, T1, c->online);
		struct plan_opts o = online_opts;
		struct plan p;
		const char *hint;

		prior->archive_stop = c->prior_stop;
		prior->lsn_stop = c->prior_lsn;
		o.start_segment = c->segment;
		o.start_lsn = c->lsn;
		add_stored(prior, "pg_data/f", 5, c->was_mtime, 1)->size_orig = c->was_orig;
		add(m, "pg_data/e", 5, T0 - 100);
		add(m, "pg_data/f", c->size, c->mtime);
		plan_backup(a, m, c->full ? NULL : prior, &o, &p);
		if (p.why != c->why)
			fail_msg("%s: %d instead of %d", c->what, p.why, c->why);
		assert_int_equal(p.delta, c->why != PLAN_TRUST);
		assert_int_equal(m->delta, p.delta);
		const char *text = plan_why_text(a, &p, prior, m, "/pg/f", &o, &hint);
		if (c->text != NULL)
			assert_string_equal(text, c->text);
		assert_int_equal(text == NULL, c->why == PLAN_TRUST);
		if (c->text != NULL && c->hint != NULL)
			assert_string_equal(hint, c->hint);
		if (strstr(c->text == NULL ? "" : c->text, "/pg/f") != NULL)
			assert_int_equal(p.why_row, 1);
		/* asked for: no reason is looked for */
		o.delta = true;
		plan_backup(a, m, c->full ? NULL : prior, &o, &p);
		assert_int_equal(p.why, PLAN_ASKED);
		assert_null(plan_why_text(a, &p, prior, m, "/pg/f", &o, &hint));
	}
}

/* ---- jobs ---- */

static int by_value(const void *x, const void *y)
{
	return memcmp(x, y, sizeof(uint32_t));
}

/* Each row that is worked on is in exactly one job; ids count from 1; sizes are bounded; the costliest first. */
static void check_jobs(const struct manifest *m, const struct plan_opts *o, const struct plan *p)
{
	SCOPED_ARENA(a);
	uint32_t *seen = arena_zalloc(a, (m->files.n + 1) * sizeof(*seen));
	uint32_t *ids = arena_zalloc(a, (p->jobs.n + 1) * sizeof(*ids));
	uint64_t total = 0, last = UINT64_MAX, works = 0;
	size_t bundles = 0;

	for (size_t i = 0; i < p->jobs.n; i++) {
		const struct plan_job *j = &p->jobs.v[i];
		uint64_t size = 0, before_last = 0;
		assert_true(j->n > 0);
		if (j->bundle != 0)
			ids[bundles++] = j->bundle;
		else
			assert_int_equal(j->n, 1);
		for (uint32_t k = 0; k < j->n; k++) {
			uint32_t row = p->order[j->first + k];
			const struct manifest_file *f = &m->files.v[row];
			assert_int_equal(seen[row]++, 0);
			assert_true(p->rows[row].action <= PLAN_COMPARE);
			assert_int_equal(j->bundle != 0, o->bundle && f->size_orig <= o->bundle_limit);
			before_last = size;
			size += f->size_orig;
		}
		assert_int_equal(size, j->size);
		if (j->bundle != 0)
			assert_true(before_last < o->bundle_size);
		assert_true(size + (uint64_t)j->n * 16384 <= last);
		last = size + (uint64_t)j->n * 16384;
		total += size;
	}
	assert_int_equal(total, p->total);
	qsort(ids, bundles, sizeof(*ids), by_value);
	for (size_t i = 0; i < m->files.n; i++) {
		bool work = p->rows[i].action <= PLAN_COMPARE;
		assert_int_equal(seen[i], work);
		works += work;
	}
	uint64_t sum = 0;
	for (size_t i = 0; i < bundles; i++)
		sum += ids[i];
	assert_int_equal(sum, (uint64_t)bundles * (bundles + 1) / 2);
	assert_true(p->asked <= works);
}

static void cuts_into_jobs(void **state)
{
	static const uint64_t sizes[] = { 0, 1, 8191, 8192, 8193, 100000, 1 << 20, 5 << 20 };

	for (unsigned seed = 1; seed <= 300; seed++) {
		SCOPED_ARENA(a);
		srand(seed);
		struct manifest *m = manifest_of(a, NULL, T1, true);
		struct plan_opts o = online_opts;
		struct plan p;
		int n = rand() % (seed % 10 == 0 ? 5000 : 60);

		o.bundle = rand() % 4 != 0;
		o.bundle_size = (uint64_t)1 << (20 + rand() % 5);
		o.bundle_limit = (uint64_t)8192 << (rand() % 8);
		o.workers = 1 + (unsigned)rand() % 5;
		for (int i = 0; i < n; i++)
			add(m, arena_printf(a, "pg_data/%06d", i), sizes[(size_t)rand() % COUNT(sizes)],
				T0 - rand() % 1000);
		plan_backup(a, m, NULL, &o, &p);
		check_jobs(m, &o, &p);
	}
}

/* Many tiny files are work for all, though they are few bytes. */
static void tiny_files_are_shared_out(void **state)
{
	SCOPED_ARENA(a);
	struct manifest *m = manifest_of(a, NULL, T1, true);
	struct plan_opts o = online_opts;
	struct plan p;

	o.bundle = true;
	o.bundle_size = 20 << 20;
	for (int i = 0; i < 20000; i++)
		add(m, arena_printf(a, "pg_data/%06d", i), 100, T0 - 100);
	plan_backup(a, m, NULL, &o, &p);
	check_jobs(m, &o, &p);
	assert_in_range(p.jobs.n, 8, 9);
	o.workers = 1;
	plan_backup(a, m, NULL, &o, &p);
	assert_int_equal(p.jobs.n, 1);
}

/* What is stored for sure is not mixed with what mostly proves unchanged. */
static void sure_copies_stand_together(void **state)
{
	SCOPED_ARENA(a);
	struct manifest *prior = manifest_of(a, FULL, T0, true), *m = manifest_of(a, NULL, T1, true);
	struct plan_opts o = online_opts;
	struct plan p;

	o.bundle = o.delta = true;
	for (int i = 0; i < 100; i++) {
		const char *name = arena_printf(a, "pg_data/%03d", i);
		if (i % 3 != 0)
			add_stored(prior, name, 5, T0 - 100, 1);
		add(m, name, 5, T0 - 100);
	}
	plan_backup(a, m, prior, &o, &p);
	check_jobs(m, &o, &p);
	for (int i = 0; i < 34; i++)
		assert_int_equal(p.rows[p.order[i]].action, PLAN_COPY);
}

/* ---- random histories against the truth ---- */

enum { FILES = 6, STEPS = 40 };

struct world {
	int64_t now;	 /* tenths of seconds */
	int64_t lag;	 /* the clock that stamps files is so far behind, tenths */
	struct { bool there; uint64_t content, size; int64_t mtime, ctime; } f[FILES];
	uint64_t next;
};

static int64_t stamp(const struct world *w)
{
	return (w->now - w->lag) / 10;
}

static void change_file(struct world *w, int i)
{
	int what = rand() % 12;

	w->f[i].ctime = stamp(w);
	if (!w->f[i].there || what == 0) {
		w->f[i].there = what != 1;
		w->f[i].size = 1 + (uint64_t)rand() % 3;
		w->f[i].content = ++w->next;
		w->f[i].mtime = stamp(w);
	} else if (what == 1) {
		w->f[i].there = false;
	} else if (what == 2) {
		w->f[i].mtime = stamp(w); /* touched */
	} else if (what == 3) {
		w->f[i].content = ++w->next; /* changed, and its time restored */
	} else if (what == 4) {
		w->f[i].mtime = stamp(w) + rand() % 5; /* copied from a host whose clock is ahead */
	} else {
		w->f[i].content = ++w->next;
		w->f[i].mtime = stamp(w);
		if (what < 7)
			w->f[i].size = 1 + (uint64_t)rand() % 3;
	}
}

static void pass_time(struct world *w, int tenths)
{
	for (int i = 0; i < tenths; i++) {
		w->now++;
		if (rand() % 3 == 0)
			change_file(w, rand() % FILES);
	}
}

static struct manifest *list_files(struct arena *a, const struct world *w, const char *label)
{
	struct manifest *m = manifest_of(a, label, w->now / 10, true);

	for (int i = 0; i < FILES; i++) {
		if (!w->f[i].there)
			continue;
		struct manifest_file *f = add(m, arena_printf(a, "pg_data/%d", i), w->f[i].size, w->f[i].mtime);
		f->ctime = w->f[i].ctime;
	}
	return m;
}

/*
 * One backup: list, plan, wait for the next second, look at each file at some later moment.  The rows then tell the
 * content that was really found; what was not looked at must be what the file held when it was listed.
 */
static struct manifest *back_up(struct arena *a, struct world *w, const struct manifest *prior, unsigned seed)
{
	struct manifest *m = list_files(a, w, INCR);
	const struct world then = *w;
	struct plan_opts o = online_opts;
	struct plan p;

	o.delta = rand() % 8 == 0;
	plan_backup(a, m, prior, &o, &p);
	pass_time(w, (int)(10 - w->now % 10));
	for (size_t i = 0; i < m->files.n; i++) {
		struct manifest_file *f = &m->files.v[i];
		int k = atoi(f->name + strlen("pg_data/"));
		if (p.rows[i].action == PLAN_REFERENCE) {
			struct sum truth = sum_of(then.f[k].content);
			if (!sum_equal(&f->sum, &truth))
				fail_msg("seed %u: file %d is referenced with content that it has not", seed, k);
			continue;
		}
		pass_time(w, rand() % 3);
		if (!w->f[k].there) { /* vanished */
			memmove(f, f + 1, (m->files.n - i - 1) * sizeof(*f));
			memmove(&p.rows[i], &p.rows[i + 1], (m->files.n - i - 1) * sizeof(*p.rows));
			m->files.n--;
			i--;
			continue;
		}
		struct sum now = sum_of(w->f[k].content);
		if (p.rows[i].action == PLAN_COPY || !sum_equal(&now, &f->sum))
			plan_own(f, &p.rows[i]);
		f->sum = now;
		f->has_sum = true;
		f->size = w->f[k].size;
	}
	return m;
}

static void never_refers_to_what_changed(void **state)
{
	const char *given = getenv("SEED"), *rounds = getenv("ROUNDS");
	unsigned first = given == NULL ? 1 : (unsigned)strtoul(given, NULL, 10);
	unsigned n = rounds == NULL ? 3000 : (unsigned)strtoul(rounds, NULL, 10);

	for (unsigned seed = first; seed < first + n; seed++) {
		SCOPED_ARENA(a);
		struct world w = { .now = (int64_t)T0 * 10, .next = 0 };
		struct manifest *prior = NULL;

		srand(seed);
		w.lag = rand() % 2 == 0 ? 0 : rand() % 10;
		w.now += rand() % 10;
		for (int step = 0; step < STEPS; step++) {
			prior = back_up(a, &w, prior, seed);
			pass_time(&w, rand() % 4 == 0 ? rand() % 60 : rand() % 12);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decides_by_row),
		cmocka_unit_test(takes_over_content_but_not_attributes),
		cmocka_unit_test(labels_are_our_own),
		cmocka_unit_test(decides_about_blocks),
		cmocka_unit_test(pg_control_is_never_blocks),
		cmocka_unit_test(says_why),
		cmocka_unit_test(cuts_into_jobs),
		cmocka_unit_test(tiny_files_are_shared_out),
		cmocka_unit_test(sure_copies_stand_together),
		cmocka_unit_test(never_refers_to_what_changed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
