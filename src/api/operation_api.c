/*-------------------------------------------------------------------------
 *
 * operation_api.c
 *	  SQL-callable functions for operations and plans.
 *
 * None of them is strict: most arguments may be null, which means not given,
 * and the others raise a condition of their own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

#include "base/check_argument.h"
#include "base/errors.h"
#include "common/json_read.h"
#include "common/lock_wait.h"
#include "operation/rollback.h"

PG_FUNCTION_INFO_V1(miosa_rollback);
PG_FUNCTION_INFO_V1(miosa_promote);
PG_FUNCTION_INFO_V1(miosa_plan);
PG_FUNCTION_INFO_V1(mrb_call_rollback);
PG_FUNCTION_INFO_V1(mrb_call_promote);
PG_FUNCTION_INFO_V1(mrb_raise_condition);
PG_FUNCTION_INFO_V1(mrb_check_id);
PG_FUNCTION_INFO_V1(mrb_refuse_value);
PG_FUNCTION_INFO_V1(mrb_refuse_length);

/* Arguments of rollbacks and promotions; the last is the console's. */
enum
{
	ARG_DEPLOYMENT,
	ARG_VERSION,
	ARG_KEY,
	ARG_REASON,
	ARG_EXPECTED_ACTIVE,
	ARG_ATTRIBUTION,
	ARG_CUTOVER,
	ARG_ACCEPT_UNVERIFIED,
	ARG_CONSOLE_NAME
};

static Datum call_rollback(PG_FUNCTION_ARGS);
static Datum call_promote(PG_FUNCTION_ARGS);
static Datum call_plan(PG_FUNCTION_ARGS);
static Jsonb *run_operation(FunctionCallInfo fcinfo, bool promotion);
static char *text_argument(FunctionCallInfo fcinfo, int arg);
static char *key_from_http_header(void);

/*
 * miosa_rollback(deployment_id, version_id, idempotency_key, reason,
 * expected_active, attribution, cutover, accept_unverified)
 */
Datum
miosa_rollback(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_rollback, fcinfo);
}

/*
 * miosa_rollback(), with bounded waits.
 */
static Datum
call_rollback(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(run_operation(fcinfo, false));
}

/*
 * miosa_promote(), with the arguments of miosa_rollback()
 */
Datum
miosa_promote(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_promote, fcinfo);
}

/*
 * miosa_promote(), with bounded waits.
 */
static Datum
call_promote(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(run_operation(fcinfo, true));
}

/*
 * miosa.call_rollback(deployment_id, version_id, idempotency_key, reason,
 * expected_active, attribution, cutover, accept_unverified, name): a rollback
 * for the console, whose hints call the deployment by that name
 */
Datum
mrb_call_rollback(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(run_operation(fcinfo, false));
}

/*
 * miosa.call_promote(), with the arguments of miosa.call_rollback()
 */
Datum
mrb_call_promote(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(run_operation(fcinfo, true));
}

/*
 * miosa_plan(deployment_id, version_id)
 */
Datum
miosa_plan(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_plan, fcinfo);
}

/*
 * miosa_plan(), with bounded waits.
 */
static Datum
call_plan(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(mrb_rollback_plan(text_argument(fcinfo, 0),
										text_argument(fcinfo, 1)));
}

/*
 * miosa.raise_condition(condition, message, detail, hint): how the functions
 * that are written in PL/pgSQL raise the conditions of errors.h.
 */
Datum
mrb_raise_condition(PG_FUNCTION_ARGS)
{
	char	   *name = text_argument(fcinfo, 0);
	char	   *message = text_argument(fcinfo, 1);
	MrbCondition condition;

	if (name == NULL || message == NULL ||
		!mrb_errors_find_condition(name, &condition))
		elog(ERROR, "unknown condition or no message: \"%s\"",
			 name ? name : "");
	mrb_raise(condition, message, text_argument(fcinfo, 2),
			  text_argument(fcinfo, 3));
	PG_RETURN_VOID();
}

/*
 * miosa.check_id(value, what): the value, if it is an id.
 */
Datum
mrb_check_id(PG_FUNCTION_ARGS)
{
	char	   *what = text_argument(fcinfo, 1);

	mrb_check_argument_id(text_argument(fcinfo, 0), what ? what : "id");
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/*
 * miosa.refuse_value(what, name, value, detail, hint): raise INVALID_ARGUMENT
 * for a value that is not allowed.
 */
Datum
mrb_refuse_value(PG_FUNCTION_ARGS)
{
	char	   *what = text_argument(fcinfo, 0);

	mrb_check_argument_refuse(what ? what : "value", text_argument(fcinfo, 1),
							  text_argument(fcinfo, 2),
							  text_argument(fcinfo, 3),
							  text_argument(fcinfo, 4));
	PG_RETURN_VOID();
}

/*
 * miosa.refuse_length(what, length, unit, maximum, hint): raise
 * INVALID_ARGUMENT for a value that is too long.
 */
Datum
mrb_refuse_length(PG_FUNCTION_ARGS)
{
	mrb_check_argument_too_long(text_to_cstring(PG_GETARG_TEXT_PP(0)),
								PG_GETARG_INT32(1),
								text_to_cstring(PG_GETARG_TEXT_PP(2)),
								PG_GETARG_INT32(3),
								text_to_cstring(PG_GETARG_TEXT_PP(4)));
	PG_RETURN_VOID();
}

/*
 * Run a rollback or a promotion with the arguments of the SQL function.
 */
static Jsonb *
run_operation(FunctionCallInfo fcinfo, bool promotion)
{
	MrbCallerRequest request = {
		.promotion = promotion,
		.deployment_id = text_argument(fcinfo, ARG_DEPLOYMENT),
		.version_id = text_argument(fcinfo, ARG_VERSION),
		.key = text_argument(fcinfo, ARG_KEY),
		.reason = text_argument(fcinfo, ARG_REASON),
		.expected_active = text_argument(fcinfo, ARG_EXPECTED_ACTIVE),
		.attribution = PG_ARGISNULL(ARG_ATTRIBUTION) ? NULL :
		PG_GETARG_JSONB_P(ARG_ATTRIBUTION),
		.cutover = text_argument(fcinfo, ARG_CUTOVER),
		.accept_unverified = !PG_ARGISNULL(ARG_ACCEPT_UNVERIFIED) &&
		PG_GETARG_BOOL(ARG_ACCEPT_UNVERIFIED),
		.console_name = PG_NARGS() > ARG_CONSOLE_NAME ?
		text_argument(fcinfo, ARG_CONSOLE_NAME) : NULL,
	};

	/* A blank reason counts as none. */
	if (request.reason != NULL && request.reason[strspn(request.reason, " \t\r\n")] == '\0')
		request.reason = NULL;
	if (request.key == NULL && request.console_name == NULL)
		request.key = key_from_http_header();
	return mrb_rollback_run(&request);
}

/*
 * Return a text argument; NULL for SQL null.
 */
static char *
text_argument(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		return NULL;
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

/*
 * Behind PostgREST the key comes in a header.  PostgREST passes all headers of
 * the request as a JSON object with names in lower case.
 */
static char *
key_from_http_header(void)
{
	const char *headers = GetConfigOption("request.headers", true, false);
	Jsonb	   *object;

	if (headers == NULL || headers[0] == '\0')
		return NULL;
	object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												CStringGetDatum(headers)));
	return mrb_json_read_text(&object->root, "idempotency-key");
}
