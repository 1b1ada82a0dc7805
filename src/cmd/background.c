/*
 * background: the process that archive-push and archive-get leave behind to work ahead.
 */
#include "cmd/background.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "cmd/locks.h"
#include "config/load.h"

#define LOCK_TRIES 3

static bool is_lock(const cmd_locks *locks, int fd)
{
	for (size_t i = 0; i < locks->n; i++)
		if (lock_descriptor(locks->v[i]) == fd)
			return true;
	return false;
}

/* What the kernel does not list stays open: only something PostgreSQL left open could be meant, and it does no harm
 * but to those who wait for its end. */
static void close_others(const cmd_locks *locks)
{
	DIR *dir = sys.opendir("/proc/self/fd");
	struct dirent *d;

	if (dir == NULL)
		return;
	while ((d = readdir(dir)) != NULL) {
		uint64_t fd;
		if (str_to_u64(d->d_name, &fd) && fd > STDERR_FILENO && fd != (uint64_t)dirfd(dir) &&
			!is_lock(locks, (int)fd))
			sys.close((int)fd);
	}
	closedir(dir);
}

static int detach(const cmd_locks *locks)
{
	int null = sys.open("/dev/null", O_RDWR, 0);

	if (null < 0 || setsid() < 0 || chdir("/") != 0)
		return err_sys(ERR_KERNEL, "unable to go to the background");
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (dup2(null, fd) < 0)
			return err_sys(ERR_KERNEL, "unable to go to the background");
	close_others(locks);
	return 0;
}

static void start_log(struct arena *a, const struct config *cfg)
{
	const struct log_config log = {
		.file = cfg->log_level_file,
		.timestamp = cfg->log_timestamp,
		.process_width = cfg->process_max > 99 ? 3 : 2,
	};

	log_configure(&log);
	if (cfg->log_level_file != LOG_OFF)
		log_file_open(path_join(a, cfg->log_path,
			arena_printf(a, "%s-%s-async.log", cfg->stanza, command_name(cfg->command))));
	log_info("%s:async command begin " PACKAGE_VERSION ": %s", command_name(cfg->command), config_print(a, cfg));
}

static int adopt(struct arena *a, const cmd_locks *locks)
{
	for (size_t i = 0; i < locks->n; i++)
		if (lock_adopt(a, locks->v[i]) != 0)
			return -1;
	return 0;
}

static int live(struct arena *a, const struct config *cfg, const cmd_locks *locks, background_fn *fn, void *ctx)
{
	err_clear();
	/* while its descriptor is still its own */
	log_file_close();
	if (detach(locks) != 0)
		return -1;
	start_log(a, cfg);
	return adopt(a, locks) != 0 ? -1 : fn(a, cfg, ctx);
}

static void run(struct arena *held, const struct config *cfg, const cmd_locks *locks, background_fn *fn, void *ctx)
{
	struct arena *a = arena_new();
	int code = 0;

	if (live(a, cfg, locks, fn, ctx) != 0) {
		code = (int)err_code();
		log_failure();
	}
	if (code == 0)
		log_info("%s:async command end: completed successfully", command_name(cfg->command));
	else
		log_info("%s:async command end: aborted with exception [%03d]", command_name(cfg->command), code);
	arena_free(a);
	arena_free(held);
	/* Who began it does not ask for the code, and whoever inherits it may take one for a crash of his own: where
	 * PostgreSQL is the first process of a container, that is the postmaster, who would restart all backends. */
	_exit(0);
}

/*
 * Who holds a lock under our own exec id would be taken for one of the family, and the lock for ours.  A process that
 * was begun here before may hold it still (or its workers, if it was killed), so each start has an id of its own.
 */
static int lock_anew(struct arena *a, const struct config *cfg, cmd_locks *locks)
{
	struct config own = *cfg;
	uint32_t random;

	if (sys_random(&random, sizeof(random)) != 0)
		return err_sys(ERR_KERNEL, "unable to get random bytes");
	own.exec_id = arena_printf(a, "%ld-%08" PRIx32, (long)getpid(), random);
	return cmd_lock(a, &own, "archive", locks);
}

/* BACKGROUND_STARTED: all locks are ours, until *held is freed.  Somebody may have one when we try and have left it
 * when we look who: then we try again, with nothing of the first try in our hands, which would be in our own way. */
static int try_lock(const struct config *cfg, struct arena **held, cmd_locks *locks)
{
	SCOPED_ARENA(a);
	struct err_value *why;

	for (int i = 1;; i++) {
		*held = arena_new();
		if (lock_anew(*held, cfg, locks) == 0)
			return BACKGROUND_STARTED;
		why = err_take(a);
		arena_free(*held);
		if (why->code != ERR_LOCK)
			return err_restore(why);
		if (cmd_lock_is_busy(cfg, "archive") == 1)
			return BACKGROUND_BUSY;
		err_clear();
		if (i == LOCK_TRIES)
			return err_restore(why);
	}
}

static int start(struct arena *held, const struct config *cfg, cmd_locks *locks, background_fn *fn, void *ctx,
	pid_t *pid)
{
	*pid = fork();
	if (*pid < 0)
		return err_sys(ERR_KERNEL, "unable to start a process in the background");
	if (*pid == 0)
		run(held, cfg, locks, fn, ctx);
	for (size_t i = 0; i < locks->n; i++)
		lock_leave(locks->v[i]);
	return BACKGROUND_STARTED;
}

int background_start(const struct config *cfg, background_fn *fn, void *ctx, pid_t *pid)
{
	struct arena *held;
	cmd_locks locks;
	int rc = try_lock(cfg, &held, &locks);

	if (rc != BACKGROUND_STARTED)
		return rc;
	rc = start(held, cfg, &locks, fn, ctx, pid);
	arena_free(held);
	return rc;
}

bool background_ended(pid_t pid)
{
	pid_t rc;

	do
		rc = waitpid(pid, NULL, WNOHANG);
	while (rc < 0 && errno == EINTR);
	return rc != 0;
}
