/*-------------------------------------------------------------------------
 *
 * hold_api.c
 *	  SQL-callable functions to hold and release deployments, and to undo
 *	  operations.
 *
 * Those for people have a last argument, the name of the deployment that hints
 * call it by.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "api/operation_api.h"
#include "base/check_argument.h"
#include "base/optional_text.h"
#include "common/iso_time.h"
#include "common/lock_wait.h"
#include "operation/actor.h"
#include "operation/hold.h"
#include "operation/note.h"
#include "operation/rollback.h"

PG_FUNCTION_INFO_V1(miosa_hold);
PG_FUNCTION_INFO_V1(miosa_release);
PG_FUNCTION_INFO_V1(miosa_undo);
PG_FUNCTION_INFO_V1(mrb_call_hold);
PG_FUNCTION_INFO_V1(mrb_call_release);
PG_FUNCTION_INFO_V1(mrb_call_undo);

/* The year 2200, in which times end that people may write. */
#define LAST_TIME "2200-01-01 00:00:00+00"

/* Arguments of each of the functions. */
enum
{
	HOLD_DEPLOYMENT,
	HOLD_REASON,
	HOLD_UNTIL,
	HOLD_KEY
};

enum
{
	RELEASE_DEPLOYMENT,
	RELEASE_PROMOTE,
	RELEASE_REASON,
	RELEASE_KEY,
	RELEASE_CONSOLE_NAME
};

enum
{
	UNDO_DEPLOYMENT,
	UNDO_OPERATION,
	UNDO_KEY,
	UNDO_REASON,
	UNDO_CONSOLE_NAME
};

static Datum call_hold(PG_FUNCTION_ARGS);
static Datum call_release(PG_FUNCTION_ARGS);
static Datum call_undo(PG_FUNCTION_ARGS);
static Jsonb *hold(FunctionCallInfo fcinfo, char *key);
static Jsonb *release(FunctionCallInfo fcinfo, char *key);
static Jsonb *promote_waiting(FunctionCallInfo fcinfo, char *key);
static Jsonb *undo(FunctionCallInfo fcinfo, char *key);
static const char *console_name(FunctionCallInfo fcinfo, int arg);
static TimestampTz check_until(TimestampTz until);
static char *get_key(FunctionCallInfo fcinfo, int arg);

/*
 * miosa_hold(deployment_id, reason, until, idempotency_key)
 */
Datum
miosa_hold(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_hold, fcinfo);
}

/*
 * miosa_hold(), with bounded waits.
 */
static Datum
call_hold(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(hold(fcinfo, get_key(fcinfo, HOLD_KEY)));
}

/*
 * miosa.call_hold(), with the same arguments: for the console
 */
Datum
mrb_call_hold(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(hold(fcinfo, mrb_optional_text_argument(fcinfo, HOLD_KEY)));
}

/*
 * miosa_release(deployment_id, promote, reason, idempotency_key)
 */
Datum
miosa_release(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_release, fcinfo);
}

/*
 * miosa_release(), with bounded waits.
 */
static Datum
call_release(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(release(fcinfo, get_key(fcinfo, RELEASE_KEY)));
}

/*
 * miosa.call_release(), with the same arguments and a name: for the console
 */
Datum
mrb_call_release(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(release(fcinfo, mrb_optional_text_argument(fcinfo, RELEASE_KEY)));
}

/*
 * miosa_undo(deployment_id, operation_id, idempotency_key, reason)
 */
Datum
miosa_undo(PG_FUNCTION_ARGS)
{
	return mrb_lock_wait_call(MRB_PUBLIC, call_undo, fcinfo);
}

/*
 * miosa_undo(), with bounded waits.
 */
static Datum
call_undo(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(undo(fcinfo, get_key(fcinfo, UNDO_KEY)));
}

/*
 * miosa.call_undo(), with the same arguments and a name: for the console
 */
Datum
mrb_call_undo(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(undo(fcinfo, mrb_optional_text_argument(fcinfo, UNDO_KEY)));
}

/*
 * Hold a deployment.
 */
