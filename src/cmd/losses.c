/*
 * losses: telling of WAL that was given up.
 */
#include "cmd/losses.h"

#include "base/log.h"

#define SHOWN 10

void losses_warn(unsigned repo, const wal_losses *losses, const char *hint)
{
	SCOPED_ARENA(a);

	for (size_t i = 0; i < losses->n && i < SHOWN; i++)
		log_warn("repo%u: %s\nHINT: %s", repo, wal_loss_text(a, &losses->v[i]), hint);
	if (losses->n > SHOWN)
		log_warn("repo%u: and %zu more ranges of WAL were dropped by archive-push", repo, losses->n - SHOWN);
}
