/*
 * file_check: stored bytes against what is noted of them, whole files and members of a bundle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/buf.h"
#include "repo/file_check.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FILE_NAME "backup/demo/L/bundle/1"
#define MEMBERS 6
#define MEMBER_SIZE 3000

/* A bundle of members: plain bytes through a pipe, a gap before every third. */
struct bundle {
	struct arena *a;
	struct store *repo;
	struct buf bytes;
	struct check_part parts[MEMBERS];
	struct check_result got[MEMBERS];
};

static void make_bundle(struct arena *a, const struct pipe_spec *store_as, const struct pipe_spec *read,
	struct bundle *b)
{
	memset(b, 0, sizeof(*b));
	b->a = a;
	b->repo = store_mem(a);
	buf_init(&b->bytes, a);
	for (unsigned i = 0; i < MEMBERS; i++) {
		uint8_t plain[MEMBER_SIZE];
		struct pipe_result made;
		struct pipe_spec spec = store_as == NULL ? (struct pipe_spec){ 0 } : *store_as;
		for (unsigned k = 0; k < MEMBER_SIZE; k++)
			plain[k] = (uint8_t)((k * (i + 1)) >> (k % 3));
		if (i % 3 == 2)
			buf_adds(&b->bytes, "not a member's");
		spec.hash_plain = spec.hash_stored = true;
		struct check_part *p = &b->parts[i];
		p->offset = b->bytes.len;
		struct sink *s = pipe_chain(a, &spec, NULL, NULL, sink_buf(a, &b->bytes), &made);
		assert_int_equal(sink_write(s, plain, sizeof(plain)), 0);
		assert_int_equal(sink_finish(s), 0);
		p->length = b->bytes.len - p->offset;
		p->read = read;
		p->sum = read == NULL ? made.stored_sum : made.plain_sum;
		p->size = read == NULL ? p->length : MEMBER_SIZE;
	}
}

static void put(struct bundle *b)
{
	assert_int_equal(store_write(b->repo, FILE_NAME, b->bytes.data, b->bytes.len, NULL), 0);
}

static void look(struct bundle *b, struct store *repo)
{
	assert_int_equal(file_check(b->a, repo, FILE_NAME, b->parts, MEMBERS, b->got), 0);
	assert_int_equal(err_code(), ERR_NONE);
}

/* Exactly these members are in that state, all others are right. */
static void expect(const struct bundle *b, const char *which, enum check_state state, const char *what)
{
	for (unsigned i = 0; i < MEMBERS; i++) {
		enum check_state want = strchr(which, (char)('0' + i)) != NULL ? state : CHECK_OK;
		if (b->got[i].state != want)
			fail_msg("%s: member %u has state %d, wanted %d: %s", what, i, (int)b->got[i].state, (int)want,
				b->got[i].msg);
		assert_non_null(b->got[i].msg);
		if (want == CHECK_DAMAGED || want == CHECK_UNREAD)
			assert_true(b->got[i].msg[0] != '\0');
	}
}

static const struct pipe_spec gz = { .compress = CODEC_GZ, .level = 6 }, un_gz = { .expand = CODEC_GZ };
static const struct pipe_spec raw_lz4 = { .compress = CODEC_LZ4, .level = 1, .raw = true, .encrypt = "a pass" };
static const struct pipe_spec un_raw_lz4 = { .expand = CODEC_LZ4, .raw = true, .decrypt = "a pass" };

static const struct {
	const char *name;
	const struct pipe_spec *store_as, *read;
	enum check_state flipped; /* what a flipped byte in the middle makes of a member */
} forms[] = {
	{ "as stored", NULL, NULL, CHECK_SUM },
	{ "compressed, as stored", &gz, NULL, CHECK_SUM },
	{ "encrypted, as stored", &raw_lz4, NULL, CHECK_SUM },
	{ "expanded", &gz, &un_gz, CHECK_DAMAGED },
};

