/*
 * options: the table of all options, one entry each.
 *
 * The table knows every option of the reference, also those that nothing reads yet (no member):
 * their names, places and values are checked as the reference does, and only a value that asks for
 * something else than the default is refused.  Texts in an entry (defaults, allowed values,
 * dependency) are small notations described at the members; opt_pick reads the ones with
 * alternatives.
 */
#ifndef CONFIG_OPTIONS_H
#define CONFIG_OPTIONS_H

#include <stddef.h>
#include "base/err.h"
#include "config/config.h"

enum option_type {
	OPT_BOOL,
	OPT_INT,
	OPT_SIZE,
	OPT_TIME,
	OPT_STRING,
	OPT_PATH,
	OPT_ENUM,
	OPT_LIST,
	OPT_HASH
};

enum option_group { GROUP_NONE, GROUP_PG, GROUP_REPO };
#define GROUP_KEY_MAX 256

/* Where an option may stand: anywhere, not in [global], or not in files at all. */
enum option_section { SECTION_GLOBAL, SECTION_STANZA, SECTION_LINE };

/* Headings of the help, in its order. */
enum option_theme {
	THEME_COMMAND,
	THEME_GENERAL,
	THEME_LOG,
	THEME_MAINTAINER,
	THEME_REPO,
	THEME_STANZA,
	THEME_COUNT
};

/* How a value is stored; M_GIVEN: as M_PLAIN, but the default is only for the help; M_LOAD: only loading looks at
 * it. */
enum option_member { M_NONE, M_PLAIN, M_GIVEN, M_TRI, M_LEVEL, M_KEY, M_LOAD };

enum {
	OPT_SECURE = 1,	   /* never on the command line, never shown */
	OPT_NEGATE = 2,	   /* --no-x exists */
	OPT_RESET = 4,	   /* --reset-x exists */
	OPT_BOOL_LIKE = 8, /* an enum that has the boolean forms too */
	OPT_INTERNAL = 16  /* not in help */
};

struct option {
	const char *name; /* without index */
	enum option_type type;
	enum option_group group;
	enum option_section section;
	enum option_theme theme;
	unsigned flags;
	uint32_t commands; /* for which it is valid, one bit each */
	uint32_t required;
	uint32_t hidden; /* not in the help of these commands */
	uint32_t used;	 /* commands that honour it now; 0: all of commands, if there is a member */
	uint32_t idle;	 /* commands for which it has nothing to do: accepted and ignored */
	const char *def; /* default, NULL: none */
	const char *def_cmd;	 /* "restore=y": defaults that differ, by command */
	const char *by;		 /* another option that decides def_by and allowed_by */
	const char *def_by;	 /* "gz=6 zst=3" */
	const char *allowed;	 /* "a|b|~c" (~: known, not yet supported) or "1..999"; NULL: any */
	const char *allowed_cmd; /* "backup=full|diff info=full" */
	const char *allowed_by;
	const char *depends;  /* "online=n", "type=a|b", "stanza" (is set) */
	uint32_t depends_for; /* commands for which that holds; 0: all */
	const char *unmet;    /* value taken if it does not hold */
	const char *aliases;  /* "db-path dbN-path": accepted silently */
	enum option_member kind;
	size_t offset; /* in struct config, config_pg or config_repo, by group */
	const char *help;
};

#define C_(command) (1u << CMD_##command)
#define CMDS_ARCHIVE (C_(ARCHIVE_GET) | C_(ARCHIVE_PUSH))
#define CMDS_STANZA (C_(STANZA_CREATE) | C_(STANZA_DELETE) | C_(STANZA_UPGRADE))
#define CMDS_SERVER (C_(SERVER) | C_(SERVER_PING))
#define CMDS_REPO \
	(C_(ANNOTATE) | CMDS_ARCHIVE | C_(BACKUP) | C_(CHECK) | C_(EXPIRE) | C_(INFO) | \
		C_(MANIFEST) | C_(REPO_GET) | C_(REPO_LS) | C_(REPO_RM) | C_(RESTORE) | \
		CMDS_STANZA | C_(SERVE) | C_(VERIFY))
#define CMDS_IO (CMDS_REPO | CMDS_SERVER)
#define CMDS_ALL (CMDS_IO | C_(AUTHORIZE) | C_(START) | C_(STOP))
#define CMDS_WORKERS (CMDS_ARCHIVE | C_(BACKUP) | C_(RESTORE) | C_(VERIFY))
#define CMDS_DB (C_(BACKUP) | C_(CHECK) | CMDS_STANZA)
#define CMDS_SQL (CMDS_DB | C_(SERVE) | C_(VERIFY)) /* may ask a server */
#define CMDS_PG_HOST (CMDS_DB | C_(MANIFEST) | C_(VERIFY)) /* verify --archive asks a server */
#define CMDS_PG (CMDS_PG_HOST | CMDS_ARCHIVE | C_(RESTORE))
#define CMDS_RETENTION (C_(BACKUP) | C_(EXPIRE))

#define MEMBER_AS(kind_, member) .kind = kind_, .offset = offsetof(struct config, member)
#define MEMBER(member) MEMBER_AS(M_PLAIN, member)
#define PG_MEMBER(member) .kind = M_PLAIN, .offset = offsetof(struct config_pg, member)
#define PG_GIVEN(member) .kind = M_GIVEN, .offset = offsetof(struct config_pg, member)
#define REPO_MEMBER(member) .kind = M_PLAIN, .offset = offsetof(struct config_repo, member)
#define REPO_GIVEN(member) .kind = M_GIVEN, .offset = offsetof(struct config_repo, member)

/* The parts of the table, each ended by an entry without a name. */
extern const struct option options_general[], options_command[], options_restore[], options_pg[],
	options_repo[], options_store[];

/* All of them, ordered by name. */
size_t option_count(void);
const struct option *option_at(size_t i);
size_t option_index(const struct option *o);
const struct option *option_named(const char *name); /* NULL if there is none */

static inline bool option_valid(const struct option *o, enum command c)
{
	return (o->commands >> c & 1) != 0;
}

/* The name with its index: "repo1-path". */
char *option_label(struct arena *a, const struct option *o, unsigned key);

/* The part of "one=x two=y" behind "two="; fallback if it is not there. */
const char *opt_pick(struct arena *a, const char *text, const char *word, const char *fallback);

/* Does word stand in "a|b|c"?  *later is set if it stands there as "~word". */
bool opt_has_word(const char *words, const char *word, bool *later);

/*
 * A name as the user wrote it, without leading dashes: which option, index, form.
 */
struct option_ref {
	const struct option *opt;
	unsigned key; /* 0 without a group */
	bool negate, reset;
};

/* 1 found, 0 unknown, -1 malformed (index out of range or missing, a form that the option does not
 * have; ERR_OPTION_INVALID).  With partial a unique prefix is enough. */
int option_ref_parse(
	struct arena *a, const char *name, bool partial, struct option_ref *out) must_check;

#endif
