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
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "api/operation_api.h"
#include "base/check_argument.h"
#include "base/errors.h"
#include "base/function_name.h"
#include "base/gateway.h"
#include "base/json_build.h"
#include "base/optional_text.h"
#include "base/size_limit.h"
#include "common/json_read.h"
#include "common/json_setting.h"
#include "common/lock_wait.h"
#include "common/try_call.h"
#include "operation/as_of.h"
#include "operation/group.h"
#include "operation/kept_refusal.h"
#include "operation/operation.h"
#include "operation/refusal.h"
#include "operation/rollback.h"

PG_FUNCTION_INFO_V1(miosa_rollback);
PG_FUNCTION_INFO_V1(miosa_promote);
PG_FUNCTION_INFO_V1(miosa_try_rollback);
PG_FUNCTION_INFO_V1(miosa_try_promote);
PG_FUNCTION_INFO_V1(miosa_plan);
PG_FUNCTION_INFO_V1(mrb_call_rollback);
PG_FUNCTION_INFO_V1(mrb_call_promote);
PG_FUNCTION_INFO_V1(mrb_call_unpublish);
PG_FUNCTION_INFO_V1(mrb_rollback_group);
PG_FUNCTION_INFO_V1(mrb_actions);
PG_FUNCTION_INFO_V1(mrb_raise_condition);
PG_FUNCTION_INFO_V1(mrb_check_id);
PG_FUNCTION_INFO_V1(mrb_request_key);
PG_FUNCTION_INFO_V1(mrb_refuse_value);
PG_FUNCTION_INFO_V1(mrb_refuse_length);

/* Setting with the headers of a request, and the header with the key. */
#define HEADERS "request.headers"
#define KEY_HEADER "idempotency-key"

/* Arguments of rollbacks and promotions, and those of each; then the console's. */
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
	ARG_COMMON,

	ARG_HOLD = ARG_COMMON,
	ARG_HOLD_FOR,
	ARG_MARK_BAD,
	ARG_SERVED_AT,
	ARG_ROLLBACK_CONSOLE_NAME,

	ARG_AUTOMATIC = ARG_COMMON,
	ARG_ACCEPT_BAD,
	ARG_BREAK_GLASS,
	ARG_PROMOTE_CONSOLE_NAME
};

/* Arguments of miosa.rollback_group(), and columns of its rows. */
enum
{
	GROUP_DEPLOYMENTS,
	GROUP_VERSIONS,
	GROUP_KEYS,
	GROUP_EXPECTED_ACTIVE,
	GROUP_REASON,
	GROUP_ATTRIBUTION,
	GROUP_CUTOVER,
	GROUP_ACCEPT_UNVERIFIED,
	GROUP_ALL
};

enum
{
	RESULT_DEPLOYMENT,
	RESULT_OUTCOME,
	RESULT_CONDITION,
	RESULT_MESSAGE,
	RESULT_DETAIL,
	RESULT_HINT,
	RESULT_RESPONSE,
	RESULT_COLUMNS
};

static Datum call_rollback(PG_FUNCTION_ARGS);
static Datum call_promote(PG_FUNCTION_ARGS);
static Datum call_try_rollback(PG_FUNCTION_ARGS);
static Datum call_try_promote(PG_FUNCTION_ARGS);
static Datum try_operation(FunctionCallInfo fcinfo, MrbAction action);
static Jsonb *show_refusal(const MrbRefused *refused);
static Datum call_plan(PG_FUNCTION_ARGS);
static MrbCallerRequest read_request(FunctionCallInfo fcinfo, MrbAction action);
static Jsonb *run_operation(FunctionCallInfo fcinfo, MrbAction action, bool tried);
static bool is_true(FunctionCallInfo fcinfo, int arg);
static MrbChoice read_choice(FunctionCallInfo fcinfo, int arg);
static Datum call_group(PG_FUNCTION_ARGS);
static void read_texts(FunctionCallInfo fcinfo, int arg, const char *name,
					   char **texts, int n);
static void put_result(const MrbGroupResult *result, void *arg);
static void set_text(Datum *values, bool *nulls, int column, const char *value);

