/*
 * stop: keep commands from running by a stop file, and with --force end those that run.
 *
 * Commands take their lock first and look for the stop file then, so whoever is not seen here while holding a
 * lock sees the file.  --force acts also if the file was there before: a run that was killed after making it
 * can be repeated (promise P7).
 */
#include "cmd/cmd.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/stop_file.h"

#define LOOKS 10
#define LOOK_WAIT_MS 20

/* "-backup-1.lock", or "-backup.lock" as releases of pgBackRest before 2.60 have it: what follows the stanza. */
static bool is_lock_suffix(const char *text)
{
	static const char *const types[] = { "-archive", "-backup", "-restore" };

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
		if (!str_starts(text, types[i]))
			continue;
		const char *rest = text + strlen(types[i]);
		size_t digits = *rest == '-' ? strspn(rest + 1, "0123456789") : 0;
		if (*rest == '-' && digits == 0)
			return false;
		return strcmp(*rest == '-' ? rest + 1 + digits : rest, ".lock") == 0;
	}
	return false;
}

/* The name of a lock file of this stanza (NULL: of any)?  "demo-backup-1.lock" is not one of "demo-backup". */
static bool is_lock_name(const char *name, const char *stanza)
{
	if (stanza != NULL)
		return str_starts(name, stanza) && is_lock_suffix(name + strlen(stanza));
	for (const char *p = name + 1; *name != '\0' && (p = strchr(p, '-')) != NULL; p++)
		if (is_lock_suffix(p))
			return true;
	return false;
}

/* A holder writes its process id right after it got the lock. */
static int look(const char *dir, const char *name, struct lock_state *out)
{
	for (int i = 0;; i++) {
		if (lock_look(dir, name, out) != 0)
			return -1;
		if (!out->held || out->pid > 0 || i == LOOKS)
			return 0;
		if (clock_sleep(LOOK_WAIT_MS))
			return err_set(ERR_TERM, "terminated while looking at lock file '%s'", name);
	}
}

static void send_term(int64_t pid)
{
	if (kill((pid_t)pid, SIGTERM) == 0)
		log_info("sent term signal to process %lld", (long long)pid);
	else if (errno == ESRCH)
		log_info("process %lld has ended already", (long long)pid);
	else
		log_warn("unable to send term signal to process %lld: [%d] %s", (long long)pid, errno,
			strerror(errno));
}

typedef VEC(int64_t) pids;

static bool was_told(const pids *told, int64_t pid)
{
	for (size_t i = 0; i < told->n; i++)
		if (told->v[i] == pid)
			return true;
	return false;
}

/* -1 only for a signal that ends us: one lock file that cannot be read does not protect the others. */
static int end_holder(const struct config *cfg, const char *name, pids *told)
{
	struct lock_state state;

	if (look(cfg->lock_path, name, &state) != 0) {
		if (err_code() == ERR_TERM)
			return -1;
		log_warn("unable to read lock file '%s/%s': %s", cfg->lock_path, name, err_msg());
		err_clear();
		return 0;
	}
	if (!state.held || (state.pid > 0 && was_told(told, state.pid)))
		return 0;
	if (state.pid <= 1 || state.pid > INT32_MAX) {
		log_warn("unable to read lock file '%s/%s': it is held, and names no process", cfg->lock_path,
			name);
		return 0;
	}
	/* the main process is gone, a helper that it left still has the lock, and its number may be
	 * somebody else's by now */
	if (lock_is_open_in(cfg->lock_path, name, state.pid) == 0) {
		log_warn("process %lld of lock file '%s/%s' does not hold the lock, it is not signalled",
			(long long)state.pid, cfg->lock_path, name);
		return 0;
	}
	vec_push(told, state.pid);
	send_term(state.pid);
	return 0;
}

static int end_running(struct arena *a, const struct config *cfg)
{
	struct dir_names names;
	pids told;

	vec_init(&told, a);
	if (dir_list(a, cfg->lock_path, &names) != 0)
		return -1;
	for (size_t i = 0; i < names.n; i++)
		if (is_lock_name(names.v[i], cfg->stanza) && end_holder(cfg, names.v[i], &told) != 0)
			return -1;
	return 0;
}

int cmd_stop(struct arena *a, const struct config *cfg)
{
	int rc = stop_file_make(cfg, cfg->stanza);
	if (rc < 0)
		return -1;
	if (rc == STOP_FILE_WAS_THERE)
		log_warn("stop file already exists for %s%s", cfg->stanza != NULL ? "stanza " : "all stanzas",
			cfg->stanza != NULL ? cfg->stanza : "");
	return cfg->force ? end_running(a, cfg) : 0;
}
