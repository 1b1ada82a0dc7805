/*
 * start: let commands run again after stop, by removing the stop file.
 */
#include "cmd/cmd.h"

#include "base/log.h"
#include "cmd/stop_file.h"

/* Whoever starts one stanza while all are stopped would believe that it runs. */
static int tell_of_all(const struct config *cfg)
{
	int all = cfg->stanza == NULL ? 0 : stop_file_exists(cfg, NULL);

	if (all > 0)
		log_warn("stop file exists for all stanzas, stanza %s stays stopped\n"
			"HINT: run the start command without --stanza to start all stanzas.", cfg->stanza);
	return all < 0 ? -1 : 0;
}

int cmd_start(struct arena *a, const struct config *cfg)
{
	int rc = stop_file_remove(cfg, cfg->stanza);
	if (rc < 0)
		return -1;
	if (rc == STOP_FILE_WAS_ABSENT && cfg->stanza != NULL)
		log_warn("stop file does not exist for stanza %s", cfg->stanza);
	else if (rc == STOP_FILE_WAS_ABSENT)
		log_warn("stop file does not exist");
	return tell_of_all(cfg);
}
