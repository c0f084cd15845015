/*-------------------------------------------------------------------------
 *
 * gate.c
 *	  What a caller must be allowed before a function is entered.
 *
 * With miosa_rollback.tenancy = enforced every function that is not written in C
 * passes a gate, so that a new one is closed until somebody thinks about it:
 *
 *	  - one that has an argument deployment_id: the deployment must exist for the
 *		caller, who needs the scope read if the function only reads, else deploy
 *		or what the table below says;
 *	  - those in the table that look at tenants themselves;
 *	  - any other one concerns all tenants, and so must the caller.
 *
 * Whether a deployment does not exist or is another tenant's is found out by the
 * same steps, before the function looks at its other arguments.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "api/gate.h"
#include "base/check_argument.h"
#include "base/optional_text.h"
#include "common/index_lookup.h"
#include "operation/deployment.h"
#include "operation/tenancy.h"

/* Functions that are not as others of their kind. */
static const struct
{
	const char *function;
	bool		open;
	const char *deployment;		/* name of the argument; NULL: deployment_id */
	int			scopes;			/* 0: as others */
}			exceptions[] = {
	{"fleets_rows",.open = true},
	{"miosa_audit_log",.open = true},
	{"miosa_clear_bad",.scopes = MRB_SCOPE_ROLLBACK | MRB_SCOPE_DEPLOY},
	{"miosa_deployment",.deployment = "id"},
	{"miosa_mark_bad",.scopes = MRB_SCOPE_ROLLBACK | MRB_SCOPE_DEPLOY},
	{"miosa_move_host",.deployment = "to_deployment_id"},
	{"miosa_put_deployment",.open = true},
	{"miosa_remove_domain",.open = true},
	{"miosa_remove_deployment",.open = true},
	{"miosa_report_instance",.scopes = MRB_SCOPE_REPORT},
	{"miosa_report_schema",.open = true},
	{"miosa_resend",.open = true},
	{"miosa_rollback_fleet",.open = true},
	{"miosa_route",.open = true},
	{"miosa_routes_since",.open = true},
	{"miosa_timeline",.open = true},
	{"miosa_set_deployment",.deployment = "id"},
	{"overview_rows",.open = true},
	{"progress_rows",.open = true},
	{"wall_rows",.open = true},
};

static int	find_argument(HeapTuple tuple, const char *name);

/*
 * Find the gate of a function.
 */
MrbGate
mrb_gate_find(Oid function, MemoryContext context)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	const char *deployment = "deployment_id";
	MrbGate		gate = {0};

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	gate.function = MemoryContextStrdup(context, NameStr(proc->proname));
	gate.scopes = proc->provolatile == PROVOLATILE_VOLATILE ?
		MRB_SCOPE_DEPLOY : MRB_SCOPES_SEEING;
	for (size_t i = 0; i < lengthof(exceptions); i++)
	{
		if (strcmp(exceptions[i].function, gate.function) != 0)
			continue;
		gate.open = exceptions[i].open;
		if (exceptions[i].deployment != NULL)
			deployment = exceptions[i].deployment;
		if (exceptions[i].scopes != 0)
			gate.scopes = exceptions[i].scopes;
	}
	gate.deployment = find_argument(tuple, deployment);
	ReleaseSysCache(tuple);
	return gate;
}

/*
 * Let the caller pass, or refuse it.
 */
void
mrb_gate_pass(const MrbGate *gate, FunctionCallInfo fcinfo)
{
	MrbFinding	finding;
	char	   *id;

	if (!mrb_tenancy_enforced() || gate->open)
		return;
	if (gate->deployment < 0)
	{
		mrb_tenancy_require_all(psprintf("function %s", gate->function));
		return;
	}

	id = mrb_optional_text_argument(fcinfo, gate->deployment);
	mrb_check_argument_id(id, "deployment id");
	mrb_index_lookup_begin();
	finding = mrb_deployment_check_caller(id, gate->scopes,
										  psprintf("call %s", gate->function));
	mrb_index_lookup_end();
	mrb_finding_enforce(&finding);
}

/*
 * Find an argument by its name; -1: there is none.
 */
static int
find_argument(HeapTuple tuple, const char *name)
{
	Oid		   *types;
	char	  **names;
	char	   *modes;
	int			n = get_func_arg_info(tuple, &types, &names, &modes);
	int			input = 0;

	for (int i = 0; i < n && names != NULL; i++)
	{
		if (modes != NULL && modes[i] != FUNC_PARAM_IN &&
			modes[i] != FUNC_PARAM_INOUT && modes[i] != FUNC_PARAM_VARIADIC)
			continue;
		if (strcmp(names[i], name) == 0)
			return input;
		input++;
	}
	return -1;
}