/* What is kept of a member is its end as stored, also after a second look. */
static void the_end_is_kept(void **state)
{
	for (size_t f = 0; f < COUNT(forms); f++) {
		SCOPED_ARENA(a);
		struct bundle b;
		struct buf kept[MEMBERS];
		make_bundle(a, forms[f].store_as, forms[f].read, &b);
		for (unsigned i = 0; i < MEMBERS; i++) {
			uint64_t len = i == 0 ? b.parts[i].length : i;
			buf_init(&kept[i], a);
			b.parts[i].keep = &kept[i];
			b.parts[i].keep_from = b.parts[i].offset + b.parts[i].length - len;
			b.parts[i].keep_max = len;
		}
		b.bytes.data[b.parts[1].offset + b.parts[1].length - 1] ^= 0x10;
		put(&b);
		look(&b, b.repo);
		for (unsigned i = 0; i < MEMBERS; i++) {
			assert_int_equal(kept[i].len, b.parts[i].keep_max);
			assert_memory_equal(kept[i].data, b.bytes.data + b.parts[i].keep_from, kept[i].len);
		}
	}
}

static void each_byte_counts(void **state)
{
	for (size_t f = 0; f < COUNT(forms); f++)
		for (unsigned i = 0; i < MEMBERS; i++) {
			SCOPED_ARENA(a);
			struct bundle b;
			make_bundle(a, forms[f].store_as, forms[f].read, &b);
			uint64_t at[] = { 0, b.parts[i].length / 2, b.parts[i].length - 1 };
			char which[] = { (char)('0' + i), '\0' };
			put(&b);
			look(&b, b.repo);
			expect(&b, "", CHECK_OK, forms[f].name);
			for (size_t k = 0; k < COUNT(at); k++) {
				b.bytes.data[b.parts[i].offset + at[k]] ^= 0x10;
				put(&b);
				look(&b, b.repo);
				b.bytes.data[b.parts[i].offset + at[k]] ^= 0x10;
				if (b.got[i].state != CHECK_SUM)
					expect(&b, which, forms[f].flipped, forms[f].name);
				else
					expect(&b, which, CHECK_SUM, forms[f].name);
			}
		}
}

/* What lies between the members is nobody's. */
static void gaps_do_not_count(void **state)
{
	SCOPED_ARENA(a);
	struct bundle b;

	make_bundle(a, NULL, NULL, &b);
	b.bytes.data[b.parts[2].offset - 1] ^= 1;
	buf_adds(&b.bytes, "behind all of them");
	put(&b);
	look(&b, b.repo);
	expect(&b, "", CHECK_OK, "a gap");
}

static void far_gaps_are_not_read(void **state)
{
	SCOPED_ARENA(a);
	struct bundle b;
	struct store_fault count = { "get", 0, false, 0 };

	make_bundle(a, NULL, NULL, &b);
	look(&b, b.repo);
	expect(&b, "012345", CHECK_MISSING, "not there");
	put(&b);
	look(&b, store_faulty(a, b.repo, &count));
	expect(&b, "", CHECK_OK, "side by side");
	assert_int_equal(count.calls, 1);
	/* the last one far behind the others */
	uint64_t far = 500000;
	char *moved = arena_memdup(a, b.bytes.data + b.parts[5].offset, b.parts[5].length);
	b.bytes.len = b.parts[5].offset;
	while (b.bytes.len < far)
		buf_addc(&b.bytes, 'x');
	b.parts[5].offset = far;
	buf_add(&b.bytes, moved, b.parts[5].length);
	put(&b);
	count.calls = 0;
	look(&b, store_faulty(a, b.repo, &count));
	expect(&b, "", CHECK_OK, "far");
	assert_int_equal(count.calls, 2);
}

static void a_cut_file_keeps_what_is_there(void **state)
{
	SCOPED_ARENA(a);
	struct bundle b;

	make_bundle(a, &gz, &un_gz, &b);
	b.bytes.len = b.parts[3].offset + b.parts[3].length / 2;
	put(&b);
	look(&b, b.repo);
	expect(&b, "345", CHECK_DAMAGED, "cut");
	make_bundle(a, &gz, NULL, &b);
	b.bytes.len = b.parts[3].offset;
	put(&b);
	look(&b, b.repo);
	expect(&b, "345", CHECK_SUM, "cut between");
}

static void overlapping_members_are_read_apart(void **state)
{
	SCOPED_ARENA(a);
	struct bundle b;

	make_bundle(a, NULL, NULL, &b);
	b.parts[1] = b.parts[0];
	b.parts[4].sum.bytes[3] ^= 1;
	b.parts[5] = b.parts[4];
	b.parts[5].sum.bytes[3] ^= 1;
	put(&b);
	look(&b, b.repo);
	expect(&b, "4", CHECK_SUM, "overlapping");
}

