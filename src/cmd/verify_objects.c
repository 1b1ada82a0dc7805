/*
 * verify_objects: what is stored for backups, each thing once.
 *
 * PURE: rows of manifests in, objects and uses out.  A manifest with a million rows is forgotten after it was taken, so
 * an object keeps only what reading it needs.
 */
#include "cmd/verify_intern.h"

#include <string.h>

#include "repo/block_stored.h"
#include "repo/layout.h"

#define SLOTS_MIN ((size_t)1024)

void verify_count(struct verify_counts *c, enum check_state state)
{
	switch (state) {
	case CHECK_MISSING:
		c->v[COUNT_MISSING]++;
		break;
	case CHECK_SUM:
		c->v[COUNT_SUM]++;
		break;
	case CHECK_SIZE:
		c->v[COUNT_SIZE]++;
		break;
	case CHECK_DAMAGED:
	case CHECK_UNREAD:
		c->v[COUNT_OTHER]++;
		break;
	case CHECK_OK:
	case CHECK_STATES:
		break;
	}
}

uint64_t verify_counts_sum(const struct verify_counts *c)
{
	return c->v[COUNT_MISSING] + c->v[COUNT_SUM] + c->v[COUNT_SIZE] + c->v[COUNT_OTHER];
}

void verify_objects_init(struct verify_objects *o, struct arena *a)
{
	memset(o, 0, sizeof(*o));
	o->arena = a;
	vec_init(&o->v, a);
	vec_init(&o->labels, a);
	vec_init(&o->maps, a);
	vec_init(&o->lists, a);
	o->blocks = map_new(a);
	o->slots_n = SLOTS_MIN;
	o->slots = arena_zalloc(a, o->slots_n * sizeof(*o->slots));
}

uint32_t verify_label(struct verify_objects *o, const char *label, const char *pass)
{
	/* newest first: rows ask for their own backup or a recent one */
	for (size_t i = o->labels.n; i > 0; i--)
		if (strcmp(o->labels.v[i - 1].label, label) == 0)
			return (uint32_t)(i - 1);
	vec_push(&o->labels, ((struct verify_label){ arena_strdup(o->arena, label),
		pass == NULL ? NULL : arena_strdup(o->arena, pass) }));
	return (uint32_t)(o->labels.n - 1);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9E3779B97F4A7C15);
	return h ^ h >> 29;
}

static uint64_t hash_of(const struct verify_object *x)
{
	uint64_t h = mix(mix(mix(1, x->label), x->bundle), x->offset);

	for (const char *s = x->name; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001B3);
	return mix(h, 2);
}

static bool same_map(const struct verify_map *x, const struct verify_map *y)
{
	if (x == NULL || y == NULL)
		return x == y;
	return x->size == y->size && x->block_size == y->block_size && x->sum_size == y->sum_size &&
		x->map_size == y->map_size && x->list == y->list && sum_equal(&x->sum, &y->sum);
}

static const struct verify_map *map_of(const struct verify_objects *o, const struct verify_object *x)
{
	return x->map == 0 ? NULL : &o->maps.v[x->map - 1];
}

static bool same(const struct verify_object *x, const struct verify_object *y)
{
	return x->label == y->label && x->bundle == y->bundle && x->offset == y->offset &&
		x->stored == y->stored && x->size == y->size && x->codec == y->codec &&
		x->as_stored == y->as_stored && x->raw == y->raw && sum_equal(&x->sum, &y->sum) &&
		strcmp(x->name, y->name) == 0;
}

static void put_slot(struct verify_objects *o, uint32_t index)
{
	size_t i = hash_of(&o->v.v[index]) & (o->slots_n - 1);

	while (o->slots[i] != 0)
		i = (i + 1) & (o->slots_n - 1);
	o->slots[i] = index + 1;
}

static void grow(struct verify_objects *o)
{
	if (o->v.n * 2 < o->slots_n)
		return;
	o->slots_n *= 2;
	o->slots = arena_zalloc(o->arena, o->slots_n * sizeof(*o->slots));
	for (size_t i = 0; i < o->v.n; i++)
		put_slot(o, (uint32_t)i);
}

