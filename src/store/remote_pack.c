/*
 * remote_pack: see remote_pack.h.  What is unpacked has been held against what packing can say: nothing behind
 * here asks again whether a codec exists or a list fits its sizes.
 */
#include "store/remote_pack.h"

#include <string.h>

#include "base/str.h"

/* Yes and no travel as bits of one number, which fails as a whole if it has a bit that nobody knows. */
static uint32_t bit(bool set, unsigned n)
{
	return set ? 1u << n : 0;
}

static bool has(uint32_t set, unsigned n)
{
	return (set >> n & 1) != 0;
}

static void pack_i32(struct buf *b, int32_t v)
{
	pack_u32(b, (uint32_t)v);
}

static int32_t unpack_i32(struct unpack *u)
{
	return (int32_t)unpack_u32(u);
}

/* Sizes and places in files: what off_t can hold. */
static uint64_t unpack_size(struct unpack *u)
{
	uint64_t v = unpack_u64(u);

	if (v <= INT64_MAX)
		return v;
	u->bad = true;
	return 0;
}

static const char *unpack_path(struct unpack *u)
{
	const char *path = unpack_text(u);

	if (strlen(path) <= REMOTE_PATH_MAX)
		return path;
	u->bad = true;
	return "";
}

/* ---- hello ---- */

/* Fewest bytes of a place: its number and two texts. */
#define PLACE_MIN 12

void remote_pack_hello(struct buf *b, const struct remote_hello *h, bool server)
{
	pack_u16(b, h->major);
	pack_u16(b, h->minor);
	pack_str(b, h->program);
	pack_str(b, h->capabilities);
	pack_u32(b, h->ahead);
	pack_str(b, h->stanza);
	pack_u32(b, h->roles);
	if (!server) {
		pack_str(b, h->exec_id);
		pack_i64(b, h->silence_ms);
		pack_i32(b, h->level);
		return;
	}
	pack_bool(b, h->forced);
	pack_u32(b, (uint32_t)h->places.n);
	for (size_t i = 0; i < h->places.n; i++) {
		pack_u32(b, h->places.v[i].number);
		pack_str(b, h->places.v[i].path);
		pack_str(b, h->places.v[i].cipher);
	}
}

static void unpack_places(struct unpack *u, struct remote_hello *out)
{
	size_t n = unpack_count(u, PLACE_MIN);

	for (size_t i = 0; i < n; i++) {
		struct remote_place *p = vec_add(&out->places);

		p->number = unpack_u32(u);
		p->path = unpack_text(u);
		p->cipher = unpack_str(u);
	}
}

static void unpack_hello_fields(struct unpack *u, bool server, struct remote_hello *out)
{
	out->program = unpack_text(u);
	out->capabilities = unpack_text(u);
	out->ahead = unpack_u32(u);
	out->stanza = unpack_str(u);
	out->roles = unpack_u32(u);
	if (server) {
		out->forced = unpack_bool(u);
		unpack_places(u, out);
		return;
	}
	out->exec_id = unpack_str(u);
	out->silence_ms = unpack_i64(u);
	out->level = unpack_i32(u);
	u->bad |= out->silence_ms < 0;
}

int remote_unpack_hello(struct arena *a, const void *data, size_t len, bool server, struct remote_hello *out)
{
	struct unpack u;

	*out = (struct remote_hello){ .program = "", .capabilities = "" };
	vec_init(&out->places, a);
	unpack_init(&u, a, data, len);
	out->major = unpack_u16(&u);
	out->minor = unpack_u16(&u);
	/* Of another major only these two numbers are known; they are what has to be told. */
	if (!u.bad && out->major != REMOTE_MAJOR)
		return 0;
	unpack_hello_fields(&u, server, out);
	/* A later minor may have more to say. */
	if (out->minor > REMOTE_MINOR)
		u.at = u.end;
	return unpack_end(&u, "hello");
}

static bool names(const char *capabilities, const char *capability)
{
	SCOPED_ARENA(a);
	const strvec words = str_split(a, capabilities, ' ');

	for (size_t i = 0; i < words.n; i++) {
		if (strcmp(words.v[i], capability) == 0)
			return true;
	}
	return false;
}

