/*
 * sources: what the user gave, as text, before it is checked against the command.
 *
 * A source is a list of options with their values, each option at most once.  The command line
 * comes before the environment, that before the files; within the files the section decides, so
 * their list is already merged.
 */
#ifndef CONFIG_SOURCES_H
#define CONFIG_SOURCES_H

#include "config/options.h"
#include "config/conf_file.h"

enum source { SRC_DEFAULT, SRC_LINE, SRC_ENV, SRC_FILE };

struct given {
	const struct option *opt;
	unsigned key;
	bool negate, reset;
	const char *name; /* as written, for messages about the same option under two names */
	strvec values;
};
typedef VEC(struct given) givens;

const struct given *given_find(const givens *list, const struct option *o, unsigned key);

struct sources {
	givens line, env, file;
};

/* The words that are no options. */
struct command_line {
	enum command command; /* CMD_NONE: not given */
	strvec params;
	bool help, version; /* --help, --version */
};

/* Phase 1 for argv[1..]. */
int argv_parse(
	struct arena *a, int argc, char **argv, struct command_line *out, givens *line) must_check;

/* PGSTRATA_*, then PGBACKREST_* for what is not found there.  Values of secure options are wiped
 * from the environment afterwards, so that no child inherits them. */
int environment_read(struct arena *a, enum command command, givens *env) must_check;

/* Which files to read. */
struct conf_request {
	const char *etc; /* "/etc" */
	bool as_pgbackrest;
	bool no_config;	    /* --no-config */
	const char *config; /* NULL: not given */
	const char *include;
	const char *path;
};

struct conf_choice {
	const char *main; /* NULL: none */
	bool main_required;
	const char *include; /* folder, NULL: none */
	bool include_required;
	bool pgbackrest; /* pgBackRest's files, and so its default paths */
};

void conf_choose(struct arena *a, const struct conf_request *request, struct conf_choice *out);
int conf_collect(struct arena *a, const struct conf_choice *choice, conf_entries *out) must_check;

/* What the sections that take part say; stanza may be NULL.  follows: the command after which this one
 * runs, whose sections count after its own; CMD_NONE: none. */
int conf_apply(struct arena *a, const conf_entries *entries, const char *stanza,
	enum command command, enum command follows, givens *file) must_check;

#endif
