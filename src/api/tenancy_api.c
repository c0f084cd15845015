/*-------------------------------------------------------------------------
 *
 * tenancy_api.c
 *	  SQL-callable functions about the caller and its tenants.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/check_argument.h"
#include "base/optional_text.h"
#include "operation/actor.h"
#include "operation/claims.h"
#include "operation/deployment.h"
#include "operation/tenancy.h"

PG_FUNCTION_INFO_V1(mrb_sees_tenant);
PG_FUNCTION_INFO_V1(mrb_sees_deployment);
PG_FUNCTION_INFO_V1(mrb_is_anothers_deployment);
PG_FUNCTION_INFO_V1(mrb_sees_all_tenants);
PG_FUNCTION_INFO_V1(mrb_sees_endpoints);
PG_FUNCTION_INFO_V1(mrb_may);
PG_FUNCTION_INFO_V1(mrb_administers);
PG_FUNCTION_INFO_V1(mrb_check_scope);
PG_FUNCTION_INFO_V1(mrb_require_all_tenants);
PG_FUNCTION_INFO_V1(mrb_check_visible);
PG_FUNCTION_INFO_V1(mrb_show);

static int	scope_argument(FunctionCallInfo fcinfo, int arg);

/*
 * miosa.sees_tenant(tenant_id)
 */
Datum
mrb_sees_tenant(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!mrb_tenancy_enforced() ||
				   mrb_tenancy_sees(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

/*
 * miosa.sees_deployment(deployment_id), by the snapshot of the statement
 */
Datum
mrb_sees_deployment(PG_FUNCTION_ARGS)
{
	char	   *tenant_id;

	if (mrb_tenancy_sees_all())
		PG_RETURN_BOOL(true);
	tenant_id = mrb_deployment_tenant(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_BOOL(tenant_id != NULL && mrb_tenancy_sees(tenant_id));
}

/*
 * miosa.is_anothers_deployment(deployment_id)
 */
Datum
mrb_is_anothers_deployment(PG_FUNCTION_ARGS)
{
	char	   *tenant_id;

	if (mrb_tenancy_sees_all())
		PG_RETURN_BOOL(false);
	tenant_id = mrb_deployment_tenant(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_BOOL(tenant_id != NULL && !mrb_tenancy_sees(tenant_id));
}

/*
 * miosa.sees_all_tenants()
 */
Datum
mrb_sees_all_tenants(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mrb_tenancy_sees_all());
}

/*
 * miosa.sees_endpoints()
 */
Datum
mrb_sees_endpoints(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mrb_tenancy_sees_endpoints());
}

/*
 * miosa.may(tenant_id, scope)
 */
Datum
mrb_may(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mrb_tenancy_may(text_to_cstring(PG_GETARG_TEXT_PP(0)),
								   scope_argument(fcinfo, 1)));
}

/*
 * miosa.administers()
 */
Datum
mrb_administers(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mrb_actor_administers());
}

/*
 * miosa.check_scope(tenant_id, scope, verb)
 */
Datum
mrb_check_scope(PG_FUNCTION_ARGS)
{
	MrbFinding	finding;

	finding = mrb_tenancy_check(text_to_cstring(PG_GETARG_TEXT_PP(0)),
								scope_argument(fcinfo, 1),
								text_to_cstring(PG_GETARG_TEXT_PP(2)));
	mrb_finding_enforce(&finding);
	PG_RETURN_VOID();
}

/*
 * miosa.require_all_tenants(what)
 */
Datum
mrb_require_all_tenants(PG_FUNCTION_ARGS)
{
	mrb_tenancy_require_all(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/*
 * miosa.check_visible(value, what, name)
 */
Datum
mrb_check_visible(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	mrb_check_argument_visible(text_to_cstring(PG_GETARG_TEXT_PP(0)),
							   PG_ARGISNULL(1) ? "text" :
							   text_to_cstring(PG_GETARG_TEXT_PP(1)),
							   mrb_optional_text_argument(fcinfo, 2));
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/*
 * miosa.show(value)
 */
Datum
mrb_show(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(mrb_check_argument_show(text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}

/*
 * Return an argument that is the name of a scope.
 */
static int
scope_argument(FunctionCallInfo fcinfo, int arg)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	int			scope = mrb_claims_scope(name, strlen(name));

	if (scope == 0)
		mrb_check_argument_refuse("argument", "scope", name, NULL,
								  "Use one of: read, rollback, deploy, report, speak.");
	return scope;
}
