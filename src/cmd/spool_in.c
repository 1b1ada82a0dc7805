/*
 * spool_in: WAL segments that archive-get has fetched ahead.
 *
 * Always true: the note is written after the file and removed after it, both by rename or unlink; the file that is
 * handed over is the one whose note was read, by inode, whatever happens to names meanwhile.
 */
#include "cmd/spool_in.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "cmd/ctx.h"
#include "cmd/spool.h"
#include "repo/wal_dest.h"
#include "store/store.h"

#define NOTE_SUFFIX ".note"
#define NOTE_MAX ((size_t)64 * 1024) /* bytes; ours has a few hundred */
#define COPY_SIZE ((size_t)256 * 1024)

const char *spool_in_path(struct arena *a, const struct spool_in *q, const char *segment)
{
	return path_join(a, q->dir, segment);
}

static const char *note_path(struct arena *a, const struct spool_in *q, const char *segment)
{
	return arena_printf(a, "%s/%s" NOTE_SUFFIX, q->dir, segment);
}

static int add_boot(struct buf *out)
{
	buf_adds(out, "boot ");
	return file_read("/proc/sys/kernel/random/boot_id", 64, out); /* a line with its end */
}

static void add_time(struct buf *out, const struct timespec *t)
{
	buf_addf(out, " %" PRId64 ".%09ld", (int64_t)t->tv_sec, t->tv_nsec);
}

/* The server that runs, by process and start time (first and third line of its file); none: the pg_control that waits
 * for one. */