bool remote_can(const struct remote_hello *mine, const struct remote_hello *theirs, const char *capability)
{
	return names(mine->capabilities, capability) && names(theirs->capabilities, capability);
}

static const struct {
	enum remote_role role;
	const char *name;
} roles_known[] = {
	{ REMOTE_ROLE_ARCHIVE, "archive" }, { REMOTE_ROLE_RESTORE, "restore" }, { REMOTE_ROLE_BACKUP, "backup" },
};

enum { ROLES = sizeof(roles_known) / sizeof(roles_known[0]) };

char *remote_roles_text(struct arena *a, uint32_t roles)
{
	strvec words;

	vec_init(&words, a);
	for (size_t i = 0; i < ROLES; i++) {
		if ((roles & roles_known[i].role) != 0)
			vec_push(&words, roles_known[i].name);
	}
	return str_join(a, &words, ",");
}

int remote_roles_parse(const char *text, uint32_t *out)
{
	SCOPED_ARENA(a);
	const strvec words = str_split(a, text == NULL ? "" : text, ',');

	*out = 0;
	for (size_t i = 0; i < words.n; i++) {
		const char *word = str_trim(a, words.v[i]);
		size_t k = 0;

		while (k < ROLES && strcmp(word, roles_known[k].name) != 0)
			k++;
		if (k == ROLES)
			return err_set(ERR_OPTION_VALUE, "'%s' is not a role: archive, restore or backup", word);
		*out |= roles_known[k].role;
	}
	return 0;
}

/* ---- what is to be done with a file's bytes ---- */

enum {
	SPEC_RAW, SPEC_HASH_PLAIN, SPEC_HASH_STORED, SPEC_HEADERS, SPEC_UNLESS, SPEC_SKIP_EMPTY, SPEC_BLOCKS,
	SPEC_BITS
};

static void pack_blocks(struct buf *b, const struct blocks_spec *s)
{
	pack_u32(b, s->block_size);
	pack_u32(b, s->sum_size);
	pack_u32(b, s->super_size);
	pack_bytes(b, s->prior, s->prior_n * s->sum_size);
	pack_u8(b, (uint8_t)s->codec);
	pack_i32(b, s->level);
	pack_str(b, s->pass);
}

static void pack_spec(struct buf *b, const struct pipe_spec *s)
{
	pack_u32(b, bit(s->raw, SPEC_RAW) | bit(s->hash_plain, SPEC_HASH_PLAIN) |
		bit(s->hash_stored, SPEC_HASH_STORED) | bit(s->page_header_check, SPEC_HEADERS) |
		bit(s->unless != NULL, SPEC_UNLESS) | bit(s->skip_empty, SPEC_SKIP_EMPTY) |
		bit(s->blocks != NULL, SPEC_BLOCKS));
	pack_str(b, s->decrypt);
	pack_str(b, s->encrypt);
	pack_u8(b, (uint8_t)s->expand);
	pack_u8(b, (uint8_t)s->compress);
	pack_i32(b, s->level);
	pack_u32(b, s->page_size);
	pack_u32(b, s->first_block);
	if (s->unless != NULL)
		buf_add(b, s->unless->bytes, SHA1_SIZE);
	if (s->blocks != NULL)
		pack_blocks(b, s->blocks);
}

static enum codec unpack_codec(struct unpack *u)
{
	uint8_t v = unpack_u8(u);

	if (v < CODEC_COUNT)
		return v;
	u->bad = true;
	return CODEC_NONE;
}

static uint32_t unpack_page_size(struct unpack *u)
{
	uint32_t v = unpack_u32(u);

	if (v == 0 || (v >= 1024 && v <= 32 * 1024 && (v & (v - 1)) == 0))
		return v;
	u->bad = true;
	return 0;
}

static void unpack_raw(struct unpack *u, uint8_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = unpack_u8(u);
}

