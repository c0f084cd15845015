/*-------------------------------------------------------------------------
 *
 * file_root.c
 *	  Confine file paths to one directory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/file_root.h"

static bool goes_up(const char *path);
static bool links_out(const char *path, const char *directory);

/*
 * Whether a path leads out of the directory.  Symbolic links may be used as long
 * as they stay inside.
 */
bool
mrb_file_root_escapes(const char *path, const char *root,
					  const char *real_root)
{
	return goes_up(path) || !mrb_file_root_holds(root, path) ||
		links_out(path, real_root);
}

/*
 * Whether a path contains the component "..".
 */
static bool
goes_up(const char *path)
{
	for (const char *c = path; (c = strstr(c, "/..")) != NULL; c++)
	{
		if (c[3] == '/' || c[3] == '\0')
			return true;
	}
	return false;
}

/*
 * Compare the strings only.
 */
bool
mrb_file_root_holds(const char *directory, const char *path)
{
	size_t		len = strlen(directory);

	while (len > 0 && directory[len - 1] == '/')
		len--;
	return strncmp(path, directory, len) == 0 && path[len] == '/';
}

/*
 * Whether symbolic links lead out of the directory.  The part of the path that
 * exists decides.
 */
static bool
links_out(const char *path, const char *directory)
{
	char	   *prefix = pstrdup(path);
	char	   *real;
	bool		outside;

	while ((real = realpath(prefix, NULL)) == NULL)
	{
		char	   *slash = strrchr(prefix, '/');

		if (slash == NULL)
			return true;
		/* If no component exists, the root directory decides. */
		slash[slash == prefix ? 1 : 0] = '\0';
	}
	outside = strcmp(real, directory) != 0 && !mrb_file_root_holds(directory, real);
	free(real);
	return outside;
}
