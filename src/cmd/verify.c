/*
 * verify: is everything in the repository as it was stored, and what does it mean if not?
 *
 * The report is the reference's.  Ours are the warnings that say what follows for recovery, and the exit code: 0 only
 * if all was read and is right, else 104.
 */
#include "cmd/cmd.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/verify_intern.h"
#include "stream/sink.h"

void verify_find(struct verify *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vec_push(&v->finds, arena_vprintf(v->arena, fmt, ap));
	va_end(ap);
}

/* Everything up to the findings. */
static int look(struct verify *v)
{
	if (verify_infos(v) != 0)
		return -1;
	int rc = verify_backups(v);
	if (rc != 0) {
		v->backups.n = 0; /* the one asked for is not there: a line of the report says so */
		return rc < 0 ? -1 : 0;
	}
	if (verify_archives(v) != 0 || verify_run(v) != 0 || verify_blocks(v) != 0 || verify_again(v) != 0)
		return -1;
	if (v->cfg->repair && verify_repair(v) != 0)
		return -1;
	for (size_t i = 0; i < v->archives.n; i++)
		verify_archive_log(&v->archives.v[i]);
	verify_means(v);
	return 0;
}

static int report(const struct verify *v, struct arena *a)
{
	struct buf text;

	buf_init(&text, a);
	if (!verify_text(v, v->cfg->verbose, &text))
		return 0;
	log_info("%s", text.data);
	if (strcmp(v->cfg->output, "text") != 0)
		return 0;
	buf_addc(&text, '\n');
	struct sink *out = sink_fd(a, STDOUT_FILENO, "stdout");
	return sink_write(out, text.data, text.len) != 0 ? -1 : sink_finish(out);
}

int cmd_verify(struct arena *a, const struct config *cfg)
{
	struct ctx_repos repos;
	struct verify v = { .arena = a, .cfg = cfg, .stanza = cfg->stanza, .set = cfg->set };

	const struct pg_version *forced;

	if (cfg->archive)
		return verify_cluster(a, cfg);
	/* a repair writes what a push writes */
	if (cfg->repair && ctx_check_stop(a, cfg) != 0)
		return -1;
	if (ctx_forced_version(cfg, &forced) != 0 || ctx_repos(a, cfg, &repos) != 0)
		return -1;
	v.repo = &repos.v[0];
	vec_init(&v.lines, a);
	vec_init(&v.finds, a);
	vec_init(&v.backups, a);
	vec_init(&v.archives, a);
	verify_objects_init(&v.objects, a);
	if (look(&v) != 0)
		return -1;
	for (size_t i = 0; i < v.finds.n; i++)
		log_warn("%s", v.finds.v[i]);
	if (report(&v, a) != 0)
		return -1;
	if (v.finds.n == 0 && v.lines.n == 0)
		return 0;
	if (v.finds.n == 0)
		return err_set(ERR_COMMAND, "nothing was verified: %s", v.lines.v[0]);
	return err_set(ERR_COMMAND, "repo%u is not all right: %zu finding%s", v.repo->key, v.finds.n,
		v.finds.n == 1 ? "" : "s");
}
