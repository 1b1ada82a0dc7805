/*
 * archive_exit: the exit code of archive-get, the one place that chooses it.
 *
 * PostgreSQL takes any exit code from 1 to 125 for "there is no such file": recovery ends there and
 * the server is promoted, with everything later lost.  Above 125 it stops and can be started again
 * after repair.  So a failure, which proves nothing, must be above 125 in recovery; a standby asks
 * again and may see 1.  126, 127 and 128 plus a signal mean other things to a shell and are never
 * used (lessons P2).
 */
#include "cmd/cmd.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/path.h"
#include "base/str.h"

#define EXIT_ABSENT 1
#define EXIT_STOP 200
#define RECOVERY_CONF_MAX (1024 * 1024) /* bytes; PostgreSQL's own files have a few lines */

enum state { OUTSIDE, RECOVERY, STANDBY, UNKNOWN };

/* As PostgreSQL reads a boolean: any case, and any unambiguous beginning. */
static bool is_true(const char *value, size_t len)
{
	static const char *const words[] = {"true", "yes", "on", "1"};

	if (len == 0 || (len == 1 && tolower((unsigned char)value[0]) == 'o'))
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (len <= strlen(words[i]) && strncasecmp(value, words[i], len) == 0)
			return true;
	return false;
}

/* One line of recovery.conf: does it set standby_mode, and to what?  Else the value given stays. */
static bool standby_mode_line(const char *line, bool before)
{
	static const char name[] = "standby_mode";

	line += strspn(line, " \t");
	if (strncasecmp(line, name, strlen(name)) != 0)
		return before;
	line += strlen(name);
	if (strchr(" \t=", line[0]) == NULL || line[0] == '\0')
		return before;
	line += strspn(line, " \t");
	line += line[0] == '=';
	line += strspn(line, " \t");
	if (line[0] == '\'')
		return is_true(line + 1, strcspn(line + 1, "'"));
	return is_true(line, strcspn(line, " \t#\r"));
}

/* Before 12 recovery.conf says which of the two it is; the last setting counts. */
static enum state read_recovery_conf(struct arena *a, const char *path)
{
	struct buf text;
	bool standby = false;

	buf_init(&text, a);
	if (file_read(path, RECOVERY_CONF_MAX, &text) != 0) {
		err_clear(); /* not readable: nothing is known */
		return UNKNOWN;
	}
	const strvec lines = str_split(a, text.data, '\n');
	for (size_t i = 0; i < lines.n; i++)
		standby = standby_mode_line(lines.v[i], standby);
	return standby ? STANDBY : RECOVERY;
}

/* 1, 0, or -1 without a failure in the record. */
static int has(struct arena *a, const char *dir, const char *name)
{
	int rc = file_exists(path_join(a, dir, name));

	if (rc < 0)
		err_clear(); /* the answer carries it */
	return rc;
}

/* What a directory says.  *is_cluster: it is a data directory, so that nobody else need be asked.
 */
static enum state look_at(struct arena *a, const char *dir, bool *is_cluster)
{
	int standby = has(a, dir, "standby.signal"), recovery = has(a, dir, "recovery.signal");
	int conf = has(a, dir, "recovery.conf");
	int version = has(a, dir, "PG_VERSION"), control = has(a, dir, "global/pg_control");

	*is_cluster = standby != 0 || recovery != 0 || version != 0 || control != 0;
	/* PostgreSQL prefers standby.signal; what could not be seen might be just that, or its
	 * opposite. */
	if (standby == 1)
		return STANDBY;
	if (recovery == 1)
		return standby < 0 ? UNKNOWN : RECOVERY;
	if (standby < 0 || recovery < 0 || conf < 0 || version < 0 || control < 0)
		return UNKNOWN;
	if (conf == 0)
		return OUTSIDE;
	/* alone it is a stray file of that name; in a data directory it rules */
	return *is_cluster ? read_recovery_conf(a, path_join(a, dir, "recovery.conf")) : OUTSIDE;
}

static enum state find_state(struct arena *a, const char *pg_path)
{
	bool is_cluster;
	enum state state = look_at(a, ".", &is_cluster);

	if (is_cluster || state == UNKNOWN || pg_path == NULL)
		return state;
	return look_at(a, pg_path, &is_cluster);
}

bool archive_get_is_repeated(const char *pg_path)
{
	SCOPED_ARENA(a);

	return find_state(a, pg_path) == STANDBY;
}

int archive_get_exit(int code, const char *pg_path)
{
	SCOPED_ARENA(a);

	if (code == 0 || code == EXIT_ABSENT)
		return code;
	/* The failure that brought us here is the caller's: it must stand afterwards. */
	struct err_value *standing = err_code() != ERR_NONE ? err_take(a) : NULL;
	enum state state = find_state(a, pg_path);
	if (standing != NULL)
		(void)err_restore(standing);
	switch (state) {
	case STANDBY:
		return EXIT_ABSENT;
	case RECOVERY:
	case UNKNOWN:
		return EXIT_STOP;
	case OUTSIDE:
		break;
	}
	return code > 0 && code <= ERR_UNKNOWN ? code : ERR_UNKNOWN;
}
