/*
 * recovery: what tells PostgreSQL how to recover (behaviours.md 8.5), put into the data directory.
 *
 * Everything that can be refused is refused by restore_plan_recovery, before anything is touched.  The texts
 * are recovery_text's.  With type preserve nothing here writes: the files belong to the user.
 */
#include "cmd/restore_intern.h"

#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "cmd/recovery_text.h"
#include "config/load.h"

#define CONF_MAX (16u << 20) /* bytes */

static bool preserves(const struct restore *r)
{
	return strcmp(r->type, "preserve") == 0;
}

/* The program for a shell.  A cmd option may be a command with words of its own; only what is the name of a
 * file as it stands is quoted. */
static const char *program(const struct restore *r)
{
	struct buf b;
	int is_file = file_exists(r->cfg->cmd);

	if (is_file < 0)
		err_clear(); /* not a path that can be looked at: a command line then */
	if (is_file <= 0)
		return r->cfg->cmd;
	buf_init(&b, r->arena);
	buf_add_shell(&b, r->cfg->cmd);
	return b.data;
}

/*
 * PostgreSQL reads ahead, behind the end of the backup too, where retention may have left nothing of the WAL of an
 * older one.  A recovery that ends at the end of the backup needs nothing from there; and where WAL of the backup
 * itself is missing, PostgreSQL refuses to end before it.
 */
static const char *options_for_get(const struct restore *r)
{
	const char *given = config_pass_on(r->arena, r->cfg, CMD_ARCHIVE_GET);

	if (r->type == NULL || strcmp(r->type, "immediate") != 0 || strstr(given, "--archive-gap=") != NULL)
		return given;
	return arena_printf(r->arena, "%s%s--archive-gap=end", given, *given == '\0' ? "" : " ");
}

static struct recovery_ask ask_for(const struct restore *r)
{
	const struct config *cfg = r->cfg;

	return (struct recovery_ask){ .version = r->version, .type = r->type, .target = cfg->target,
		.target_action = cfg->target_action, .target_timeline = cfg->target_timeline,
		.target_exclusive = cfg->target_exclusive, .options = &cfg->recovery_option,
		.archive_off = cfg->archive_mode != NULL && strcmp(cfg->archive_mode, "off") == 0,
		.command = recovery_command(r->arena, program(r), options_for_get(r)) };
}

/* A backup holds no signal files; if one does, they would not be those of this recovery. */
static bool leaves_out(const struct restore *r, const char *name)
{
	const char *path = manifest_pg_path(name);

	if (strncmp(name, "pg_data/", strlen("pg_data/")) != 0 || !recovery_owns(r->version, path))
		return false;
	return preserves(r) || strcmp(path, "postgresql.auto.conf") != 0;
}

#define DROP_ROWS(r, list) \
	do { \
		size_t kept_ = 0; \
		for (size_t i_ = 0; i_ < (list)->n; i_++) \
			if (!leaves_out((r), (list)->v[i_].name)) \
				(list)->v[kept_++] = (list)->v[i_]; \
		(list)->n = kept_; \
	} while (0)

/* Such a file may have been a link in the cluster. */
static void drop_rows(struct restore *r)
{
	if (preserves(r) && manifest_file_find(r->m, "pg_data/postgresql.auto.conf") != NULL &&
		leaves_out(r, "pg_data/postgresql.auto.conf"))
		log_detail("skip 'postgresql.auto.conf' -- recovery type is preserve");
	DROP_ROWS(r, &r->m->files);
	DROP_ROWS(r, &r->m->links);
	DROP_ROWS(r, &r->m->targets);
}

int restore_plan_recovery(struct restore *r)
{
	r->type = recovery_type(r->type, r->cfg->type_given, r->m->online);
	struct recovery_ask ask = ask_for(r);

	if (recovery_check(r->arena, &ask) != 0)
		return -1;
	if (ask.archive_off && !recovery_writes(r->type))
		log_warn("archive-mode=off has no effect with recovery type %s, the restored cluster archives as it "
			"is configured", r->type);
	drop_rows(r);
	return 0;
}