static const struct blocks_spec *unpack_blocks(struct unpack *u)
{
	struct blocks_spec *s = arena_new_object(u->arena, struct blocks_spec);
	size_t len;

	s->block_size = unpack_u32(u);
	s->sum_size = unpack_u32(u);
	s->super_size = unpack_u32(u);
	u->bad |= s->sum_size < BLOCK_SUM_MIN || s->sum_size > BLOCK_SUM_MAX;
	u->bad |= s->block_size == 0 || s->super_size == 0;
	u->bad |= !u->bad && s->super_size % s->block_size != 0;
	s->prior = unpack_bytes(u, &len);
	u->bad |= !u->bad && len % s->sum_size != 0;
	if (u->bad || len == 0)
		s->prior = NULL;
	else
		s->prior_n = len / s->sum_size;
	s->codec = unpack_codec(u);
	s->level = unpack_i32(u);
	s->pass = unpack_str(u);
	return s;
}

static const struct pipe_spec *unpack_spec(struct unpack *u)
{
	struct pipe_spec *s = arena_new_object(u->arena, struct pipe_spec);
	uint32_t set = unpack_u32_max(u, (1u << SPEC_BITS) - 1);

	s->raw = has(set, SPEC_RAW);
	s->hash_plain = has(set, SPEC_HASH_PLAIN);
	s->hash_stored = has(set, SPEC_HASH_STORED);
	s->page_header_check = has(set, SPEC_HEADERS);
	s->skip_empty = has(set, SPEC_SKIP_EMPTY);
	s->decrypt = unpack_str(u);
	s->encrypt = unpack_str(u);
	s->expand = unpack_codec(u);
	s->compress = unpack_codec(u);
	s->level = unpack_i32(u);
	s->page_size = unpack_page_size(u);
	s->first_block = unpack_u32(u);
	if (has(set, SPEC_UNLESS)) {
		struct sum *unless = arena_new_object(u->arena, struct sum);

		u->bad |= !s->hash_plain;
		unpack_raw(u, unless->bytes, SHA1_SIZE);
		s->unless = unless;
	}
	if (has(set, SPEC_BLOCKS))
		s->blocks = unpack_blocks(u);
	return s;
}

/* ---- get ---- */

enum { GET_EXACT, GET_ENTRY, GET_SPEC, GET_BITS };

void remote_pack_get(struct buf *b, const struct remote_get *g)
{
	const struct get_opts *o = &g->opts;

	pack_u8(b, REMOTE_GET);
	pack_u32(b, g->place);
	pack_str(b, g->path);
	pack_u32(b, bit(o->exact, GET_EXACT) | bit(g->want_entry, GET_ENTRY) | bit(o->spec != NULL, GET_SPEC));
	pack_u64(b, o->offset);
	pack_u64(b, o->length);
	if (o->spec != NULL)
		pack_spec(b, o->spec);
}

void remote_unpack_get(struct unpack *u, struct remote_get *out)
{
	out->place = unpack_u32(u);
	out->path = unpack_path(u);
	uint32_t set = unpack_u32_max(u, (1u << GET_BITS) - 1);
	out->want_entry = has(set, GET_ENTRY);
	out->opts.exact = has(set, GET_EXACT);
	out->opts.offset = unpack_size(u);
	out->opts.length = unpack_size(u);
	out->opts.spec = has(set, GET_SPEC) ? unpack_spec(u) : NULL;
}

/* ---- the answer of a get ---- */

enum { GOT_ABSENT, GOT_SKIPPED, GOT_MISALIGNED, GOT_BITS };

#define RANGE_SIZE 8  /* bytes of a range of bad pages */
#define SUPER_SIZE 12 /* bytes of a super block */
#define INDEX_SIZE 8  /* bytes of a changed block but its checksum */

static void pack_blocks_result(struct buf *b, const struct blocks_spec *s, const struct blocks_result *r)
{
	pack_u64(b, r->n);
	pack_u32(b, (uint32_t)r->changed.n);
	for (size_t i = 0; i < r->changed.n; i++) {
		pack_u64(b, r->changed.v[i].index);
		buf_add(b, r->changed.v[i].sum, s->sum_size);
	}
	pack_u32(b, (uint32_t)r->supers.n);
	for (size_t i = 0; i < r->supers.n; i++) {
		pack_u64(b, r->supers.v[i].stored);
		pack_u32(b, r->supers.v[i].plain);
	}
}

