/*
 * banned: functions that refuse to compile, because each has an honest replacement: snprintf and
 * buf for texts, str_to_* for numbers (atoi hides malformed input), arena for alloca.
 *
 * The build includes this before anything else (-include).  It therefore brings the configuration
 * itself: feature macros must stand before the first libc header.  The headers that declare the
 * banned names come before the poison, everything later may not even mention them.
 */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#ifdef HAVE_CONFIG_H
#include "config-build.h"
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* some are macros, depending on compiler and fortification, and macros would slip through */
#undef strcpy
#undef strcat
#undef sprintf
#undef vsprintf
#undef strtok
#undef atoi
#undef atol
#undef alloca

#pragma GCC poison strcpy strcat sprintf vsprintf gets strtok atoi atol alloca

#endif
