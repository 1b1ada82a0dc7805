/* ini: the grammar and the checksum of repository info files (format/repository.md 2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "format5_text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FOOTER "[backrest]\nbackrest-checksum=\"%s\"\n"

/* What was delivered, as "section|key|value" lines. */
static int record(void *ctx, const char *section, const char *key, const char *value, size_t len)
{
	struct buf *seen = ctx;

	buf_addf(seen, "%s|%s|%.*s\n", section, key, (int)len, value);
	return 0;
}

/* Feed the text in pieces of the given size. */
static int feed(const char *text, size_t len, size_t piece, struct buf *seen)
{
	SCOPED_ARENA(a);
	struct sink *s = ini_reader(a, record, seen);

	for (size_t at = 0; at < len; at += piece)
		if (sink_write(s, text + at, len - at < piece ? len - at : piece) != 0)
			return -1;
	return sink_finish(s);
}

static int parse(struct arena *a, const char *text, struct buf *seen)
{
	buf_init(seen, a);
	return feed(text, strlen(text), strlen(text) + 1, seen);
}

/* The entries with the checksum that belongs to them, section s. */
static char *with_sum(struct arena *a, const char *text, const char *hashed)
{
	char hex[SHA1_HEX + 1];
	struct sum sum;

	sha1_of(hashed, strlen(hashed), &sum);
	sum_hex(&sum, hex);
	return arena_printf(a, "%s" FOOTER, text, hex);
}

static void accepts_the_samples(void **state)
{
	static const char *const names[] = {"archive.info", "backup.info", "backup.manifest"};

	for (size_t i = 0; i < COUNT(names); i++) {
		SCOPED_ARENA(a);
		const char *text = sample(a, names[i]);
		struct buf whole, bytes;

		assert_int_equal(parse(a, text, &whole), 0);
		buf_init(&bytes, a);
		assert_int_equal(feed(text, strlen(text), 1, &bytes), 0);
		assert_string_equal(whole.data, bytes.data);
		/* a missing final line feed is accepted */
		buf_reset(&bytes);
		assert_int_equal(feed(text, strlen(text) - 1, 100, &bytes), 0);
	}
}

static void delivers_in_order(void **state)
{
	SCOPED_ARENA(a);
	struct buf seen;

	assert_int_equal(parse(a, sample(a, "archive.info"), &seen), 0);
	assert_string_equal(seen.data,
		"backrest|backrest-format|5\n"
		"backrest|backrest-version|\"2.60.0\"\n"
		"db|db-id|1\n"
		"db|db-system-id|7000000000000000180\n"
		"db|db-version|\"18\"\n"
		"db:history|1|{\"db-id\":7000000000000000180,\"db-version\":\"18\"}\n");
}

/* Every single changed byte of a sample is noticed, one way or the other. */
static void notices_any_changed_byte(void **state)
{
	SCOPED_ARENA(a);
	const char *text = sample(a, "archive.info");
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		SCOPED_ARENA(turn);
		char *copy = arena_strdup(turn, text);
		struct buf seen;

		/* the section headers' brackets and the line feeds are not hashed, but parsed */
		copy[i] ^= 1;
		if (parse(turn, copy, &seen) == 0)
			assert_int_equal(
				text[i], '\n'); /* the last one: a line may end without it */
		err_clear();
	}
}

