/*
 * annotations: notes as the user gives them.
 */
#include "cmd/annotations.h"

#include <string.h>

#define NAME_MAX_BYTES 66

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	for (const char *p = name; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == '"' || *p == '\\')
			return false;
	return len > 0 && len <= NAME_MAX_BYTES;
}

int annotations_check(const config_pairs *given)
{
	for (size_t i = 0; i < given->n; i++) {
		if (name_ok(given->v[i].key))
			continue;
		(void)err_set(ERR_OPTION_VALUE, "'%s' is not valid for 'annotation' option", given->v[i].key);
		return err_hint("the name of a note has 1 to %d bytes, without quotation marks, backslashes and "
				"control characters.", NAME_MAX_BYTES);
	}
	return 0;
}
