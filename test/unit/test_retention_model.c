/*
 * retention against a plain model of format/repository.md 10.3 to 10.6 on many random histories, with what
 * must be true of each of them.
 *
 * SEED=n starts elsewhere, CASES=n sets how many (100,000; more with TEST_DEEP); a failure names the
 * seed of its case, which SEED=that CASES=1 repeats.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "base/str.h"
#include "repo/retention.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DAY 86400
#define NOW INT64_C(1795175794)
#define HASH "-0123456789abcdef0123456789abcdef01234567"

/* --- a history: what there is in a repository --- */

struct wal_entry {
	uint32_t id;
	char name[80];
};

struct history {
	struct arena *a;
	uint64_t random;
	struct retention_policy policy;
	struct backup_info info;
	VEC(struct retention_dir) dirs;
	VEC(struct wal_entry) wal; /* segments, partials, backup files, history files */
	strvec manifests;	   /* "<label>.manifest.gz" */
};

static uint64_t next_random(struct history *h)
{
	h->random += UINT64_C(0x9E3779B97F4A7C15);
	uint64_t z = h->random;
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static int64_t below(struct history *h, int64_t n)
{
	return (int64_t)(next_random(h) % (uint64_t)n);
}

static bool chance(struct history *h, int64_t percent)
{
	return below(h, 100) < percent;
}

/* Four segments to a directory, so that few names make many directories. */
static char *segment_name(struct arena *a, int64_t timeline, int64_t number)
{
	return arena_printf(a, "%08X%08X%08X", (unsigned)timeline, (unsigned)(number / 4),
		(unsigned)(number % 4));
}

static const char *last_of_set(struct history *h, const char *full, bool any)
{
	const char *found = NULL;

	for (size_t i = 0; i < h->info.backups.n; i++) {
		const char *label = h->info.backups.v[i].label;

		if (strncmp(label, full, LABEL_FULL) == 0 && (!any || found == NULL || chance(h, 50)))
			found = label;
	}
	return found;
}

struct teller {
	int64_t time, timeline, number;
	uint32_t id;
	const char *full;
};

static void add_backup(struct history *h, struct teller *t)
{
	enum backup_type type = t->full == NULL || chance(h, 35) ? BACKUP_FULL :
		chance(h, 40)						 ? BACKUP_DIFF :
									   BACKUP_INCR;
	struct backup_line b = { .db_id = t->id, .start = t->time, .error = chance(h, 8) };

	b.has_error = true;
	b.type = backup_type_name(type);
	b.label = label_format(h->a, type, t->time, t->full);
	t->time += 1 + below(h, DAY);
	b.stop = t->time;
	if (type == BACKUP_FULL)
		t->full = b.label;
	else if (type == BACKUP_DIFF)
		b.prior = t->full;
	else
		b.prior = last_of_set(h, t->full, chance(h, 30));
	if (type != BACKUP_FULL && (b.prior == NULL || chance(h, 2)))
		b.prior = "20200101-000000F";
	if (!chance(h, 12)) {
		b.archive_start = segment_name(h->a, t->timeline, t->number);
		if (chance(h, 5))
			t->timeline++;
		t->number += below(h, 4);
		b.archive_stop = segment_name(h->a, t->timeline, t->number);
	}
	if (!chance(h, 5))
		backup_info_add(&h->info, &b);
	if (chance(h, 90))
		vec_push(&h->manifests, arena_printf(h->a, "%s.manifest.gz", b.label));
}

/* What a label's directory holds; listed ones have their manifest. */
static void add_dirs(struct history *h, int64_t end)
{
	for (size_t i = 0; i < h->info.backups.n; i++) {
		const struct backup_line *b = &h->info.backups.v[i];

		if (chance(h, 6))
			vec_push(&h->dirs, ((struct retention_dir){ .copy = chance(h, 60), .manifest = chance(h, 20),
				.label = label_format(h->a, BACKUP_INCR, b->start - 1, b->label) }));
		vec_push(&h->dirs, ((struct retention_dir){ b->label, .manifest = true, .copy = true }));
	}
	if (h->info.backups.n > 0 && chance(h, 40)) {
		const struct backup_line *b = &h->info.backups.v[h->info.backups.n - 1];
		const struct backup_line *p = &h->info.backups.v[below(h, (int64_t)h->info.backups.n)];

		vec_push(&h->dirs, ((struct retention_dir){ .copy = chance(h, 70), .prior = chance(h, 80) ? p->label : NULL,
			.label = label_format(h->a, chance(h, 30) ? BACKUP_FULL : BACKUP_INCR, end + 5, b->label) }));
	}
}

static int by_label(const void *x, const void *y)
{
	return strcmp(((const struct retention_dir *)x)->label, ((const struct retention_dir *)y)->label);
}

static void add_wal(struct history *h, uint32_t id, int64_t timelines, int64_t numbers)
{
	static const char *const kinds[] = { HASH, HASH ".gz", ".partial" HASH ".zst", ".00000028.backup" };

	for (int64_t t = 1; t <= timelines; t++) {
		for (int64_t n = 0; n < numbers; n++) {
			struct wal_entry *w;

			if (chance(h, 40))
				continue;
			w = vec_add(&h->wal);
			w->id = id;
			snprintf(w->name, sizeof(w->name), "%s%s", segment_name(h->a, t, n),
				kinds[below(h, COUNT(kinds))]);
		}
		struct wal_entry *w = vec_add(&h->wal);
		w->id = id;
		snprintf(w->name, sizeof(w->name), "%08X.history", (unsigned)t);
	}
}

/* -1 often, else around the number of backups, 0 included. */
static int64_t some_limit(struct history *h)
{
	return chance(h, 30) ? -1 : below(h, 6);
}

static void choose_policy(struct history *h)
{
	struct retention_policy *p = &h->policy;
	size_t n = h->info.backups.n;

	*p = (struct retention_policy){ .full = some_limit(h), .diff = some_limit(h), .archive = some_limit(h),
		.history = chance(h, 50) ? -1 : below(h, 60), .now = NOW, .refuse_damaged = chance(h, 50),
		.archive_type = (enum backup_type)below(h, 3) };
	if (chance(h, 25)) {
		p->full_days = true;
		p->full = below(h, 40);
	}
	if (chance(h, 15) && n > 0)
		p->set = chance(h, 5) ? "20991231-000000F" : h->info.backups.v[below(h, (int64_t)n)].label;
	else
		p->oldest = chance(h, 10);
	if (chance(h, 20))
		p->archive_before = segment_name(h->a, 1 + below(h, 3), below(h, 20));
}

static void make_history(struct history *h, struct arena *a, uint64_t seed)
{
	struct teller t = { .time = NOW - 60 * DAY, .timeline = 1 };
	int64_t ids, backups;

	memset(h, 0, sizeof(*h));
	h->a = a;
	h->random = seed;
	vec_init(&h->info.history, a);
	vec_init(&h->info.backups, a);
	vec_init(&h->dirs, a);
	vec_init(&h->wal, a);
	vec_init(&h->manifests, a);
	ids = 1 + below(h, 3);
	for (t.id = 1; t.id <= ids; t.id++) {
		vec_push(&h->info.history, ((struct backup_db){ .id = t.id, .version = t.id == 3 ? "9.6" : "15" }));
		backups = below(h, 7);
		for (int64_t i = 0; i < backups; i++) {
			add_backup(h, &t);
			t.time += 1 + below(h, 5 * DAY);
			t.number += below(h, 3);
			if (chance(h, 10))
				t.timeline++;
		}
		add_wal(h, t.id, t.timeline + 1, t.number + 2);
		if (chance(h, 80)) {
			t.timeline = t.number = 1;
			t.full = NULL;
		}
	}
	h->info.current = (uint32_t)(chance(h, 90) ? ids : 1 + below(h, ids));
	add_dirs(h, t.time);
	if (h->dirs.n > 0)
		qsort(h->dirs.v, h->dirs.n, sizeof(*h->dirs.v), by_label);
	choose_policy(h);
}

/* --- the model: the sentences of the format, on sets of names --- */

#define SET_MAX 64
struct names {
	const char *v[SET_MAX];
	size_t n;
};

static bool has(const struct names *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->v[i], name) == 0)
			return true;
	return false;
}

