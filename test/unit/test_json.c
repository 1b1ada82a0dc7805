/* json: writer and reader agree with the dialect of format/repository.md 2.2, whatever they are
 * given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "form/json.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Both readers on a copy that ends where the text ends, so that reading on is seen. */
static bool accepted(const char *text, size_t len)
{
	SCOPED_ARENA(a);
	char *exact = malloc(len + (len == 0));

	assert_non_null(exact);
	memcpy(exact, text, len);
	bool valid = json_valid(exact, len);
	bool parsed = json_parse(a, exact, len) != NULL;
	free(exact);
	assert_int_equal(valid, parsed);
	assert_int_equal(err_code(), parsed ? ERR_NONE : ERR_JSON);
	err_clear();
	return valid;
}

static void writes_the_dialect(void **state)
{
	SCOPED_ARENA(a);
	struct buf b;
	struct json_out j;

	buf_init(&b, a);
	json_out_init(&j, &b);
	json_object_begin(&j);
	json_key(&j, "a");
	json_array_begin(&j);
	json_u64(&j, 0);
	json_u64(&j, UINT64_MAX);
	json_i64(&j, INT64_MIN);
	json_i64(&j, 7);
	json_array_end(&j);
	json_key(&j, "b");
	json_array_begin(&j);
	json_array_end(&j);
	json_key(&j, "c");
	json_object_begin(&j);
	json_object_end(&j);
	json_key(&j, "d\"");
	json_bool(&j, true);
	json_key(&j, "e");
	json_bool(&j, false);
	json_key(&j, "f");
	json_null(&j);
	json_key(&j, "g");
	json_str(&j, NULL);
	json_key(&j, "h");
	json_str(&j, "");
	json_object_end(&j);
	assert_string_equal(b.data,
		"{\"a\":[0,18446744073709551615,-9223372036854775808,7],\"b\":[],"
		"\"c\":{},\"d\\\"\":true,\"e\":false,\"f\":null,\"g\":null,\"h\":\"\"}");
}

static void escapes_seven_bytes_and_no_other(void **state)
{
	for (int c = 1; c < 256; c++) {
		SCOPED_ARENA(a);
		const char raw[] = {'x', (char)c, 'y'};
		const char *special = "\"\\\n\r\t\b\f", *letters = "\"\\nrtbf";
		const char *at = strchr(special, c);
		struct buf b;

		buf_init(&b, a);
		json_quote(&b, raw, 3);
		if (at == NULL) {
			assert_int_equal(b.len, 5);
			assert_memory_equal(b.data + 1, raw, 3);
		} else {
			const char expected[] = {'"', 'x', '\\', letters[at - special], 'y', '"'};

			assert_int_equal(b.len, 6);
			assert_memory_equal(b.data, expected, 6);
		}
		struct json *v = json_parse(a, b.data, b.len);
		assert_non_null(v);
		assert_memory_equal(v->str, raw, 3);
		assert_int_equal(strlen(v->str), 3);
	}
}

static void accepts(void **state)
{
	static const char *const texts[] = {
		"0",
		"7",
		"-7",
		"-0",
		"18446744073709551615",
		"-9223372036854775807",
		"true",
		"false",
		"null",
		"\"\"",
		"\"a/b\"",
		"\"a\\/b\"",
		"\"\\u0041\"",
		"\"\\u00ff\"",
		"[]",
		"{}",
		"[1,[3,5],7]",
		" { \"a\" : [ 1 , 2 ] , \"b\" : { } } ",
		"\t1\n",
		"{\"\":1}",
		"{\"a\":1,\"a\":2}",
		"\"\x01\x7f\xff\"",
	};

	for (size_t i = 0; i < COUNT(texts); i++)
		if (!accepted(texts[i], strlen(texts[i])))
			fail_msg("refused: %s", texts[i]);
}

