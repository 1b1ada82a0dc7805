/*
 * serve_get: a file, or what a pipe_spec makes of it, to the caller.
 *
 * Always true: what the caller asks to be done with the bytes is checked against what this program can do before
 * memory is taken for it; a file that the policy opens is decrypted here with this host's passphrase, which never
 * crosses.
 */
#include <string.h>
#include "stream/sink.h"
#include "work/serve_files.h"

#define BLOCK_SIZE_MAX ((uint32_t)16 * 1024 * 1024)
#define SUPER_SIZE_MAX ((uint32_t)1024 * 1024 * 1024)

struct get {
	struct sink sink;
	struct serving *v;
	struct serve_request *q;
	const struct serve_place *place;
	struct remote_get r;
	struct pipe_spec opened; /* the caller's spec, or none, and our passphrase */
	struct pipe_result result;
	int level;
	bool cancelled, finished;
};

static int push(struct sink *s, const void *data, size_t len)
{
	struct get *g = (struct get *)s;
	int rc = inbox_cancelled(g->v->inbox, g->q->number);

	if (rc < 0)
		return -1;
	if (rc > 0) {
		g->cancelled = true;
		return err_set(ERR_SERVICE, "get of '%s' was cancelled", g->r.path);
	}
	return wire_send_data(g->v->wire, g->q->number, data, len, g->level, false);
}

/* The lists of blocks live in an arena that ends with store_get. */
static int end(struct sink *s)
{
	struct get *g = (struct get *)s;
	struct blocks_result *b = &g->result.blocks;

	g->finished = true;
	if (b->changed.n > 0)
		b->changed.v = arena_memdup(g->q->arena, b->changed.v, b->changed.n * sizeof(*b->changed.v));
	if (b->supers.n > 0)
		b->supers.v = arena_memdup(g->q->arena, b->supers.v, b->supers.n * sizeof(*b->supers.v));
	return 0;
}

static int tell_entry(void *ctx, const struct store_entry *e)
{
	struct get *g = ctx;
	struct serve_listing l = { .v = g->v };
	struct buf b;

	buf_init(&b, g->q->arena);
	serve_add_entry(&l, &b, e);
	return wire_send(g->v->wire, WIRE_ENTRY, WIRE_LAST, g->q->number, b.data, b.len);
}

static bool is_level(enum codec c, int level)
{
	const struct codec_info *i = codec_info(c);

	return c == CODEC_NONE || (level >= i->level_min && level <= i->level_max);
}

static int check_spec(const struct serving *v, const struct pipe_spec *s)
{
	const struct blocks_spec *b = s->blocks;

	if (!is_level(s->compress, s->level) || (b != NULL && !is_level(b->codec, b->level)))
		return err_set(ERR_PROTOCOL, "the caller asked for an impossible compression level");
	if (b == NULL)
		return 0;
	if (!remote_can(&v->mine, &v->theirs, REMOTE_CAP_BLOCKS))
		return err_set(ERR_PROTOCOL, "the caller asked for blocks, which its hello did not name");
	if (b->block_size > BLOCK_SIZE_MAX || b->super_size > SUPER_SIZE_MAX)
		return err_set(ERR_PROTOCOL, "the caller asked for blocks of an impossible size");
	return 0;
}

/* What is compressed or encrypted when it crosses is not worth a try. */
static int level_of(const struct get *g, const struct pipe_spec *s)
{
	bool expanded = s != NULL && s->expand != CODEC_NONE, decrypted = s != NULL && s->decrypt != NULL;
	bool encrypted = g->place->place.cipher != NULL && strcmp(g->place->place.cipher, "none") != 0;

	if (s != NULL && (s->compress != CODEC_NONE || s->encrypt != NULL || s->blocks != NULL))
		return WIRE_NO_PACK;
	if ((!expanded && codec_by_suffix(g->r.path) != CODEC_NONE) || (encrypted && !decrypted))
		return WIRE_NO_PACK;
	return g->v->level;
}

/* The spec that is applied: with our passphrase, and then in the form that this file has. */
static const struct pipe_spec *spec_of(struct get *g)
{
	const struct serve *s = g->v->s;
	const char *pass = s->ops->opens(s->ctx, g->place, g->r.path);

	if (pass == NULL)
		return g->r.opts.spec;
	if (g->r.opts.spec != NULL)
		g->opened = *g->r.opts.spec;
	g->opened.decrypt = pass;
	g->opened.raw = false;
	return &g->opened;
}

static int get_file(struct get *g)
{
	struct get_opts o = g->r.opts;

	o.missing_ok = true;
	o.spec = spec_of(g);
	o.result = &g->result;
	o.opened = g->r.want_entry ? tell_entry : NULL;
	o.ctx = g;
	g->level = level_of(g, o.spec);
	return store_get(g->place->store, g->r.path, &o, &g->sink);
}

static int answer(struct get *g, bool absent)
{
	struct buf b;

	/* what was not finished is not known */
	if (g->cancelled)
		g->result = (struct pipe_result){ 0 };
	if (!g->finished)
		g->result.blocks = (struct blocks_result){ 0 };
	buf_init(&b, g->q->arena);
	remote_pack_got(&b, absent, g->r.opts.spec, &g->result);
	return serve_answer(g->v, g->q, &b);
}

int serve_get(struct serving *v, struct serve_request *q)
{
	struct get g = { .sink = { push, end }, .v = v, .q = q };

	remote_unpack_get(&q->fields, &g.r);
	if (unpack_end(&q->fields, "get") != 0)
		return -1;
	g.place = serve_find_place(v, g.r.place);
	if (g.place == NULL || (g.r.opts.spec != NULL && check_spec(v, g.r.opts.spec) != 0))
		return -1;
	enum serve_leave leave = serve_may(v, g.place, SERVE_READ, g.r.path);
	if (leave == SERVE_DENIED)
		return serve_denied(g.place, g.r.path);
	int rc = leave == SERVE_HIDDEN ? STORE_ABSENT : get_file(&g);
	if (rc < 0 && g.cancelled) {
		err_clear();
		rc = 0;
	}
	return rc < 0 ? -1 : answer(&g, rc == STORE_ABSENT);
}
