/*-------------------------------------------------------------------------
 *
 * file_root.h
 *	  Confine file paths to one directory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_FILE_ROOT_H
#define MRB_FILE_ROOT_H

/*
 * Whether a path leads out of the directory root, by its text or by symbolic
 * links.  real_root is root without symbolic links.
 */
extern bool mrb_file_root_escapes(const char *path, const char *root,
								  const char *real_root);

/* Whether a path is below a directory. */
extern bool mrb_file_root_holds(const char *directory, const char *path);

#endif							/* MRB_FILE_ROOT_H */
