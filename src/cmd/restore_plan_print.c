/*
 * restore_plan_print: the plan of a restore for people, and for programs.
 *
 * The JSON form is one object with sorted keys and a line feed.  Its names are stable: members may be added,
 * none is renamed or removed.  Sizes are bytes, times Unix seconds; what does not apply is null.
 *
 *	backup        label, start, stop, type
 *	chosen        why this backup
 *	data          delta, force (what is in force), path
 *	files         bytes, count; alike (null, or files that look right already), write-max, write-min
 *	              (bytes; of a file stored as blocks that is there, min has only what is missing at its
 *	              end); zeroed-bytes, zeroed-count (of databases that are left out)
 *	links         destination, name
 *	recovery      exclusive, file, settings (lines), signal, target, target-action, type
 *	refusal       null, or code, hint, message: what a real restore ends with
 *	repository    its key
 *	space         for each file system: enough, free, need, path
 *	stanza
 *	tablespaces   destination, name, oid
 *	wal           null (none judged), or from, missing (at most 10 names), missing-count, present-count,
 *	              repositories (keys asked), run-end (null: the first is missing), text, timeline,
 *	              to (the last that is known), unknown-count (repositories that could not be asked),
 *	              verdict ("reaches", "may-reach", "falls-short")
 */
#include "cmd/restore_plan.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cmd/recovery_text.h"
#include "form/json.h"

/* What will be written for recovery. */
struct recovery {
	const char *file, *signal; /* NULL: none */
	strvec settings;
};

struct print {
	struct arena *a;
	struct restore *r;
	const struct restore_plan *plan;
	const struct err_value *refusal;
	struct recovery recovery;
	struct buf out;
	struct json_out j;
};

/* The restore's own writer is asked, with memory for a data directory. */
static int gather_recovery(struct print *p)
{
	struct restore copy = *p->r;
	const char *file = recovery_file(copy.version);
	static const char *const signals[] = { "recovery.signal", "standby.signal" };
	struct store_entry e;
	struct buf text;

	vec_init(&p->recovery.settings, p->a);
	if (!recovery_writes(copy.type))
		return 0;
	copy.pg = store_mem(p->a);
	copy.pg->root = p->r->pg->root;
	buf_init(&text, p->a);
	if ((copy.version->recovery_signal && store_write(copy.pg, file, "", 0, NULL) != 0) ||
		restore_write_recovery(&copy) != 0 || store_read(copy.pg, file, 1 << 20, true, &text) < 0)
		return -1;
	p->recovery.file = file;
	strvec lines = str_split(p->a, text.data, '\n');
	for (size_t i = 0; i < lines.n; i++)
		if (lines.v[i][0] != '\0' && lines.v[i][0] != '#')
			vec_push(&p->recovery.settings, lines.v[i]);
	for (size_t i = 0; i < 2; i++) {
		int rc = store_stat(p->a, copy.pg, signals[i], &e);
		if (rc < 0)
			return -1;
		if (rc == 0)
			p->recovery.signal = signals[i];
	}
	return 0;
}

static bool is_tablespace(const struct restore_place *place)
{
	return str_starts(place->name, "pg_tblspc/");
}

static const char *tablespace_name(const struct print *p, const struct restore_place *place)
{
	const struct manifest_target *t = manifest_target_find(p->r->m, place->name);

	return t == NULL ? "" : t->tablespace_name;
}

static const char *verdict_word(const struct wal_reach *got)
{
	static const char *const words[] = { [WAL_REACHES] = "reaches", [WAL_MAY_REACH] = "may-reach",
		[WAL_FALLS_SHORT] = "falls-short" };

	return words[got->verdict];
}

static const char *name_of(const struct print *p, uint64_t segment)
{
	const struct plan_wal *w = &p->plan->wal;

	return restore_wal_name(p->a, w, (struct wal_pos){ wal_line_timeline(&w->ask, segment), segment });
}

/* --- text --- */

