/*-------------------------------------------------------------------------
 *
 * secret_list.h
 *	  All secrets, as of the last reading.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SECRET_LIST_H
#define MRB_SECRET_LIST_H

typedef struct MrbSecret
{
	char	   *name;
	char	   *stored;			/* the value, or which file has it */
	char	   *stored_previous;	/* of the one rotated out, or NULL */
	char	   *value;			/* NULL: there is a problem */
	char	   *previous;		/* NULL: none, or there is a problem */
	char	   *problem;		/* why it cannot be used, or NULL */
} MrbSecret;

/* Read them, and the files of those that are in files, in a transaction. */
extern void mrb_secret_list_read(void);

/* NULL when there is none of that name. */
extern const MrbSecret *mrb_secret_list_find(const char *name);

/*
 * Its value; NULL when there is none, or it cannot be used.  This is an
 * MrbSecretLookup (template.h), which does not use arg.
 */
extern const char *mrb_secret_list_value(const char *name, void *arg);

/* Text that differs whenever any of them does; it must not be shown. */
extern const char *mrb_secret_list_state(void);

/* Whether a file has something else by now; looks once a second at most. */
extern bool mrb_secret_list_changed(void);

/* Log those that cannot be used, each problem once. */
extern void mrb_secret_list_report(void);

#endif							/* MRB_SECRET_LIST_H */
