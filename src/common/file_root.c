/*-------------------------------------------------------------------------
 *
 * file_root.c
 *	  Files that are looked for below one directory only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/file_root.h"

static bool goes_up(const char *path);
static bool is_below(const char *path, const char *directory);
static bool links_out(const char *path, const char *directory);

/*
 * Does a path lead out of the directory?  Symbolic links are followed, as long
 * as they stay in it.
 */
bool
mrb_file_root_escapes(const char *path, const char *root,
					  const char *real_root)
{
	return goes_up(path) || !is_below(path, root) ||
		links_out(path, real_root);
}

/*
 * Does a path have ".." in it?
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
 * Is it a path inside the directory, by their text?
 */
static bool
is_below(const char *path, const char *directory)
{
	size_t		len = strlen(directory);

	while (len > 0 && directory[len - 1] == '/')
		len--;
	return strncmp(path, directory, len) == 0 && path[len] == '/';
}

/*
 * Do symbolic links lead out of the directory?  As much of the path as there
 * is decides.
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
		/* Where the first directory is missing, the topmost one decides. */
		slash[slash == prefix ? 1 : 0] = '\0';
	}
	outside = strcmp(real, directory) != 0 && !is_below(real, directory);
	free(real);
	return outside;
}