static int add_run(struct arena *a, const char *data, struct buf *out)
{
	const char *control = path_join(a, data, "global/pg_control");
	struct stat st;
	struct buf text;

	buf_init(&text, a);
	if (file_read(path_join(a, data, "postmaster.pid"), NOTE_MAX, &text) == 0) {
		const strvec lines = str_split(a, text.data, '\n');
		if (lines.n < 4)
			return err_set(ERR_FORMAT, "'%s/postmaster.pid' is not whole", data);
		buf_addf(out, "server %s %s\n", lines.v[0], lines.v[2]);
		return 0;
	}
	if (err_code() != ERR_FILE_MISSING)
		return -1;
	err_clear();
	if (sys.stat(control, &st) != 0)
		return err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", control);
	buf_addf(out, "control %ju %ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	add_time(out, &st.st_ctim);
	buf_addc(out, '\n');
	return 0;
}

static int add_cluster(struct arena *a, const char *data, struct buf *out)
{
	struct stat st;

	if (sys.stat(data, &st) != 0)
		return err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", data);
	buf_addf(out, "cluster %ju %ju %s\n", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino, data);
	return add_run(a, data, out);
}

static void add_repos(struct arena *a, const struct config *cfg, struct buf *out)
{
	for (size_t i = 0; i < cfg->repo.n; i++) {
		const struct config_repo *r = &cfg->repo.v[i];
		if (cfg->repo_key != 0 && cfg->repo_key != r->key)
			continue;
		buf_addf(out, "repo%u %s %s\n", r->key, r->cipher_type, ctx_repo_identity(a, r));
	}
}

int spool_in_open(struct arena *a, const struct config *cfg, const struct pg_control *control,
	const struct wal_expect *expect, struct spool_in *out)
{
	struct buf whose;

	buf_init(&whose, a);
	if (add_boot(&whose) != 0 || add_cluster(a, cfg->pg.v[0].path, &whose) != 0)
		return err_wrap("unable to use the queue of WAL in the spool");
	buf_addf(&whose, "system %" PRIu64 " %s %u %d\n", control->system_id, control->version->name,
		control->wal_segment_size, expect->version != NULL);
	add_repos(a, cfg, &whose);
	*out = (struct spool_in){.dir = spool_dir(a, cfg, "in"), .whose = whose.data, .expect = *expect};
	return 0;
}

int spool_in_make(const struct spool_in *q)
{
	struct stat st;

	if (sys.lstat(q->dir, &st) != 0 && dir_make(q->dir, 0750) != 0)
		return -1;
	if (sys.lstat(q->dir, &st) != 0 || !S_ISDIR(st.st_mode))
		return err_set(ERR_PATH_OPEN, "'%s' is not a folder", q->dir);
	if (access(q->dir, R_OK | W_OK | X_OK) != 0)
		return err_sys(ERR_PATH_OPEN, "unable to write to '%s'", q->dir);
	return 0;
}

const char *spool_in_note(struct arena *a, const struct spool_in *q, const char *segment, const struct sum *sum,
	const struct stat *file)
{
	char hex[SHA1_HEX + 1];
	struct sum check;
	struct buf b;

	buf_init(&b, a);
	sum_hex(sum, hex);
	buf_addf(&b, "pgStrata WAL queue 1\nsegment %s\nsha1 %s\nfile %ju %ju %jd", segment, hex,
		(uintmax_t)file->st_dev, (uintmax_t)file->st_ino, (intmax_t)file->st_size);
	add_time(&b, &file->st_mtim);
	add_time(&b, &file->st_ctim);
	buf_addf(&b, "\n%s", q->whose);
	sha1_of(b.data, b.len, &check);
	sum_hex(&check, hex);
	buf_addf(&b, "checksum %s\n", hex);
	return b.data;
}

/* A file and nothing else: a FIFO would keep us waiting, a link lead elsewhere.  -1: nothing is said why. */
static int open_file(const char *path, struct stat *st)
{
	int fd = sys.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (sys.fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	sys.close(fd);
	return -1;
}

/* The SHA-1 that a note speaks of; the rest of it is compared as a whole. */
static bool find_sum(const char *note, struct sum *out)
{
	static const char key[] = "\nsha1 ";
	const char *at = strstr(note, key);

	return at != NULL && sum_parse(at + strlen(key), out);
}

/* Is there a note that fits this file? */
static bool is_believed(const struct spool_in *q, const char *segment, const struct stat *file, struct sum *sum)
{
	SCOPED_ARENA(a);
	char *text = arena_zalloc(a, NOTE_MAX + 1);
	struct stat st;

	int fd = open_file(note_path(a, q, segment), &st);
	if (fd < 0)
		return false;
	ssize_t n = sys_read_full(fd, text, NOTE_MAX);
	sys.close(fd);
	return n > 0 && (size_t)n == strlen(text) && find_sum(text, sum) &&
		strcmp(text, spool_in_note(a, q, segment, sum, file)) == 0;
}

/* A segment of the queue, open. */
struct queued {
	const struct spool_in *q;
	const char *segment, *path;
	int fd;
	struct stat st;
	struct sum sum;
};

static bool open_queued(struct arena *a, const struct spool_in *q, const char *segment, struct queued *out)
{
	out->q = q;
	out->segment = segment;
	out->path = spool_in_path(a, q, segment);
	out->fd = open_file(out->path, &out->st);
	if (out->fd < 0)
		return false;
	fd_defer_close(a, out->fd);
	return is_believed(q, segment, &out->st, &out->sum);
}

bool spool_in_has(const struct spool_in *q, const char *segment)
{
	SCOPED_ARENA(a);
	struct queued f;

	return open_queued(a, q, segment, &f);
}

bool spool_in_seems_to_have(const struct spool_in *q, const char *segment)
{
	SCOPED_ARENA(a);
	struct stat st;

	return sys.lstat(note_path(a, q, segment), &st) == 0;
}

int spool_in_believe(const struct spool_in *q, const char *segment, const struct sum *sum)
{
	SCOPED_ARENA(a);
	const char *path = spool_in_path(a, q, segment);
	struct stat st;

	if (sys.lstat(path, &st) != 0)
		return err_sys(ERR_FILE_INFO, "unable to get info for path/file '%s'", path);
	const char *note = spool_in_note(a, q, segment, sum, &st);
	struct sink *to = wal_dest_new(a, note_path(a, q, segment));
	return to == NULL || sink_write(to, note, strlen(note)) != 0 ? -1 : sink_finish(to);
}

/* It was proven when it was fetched; that it is the segment of its name costs nothing to see again. */
static int check_head(struct arena *a, const struct queued *f)
{
	struct wal_seen seen = {0};
	uint8_t head[WAL_HEADER];
	ssize_t n = sys.pread(f->fd, head, sizeof(head), 0);

	if (n < 0)
		return err_sys(ERR_FILE_READ, "unable to read '%s'", f->path);
	wal_seen_add(&seen, head, (size_t)n);
	seen.size = (uint64_t)f->st.st_size;
	return wal_check_header(&seen, arena_printf(a, "'%s'", f->path), f->segment, &f->q->expect);
}

static int prove_copy(void *ctx, const struct wal_seen *seen)
{
	const struct queued *f = ctx;

	if (!sum_equal(&seen->sum, &f->sum))
		return err_set(ERR_CHECKSUM, "'%s' does not have the checksum of its note", f->path);
	return wal_check_header(seen, f->path, f->segment, &f->q->expect);
}

/* To another file system. */
static int copy_out(struct arena *a, struct queued *f, const char *dest)
{
	struct sink *to = wal_dest_new(a, dest);
	uint8_t *data = arena_alloc(a, COPY_SIZE);
	ssize_t n;

	if (to == NULL)
		return -1;
	to = wal_gate(a, to, prove_copy, f);
	while ((n = sys_read_full(f->fd, data, COPY_SIZE)) > 0)
		if (sink_write(to, data, (size_t)n) != 0)
			return -1;
	if (n < 0)
		return err_sys(ERR_FILE_READ, "unable to read '%s'", f->path);
	if (sink_finish(to) != 0)
		return -1;
	sys.unlink(f->path);
	return SPOOL_IN_TAKEN;
}

/* Is it still the file whose note was read?  Its ctime is new: it was given another name. */
static bool is_same(const struct queued *f, const char *path)
{
	struct stat st;

	return sys.lstat(path, &st) == 0 && st.st_dev == f->st.st_dev && st.st_ino == f->st.st_ino &&
		st.st_size == f->st.st_size && st.st_mtim.tv_sec == f->st.st_mtim.tv_sec &&
		st.st_mtim.tv_nsec == f->st.st_mtim.tv_nsec;
}

/* In two steps: between the look at the note and the rename the name may have become another file's. */
static int move_out(struct arena *a, struct queued *f, const char *dest)
{
	const char *temp = wal_dest_temp(a, dest);

	if (temp == NULL)
		return -1;
	if (sys.rename(f->path, temp) != 0) {
		if (errno == EXDEV)
			return copy_out(a, f, dest);
		if (errno == ENOENT)
			return SPOOL_IN_NOT;
		return err_sys(ERR_FILE_MOVE, "unable to move '%s' to '%s'", f->path, temp);
	}
	if (!is_same(f, temp)) {
		sys.unlink(temp);
		return SPOOL_IN_NOT;
	}
	if (sys.rename(temp, dest) == 0)
		return SPOOL_IN_TAKEN;
	(void)err_sys(ERR_FILE_MOVE, "unable to move '%s' to '%s'", temp, dest);
	sys.unlink(temp);
	return -1;
}

int spool_in_take(const struct spool_in *q, const char *segment, const char *dest)
{
	SCOPED_ARENA(a);
	struct queued f;

	if (!open_queued(a, q, segment, &f))
		return SPOOL_IN_NOT;
	if (check_head(a, &f) != 0)
		return -1;
	int rc = move_out(a, &f, dest);
	if (rc == SPOOL_IN_TAKEN)
		sys.unlink(note_path(a, q, segment)); /* alone it says nothing */
	return rc;
}

int64_t spool_in_progress(const struct spool_in *q, const char *segment)
{
	SCOPED_ARENA(a);
	const char *temp = arena_printf(a, "%s" WAL_DEST_TEMP, segment);
	struct dir_names names;
	struct stat st;
	int64_t size = -1;

	if (dir_list(a, q->dir, &names) != 0) {
		err_clear();
		return -1;
	}
	for (size_t i = 0; i < names.n; i++) {
		/* under its own name, but without its note yet, it is at its end */
		if (!str_starts(names.v[i], temp) && strcmp(names.v[i], segment) != 0)
			continue;
		if (sys.lstat(path_join(a, q->dir, names.v[i]), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > size)
			size = st.st_size;
	}
	return size;
}

static void remove_entry(struct arena *a, const char *dir, const char *name)
{
	const char *path = path_join(a, dir, name);
	struct stat st;
	int rc = 0;

	if (sys.lstat(path, &st) != 0)
		return;
	if (S_ISDIR(st.st_mode))
		rc = store_remove_tree(store_posix(a, dir), name);
	else if (sys.unlink(path) != 0 && errno != ENOENT)
		rc = err_sys(ERR_FILE_REMOVE, "unable to remove '%s'", path);
	if (rc == 0)
		return;
	log_warn("%s", err_msg());
	err_clear();
}

static bool is_wanted(const struct spool_in *q, const strvec *wanted, const char *name)
{
	char segment[WAL_NAME + 1] = "";
	const char *const key = segment;

	if (strlen(name) < WAL_NAME || (name[WAL_NAME] != '\0' && strcmp(name + WAL_NAME, NOTE_SUFFIX) != 0))
		return false;
	memcpy(segment, name, WAL_NAME);
	return bsearch(&key, wanted->v, wanted->n, sizeof(*wanted->v), str_cmp_ptr) != NULL && spool_in_has(q, segment);
}

/* wanted NULL: nothing is. */
static void empty(const char *dir, const struct spool_in *q, const strvec *wanted)
{
	SCOPED_ARENA(a);
	struct dir_names names;

	if (dir_list(a, dir, &names) != 0) {
		if (err_code() != ERR_PATH_MISSING)
			log_warn("%s", err_msg());
		err_clear();
		return;
	}
	for (size_t i = 0; i < names.n; i++)
		if (wanted == NULL || !is_wanted(q, wanted, names.v[i]))
			remove_entry(a, dir, names.v[i]);
}

void spool_in_tidy(const struct spool_in *q, const strvec *wanted)
{
	empty(q->dir, q, wanted);
}

void spool_in_forget(const struct config *cfg)
{
	static const char *const parts[] = {"in", "out"};
	SCOPED_ARENA(a);
	struct stat st;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const char *dir = spool_dir(a, cfg, parts[i]);
		if (sys.lstat(dir, &st) == 0 && S_ISDIR(st.st_mode))
			empty(dir, NULL, NULL);
	}
}
