/*
 * block_size: three tables and one decision.
 *
 * The older a file, the less of it changes and the larger its blocks; the larger a file, the larger its blocks,
 * which keeps the map of any file near the size of one of them.
 */
#include "repo/block_size.h"

#include <stdlib.h>

#include "base/str.h"
#include "repo/block_map.h"

#define KIB(n) ((uint32_t)(n) << 10)
#define MIB(n) ((uint32_t)(n) << 20)
#define SECONDS_PER_DAY 86400u

static const struct block_row sizes[] = {
	{ MIB(914), KIB(88) }, { MIB(740), KIB(80) }, { MIB(585), KIB(72) }, { MIB(448), KIB(64) },
	{ MIB(329), KIB(56) }, { MIB(228), KIB(48) }, { MIB(146), KIB(40) }, { MIB(96), KIB(32) },
	{ MIB(43), KIB(24) }, { MIB(11), KIB(16) }, { KIB(16), KIB(8) },
};

static const struct block_row ages[] = { { 28, 0 }, { 14, 4 }, { 7, 2 } };

static const struct block_row sums[] = {
	{ MIB(4), 12 }, { MIB(2), 11 }, { MIB(1), 10 }, { KIB(512), 9 }, { KIB(128), 8 }, { KIB(32), 7 },
};

static const struct {
	const struct block_row *rows;
	size_t n;
} defaults[BLOCK_TABLES] = {
	[BLOCK_TABLE_SIZE] = { sizes, sizeof(sizes) / sizeof(sizes[0]) },
	[BLOCK_TABLE_AGE] = { ages, sizeof(ages) / sizeof(ages[0]) },
	[BLOCK_TABLE_SUM] = { sums, sizeof(sums) / sizeof(sums[0]) },
};

void block_rules_init(struct block_rules *r, struct arena *a)
{
	r->arena = a;
	for (unsigned t = 0; t < BLOCK_TABLES; t++) {
		vec_init(&r->table[t], a);
		for (size_t i = 0; i < defaults[t].n; i++)
			vec_push(&r->table[t], defaults[t].rows[i]);
	}
}

static bool parse_row(enum block_table t, const char *key, const char *value, struct block_row *out)
{
	uint64_t to;
	bool ok = t == BLOCK_TABLE_AGE ? str_to_u64(key, &out->from) : str_to_size(key, &out->from);

	if (!ok || !(t == BLOCK_TABLE_SIZE ? str_to_size(value, &to) : str_to_u64(value, &to)))
		return false;
	if (t == BLOCK_TABLE_SIZE)
		to -= to % BLOCK_UNIT;
	if (t == BLOCK_TABLE_SIZE ? to == 0 || to > BLOCK_SIZE_MAX : to > UINT32_MAX)
		return false;
	if (t == BLOCK_TABLE_SUM && (to < BLOCK_SUM_MIN || to > BLOCK_SUM_MAX))
		return false;
	out->to = (uint32_t)to;
	return true;
}

static const char *const expected[BLOCK_TABLES] = {
	[BLOCK_TABLE_SIZE] = "expected is a file size and a block size of at least 8KiB and less than 4GiB, "
		"as in 16KiB=8KiB",
	[BLOCK_TABLE_AGE] = "expected are days and what block sizes are multiplied with from then on, "
		"as in 7=2; 0 means no blocks",
	[BLOCK_TABLE_SUM] = "expected is a block size and 6 to 16 bytes, as in 32KiB=7",
};

static int invalid(enum block_table t, const char *option, const char *key, const char *value)
{
	err_set(ERR_OPTION_VALUE, "'%s=%s' is not valid for '%s' option", key, value, option);
	return err_hint("%s.", expected[t]);
}

static int largest_first(const void *x, const void *y)
{
	const struct block_row *p = x, *q = y;

	return (p->from < q->from) - (p->from > q->from);
}

