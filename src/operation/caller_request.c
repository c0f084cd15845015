/*-------------------------------------------------------------------------
 *
 * caller_request.c
 *	  The arguments of a call, and calls that hints propose.
 *
 * A hint is pasted during an incident.  So it proposes the function that the
 * caller has called, of the console or not, and keeps the caller's arguments:
 * without the reason the audit trail lacks it, and without the key a retry
 * acts twice.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "operation/caller_request.h"

static void append_common_arguments(StringInfo buf,
									const MrbCallerRequest *request,
									bool accept_unverified);
static void append_incident_arguments(StringInfo buf,
									  const MrbCallerRequest *request);
static void append_choice(StringInfo buf, const char *name, MrbChoice choice);
static void append_argument(StringInfo buf, const char *name,
							const char *value, const char *type);

/*
 * Return a reason, or NULL for a blank one.
 */
char *
mrb_caller_request_reason(char *reason)
{
	if (reason != NULL && reason[strspn(reason, " \t\r\n")] == '\0')
		return NULL;
	return reason;
}

/*
 * Format the caller's call with another version.
 */
char *
mrb_caller_request_again(const MrbCallerRequest *request, bool promotion,
						 const char *deployment_id, const char *version_id,
						 bool accept_unverified)
{
	static const MrbCallerRequest bare = {0};
	StringInfoData buf;

	if (request == NULL)
		request = &bare;
	initStringInfo(&buf);
	appendStringInfo(&buf, "SELECT %s%s(%s, %s",
					 request->console_name ? "* FROM miosa." :
					 request->tried ? "miosa_try_" : "miosa_",
					 promotion ? "promote" : "rollback",
					 quote_literal_cstr(request->console_name ?
										request->console_name : deployment_id),
					 quote_literal_cstr(version_id));
	append_common_arguments(&buf, request, accept_unverified);
	append_incident_arguments(&buf, request);
	appendStringInfoString(&buf, ");");
	return buf.data;
}

/*
 * Append the arguments of a rollback of many deployments.
 */
void
mrb_caller_request_show_options(StringInfo buf, const MrbCallerRequest *request)
{
	append_common_arguments(buf, request, false);
	append_incident_arguments(buf, request);
	if (request->served_at != 0)
		append_argument(buf, "served_at", timestamptz_to_str(request->served_at),
						"");
}

/*
 * Append the arguments that rollbacks and promotions share.
 */
static void
append_common_arguments(StringInfo buf, const MrbCallerRequest *request,
						bool accept_unverified)
{
	append_argument(buf, "reason", request->reason, "");
	append_argument(buf, "idempotency_key", request->key, "");
	append_argument(buf, "expected_active", request->expected_active, "");
	append_argument(buf, "cutover", request->cutover, "");
	if (request->attribution != NULL)
		append_argument(buf, "attribution",
						JsonbToCString(NULL, &request->attribution->root,
									   VARSIZE(request->attribution)),
						"::jsonb");
	if (accept_unverified || request->accept_unverified)
		appendStringInfoString(buf, ", accept_unverified => true");
}

/*
 * Format the caller's call to undo an operation.
 */
char *
mrb_caller_request_undo(const MrbCallerRequest *request, const char *deployment_id,
						int64 seq)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "SELECT %sundo(%s, '#" INT64_FORMAT "'",
					 request->console_name ? "* FROM miosa." : "miosa_",
					 quote_literal_cstr(request->console_name ?
										request->console_name : deployment_id),
					 seq);
	append_argument(&buf, "reason", request->reason, "");
	append_argument(&buf, "idempotency_key", request->key, "");
	appendStringInfoString(&buf, ");");
	return buf.data;
}

/*
 * Format the caller's call to lift the hold alone.
 */
char *
mrb_caller_request_release(const MrbCallerRequest *request, const char *deployment_id)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "SELECT %srelease(%s",
					 request->console_name ? "* FROM miosa." : "miosa_",
					 quote_literal_cstr(request->console_name ?
										request->console_name : deployment_id));
	append_argument(&buf, "reason", request->reason, "");
	append_argument(&buf, "idempotency_key", request->key, "");
	appendStringInfoString(&buf, ");");
	return buf.data;
}

/*
 * Format a call to unpublish the deployment.
 */
char *
mrb_caller_request_unpublish(const MrbCallerRequest *request, const char *deployment_id)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "SELECT miosa_unpublish(%s", quote_literal_cstr(deployment_id));
	append_argument(&buf, "reason", request->reason, "");
	append_argument(&buf, "idempotency_key", request->key, "");
	appendStringInfoString(&buf, ");");
	return buf.data;
}

/*
 * Append the arguments that rollbacks and promotions do not share.
 */
static void
append_incident_arguments(StringInfo buf, const MrbCallerRequest *request)
{
	append_choice(buf, "hold", request->hold);
	if (request->hold_for != NULL)
		append_argument(buf, "hold_for",
						DatumGetCString(DirectFunctionCall1(interval_out,
															IntervalPGetDatum(request->hold_for))),
						"");
	if (request->mark_bad)
		appendStringInfoString(buf, ", mark_bad => true");
	append_choice(buf, "automatic", request->automatic);
	if (request->accept_bad)
		appendStringInfoString(buf, ", accept_bad => true");
	if (request->break_glass)
		appendStringInfoString(buf, ", break_glass => true");
}

/*
 * Append an argument that was not left to a setting.
 */
static void
append_choice(StringInfo buf, const char *name, MrbChoice choice)
{
	if (choice != MRB_BY_SETTING)
		appendStringInfo(buf, ", %s => %s", name,
						 choice == MRB_YES ? "true" : "false");
}

/*
 * Format a call of a console function about the deployment.
 */
char *
mrb_caller_request_show(const MrbCallerRequest *request, const char *function,
						const char *deployment_id)
{
	return psprintf("SELECT * FROM miosa.%s(%s);", function,
					quote_literal_cstr(request && request->console_name ?
									   request->console_name : deployment_id));
}

/*
 * Append a named argument, unless it is NULL.
 */
static void
append_argument(StringInfo buf, const char *name, const char *value,
				const char *type)
{
	if (value != NULL)
		appendStringInfo(buf, ", %s => %s%s", name, quote_literal_cstr(value),
						 type);
}