/*
 * miosa_rollback(deployment_id, version_id, idempotency_key, reason,
 * expected_active, attribution, cutover, accept_unverified, hold, hold_for,
 * mark_bad, served_at)
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
	PG_RETURN_JSONB_P(run_operation(fcinfo, MRB_ROLLBACK, false));
}

/*
 * miosa_promote(), with the first eight arguments of miosa_rollback(), automatic,
 * accept_bad, break_glass
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
	PG_RETURN_JSONB_P(run_operation(fcinfo, MRB_PROMOTE, false));
}

/*
 * miosa_try_rollback(), with the arguments of miosa_rollback()
 */
Datum
miosa_try_rollback(PG_FUNCTION_ARGS)
{
	return try_operation(fcinfo, MRB_ROLLBACK);
}

/*
 * miosa_try_rollback(), in its subtransaction and with bounded waits.
 */
static Datum
call_try_rollback(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(run_operation(fcinfo, MRB_ROLLBACK, true));
}

/*
 * miosa_try_promote(), with the arguments of miosa_promote()
 */
Datum
miosa_try_promote(PG_FUNCTION_ARGS)
{
	return try_operation(fcinfo, MRB_PROMOTE);
}

/*
 * miosa_try_promote(), in its subtransaction and with bounded waits.
 */
static Datum
call_try_promote(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(run_operation(fcinfo, MRB_PROMOTE, true));
}

/*
 * Run a rollback or a promotion and return its response, or the condition that
 * refuses it, which is recorded once: as an audit event, or else like those that
 * are raised.
 */
static Datum
try_operation(FunctionCallInfo fcinfo, MrbAction action)
{
	MrbRefused	refused;
	Datum		result;
	bool		event = false;

	if (mrb_try_call(action == MRB_PROMOTE ? call_try_promote : call_try_rollback,
					 fcinfo, &result, &refused))
		return result;
	mrb_lock_wait_bound();
	if (refused.condition != MRB_ERR_INVALID_ARGUMENT)
	{
		MrbCallerRequest request = read_request(fcinfo, action);

		event = mrb_kept_refusal_write(&request, refused.condition);
	}
	mrb_refusal_caught(fcinfo->flinfo->fn_oid, event);
	mrb_gateway_set_status(refused.status);
	if (refused.retry_after > 0)
		mrb_gateway_add_header("Retry-After",
							   psprintf("%d", refused.retry_after));
	PG_RETURN_JSONB_P(show_refusal(&refused));
}

/*
 * Show a condition as JSON.
 */
static Jsonb *
show_refusal(const MrbRefused *refused)
{
	StringInfoData json;

	initStringInfo(&json);
	mrb_json_build_object(&json, NULL);
	mrb_json_build_object(&json, "error");
	mrb_json_build_string(&json, "code",
						  mrb_errors_condition_name(refused->condition));
	mrb_json_build_string(&json, "sqlstate", refused->sqlstate);
	mrb_json_build_integer(&json, "status", refused->status);
	mrb_json_build_string(&json, "message", refused->message);
	mrb_json_build_string(&json, "detail", refused->detail);
	mrb_json_build_string(&json, "hint", refused->hint);
	mrb_json_build_raw(&json, "retry_after", refused->retry_after == 0 ? "null" :
					   psprintf("%d", refused->retry_after));
	mrb_json_build_end(&json);
	mrb_json_build_end(&json);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(json.data)));
}

/*
 * miosa.call_rollback(), with the arguments of miosa_rollback() and a name: a
 * rollback for the console, whose hints call the deployment by that name
 */
Datum
mrb_call_rollback(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(run_operation(fcinfo, MRB_ROLLBACK, false));
}

/*
 * miosa.call_promote(), with the arguments of miosa_promote() and a name
 */
Datum
mrb_call_promote(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(run_operation(fcinfo, MRB_PROMOTE, false));
}

/*
 * miosa.call_unpublish(deployment_id, idempotency_key, reason, expected_active):
 * null when no version was active
 */
