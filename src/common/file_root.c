/*-------------------------------------------------------------------------
 *
 * file_root.c
 *	  Confine file paths to one directory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "common/file_root.h"

static bool has_parent_part(const char *path);
static bool path_is_inside(const char *path, const char *directory);
static bool real_path_is_inside(const char *real, const char *real_root);
static bool leads_outside(const char *path, const char *real_root);

/*
 * Resolve the path once, and judge what it was resolved to.  If it does not
 * exist, the part of it that exists decides.  The root itself counts as inside;
 * callers refuse it as no file.
 */
MrbFileRootResult
mrb_file_root_resolve(const char *root, const char *path, char **real)
{
	char		real_root[PATH_MAX];
	char		found[PATH_MAX];
	int			error;

	if (realpath(root, real_root) == NULL)
		return MRB_FILE_ROOT_NO_ROOT;
	if (path == NULL || has_parent_part(path) || !path_is_inside(path, root))
		return MRB_FILE_ROOT_OUTSIDE;
	if (realpath(path, found) == NULL)
	{
		error = errno;
		if (leads_outside(path, real_root))
			return MRB_FILE_ROOT_OUTSIDE;
		errno = error;
		return MRB_FILE_ROOT_MISSING;
	}
	if (!real_path_is_inside(found, real_root))
		return MRB_FILE_ROOT_OUTSIDE;
	*real = pstrdup(found);
	return MRB_FILE_ROOT_FOUND;
}

/*
 * Whether a path contains the component "..".
 */
static bool
has_parent_part(const char *path)
{
	for (const char *c = path; (c = strstr(c, "/..")) != NULL; c++)
	{
		if (c[3] == '/' || c[3] == '\0')
			return true;
	}
	return false;
}

/*
 * Whether a path is inside the directory, comparing the strings only.
 */
static bool
path_is_inside(const char *path, const char *directory)
{
	size_t		len = strlen(directory);

	while (len > 0 && directory[len - 1] == '/')
		len--;
	return strncmp(path, directory, len) == 0 && path[len] == '/';
}

/*
 * Whether a real path is the root or inside of it.
 */
static bool
real_path_is_inside(const char *real, const char *real_root)
{
	return strcmp(real, real_root) == 0 || path_is_inside(real, real_root);
}

/*
 * Whether symbolic links of a path that does not exist lead out of the root.
 */
static bool
leads_outside(const char *path, const char *real_root)
{
	char	   *prefix = pstrdup(path);
	char		real[PATH_MAX];

	while (realpath(prefix, real) == NULL)
	{
		char	   *slash = strrchr(prefix, '/');

		if (slash == NULL)
			return true;
		/* If no component exists, the root directory decides. */
		slash[slash == prefix ? 1 : 0] = '\0';
	}
	return !real_path_is_inside(real, real_root);
}
