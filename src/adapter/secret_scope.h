/*-------------------------------------------------------------------------
 *
 * secret_scope.h
 *	  Which requests may carry a secret.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_SECRET_SCOPE_H
#define MRB_SECRET_SCOPE_H

/*
 * Lists whose words are separated by spaces; "*" stands for all.  NULL in the
 * first two means that the secret is not bound yet.
 */
typedef struct MrbSecretScope
{
	char	   *origins;		/* where requests with it may go */
	char	   *adapters;		/* adapters of endpoints that have it */
	char	   *endpoints;		/* endpoints whose adapters may name it as
								 * {secret:name}; NULL: none */
} MrbSecretScope;

/*
 * The origin of a URL, palloc'd: scheme, host and port in lower case, without
 * the scheme's own port.
 */
extern char *mrb_secret_scope_origin(const char *url);

/* Whether an origin may be listed: one origin, of *.domain too, or "*". */
extern bool mrb_secret_scope_is_origin(const char *origin);

/*
 * Why requests to a URL, by an adapter (NULL: by a storage), must not carry the
 * secret; palloc'd, or NULL when they may.
 */
extern char *mrb_secret_scope_problem(const MrbSecretScope *scope,
									  const char *url, const char *adapter);

/* The same for an endpoint whose adapter names the secret. */
extern char *mrb_secret_scope_naming_problem(const MrbSecretScope *scope,
											 const char *url,
											 const char *endpoint);

#endif							/* MRB_SECRET_SCOPE_H */