Datum
mrb_call_unpublish(PG_FUNCTION_ARGS)
{
	MrbCallerRequest request = {
		.action = MRB_UNPUBLISH,
		.deployment_id = mrb_optional_text_argument(fcinfo, 0),
		.key = mrb_optional_text_argument(fcinfo, 1),
		.reason = mrb_caller_request_reason(mrb_optional_text_argument(fcinfo, 2)),
		.expected_active = mrb_optional_text_argument(fcinfo, 3),
	};
	Jsonb	   *response;

	if (request.key == NULL)
		request.key = mrb_operation_api_key();
	response = mrb_rollback_run(&request);
	if (response == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(response);
}

/*
 * miosa_plan(deployment_id, version_id, served_at)
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
	MrbCallerRequest request = {
		.deployment_id = mrb_optional_text_argument(fcinfo, 0),
		.version_id = mrb_optional_text_argument(fcinfo, 1),
		.served_at = mrb_operation_api_moment(fcinfo, 2),
	};

	PG_RETURN_JSONB_P(mrb_as_of_stamp(mrb_rollback_plan(&request)));
}

/*
 * miosa.actions(): the actions of audit events, and their short names.
 */
Datum
mrb_actions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < MRB_ACTIONS; i++)
	{
		Datum		values[] = {
			CStringGetTextDatum(mrb_operation_action(i)),
			CStringGetTextDatum(mrb_operation_name(i)),
		};
		bool		nulls[lengthof(values)] = {false};

		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * miosa.raise_condition(condition, message, detail, hint): how the functions
 * that are written in PL/pgSQL raise the conditions of errors.h.
 */
Datum
mrb_raise_condition(PG_FUNCTION_ARGS)
{
	char	   *name = mrb_optional_text_argument(fcinfo, 0);
	char	   *message = mrb_optional_text_argument(fcinfo, 1);
	MrbCondition condition;

	if (name == NULL || message == NULL ||
		!mrb_errors_find_condition(name, &condition))
		elog(ERROR, "unknown condition or no message: \"%s\"",
			 name ? name : "");
	mrb_raise(condition, message, mrb_optional_text_argument(fcinfo, 2),
			  mrb_optional_text_argument(fcinfo, 3));
	PG_RETURN_VOID();
}

/*
 * miosa.check_id(value, what): the value, if it is an id.
 */
Datum
mrb_check_id(PG_FUNCTION_ARGS)
{
	char	   *what = mrb_optional_text_argument(fcinfo, 1);

	mrb_check_argument_id(mrb_optional_text_argument(fcinfo, 0), what ? what : "id");
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/*
 * miosa.request_key(idempotency_key): the key, or else that of the HTTP request
 */
Datum
mrb_request_key(PG_FUNCTION_ARGS)
{
	char	   *key;

	if (!PG_ARGISNULL(0))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	key = mrb_operation_api_key();
	if (key == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(key));
}

/*
 * miosa.refuse_value(what, name, value, detail, hint): raise INVALID_ARGUMENT
 * for a value that is not allowed.
 */
Datum
mrb_refuse_value(PG_FUNCTION_ARGS)
{
	char	   *what = mrb_optional_text_argument(fcinfo, 0);

	mrb_check_argument_refuse(what ? what : "value", mrb_optional_text_argument(fcinfo, 1),
							  mrb_optional_text_argument(fcinfo, 2),
							  mrb_optional_text_argument(fcinfo, 3),
							  mrb_optional_text_argument(fcinfo, 4));
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
run_operation(FunctionCallInfo fcinfo, MrbAction action, bool tried)
{
	MrbCallerRequest request = read_request(fcinfo, action);

	request.tried = tried;
	return mrb_rollback_run(&request);
}

/*
 * Read the arguments of a rollback or a promotion.
 */
static MrbCallerRequest
read_request(FunctionCallInfo fcinfo, MrbAction action)
{
	MrbCallerRequest request = {
		.action = action,
		.deployment_id = mrb_optional_text_argument(fcinfo, ARG_DEPLOYMENT),
		.version_id = mrb_optional_text_argument(fcinfo, ARG_VERSION),
		.key = mrb_optional_text_argument(fcinfo, ARG_KEY),
		.reason = mrb_caller_request_reason(mrb_optional_text_argument(fcinfo, ARG_REASON)),
		.expected_active = mrb_optional_text_argument(fcinfo, ARG_EXPECTED_ACTIVE),
		.attribution = PG_ARGISNULL(ARG_ATTRIBUTION) ? NULL :
		PG_GETARG_JSONB_P(ARG_ATTRIBUTION),
		.cutover = mrb_optional_text_argument(fcinfo, ARG_CUTOVER),
		.accept_unverified = is_true(fcinfo, ARG_ACCEPT_UNVERIFIED),
	};
	int			console_name;

	if (action == MRB_PROMOTE)
	{
		request.automatic = read_choice(fcinfo, ARG_AUTOMATIC);
		request.accept_bad = is_true(fcinfo, ARG_ACCEPT_BAD);
		request.break_glass = is_true(fcinfo, ARG_BREAK_GLASS);
		console_name = ARG_PROMOTE_CONSOLE_NAME;
	}
	else
	{
		request.hold = read_choice(fcinfo, ARG_HOLD);
		if (!PG_ARGISNULL(ARG_HOLD_FOR))
			request.hold_for = PG_GETARG_INTERVAL_P(ARG_HOLD_FOR);
		request.mark_bad = is_true(fcinfo, ARG_MARK_BAD);
		request.served_at = mrb_operation_api_moment(fcinfo, ARG_SERVED_AT);
		console_name = ARG_ROLLBACK_CONSOLE_NAME;
	}
	if (PG_NARGS() > console_name)
		request.console_name = mrb_optional_text_argument(fcinfo, console_name);
	if (request.key == NULL && request.console_name == NULL)
		request.key = mrb_operation_api_key();
	return request;
}

/*
 * Whether an argument is given and true.
 */
static bool
is_true(FunctionCallInfo fcinfo, int arg)
{
	return !PG_ARGISNULL(arg) && PG_GETARG_BOOL(arg);
}

/*
 * Read a time.
 */
TimestampTz
mrb_operation_api_moment(FunctionCallInfo fcinfo, int arg)
{
	TimestampTz at;

	if (PG_ARGISNULL(arg))
		return 0;
	at = PG_GETARG_TIMESTAMPTZ(arg);
	return at == 0 ? 1 : at;
}

/*
 * Read an argument that null leaves to a setting.
 */
static MrbChoice
read_choice(FunctionCallInfo fcinfo, int arg)
{
	if (PG_ARGISNULL(arg))
		return MRB_BY_SETTING;
	return PG_GETARG_BOOL(arg) ? MRB_YES : MRB_NO;
}

/*
 * miosa.rollback_group(deployment_ids, version_ids, idempotency_keys,
 * expected_active, reason, attribution, cutover, accept_unverified,
 * all_or_nothing)
 */
Datum
mrb_rollback_group(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	return mrb_lock_wait_call(MRB_INNER, call_group, fcinfo);
}

/*
 * miosa.rollback_group(), with bounded waits.
 */
static Datum
call_group(PG_FUNCTION_ARGS)
{
	bool		some = !PG_ARGISNULL(GROUP_DEPLOYMENTS);
	int			n = some ? ArrayGetNItems(ARR_NDIM(PG_GETARG_ARRAYTYPE_P(GROUP_DEPLOYMENTS)),
										  ARR_DIMS(PG_GETARG_ARRAYTYPE_P(GROUP_DEPLOYMENTS))) : 0;
	char	  **deployments = palloc0((n + 1) * sizeof(char *));
	char	  **versions = palloc0((n + 1) * sizeof(char *));
	char	  **keys = palloc0((n + 1) * sizeof(char *));
	char	  **expected = palloc0((n + 1) * sizeof(char *));
	MrbCallerRequest common = {
		.reason = mrb_caller_request_reason(mrb_optional_text_argument(fcinfo, GROUP_REASON)),
		.attribution = PG_ARGISNULL(GROUP_ATTRIBUTION) ? NULL :
		PG_GETARG_JSONB_P(GROUP_ATTRIBUTION),
		.cutover = mrb_optional_text_argument(fcinfo, GROUP_CUTOVER),
		.accept_unverified = is_true(fcinfo, GROUP_ACCEPT_UNVERIFIED),
	};
	MrbCallerRequest *requests = palloc(Max(n, 1) * sizeof(MrbCallerRequest));

	mrb_size_limit_check_argument(fcinfo, GROUP_REASON);
	mrb_size_limit_check_argument(fcinfo, GROUP_ATTRIBUTION);
	read_texts(fcinfo, GROUP_DEPLOYMENTS, "deployment_ids", deployments, n);
	read_texts(fcinfo, GROUP_VERSIONS, "version_ids", versions, n);
	read_texts(fcinfo, GROUP_KEYS, "idempotency_keys", keys, n);
	read_texts(fcinfo, GROUP_EXPECTED_ACTIVE, "expected_active", expected, n);
	for (int i = 0; i < n; i++)
	{
		requests[i] = common;
		requests[i].deployment_id = deployments[i];
		requests[i].version_id = versions[i];
		requests[i].key = keys[i];
		requests[i].expected_active = expected[i];
	}
	mrb_group_run(requests, n, is_true(fcinfo, GROUP_ALL) ? MRB_GROUP_FIRST :
				  MRB_GROUP_EACH, put_result, fcinfo);
	return (Datum) 0;
}

/*
 * Read an array of n texts; no array stands for n nulls.
 */
static void
read_texts(FunctionCallInfo fcinfo, int arg, const char *name, char **texts,
		   int n)
{
	Datum	   *values;
	bool	   *nulls;
	int			count;

	if (PG_ARGISNULL(arg))
		return;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), TEXTOID, -1, false,
					  TYPALIGN_INT, &values, &nulls, &count);
	if (count != n)
		mrb_check_argument_refuse("argument", name, psprintf("%d elements", count),
								  psprintf("There are %d deployments.", n),
								  "Pass one element for each deployment, or no array.");
	for (int i = 0; i < n; i++)
		texts[i] = nulls[i] ? NULL : TextDatumGetCString(values[i]);
}

/*
 * Put the result of a target into the rows of the function.
 */
static void
put_result(const MrbGroupResult *result, void *arg)
{
	FunctionCallInfo fcinfo = arg;
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	const MrbFinding *refusal = result->refusal;
	Datum		values[RESULT_COLUMNS] = {0};
	bool		nulls[RESULT_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	set_text(values, nulls, RESULT_DEPLOYMENT, result->deployment_id);
	set_text(values, nulls, RESULT_OUTCOME, result->outcome);
	if (refusal != NULL)
	{
		mrb_refusal_record(result->request, refusal->condition,
						   fcinfo->flinfo->fn_oid);
		set_text(values, nulls, RESULT_CONDITION,
				 mrb_errors_condition_name(refusal->condition));
		set_text(values, nulls, RESULT_MESSAGE, refusal->message);
		set_text(values, nulls, RESULT_DETAIL, refusal->detail);
		set_text(values, nulls, RESULT_HINT,
				 mrb_function_name_qualify(refusal->hint));
	}
	else
	{
		values[RESULT_RESPONSE] = JsonbPGetDatum(result->response);
		nulls[RESULT_RESPONSE] = false;
	}
	tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
}

/*
 * Set a text value; NULL becomes SQL null.
 */
static void
set_text(Datum *values, bool *nulls, int column, const char *value)
{
	nulls[column] = value == NULL;
	if (value != NULL)
		values[column] = CStringGetTextDatum(value);
}

/*
 * Behind PostgREST the key comes in a header.  PostgREST passes all headers of
 * the request as a JSON object with names in lower case.  A key that cannot be
 * read is refused: without it a retry would act twice.
 */
char *
mrb_operation_api_key(void)
{
	const char *headers = GetConfigOption(HEADERS, true, false);
	Jsonb	   *object;
	JsonbIterator *it = NULL;
	JsonbValue	value;
	char	   *name;

	if (headers == NULL || headers[0] == '\0')
		return NULL;
	object = mrb_json_setting_parse(HEADERS, headers);
	while (mrb_json_read_next(&object->root, &it, &name, &value))
	{
		if (strcmp(name, KEY_HEADER) == 0 && value.type == jbvNull)
			mrb_json_setting_refuse(HEADERS, "The value of \"" KEY_HEADER "\" is null.");
		if (pg_strcasecmp(name, KEY_HEADER) == 0 && strcmp(name, KEY_HEADER) != 0)
			mrb_json_setting_refuse(HEADERS, psprintf("The name \"%s\" is not in lower case.", name));
	}
	return mrb_json_setting_text(HEADERS, object, KEY_HEADER);
}
