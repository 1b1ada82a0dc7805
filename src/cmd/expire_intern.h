/*
 * expire_intern: what the files of the expire command share; nobody else includes it.
 */
#ifndef CMD_EXPIRE_INTERN_H
#define CMD_EXPIRE_INTERN_H

#include "cmd/ctx.h"
#include "repo/retention.h"
#include "repo/wal_drop.h"

/* Files of one directory, or the directory with all that is in it. */
struct expire_part {
	const char *dir;
	strvec files; /* empty: the directory itself */
};

/* WAL that goes, nothing that stays in between: one line of the log. */
struct expire_run {
	const char *start, *stop; /* segments, or directories of them */
	VEC(struct expire_part) parts;
};

struct expire_archive {
	const struct retention_archive *decision;
	struct wal_place place;
	const char *dir;
	VEC(struct expire_run) runs;
	strvec timelines; /* history files that go */
	wal_drops drops;  /* notes of dropped WAL that go */
};

struct expire_year {
	const char *name, *dir;
	bool whole;
	strvec files; /* that go, newest first */
};

/* One repository: what is there, and what is decided about it. */
struct expire {
	struct arena *a;
	const struct config *cfg;
	const struct ctx_repo *repo;
	struct ctx_infos infos; /* backup.info as reconciled with the folders */
	strvec loaded;		/* labels that backup.info had before that */
	struct retention r;
	VEC(struct retention_dir) dirs; /* oldest first */
	enum retention_wal_rule wal_rule;
	retention_archives decisions;
	VEC(struct expire_archive) archives; /* those with a directory */
	VEC(struct expire_year) years;
};

/* expire_gather.c: read everything; nothing is changed, and whatever cannot be read fails. */
int expire_read(struct expire *e) must_check; /* directories, info files */
int expire_plan(struct expire *e) must_check; /* after retention_decide: what its outcome means on disk */

/* expire_carry.c: say and (without dry-run) do it. */
int expire_carry_out(struct expire *e) must_check;

#endif
