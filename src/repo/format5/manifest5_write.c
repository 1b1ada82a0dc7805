/*
 * manifest5_write: a manifest as text, and the order in which its files come to be
 * (format/repository.md 5, 5.13).
 *
 * The text is streamed into the copy; the main file is made of the copy's stored bytes, since
 * encrypting twice would give two different files (2.8).
 */
#include <string.h>

#include "repo/format5/format5.h"
#include "stream/codec.h"

/* pgBackRest's 9 makes a manifest of a million files 8 % smaller, in four times the time: 12 s of one processor. */
#define HISTORY_LEVEL 3

/* ---- text ---- */

static bool owner_equal(const char *x, const char *y)
{
	if (x == y || x == NULL || y == NULL)
		return x == y;
	return manifest_owner_known(x) && manifest_owner_known(y) && strcmp(x, y) == 0;
}

/* NULL: the default says it. */
static const char *spelled_owner(const char *owner, const char *otherwise)
{
	return owner_equal(owner, otherwise) ? NULL : owner;
}

static uint16_t spelled_mode(uint16_t mode, uint16_t otherwise)
{
	return mode == otherwise ? MODE5_DEFAULT : mode;
}

static void write_file(struct info_out *o, const struct manifest *m, const struct manifest_file *f)
{
	struct manifest_file s = *f;

	s.user = spelled_owner(f->user, m->file_user);
	s.group = spelled_owner(f->group, m->file_group);
	s.mode = spelled_mode(f->mode, m->file_mode);
	if (!f->has_sum) {
		/* not copied: nothing is known of its pages nor of what is stored */
		s.repo_size = f->size;
		s.has_repo_sum = s.page_check = false;
	}
	if (f->size == 0) {
		/* its checksum goes without saying, and no page can be bad */
		s.has_sum = false;
		s.page_ok = true;
	}
	info_out_row(o, f->name, manifest5_file, &s);
}

static void write_files(struct info_out *o, const struct manifest *m)
{
	if (m->files.n > 0)
		info_out_section(o, "target:file");
	for (size_t i = 0; i < m->files.n; i++)
		write_file(o, m, &m->files.v[i]);
	info_out_section(o, "target:file:default");
	info_out_fields(o, manifest5_file_default, m);
}

static void write_links(struct info_out *o, const struct manifest *m)
{
	if (m->links.n == 0)
		return;
	info_out_section(o, "target:link");
	for (size_t i = 0; i < m->links.n; i++) {
		struct manifest_link s = m->links.v[i];

		s.user = spelled_owner(s.user, m->link_user);
		s.group = spelled_owner(s.group, m->link_group);
		info_out_row(o, s.name, manifest5_link, &s);
	}
	if (m->link_user == NULL && m->link_group == NULL)
		return;
	info_out_section(o, "target:link:default");
	info_out_fields(o, manifest5_link_default, m);
}

static void write_paths(struct info_out *o, const struct manifest *m)
{
	if (m->paths.n > 0)
		info_out_section(o, "target:path");
	for (size_t i = 0; i < m->paths.n; i++) {
		struct manifest_path s = m->paths.v[i];

		s.user = spelled_owner(s.user, m->path_user);
		s.group = spelled_owner(s.group, m->path_group);
		s.mode = spelled_mode(s.mode, m->path_mode);
		info_out_row(o, s.name, manifest5_path, &s);
	}
	info_out_section(o, "target:path:default");
	info_out_fields(o, manifest5_path_default, m);
}

static void write_head(struct info_out *o, const struct manifest *m)
{
	info_out_section(o, "backup");
	info_out_fields(o, manifest5_backup, m);
	info_out_section(o, "backup:db");
	info_out_fields(o, backup_db_fields, &m->db);
	info_out_section(o, "backup:option");
	info_out_fields(o, manifest5_option, m);
	if (m->targets.n > 0)
		info_out_section(o, "backup:target");
	for (size_t i = 0; i < m->targets.n; i++)
		info_out_row(o, m->targets.v[i].name, manifest5_target, &m->targets.v[i]);
	info_out_cipher(o, m->cipher_pass);
	if (m->dbs.n > 0)
		info_out_section(o, "db");
	for (size_t i = 0; i < m->dbs.n; i++)
		info_out_row(o, m->dbs.v[i].name, manifest5_db, &m->dbs.v[i]);
	if (m->annotations.n > 0) {
		info_out_section(o, "metadata");
		info_out_fields(o, manifest5_metadata, m);
	}
}

