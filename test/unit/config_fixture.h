/*
 * config_fixture: load a configuration from words, variables and a file's text, and catch what is
 * said on stderr meanwhile.
 */
#ifndef TEST_CONFIG_FIXTURE_H
#define TEST_CONFIG_FIXTURE_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/str.h"
#include "config/load.h"

struct loaded {
	struct arena *arena;
	struct config *cfg;  /* NULL after a failure, which then is in code and message */
	int code;	     /* 0 or the exit code */
	const char *message; /* with hints, separated by line feeds */
	const char *said;    /* stderr and stdout */
};

static inline void drop_variables(void)
{
	extern char **environ;

	for (char **e = environ; e && *e;) {
		if (strncmp(*e, "PGSTRATA_", 9) != 0 && strncmp(*e, "PGBACKREST_", 11) != 0) {
			e++;
			continue;
		}

		char *name = strndup(*e, strcspn(*e, "="));

		unsetenv(name);
		free(name);
		e = environ;
	}
}

/* "A=x|B=y" */
static inline void set_variables(struct arena *a, const char *env)
{
	drop_variables();
	if (!env)
		return;

	strvec all = str_split(a, env, '|');

	for (size_t i = 0; i < all.n; i++) {
		char *name = arena_strdup(a, all.v[i]);

		name[strcspn(name, "=")] = '\0';
		setenv(name, all.v[i] + strlen(name) + 1, 1);
	}
}

/* An unnamed file for what is said meanwhile. */
static inline int open_unnamed(void)
{
	char path[] = "/tmp/pgstrata-test-said-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || unlink(path) != 0)
		abort();
	return fd;
}

static inline const char *read_all(struct arena *a, int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = arena_zalloc(a, (size_t)size + 1);

	if (pread(fd, text, (size_t)size, 0) != size)
		abort();
	return text;
}

static inline const char *write_conf(struct arena *a, const char *text)
{
	char *path = arena_strdup(a, "/tmp/pgstrata-test-conf-XXXXXX");
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
	return path;
}

/* Words are separated by blanks ('~' stands for a blank inside a word).  Without conf no file is
 * read, unless the words name one. */
static inline struct loaded load_words(const char *words, const char *env, const char *conf)
{
	struct loaded l = {.arena = arena_new(), .message = ""};
	const char *file = conf ? write_conf(l.arena, conf) : NULL;
	strvec argv = str_split(l.arena, words, ' ');
	int said = open_unnamed(), out = dup(1), err = dup(2);

	set_variables(l.arena, env);
	if (argv.n > 2 && *argv.v[argv.n - 1] == '\0')
		argv.n--; /* a blank at the end, for more words that did not come */
	for (size_t i = 0; i < argv.n; i++)
		for (char *c = (char *)argv.v[i]; *c; c++)
			*c = *c == '~' ? ' ' : *c;
	if (file)
		vec_push(&argv, arena_printf(l.arena, "--config=%s", file));
	else if (!strstr(words, "config") && !strstr(words, "version"))
		vec_push(&argv, "--no-config");
	dup2(said, 1);
	dup2(said, 2);
	if (config_load(l.arena, (int)argv.n, (char **)argv.v, &l.cfg) != 0) {
		l.cfg = NULL;
		l.code = err_code();
		l.message = arena_printf(l.arena, "%s\n%s", err_msg(), err_hints());
		err_clear();
	}
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	l.said = read_all(l.arena, said);
	close(said);
	if (file)
		unlink(file);
	drop_variables();
	return l;
}

#endif
