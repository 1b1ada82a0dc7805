/*
 * plan, with two servers: what a prior that was copied from a standby allows to refer to unread, and jobs that are for
 * one server each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "repo/plan.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define START 1795000000 /* of the prior; its list was made a minute later */
#define LISTED (START + 60)
#define FULL "20261120-100000F"

static const struct plan_opts opts = { .bundle_limit = 8192, .bundle_size = 1 << 20, .workers = 1,
	.start_segment = "00000003000000000000000A", .start_lsn = 0xA000028 };

static struct manifest *manifest_of(struct arena *a, bool prior, bool standby)
{
	struct manifest *m = manifest_new(a);

	m->online = true;
	m->copy_start = (prior ? LISTED : LISTED + 1000) + 1;
	if (!prior)
		return m;
	m->label = FULL;
	m->start = START;
	m->backup_standby = standby;
	m->archive_stop = "000000030000000000000009";
	m->lsn_stop = "0/9000100";
	return m;
}

static struct manifest_file *add(struct manifest *m, const char *name, uint64_t size, int64_t mtime, bool bounded)
{
	struct manifest_file *f = vec_add(&m->files);

	f->name = name;
	f->user = f->group = "postgres";
	f->size = f->size_orig = f->repo_size = size;
	f->mtime = f->ctime = mtime;
	f->copy_bounded = bounded;
	return f;
}

static const struct row_case {
	const char *what;
	int64_t mtime;
	bool standby, bounded; /* where the prior was copied from; is the file one that a standby has? */
	enum plan_action action;
} row_cases[] = {
	{ "long before the start", START - 100, true, true, PLAN_REFERENCE },
	{ "just before", START - 3, true, true, PLAN_REFERENCE },
	{ "too close to the start", START - 2, true, true, PLAN_COMPARE },
	{ "between start and list", START + 30, true, true, PLAN_COMPARE },
	{ "between start and list, from the primary", START + 30, false, true, PLAN_REFERENCE },
	{ "between start and list, always the primary's", START + 30, true, false, PLAN_REFERENCE },
	{ "too close to the list, from the primary", LISTED - 1, false, true, PLAN_COMPARE },
	{ "too close to the list, always the primary's", LISTED - 1, true, false, PLAN_COMPARE },
};

static void trusts_what_the_standby_had(void **state)
{
	for (size_t i = 0; i < COUNT(row_cases); i++) {
		SCOPED_ARENA(a);
		const struct row_case *c = &row_cases[i];
		struct manifest *prior = manifest_of(a, true, c->standby), *m = manifest_of(a, false, false);
		struct plan p;

		add(prior, "pg_data/base/5/1", 8192, c->mtime, false)->has_sum = true;
		add(m, "pg_data/base/5/1", 8192, c->mtime, c->bounded);
		plan_backup(a, m, prior, &opts, &p);
		if (p.rows[0].action != c->action)
			fail_msg("%s: %d instead of %d", c->what, p.rows[0].action, c->action);
		assert_int_equal(p.why, PLAN_TRUST);
	}
}

/* The list of the prior was longer than what the standby had: equal times do not make it equal. */
static void copies_what_was_shorter_there(void **state)
{
	SCOPED_ARENA(a);
	struct manifest *prior = manifest_of(a, true, true), *m = manifest_of(a, false, false);
	struct plan p;

	struct manifest_file *was = add(prior, "pg_data/base/5/1", 16384, START - 100, false);
	was->has_sum = true;
	was->size = 8192;
	add(m, "pg_data/base/5/1", 16384, START - 100, true);
	plan_backup(a, m, prior, &opts, &p);
	assert_int_equal(p.rows[0].action, PLAN_COPY);
	assert_null(m->files.v[0].reference);
}

/* Small files of both kinds in turns, and a large one of each. */
static void keeps_servers_apart(void **state)
{
	for (int apart = 0; apart < 2; apart++) {
		SCOPED_ARENA(a);
		struct manifest *m = manifest_of(a, false, false);
		struct plan_opts o = opts;
		struct plan p;
		size_t rows = 0, of_kind[2] = { 0, 0 };

		for (int i = 0; i < 40; i++)
			add(m, arena_printf(a, "pg_data/%s/%02d", i % 2 ? "base" : "log", i), i > 37 ? 1 << 20 : 100,
				START, i % 2);
		manifest_sort(m);
		o.bundle = true;
		o.apart = apart;
		plan_backup(a, m, NULL, &o, &p);
		bool mixed = false;
		for (size_t i = 0; i < p.jobs.n; i++) {
			const struct plan_job *j = &p.jobs.v[i];
			rows += j->n;
			of_kind[j->bounded]++;
			for (uint32_t k = 0; k < j->n; k++)
				mixed |= m->files.v[p.order[j->first + k]].copy_bounded != j->bounded;
		}
		assert_int_equal(rows, 40);
		assert_int_equal(mixed, !apart);
		/* the two large ones, and one bundle or one for each server */
		assert_int_equal(p.jobs.n, apart ? 4 : 3);
		if (apart)
			assert_true(of_kind[0] == 2 && of_kind[1] == 2);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(trusts_what_the_standby_had),
		cmocka_unit_test(copies_what_was_shorter_there),
		cmocka_unit_test(keeps_servers_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
