/*
 * help: texts about commands and options on stdout.
 */
#include <stdio.h>
#include "cmd/cmd.h"
#include "config/help.h"

int cmd_help(struct arena *a, const struct config *cfg)
{
	struct buf out;

	buf_init(&out, a);
	if (help_print(a, cfg, &out) != 0)
		return -1;
	if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0)
		return err_sys(ERR_FILE_WRITE, "unable to write the help to stdout");
	return 0;
}
