/*
 * load: phases 1 to 5 in their order: command line, environment, files, what the command takes,
 * values.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/map.h"
#include "base/path.h"
#include "base/str.h"
#include "config/load.h"
#include "config/values.h"

struct loading {
	struct arena *a;
	struct config *cfg;
	struct option_values *vals;
	struct command_line words;
	enum command command; /* whose options count: for "help backup" that is backup */
	const struct config *former; /* an earlier load of the same call, or NULL */
	bool follows;	      /* this command runs after the former's */
	bool line_only;	      /* neither environment nor files are read */
};

static struct config *config_new(struct arena *a, const char *program)
{
	struct config *cfg = arena_new_object(a, struct config);

	vec_init(&cfg->params, a);
	vec_init(&cfg->exclude, a);
	vec_init(&cfg->annotation, a);
	vec_init(&cfg->recovery_option, a);
	vec_init(&cfg->pg, a);
	vec_init(&cfg->repo, a);
	vec_init(&cfg->stanzas, a);
	cfg->program = program ? program : "pgstrata";
	cfg->as_pgbackrest = strcmp(path_base(cfg->program), "pgbackrest") == 0;
	return cfg;
}

/* A name with a slash depends on the working directory, which PostgreSQL's is not. */
static const char *absolute(struct arena *a, const char *name)
{
	char cwd[4096];

	if (*name == '/' || !getcwd(cwd, sizeof(cwd)))
		return name;
	return path_normalize(a, path_join(a, cwd, name));
}

static int help_target(struct loading *l)
{
	const strvec *params = &l->words.params;

	if (params->n == 0) {
		l->line_only = true;
		return 0;
	}

	const char *colon = strchr(params->v[0], ':');
	const char *name = colon ? arena_strndup(l->a, params->v[0], (size_t)(colon - params->v[0]))
				 : params->v[0];

	if (!command_by_name(name, &l->command))
		return err_set(ERR_COMMAND_INVALID, "invalid command '%s'", name);
	if (colon && strcmp(colon + 1, "main") != 0)
		return err_set(
			ERR_COMMAND_INVALID, "help is not available for the '%s' role", colon + 1);
	l->line_only = l->command == CMD_HELP || l->command == CMD_VERSION;
	return 0;
}

static int choose_command(struct loading *l, int argc)
{
	const struct command_line *w = &l->words;
	enum command c = w->command;

	if (c == CMD_NONE && (argc < 2 || w->help || w->version)) {
		c = argc < 2 || w->help ? CMD_HELP : CMD_VERSION;
		l->line_only = true;
	}
	if (c == CMD_NONE)
		return err_set(ERR_COMMAND_REQUIRED, "no command found");
	l->cfg->command = l->command = c;
	l->cfg->params = w->params;
	if (c == CMD_HELP && w->command == CMD_HELP)
		return help_target(l);
	if (c == CMD_VERSION)
		l->line_only = true;
	if (!command_info(c)->implemented)
		return err_set(ERR_COMMAND_INVALID, "command '%s' is not yet supported by pgStrata",
			command_name(c));
	if (w->params.n > 0 && command_info(c)->params_max == 0)
		return err_set(ERR_PARAM_INVALID, "command does not allow parameters");
	return 0;
}

/* Phase 3.  The options of "help backup" may be backup's or help's own; general help takes any. */
static int check_valid(const struct loading *l)
{
	const givens *line = &l->vals->from.line;

	if (l->words.command == CMD_NONE || (l->cfg->command == CMD_HELP && l->line_only))
		return 0;
	for (size_t i = 0; i < line->n; i++)
		if (!option_valid(line->v[i].opt, l->command) &&
			!option_valid(line->v[i].opt, l->cfg->command))
			return err_set(ERR_OPTION_INVALID, "option '%s' not valid for command '%s'",
				line->v[i].opt->name, command_name(l->command));
	return 0;
}

/* The text of an option that decides which files are read; NULL if it is not given. */
static int early(struct loading *l, const char *name, const struct value **out)
{
	const struct option *o = option_named(name);
	struct value *v = NULL;

	*out = NULL;
	if (!option_valid(o, l->command))
		return 0;
	if (values_one(l->vals, o, 0, &v) != 0)
		return -1;
	if (v->source != SRC_DEFAULT && !v->reset)
		*out = v;
	return 0;
}

static int request_files(struct loading *l, struct conf_request *r)
{
	const struct value *config, *include, *path;

	if (early(l, "config", &config) != 0 || early(l, "config-include-path", &include) != 0 ||
		early(l, "config-path", &path) != 0)
		return -1;
	*r = (struct conf_request){.etc = "/etc", .as_pgbackrest = l->cfg->as_pgbackrest};
	r->no_config = config && config->negated;
	if (config && config->has) {
		/* Whoever prints it or passes it on needs the same file from any directory. */
		((struct value *)config)->text = absolute(l->a, config->text);
		r->config = config->text;
	}
	r->include = include ? include->text : NULL;
	r->path = path ? path->text : NULL;
	return 0;
}