bool restore_keeps(const struct restore *r, const struct store_entry *e)
{
	return preserves(r) && (e->type == STORE_FILE || e->type == STORE_LINK) &&
		recovery_owns(r->version, e->name);
}

static int write_file(struct restore *r, const char *name, const struct buf *b, mode_t mode)
{
	const struct manifest_path *root = manifest_path_find(r->m, "pg_data");
	struct put_opts put = { .atomic = true, .mode = mode, .set_owner = r->as_root };

	/* what is linked stays a link: the new file is put where it leads */
	const struct restore_place *link =
		restore_place_of_link(r, arena_printf(r->arena, "pg_data/%s", name));
	struct store *to = link == NULL ? r->pg : store_posix(r->arena, link->dir);

	restore_owner(r, root->user, root->group, &put.uid, &put.gid);
	return store_write(to, link == NULL ? name : link->file, b->data, b->len, &put);
}

/* postgresql.auto.conf: the settings come behind what the backup has in it. */
static int write_appended(struct restore *r, const char *name, const char *settings, const char *when)
{
	struct buf old, b;
	const struct manifest_file *f = manifest_file_find(r->m, arena_printf(r->arena, "pg_data/%s", name));

	buf_init(&old, r->arena);
	buf_init(&b, r->arena);
	int rc = store_read(r->pg, name, CONF_MAX, true, &old);
	if (rc < 0)
		return -1;
	if (rc == STORE_ABSENT && *settings != '\0')
		log_warn("%s does not exist -- creating to contain recovery settings", name);
	recovery_comment_out(&b, &old, when);
	if (b.len > 0 && *settings != '\0')
		buf_addc(&b, '\n');
	buf_adds(&b, settings);
	if (b.len == old.len)
		return 0;
	log_info("write %s%s/%s", rc == STORE_ABSENT ? "" : "updated ", r->pg->root, name);
	return write_file(r, name, &b, f == NULL ? 0600 : f->mode);
}

static int write_own(struct restore *r, const char *name, const char *settings)
{
	struct buf b;

	if (*settings == '\0')
		return 0;
	buf_init(&b, r->arena);
	buf_adds(&b, settings);
	log_info("write %s/%s", r->pg->root, name);
	return write_file(r, name, &b, 0600);
}

/* The user may have meant to bring a file that is not there. */
static int look_at_kept(struct restore *r)
{
	static const char *const signals[] = { "recovery.signal", "standby.signal" };
	const char *file = recovery_file(r->version);
	struct store_entry e;
	int rc = store_stat(r->arena, r->pg, file, &e);

	if (rc < 0)
		return -1;
	if (rc == STORE_ABSENT)
		log_warn("recovery type is preserve but recovery file does not exist at '%s'",
			store_name(r->arena, r->pg, file));
	if (!r->version->recovery_signal || !r->m->online)
		return 0;
	for (size_t i = 0; i < 2; i++) {
		rc = store_stat(r->arena, r->pg, signals[i], &e);
		if (rc != STORE_ABSENT)
			return rc;
	}
	log_warn("recovery type is preserve but neither recovery.signal nor standby.signal exists in '%s', without "
		"which PostgreSQL gets no WAL from the archive", r->pg->root);
	return 0;
}

int restore_write_recovery(struct restore *r)
{
	const char *when = clock_local(r->arena, clock_now_ms() / 1000);
	const struct manifest_path *root = manifest_path_find(r->m, "pg_data");
	struct recovery_ask ask = ask_for(r);
	const char *file = recovery_file(r->version), *signal = recovery_signal(&ask);
	struct buf nothing;

	if (preserves(r))
		return look_at_kept(r);
	if (root == NULL)
		return err_set(ERR_FORMAT, "the manifest of backup '%s' does not list the data directory",
			r->m->label);
	const char *settings = recovery_settings(r->arena, &ask, when);
	if (r->version->recovery_signal ? write_appended(r, file, settings, when) != 0 :
			write_own(r, file, settings) != 0)
		return -1;
	buf_init(&nothing, r->arena);
	return signal == NULL ? 0 : write_file(r, signal, &nothing, root->mode & 0644);
}
