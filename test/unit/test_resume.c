/*
 * resume: all pairs of an interrupted backup and a new one, the decision about each file of a leftover, and what
 * file_put makes of a leftover: it counts only when content and stored bytes are proven.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "repo/file_put.h"
#include "repo/resume.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FULL "20261120-100000F"
#define NOW "20261120-110000F"

/* ---- which leftovers ---- */

/* What may differ between two runs. */
struct run {
	enum backup_type type;
	enum codec codec;
	bool encrypted;
	unsigned cluster; /* 1: another id, 2: another system, 3: another version */
	const char *program;
};

static struct manifest *manifest_of(struct arena *a, const struct run *r)
{
	static const char *const labels[] = { FULL, FULL "_20261120-103000D", FULL "_20261120-103000I" };
	struct manifest *m = manifest_new(a);

	m->type = r->type;
	m->label = labels[r->type];
	m->prior = r->type == BACKUP_FULL ? NULL : FULL;
	m->codec = r->codec;
	m->cipher_pass = r->encrypted ? "secret" : NULL;
	m->program = r->program;
	m->db = (struct backup_db){ .id = r->cluster == 1 ? 2 : 1, .system_id = r->cluster == 2 ? 8 : 7,
		.version = r->cluster == 3 ? "16" : "15" };
	return m;
}

static size_t all_runs(struct run *out)
{
	static const char *const programs[] = { "pgStrata 1", "pgStrata 2", "2.45" };
	size_t n = 0;

	for (unsigned type = BACKUP_FULL; type <= BACKUP_INCR; type++)
		for (unsigned codec = 0; codec < 3; codec++)
			for (unsigned encrypted = 0; encrypted < 2; encrypted++)
				for (unsigned cluster = 0; cluster < 4; cluster++)
					for (size_t p = 0; p < COUNT(programs); p++)
						out[n++] = (struct run){ (enum backup_type)type, (enum codec)codec,
							encrypted != 0, cluster, programs[p] };
	return n;
}

/* Only runs that agree in everything fit, and each refusal says what differs. */
static void all_pairs(void **state)
{
	static struct run runs[512];
	const size_t n = all_runs(runs);
	size_t fits = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			SCOPED_ARENA(a);
			const struct run *r = &runs[i], *s = &runs[k];
			enum resume_why why = resume_asked(r->type, true);
			if (r->type != BACKUP_FULL) {
				assert_int_equal(why, RESUME_NOT_FULL);
				assert_int_equal(resume_asked(r->type, false), RESUME_NOT_FULL);
				break;
			}
			assert_int_equal(why, RESUME_FITS);
			assert_int_equal(resume_asked(r->type, false), RESUME_DISABLED);
			const struct manifest *now = manifest_of(a, r), *left = manifest_of(a, s);
			why = resume_fits(now, left, r->encrypted, NOW);
			bool same = r->type == s->type && r->codec == s->codec && r->encrypted == s->encrypted &&
				r->cluster == s->cluster && strcmp(r->program, s->program) == 0;
			assert_int_equal(why == RESUME_FITS, same);
			fits += same;
			if (why == RESUME_PROGRAM)
				assert_string_not_equal(r->program, s->program);
			if (why == RESUME_TYPE)
				assert_int_not_equal(r->type, s->type);
			if (why == RESUME_CODEC)
				assert_int_not_equal(r->codec, s->codec);
			if (why == RESUME_CLUSTER)
				assert_int_not_equal(r->cluster, s->cluster);
			if (why == RESUME_CIPHER)
				assert_int_not_equal(r->encrypted, s->encrypted);
			assert_non_null(strstr(resume_why_text(a, why, FULL, "copy", now, left), FULL));
		}
	assert_int_equal(fits, n / 3);
}

static void label_in_the_future(void **state)
{
	SCOPED_ARENA(a);
	const struct run r = { .program = "pgStrata 1" };
	struct manifest *now = manifest_of(a, &r), *left = manifest_of(a, &r);

	left->label = NOW;
	assert_int_equal(resume_fits(now, left, false, NOW), RESUME_FITS);
	left->label = "20261120-110001F";
	assert_int_equal(resume_fits(now, left, false, NOW), RESUME_FUTURE);
}