static void put(struct names *s, const char *name)
{
	assert_true(s->n < SET_MAX);
	if (!has(s, name))
		s->v[s->n++] = name;
}

struct model {
	const struct history *h;
	struct names listed;
	int64_t f, a;
	enum backup_type t;
	bool count, refused;
};

static const struct backup_line *line(const struct model *m, const char *label)
{
	return backup_info_find(&m->h->info, label);
}

/* "L plus, transitively, every listed backup whose backup-prior is in the set" */
static void drop_set(struct model *m, const char *label)
{
	struct names left = { .n = 0 }, dependants = { .n = 0 };

	for (size_t i = 0; i < m->listed.n; i++) {
		const char *one = m->listed.v[i];

		if (strcmp(one, label) == 0)
			continue;
		put(&left, one);
		if (line(m, one)->prior != NULL && strcmp(line(m, one)->prior, label) == 0)
			put(&dependants, one);
	}
	m->listed = left;
	for (size_t i = 0; i < dependants.n; i++)
		drop_set(m, dependants.v[i]);
}

static struct names of_types(const struct model *m, const char *letters)
{
	struct names found = { .n = 0 };

	for (size_t i = 0; i < m->listed.n; i++)
		if (strchr(letters, m->listed.v[i][strlen(m->listed.v[i]) - 1]) != NULL)
			put(&found, m->listed.v[i]);
	return found;
}

