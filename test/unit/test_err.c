/* err: what a caller sees of a failure on its way up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include "base/err.h"

static int clear(void **state)
{
	err_clear();
	return 0;
}

static void set_replaces_and_wrap_adds(void **state)
{
	assert_int_equal(err_code(), ERR_NONE);
	assert_string_equal(err_msg(), "");
	assert_string_equal(err_hints(), "");
	assert_int_equal(
		err_set(ERR_FILE_MISSING, "unable to open missing file '%s' for read", "/x"), -1);
	assert_int_equal(err_hint("is it %s?", "mounted"), -1);
	assert_int_equal(err_wrap("repo%d", 1), -1);
	assert_int_equal(err_wrap("%s", "info"), -1);
	assert_int_equal(err_code(), 55);
	assert_string_equal(err_msg(), "info: repo1: unable to open missing file '/x' for read");
	assert_string_equal(err_hints(), "HINT: is it mounted?");
	assert_int_equal(err_recode(ERR_STOP), -1);
	assert_int_equal(err_code(), 62);
	assert_int_equal(err_set(ERR_CRYPTO, "other"), -1);
	assert_string_equal(err_msg(), "other");
	assert_string_equal(err_hints(), "");
	err_clear();
	assert_int_equal(err_code(), ERR_NONE);
	assert_string_equal(err_msg(), "");
}

static void sys_adds_the_cause(void **state)
{
	errno = EACCES;
	assert_int_equal(err_sys(ERR_FILE_OPEN, "unable to open file '%s' for read", "/a"), -1);
	assert_string_equal(err_msg(), "unable to open file '/a' for read: [13] Permission denied");
	assert_int_equal(errno, EACCES);
	assert_null(err_sys_null(ERR_FILE_OPEN, "x"));
	assert_null(err_null(ERR_FILE_OPEN, "y"));
	assert_string_equal(err_msg(), "y");
}

static void hints_are_lines(void **state)
{
	err_set(ERR_LOCK, "x");
	err_hint("first");
	err_hint("HINT: second");
	err_hint("third\nwith more");
	assert_string_equal(err_hints(), "HINT: first\nHINT: second\nHINT: third\nwith more");
}

static void arguments_may_come_from_the_record(void **state)
{
	err_set(ERR_LOCK, "a");
	err_hint("h");
	for (int i = 0; i < 9; i++)
		err_set(err_code(), "%s%s", err_msg(), err_msg());
	assert_int_equal(strlen(err_msg()), 512);
	assert_int_equal(strspn(err_msg(), "a"), 512);
	err_hint("%s", err_msg());
	err_wrap("%s", err_msg());
	err_hint("%s", err_hints());
	assert_int_equal(strlen(err_msg()), 512 + 2 + 512);
	assert_int_equal(strlen(err_hints()), (6 + 512) * 2 + 1);
}

static void long_messages_are_whole(void **state)
{
	for (int len = 250; len < 262; len++) {
		err_set(ERR_LOCK, "%*s", len, "x");
		assert_int_equal(strlen(err_msg()), len);
	}
	err_set(ERR_LOCK, "%*s", 100000, "x");
	assert_int_equal(strlen(err_msg()), 100000);
}

static void a_wrap_without_failure_is_a_failure(void **state)
{
	assert_int_equal(err_wrap("context"), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	assert_string_equal(err_msg(), "context");
}

static void values_carry_a_failure(void **state)
{
	SCOPED_ARENA(a);

	err_set(ERR_CHECKSUM, "bad %d", 1);
	err_hint("look");
	const struct err_value *v = err_take(a);
	assert_int_equal(err_code(), ERR_NONE);
	assert_string_equal(err_hints(), "");
	err_set(ERR_LOCK, "another");
	assert_int_equal(err_restore(v), -1);
	assert_int_equal(err_code(), ERR_CHECKSUM);
	assert_string_equal(err_msg(), "bad 1");
	assert_string_equal(err_hints(), "HINT: look");
}

static void classes_have_names(void **state)
{
	assert_string_equal(err_class(ERR_ASSERT), "AssertError");
	assert_string_equal(err_class(ERR_FILE_MISSING), "FileMissingError");
	assert_string_equal(err_class(ERR_CLOCK), "ClockError");
	assert_string_equal(err_class((enum err_code)126), "UnknownError");
	assert_string_equal(err_class(ERR_NONE), "UnknownError");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(set_replaces_and_wrap_adds, clear),
		cmocka_unit_test_setup(sys_adds_the_cause, clear),
		cmocka_unit_test_setup(hints_are_lines, clear),
		cmocka_unit_test_setup(arguments_may_come_from_the_record, clear),
		cmocka_unit_test_setup(long_messages_are_whole, clear),
		cmocka_unit_test_setup(a_wrap_without_failure_is_a_failure, clear),
		cmocka_unit_test_setup(values_carry_a_failure, clear),
		cmocka_unit_test_setup(classes_have_names, clear),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