int block_rules_set(struct block_rules *r, enum block_table t, const char *option, const strvec *keys,
	const strvec *values)
{
	struct block_row *rows;

	if (keys->n == 0)
		return 0;
	vec_init(&r->table[t], r->arena);
	for (size_t i = 0; i < keys->n; i++) {
		if (!parse_row(t, keys->v[i], values->v[i], vec_add(&r->table[t])))
			return invalid(t, option, keys->v[i], values->v[i]);
	}
	rows = r->table[t].v;
	qsort(rows, keys->n, sizeof(*rows), largest_first);
	for (size_t i = 1; i < keys->n; i++) {
		if (rows[i].from == rows[i - 1].from)
			return err_set(ERR_OPTION_VALUE,
				"two values are given for %ju in '%s' option", (uintmax_t)rows[i].from,
				option);
	}
	return 0;
}

static const struct block_row *row_for(const struct block_rules *r, enum block_table t, uint64_t n)
{
	for (size_t i = 0; i < r->table[t].n; i++) {
		if (n >= r->table[t].v[i].from)
			return &r->table[t].v[i];
	}
	return NULL;
}

static uint64_t days_between(int64_t from, int64_t to)
{
	return from < to ? ((uint64_t)to - (uint64_t)from) / SECONDS_PER_DAY : 0;
}

/* 2.2: a file without a map to go on with. */
static struct block_choice choose_new(const struct block_rules *rules, uint64_t size, int64_t mtime,
	int64_t start)
{
	const struct block_row *row = row_for(rules, BLOCK_TABLE_SIZE, size);
	uint64_t block_size;

	if (row == NULL)
		return (struct block_choice){ BLOCK_WHOLE, 0, 0 };
	block_size = row->to;
	row = row_for(rules, BLOCK_TABLE_AGE, days_between(mtime, start));
	if (row != NULL)
		block_size *= row->to;
	if (block_size == 0)
		return (struct block_choice){ BLOCK_WHOLE, 0, 0 };
	if (block_size > BLOCK_SIZE_MAX)
		block_size = BLOCK_SIZE_MAX;
	row = row_for(rules, BLOCK_TABLE_SUM, block_size);
	return (struct block_choice){ BLOCK_NEW, (uint32_t)block_size, row == NULL ? BLOCK_SUM_MIN : row->to };
}

/* 2.3.  Old releases left a map on files that had become empty: there is none (trap 7). */
struct block_choice block_choose(const struct block_rules *rules, uint64_t size, int64_t mtime, int64_t start,
	const struct manifest_file *prior)
{
	struct block_choice as_before = { BLOCK_WHOLE, 0, 0 };

	if (size == 0)
		return as_before;
	if (prior != NULL && prior->size > 0 && prior->block_size > 0) {
		as_before.block_size = prior->block_size;
		as_before.sum_size = prior->block_sum_size;
		if (prior->block_map_size > 0 && size >= prior->block_size) {
			as_before.how = rules == NULL ? BLOCK_WHOLE : BLOCK_CONTINUE;
			return as_before;
		}
		if (prior->block_map_size > 0)
			prior = NULL; /* too short for one of its blocks: as if it had not been there */
	}
	/* Of equal size, it goes on as it was stored: as a whole, or in blocks of which there is no map. */
	if (prior != NULL && prior->size == size) {
		as_before.how = rules == NULL || as_before.block_size == 0 ? BLOCK_WHOLE : BLOCK_NEW;
		return as_before;
	}
	return rules == NULL ? (struct block_choice){ BLOCK_WHOLE, 0, 0 } :
		choose_new(rules, size, mtime, start);
}

uint32_t block_super_size(uint32_t block_size, uint64_t configured)
{
	uint64_t n = configured / block_size + (configured % block_size != 0);

	if (n > UINT32_MAX / block_size)
		n = UINT32_MAX / block_size;
	return (uint32_t)(n == 0 ? 1 : n) * block_size;
}
