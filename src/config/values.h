/*
 * values: what each option resolved to for the command, and where that came from.
 */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include "config/sources.h"

enum value_state { VALUE_NEW, VALUE_BUSY, VALUE_DONE };

struct value {
	const struct option *opt;
	unsigned key; /* 0 without a group */
	enum value_state state;
	enum source source;
	bool has;	     /* there is a value, also one by default */
	bool negated, reset; /* on the command line */
	bool unmet;	     /* the dependency does not hold */
	bool flag;	     /* OPT_BOOL */
	int64_t number;	     /* OPT_INT, OPT_SIZE (bytes), OPT_TIME (ms) */
	const char *text;    /* scalars as written, paths without a final slash */
	strvec list;	     /* OPT_LIST */
	config_pairs pairs;  /* OPT_HASH */
};

typedef VEC(unsigned) option_keys;

struct option_values {
	struct arena *arena;
	enum command command;
	bool lenient;	 /* for help: nothing is required, nothing refused as not yet supported */
	bool pgbackrest; /* pgBackRest's default paths */
	const char *program; /* default of cmd */
	struct sources from;
	option_keys keys[3]; /* by group; after values_resolve only the ones that exist */
	struct value **v;    /* by option_index, then in the order in which keys were found */
	size_t *n;
};

/* Sources must be filled as far as the options that will be asked for need them. */
void values_init(struct option_values *vals, struct arena *a, enum command command);

/* One option with what it depends on; before files are read only for options that files cannot
 * have. */
int values_one(struct option_values *vals, const struct option *o, unsigned key,
	struct value **out) must_check;

/* Phases 4 and 5 for all options of the command. */
int values_resolve(struct option_values *vals) must_check;

/* A resolved option; NULL if it is not valid for the command or the key does not exist. */
const struct value *values_get(
	const struct option_values *vals, const struct option *o, unsigned key);

/* The default as text, NULL if there is none; by_word: the value of the option that decides, or
 * NULL. */
const char *value_default(
	const struct option_values *vals, const struct option *o, const char *by_word);

/* Parse and check texts for v->opt; by: the value that decides ranges, or NULL. */
int value_parse(const struct option_values *vals, struct value *v, const strvec *texts,
	const struct value *by) must_check;

/* As in a configuration file: "y", "5", "k=v"; for messages, so secure ones are "<redacted>". */
strvec value_texts(struct arena *a, const struct value *v);

/* Copy what was resolved into the members. */
struct config;
void values_fill(const struct option_values *vals, struct config *cfg);

#endif