static void model_count(struct model *m)
{
	for (;;) {
		struct names fulls = of_types(m, "F");
		if ((int64_t)fulls.n <= m->f)
			return;
		drop_set(m, fulls.v[0]);
	}
}

static void model_time(struct model *m)
{
	struct names fulls = of_types(m, "F");
	const char *keep = NULL;
	int64_t sets = 0;

	for (size_t i = fulls.n; i-- > 0 && keep == NULL;)
		if (line(m, fulls.v[i])->stop < NOW - m->f * DAY)
			keep = fulls.v[i];
	if (keep == NULL)
		return;
	for (; strcmp(m->listed.v[0], keep) != 0; sets++)
		drop_set(m, m->listed.v[0]);
	if (m->t == BACKUP_FULL && m->a < 0 && sets > 0) /* releases do so; the text does not say it */
		m->a = (int64_t)fulls.n - sets < 1 ? 1 : (int64_t)fulls.n - sets;
}

static void model_diff(struct model *m, int64_t d)
{
	struct names both = of_types(m, "FD");

	for (size_t i = 0; (int64_t)i < (int64_t)both.n - d; i++)
		if (both.v[i][strlen(both.v[i]) - 1] == 'D' && has(&m->listed, both.v[i]))
			drop_set(m, both.v[i]);
}

static void model_set(struct model *m, const char *label)
{
	struct names fulls = of_types(m, "F");

	if (!has(&m->listed, label))
		return;
	if (fulls.n > 0 && strcmp(fulls.v[fulls.n - 1], label) == 0 &&
		(fulls.n == 1 || line(m, fulls.v[fulls.n - 2])->db_id != line(m, label)->db_id))
		m->refused = true;
	else
		drop_set(m, label);
}

static int64_t one_or_more(int64_t n)
{
	return n == 0 ? 1 : n;
}

static void model_backups(struct model *m, const struct history *h)
{
	const struct retention_policy *p = &h->policy;

	*m = (struct model){ .h = h, .f = one_or_more(p->full), .a = one_or_more(p->archive),
		.t = p->archive_type, .count = !p->full_days };
	for (size_t i = 0; i < h->info.backups.n; i++)
		put(&m->listed, h->info.backups.v[i].label);

	struct names before = m->listed, fulls = of_types(m, "F");
	if (p->oldest && fulls.n > 1) {
		m->f = m->a = (int64_t)fulls.n - 1;
		m->t = BACKUP_FULL;
		m->count = true;
	}
	if (p->set != NULL) {
		model_set(m, p->set);
	} else {
		if (m->f > 0 && m->count)
			model_count(m);
		if (m->f > 0 && !m->count)
			model_time(m);
		if (p->diff >= 0)
			model_diff(m, one_or_more(p->diff));
	}
	if (p->refuse_damaged && p->set == NULL && m->listed.n < before.n && m->listed.n > 0 &&
		line(m, m->listed.v[0])->error)
		m->refused = true;
}

