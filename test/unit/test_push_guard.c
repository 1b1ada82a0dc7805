/*
 * push_guard, push_answer, push_one: a repository that does not answer is given up, whatever call it hangs in; the
 * others get the file, and the answer says who has it.
 *
 * The repositories are folders of this host, called r1 to r3; a system call on what lies in a hung one never returns.
 */
#define push_one fixture_push_one /* the fixture's, which is not meant here */
#include "wal_fixture.h"
#undef push_one
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include "base/clock.h"
#include "base/sys.h"
#include "cmd/push_answer.h"
#include "cmd/push_work.h"
#include "config_fixture.h"

#define LIMIT_MS 1000

static char *dir; /* of the host, for the whole run */

/* --- calls that never return --- */

static struct sys_calls real;
static const char *hung_call, *hung_part, *hung_also; /* which call, on which parts of a path; NULL: none */
static unsigned *hangs;			  /* how often, in all processes */
static bool hung_fd[1024];		  /* opened below such a path */

static void maybe_hang(const char *call, bool there)
{
	if (hung_call == NULL || strcmp(call, hung_call) != 0 || !there)
		return;
	__atomic_add_fetch(hangs, 1, __ATOMIC_SEQ_CST);
	/* as in an uninterruptible call: only a kill ends it */
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;)
		pause();
}

static bool is_there(const char *path)
{
	return (hung_part != NULL && strstr(path, hung_part) != NULL) ||
		(hung_also != NULL && strstr(path, hung_also) != NULL);
}

static int hang_open(const char *path, int flags, mode_t mode)
{
	maybe_hang(flags & O_CREAT ? "create" : "open", is_there(path));
	int fd = real.open(path, flags, mode);
	if (fd >= 0 && fd < 1024)
		hung_fd[fd] = is_there(path);
	return fd;
}

static DIR *hang_opendir(const char *path)
{
	maybe_hang("opendir", is_there(path));
	return real.opendir(path);
}

static ssize_t hang_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	maybe_hang("pwrite", hung_fd[fd]);
	/* so that there is something to undo */
	if (hung_call != NULL && strcmp(hung_call, "unlink") == 0 && hung_fd[fd]) {
		errno = EIO;
		return -1;
	}
	return real.pwrite(fd, data, len, offset);
}

static ssize_t hang_pread(int fd, void *data, size_t len, off_t offset)
{
	maybe_hang("pread", hung_fd[fd]);
	return real.pread(fd, data, len, offset);
}

/* A slow disk of the machine that tests must not be taken for one that hangs. */
static int hang_fsync(int fd)
{
	maybe_hang("fsync", hung_fd[fd]);
	return 0;
}

static int hang_rename_new(const char *from, const char *to)
{
	maybe_hang("rename_new", is_there(to));
	return real.rename_new(from, to);
}

static int hang_unlink(const char *path)
{
	maybe_hang("unlink", is_there(path));
	return real.unlink(path);
}

static void hang_in(const char *call, const char *part)
{
	hung_call = call;
	hung_part = part;
	hung_also = NULL;
	*hangs = 0;
}

/* --- repositories and runs --- */

static char *repo_dir(struct arena *a, unsigned key)
{
	return arena_printf(a, "%s/r%u", dir, key);
}

static void make_repo(struct arena *a, unsigned key)
{
	struct archive_info info = {.current = 1};
	struct store *s = store_posix(a, repo_dir(a, key));

	assert_int_equal(store_remove_tree(store_posix(a, dir), path_base(repo_dir(a, key))), 0);
	vec_init(&info.history, a);
	vec_push(&info.history, ((struct archive_db){1, SYSTEM_ID, VERSION}));
	assert_int_equal(archive_info_save(s, STANZA, NULL, &info), 0);
}

static struct loaded load(struct arena *a, unsigned repos)
{
	struct buf words;

	alarm(120); /* what hangs in the test itself must not go on for ever */
	hang_in(NULL, NULL);
	buf_init(&words, a);
	buf_addf(&words, "pgstrata archive-push --stanza=%s --compress-type=none --io-timeout=%dms", STANZA, LIMIT_MS);
	for (unsigned key = 1; key <= repos; key++)
		buf_addf(&words, " --repo%u-path=%s", key, repo_dir(a, key));
	struct loaded l = load_words(words.data, NULL, NULL);
	assert_int_equal(l.code, 0);
	for (unsigned key = 1; key <= repos; key++)
		make_repo(a, key);
	return l;
}

static char *keys_of(struct arena *a, const struct push_result *r)
{
	struct buf b;

	buf_init(&b, a);
	for (size_t i = 0; i < r->has_n; i++)
		buf_addf(&b, "%u", (unsigned)r->has[i]);
	return b.data;
}

