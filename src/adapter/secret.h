/*-------------------------------------------------------------------------
 *
 * secret.h
 *	  The form of secrets, and where their values are stored.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SECRET_H
#define MRB_SECRET_H

/* Shown in place of a secret. */
#define MRB_SECRET_MASK "***"

/* Whether a header can hold it: printable ASCII without spaces at its ends. */
extern bool mrb_secret_is_plain(const char *value);

/* Whether what is stored refers to a file that holds the value. */
extern bool mrb_secret_is_file(const char *stored);

/*
 * The value of what is stored, palloc'd: what is stored itself, or the present
 * contents of its file.  NULL, with a problem, when the file cannot be used.
 */
extern char *mrb_secret_resolve(const char *stored, char **problem);

/*
 * The origins that the file of what is stored is for, palloc'd and separated by
 * spaces: the contents of a file beside it, with .origins behind its name.  NULL
 * when there is none, or no file at all.
 */
extern char *mrb_secret_origins(const char *stored, char **problem);

#endif							/* MRB_SECRET_H */
