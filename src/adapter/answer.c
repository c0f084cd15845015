/*-------------------------------------------------------------------------
 *
 * answer.c
 *	  What an answer says about the endpoint and about the message.
 *
 * Answers are judged outside of transactions.  The body of an answer is
 * foreign text, so its contents must not lead to an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "adapter/answer.h"

/* Results of count() besides a number of instances. */
#define NO_VALUE (-1)
#define NO_COUNT (-2)

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

static bool is_success(const MrbAdapter *adapter, const MrbRequest *request,
					   int status);
static MrbVerdict verdict_of_status(const MrbAdapter *adapter, int status);
static char *explain_false(JsonPath *path, const char *path_text,
						   const MrbHttpAnswer *answer);
static char *explain_unreadable(const MrbHttpAnswer *answer, const char *problem);
static bool evaluate_answer(int (*evaluate) (JsonPath *, Datum),
							JsonPath *path, const MrbHttpAnswer *answer,
							int *result, const char **problem);
static bool is_about_answer(int sqlstate);
static const char *parse_problem(int sqlstate);
static int	match(JsonPath *path, Datum body);
static int	count(JsonPath *path, Datum body);
static char *body_in_server_encoding(const MrbHttpAnswer *answer);

/*
 * Requests about the marker and polls succeed with every 2xx; their answers are
 * read by other rules than success and success_json_path.
 */
MrbVerdict
mrb_answer_judge(const MrbAdapter *adapter, const MrbRequest *request,
				 const MrbHttpAnswer *answer, char **why)
{
	int			status = answer->status;
	bool		judge_by_status = request == adapter->marker_read ||
	request == adapter->marker_write || request == adapter->poll.request;

	*why = NULL;
	if (answer->outcome != MRB_HTTP_ANSWERED)
	{
		*why = pstrdup(answer->error);
		return MRB_VERDICT_ENDPOINT;
	}
	if (judge_by_status ? status < 200 || status > 299 :
		!is_success(adapter, request, status))
	{
		*why = psprintf("HTTP status %d", status);

		/* An edge without support of wildcards accepts other hosts. */
		if (request == adapter->wildcard_request && status == 404)
			return MRB_VERDICT_MESSAGE;
		return verdict_of_status(adapter, status);
	}
	if (adapter->success_path != NULL && !judge_by_status)
		*why = explain_false(adapter->success_path, adapter->success_text,
							 answer);
	return *why == NULL ? MRB_VERDICT_SUCCESS : MRB_VERDICT_ENDPOINT;
}

/*
 * With poll_valid, an answer without a number means that there are no
 * instances.
 */
int
mrb_answer_count(const MrbAdapter *adapter, const MrbHttpAnswer *answer,
				 char **why)
{
	int			found = NO_COUNT;
	const char *problem;

	*why = adapter->poll.valid_path == NULL ? NULL :
		explain_false(adapter->poll.valid_path, adapter->poll.valid_text, answer);
	if (*why != NULL)
		return -1;
	if (!evaluate_answer(count, adapter->poll.healthy_path, answer, &found, &problem))
	{
		*why = explain_unreadable(answer, problem);
		return -1;
	}
	if (found == NO_VALUE && adapter->poll.valid_path != NULL)
		return 0;
	if (found >= 0)
		return found;
	*why = psprintf("HTTP status %d, but the answer has no number from 0 to %d at %s",
					answer->status, MRB_ANSWER_COUNT_MAX,
					adapter->poll.healthy_text);
	return -1;
}

/*
 * Whether a status is a success.  The removal of what does not exist is one.
 */
static bool
is_success(const MrbAdapter *adapter, const MrbRequest *request, int status)
{
	if ((request == adapter->remove || request == adapter->wildcard_remove) &&
		(status == 404 || status == 410))
		return true;
	if (adapter->nsuccess == 0)
		return status >= 200 && status <= 299;
	for (int i = 0; i < adapter->nsuccess; i++)
		if (adapter->success[i] == status)
			return true;
	return false;
}

/*
 * The verdict on a status that is no success: that of the adapter's verdicts, if
 * they name the status, which is the only way to GONE.  Otherwise it is about
 * the message only if the status says that the endpoint has examined the
 * message.  All others, such as those of a rotated token or of a redirect, are
 * about the endpoint.
 */
static MrbVerdict
verdict_of_status(const MrbAdapter *adapter, int status)
{
	for (int i = 0; i < adapter->nverdicts; i++)
		if (adapter->verdicts[i].status == status)
			return adapter->verdicts[i].verdict;
	switch (status)
	{
		case 400:
		case 409:
		case 413:
		case 414:
		case 422:
			return MRB_VERDICT_MESSAGE;
		case 404:
		case 412:
		case 423:
			/* A scheduler lacks this workload, or cannot change it now. */
			return adapter->scheduler ? MRB_VERDICT_MESSAGE :
				MRB_VERDICT_ENDPOINT;
		case 410:
			/* If each instance has a URL, only that instance is gone. */
			return adapter->per_instance ? MRB_VERDICT_MESSAGE :
				MRB_VERDICT_ENDPOINT;
		default:
			return MRB_VERDICT_ENDPOINT;
	}
}

/*
 * Why a path is not true of the answer, by the rules of jsonb_path_match(), or
 * NULL.
 */
