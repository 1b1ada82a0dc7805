/*
 * restore_plan: what a restore is about to do: how much, where, is there room, and is the WAL there?
 *
 * Nothing is changed.  Files that are there already are looked at only where they may be kept or replaced, and
 * only from outside: whether their bytes are right, the restore itself will find out.
 */
#include "cmd/restore_plan.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "repo/block_stored.h"

static const char *why_chosen(struct restore *r)
{
	if (r->cfg->set != NULL)
		return arena_printf(r->arena, "--set=%s", r->cfg->set);
	if (strcmp(r->type, "time") == 0)
		return "newest backup that ended before the target";
	if (strcmp(r->type, "lsn") == 0)
		return "newest backup that ended at or before the target";
	if (r->cfg->repo_key != 0 || r->cfg->repo.n == 1)
		return "newest backup of the repository";
	return "newest backup of all repositories";
}

/* --- where --- */

/* The place that a file of the manifest goes to: the longest name that it lies below. */
static size_t place_of(const struct restore *r, const char *name)
{
	size_t best = 0, best_len = 0;

	for (size_t i = 0; i < r->places.n; i++) {
		size_t len = strlen(r->places.v[i].name);
		if (len > best_len && strncmp(r->places.v[i].name, name, len) == 0 &&
			(name[len] == '/' || name[len] == '\0')) {
			best = i;
			best_len = len;
		}
	}
	return best;
}

static const char *path_in_place(struct arena *a, const struct restore_place *p, const char *name)
{
	const char *below = name + strlen(p->name);

	return path_join(a, p->dir, p->file != NULL ? p->file : *below == '/' ? below + 1 : below);
}

/* The file system that a directory is on, or will be on when it is made. */
static int find_space(struct restore *r, const char *dir, struct plan_space *out)
{
	struct stat st;
	struct statvfs fs;
	const char *at = dir;

	while (sys.stat(at, &st) != 0) {
		if ((errno != ENOENT && errno != ENOTDIR) || strcmp(at, "/") == 0)
			return err_sys(ERR_FILE_INFO, "unable to get information about '%s'", at);
		at = path_parent(r->arena, at);
	}
	if (statvfs(at, &fs) != 0)
		return err_sys(ERR_FILE_INFO, "unable to get the free space at '%s'", at);
	out->path = dir;
	out->dev = st.st_dev;
	out->block = fs.f_frsize == 0 ? 1 : fs.f_frsize;
	out->free = (r->as_root ? fs.f_bfree : fs.f_bavail) * out->block;
	return 0;
}

/* Which space each place belongs to. */
static int find_spaces(struct restore *r, struct restore_plan *plan, size_t *of_place)
{
	for (size_t i = 0; i < r->places.n; i++) {
		struct plan_space s = { 0 };
		size_t k = 0;
		if (find_space(r, r->places.v[i].dir, &s) != 0)
			return -1;
		while (k < plan->spaces.n && plan->spaces.v[k].dev != s.dev)
			k++;
		if (k == plan->spaces.n)
			vec_push(&plan->spaces, s);
		of_place[i] = k;
	}
	return 0;
}

/* --- how much --- */

static bool is_alike(const struct restore *r, const struct manifest_file *f, const struct stat *st)
{
	if (!r->delta || (uint64_t)st->st_size != f->size)
		return false;
	return !r->delta_by_time || (st->st_mtime == f->mtime && f->mtime < r->m->copy_start);
}

/* The least that is written of a file.  Of one stored as blocks that is there only what differs is, perhaps
 * nothing; which blocks do, only their map can tell, and it is not read for a plan. */
static uint64_t least_written(const struct restore *r, const struct manifest_file *f, const struct stat *there)
{
	if (there == NULL || !r->delta || r->delta_by_time || !block_is_stored(f))
		return f->size;
	return (uint64_t)there->st_size < f->size ? f->size - (uint64_t)there->st_size : 0;
}

/* Compare a file with what stands in its place; bytes that it takes there already. */
static uint64_t compare(const struct restore *r, const struct manifest_file *f, const struct restore_place *p,
	struct restore_plan *plan)
{
	SCOPED_ARENA(a);
	struct stat st;
	bool there = r->replace && sys.lstat(path_in_place(a, p, f->name), &st) == 0 && S_ISREG(st.st_mode);
	bool alike = there && is_alike(r, f, &st);

	plan->alike += alike;
	if (!alike)
		plan->write_min += least_written(r, f, there ? &st : NULL);
	/* size alone proves nothing; with the time it is what --force asks for */
	if (!alike || !r->delta_by_time)
		plan->write_max += f->size;
	return there ? (uint64_t)st.st_blocks * 512 : 0;
}

static void count_file(const struct restore *r, const struct manifest_file *f, const size_t *of_place,
	struct restore_plan *plan)
{
	size_t place = place_of(r, f->name);
	struct plan_space *s = &plan->spaces.v[of_place[place]];

	plan->files++;
	plan->bytes += f->size;
	if (restore_is_zeroed(r, f)) {
		plan->zeroed_files++;
		plan->zeroed_bytes += f->size;
		return; /* zeros take no room */
	}
	uint64_t there = compare(r, f, &r->places.v[place], plan);
	uint64_t room = (f->size + s->block - 1) / s->block * s->block;
	if (room > there)
		s->need += room - there;
}

static void warn_space(const struct restore *r, const struct restore_plan *plan)
{
	for (size_t i = 0; i < plan->spaces.n; i++) {
		const struct plan_space *s = &plan->spaces.v[i];
		if (s->need > s->free)
			log_warn("not enough room for the restore at '%s': %s needed (%" PRIu64 " bytes), %s free (%"
				PRIu64 " bytes)", s->path, str_size(r->arena, s->need), s->need,
				str_size(r->arena, s->free), s->free);
	}
}

int restore_plan(struct restore *r, struct restore_plan **out)
{
	struct restore_plan *plan = arena_new_object(r->arena, struct restore_plan);
	size_t *of_place = arena_zalloc(r->arena, r->places.n * sizeof(*of_place));

	vec_init(&plan->spaces, r->arena);
	plan->why = why_chosen(r);
	plan->compared = r->replace;
	if (find_spaces(r, plan, of_place) != 0)
		return -1;
	for (size_t i = 0; i < r->m->files.n; i++)
		if (!restore_is_left_out(r->m->files.v[i].name))
			count_file(r, &r->m->files.v[i], of_place, plan);
	warn_space(r, plan);
	*out = plan;
	return restore_wal_plan(r, &plan->wal);
}

int restore_plan_check(const struct restore *r, const struct restore_plan *plan)
{
	return restore_wal_check(r, &plan->wal);
}
