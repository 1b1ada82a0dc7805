/*
 * path: names of files, as text only.
 */
#include "base/path.h"

#include <string.h>

char *path_join(struct arena *a, const char *dir, const char *name)
{
	if (dir[0] == '\0')
		return arena_strdup(a, name);
	if (name[0] == '\0')
		return arena_strdup(a, dir);
	const char *sep = dir[strlen(dir) - 1] == '/' ? "" : "/";
	return arena_printf(a, "%s%s%s", dir, sep, name);
}

char *path_parent(struct arena *a, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return arena_strdup(a, "");
	if (slash == path)
		return arena_strdup(a, "/");
	return arena_strndup(a, path, (size_t)(slash - path));
}

const char *path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

static bool is_dots(const char *part, size_t len)
{
	return (len == 1 && part[0] == '.') || (len == 2 && part[0] == '.' && part[1] == '.');
}

bool path_is_safe(const char *path)
{
	if (strchr(path, '\n') != NULL)
		return false;
	for (;;) {
		size_t len = strcspn(path, "/");

		if (len == 0 || is_dots(path, len))
			return false;
		if (path[len] == '\0')
			return true;
		path += len + 1;
	}
}

bool path_is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (strncmp(path, dir, len) != 0)
		return false;
	return path[len] == '\0' || path[len] == '/' || (len > 0 && dir[len - 1] == '/');
}

char *path_normalize(struct arena *a, const char *path)
{
	char *out = arena_alloc(a, strlen(path) + 2);
	size_t n = 0;

	while (*path != '\0') {
		size_t len = strcspn(path, "/");

		if (len == 2 && is_dots(path, len)) {
			while (n > 0 && out[--n] != '/')
				continue;
		} else if (len > 0 && !is_dots(path, len)) {
			out[n++] = '/';
			memcpy(out + n, path, len);
			n += len;
		}
		path += len;
		path += strspn(path, "/");
	}
	if (n == 0)
		out[n++] = '/';
	out[n] = '\0';
	return out;
}