void remote_pack_got(struct buf *b, bool absent, const struct pipe_spec *spec, const struct pipe_result *r)
{
	const bool result = !absent && spec != NULL;

	pack_u8(b, (uint8_t)(bit(absent, GOT_ABSENT) | bit(result && r->skipped, GOT_SKIPPED) |
		bit(result && r->pages.misaligned, GOT_MISALIGNED)));
	if (!result)
		return;
	pack_u64(b, r->plain_size);
	pack_u64(b, r->stored_size);
	if (spec->hash_plain)
		buf_add(b, r->plain_sum.bytes, SHA1_SIZE);
	if (spec->hash_stored)
		buf_add(b, r->stored_sum.bytes, SHA1_SIZE);
	pack_u32(b, (uint32_t)r->pages.bad.n);
	for (size_t i = 0; i < r->pages.bad.n; i++) {
		pack_u32(b, r->pages.bad.v[i].first);
		pack_u32(b, r->pages.bad.v[i].last);
	}
	if (spec->blocks != NULL)
		pack_blocks_result(b, spec->blocks, &r->blocks);
}

static void unpack_ranges(struct unpack *u, struct page_result *out)
{
	size_t n = unpack_count(u, RANGE_SIZE);

	vec_init(&out->bad, u->arena);
	for (size_t i = 0; i < n && !u->bad; i++) {
		struct page_range r;

		r.first = unpack_u32(u);
		r.last = unpack_u32(u);
		u->bad |= r.first > r.last || (i > 0 && r.first <= out->bad.v[i - 1].last);
		vec_push(&out->bad, r);
	}
}

/* Ascending, and all that were not in the prior map are there: whoever makes a map from it finds the others in the
 * prior. */
static void unpack_changed(struct unpack *u, const struct blocks_spec *s, struct blocks_result *out)
{
	size_t n = unpack_count(u, INDEX_SIZE + s->sum_size);
	uint64_t next = 0, new = 0;

	vec_init(&out->changed, u->arena);
	for (size_t i = 0; i < n && !u->bad; i++) {
		struct blocks_changed *c = vec_add(&out->changed);

		c->index = unpack_u64(u);
		unpack_raw(u, c->sum, s->sum_size);
		u->bad |= c->index < next || c->index >= out->n;
		next = c->index + 1;
		new += c->index >= s->prior_n;
	}
	u->bad |= new != (out->n > s->prior_n ? out->n - s->prior_n : 0);
}

/* Together they hold the changed blocks, and all that was stored. */
static void unpack_supers(struct unpack *u, const struct blocks_spec *s, uint64_t stored, struct blocks_result *out)
{
	size_t n = unpack_count(u, SUPER_SIZE);
	uint64_t blocks = 0, bytes = 0;

	vec_init(&out->supers, u->arena);
	for (size_t i = 0; i < n && !u->bad; i++) {
		struct blocks_super super;

		super.stored = unpack_size(u);
		super.plain = unpack_u32(u);
		u->bad |= super.plain == 0 || super.plain > s->super_size || super.stored > stored - bytes;
		u->bad |= i + 1 < n && super.plain != s->super_size;
		blocks += super.plain / s->block_size + (super.plain % s->block_size != 0);
		bytes += super.stored;
		vec_push(&out->supers, super);
	}
	u->bad |= blocks != out->changed.n || bytes != stored;
}

static void unpack_blocks_result(struct unpack *u, const struct blocks_spec *s, struct pipe_result *r)
{
	const uint64_t size = r->plain_size;

	r->blocks.n = unpack_u64(u);
	u->bad |= r->blocks.n != size / s->block_size + (size % s->block_size != 0);
	unpack_changed(u, s, &r->blocks);
	unpack_supers(u, s, r->stored_size, &r->blocks);
}

