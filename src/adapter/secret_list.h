/*-------------------------------------------------------------------------
 *
 * secret_list.h
 *	  The secrets as last read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SECRET_LIST_H
#define MRB_SECRET_LIST_H

#include "adapter/secret_scope.h"

typedef struct MrbSecret
{
	char	   *name;
	MrbSecretScope scope;		/* which requests may carry it */
	char	   *stored_origins; /* of the scope, unless its file has others */
	char	   *stored;			/* the value, or a reference to its file */
	char	   *stored_previous;	/* the same before the rotation, or NULL */
	char	   *value;			/* NULL: see problem */
	char	   *previous;		/* NULL: none, or see problem */
	char	   *problem;		/* why the secret cannot be used, or NULL */
} MrbSecret;

/* Read all secrets, and their files, in the caller's transaction. */
extern void mrb_secret_list_read(void);

/* Find a secret by its name, or return NULL. */
extern const MrbSecret *mrb_secret_list_find(const char *name);

/*
 * The value of a secret; NULL when it does not exist or cannot be used.  This
 * is an MrbSecretLookup (template.h); arg is not used.
 */
extern const char *mrb_secret_list_value(const char *name, void *arg);

/*
 * A string that changes with the secret own, which may be NULL, and with those
 * that the settings name as {secret:...}; must not be shown.
 */
extern char *mrb_secret_list_state(const char *own, const char *settings);

/* Whether a file has changed; checks once a second at most. */
extern bool mrb_secret_list_changed(void);

/* Log the secrets that cannot be used, each problem once. */
extern void mrb_secret_list_report(void);

#endif							/* MRB_SECRET_LIST_H */
