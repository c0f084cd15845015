/*-------------------------------------------------------------------------
 *
 * file_root.h
 *	  Files that are looked for below one directory only.
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

#endif							/* MRB_FILE_ROOT_H */