static Jsonb *
hold(FunctionCallInfo fcinfo, char *key)
{
	TimestampTz until = PG_ARGISNULL(HOLD_UNTIL) ? 0 :
	check_until(PG_GETARG_TIMESTAMPTZ(HOLD_UNTIL));
	MrbActor	actor;
	char		buffer[MRB_ISO_TIME_SIZE];
	MrbNote		note = {
		.action = MRB_HOLD,
		.deployment_id = mrb_optional_text_argument(fcinfo, HOLD_DEPLOYMENT),
		.key = key,
		.arguments = {until == 0 ? NULL : mrb_iso_time_write(until, buffer)},
		.reason = mrb_caller_request_reason(mrb_optional_text_argument(fcinfo, HOLD_REASON)),
	};
	Jsonb	   *stored = mrb_note_begin(&note);

	if (stored != NULL)
		return stored;
	actor = mrb_actor_read();
	note.hold = mrb_hold_open(note.now, &actor, note.reason, true, until);
	return mrb_note_write(&note);
}

/*
 * Lift the hold of a deployment, or promote the version that waits.
 */
static Jsonb *
release(FunctionCallInfo fcinfo, char *key)
{
	char	   *promote = mrb_optional_text_argument(fcinfo, RELEASE_PROMOTE);
	MrbNote		note = {
		.action = MRB_RELEASE,
		.deployment_id = mrb_optional_text_argument(fcinfo, RELEASE_DEPLOYMENT),
		.key = key,
		.reason = mrb_caller_request_reason(mrb_optional_text_argument(fcinfo, RELEASE_REASON)),
	};
	MrbFinding	finding;
	Jsonb	   *stored;

	if (promote != NULL && strcmp(promote, "newest") != 0)
		mrb_check_argument_refuse("argument", "promote", promote,
								  "The only value is \"newest\": the newest version that the hold has refused.",
								  "Leave it out to lift the hold alone.");
	if (promote != NULL)
		return promote_waiting(fcinfo, key);
	stored = mrb_note_begin(&note);
	if (stored != NULL)
		return stored;
	finding = mrb_hold_check_open(note.now->id, note.now->hold);
	mrb_finding_enforce(&finding);
	note.hold = mrb_hold_lift(note.now);
	return mrb_note_write(&note);
}

/*
 * Promote the version that waits, which lifts the hold.
 */
static Jsonb *
promote_waiting(FunctionCallInfo fcinfo, char *key)
{
	MrbCallerRequest request = {
		.action = MRB_PROMOTE,
		.waiting = true,
		.automatic = MRB_NO,
		.deployment_id = mrb_optional_text_argument(fcinfo, RELEASE_DEPLOYMENT),
		.key = key,
		.reason = mrb_caller_request_reason(mrb_optional_text_argument(fcinfo, RELEASE_REASON)),
		.console_name = console_name(fcinfo, RELEASE_CONSOLE_NAME),
	};

	return mrb_rollback_run(&request);
}

/*
 * Undo an operation.
 */
static Jsonb *
undo(FunctionCallInfo fcinfo, char *key)
{
	MrbCallerRequest request = {
		.action = MRB_UNDO,
		.hold = MRB_NO,
		.deployment_id = mrb_optional_text_argument(fcinfo, UNDO_DEPLOYMENT),
		.operation_id = mrb_optional_text_argument(fcinfo, UNDO_OPERATION),
		.key = key,
		.reason = mrb_caller_request_reason(mrb_optional_text_argument(fcinfo, UNDO_REASON)),
		.console_name = console_name(fcinfo, UNDO_CONSOLE_NAME),
	};

	return mrb_rollback_run(&request);
}

/*
 * Return the name that a person gave, NULL for a program.
 */
static const char *
console_name(FunctionCallInfo fcinfo, int arg)
{
	return PG_NARGS() > arg ? mrb_optional_text_argument(fcinfo, arg) : NULL;
}

/*
 * Check the end of a hold.
 */
static TimestampTz
check_until(TimestampTz until)
{
	TimestampTz last = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
															   CStringGetDatum(LAST_TIME),
															   ObjectIdGetDatum(InvalidOid),
															   Int32GetDatum(-1)));

	if (until <= GetCurrentTimestamp() || until >= last)
		mrb_check_argument_refuse("argument", "until",
								  DatumGetCString(DirectFunctionCall1(timestamptz_out,
																	  TimestampTzGetDatum(until))),
								  "A hold ends in the future, before the year 2200.",
								  "Pass, for example, until => now() + '2 hours'; leave it out for a hold that lasts until it is lifted.");
	return until;
}

/*
 * Return the key: the argument, or that of the request over HTTP.
 */
static char *
get_key(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? mrb_operation_api_key() :
		mrb_optional_text_argument(fcinfo, arg);
}
