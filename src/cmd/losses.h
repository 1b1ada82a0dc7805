/*
 * losses: telling of WAL that was given up.
 */
#ifndef CMD_LOSSES_H
#define CMD_LOSSES_H

#include "repo/wal_loss.h"

/* A warning for each, the first few of them; hint: what it means, said once for each. */
void losses_warn(unsigned repo, const wal_losses *losses, const char *hint);

#endif
