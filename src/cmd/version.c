/*
 * version: the name and number of this program, in a form that wrappers parse.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cmd/cmd.h"

/* "0.1.0" -> 1000 */
static unsigned long as_number(const char *version)
{
	char *rest;
	unsigned long major = strtoul(version, &rest, 10);
	unsigned long minor = *rest == '.' ? strtoul(rest + 1, &rest, 10) : 0;
	unsigned long patch = *rest == '.' ? strtoul(rest + 1, &rest, 10) : 0;

	return major * 1000000 + minor * 1000 + patch;
}

int cmd_version(struct arena *a, const struct config *cfg)
{
	if (cfg->output && strcmp(cfg->output, "num") == 0)
		printf("%lu", as_number(PACKAGE_VERSION));
	else
		printf("pgStrata %s\n", PACKAGE_VERSION);
	if (fflush(stdout) != 0)
		return err_sys(ERR_FILE_WRITE, "unable to write the version to stdout");
	return 0;
}
