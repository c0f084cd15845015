/*-------------------------------------------------------------------------
 *
 * file_root.h
 *	  Confine file paths to one directory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FILE_ROOT_H
#define MRB_FILE_ROOT_H

typedef enum MrbFileRootResult
{
	MRB_FILE_ROOT_FOUND,		/* the real path is set */
	MRB_FILE_ROOT_MISSING,		/* nothing is there; errno says why */
	MRB_FILE_ROOT_OUTSIDE,		/* the path leads out of the directory */
	MRB_FILE_ROOT_NO_ROOT,		/* no such directory; errno says why */
} MrbFileRootResult;

/*
 * Resolve a path below the directory root, which it may lead out of neither by
 * its text nor by symbolic links.  Use the real path, palloc'd: a link of the
 * path may be changed meanwhile.  A path that is NULL is outside.
 */
extern MrbFileRootResult mrb_file_root_resolve(const char *root,
											   const char *path, char **real);

#endif							/* MRB_FILE_ROOT_H */