static void whole_files(void **state)
{
	static const struct {
		const char *name, *stored;
		int64_t size;
		enum check_state state;
	} cases[] = {
		{ "right", "content", 7, CHECK_OK },
		{ "longer", "content!", 7, CHECK_SUM },
		{ "shorter", "conten", 7, CHECK_SUM },
		{ "empty", "", 7, CHECK_SUM },
		{ "another size is noted", "content", 8, CHECK_SIZE },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct store *repo = store_mem(a);
		struct check_part part = { .size = (uint64_t)cases[i].size };
		struct check_result r;
		sha1_of("content", 7, &part.sum);
		assert_int_equal(store_write(repo, "f", cases[i].stored, strlen(cases[i].stored), NULL), 0);
		assert_int_equal(file_check(a, repo, "f", &part, 1, &r), 0);
		if (r.state != cases[i].state)
			fail_msg("%s: %d", cases[i].name, (int)r.state);
	}
}

static void the_empty_file(void **state)
{
	SCOPED_ARENA(a);
	struct store *repo = store_mem(a);
	struct check_part part = { .sum = sum_empty };
	struct check_result r;

	assert_int_equal(store_write(repo, "f", "", 0, NULL), 0);
	assert_int_equal(file_check(a, repo, "f", &part, 1, &r), 0);
	assert_int_equal(r.state, CHECK_OK);
	assert_int_equal(store_write(repo, "f", "x", 1, NULL), 0);
	assert_int_equal(file_check(a, repo, "f", &part, 1, &r), 0);
	assert_int_equal(r.state, CHECK_SUM);
	assert_int_equal(store_make_dir(repo, "d", 0750), 0);
	assert_int_equal(file_check(a, repo, "d", &part, 1, &r), 0);
	assert_int_equal(r.state, CHECK_DAMAGED);
}

/* One failure of reading is looked at again; one that stays is not called damage. */
static void reading_may_fail(void **state)
{
	static const char *const verbs[] = { "get", "read" };

	for (size_t v = 0; v < COUNT(verbs); v++)
		for (int for_good = 0; for_good < 2; for_good++) {
			SCOPED_ARENA(a);
			struct bundle b;
			struct store_fault fault = { verbs[v], 1, for_good, 0 };
			make_bundle(a, &raw_lz4, NULL, &b);
			put(&b);
			look(&b, store_faulty(a, b.repo, &fault));
			assert_true(fault.calls > 1);
			if (!for_good)
				expect(&b, "", CHECK_OK, verbs[v]);
			else if (v == 0)
				expect(&b, "012345", CHECK_UNREAD, verbs[v]);
			else /* half of the bytes came, and what came is known */
				expect(&b, "2345", CHECK_UNREAD, verbs[v]);
		}
}

/* Bytes that hash right but are read with the wrong passphrase or in the wrong form. */
static void the_way_of_reading_counts(void **state)
{
	static const struct pipe_spec wrong_pass = { .expand = CODEC_LZ4, .raw = true, .decrypt = "another" };
	static const struct pipe_spec wrong_form = { .expand = CODEC_LZ4, .decrypt = "a pass" };
	static const struct {
		const struct pipe_spec *read;
		bool right;
	} ways[] = { { &un_raw_lz4, true }, { &wrong_pass, false }, { &wrong_form, false } };

	for (size_t i = 0; i < COUNT(ways); i++) {
		SCOPED_ARENA(a);
		struct bundle b;
		make_bundle(a, &raw_lz4, ways[i].read, &b);
		put(&b);
		look(&b, b.repo);
		for (unsigned k = 0; k < MEMBERS; k++)
			assert_true((b.got[k].state == CHECK_OK) == ways[i].right);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_is_kept),
		cmocka_unit_test(each_byte_counts),
		cmocka_unit_test(gaps_do_not_count),
		cmocka_unit_test(far_gaps_are_not_read),
		cmocka_unit_test(a_cut_file_keeps_what_is_there),
		cmocka_unit_test(overlapping_members_are_read_apart),
		cmocka_unit_test(whole_files),
		cmocka_unit_test(the_empty_file),
		cmocka_unit_test(reading_may_fail),
		cmocka_unit_test(the_way_of_reading_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
