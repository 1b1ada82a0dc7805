/*
 * map: entries in order of insertion, and an open table of their numbers, at most half full, found
 * by the FNV-1a hash of the key.  Nothing is ever removed, so a probe ends at the first empty slot.
 */
#include "base/map.h"

#include <stdint.h>
#include <string.h>
#include "base/vec.h"

#define FIRST_SLOTS 16

struct entry {
	const char *key;
	void *value;
	uint64_t hash;
};

struct map {
	struct arena *arena;
	VEC(struct entry) entries;
	size_t *slots; /* number of the entry + 1; 0 is empty */
	size_t nslots; /* a power of two */
};

static uint64_t hash_key(const char *key)
{
	uint64_t h = 14695981039346656037U;

	for (const unsigned char *p = (const unsigned char *)key; *p != '\0'; p++)
		h = (h ^ *p) * 1099511628211U;
	return h ^ h >> 32;
}

struct map *map_new(struct arena *a)
{
	struct map *m = arena_new_object(a, struct map);

	m->arena = a;
	vec_init(&m->entries, a);
	m->nslots = FIRST_SLOTS;
	m->slots = arena_zalloc(a, m->nslots * sizeof(*m->slots));
	return m;
}

/* The slot that holds the key, or the empty one where it belongs. */
static size_t *find_slot(const struct map *m, const char *key, uint64_t hash)
{
	for (size_t i = hash & (m->nslots - 1);; i = (i + 1) & (m->nslots - 1)) {
		size_t *slot = &m->slots[i];

		if (*slot == 0)
			return slot;
		const struct entry *e = &m->entries.v[*slot - 1];
		if (e->hash == hash && strcmp(e->key, key) == 0)
			return slot;
	}
}

static void widen(struct map *m)
{
	m->nslots *= 2;
	m->slots = arena_zalloc(m->arena, m->nslots * sizeof(*m->slots));
	for (size_t i = 0; i < m->entries.n; i++) {
		size_t at = m->entries.v[i].hash & (m->nslots - 1);

		while (m->slots[at] != 0)
			at = (at + 1) & (m->nslots - 1);
		m->slots[at] = i + 1;
	}
}

void map_put(struct map *m, const char *key, void *value)
{
	uint64_t hash = hash_key(key);
	size_t *slot = find_slot(m, key, hash);

	if (*slot != 0) {
		m->entries.v[*slot - 1].value = value;
		return;
	}
	struct entry *e = vec_add(&m->entries);
	*e = (struct entry){.key = arena_strdup(m->arena, key), .value = value, .hash = hash};
	*slot = m->entries.n;
	if (m->entries.n * 2 > m->nslots)
		widen(m);
}

static const struct entry *find_entry(const struct map *m, const char *key)
{
	size_t slot = *find_slot(m, key, hash_key(key));

	return slot == 0 ? NULL : &m->entries.v[slot - 1];
}

void *map_get(const struct map *m, const char *key)
{
	const struct entry *e = find_entry(m, key);

	return e == NULL ? NULL : e->value;
}

bool map_has(const struct map *m, const char *key)
{
	return find_entry(m, key) != NULL;
}

size_t map_count(const struct map *m)
{
	return m->entries.n;
}

const char *map_key(const struct map *m, size_t i)
{
	return m->entries.v[i].key;
}

void *map_value(const struct map *m, size_t i)
{
	return m->entries.v[i].value;
}