/* WAL of one history id that the model removes, one flag for each entry of h->wal. */
static void model_wal_id(const struct model *m, const struct names *g, uint32_t id, bool *gone)
{
	static const struct backup_line none;
	const struct history *h = m->h;
	const char *seg = h->policy.archive_before;
	struct names mine = { .n = 0 };
	const struct backup_line *r = &none;
	struct { const char *start, *stop; } range[SET_MAX];
	size_t ranges = 0;

	for (size_t i = 0; i < g->n; i++)
		if (line(m, g->v[i])->db_id == id)
			put(&mine, g->v[i]);
	for (size_t i = 0; i < m->listed.n; i++) /* our own: no full backup of it counts, but another backup needs it */
		if (mine.n == 0 && g->n > 0 && line(m, m->listed.v[i])->db_id == id)
			return;
	if (mine.n == 0 && (g->n > 0 || id != h->info.current)) {
		for (size_t i = 0; i < h->wal.n; i++)
			gone[i] = gone[i] || (h->wal.v[i].id == id && id != h->info.current && g->n > 0);
		return;
	}
	for (size_t i = g->n; i-- > 0;) /* oldest member of the A newest that is mine, else my newest */
		if (has(&mine, g->v[i]) && ((int64_t)(g->n - i) <= m->a || r == &none))
			r = line(m, g->v[i]);
	if (mine.n > 0) {
		if (r->archive_start == NULL)
			return;
		for (size_t i = 0; i < m->listed.n; i++) {
			const struct backup_line *b = line(m, m->listed.v[i]);
			if (b->db_id == id && strcmp(b->label, r->label) <= 0 && b->archive_start != NULL) {
				range[ranges].start = b->archive_start;
				range[ranges++].stop = b == r ? "G" : b->archive_stop;
			}
		}
	}
	const char *from = mine.n == 0 ? seg : r->archive_start, *way = from;
	/* our own: a later backup whose WAL sorts before that of R */
	for (size_t i = 0; mine.n > 0 && i < m->listed.n; i++) {
		const struct backup_line *b = line(m, m->listed.v[i]);
		if (b->db_id == id && strcmp(b->label, r->label) > 0 && b->archive_start != NULL &&
			strcmp(b->archive_start, from) < 0) {
			range[ranges].start = b->archive_start;
			range[ranges++].stop = "G";
			way = strcmp(b->archive_start, way) < 0 ? b->archive_start : way;
		}
	}
	if (mine.n == 0 || (seg != NULL && strcmp(seg, from) < 0)) {
		range[ranges].start = seg;
		range[ranges++].stop = mine.n == 0 ? "G" : from;
	}
	for (size_t i = 0; i < h->wal.n; i++) {
		const char *name = h->wal.v[i].name;
		bool dir = false, file = false;

		if (h->wal.v[i].id != id)
			continue;
		if (strchr(name, 'h') != NULL) { /* TTTTTTTT.history; with our own bound, its way too */
			const char *oldest = seg != NULL && strcmp(seg, way) < 0 ? seg : way;
			gone[i] = strncmp(name, oldest, 8) < 0;
			continue;
		}
		for (size_t k = 0; k < ranges; k++) {
			dir = dir || (strncmp(range[k].start, name, 16) <= 0 && strncmp(name, range[k].stop, 16) <= 0);
			file = file || (strncmp(range[k].start, name, 24) <= 0 && strncmp(name, range[k].stop, 24) <= 0);
		}
		gone[i] = !dir || (strncmp(name, from, 16) <= 0 && !file);
	}
}

static void model_wal(const struct model *m, bool *gone)
{
	static const char *const letters[] = { "F", "FD", "FDI" };
	struct names g = of_types(m, letters[m->t]);

	if (m->a < 0 || (g.n == 0 ? m->listed.n > 0 || m->h->policy.archive_before == NULL : m->a > (int64_t)g.n))
		return;
	for (size_t i = 0; i < m->h->info.history.n; i++)
		model_wal_id(m, &g, m->h->info.history.v[i].id, gone);
}

/* --- the decision, applied --- */

struct applied {
	struct retention r;
	bool *wal_gone;
	retention_archives archives;
};

static const struct retention_archive *archive_of(const struct applied *d, const struct history *h, uint32_t id)
{
	for (size_t i = 0; i < h->info.history.n; i++) {
		const char *name = layout_archive_id(h->a, h->info.history.v[i].version, h->info.history.v[i].id);
		for (size_t k = 0; h->info.history.v[i].id == id && k < d->archives.n; k++)
			if (strcmp(d->archives.v[k].archive_id, name) == 0)
				return &d->archives.v[k];
	}
	return NULL;
}

static bool wal_goes(const struct retention_archive *w, const char *name)
{
	char dir[17] = "";

	if (w == NULL || w->fate == FATE_STAYS)
		return false;
	if (w->fate == FATE_GOES)
		return true;
	if (strstr(name, ".history") != NULL)
		return retention_timeline_goes(w, name);
	memcpy(dir, name, 16);
	enum retention_fate fate = retention_wal_dir(w, dir);
	return fate == FATE_GOES || (fate == FATE_MIXED && retention_wal_file_goes(w, name));
}

