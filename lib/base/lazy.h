/*
 * lazy: shared libraries that are loaded on first use.
 *
 * libpq and its dependencies cost milliseconds of start-up, which archive-push and archive-get would
 * pay for each segment without using them.
 */
#ifndef BASE_LAZY_H
#define BASE_LAZY_H

#include "err.h"

struct lazy_symbol {
	const char *name;
	void **slot; /* receives the address */
};

/* Load soname once and fill all slots (list ends with a NULL name).  ERR_EXECUTE with the hint which
 * Debian package has it, if it cannot be loaded. */
int lazy_load(const char *soname, const char *package, const struct lazy_symbol *symbols) must_check;

#endif
