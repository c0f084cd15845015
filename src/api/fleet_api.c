/*-------------------------------------------------------------------------
 *
 * fleet_api.c
 *	  SQL-callable functions for fleets.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "api/operation_api.h"
#include "base/check_argument.h"
#include "base/optional_text.h"
#include "common/lock_wait.h"
#include "operation/fleet.h"
#include "operation/primary.h"

PG_FUNCTION_INFO_V1(miosa_rollback_many);
PG_FUNCTION_INFO_V1(miosa_plan_many);
PG_FUNCTION_INFO_V1(mrb_call_rollback_many);
PG_FUNCTION_INFO_V1(mrb_call_plan_many);
PG_FUNCTION_INFO_V1(mrb_fleet_begin_row);
PG_FUNCTION_INFO_V1(mrb_fleet_step_row);
PG_FUNCTION_INFO_V1(mrb_sees_fleet);

/* Arguments of all calls. */
enum
{
	ARG_SELECTOR,
	ARG_SERVED_AT,
	ARG_MODE,
	ARG_KEY,
	ARG_REASON,
	ARG_ATTRIBUTION,
	ARG_CUTOVER,
	ARG_ACCEPT_UNVERIFIED,
	ARG_HOLD,
	ARG_HOLD_FOR,
	ARG_MARK_BAD,
	ARG_BATCH
};

static Datum call_rollback_many(PG_FUNCTION_ARGS);
static Datum call_plan_many(PG_FUNCTION_ARGS);
static Datum call_begin(PG_FUNCTION_ARGS);
static Datum call_step(PG_FUNCTION_ARGS);
static MrbFleetRequest read_arguments(FunctionCallInfo fcinfo);
static Jsonb *read_jsonb(FunctionCallInfo fcinfo, int arg);
static bool is_true(FunctionCallInfo fcinfo, int arg);

/*
 * miosa_rollback_many(selector, served_at, mode, idempotency_key, reason,
 * attribution, cutover, accept_unverified, hold, hold_for, mark_bad)
 */
Datum
miosa_rollback_many(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_rollback_many, fcinfo);
}

/*
 * miosa_rollback_many(), with bounded waits.
 */
static Datum
call_rollback_many(PG_FUNCTION_ARGS)
{
	MrbFleetRequest request;

	mrb_primary_require();
	request = read_arguments(fcinfo);
	if (request.common.key == NULL)
		request.common.key = mrb_operation_api_key();
	PG_RETURN_JSONB_P(mrb_fleet_run(&request));
}

/*
 * miosa.call_rollback_many(), with the same arguments: for the console, whose hints
 * call its functions
 */
Datum
mrb_call_rollback_many(PG_FUNCTION_ARGS)
{
	MrbFleetRequest request = read_arguments(fcinfo);

	request.console = true;
	PG_RETURN_JSONB_P(mrb_fleet_run(&request));
}

/*
 * miosa_plan_many(selector, served_at)
 */
Datum
miosa_plan_many(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_plan_many, fcinfo);
}

/*
 * miosa_plan_many(), with bounded waits.
 */
static Datum
call_plan_many(PG_FUNCTION_ARGS)
{
	MrbFleetRequest request = {
		.selector = read_jsonb(fcinfo, ARG_SELECTOR),
	};

	request.common.served_at = mrb_operation_api_moment(fcinfo, ARG_SERVED_AT);
	PG_RETURN_JSONB_P(mrb_fleet_plan(&request));
}

/*
 * miosa.call_plan_many(), with the same arguments: for the console, whose frames
 * no CONTEXT shows
 */
Datum
mrb_call_plan_many(PG_FUNCTION_ARGS)
{
	return call_plan_many(fcinfo);
}

/*
 * miosa.fleet_begin(), with the arguments of miosa_rollback_many(), and batch:
 * the id of the fleet
 */
Datum
mrb_fleet_begin_row(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_INNER, call_begin, fcinfo);
}

/*
 * miosa.fleet_begin(), with bounded waits.
 */
static Datum
call_begin(PG_FUNCTION_ARGS)
{
	MrbFleetRequest request;
	char	   *id;

	mrb_primary_require();
	request = read_arguments(fcinfo);
	if (PG_ARGISNULL(ARG_BATCH))
		mrb_check_argument_missing("argument \"batch\"",
								   "Pass batch => 500, or leave it out.");
	id = mrb_fleet_begin(&request, PG_GETARG_INT32(ARG_BATCH));
	if (id == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(id));
}

/*
 * miosa.fleet_step(fleet_id, batch): whether the fleet has not ended
 */
Datum
mrb_fleet_step_row(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_INNER, call_step, fcinfo);
}

/*
 * miosa.fleet_step(), with bounded waits.
 */
static Datum
call_step(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mrb_fleet_step(text_to_cstring(PG_GETARG_TEXT_PP(0)),
								  PG_GETARG_INT32(1), fcinfo->flinfo->fn_oid));
}

/*
 * miosa.sees_fleet(tenant_id, acts_for)
 */
Datum
mrb_sees_fleet(PG_FUNCTION_ARGS)
{
	char	   *tenant_id = mrb_optional_text_argument(fcinfo, 0);
	char	   *acts_for = mrb_optional_text_argument(fcinfo, 1);

	PG_RETURN_BOOL(acts_for != NULL && mrb_fleet_is_seen(tenant_id, acts_for));
}

/*
 * Read the arguments of a call.
 */
static MrbFleetRequest
read_arguments(FunctionCallInfo fcinfo)
{
	MrbFleetRequest request = {
		.selector = read_jsonb(fcinfo, ARG_SELECTOR),
		.mode = mrb_optional_text_argument(fcinfo, ARG_MODE),
		.common = {
			.key = mrb_optional_text_argument(fcinfo, ARG_KEY),
			.reason = mrb_caller_request_reason(mrb_optional_text_argument(fcinfo, ARG_REASON)),
			.attribution = read_jsonb(fcinfo, ARG_ATTRIBUTION),
			.cutover = mrb_optional_text_argument(fcinfo, ARG_CUTOVER),
			.accept_unverified = is_true(fcinfo, ARG_ACCEPT_UNVERIFIED),
			.mark_bad = is_true(fcinfo, ARG_MARK_BAD),
		},
		.function = fcinfo->flinfo->fn_oid,
	};

	request.common.served_at = mrb_operation_api_moment(fcinfo, ARG_SERVED_AT);
	if (!PG_ARGISNULL(ARG_HOLD))
		request.common.hold = PG_GETARG_BOOL(ARG_HOLD) ? MRB_YES : MRB_NO;
	if (!PG_ARGISNULL(ARG_HOLD_FOR))
		request.common.hold_for = PG_GETARG_INTERVAL_P(ARG_HOLD_FOR);
	return request;
}

/*
 * Read an argument that is JSON; NULL for null.
 */
static Jsonb *
read_jsonb(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : PG_GETARG_JSONB_P(arg);
}

/*
 * Whether an argument is given and true.
 */
static bool
is_true(FunctionCallInfo fcinfo, int arg)
{
	return !PG_ARGISNULL(arg) && PG_GETARG_BOOL(arg);
}