int manifest_write(const struct manifest *m, struct sink *to)
{
	SCOPED_ARENA(tmp);
	struct info_out o;
	const char *name = manifest_misplaced(m);

	if (name != NULL)
		return err_set(ERR_ASSERT, "'%s' is out of order in the manifest of backup '%s'",
			name, m->label);
	info_out_begin(&o, tmp, to, m->program);
	write_head(&o, m);
	write_files(&o, m);
	write_links(&o, m);
	write_paths(&o, m);
	return info_out_finish(&o);
}

/* ---- files ---- */

/* *stored: the SHA-1 of what the file now holds. */
static int write_to(struct store *repo, const char *path, struct pipe_spec spec,
	const struct manifest *m, struct sum *stored)
{
	SCOPED_ARENA(tmp);
	const struct put_opts opts = {.atomic = true};
	struct pipe_result passed;

	spec.hash_stored = true;
	if (info_check_keys(spec.encrypt, m->cipher_pass) != 0)
		return err_wrap("'%s'", store_name(tmp, repo, path));
	struct sink *to = store_put(tmp, repo, path, &opts);
	if (to == NULL || manifest_write(m, pipe_chain(tmp, &spec, NULL, NULL, to, &passed)) != 0)
		return -1;
	*stored = passed.stored_sum;
	return 0;
}

int manifest_save_copy(struct store *repo, const char *stanza, const char *pass,
	const struct manifest *m, struct sum *stored)
{
	SCOPED_ARENA(tmp);
	const char *path = layout_copy(tmp, layout_manifest(tmp, stanza, m->label));

	return write_to(repo, path, (struct pipe_spec){.encrypt = pass}, m, stored);
}

/* The copy's bytes, which must still be those that were written. */
static int copy_to_main(struct store *repo, const char *stanza, const struct manifest *m,
	const struct sum *stored)
{
	SCOPED_ARENA(tmp);
	const char *path = layout_manifest(tmp, stanza, m->label), *copy = layout_copy(tmp, path);
	const struct put_opts put = {.atomic = true};
	const struct pipe_spec spec = {.hash_stored = true};
	struct pipe_result passed;
	const struct get_opts get = {.spec = &spec, .result = &passed};
	struct sink *to = store_put(tmp, repo, path, &put);

	if (to == NULL || store_get(repo, copy, &get, sink_append(tmp, to)) != 0)
		return -1;
	if (!sum_equal(&passed.stored_sum, stored))
		return err_set(ERR_CHECKSUM, "'%s' is not what was written to it",
			store_name(tmp, repo, copy));
	return sink_finish(to);
}

static int write_history(struct store *repo, const char *stanza, const char *pass,
	const struct manifest *m)
{
	SCOPED_ARENA(tmp);
	const struct pipe_spec spec = {
		.compress = CODEC_GZ, .level = HISTORY_LEVEL, .encrypt = pass};
	struct sum stored;

	return write_to(repo, layout_history_manifest(tmp, stanza, m->label), spec, m, &stored);
}

static int check_file(const struct manifest_file *f)
{
	if (!f->has_sum)
		return err_set(ERR_FORMAT, "missing checksum for file '%s'", f->name);
	if (f->size == 0 && !sum_equal(&f->sum, &sum_empty))
		return err_set(ERR_FORMAT, "invalid checksum for zero size file '%s'", f->name);
	if (f->size != 0 && f->repo_size == 0)
		return err_set(ERR_FORMAT, "repo size must be > 0 for file '%s'", f->name);
	return 0;
}

/* What a backup that exists must have, and what pgBackRest cannot do without. */
static int check_complete(const struct manifest *m)
{
	if (manifest_check(m) != 0)
		return -1;
	for (size_t i = 0; i < m->files.n; i++)
		if (check_file(&m->files.v[i]) != 0)
			return -1;
	if (m->files.n == 0)
		return err_set(ERR_FORMAT, "no files");
	if (m->stop == 0 || !m->complete)
		return err_set(ERR_FORMAT, "the backup is not complete");
	if (m->file_user == NULL || m->file_group == NULL || m->path_user == NULL ||
		m->path_group == NULL)
		return err_set(ERR_FORMAT, "default owners are not known");
	return 0;
}

int manifest_publish(struct store *repo, const char *stanza, const char *pass,
	const struct manifest *m)
{
	struct sum stored;

	if (check_complete(m) != 0)
		return err_wrap(
			"manifest of backup '%s' is not valid", m->label == NULL ? "" : m->label);
	if (manifest_save_copy(repo, stanza, pass, m, &stored) != 0 ||
		copy_to_main(repo, stanza, m, &stored) != 0)
		return -1;
	return write_history(repo, stanza, pass, m);
}
