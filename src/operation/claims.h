/*-------------------------------------------------------------------------
 *
 * claims.h
 *	  Claims of the token of an HTTP request.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_CLAIMS_H
#define MRB_CLAIMS_H

/* What a caller may do for a tenant; each but the last lets it see the tenant. */
typedef enum MrbScope
{
	MRB_SCOPE_READ = 1 << 0,
	MRB_SCOPE_ROLLBACK = 1 << 1,	/* move pointers among versions */
	MRB_SCOPE_DEPLOY = 1 << 2,	/* feed versions, and promote them */
	MRB_SCOPE_REPORT = 1 << 3,	/* report instances */
	MRB_SCOPE_SPEAK = 1 << 4,	/* name another actor */
} MrbScope;

#define MRB_SCOPES_SEEING \
	(MRB_SCOPE_READ | MRB_SCOPE_ROLLBACK | MRB_SCOPE_DEPLOY | MRB_SCOPE_REPORT)

/* A claim that the token does not have is NULL. */
typedef struct MrbClaims
{
	char	   *tenant_id;
	char	   *user;			/* sub */
	char	   *key;			/* key_id */
	int			scopes;			/* of MrbScope, for the tenant */
} MrbClaims;

/*
 * The claims in request.jwt.claims; NULL when it is not set.  Whether they count
 * is for the caller to decide.  Raises INVALID_ARGUMENT for claims that cannot
 * be read.  They are valid until the next call.
 */
extern const MrbClaims *mrb_claims_read(void);

/* The scope of that name; 0: there is none. */
extern int	mrb_claims_scope(const char *name, size_t len);

#endif							/* MRB_CLAIMS_H */
