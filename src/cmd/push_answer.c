/*
 * push_answer: what the process that pushes tells the one that asked for it, as bytes.
 *
 *	1	0 well, 1 failed
 *	20	SHA-1
 *	text	the failure, as the pool packs it; empty if well
 *	per repository:
 *	1	HAS
 *	text	why not, as the pool packs it; empty if nothing failed
 *	text	archive id, with its NUL; empty: not known
 *	text	passphrase, with its NUL; empty: none
 *
 * A text is its length in 4 bytes, then that.
 */
#include "cmd/push_answer.h"

#include <string.h>
#include "work/pool_intern.h"

static void add_text(struct buf *out, const void *data, size_t len)
{
	const uint32_t n = (uint32_t)len;

	buf_add(out, &n, sizeof(n));
	if (n > 0)
		buf_add(out, data, n);
}

static void add_string(struct buf *out, const char *s)
{
	add_text(out, s, s == NULL ? 0 : strlen(s) + 1);
}

/* The failure that stands, which then is told. */
static void add_failure(struct buf *out)
{
	SCOPED_ARENA(a);
	struct buf packed;

	buf_init(&packed, a);
	if (err_code() != ERR_NONE)
		pool_pack_failure(&packed);
	err_clear();
	add_text(out, packed.data, packed.len);
}

void push_answer_pack(struct buf *out, int rc, const struct sum *sum, const struct push_run *run)
{
	if (rc != 0 && err_code() == ERR_NONE)
		(void)err_set(ERR_ASSERT, "a push failed without saying why");
	buf_addc(out, rc != 0);
	buf_add(out, sum, sizeof(*sum));
	add_failure(out);
	for (size_t i = 0; i < run->n; i++) {
		const struct wal_put_repo *r = &run->repos[i];
		buf_addc(out, r->has);
		if (r->failed != NULL)
			(void)err_restore(r->failed);
		add_failure(out);
		add_string(out, r->place.archive_id);
		add_string(out, r->place.pass);
	}
}

struct reader {
	const char *data;
	size_t left;
	bool broken;
};

static const void *take(struct reader *r, size_t len)
{
	const char *data = r->data;

	if (r->broken || len > r->left) {
		r->broken = true;
		return NULL;
	}
	r->data += len;
	r->left -= len;
	return data;
}

static bool take_flag(struct reader *r)
{
	const char *c = take(r, 1);

	r->broken = r->broken || (*c != 0 && *c != 1);
	return !r->broken && *c == 1;
}

static const char *take_text(struct reader *r, size_t *len)
{
	uint32_t n = 0;
	const void *head = take(r, sizeof(n));

	if (head != NULL)
		memcpy(&n, head, sizeof(n));
	*len = n;
	return take(r, n);
}

/* NULL: empty, or no string. */
static const char *take_string(struct arena *a, struct reader *r)
{
	size_t len;
	const char *text = take_text(r, &len);

	if (text == NULL || len == 0)
		return NULL;
	r->broken = r->broken || strnlen(text, len) != len - 1;
	return arena_strndup(a, text, len - 1);
}

/* NULL: none. */
static struct err_value *take_failure(struct arena *a, struct reader *r)
{
	size_t len;
	const char *text = take_text(r, &len);

	if (text == NULL || len == 0)
		return NULL;
	pool_unpack_failure(text, len);
	return err_take(a);
}

static struct wal_put_repo take_repo(struct arena *a, struct reader *r, const struct wal_put_repo *known)
{
	struct wal_put_repo out = *known;

	out.has = take_flag(r);
	out.failed = take_failure(a, r);
	out.place.archive_id = take_string(a, r);
	out.place.pass = take_string(a, r);
	return out;
}

int push_answer_unpack(struct arena *a, const struct buf *in, int *rc, struct sum *sum, struct push_run *run)
{
	struct reader r = {in->data, in->len, false};
	struct wal_put_repo *repos = arena_zalloc(a, run->n * sizeof(*repos));
	bool failed = take_flag(&r);
	const void *hash = take(&r, sizeof(*sum));
	const struct err_value *why = take_failure(a, &r);

	for (size_t i = 0; i < run->n; i++)
		repos[i] = take_repo(a, &r, &run->repos[i]);
	if (r.broken || r.left > 0 || failed != (why != NULL))
		return err_set(ERR_PROTOCOL, "the answer about a push is malformed");
	memcpy(sum, hash, sizeof(*sum));
	memcpy(run->repos, repos, run->n * sizeof(*repos));
	*rc = failed ? err_restore(why) : 0;
	return 0;
}
