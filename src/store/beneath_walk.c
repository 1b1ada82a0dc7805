/*
 * beneath_walk: from a path to a descriptor.
 *
 * Always true: the kernel never follows a link here.  openat2 answers for paths without links, which are nearly all;
 * where there is a link, or no openat2, the path is walked part by part, and a link that may be followed is read from
 * its descriptor and walked in its turn.
 */
#include "store/beneath_intern.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>
#if __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#endif

#include "base/str.h"
#include "base/sys.h"

#define LINKS_MAX 40 /* on one path, as the kernel has it */

static bool without_openat2;

void beneath_without_openat2(bool without)
{
	without_openat2 = without;
}

struct part {
	const char *name;
	bool linked; /* of a link's destination, not of the path that was asked for */
	bool last;   /* of that destination */
};

struct walk {
	const struct beneath_way *way;
	struct arena *arena;
	VEC(struct part) todo; /* the next one last */
	int at; /* reached so far */
	unsigned links;
};

/* close without an errno of its own */
static void drop(int fd)
{
	int number = errno;

	sys.close(fd);
	errno = number;
}

static void move_to(struct walk *w, int fd)
{
	drop(w->at);
	w->at = fd;
}

static void add_parts(struct walk *w, const char *path, bool linked)
{
	const strvec parts = str_split(w->arena, path, '/');
	bool last = linked;

	for (size_t i = parts.n; i-- > 0;) {
		if (parts.v[i][0] == '\0' || strcmp(parts.v[i], ".") == 0)
			continue;
		vec_push(&w->todo, ((struct part){ parts.v[i], linked, last }));
		last = false;
	}
}

/* The destination of a cluster's link may lie behind links of the system, but is none itself: so a scan has it. */
static bool may_follow(const struct walk *w, int fd, const struct part *p, const struct stat *st)
{
	bool trusted = st->st_uid == 0 || st->st_uid == geteuid();
	struct statfs fs;

	/* the links of /proc lead where their text does not say */
	if (w->links == LINKS_MAX || fstatfs(fd, &fs) != 0 || fs.f_type == PROC_SUPER_MAGIC)
		return false;
	if (w->way->kind == BENEATH_REPO)
		return trusted;
	return p->linked ? trusted && !p->last : w->links == 0;
}

static int follow(struct walk *w, int fd, const struct part *p, const struct stat *st)
{
	char text[PATH_MAX];

	if (!may_follow(w, fd, p, st)) {
		errno = EXDEV;
		return -1;
	}
	ssize_t len = readlinkat(fd, "", text, sizeof(text));
	if (len < 0)
		return -1;
	if (len == sizeof(text)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (len > 0 && text[0] == '/') {
		int top = sys.open("/", O_PATH | O_DIRECTORY, 0);
		if (top < 0)
			return -1;
		move_to(w, top);
	}
	add_parts(w, arena_strndup(w->arena, text, (size_t)len), true);
	w->links++;
	return 0;
}

static int step(struct walk *w)
{
	const struct part p = w->todo.v[--w->todo.n];
	struct stat st;

	/* no caller lets one pass; what is asked for never goes up all the same */
	if (!p.linked && strcmp(p.name, "..") == 0) {
		errno = EXDEV;
		return -1;
	}
	int fd = openat(w->at, p.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (sys.fstat(fd, &st) != 0) {
		drop(fd);
		return -1;
	}
	if (!S_ISLNK(st.st_mode) || (w->todo.n == 0 && !w->way->follow)) {
		move_to(w, fd);
		return 0;
	}
	int rc = follow(w, fd, &p, &st);
	drop(fd);
	return rc;
}

/* Takes root. */
static int walk(const struct beneath_way *way, int root)
{
	SCOPED_ARENA(a);
	struct walk w = { .way = way, .arena = a, .at = root };

	vec_init(&w.todo, a);
	add_parts(&w, way->path, false);
	while (w.todo.n > 0) {
		if (step(&w) != 0) {
			drop(w.at);
			return -1;
		}
	}
	return w.at;
}

static int open_straight(int root, const char *path)
{
#ifdef RESOLVE_BENEATH
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };

	if (!without_openat2)
		return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
#endif
	errno = ENOSYS;
	return -1;
}

static bool is_link(int fd)
{
	struct stat st;

	return sys.fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);
}

int beneath_open(const struct beneath_way *way)
{
	int root = sys.open(way->root, O_PATH, 0);

	if (root < 0 || way->path[0] == '\0')
		return root;
	int fd = open_straight(root, way->path);
	bool done = fd < 0 ? errno == ENOENT || errno == ENOTDIR : !way->follow || !is_link(fd);
	if (done) {
		drop(root);
		return fd;
	}
	/* a link, a kernel without openat2, or a failure that the walk will meet as well */
	if (fd >= 0)
		drop(fd);
	return walk(way, root);
}
