/*
 * archive_push_async: archive-push with archive-async, in the foreground: it asks the spool whether its file is
 * stored, has a process in the background do it if not, and waits for the answer.
 */
#include "cmd/archive_push_async.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/path.h"
#include "base/sig.h"
#include "base/sys.h"
#include "cmd/background.h"
#include "cmd/drop.h"
#include "cmd/locks.h"
#include "config/load.h"

/* A push takes some tens of milliseconds; PostgreSQL waits for us, and hardly anything else does. */
#define POLL_FIRST_MS 2
#define POLL_LAST_MS 100
/* Processes of ours that may end without a word about our file: killed, or the file changed under them. */
#define STARTS_MAX 5

struct front {
	const struct config *cfg;
	const char *source, *name;
	struct spool spool;
	struct spool_id id;		  /* of the file */
	struct spool_id old, old_global;  /* of the errors that were there before */
	pid_t pid;			  /* of the process that we started; 0: none runs */
	unsigned started;
};

/* --- what the spool says --- */

/* The administrator's decision; the note is durable before PostgreSQL forgets the file. */
static int skip(struct arena *a, const struct front *f, const struct spool_answer *said)
{
	const char *text = arena_printf(a, "error [%d] was skipped by hand: %s", said->code, said->text);
	strvec files;

	vec_init(&files, a);
	vec_push(&files, f->name);
	if (drop_note(a, f->cfg, WAL_DROP_SKIPPED, text, path_parent(a, f->source), &files) != 0)
		return err_wrap("WAL segment '%s' cannot be skipped", f->name);
	log_warn("WAL segment '%s' was not pushed due to error [%d] and was manually skipped: %s", f->name, said->code,
		said->text);
	return 1;
}

/* 1 PostgreSQL may have its answer; 0 not yet; -1. */
static int look(const struct front *f)
{
	SCOPED_ARENA(a);
	struct spool_answer said;

	spool_look(a, &f->spool, f->name, &f->id, &said);
	switch (said.word) {
	case SPOOL_NONE:
		return 0;
	case SPOOL_SKIPPED:
		return skip(a, f, &said);
	case SPOOL_DROPPED:
		log_warn("dropped WAL file '%s' because %s", f->name, said.text);
		return 1;
	case SPOOL_STORED:
		break;
	}
	/* success is not reported before the repositories know what was dropped earlier: the background carries it */
	if (drop_waits(f->cfg))
		return 0;
	if (said.text != NULL)
		log_warn("%s", said.text);
	log_info("pushed WAL file '%s' to the archive asynchronously", f->name);
	return 1;
}

/* For PostgreSQL's log: what an administrator can do who has to give the file up. */
static int hint_skip(struct arena *a, const struct front *f)
{
	struct buf words;

	buf_init(&words, a);
	buf_add_shell(&words, spool_path(a, &f->spool, f->name, ".error"));
	buf_addc(&words, ' ');
	buf_add_shell(&words, spool_path(a, &f->spool, f->name, ".ok"));
	return err_hint("if this file can never be stored, give it up (no recovery will get past it): mv %s", words.data);
}

/* -1 with a failure that came while we waited. */
static int look_for_error(const struct front *f)
{
	SCOPED_ARENA(a);
	const struct err_value *why = spool_read_error(a, &f->spool, f->name, &f->old);

	if (why != NULL) {
		(void)err_restore(why);
		return hint_skip(a, f);
	}
	why = spool_read_error(a, &f->spool, SPOOL_GLOBAL, &f->old_global);
	return why != NULL ? err_restore(why) : 0;
}

/* --- who does the work --- */

/* Is nobody at work?  Then whatever is to come of the last run has come. */
static bool is_idle(struct front *f)
{
	if (f->pid != 0 && !background_ended(f->pid))
		return false;
	f->pid = 0;
	if (cmd_lock_is_busy(f->cfg, "archive") == 0)
		return true;
	/* if it cannot be told, neither can the lock be taken: time will tell */
	err_clear();
	return false;
}

static int hint_log(struct arena *a, const struct front *f)
{
	return err_hint("check '%s' for errors.",
		path_join(a, f->cfg->log_path,
			arena_printf(a, "%s-%s-async.log", f->cfg->stanza, command_name(f->cfg->command))));
}

static int start(struct front *f)
{
	SCOPED_ARENA(a);

	if (f->started == STARTS_MAX) {
		(void)err_set(ERR_ARCHIVE_TIMEOUT, "unable to push WAL file '%s' to the archive asynchronously: %u "
			"processes in the background ended without a word about it", f->name, f->started);
		return hint_log(a, f);
	}
	if (dir_make(f->spool.dir, 0750) != 0)
		return -1;
	int rc = background_start(f->cfg, push_background, arena_strdup(a, f->source), &f->pid);
	if (rc == BACKGROUND_STARTED)
		f->started++;
	return rc < 0 ? -1 : 0;
}

static int time_is_over(const struct front *f)
{
	SCOPED_ARENA(a);
	const struct err_value *last = spool_read_error(a, &f->spool, f->name, NULL);

	if (sig_check() != 0)
		return -1;
	(void)err_set(ERR_ARCHIVE_TIMEOUT, "unable to push WAL file '%s' to the archive asynchronously after %g second(s)",
		f->name, (double)f->cfg->archive_timeout / 1000);
	if (last != NULL)
		(void)err_hint("the last attempt failed: [%03d] %s", (int)last->code, last->msg);
	return hint_log(a, f);
}

/* 0, or -1. */
static int wait_for_it(struct front *f)
{
	struct deadline end = deadline_in(f->cfg->archive_timeout);
	struct backoff pause = { POLL_FIRST_MS };

	for (;;) {
		/* asked first: who finds nobody at work has then seen all that was said */
		bool idle = is_idle(f);
		int rc = look(f);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
		if (look_for_error(f) != 0 || (idle && start(f) != 0))
			return -1;
		if (!backoff_wait(&pause, end))
			return time_is_over(f);
		if (pause.next_ms > POLL_LAST_MS)
			pause.next_ms = POLL_LAST_MS;
	}
}

/* The queue's limit holds also where the background cannot work or does not end. */
static int fail_or_drop(struct arena *a, const struct front *f)
{
	const struct err_value *why = err_take(a);
	int rc = why->code == ERR_TERM ? 0 : push_drop_if_full(a, f->cfg, f->source);

	if (rc == 0)
		return err_restore(why);
	if (rc > 0)
		log_warn("the last attempt to push it failed: [%03d] %s", (int)why->code, why->msg);
	return rc < 0 ? -1 : 0;
}

int push_async(struct arena *a, const struct config *cfg, const char *source)
{
	struct front f = { .cfg = cfg, .source = source, .name = path_base(source) };

	if (cfg->pg.v[0].path == NULL)
		return err_set(ERR_OPTION_REQUIRED, "'archive-push' command in async mode requires option 'pg1-path'");
	spool_open(a, cfg, &f.spool);
	if (spool_id_of(source, &f.id) != 0)
		return -1;
	int rc = look(&f);
	if (rc == 0) {
		/* what failed before this call may be well by now */
		spool_error_id(&f.spool, f.name, &f.old);
		spool_error_id(&f.spool, SPOOL_GLOBAL, &f.old_global);
		rc = wait_for_it(&f) == 0 ? 1 : -1;
	}
	return rc == 1 ? 0 : fail_or_drop(a, &f);
}
