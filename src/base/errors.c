/*-------------------------------------------------------------------------
 *
 * errors.c
 *	  Raise a condition in the caller's format: SQL or PostgREST.
 *
 * psql and applications receive SQLSTATE, message, DETAIL and HINT.  PostgREST
 * maps an error to HTTP by its own convention: SQLSTATE "PGRST", the body as
 * JSON in the message, status and headers as JSON in the detail.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/errors.h"
#include "base/extension_version.h"
#include "base/function_name.h"
#include "base/gateway.h"
#include "base/json_build.h"

typedef struct Condition
{
	const char *name;			/* as in errors.h */
	const char *sqlstate;		/* five characters */
	int			status;			/* HTTP status */
	const char *code;			/* for HTTP clients */
	int			retry_after;	/* seconds, 0: no Retry-After header */
} Condition;

static const Condition conditions[] = {
#define CONDITION(name, sqlstate, status, code, retry) \
	{#name, sqlstate, status, code, retry},
	MRB_CONDITIONS(CONDITION)
#undef CONDITION
};

/*
 * What a gateway answers to a conflict between transactions, which keeps its
 * SQLSTATE for every other caller: drivers and ORMs know it and try again.
 */
static const Condition conflict = {"CONFLICT", NULL, 409, "CONFLICT", 1};

static MrbCaller caller;

/* The last condition that was raised to be returned, with its own status. */
static Condition tried;

void		(*mrb_errors_raised_hook) (MrbCondition condition) = NULL;
void		(*mrb_errors_refused_hook) (Oid function) = NULL;
void		(*mrb_errors_failed_hook) (void) = NULL;

/* SQLSTATE of the last condition that was raised, until it is passed on. */
static int	raised = 0;

/* The hook runs; what it calls may raise conditions that it catches. */
static bool in_hook = false;

PG_FUNCTION_INFO_V1(mrb_raise_reference);

static void hide_frames(void);
static void call_raised_hook(MrbCondition condition);
static void call_refused_hook(MrbAccess access, MrbCaller before,
							  FunctionCallInfo fcinfo);
static void blame_version(MemoryContext context);
static void answer_conflict(MemoryContext context);
static void fill_in_for_postgrest(const Condition *condition,
								  const char *message, const char *detail,
								  const char *hint);

/*
 * Raise a condition at a place of the sources.  This is what ereport() expands
 * to, written out because the place is the caller's.
 */
void
mrb_errors_raise(const char *file, int line, const char *function,
				 MrbCondition condition, int status, const char *code,
				 int retry_after, const char *message, const char *detail,
				 const char *hint)
{
	Condition	it = conditions[condition];
	const char *s = it.sqlstate;

	if (code != NULL)
	{
		it.status = status;
		it.code = code;
	}
	if (retry_after > 0)
		it.retry_after = retry_after;

	call_raised_hook(condition);
	hint = mrb_function_name_qualify(hint);
	hide_frames();
	tried = it;
	if (errstart(ERROR, TEXTDOMAIN))
	{
		if (mrb_gateway_calls() && !caller.tried)
			fill_in_for_postgrest(&it, message, detail, hint);
		else
		{
			errcode(MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]));
			errmsg_internal("%s", message);
			if (detail != NULL)
				errdetail_internal("%s", detail);
			if (hint != NULL)
				errhint("%s", hint);
		}
		errfinish(file, line, function);
	}
	pg_unreachable();
}

/*
 * Record that the current error context frames are the caller's and later ones
 * are the extension's.  A public function that starts while another function of
 * the extension runs is called by a user's trigger, so the current frames are
 * the caller's.  An inner function is then called by the extension itself.
 */
MrbCaller
mrb_errors_enter(MrbAccess access)
{
	MrbCaller	before = caller;

	if (access != MRB_INNER || !caller.known)
	{
		mrb_extension_version_refresh();
		caller.known = true;
		caller.tried = access == MRB_TRIED;
		caller.frames = error_context_stack;
	}
	return before;
}

/*
 * Restore the state from before mrb_errors_enter().
 */
void
mrb_errors_leave(MrbCaller before)
{
	caller = before;
}

/*
 * Call a function between mrb_errors_enter() and mrb_errors_leave().
 */
Datum
mrb_errors_call(MrbAccess access, PGFunction function, FunctionCallInfo fcinfo)
{
	MrbCaller	before = mrb_errors_enter(access);
	MemoryContext context = CurrentMemoryContext;
	volatile Datum result = (Datum) 0;

	PG_TRY();
	{
		result = function(fcinfo);
	}
	PG_CATCH();
	{
		mrb_errors_leave_failed(access, before, fcinfo, context);
	}
	PG_END_TRY();
	mrb_errors_leave(before);
	return result;
}

/*
 * Tell the hook which condition is raised.
 */
static void
call_raised_hook(MrbCondition condition)
{
	const char *s = conditions[condition].sqlstate;

	if (mrb_errors_raised_hook == NULL || in_hook)
		return;
	in_hook = true;
	PG_TRY();
	{
		mrb_errors_raised_hook(condition);
	}
	PG_FINALLY();
	{
		in_hook = false;
	}
	PG_END_TRY();
	raised = MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]);
}

/*
 * Restore the state from before mrb_errors_enter() after an error, and raise the
 * error again.
 */
void
mrb_errors_leave_failed(MrbAccess access, MrbCaller before,
						FunctionCallInfo fcinfo, MemoryContext context)
{
	mrb_errors_leave(before);
	call_refused_hook(access, before, fcinfo);
	if (access != MRB_INNER)
	{
		blame_version(context);
		answer_conflict(context);
	}
	PG_RE_THROW();
}