static void texts(void **state)
{
	SCOPED_ARENA(a);
	struct run r = { .program = "pgStrata 1", .codec = CODEC_GZ }, s = { .program = "2.45", .type = BACKUP_INCR,
		.codec = CODEC_ZST, .encrypted = true };
	static const struct {
		enum resume_why why;
		bool warns;
		const char *text;
	} cases[] = {
		{ RESUME_FITS, true, "resumable backup L of same type exists -- invalid files will be removed then the "
			"backup will resume" },
		{ RESUME_NOT_FULL, false, "backup 'L' cannot be resumed: resume only valid for full backup" },
		{ RESUME_DISABLED, false, "backup 'L' cannot be resumed: resume is disabled" },
		{ RESUME_NO_COPY, true, "backup 'L' cannot be resumed: partially deleted by prior resume or invalid" },
		{ RESUME_UNREAD, true, "backup 'L' cannot be resumed: unable to read /r/L/backup.manifest.copy" },
		{ RESUME_PROGRAM, true, "backup 'L' cannot be resumed: new pgBackRest version 'pgStrata 1' does not match "
			"resumable pgBackRest version '2.45'" },
		{ RESUME_TYPE, true, "backup 'L' cannot be resumed: new backup type 'full' does not match resumable backup "
			"type 'incr'" },
		{ RESUME_CODEC, true, "backup 'L' cannot be resumed: new compression 'gz' does not match resumable "
			"compression 'zst'" },
		{ RESUME_CLUSTER, true, "backup 'L' cannot be resumed: it is of another cluster (version 15, system-id 7)" },
		{ RESUME_CIPHER, true, "backup 'L' cannot be resumed: it is encrypted" },
		{ RESUME_FUTURE, true, "backup 'L' cannot be resumed: its label lies in the future" },
		{ RESUME_USED, true, "backup 'L' cannot be resumed: its label is not later than those of earlier backups" },
		{ RESUME_NAMES, true, "backup 'L' cannot be resumed: it holds a file with an impossible name" },
	};

	assert_int_equal(COUNT(cases), RESUME_WHYS);
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_int_equal(cases[i].why, i);
		assert_int_equal(resume_warns(cases[i].why), cases[i].warns);
		assert_string_equal(resume_why_text(a, cases[i].why, "L", "/r/L/backup.manifest.copy",
			manifest_of(a, &r), manifest_of(a, &s)), cases[i].text);
	}
}

/* ---- which files ---- */

static struct manifest_file *add(struct manifest *m, const char *name, uint64_t size, int64_t mtime)
{
	struct manifest_file *f = vec_add(&m->files);

	f->name = name;
	f->size = f->size_orig = size;
	f->repo_size = size == 0 ? 0 : size / 2 + 1;
	f->mtime = mtime;
	return f;
}

static const struct file_case {
	const char *what, *name;
	uint64_t stored;
	uint64_t now_size; /* 0 and now_mtime 0: not listed */
	int64_t now_mtime;
	uint64_t was_size;
	int64_t was_mtime;
	bool delta, bundled, shared, no_sum, no_repo_sum, plain, elsewhere;
	enum resume_file expect;
} file_cases[] = {
	{ "equal", "pg_data/f.gz", 51, 100, 9, 100, 9, .expect = RESUME_KEEP },
	{ "other suffix", "pg_data/f.zst", 51, 100, 9, 100, 9, .expect = RESUME_SUFFIX },
	{ "no suffix", "pg_data/f", 51, 100, 9, 100, 9, .expect = RESUME_SUFFIX },
	{ "blocks", "pg_data/f.pgbi", 51, 100, 9, 100, 9, .expect = RESUME_SUFFIX },
	{ "temporary", "backup.manifest.copy.1-2.pgbackrest.tmp", 51, 100, 9, 100, 9, .expect = RESUME_SUFFIX },
	{ "at the top", "f.gz", 51, 100, 9, 100, 9, .expect = RESUME_NOT_LISTED },
	{ "nothing but the suffix", ".gz", 51, 100, 9, 100, 9, .expect = RESUME_NOT_LISTED },
	{ "gone", "pg_data/f.gz", 51, 0, 0, 100, 9, .expect = RESUME_NOT_LISTED },
	{ "foreign", "pg_data/g.gz", 51, 100, 9, 100, 9, .expect = RESUME_NOT_LISTED },
	{ "new", "pg_data/f.gz", 51, 100, 9, 0, 0, .expect = RESUME_NOT_LEFT },
	{ "not done", "pg_data/f.gz", 51, 100, 9, 100, 9, .no_sum = true, .expect = RESUME_NO_SUM },
	{ "no stored sum", "pg_data/f.gz", 51, 100, 9, 100, 9, .no_repo_sum = true, .expect = RESUME_NO_SUM },
	{ "none is needed", "pg_data/f", 51, 100, 9, 100, 9, .plain = true, .no_repo_sum = true, .expect = RESUME_KEEP },
	{ "a member", "pg_data/f.gz", 51, 100, 9, 100, 9, .elsewhere = true, .expect = RESUME_ELSEWHERE },
	{ "grown", "pg_data/f.gz", 51, 101, 9, 100, 9, .expect = RESUME_SIZE },
	{ "grown, delta", "pg_data/f.gz", 51, 101, 9, 100, 9, .delta = true, .expect = RESUME_SIZE },
	{ "newer", "pg_data/f.gz", 51, 100, 10, 100, 9, .expect = RESUME_TIME },
	{ "older", "pg_data/f.gz", 51, 100, 8, 100, 9, .expect = RESUME_TIME },
	{ "newer, delta", "pg_data/f.gz", 51, 100, 10, 100, 9, .delta = true, .expect = RESUME_KEEP },
	{ "empty", "pg_data/f.gz", 0, 0, 9, 0, 9, .expect = RESUME_EMPTY },
	{ "now bundled", "pg_data/f.gz", 51, 100, 9, 100, 9, .bundled = true, .expect = RESUME_OTHERWISE },
	{ "cut", "pg_data/f.gz", 50, 100, 9, 100, 9, .expect = RESUME_STORED },
	{ "emptied", "pg_data/f.gz", 0, 100, 9, 100, 9, .expect = RESUME_STORED },
	{ "hard link", "pg_data/f.gz", 51, 100, 9, 100, 9, .shared = true, .expect = RESUME_SHARED },
};