static void decide(struct history *h, struct applied *d)
{
	retention_decide(h->a, &h->policy, &h->info, &d->r);
	d->wal_gone = arena_zalloc(h->a, h->wal.n + 1);
	(void)retention_wal(h->a, &d->r, &h->info, &d->archives);
	for (size_t i = 0; i < h->wal.n; i++)
		d->wal_gone[i] = wal_goes(archive_of(d, h, h->wal.v[i].id), h->wal.v[i].name);
	retention_dirs(&d->r, h->dirs.v, h->dirs.n);
}

/* --- comparing --- */

static uint64_t case_seed;

#define expect(condition, ...) \
	do { \
		if (!(condition)) { \
			printf("# SEED=%llu CASES=1: ", (unsigned long long)case_seed); \
			printf(__VA_ARGS__); \
			printf("\n"); \
			fail(); \
		} \
	} while (0)

static void compare_backups(const struct history *h, const struct model *m, const struct applied *d)
{
	const struct retention *r = &d->r;
	bool refused = r->verdict == RETENTION_LAST_FULL || r->verdict == RETENTION_DAMAGED;

	expect(refused == m->refused, "refused: %d, model %d", refused, m->refused);
	for (size_t i = 0; r->verdict != RETENTION_LAST_FULL && i < h->info.backups.n; i++) {
		const char *label = h->info.backups.v[i].label;
		expect(retention_stays(r, label) == has(&m->listed, label), "%s: stays %d, model %d", label,
			retention_stays(r, label), has(&m->listed, label));
	}
	size_t named = 0;
	for (size_t i = 0; i < r->sets.n; i++)
		named += r->sets.v[i].labels.n;
	expect(named == r->going, "%zu go, %zu are named", r->going, named);
}

static void compare_wal(const struct history *h, const struct model *m, const struct applied *d)
{
	bool *gone = arena_zalloc(h->a, h->wal.n + 1);

	model_wal(m, gone);
	for (size_t i = 0; i < h->wal.n; i++)
		expect(gone[i] == d->wal_gone[i], "%u %s: goes %d, model %d", h->wal.v[i].id, h->wal.v[i].name,
			d->wal_gone[i], gone[i]);
}

/* 10.2 step 5 and 10.4, and our own: what has a manifest, and what it may need, stays. */
static void compare_dirs(const struct history *h, const struct model *m)
{
	for (size_t i = 0; i < h->dirs.n; i++) {
		const struct retention_dir *dir = &h->dirs.v[i];
		const char *set = h->policy.set;
		bool was = backup_info_find(&h->info, dir->label) != NULL;
		bool stays = was ? has(&m->listed, dir->label) : dir->manifest;

		for (size_t k = 0; !was && k < h->dirs.n; k++)
			if (h->dirs.v[k].manifest && backup_info_find(&h->info, h->dirs.v[k].label) == NULL &&
				strncmp(h->dirs.v[k].label, dir->label, 16) == 0 && !(i + 1 == h->dirs.n && dir->copy))
				stays = true;
		if (!was && i + 1 == h->dirs.n && dir->copy && !dir->manifest)
			stays = set == NULL || strncmp(set, dir->label, 16) != 0 || dir->prior == NULL ||
				has(&m->listed, dir->prior);
		expect(dir->goes == !stays, "folder %s: goes %d, model %d", dir->label, dir->goes, !stays);
	}
}

static void compare_history(const struct history *h, const struct model *m, const struct applied *d)
{
	const char *limit = retention_history_limit(h->a, &h->policy);
	time_t then = (time_t)(NOW - h->policy.history * DAY);
	char label[20] = "";
	struct tm tm;

	expect((limit == NULL) == (h->policy.history < 0), "history limit");
	strftime(label, sizeof(label), "%Y%m%d-%H%M%SF", gmtime_r(&then, &tm));
	for (size_t i = 0; limit != NULL && i < h->manifests.n; i++) {
		const char *name = h->manifests.v[i];
		char year[5] = "", own[40] = "";

		memcpy(year, name, 4);
		memcpy(own, name, strlen(name) - strlen(".manifest.gz"));
		bool gone = strcmp(year, limit) < 0 && strncmp(year, label, 4) < 0;
		if (strncmp(year, label, 4) == 0)
			gone = strcmp(own, label) < 0 && !has(&m->listed, own);
		enum retention_fate fate = retention_history_year(limit, year);
		bool goes = fate == FATE_GOES || (fate == FATE_MIXED && retention_history_goes(&d->r, limit, name));
		expect(gone == goes, "%s: goes %d, model %d", name, goes, gone);
	}
}

