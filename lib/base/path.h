/*
 * path: names of files, as text only; nothing here touches a disk.
 */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include <stdbool.h>
#include "arena.h"

char *path_join(struct arena *a, const char *dir, const char *name); /* "" on one side gives the other */
char *path_parent(struct arena *a, const char *path);  /* "a/b" -> "a", "a" -> "", "/a" -> "/" */
const char *path_base(const char *path);	       /* behind the last slash; points into path */

/* True for a name that stays below its root: not empty, not absolute, no empty, "." or ".." part, no
 * line feed (format 5 cannot hold one). */
bool path_is_safe(const char *path);

/* True if path equals dir or lies below it (by whole parts; both absolute and normalised). */
bool path_is_below(const char *path, const char *dir);

/* Text only: removes "." and doubled slashes and resolves "..", for absolute paths. */
char *path_normalize(struct arena *a, const char *path);

#endif
