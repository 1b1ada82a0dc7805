/*
 * backup_publish: from the copied files to the moment the backup counts.
 *
 * The order of writing is the format's (repository.md 5.13): manifest copy, manifest (from here on the backup
 * exists), history, latest, backup.info, archive.info.
 */
#include "cmd/backup_intern.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "repo/catalog.h"

int backup_add_file(struct backup *b, const char *name, const char *content, int64_t mtime)
{
	SCOPED_ARENA(a);
	struct manifest *m = b->m;
	const struct manifest_path *root = manifest_path_find(m, "pg_data");
	const struct pipe_spec spec = { .compress = m->codec, .level = m->level, .encrypt = m->cipher_pass,
		.hash_plain = true, .hash_stored = true };
	const struct put_opts put = { .no_dir_sync = true };
	struct pipe_result passed;
	char *full = arena_printf(m->arena, "pg_data/%s", name);

	struct sink *to = store_put(a, b->repo->store,
		arena_printf(a, "%s/%s%s", b->dir, full, codec_info(m->codec)->suffix), &put);
	if (to == NULL)
		return -1;
	to = pipe_chain(a, &spec, NULL, NULL, to, &passed);
	if (sink_write(to, content, strlen(content)) != 0 || sink_finish(to) != 0)
		return -1;
	struct manifest_file *f = vec_add(&m->files);
	f->name = full;
	f->user = m->file_user;
	f->group = m->file_group;
	f->mode = root->mode & 0644;
	f->mtime = mtime;
	f->size = f->size_orig = passed.plain_size;
	f->sum = passed.plain_sum;
	f->has_sum = true;
	f->repo_size = passed.stored_size;
	f->repo_sum = passed.stored_sum;
	f->has_repo_sum = m->codec != CODEC_NONE || m->cipher_pass != NULL;
	manifest_sort(m);
	log_detail("wrote '%s' file returned from backup stop function", name);
	return 0;
}

/* The last save point must still be what we wrote. */
static int check_save_point(struct backup *b)
{
	SCOPED_ARENA(a);
	struct pipe_result stored;
	const struct pipe_spec spec = { .hash_stored = true };
	const struct get_opts get = { .spec = &spec, .result = &stored };
	char *path = layout_copy(a, layout_manifest(a, b->cfg->stanza, b->m->label));

	if (store_get(b->repo->store, path, &get, sink_null(a)) != 0)
		return err_wrap("unable to prove that the backup's directory is untouched");
	if (sum_equal(&b->save_point, &stored.stored_sum))
		return 0;
	(void)err_set(ERR_FILE_INVALID, "'%s' was changed while the backup ran",
		store_name(a, b->repo->store, path));
	return err_hint("does another program or host write to this repository?");
}

/* Somebody who resumed or removed what seemed an interrupted backup to him must not be written over. */
int backup_save_point(struct backup *b)
{
	if (b->saved && check_save_point(b) != 0)
		return -1;
	b->saved = true;
	return manifest_save_copy(b->repo->store, b->cfg->stanza, b->infos.backup.cipher_pass, b->m,
		&b->save_point);
}

static void complete_manifest(struct backup *b)
{
	struct manifest *m = b->m;

	m->hardlink = b->hardlink;
	m->complete = true;
}

static int list_backup(struct backup *b)
{
	struct backup_line line;
	struct store *repo = b->repo->store;
	const char *stanza = b->cfg->stanza;

	if (b->repo->cfg->symlink && store_link(repo, b->m->label, layout_latest(b->arena, stanza)) != 0)
		return -1;
	manifest_summary(b->arena, b->m, &line);
	backup_info_add(&b->infos.backup, &line);
	if (backup_info_save(repo, stanza, b->repo->pass, &b->infos.backup) != 0)
		return -1;
	/* Written again unchanged: its time stamp matters to life-cycle rules of object stores. */
	if (archive_info_save(repo, stanza, b->repo->pass, &b->infos.archive) != 0)
		return -1;
	log_info("new backup label = %s", b->m->label);
	log_info("%s backup size = %s, file total = %zu", backup_type_name(b->m->type),
		str_size(b->arena, line.size_delta), b->m->files.n);
	return 0;
}

/* Another host may have expired what this backup is based on while it ran. */
static int check_bases(struct backup *b)
{
	SCOPED_ARENA(a);
	const strvec *labels = &b->m->reference;
	struct store_entry e;

	for (size_t i = 0; i + 1 < labels->n; i++) {
		int rc = store_stat(a, b->repo->store, layout_manifest(a, b->cfg->stanza, labels->v[i]), &e);
		if (rc == STORE_ABSENT)
			return err_set(ERR_BACKUP_SET, "backup '%s', which this backup is based on, was removed "
				"while it ran", labels->v[i]);
		if (rc != 0)
			return -1;
	}
	return 0;
}

int backup_publish(struct backup *b)
{
	complete_manifest(b);
	/* Locks hold on one host; a repository may be shared by several.  Before the backup is published its
	 * own directory must be exactly what was written. */
	if (backup_prove_untouched(b) != 0 || check_save_point(b) != 0 || check_bases(b) != 0)
		return -1;
	if (manifest_publish(b->repo->store, b->cfg->stanza, b->infos.backup.cipher_pass, b->m) != 0)
		return -1;
	return list_backup(b);
}
