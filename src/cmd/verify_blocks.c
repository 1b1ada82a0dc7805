/*
 * verify_blocks: files stored as blocks stand on what earlier backups stored of them.
 *
 * Each map was read with the rest of its object, so that its bytes are proven, and says where the other blocks lie.  If
 * those places were read and are right too, so is the file, and nothing is read twice.  A place that is damaged,
 * missing, or that no manifest tells of, says little: the file may need only what is sound in it.  Then the file is put
 * together, and its SHA-1 decides.
 */
#include "cmd/verify_intern.h"

#include <string.h>

#include "base/log.h"
#include "repo/block_check.h"
#include "repo/block_load.h"
#include "work/pool.h"

struct manifest_file verify_map_row(const struct verify_objects *o, const struct verify_object *x)
{
	const struct verify_map *map = &o->maps.v[x->map - 1];

	return (struct manifest_file){ .name = x->name, .size = map->size, .sum = map->sum, .has_sum = true,
		.repo_size = x->stored, .bundle = x->bundle, .bundle_offset = x->offset,
		.block_size = map->block_size, .block_sum_size = map->sum_size, .block_map_size = map->map_size };
}

/* --- what a map needs --- */

int verify_map_needs(struct arena *a, const struct verify_objects *o, const struct verify_object *x,
	const struct buf *stored, struct buf *needs)
{
	const uint32_t list = o->maps.v[x->map - 1].list;
	const struct verify_label *holder = &o->labels.v[x->label];
	const struct manifest_file f = verify_map_row(o, x);
	struct block_map map;

	if (list == 0)
		return err_set(ERR_FORMAT, "backup '%s' is not in the list of references", holder->label);
	uint32_t own = o->lists.v[list - 1].n - 1;
	if (block_map_decode(a, &f, holder->pass, own, stored, &map) != 0)
		return err_wrap("unable to read its block map");
	const uint32_t *labels = verify_list_labels(a, o, list);
	struct verify_need *of = arena_zalloc(a, (size_t)(own + 1) * sizeof(*of));
	for (size_t i = 0; i < map.blocks.n; i++) {
		const struct block *b = &map.blocks.v[i];
		struct verify_need *n = &of[b->reference];
		if (n->end == 0)
			*n = (struct verify_need){ labels[b->reference], b->bundle, b->offset, b->offset };
		/* blocks of one reference rise (block_map.h) */
		n->end = b->offset + b->stored;
	}
	for (uint32_t i = 0; i < own; i++)
		if (of[i].end != 0)
			buf_add(needs, &of[i], sizeof(of[i]));
	return 0;
}

bool verify_map_take(struct verify_objects *o, const struct verify_object *x, const void *needs, size_t len)
{
	if (x->map == 0 || len % sizeof(struct verify_need) != 0)
		return false;
	struct verify_map *map = &o->maps.v[x->map - 1];
	const struct verify_need *n = arena_memdup(o->arena, needs, len);
	map->needs = n;
	map->needs_n = (uint32_t)(len / sizeof(*n));
	for (uint32_t i = 0; i < map->needs_n; i++)
		if (n[i].label >= o->labels.n)
			return false;
	return true;
}

/* --- is it there? --- */

/* All of it lies in something that was read and is right. */
static bool is_proven(const struct verify_objects *o, const char *name, const struct verify_need *n)
{
	for (uint32_t i = (uint32_t)(uintptr_t)map_get(o->blocks, name); i != 0;) {
		const struct verify_object *y = &o->v.v[i - 1];
		if (y->label == n->label && y->bundle == n->bundle && y->state == CHECK_OK && y->offset <= n->begin &&
			n->end <= y->offset + y->stored)
			return true;
		i = o->maps.v[y->map - 1].earlier;
	}
	return false;
}

static bool is_suspect(const struct verify_objects *o, const struct verify_object *x)
{
	if (x->map == 0 || x->state != CHECK_OK)
		return false;
	const struct verify_map *map = &o->maps.v[x->map - 1];
	for (uint32_t i = 0; i < map->needs_n; i++)
		if (!is_proven(o, x->name, &map->needs[i]))
			return true;
	return false;
}

/* --- the files that stand on something that is not right, by workers --- */

struct suspects {
	struct verify *v;
	VEC(uint32_t) objects;
	size_t next;
};

