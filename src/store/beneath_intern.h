/*
 * beneath_intern: what beneath.c and beneath_walk.c share.
 */
#ifndef STORE_BENEATH_INTERN_H
#define STORE_BENEATH_INTERN_H

#include "store/beneath.h"

struct beneath_way {
	enum beneath_kind kind;
	const char *root; /* full path; its own links are the operator's */
	const char *path; /* path_is_safe, or "" */
	bool follow;	  /* if the last part is a link: what it leads to */
};

/* A descriptor (O_PATH) of what is there, the caller's to close; -1 with errno, which is EXDEV for a link that may not
 * be followed. */
int beneath_open(const struct beneath_way *way);

#endif
