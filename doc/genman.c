/*
 * genman: write a manual page, at build time.
 *
 *	genman doc/man/pgstrata-backup.man    the page of a command, or of the program
 *	genman --commands                     the commands that have to have a page
 *
 * What the tables of commands, options and exit codes say is taken from them, so that a page cannot
 * disagree with the program.  The rest is the fragment given, in man(7), copied as it is except the
 * lines that begin with '@':
 *
 *	@commands       the commands, one line each
 *	@options        the options of the command, with the heading
 *	@exits [N...]   exit codes and what they mean; without numbers all of them
 */
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "config/load.h"
#include "genman.h"

#define PROGRAM "pgstrata"
#define SUFFIX ".man"
#define FRAGMENT_MAX (1u << 20) /* bytes */

struct page {
	struct arena *arena;
	const char *fragment;
	enum command command; /* CMD_NONE: the page of the program */
};

static const char *escape(char c)
{
	switch (c) {
	case '\\':
		return "\\e";
	case '-':
		return "\\-"; /* a lone hyphen may be shown as one that no shell knows */
	case '\'':
		return "\\(aq";
	case '`':
		return "\\(ga";
	case '^':
		return "\\(ha";
	case '~':
		return "\\(ti";
	default:
		return NULL;
	}
}

void roff_add(struct buf *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		bool fresh = out->len == 0 || out->data[out->len - 1] == '\n';

		if (p > text && *p == ' ' && p[-1] == '.') {
			buf_addc(out, '\n');
			continue;
		}
		if (fresh && *p == '.')
			buf_adds(out, "\\&");
		if (escape(*p))
			buf_adds(out, escape(*p));
		else
			buf_addc(out, *p);
	}
}

/* "Back up a cluster." -> "back up a cluster", as in the list of whatis. */
static void add_title(struct arena *a, const char *summary, struct buf *out)
{
	char *text = arena_strdup(a, summary);
	size_t len = strlen(text);

	if (text[0] >= 'A' && text[0] <= 'Z')
		text[0] = (char)(text[0] - 'A' + 'a');
	if (len > 0 && text[len - 1] == '.')
		text[len - 1] = '\0';
	roff_add(out, text);
}

static void add_head(const struct page *p, struct buf *out)
{
	char *title = arena_strdup(p->arena, path_base(p->fragment));

	title[strlen(title) - strlen(SUFFIX)] = '\0';
	buf_addf(out, ".\\\" Made by genman from doc/man/%s%s and the option table.\n", title,
		SUFFIX);
	for (char *t = title; *t; t++)
		if (*t >= 'a' && *t <= 'z')
			*t = (char)(*t - 'a' + 'A');
	buf_adds(out, ".TH ");
	roff_add(out, title);
	/* No date: the same source has to give the same page.  No hyphenation, also behind .EE:
	 * names of options and files have to be found again by who searches for them. */
	buf_adds(out,
		" 1 \"\" \"pgStrata " PACKAGE_VERSION "\" \"pgStrata\"\n"
		".nr HY 0\n.nh\n.ad l\n.SH NAME\n" PROGRAM);
	if (p->command == CMD_NONE) {
		buf_adds(out, " \\- back up PostgreSQL, archive its WAL, and bring both back\n");
		return;
	}
	roff_add(out, arena_printf(p->arena, "-%s", command_name(p->command)));
	buf_adds(out, " \\- ");
	add_title(p->arena, command_summary(p->command), out);
	buf_addc(out, '\n');
}

static void add_commands(struct arena *a, struct buf *out)
{
	for (int c = CMD_NONE + 1; c < CMD_COUNT; c++) {
		const struct command_info *info = command_info((enum command)c);

		if (!info->implemented || info->hidden)
			continue;
		buf_adds(out, ".TP\n.BR ");
		roff_add(out, arena_printf(a, PROGRAM "-%s (1)\n%s\n", info->name, info->summary));
	}
}

static int add_directive(const struct page *p, const char *line, struct buf *out)
{
	if (strcmp(line, "@commands") == 0) {
		add_commands(p->arena, out);
		return 0;
	}
	if (strcmp(line, "@options") == 0 && p->command != CMD_NONE) {
		genman_options(p->arena, p->command, out);
		return 0;
	}
	if (strcmp(line, "@exits") == 0 || str_starts(line, "@exits "))
		return genman_exits(p->arena, line + strlen("@exits"), out);
	return err_set(ERR_FORMAT, "'%s' is not a directive of this page", line);
}

static int add_body(const struct page *p, struct buf *out)
{
	struct buf text;

	buf_init(&text, p->arena);
	if (file_read(p->fragment, FRAGMENT_MAX, &text) != 0)
		return -1;

	strvec lines = str_split(p->arena, text.data, '\n');

	for (size_t i = 0; i < lines.n; i++) {
		if (lines.v[i][0] == '@' && add_directive(p, lines.v[i], out) != 0)
			return err_wrap("%s line %zu", p->fragment, i + 1);
		if (lines.v[i][0] != '@' && i + 1 < lines.n)
			buf_addf(out, "%s\n", lines.v[i]);
	}
	return 0;
}

/* The name of the fragment says whose page it is. */
static int find_command(struct page *p)
{
	const char *base = path_base(p->fragment);
	size_t len = strlen(PROGRAM "-");

	p->command = CMD_NONE;
	if (strcmp(base, PROGRAM SUFFIX) == 0)
		return 0;
	if (!str_starts(base, PROGRAM "-") || !str_ends(base, SUFFIX))
		return err_set(ERR_PARAM_INVALID, "'%s' is not named " PROGRAM "-COMMAND" SUFFIX,
			p->fragment);

	const char *name = arena_strndup(p->arena, base + len, strlen(base) - len - strlen(SUFFIX));

	if (command_by_name(name, &p->command) && command_info(p->command)->implemented)
		return 0;
	return err_set(ERR_COMMAND_INVALID,
		"'%s' describes '%s', which is not an implemented command", p->fragment, name);
}

static void list_commands(struct arena *a, struct buf *out)
{
	for (int c = CMD_NONE + 1; c < CMD_COUNT; c++)
		if (command_info((enum command)c)->implemented)
			buf_addf(out, "%s\n", command_name((enum command)c));
}

static int run(struct arena *a, int argc, char **argv, struct buf *out)
{
	if (argc != 2)
		return err_set(ERR_PARAM_REQUIRED, "one fragment or --commands required");
	if (strcmp(argv[1], "--commands") == 0) {
		list_commands(a, out);
		return 0;
	}

	struct page p = {.arena = a, .fragment = argv[1]};

	if (find_command(&p) != 0)
		return -1;
	add_head(&p, out);
	return add_body(&p, out);
}

int main(int argc, char **argv)
{
	SCOPED_ARENA(a);
	struct buf out;

	sys_init();
	buf_init(&out, a);
	if (run(a, argc, argv, &out) != 0) {
		fprintf(stderr, "genman: %s\n", err_msg());
		return 1;
	}
	return fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0 ? 0 : 1;
}
