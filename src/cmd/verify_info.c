/*
 * verify_info: archive.info, backup.info and the manifests, each with its copy.
 *
 * Readers take the copy when the main file is of no use, so that a damaged one of the two goes unnoticed until the
 * other one is damaged as well.  Here each is read by itself, through a store that hides the other.
 */
#include "cmd/verify_intern.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "repo/layout.h"

/* Writers replace one after the other: what differs may agree at the next look. */
#define LOOKS 4
#define LOOK_AGAIN_MS 250

struct hiding {
	struct store store;
	struct store *inner;
	const char *hidden;
};

static int hiding_get(struct store *s, const char *path, const struct get_opts *o, struct sink *to)
{
	struct hiding *h = (struct hiding *)s;

	return strcmp(path, h->hidden) == 0 ? STORE_ABSENT : h->inner->driver->get(h->inner, path, o, to);
}

static struct store *store_hiding(struct arena *a, struct store *inner, const char *hidden)
{
	struct store_driver *driver = arena_memdup(a, inner->driver, sizeof(*driver));
	struct hiding *h = arena_new_object(a, struct hiding);

	driver->get = hiding_get; /* nothing else is asked of it */
	h->store = *inner;
	h->store.driver = driver;
	h->inner = inner;
	h->hidden = hidden;
	return &h->store;
}

/* One kind of info file: load it from the store given.  As archive_info_load. */
struct kind {
	struct verify *v;
	const char *path;
	int (*load)(struct kind *k, struct arena *a, struct store *repo);
	const char *pass;
	const char *label;     /* manifests */
	struct manifest **out; /* manifests */
};

static int load_archive(struct kind *k, struct arena *a, struct store *repo)
{
	return archive_info_load(a, repo, k->v->stanza, k->pass, &k->v->archive);
}

static int load_backup(struct kind *k, struct arena *a, struct store *repo)
{
	return backup_info_load(a, repo, k->v->stanza, k->pass, &k->v->backup);
}

static int load_manifest(struct kind *k, struct arena *a, struct store *repo)
{
	return manifest_load(a, repo, k->v->stanza, k->label, k->pass, k->out);
}

/* What one of the two files says. */
struct half {
	const char *path;
	int rc; /* 0, STORE_ABSENT, -1 */
	struct err_value *why;
	struct sum sum; /* of the plain text, if it could be read at all */
	bool has_sum;
};

static int hash_half(struct arena *a, struct kind *k, struct half *h)
{
	const struct pipe_spec spec = { .decrypt = k->pass, .hash_plain = true };
	struct pipe_result seen;
	const struct get_opts get = { .missing_ok = true, .spec = &spec, .result = &seen };

	h->rc = store_get(k->v->repo->store, h->path, &get, sink_null(a));
	if (h->rc < 0 && err_code() == ERR_TERM)
		return -1;
	if (h->rc < 0)
		h->why = err_take(a);
	h->has_sum = h->rc == 0;
	h->sum = seen.plain_sum;
	return 0;
}

static int load_half(struct arena *a, struct kind *k, struct half *h, const char *other)
{
	h->rc = k->load(k, a, store_hiding(a, k->v->repo->store, other));
	if (h->rc < 0 && err_code() == ERR_TERM)
		return -1;
	h->why = h->rc < 0 ? err_take(a) : NULL;
	return 0;
}

static bool agree(const struct half *x, const struct half *y)
{
	return x->has_sum && y->has_sum && sum_equal(&x->sum, &y->sum);
}

/* Loading speaks of both files, in a line each; what it says of the hidden one is only that it is missing. */
static const char *own_part(struct arena *a, const struct half *h)
{
	static const char missing[] = "\nFileMissingError: ";
	const char *own = strchr(h->why->msg, '\n');

	if (own != NULL && strncmp(own, missing, strlen(missing)) == 0)
		own = strchr(own + 1, '\n');
	own = own == NULL ? NULL : strstr(own, ": ");
	if (own == NULL)
		return h->why->msg;
	own += 2;
	const char *end = strstr(own, missing);
	return end == NULL ? own : arena_strndup(a, own, (size_t)(end - own));
}

static const char *what_is_wrong(struct arena *a, struct store *repo, const struct half *h)
{
	if (h->rc == STORE_ABSENT)
		return arena_printf(a, "'%s' is missing", store_name(a, repo, h->path));
	return arena_printf(a, "[%03d]: %s", (int)h->why->code, own_part(a, h));
}

/* Load what can be used: what comes from the main file stays; the copy is only looked at if it differs. */
static int look(struct arena *a, struct kind *k, struct half *main, struct half *copy)
{
	if (hash_half(a, k, main) != 0 || hash_half(a, k, copy) != 0)
		return -1;
	bool equal = agree(main, copy);
	if (!equal && load_half(a, k, copy, main->path) != 0)
		return -1;
	if (load_half(a, k, main, copy->path) != 0)
		return -1;
	if (equal) {
		copy->rc = main->rc;
		copy->why = main->why;
	} else if (main->rc != 0 && copy->rc == 0) {
		/* the failed main file has overwritten what the copy gave */
		return load_half(a, k, copy, main->path);
	}
	return 0;
}

