/*
 * sink: ends, small filters and the tee.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "stream/sink.h"

/* Fails at the n-th call of write (from 1) or at finish; keeps what it got. */
struct probe {
	struct sink sink;
	unsigned writes, finishes, fail_write;
	bool fail_finish;
	const char *name;
	uint64_t bytes;
};

static int probe_write(struct sink *s, const void *data, size_t len)
{
	struct probe *p = (struct probe *)s;

	if (++p->writes == p->fail_write)
		return err_set(ERR_FILE_WRITE, "%s is full", p->name);
	p->bytes += len;
	return 0;
}

static int probe_finish(struct sink *s)
{
	struct probe *p = (struct probe *)s;

	p->finishes++;
	return p->fail_finish ? err_set(ERR_FILE_SYNC, "%s cannot sync", p->name) : 0;
}

static struct probe probe(const char *name, unsigned fail_write, bool fail_finish)
{
	return (struct probe){.sink = {probe_write, probe_finish},
		.name = name,
		.fail_write = fail_write,
		.fail_finish = fail_finish};
}

static void buf_appends(void **state)
{
	SCOPED_ARENA(a);
	struct buf b;

	buf_init(&b, a);
	buf_adds(&b, "x");
	struct sink *s = sink_buf(a, &b);
	assert_int_equal(sink_write(s, "abc", 3), 0);
	assert_int_equal(sink_write(s, NULL, 0), 0);
	assert_int_equal(sink_write(s, "\0d", 2), 0);
	assert_int_equal(sink_finish(s), 0);
	assert_int_equal(b.len, 6);
	assert_memory_equal(b.data, "xabc\0d", 7);
}

static void null_and_count(void **state)
{
	SCOPED_ARENA(a);
	uint64_t n = 5;
	struct sink *s = sink_count(a, sink_null(a), &n);

	assert_int_equal(sink_write(s, "abc", 3), 0);
	assert_int_equal(sink_write(s, "", 0), 0);
	assert_int_equal(sink_write(s, "de", 2), 0);
	assert_int_equal(sink_finish(s), 0);
	assert_int_equal(n, 10);
}

static void filters_pass_finish_once(void **state)
{
	SCOPED_ARENA(a);
	struct probe end = probe("end", 0, false);
	uint64_t n = 0;
	struct sink *s = sink_count(a, sink_limit(a, &end.sink, 10, ERR_FORMAT, "too long"), &n);

	assert_int_equal(sink_finish(s), 0);
	assert_int_equal(end.finishes, 1);
}

static void limit_at_its_edge(void **state)
{
	static const struct {
		size_t first, second;
		uint64_t max;
		int want;
	} cases[] = {{0, 0, 0, 0}, {1, 0, 0, -1}, {4, 4, 8, 0}, {4, 5, 8, -1}, {9, 0, 8, -1},
		{8, 1, 8, -1}, {8, 0, 8, 0}, {9, 9, UINT64_MAX, 0}};
	static const char data[16];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SCOPED_ARENA(a);
		struct probe end = probe("end", 0, false);
		struct sink *s =
			sink_limit(a, &end.sink, cases[i].max, ERR_JSON, "text is 100% too long");
		int r = sink_write(s, data, cases[i].first);

		if (r == 0)
			r = sink_write(s, data, cases[i].second);
		assert_int_equal(r, cases[i].want);
		assert_true(end.bytes <= cases[i].max);
		if (r == 0)
			continue;
		assert_int_equal(err_code(), ERR_JSON);
		assert_string_equal(err_msg(), "text is 100% too long");
		err_clear();
	}
}

static void append_keeps_finish_back(void **state)
{
	SCOPED_ARENA(a);
	struct probe end = probe("end", 0, false);

	for (int i = 0; i < 3; i++) {
		struct sink *s = sink_append(a, &end.sink);

		assert_int_equal(sink_write(s, "ab", 2), 0);
		assert_int_equal(sink_finish(s), 0);
	}
	assert_int_equal(end.bytes, 6);
	assert_int_equal(end.finishes, 0);
}

static void fd_writes_all(void **state)
{
	SCOPED_ARENA(a);
	int p[2];
	char got[8] = "";

	assert_int_equal(pipe(p), 0);
	struct sink *s = sink_fd(a, p[1], "a pipe");
	assert_int_equal(sink_write(s, "hello", 5), 0);
	assert_int_equal(sink_finish(s), 0);
	assert_int_equal(read(p[0], got, sizeof(got)), 5);
	assert_string_equal(got, "hello");
	assert_int_equal(write(p[1], "!", 1), 1); /* still the caller's */
	close(p[0]);
	close(p[1]);
}