/* "[demo]" and "[demo:backup]" name the stanza demo; global sections name none. */
static void note_stanzas(struct loading *l, const conf_entries *entries)
{
	strvec *names = &l->cfg->stanzas;
	struct map *seen = map_new(l->a);

	for (size_t i = 0; i < entries->n; i++) {
		const char *section = entries->v[i].section;
		const char *name = arena_strndup(l->a, section, strcspn(section, ":"));

		if (strcmp(name, "global") == 0 || map_has(seen, name))
			continue;
		map_put(seen, name, seen);
		vec_push(names, name);
	}
	if (names->n > 0)
		qsort(names->v, names->n, sizeof(*names->v), str_cmp_ptr);
}

static int read_files(struct loading *l)
{
	struct conf_request request;
	struct conf_choice choice;
	conf_entries entries;
	const struct value *stanza;

	vec_init(&entries, l->a);
	if (request_files(l, &request) != 0 || early(l, "stanza", &stanza) != 0)
		return -1;
	conf_choose(l->a, &request, &choice);
	l->vals->pgbackrest = choice.pgbackrest;
	if (conf_collect(l->a, &choice, &entries) != 0)
		return -1;
	note_stanzas(l, &entries);
	return conf_apply(l->a, &entries, stanza ? stanza->text : NULL, l->command,
		l->follows ? l->former->command : CMD_NONE, &l->vals->from.file);
}

static const char *new_exec_id(struct arena *a)
{
	uint32_t random;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = (uint32_t)clock_mono_ms();
	return arena_printf(a, "%d-%08x", (int)getpid(), random);
}

/* Reading the environment wipes its secrets: a later load finds them in the former one. */
static int read_environment(struct loading *l)
{
	givens *env = &l->vals->from.env;

	if (environment_read(l->a, l->command, env) != 0)
		return -1;
	for (size_t i = 0; l->former && i < l->former->values->from.env.n; i++) {
		const struct given *g = &l->former->values->from.env.v[i];

		if (g->opt->flags & OPT_SECURE && option_valid(g->opt, l->command) &&
			!given_find(env, g->opt, g->key))
			vec_push(env, *g);
	}
	return 0;
}

static int load_values(struct loading *l)
{
	const char *program = l->cfg->program;
	struct option_values *vals = l->vals;

	vals->program = strchr(program, '/') ? absolute(l->a, program) : program;
	vals->lenient = l->cfg->command == CMD_HELP;
	vals->pgbackrest = l->cfg->as_pgbackrest;
	if (!l->line_only &&
		(read_environment(l) != 0 || read_files(l) != 0))
		return -1;
	if (check_valid(l) != 0 || values_resolve(vals) != 0)
		return -1;
	values_fill(vals, l->cfg);
	l->cfg->values = vals;
	if (!l->cfg->exec_id)
		l->cfg->exec_id = new_exec_id(l->a);
	return 0;
}

/* next: as if this were the command of the call, with what of its options is valid for it; CMD_NONE: the
 * call as it is. */
static int load(struct loading *l, int argc, char **argv, enum command next)
{
	givens line, valid;

	l->cfg = config_new(l->a, argc > 0 ? argv[0] : NULL);
	vec_init(&line, l->a);
	vec_init(&valid, l->a);
	l->cfg->argc = argc;
	l->cfg->argv = argv;
	if (argv_parse(l->a, argc, argv, &l->words, &line) != 0)
		return -1;
	for (size_t i = 0; next != CMD_NONE && i < line.n; i++)
		if (option_valid(line.v[i].opt, next))
			vec_push(&valid, line.v[i]);
	if (next != CMD_NONE)
		l->words.command = next;
	if (choose_command(l, argc) != 0)
		return -1;
	l->vals = arena_new_object(l->a, struct option_values);
	values_init(l->vals, l->a, l->command);
	l->vals->from.line = next == CMD_NONE ? line : valid;
	return load_values(l);
}

int config_load(struct arena *a, int argc, char **argv, struct config **out)
{
	struct loading l = {.a = a};

	if (load(&l, argc, argv, CMD_NONE) != 0)
		return -1;
	*out = l.cfg;
	return 0;
}

int config_load_stanza(
	struct arena *a, const struct config *cfg, const char *stanza, struct config **out)
{
	char **argv = arena_zalloc(a, ((size_t)cfg->argc + 2) * sizeof(*argv));

	memcpy(argv, cfg->argv, (size_t)cfg->argc * sizeof(*argv));
	argv[cfg->argc] = arena_printf(a, "--stanza=%s", stanza);

	struct loading l = {.a = a, .former = cfg};

	if (load(&l, cfg->argc + 1, argv, CMD_NONE) != 0)
		return -1;
	*out = l.cfg;
	return 0;
}

int config_load_next(struct arena *a, struct config *cfg, enum command next)
{
	struct loading l = {.a = a, .former = cfg, .follows = true};
	const struct value *v;

	if (load(&l, cfg->argc, cfg->argv, next) != 0)
		return -1;
	v = values_get(l.vals, option_named("checksum-page-error"), 0);
	if (v && v->source == SRC_DEFAULT)
		l.cfg->checksum_page_error = cfg->checksum_page_error;
	l.cfg->exec_id = cfg->exec_id;
	l.cfg->follows = true;
	cfg->next = l.cfg;
	return 0;
}
