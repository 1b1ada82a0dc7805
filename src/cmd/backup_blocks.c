/*
 * backup_blocks: what the repo-block options say about the files that are stored as blocks.
 */
#include "cmd/backup_intern.h"

static int set_table(struct backup *b, enum block_table table, const char *name, const config_pairs *pairs)
{
	const char *option = arena_printf(b->arena, "repo%u-%s", b->repo->key, name);
	strvec keys, values;

	vec_init(&keys, b->arena);
	vec_init(&values, b->arena);
	for (size_t i = 0; i < pairs->n; i++) {
		vec_push(&keys, pairs->v[i].key);
		vec_push(&values, pairs->v[i].value);
	}
	return block_rules_set(b->blocks, table, option, &keys, &values);
}

int backup_block_rules(struct backup *b)
{
	const struct config_repo *r = b->repo->cfg;

	/* members of bundles have the raw forms in the whole set, see backup_choose_prior */
	b->m->block_incr = b->m->bundle_raw = r->block;
	if (!r->block)
		return 0;
	b->blocks = arena_new_object(b->arena, struct block_rules);
	block_rules_init(b->blocks, b->arena);
	if (set_table(b, BLOCK_TABLE_SIZE, "block-size-map", &r->block_size_map) != 0 ||
		set_table(b, BLOCK_TABLE_AGE, "block-age-map", &r->block_age_map) != 0)
		return -1;
	return set_table(b, BLOCK_TABLE_SUM, "block-checksum-size-map", &r->block_checksum_size_map);
}
