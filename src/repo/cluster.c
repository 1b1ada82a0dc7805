/*
 * cluster: reading pg_control while the server may be writing it.
 *
 * The server writes pg_control in one sector-sized write, but a file system may still show a reader a
 * mixture of two versions (lessons C16).  The CRC tells; a reading that does not change any more and is
 * still wrong is really damaged.
 */
#include "repo/cluster.h"

#include <string.h>

#include "base/clock.h"

#define CONTROL_PATH "global/pg_control"
#define REREAD_MS 50
#define READINGS_MAX 100

static int read_once(struct arena *a, struct store *pg, struct buf *b)
{
	const struct get_opts opts = { .length = PG_CONTROL_READ, .exact = true };

	buf_reset(b);
	return store_get(pg, CONTROL_PATH, &opts, sink_buf(a, b));
}

int cluster_control(struct store *pg, const struct pg_version *forced, uint8_t *bytes,
	struct pg_control *out)
{
	SCOPED_ARENA(a);
	uint8_t last[PG_CONTROL_READ] = { 0 };
	struct buf b;

	buf_init(&b, a);
	for (unsigned reading = 1;; reading++) {
		if (read_once(a, pg, &b) != 0)
			return -1;
		if (pg_control_parse((const uint8_t *)b.data, forced, out) == 0)
			break;
		bool stable = reading > 1 && memcmp(last, b.data, sizeof(last)) == 0;
		if (err_code() != ERR_CHECKSUM || stable || reading == READINGS_MAX)
			return err_wrap("unable to use '%s'", store_name(a, pg, CONTROL_PATH));
		err_clear();
		memcpy(last, b.data, sizeof(last));
		if (clock_sleep(REREAD_MS))
			return err_set(ERR_TERM, "terminated while reading '%s'",
				store_name(a, pg, CONTROL_PATH));
	}
	if (bytes != NULL)
		memcpy(bytes, b.data, PG_CONTROL_READ);
	return 0;
}