static char *given(struct arena *a, const char *name, const void *data, size_t len)
{
	char *path = arena_printf(a, "%s/%s", dir, name);

	assert_int_equal(file_replace(path, data, len, 0600), 0);
	return path;
}

static void must_have(struct arena *a, unsigned key, const char *name, const uint8_t *seg)
{
	const char *dest = path_join(a, dir, "fetched");

	assert_int_equal(get_one(a, dest, name, store_posix(a, repo_dir(a, key))), WAL_GOT);
	assert_true(host_has(a, dest, seg, SEG));
}

static int count_named(void *ctx, const struct store_entry *e)
{
	*(size_t *)ctx += strstr(e->name, ".tmp") == NULL;
	return 0;
}

/* Files of segments that count. */
static size_t count_stored(struct arena *a, unsigned key)
{
	const char *where = path_parent(a, DIR1 "x");
	size_t n = 0;

	assert_true(store_list(store_posix(a, repo_dir(a, key)), where, count_named, &n) >= 0);
	return n;
}

static void no_child_left(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* --- hung in one call or the other --- */

/* The second of three hangs in a call.  opened: before the run is open. */
static void hung_second(const char *call, const char *part, bool opened)
{
	SCOPED_ARENA(a);
	struct loaded l = load(a, 3);
	const uint8_t *seg = make_segment(a, 1, 5, 1), *next = make_segment(a, 1, 6, 2);
	const char *source = given(a, NAME5, seg, SEG), *later = given(a, "000000010000000000000006", next, SEG);
	struct arena *of_run = arena_new();
	struct push_result result;
	struct push_run *run;

	hang_in(call, part);
	assert_int_equal(push_run_open(of_run, l.cfg, &run), 0);
	assert_int_equal(*hangs, opened);
	must_fail(push_one(a, run, source, NULL, 0, &result), ERR_COMMAND,
		"\nrepo2: [ArchiveTimeoutError] repository did not answer within 1s");
	assert_string_equal(keys_of(a, &result), "13");
	assert_int_equal(*hangs, 1);
	must_have(a, 1, NAME5, seg);
	must_have(a, 3, NAME5, seg);
	assert_int_equal(count_stored(a, 1), 1);
	/* the next file does not wait for it */
	must_fail(push_one(a, run, later, NULL, 0, &result), ERR_COMMAND, "\nrepo2: [ArchiveTimeoutError]");
	assert_string_equal(keys_of(a, &result), "13");
	assert_int_equal(*hangs, 1);
	/* nor does who knows that it has the file already */
	const uint64_t second = 2;
	assert_int_equal(push_one(a, run, later, &second, 1, &result), 0);
	assert_string_equal(keys_of(a, &result), "13");
	arena_free(of_run);
	no_child_left();
	/* when it answers again */
	hang_in(NULL, NULL);
	assert_int_equal(push_run_open(a, l.cfg, &run), 0);
	assert_int_equal(push_one(a, run, source, NULL, 0, &result), 0);
	assert_string_equal(keys_of(a, &result), "123");
	must_have(a, 2, NAME5, seg);
	arena_free(l.arena);
}

static void hung_at_open(void **state)
{
	hung_second("open", "/r2/archive/" STANZA "/archive.info", true);
}

static void hung_at_list(void **state)
{
	hung_second("opendir", "/r2/", false);
}

static void hung_at_create(void **state)
{
	hung_second("create", "/r2/", false);
}

static void hung_at_write(void **state)
{
	hung_second("pwrite", "/r2/", false);
}

static void hung_at_sync(void **state)
{
	hung_second("fsync", "/r2/", false);
}

static void hung_at_rename(void **state)
{
	hung_second("rename_new", "/r2/", false);
}

static void hung_at_undo(void **state)
{
	hung_second("unlink", "/r2/", false);
}

/* Alone: nobody else to go on with, but it ends. */
static void hung_alone(void **state)
{
	SCOPED_ARENA(a);
	struct loaded l = load(a, 1);
	struct push_run *run;

	hang_in("open", "/r1/archive/" STANZA "/archive.info");
	must_fail(push_run_open(a, l.cfg, &run), ERR_REPO_INVALID,
		"unable to find a valid repository:\nrepo1: [ArchiveTimeoutError] repository did not answer within 1s");
	hang_in(NULL, NULL);
	arena_free(l.arena);
}

static void hung_both(void **state)
{
	SCOPED_ARENA(a);
	struct loaded l = load(a, 3);
	const uint8_t *seg = make_segment(a, 1, 5, 1);
	struct push_result result;
	struct push_run *run;

	hang_in("opendir", "/r2/");
	hung_also = "/r3/";
	assert_int_equal(push_run_open(a, l.cfg, &run), 0);
	must_fail(push_one(a, run, given(a, NAME5, seg, SEG), NULL, 0, &result), ERR_COMMAND,
		"\nrepo2: [ArchiveTimeoutError] repository did not answer within 1s"
		"\nrepo3: [ArchiveTimeoutError] repository did not answer within 1s");
	assert_int_equal(*hangs, 2);
	assert_string_equal(keys_of(a, &result), "1");
	hang_in(NULL, NULL);
	arena_free(l.arena);
}

/* Nobody to leave out. */
static void hung_source(void **state)
{
	SCOPED_ARENA(a);
	struct loaded l = load(a, 2);
	const uint8_t *seg = make_segment(a, 1, 5, 1);
	const char *source = given(a, NAME5, seg, SEG);
	struct push_result result;
	struct push_run *run;

	hang_in("pread", source);
	assert_int_equal(push_run_open(a, l.cfg, &run), 0);
	must_fail(push_one(a, run, source, NULL, 0, &result), ERR_ARCHIVE_TIMEOUT, "nothing moved within 1s");
	assert_int_equal(result.has_n, 0);
	hang_in(NULL, NULL);
	/* a new process knows nothing of it */
	assert_int_equal(push_one(a, run, source, NULL, 0, &result), 0);
	assert_string_equal(keys_of(a, &result), "12");
	arena_free(l.arena);
}

/* --- failures of other kinds --- */

/* One that fails at once is asked again with the next file. */
static void away_and_back(void **state)
{
	SCOPED_ARENA(a);
	struct loaded l = load(a, 2);
	const uint8_t *seg = make_segment(a, 1, 5, 1);
	const char *history = "1\t0/200000\tx\n", *source = given(a, NAME5, seg, SEG);
	const char *r2 = repo_dir(a, 2), *away = path_join(a, dir, "away");
	struct push_result result;
	struct push_run *run;

	assert_int_equal(push_run_open(a, l.cfg, &run), 0);
	assert_int_equal(push_one(a, run, given(a, "00000002.history", history, strlen(history)), NULL, 0, &result), 0);
	assert_int_equal(rename(r2, away), 0);
	must_fail(push_one(a, run, source, NULL, 0, &result), ERR_COMMAND, "\nrepo2: [FileMissingError] ");
	assert_string_equal(keys_of(a, &result), "1");
	assert_int_equal(rename(away, r2), 0);
	assert_int_equal(push_one(a, run, source, NULL, 0, &result), 0);
	assert_string_equal(keys_of(a, &result), "12");
	must_have(a, 2, NAME5, seg);
	arena_free(l.arena);
}

/* Another content under the name in one: nothing new is written, and who had the file is told. */
static void conflict(void **state)
{
	SCOPED_ARENA(a);
	struct loaded l = load(a, 3);
	const uint8_t *seg = make_segment(a, 1, 5, 1), *other = make_segment(a, 1, 5, 2);
	const char *source = given(a, NAME5, other, SEG);
	struct push_result result;
	struct push_run *run;

	assert_int_equal(push_run_open(a, l.cfg, &run), 0);
	assert_int_equal(push_one(a, run, source, (uint64_t[]){1, 3}, 2, &result), 0);
	assert_string_equal(keys_of(a, &result), "2");
	(void)given(a, NAME5, seg, SEG);
	must_fail(push_one(a, run, source, NULL, 0, &result), ERR_ARCHIVE_DUPLICATE,
		"already exists in the repo2 archive with a different checksum");
	assert_int_equal(result.has_n, 0);
	assert_int_equal(count_stored(a, 1) + count_stored(a, 3), 0);
	arena_free(l.arena);
}

/* --- what else may be done in the process --- */

static int say(struct arena *a, struct push_run *run)
{
	struct store_entry e;

	if (!run->inside || run->opts.system_id != SYSTEM_ID)
		return err_set(ERR_ASSERT, "not inside");
	for (size_t i = 0; i < run->n; i++)
		if (run->repos[i].failed == NULL && store_stat(a, run->repos[i].place.repo, "archive", &e) != 0)
			return err_set(ERR_ASSERT, "no archive");
	return err_set(ERR_CLOCK, "as it should be");
}

static int die(struct arena *a, struct push_run *run)
{
	raise(SIGKILL);
	return 0;
}

static void something_else(void **state)
{
	SCOPED_ARENA(a);
	struct loaded l = load(a, 2);
	struct push_run *run, copy;

	assert_int_equal(push_run_open(a, l.cfg, &run), 0);
	must_fail(push_run_do(a, run, say), ERR_CLOCK, "as it should be");
	must_fail(push_run_do(a, run, die), ERR_UNKNOWN, "died (signal 9)");
	must_fail(push_run_do(a, run, say), ERR_CLOCK, "as it should be");
	copy = *run;
	must_fail(push_run_do(a, &copy, say), ERR_ASSERT, "outside of its process");
	arena_free(l.arena);
}

/* Who is forked from a run's holder has a process of his own. */
static void forked(void **state)
{
	SCOPED_ARENA(a);
	struct loaded l = load(a, 2);
	struct push_run *run;
	int status;

	assert_int_equal(push_run_open(a, l.cfg, &run), 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(push_run_do(a, run, say) == -1 && err_code() == ERR_CLOCK ? 0 : 1);
	must_fail(push_run_do(a, run, say), ERR_CLOCK, "as it should be");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	arena_free(l.arena);
}

/* --- bytes --- */

static struct push_run run_of(struct wal_put_repo *repos, size_t n)
{
	return (struct push_run){.repos = repos, .n = n};
}

static void answers(void **state)
{
	SCOPED_ARENA(a);
	struct err_value no_room = {ERR_FILE_WRITE, "no room\nat all", "HINT: make some"};
	struct wal_put_repo said[3] = {{.key = 1, .place = {.archive_id = "15-1", .pass = "a key"}, .has = true},
		{.key = 2, .failed = &no_room},
		{.key = 9, .place = {.archive_id = "17-2"}}};
	struct wal_put_repo got[3] = {{.key = 1}, {.key = 2}, {.key = 9}};
	const struct push_run from = run_of(said, 3);
	struct push_run to = run_of(got, 3);
	struct sum sum = {{1, 2, 3}}, back;
	struct buf b;
	int rc;

	buf_init(&b, a);
	(void)err_set(ERR_COMMAND, "as a whole");
	push_answer_pack(&b, -1, &sum, &from);
	assert_int_equal(err_code(), ERR_NONE);
	for (size_t len = 0; len <= b.len + 1; len++) {
		struct buf part;
		if (len == b.len)
			continue;
		buf_init(&part, a);
		buf_add(&part, b.data, len < b.len ? len : b.len);
		if (len > b.len)
			buf_addc(&part, 0);
		must_fail(push_answer_unpack(a, &part, &rc, &back, &to), ERR_PROTOCOL, "malformed");
		assert_false(got[0].has);
	}
	assert_int_equal(push_answer_unpack(a, &b, &rc, &back, &to), 0);
	must_fail(rc, ERR_COMMAND, "as a whole");
	assert_true(sum_equal(&sum, &back));
	assert_true(got[0].has && !got[1].has && !got[2].has);
	assert_true(got[0].failed == NULL && got[2].failed == NULL);
	assert_int_equal(got[1].failed->code, ERR_FILE_WRITE);
	assert_string_equal(got[1].failed->msg, "no room\nat all");
	assert_string_equal(got[1].failed->hints, "HINT: make some");
	assert_string_equal(got[0].place.archive_id, "15-1");
	assert_string_equal(got[0].place.pass, "a key");
	assert_null(got[1].place.archive_id);
	assert_string_equal(got[2].place.archive_id, "17-2");
	assert_null(got[2].place.pass);
	/* of another run */
	to.n = 2;
	must_fail(push_answer_unpack(a, &b, &rc, &back, &to), ERR_PROTOCOL, "malformed");
	/* success, and a failure that nobody explained */
	buf_reset(&b);
	push_answer_pack(&b, 0, &sum, &from);
	to.n = 3;
	assert_int_equal(push_answer_unpack(a, &b, &rc, &back, &to), 0);
	assert_int_equal(rc, 0);
	buf_reset(&b);
	push_answer_pack(&b, -1, &sum, &from);
	assert_int_equal(push_answer_unpack(a, &b, &rc, &back, &to), 0);
	must_fail(rc, ERR_ASSERT, "without saying why");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(hung_at_open),
		cmocka_unit_test(hung_at_list),
		cmocka_unit_test(hung_at_create),
		cmocka_unit_test(hung_at_write),
		cmocka_unit_test(hung_at_sync),
		cmocka_unit_test(hung_at_rename),
		cmocka_unit_test(hung_at_undo),
		cmocka_unit_test(hung_alone),
		cmocka_unit_test(hung_both),
		cmocka_unit_test(hung_source),
		cmocka_unit_test(away_and_back),
		cmocka_unit_test(conflict),
		cmocka_unit_test(something_else),
		cmocka_unit_test(forked),
	};
	SCOPED_ARENA(a);

	hangs = mmap(NULL, sizeof(*hangs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (hangs == MAP_FAILED)
		return 1;
	real = sys;
	sys.open = hang_open;
	sys.opendir = hang_opendir;
	sys.pread = hang_pread;
	sys.pwrite = hang_pwrite;
	sys.fsync = hang_fsync;
	sys.rename_new = hang_rename_new;
	sys.unlink = hang_unlink;
	dir = host_dir(a);
	int failed = cmocka_run_group_tests(tests, quiet, NULL);
	host_remove(dir);
	return failed;
}
