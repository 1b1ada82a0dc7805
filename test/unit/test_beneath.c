/*
 * A directory for somebody from another host: which links are followed, that nothing else leaves the root, that nothing
 * but regular files and directories is opened.  Everything twice: with openat2 and without.
 */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "store/beneath.h"

#define STRANGER 12345 /* a user who is neither root nor we */

struct fixture {
	struct arena *a;
	struct store *repo, *cluster;
	char dir[64];
	const char *root;
};

/* Every descriptor that is really opened must be of a file or directory; and something may be changed before that. */
static struct {
	struct sys_calls real;
	void (*before)(struct fixture *f);
	struct fixture *f;
	unsigned wrong;
} spy;

static int spy_open(const char *path, int flags, mode_t mode)
{
	struct stat st;

	if (spy.before != NULL && str_starts(path, "/proc/self/fd/")) {
		spy.before(spy.f);
		spy.before = NULL;
	}
	int fd = spy.real.open(path, flags, mode);
	if (fd >= 0 && (flags & O_PATH) == 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		spy.wrong++;
	return fd;
}

static const char *at(struct fixture *f, const char *path)
{
	return path_join(f->a, f->dir, path);
}

static void make_file(struct fixture *f, const char *path, const char *content)
{
	assert_int_equal(dir_make(path_parent(f->a, at(f, path)), 0755), 0);
	assert_int_equal(file_replace(at(f, path), content, strlen(content), 0644), 0);
}

static void make_link(struct fixture *f, const char *path, const char *target)
{
	assert_int_equal(symlink(target, at(f, path)), 0);
}

static int setup(void **state)
{
	bool without = *state != NULL;
	struct arena *a = arena_new();
	struct fixture *f = arena_new_object(a, struct fixture);

	f->a = a;
	snprintf(f->dir, sizeof(f->dir), "/tmp/pgstrata-beneath-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->root = at(f, "root");
	make_file(f, "root/plain", "plain");
	make_file(f, "root/dir/file", "inside");
	make_file(f, "root/dir/sub/deep", "deep");
	make_file(f, "outside/secret", "secret");
	make_file(f, "outside/dir/file", "outside");
	make_link(f, "root/abs", at(f, "outside"));
	make_link(f, "root/rel", "../outside");
	make_link(f, "root/chain", "abs");
	make_link(f, "root/file-in", "plain");
	make_link(f, "root/file-out", "../outside/secret");
	make_link(f, "root/nowhere", at(f, "missing/file"));
	make_link(f, "root/loop", "loop");
	make_link(f, "root/dir/back", "..");
	make_link(f, "root/proc", "/proc/self/root");
	make_link(f, "root/null", "/dev/null");
	make_link(f, "outside/again", "dir");
	make_link(f, "other", "outside");
	make_link(f, "root/via", at(f, "other/dir"));
	assert_int_equal(mkfifo(at(f, "root/pipe"), 0600), 0);
	f->repo = store_beneath(a, f->root, BENEATH_REPO);
	f->cluster = store_beneath(a, f->root, BENEATH_CLUSTER);
	beneath_without_openat2(without);
	spy.real = sys;
	spy.f = f;
	spy.before = NULL;
	spy.wrong = 0;
	sys.open = spy_open;
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char dir[64];

	assert_int_equal(spy.wrong, 0);
	sys = spy.real;
	memcpy(dir, f->dir, sizeof(dir));
	arena_free(f->a);
	err_clear();
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* What a get gives: the content, "absent", or the code of the failure, whose text must be about names that the user
 * knows. */
static const char *got(struct fixture *f, struct store *s, const char *path)
{
	const struct get_opts o = { .missing_ok = true };
	struct buf b;

	buf_init(&b, f->a);
	int rc = s->driver->get(s, path, &o, sink_buf(f->a, &b));
	if (rc == 0)
		return b.data;
	if (rc == STORE_ABSENT)
		return "absent";
	assert_null(strstr(err_msg(), "/proc/self"));
	assert_non_null(strstr(err_msg(), f->root));
	const char *code = arena_printf(f->a, "[%d]", err_code());
	err_clear();
	return code;
}

static int add_name(void *ctx, const struct store_entry *e)
{
	static const char type[] = { [STORE_FILE] = 'f', [STORE_DIR] = 'd', [STORE_LINK] = 'l', [STORE_SPECIAL] = 's' };

	buf_addf(ctx, "%s:%c ", e->name, type[e->type]);
	return 0;
}

static const char *listed(struct fixture *f, struct store *s, const char *path)
{
	struct buf b;

	buf_init(&b, f->a);
	int rc = store_list(s, path, add_name, &b);
	if (rc == 0)
		return b.data;
	if (rc == STORE_ABSENT)
		return "absent";
	assert_null(strstr(err_msg(), "/proc/self"));
	const char *code = arena_printf(f->a, "[%d]", err_code());
	err_clear();
	return code;
}

struct expected {
	const char *path, *repo, *cluster;
};

static void test_get(void **state)
{
	static const struct expected cases[] = {
		{ "plain", "plain", "plain" },
		{ "dir/file", "inside", "inside" },
		{ "dir/sub/deep", "deep", "deep" },
		{ "missing", "absent", "absent" },
		{ "missing/file", "absent", "absent" },
		{ "plain/file", "absent", "absent" },
		{ "dir", "[42]", "[42]" },
		/* up */
		{ "..", "[105]", "[105]" },
		{ "../outside/secret", "[105]", "[105]" },
		{ "dir/../../outside/secret", "[105]", "[105]" },
		/* through links to directories */
		{ "abs/secret", "secret", "secret" },
		{ "rel/secret", "secret", "secret" },
		{ "abs/dir/file", "outside", "outside" },
		{ "abs/missing", "absent", "absent" },
		{ "via/file", "outside", "outside" },
		/* links to files */
		{ "file-in", "[105]", "plain" },
		{ "file-out", "[105]", "secret" },
		{ "file-in/x", "absent", "absent" },
		{ "nowhere", "[105]", "absent" },
		{ "nowhere/x", "absent", "absent" },
		/* links to links, and a second one on the path */
		{ "chain/secret", "secret", "[105]" },
		{ "dir/back/plain", "plain", "plain" },
		{ "dir/back/abs/secret", "secret", "[105]" },
		{ "dir/back/file-out", "[105]", "[105]" },
		{ "abs/again/file", "outside", "[105]" },
		{ "abs/again", "[105]", "[105]" },
		{ "loop", "[105]", "[105]" },
		{ "loop/x", "[105]", "[105]" },
		/* links of /proc */
		{ "proc", "[105]", "[105]" },
		{ "proc/etc/passwd", "[105]", "[105]" },
		/* not to be opened */
		{ "pipe", "[42]", "[42]" },
		{ "dir/back/pipe", "[42]", "[42]" },
		{ "pipe/x", "absent", "absent" },
		{ "null", "[105]", "[42]" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *repo = got(f, f->repo, cases[i].path), *cluster = got(f, f->cluster, cases[i].path);

		if (strcmp(repo, cases[i].repo) != 0 || strcmp(cluster, cases[i].cluster) != 0)
			fail_msg("%s: %s, %s", cases[i].path, repo, cluster);
	}
}

static void test_list(void **state)
{
	static const struct expected cases[] = {
		{ "dir", "back:l file:f sub:d ", "back:l file:f sub:d " },
		{ "abs", "again:l dir:d secret:f ", "again:l dir:d secret:f " },
		{ "abs/dir", "file:f ", "file:f " },
		{ "via", "file:f ", "file:f " },
		{ "chain", "again:l dir:d secret:f ", "[105]" },
		{ "abs/again", "file:f ", "[105]" },
		{ "loop", "[105]", "[105]" },
		{ "proc", "[105]", "[105]" },
		{ "missing", "absent", "absent" },
		{ "nowhere", "absent", "absent" },
		{ "plain", "[53]", "[53]" },
		{ "plain/x", "[53]", "[53]" },
		{ "pipe", "[53]", "[53]" },
		{ "null", "[53]", "[53]" },
		{ "file-in", "[53]", "[53]" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *repo = listed(f, f->repo, cases[i].path), *cluster = listed(f, f->cluster, cases[i].path);

		if (strcmp(repo, cases[i].repo) != 0 || strcmp(cluster, cases[i].cluster) != 0)
			fail_msg("%s: %s, %s", cases[i].path, repo, cluster);
	}
	assert_non_null(strstr(listed(f, f->repo, ""), "pipe:s plain:f proc:l rel:l via:l "));
}

/* A failure to list says what cannot be listed. */
static void test_names_in_failures(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_list(f->repo, "plain", add_name, NULL), -1);
	assert_string_equal(err_msg(),
		arena_printf(f->a, "unable to list files in '%s/plain': [20] Not a directory", f->root));
	assert_int_equal(store_get(f->repo, "dir", NULL, sink_null(f->a)), -1);
	assert_string_equal(err_msg(), arena_printf(f->a, "unable to read '%s/dir': [21] Is a directory", f->root));
}

static void test_stat(void **state)
{
	struct fixture *f = *state;
	struct store_entry e;

	assert_int_equal(store_stat(f->a, f->repo, "dir/file", &e), 0);
	assert_string_equal(e.name, "file");
	assert_int_equal(e.type, STORE_FILE);
	assert_int_equal(e.size, 6);
	assert_int_equal(store_stat(f->a, f->repo, "chain", &e), 0);
	assert_int_equal(e.type, STORE_LINK);
	assert_string_equal(e.target, "abs");
	assert_int_equal(e.target_entry->type, STORE_LINK);
	assert_int_equal(store_stat(f->a, f->cluster, "abs/again", &e), 0);
	assert_int_equal(e.type, STORE_LINK);
	assert_int_equal(e.target_entry->type, STORE_DIR);
	assert_int_equal(store_stat(f->a, f->cluster, "abs/again/file", &e), -1);
	assert_int_equal(err_code(), ERR_ACCESS);
	err_clear();
	assert_int_equal(store_stat(f->a, f->cluster, "pipe", &e), 0);
	assert_int_equal(e.type, STORE_SPECIAL);
	assert_int_equal(store_stat(f->a, f->repo, "dir/missing", &e), STORE_ABSENT);
	assert_int_equal(store_stat(f->a, f->repo, "missing/file", &e), STORE_ABSENT);
	assert_int_equal(store_stat(f->a, f->repo, "", &e), 0);
	assert_string_equal(e.name, "root");
	assert_int_equal(e.type, STORE_DIR);
}

/* A root that is a link is the operator's; one that is missing proves absence. */
static void test_root(void **state)
{
	struct fixture *f = *state;

	make_link(f, "linked", "root");
	assert_string_equal(got(f, store_beneath(f->a, at(f, "linked"), BENEATH_REPO), "missing"), "absent");
	assert_string_equal(listed(f, store_beneath(f->a, at(f, "linked"), BENEATH_CLUSTER), "dir"),
		"back:l file:f sub:d ");
	assert_string_equal(listed(f, store_beneath(f->a, at(f, "none"), BENEATH_CLUSTER), "dir"), "absent");
	assert_string_equal(listed(f, store_beneath(f->a, at(f, "none"), BENEATH_CLUSTER), ""), "absent");
}

/* In a repository a link counts by its owner. */
static void test_stranger(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(lchown(at(f, "root/abs"), STRANGER, STRANGER), 0);
	assert_string_equal(got(f, f->repo, "abs/secret"), "[105]");
	assert_string_equal(got(f, f->repo, "chain/secret"), "[105]");
	assert_string_equal(listed(f, f->repo, "abs"), "[105]");
	assert_string_equal(got(f, f->cluster, "abs/secret"), "secret");
	assert_int_equal(lchown(at(f, "other"), STRANGER, STRANGER), 0);
	assert_string_equal(got(f, f->cluster, "via/file"), "[105]");
}

static void swap_dir(struct fixture *f)
{
	assert_int_equal(rename(at(f, "root/dir"), at(f, "root/old")), 0);
	make_link(f, "root/dir", at(f, "outside/dir"));
}

/* What a path names by then does not matter. */
static void test_swapped_before_open(void **state)
{
	struct fixture *f = *state;

	spy.before = swap_dir;
	assert_string_equal(got(f, f->repo, "dir/file"), "inside");
	assert_null(spy.before);
}

/* A link and a file change places all the time: the link is never followed. */
static void test_swapped_for_ever(void **state)
{
	struct fixture *f = *state;
	unsigned inside = 0, refused = 0;

	assert_int_equal(rename(at(f, "root/file-out"), at(f, "root/dir/other")), 0);
	assert_int_equal(unlink(at(f, "root/dir/other")), 0);
	make_link(f, "root/dir/other", at(f, "outside/secret"));
	const char *x = at(f, "root/dir/file"), *y = at(f, "root/dir/other");
	pid_t pid = fork();
	if (pid == 0) {
		for (;;)
			(void)renameat2(AT_FDCWD, x, AT_FDCWD, y, RENAME_EXCHANGE);
	}
	for (unsigned i = 0; i < 100000 && (inside < 200 || refused < 200); i++) {
		const char *content = got(f, f->repo, "dir/file");

		inside += strcmp(content, "inside") == 0;
		refused += strcmp(content, "[105]") == 0;
		if (inside + refused != i + 1) {
			kill(pid, SIGKILL);
			fail_msg("%s", content);
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_true(inside >= 200 && refused >= 200);
}

static int note_entry(void *ctx, const struct store_entry *e)
{
	return add_name(ctx, e);
}

static void test_opened(void **state)
{
	struct fixture *f = *state;
	struct buf b;

	buf_init(&b, f->a);
	const struct get_opts o = { .opened = note_entry, .ctx = &b };
	assert_int_equal(store_get(f->cluster, "abs/dir/file", &o, sink_null(f->a)), 0);
	assert_string_equal(b.data, "file:f ");
}

static const struct put_opts new_file = { .atomic = true, .create_new = true };

static const char *content_of(struct fixture *f, const char *path)
{
	struct buf b;

	buf_init(&b, f->a);
	if (file_read(at(f, path), 1024, &b) == 0)
		return b.data;
	assert_int_equal(err_code(), ERR_FILE_MISSING);
	err_clear();
	return NULL;
}

static size_t names_in(struct fixture *f, const char *dir)
{
	struct dir_names names;

	assert_int_equal(dir_list(f->a, at(f, dir), &names), 0);
	return names.n;
}

static void assert_put_fails(struct fixture *f, const char *path, const struct put_opts *o, enum err_code code)
{
	int rc = store_write(f->repo, path, "new", 3, o);

	assert_int_equal(rc, -1);
	assert_int_equal(err_code(), code);
	assert_null(strstr(err_msg(), "/proc/self"));
	err_clear();
}

static void test_put(void **state)
{
	static const struct put_opts replacing = { .atomic = true }, in_place = { .create_new = true };
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(store_write(f->repo, "x/y/z/file", "new", 3, &new_file), 0);
	assert_string_equal(content_of(f, "root/x/y/z/file"), "new");
	assert_int_equal(stat(at(f, "root/x/y"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(store_write(f->repo, "abs/new/file", "new", 3, &new_file), 0);
	assert_string_equal(content_of(f, "outside/new/file"), "new");
	assert_put_fails(f, "dir/file", &new_file, ERR_FILE_EXISTS);
	assert_put_fails(f, "dir/file", &replacing, ERR_ACCESS);
	assert_put_fails(f, "dir/new", &in_place, ERR_ACCESS);
	assert_string_equal(content_of(f, "root/dir/file"), "inside");
	assert_put_fails(f, "../up", &new_file, ERR_FORMAT);
	assert_put_fails(f, "loop/file", &new_file, ERR_ACCESS);
	assert_put_fails(f, "nowhere/file", &new_file, ERR_PATH_CREATE);
	assert_put_fails(f, "plain/file", &new_file, ERR_FILE_OPEN);
	assert_put_fails(f, "nowhere", &new_file, ERR_FILE_EXISTS);
	assert_null(content_of(f, "missing/file"));
	assert_int_equal(names_in(f, "root/dir"), 3);
	assert_int_equal(store_sync_dir(f->repo, "abs/new"), 0);
	assert_int_equal(store_sync_dir(f->repo, "none"), -1);
	assert_int_equal(err_code(), ERR_PATH_MISSING);
}

static void test_put_without_root(void **state)
{
	struct fixture *f = *state;
	struct store *s = store_beneath(f->a, at(f, "none"), BENEATH_REPO);

	assert_int_equal(store_write(s, "dir/file", "", 0, &new_file), -1);
	assert_int_equal(err_code(), ERR_PATH_MISSING);
	assert_int_equal(access(at(f, "none"), F_OK), -1);
}

struct asked {
	struct fixture *f;
	unsigned times;
	bool locked, hidden;
	int answer;
};

static int ask(void *ctx)
{
	struct asked *q = ctx;
	int fd = open(at(q->f, "root/dir"), O_RDONLY | O_DIRECTORY);

	q->times++;
	q->locked = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
	q->hidden = content_of(q->f, "root/dir/final") == NULL;
	close(fd);
	return q->answer == 0 ? 0 : err_set(ERR_FILE_EXISTS, "there is one already");
}

static int put_asked(struct fixture *f, struct asked *q, const char *final)
{
	SCOPED_ARENA(a);
	const struct put_opts o = { .atomic = true, .create_new = true, .final_path = &final };
	const struct beneath_naming naming = { ask, q };
	struct sink *s = beneath_put(a, f->repo, "dir/new", &o, &naming);

	assert_non_null(s);
	assert_int_equal(sink_write(s, "content", 7), 0);
	return sink_finish(s);
}

static void test_naming(void **state)
{
	struct fixture *f = *state;
	struct asked q = { .f = f };

	assert_int_equal(put_asked(f, &q, "dir/final"), 0);
	assert_int_equal(q.times, 1);
	assert_true(q.locked);
	assert_true(q.hidden);
	assert_string_equal(content_of(f, "root/dir/final"), "content");
	int fd = open(at(f, "root/dir"), O_RDONLY | O_DIRECTORY);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0); /* free again */
	close(fd);
	assert_int_equal(put_asked(f, &q, "dir/final"), -1);
	assert_int_equal(err_code(), ERR_FILE_EXISTS);
	q.answer = -1;
	assert_int_equal(put_asked(f, &q, "dir/other"), -1);
	assert_int_equal(err_code(), ERR_FILE_EXISTS);
	q.times = 0;
	assert_int_equal(put_asked(f, &q, "other/name"), -1);
	assert_int_equal(err_code(), ERR_ACCESS);
	assert_int_equal(put_asked(f, &q, "../dir/name"), -1);
	assert_int_equal(err_code(), ERR_ACCESS);
	assert_int_equal(q.times, 0);
	assert_int_equal(names_in(f, "root/dir"), 4); /* back file sub final */
}

static void test_no_other_changes(void **state)
{
	static const struct put_opts touch = { .mode = 0777 };
	struct fixture *f = *state;

	assert_int_equal(store_remove(f->repo, "plain", true), -1);
	assert_int_equal(err_code(), ERR_ACCESS);
	assert_int_equal(store_remove_tree(f->repo, "dir"), -1);
	assert_int_equal(err_code(), ERR_ACCESS);
	assert_int_equal(store_make_dir(f->repo, "made", 0750), -1);
	assert_int_equal(err_code(), ERR_ACCESS);
	assert_int_equal(store_link(f->repo, "/", "made"), -1);
	assert_int_equal(store_hard_link(f->repo, "plain", "made"), -1);
	assert_int_equal(store_touch(f->repo, "plain", &touch), -1);
	assert_string_equal(content_of(f, "root/plain"), "plain");
	assert_string_equal(content_of(f, "root/dir/file"), "inside");
	assert_int_equal(access(at(f, "root/made"), F_OK), -1);
}

static void test_no_descriptor_is_left(void **state)
{
	struct fixture *f = *state;
	struct asked q = { .f = f };
	struct store_entry e;
	struct dir_names before, after;

	assert_int_equal(dir_list(f->a, "/proc/self/fd", &before), 0);
	(void)got(f, f->repo, "chain/secret");
	(void)got(f, f->cluster, "chain/secret");
	(void)got(f, f->repo, "loop/x");
	(void)got(f, f->repo, "missing/x");
	(void)listed(f, f->repo, "abs");
	assert_int_equal(store_stat(f->a, f->repo, "abs/secret", &e), 0);
	assert_int_equal(put_asked(f, &q, "dir/a"), 0);
	assert_put_fails(f, "dir/file", &new_file, ERR_FILE_EXISTS);
	assert_int_equal(store_sync_dir(f->repo, "dir"), 0);
	assert_int_equal(dir_list(f->a, "/proc/self/fd", &after), 0);
	/* what belongs to a put that is over lives as long as its arena: here the store_write's */
	assert_int_equal(after.n, before.n);
}

static int setup_without(void **state)
{
	static char without;

	*state = &without;
	return setup(state);
}

#define BOTH(test) { #test, test, setup, teardown, NULL }, \
	{ #test " without openat2", test, setup_without, teardown, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_get), BOTH(test_list), BOTH(test_names_in_failures), BOTH(test_stat), BOTH(test_root),
		BOTH(test_swapped_before_open), BOTH(test_swapped_for_ever), BOTH(test_opened),
		BOTH(test_put), BOTH(test_put_without_root), BOTH(test_naming), BOTH(test_no_other_changes),
		BOTH(test_no_descriptor_is_left),
		/* the last: only root can give a link away; run.sh runs this program as root too */
		BOTH(test_stranger),
	};
	const size_t of_root = geteuid() == 0 ? 0 : 2;

	return _cmocka_run_group_tests("tests", tests, sizeof(tests) / sizeof(tests[0]) - of_root, NULL, NULL);
}
