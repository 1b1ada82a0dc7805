/*
 * resume: the decisions about what an interrupted backup left.
 */
#include "repo/resume.h"

#include <inttypes.h>
#include <string.h>

#include "base/str.h"

enum resume_why resume_asked(enum backup_type type, bool enabled)
{
	if (type != BACKUP_FULL)
		return RESUME_NOT_FULL;
	return enabled ? RESUME_FITS : RESUME_DISABLED;
}

static bool same_cluster(const struct backup_db *d, const struct backup_db *e)
{
	return d->id == e->id && d->system_id == e->system_id && strcmp(d->version, e->version) == 0;
}

enum resume_why resume_fits(const struct manifest *now, const struct manifest *left, bool encrypted,
	const char *label_now)
{
	/* another version may have meant something else by what it wrote */
	if (strcmp(now->program, left->program) != 0)
		return RESUME_PROGRAM;
	if (now->type != left->type)
		return RESUME_TYPE;
	if (now->codec != left->codec)
		return RESUME_CODEC;
	if (!same_cluster(&now->db, &left->db))
		return RESUME_CLUSTER;
	if (encrypted != (left->cipher_pass != NULL))
		return RESUME_CIPHER;
	/* all backups until then would have to be refused */
	return strcmp(left->label, label_now) > 0 ? RESUME_FUTURE : RESUME_FITS;
}

bool resume_warns(enum resume_why why)
{
	return why != RESUME_NOT_FULL && why != RESUME_DISABLED;
}

static char *reason(struct arena *a, enum resume_why why, const char *copy, const struct manifest *now,
	const struct manifest *left)
{
	switch (why) {
	case RESUME_NOT_FULL:
		return "resume only valid for full backup";
	case RESUME_DISABLED:
		return "resume is disabled";
	case RESUME_UNREAD:
		return arena_printf(a, "unable to read %s", copy);
	case RESUME_PROGRAM:
		return arena_printf(a, "new pgBackRest version '%s' does not match resumable pgBackRest version "
			"'%s'", now->program, left->program);
	case RESUME_TYPE:
		return arena_printf(a, "new backup type '%s' does not match resumable backup type '%s'",
			backup_type_name(now->type), backup_type_name(left->type));
	case RESUME_CODEC:
		return arena_printf(a, "new compression '%s' does not match resumable compression '%s'",
			codec_info(now->codec)->name, codec_info(left->codec)->name);
	case RESUME_CLUSTER:
		return arena_printf(a, "it is of another cluster (version %s, system-id %" PRIu64 ")",
			left->db.version, left->db.system_id);
	case RESUME_CIPHER:
		return left->cipher_pass == NULL ? "it is not encrypted" : "it is encrypted";
	case RESUME_FUTURE:
		return "its label lies in the future";
	case RESUME_USED:
		return "its label is not later than those of earlier backups";
	case RESUME_NAMES:
		return "it holds a file with an impossible name";
	default:
		return "partially deleted by prior resume or invalid";
	}
}

char *resume_why_text(struct arena *a, enum resume_why why, const char *label, const char *copy,
	const struct manifest *now, const struct manifest *left)
{
	if (why == RESUME_FITS)
		return arena_printf(a, "resumable backup %s of same type exists -- invalid files will be removed "
			"then the backup will resume", label);
	return arena_printf(a, "backup '%s' cannot be resumed: %s", label, reason(a, why, copy, now, left));
}

/* ---- files ---- */

bool *resume_own(struct arena *a, const struct manifest *m, const struct plan *plan)
{
	bool *own = arena_zalloc(a, m->files.n * sizeof(*own));

	for (size_t i = 0; i < plan->jobs.n; i++) {
		const uint32_t row = plan->order[plan->jobs.v[i].first];
		if (plan->jobs.v[i].bundle == 0 && plan->rows[row].how == BLOCK_WHOLE)
			own[row] = true;
	}
	return own;
}

/* Without a codec and a cipher the content's sum is that of the stored bytes. */
static bool has_sums(const struct manifest *left, const struct manifest_file *was)
{
	const bool same_bytes = left->codec == CODEC_NONE && left->cipher_pass == NULL;

	return was->has_sum && (was->has_repo_sum || same_bytes);
}

static enum resume_file judge(const struct resume_files *r, const struct manifest_file *f,
	const struct manifest_file *was, uint64_t size, bool shared)
{
	if (!has_sums(r->left, was))
		return RESUME_NO_SUM;
	if (was->reference != NULL || was->bundle != 0 || was->block_map_size != 0)
		return RESUME_ELSEWHERE;
	if (was->size != f->size_orig)
		return RESUME_SIZE;
	if (was->mtime != f->mtime && !r->delta)
		return RESUME_TIME;
	if (f->size_orig == 0)
		return RESUME_EMPTY;
	if (size != was->repo_size)
		return RESUME_STORED;
	return shared ? RESUME_SHARED : RESUME_KEEP;
}

enum resume_file resume_file(const struct resume_files *r, const char *name, uint64_t size, bool shared,
	uint32_t *row)
{
	SCOPED_ARENA(a);
	const char *suffix = codec_info(r->now->codec)->suffix;

	if (!str_ends(name, suffix))
		return RESUME_SUFFIX;
	name = arena_strndup(a, name, strlen(name) - strlen(suffix));
	const struct manifest_file *f = manifest_file_find(r->now, name);
	if (f == NULL)
		return RESUME_NOT_LISTED;
	const struct manifest_file *was = manifest_file_find(r->left, name);
	if (was == NULL)
		return RESUME_NOT_LEFT;
	*row = (uint32_t)(f - r->now->files.v);
	enum resume_file why = judge(r, f, was, size, shared);
	return why == RESUME_KEEP && !r->own[*row] ? RESUME_OTHERWISE : why;
}

const char *resume_file_text(enum resume_file why)
{
	static const char *const texts[] = {
		[RESUME_KEEP] = "",
		[RESUME_SUFFIX] = "mismatched compression type",
		[RESUME_NOT_LISTED] = "missing in manifest",
		[RESUME_NOT_LEFT] = "missing in resumed manifest",
		[RESUME_NO_SUM] = "no checksum in resumed manifest",
		[RESUME_ELSEWHERE] = "stored elsewhere in resumed manifest",
		[RESUME_SIZE] = "mismatched size",
		[RESUME_TIME] = "mismatched timestamp",
		[RESUME_EMPTY] = "zero size",
		[RESUME_OTHERWISE] = "to be stored in a bundle or as blocks",
		[RESUME_STORED] = "mismatched repository size",
		[RESUME_SHARED] = "hard link",
	};

	return texts[why];
}

bool resume_has_dir(const struct manifest *now, const char *name)
{
	if (manifest_path_find(now, name) != NULL)
		return true;
	/* the parent of tablespaces need not be listed */
	for (size_t i = 0; strcmp(name, "pg_tblspc") == 0 && i < now->targets.n; i++)
		if (now->targets.v[i].tablespace_oid != 0)
			return true;
	return false;
}

void resume_carry(struct manifest_file *f, const struct manifest_file *was)
{
	f->sum = was->sum;
	f->has_sum = true;
	f->repo_size = was->repo_size;
	f->repo_sum = was->repo_sum;
	f->has_repo_sum = was->has_repo_sum;
	f->page_ok = was->page_ok;
}