static char *
explain_false(JsonPath *path, const char *path_text, const MrbHttpAnswer *answer)
{
	int			holds = 0;
	const char *problem;

	if (!evaluate_answer(match, path, answer, &holds, &problem))
		return explain_unreadable(answer, problem);
	if (holds != 0)
		return NULL;
	return psprintf("HTTP status %d, but the answer does not satisfy %s",
					answer->status, path_text);
}

/*
 * Say why an answer cannot be read.
 */
static char *
explain_unreadable(const MrbHttpAnswer *answer, const char *problem)
{
	return psprintf("HTTP status %d, but the answer cannot be read: %s",
					answer->status, problem);
}

/*
 * Parse the body and evaluate the path.  Returns false, and says what is wrong
 * with the body, when it cannot be parsed.  A path that cannot be evaluated
 * leaves *result as it is.
 */
static bool
evaluate_answer(int (*evaluate) (JsonPath *, Datum),
				JsonPath *path, const MrbHttpAnswer *answer, int *result,
				const char **problem)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch;
	const char *volatile found = NULL;
	volatile bool parsed = false;

	if (answer->cut)
	{
		*problem = "it is longer than 64 kB";
		return false;
	}
	scratch = AllocSetContextCreate(caller, "miosa_rollback answer",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		Datum		body;

		body = DirectFunctionCall1(jsonb_in,
								   CStringGetDatum(body_in_server_encoding(answer)));
		parsed = true;
		*result = evaluate(path, body);
	}
	PG_CATCH();
	{
		int			sqlstate = geterrcode();

		MemoryContextSwitchTo(caller);
		if (!is_about_answer(sqlstate))
		{
			MemoryContextDelete(scratch);
			PG_RE_THROW();
		}
		FlushErrorState();
		if (!parsed)
			found = parse_problem(sqlstate);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	*problem = found;
	return found == NULL;
}

/*
 * Whether an error comes from what the answer holds, or from what the path
 * asks of it.  Every other one (a cancellation, lack of memory, an internal
 * error) says nothing about the endpoint.
 */
static bool
is_about_answer(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
			return true;
		case ERRCODE_FEATURE_NOT_SUPPORTED:
			/* A comparison of date and time that depends on a time zone. */
			return true;
		default:
			/* A variable of the path, for there are none. */
			return sqlstate == ERRCODE_UNDEFINED_OBJECT;
	}
}

/*
 * What is wrong with a body that could not be parsed.
 */
static const char *
parse_problem(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
			return "it is not JSON";
		case ERRCODE_UNTRANSLATABLE_CHARACTER:
			return "it has a \\u escape that the database cannot store";
		case ERRCODE_CHARACTER_NOT_IN_REPERTOIRE:
			return "it is not UTF-8";
		case ERRCODE_STATEMENT_TOO_COMPLEX:
			return "it is nested too deeply";
		default:
			return "it is not JSON that the database can store";
	}
}

/*
 * Evaluate a path as jsonb_path_match() does; null counts as false.
 */
static int
match(JsonPath *path, Datum body)
{
	LOCAL_FCINFO(fcinfo, 2);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, 2, DEFAULT_COLLATION_OID, NULL,
							 NULL);
	fcinfo->args[0].value = body;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = PointerGetDatum(path);
	fcinfo->args[1].isnull = false;
	result = jsonb_path_match_opr(fcinfo);
	return !fcinfo->isnull && DatumGetBool(result);
}

/*
 * Return the integer at the path, NO_VALUE if there is nothing or null, or
 * NO_COUNT if there is anything else.
 */
static int
count(JsonPath *path, Datum body)
{
	Jsonb	   *found;
	JsonbValue *value;
	double		number;

	found = DatumGetJsonbP(DirectFunctionCall4(jsonb_path_query_array, body,
											   PointerGetDatum(path),
											   DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")),
											   BoolGetDatum(true)));
	if (JB_ROOT_COUNT(found) == 0)
		return NO_VALUE;
	value = getIthJsonbValueFromContainer(&found->root, 0);
	if (JB_ROOT_COUNT(found) == 1 && value->type == jbvNull)
		return NO_VALUE;
	if (JB_ROOT_COUNT(found) > 1 || value->type != jbvNumeric)
		return NO_COUNT;
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8,
												NumericGetDatum(value->val.numeric)));
	if (number < 0 || number > MRB_ANSWER_COUNT_MAX || number != rint(number))
		return NO_COUNT;
	return (int) number;
}

/*
 * Make the body an argument of jsonb_in().  JSON is UTF-8, and some servers
 * write a byte order mark before it.  A conversion would need a transaction,
 * so in databases with another encoding each byte that is not ASCII, and each
 * \u escape, is replaced by question marks, which keeps the JSON valid.
 */
static char *
body_in_server_encoding(const MrbHttpAnswer *answer)
{
	char	   *body = pnstrdup(answer->body, answer->body_len);

	if (strlen(body) != answer->body_len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("the answer contains a null byte")));
	if (strncmp(body, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK)) == 0)
		body += strlen(BYTE_ORDER_MARK);
	if (GetDatabaseEncoding() == PG_UTF8)
	{
		pg_verifymbstr(body, strlen(body), false);
		return body;
	}
	for (char *p = body; *p != '\0'; p++)
	{
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
		else if (*p == '\\' && p[1] == 'u' &&
				 strspn(p + 2, "0123456789abcdefABCDEF") >= 4)
			memset(p, '?', 6);
		else if (*p == '\\' && p[1] != '\0')
			p++;
	}
	return body;
}