/* --- what must be true of every decision that is carried out --- */

static void check_backups(const struct history *h, const struct retention *r)
{
	const struct backup_line *newest = NULL, *left = NULL;

	for (size_t i = 0; i < r->rows.n; i++) {
		const struct retention_row *row = &r->rows.v[i];

		if (label_type(row->line->label) == BACKUP_FULL) {
			newest = row->line;
			left = row->goes ? left : row->line;
		}
		if (row->base != RETENTION_NONE && !row->goes)
			expect(!r->rows.v[row->base].goes, "%s stays without %s", row->line->label, row->line->prior);
		expect(row->goes == (row->rule >= GO_COUNT), "%s has the wrong rule", row->line->label);
		expect(*retention_why(h->a, r, row) != '\0', "%s has no reason", row->line->label);
	}
	expect(newest == NULL || left != NULL, "no full backup is left");
	if (h->policy.set == NULL)
		expect(newest == left, "the newest full backup goes");
	else
		expect(newest == left || newest->db_id == left->db_id, "its cluster has no full backup left");
}

/* The WAL of each backup that stays, and all of the one that the archive begins with. */
static void check_wal(const struct history *h, const struct applied *d)
{
	for (size_t i = 0; i < h->wal.n; i++) {
		const struct wal_entry *w = &h->wal.v[i];
		const struct retention_archive *archive = archive_of(d, h, w->id);

		if (!d->wal_gone[i] || strstr(w->name, ".history") != NULL)
			continue;
		for (size_t k = 0; k < d->r.rows.n; k++) {
			const struct backup_line *b = d->r.rows.v[k].line;
			if (d->r.rows.v[k].goes || b->db_id != w->id || b->archive_start == NULL)
				continue;
			expect(strncmp(w->name, b->archive_start, 24) < 0 || strncmp(w->name, b->archive_stop, 24) > 0,
				"%s is needed by %s", w->name, b->label);
			if (archive->base != NULL && strcmp(b->label, archive->base) >= 0)
				expect(strncmp(w->name, b->archive_start, 24) < 0, "%s is after the start of %s",
					w->name, b->label);
		}
		if (archive->from != NULL)
			expect(strncmp(w->name, archive->from, 24) < 0, "%s is after %s", w->name, archive->from);
		if (h->policy.archive_before != NULL && archive->fate == FATE_MIXED)
			expect(strncmp(w->name, h->policy.archive_before, 24) < 0, "%s is after the bound", w->name);
	}
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void test_model(void **state)
{
	uint64_t seed = number_from("SEED", 1);
	const char *deep = getenv("TEST_DEEP");
	uint64_t cases = number_from("CASES", deep != NULL && *deep != '\0' ? 5000000 : 100000);
	uint64_t refused = 0, backups = 0, wal = 0;

	for (uint64_t i = 0; i < cases; i++) {
		SCOPED_ARENA(a);
		struct history h;
		struct model m;
		struct applied d;

		case_seed = seed + i;
		make_history(&h, a, case_seed);
		decide(&h, &d);
		model_backups(&m, &h);
		compare_backups(&h, &m, &d);
		refused += m.refused;
		if (m.refused)
			continue;
		compare_wal(&h, &m, &d);
		compare_dirs(&h, &m);
		compare_history(&h, &m, &d);
		check_backups(&h, &d.r);
		check_wal(&h, &d);
		backups += d.r.going;
		for (size_t k = 0; k < h.wal.n; k++)
			wal += d.wal_gone[k];
	}
	printf("# %llu histories from seed %llu: %llu refused, %llu backups and %llu WAL files went\n",
		(unsigned long long)cases, (unsigned long long)seed, (unsigned long long)refused,
		(unsigned long long)backups, (unsigned long long)wal);
	assert_true(cases < 100 || (refused > 0 && backups > 0 && wal > 0));
}
int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };

	setenv("TZ", "UTC", 1);
	tzset();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("retention_model", tests, NULL, NULL);
}
