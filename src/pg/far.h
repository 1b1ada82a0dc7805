/*
 * far: what a server of another host is asked, by name.  Every function of backup_api.h, standby.h and wal_end.h goes
 * here for a server that has no connection of its own; the members have the meaning of the function of that name.
 */
#ifndef PG_FAR_H
#define PG_FAR_H

#include "pg/standby.h"
#include "pg/wal_end.h"

struct pg_far {
	int (*time)(struct pg_far *f, int64_t *unix_seconds);
	int (*insert_segment)(struct arena *a, struct pg_far *f, const char **segment);
	int (*start)(struct arena *a, struct pg_far *f, const char *label_prefix, bool fast, struct pg_start *out);
	int (*stop)(struct arena *a, struct pg_far *f, struct pg_stop *out);
	int (*switch_wal)(struct arena *a, struct pg_far *f, const char *restore_point, const char **segment);
	int (*databases)(struct arena *a, struct pg_far *f, struct pg_names *out);
	int (*tablespaces)(struct arena *a, struct pg_far *f, struct pg_names *out);
	int (*ping)(struct pg_far *f);
	int (*replay)(struct pg_far *f, struct pg_replay *out);
	int (*checkpoint)(struct pg_far *f);
	int (*wal_end)(struct pg_far *f, struct pg_wal_end *out);
};

#endif