static void fill_left(struct manifest *left, const struct file_case *c)
{
	add(left, "pg_data/e", 1, 1)->has_sum = true;
	if (c->was_mtime == 0)
		return;
	struct manifest_file *was = add(left, "pg_data/f", c->was_size, c->was_mtime);
	was->has_sum = !c->no_sum;
	was->has_repo_sum = !c->no_repo_sum;
	was->bundle = c->elsewhere;
}

static void each_file(void **state)
{
	for (size_t i = 0; i < COUNT(file_cases); i++) {
		SCOPED_ARENA(a);
		const struct file_case *c = &file_cases[i];
		const struct run r = { .program = "x", .codec = c->plain ? CODEC_NONE : CODEC_GZ };
		struct manifest *now = manifest_of(a, &r), *left = manifest_of(a, &r);
		add(now, "pg_data/e", 1, 1);
		if (c->now_mtime != 0)
			add(now, "pg_data/f", c->now_size, c->now_mtime);
		fill_left(left, c);
		const bool own[] = { true, !c->bundled };
		const struct resume_files files = { now, left, own, c->delta };
		uint32_t row = 99;
		enum resume_file why = resume_file(&files, c->name, c->stored, c->shared, &row);
		if (why != c->expect || (why == RESUME_KEEP && row != 1))
			fail_msg("%s: %d instead of %d", c->what, why, c->expect);
		assert_int_equal(resume_file_text(why)[0] == '\0', why == RESUME_KEEP);
	}
}

static void directories(void **state)
{
	SCOPED_ARENA(a);
	const struct run r = { .program = "x" };
	struct manifest *m = manifest_of(a, &r);
	static const char *const paths[] = { "pg_data", "pg_data/base", "pg_tblspc/7" };

	for (size_t i = 0; i < COUNT(paths); i++)
		vec_push(&m->paths, ((struct manifest_path){ .name = paths[i] }));
	for (size_t i = 0; i < COUNT(paths); i++)
		assert_true(resume_has_dir(m, paths[i]));
	assert_false(resume_has_dir(m, "bundle"));
	assert_false(resume_has_dir(m, "pg_data/other"));
	assert_false(resume_has_dir(m, "pg_tblspc"));
	vec_push(&m->targets, ((struct manifest_target){ .name = "pg_data" }));
	assert_false(resume_has_dir(m, "pg_tblspc"));
	vec_push(&m->targets, ((struct manifest_target){ .name = "pg_tblspc/7", .tablespace_oid = 7 }));
	assert_true(resume_has_dir(m, "pg_tblspc"));
}

