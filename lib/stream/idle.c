/*
 * idle: see idle.h.  A context is either in its list or owned by exactly one arena.
 */
#include "stream/idle.h"

static struct arena *process_arena; /* lives until exit, as the contexts do */
static size_t made;

static void give_back(void *p)
{
	struct idle *i = p;

	i->next = i->home->first;
	i->home->first = i;
}

static struct idle *make(struct idle_list *list)
{
	struct idle *i;

	if (process_arena == NULL)
		process_arena = arena_new();
	i = arena_zalloc(process_arena, list->size);
	i->home = list;
	made++;
	return i;
}

void *idle_take(struct arena *a, struct idle_list *list)
{
	struct idle *i = list->first;

	if (i != NULL)
		list->first = i->next;
	else
		i = make(list);
	i->next = NULL;
	arena_defer(a, give_back, i);
	return i;
}

size_t idle_made(void)
{
	return made;
}
