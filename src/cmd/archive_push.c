/*
 * archive-push: PostgreSQL's archive_command.
 *
 * Exit 0 makes PostgreSQL recycle the segment, so it is given only when every repository has it
 * (P1), or when it was given up on purpose and a note says so.
 */
#include "cmd/cmd.h"

#include "base/log.h"
#include "base/path.h"
#include "cmd/archive_push_async.h"
#include "cmd/drop.h"
#include "cmd/push_one.h"

int push_drop_if_full(struct arena *a, const struct config *cfg, const char *source)
{
	const char *name = path_base(source), *wal_dir = path_parent(a, source), *why;
	strvec files;
	bool full;

	if (drop_queue_is_full(a, cfg, wal_dir, &full, &why) != 0)
		return -1;
	if (!full)
		return 0;
	vec_init(&files, a);
	vec_push(&files, name);
	if (drop_note(a, cfg, WAL_DROP_QUEUE, why, path_parent(a, source), &files) != 0)
		return -1;
	log_warn("dropped WAL file '%s' because %s", name, why);
	return 1;
}

/* The notes are carried last: what fails there must not keep the file from the healthy repositories. */
static int push_now(struct arena *a, const struct config *cfg, const char *source)
{
	struct push_run *run;
	struct push_result result;
	int dropped = push_drop_if_full(a, cfg, source);

	if (dropped != 0)
		return dropped < 0 ? -1 : 0;
	if (push_run_open(a, cfg, &run) != 0 || push_one(a, run, source, NULL, 0, &result) != 0 ||
		drop_carry(a, run) != 0)
		return -1;
	log_info("pushed WAL file '%s' to the archive", path_base(source));
	return 0;
}

int cmd_archive_push(struct arena *a, const struct config *cfg)
{
	const char *source;

	if (cfg->params.n != 1)
		return err_set(ERR_PARAM_REQUIRED, "WAL segment to push required");
	if (ctx_check_stop(a, cfg) != 0 || ctx_wal_path(a, cfg, cfg->params.v[0], &source) != 0)
		return -1;
	return cfg->archive_async ? push_async(a, cfg, source) : push_now(a, cfg, source);
}