/* Rows with a job of their own; members of bundles and rows without a job are none. */
static void own_rows(void **state)
{
	SCOPED_ARENA(a);
	const struct run r = { .program = "x" };
	struct manifest *m = manifest_of(a, &r);
	struct plan plan;
	const struct plan_opts o = { .bundle = true, .bundle_limit = 10, .bundle_size = 1000, .workers = 1 };
	static const uint64_t sizes[] = { 0, 10, 11, 1 };
	static const bool expect[] = { false, false, true, false };

	for (size_t i = 0; i < COUNT(sizes); i++)
		add(m, arena_printf(a, "pg_data/%zu", i), sizes[i], 1);
	plan_backup(a, m, NULL, &o, &plan);
	const bool *own = resume_own(a, m, &plan);
	for (size_t i = 0; i < COUNT(sizes); i++)
		assert_int_equal(own[i], expect[i]);
}

/* ---- what counts ---- */

static char top[64];

static int make_top(void **state)
{
	strcpy(top, "/tmp/pgstrata-resume-XXXXXX");
	return mkdtemp(top) == NULL;
}

static int remove_top(void **state)
{
	SCOPED_ARENA(a);

	return store_remove_tree(store_posix(a, "/tmp"), top + strlen("/tmp/"));
}

static const char *below(struct arena *a, const char *name)
{
	return arena_printf(a, "%s/%s", top, name);
}

static void put_text(struct store *s, const char *path, const char *text)
{
	assert_int_equal(store_write(s, path, text, strlen(text), NULL), 0);
}

enum left_state { WHOLE, FLIPPED, CUT, GROWN, MISSING, LINK, DIRECTORY, PIPE, HARD, LEFT_STATES };
enum now_state { SAME, CHANGED, SHORTER, LONGER, EMPTY, VANISHED, NOW_STATES };

static const struct plan_row copy_row = { .action = PLAN_COPY }, resume_row = { .action = PLAN_RESUME };

struct files {
	struct arena *a;
	struct store *pg, *repo;
	struct manifest_file row;
	struct file_put_opts o;
};

static const char content[] = "content that compresses, content that compresses, content that compresses";

static void setup(struct files *x, struct arena *a, enum codec codec, const char *pass)
{
	struct file_put_result r;

	assert_int_equal(store_remove_tree(store_posix(a, "/tmp"), top + strlen("/tmp/")), 0);
	assert_int_equal(mkdir(top, 0700), 0);
	*x = (struct files){ .a = a, .pg = store_posix(a, below(a, "pg")), .repo = store_posix(a, below(a, "repo")),
		.row = { .name = "pg_data/f", .size = strlen(content), .size_orig = strlen(content) },
		.o = { .m = manifest_new(a), .stanza = "demo", .backup_dir = "L", .codec = codec, .level = 1, .pass = pass } };
	put_text(x->pg, "f", content);
	assert_int_equal(file_put(a, x->pg, x->repo, &x->row, &copy_row, &x->o, &r), 0);
	x->row.sum = r.pipe.plain_sum;
	x->row.has_sum = true;
	x->row.repo_size = r.pipe.stored_size;
	x->row.repo_sum = r.pipe.stored_sum;
	x->row.has_repo_sum = codec != CODEC_NONE || pass != NULL;
}

static const char *stored_name(const struct files *x)
{
	return arena_printf(x->a, "L/pg_data/f%s", codec_info(x->o.codec)->suffix);
}

static void damage(const struct files *x, enum left_state state)
{
	const char *path = below(x->a, arena_printf(x->a, "repo/%s", stored_name(x)));
	const char *other = below(x->a, "repo/other");
	const off_t size = (off_t)x->row.repo_size;
	char byte;
	int fd;

	switch (state) {
	case FLIPPED:
		fd = open(path, O_RDWR);
		assert_int_equal(pread(fd, &byte, 1, size / 2), 1);
		byte ^= 4;
		assert_int_equal(pwrite(fd, &byte, 1, size / 2), 1);
		close(fd);
		return;
	case CUT:
	case GROWN:
		assert_int_equal(truncate(path, state == CUT ? size - 1 : size + 1), 0);
		return;
	case HARD:
		assert_int_equal(link(path, other), 0);
		return;
	case LINK:
		assert_int_equal(rename(path, other), 0);
		assert_int_equal(symlink(other, path), 0);
		return;
	case WHOLE:
		return;
	default:
		assert_int_equal(unlink(path), 0);
	}
	if (state == DIRECTORY)
		assert_int_equal(mkdir(path, 0700), 0);
	if (state == PIPE)
		assert_int_equal(mkfifo(path, 0600), 0);
}

static void change(const struct files *x, enum now_state state)
{
	char text[sizeof(content) + 1];
	size_t len = strlen(content);

	memcpy(text, content, sizeof(content));
	if (state == CHANGED)
		text[len / 2] ^= 1;
	if (state == SHORTER)
		len--;
	if (state == LONGER)
		text[len++] = '!';
	text[state == EMPTY ? 0 : len] = '\0';
	put_text(x->pg, "f", text);
	if (state == VANISHED)
		assert_int_equal(store_remove(x->pg, "f", false), 0);
}

