/*
 * map: string keys to pointers, in order of insertion.  Keys are copied into the arena.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include "arena.h"

struct map;

struct map *map_new(struct arena *a);
void *map_get(const struct map *m, const char *key);   /* NULL if absent */
bool map_has(const struct map *m, const char *key);
void map_put(struct map *m, const char *key, void *value); /* replaces, keeps the old position */
size_t map_count(const struct map *m);
const char *map_key(const struct map *m, size_t i);    /* i-th by insertion, i < count */
void *map_value(const struct map *m, size_t i);

#endif
