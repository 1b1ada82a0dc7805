/* fields: a struct's JSON form, both ways, for every kind of member. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <string.h>
#include "base/vec.h"
#include "form/fields.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct pair {
	const char *key, *value;
};

struct thing {
	int pad; /* offset 0 would look like "no has_ member" */
	bool yes, has_opt;
	int level;
	uint32_t u32;
	uint64_t u64, opt;
	int64_t i64;
	const char *str, *null;
	strvec list;
	VEC(struct pair) map;
	unsigned hex;
};

static bool print_hex(struct json_out *j, const struct field *f, const void *object)
{
	unsigned v = *(const unsigned *)field_at_const(f, object);

	if (v == 0)
		return false;
	json_str(j, v == 255 ? "ff" : "other");
	return true;
}

static int parse_hex(struct arena *a, const struct field *f, void *object, const struct json *v)
{
	const char *s = NULL;

	if (json_get_str(v, &s) != 0)
		return -1;
	*(unsigned *)field_at(f, object) = strcmp(s, "ff") == 0 ? 255 : 1;
	return 0;
}

static const struct field_custom hex = {print_hex, parse_hex};

static const struct field fields[] = {
	FIELD(struct thing, "bool", yes, FIELD_BOOL, FIELD_OMIT_ZERO),
	FIELD_BY(struct thing, "hex", hex, &hex, 0),
	FIELD(struct thing, "i64", i64, FIELD_I64, 0),
	FIELD(struct thing, "int", level, FIELD_INT, 0),
	FIELD(struct thing, "list", list, FIELD_STRVEC, 0),
	FIELD(struct thing, "map", map, FIELD_STRMAP, 0),
	FIELD(struct thing, "null", null, FIELD_STR_NULL, 0),
	FIELD_OPT(struct thing, "opt", opt, FIELD_U64, has_opt),
	FIELD(struct thing, "str", str, FIELD_STR, 0),
	FIELD(struct thing, "u32", u32, FIELD_U32, FIELD_OMIT_ZERO),
	FIELD(struct thing, "u64", u64, FIELD_U64, FIELD_REQUIRED),
	FIELD_END,
};

static const char *written(struct arena *a, const struct thing *t)
{
	struct buf b;
	struct json_out j;

	buf_init(&b, a);
	json_out_init(&j, &b);
	json_object_begin(&j);
	fields_write(&j, fields, t);
	json_object_end(&j);
	return b.data;
}

static int read_text(struct arena *a, const char *text, struct thing *t)
{
	struct json *v = json_parse(a, text, strlen(text));

	assert_non_null(v);
	*t = (struct thing){0};
	return fields_read(a, fields, t, v);
}

static void round_trips(void **state)
{
	static const char *const texts[] = {
		"{\"i64\":0,\"int\":0,\"null\":null,\"u64\":0}",
		"{\"bool\":true,\"hex\":\"ff\",\"i64\":-9223372036854775807,\"int\":-2147483648,"
		"\"list\":[\"b\",\"a\"],\"map\":{\"k\":\"v\",\"l\":\"\"},\"null\":\"x\",\"opt\":0,"
		"\"str\":\"\","
		"\"u32\":4294967295,\"u64\":18446744073709551615}",
	};

	for (size_t i = 0; i < COUNT(texts); i++) {
		SCOPED_ARENA(a);
		struct thing t;

		assert_int_equal(read_text(a, texts[i], &t), 0);
		assert_string_equal(written(a, &t), texts[i]);
	}
}

static void absent_members_stay_usable(void **state)
{
	SCOPED_ARENA(a);
	struct thing t;

	assert_int_equal(read_text(a, "{\"u64\":5}", &t), 0);
	assert_false(t.has_opt);
	assert_null(t.str);
	vec_push(&t.list, "x");
	vec_push(&t.map, ((struct pair){"k", "v"}));
	assert_string_equal(written(a, &t),
		"{\"i64\":0,\"int\":0,\"list\":[\"x\"],\"map\":{\"k\":\"v\"},\"null\":null,\"u64\":"
		"5}");
}

static void order_and_strangers_do_not_matter(void **state)
{
	SCOPED_ARENA(a);
	struct thing t;

	assert_int_equal(
		read_text(a,
			"{\"u64\":5,\"zz\":[{}],\"u\":1,\"str\":\"s\",\"opt\":3,\"aa\":1,\"int\":4,"
			"\"bool\":true,\"u64\":6}",
			&t),
		0);
	assert_int_equal(t.u64, 5);
	assert_string_equal(t.str, "s");
	assert_true(t.has_opt && t.opt == 3 && t.level == 4 && t.yes);
}

static void names_what_is_wrong(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"{}", "required key 'u64' not found"},
		{"{\"u6\":1}", "required key 'u64' not found"},
		{"{\"u64\":\"1\"}", "key 'u64': not a number of zero or more"},
		{"{\"u64\":-1}", "key 'u64': not a number of zero or more"},
		{"{\"u64\":1,\"u32\":4294967296}", "key 'u32': number out of range"},
		{"{\"u64\":1,\"u32\":-1}", "key 'u32': not a number of zero or more"},
		{"{\"u64\":1,\"int\":2147483648}", "key 'int': number out of range"},
		{"{\"u64\":1,\"i64\":9223372036854775808}", "key 'i64': number out of range"},
		{"{\"u64\":1,\"i64\":null}", "key 'i64': not a number"},
		{"{\"u64\":1,\"bool\":1}", "key 'bool': not true or false"},
		{"{\"u64\":1,\"str\":null}", "key 'str': not a string"},
		{"{\"u64\":1,\"null\":false}", "key 'null': not a string"},
		{"{\"u64\":1,\"list\":{}}", "key 'list': not an array"},
		{"{\"u64\":1,\"list\":[1]}", "key 'list': not a string"},
		{"{\"u64\":1,\"map\":[]}", "key 'map': not an object"},
		{"{\"u64\":1,\"map\":{\"k\":1}}", "key 'map': 'k': not a string"},
		{"{\"u64\":1,\"hex\":1}", "key 'hex': not a string"},
		{"[]", "not an object"},
		{"1", "not an object"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		SCOPED_ARENA(a);
		struct thing t;

		assert_int_equal(read_text(a, cases[i].text, &t), -1);
		assert_int_equal(err_code(), ERR_FORMAT);
		assert_string_equal(err_msg(), cases[i].message);
		err_clear();
	}
}

static void strings_outlive_the_tree(void **state)
{
	SCOPED_ARENA(a);
	struct arena *tree = arena_new();
	const char text[] = "{\"list\":[\"one\"],\"map\":{\"k\":\"v\"},\"str\":\"two\",\"u64\":1}";
	struct thing t = {0};

	assert_int_equal(fields_read(a, fields, &t, json_parse(tree, text, strlen(text))), 0);
	arena_free(tree);
	assert_string_equal(t.list.v[0], "one");
	assert_string_equal(t.map.v[0].value, "v");
	assert_string_equal(t.str, "two");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),
		cmocka_unit_test(absent_members_stay_usable),
		cmocka_unit_test(order_and_strangers_do_not_matter),
		cmocka_unit_test(names_what_is_wrong),
		cmocka_unit_test(strings_outlive_the_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