static void check_stored(const struct files *x, const struct file_put_result *r)
{
	struct pipe_result back;
	struct pipe_spec spec = { .decrypt = x->o.pass, .expand = x->o.codec, .hash_plain = true };
	const struct get_opts get = { .spec = &spec, .result = &back };
	struct store_entry e;

	assert_int_equal(store_stat(x->a, x->repo, stored_name(x), &e), 0);
	assert_int_equal(e.type, STORE_FILE);
	assert_false(e.shared);
	assert_int_equal(e.size, r->pipe.stored_size);
	assert_int_equal(store_get(x->repo, stored_name(x), &get, sink_null(x->a)), 0);
	assert_true(sum_equal(&back.plain_sum, &r->pipe.plain_sum));
	assert_int_equal(back.plain_size, r->pipe.plain_size);
}

static void one_file(enum codec codec, const char *pass, enum left_state left, enum now_state now)
{
	SCOPED_ARENA(a);
	struct files x;
	struct file_put_result r;
	struct store_entry e;
	struct buf other;

	setup(&x, a, codec, pass);
	damage(&x, left);
	change(&x, now);
	buf_init(&other, a);
	assert_int_equal(file_put(a, x.pg, x.repo, &x.row, &resume_row, &x.o, &r), 0);
	assert_int_equal(err_code(), ERR_NONE);
	assert_int_equal(r.left_bad, now == SAME && left != WHOLE);
	if (now == VANISHED) {
		assert_int_equal(r.fate, FILE_VANISHED);
		assert_int_equal(store_stat(a, x.repo, stored_name(&x), &e), STORE_ABSENT);
	} else {
		assert_int_equal(r.fate, now == SAME && left == WHOLE ? FILE_RESUMED : FILE_STORED);
		check_stored(&x, &r);
	}
	/* what another name or a link led to is what it was */
	if (left != HARD && left != LINK)
		return;
	assert_int_equal(store_read(x.repo, "other", 1000, false, &other), 0);
	assert_int_equal(other.len, x.row.repo_size);
	if (!x.row.has_repo_sum)
		assert_memory_equal(other.data, content, other.len);
}

static void what_counts(void **state)
{
	static const enum codec codecs[] = { CODEC_NONE, CODEC_GZ, CODEC_LZ4, CODEC_ZST, CODEC_BZ2 };

	for (size_t c = 0; c < COUNT(codecs); c++)
		for (int left = 0; left < LEFT_STATES; left++)
			for (int now = 0; now < NOW_STATES; now++) {
				one_file(codecs[c], NULL, (enum left_state)left, (enum now_state)now);
				if (c < 2)
					one_file(codecs[c], "secret", (enum left_state)left, (enum now_state)now);
			}
}

/* Bytes of another size than a manifest says, or with another sum, are not resumed even if the file is whole. */
static void what_the_save_point_says(void **state)
{
	SCOPED_ARENA(a);
	struct files x;
	struct file_put_result r;

	setup(&x, a, CODEC_GZ, NULL);
	x.row.repo_sum.bytes[3] ^= 1;
	assert_int_equal(file_put(a, x.pg, x.repo, &x.row, &resume_row, &x.o, &r), 0);
	assert_int_equal(r.fate, FILE_STORED);
	assert_true(r.left_bad);
	setup(&x, a, CODEC_GZ, NULL);
	x.row.sum.bytes[3] ^= 1;
	assert_int_equal(file_put(a, x.pg, x.repo, &x.row, &resume_row, &x.o, &r), 0);
	assert_int_equal(r.fate, FILE_STORED);
	assert_false(r.left_bad);
	setup(&x, a, CODEC_GZ, NULL);
	x.row.size++;
	assert_int_equal(file_put(a, x.pg, x.repo, &x.row, &resume_row, &x.o, &r), 0);
	assert_int_equal(r.fate, FILE_STORED);
	check_stored(&x, &r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_pairs),
		cmocka_unit_test(label_in_the_future),
		cmocka_unit_test(texts),
		cmocka_unit_test(each_file),
		cmocka_unit_test(directories),
		cmocka_unit_test(own_rows),
		cmocka_unit_test_setup_teardown(what_counts, make_top, remove_top),
		cmocka_unit_test_setup_teardown(what_the_save_point_says, make_top, remove_top),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