static void splits_key_and_value(void **state)
{
	static const struct {
		const char *line, *key, *value;
	} cases[] = {
		{"k=1", "k", "1"},
		{"k=[1]", "k", "[1]"},
		{"k= 1", "k", " 1"},
		{"odd={\"k\"=1={\"a\":\"b\"}", "odd={\"k\"=1", "{\"a\":\"b\"}"},
		{"x=\"1\"={\"a\":1}", "x=\"1\"", "{\"a\":1}"},
		{"a=b={}", "a=b", "{}"},
		{"==1", "=", "1"},
		{"a=={}", "a=", "{}"},
		{"#c={}", "#c", "{}"},
		{"[x={}", "[x", "{}"},
		{"x]=1", "x]", "1"},
		{" a b ={}", " a b ", "{}"},
		{"q\"x={}", "q\"x", "{}"},
		{"b\\x={}", "b\\x", "{}"},
		{"\xc3\xa4\xff={}", "\xc3\xa4\xff", "{}"},
		{"k=\"a=b\"", "k", "\"a=b\""},
		{"k={\"a\":\"x=1\"}", "k", "{\"a\":\"x=1\"}"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct buf hashed, seen;

		buf_init(&hashed, a);
		buf_adds(&hashed, "{\"s\":{");
		json_quote(&hashed, cases[i].key, strlen(cases[i].key));
		buf_addf(&hashed, ":%s}}", cases[i].value);
		const char *text =
			with_sum(a, arena_printf(a, "[s]\n%s\n", cases[i].line), hashed.data);
		if (parse(a, text, &seen) != 0)
			fail_msg("%s: %s", cases[i].line, err_msg());
		assert_string_equal(
			seen.data, arena_printf(a, "s|%s|%s\n", cases[i].key, cases[i].value));
	}
}

static void section_names_are_hashed_raw(void **state)
{
	SCOPED_ARENA(a);
	struct buf seen;
	/* the same section twice in a row is one, but not with another between; blank lines do not
	 * count */
	const char *text = "\n\n[s\"]\n\na=1\n[s\"]\nb=2\n\n[t]\nc=3\n[empty]\n[s\"]\nd=4\n";
	const char *hashed = "{\"s\"\":{\"a\":1,\"b\":2},\"t\":{\"c\":3},\"s\"\":{\"d\":4}}";

	assert_int_equal(parse(a, with_sum(a, text, hashed), &seen), 0);
	assert_string_equal(seen.data, "s\"|a|1\ns\"|b|2\nt|c|3\ns\"|d|4\n");
}

static void refuses_what_is_no_info_file(void **state)
{
	static const struct {
		const char *text;
		enum err_code code;
		const char *message;
	} cases[] = {
		{"", ERR_CHECKSUM,
			"invalid checksum, actual '8a456f046f11cb56504a01eb76372f239788d018' but "
			"no checksum found"},
		{"[s]\na=1\n", ERR_CHECKSUM, NULL},
		{"[s]\na=1\n[backrest]\nbackrest-checksum="
		 "\"0c11cd3a778bf6cd12d022b9cba41f89336577ea\"\n",
			ERR_CHECKSUM, NULL},
		{"[s]\na=1\n[backrest]\nbackrest-checksum=\"\"\n", ERR_CHECKSUM, NULL},
		{"[s]\na=1\n[backrest]\nbackrest-checksum=null\n", ERR_CHECKSUM, NULL},
		{"[s]\r\na=1\r\n", ERR_FORMAT, "line 1 ends with CR LF"},
		{"[s]\na=1\r\n", ERR_FORMAT, "line 2 ends with CR LF"},
		{"a=1\n", ERR_FORMAT, "line 1 stands before the first section"},
		{"[s]\n=1\n", ERR_FORMAT, "line 2 has no key"},
		{"[]\n", ERR_FORMAT, "line 1 is a section without a name"},
		{"[", ERR_FORMAT, "line 1 is neither a section nor key=value"},
		{"[s]\na\n", ERR_FORMAT, "line 2 is neither a section nor key=value"},
		{"[s]\na=\n", ERR_FORMAT, "line 2 is neither a section nor key=value"},
		{"[s]\na=b\n", ERR_FORMAT, "line 2 is neither a section nor key=value"},
		{"[s]\n\n\na={\"b\":1\n", ERR_FORMAT, "line 4 is neither a section nor key=value"},
		{"# a comment\n", ERR_FORMAT, "line 1 is neither a section nor key=value"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct buf seen;

		assert_int_equal(parse(a, cases[i].text, &seen), -1);
		if (cases[i].message != NULL)
			assert_string_equal(err_msg(), cases[i].message);
		assert_int_equal(err_code(), cases[i].code);
		err_clear();
	}
	SCOPED_ARENA(a);
	struct buf seen;
	buf_init(&seen, a);
	assert_int_equal(feed("[s]\na\0b=1\n", 10, 10, &seen), -1);
	assert_string_equal(err_msg(), "line 2 has a NUL byte");
	err_clear();
}

static void upper_case_checksums_are_not_the_spelling(void **state)
{
	SCOPED_ARENA(a);
	struct buf seen;
	const char *text = sample(a, "archive.info");

	assert_int_equal(parse(a, replaced(a, text, "\"0c11", "\"0C11"), &seen), -1);
	assert_int_equal(err_code(), ERR_CHECKSUM);
	err_clear();
	assert_int_equal(parse(a, replaced(a, text, "577ea\"", "577ea1\""), &seen), -1);
	err_clear();
}

static int refuse_b(void *ctx, const char *section, const char *key, const char *value, size_t len)
{
	return strcmp(key, "b") == 0 ? err_set(ERR_FORMAT, "b is not wanted") : 0;
}

static void the_callers_failure_stops(void **state)
{
	SCOPED_ARENA(a);
	struct sink *s = ini_reader(a, refuse_b, NULL);

	assert_int_equal(sink_write(s, "[s]\na=1\nb=2\nnonsense\n", 21), -1);
	assert_string_equal(err_msg(), "b is not wanted");
	err_clear();
}

static void writes_the_samples(void **state)
{
	static const char *const names[] = {"archive.info", "backup.info", "backup.manifest"};

	for (size_t i = 0; i < COUNT(names); i++) {
		SCOPED_ARENA(a);
		const char *text = sample(a, names[i]);

		assert_string_equal(signed_text(a, text), text);
	}
}

/* Far more than one piece, odd keys, long values: what is written is what is read. */
static void round_trips_beyond_one_piece(void **state)
{
	SCOPED_ARENA(a);
	struct buf text, expected, seen, longest;

	buf_init(&text, a);
	buf_init(&expected, a);
	buf_init(&longest, a);
	buf_addc(&longest, '"');
	for (int i = 0; i < 100000; i++)
		buf_addc(&longest, (char)('a' + i % 26));
	buf_addc(&longest, '"');
	struct ini_writer *w = ini_writer_new(a, sink_buf(a, &text));
	for (int i = 0; i < 3000; i++) {
		const char *section = arena_printf(a, "s%d", i / 1000);
		const char *key = arena_printf(a, "%d={\"k\"=\\ \"[]#", i);
		const char *value = i == 1500 ? longest.data : "{\"size\":7}";

		if (i % 1000 == 0)
			assert_int_equal(ini_section(w, section), 0);
		assert_int_equal(ini_entry(w, key, value, strlen(value)), 0);
		buf_addf(&expected, "%s|%s|%s\n", section, key, value);
	}
	assert_int_equal(ini_finish(w), 0);
	assert_int_equal(parse(a, text.data, &seen), 0);
	assert_true(strcmp(seen.data, expected.data) == 0);
}

static void refuses_to_write_what_cannot_be_read(void **state)
{
	SCOPED_ARENA(a);
	struct buf text;

	buf_init(&text, a);
	struct ini_writer *w = ini_writer_new(a, sink_buf(a, &text));
	assert_int_equal(ini_section(w, "s"), 0);
	assert_int_equal(ini_entry(w, "a\nb", "1", 1), -1);
	assert_int_equal(err_code(), ERR_FORMAT);
	err_clear();
	assert_int_equal(ini_entry(w, "", "1", 1), -1);
	err_clear();
	assert_int_equal(ini_section(w, ""), -1);
	err_clear();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_the_samples),
		cmocka_unit_test(delivers_in_order),
		cmocka_unit_test(notices_any_changed_byte),
		cmocka_unit_test(splits_key_and_value),
		cmocka_unit_test(section_names_are_hashed_raw),
		cmocka_unit_test(refuses_what_is_no_info_file),
		cmocka_unit_test(upper_case_checksums_are_not_the_spelling),
		cmocka_unit_test(the_callers_failure_stops),
		cmocka_unit_test(writes_the_samples),
		cmocka_unit_test(round_trips_beyond_one_piece),
		cmocka_unit_test(refuses_to_write_what_cannot_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
