/*
 * order: in which order the files of a manifest are worked on.
 */
#ifndef REPO_ORDER_H
#define REPO_ORDER_H

#include "repo/manifest.h"

/* Row numbers, largest listed size first, so that no worker is left alone with a large file at the end. */
uint32_t *rows_by_size(struct arena *a, const struct manifest *m);

#endif
