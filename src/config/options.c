/*
 * options: one view of the parts of the option table, ordered by name, and the readers of its small
 * notations.
 */
#include <stdlib.h>
#include <string.h>
#include "base/str.h"
#include "config/options.h"

static const struct option *const parts[] = {
	options_general,
	options_command,
	options_restore,
	options_pg,
	options_repo,
	options_store,
};

enum { PARTS = sizeof(parts) / sizeof(parts[0]), OPTIONS_MAX = 256 };

static struct {
	const struct option *v[OPTIONS_MAX];
	size_t n;
} by_name;

static int compare(const void *x, const void *y)
{
	return strcmp(
		(*(const struct option *const *)x)->name, (*(const struct option *const *)y)->name);
}

size_t option_count(void)
{
	if (by_name.n > 0)
		return by_name.n;
	for (size_t p = 0; p < PARTS; p++)
		for (const struct option *o = parts[p]; o->name; o++) {
			if (by_name.n == OPTIONS_MAX)
				abort();
			by_name.v[by_name.n++] = o;
		}
	qsort(by_name.v, by_name.n, sizeof(by_name.v[0]), compare);
	return by_name.n;
}

const struct option *option_at(size_t i)
{
	return by_name.v[i];
}

static size_t position(const char *name)
{
	size_t low = 0, high = option_count();

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(by_name.v[middle]->name, name);

		if (order == 0)
			return middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return by_name.n;
}

size_t option_index(const struct option *o)
{
	return position(o->name);
}

const struct option *option_named(const char *name)
{
	size_t i = position(name);

	return i < by_name.n ? by_name.v[i] : NULL;
}

char *option_label(struct arena *a, const struct option *o, unsigned key)
{
	if (o->group == GROUP_NONE)
		return arena_strdup(a, o->name);

	size_t prefix = o->group == GROUP_PG ? strlen("pg") : strlen("repo");

	return arena_printf(a, "%.*s%u%s", (int)prefix, o->name, key, o->name + prefix);
}

const char *opt_pick(struct arena *a, const char *text, const char *word, const char *fallback)
{
	size_t len = strlen(word);

	for (const char *p = text; p && *p;) {
		size_t item = strcspn(p, " ");

		if (item > len && strncmp(p, word, len) == 0 && p[len] == '=')
			return arena_strndup(a, p + len + 1, item - len - 1);
		p += item + (p[item] == ' ');
	}
	return fallback;
}

bool opt_has_word(const char *words, const char *word, bool *later)
{
	size_t len = strlen(word);

	for (const char *p = words; *p;) {
		bool marked = *p == '~';
		size_t item = strcspn(p, "|");

		if (item - marked == len && strncmp(p + marked, word, len) == 0) {
			if (later)
				*later = marked;
			return true;
		}
		p += item + (p[item] == '|');
	}
	return false;
}