/*
 * Tell the hooks which function was refused: of functions that have called each
 * other, the innermost one of users; or that it has failed otherwise.
 */
static void
call_refused_hook(MrbAccess access, MrbCaller before, FunctionCallInfo fcinfo)
{
	int			code = geterrcode();

	if (access == MRB_INNER && before.known)
		return;
	if (raised == 0)
	{
		if (mrb_errors_failed_hook != NULL)
			mrb_errors_failed_hook();
		return;
	}
	if (access != MRB_TRIED &&
		(code == raised || code == MAKE_SQLSTATE('P', 'G', 'R', 'S', 'T')))
		mrb_errors_refused_hook(fcinfo->flinfo != NULL ?
								fcinfo->flinfo->fn_oid : InvalidOid);
	raised = 0;
}

/*
 * Raise an error that SQL objects of another version may have caused again, with
 * what to do.  Returns when it is another one.
 */
static void
blame_version(MemoryContext context)
{
	MrbVersionProblem problem;
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	if (!mrb_extension_version_blame(geterrcode(), &problem))
		return;
	error = CopyErrorData();
	FlushErrorState();
	error->detail = problem.detail;
	error->hint = pstrdup(problem.hint);
	ReThrowError(error);
}

/*
 * Raise a conflict as a gateway expects it.  Returns when there is no gateway or
 * the error is another one.
 */
static void
answer_conflict(MemoryContext context)
{
	int			code = geterrcode();
	ErrorData  *error;

	if ((code != ERRCODE_T_R_SERIALIZATION_FAILURE &&
		 code != ERRCODE_T_R_DEADLOCK_DETECTED) || !mrb_gateway_calls())
		return;
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	if (errstart(ERROR, TEXTDOMAIN))
	{
		fill_in_for_postgrest(&conflict, error->message, error->detail,
							  "Send the request again, with the same key.");
		errfinish(__FILE__, __LINE__, __func__);
	}
	pg_unreachable();
}

/*
 * miosa.raise_reference(message, detail, "table", "constraint"): raise a
 * foreign key violation.
 */
Datum
mrb_raise_reference(PG_FUNCTION_ARGS)
{
	char	   *message = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *detail = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *table = text_to_cstring(PG_GETARG_TEXT_PP(2));
	char	   *constraint = text_to_cstring(PG_GETARG_TEXT_PP(3));

	hide_frames();
	ereport(ERROR,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 errmsg_internal("%s", message),
			 errdetail_internal("%s", detail),
			 err_generic_string(PG_DIAG_SCHEMA_NAME, "miosa"),
			 err_generic_string(PG_DIAG_TABLE_NAME, table),
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME, constraint)));
	PG_RETURN_VOID();
}

/*
 * Read a condition that was caught.  One that is not raised here, but by a
 * trigger of somebody else, has the status that is usual for its SQLSTATE.
 */
bool
mrb_errors_read(const ErrorData *error, MrbRefused *refused)
{
	for (size_t i = 0; i < lengthof(conditions); i++)
	{
		const Condition *it = &conditions[i];
		const char *s = it->sqlstate;

		if (error->sqlerrcode != MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]))
			continue;
		refused->condition = (MrbCondition) i;
		refused->sqlstate = s;
		refused->status = tried.sqlstate == s ? tried.status : it->status;
		refused->retry_after = tried.sqlstate == s ? tried.retry_after : it->retry_after;
		refused->message = error->message;
		refused->detail = error->detail;
		refused->hint = error->hint;
		return true;
	}
	return false;
}

/*
 * Return the name of a condition.
 */
const char *
mrb_errors_condition_name(MrbCondition condition)
{
	return conditions[condition].name;
}

/*
 * Find a condition by its name; false when no condition has that name.
 */
bool
mrb_errors_find_condition(const char *name, MrbCondition *condition)
{
	for (size_t i = 0; i < lengthof(conditions); i++)
	{
		if (strcmp(conditions[i].name, name) == 0)
		{
			*condition = (MrbCondition) i;
			return true;
		}
	}
	return false;
}

/*
 * Limit the CONTEXT of the next error to the caller's frames.  The PG_CATCH
 * block that receives the error restores the frames of its own level.
 */
static void
hide_frames(void)
{
	if (caller.known)
		error_context_stack = caller.frames;
}

/*
 * Fill in an error so that PostgREST answers with the condition's HTTP status.
 */
static void
fill_in_for_postgrest(const Condition *condition, const char *message,
					  const char *detail, const char *hint)
{
	StringInfoData body;
	StringInfoData response;

	initStringInfo(&body);
	mrb_json_build_object(&body, NULL);
	mrb_json_build_string(&body, "code", condition->code);
	mrb_json_build_string(&body, "message", message);
	mrb_json_build_string(&body, "details", detail);
	mrb_json_build_string(&body, "hint", hint);
	mrb_json_build_end(&body);

	initStringInfo(&response);
	mrb_json_build_object(&response, NULL);
	mrb_json_build_integer(&response, "status", condition->status);
	mrb_json_build_object(&response, "headers");
	if (condition->retry_after > 0)
		mrb_json_build_string(&response, "Retry-After",
							  psprintf("%d", condition->retry_after));
	mrb_json_build_end(&response);
	mrb_json_build_end(&response);

	errcode(MAKE_SQLSTATE('P', 'G', 'R', 'S', 'T'));
	errmsg_internal("%s", body.data);
	errdetail_internal("%s", response.data);
}
