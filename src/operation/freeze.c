/*-------------------------------------------------------------------------
 *
 * freeze.c
 *	  Freezes: times in which deployments are not promoted.
 *
 * A freeze is a row of miosa.freezes, for the deployments that its selector
 * matches.  It stops promotions, of people too.  A rollback or an undo is never
 * stopped, and a promotion that cannot wait breaks the glass, with a reason.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "common/query.h"
#include "operation/caller_request.h"
#include "operation/freeze.h"

/* Reason in a hint, where the caller has given none. */
#define NO_REASON "why it cannot wait"

typedef struct Freeze
{
	char	   *name;
	TimestampTz begins;
	TimestampTz ends;
	char	   *reason;			/* may be NULL */
} Freeze;

/* Columns of find_query, from 1. */
enum
{
	FREEZE_NAME = 1,
	FREEZE_BEGINS,
	FREEZE_ENDS,
	FREEZE_REASON
};

/* The one that ends last. */
static MrbQuery find_query = {
	.sql = "SELECT f.name, f.begins, f.ends, f.reason FROM miosa.freezes f"
	" WHERE (f.tenant_id IS NULL OR f.tenant_id = $1)"
	" AND f.begins <= pg_catalog.clock_timestamp()"
	" AND f.ends > pg_catalog.clock_timestamp()"
	" AND miosa.selects_deployment(f.selector, $2)"
	" ORDER BY f.ends DESC, f.name LIMIT 1",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

static bool find(const MrbDeployment *deployment, Freeze *freeze);
static char *describe(const Freeze *freeze);

/*
 * A promotion of another version needs a deployment that is not frozen.
 */
MrbFinding
mrb_freeze_judge(const MrbDeployment *deployment, bool promotion)
{
	static const char *const name = "not_frozen";
	const MrbCallerRequest *request = deployment->request;
	MrbCallerRequest again = {0};
	Freeze		freeze;
	StringInfoData risk;
	MrbFinding	it;

	if (!promotion ||
		mrb_deployment_same_version(deployment->active.id, deployment->target.id) ||
		!find(deployment, &freeze))
		return mrb_finding_hold(name);

	if (request != NULL)
		again = *request;
	again.break_glass = true;
	if (again.reason == NULL)
		again.reason = NO_REASON;
	it = mrb_finding_fail(name, MRB_ERR_FROZEN,
						  psprintf("deployment \"%s\" is frozen", deployment->id),
						  describe(&freeze),
						  psprintf("If it cannot wait, break the glass: %s",
								   mrb_caller_request_again(&again, true, deployment->id,
															deployment->target.id, false)));
	it.retry_after = mrb_finding_seconds_until(freeze.ends);
	if (request == NULL || !request->break_glass)
		return it;
	initStringInfo(&risk);
	appendStringInfoString(&risk, "\"break_glass\": ");
	escape_json(&risk, freeze.name);
	return mrb_finding_accept(&it, "BREAK_GLASS",
							  "The promotion is in the audit trail as one that broke the glass.",
							  risk.data);
}

/*
 * Describe a freeze in a plan of a rollback, which it does not concern.
 */
MrbFinding
mrb_freeze_describe(const MrbDeployment *deployment)
{
	MrbFinding	it = mrb_finding_hold("not_frozen");
	Freeze		freeze;

	if (!find(deployment, &freeze))
		return it;
	it.message = psprintf("deployment \"%s\" is frozen", deployment->id);
	it.detail = describe(&freeze);
	it.hint = "Promotions are refused, a rollback is not. See the freezes with TABLE miosa.open_freezes;";
	return it;
}

/*
 * Find a freeze of the deployment.
 */
static bool
find(const MrbDeployment *deployment, Freeze *freeze)
{
	Datum		values[] = {
		CStringGetTextDatum(deployment->tenant_id),
		CStringGetTextDatum(deployment->id),
	};
	bool		found;

	mrb_query_open();
	found = mrb_query_run(&find_query, values, NULL) > 0;
	if (found)
	{
		freeze->name = mrb_query_text(0, FREEZE_NAME);
		freeze->begins = mrb_query_timestamp(0, FREEZE_BEGINS, 0);
		freeze->ends = mrb_query_timestamp(0, FREEZE_ENDS, 0);
		freeze->reason = mrb_query_text(0, FREEZE_REASON);
	}
	mrb_query_close();
	return found;
}

/*
 * Say by which freeze, from when to when and why a deployment is frozen.
 */
static char *
describe(const Freeze *freeze)
{
	char	   *begins = pstrdup(timestamptz_to_str(freeze->begins));

	return psprintf("By \"%s\", from %s to %s%s%s", freeze->name, begins,
					timestamptz_to_str(freeze->ends), freeze->reason ? ": " : ".",
					freeze->reason ? freeze->reason : "");
}