/* Both sound, but not the same: somebody is writing, or somebody has written only one. */
static bool differ(const struct half *x, const struct half *y)
{
	return x->rc == 0 && y->rc == 0 && !agree(x, y);
}

static int look_until_settled(struct arena *a, struct kind *k, struct half *main, struct half *copy)
{
	for (int looks = 1;; looks++) {
		if (look(a, k, main, copy) != 0)
			return -1;
		/* writers replace whole files: only what differs can be somebody's work in between */
		if (!differ(main, copy) || looks == LOOKS)
			return 0;
		if (clock_sleep(LOOK_AGAIN_MS))
			return err_set(ERR_TERM, "terminated while reading '%s'", k->path);
	}
}

/* 0 usable, 1 not. */
static int read_info(struct kind *k, bool *usable)
{
	struct arena *a = k->v->arena;
	struct store *repo = k->v->repo->store;
	struct half main = { .path = k->path }, copy = { .path = layout_copy(a, k->path) };

	if (look_until_settled(a, k, &main, &copy) != 0)
		return -1;
	*usable = main.rc == 0 || copy.rc == 0;
	if (!*usable && main.why != NULL && main.why->code == ERR_CRYPTO)
		k->v->sealed = true;
	for (const struct half *h = &main; h != NULL; h = h == &main ? &copy : NULL)
		if (h->rc != 0)
			log_detail("%s", what_is_wrong(a, repo, h));
	if (!*usable)
		verify_find(k->v, "neither '%s' nor its copy can be used: %s; %s", store_name(a, repo, k->path),
			what_is_wrong(a, repo, &main), what_is_wrong(a, repo, &copy));
	else if (main.rc != 0)
		verify_find(k->v, "%s: only its copy is left; the next backup or stanza-create writes it anew",
			what_is_wrong(a, repo, &main));
	else if (copy.rc != 0)
		verify_find(k->v, "%s: it would be needed if the main file were damaged; the next backup or "
			"stanza-create writes it anew", what_is_wrong(a, repo, &copy));
	else if (differ(&main, &copy))
		verify_find(k->v, "'%s' and its copy are different: the main file is used",
			store_name(a, repo, k->path));
	return 0;
}

static bool same_history(const struct verify *v)
{
	const struct archive_info *ar = &v->archive;
	const struct backup_info *ba = &v->backup;

	if (ar->current != ba->current || ar->history.n != ba->history.n)
		return false;
	for (size_t i = 0; i < ar->history.n; i++)
		if (ar->history.v[i].id != ba->history.v[i].id ||
			ar->history.v[i].system_id != ba->history.v[i].system_id ||
			strcmp(ar->history.v[i].version, ba->history.v[i].version) != 0)
			return false;
	return true;
}

int verify_infos(struct verify *v)
{
	struct arena *a = v->arena;
	struct kind archive = { .v = v, .path = layout_archive_info(a, v->stanza), .load = load_archive,
		.pass = v->repo->pass };
	struct kind backup = { .v = v, .path = layout_backup_info(a, v->stanza), .load = load_backup,
		.pass = v->repo->pass };

	if (read_info(&backup, &v->has_backup) != 0 || read_info(&archive, &v->has_archive) != 0)
		return -1;
	if (!v->has_backup)
		vec_push(&v->lines, "No usable backup.info file");
	if (!v->has_archive)
		vec_push(&v->lines, "No usable archive.info file");
	if (v->has_backup && v->has_archive && !same_history(v))
		verify_find(v, "archive.info and backup.info tell of different clusters: backup and expire refuse to "
			"work until that is mended");
	return 0;
}

int verify_manifest(struct arena *a, struct verify *v, struct verify_backup *b, struct manifest **out)
{
	struct store *repo = v->repo->store;
	struct kind k = { .v = v, .path = layout_manifest(a, v->stanza, b->label), .load = load_manifest,
		.pass = v->backup.cipher_pass, .label = b->label, .out = out };
	struct half main = { .path = k.path }, copy = { .path = layout_copy(a, k.path) };

	if (look_until_settled(a, &k, &main, &copy) != 0)
		return -1;
	b->main_seen = main.rc != STORE_ABSENT;
	b->main_why = main.rc == 0 ? NULL : what_is_wrong(v->arena, repo, &main);
	b->copy_why = copy.rc == 0 ? NULL : what_is_wrong(v->arena, repo, &copy);
	if (differ(&main, &copy))
		b->copy_why = arena_printf(v->arena, "'%s' differs from backup.manifest",
			store_name(a, repo, copy.path));
	if (main.rc == 0 || copy.rc == 0)
		return 0;
	if (main.rc == STORE_ABSENT && copy.rc == STORE_ABSENT)
		return STORE_ABSENT;
	return err_restore(main.why != NULL ? main.why : copy.why);
}