static void refuses(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"-",
		"+1",
		"01",
		"00",
		"1.5",
		"1e3",
		"1E3",
		".5",
		"0x1",
		"18446744073709551616",
		"184467440737095516150",
		"-9223372036854775808",
		"- 1",
		"tru",
		"truex",
		"True",
		"nul",
		"nan",
		"\"",
		"\"a",
		"\"\\",
		"\"\\\"",
		"\"\\x\"",
		"\"\\u\"",
		"\"\\u004\"",
		"\"\\u0100\"",
		"\"\\u00g0\"",
		"\"\\u0000\"",
		"'a'",
		"[",
		"]",
		"[1",
		"[1,",
		"[1,]",
		"[,1]",
		"[1 2]",
		"{",
		"}",
		"{\"a\"",
		"{\"a\":",
		"{\"a\":1",
		"{\"a\":1,}",
		"{a:1}",
		"{1:1}",
		"{\"a\" 1}",
		"{\"a\":1 \"b\":2}",
		"[1}",
		"{\"a\":1]",
		"1 2",
		"{} {}",
		"\"a\"b",
		"\"a\"=1",
		"{\"k\"=1",
		"\357\273\2771",
		"\v1",
	};

	for (size_t i = 0; i < COUNT(texts); i++)
		if (accepted(texts[i], strlen(texts[i])))
			fail_msg("accepted: %s", texts[i]);
	assert_false(accepted("\"a\0b\"", 5));
	assert_false(accepted("1\0", 2));
}

static void says_where(void **state)
{
	SCOPED_ARENA(a);

	assert_null(json_parse(a, "[1,x]", 5));
	assert_string_equal(err_msg(), "invalid JSON: expected a value at byte 3 of 5");
	err_clear();
}

static void nests_32_deep_and_no_deeper(void **state)
{
	for (size_t depth = 1; depth < 100; depth++) {
		char text[200];

		for (size_t i = 0; i < depth; i++) {
			text[i] = '[';
			text[2 * depth - 1 - i] = ']';
		}
		assert_int_equal(accepted(text, 2 * depth), depth <= 32);
	}
	/* side by side is not deep */
	assert_true(accepted("[[],[],[[[]]],[]]", 17));
}

static void builds_the_tree(void **state)
{
	SCOPED_ARENA(a);
	const char text[] =
		"{\"z\":-5,\"a\":[true,\"q\\\"\\n\",null],\"z\":6,\"id\":7710220354582384631}";
	struct json *v = json_parse(a, text, strlen(text));

	assert_non_null(v);
	assert_int_equal(v->type, JSON_OBJECT);
	const struct json *z = json_member(v, "z");
	assert_ptr_equal(z, v->child);
	assert_true(z->type == JSON_INT && z->negative && z->number == 5);
	const struct json *e = json_member(v, "a");
	assert_int_equal(e->type, JSON_ARRAY);
	e = e->child;
	assert_true(e->type == JSON_BOOL && e->boolean && e->key == NULL);
	e = e->next;
	assert_string_equal(e->str, "q\"\n");
	e = e->next;
	assert_int_equal(e->type, JSON_NULL);
	assert_null(e->next);
	/* beyond 2^53, where a double would round */
	assert_true(json_member(v, "id")->number == UINT64_C(7710220354582384631));
	assert_null(json_member(v, "y"));
	assert_null(json_member(e, "y"));
	struct json *zero = json_parse(a, "-0", 2);
	assert_true(zero->number == 0 && !zero->negative);
}

static const char document[] =
	"{\"bi\":1,\"checksum\":\"dc8e\\u0041\\n\",\"e\":[1,[3,5],-7],\"f\":false,"
	"\"g\":{\"h\":null,\"i\":\"\"},\"j\":true}";

static void every_truncation_fails(void **state)
{
	for (size_t len = 0; len < strlen(document); len++)
		assert_false(accepted(document, len));
	assert_true(accepted(document, strlen(document)));
}

static void survives_random_bytes(void **state)
{
	static const char alphabet[] = "{}[]\",:\\untrf0123456789-.eE abl\0\xff";
	unsigned seed = 20261120;

	for (int i = 0; i < 20000; i++) {
		char text[sizeof(document)];
		size_t len = strlen(document);

		memcpy(text, document, sizeof(document));
		if (i % 2 == 0) {
			/* a valid document with some bytes changed */
			for (int k = 0; k <= i % 5; k++)
				text[(size_t)rand_r(&seed) % len] =
					alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
		} else {
			len = (size_t)rand_r(&seed) % 40;
			for (size_t k = 0; k < len; k++)
				text[k] = alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
		}
		accepted(text, len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_dialect),
		cmocka_unit_test(escapes_seven_bytes_and_no_other),
		cmocka_unit_test(accepts),
		cmocka_unit_test(refuses),
		cmocka_unit_test(says_where),
		cmocka_unit_test(nests_32_deep_and_no_deeper),
		cmocka_unit_test(builds_the_tree),
		cmocka_unit_test(every_truncation_fails),
		cmocka_unit_test(survives_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
