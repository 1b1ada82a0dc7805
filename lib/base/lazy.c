/*
 * lazy: shared libraries that are loaded on first use and never unloaded: their addresses are in
 * the callers' slots, and the handles here keep leak checkers quiet.
 */
#include "base/lazy.h"

#include <dlfcn.h>
#include <string.h>

#define LIBRARIES_MAX 8

static struct {
	const char *soname;
	void *handle;
} libraries[LIBRARIES_MAX];

/* The handle, loading the library if this is its first use; NULL, with dlerror set, if it fails. */
static void *library(const char *soname)
{
	size_t i = 0;

	while (i < LIBRARIES_MAX && libraries[i].soname != NULL) {
		if (strcmp(libraries[i].soname, soname) == 0)
			return libraries[i].handle;
		i++;
	}
	void *handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
	if (handle != NULL && i < LIBRARIES_MAX) {
		libraries[i].soname = soname;
		libraries[i].handle = handle;
	}
	return handle;
}

int lazy_load(const char *soname, const char *package, const struct lazy_symbol *symbols)
{
	void *handle = library(soname);

	if (handle == NULL) {
		err_set(ERR_EXECUTE, "unable to load library '%s': %s", soname, dlerror());
		return err_hint("install the Debian package '%s'.", package);
	}
	/* all or none: a slot that is set tells callers that loading has succeeded */
	for (const struct lazy_symbol *s = symbols; s->name != NULL; s++) {
		if (dlsym(handle, s->name) == NULL) {
			err_set(ERR_EXECUTE, "library '%s' has no function '%s'", soname, s->name);
			return err_hint(
				"install a newer version of the Debian package '%s'.", package);
		}
	}
	for (const struct lazy_symbol *s = symbols; s->name != NULL; s++)
		*s->slot = dlsym(handle, s->name);
	return 0;
}