static void fd_names_what_is_full(void **state)
{
	SCOPED_ARENA(a);
	int fd = open("/dev/full", O_WRONLY);

	if (fd < 0)
		skip();
	assert_int_equal(sink_write(sink_fd(a, fd, "standard output"), "x", 1), -1);
	assert_int_equal(err_code(), ERR_FILE_WRITE);
	assert_non_null(strstr(err_msg(), "unable to write 'standard output': [28]"));
	err_clear();
	close(fd);
}

static void tee_feeds_all(void **state)
{
	SCOPED_ARENA(a);
	struct probe b[3] = {probe("b0", 0, false), probe("b1", 0, false), probe("b2", 0, false)};
	struct sink *branches[3] = {&b[0].sink, &b[1].sink, &b[2].sink};
	struct err_value *failed[3];
	struct sink *t = sink_tee(a, 3, branches, failed);

	assert_int_equal(sink_write(t, "abcd", 4), 0);
	assert_int_equal(sink_finish(t), 0);
	for (int i = 0; i < 3; i++) {
		assert_null(failed[i]);
		assert_int_equal(b[i].bytes, 4);
		assert_int_equal(b[i].finishes, 1);
	}
}

static void tee_drops_a_failing_branch(void **state)
{
	SCOPED_ARENA(a);
	struct probe b[3] = {probe("b0", 2, false), probe("b1", 0, false), probe("b2", 0, true)};
	struct sink *branches[3] = {&b[0].sink, &b[1].sink, &b[2].sink};
	struct err_value *failed[3];
	struct sink *t = sink_tee(a, 3, branches, failed);

	for (int i = 0; i < 3; i++)
		assert_int_equal(sink_write(t, "abcd", 4), 0);
	assert_int_equal(sink_finish(t), 0);
	assert_int_equal(err_code(), ERR_NONE);
	/* a dead branch is not called again, nor finished */
	assert_int_equal(b[0].writes, 2);
	assert_int_equal(b[0].finishes, 0);
	assert_int_equal(b[1].bytes, 12);
	assert_int_equal(b[1].finishes, 1);
	assert_int_equal(failed[0]->code, ERR_FILE_WRITE);
	assert_string_equal(failed[0]->msg, "b0 is full");
	assert_null(failed[1]);
	assert_int_equal(failed[2]->code, ERR_FILE_SYNC);
}

static void tee_fails_with_its_last_branch(void **state)
{
	SCOPED_ARENA(a);
	struct probe b[2] = {probe("b0", 1, false), probe("b1", 2, false)};
	struct sink *branches[2] = {&b[0].sink, &b[1].sink};
	struct err_value *failed[2];
	struct sink *t = sink_tee(a, 2, branches, failed);

	assert_int_equal(sink_write(t, "abcd", 4), 0);
	assert_int_equal(sink_write(t, "abcd", 4), -1);
	assert_string_equal(err_msg(), "b1 is full");
	assert_string_equal(failed[0]->msg, "b0 is full");
	assert_string_equal(failed[1]->msg, "b1 is full");
	err_clear();
}

static void tee_fails_at_finish(void **state)
{
	SCOPED_ARENA(a);
	struct probe b[2] = {probe("b0", 0, true), probe("b1", 0, true)};
	struct sink *branches[2] = {&b[0].sink, &b[1].sink};
	struct err_value *failed[2];
	struct sink *t = sink_tee(a, 2, branches, failed);

	assert_int_equal(sink_write(t, "abcd", 4), 0);
	assert_int_equal(sink_finish(t), -1);
	assert_int_equal(err_code(), ERR_FILE_SYNC);
	err_clear();
	assert_int_equal(b[1].finishes, 1);
}

static void tee_without_branches_never_succeeds(void **state)
{
	SCOPED_ARENA(a);
	struct sink *t = sink_tee(a, 0, NULL, NULL);

	assert_int_equal(sink_finish(t), -1);
	assert_int_equal(err_code(), ERR_ASSERT);
	err_clear();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf_appends),
		cmocka_unit_test(null_and_count),
		cmocka_unit_test(filters_pass_finish_once),
		cmocka_unit_test(limit_at_its_edge),
		cmocka_unit_test(append_keeps_finish_back),
		cmocka_unit_test(fd_writes_all),
		cmocka_unit_test(fd_names_what_is_full),
		cmocka_unit_test(tee_feeds_all),
		cmocka_unit_test(tee_drops_a_failing_branch),
		cmocka_unit_test(tee_fails_with_its_last_branch),
		cmocka_unit_test(tee_fails_at_finish),
		cmocka_unit_test(tee_without_branches_never_succeeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
