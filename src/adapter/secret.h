/*-------------------------------------------------------------------------
 *
 * secret.h
 *	  What a secret may be, and where its value is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SECRET_H
#define MRB_SECRET_H

/* Shown instead of a secret. */
#define MRB_SECRET_MASK "***"

/* Whether it can be sent in a header: printable ASCII, no spaces at its ends. */
extern bool mrb_secret_is_plain(const char *value);

/* Whether it refers to a file instead of being the value. */
extern bool mrb_secret_is_file(const char *stored);

/*
 * The value of what is stored, palloc'd: itself, or what its file has now.
 * NULL, with the problem in words, when the file cannot be used.
 */
extern char *mrb_secret_resolve(const char *stored, char **problem);

#endif							/* MRB_SECRET_H */