uint32_t verify_object_add(struct verify_objects *o, const struct verify_object *object, const struct verify_map *map)
{
	grow(o);
	for (size_t i = hash_of(object) & (o->slots_n - 1); o->slots[i] != 0; i = (i + 1) & (o->slots_n - 1)) {
		const struct verify_object *there = &o->v.v[o->slots[i] - 1];
		if (same(there, object) && same_map(map_of(o, there), map))
			return o->slots[i] - 1;
	}
	struct verify_object *new = vec_add(&o->v);
	*new = *object;
	new->name = arena_strdup(o->arena, object->name);
	new->map = 0;
	if (map != NULL) {
		/* chains of one file's blocks */
		vec_push(&o->maps, *map);
		new->map = (uint32_t)o->maps.n;
		o->maps.v[o->maps.n - 1].earlier = (uint32_t)(uintptr_t)map_get(o->blocks, new->name);
		map_put(o->blocks, new->name, (void *)(uintptr_t)o->v.n);
	}
	put_slot(o, (uint32_t)(o->v.n - 1));
	return (uint32_t)(o->v.n - 1);
}

static struct verify_object object_of(struct verify_objects *o, const struct manifest *m,
	const struct manifest_file *f)
{
	const char *holder = f->reference != NULL ? f->reference : m->label;
	struct verify_object x = { .name = f->name, .bundle = f->bundle, .codec = (uint8_t)m->codec,
		.label = verify_label(o, holder, m->cipher_pass), .as_stored = f->has_repo_sum,
		.empty = f->size == 0 };

	x.stored = f->repo_size;
	x.offset = f->bundle == 0 ? 0 : f->bundle_offset;
	x.raw = f->bundle != 0 && m->bundle_raw;
	x.sum = f->has_repo_sum ? f->repo_sum : f->size == 0 ? sum_empty : f->sum;
	x.size = f->has_repo_sum ? f->repo_size : f->size;
	return x;
}

static uint32_t list_add(struct verify_objects *o, uint32_t parent, uint32_t label)
{
	for (size_t i = 0; i < o->lists.n; i++)
		if (o->lists.v[i].parent == parent && o->lists.v[i].label == label)
			return (uint32_t)i + 1;
	vec_push(&o->lists, ((struct verify_list){ parent, label, parent == 0 ? 1 : o->lists.v[parent - 1].n + 1 }));
	return (uint32_t)o->lists.n;
}

/* Of the references of a manifest: each beginning of the list, by the backup that it ends with. */
static uint32_t add_lists(struct verify_objects *o, const struct manifest *m)
{
	uint32_t list = 0;

	for (size_t i = 0; i < m->reference.n; i++)
		list = list_add(o, list, verify_label(o, m->reference.v[i], m->cipher_pass));
	return list;
}

uint32_t *verify_list_labels(struct arena *a, const struct verify_objects *o, uint32_t list)
{
	uint32_t n = list == 0 ? 0 : o->lists.v[list - 1].n;
	uint32_t *labels = arena_alloc(a, n * sizeof(*labels));

	for (; list != 0; list = o->lists.v[list - 1].parent)
		labels[--n] = o->lists.v[list - 1].label;
	return labels;
}

static struct verify_map blocks_of(const struct verify_objects *o, const struct manifest_file *f, uint32_t list,
	uint32_t holder)
{
	while (list != 0 && o->lists.v[list - 1].label != holder)
		list = o->lists.v[list - 1].parent;
	return (struct verify_map){ .size = f->size, .sum = f->sum, .block_size = f->block_size,
		.sum_size = f->block_sum_size, .map_size = f->block_map_size, .list = list };
}

/* With bundles, a file without content is not stored at all (format/blocks.md 1.6).  What an heir says of it does not
 * tell how the backup was made that should hold it, and no restore looks there. */
static bool is_stored(const struct manifest *m, const struct manifest_file *f)
{
	if (f->bundle != 0)
		return f->repo_size != 0;
	return f->size != 0 || f->has_repo_sum || (f->reference == NULL && !m->bundle);
}

void verify_objects_take(struct verify_objects *o, const struct manifest *m, verify_uses *uses)
{
	uint32_t list = add_lists(o, m);

	for (size_t i = 0; i < m->files.n; i++) {
		const struct manifest_file *f = &m->files.v[i];
		bool blocks = block_is_stored(f);
		if (!is_stored(m, f) || (uses == NULL && !(blocks && map_has(o->blocks, f->name))))
			continue;
		struct verify_object x = object_of(o, m, f);
		struct verify_map map = { 0 };
		if (blocks)
			map = blocks_of(o, f, list, x.label);
		uint32_t index = verify_object_add(o, &x, blocks ? &map : NULL);
		if (uses != NULL)
			vec_push(uses, index);
	}
}

const char *verify_object_path(struct arena *a, const char *stanza, const struct verify_objects *o,
	const struct verify_object *object)
{
	const char *label = o->labels.v[object->label].label;

	if (object->bundle != 0)
		return layout_bundle(a, stanza, label, object->bundle);
	return layout_backup_file(a, stanza, label, object->name,
		object->map != 0 ? BLOCK_SUFFIX : codec_info((enum codec)object->codec)->suffix);
}
