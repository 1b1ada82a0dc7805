/*
 * drop_intern: what the files of drop share; nobody else includes it.
 */
#ifndef CMD_DROP_INTERN_H
#define CMD_DROP_INTERN_H

#include "cmd/drop.h"
#include "cmd/push_one.h"

/* The spool, and where in it the notes are: "pgstrata/<stanza>/gap". */
struct store *drop_spool(struct arena *a, const struct config *cfg);
char *drop_dir(struct arena *a, const struct config *cfg);

/* What is there: files of notes, and folders of kept files, by name.  0, STORE_ABSENT, -1. */
struct drop_names {
	strvec notes, kept;
};
int drop_list(struct arena *a, struct store *spool, const char *dir, struct drop_names *out) must_check;

#endif