/* What an answer has; a message follows. */
struct verdict {
	uint32_t state, code, guilty;
};

static bool next(void *ctx, unsigned worker, uint32_t *number)
{
	struct suspects *s = ctx;

	if (s->next == s->objects.n)
		return false;
	*number = (uint32_t)s->next++;
	return true;
}

/* A manifest that has all that reading blocks asks for. */
static struct manifest *manifest_of(struct arena *a, const struct verify_objects *o, const struct verify_object *x)
{
	struct manifest *m = manifest_new(a);
	const struct verify_list *list = &o->lists.v[o->maps.v[x->map - 1].list - 1];
	const uint32_t *labels = verify_list_labels(a, o, (uint32_t)(list - o->lists.v) + 1);

	m->label = o->labels.v[x->label].label;
	m->cipher_pass = o->labels.v[x->label].pass;
	m->codec = (enum codec)x->codec;
	for (uint32_t i = 0; i < list->n; i++)
		vec_push(&m->reference, o->labels.v[labels[i]].label);
	return m;
}

static int work(void *ctx, uint32_t number, struct buf *answer)
{
	SCOPED_ARENA(a);
	const struct suspects *s = ctx;
	const struct verify_objects *o = &s->v->objects;
	const struct verify_object *x = &o->v.v[s->objects.v[number]];
	const struct manifest_file f = verify_map_row(o, x);
	const struct manifest *m = manifest_of(a, o, x);
	struct store *repo = s->v->repo->store;
	struct block_check check = { .reference = (uint32_t)m->reference.n - 1 };
	struct block_map map;

	if (block_map_load(a, repo, s->v->stanza, m, &f, &map) != 0) {
		if (err_code() == ERR_TERM)
			return -1;
		check_take(a, &check.result);
	} else if (block_check(a, repo, s->v->stanza, m, &f, &map, &check) != 0) {
		return -1;
	}
	const struct verdict verdict = { check.result.state, (uint32_t)check.result.code,
		verify_list_labels(a, o, o->maps.v[x->map - 1].list)[check.reference] };
	buf_add(answer, &verdict, sizeof(verdict));
	buf_adds(answer, check.result.msg);
	return 0;
}

static void log_blocks(const struct verify_objects *o, const struct verify_object *x, const struct verdict *d,
	const char *msg)
{
	const char *what = d->state == CHECK_MISSING ? "missing" : d->state == CHECK_UNREAD ? "not readable" : "invalid";

	log_info("%s blocks of '%s' (map in '%s') in '%s'%s%s", what, x->name, o->labels.v[x->label].label,
		o->labels.v[d->guilty].label, *msg == '\0' ? "" : ": ", msg);
}

static int done(void *ctx, uint32_t number, int rc, const void *answer, size_t len)
{
	SCOPED_ARENA(a);
	const struct suspects *s = ctx;
	struct verify_objects *o = &s->v->objects;
	const struct verify_object *x = &o->v.v[s->objects.v[number]];
	struct verify_map *map = &o->maps.v[x->map - 1];
	struct verdict d;

	if (rc != 0)
		return -1;
	if (len < sizeof(d))
		return err_set(ERR_PROTOCOL, "a worker's answer has the wrong form");
	memcpy(&d, answer, sizeof(d));
	if (d.state >= CHECK_STATES || d.guilty >= o->labels.n)
		return err_set(ERR_PROTOCOL, "a worker's answer has the wrong form");
	map->state = (uint8_t)d.state;
	map->guilty = d.guilty;
	if (d.state != CHECK_OK)
		log_blocks(o, x, &d, arena_strndup(a, (const char *)answer + sizeof(d), len - sizeof(d)));
	return 0;
}

static const char *name_of(void *ctx, uint32_t number)
{
	const struct suspects *s = ctx;

	return s->v->objects.v.v[s->objects.v[number]].name;
}

int verify_blocks(struct verify *v)
{
	static const struct pool_ops ops = { .next = next, .work = work, .done = done, .name = name_of };
	struct suspects s = { .v = v };

	vec_init(&s.objects, v->arena);
	for (size_t i = 0; i < v->objects.v.n; i++)
		if (is_suspect(&v->objects, &v->objects.v.v[i]))
			vec_push(&s.objects, (uint32_t)i);
	return s.objects.n == 0 ? 0 : pool_run((unsigned)v->cfg->process_max, &ops, &s);
}