void remote_unpack_got(struct unpack *u, const struct pipe_spec *spec, bool *absent, struct pipe_result *r)
{
	uint8_t set = unpack_u8(u);

	u->bad |= set >> GOT_BITS != 0;
	*absent = has(set, GOT_ABSENT);
	memset(r, 0, sizeof(*r));
	r->skipped = has(set, GOT_SKIPPED);
	r->pages.misaligned = has(set, GOT_MISALIGNED);
	if (*absent || spec == NULL) {
		u->bad |= set >> GOT_SKIPPED != 0;
		return;
	}
	r->plain_size = unpack_size(u);
	r->stored_size = unpack_size(u);
	if (spec->hash_plain)
		unpack_raw(u, r->plain_sum.bytes, SHA1_SIZE);
	if (spec->hash_stored)
		unpack_raw(u, r->stored_sum.bytes, SHA1_SIZE);
	unpack_ranges(u, &r->pages);
	if (spec->blocks != NULL)
		unpack_blocks_result(u, spec->blocks, r);
}

/* ---- put ---- */

enum { PUT_CREATE_NEW, PUT_REPLACE, PUT_BITS };

void remote_pack_put(struct buf *b, const struct remote_put *p)
{
	pack_u8(b, REMOTE_PUT);
	pack_u32(b, p->place);
	pack_str(b, p->path);
	pack_u32(b, bit(p->create_new, PUT_CREATE_NEW) | bit(p->replace, PUT_REPLACE));
}

void remote_unpack_put(struct unpack *u, struct remote_put *out)
{
	out->place = unpack_u32(u);
	out->path = unpack_path(u);
	uint32_t set = unpack_u32_max(u, (1u << PUT_BITS) - 1);
	out->create_new = has(set, PUT_CREATE_NEW);
	out->replace = has(set, PUT_REPLACE);
}

/* ---- list, tree, stat, sync ---- */

void remote_pack_path(struct buf *b, enum remote_verb verb, uint32_t place, const char *path)
{
	pack_u8(b, (uint8_t)verb);
	pack_u32(b, place);
	pack_str(b, path);
}

void remote_unpack_path(struct unpack *u, uint32_t *place, const char **path)
{
	*place = unpack_u32(u);
	*path = unpack_path(u);
}

static void pack_one_entry(struct buf *b, const struct store_entry *e)
{
	pack_str(b, e->name);
	pack_u8(b, (uint8_t)e->type);
	pack_u64(b, e->size);
	pack_i64(b, e->mtime);
	pack_i64(b, e->ctime);
	pack_u32(b, e->mode);
	pack_u32(b, e->uid);
	pack_u32(b, e->gid);
	pack_str(b, e->user);
	pack_str(b, e->group);
	pack_bool(b, e->shared);
	pack_str(b, e->target);
	pack_i32(b, e->target_error);
}

void remote_pack_entry(struct buf *b, const struct store_entry *e)
{
	pack_one_entry(b, e);
	pack_bool(b, e->target_entry != NULL);
	if (e->target_entry != NULL)
		pack_one_entry(b, e->target_entry);
}

/* A name leads nowhere else; the root has none. */
static bool is_name(const char *name)
{
	return strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static void unpack_one_entry(struct unpack *u, struct store_entry *out)
{
	*out = (struct store_entry){ .name = unpack_text(u) };
	uint8_t type = unpack_u8(u);
	u->bad |= type > STORE_SPECIAL;
	out->type = u->bad ? STORE_FILE : type;
	out->size = unpack_size(u);
	out->mtime = unpack_i64(u);
	out->ctime = unpack_i64(u);
	out->mode = unpack_u32_max(u, 0777);
	out->uid = unpack_u32(u);
	out->gid = unpack_u32(u);
	out->user = unpack_str(u);
	out->group = unpack_str(u);
	out->shared = unpack_bool(u);
	out->target = unpack_str(u);
	out->target_error = unpack_i32(u);
}

void remote_unpack_entry(struct unpack *u, struct store_entry *out)
{
	unpack_one_entry(u, out);
	u->bad |= !is_name(out->name);
	if (!unpack_bool(u))
		return;
	struct store_entry *target = arena_new_object(u->arena, struct store_entry);
	unpack_one_entry(u, target);
	out->target_entry = target;
}
