/*-------------------------------------------------------------------------
 *
 * tenancy.h
 *	  The tenants that a caller acts for, and what it may do for them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_TENANCY_H
#define MRB_TENANCY_H

#include "base/compat.h"
#include "base/guc.h"
#include "operation/claims.h"
#include "operation/finding.h"

/* Whether callers see their own tenants only. */
static inline bool
mrb_tenancy_enforced(void)
{
	return mrb_tenancy == MRB_TENANCY_ENFORCED;
}

/*
 * The role of the caller; InvalidOid when there is none, since PostgreSQL
 * evaluates an expression of a table by itself.
 */
extern Oid	mrb_tenancy_caller(void);

/* Whether rows of the tenant exist for the caller. */
extern bool mrb_tenancy_sees(const char *tenant_id);

/* Whether the caller has any of the scopes for the tenant. */
extern bool mrb_tenancy_may(const char *tenant_id, int scopes);

/* Whether the caller may name another actor of changes of the tenant. */
extern bool mrb_tenancy_may_speak(const char *tenant_id);

/* Whether the caller acts for all tenants. */
extern bool mrb_tenancy_sees_all(void);

/* Whether the caller sees endpoints, which serve all tenants. */
extern bool mrb_tenancy_sees_endpoints(void);

/* Whether the claims of requests count in this session. */
extern bool mrb_tenancy_is_gateway(void);

/*
 * The finding whether the caller, who sees the tenant, has any of the scopes;
 * verb says what it wants to do ("roll back").
 */
extern MrbFinding mrb_tenancy_check(const char *tenant_id, int scopes,
									const char *verb);

/* Raise FORBIDDEN unless the caller acts for all tenants; what is the function. */
extern void mrb_tenancy_require_all(const char *what);

#endif							/* MRB_TENANCY_H */