static void row(struct print *p, const char *label, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void row(struct print *p, const char *label, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const char *text = arena_vprintf(p->a, fmt, ap);
	va_end(ap);
	buf_addf(&p->out, "%-16s  %s\n", label, text);
}

static void text_files(struct print *p)
{
	const struct restore_plan *plan = p->plan;
	struct arena *a = p->a;

	row(p, "files", "%" PRIu64 ", %s in the cluster", plan->files, str_size(a, plan->bytes));
	if (plan->zeroed_files > 0)
		row(p, "", "%" PRIu64 " of them (%s) as zeros, because their databases are left out",
			plan->zeroed_files, str_size(a, plan->zeroed_bytes));
	if (!plan->compared)
		return;
	row(p, "", "%" PRIu64 " are there with the right size%s; at most %s to write", plan->alike,
		p->r->delta_by_time ? " and time" : p->r->delta ? ", their bytes are not compared here" : "",
		str_size(a, plan->write_max));
}

static void text_places(struct print *p)
{
	const struct restore *r = p->r;

	row(p, "data directory", "%s%s", r->pg->root, r->delta_by_time ? " (delta by size and time)" :
		r->delta ? " (delta)" : r->replace ? " (replaced)" : "");
	for (size_t i = 0; i < r->places.n; i++) {
		const struct restore_place *place = &r->places.v[i];
		if (place->link == NULL)
			continue;
		if (is_tablespace(place))
			row(p, "tablespace", "%s (%s) -> %s", tablespace_name(p, place),
				place->name + strlen("pg_tblspc/"), place->destination);
		else
			row(p, "link", "%s -> %s", manifest_pg_path(place->name), place->destination);
	}
	for (size_t i = 0; i < p->plan->spaces.n; i++) {
		const struct plan_space *s = &p->plan->spaces.v[i];
		row(p, i == 0 ? "free space" : "", "%s: %s needed, %s free: %s", s->path, str_size(p->a, s->need),
			str_size(p->a, s->free), s->need <= s->free ? "enough" : "NOT ENOUGH");
	}
}

static void text_recovery(struct print *p)
{
	const struct config *cfg = p->r->cfg;
	const struct recovery *rec = &p->recovery;

	row(p, "recovery", "%s%s%s%s", p->r->type, cfg->target != NULL ? " " : "",
		cfg->target != NULL ? cfg->target : "", cfg->target_exclusive ? " (exclusive)" : "");
	if (rec->signal != NULL)
		row(p, "signal file", "%s", rec->signal);
	for (size_t i = 0; i < rec->settings.n; i++)
		row(p, i == 0 ? "settings" : "", "%s", rec->settings.v[i]);
}

static void text_wal(struct print *p)
{
	const struct plan_wal *w = &p->plan->wal;
	const struct wal_reach *got = &w->reach;

	if (w->unjudged != NULL) {
		row(p, "WAL", "%s", w->unjudged);
		return;
	}
	row(p, "timeline", "%u, from the backup's %u", w->ask.line.timeline, w->ask.timeline);
	row(p, "WAL", "%s to %s in %s: %" PRIu64 " there, %" PRIu64 " missing", name_of(p, w->ask.start),
		name_of(p, w->last), w->asked, got->present, got->missing);
	for (size_t i = 0; i < got->gaps_n; i++)
		row(p, i == 0 ? "missing" : "", "%s", restore_wal_name(p->a, w, got->gaps[i]));
	if (got->missing > got->gaps_n)
		row(p, "", "and %" PRIu64 " more", got->missing - got->gaps_n);
	if (w->unasked > 0)
		row(p, "not asked", "%u repositories, see the warnings", w->unasked);
	row(p, "verdict", "%s", w->text);
}

static void print_text(struct print *p)
{
	const struct restore *r = p->r;

	row(p, "stanza", "%s", r->cfg->stanza);
	row(p, "backup", "repo%u: %s (%s), ended %s", r->repo->key, r->m->label, backup_type_name(r->m->type),
		clock_local(p->a, r->line->stop));
	row(p, "chosen", "%s", p->plan->why);
	text_places(p);
	text_files(p);
	text_recovery(p);
	text_wal(p);
	if (p->refusal == NULL)
		row(p, "result", "the restore can be done");
	else
		row(p, "result", "the restore would be refused: [%03d] %s", (int)p->refusal->code, p->refusal->msg);
}

/* --- JSON --- */

static void key_str(struct print *p, const char *key, const char *value)
{
	json_key(&p->j, key);
	json_str(&p->j, value);
}

static void key_u64(struct print *p, const char *key, uint64_t value)
{
	json_key(&p->j, key);
	json_u64(&p->j, value);
}

static void key_i64(struct print *p, const char *key, int64_t value)
{
	json_key(&p->j, key);
	json_i64(&p->j, value);
}

static void key_bool(struct print *p, const char *key, bool value)
{
	json_key(&p->j, key);
	json_bool(&p->j, value);
}

static void json_backup(struct print *p)
{
	json_key(&p->j, "backup");
	json_object_begin(&p->j);
	key_str(p, "label", p->r->m->label);
	key_i64(p, "start", p->r->line->start);
	key_i64(p, "stop", p->r->line->stop);
	key_str(p, "type", backup_type_name(p->r->m->type));
	json_object_end(&p->j);
	key_str(p, "chosen", p->plan->why);
	json_key(&p->j, "data");
	json_object_begin(&p->j);
	key_bool(p, "delta", p->r->delta);
	key_bool(p, "force", p->r->replace && p->r->cfg->force);
	key_str(p, "path", p->r->pg->root);
	json_object_end(&p->j);
}

static void json_files(struct print *p)
{
	const struct restore_plan *plan = p->plan;

	json_key(&p->j, "files");
	json_object_begin(&p->j);
	json_key(&p->j, "alike");
	if (plan->compared)
		json_u64(&p->j, plan->alike);
	else
		json_null(&p->j);
	key_u64(p, "bytes", plan->bytes);
	key_u64(p, "count", plan->files);
	key_u64(p, "write-max", plan->write_max);
	key_u64(p, "write-min", plan->write_min);
	key_u64(p, "zeroed-bytes", plan->zeroed_bytes);
	key_u64(p, "zeroed-count", plan->zeroed_files);
	json_object_end(&p->j);
}

static void json_places(struct print *p, bool tablespaces)
{
	json_key(&p->j, tablespaces ? "tablespaces" : "links");
	json_array_begin(&p->j);
	for (size_t i = 0; i < p->r->places.n; i++) {
		const struct restore_place *place = &p->r->places.v[i];
		if (place->link == NULL || is_tablespace(place) != tablespaces)
			continue;
		json_object_begin(&p->j);
		key_str(p, "destination", place->destination);
		if (tablespaces) {
			const struct manifest_target *t = manifest_target_find(p->r->m, place->name);
			key_str(p, "name", tablespace_name(p, place));
			key_u64(p, "oid", t == NULL ? 0 : t->tablespace_oid);
		} else {
			key_str(p, "name", manifest_pg_path(place->name));
		}
		json_object_end(&p->j);
	}
	json_array_end(&p->j);
}

static void json_recovery(struct print *p)
{
	const struct config *cfg = p->r->cfg;
	const struct recovery *rec = &p->recovery;

	json_key(&p->j, "recovery");
	json_object_begin(&p->j);
	key_bool(p, "exclusive", cfg->target_exclusive);
	key_str(p, "file", rec->file);
	json_key(&p->j, "settings");
	json_array_begin(&p->j);
	for (size_t i = 0; i < rec->settings.n; i++)
		json_str(&p->j, rec->settings.v[i]);
	json_array_end(&p->j);
	key_str(p, "signal", rec->signal);
	key_str(p, "target", cfg->target);
	key_str(p, "target-action", cfg->target_action);
	key_str(p, "type", p->r->type);
	json_object_end(&p->j);
}

static void json_refusal(struct print *p)
{
	json_key(&p->j, "refusal");
	if (p->refusal == NULL) {
		json_null(&p->j);
		return;
	}
	json_object_begin(&p->j);
	key_u64(p, "code", (uint64_t)p->refusal->code);
	key_str(p, "hint", p->refusal->hints);
	key_str(p, "message", p->refusal->msg);
	json_object_end(&p->j);
}

static void json_spaces(struct print *p)
{
	json_key(&p->j, "space");
	json_array_begin(&p->j);
	for (size_t i = 0; i < p->plan->spaces.n; i++) {
		const struct plan_space *s = &p->plan->spaces.v[i];
		json_object_begin(&p->j);
		key_bool(p, "enough", s->need <= s->free);
		key_u64(p, "free", s->free);
		key_u64(p, "need", s->need);
		key_str(p, "path", s->path);
		json_object_end(&p->j);
	}
	json_array_end(&p->j);
}

static void json_wal(struct print *p)
{
	const struct plan_wal *w = &p->plan->wal;
	const struct wal_reach *got = &w->reach;

	json_key(&p->j, "wal");
	if (w->unjudged != NULL) {
		json_null(&p->j);
		return;
	}
	json_object_begin(&p->j);
	key_str(p, "from", name_of(p, w->ask.start));
	json_key(&p->j, "missing");
	json_array_begin(&p->j);
	for (size_t i = 0; i < got->gaps_n; i++)
		json_str(&p->j, restore_wal_name(p->a, w, got->gaps[i]));
	json_array_end(&p->j);
	key_u64(p, "missing-count", got->missing);
	key_u64(p, "present-count", got->present);
	json_key(&p->j, "repositories");
	json_array_begin(&p->j);
	for (size_t i = 0; i < w->asked_keys.n; i++)
		json_u64(&p->j, w->asked_keys.v[i]);
	json_array_end(&p->j);
	key_str(p, "run-end", got->any ? restore_wal_name(p->a, w, got->to) : NULL);
	key_str(p, "text", w->text);
	key_u64(p, "timeline", w->ask.line.timeline);
	key_str(p, "to", name_of(p, w->last));
	key_u64(p, "unknown-count", w->unasked);
	key_str(p, "verdict", verdict_word(got));
	json_object_end(&p->j);
}

static void print_json(struct print *p)
{
	json_out_init(&p->j, &p->out);
	json_object_begin(&p->j);
	json_backup(p);
	json_files(p);
	json_places(p, false);
	json_recovery(p);
	json_refusal(p);
	key_u64(p, "repository", p->r->repo->key);
	json_spaces(p);
	key_str(p, "stanza", p->r->cfg->stanza);
	json_places(p, true);
	json_wal(p);
	json_object_end(&p->j);
	buf_addc(&p->out, '\n');
}

int restore_plan_print(struct restore *r, const struct restore_plan *plan, const struct err_value *refusal)
{
	struct print p = { .a = r->arena, .r = r, .plan = plan, .refusal = refusal };

	buf_init(&p.out, r->arena);
	if (gather_recovery(&p) != 0)
		return -1;
	if (r->cfg->output != NULL && strcmp(r->cfg->output, "json") == 0)
		print_json(&p);
	else
		print_text(&p);
	return sink_write(sink_fd(r->arena, STDOUT_FILENO, "standard output"), p.out.data, p.out.len);
}
