/*-------------------------------------------------------------------------
 *
 * alert_api.c
 *	  SQL-callable function that takes alerts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "base/gateway.h"
#include "base/json_build.h"
#include "common/lock_wait.h"
#include "operation/alert.h"
#include "operation/primary.h"

PG_FUNCTION_INFO_V1(miosa_alert);

static Datum call_alert(PG_FUNCTION_ARGS);
static void ask_again(const MrbAlertResult *results, int n);
static Jsonb *show_results(const MrbAlert *alerts, const MrbAlertResult *results,
						   int n);

/*
 * miosa_alert(payload)
 */
Datum
miosa_alert(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_alert, fcinfo);
}

/*
 * miosa_alert(), with bounded waits.
 */
static Datum
call_alert(PG_FUNCTION_ARGS)
{
	Jsonb	   *payload = PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0);
	int			n;
	MrbAlert   *alerts;
	MrbAlertResult *results;

	mrb_primary_require();
	alerts = mrb_alert_body_read(payload, &n);
	results = mrb_alert_run(alerts, n, fcinfo->flinfo->fn_oid);
	ask_again(results, n);
	PG_RETURN_JSONB_P(show_results(alerts, results, n));
}

/*
 * Have Alertmanager send the message again soon if a deployment was locked.  The
 * others are committed, and known then.
 */
static void
ask_again(const MrbAlertResult *results, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (!results[i].again)
			continue;
		mrb_gateway_set_status(503);
		mrb_gateway_add_header("Retry-After", "1");
		return;
	}
}

/*
 * Return what became of the alerts, in their order.
 */
static Jsonb *
show_results(const MrbAlert *alerts, const MrbAlertResult *results, int n)
{
	StringInfoData json;

	initStringInfo(&json);
	mrb_json_build_object(&json, NULL);
	mrb_json_build_object(&json, "data");
	mrb_json_build_array(&json, "alerts");
	for (int i = 0; i < n; i++)
	{
		mrb_json_build_object(&json, NULL);
		mrb_json_build_string(&json, "deployment_id", results[i].deployment_id);
		mrb_json_build_string(&json, "fingerprint", alerts[i].fingerprint);
		mrb_json_build_string(&json, "done", results[i].done);
		mrb_json_build_string(&json, "operation_id", results[i].operation_id);
		mrb_json_build_string(&json, "why", results[i].why);
		mrb_json_build_end(&json);
	}
	mrb_json_build_end_array(&json);
	mrb_json_build_end(&json);
	mrb_json_build_end(&json);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}
